#include "engine/worker/probe.h"

#include <string>

#include <catch2/catch.hpp>

namespace baton::engine {
namespace {

StepReport Report() {
  StepReport report{.prompt_tokens = 30, .decode_tokens = 2};
  for (std::uint64_t request = 1; request <= 3; ++request) {
    report.parts.push_back({.key = {RequestId(request), Attempt(1)},
                            .tokens = request == 3 ? 30 : 1,  // one that was preempted is computed again
                            .positions = 40,
                            .decoding = request != 3});
  }
  return report;
}

TEST_CASE("the size of a batch is sequences where answers are written, and tokens where prompts are read") {
  metrics::Registry decode;
  metrics::Registry prefill;

  WorkerProbe(decode, /*prefill=*/false).Step(Report());
  WorkerProbe(prefill, /*prefill=*/true).Step(Report());

  CHECK(decode.Text().find("baton_decode_batch_size_sum 3\n") != std::string::npos);
  CHECK(prefill.Text().find("baton_prefill_batch_tokens_sum 32\n") != std::string::npos);
}

}  // namespace
}  // namespace baton::engine
