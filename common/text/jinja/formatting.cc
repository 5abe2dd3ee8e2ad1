#include "common/text/jinja/formatting.h"

#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <optional>
#include <string>
#include <utility>

#include "common/base/error.h"
#include "common/base/utf8.h"
#include "common/text/jinja/printing.h"
#include "common/text/jinja/python_text.h"

namespace baton::text::jinja {
namespace {

constexpr std::int64_t kWidthMax = 10'000;
constexpr std::int64_t kPrecisionMax = 100;

/// How to write one value.
struct Spec {
  std::string fill = " ";
  char align = '\0';  // '<', '>', '^', '=' (between sign and digits); none: as the value's kind has it
  char sign = '-';    // before a number that is not negative: '+', ' ' or nothing
  bool alternate = false;
  std::int64_t width = 0;
  std::int64_t precision = -1;
  char type = '\0';  // none: as `str` writes it
};

/// The digits at the beginning of `text`, which loses them; nothing where there are none.
absl::StatusOr<std::optional<std::int64_t>> TakeNumber(std::string_view& text, std::int64_t most) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (end == text.data() || text[0] == '-') return std::optional<std::int64_t>();
  if (error != std::errc() || number > most)
    return Error(kInvalidArgument, "a format's number above {}", most);
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return std::optional(number);
}

std::optional<double> NumberOf(const Value& value) {
  if (value.AsFloat() != nullptr) return *value.AsFloat();
  if (value.AsInt() != nullptr) return static_cast<double>(*value.AsInt());
  if (value.AsBool() != nullptr) return *value.AsBool() ? 1.0 : 0.0;
  return std::nullopt;
}

/// Digits of a whole number without its sign.
absl::StatusOr<std::string> WholeDigits(const Value& value, const Spec& spec, bool& negative) {
  std::int64_t whole = 0;
  if (value.AsFloat() != nullptr) {
    if (!(std::abs(*value.AsFloat()) < 9e18)) return Error(kInvalidArgument, "a float too large for %d");
    whole = static_cast<std::int64_t>(*value.AsFloat());
  } else if (const auto number = NumberOf(value); number) {
    whole = value.AsInt() != nullptr ? *value.AsInt() : static_cast<std::int64_t>(*number);
  } else {
    return Error(kInvalidArgument, "a number expected for '{}', {} found", spec.type, value.KindName());
  }
  negative = whole < 0;
  const std::uint64_t size =
      negative ? std::uint64_t{0} - static_cast<std::uint64_t>(whole) : static_cast<std::uint64_t>(whole);
  std::string digits;
  if (spec.type == 'x') digits = fmt::format("{}{:x}", spec.alternate ? "0x" : "", size);
  if (spec.type == 'X') digits = fmt::format("{}{:X}", spec.alternate ? "0X" : "", size);
  if (spec.type == 'o') digits = fmt::format("{}{:o}", spec.alternate ? "0o" : "", size);
  if (digits.empty()) digits = fmt::format("{}", size);
  return digits;
}

absl::StatusOr<std::string> FloatDigits(const Value& value, const Spec& spec, bool& negative) {
  const std::optional<double> number = NumberOf(value);
  if (!number)
    return Error(kInvalidArgument, "a number expected for '{}', {} found", spec.type, value.KindName());
  negative = std::signbit(*number) && !std::isnan(*number);
  const std::array<char, 6> format = {'%', '.', '*', spec.type == '%' ? 'f' : spec.type, '\0', '\0'};
  std::array<char, 512> text{};  // 309 digits before the point, 100 behind it
  const int precision = static_cast<int>(spec.precision < 0 ? 6 : spec.precision);
  const double size = std::abs(*number) * (spec.type == '%' ? 100 : 1);
  const int length = std::snprintf(text.data(), text.size(), format.data(), precision, size);
  std::string digits(text.data(), static_cast<std::size_t>(std::max(length, 0)));
  return spec.type == '%' ? digits + '%' : digits;
}

/// `body` with its sign, filled up to the width.
absl::StatusOr<std::string> Padded(std::string sign, std::string body, bool is_number, const Spec& spec,
                                   Budget& budget) {
  const std::size_t length = CharacterCount(sign) + CharacterCount(body);
  const auto width = static_cast<std::size_t>(spec.width);
  const std::size_t missing = width > length ? width - length : 0;
  BATON_RETURN_IF_ERROR(budget.Make(sign.size() + body.size() + missing * spec.fill.size()));
  const char align = spec.align != '\0' ? spec.align : is_number ? '>' : '<';
  const std::size_t before = align == '<' ? 0 : align == '^' ? missing / 2 : missing;
  std::string out;
  if (align == '=') out = sign;
  for (std::size_t i = 0; i < before; ++i) out += spec.fill;
  if (align != '=') out += sign;
  out += body;
  for (std::size_t i = before; i < missing; ++i) out += spec.fill;
  return out;
}

absl::StatusOr<std::string> Written(const Value& value, const Spec& spec, Budget& budget) {
  constexpr std::string_view kWhole = "diuxXo";
  constexpr std::string_view kFloat = "eEfFgG%";
  const bool whole = spec.type != '\0' && kWhole.find(spec.type) != std::string_view::npos;
  const bool real = spec.type != '\0' && kFloat.find(spec.type) != std::string_view::npos;
  if (whole || real) {
    bool negative = false;
    std::string digits;
    if (whole) {
      BATON_ASSIGN_OR_RETURN(digits, WholeDigits(value, spec, negative));
    } else {
      BATON_ASSIGN_OR_RETURN(digits, FloatDigits(value, spec, negative));
    }
    std::string sign = negative ? "-" : spec.sign == '-' ? "" : std::string(1, spec.sign);
    return Padded(std::move(sign), std::move(digits), /*is_number=*/true, spec, budget);
  }
  if (spec.type != '\0' && spec.type != 's' && spec.type != 'r')
    return Error(kInvalidArgument, "the format's type '{}' is not supported", spec.type);
  std::string text;
  if (spec.type == 'r' && value.AsString() != nullptr) {
    text = Repr(*value.AsString());
  } else {
    BATON_ASSIGN_OR_RETURN(text, Printed(value, budget));
  }
  if (spec.precision >= 0) {
    std::size_t bytes = 0;
    for (std::int64_t left = spec.precision; left > 0 && bytes < text.size(); --left)
      bytes += NextUtf8(std::string_view(text).substr(bytes)).length;
    text.resize(bytes);
  }
  const bool number = spec.type == '\0' && NumberOf(value).has_value() && value.AsBool() == nullptr;
  return Padded("", std::move(text), number, spec, budget);
}

/// The values of `%` in turn.
class Source {
 public:
  explicit Source(const Value& values) : values_(values) {}
  absl::StatusOr<Value> Next() {
    if (values_.IsTuple()) {
      if (taken_ < values_.AsList()->size()) return (*values_.AsList())[taken_++];
    } else if (taken_++ == 0) {
      return values_;
    }
    return Error(kInvalidArgument, "not enough arguments for the format");
  }
  absl::StatusOr<Value> Named(std::string_view name) {
    named_ = true;
    const Value member = values_.AsDict() == nullptr ? Value() : values_.Member(name);
    if (member.IsUndefined()) return Error(kInvalidArgument, "the format has no argument '{}'", name);
    return member;
  }
  [[nodiscard]] bool AllTaken() const {
    if (named_ || values_.AsDict() != nullptr) return true;
    return values_.IsTuple() ? taken_ == values_.AsList()->size() : taken_ > 0;
  }

