#include "common/text/jinja/lexer.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "common/base/check.h"
#include "common/base/utf8.h"
#include "common/text/jinja/python_text.h"

namespace baton::text::jinja {
namespace {

using Kind = Token::Kind;

// Longest first, so that the first that fits is the right one.
constexpr std::array<std::string_view, 25> kOperators = {"==", "!=", "<=", ">=", "//", "**", "+", "-", "*",
                                                         "/",  "%",  "~",  "<",  ">",  "=",  ".", ",", ":",
                                                         "|",  "(",  ")",  "[",  "]",  "{",  "}"};

bool IsDigit(char c) {
  return c >= '0' && c <= '9';
}
bool IsNameStart(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
bool IsNamePart(char c) {
  return IsNameStart(c) || IsDigit(c);
}
bool IsBlank(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}

/// "\r\n" and "\r" become "\n"; one line end at the very end goes.
std::string WithPlainLineEnds(std::string_view source) {
  std::string text;
  text.reserve(source.size());
  for (std::size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      text += source[i];
    } else if (i + 1 == source.size() || source[i + 1] != '\n') {
      text += '\n';
    }
  }
  if (text.ends_with('\n')) text.pop_back();
  return text;
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(source) {}
  absl::StatusOr<std::vector<Token>> Run();

 private:
  [[nodiscard]] std::string_view Rest() const { return std::string_view(source_).substr(at_); }
  /// Goes on by `count` bytes.
  void Skip(std::size_t count);
  void Emit(Kind kind, std::string text, Position at) { tokens_.push_back({kind, std::move(text), at}); }

  void LexText();
  /// The text without the white space after its last line's beginning, where there is nothing else.
  [[nodiscard]] std::string_view WithoutIndent(std::string_view text) const;
  absl::Status LexComment();
  /// {% raw %}...{% endraw %} where it comes next: its text as it is.
  absl::StatusOr<bool> LexRaw();
  absl::Status LexTag(Kind begin, Kind end, std::string_view close);
  absl::Status LexToken();
  absl::Status LexString();
  void LexNumber();
  absl::StatusOr<char32_t> HexEscape(std::size_t digits);
  absl::Status LexEscape(std::string& value);
  /// The white space after a tag: all of it after "-", else one line end where the tag is no output.
  void AfterTag(bool strip, bool is_output);

  std::string source_;
  std::size_t at_ = 0;
  Position position_;
  bool at_line_start_ = true;  // of the text that comes next
  std::vector<Token> tokens_;
};

void Lexer::Skip(std::size_t count) {
  BATON_CHECK(count <= source_.size() - at_);
  for (const char c : Rest().substr(0, count)) {
    if (c == '\n') {
      ++position_.line;
      position_.column = 1;
    } else {
      ++position_.column;
    }
  }
  at_ += count;
}

std::string_view Lexer::WithoutIndent(std::string_view text) const {
  const std::size_t line_end = text.rfind('\n');
  const std::size_t line = line_end == std::string_view::npos ? 0 : line_end + 1;
  const bool starts_line = line > 0 || at_line_start_;
  return starts_line && Strip(text.substr(line), Ends::kBoth).empty() ? text.substr(0, line) : text;
}

/// The text up to the next tag, less the white space before it that the tag takes away.
void Lexer::LexText() {
  const Position begin = position_;
  const std::string_view rest = Rest();
  std::size_t length = rest.find('{');
  while (length != std::string_view::npos && length + 1 < rest.size() && rest[length + 1] != '{' &&
         rest[length + 1] != '%' && rest[length + 1] != '#') {
    length = rest.find('{', length + 1);
  }
  const bool tag_follows = length != std::string_view::npos && length + 1 < rest.size();
  if (!tag_follows) length = rest.size();
  std::string_view text = rest.substr(0, length);
  if (tag_follows) {
    const char sign = length + 2 < rest.size() ? rest[length + 2] : '\0';
    if (sign == '-') {
      text = Strip(text, Ends::kRight);
    } else if (sign != '+' && rest[length + 1] != '{') {
      text = WithoutIndent(text);
    }
  }
  if (!text.empty()) Emit(Kind::kText, std::string(text), begin);
  Skip(length);
}

void Lexer::AfterTag(bool strip, bool is_output) {
  at_line_start_ = false;
  if (strip) {
    const std::size_t before = at_;
    Skip(Rest().size() - Strip(Rest(), Ends::kLeft).size());
    at_line_start_ = at_ > before && source_[at_ - 1] == '\n';
  } else if (!is_output && Rest().starts_with('\n')) {
    Skip(1);
    at_line_start_ = true;
  }
}

absl::Status Lexer::LexComment() {
  const std::size_t end = Rest().find("#}", 2);
  if (end == std::string_view::npos) return TemplateError(position_, "comment without an end");
  const char sign = end > 2 ? Rest()[end - 1] : '\0';
  Skip(end + 2);
  if (sign == '+') {
    at_line_start_ = false;
  } else {
    AfterTag(/*strip=*/sign == '-', /*is_output=*/false);
  }
  return absl::OkStatus();
}

/// The length of "{%- name -%}" at the beginning of `text`, 0 where it is not there. Signs may be any.
std::size_t BareTag(std::string_view text, std::string_view name) {
  std::size_t at = 2;
  const auto sign = [&] {
    if (at < text.size() && (text[at] == '-' || text[at] == '+')) ++at;
  };
  const auto blanks = [&] {
    while (at < text.size() && IsBlank(text[at])) ++at;
  };
  if (!text.starts_with("{%")) return 0;
  sign();
  blanks();
  if (!text.substr(std::min(at, text.size())).starts_with(name)) return 0;
  at += name.size();
  blanks();
  sign();
  return text.substr(std::min(at, text.size())).starts_with("%}") ? at + 2 : 0;
}

absl::StatusOr<bool> Lexer::LexRaw() {
  const std::size_t open = BareTag(Rest(), "raw");
  if (open == 0) return false;
  const Position start = position_;
  const char open_sign = Rest()[open - 3];
  Skip(open);
  AfterTag(/*strip=*/open_sign == '-', /*is_output=*/true);  // the line end after it is part of the text
  const Position begin = position_;
  std::size_t length = Rest().find("{%");
  while (length != std::string_view::npos && BareTag(Rest().substr(length), "endraw") == 0) {
    length = Rest().find("{%", length + 2);
  }
  if (length == std::string_view::npos) return TemplateError(start, "'endraw' expected");
  const std::size_t close = BareTag(Rest().substr(length), "endraw");
  std::string_view text = Rest().substr(0, length);
  if (Rest()[length + 2] == '-') {
    text = Strip(text, Ends::kRight);
  } else if (Rest()[length + 2] != '+') {
    text = WithoutIndent(text);
  }
  if (!text.empty()) Emit(Kind::kText, std::string(text), begin);
  const char close_sign = Rest()[length + close - 3];
  Skip(length + close);
  if (close_sign == '+') {
    at_line_start_ = false;
  } else {
    AfterTag(/*strip=*/close_sign == '-', /*is_output=*/false);
  }
  return true;
}

absl::Status Lexer::LexTag(Kind begin, Kind end, std::string_view close) {
  const Position start = position_;
  Emit(begin, "", start);
  Skip(2);
  std::string open;  // brackets that are; while the innermost is '{', "}}" closes two of them and no tag
  if (Rest().starts_with('-') || Rest().starts_with('+')) Skip(1);
  for (;;) {
    while (!Rest().empty() && IsBlank(Rest()[0])) Skip(1);
    if (Rest().empty()) return TemplateError(start, "tag without an end");
    const bool in_braces = close[0] == '}' && open.ends_with('{');
    const bool signed_close = !in_braces && Rest().size() > 2 && Rest().substr(1).starts_with(close);
    const char sign = signed_close ? Rest()[0] : '\0';
    if (sign == '-' || (sign == '+' && end == Kind::kStatementEnd)) {
      Emit(end, "", position_);
      Skip(3);
      if (sign == '+') {
        at_line_start_ = false;
      } else {
        AfterTag(/*strip=*/true, /*is_output=*/end == Kind::kOutputEnd);
      }
      return absl::OkStatus();
    }
    if (!in_braces && Rest().starts_with(close)) {
      Emit(end, "", position_);
      Skip(2);
      AfterTag(/*strip=*/false, /*is_output=*/end == Kind::kOutputEnd);
      return absl::OkStatus();
    }
    BATON_RETURN_IF_ERROR(LexToken());
    if (tokens_.back().kind != Kind::kOperator) continue;
    const char bracket = tokens_.back().text[0];
    if (bracket == '(' || bracket == '[' || bracket == '{') open += bracket;
    if ((bracket == ')' || bracket == ']' || bracket == '}') && !open.empty()) open.pop_back();
  }
}

absl::Status Lexer::LexToken() {
  const char first = Rest()[0];
  if (first == '"' || first == '\'') return LexString();
  if (IsDigit(first)) {
    LexNumber();
    return absl::OkStatus();
  }
  if (IsNameStart(first)) {
    const std::string_view rest = Rest();
    const auto length = static_cast<std::size_t>(std::ranges::find_if_not(rest, IsNamePart) - rest.begin());
    Emit(Kind::kName, std::string(rest.substr(0, length)), position_);
    Skip(length);
    return absl::OkStatus();
  }
  for (const std::string_view op : kOperators) {
    if (!Rest().starts_with(op)) continue;
    Emit(Kind::kOperator, std::string(op), position_);
    Skip(op.size());
    return absl::OkStatus();
  }
  std::string shown;
  AppendAsValidUtf8(shown, Rest().substr(0, NextUtf8(Rest()).length));
  return TemplateError(position_, "unexpected '{}'", shown);
}

void Lexer::LexNumber() {
  const std::string_view rest = Rest();
  std::size_t length = 0;
  const auto digits = [&] {
    while (length < rest.size() && IsDigit(rest[length])) ++length;
  };
  digits();
  Kind kind = Kind::kInteger;
  if (length + 1 < rest.size() && rest[length] == '.' && IsDigit(rest[length + 1])) {
    ++length;
    digits();
    kind = Kind::kFloat;
  }
  if (length < rest.size() && (rest[length] == 'e' || rest[length] == 'E')) {
    std::size_t exponent = length + 1;
    if (exponent < rest.size() && (rest[exponent] == '-' || rest[exponent] == '+')) ++exponent;
    if (exponent < rest.size() && IsDigit(rest[exponent])) {
      length = exponent;
      digits();
      kind = Kind::kFloat;
    }
  }
  Emit(kind, std::string(rest.substr(0, length)), position_);
  Skip(length);
}

absl::Status Lexer::LexString() {
  const Position start = position_;
  const char quote = Rest()[0];
  const std::string stops = {quote, '\\'};
  Skip(1);
  std::string value;
  for (;;) {
    const std::size_t plain = Rest().find_first_of(stops);
    if (plain == std::string_view::npos) return TemplateError(start, "string without an end");
    value += Rest().substr(0, plain);
    Skip(plain);
    if (Rest()[0] == quote) break;
    BATON_RETURN_IF_ERROR(LexEscape(value));
  }
  Skip(1);
  Emit(Kind::kString, std::move(value), start);
  return absl::OkStatus();
}

/// The character of the `digits` hexadecimal digits that come next.
absl::StatusOr<char32_t> Lexer::HexEscape(std::size_t digits) {
  const std::string_view text = Rest().substr(0, digits);
  std::uint32_t code = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), code, 16);
  if (text.size() != digits || error != std::errc() || end != text.data() + text.size()) {
    return TemplateError(position_, "{} hexadecimal digits expected", digits);
  }
  if (code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) {
    return TemplateError(position_, "no such character: {}", text);
  }
  Skip(digits);
  return static_cast<char32_t>(code);
}

