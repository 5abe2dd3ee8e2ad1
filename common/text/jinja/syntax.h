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
  kDivide,
  kFloorDivide,
  kModulo,
  kPower,
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
  bool is_tuple = false;
};
struct DictLiteral {
  Expressions keys;
  Expressions values;  // as many
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
/// a < b <= c: all of them hold; each operand is evaluated once, the rest not after one that fails.
struct Comparison {
  Expressions operands;
  std::vector<BinaryOperator> operators;  // one less
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
  std::vector<ExpressionPtr> arguments;  // one a parameter; null where it is not given
  bool negated = false;                  // is not
};
/// name(arguments, named=...): a macro or a function.
struct Call {
  std::string name;
  ExpressionPtr callee;  // what is called where that has no name
  Expressions arguments;
  ExpressionPtr rest;  // a list of further arguments, or null
  std::vector<std::string> names;
  Expressions named;  // one a name
};

struct Expression {
  Position at;
  int height = 1;  // of this tree: bounds the recursion of whoever walks it
  std::variant<Literal, Name, ListLiteral, DictLiteral, Attribute, Subscript, Slice, Not, Negate, Binary,
               Comparison, Conditional, Apply, Call>
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
/// `a`, or `a, b` where the value has as many elements.
using Targets = std::vector<std::string>;
struct For {
  Targets targets;
  Expression iterable;
  ExpressionPtr condition;  // of the elements to take; null for all
  bool recursive = false;   // loop(list) runs it again
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
  Targets targets;
  std::string attribute;  // set target.attribute = value, of a namespace; else empty
  Expression value;
};
// What a block's text is in the expression of its filters: no template can write such a name.
inline constexpr std::string_view kBlockText = "block text";
/// {% set variable | filters %}body{% endset %}
struct SetBlock {
  std::string variable;
  ExpressionPtr filtered;  // over kBlockText; null where there is no filter
  Statements body;
};
/// {% filter filters %}body{% endfilter %}
struct FilterBlock {
  Expression filtered;  // over kBlockText
  Statements body;
};
/// {% with a = 1, b = 2 %}body{% endwith %}: the values know nothing of the variables.
struct With {
  std::vector<std::string> variables;
  Expressions values;  // as many
  Statements body;
};
/// What a macro is; values point to it.
struct Macro {
  struct Parameter {
    std::string name;
    ExpressionPtr fallback;  // may be null
  };
  std::string name;
  std::vector<Parameter> parameters;
  Statements body;
};
struct DefineMacro {
  std::unique_ptr<Macro> macro;
};
/// {% call macro(...) %}body{% endcall %}: the macro gets the body as `caller`.
struct CallBlock {
  Expression call;  // a Call
  std::unique_ptr<Macro> caller;
};
/// Statements that stand for themselves: {% generation %}.
struct Block {
  Statements body;
};
struct Break {};
struct Continue {};

struct Statement {
  Position at;
  std::variant<Text, Output, For, If, Set, SetBlock, FilterBlock, With, DefineMacro, CallBlock, Block, Break,
               Continue>
      node;
};

}  // namespace baton::text::jinja
