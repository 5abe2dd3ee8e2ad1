#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "common/base/utf8.h"
#include "common/grammar/builder.h"
#include "common/grammar/pattern_states.h"

/// Strings that match a pattern, as JSON writes them: each character in one way.
namespace baton::grammar {
namespace {

class PatternBuilder {
 public:
  PatternBuilder(Builder& builder, const PatternStates& states)
      : builder_(builder), states_(states), rules_(states.sets.size()) {}

  /// Strings from `begin`, a quote the last byte.
  void Add(NodeId begin) {
    std::vector<NodeId> nodes = {begin};
    while (nodes.size() < states_.states.size()) nodes.push_back(builder_.AddNode());
    const NodeId end = builder_.AddNode(true);
    for (std::size_t i = 0; i < nodes.size() && !builder_.Full(); ++i) {
      for (const auto& [set, next] : states_.states[i].edges)
        builder_.Call(nodes[i], RuleOf(set), nodes[next]);
      if (states_.states[i].final) builder_.Byte(nodes[i], '"', end);
    }
  }

 private:
  /// A set is one rule, wherever it comes.
  NodeId RuleOf(std::uint32_t set) {
    if (!rules_[set]) {
      rules_[set] = builder_.AddNode();
      const NodeId last = builder_.AddNode(true);
      for (const auto& [first, final] : states_.sets[set]) AddRange(first, final, *rules_[set], last);
    }
    return *rules_[set];
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
  const PatternStates& states_;
  std::vector<std::optional<NodeId>> rules_;  // of the sets
};

}  // namespace

NodeId Builder::StringOfPattern(const PatternStates& states) {
  const NodeId start = AddNode();
  PatternBuilder(*this, states).Add(Literal(start, "\""));
  return start;
}

}  // namespace baton::grammar
