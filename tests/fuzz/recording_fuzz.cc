#include <cstddef>
#include <cstdint>
#include <sstream>
#include <string>
#include <string_view>

#include "common/base/check.h"
#include "router/record/replay.h"

/// Any text: it replays or is refused with its line; each line that is read is written, and read again, the
/// same.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace baton::router;
  const std::string text(reinterpret_cast<const char*>(data), size);
  std::istringstream whole(text);
  const auto report = Replay(whole, "fuzz", {.broken_off = true, .limits = {.lines = 1000}});
  if (report.ok()) {
    BATON_CHECK(report->admit.same <= report->admit.made, "more same than made");
    BATON_CHECK(report->lines <= 1000, "{} lines", report->lines);
  } else {
    BATON_CHECK(report.status().message().substr(0, 5) == "fuzz:", "an error without its place");
  }
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const auto entry = ParseEntry(line);
    if (!entry.ok()) continue;
    const auto format = [](const Entry& e) {
      return std::visit([](const auto& each) { return FormatEntry(each); }, e);
    };
    const std::string written = format(*entry);
    const auto again = ParseEntry(written);
    BATON_CHECK(again.ok(), "{}", written);
    BATON_CHECK(format(*again) == written, "{}", written);
  }
  return 0;
}
