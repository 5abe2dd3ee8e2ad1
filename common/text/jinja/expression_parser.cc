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
constexpr std::array<OperatorName, 4> kProducts = {{{"*", BinaryOperator::kMultiply},
                                                    {"/", BinaryOperator::kDivide},
                                                    {"//", BinaryOperator::kFloorDivide},
                                                    {"%", BinaryOperator::kModulo}}};
constexpr std::array<OperatorName, 1> kPowers = {{{"**", BinaryOperator::kPower}}};

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

std::optional<BinaryOperator> ExpressionParser::TakeComparison() {
  std::optional<BinaryOperator> op = NextOf(kComparisons);
  if (!op && tokens_.AtName("in")) op = BinaryOperator::kIn;
  const Token& second = tokens_.PeekSecond();
  if (!op && tokens_.AtName("not") && second.kind == Kind::kName && second.text == "in") {
    tokens_.Next();
    op = BinaryOperator::kNotIn;
  }
  if (op) tokens_.Next();
  return op;
}

absl::StatusOr<Expression> ExpressionParser::ParseComparison() {
  BATON_ASSIGN_OR_RETURN(Expression first, ParseSum());
  Comparison chain;
  Position at = tokens_.Peek().at;
  int height = first.height;
  chain.operands.push_back(std::move(first));
  while (const std::optional<BinaryOperator> op = TakeComparison()) {
    BATON_ASSIGN_OR_RETURN(Expression right, ParseSum());
    height = std::max(height, right.height);
    chain.operators.push_back(*op);
    chain.operands.push_back(std::move(right));
  }
  if (chain.operators.empty()) return std::move(chain.operands[0]);
  if (chain.operators.size() > 1) return Make(at, std::move(chain), height);
  Binary node{.op = chain.operators[0],
              .left = Box(std::move(chain.operands[0])),
              .right = Box(std::move(chain.operands[1]))};
  return Make(at, std::move(node), height);
}

absl::StatusOr<Expression> ExpressionParser::ParseSum() {
  return ParseLeftToRight(kSums, &ExpressionParser::ParseConcatenation);
}
absl::StatusOr<Expression> ExpressionParser::ParseConcatenation() {
  return ParseLeftToRight(kConcatenations, &ExpressionParser::ParseProduct);
}
absl::StatusOr<Expression> ExpressionParser::ParseProduct() {
  return ParseLeftToRight(kProducts, &ExpressionParser::ParsePower);
}
absl::StatusOr<Expression> ExpressionParser::ParsePower() {
  return ParseLeftToRight(kPowers, &ExpressionParser::ParseUnary);
}

/// A minus applies after subscripts and before filters and tests do: `-l[0] | abs` is the filter of -l[0].
absl::StatusOr<Expression> ExpressionParser::ParseUnary() {
  BATON_ASSIGN_OR_RETURN(Expression value, ParseSigned());
  return ParseFiltersAndTests(std::move(value));
}

absl::StatusOr<Expression> ExpressionParser::ParseSigned() {
  const bool minus = tokens_.AtOperator("-");
  if (!minus && !tokens_.AtOperator("+")) {
    BATON_ASSIGN_OR_RETURN(Expression primary, ParsePrimary());
    return ParsePostfix(std::move(primary));
  }
  const Position at = tokens_.Next().at;
  if (++nesting_ > kMaxHeight) return TemplateError(at, "expression more than {} deep", kMaxHeight);
  BATON_ASSIGN_OR_RETURN(Expression operand, ParseSigned());
  --nesting_;
  if (!minus) return operand;
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
  if (tokens_.AtOperator("{")) return ParseDictLiteral();
  if (tokens_.AtOperator("(")) return ParseParenthesis();
  return TemplateError(at, "expression expected, {} found", tokens_.Describe());
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
  return ParseCall(token);
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

}  // namespace baton::text::jinja
