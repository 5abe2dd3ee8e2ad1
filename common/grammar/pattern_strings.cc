#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "common/base/utf8.h"
#include "common/grammar/builder.h"
#include "common/grammar/pattern.h"

/// Strings that match a pattern, as JSON writes them: each character in one way.
namespace baton::grammar {
namespace {

class PatternBuilder {
 public:
  PatternBuilder(Builder& builder, const Pattern& pattern)
      : builder_(builder), pattern_(pattern), rules_(pattern.sets.size()) {
    const auto empty = [&](std::uint32_t child) { return may_be_empty_[child]; };
    for (const PatternNode& node : pattern.nodes) {
      bool may = node.kind == PatternNode::Kind::kSequence && std::ranges::all_of(node.children, empty);
      if (node.kind == PatternNode::Kind::kAlternatives) may = std::ranges::any_of(node.children, empty);
      if (node.kind == PatternNode::Kind::kRepeat) may = node.least == 0 || empty(node.children[0]);
      may_be_empty_.push_back(may);
    }
  }

  /// The node after the expression.
  NodeId Add(std::uint32_t index, NodeId from) {
    const PatternNode& node = pattern_.nodes[index];
    switch (node.kind) {
      case PatternNode::Kind::kSet:
        return AddSet(node.set, from);
      case PatternNode::Kind::kSequence:
        for (const std::uint32_t child : node.children) from = Add(child, from);
        return from;
      case PatternNode::Kind::kAlternatives: {
        const NodeId end = builder_.AddNode();
        for (const std::uint32_t child : node.children) builder_.Skip(Add(child, from), end);
        return end;
      }
      case PatternNode::Kind::kRepeat:
        return AddRepeat(node, from);
    }
    return from;
  }

 private:
  NodeId AddRepeat(const PatternNode& node, NodeId from) {
    for (std::int64_t i = 0; i < node.least && !builder_.Full(); ++i) from = Add(node.children[0], from);
    return AddUpTo(node.children[0], node.most, node.least, from);
  }
  /// The child up to `most` - `done` times.
  NodeId AddUpTo(std::uint32_t child, std::int64_t most, std::int64_t done, NodeId from) {
    const NodeId end = builder_.AddNode();
    builder_.Skip(from, end);
    if (most == PatternNode::kEndless) {
      builder_.Skip(AddSome(child, end), end);  // no way round takes nothing
      return end;
    }
    for (std::int64_t i = done; i < most && !builder_.Full(); ++i) {
      from = AddSome(child, from);
      builder_.Skip(from, end);
    }
    return end;
  }

  /// The node after the expression where it takes a character at least.
  NodeId AddSome(std::uint32_t index, NodeId from) {
    if (!may_be_empty_[index] || builder_.Full()) return Add(index, from);
    const PatternNode& node = pattern_.nodes[index];
    if (node.kind == PatternNode::Kind::kRepeat) {
      if (node.most == 0) return builder_.AddNode();  // nothing leads there
      return AddUpTo(node.children[0], node.most, 1, AddSome(node.children[0], from));
    }
    const NodeId end = builder_.AddNode();
    for (std::size_t i = 0; i < node.children.size(); ++i) {
      NodeId at = AddSome(node.children[i], from);
      if (node.kind == PatternNode::Kind::kSequence) {  // those before it took nothing
        for (std::size_t j = i + 1; j < node.children.size(); ++j) at = Add(node.children[j], at);
      }
      builder_.Skip(at, end);
    }
    return end;
  }

  /// A set is one rule, wherever it comes.
  NodeId AddSet(std::uint32_t set, NodeId from) {
    const NodeId end = builder_.AddNode();
    if (!rules_[set]) {
      rules_[set] = builder_.AddNode();
      const NodeId last = builder_.AddNode(true);
      for (const auto& [first, final] : pattern_.sets[set]) AddRange(first, final, *rules_[set], last);
    }
    builder_.Call(from, *rules_[set], end);
    return end;
  }

  void AddRange(char32_t first, char32_t last, NodeId from, NodeId to) {
    // Where the number of bytes, or the way of writing, changes.
    static constexpr std::array<char32_t, 8> kBegins = {0x20,     '"',  '"' + 1, '\\',
                                                        '\\' + 1, 0x80, 0x800,   0x10000};
    for (const char32_t begin : kBegins) {
      if (first < begin && begin <= last) {
        AddRange(first, begin - 1, from, to);
        return AddRange(begin, last, from, to);
      }
    }
    if (last < 0x20 || first == '"' || first == '\\') {
      for (char32_t code = first; code <= last; ++code) AddEscape(code, from, to);
      return;
    }
    std::string low;
    std::string high;
    AppendUtf8(low, first);
    AppendUtf8(high, last);
    AddBytes(low, high, from, to);
  }

  void AddEscape(char32_t code, NodeId from, NodeId to) {
    static constexpr std::string_view kCodes = "\"\\\b\f\n\r\t";
    static constexpr std::string_view kLetters = "\"\\bfnrt";
    const std::size_t place = kCodes.find(static_cast<char>(code));
    const std::string text = place == std::string_view::npos
                                 ? fmt::format("\\u{:04x}", static_cast<unsigned>(code))
                                 : fmt::format("\\{}", kLetters[place]);
    builder_.Skip(builder_.Literal(from, text), to);
  }

  /// All texts from `low` to `high`, both of one length, whose bytes but the first are from 0x80 to 0xbf.
  void AddBytes(std::string_view low, std::string_view high, NodeId from, NodeId to) {
    const auto byte = [](std::string_view text) { return static_cast<std::uint8_t>(text[0]); };
    const auto edge = [&](std::uint8_t first, std::uint8_t last, std::string_view rest_low,
                          std::string_view rest_high) {
      if (first > last) return;
      if (rest_low.empty()) return builder_.Bytes(from, first, last, to);
      const NodeId next = builder_.AddNode();
      builder_.Bytes(from, first, last, next);
      AddBytes(rest_low, rest_high, next, to);
    };
    const std::string_view after_low = low.substr(1);
    const std::string_view after_high = high.substr(1);
    if (byte(low) == byte(high)) return edge(byte(low), byte(low), after_low, after_high);
    const std::string least(after_low.size(), '\x80');
    const std::string most(after_low.size(), '\xbf');
    const bool whole_low = after_low == least;
    const bool whole_high = after_high == most;
    if (!whole_low) edge(byte(low), byte(low), after_low, most);
    edge(static_cast<std::uint8_t>(byte(low) + (whole_low ? 0 : 1)),
         static_cast<std::uint8_t>(byte(high) - (whole_high ? 0 : 1)), least, most);
    if (!whole_high) edge(byte(high), byte(high), least, after_high);
  }

  Builder& builder_;
  const Pattern& pattern_;
  std::vector<bool> may_be_empty_;            // of the nodes
  std::vector<std::optional<NodeId>> rules_;  // of the sets
};

}  // namespace

NodeId Builder::StringOfPattern(const Pattern& pattern) {
  const NodeId start = AddNode();
  const NodeId text = Literal(start, "\"");
  const NodeId after =
      PatternBuilder(*this, pattern).Add(static_cast<std::uint32_t>(pattern.nodes.size() - 1), text);
  Byte(after, '"', AddNode(true));
  return start;
}

}  // namespace baton::grammar
