#include <algorithm>
#include <cstring>
#include <set>
#include <utility>
#include <vector>

#include "common/grammar/grammar.h"

/// A state's bytes: for each reading, by rising order, one byte with its number of frames and four
/// little-endian bytes for each, the innermost last. A reading without frames is the whole text's end.
namespace baton::grammar {
namespace {

using Reading = std::vector<NodeId>;
constexpr std::size_t kFrameBytes = 4;
static_assert(kFramesMax < 256);

void Append(State& out, const Reading& reading) {
  out.push_back(static_cast<char>(reading.size()));
  for (const NodeId node : reading) {
    for (unsigned shift = 0; shift < 32; shift += 8) out.push_back(static_cast<char>((node >> shift) & 0xff));
  }
}

/// The reading at `at`, which moves behind it.
Reading Take(std::string_view state, std::size_t& at) {
  Reading reading(static_cast<std::uint8_t>(state[at++]));
  for (NodeId& node : reading) {
    node = 0;
    for (unsigned shift = 0; shift < 32; shift += 8)
      node |= NodeId{static_cast<std::uint8_t>(state[at++])} << shift;
  }
  return reading;
}

/// Whether a reading whose innermost node becomes `node`, `depth` frames deep, can still come to its end.
bool Alive(const Grammar& grammar, NodeId node, std::size_t depth) {
  return static_cast<std::int32_t>(depth) + grammar.At(node).height <= kFramesMax;
}

/// Collects the readings that take a byte next, and the one that has ended, from those given: follows what
/// takes no byte.
class Closure {
 public:
  explicit Closure(const Grammar& grammar) : grammar_(grammar) {}
  void Add(Reading reading) {
    if (seen_.size() < 8 * kReadingsMax && seen_.insert(reading).second) work_.push_back(std::move(reading));
  }
  State Run() {
    while (!work_.empty()) {
      const Reading reading = std::move(work_.back());
      work_.pop_back();
      Follow(reading);
    }
    State state;
    std::size_t count = 0;
    for (const Reading& reading : kept_) {
      if (++count > kReadingsMax) break;
      Append(state, reading);
    }
    return state;
  }

 private:
  void Follow(const Reading& reading) {
    if (reading.empty()) {
      kept_.insert(reading);
      return;
    }
    const Node& node = grammar_.At(reading.back());
    bool takes = false;
    for (const Edge& edge : node.edges) {
      if (!Alive(grammar_, edge.next, reading.size())) continue;
      if (edge.kind == Edge::Kind::kBytes) {
        takes = true;
        continue;
      }
      Reading next = reading;
      next.back() = edge.next;
      if (edge.kind == Edge::Kind::kCall) {
        if (!Alive(grammar_, edge.rule, reading.size() + 1)) continue;
        // A frame with nothing left to do is not kept: lists and chains of references stay flat.
        const Node& after = grammar_.At(edge.next);
        if (after.final && after.edges.empty()) next.pop_back();
        next.push_back(edge.rule);
      }
      Add(std::move(next));
    }
    if (takes) kept_.insert(reading);
    if (node.final) Add(Reading(reading.begin(), reading.end() - 1));
  }

  const Grammar& grammar_;
  std::vector<Reading> work_;
  std::set<Reading> seen_;
  std::set<Reading> kept_;
};

}  // namespace

State Initial(const Grammar& grammar) {
  Closure closure(grammar);
  if (Alive(grammar, grammar.Root(), 1)) closure.Add({grammar.Root()});
  return closure.Run();
}

State Step(const Grammar& grammar, const State& state, std::uint8_t byte) {
  Closure closure(grammar);
  for (std::size_t at = 0; at < state.size();) {
    const Reading reading = Take(state, at);
    if (reading.empty()) continue;
    for (const Edge& edge : grammar.At(reading.back()).edges) {
      if (edge.kind != Edge::Kind::kBytes || byte < edge.first || byte > edge.last) continue;
      if (!Alive(grammar, edge.next, reading.size())) continue;
      Reading next = reading;
      next.back() = edge.next;
      closure.Add(std::move(next));
    }
  }
  return closure.Run();
}

State Feed(const Grammar& grammar, State state, std::string_view bytes) {
  for (const char byte : bytes) {
    if (state.empty()) break;
    state = Step(grammar, state, static_cast<std::uint8_t>(byte));
  }
  return state;
}

bool IsComplete(const State& state) {
  return !state.empty() && state[0] == 0;  // the reading without frames sorts first
}

bool MustEnd(const State& state) {
  return state.size() == 1 && state[0] == 0;
}

bool IsState(const Grammar& grammar, std::string_view bytes) {
  std::size_t readings = 0;
  for (std::size_t at = 0; at < bytes.size(); ++readings) {
    const std::size_t frames = static_cast<std::uint8_t>(bytes[at]);
    if (frames > static_cast<std::size_t>(kFramesMax)) return false;
    if (bytes.size() - at - 1 < frames * kFrameBytes) return false;
    for (const NodeId node : Take(bytes, at)) {
      if (node >= grammar.NodeCount()) return false;
    }
  }
  return readings <= kReadingsMax;
}

}  // namespace baton::grammar
