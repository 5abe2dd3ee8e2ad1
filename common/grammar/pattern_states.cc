#include "common/grammar/pattern_states.h"

#include <algorithm>
#include <map>
#include <utility>

#include <absl/container/flat_hash_map.h>

namespace baton::grammar {
namespace {

using Numbers = std::vector<std::uint32_t>;
constexpr std::uint32_t kNone = UINT32_MAX;

/// The pattern with its counts written out: places between characters, and how to come from one to another.
class Places {
 public:
  Places(const Pattern& pattern, std::size_t places_max, std::size_t& work)
      : pattern_(pattern), places_max_(places_max), work_(work) {
    const std::uint32_t begin = Add();
    end_ = Follow(static_cast<std::uint32_t>(pattern.nodes.size() - 1), begin);
  }

  struct Place {
    Numbers skips;              // places that are reached without a character
    std::uint32_t set = kNone;  // a character of this set leads to `next`
    std::uint32_t next = 0;
  };
  [[nodiscard]] bool Full() const { return work_ == 0 || places_.size() >= places_max_; }
  [[nodiscard]] std::size_t Size() const { return places_.size(); }
  [[nodiscard]] const Place& At(std::uint32_t place) const { return places_[place]; }
  [[nodiscard]] std::uint32_t End() const { return end_; }

 private:
  std::uint32_t Add() {
    places_.emplace_back();
    return static_cast<std::uint32_t>(places_.size() - 1);
  }
  void Skip(std::uint32_t from, std::uint32_t to) { places_[from].skips.push_back(to); }

  /// The place after the expression.
  std::uint32_t Follow(std::uint32_t index, std::uint32_t from) {
    if (Full()) return from;
    --work_;  // an alternative without a character adds no place, but a way
    const PatternNode& node = pattern_.nodes[index];
    switch (node.kind) {
      case PatternNode::Kind::kSet: {
        const std::uint32_t at = Add();
        const std::uint32_t after = Add();
        Skip(from, at);
        places_[at].set = node.set;
        places_[at].next = after;
        return after;
      }
      case PatternNode::Kind::kSequence:
        for (const std::uint32_t child : node.children) from = Follow(child, from);
        return from;
      case PatternNode::Kind::kAlternatives: {
        const std::uint32_t end = Add();
        for (const std::uint32_t child : node.children) Skip(Follow(child, from), end);
        return end;
      }
      case PatternNode::Kind::kRepeat:
        return Repeat(node, from);
    }
    return from;
  }

  std::uint32_t Repeat(const PatternNode& node, std::uint32_t from) {
    const std::uint32_t child = node.children[0];
    for (std::int64_t i = 0; i < node.least && !Full(); ++i) from = Follow(child, from);
    const std::uint32_t end = Add();
    Skip(from, end);
    if (node.most == PatternNode::kEndless) {
      Skip(Follow(child, end), end);
      return end;
    }
    for (std::int64_t i = node.least; i < node.most && !Full(); ++i) {
      from = Follow(child, from);
      Skip(from, end);
    }
    return end;
  }

  const Pattern& pattern_;
  const std::size_t places_max_;
  std::size_t& work_;
  std::vector<Place> places_;
  std::uint32_t end_ = 0;
};

/// The characters in classes: those of one class are in the same sets.
struct Classes {
  std::vector<std::vector<CodeRange>> ranges;  // of each class
  std::vector<Numbers> of_set;

  explicit Classes(const std::vector<std::vector<CodeRange>>& sets) : of_set(sets.size()) {
    std::vector<char32_t> begins = {0, 0x20, 0x80};
    for (const auto& set : sets) {
      for (const auto& [first, last] : set) begins.insert(begins.end(), {first, last + 1});
    }
    std::ranges::sort(begins);
    begins.erase(std::unique(begins.begin(), begins.end()), begins.end());
    std::vector<Numbers> members(begins.size());  // the sets that hold what begins there
    for (std::uint32_t set = 0; set < sets.size(); ++set) {
      for (const auto& [first, last] : sets[set]) {
        for (auto at = std::ranges::lower_bound(begins, first); at != begins.end() && *at <= last; ++at)
          members[static_cast<std::size_t>(at - begins.begin())].push_back(set);
      }
    }
    std::map<std::pair<int, Numbers>, std::uint32_t> known;
    for (std::size_t i = 0; i + 1 < begins.size(); ++i) {
      if (members[i].empty()) continue;
      const int part = begins[i] < 0x20 ? 0 : begins[i] < 0x80 ? 1 : 2;
      const auto number = static_cast<std::uint32_t>(ranges.size());
      const auto [found, fresh] = known.try_emplace(std::pair(part, members[i]), number);
      if (fresh) {
        ranges.emplace_back();
        for (const std::uint32_t set : members[i]) of_set[set].push_back(number);
      }
      ranges[found->second].emplace_back(begins[i], begins[i + 1] - 1);
    }
  }
  [[nodiscard]] int PartOf(std::uint32_t number) const {
    const char32_t first = ranges[number].front().first;
    return first < 0x20 ? 0 : first < 0x80 ? 1 : 2;
  }
};

/// Sets of places that a string may lead to, each a state.
class Subsets {
 public:
  Subsets(const Places& places, const Classes& classes, std::size_t states_max, std::size_t& work)
      : places_(places), classes_(classes), states_max_(states_max), work_(work), seen_(places.Size()) {}

