#include <algorithm>
#include <string>

#include "common/grammar/builder.h"

/// The rules for numbers. All are bounded, so that an answer cannot be digits for ever.
namespace baton::grammar {
namespace {

constexpr int kIntegerDigits = 18;  // every such number is an int64
constexpr int kFractionDigits = 17;
constexpr int kExponentDigits = 2;  // and every such number is a finite double

}  // namespace

NodeId Builder::AnyInteger() {
  if (any_integer_) return *any_integer_;
  const NodeId start = AddNode();
  any_integer_ = start;
  Byte(start, '0', AddNode(true));
  const NodeId negative = AddNode();
  Byte(start, '-', negative);
  NodeId at = AddNode(true);
  for (const NodeId node : {start, negative}) Bytes(node, '1', '9', at);
  for (int i = 1; i < kIntegerDigits; ++i) {
    const NodeId next = AddNode(true);
    Bytes(at, '0', '9', next);
    at = next;
  }
  return start;
}

/// The node where a number ends, after its whole part.
NodeId Builder::Fraction(NodeId after_digits) {
  const NodeId exponent = AddNode();
  NodeId at = Literal(after_digits, ".");
  for (int i = 0; i < kFractionDigits; ++i) {
    const NodeId next = AddNode(true);
    Bytes(at, '0', '9', next);
    Skip(next, exponent);
    at = next;
  }
  Skip(after_digits, exponent);
  const NodeId sign = AddNode();
  const NodeId digits = AddNode();
  for (const char byte : {'e', 'E'}) Byte(exponent, byte, sign);
  for (const char byte : {'+', '-'}) Byte(sign, byte, digits);
  Skip(sign, digits);
  at = digits;
  for (int i = 0; i < kExponentDigits; ++i) {
    const NodeId next = AddNode(true);
    Bytes(at, '0', '9', next);
    at = next;
  }
  return after_digits;
}

void Builder::NumberBody(NodeId from) {
  const NodeId whole = AddNode(true);
  Byte(from, '0', whole);
  NodeId at = from;
  for (int i = 0; i < kIntegerDigits; ++i) {
    const NodeId next = AddNode(true);
    Bytes(at, i == 0 ? '1' : '0', '9', next);
    Skip(next, whole);
    at = next;
  }
  Fraction(whole);
}

NodeId Builder::AnyNumber() {
  if (any_number_) return *any_number_;
  any_number_ = AddNode();
  const NodeId body = AddNode();
  Byte(*any_number_, '-', body);
  Skip(*any_number_, body);
  NumberBody(body);
  return *any_number_;
}

NodeId Builder::NumberFromZero() {
  const NodeId start = AddNode();
  NumberBody(start);
  return start;
}

/// Numbers of one length from `low` to `high`: at each place, whether what came is the bound's own beginning.
void Builder::Unsigned(NodeId from, std::string_view low, std::string_view high, NodeId end) {
  struct Place {
    std::optional<NodeId> both, at_low, at_high, inside;
  };
  Place here{.both = from, .at_low = {}, .at_high = {}, .inside = {}};
  for (std::size_t i = 0; i < low.size() && !full_; ++i) {
    Place next;
    const bool last = i + 1 == low.size();
    const auto node = [&](std::optional<NodeId>& place) {
      if (last) return end;
      if (!place) place = AddNode();
      return *place;
    };
    const auto range = [&](NodeId source, char first, char last_digit, std::optional<NodeId>& place) {
      if (first > last_digit) return;
      Bytes(source, static_cast<std::uint8_t>(first), static_cast<std::uint8_t>(last_digit), node(place));
    };
    const char l = low[i];
    const char h = high[i];
    const auto above_low = static_cast<char>(l + 1);
    const auto below_high = static_cast<char>(h - 1);
    if (here.both && l == h) range(*here.both, l, l, next.both);
    if (here.both && l != h) {
      range(*here.both, l, l, next.at_low);
      range(*here.both, h, h, next.at_high);
      range(*here.both, above_low, below_high, next.inside);
    }
    if (here.at_low) {
      range(*here.at_low, l, l, next.at_low);
      range(*here.at_low, above_low, '9', next.inside);
    }
    if (here.at_high) {
      range(*here.at_high, h, h, next.at_high);
      range(*here.at_high, '0', below_high, next.inside);
    }
    if (here.inside) range(*here.inside, '0', '9', next.inside);
    here = next;
  }
}

NodeId Builder::IntegerBetween(std::int64_t low, std::int64_t high) {
  const NodeId start = AddNode();
  const NodeId end = AddNode(true);
  const auto magnitudes = [&](NodeId from, std::int64_t least, std::int64_t most) {
    for (std::int64_t power = 1; least <= most; power *= 10) {
      const std::int64_t first = power == 1 ? 0 : power;
      const std::int64_t last = power * 10 - 1;
      const std::int64_t from_value = std::max(first, least);
      const std::int64_t to_value = std::min(last, most);
      if (from_value <= to_value) Unsigned(from, std::to_string(from_value), std::to_string(to_value), end);
      if (last >= most) break;
    }
  };
  if (high >= 0) magnitudes(start, std::max<std::int64_t>(low, 0), high);
  if (low < 0 && low <= high) {
    const NodeId negative = AddNode();
    Byte(start, '-', negative);
    magnitudes(negative, high < 0 ? -high : 1, -low);
  }
  return start;
}

}  // namespace baton::grammar
