#include "router/policy/cost_placer.h"

#include <map>

#include <catch2/catch.hpp>

namespace baton::router {
namespace {

/// Machine 0 is fast and dear, the others slow and cheap.
class Predictor final : public MachinePredictor {
 public:
  Step Prompt(MachineIndex machine, std::int64_t tokens) const override {
    const double rate = machine == 0 ? 10'000 : 3'000;
    return {.seconds = static_cast<double>(tokens) / rate, .watts = machine == 0 ? 7000.0 : 3000.0};
  }
  Step Decode(MachineIndex machine, double sequences, double context_tokens) const override {
    const double step = (machine == 0 ? 0.02 : 0.03) + 0.0005 * sequences + 1e-8 * context_tokens;
    return {.seconds = step, .watts = machine == 0 ? 5000.0 : 2500.0};
  }
  double IdleWatts(MachineIndex machine) const override { return machine == 0 ? 2800 : 1500; }
  double DollarsPerHour(MachineIndex machine) const override { return machine == 0 ? 40 : 10; }
};

constexpr CostPlacerOptions kOptions = {.objectives = {.ttft_s = 1, .tbt_s = 0.04, .sigmas = 0}};
constexpr PlacedRequest kRequest = {
    .id = 1, .prompt_tokens = 1500, .prompt_bytes = 1500 * 1000, .answer_bytes = 200 * 1000};

std::unique_ptr<Placer> Placed(const Predictor& predictor, int whole, const CostPlacerOptions& options,
                               std::int64_t memory = 1'000'000'000) {
  auto placer = MakeCostPlacer(predictor, options);
  for (int i = 0; i < whole; ++i) placer->Add(MachineRole::kWhole, memory, 0);
  return placer;
}

TEST_CASE("answers gather on a machine that already decodes until a step would be too long") {
  const Predictor predictor;
  const auto placer = Placed(predictor, 4, kOptions);
  std::map<MachineIndex, int> answers;

  for (int i = 0; i < 30; ++i) {
    const MachinePair pair = placer->Place(kRequest, i);
    placer->PromptDone(pair.prompt, kRequest.prompt_tokens);
    if (pair.prompt != pair.token) placer->AnswerArrived(pair.token);
    ++answers[pair.token];
  }

  // 0.03 s + 19 x 0.0005 s and context: machine 1 holds 19 at most, and one other takes the rest.
  CHECK(answers.size() == 2);
  CHECK(answers[1] >= 15);
  CHECK(answers[1] <= 19);
}

TEST_CASE("a prompt that the cheap machines would finish late goes to the fast one") {
  const Predictor predictor;
  const auto placer = Placed(predictor, 2, kOptions);

  CHECK(placer->Place(kRequest, 0).prompt == 1);    // 0.5 s
  CHECK(placer->Place(kRequest, 0).prompt == 1);    // done after 1 s
  CHECK(placer->Place(kRequest, 0).prompt == 0);    // 1.5 s there
  CHECK(placer->Place(kRequest, 0.6).prompt == 1);  // the first is done by now
}

TEST_CASE("where every machine is late the least late is taken, and nobody is refused") {
  const Predictor predictor;
  CostPlacerOptions strict = kOptions;
  strict.objectives.ttft_s = 0.01;
  const auto placer = Placed(predictor, 2, strict);

  CHECK(placer->Place(kRequest, 0).prompt == 0);
}

TEST_CASE("reserved memory is counted until it is released") {
  const Predictor predictor;
  const auto placer = Placed(predictor, 2, kOptions, 2'000'000);  // one request each

  const MachinePair first = placer->Place(kRequest, 0);
  const MachinePair second = placer->Place(kRequest, 0);
  CHECK(first.token != second.token);
  placer->PromptDone(first.prompt, kRequest.prompt_tokens);
  placer->AnswerDone(first.token);
  placer->Release(first.token, kRequest.prompt_bytes + kRequest.answer_bytes);
  CHECK(placer->Place(kRequest, 5).token == first.token);
}

TEST_CASE("roles are kept, and machines that are down get nothing") {
  const Predictor predictor;
  const auto placer = MakeCostPlacer(predictor, kOptions);
  placer->Add(MachineRole::kPrompt, 1'000'000'000, 0);
  placer->Add(MachineRole::kToken, 1'000'000'000, 0);
  placer->Add(MachineRole::kToken, 1'000'000'000, 0);

  CHECK(placer->Place(kRequest, 0) == MachinePair{.prompt = 0, .token = 1});
  placer->SetUp(1, false);
  CHECK(placer->Place(kRequest, 1) == MachinePair{.prompt = 0, .token = 2});
  placer->SetUp(0, false);
  CHECK(placer->Place(kRequest, 2) == MachinePair{});
}

}  // namespace
}  // namespace baton::router