  std::optional<PatternStates> Run() {
    StateOf({0});
    Numbers subset;
    for (std::uint32_t state = 0; state < subsets_.size(); ++state) {
      subset = subsets_[state];
      if (!Lead(state, subset) || subsets_.size() > states_max_) return std::nullopt;
    }
    return std::move(out_);
  }

 private:
  bool Spend(std::size_t steps) {
    work_ -= std::min(work_, steps);
    return work_ > 0;
  }

  /// The state of the places that are reached from these without a character.
  std::uint32_t StateOf(Numbers from) {
    ++round_;
    Numbers takers;  // places where a character is taken, or the end
    while (!from.empty()) {
      const std::uint32_t at = from.back();
      from.pop_back();
      if (std::exchange(seen_[at], round_) == round_) continue;
      const Places::Place& place = places_.At(at);
      Spend(1 + place.skips.size());
      if (place.set != kNone || at == places_.End()) takers.push_back(at);
      from.insert(from.end(), place.skips.begin(), place.skips.end());
    }
    std::ranges::sort(takers);
    const auto [found, fresh] = known_.try_emplace(takers, static_cast<std::uint32_t>(subsets_.size()));
    if (fresh) {
      out_.states.push_back({.edges = {}, .final = std::ranges::binary_search(takers, places_.End())});
      subsets_.push_back(std::move(takers));
    }
    return found->second;
  }

  /// Adds the edges of a state.
  bool Lead(std::uint32_t state, const Numbers& subset) {
    std::map<std::uint32_t, Numbers> targets;  // by class
    for (const std::uint32_t at : subset) {
      const Places::Place& place = places_.At(at);
      if (place.set == kNone) continue;
      for (const std::uint32_t number : classes_.of_set[place.set]) targets[number].push_back(place.next);
      if (!Spend(1 + 4 * classes_.of_set[place.set].size())) return false;
    }
    std::map<Numbers, std::uint32_t> states;  // by their places
    std::map<std::pair<std::uint32_t, int>, std::vector<CodeRange>>
        edges;  // by where they lead, and the part
    for (auto& [number, places] : targets) {
      auto found = states.find(places);
      if (found == states.end()) found = states.emplace(places, StateOf(places)).first;
      if (!Spend(places.size() + classes_.ranges[number].size())) return false;
      auto& ranges = edges[{found->second, classes_.PartOf(number)}];
      ranges.insert(ranges.end(), classes_.ranges[number].begin(), classes_.ranges[number].end());
    }
    for (auto& [where, ranges] : edges) {
      out_.states[state].edges.push_back({.set = SetOf(std::move(ranges)), .next = where.first});
    }
    return true;
  }

  std::uint32_t SetOf(std::vector<CodeRange> ranges) {
    std::ranges::sort(ranges);
    std::vector<CodeRange> joined;
    for (const auto& [first, last] : ranges) {
      if (!joined.empty() && joined.back().second + 1 == first) {
        joined.back().second = last;
      } else {
        joined.emplace_back(first, last);
      }
    }
    const auto [found, fresh] = sets_.try_emplace(joined, static_cast<std::uint32_t>(out_.sets.size()));
    if (fresh) out_.sets.push_back(std::move(joined));
    return found->second;
  }

  const Places& places_;
  const Classes& classes_;
  const std::size_t states_max_;
  std::size_t& work_;
  std::vector<std::uint32_t> seen_;
  std::uint32_t round_ = 0;
  absl::flat_hash_map<Numbers, std::uint32_t> known_;
  std::vector<Numbers> subsets_;
  std::map<std::vector<CodeRange>, std::uint32_t> sets_;
  PatternStates out_;
};

}  // namespace

std::optional<PatternStates> StatesOf(const Pattern& pattern, std::size_t states_max, std::size_t& work) {
  const Places places(pattern, kPlacesOfEachState * states_max, work);
  if (places.Full()) return std::nullopt;
  return Subsets(places, Classes(pattern.sets), states_max, work).Run();
}

}  // namespace baton::grammar
