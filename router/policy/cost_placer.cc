#include "router/policy/cost_placer.h"

#include <algorithm>
#include <deque>
#include <vector>

#include "common/base/check.h"

namespace baton::router {
namespace {

struct PendingPrompt {
  std::int64_t tokens = 0;
  double seconds = 0;
  bool stays = false;  // its answer runs here, too
};

struct MachineState {
  MachineRole role = MachineRole::kWhole;
  bool up = true;
  std::int64_t free_bytes = 0;
  std::deque<PendingPrompt> prompts;
  double pending_s = 0;           // predicted, of `prompts`
  double front_since_s = 0;       // when the first of them began, as far as is known
  double sequences = 0;           // that decode
  double context_tokens = 0;      // theirs and of those on their way
  std::deque<double> arrivals_s;  // of answers on their way, rising as they were placed
};

class CostPlacer final : public Placer {
 public:
  CostPlacer(const MachinePredictor& predictor, const CostPlacerOptions& options)
      : predictor_(predictor), options_(options) {
    options_.objectives.best_effort = true;
  }

  MachineIndex Add(MachineRole role, std::int64_t memory_bytes, std::int64_t used_bytes) override {
    machines_.push_back({.role = role, .free_bytes = memory_bytes - used_bytes});
    return static_cast<MachineIndex>(machines_.size() - 1);
  }

  MachinePair Place(const PlacedRequest& request, double now_s) override {
    const std::vector<PrefillCandidate> prefill = PrefillCandidates(request, now_s);
    // The forecast needs the moment when the prompt is done: that of the machine that would be taken.
    double done_in_s = 0;
    if (!prefill.empty()) {
      const auto soonest = std::min_element(prefill.begin(), prefill.end(),
                                            [](const PrefillCandidate& a, const PrefillCandidate& b) {
                                              return a.wait_s + a.prompt_s < b.wait_s + b.prompt_s;
                                            });
      done_in_s = soonest->wait_s + soonest->prompt_s;
    }
    std::vector<DecodeCandidate> decode = DecodeCandidates(request, now_s, done_in_s);
    if (prefill.empty() || decode.empty()) return {};
    const double token_bytes = static_cast<double>(request.prompt_bytes) /
                               static_cast<double>(std::max<std::int64_t>(request.prompt_tokens, 1));
    const auto tokens = [&](std::int64_t bytes) {
      return static_cast<std::int64_t>(static_cast<double>(bytes) / std::max(token_bytes, 1.0));
    };
    for (DecodeCandidate& candidate : decode) candidate.free_tokens = tokens(candidate.free_tokens);
    CostRequest asked{.prompt_tokens = request.prompt_tokens,
                      .answer_tokens = options_.answer_tokens,
                      .kv_tokens = tokens(request.prompt_bytes + request.answer_bytes)};
    CostPlacement placed = PlaceByCost(asked, prefill, decode, options_.objectives, options_.weights);
    if (placed.refusal == CostRefusal::kMemory) {
      const auto roomiest = std::max_element(
          decode.begin(), decode.end(),
          [](const DecodeCandidate& a, const DecodeCandidate& b) { return a.free_tokens < b.free_tokens; });
      const DecodeCandidate only = *roomiest;
      asked.kv_tokens = std::min(asked.kv_tokens, only.free_tokens);
      CostObjectives anything = options_.objectives;
      anything.freeness_min_s = 0;
      placed = PlaceByCost(asked, prefill, {&only, 1}, anything, options_.weights);
    }
    Take(placed, request, now_s);
    return placed.pair;
  }

  void PromptDone(MachineIndex machine, std::int64_t prompt_tokens) override {
    MachineState& state = At(machine);
    const auto done =
        std::find_if(state.prompts.begin(), state.prompts.end(),
                     [&](const PendingPrompt& prompt) { return prompt.tokens == prompt_tokens; });
    if (done == state.prompts.end()) return;
    state.pending_s -= done->seconds;
    state.front_since_s += done->seconds;
    if (done->stays) Arrive(state);
    state.prompts.erase(done);
    if (state.prompts.empty()) state.pending_s = 0;
  }

  void AnswerArrived(MachineIndex machine) override { Arrive(At(machine)); }

  void AnswerDone(MachineIndex machine) override {
    MachineState& state = At(machine);
    const double all = state.sequences + static_cast<double>(state.arrivals_s.size());
    if (all > 0) state.context_tokens -= state.context_tokens / all;
    state.sequences = std::max(0.0, state.sequences - 1);
  }

  void AnswerMoved(MachineIndex from, MachineIndex to, std::int64_t bytes) override {
    const MachineState& state = At(from);
    const double all = state.sequences + static_cast<double>(state.arrivals_s.size());
    At(to).context_tokens += all > 0 ? state.context_tokens / all : 0;
    AnswerDone(from);
    At(to).sequences += 1;
    At(from).free_bytes += bytes;
    At(to).free_bytes -= bytes;
  }

  void Release(MachineIndex machine, std::int64_t bytes) override { At(machine).free_bytes += bytes; }
  void SetWaiting(MachineIndex /*machine*/, bool /*waiting*/) override {}
  void Idle(MachineIndex machine) override {
    MachineState& state = At(machine);
    state.prompts.clear();
    state.pending_s = 0;
    state.sequences = 0;
    if (state.arrivals_s.empty()) state.context_tokens = 0;
  }
  void SetUp(MachineIndex machine, bool up) override { At(machine).up = up; }

