#include <cstddef>
#include <cstdint>
#include <string_view>

#include "common/base/check.h"
#include "simulator/trace/trace_file.h"
#include "simulator/trace/trace_stats.h"

/// Any text: reading survives, and what it accepts is written as our own CSV and read again the same.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace baton::simulator;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto workload = ParseTrace(text, "fuzz", {.requests = 10'000});
  if (!workload.ok()) return 0;
  BATON_CHECK(StatsOf(*workload).prompt.least >= 1, "a prompt without tokens was accepted");
  const std::string written = FormatTrace(*workload, TraceFormat::kCsv);
  const auto again = ParseTrace(written, "again");
  BATON_CHECK(again.ok(), "{}", written);
  BATON_CHECK(FormatTrace(*again, TraceFormat::kCsv) == written, "{}", written);
  return 0;
}
