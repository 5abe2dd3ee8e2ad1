#include "common/base/units.h"

#include <array>
#include <charconv>
#include <cmath>

#include "common/base/error.h"

namespace baton {
namespace {

struct Unit {
  std::string_view name;
  double scale;
};

constexpr std::array kByteUnits = {Unit{"B", 1.0},           Unit{"kB", 1e3},     Unit{"MB", 1e6},
                                   Unit{"GB", 1e9},          Unit{"KiB", 1024.0}, Unit{"MiB", 1048576.0},
                                   Unit{"GiB", 1073741824.0}};
constexpr std::array kTimeUnits = {Unit{"ns", 1.0}, Unit{"us", 1e3},   Unit{"ms", 1e6},
                                   Unit{"s", 1e9},  Unit{"min", 60e9}, Unit{"h", 3600e9}};

/// The number of base units that `text` says, or an error that names what is wrong with it.
template <std::size_t n>
absl::StatusOr<std::uint64_t> Parse(std::string_view text, std::string_view what,
                                    const std::array<Unit, n>& units, std::string_view example) {
  double number = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (code != std::errc() || !std::isfinite(number) || number < 0) {
    return Error(kInvalidArgument, "'{}' is no {}; write it like '{}'", text, what, example);
  }
  std::string_view suffix(end, static_cast<std::size_t>(text.data() + text.size() - end));
  while (!suffix.empty() && suffix.front() == ' ') suffix.remove_prefix(1);
  if (suffix.empty() && number == 0) return 0;
  for (const Unit& unit : units) {
    if (unit.name != suffix) continue;
    const double scaled = std::round(number * unit.scale);
    if (scaled > 9.0e18) return Error(kInvalidArgument, "'{}' is too large a {}", text, what);
    return static_cast<std::uint64_t>(scaled);
  }
  return Error(kInvalidArgument, "'{}' has no unit that is known; write a {} like '{}'", text, what, example);
}

}  // namespace

absl::StatusOr<std::uint64_t> ParseBytes(std::string_view text) {
  return Parse(text, "size", kByteUnits, "64MiB");
}

absl::StatusOr<Duration> ParseDuration(std::string_view text) {
  const absl::StatusOr<std::uint64_t> nanoseconds = Parse(text, "duration", kTimeUnits, "250ms");
  if (!nanoseconds.ok()) return nanoseconds.status();
  return Duration(static_cast<std::int64_t>(*nanoseconds));
}

std::string FormatBytes(std::uint64_t bytes) {
  constexpr std::array names = {"B", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1024 && unit + 1 < names.size()) {
    value /= 1024;
    ++unit;
  }
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.3g} {}", value, names[unit]);
}

std::string FormatDuration(Duration duration) {
  const double seconds = Seconds(duration);
  if (std::abs(seconds) >= 1) return fmt::format("{:.3g} s", seconds);
  if (std::abs(seconds) >= 1e-3) return fmt::format("{:.3g} ms", seconds * 1e3);
  return fmt::format("{:.3g} us", seconds * 1e6);
}

}  // namespace baton
