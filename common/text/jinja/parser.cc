#include "common/text/jinja/parser.h"

#include <algorithm>
#include <array>
#include <span>

#include "common/text/jinja/expression_parser.h"
#include "common/text/jinja/lexer.h"
#include "common/text/jinja/token_stream.h"

namespace baton::text::jinja {
namespace {

using Kind = Token::Kind;

class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  absl::StatusOr<Statements> ParseTemplate() { return ParseUntil({}); }

 private:
  /// The statements up to a tag whose name is one of `ends`, which stays next; up to the end where there are
  /// none.
  absl::StatusOr<Statements> ParseUntil(std::span<const std::string_view> ends);
  absl::StatusOr<Statement> ParseTag();
  absl::StatusOr<Statement> ParseFor(Position at);
  absl::StatusOr<Statement> ParseIf(Position at);
  absl::StatusOr<Statement> ParseSet(Position at);
  absl::StatusOr<std::string> ParseVariable();
  absl::Status ExpectTagEnd();
  /// Passes "{% name %}".
  absl::Status ExpectTag(std::string_view name);
  /// Passes "{% name" where it comes next.
  bool SkipTagStart(std::string_view name);

  TokenStream tokens_;
  int nesting_ = 0;
};

absl::StatusOr<Statements> Parser::ParseUntil(std::span<const std::string_view> ends) {
  if (++nesting_ > kMaxNesting)
    return TemplateError(tokens_.Peek().at, "statements more than {} deep", kMaxNesting);
  Statements statements;
  for (;;) {
    const Position at = tokens_.Peek().at;
    if (tokens_.Peek().kind == Kind::kText) {
      statements.push_back({.at = at, .node = Text{tokens_.Next().text}});
    } else if (tokens_.Peek().kind == Kind::kOutputBegin) {
      tokens_.Next();
      BATON_ASSIGN_OR_RETURN(Expression value, ExpressionParser(tokens_).ParseConditional());
      if (tokens_.Peek().kind != Kind::kOutputEnd) {
        return TemplateError(tokens_.Peek().at, "unexpected {}", tokens_.Describe());
      }
      tokens_.Next();
      statements.push_back({.at = at, .node = Output{std::move(value)}});
    } else if (tokens_.Peek().kind == Kind::kStatementBegin) {
      const Token& name = tokens_.PeekSecond();
      if (name.kind == Kind::kName && std::ranges::find(ends, name.text) != ends.end()) break;
      BATON_ASSIGN_OR_RETURN(Statement statement, ParseTag());
      statements.push_back(std::move(statement));
    } else if (ends.empty()) {
      break;
    } else {
      return TemplateError(at, "'{}' expected before the end of the template", ends.back());
    }
  }
  --nesting_;
  return statements;
}

absl::StatusOr<Statement> Parser::ParseTag() {
  const Position at = tokens_.Next().at;
  const Token name = tokens_.Next();
  if (name.kind == Kind::kName) {
    if (name.text == "for") return ParseFor(at);
    if (name.text == "if") return ParseIf(at);
    if (name.text == "set") return ParseSet(at);
    return TemplateError(name.at, "statement '{}' is not supported here; supported: for, if, set", name.text);
  }
  return TemplateError(name.at, "a statement's name expected");
}

absl::Status Parser::ExpectTagEnd() {
  if (tokens_.Peek().kind != Kind::kStatementEnd) {
    return TemplateError(tokens_.Peek().at, "unexpected {}", tokens_.Describe());
  }
  tokens_.Next();
  return absl::OkStatus();
}

bool Parser::SkipTagStart(std::string_view name) {
  const Token& second = tokens_.PeekSecond();
  if (tokens_.Peek().kind != Kind::kStatementBegin || second.kind != Kind::kName || second.text != name) {
    return false;
  }
  tokens_.Next();
  tokens_.Next();
  return true;
}

absl::Status Parser::ExpectTag(std::string_view name) {
  if (!SkipTagStart(name)) return TemplateError(tokens_.Peek().at, "'{}' expected", name);
  return ExpectTagEnd();
}

absl::StatusOr<std::string> Parser::ParseVariable() {
  constexpr std::array<std::string_view, 6> kConstants = {"true", "false", "none", "True", "False", "None"};
  const Token& name = tokens_.Peek();
  const bool is_constant = std::ranges::find(kConstants, name.text) != kConstants.end();
  if (name.kind != Kind::kName || is_constant) {
    return TemplateError(name.at, "a variable's name expected, {} found", tokens_.Describe());
  }
  return tokens_.Next().text;
}

absl::StatusOr<Statement> Parser::ParseFor(Position at) {
  constexpr std::array<std::string_view, 2> kEnds = {"else", "endfor"};
  BATON_ASSIGN_OR_RETURN(std::string variable, ParseVariable());
  if (tokens_.AtOperator(","))
    return TemplateError(tokens_.Peek().at, "unpacking in a loop is not supported");
  if (!tokens_.SkipName("in"))
    return TemplateError(tokens_.Peek().at, "'in' expected, {} found", tokens_.Describe());
  BATON_ASSIGN_OR_RETURN(Expression iterable, ExpressionParser(tokens_).ParseOr());
  if (tokens_.AtName("if")) return TemplateError(tokens_.Peek().at, "a condition on a loop is not supported");
  if (tokens_.AtName("recursive"))
    return TemplateError(tokens_.Peek().at, "a recursive loop is not supported");
  BATON_RETURN_IF_ERROR(ExpectTagEnd());
  BATON_ASSIGN_OR_RETURN(Statements body, ParseUntil(kEnds));
  Statements otherwise;
  if (SkipTagStart("else")) {
    BATON_RETURN_IF_ERROR(ExpectTagEnd());
    BATON_ASSIGN_OR_RETURN(otherwise, ParseUntil(std::span(kEnds).last(1)));
  }
  BATON_RETURN_IF_ERROR(ExpectTag("endfor"));
  return Statement{.at = at,
                   .node = For{.variable = std::move(variable),
                               .iterable = std::move(iterable),
                               .body = std::move(body),
                               .otherwise = std::move(otherwise)}};
}

absl::StatusOr<Statement> Parser::ParseIf(Position at) {
  constexpr std::array<std::string_view, 3> kEnds = {"elif", "else", "endif"};
  If node;
  do {
    BATON_ASSIGN_OR_RETURN(Expression condition, ExpressionParser(tokens_).ParseConditional());
    BATON_RETURN_IF_ERROR(ExpectTagEnd());
    BATON_ASSIGN_OR_RETURN(Statements body, ParseUntil(kEnds));
    node.branches.push_back({.condition = std::move(condition), .body = std::move(body)});
  } while (SkipTagStart("elif"));
  if (SkipTagStart("else")) {
    BATON_RETURN_IF_ERROR(ExpectTagEnd());
    BATON_ASSIGN_OR_RETURN(node.otherwise, ParseUntil(std::span(kEnds).last(1)));
  }
  BATON_RETURN_IF_ERROR(ExpectTag("endif"));
  return Statement{.at = at, .node = std::move(node)};
}

absl::StatusOr<Statement> Parser::ParseSet(Position at) {
  BATON_ASSIGN_OR_RETURN(std::string variable, ParseVariable());
  if (tokens_.AtOperator("."))
    return TemplateError(tokens_.Peek().at, "setting an attribute is not supported");
  if (tokens_.AtOperator(",")) return TemplateError(tokens_.Peek().at, "unpacking in 'set' is not supported");
  if (!tokens_.SkipOperator("="))
    return TemplateError(tokens_.Peek().at, "'set' without '=' is not supported");
  BATON_ASSIGN_OR_RETURN(Expression value, ExpressionParser(tokens_).ParseConditional());
  BATON_RETURN_IF_ERROR(ExpectTagEnd());
  return Statement{.at = at, .node = Set{.variable = std::move(variable), .value = std::move(value)}};
}

}  // namespace

absl::StatusOr<Statements> Parse(std::string_view source) {
  BATON_ASSIGN_OR_RETURN(std::vector<Token> tokens, Lex(source));
  return Parser(std::move(tokens)).ParseTemplate();
}

}  // namespace baton::text::jinja
