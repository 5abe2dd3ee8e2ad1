#include <initializer_list>
#include <string_view>

#include "common/grammar/builder.h"

/// Strings of a `format`: those of fixed parts, as RFC 3339, 4122 and 2673 write them.
namespace baton::grammar {
namespace {

/// The node after one of `choices`. In each, '#' is a digit, 'x' a hexadecimal one, "[15]" one from 1 to 5.
NodeId OneOf(Builder& builder, NodeId from, std::initializer_list<std::string_view> choices) {
  const NodeId end = builder.AddNode();
  for (std::string_view rest : choices) {
    NodeId at = from;
    while (!rest.empty()) {
      const NodeId next = builder.AddNode();
      if (rest[0] == '#' || rest[0] == 'x') builder.Bytes(at, '0', '9', next);
      if (rest[0] == 'x') builder.Bytes(at, 'a', 'f', next);
      if (rest[0] == '[') {
        builder.Bytes(at, static_cast<std::uint8_t>(rest[1]), static_cast<std::uint8_t>(rest[2]), next);
        rest.remove_prefix(3);
      } else if (rest[0] != '#' && rest[0] != 'x') {
        builder.Byte(at, rest[0], next);
      }
      rest.remove_prefix(1);
      at = next;
    }
    builder.Skip(at, end);
  }
  return end;
}

NodeId Date(Builder& builder, NodeId from) {
  const NodeId year = OneOf(builder, from, {"####-"});
  const NodeId end = builder.AddNode();
  const auto months = [&](std::initializer_list<std::string_view> names,
                          std::initializer_list<std::string_view> days) {
    builder.Skip(OneOf(builder, OneOf(builder, year, names), days), end);
  };
  months({"01-", "03-", "05-", "07-", "08-", "10-", "12-"}, {"0[19]", "[12]#", "3[01]"});
  months({"04-", "06-", "09-", "11-"}, {"0[19]", "[12]#", "30"});
  months({"02-"}, {"0[19]", "1#", "2[08]"});  // every year has these
  return end;
}

NodeId Time(Builder& builder, NodeId from) {
  const NodeId seconds = OneOf(builder, OneOf(builder, from, {"[01]#", "2[03]"}), {":[05]#:[05]#"});
  const NodeId fraction = OneOf(builder, seconds, {"", ".#", ".##", ".###", ".######"});
  const NodeId end = OneOf(builder, fraction, {"Z"});
  const NodeId hours = OneOf(builder, OneOf(builder, fraction, {"+", "-"}), {"[01]#", "2[03]"});
  builder.Skip(OneOf(builder, hours, {":[05]#"}), end);
  return end;
}

NodeId Address(Builder& builder, NodeId from) {
  for (int i = 0; i < 4; ++i) {
    if (i > 0) from = OneOf(builder, from, {"."});
    from = OneOf(builder, from, {"#", "[19]#", "1##", "2[04]#", "25[05]"});
  }
  return from;
}

}  // namespace

std::optional<NodeId> Builder::StringOfFormat(std::string_view format) {
  const NodeId start = AddNode();
  const NodeId text = Literal(start, "\"");
  NodeId after = 0;
  if (format == "date") {
    after = Date(*this, text);
  } else if (format == "time") {
    after = Time(*this, text);
  } else if (format == "date-time") {
    after = Time(*this, OneOf(*this, Date(*this, text), {"T"}));
  } else if (format == "uuid") {
    after = OneOf(*this, text, {"xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"});
  } else if (format == "ipv4") {
    after = Address(*this, text);
  } else {
    return std::nullopt;
  }
  Byte(after, '"', AddNode(true));
  return start;
}

}  // namespace baton::grammar
