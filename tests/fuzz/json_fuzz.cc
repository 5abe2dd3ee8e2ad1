#include <cstddef>
#include <cstdint>
#include <string_view>

#include "common/base/check.h"
#include "common/json/value.h"

/// Any text: parsing survives, and what it accepts is written, read again and written the same.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto value = baton::json::Parse(text);
  if (!value.ok()) return 0;
  const std::string written = baton::json::Serialize(*value);
  const auto again = baton::json::Parse(written);
  BATON_CHECK(again.ok(), "{}", written);
  BATON_CHECK(baton::json::Serialize(*again) == written, "{}", written);
  return 0;
}
