#pragma once

#include <cstddef>
#include <vector>

/// A text cut where a pattern matches: what a Split of tokenizer.json begins with.
namespace baton::text {

/// A stretch of the text: a match, or what lies between two. A match may be empty.
struct TextPart {
  std::size_t begin = 0;
  std::size_t end = 0;
  bool match = false;
};

/// What becomes of a match; the text between matches is always a word.
enum class SplitBehavior { kIsolated, kRemoved, kMergedWithPrevious, kMergedWithNext, kContiguous };

/// What a Split does with the parts of a text: the words that are left, none empty. With `invert`, the text
/// between matches is what counts as a match.
[[nodiscard]] std::vector<TextPart> WordsOf(std::vector<TextPart> parts, SplitBehavior behavior, bool invert);

}  // namespace baton::text
