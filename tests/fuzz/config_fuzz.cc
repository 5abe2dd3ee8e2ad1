#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/check.h"
#include "common/base/error.h"
#include "common/config/reader.h"

/// Any text: reading survives, values stay in their ranges, and every problem is a line that begins with the
/// name.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto document = baton::config::Document::FromText(text, "f");
  if (!document.ok()) {
    BATON_CHECK(baton::Message(document.status()).starts_with("f:"));
    return 0;
  }
  const baton::config::Section root = document->Root();
  std::string name;
  int port = 1;
  double ratio = 0.5;
  bool flag = false;
  std::uint64_t bytes = 0;
  baton::Duration pause{};
  std::vector<std::string> list;
  root.String("name", name);
  root.Integer("port", port, 1, 65535);
  root.Number("ratio", ratio, 0, 1);
  root.Boolean("flag", flag);
  root.Bytes("bytes", bytes, 0, 1U << 30);
  root.Duration("pause", pause, baton::Duration::zero(), std::chrono::seconds(10));
  root.StringList("list", list);
  for (const auto& worker : root.SubList("workers")) worker.Sub("inner").Integer("port", port, 1, 65535);
  BATON_CHECK(port >= 1 && port <= 65535);
  BATON_CHECK(ratio >= 0 && ratio <= 1);
  BATON_CHECK(bytes <= 1U << 30);
  BATON_CHECK(pause >= baton::Duration::zero() && pause <= std::chrono::seconds(10));
  const absl::Status verdict = document->Finish();
  BATON_CHECK(verdict.ok() || baton::Message(verdict).starts_with("f:"));
  return 0;
}
