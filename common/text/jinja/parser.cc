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

Expression BlockText(Position at) {
  return {.at = at, .height = 1, .node = Name{std::string(kBlockText)}};
}

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
  absl::StatusOr<Statement> ParseFilterBlock(Position at);
  absl::StatusOr<Statement> ParseWith(Position at);
  absl::StatusOr<Statement> ParseMacro(Position at);
  absl::StatusOr<Statement> ParseCall(Position at);
  absl::StatusOr<Statement> ParseGeneration(Position at);
  absl::StatusOr<Statement> ParseJump(Position at, const Token& name);
  absl::StatusOr<std::vector<Macro::Parameter>> ParseParameters();
  /// The statements up to {% `end` %}, which is passed.
  absl::StatusOr<Statements> ParseBody(std::string_view end);
  absl::StatusOr<std::string> ParseVariable();
  /// `a` or `a, b`.
  absl::StatusOr<Targets> ParseTargets();
  absl::Status ExpectTagEnd();
  /// Passes "{% name %}".
  absl::Status ExpectTag(std::string_view name);
  /// Passes "{% name" where it comes next.
  bool SkipTagStart(std::string_view name);

  TokenStream tokens_;
  int nesting_ = 0;
  int loops_ = 0;  // around the statement, in its macro
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
    if (name.text == "filter") return ParseFilterBlock(at);
    if (name.text == "with") return ParseWith(at);
    if (name.text == "macro") return ParseMacro(at);
    if (name.text == "call") return ParseCall(at);
    if (name.text == "generation") return ParseGeneration(at);
    if (name.text == "break" || name.text == "continue") return ParseJump(at, name);
    return TemplateError(name.at, "statement '{}' is not supported here", name.text);
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

absl::StatusOr<Targets> Parser::ParseTargets() {
  Targets targets;
  const bool parenthesis = tokens_.SkipOperator("(");
  do {
    BATON_ASSIGN_OR_RETURN(std::string name, ParseVariable());
    targets.push_back(std::move(name));
  } while (tokens_.SkipOperator(","));
  if (parenthesis) BATON_RETURN_IF_ERROR(tokens_.ExpectOperator(")"));
  return targets;
}

absl::StatusOr<Statements> Parser::ParseBody(std::string_view end) {
  BATON_ASSIGN_OR_RETURN(Statements body, ParseUntil(std::span(&end, 1)));
  BATON_RETURN_IF_ERROR(ExpectTag(end));
  return body;
}

absl::StatusOr<Statement> Parser::ParseFor(Position at) {
  constexpr std::array<std::string_view, 2> kEnds = {"else", "endfor"};
  BATON_ASSIGN_OR_RETURN(Targets targets, ParseTargets());
  if (!tokens_.SkipName("in"))
    return TemplateError(tokens_.Peek().at, "'in' expected, {} found", tokens_.Describe());
  BATON_ASSIGN_OR_RETURN(Expression iterable, ExpressionParser(tokens_).ParseOr());
  ExpressionPtr condition;
  if (tokens_.SkipName("if")) {
    BATON_ASSIGN_OR_RETURN(Expression parsed, ExpressionParser(tokens_).ParseConditional());
    condition = std::make_unique<Expression>(std::move(parsed));
  }
  const bool recursive = tokens_.SkipName("recursive");
  BATON_RETURN_IF_ERROR(ExpectTagEnd());
  ++loops_;
  BATON_ASSIGN_OR_RETURN(Statements body, ParseUntil(kEnds));
  --loops_;
  Statements otherwise;
  if (SkipTagStart("else")) {
    BATON_RETURN_IF_ERROR(ExpectTagEnd());
    BATON_ASSIGN_OR_RETURN(otherwise, ParseUntil(std::span(kEnds).last(1)));
  }
  BATON_RETURN_IF_ERROR(ExpectTag("endfor"));
  return Statement{.at = at,
                   .node = For{.targets = std::move(targets),
                               .iterable = std::move(iterable),
                               .condition = std::move(condition),
                               .recursive = recursive,
                               .body = std::move(body),
                               .otherwise = std::move(otherwise)}};
}

absl::StatusOr<Statement> Parser::ParseJump(Position at, const Token& name) {
  if (loops_ == 0) return TemplateError(name.at, "'{}' outside of a loop", name.text);
  BATON_RETURN_IF_ERROR(ExpectTagEnd());
  if (name.text == "break") return Statement{.at = at, .node = Break{}};
  return Statement{.at = at, .node = Continue{}};
}

absl::StatusOr<Statement> Parser::ParseGeneration(Position at) {
  BATON_RETURN_IF_ERROR(ExpectTagEnd());
  BATON_ASSIGN_OR_RETURN(Statements body, ParseBody("endgeneration"));
  return Statement{.at = at, .node = Block{std::move(body)}};
}

absl::StatusOr<Statement> Parser::ParseFilterBlock(Position at) {
  BATON_ASSIGN_OR_RETURN(Expression filtered, ExpressionParser(tokens_).ParseFilters(BlockText(at)));
  BATON_RETURN_IF_ERROR(ExpectTagEnd());
  BATON_ASSIGN_OR_RETURN(Statements body, ParseBody("endfilter"));
  return Statement{.at = at, .node = FilterBlock{.filtered = std::move(filtered), .body = std::move(body)}};
}

