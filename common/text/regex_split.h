#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

namespace baton::text {

/// A Split of tokenizer.json whose expression is none of those written out by hand: PCRE2 with limits on the
/// steps of a match. Immutable; safe to share between threads.
class RegexSplit {
  struct Compiled;

 public:
  /// What becomes of a match; the text between matches is always a word.
  enum class Behavior { kIsolated, kRemoved, kMergedWithPrevious, kMergedWithNext, kContiguous };
  struct Options {
    Behavior behavior = Behavior::kIsolated;
    bool invert = false;  // the text between matches is what counts as a match
    /// Processor time that a text may take, on top of one microsecond for each of its bytes. PCRE2 does not
    /// count the steps of a repeated character, so that its own limits leave some patterns quadratic in the
    /// text.
    std::chrono::milliseconds patience{200};
  };

  /// InvalidArgument where `regex` is malformed, too long, or means something else in Oniguruma's syntax,
  /// which Hugging Face reads it in.
  [[nodiscard]] static absl::StatusOr<std::shared_ptr<const RegexSplit>> Compile(const std::string& regex,
                                                                                 const Options& options);
  RegexSplit(std::unique_ptr<Compiled> compiled, const Options& options);
  ~RegexSplit();
  RegexSplit(const RegexSplit&) = delete;
  RegexSplit& operator=(const RegexSplit&) = delete;

  /// Appends the words of `text`, valid UTF-8; none is empty. ResourceExhausted where a match takes too many
  /// steps, or all of them too long.
  [[nodiscard]] absl::Status Split(std::string_view text, std::vector<std::string_view>& words) const;

 private:
  std::unique_ptr<Compiled> compiled_;
  Options options_;
};

}  // namespace baton::text
