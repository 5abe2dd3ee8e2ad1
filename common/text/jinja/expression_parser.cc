#include "common/text/jinja/expression_parser.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <span>

#include "common/text/jinja/builtins.h"
#include "common/text/jinja/parser.h"

namespace baton::text::jinja {
namespace {

using Kind = Token::Kind;

struct OperatorName {
  std::string_view spelling;
  BinaryOperator op;
};

constexpr std::array<OperatorName, 6> kComparisons = {{{"==", BinaryOperator::kEqual},
                                                       {"!=", BinaryOperator::kNotEqual},
                                                       {"<", BinaryOperator::kLess},
                                                       {"<=", BinaryOperator::kLessEqual},
                                                       {">", BinaryOperator::kGreater},
                                                       {">=", BinaryOperator::kGreaterEqual}}};
constexpr std::array<OperatorName, 2> kSums = {
    {{"+", BinaryOperator::kAdd}, {"-", BinaryOperator::kSubtract}}};
constexpr std::array<OperatorName, 1> kConcatenations = {{{"~", BinaryOperator::kConcatenate}}};
constexpr std::array<OperatorName, 2> kProducts = {
    {{"*", BinaryOperator::kMultiply}, {"%", BinaryOperator::kModulo}}};

// Python's methods of dicts hide keys of the same name; they are not supported, so that such a template is
// refused rather than understood differently.
constexpr std::array<std::string_view, 11> kDictMethods = {
    "clear", "copy", "fromkeys", "get", "items", "keys", "pop", "popitem", "setdefault", "update", "values"};

/// Recursive descent; each function reads one level of precedence and what binds tighter.
class ExpressionParser {
 public:
  explicit ExpressionParser(TokenStream& tokens) : tokens_(tokens) {}

  absl::StatusOr<Expression> ParseConditional();
  absl::StatusOr<Expression> ParseOr();

 private:
  using Level = absl::StatusOr<Expression> (ExpressionParser::*)();

  absl::StatusOr<Expression> ParseAnd();
  absl::StatusOr<Expression> ParseNot();
  absl::StatusOr<Expression> ParseComparison();
  absl::StatusOr<Expression> ParseSum();
  absl::StatusOr<Expression> ParseConcatenation();
  absl::StatusOr<Expression> ParseProduct();
  absl::StatusOr<Expression> ParseUnary();
  absl::StatusOr<Expression> ParsePrimary();
  absl::StatusOr<Expression> ParseName();
  absl::StatusOr<Expression> ParseNumber();
  absl::StatusOr<Expression> ParseListLiteral();
  absl::StatusOr<Expression> ParseSuffixes(Expression subject);
  absl::StatusOr<Expression> ParseAttribute(Expression object);
  absl::StatusOr<Expression> ParseSubscript(Expression object);
  absl::StatusOr<Expression> ParseFilter(Expression subject);
  absl::StatusOr<Expression> ParseTest(Expression subject);
  absl::StatusOr<Expression> ParseRaise(Position at);
  absl::StatusOr<Expressions> ParseArguments(std::size_t at_most);

  absl::StatusOr<Expression> ParseLeftToRight(std::span<const OperatorName> operators, Level tighter);
  [[nodiscard]] std::optional<BinaryOperator> NextOf(std::span<const OperatorName> operators) const;

  /// Of the tree over `children`, checked: whoever walks it recurses as deep.
  template <typename Node, typename... Children>
  static absl::StatusOr<Expression> Make(Position at, Node node, const Children&... children);
  static ExpressionPtr Box(Expression expression) {
    return std::make_unique<Expression>(std::move(expression));
  }
  static int HeightOf(const Expression& child) { return child.height; }
  static int HeightOf(const ExpressionPtr& child) { return child == nullptr ? 0 : child->height; }
  static int HeightOf(int height) { return height; }
  static absl::StatusOr<Expression> Apply(Position at, Expression subject, const Builtin* builtin,
                                          Expressions arguments, bool negated);