absl::StatusOr<Statement> Parser::ParseWith(Position at) {
  With node;
  while (tokens_.Peek().kind != Kind::kStatementEnd) {
    BATON_ASSIGN_OR_RETURN(std::string name, ParseVariable());
    BATON_RETURN_IF_ERROR(tokens_.ExpectOperator("="));
    BATON_ASSIGN_OR_RETURN(Expression value, ExpressionParser(tokens_).ParseConditional());
    node.variables.push_back(std::move(name));
    node.values.push_back(std::move(value));
    if (!tokens_.SkipOperator(",")) break;
  }
  BATON_RETURN_IF_ERROR(ExpectTagEnd());
  BATON_ASSIGN_OR_RETURN(node.body, ParseBody("endwith"));
  return Statement{.at = at, .node = std::move(node)};
}

/// "(a, b=1)".
absl::StatusOr<std::vector<Macro::Parameter>> Parser::ParseParameters() {
  std::vector<Macro::Parameter> parameters;
  BATON_RETURN_IF_ERROR(tokens_.ExpectOperator("("));
  while (!tokens_.AtOperator(")")) {
    BATON_ASSIGN_OR_RETURN(std::string name, ParseVariable());
    Macro::Parameter parameter{.name = std::move(name), .fallback = nullptr};
    if (tokens_.SkipOperator("=")) {
      BATON_ASSIGN_OR_RETURN(Expression fallback, ExpressionParser(tokens_).ParseConditional());
      parameter.fallback = std::make_unique<Expression>(std::move(fallback));
    }
    parameters.push_back(std::move(parameter));
    if (!tokens_.SkipOperator(",")) break;
  }
  BATON_RETURN_IF_ERROR(tokens_.ExpectOperator(")"));
  return parameters;
}

absl::StatusOr<Statement> Parser::ParseMacro(Position at) {
  auto macro = std::make_unique<Macro>();
  BATON_ASSIGN_OR_RETURN(macro->name, ParseVariable());
  BATON_ASSIGN_OR_RETURN(macro->parameters, ParseParameters());
  BATON_RETURN_IF_ERROR(ExpectTagEnd());
  const int loops = std::exchange(loops_, 0);
  BATON_ASSIGN_OR_RETURN(macro->body, ParseBody("endmacro"));
  loops_ = loops;
  return Statement{.at = at, .node = DefineMacro{std::move(macro)}};
}

absl::StatusOr<Statement> Parser::ParseCall(Position at) {
  auto caller = std::make_unique<Macro>();
  caller->name = "caller";
  if (tokens_.AtOperator("(")) {
    BATON_ASSIGN_OR_RETURN(caller->parameters, ParseParameters());
  }
  BATON_ASSIGN_OR_RETURN(Expression call, ExpressionParser(tokens_).ParseConditional());
  const auto* called = std::get_if<Call>(&call.node);
  if (called == nullptr || called->callee != nullptr)
    return TemplateError(call.at, "the call of a macro by its name expected");
  BATON_RETURN_IF_ERROR(ExpectTagEnd());
  const int loops = std::exchange(loops_, 0);
  BATON_ASSIGN_OR_RETURN(caller->body, ParseBody("endcall"));
  loops_ = loops;
  return Statement{.at = at, .node = CallBlock{.call = std::move(call), .caller = std::move(caller)}};
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
  BATON_ASSIGN_OR_RETURN(Targets targets, ParseTargets());
  const bool filtered = tokens_.AtOperator("|");
  if ((tokens_.Peek().kind == Kind::kStatementEnd || filtered) && targets.size() == 1) {
    SetBlock block{.variable = std::move(targets[0]), .filtered = nullptr, .body = {}};
    if (tokens_.SkipOperator("|")) {
      BATON_ASSIGN_OR_RETURN(Expression chain, ExpressionParser(tokens_).ParseFilters(BlockText(at)));
      block.filtered = std::make_unique<Expression>(std::move(chain));
    }
    BATON_RETURN_IF_ERROR(ExpectTagEnd());
    BATON_ASSIGN_OR_RETURN(block.body, ParseBody("endset"));
    return Statement{.at = at, .node = std::move(block)};
  }
  std::string attribute;
  if (targets.size() == 1 && tokens_.SkipOperator(".")) {
    if (tokens_.Peek().kind != Kind::kName)
      return TemplateError(tokens_.Peek().at, "name expected after '.'");
    attribute = tokens_.Next().text;
  }
  BATON_RETURN_IF_ERROR(tokens_.ExpectOperator("="));
  BATON_ASSIGN_OR_RETURN(Expression value, ExpressionParser(tokens_).ParseTuple());
  BATON_RETURN_IF_ERROR(ExpectTagEnd());
  return Statement{
      .at = at,
      .node =
          Set{.targets = std::move(targets), .attribute = std::move(attribute), .value = std::move(value)}};
}

}  // namespace

absl::StatusOr<Statements> Parse(std::string_view source) {
  BATON_ASSIGN_OR_RETURN(std::vector<Token> tokens, Lex(source));
  return Parser(std::move(tokens)).ParseTemplate();
}

absl::flat_hash_set<std::string> NamesIn(std::string_view source) {
  absl::flat_hash_set<std::string> names;
  const absl::StatusOr<std::vector<Token>> tokens = Lex(source);
  if (!tokens.ok()) return names;
  const Token* before = nullptr;
  for (const Token& token : *tokens) {
    const bool part =
        before != nullptr &&
        ((before->kind == Kind::kOperator && (before->text == "." || before->text == "|")) ||
         (before->kind == Kind::kName && before->text == "is") || before->kind == Kind::kStatementBegin);
    if (token.kind == Kind::kName && !part) names.insert(token.text);
    before = &token;
  }
  return names;
}

}  // namespace baton::text::jinja
