#include "common/text/jinja/expression_parser.h"

#include <array>
#include <charconv>

namespace baton::text::jinja {
namespace {

using Kind = Token::Kind;

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

}  // namespace

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

/// A minus applies after subscripts and before filters and tests do: `-l[0] | abs` is the filter of -l[0].
absl::StatusOr<Expression> ExpressionParser::ParseUnary() {
  BATON_ASSIGN_OR_RETURN(Expression value, ParseSigned());
  return ParseFiltersAndTests(std::move(value));
}

absl::StatusOr<Expression> ExpressionParser::ParseSigned() {
  if (!tokens_.AtOperator("-")) {
    BATON_ASSIGN_OR_RETURN(Expression primary, ParsePrimary());
    return ParsePostfix(std::move(primary));
  }
  const Position at = tokens_.Next().at;
  if (++nesting_ > kMaxHeight) return TemplateError(at, "expression more than {} deep", kMaxHeight);
  BATON_ASSIGN_OR_RETURN(Expression operand, ParseSigned());
  --nesting_;
  const int height = operand.height;
  return Make(at, Negate{Box(std::move(operand))}, height);
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

}  // namespace baton::text::jinja