 private:
  const Value& values_;
  std::size_t taken_ = 0;
  bool named_ = false;
};

/// What stands after '%', which `rest` loses: flags, width, precision and type.
absl::StatusOr<Spec> TakeDirective(std::string_view& rest) {
  Spec spec;
  bool zero = false;
  for (; !rest.empty() && std::string_view("#0- +").find(rest[0]) != std::string_view::npos;
       rest.remove_prefix(1)) {
    if (rest[0] == '#') spec.alternate = true;
    if (rest[0] == '0') zero = true;
    if (rest[0] == '-') spec.align = '<';
    if (rest[0] == '+' || (rest[0] == ' ' && spec.sign != '+')) spec.sign = rest[0];
  }
  BATON_ASSIGN_OR_RETURN(const auto width, TakeNumber(rest, kWidthMax));
  spec.width = width.value_or(0);
  if (rest.starts_with('.')) {
    rest.remove_prefix(1);
    BATON_ASSIGN_OR_RETURN(const auto precision, TakeNumber(rest, kPrecisionMax));
    spec.precision = precision.value_or(0);
  }
  if (rest.empty()) return Error(kInvalidArgument, "incomplete format");
  spec.type = rest[0];
  rest.remove_prefix(1);
  const bool text = spec.type == 's' || spec.type == 'r';
  if (spec.align == '\0') spec.align = '>';
  if (zero && spec.align == '>' && !text) {
    spec.align = '=';
    spec.fill = "0";
  }
  return spec;
}

/// What stands after ':' in a field.
absl::StatusOr<Spec> SpecOf(std::string_view text) {
  constexpr std::string_view kAligns = "<>^=";
  Spec spec;
  const std::size_t first = text.empty() ? 0 : NextUtf8(text).length;
  if (text.size() > first && kAligns.find(text[first]) != std::string_view::npos) {
    spec.fill = std::string(text.substr(0, first));
    spec.align = text[first];
    text.remove_prefix(first + 1);
  } else if (!text.empty() && kAligns.find(text[0]) != std::string_view::npos) {
    spec.align = text[0];
    text.remove_prefix(1);
  }
  if (!text.empty() && std::string_view("+- ").find(text[0]) != std::string_view::npos) {
    spec.sign = text[0];
    text.remove_prefix(1);
  }
  if (text.starts_with('#')) {
    spec.alternate = true;
    text.remove_prefix(1);
  }
  if (text.starts_with('0') && spec.align == '\0') {
    spec.align = '=';
    spec.fill = "0";
  }
  BATON_ASSIGN_OR_RETURN(const auto width, TakeNumber(text, kWidthMax));
  spec.width = width.value_or(0);
  if (text.starts_with('.')) {
    text.remove_prefix(1);
    BATON_ASSIGN_OR_RETURN(const auto precision, TakeNumber(text, kPrecisionMax));
    spec.precision = precision.value_or(0);
  }
  if (!text.empty()) {
    spec.type = text[0];
    text.remove_prefix(1);
  }
  if (!text.empty()) return Error(kInvalidArgument, "a format that is not supported");
  return spec;
}

/// One field, without its braces; `turn` counts those without a number.
absl::StatusOr<std::string> Field(std::string_view field, const Value::List& values, std::size_t& turn,
                                  Budget& budget) {
  const std::size_t colon = std::min(field.find(':'), field.size());
  std::string_view which = field.substr(0, colon);
  BATON_ASSIGN_OR_RETURN(Spec spec, SpecOf(field.substr(std::min(colon + 1, field.size()))));
  const std::size_t mark = std::min(which.find('!'), which.size());
  const std::string_view conversion = which.substr(mark);
  which = which.substr(0, mark);
  BATON_ASSIGN_OR_RETURN(const auto number, TakeNumber(which, kWidthMax));
  if (!which.empty() || (!conversion.empty() && conversion != "!r" && conversion != "!s"))
    return Error(kInvalidArgument, "the field '{}' is not supported in a format", field);
  const std::size_t place = number ? static_cast<std::size_t>(*number) : turn++;
  if (place >= values.size()) return Error(kInvalidArgument, "not enough arguments for the format");
  if (conversion.empty()) return Written(values[place], spec, budget);
  Spec whole;
  whole.type = conversion[1];
  BATON_ASSIGN_OR_RETURN(std::string text, Written(values[place], whole, budget));
  return Written(Value(std::move(text)), spec, budget);
}

}  // namespace

