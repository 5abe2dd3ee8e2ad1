#include "simulator/run.h"

#include <catch2/catch.hpp>

#include "common/base/error.h"
#include "tests/simulator/splitwise_setups.h"

namespace baton::simulator {
namespace {

Workload Few() {
  return {"few", {{0, 1, 4096, 32}, {1, 3, 2048, 8}, {2, 4, 2048, 16}}};
}

FleetSpec Split(const std::string& prefill, const std::string& decode) {
  return {{{.role = PoolRole::kPrefill, .machine = prefill}, {.role = PoolRole::kDecode, .machine = decode}}};
}

std::string ErrorOf(const FleetSpec& fleet, const Workload& workload, const RunOptions& options) {
  const auto result = Run(hardware::Catalogue::BuiltIn(), fleet, workload, options);
  return result.ok() ? "" : Message(result.status());
}

}  // namespace

TEST_CASE("the reference's own example comes out of the built-in catalogue") {
  struct Expected {
    const char* model;
    double ttft[3];
    double response[3];
  };
  const Expected expected[] = {
      {"bloom-176b", {0.649598, 0.251964, 0.251964}, {2.199226, 0.622873, 1.003019}},
      {"llama2-70b", {0.376216, 0.134423, 0.134423}, {1.746277, 0.457501, 0.798162}}};
  for (const Expected& example : expected) {
    RunOptions options;
    options.mode = Mode::kSplitwise;
    options.model = example.model;

    const auto result = Run(hardware::Catalogue::BuiltIn(), Split("dgx-h100", "dgx-a100"), Few(), options);

    REQUIRE(result.ok());
    for (std::size_t i = 0; i < 3; ++i) {
      CHECK(result->requests[i].ttft_s == Approx(example.ttft[i]).margin(1e-6));
      CHECK(result->requests[i].response_s == Approx(example.response[i]).margin(1e-6));
    }
    CHECK(result->machines[0].name == "prefill-0");
    CHECK(result->machines[1].name == "decode-0");
    CHECK(result->last_arrival_s == 4);
  }
}

TEST_CASE("what a run cannot do is said with its cause") {
  RunOptions options;
  options.mode = Mode::kSplitwise;
  options.model = "bloom-176b";
  const FleetSpec good = Split("dgx-h100", "dgx-a100");
  CHECK(ErrorOf(good, Few(), options).empty());

  CHECK(ErrorOf({}, Few(), options).find("no pools") != std::string::npos);
  CHECK(ErrorOf(Split("dgx-z80", "dgx-a100"), Few(), options).find("dgx-z80") != std::string::npos);
  CHECK(ErrorOf({{{.role = PoolRole::kPrefill, .machine = "dgx-a100"}}}, Few(), options).find("decode") !=
        std::string::npos);
  CHECK(ErrorOf(good, {"w", {{0, 1, 0, 5}}}, options).find("request 0") != std::string::npos);
  CHECK(ErrorOf(good, {"w", {{0, 2, 5, 5}, {1, 1, 5, 5}}}, options).find("request 1") != std::string::npos);
  options.policy = "token-jsq";
  CHECK(ErrorOf(good, Few(), options).find("token-jsq") != std::string::npos);
  options.policy = "luck";
  CHECK(ErrorOf(good, Few(), options).find("luck") != std::string::npos);
  options.policy = "mixed-pool";
  options.model = "no-such-model";
  CHECK(ErrorOf(good, Few(), options).find("no-such-model") != std::string::npos);
}

}  // namespace baton::simulator
