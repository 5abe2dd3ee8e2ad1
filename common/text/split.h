#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

/// Splits text into the words that byte-pair encoding works on, as the regular expressions in tokenizer.json
/// do. The known ones are written out by hand: one pass, no backtracking, the same words.
namespace baton::text {

enum class SplitPattern {
  kGpt2,    // ByteLevel's own expression
  kLlama3,  // numbers in groups of up to three digits
  kQwen2,   // the same, each digit alone
};

/// The pattern whose regular expression, as tokenizer.json spells it, is `regex`.
[[nodiscard]] std::optional<SplitPattern> FindSplitPattern(std::string_view regex);

/// The length of the first word of `text`, which is valid UTF-8 and not empty. Splitting all of a text so
/// takes linear time; `looks`, where it is given, counts the characters looked at.
[[nodiscard]] std::size_t FirstWord(SplitPattern pattern, std::string_view text,
                                    std::uint64_t* looks = nullptr);

}  // namespace baton::text
