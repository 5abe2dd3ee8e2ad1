#pragma once

#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <absl/status/status.h>

#include "common/base/error.h"
#include "common/text/jinja/value.h"

/// The syntax tree of a template. Built by the parser, walked by the evaluator, never changed.
namespace baton::text::jinja {

/// A place in the template's text, counted from 1; columns are bytes.
struct Position {
  int line = 1;
  int column = 1;
};

/// "line 3, column 12: ...": what the author of a template has to change.
template <typename... Args>
[[nodiscard]] absl::Status TemplateError(Position at, fmt::format_string<Args...> format, Args&&... args) {
  return Error(kInvalidArgument, "line {}, column {}: {}", at.line, at.column,
               fmt::format(format, std::forward<Args>(args)...));
}

struct Builtin;
struct Expression;
using ExpressionPtr = std::unique_ptr<Expression>;
using Expressions = std::vector<Expression>;

enum class BinaryOperator {
  kAdd,
  kSubtract,
  kMultiply,
  kModulo,
  kConcatenate,  // ~
  kEqual,
  kNotEqual,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kIn,
  kNotIn,
  kAnd,
  kOr,
};

struct Literal {
  Value value;
};
struct Name {
  std::string name;
};
struct ListLiteral {
  Expressions elements;
};
/// object.name
struct Attribute {
  ExpressionPtr object;
  std::string name;
};
/// object[index]
struct Subscript {
  ExpressionPtr object;
  ExpressionPtr index;
};
/// object[start:stop:step]; what is left out is null.
struct Slice {
  ExpressionPtr object;
  ExpressionPtr start;
  ExpressionPtr stop;
  ExpressionPtr step;
};
struct Not {
  ExpressionPtr operand;
};
struct Negate {
  ExpressionPtr operand;
};
struct Binary {
  BinaryOperator op;
  ExpressionPtr left;
  ExpressionPtr right;
};
/// then if condition else otherwise; `otherwise` may be null.
struct Conditional {
  ExpressionPtr condition;
  ExpressionPtr then;
  ExpressionPtr otherwise;
};
/// A filter, a test or a method: `subject | name(arguments)`, `subject is name`, `subject.name(arguments)`.
struct Apply {
  ExpressionPtr subject;
  const Builtin* builtin;
  Expressions arguments;
  bool negated = false;  // is not
};
/// raise_exception(message)
struct RaiseException {
  ExpressionPtr message;
};

struct Expression {
  Position at;
  int height = 1;  // of this tree: bounds the recursion of whoever walks it
  std::variant<Literal, Name, ListLiteral, Attribute, Subscript, Slice, Not, Negate, Binary, Conditional,
               Apply, RaiseException>
      node;
};

struct Statement;
using Statements = std::vector<Statement>;

struct Text {
  std::string text;
};
struct Output {
  Expression value;
};
struct For {
  std::string variable;
  Expression iterable;
  Statements body;
  Statements otherwise;  // where there was nothing to loop over
};
struct If {
  struct Branch {
    Expression condition;
    Statements body;
  };
  std::vector<Branch> branches;
  Statements otherwise;
};
struct Set {
  std::string variable;
  Expression value;
};

struct Statement {
  Position at;
  std::variant<Text, Output, For, If, Set> node;
};

}  // namespace baton::text::jinja
