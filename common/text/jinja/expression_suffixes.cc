#include <array>

#include "common/text/jinja/expression_parser.h"

namespace baton::text::jinja {
namespace {

using Kind = Token::Kind;

}  // namespace

absl::StatusOr<Expression> ExpressionParser::ParsePostfix(Expression subject) {
  for (;;) {
    if (tokens_.AtOperator(".")) {
      BATON_ASSIGN_OR_RETURN(subject, ParseAttribute(std::move(subject)));
    } else if (tokens_.AtOperator("[")) {
      BATON_ASSIGN_OR_RETURN(subject, ParseSubscript(std::move(subject)));
    } else if (tokens_.AtOperator("(")) {
      BATON_ASSIGN_OR_RETURN(subject, ParseCallOf(std::move(subject)));
    } else {
      return subject;
    }
  }
}

absl::StatusOr<Expression> ExpressionParser::ParseFiltersAndTests(Expression subject) {
  for (;;) {
    if (tokens_.SkipOperator("|")) {
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
                                                   GivenArguments given, bool negated) {
  if (given.rest != nullptr) return TemplateError(at, "'*' is supported for macros alone");
  const std::vector<std::string_view> names = builtin->ParameterNames();
  const int height = std::max(subject.height, given.height);
  jinja::Apply node{
      .subject = Box(std::move(subject)), .builtin = builtin, .arguments = {}, .negated = negated};
  node.arguments.resize(names.size());
  if (given.positional.size() > names.size()) {
    return TemplateError(at, "'{}' takes at most {} arguments", builtin->name, names.size());
  }
  for (std::size_t i = 0; i < given.positional.size(); ++i) {
    node.arguments[i] = Box(std::move(given.positional[i]));
  }
  for (std::size_t i = 0; i < given.named.size(); ++i) {
    const std::string& name = given.names[i];
    const auto parameter = std::ranges::find(names, name);
    if (parameter == names.end())
      return TemplateError(at, "'{}' takes no argument '{}'", builtin->name, name);
    ExpressionPtr& argument = node.arguments[static_cast<std::size_t>(parameter - names.begin())];
    if (argument != nullptr) return TemplateError(at, "argument '{}' given twice", name);
    argument = Box(std::move(given.named[i]));
  }
  return Make(at, std::move(node), height);
}

/// A call of what an expression gives: a macro in a list, say.
absl::StatusOr<Expression> ExpressionParser::ParseCallOf(Expression callee) {
  const Position at = tokens_.Peek().at;
  BATON_ASSIGN_OR_RETURN(GivenArguments given, ParseArguments());
  const int height = std::max(callee.height, given.height);
  return Make(at,
              Call{.name = {},
                   .callee = Box(std::move(callee)),
                   .arguments = std::move(given.positional),
                   .rest = std::move(given.rest),
                   .names = std::move(given.names),
                   .named = std::move(given.named)},
              height);
}

absl::StatusOr<Expression> ExpressionParser::ParseCall(const Token& name) {
  // `caller` and `loop` are there in some places only: the evaluator knows.
  const bool known = IsFunction(name.text) || name.text == "caller" || name.text == "loop";
  if (!known && !tokens_.DefinesMacro(name.text)) {
    return TemplateError(name.at, "function '{}' is not supported", name.text);
  }
  BATON_ASSIGN_OR_RETURN(GivenArguments given, ParseArguments());
  const int height = given.height;
  return Make(name.at,
              Call{.name = name.text,
                   .callee = nullptr,
                   .arguments = std::move(given.positional),
                   .rest = std::move(given.rest),
                   .names = std::move(given.names),
                   .named = std::move(given.named)},
              height);
}

/// `.name`, or the method `.name(arguments)`.
absl::StatusOr<Expression> ExpressionParser::ParseAttribute(Expression object) {
  const Position at = tokens_.Next().at;
  if (tokens_.Peek().kind == Kind::kInteger) {
    BATON_ASSIGN_OR_RETURN(Expression index, ParseNumber());
    const int height = std::max(object.height, index.height);
    return Make(at, Subscript{.object = Box(std::move(object)), .index = Box(std::move(index))}, height);
  }
  if (tokens_.Peek().kind != Kind::kName) {
    return TemplateError(tokens_.Peek().at, "name expected after '.', {} found", tokens_.Describe());
  }
  const std::string name = tokens_.Next().text;
  if (tokens_.AtOperator("(")) {
    const Builtin* method = FindMethod(name);
    if (method == nullptr) return TemplateError(at, "method '{}' is not supported", name);
    BATON_ASSIGN_OR_RETURN(GivenArguments given, ParseArguments());
    return Apply(at, std::move(object), method, std::move(given), /*negated=*/false);
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

absl::StatusOr<ExpressionParser::GivenArguments> ExpressionParser::ParseArguments() {
  tokens_.Next();  // the parenthesis
  GivenArguments given;
  while (!tokens_.AtOperator(")")) {
    if (tokens_.AtOperator("*")) {
      BATON_RETURN_IF_ERROR(ParseRest(given));
      if (!tokens_.SkipOperator(",")) break;
      continue;
    }
    const bool named = tokens_.Peek().kind == Kind::kName && tokens_.PeekSecond().kind == Kind::kOperator &&
                       tokens_.PeekSecond().text == "=";
    std::string name;
    if (named) {
      name = tokens_.Next().text;
      tokens_.Next();
    } else if (!given.named.empty() || given.rest != nullptr) {
      return TemplateError(tokens_.Peek().at, "an argument without a name after a named one or '*'");
    }
    BATON_ASSIGN_OR_RETURN(Expression argument, ParseConditional());
    given.height = std::max(given.height, argument.height);
    if (named) {
      given.names.push_back(std::move(name));
      given.named.push_back(std::move(argument));
    } else {
      given.positional.push_back(std::move(argument));
    }
    if (!tokens_.SkipOperator(",")) break;
  }
  BATON_RETURN_IF_ERROR(tokens_.ExpectOperator(")"));
  return given;
}

/// `*list`: arguments behind those that are written out.
absl::Status ExpressionParser::ParseRest(GivenArguments& given) {
  const Position at = tokens_.Next().at;
  if (given.rest != nullptr) return TemplateError(at, "a second '*' is not supported");
  BATON_ASSIGN_OR_RETURN(Expression rest, ParseConditional());
  given.height = std::max(given.height, rest.height);
  given.rest = Box(std::move(rest));
  return absl::OkStatus();
}

absl::StatusOr<Expression> ExpressionParser::ParseFilters(Expression subject) {
  do {
    BATON_ASSIGN_OR_RETURN(subject, ParseFilter(std::move(subject)));
  } while (tokens_.SkipOperator("|"));
  return subject;
}

absl::StatusOr<Expression> ExpressionParser::ParseFilter(Expression subject) {
  const Token name = tokens_.Next();
  const Builtin* filter = name.kind == Kind::kName ? FindFilter(name.text) : nullptr;
  if (filter == nullptr) return TemplateError(name.at, "filter '{}' is not supported", name.text);
  GivenArguments given;
  if (tokens_.AtOperator("(")) {
    BATON_ASSIGN_OR_RETURN(given, ParseArguments());
  }
  return Apply(name.at, std::move(subject), filter, std::move(given), /*negated=*/false);
}

bool ExpressionParser::AtBareArgument() const {
  constexpr std::array<std::string_view, 7> kNoArguments = {"else", "or",  "and",      "is",
                                                            "if",   "not", "recursive"};
  switch (tokens_.Peek().kind) {
    case Kind::kString:
    case Kind::kInteger:
    case Kind::kFloat:
      return true;
    case Kind::kName:
      return std::ranges::find(kNoArguments, tokens_.Peek().text) == kNoArguments.end();
    case Kind::kOperator:
      return tokens_.Peek().text == "[" || tokens_.Peek().text == "{";
    case Kind::kText:
    case Kind::kOutputBegin:
    case Kind::kOutputEnd:
    case Kind::kStatementBegin:
    case Kind::kStatementEnd:
    case Kind::kEnd:
      return false;
  }
  return false;
}

absl::StatusOr<Expression> ExpressionParser::ParseTest(Expression subject) {
  tokens_.Next();
  const bool negated = tokens_.SkipName("not");
  const Token name = tokens_.Next();
  const Builtin* test = name.kind == Kind::kName ? FindTest(name.text) : nullptr;
  if (test == nullptr) return TemplateError(name.at, "test '{}' is not supported", name.text);
  GivenArguments given;
  if (tokens_.AtOperator("(")) {
    BATON_ASSIGN_OR_RETURN(given, ParseArguments());
  } else if (!test->parameters.empty() && AtBareArgument()) {
    BATON_ASSIGN_OR_RETURN(Expression primary, ParsePrimary());
    BATON_ASSIGN_OR_RETURN(Expression argument, ParsePostfix(std::move(primary)));
    given.height = argument.height;
    given.positional.push_back(std::move(argument));
  }
  if (!test->parameters.empty() && given.positional.size() != 1) {
    return TemplateError(name.at, "test '{}' takes one argument", name.text);
  }
  return Apply(name.at, std::move(subject), test, std::move(given), negated);
}

}  // namespace baton::text::jinja
