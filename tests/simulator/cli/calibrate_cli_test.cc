#include <cmath>

#include <fmt/format.h>
#include <catch2/catch.hpp>

#include "tests/simulator/cli/baton_sim.h"
#include "tests/support/temporary_folder.h"

namespace baton::test {
namespace {

constexpr const char* kStepHeader =
    "model,hardware,tensor_parallel,prompts,prompt_tokens,cached_tokens,decodes,context_tokens,seconds\n";

/// What a prefill worker might have written: three steps of each size.
std::string PromptSteps(const std::string& subject) {
  std::string text = kStepHeader;
  for (int i = 0; i < 30; ++i) {
    const int tokens = 32 << (i % 5);
    text += fmt::format("{},1,{},0,0,0,{:.6f}\n", subject, tokens, 0.01 + 2e-4 * tokens);
  }
  return text;
}

std::string DecodeSteps(const std::string& subject) {
  std::string text = kStepHeader;
  for (int i = 0; i < 60; ++i) {
    const int sequences = 1 << (i % 5);
    const int context = 200 << (i % 4);
    text += fmt::format("{},0,0,0,{},{},{:.6f}\n", subject, sequences, sequences * context,
                        0.008 + 1e-4 * sequences + 1e-7 * sequences * context);
  }
  return text;
}

TEST_CASE("calibrate fits two workers' telemetry, whose model and hardware it is told") {
  const TemporaryFolder folder;
  const std::string prefill = folder.Path() + "/prefill.csv";
  const std::string decode = folder.Path() + "/decode.csv";
  const std::string fitted = folder.Path() + "/fitted.yaml";
  WriteFile(prefill, PromptSteps("chat,cuda/sm_90/bf16,1"));
  WriteFile(decode, DecodeSteps("chat,cuda/sm_90/bf16,1"));
  const std::vector<std::string> named{"--model", "llama-3-8b", "--hardware", "h100-80gb", "--out", fitted};

  std::vector<std::string> both{"calibrate", prefill, decode};
  both.insert(both.end(), named.begin(), named.end());
  const RunResult good = BatonSim(both);
  INFO(good.output);
  REQUIRE(good.exit == 0);
  CHECK(Contains(good.output, "one point  llama-3-8b  h100-80gb   1      25"));
  CHECK_FALSE(Contains(good.output, "configuration"));  // there is no other to predict it from
  const RunResult run = BatonSim({"simulate", "--catalogue", fitted, "--model", "llama-3-8b", "--fleet",
                                  "prefill=1xdgx-h100/1,decode=1xdgx-h100/1", "--rate", "1", "--duration",
                                  "20", "--slo", "none"});
  INFO(run.output);
  CHECK(run.exit == 0);
  CHECK(Contains(run.output, "step times: measured"));

  // Without a name for it, without decode's half, and with two workers that are not alike.
  const RunResult unnamed = BatonSim({"calibrate", prefill, decode});
  CHECK(unnamed.exit == 2);
  CHECK(Contains(unnamed.output, "prefill.csv:2: model \"chat\" is not in the catalogue"));
  CHECK(Contains(unnamed.output, "--model and --hardware say"));
  std::vector<std::string> half{"calibrate", prefill};
  half.insert(half.end(), named.begin(), named.end());
  CHECK(Contains(BatonSim(half).output, "a decode worker's file has them"));
  WriteFile(decode, DecodeSteps("chat,cuda/sm_80/bf16,1"));
  const RunResult unlike = BatonSim(both);
  CHECK(unlike.exit == 2);
  CHECK(Contains(unlike.output, "decode.csv:2: --hardware h100-80gb would be both \"cuda/sm_90/bf16\" and"));
}

TEST_CASE("calibrate names file, line and column of a bad row, and refuses without a fit") {
  const TemporaryFolder folder;
  const std::string file = folder.Path() + "/steps.csv";
  WriteFile(file, PromptSteps("m,d,1") + "m,d,1,1,12,0,0,0,fast\n");

  const RunResult bad = BatonSim({"calibrate", file});

  CHECK(bad.exit == 2);
  CHECK(Contains(bad.output, "steps.csv:32: seconds: is \"fast\"; write a number from"));
  CHECK(BatonSim({"calibrate", folder.Path() + "/none.csv"}).exit == 2);
  CHECK(BatonSim({"calibrate"}).exit == 1);
}

}  // namespace
}  // namespace baton::test
