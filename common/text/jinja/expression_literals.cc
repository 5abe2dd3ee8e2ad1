#include "common/text/jinja/expression_parser.h"

namespace baton::text::jinja {

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

absl::StatusOr<Expression> ExpressionParser::ParseDictLiteral() {
  const Position at = tokens_.Next().at;
  DictLiteral dict;
  int height = 0;
  while (!tokens_.AtOperator("}")) {
    BATON_ASSIGN_OR_RETURN(Expression key, ParseConditional());
    BATON_RETURN_IF_ERROR(tokens_.ExpectOperator(":"));
    BATON_ASSIGN_OR_RETURN(Expression value, ParseConditional());
    height = std::max({height, key.height, value.height});
    dict.keys.push_back(std::move(key));
    dict.values.push_back(std::move(value));
    if (!tokens_.SkipOperator(",")) break;
  }
  BATON_RETURN_IF_ERROR(tokens_.ExpectOperator("}"));
  return Make(at, std::move(dict), height);
}

absl::StatusOr<Expression> ExpressionParser::ParseParenthesis() {
  const Position at = tokens_.Next().at;
  if (tokens_.SkipOperator(")")) return Make(at, ListLiteral{.elements = {}, .is_tuple = true});
  BATON_ASSIGN_OR_RETURN(Expression inner, ParseConditional());
  if (tokens_.AtOperator(",")) {
    BATON_ASSIGN_OR_RETURN(inner, ParseRestOfTuple(at, std::move(inner), ")"));
  }
  BATON_RETURN_IF_ERROR(tokens_.ExpectOperator(")"));
  return inner;
}

absl::StatusOr<Expression> ExpressionParser::ParseTuple() {
  const Position at = tokens_.Peek().at;
  BATON_ASSIGN_OR_RETURN(Expression first, ParseConditional());
  if (!tokens_.AtOperator(",")) return first;
  return ParseRestOfTuple(at, std::move(first), "");
}

absl::StatusOr<Expression> ExpressionParser::ParseRestOfTuple(Position at, Expression first,
                                                              std::string_view end) {
  int height = first.height;
  ListLiteral tuple{.elements = {}, .is_tuple = true};
  tuple.elements.push_back(std::move(first));
  while (tokens_.SkipOperator(",")) {
    if (tokens_.AtOperator(end) || tokens_.Peek().kind == Token::Kind::kStatementEnd) break;
    BATON_ASSIGN_OR_RETURN(Expression element, ParseConditional());
    height = std::max(height, element.height);
    tuple.elements.push_back(std::move(element));
  }
  return Make(at, std::move(tuple), height);
}

}  // namespace baton::text::jinja