  TokenStream& tokens_;
  int nesting_ = 0;  // of parentheses, brackets and prefixes: recursion before there is a tree
};

template <typename Node, typename... Children>
absl::StatusOr<Expression> ExpressionParser::Make(Position at, Node node, const Children&... children) {
  Expression expression{.at = at, .height = 1 + std::max({0, HeightOf(children)...}), .node = Literal{}};
  if (expression.height > kMaxHeight) return TemplateError(at, "expression more than {} deep", kMaxHeight);
  expression.node = std::move(node);
  return expression;
}

std::optional<BinaryOperator> ExpressionParser::NextOf(std::span<const OperatorName> operators) const {
  for (const OperatorName& each : operators) {
    if (tokens_.AtOperator(each.spelling)) return each.op;
  }
  return std::nullopt;
}

absl::StatusOr<Expression> ExpressionParser::ParseLeftToRight(std::span<const OperatorName> operators,
                                                              Level tighter) {
  BATON_ASSIGN_OR_RETURN(Expression left, (this->*tighter)());
  while (const std::optional<BinaryOperator> op = NextOf(operators)) {
    const Position at = tokens_.Next().at;
    BATON_ASSIGN_OR_RETURN(Expression right, (this->*tighter)());
    const int height = std::max(left.height, right.height);
    BATON_ASSIGN_OR_RETURN(
        left,
        Make(at, Binary{.op = *op, .left = Box(std::move(left)), .right = Box(std::move(right))}, height));
  }
  return left;
}

absl::StatusOr<Expression> ExpressionParser::ParseConditional() {
  if (++nesting_ > kMaxHeight)
    return TemplateError(tokens_.Peek().at, "expression more than {} deep", kMaxHeight);
  BATON_ASSIGN_OR_RETURN(Expression then, ParseOr());
  if (tokens_.AtName("if")) {
    const Position at = tokens_.Next().at;
    BATON_ASSIGN_OR_RETURN(Expression condition, ParseOr());
    Conditional node{
        .condition = Box(std::move(condition)), .then = Box(std::move(then)), .otherwise = nullptr};
    if (tokens_.SkipName("else")) {
      BATON_ASSIGN_OR_RETURN(Expression otherwise, ParseConditional());
      node.otherwise = Box(std::move(otherwise));
    }
    const int height = std::max({HeightOf(node.condition), HeightOf(node.then), HeightOf(node.otherwise)});
    BATON_ASSIGN_OR_RETURN(then, Make(at, std::move(node), height));
  }
  --nesting_;
  return then;
}

absl::StatusOr<Expression> ExpressionParser::ParseOr() {
  BATON_ASSIGN_OR_RETURN(Expression left, ParseAnd());
  while (tokens_.AtName("or")) {
    const Position at = tokens_.Next().at;
    BATON_ASSIGN_OR_RETURN(Expression right, ParseAnd());
    const int height = std::max(left.height, right.height);
    Binary node{.op = BinaryOperator::kOr, .left = Box(std::move(left)), .right = Box(std::move(right))};
    BATON_ASSIGN_OR_RETURN(left, Make(at, std::move(node), height));
  }
  return left;
}

absl::StatusOr<Expression> ExpressionParser::ParseAnd() {
  BATON_ASSIGN_OR_RETURN(Expression left, ParseNot());
  while (tokens_.AtName("and")) {
    const Position at = tokens_.Next().at;
    BATON_ASSIGN_OR_RETURN(Expression right, ParseNot());
    const int height = std::max(left.height, right.height);
    Binary node{.op = BinaryOperator::kAnd, .left = Box(std::move(left)), .right = Box(std::move(right))};
    BATON_ASSIGN_OR_RETURN(left, Make(at, std::move(node), height));
  }
  return left;
}

absl::StatusOr<Expression> ExpressionParser::ParseNot() {
  if (!tokens_.AtName("not")) return ParseComparison();
  const Position at = tokens_.Next().at;
  if (++nesting_ > kMaxHeight) return TemplateError(at, "expression more than {} deep", kMaxHeight);
  BATON_ASSIGN_OR_RETURN(Expression operand, ParseNot());
  --nesting_;
  const int height = operand.height;
  return Make(at, Not{Box(std::move(operand))}, height);
}

absl::StatusOr<Expression> ExpressionParser::ParseComparison() {
  BATON_ASSIGN_OR_RETURN(Expression left, ParseSum());
  bool compared = false;
  for (;;) {
    const Position at = tokens_.Peek().at;
    std::optional<BinaryOperator> op = NextOf(kComparisons);
    if (op || tokens_.AtName("in")) {
      tokens_.Next();
      if (!op) op = BinaryOperator::kIn;
    } else if (tokens_.AtName("not") && tokens_.PeekSecond().kind == Kind::kName &&
               tokens_.PeekSecond().text == "in") {
      tokens_.Next();
      tokens_.Next();
      op = BinaryOperator::kNotIn;
    } else {
      return left;
    }
    if (compared) return TemplateError(at, "a chain of comparisons is not supported");
    compared = true;
    BATON_ASSIGN_OR_RETURN(Expression right, ParseSum());
    const int height = std::max(left.height, right.height);
    BATON_ASSIGN_OR_RETURN(
        left,
        Make(at, Binary{.op = *op, .left = Box(std::move(left)), .right = Box(std::move(right))}, height));
  }
}

absl::StatusOr<Expression> ExpressionParser::ParseSum() {
  return ParseLeftToRight(kSums, &ExpressionParser::ParseConcatenation);
}
absl::StatusOr<Expression> ExpressionParser::ParseConcatenation() {
  return ParseLeftToRight(kConcatenations, &ExpressionParser::ParseProduct);
}
absl::StatusOr<Expression> ExpressionParser::ParseProduct() {
  return ParseLeftToRight(kProducts, &ExpressionParser::ParseUnary);
}

/// A minus applies before filters and tests do: `-1 | abs` is the filter of -1.
absl::StatusOr<Expression> ExpressionParser::ParseUnary() {
  if (!tokens_.AtOperator("-")) {
    BATON_ASSIGN_OR_RETURN(Expression primary, ParsePrimary());
    return ParseSuffixes(std::move(primary));
  }
  const Position at = tokens_.Next().at;
  BATON_ASSIGN_OR_RETURN(Expression operand, ParsePrimary());
  const int height = operand.height;
  BATON_ASSIGN_OR_RETURN(Expression negated, Make(at, Negate{Box(std::move(operand))}, height));
  return ParseSuffixes(std::move(negated));
}

absl::StatusOr<Expression> ExpressionParser::ParsePrimary() {
  const Position at = tokens_.Peek().at;
  switch (tokens_.Peek().kind) {
    case Kind::kName:
      return ParseName();
    case Kind::kInteger:
    case Kind::kFloat:
      return ParseNumber();
    case Kind::kString: {
      std::string text = tokens_.Next().text;
      while (tokens_.Peek().kind == Kind::kString) text += tokens_.Next().text;  // adjacent ones are one
      return Make(at, Literal{Value(std::move(text))});
    }
    case Kind::kText:
    case Kind::kOutputBegin:
    case Kind::kOutputEnd:
    case Kind::kStatementBegin:
    case Kind::kStatementEnd:
    case Kind::kOperator:
    case Kind::kEnd:
      break;
  }
  if (tokens_.AtOperator("[")) return ParseListLiteral();
  if (tokens_.AtOperator("{")) return TemplateError(at, "a dict literal is not supported");
  if (!tokens_.SkipOperator("("))
    return TemplateError(at, "expression expected, {} found", tokens_.Describe());
  BATON_ASSIGN_OR_RETURN(Expression inner, ParseConditional());
  if (tokens_.AtOperator(",")) return TemplateError(tokens_.Peek().at, "a tuple is not supported");
  BATON_RETURN_IF_ERROR(tokens_.ExpectOperator(")"));
  return inner;
}

absl::StatusOr<Expression> ExpressionParser::ParseName() {
  constexpr std::array<std::string_view, 9> kKeywords = {"and", "else", "if",   "in", "is",
                                                         "not", "or",   "elif", "for"};
  if (std::ranges::find(kKeywords, tokens_.Peek().text) != kKeywords.end()) {
    return TemplateError(tokens_.Peek().at, "expression expected, {} found", tokens_.Describe());
  }
  const Token token = tokens_.Next();
  const std::string& name = token.text;
  if (name == "true" || name == "True") return Make(token.at, Literal{Value(true)});
  if (name == "false" || name == "False") return Make(token.at, Literal{Value(false)});
  if (name == "none" || name == "None") return Make(token.at, Literal{Value(nullptr)});
  if (!tokens_.AtOperator("(")) return Make(token.at, Name{name});
  if (name == "raise_exception") return ParseRaise(token.at);
  return TemplateError(token.at, "function '{}' is not supported; supported: raise_exception", name);
}

absl::StatusOr<Expression> ExpressionParser::ParseRaise(Position at) {
  BATON_ASSIGN_OR_RETURN(Expressions arguments, ParseArguments(1));
  if (arguments.size() != 1) return TemplateError(at, "raise_exception takes one argument");
  const int height = arguments[0].height;
  return Make(at, RaiseException{Box(std::move(arguments[0]))}, height);
}

absl::StatusOr<Expression> ExpressionParser::ParseNumber() {
  const Token token = tokens_.Next();
  const char* begin = token.text.data();
  const char* end = begin + token.text.size();
  if (token.kind == Kind::kInteger) {
    std::int64_t whole = 0;
    if (std::from_chars(begin, end, whole).ec == std::errc()) return Make(token.at, Literal{Value(whole)});
  } else {
    double number = 0.0;
    if (std::from_chars(begin, end, number).ec == std::errc()) return Make(token.at, Literal{Value(number)});
  }
  return TemplateError(token.at, "number out of range");
}

absl::StatusOr<Expression> ExpressionParser::ParseListLiteral() {
  const Position at = tokens_.Next().at;
  ListLiteral list;
  int height = 0;
  while (!tokens_.AtOperator("]")) {
    BATON_ASSIGN_OR_RETURN(Expression element, ParseConditional());
    height = std::max(height, element.height);
    list.elements.push_back(std::move(element));
    if (!tokens_.SkipOperator(",")) break;
  }
  BATON_RETURN_IF_ERROR(tokens_.ExpectOperator("]"));
  return Make(at, std::move(list), height);
}

absl::StatusOr<Expression> ExpressionParser::ParseSuffixes(Expression subject) {
  for (;;) {
    if (tokens_.AtOperator(".")) {
      BATON_ASSIGN_OR_RETURN(subject, ParseAttribute(std::move(subject)));
    } else if (tokens_.AtOperator("[")) {
      BATON_ASSIGN_OR_RETURN(subject, ParseSubscript(std::move(subject)));
    } else if (tokens_.AtOperator("|")) {
      BATON_ASSIGN_OR_RETURN(subject, ParseFilter(std::move(subject)));
    } else if (tokens_.AtName("is")) {
      BATON_ASSIGN_OR_RETURN(subject, ParseTest(std::move(subject)));
    } else if (tokens_.AtOperator("(")) {
      return TemplateError(tokens_.Peek().at, "calling this is not supported");
    } else {
      return subject;
    }
  }
}

absl::StatusOr<Expression> ExpressionParser::Apply(Position at, Expression subject, const Builtin* builtin,
                                                   Expressions arguments, bool negated) {
  int height = subject.height;
  for (const Expression& argument : arguments) height = std::max(height, argument.height);
  jinja::Apply node{.subject = Box(std::move(subject)),
                    .builtin = builtin,
                    .arguments = std::move(arguments),
                    .negated = negated};
  return Make(at, std::move(node), height);
}

/// `.name`, or the method `.name(arguments)`.
absl::StatusOr<Expression> ExpressionParser::ParseAttribute(Expression object) {
  const Position at = tokens_.Next().at;
  if (tokens_.Peek().kind != Kind::kName) {
    return TemplateError(tokens_.Peek().at, "name expected after '.', {} found", tokens_.Describe());
  }
  const std::string name = tokens_.Next().text;
  if (tokens_.AtOperator("(")) {
    const Builtin* method = FindMethod(name);
    if (method == nullptr) return TemplateError(at, "method '{}' is not supported", name);
    BATON_ASSIGN_OR_RETURN(Expressions arguments, ParseArguments(method->arguments_max));
    return Apply(at, std::move(object), method, std::move(arguments), /*negated=*/false);
  }
  if (std::ranges::find(kDictMethods, name) != kDictMethods.end()) {
    return TemplateError(at, "attribute '{0}' is not supported: it is a method; write ['{0}']", name);
  }
  const int height = object.height;
  return Make(at, Attribute{.object = Box(std::move(object)), .name = name}, height);
}

absl::StatusOr<Expression> ExpressionParser::ParseSubscript(Expression object) {
  const Position at = tokens_.Next().at;
  std::array<ExpressionPtr, 3> parts;
  std::size_t colons = 0;
  int height = object.height;
  while (!tokens_.AtOperator("]")) {
    if (tokens_.SkipOperator(":")) {
      if (++colons > 2) return TemplateError(at, "a slice has at most two ':'");
      continue;
    }
    if (parts[colons] != nullptr) break;
    BATON_ASSIGN_OR_RETURN(Expression part, ParseConditional());
    height = std::max(height, part.height);
    parts[colons] = Box(std::move(part));
  }
  BATON_RETURN_IF_ERROR(tokens_.ExpectOperator("]"));
  if (colons > 0) {
    return Make(at,
                Slice{.object = Box(std::move(object)),
                      .start = std::move(parts[0]),
                      .stop = std::move(parts[1]),
                      .step = std::move(parts[2])},
                height);
  }
  if (parts[0] == nullptr) return TemplateError(at, "a subscript without an index");
  return Make(at, Subscript{.object = Box(std::move(object)), .index = std::move(parts[0])}, height);
}

absl::StatusOr<Expressions> ExpressionParser::ParseArguments(std::size_t at_most) {
  const Position at = tokens_.Next().at;  // the parenthesis
  Expressions arguments;
  while (!tokens_.AtOperator(")")) {
    if (tokens_.Peek().kind == Kind::kName && tokens_.PeekSecond().text == "=") {
      return TemplateError(tokens_.Peek().at, "a named argument is not supported here");
    }
    BATON_ASSIGN_OR_RETURN(Expression argument, ParseConditional());
    arguments.push_back(std::move(argument));
    if (arguments.size() > at_most) return TemplateError(at, "more than {} arguments", at_most);
    if (!tokens_.SkipOperator(",")) break;
  }
  BATON_RETURN_IF_ERROR(tokens_.ExpectOperator(")"));
  return arguments;
}

absl::StatusOr<Expression> ExpressionParser::ParseFilter(Expression subject) {
  tokens_.Next();
  const Token name = tokens_.Next();
  const Builtin* filter = name.kind == Kind::kName ? FindFilter(name.text) : nullptr;
  if (filter == nullptr) return TemplateError(name.at, "filter '{}' is not supported", name.text);
  Expressions arguments;
  if (tokens_.AtOperator("(")) {
    BATON_ASSIGN_OR_RETURN(arguments, ParseArguments(filter->arguments_max));
  }
  return Apply(name.at, std::move(subject), filter, std::move(arguments), /*negated=*/false);
}

absl::StatusOr<Expression> ExpressionParser::ParseTest(Expression subject) {
  tokens_.Next();
  const bool negated = tokens_.SkipName("not");
  const Token name = tokens_.Next();
  const Builtin* test = name.kind == Kind::kName ? FindTest(name.text) : nullptr;
  if (test == nullptr) return TemplateError(name.at, "test '{}' is not supported", name.text);
  return Apply(name.at, std::move(subject), test, {}, negated);
}

}  // namespace

absl::StatusOr<Expression> ParseExpression(TokenStream& tokens) {
  return ExpressionParser(tokens).ParseConditional();
}

absl::StatusOr<Expression> ParseIterable(TokenStream& tokens) {
  return ExpressionParser(tokens).ParseOr();
}

}  // namespace baton::text::jinja
