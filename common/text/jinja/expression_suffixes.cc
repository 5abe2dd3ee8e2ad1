#include <array>

#include "common/text/jinja/expression_parser.h"

namespace baton::text::jinja {
namespace {

using Kind = Token::Kind;

// Python's methods of dicts hide keys of the same name; they are not supported, so that such a template is
// refused rather than understood differently.
constexpr std::array<std::string_view, 11> kDictMethods = {
    "clear", "copy", "fromkeys", "get", "items", "keys", "pop", "popitem", "setdefault", "update", "values"};

}  // namespace

absl::StatusOr<Expression> ExpressionParser::ParsePostfix(Expression subject) {
  for (;;) {
    if (tokens_.AtOperator(".")) {
      BATON_ASSIGN_OR_RETURN(subject, ParseAttribute(std::move(subject)));
    } else if (tokens_.AtOperator("[")) {
      BATON_ASSIGN_OR_RETURN(subject, ParseSubscript(std::move(subject)));
    } else if (tokens_.AtOperator("(")) {
      return TemplateError(tokens_.Peek().at, "calling this is not supported");
    } else {
      return subject;
    }
  }
}

absl::StatusOr<Expression> ExpressionParser::ParseFiltersAndTests(Expression subject) {
  for (;;) {
    if (tokens_.AtOperator("|")) {
      BATON_ASSIGN_OR_RETURN(subject, ParseFilter(std::move(subject)));
    } else if (tokens_.AtName("is")) {
      BATON_ASSIGN_OR_RETURN(subject, ParseTest(std::move(subject)));
      if (tokens_.AtName("is")) return TemplateError(tokens_.Peek().at, "a chain of tests is not supported");
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

}  // namespace baton::text::jinja
