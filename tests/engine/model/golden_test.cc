#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>

#include <catch2/catch.hpp>

#include "common/json/value.h"
#include "tests/kernels/backends.h"
#include "tests/support/sequence_runner.h"
#include "tests/support/shared_data.h"

/// The forward pass against logits that were computed in float64 by somebody else's code.
namespace baton::engine {
namespace {

using kernels::ComputeClass;
using test::SequenceRunner;

struct GoldenPrompt {
  std::vector<TokenId> ids;
  std::vector<TokenId> greedy;
  std::vector<double> margins;  // log-probability of the first over the second, per step
  std::int64_t first_position = 0;
  std::vector<std::vector<float>> logits{};
};

std::vector<TokenId> Ids(const json::Value& list) {
  std::vector<TokenId> ids;
  for (const json::Value& id : *list.AsArray()) ids.push_back(static_cast<TokenId>(*id.AsInt()));
  return ids;
}

std::vector<double> Margins(const json::Value& top5) {
  std::vector<double> margins;
  for (const json::Value& step : *top5.AsArray()) {
    const auto probability = [&](std::size_t i) { return step.AsArray()->at(i).AsArray()->at(1).Number(); };
    margins.push_back(probability(0) - probability(1));
  }
  return margins;
}

std::vector<GoldenPrompt> LoadGolden(const std::string& directory) {
  const json::Value root = json::Parse(test::ReadFile(directory + "/reference.json")).value();
  const std::string bytes = test::ReadFile(directory + "/ref_logits.f32.bin");
  const auto vocabulary = static_cast<std::size_t>(*root.Find("vocab_size")->AsInt());
  std::vector<GoldenPrompt> prompts;
  for (const json::Value& entry : *root.Find("prompts")->AsArray()) {
    GoldenPrompt prompt{.ids = Ids(*entry.Find("ids")),
                        .greedy = Ids(*entry.Find("greedy")),
                        .margins = Margins(*entry.Find("top5")),
                        .first_position = *entry.Find("logits_first_pos")->AsInt()};
    auto offset = static_cast<std::size_t>(*entry.Find("logits_offset_bytes")->AsInt());
    for (std::int64_t row = 0; row < *entry.Find("logits_rows")->AsInt(); ++row) {
      std::vector<float>& logits = prompt.logits.emplace_back(vocabulary);
      std::memcpy(logits.data(), bytes.data() + offset, vocabulary * sizeof(float));
      offset += vocabulary * sizeof(float);
    }
    prompts.push_back(std::move(prompt));
  }
  return prompts;
}

struct Difference {
  double largest = 0;
  double squares = 0;
  double count = 0;
};

void Compare(const GoldenPrompt& prompt, const std::vector<std::vector<float>>& ours,
             Difference& difference) {
  for (std::size_t row = 0; row < prompt.logits.size(); ++row) {
    const auto& mine = ours.at(static_cast<std::size_t>(prompt.first_position) + row);
    for (std::size_t i = 0; i < mine.size(); ++i) {
      const double error = std::abs(static_cast<double>(mine[i]) - prompt.logits[row][i]);
      difference.largest = std::max(difference.largest, std::isfinite(error) ? error : HUGE_VAL);
      difference.squares += error * error;
      ++difference.count;
    }
  }
}

/// The golden models of this checkout; none where it has no shared data.
std::vector<std::string> GoldenModels() {
  const auto models = test::SharedData("golden/models");
  if (!models.has_value()) {
    WARN("skipped: this checkout has no ../shared/data/golden");
    return {};
  }
  std::vector<std::string> directories;
  for (const auto& entry : std::filesystem::directory_iterator(*models)) directories.push_back(entry.path());
  std::ranges::sort(directories);
  return directories;
}

TEST_CASE(
    "class f32 is within 2e-3 of the golden logits and writes the same greedy text on each instruction set") {
  for (const std::string& directory : GoldenModels()) {
    for (const std::string& instructions : kernels::CpuInstructionSets()) {
      CAPTURE(directory, instructions);
      SequenceRunner runner(directory, {.compute = ComputeClass::kF32, .instruction_set = instructions});
      Difference difference;
      for (const GoldenPrompt& prompt : LoadGolden(directory)) {
        CAPTURE(prompt.ids.size());
        Compare(prompt, runner.AllLogits(prompt.ids), difference);
        CHECK(runner.Greedy(prompt.ids, std::ssize(prompt.greedy)) == prompt.greedy);
      }
      CHECK(difference.count > 100'000);
      CHECK(difference.largest < 2e-3);
    }
  }
}

TEST_CASE("class bf16 stays within 0.15 rms of the golden logits and agrees where the margin is above 1") {
  for (const std::string& directory : GoldenModels()) {
    for (const std::string& instructions : kernels::CpuInstructionSets()) {
      CAPTURE(directory, instructions);
      SequenceRunner runner(directory, {.compute = ComputeClass::kBF16, .instruction_set = instructions});
      Difference difference;
      int clear_steps = 0;
      for (const GoldenPrompt& prompt : LoadGolden(directory)) {
        std::vector<TokenId> tokens = prompt.ids;
        tokens.insert(tokens.end(), prompt.greedy.begin(), prompt.greedy.end() - 1);
        const auto logits = runner.AllLogits(tokens);
        Compare(prompt, logits, difference);
        for (std::size_t step = 0; step < prompt.greedy.size(); ++step) {
          if (prompt.margins[step] <= 1) continue;
          ++clear_steps;
          CHECK(SequenceRunner::ArgMax(logits[prompt.ids.size() - 1 + step]) == prompt.greedy[step]);
        }
      }
      CHECK(clear_steps > 50);
      CHECK(std::sqrt(difference.squares / difference.count) <= 0.15);
    }
  }
}

TEST_CASE("a GPU is as close to the golden logits as the CPU, in class f32 and in bf16") {
  const auto gpu = kernels::CreateCudaBackend({});
  if (!gpu.ok()) WARN("SKIPPED: the golden models on a GPU: " << Message(gpu.status()));
  for (const std::string& directory : gpu.ok() ? GoldenModels() : std::vector<std::string>()) {
    for (const ComputeClass compute : {ComputeClass::kF32, ComputeClass::kBF16}) {
      CAPTURE(directory, kernels::Name(compute));
      SequenceRunner runner(directory, kernels::CreateCudaBackend({.compute = compute}));
      Difference difference;
      for (const GoldenPrompt& prompt : LoadGolden(directory)) {
        Compare(prompt, runner.AllLogits(prompt.ids), difference);
        if (compute == ComputeClass::kF32)
          CHECK(runner.Greedy(prompt.ids, std::ssize(prompt.greedy)) == prompt.greedy);
      }
      if (compute == ComputeClass::kF32) CHECK(difference.largest < 2e-3);
      CHECK(std::sqrt(difference.squares / difference.count) <= 0.15);
    }
  }
}

TEST_CASE("CUDA's kernels, emulated, follow the golden logits of a short prompt, whole and in chunks") {
  for (const std::string& directory : GoldenModels()) {
    for (const kernels::BackendCase& one : kernels::EmulatedCases()) {
      CAPTURE(directory, one.name);
      const bool f32 = one.make()->Compute() == ComputeClass::kF32;
      GoldenPrompt prompt = LoadGolden(directory).front();
      const auto logits_at = static_cast<std::size_t>(prompt.first_position);
      const std::size_t tokens = std::min<std::size_t>(prompt.ids.size(), logits_at + 20);
      prompt.ids.resize(tokens);
      prompt.logits.resize(std::min(prompt.logits.size(), tokens - std::min(tokens, logits_at)));
      SequenceRunner runner(directory, one.make());
      const auto whole = runner.AllLogits(prompt.ids);
      Difference difference;
      Compare(prompt, whole, difference);

      CHECK(difference.count > 0);
      CHECK(difference.largest < (f32 ? 2e-3 : 2));
      CHECK(std::sqrt(difference.squares / difference.count) < (f32 ? 1e-3 : 0.15));
      CHECK(runner.AllLogits(prompt.ids, 7) == whole);
    }
  }
}

double NegativeLogLikelihood(const std::vector<std::vector<float>>& logits, std::span<const TokenId> ids) {
  double sum = 0;
  for (std::size_t i = 0; i + 1 < ids.size(); ++i) {
    const double highest = *std::max_element(logits[i].begin(), logits[i].end());
    double total = 0;
    for (const float logit : logits[i]) total += std::exp(static_cast<double>(logit) - highest);
    sum += std::log(total) + highest - logits[i][static_cast<std::size_t>(ids[i + 1])];
  }
  return sum;
}

TEST_CASE("the demo model writes its reference text and gives its reference passage the same likelihood") {
  const std::string directory = test::ProjectFile("deploy/demo-model");
  const json::Value root = json::Parse(test::ReadFile(directory + "/reference.json")).value();
  const std::vector<TokenId> passage = Ids(*root.Find("passage")->Find("ids"));
  const double expected = root.Find("passage")->Find("nll_sum")->Number();

  SequenceRunner exact(directory, {.compute = ComputeClass::kF32});
  CHECK(NegativeLogLikelihood(exact.AllLogits(passage), passage) == Approx(expected).margin(0.01));
  for (const json::Value& entry : *root.Find("cases")->AsArray()) {
    const std::vector<TokenId> greedy = Ids(*entry.Find("greedy"));
    CHECK(exact.Greedy(Ids(*entry.Find("ids")), std::ssize(greedy)) == greedy);
  }

  SequenceRunner fast(directory, {.compute = ComputeClass::kBF16});
  CHECK(NegativeLogLikelihood(fast.AllLogits(passage), passage) == Approx(expected).epsilon(0.01));
}

TEST_CASE("logits of a prompt are the same bits however it is cut") {
  const std::string directory = test::ProjectFile("deploy/demo-model");
  const json::Value root = json::Parse(test::ReadFile(directory + "/reference.json")).value();
  const std::vector<TokenId> passage = Ids(*root.Find("passage")->Find("ids"));
  for (const ComputeClass compute : {ComputeClass::kF32, ComputeClass::kBF16}) {
    SequenceRunner runner(directory, {.compute = compute});
    const auto whole = runner.AllLogits(passage);
    for (const std::int64_t chunk : {1, 7, 16, 63, 64, 100}) {
      CAPTURE(kernels::Name(compute), chunk);
      CHECK(runner.AllLogits(passage, chunk) == whole);
    }
  }
}

TEST_CASE("the numerics class names compute path, weight type, KV type and reduction plan") {
  SequenceRunner runner(test::ProjectFile("deploy/demo-model"),
                        {.compute = ComputeClass::kF32, .instruction_set = "portable"});

  CHECK(runner.Model().NumericsClass() == "cpu/portable/f32/weights-bf16/kv-f32/k8t64");
}

}  // namespace
}  // namespace baton::engine
