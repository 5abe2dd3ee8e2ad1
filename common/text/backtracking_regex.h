#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "common/text/effort.h"
#include "common/text/text_parts.h"

namespace baton::text {

// A dozen times the longest in use.
inline constexpr std::size_t kMaxRegexBytes = 32768;

/// An expression that `LinearRegex` does not know: PCRE2 with limits on steps and time. Immutable; safe to
/// share between threads.
class BacktrackingRegex {
  struct Compiled;

 public:
  /// InvalidArgument where `regex` is malformed, too long, or means something else in Oniguruma's syntax,
  /// which Hugging Face reads it in.
  [[nodiscard]] static absl::StatusOr<std::shared_ptr<const BacktrackingRegex>> Compile(
      const std::string& regex);
  explicit BacktrackingRegex(std::unique_ptr<Compiled> compiled);
  ~BacktrackingRegex();
  BacktrackingRegex(const BacktrackingRegex&) = delete;
  BacktrackingRegex& operator=(const BacktrackingRegex&) = delete;

  /// Appends all of `text`, valid UTF-8, as matches and what lies between. ResourceExhausted where a match
  /// takes too many steps, or all that share `effort` take too long.
  [[nodiscard]] absl::Status Find(std::string_view text, std::vector<TextPart>& parts, Effort& effort) const;

 private:
  std::unique_ptr<Compiled> compiled_;
};

}  // namespace baton::text
