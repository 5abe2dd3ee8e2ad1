#include "common/grammar/builder.h"

#include <array>
#include <map>
#include <string>
#include <utility>

namespace baton::grammar {

NodeId Builder::AddNode(bool final) {
  if (nodes_.size() >= nodes_max_) {
    full_ = true;
    return 0;
  }
  nodes_.push_back({.edges = {}, .final = final});
  return static_cast<NodeId>(nodes_.size() - 1);
}

void Builder::Bytes(NodeId from, std::uint8_t first, std::uint8_t last, NodeId to) {
  if (full_) return;
  nodes_[from].edges.push_back({Edge::Kind::kBytes, first, last, 0, to});
}

void Builder::Byte(NodeId from, char byte, NodeId to) {
  Bytes(from, static_cast<std::uint8_t>(byte), static_cast<std::uint8_t>(byte), to);
}

void Builder::Call(NodeId from, NodeId rule, NodeId to) {
  if (full_) return;
  nodes_[from].edges.push_back({Edge::Kind::kCall, 0, 0, rule, to});
}

void Builder::Skip(NodeId from, NodeId to) {
  if (full_) return;
  nodes_[from].edges.push_back({Edge::Kind::kSkip, 0, 0, 0, to});
}

NodeId Builder::Literal(NodeId from, std::string_view text) {
  for (const char byte : text) {
    const NodeId next = AddNode();
    Byte(from, byte, next);
    from = next;
  }
  return from;
}

NodeId Builder::Separator(NodeId from, char byte) {
  const NodeId after = AddNode();
  const NodeId end = AddNode();
  Byte(from, byte, after);
  Byte(after, ' ', end);
  Skip(after, end);
  return end;
}

NodeId Builder::AnyValue() {
  if (any_value_) return *any_value_;
  const NodeId value = AddNode();
  any_value_ = value;
  const NodeId end = AddNode(true);
  for (const NodeId rule : {AnyString(), AnyNumber(), Boolean(), Null(), AnyObject()}) Call(value, rule, end);
  const NodeId open = AddNode();
  const NodeId item = AddNode();
  const NodeId after = AddNode();
  Byte(value, '[', open);
  Byte(open, ']', end);
  Skip(open, item);
  Call(item, value, after);
  Skip(Separator(after, ','), item);
  Byte(after, ']', end);
  return value;
}

NodeId Builder::AnyObject() {
  if (any_object_) return *any_object_;
  const NodeId object = AddNode();
  any_object_ = object;
  const NodeId value = AnyValue();
  const NodeId open = AddNode();
  const NodeId member = AddNode();
  const NodeId key = AddNode();
  const NodeId after = AddNode();
  const NodeId end = AddNode(true);
  Byte(object, '{', open);
  Byte(open, '}', end);
  Skip(open, member);
  Call(member, KeyOtherThan({}), key);
  Call(Separator(key, ':'), value, after);
  Skip(Separator(after, ','), member);
  Byte(after, '}', end);
  return object;
}

/// Well-formed UTF-8, as the Unicode standard's table of byte sequences has it.
void Builder::PlainCharacter(NodeId from, NodeId end) {
  Bytes(from, 0x20, 0x21, end);  // all but '"', '\\' and control characters
  Bytes(from, 0x23, 0x5b, end);
  Bytes(from, 0x5d, 0x7f, end);
  const NodeId one = AddNode();
  const NodeId two = AddNode();
  const NodeId three = AddNode();
  Bytes(one, 0x80, 0xbf, end);
  Bytes(two, 0x80, 0xbf, one);
  Bytes(three, 0x80, 0xbf, two);
  Bytes(from, 0xc2, 0xdf, one);
  const auto special = [&](std::uint8_t lead, std::uint8_t first, std::uint8_t last, NodeId next) {
    const NodeId node = AddNode();
    Bytes(from, lead, lead, node);
    Bytes(node, first, last, next);
  };
  special(0xe0, 0xa0, 0xbf, one);
  Bytes(from, 0xe1, 0xec, two);
  special(0xed, 0x80, 0x9f, one);
  Bytes(from, 0xee, 0xef, two);
  special(0xf0, 0x90, 0xbf, two);
  Bytes(from, 0xf1, 0xf3, three);
  special(0xf4, 0x80, 0x8f, two);
}

void Builder::Escape(NodeId from, NodeId end) {
  const NodeId escape = AddNode();
  Byte(from, '\\', escape);
  for (const char byte : {'"', '\\', '/', 'b', 'f', 'n', 'r', 't'}) Byte(escape, byte, end);
  const auto hex = [&](NodeId node, NodeId next) {
    Bytes(node, '0', '9', next);
    Bytes(node, 'A', 'F', next);
    Bytes(node, 'a', 'f', next);
  };
  const auto last_digits = [&](int count, NodeId last) {  // a node after which `count` digits come
    NodeId next = last;
    for (int i = 0; i < count; ++i) {
      const NodeId node = AddNode();
      hex(node, next);
      next = node;
    }
    return next;
  };
  const NodeId unicode = AddNode();
  Byte(escape, 'u', unicode);
  const NodeId three = last_digits(3, end);
  for (const auto& [first, last] : {std::pair{'0', '9'}, {'A', 'C'}, {'a', 'c'}, {'E', 'F'}, {'e', 'f'}}) {
    Bytes(unicode, static_cast<std::uint8_t>(first), static_cast<std::uint8_t>(last), three);
  }
  const NodeId d = AddNode();
  for (const char byte : {'D', 'd'}) Byte(unicode, byte, d);
  const NodeId low_end = last_digits(2, end);
  Bytes(d, '0', '7', low_end);
  const NodeId pair = AddNode();  // after a high surrogate
  const NodeId high_end = last_digits(2, pair);
  for (const auto& [first, last] : {std::pair{'8', '9'}, {'A', 'B'}, {'a', 'b'}}) {
    Bytes(d, static_cast<std::uint8_t>(first), static_cast<std::uint8_t>(last), high_end);
  }
  const NodeId low = Literal(pair, "\\u");
  const NodeId low_d = AddNode();
  for (const char byte : {'D', 'd'}) Byte(low, byte, low_d);
  const NodeId low_digits = last_digits(2, end);
  for (const auto& [first, last] : {std::pair{'C', 'F'}, {'c', 'f'}}) {
    Bytes(low_d, static_cast<std::uint8_t>(first), static_cast<std::uint8_t>(last), low_digits);
  }
}

NodeId Builder::Character() {
  if (character_) return *character_;
  character_ = AddNode();
  const NodeId end = AddNode(true);
  PlainCharacter(*character_, end);
  Escape(*character_, end);
  return *character_;
}

NodeId Builder::AnyString() {
  if (!any_string_) any_string_ = StringOf({});
  return *any_string_;
}

NodeId Builder::StringOf(const Counts& characters) {
  const NodeId start = AddNode();
  const NodeId end = AddNode(true);
  NodeId at = AddNode();
  Byte(start, '"', at);
  for (std::int64_t count = 0; !full_; ++count) {
    if (count >= characters.least) Byte(at, '"', end);
    if (characters.most && count >= *characters.most) break;
    if (!characters.most && count >= characters.least) {
      Call(at, Character(), at);
      break;
    }
    const NodeId next = AddNode();
    Call(at, Character(), next);
    at = next;
  }
  return start;
}

NodeId Builder::Boolean() {
  if (boolean_) return *boolean_;
  boolean_ = AddNode();
  SetFinal(Literal(*boolean_, "true"));
  SetFinal(Literal(*boolean_, "false"));
  return *boolean_;
}

NodeId Builder::Null() {
  if (null_) return *null_;
  null_ = AddNode();
  SetFinal(Literal(*null_, "null"));
  return *null_;
}

namespace {

/// UTF-8 inside a key: which bytes may come, and where they lead. State 0 is between characters.
int NextUtf8(int state, unsigned byte) {
  const auto in = [&](unsigned first, unsigned last) { return byte >= first && byte <= last; };
  switch (state) {
    case 0:
      if (byte < 0x20 || byte == '"' || byte == '\\') return -1;
      if (byte < 0x80) return 0;
      if (in(0xc2, 0xdf)) return 1;
      if (byte == 0xe0) return 4;
      if (byte == 0xed) return 5;
      if (in(0xe1, 0xef)) return 2;
      if (byte == 0xf0) return 6;
      if (in(0xf1, 0xf3)) return 3;
      return byte == 0xf4 ? 7 : -1;
    case 1:
      return in(0x80, 0xbf) ? 0 : -1;
    case 2:
      return in(0x80, 0xbf) ? 1 : -1;
    case 3:
      return in(0x80, 0xbf) ? 2 : -1;
    case 4:
      return in(0xa0, 0xbf) ? 1 : -1;
    case 5:
      return in(0x80, 0x9f) ? 1 : -1;
    case 6:
      return in(0x90, 0xbf) ? 2 : -1;
    default:
      return in(0x80, 0x8f) ? 2 : -1;
  }
}
constexpr int kUtf8States = 8;

struct TrieNode {
  std::map<unsigned, std::size_t> children;
  bool terminal = false;
  int utf8 = 0;
  NodeId node = 0;
};

std::vector<TrieNode> TrieOf(const std::vector<std::string_view>& words) {
  std::vector<TrieNode> trie(1);
  for (const std::string_view word : words) {
    std::size_t at = 0;
    bool plain = true;
    for (const char c : word) {
      const unsigned byte = static_cast<std::uint8_t>(c);
      const int utf8 = NextUtf8(trie[at].utf8, byte);
      plain = utf8 >= 0;
      if (!plain) break;  // such a key needs an escape: it cannot be written here
      if (const auto found = trie[at].children.find(byte); found != trie[at].children.end()) {
        at = found->second;
        continue;
      }
      trie[at].children[byte] = trie.size();
      at = trie.size();
      trie.push_back({.children = {}, .terminal = false, .utf8 = utf8, .node = 0});
    }
    if (plain) trie[at].terminal = true;
  }
  return trie;
}

}  // namespace

NodeId Builder::KeyOtherThan(const std::vector<std::string_view>& taken) {
  free_keys_ = true;
  std::vector<TrieNode> trie = TrieOf(taken);
  const NodeId start = AddNode();
  const NodeId end = AddNode(true);
  std::array<NodeId, kUtf8States> free{};
  for (NodeId& node : free) node = AddNode();
  for (TrieNode& node : trie) node.node = AddNode();
  if (full_) return 0;
  Byte(start, '"', trie[0].node);
  /// All edges of one node; bytes with one target are one edge.
  const auto connect = [&](NodeId from, int utf8, const TrieNode* in_trie) {
    std::optional<NodeId> open;
    unsigned first = 0;
    for (unsigned byte = 0; byte <= 256; ++byte) {
      std::optional<NodeId> target;
      if (const int next = byte < 256 ? NextUtf8(utf8, byte) : -1; next >= 0) {
        target = free[static_cast<std::size_t>(next)];
        if (in_trie != nullptr && in_trie->children.contains(byte))
          target = trie[in_trie->children.at(byte)].node;
      }
      if (target == open) continue;
      if (open) Bytes(from, static_cast<std::uint8_t>(first), static_cast<std::uint8_t>(byte - 1), *open);
      open = target;
      first = byte;
    }
    if (utf8 == 0 && (in_trie == nullptr || !in_trie->terminal)) Byte(from, '"', end);
  };
  for (int utf8 = 0; utf8 < kUtf8States; ++utf8) connect(free[static_cast<std::size_t>(utf8)], utf8, nullptr);
  for (const TrieNode& node : trie) connect(node.node, node.utf8, &node);
  return start;
}

}  // namespace baton::grammar
