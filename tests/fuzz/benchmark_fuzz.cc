#include <cstddef>
#include <cstdint>
#include <string_view>

#include "common/base/check.h"
#include "common/base/error.h"
#include "common/hardware/benchmark_rows.h"

/// Any text as a table of measurements: reading survives, rows are in their ranges, problems name the file.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto rows = baton::hardware::ParseBenchmarkCsv(text, "f");
  if (!rows.ok()) {
    BATON_CHECK(baton::Message(rows.status()).starts_with("f:"));
    return 0;
  }
  BATON_CHECK(!rows->empty());
  for (const auto& row : *rows) {
    BATON_CHECK(row.prompt_tokens >= 1 && row.batch >= 1 && row.output_tokens >= 1 &&
                row.tensor_parallel >= 1);
    BATON_CHECK(row.prompt_ms > 0 && row.token_ms > 0 && row.total_ms >= 0);
  }
  return 0;
}
