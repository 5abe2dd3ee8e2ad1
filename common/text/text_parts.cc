#include "common/text/text_parts.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace baton::text {
namespace {

/// A match goes to the part before it, unless that is a match too.
void MergeWithPrevious(const std::vector<TextPart>& parts, std::vector<TextPart>& words) {
  bool after_match = false;
  for (const TextPart& part : parts) {
    if (part.match && !after_match && !words.empty()) {
      words.back().end = part.end;
    } else {
      words.push_back(part);
    }
    after_match = part.match;
  }
}

/// The same from the other end.
void MergeWithNext(const std::vector<TextPart>& parts, std::vector<TextPart>& words) {
  bool after_match = false;
  for (auto part = parts.rbegin(); part != parts.rend(); ++part) {
    if (part->match && !after_match && !words.empty()) {
      words.back().begin = part->begin;
    } else {
      words.push_back(*part);
    }
    after_match = part->match;
  }
  std::ranges::reverse(words);
}

/// Neighbours of a kind become one.
void MergeNeighbours(const std::vector<TextPart>& parts, std::vector<TextPart>& words) {
  bool after_match = false;
  for (const TextPart& part : parts) {
    if (part.match == after_match && !words.empty()) {
      words.back().end = part.end;
    } else {
      words.push_back(part);
    }
    after_match = part.match;
  }
}

}  // namespace

std::vector<TextPart> WordsOf(std::vector<TextPart> parts, SplitBehavior behavior, bool invert) {
  if (invert) {
    for (TextPart& part : parts) part.match = !part.match;
  }
  std::vector<TextPart> words;
  switch (behavior) {
    case SplitBehavior::kIsolated:
      words = std::move(parts);
      break;
    case SplitBehavior::kRemoved:
      std::ranges::remove_copy_if(parts, std::back_inserter(words), &TextPart::match);
      break;
    case SplitBehavior::kMergedWithPrevious:
      MergeWithPrevious(parts, words);
      break;
    case SplitBehavior::kMergedWithNext:
      MergeWithNext(parts, words);
      break;
    case SplitBehavior::kContiguous:
      MergeNeighbours(parts, words);
      break;
  }
  std::erase_if(words, [](const TextPart& word) { return word.begin == word.end; });
  return words;
}

}  // namespace baton::text
