#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/statusor.h>

namespace baton::hardware {

/// One step of a worker, as its telemetry (`telemetry.steps_file`) says: what it computed, and how long that
/// took.
struct StepRow {
  std::string model;
  std::string device;
  int tensor_parallel = 1;
  std::int64_t prompts = 0;         // whose pieces were computed
  std::int64_t prompt_tokens = 0;   // of these pieces together
  std::int64_t cached_tokens = 0;   // of their prompts, before the pieces
  std::int64_t decodes = 0;         // sequences that got a token
  std::int64_t context_tokens = 0;  // of these together
  double seconds = 0;
  int line = 0;                             // of the file, from 1
  std::shared_ptr<const std::string> file;  // its path; null: it has none
};

/// Whether the first line names telemetry's columns and not a benchmark's (benchmark_rows.h).
[[nodiscard]] bool IsStepCsv(std::string_view text);

/// CSV with a header that names model, hardware, tensor_parallel, prompts, prompt_tokens, cached_tokens,
/// decodes, context_tokens and seconds, in any order; other columns are not read. The first mistakes as
/// "name:line: column: what", one a line.
[[nodiscard]] absl::StatusOr<std::vector<StepRow>> ParseStepCsv(std::string_view text, std::string_view name);

}  // namespace baton::hardware