absl::Status Lexer::LexEscape(std::string& value) {
  constexpr std::string_view kLetters = "ntr\\'\"abfv";
  constexpr std::string_view kValues = "\n\t\r\\'\"\a\b\f\v";
  const Position start = position_;
  Skip(1);
  const char letter = Rest().empty() ? '\0' : Rest()[0];
  if (const std::size_t simple = kLetters.find(letter); simple != std::string_view::npos) {
    value += kValues[simple];
    Skip(1);
    return absl::OkStatus();
  }
  const std::size_t digits = letter == 'x' ? 2 : letter == 'u' ? 4 : letter == 'U' ? 8 : 0;
  if (digits == 0) {
    if (IsDigit(letter) || letter == '\n' || letter == 'N' || letter == '\0') {
      return TemplateError(start, "this escape is not supported");
    }
    value += '\\';  // as Python does where the letter has no meaning
    return absl::OkStatus();
  }
  Skip(1);
  BATON_ASSIGN_OR_RETURN(const char32_t code, HexEscape(digits));
  AppendUtf8(value, code);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Token>> Lexer::Run() {
  while (at_ < source_.size()) {
    LexText();
    if (Rest().empty()) break;
    if (Rest().starts_with("{#")) {
      BATON_RETURN_IF_ERROR(LexComment());
    } else if (Rest().starts_with("{%")) {
      BATON_ASSIGN_OR_RETURN(const bool raw, LexRaw());
      if (raw) continue;
      BATON_RETURN_IF_ERROR(LexTag(Kind::kStatementBegin, Kind::kStatementEnd, "%}"));
    } else {
      BATON_RETURN_IF_ERROR(LexTag(Kind::kOutputBegin, Kind::kOutputEnd, "}}"));
    }
  }
  Emit(Kind::kEnd, "", position_);
  return std::move(tokens_);
}

}  // namespace

absl::StatusOr<std::vector<Token>> Lex(std::string_view source) {
  if (const std::size_t valid = ValidUtf8Prefix(source); valid != source.size()) {
    return Error(kInvalidArgument, "not UTF-8 at byte {}", valid);
  }
  return Lexer(WithPlainLineEnds(source)).Run();
}

}  // namespace baton::text::jinja
