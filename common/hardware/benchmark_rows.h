#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/statusor.h>

namespace baton::hardware {

/// One measurement: `batch` prompts of `prompt_tokens` each at once, then as many sequences that decode
/// together until each has `output_tokens`. The time of the whole prompt phase, the mean time of a decode
/// step.
struct BenchmarkRow {
  std::string model;
  std::string device;
  int tensor_parallel = 1;
  std::int64_t prompt_tokens = 0;
  std::int64_t batch = 1;
  std::int64_t output_tokens = 0;
  double prompt_ms = 0;
  double token_ms = 0;
  double total_ms = 0;                      // from the request to its last token; 0: not measured
  int line = 0;                             // of the file, from 1
  std::shared_ptr<const std::string> file;  // its path; null: it has none
};

/// CSV with a header that names at least model, hardware, tensor_parallel, prompt_size, batch_size,
/// token_size, prompt_time and token_time, in any order; e2e_time is read where it is, other columns are not.
/// Times in milliseconds. The first mistakes of the file as "path:line: column: what", one a line.
[[nodiscard]] absl::StatusOr<std::vector<BenchmarkRow>> ReadBenchmarkCsv(const std::string& path);
[[nodiscard]] absl::StatusOr<std::vector<BenchmarkRow>> ParseBenchmarkCsv(std::string_view text,
                                                                          std::string_view name);

}  // namespace baton::hardware
