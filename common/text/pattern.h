#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "common/text/backtracking_regex.h"
#include "common/text/linear_regex.h"
#include "common/text/split.h"
#include "common/text/text_parts.h"

namespace baton::text {

/// What a component of tokenizer.json looks for in a text: a text, characters of a class, or a regular
/// expression, which is matched by the fastest means that knows it. Immutable; safe to share between threads.
class Pattern {
 public:
  /// Characters whose matches need no expression.
  enum class Class {
    kPunctuation,    // each
    kNumber,         // each
    kNumbers,        // each run
    kWhiteSpace,     // each
    kWordsAndSigns,  // each run of word characters, and of others that are no white space
  };

  explicit Pattern(Class characters) : what_(characters) {}
  /// Of the text itself; nothing matches everywhere.
  [[nodiscard]] static Pattern OfText(std::string text);
  /// Errors as `BacktrackingRegex::Compile`.
  [[nodiscard]] static absl::StatusOr<Pattern> OfRegex(const std::string& regex);

  /// Appends all of `text`, valid UTF-8, as matches and what lies between. ResourceExhausted where an
  /// expression takes too long. Adds what it took to `effort`.
  [[nodiscard]] absl::Status Find(std::string_view text, std::vector<TextPart>& parts, Effort& effort) const;
  /// The pattern written out by hand that this is: its matches cover any text.
  [[nodiscard]] std::optional<SplitPattern> ByHand() const;
  /// The text, where it is one.
  [[nodiscard]] std::optional<std::string_view> Text() const;

 private:
  using What = std::variant<Class, std::string, SplitPattern, std::shared_ptr<const LinearRegex>,
                            std::shared_ptr<const BacktrackingRegex>>;
  explicit Pattern(What what) : what_(std::move(what)) {}

  What what_;
};

}  // namespace baton::text
