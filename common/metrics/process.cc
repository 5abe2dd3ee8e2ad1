#include "common/metrics/process.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

namespace baton::metrics {
namespace {

/// Fields of /proc/self/stat from the third on ("state"): those before hold the program's name, spaces and
/// all.
std::vector<std::string> StatFields() {
  std::ifstream file("/proc/self/stat");
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const std::size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) return {};
  std::istringstream rest(text.substr(name_end + 1));
  return {std::istream_iterator<std::string>(rest), std::istream_iterator<std::string>()};
}

double BootTimeSeconds() {
  std::ifstream file("/proc/stat");
  for (std::string word; file >> word;) {
    if (double seconds = 0; word == "btime" && file >> seconds) return seconds;
  }
  return 0;
}

std::uint64_t CountDescriptors() {
  std::error_code error;
  std::filesystem::directory_iterator all("/proc/self/fd", error);
  if (error) return 0;
  const auto count = static_cast<std::uint64_t>(std::distance(begin(all), end(all)));
  return count > 0 ? count - 1 : 0;  // without the one that reads the folder
}

// Positions after the name, counted from 0: proc(5) numbers them from 1 and begins two earlier.
constexpr std::size_t kUserTicks = 11;
constexpr std::size_t kSystemTicks = 12;
constexpr std::size_t kStartTicks = 19;
constexpr std::size_t kResidentPages = 21;

}  // namespace

std::optional<ProcessUsage> ReadProcessUsage() {
  const std::vector<std::string> fields = StatFields();
  if (fields.size() <= kResidentPages) return std::nullopt;
  const auto number = [&](std::size_t index) { return std::strtod(fields[index].c_str(), nullptr); };
  const auto ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
  return ProcessUsage{
      .resident_bytes = static_cast<std::uint64_t>(number(kResidentPages)) *
                        static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE)),
      .cpu_seconds = (number(kUserTicks) + number(kSystemTicks)) / ticks,
      .open_descriptors = CountDescriptors(),
      .start_time_seconds = BootTimeSeconds() + number(kStartTicks) / ticks,
  };
}

}  // namespace baton::metrics
