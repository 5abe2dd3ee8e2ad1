#include <algorithm>
#include <string>

#include "common/grammar/builder.h"

/// The rules for numbers. All are bounded, so that an answer cannot be digits for ever.
namespace baton::grammar {
namespace {

constexpr std::size_t kIntegerDigits = 18;  // every such number is an int64
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
  for (std::size_t i = 1; i < kIntegerDigits; ++i) {
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
  for (std::size_t i = 0; i < kIntegerDigits; ++i) {
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

/// Whole numbers from `least`, which is 0 or more, to `most`.
void Builder::Magnitudes(NodeId from, std::int64_t least, std::int64_t most, NodeId end) {
  for (std::int64_t power = 1; least <= most; power *= 10) {
    const std::int64_t first = power == 1 ? 0 : power;
    const std::int64_t last = power * 10 - 1;
    const std::int64_t from_value = std::max(first, least);
    const std::int64_t to_value = std::min(last, most);
    if (from_value <= to_value) Unsigned(from, std::to_string(from_value), std::to_string(to_value), end);
    if (last >= most) break;
  }
}

NodeId Builder::IntegerBetween(std::int64_t low, std::int64_t high) {
  const NodeId start = AddNode();
  const NodeId end = AddNode(true);
  if (high >= 0) Magnitudes(start, std::max<std::int64_t>(low, 0), high, end);
  if (low < 0 && low <= high) {
    const NodeId negative = AddNode();
    Byte(start, '-', negative);
    Magnitudes(negative, high < 0 ? -high : 1, -low, end);
  }
  return start;
}

NodeId Builder::NumberBetween(const IntegerRange& fractions, const IntegerRange& whole) {
  const NodeId start = AddNode();
  const NodeId after_whole = AddNode(true);
  Call(start, IntegerBetween(whole.low, whole.high), after_whole);
  SetFinal(Literal(after_whole, ".0"));
  const NodeId dot = AddNode();
  const NodeId positive = AddNode();
  const NodeId negative = AddNode();
  Skip(start, positive);
  Byte(start, '-', negative);
  const auto [low, high] = fractions;
  Magnitudes(positive, std::max<std::int64_t>(low, 0), high - 1, dot);
  Magnitudes(negative, std::max<std::int64_t>(-high, 0), -low - 1, dot);
  // One digit at least is not 0: the number lies between two whole ones. A double has 15 digits for sure.
  constexpr std::size_t kDoubleDigits = 15;
  std::size_t digits = 1;
  for (const std::int64_t bound : {low, high}) {
    const std::size_t count = std::to_string(bound < 0 ? -bound : bound).size();
    if (count < kIntegerDigits) digits = std::max(digits, count);  // longer: not a bound of the schema's
  }
  NodeId zeros = Literal(dot, ".");
  std::optional<NodeId> others;
  for (std::size_t i = digits; i < kDoubleDigits; ++i) {
    const NodeId next_zeros = AddNode();
    const NodeId next_others = AddNode(true);
    Byte(zeros, '0', next_zeros);
    Bytes(zeros, '1', '9', next_others);
    if (others) Bytes(*others, '0', '9', next_others);
    zeros = next_zeros;
    others = next_others;
  }
  return start;
}

}  // namespace baton::grammar
