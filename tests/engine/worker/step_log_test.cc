#include "engine/worker/step_log.h"

#include <catch2/catch.hpp>

#include "common/base/error.h"
#include "common/hardware/step_rows.h"
#include "tests/support/shared_data.h"
#include "tests/support/temporary_folder.h"

namespace baton::engine {
namespace {

using std::chrono::milliseconds;

const StepLogSubject kSubject{.model = "org/model, tuned", .hardware = "cpu/avx2/bf16", .ranks = 2};
constexpr RequestKey kKey{RequestId(7), Attempt(1)};

std::unique_ptr<StepLog> OpenOrFail(const StepLogConfig& config) {
  auto log = StepLog::Open(config, kSubject);
  UNSCOPED_INFO(log.status().ToString());
  REQUIRE(log.ok());
  return *std::move(log);
}

std::vector<hardware::StepRow> RowsOf(const std::string& file) {
  const auto rows = hardware::ParseStepCsv(test::ReadFile(file), file);
  UNSCOPED_INFO(rows.status().ToString());
  REQUIRE(rows.ok());
  return *rows;
}

TEST_CASE("the simulator reads of each step what it computed and how long that took") {
  const test::TemporaryFolder folder;
  const std::string file = folder.Path() + "/steps.csv";
  {
    const auto log = OpenOrFail({.file = file});
    log->Add({.prompt_tokens = 300,
              .duration = milliseconds(20),
              .parts = {{.key = kKey, .tokens = 256, .positions = 768},
                        {.key = kKey, .tokens = 44, .positions = 44}}});
    log->Add({.decode_tokens = 2,
              .duration = Duration(1'234'567),
              .parts = {{.key = kKey, .tokens = 1, .positions = 100, .decoding = true},
                        {.key = kKey, .tokens = 1, .positions = 31, .decoding = true}}});
  }

  const std::vector<hardware::StepRow> rows = RowsOf(file);

  REQUIRE(rows.size() == 2);
  CHECK(rows[0].model == "org/model_ tuned");
  CHECK(rows[0].device == "cpu/avx2/bf16");
  CHECK(rows[0].tensor_parallel == 2);
  CHECK(rows[0].prompts == 2);
  CHECK(rows[0].prompt_tokens == 300);
  CHECK(rows[0].cached_tokens == 512);
  CHECK(rows[0].decodes == 0);
  CHECK(rows[0].seconds == 0.02);
  CHECK(rows[1].prompts == 0);
  CHECK(rows[1].decodes == 2);
  CHECK(rows[1].context_tokens == 131);
  CHECK(rows[1].seconds == 0.001234567);
}

TEST_CASE("a file of steps ends below its limit, with whole rows") {
  const test::TemporaryFolder folder;
  const std::string file = folder.Path() + "/steps.csv";
  constexpr std::uint64_t kLimit = 4096;
  {
    const auto log = OpenOrFail({.file = file, .limit_bytes = kLimit});
    for (int i = 0; i < 1000; ++i) {
      log->Add({.decode_tokens = 1,
                .duration = milliseconds(1),
                .parts = {{.key = kKey, .tokens = 1, .positions = 9, .decoding = true}}});
    }
  }

  CHECK(test::ReadFile(file).size() <= kLimit);
  CHECK(RowsOf(file).size() > 40);
}

TEST_CASE("a file of steps that cannot be made is an error that names field and file") {
  const auto log = StepLog::Open({.file = "/nonexistent/steps.csv"}, kSubject);

  REQUIRE_FALSE(log.ok());
  CHECK(Message(log.status()).starts_with("telemetry.steps_file: /nonexistent/steps.csv: "));
}

}  // namespace
}  // namespace baton::engine