absl::StatusOr<Value> Interpolated(std::string_view format, const Value& values, Budget& budget) {
  BATON_RETURN_IF_ERROR(budget.Make(format.size()));
  Source source(values);
  std::string out;
  while (!format.empty()) {
    const std::size_t percent = std::min(format.find('%'), format.size());
    out += format.substr(0, percent);
    format.remove_prefix(percent);
    if (format.empty()) break;
    format.remove_prefix(1);
    if (format.starts_with('%')) {
      out += '%';
      format.remove_prefix(1);
      continue;
    }
    std::optional<std::string_view> name;
    if (format.starts_with('(')) {
      const std::size_t end = format.find(')');
      if (end == std::string_view::npos) return Error(kInvalidArgument, "incomplete format");
      name = format.substr(1, end - 1);
      format.remove_prefix(end + 1);
    }
    BATON_ASSIGN_OR_RETURN(const Spec spec, TakeDirective(format));
    if (spec.type == '%') return Error(kInvalidArgument, "the format's type '%' is not supported");
    BATON_ASSIGN_OR_RETURN(const Value value, name ? source.Named(*name) : source.Next());
    BATON_RETURN_IF_ERROR(budget.Step());
    BATON_ASSIGN_OR_RETURN(const std::string text, Written(value, spec, budget));
    out += text;
  }
  if (!source.AllTaken()) return Error(kInvalidArgument, "not all arguments are in the format");
  return Value(std::move(out));
}

absl::StatusOr<Value> Formatted(std::string_view format, const Value::List& values, Budget& budget) {
  BATON_RETURN_IF_ERROR(budget.Make(format.size()));
  std::string out;
  std::size_t turn = 0;
  while (!format.empty()) {
    const std::size_t brace = std::min(format.find_first_of("{}"), format.size());
    out += format.substr(0, brace);
    format.remove_prefix(brace);
    if (format.empty()) break;
    if (format.starts_with("{{") || format.starts_with("}}")) {
      out += format[0];
      format.remove_prefix(2);
      continue;
    }
    const std::size_t end = format.find('}');
    if (format[0] == '}' || end == std::string_view::npos)
      return Error(kInvalidArgument, "a single brace in a format");
    BATON_RETURN_IF_ERROR(budget.Step());
    BATON_ASSIGN_OR_RETURN(const std::string text, Field(format.substr(1, end - 1), values, turn, budget));
    out += text;
    format.remove_prefix(end + 1);
  }
  return Value(std::move(out));
}

}  // namespace baton::text::jinja
