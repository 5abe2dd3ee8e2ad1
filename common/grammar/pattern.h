#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include <absl/status/statusor.h>

/// The `pattern` of a string: regular expressions in ECMA 262's syntax, the part of it that an automaton
/// follows character by character.
namespace baton::grammar {

/// Code points from the first to the second.
using CodeRange = std::pair<char32_t, char32_t>;

/// A node of the expression; children before parents, the root last.
struct PatternNode {
  enum class Kind {
    kSet,           // a character of `set`
    kSequence,      // its children one after the other
    kAlternatives,  // one of its children
    kRepeat,        // its child `least` to `most` times
  };
  static constexpr std::int64_t kEndless = INT64_MAX;

  Kind kind = Kind::kSequence;
  std::vector<std::uint32_t> children;
  std::uint32_t set = 0;
  std::int64_t least = 0;
  std::int64_t most = 0;
};

struct Pattern {
  std::vector<PatternNode> nodes;
  std::vector<std::vector<CodeRange>> sets;  // each rising, without surrogates
  /// Characters of the strings that match, at least and at most.
  std::int64_t shortest = 0;
  std::int64_t longest = 0;
};

/// Of the whole string: what is not bound to its begin or end by '^' or '$' has any characters there.
/// InvalidArgument says what is malformed or not supported.
[[nodiscard]] absl::StatusOr<Pattern> ParsePattern(std::string_view text);

}  // namespace baton::grammar
