#include <cstddef>
#include <cstdint>
#include <string_view>

#include "common/base/check.h"
#include "common/base/error.h"
#include "common/hardware/step_rows.h"

/// Any text as telemetry of steps: reading survives, rows are in their ranges, problems name the file.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  static_cast<void>(baton::hardware::IsStepCsv(text));
  const auto rows = baton::hardware::ParseStepCsv(text, "f");
  if (!rows.ok()) {
    BATON_CHECK(baton::Message(rows.status()).starts_with("f:"));
    return 0;
  }
  BATON_CHECK(!rows->empty());
  for (const auto& row : *rows) {
    BATON_CHECK(row.prompts + row.decodes >= 1 && row.tensor_parallel >= 1 && row.seconds > 0);
    BATON_CHECK(row.prompt_tokens >= row.prompts && row.context_tokens >= row.decodes);
    BATON_CHECK(row.cached_tokens >= 0 && row.line > 1);
  }
  return 0;
}
