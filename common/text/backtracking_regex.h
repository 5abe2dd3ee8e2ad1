#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "common/text/text_parts.h"

namespace baton::text {

// A dozen times the longest in use.
inline constexpr std::size_t kMaxRegexBytes = 32768;

/// An expression that `LinearRegex` does not know: PCRE2 with limits on steps and time. Immutable; safe to
/// share between threads.
class BacktrackingRegex {
  struct Compiled;

 public:
  /// Processor time that a text may take, on top of a quarter of a microsecond for each of its bytes, five
  /// times what ordinary patterns need. PCRE2 does not count the steps of a repeated character, so that its
  /// own limits leave some patterns quadratic in the text.
  static constexpr std::chrono::milliseconds kPatience{100};

  /// InvalidArgument where `regex` is malformed, too long, or means something else in Oniguruma's syntax,
  /// which Hugging Face reads it in.
  [[nodiscard]] static absl::StatusOr<std::shared_ptr<const BacktrackingRegex>> Compile(
      const std::string& regex, std::chrono::milliseconds patience = kPatience);
  BacktrackingRegex(std::unique_ptr<Compiled> compiled, std::chrono::milliseconds patience);
  ~BacktrackingRegex();
  BacktrackingRegex(const BacktrackingRegex&) = delete;
  BacktrackingRegex& operator=(const BacktrackingRegex&) = delete;

  /// Appends all of `text`, valid UTF-8, as matches and what lies between. ResourceExhausted where a match
  /// takes too many steps, or all of them too long.
  [[nodiscard]] absl::Status Find(std::string_view text, std::vector<TextPart>& parts) const;

 private:
  std::unique_ptr<Compiled> compiled_;
  std::chrono::milliseconds patience_;
};

}  // namespace baton::text
