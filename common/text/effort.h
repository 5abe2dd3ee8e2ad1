#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace baton::text {

/// What encoding one text has cost so far, and what it may: shared by all its pieces and words, so that many
/// small ones cannot take what one large one may not. For one thread.
struct Effort {
  explicit Effort(std::size_t text_bytes)
      : patience(std::chrono::milliseconds(100) + std::chrono::nanoseconds(250 * text_bytes)) {}

  /// Characters and states looked at.
  std::uint64_t steps = 0;
  /// Searches by PCRE2, whose steps are not counted: it counts none for a repeated character, so that its own
  /// limits leave some patterns quadratic in the text.
  std::uint64_t searches = 0;
  /// Processor time that these may take: five times what ordinary patterns need on a text, and something on
  /// top for the small ones.
  std::chrono::nanoseconds patience;
  /// When it ends, by the clock of this thread's processor time; begun by the first search.
  std::optional<std::chrono::nanoseconds> end_of_patience;
};

}  // namespace baton::text
