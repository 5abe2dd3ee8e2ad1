#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "common/grammar/pattern.h"

namespace baton::grammar {

/// A pattern as an automaton with one reading of each string: what follows it costs the same however
/// ambiguous the pattern is.
struct PatternStates {
  struct Edge {
    std::uint32_t set = 0;  // of `sets`
    std::uint32_t next = 0;
  };
  struct State {
    std::vector<Edge> edges;  // their sets have no character in common
    bool final = false;
  };
  std::vector<std::vector<CodeRange>>
      sets;                   // each rising, and within one of [0, 0x1F], [0x20, 0x7F], the rest
  std::vector<State> states;  // the first is where a string begins
};

/// Places between characters, with all counts written out, that a pattern may have for each of its states.
inline constexpr std::size_t kPlacesOfEachState = 8;

/// Takes what it does from `work`. Nothing where that, `states_max` or the places for it are not enough: the
/// states may be exponentially many.
[[nodiscard]] std::optional<PatternStates> StatesOf(const Pattern& pattern, std::size_t states_max,
                                                    std::size_t& work);

}  // namespace baton::grammar
