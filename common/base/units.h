#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <absl/status/statusor.h>

#include "common/base/clock.h"

/// Quantities as people write them: `64MiB`, `250ms`, `7.4 MB`.
namespace baton {

/// Whole bytes from text: a number and one of B, kB, MB, GB, KiB, MiB, GiB; a bare number is refused unless
/// 0.
[[nodiscard]] absl::StatusOr<std::uint64_t> ParseBytes(std::string_view text);
/// A duration from text: a number and one of ns, us, ms, s, min, h; a bare number is refused unless 0.
[[nodiscard]] absl::StatusOr<Duration> ParseDuration(std::string_view text);
/// "1.5 MiB": three significant digits, binary units.
[[nodiscard]] std::string FormatBytes(std::uint64_t bytes);
/// "12.3 ms": three significant digits.
[[nodiscard]] std::string FormatDuration(Duration duration);

}  // namespace baton
