#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "common/text/character_set.h"

/// Regular expressions in Oniguruma's syntax, which Hugging Face reads tokenizer.json's in: the part of it
/// that can be matched in linear time.
namespace baton::text {

/// A node of the expression; children before parents, the root last.
struct RegexNode {
  enum class Kind {
    kEmpty,
    kSet,           // a character of `set`
    kSequence,      // its children one after the other
    kAlternatives,  // the first of its children that leads to a match
    kRepeat,        // its child `min` to `max` times
    kAhead,         // a character of `set` follows
    kBehind,        // a character of `set` stands before
    kLineBegin,
    kLineEnd,
    kTextBegin,
    kTextEnd,
    kWordEdge,
  };
  static constexpr std::uint32_t kEndless = UINT32_MAX;

  Kind kind = Kind::kEmpty;
  std::vector<std::uint32_t> children;
  std::uint32_t set = 0;
  std::uint32_t min = 0;
  std::uint32_t max = 0;
  bool lazy = false;
  bool possessive = false;  // of a set only
  bool negated = false;     // of what looks around
};

struct RegexTree {
  std::vector<RegexNode> nodes;
  std::vector<CharacterSet> sets;
};

/// The tree of `regex`; nothing where it is malformed or has what is not matched in linear time: references,
/// atomic groups, look-around at more than a character, loops over what may be empty.
[[nodiscard]] std::optional<RegexTree> ParseRegex(std::string_view regex);

}  // namespace baton::text
