#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

/// A bounded byte-level pushdown automaton: the JSON texts that an answer may be.
namespace baton::grammar {

using NodeId = std::uint32_t;

/// Frames that one reading of the text may have open; deeper nesting is not offered. A level of JSON takes
/// one at least, so that parsers that stop at 64 levels read every answer.
inline constexpr std::int32_t kFramesMax = 60;
/// Readings of one text that are followed at a time; the grammar offers less beyond it, never something
/// wrong.
inline constexpr std::size_t kReadingsMax = 512;

/// Where a reading may go from a node.
struct Edge {
  enum class Kind : std::uint8_t {
    kBytes,  // takes one byte in [first, last]
    kCall,   // runs the rule that begins at `rule`, then goes on at `next`
    kSkip,   // takes nothing
  };
  Kind kind = Kind::kSkip;
  std::uint8_t first = 0;
  std::uint8_t last = 0;
  NodeId rule = 0;
  NodeId next = 0;
};

struct Node {
  std::vector<Edge> edges;
  bool final = false;  // a rule may end here
  /// Frames that are needed, this one not counted, to come to a rule's end; `kNoEnd`: none is reached.
  std::int32_t height = 0;
};
inline constexpr std::int32_t kNoEnd = 1 << 20;

/// Immutable once built, safe to share between threads.
class Grammar {
 public:
  /// `free_keys`: objects may have keys that no property names.
  Grammar(std::vector<Node> nodes, NodeId root, bool free_keys);
  [[nodiscard]] const Node& At(NodeId node) const { return nodes_[node]; }
  [[nodiscard]] NodeId Root() const { return root_; }
  [[nodiscard]] std::size_t NodeCount() const { return nodes_.size(); }
  /// Whether an object of a text could have a key twice but for a `KeyMemory`.
  [[nodiscard]] bool HasFreeKeys() const { return free_keys_; }
  /// Whether any text at all belongs to it.
  [[nodiscard]] bool Satisfiable() const { return nodes_[root_].height < kFramesMax; }
  /// Whether a rule leads to itself before it takes a byte: such a grammar must not be run.
  [[nodiscard]] bool LeftRecursive() const;

 private:
  std::vector<Node> nodes_;
  NodeId root_;
  bool free_keys_;
};

/// Where an answer stands: the readings of its bytes so far, as bytes. A function of the grammar and of those
/// bytes alone, so that whoever replays the answer has the same. Empty: no text of the grammar begins so.
using State = std::string;

[[nodiscard]] State Initial(const Grammar& grammar);
/// After one more byte.
[[nodiscard]] State Step(const Grammar& grammar, const State& state, std::uint8_t byte);
/// After more bytes; ends early where nothing is left.
[[nodiscard]] State Feed(const Grammar& grammar, State state, std::string_view bytes);
/// The text may end here.
[[nodiscard]] bool IsComplete(const State& state);
/// Nothing may follow: the text must end here.
[[nodiscard]] bool MustEnd(const State& state);
/// Whether the bytes, of whatever origin, are a state of this grammar that `Step` may be given.
[[nodiscard]] bool IsState(const Grammar& grammar, std::string_view bytes);

}  // namespace baton::grammar