 private:
  MachineState& At(MachineIndex machine) {
    BATON_CHECK(machine >= 0 && static_cast<std::size_t>(machine) < machines_.size(), "machine {}", machine);
    return machines_[static_cast<std::size_t>(machine)];
  }

  static void Arrive(MachineState& state) {
    if (!state.arrivals_s.empty()) state.arrivals_s.pop_front();
    state.sequences += 1;
  }

  /// What the machine draws whether or not it gets this request.
  double DrawnAnyway(MachineIndex machine, const MachineState& state) const {
    const bool works = !state.prompts.empty() || state.sequences > 0 || !state.arrivals_s.empty();
    return works || !options_.parking ? predictor_.IdleWatts(machine) : 0;
  }

  std::vector<PrefillCandidate> PrefillCandidates(const PlacedRequest& request, double now_s) const {
    std::vector<PrefillCandidate> candidates;
    for (std::size_t i = 0; i < machines_.size(); ++i) {
      const MachineState& state = machines_[i];
      if (!state.up || state.role == MachineRole::kToken) continue;
      const auto machine = static_cast<MachineIndex>(i);
      const MachinePredictor::Step step = predictor_.Prompt(machine, request.prompt_tokens);
      const double passed = state.prompts.empty() ? 0 : now_s - state.front_since_s;
      candidates.push_back({.machine = machine,
                            .wait_s = std::max(0.0, state.pending_s - std::max(0.0, passed)),
                            .prompt_s = step.seconds,
                            .sigma_s = step.sigma_s,
                            .watts = step.watts,
                            .idle_watts = DrawnAnyway(machine, state),
                            .dollars_per_hour = predictor_.DollarsPerHour(machine)});
    }
    return candidates;
  }

  /// free_tokens holds bytes yet.
  std::vector<DecodeCandidate> DecodeCandidates(const PlacedRequest& request, double now_s,
                                                double done_in_s) const {
    std::vector<DecodeCandidate> candidates;
    for (std::size_t i = 0; i < machines_.size(); ++i) {
      const MachineState& state = machines_[i];
      if (!state.up || state.role == MachineRole::kPrompt) continue;
      const auto machine = static_cast<MachineIndex>(i);
      const DecodeForecast then = Forecast(machine, state, now_s, done_in_s);
      DecodeCandidate candidate{.machine = machine,
                                .sequences = then.sequences,
                                .idle_watts = DrawnAnyway(machine, state),
                                .free_tokens = state.free_bytes,
                                .dollars_per_hour = predictor_.DollarsPerHour(machine)};
      // Less than half a sequence is none: the machine would wake up for this one.
      if (then.sequences >= 0.5) {
        const MachinePredictor::Step without =
            predictor_.Decode(machine, then.sequences, then.context_tokens);
        candidate.step_s = without.seconds;
        candidate.watts = without.watts;
      }
      const MachinePredictor::Step with =
          predictor_.Decode(machine, (candidate.step_s > 0 ? then.sequences : 0) + 1,
                            then.context_tokens + static_cast<double>(request.prompt_tokens));
      candidate.step_with_s = with.seconds;
      candidate.sigma_s = with.sigma_s;
      candidate.watts_with = with.watts;
      candidates.push_back(candidate);
    }
    return candidates;
  }

  DecodeForecast Forecast(MachineIndex machine, const MachineState& state, double now_s,
                          double done_in_s) const {
    const double all = state.sequences + static_cast<double>(state.arrivals_s.size());
    if (all <= 0) return {};
    const double context = state.context_tokens / all;
    std::vector<InFlight> in_flight;
    for (const double arrival_s : state.arrivals_s) {
      in_flight.push_back(
          {.arrives_in_s = arrival_s - now_s, .context_tokens = static_cast<std::int64_t>(context)});
    }
    return ForecastDecode({.sequences = state.sequences,
                           .context_tokens = state.sequences * context,
                           .step_s = predictor_.Decode(machine, all, state.context_tokens).seconds,
                           .remaining_tokens = options_.answer_tokens,
                           .in_flight = in_flight},
                          done_in_s);
  }

  void Take(const CostPlacement& placed, const PlacedRequest& request, double now_s) {
    if (placed.pair.prompt == kNoMachine) return;
    MachineState& prompt = At(placed.pair.prompt);
    MachineState& token = At(placed.pair.token);
    const bool stays = placed.pair.prompt == placed.pair.token;
    const double seconds = predictor_.Prompt(placed.pair.prompt, request.prompt_tokens).seconds;
    if (prompt.prompts.empty()) prompt.front_since_s = now_s;
    prompt.prompts.push_back({.tokens = request.prompt_tokens, .seconds = seconds, .stays = stays});
    prompt.pending_s += seconds;
    token.arrivals_s.push_back(now_s + placed.ttft_s);
    token.context_tokens += static_cast<double>(request.prompt_tokens) + options_.answer_tokens / 2;
    token.free_bytes -= request.prompt_bytes + request.answer_bytes;
    if (!stays) prompt.free_bytes -= request.prompt_bytes;
  }

  const MachinePredictor& predictor_;
  CostPlacerOptions options_;
  std::vector<MachineState> machines_;
};

}  // namespace

std::unique_ptr<Placer> MakeCostPlacer(const MachinePredictor& predictor, const CostPlacerOptions& options) {
  return std::make_unique<CostPlacer>(predictor, options);
}

}  // namespace baton::router
