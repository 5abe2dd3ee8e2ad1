#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "common/grammar/grammar.h"
#include "common/grammar/pattern_states.h"

namespace baton::grammar {

struct IntegerRange {
  std::int64_t low = 0;
  std::int64_t high = 0;
};

/// Adds nodes and edges, and the parts that every JSON grammar has. Past `nodes_max` it adds nothing more and
/// says so by `Full`: the caller then throws the result away.
class Builder {
 public:
  explicit Builder(std::size_t nodes_max) : nodes_max_(nodes_max) {}

  NodeId AddNode(bool final = false);
  void Bytes(NodeId from, std::uint8_t first, std::uint8_t last, NodeId to);
  void Byte(NodeId from, char byte, NodeId to);
  void Call(NodeId from, NodeId rule, NodeId to);
  void Skip(NodeId from, NodeId to);
  void SetFinal(NodeId node) { nodes_[node].final = true; }
  /// The node after exactly these bytes.
  NodeId Literal(NodeId from, std::string_view text);
  /// The node after ',' or ':' and at most one space: a model cannot lose itself in white space.
  NodeId Separator(NodeId from, char byte);

  // Rules; made once, then shared.
  NodeId AnyValue();
  NodeId AnyObject();
  /// One code point of a string, written plainly or as an escape; surrogates only in pairs.
  NodeId Character();
  NodeId AnyString();
  NodeId AnyInteger();
  NodeId AnyNumber();
  NodeId Boolean();
  NodeId Null();

  struct Counts {
    std::int64_t least = 0;
    std::optional<std::int64_t> most;
  };
  NodeId StringOf(const Counts& characters);
  /// date, time, date-time, uuid or ipv4; nothing for another format.
  std::optional<NodeId> StringOfFormat(std::string_view format);
  NodeId StringOfPattern(const PatternStates& states);
  /// A key in quotes, without escapes, other than `taken`.
  NodeId KeyOtherThan(const std::vector<std::string_view>& taken);
  /// Whole numbers in [low, high]; both at most 18 digits.
  NodeId IntegerBetween(std::int64_t low, std::int64_t high);
  NodeId NumberFromZero();
  /// Whole numbers in `whole`, and others strictly between the bounds of `fractions`. Not written with an
  /// exponent, and with no more digits than it takes to stay away from the bounds when read as a double.
  NodeId NumberBetween(const IntegerRange& fractions, const IntegerRange& whole);

  [[nodiscard]] std::size_t Size() const { return nodes_.size(); }
  [[nodiscard]] bool Full() const { return full_; }
  [[nodiscard]] Grammar Build(NodeId root) && { return Grammar(std::move(nodes_), root, free_keys_); }

 private:
  void Magnitudes(NodeId from, std::int64_t least, std::int64_t most, NodeId end);
  void Unsigned(NodeId from, std::string_view low, std::string_view high, NodeId end);
  NodeId Fraction(NodeId after_digits);
  void NumberBody(NodeId from);
  void PlainCharacter(NodeId from, NodeId end);
  void Escape(NodeId from, NodeId end);

  std::size_t nodes_max_;
  bool full_ = false;
  bool free_keys_ = false;
  std::vector<Node> nodes_;
  std::optional<NodeId> any_value_, any_object_, character_, any_string_, any_integer_, any_number_, boolean_,
      null_;
};

}  // namespace baton::grammar
