#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "common/text/jinja/builtins.h"
#include "common/text/jinja/operators.h"
#include "common/text/jinja/printing.h"
#include "common/text/jinja/rendering.h"

namespace baton::text::jinja {
namespace {

// Python's methods of dicts hide keys of the same name. As values they are not supported, so that such a
// template is refused rather than understood differently.
constexpr std::array<std::string_view, 11> kDictMethods = {
    "clear", "copy", "fromkeys", "get", "items", "keys", "pop", "popitem", "setdefault", "update", "values"};

/// How the template's author wrote a value that is undefined.
std::string Described(const Expression& expression) {
  if (const auto* name = std::get_if<Name>(&expression.node)) return fmt::format("'{}'", name->name);
  if (const auto* attribute = std::get_if<Attribute>(&expression.node)) {
    return fmt::format("attribute '{}'", attribute->name);
  }
  return "this value";
}

}  // namespace

absl::StatusOr<Value> Rendering::Evaluate(const Expression& expression) {
  BATON_RETURN_IF_ERROR(AtPosition(expression.at, budget_.Step()));
  if (depth_ >= kMaxDepth) {
    return AtPosition(expression.at,
                      Error(kResourceExhausted, "the template nests more than {} deep", kMaxDepth));
  }
  ++depth_;
  absl::StatusOr<Value> value =
      std::visit([&](const auto& node) { return EvaluateNode(expression.at, node); }, expression.node);
  --depth_;
  if (value.ok() && value->Depth() > kMaxValueDepth) {
    return AtPosition(expression.at, Error(kResourceExhausted, "a value more than {} deep", kMaxValueDepth));
  }
  return value;
}

absl::StatusOr<Value> Rendering::EvaluateOptional(const ExpressionPtr& expression, Value absent) {
  if (expression == nullptr) return absent;
  return Evaluate(*expression);
}

absl::StatusOr<Value> Rendering::EvaluateObject(const Expression& expression) {
  BATON_ASSIGN_OR_RETURN(Value value, Evaluate(expression));
  if (value.IsUndefined()) return TemplateError(expression.at, "{} is undefined", Described(expression));
  return value;
}

absl::StatusOr<Value> Rendering::EvaluateNode(Position at, const ListLiteral& node) {
  BATON_RETURN_IF_ERROR(AtPosition(at, budget_.Make(node.elements.size() * sizeof(Value))));
  Value::List list;
  for (const Expression& element : node.elements) {
    BATON_ASSIGN_OR_RETURN(Value value, Evaluate(element));
    list.push_back(std::move(value));
  }
  return node.is_tuple ? Value::Tuple(std::move(list)) : Value(std::move(list));
}

absl::StatusOr<Value> Rendering::EvaluateNode(Position at, const DictLiteral& node) {
  BATON_RETURN_IF_ERROR(AtPosition(at, budget_.Make(node.keys.size() * 2 * sizeof(Value))));
  BATON_RETURN_IF_ERROR(AtPosition(at, budget_.Look(node.keys.size() * node.keys.size())));
  Value::Dict dict;
  for (std::size_t i = 0; i < node.keys.size(); ++i) {
    BATON_ASSIGN_OR_RETURN(const Value key, Evaluate(node.keys[i]));
    BATON_ASSIGN_OR_RETURN(Value value, Evaluate(node.values[i]));
    if (key.AsString() == nullptr) return TemplateError(node.keys[i].at, "a key that is {}", key.KindName());
    BATON_RETURN_IF_ERROR(AtPosition(at, budget_.Make(key.AsString()->size())));
    const auto known = std::ranges::find(dict, *key.AsString(), &Value::Dict::value_type::first);
    if (known != dict.end()) {
      known->second = std::move(value);
    } else {
      dict.emplace_back(*key.AsString(), std::move(value));
    }
  }
  return Value(std::move(dict));
}

absl::StatusOr<Value> Rendering::EvaluateNode(Position at, const Attribute& node) {
  BATON_ASSIGN_OR_RETURN(const Value object, EvaluateObject(*node.object));
  // The pairs of groupby are tuples with names.
  if (object.IsTuple() && object.AsList()->size() == 2) {
    if (node.name == "grouper") return object.AsList()->front();
    if (node.name == "list") return object.AsList()->back();
  }
  if (const Value::Dict* dict = object.AsDict()) {
    if (std::ranges::find(kDictMethods, node.name) != kDictMethods.end())
      return TemplateError(at, "attribute '{0}' is not supported: it is a method; write ['{0}']", node.name);
    BATON_RETURN_IF_ERROR(AtPosition(at, budget_.Look(dict->size())));
  }
  return object.Member(node.name);
}

absl::StatusOr<Value> Rendering::EvaluateNode(Position at, const Subscript& node) {
  BATON_ASSIGN_OR_RETURN(const Value object, EvaluateObject(*node.object));
  BATON_ASSIGN_OR_RETURN(const Value index, Evaluate(*node.index));
  return AtPosition(at, Element(object, index, budget_));
}

absl::StatusOr<Value> Rendering::EvaluateNode(Position at, const Slice& node) {
  BATON_ASSIGN_OR_RETURN(const Value object, EvaluateObject(*node.object));
  BATON_ASSIGN_OR_RETURN(const Value start, EvaluateOptional(node.start, Value(nullptr)));
  BATON_ASSIGN_OR_RETURN(const Value stop, EvaluateOptional(node.stop, Value(nullptr)));
  BATON_ASSIGN_OR_RETURN(const Value step, EvaluateOptional(node.step, Value(nullptr)));
  if (object.AsString() == nullptr && object.AsList() == nullptr) return Value();  // as of none's content
  return AtPosition(at, SliceOf(object, start, stop, step, budget_));
}

absl::StatusOr<Value> Rendering::EvaluateNode(Position, const Not& node) {
  BATON_ASSIGN_OR_RETURN(const Value operand, Evaluate(*node.operand));
  return Value(!operand.IsTrue());
}

absl::StatusOr<Value> Rendering::EvaluateNode(Position at, const Negate& node) {
  BATON_ASSIGN_OR_RETURN(const Value operand, Evaluate(*node.operand));
  return AtPosition(at, NegateNumber(operand));
}

absl::StatusOr<Value> Rendering::EvaluateNode(Position at, const Binary& node) {
  BATON_ASSIGN_OR_RETURN(Value left, Evaluate(*node.left));
  if (node.op == BinaryOperator::kAnd && !left.IsTrue()) return left;
  if (node.op == BinaryOperator::kOr && left.IsTrue()) return left;
  BATON_ASSIGN_OR_RETURN(Value right, Evaluate(*node.right));
  if (node.op == BinaryOperator::kAnd || node.op == BinaryOperator::kOr) return right;
  return AtPosition(at, ApplyOperator(node.op, left, right, budget_));
}

absl::StatusOr<Value> Rendering::EvaluateNode(Position at, const Comparison& node) {
  BATON_ASSIGN_OR_RETURN(Value left, Evaluate(node.operands[0]));
  for (std::size_t i = 0; i < node.operators.size(); ++i) {
    BATON_ASSIGN_OR_RETURN(Value right, Evaluate(node.operands[i + 1]));
    absl::StatusOr<Value> holds = ApplyOperator(node.operators[i], left, right, budget_);
    if (!holds.ok()) return AtPosition(at, holds.status());
    if (!holds->IsTrue()) return holds;
    left = std::move(right);
  }
  return Value(true);
}

absl::StatusOr<Value> Rendering::EvaluateNode(Position, const Conditional& node) {
  BATON_ASSIGN_OR_RETURN(const Value condition, Evaluate(*node.condition));
  if (condition.IsTrue()) return Evaluate(*node.then);
  if (node.otherwise == nullptr) return Value();
  return Evaluate(*node.otherwise);
}

absl::StatusOr<Value> Rendering::EvaluateNode(Position at, const Apply& node) {
  BATON_ASSIGN_OR_RETURN(const Value subject, Evaluate(*node.subject));
  std::vector<Value> arguments;
  arguments.reserve(node.arguments.size());
  for (const ExpressionPtr& argument : node.arguments) {
    BATON_ASSIGN_OR_RETURN(Value value, EvaluateOptional(argument, Value()));
    arguments.push_back(std::move(value));
  }
  const bool asks_loop = node.builtin->name == "changed";  // the one method that remembers something
  absl::StatusOr<Value> result =
      asks_loop ? LoopChanged(arguments) : node.builtin->apply(subject, arguments, budget_);
  if (!result.ok()) return AtPosition(at, result.status());
  return node.negated ? Value(!result->IsTrue()) : std::move(result);
}

absl::StatusOr<Value> Rendering::EvaluateNode(Position at, const Call& node) {
  if (node.callee != nullptr) {
    BATON_ASSIGN_OR_RETURN(const Value callee, Evaluate(*node.callee));
    const Macro* called = callee.AsMacro();
    if (called == nullptr || called == &FunctionItself())
      return TemplateError(at, "what is called is no macro");
    BATON_ASSIGN_OR_RETURN(GivenArguments arguments, EvaluateArguments(node));
    return CallMacro(*called, std::move(arguments), Value());
  }
  BATON_ASSIGN_OR_RETURN(GivenArguments given, EvaluateArguments(node));
  if (node.name == "raise_exception") {
    if (given.positional.size() != 1) return TemplateError(at, "raise_exception takes one argument");
    const absl::StatusOr<std::string> words = Printed(given.positional[0], budget_);
    if (!words.ok()) return AtPosition(at, words.status());
    return Error(kInvalidArgument, "{}", *words);
  }
  if (node.name == "loop") return LoopAgain(at, given);
  const Macro* macro = Look(node.name).AsMacro();
  if (macro != nullptr && macro != &FunctionItself()) return CallMacro(*macro, std::move(given), Value());
  return AtPosition(at, CallFunction(node.name, std::move(given)));
}

absl::StatusOr<Rendering::GivenArguments> Rendering::EvaluateArguments(const Call& node) {
  GivenArguments given;
  for (const Expression& argument : node.arguments) {
    BATON_ASSIGN_OR_RETURN(Value value, Evaluate(argument));
    given.positional.push_back(std::move(value));
  }
  if (node.rest != nullptr) {
    BATON_ASSIGN_OR_RETURN(const Value list, EvaluateObject(*node.rest));
    const absl::StatusOr<Value::List> elements = ElementsOf(list, budget_);
    if (!elements.ok()) return AtPosition(node.rest->at, elements.status());
    given.positional.insert(given.positional.end(), elements->begin(), elements->end());
  }
  for (std::size_t i = 0; i < node.named.size(); ++i) {
    BATON_ASSIGN_OR_RETURN(Value value, Evaluate(node.named[i]));
    given.named.emplace_back(node.names[i], std::move(value));
  }
  return given;
}

}  // namespace baton::text::jinja
