#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include <absl/status/statusor.h>

#include "common/text/jinja/builtins.h"
#include "common/text/jinja/parser.h"
#include "common/text/jinja/syntax.h"
#include "common/text/jinja/token_stream.h"

namespace baton::text::jinja {

struct OperatorName {
  std::string_view spelling;
  BinaryOperator op;
};

/// Recursive descent; each function reads one level of precedence and what binds tighter.
class ExpressionParser {
 public:
  explicit ExpressionParser(TokenStream& tokens) : tokens_(tokens) {}

  /// The expression that begins at the next token, as far as it goes.
  absl::StatusOr<Expression> ParseConditional();
  /// One or, with commas between them, a tuple of several.
  absl::StatusOr<Expression> ParseTuple();
  /// The same without `if ... else`, which the list of a loop may not have bare.
  absl::StatusOr<Expression> ParseOr();
  /// `name(arguments) | name ...` over `subject`: the filters of a block.
  absl::StatusOr<Expression> ParseFilters(Expression subject);

 private:
  using Level = absl::StatusOr<Expression> (ExpressionParser::*)();

  absl::StatusOr<Expression> ParseAnd();
  absl::StatusOr<Expression> ParseNot();
  absl::StatusOr<Expression> ParseComparison();
  absl::StatusOr<Expression> ParseSum();
  absl::StatusOr<Expression> ParseConcatenation();
  absl::StatusOr<Expression> ParseProduct();
  absl::StatusOr<Expression> ParsePower();
  absl::StatusOr<Expression> ParseUnary();
  absl::StatusOr<Expression> ParseSigned();
  absl::StatusOr<Expression> ParsePrimary();
  absl::StatusOr<Expression> ParseName();
  absl::StatusOr<Expression> ParseNumber();
  absl::StatusOr<Expression> ParseListLiteral();
  absl::StatusOr<Expression> ParseDictLiteral();
  absl::StatusOr<Expression> ParseParenthesis();
  /// What follows `first` after a comma, up to `end`, which stays next.
  absl::StatusOr<Expression> ParseRestOfTuple(Position at, Expression first, std::string_view end);
  absl::StatusOr<Expression> ParsePostfix(Expression subject);
  absl::StatusOr<Expression> ParseFiltersAndTests(Expression subject);
  absl::StatusOr<Expression> ParseAttribute(Expression object);
  absl::StatusOr<Expression> ParseSubscript(Expression object);
  /// A filter, whose name comes next.
  absl::StatusOr<Expression> ParseFilter(Expression subject);
  absl::StatusOr<Expression> ParseTest(Expression subject);
  /// Whether a test's argument comes without parentheses: `is divisibleby 3`.
  [[nodiscard]] bool AtBareArgument() const;
  absl::StatusOr<Expression> ParseCall(const Token& name);
  struct GivenArguments {
    Expressions positional;
    ExpressionPtr rest;  // *list, or null
    std::vector<std::string> names;
    Expressions named;  // one a name
    int height = 0;
  };
  absl::StatusOr<GivenArguments> ParseArguments();
  absl::Status ParseRest(GivenArguments& given);
  absl::StatusOr<Expression> ParseCallOf(Expression callee);

  absl::StatusOr<Expression> ParseLeftToRight(std::span<const OperatorName> operators, Level tighter);
  /// Passes the comparison that comes next, if one does.
  std::optional<BinaryOperator> TakeComparison();
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
                                          GivenArguments given, bool negated);

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

}  // namespace baton::text::jinja
