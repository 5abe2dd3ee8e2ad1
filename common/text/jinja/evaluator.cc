#include "common/text/jinja/evaluator.h"

#include <utility>

#include "common/text/jinja/budget.h"
#include "common/text/jinja/builtins.h"
#include "common/text/jinja/operators.h"

namespace baton::text::jinja {
namespace {

// A prompt of a million tokens has some 4 MB; nothing that a model can take is longer than this.
constexpr std::size_t kMaxOutputBytes = 32U << 20;

/// `status` with the place; called once, where an operation fails.
absl::Status AtPosition(Position at, const absl::Status& status) {
  return Annotate(status, fmt::format("line {}, column {}", at.line, at.column));
}

absl::StatusOr<Value> AtPosition(Position at, absl::StatusOr<Value> result) {
  if (!result.ok()) return AtPosition(at, result.status());
  return result;
}

/// How the template's author wrote a value that is undefined.
std::string Described(const Expression& expression) {
  if (const auto* name = std::get_if<Name>(&expression.node)) return fmt::format("'{}'", name->name);
  if (const auto* attribute = std::get_if<Attribute>(&expression.node)) {
    return fmt::format("attribute '{}'", attribute->name);
  }
  return "this value";
}

class Evaluator {
 public:
  explicit Evaluator(const Variables& variables) : globals_(variables) {}

  absl::Status Run(const Statements& statements);
  std::string TakeOutput() { return std::move(output_); }

 private:
  absl::StatusOr<Value> Evaluate(const Expression& expression);
  /// The value of an expression that may be left out: none then.
  absl::StatusOr<Value> EvaluateOptional(const ExpressionPtr& expression);
  /// The value of an object whose part is wanted: not undefined.
  absl::StatusOr<Value> EvaluateObject(const Expression& expression);

  absl::StatusOr<Value> EvaluateNode(Position, const Literal& node) { return node.value; }
  absl::StatusOr<Value> EvaluateNode(Position, const Name& node) { return Look(node.name); }
  absl::StatusOr<Value> EvaluateNode(Position at, const ListLiteral& node);
  absl::StatusOr<Value> EvaluateNode(Position at, const Attribute& node);
  absl::StatusOr<Value> EvaluateNode(Position at, const Subscript& node);
  absl::StatusOr<Value> EvaluateNode(Position at, const Slice& node);
  absl::StatusOr<Value> EvaluateNode(Position at, const Not& node);
  absl::StatusOr<Value> EvaluateNode(Position at, const Negate& node);
  absl::StatusOr<Value> EvaluateNode(Position at, const Binary& node);
  absl::StatusOr<Value> EvaluateNode(Position at, const Conditional& node);
  absl::StatusOr<Value> EvaluateNode(Position at, const Apply& node);
  absl::StatusOr<Value> EvaluateNode(Position at, const RaiseException& node);

  absl::Status RunNode(Position at, const Text& node) { return Write(at, node.text); }
  absl::Status RunNode(Position at, const Output& node);
  absl::Status RunNode(Position at, const For& node);
  absl::Status RunNode(Position at, const If& node);
  absl::Status RunNode(Position at, const Set& node);

  absl::Status Write(Position at, std::string_view text);
  [[nodiscard]] Value Look(const std::string& name) const;

  const Variables& globals_;
  std::vector<Variables> scopes_{
      1};  // the innermost last; `set` writes there, a loop's body has one of its own
  std::string output_;
  Budget budget_;
};

absl::Status Evaluator::Run(const Statements& statements) {
  for (const Statement& statement : statements) {
    BATON_RETURN_IF_ERROR(AtPosition(statement.at, budget_.Step()));
    BATON_RETURN_IF_ERROR(
        std::visit([&](const auto& node) { return RunNode(statement.at, node); }, statement.node));
  }
  return absl::OkStatus();
}

absl::Status Evaluator::Write(Position at, std::string_view text) {
  if (text.size() > kMaxOutputBytes - output_.size()) {
    return AtPosition(at, Error(kResourceExhausted, "the text is longer than {} bytes", kMaxOutputBytes));
  }
  output_ += text;
  return absl::OkStatus();
}

Value Evaluator::Look(const std::string& name) const {
  for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
    if (const auto variable = scope->find(name); variable != scope->end()) return variable->second;
  }
  const auto variable = globals_.find(name);
  return variable == globals_.end() ? Value() : variable->second;
}

absl::Status Evaluator::RunNode(Position, const Output& node) {
  BATON_ASSIGN_OR_RETURN(const Value value, Evaluate(node.value));
  if (value.AsString() != nullptr) return Write(node.value.at, *value.AsString());
  const absl::StatusOr<std::string> text = Printed(value);
  if (!text.ok()) return AtPosition(node.value.at, text.status());
  return Write(node.value.at, *text);
}

/// What `loop` is in the round `index` of `count`.
Value LoopVariable(std::size_t index, std::size_t count) {
  const auto number = [](std::size_t n) { return Value(static_cast<std::int64_t>(n)); };
  return Value(Value::Dict{{"index", number(index + 1)},
                           {"index0", number(index)},
                           {"revindex", number(count - index)},
                           {"revindex0", number(count - index - 1)},
                           {"first", Value(index == 0)},
                           {"last", Value(index + 1 == count)},
                           {"length", number(count)}});
}

absl::Status Evaluator::RunNode(Position at, const For& node) {
  BATON_ASSIGN_OR_RETURN(const Value iterable, Evaluate(node.iterable));
  const Value::List* list = iterable.AsList();
  if (list == nullptr && !iterable.IsUndefined()) {
    return TemplateError(node.iterable.at, "looping over {} is not supported", iterable.KindName());
  }
  if (list == nullptr || list->empty()) return Run(node.otherwise);
  for (std::size_t i = 0; i < list->size(); ++i) {
    BATON_RETURN_IF_ERROR(AtPosition(at, budget_.Step()));
    scopes_.emplace_back();
    scopes_.back().emplace("loop", LoopVariable(i, list->size()));
    scopes_.back().insert_or_assign(node.variable, (*list)[i]);
    const absl::Status status = Run(node.body);
    scopes_.pop_back();
    BATON_RETURN_IF_ERROR(status);
  }
  return absl::OkStatus();
}

absl::Status Evaluator::RunNode(Position, const If& node) {
  for (const If::Branch& branch : node.branches) {
    BATON_ASSIGN_OR_RETURN(const Value condition, Evaluate(branch.condition));
    if (condition.IsTrue()) return Run(branch.body);
  }
  return Run(node.otherwise);
}

absl::Status Evaluator::RunNode(Position, const Set& node) {
  BATON_ASSIGN_OR_RETURN(Value value, Evaluate(node.value));
  scopes_.back().insert_or_assign(node.variable, std::move(value));
  return absl::OkStatus();
}

absl::StatusOr<Value> Evaluator::Evaluate(const Expression& expression) {
  BATON_RETURN_IF_ERROR(AtPosition(expression.at, budget_.Step()));
  return std::visit([&](const auto& node) { return EvaluateNode(expression.at, node); }, expression.node);
}

absl::StatusOr<Value> Evaluator::EvaluateOptional(const ExpressionPtr& expression) {
  if (expression == nullptr) return Value(nullptr);
  return Evaluate(*expression);
}

absl::StatusOr<Value> Evaluator::EvaluateObject(const Expression& expression) {
  BATON_ASSIGN_OR_RETURN(Value value, Evaluate(expression));
  if (value.IsUndefined()) return TemplateError(expression.at, "{} is undefined", Described(expression));
  return value;
}

absl::StatusOr<Value> Evaluator::EvaluateNode(Position at, const ListLiteral& node) {
  BATON_RETURN_IF_ERROR(AtPosition(at, budget_.Make(node.elements.size() * sizeof(Value))));
  Value::List list;
  for (const Expression& element : node.elements) {
    BATON_ASSIGN_OR_RETURN(Value value, Evaluate(element));
    list.push_back(std::move(value));
  }
  return Value(std::move(list));
}

absl::StatusOr<Value> Evaluator::EvaluateNode(Position, const Attribute& node) {
  BATON_ASSIGN_OR_RETURN(const Value object, EvaluateObject(*node.object));
  return object.Member(node.name);
}

absl::StatusOr<Value> Evaluator::EvaluateNode(Position at, const Subscript& node) {
  BATON_ASSIGN_OR_RETURN(const Value object, EvaluateObject(*node.object));
  BATON_ASSIGN_OR_RETURN(const Value index, Evaluate(*node.index));
  return AtPosition(at, Element(object, index));
}

absl::StatusOr<Value> Evaluator::EvaluateNode(Position at, const Slice& node) {
  BATON_ASSIGN_OR_RETURN(const Value object, EvaluateObject(*node.object));
  BATON_ASSIGN_OR_RETURN(const Value start, EvaluateOptional(node.start));
  BATON_ASSIGN_OR_RETURN(const Value stop, EvaluateOptional(node.stop));
  BATON_ASSIGN_OR_RETURN(const Value step, EvaluateOptional(node.step));
  return AtPosition(at, SliceOf(object, start, stop, step, budget_));
}

absl::StatusOr<Value> Evaluator::EvaluateNode(Position, const Not& node) {
  BATON_ASSIGN_OR_RETURN(const Value operand, Evaluate(*node.operand));
  return Value(!operand.IsTrue());
}

absl::StatusOr<Value> Evaluator::EvaluateNode(Position at, const Negate& node) {
  BATON_ASSIGN_OR_RETURN(const Value operand, Evaluate(*node.operand));
  return AtPosition(at, NegateNumber(operand));
}

absl::StatusOr<Value> Evaluator::EvaluateNode(Position at, const Binary& node) {
  BATON_ASSIGN_OR_RETURN(Value left, Evaluate(*node.left));
  if (node.op == BinaryOperator::kAnd && !left.IsTrue()) return left;
  if (node.op == BinaryOperator::kOr && left.IsTrue()) return left;
  BATON_ASSIGN_OR_RETURN(Value right, Evaluate(*node.right));
  if (node.op == BinaryOperator::kAnd || node.op == BinaryOperator::kOr) return right;
  return AtPosition(at, ApplyOperator(node.op, left, right, budget_));
}

absl::StatusOr<Value> Evaluator::EvaluateNode(Position, const Conditional& node) {
  BATON_ASSIGN_OR_RETURN(const Value condition, Evaluate(*node.condition));
  if (condition.IsTrue()) return Evaluate(*node.then);
  if (node.otherwise == nullptr) return Value();
  return Evaluate(*node.otherwise);
}

absl::StatusOr<Value> Evaluator::EvaluateNode(Position at, const Apply& node) {
  BATON_ASSIGN_OR_RETURN(const Value subject, Evaluate(*node.subject));
  std::vector<Value> arguments;
  for (const Expression& argument : node.arguments) {
    BATON_ASSIGN_OR_RETURN(Value value, Evaluate(argument));
    arguments.push_back(std::move(value));
  }
  absl::StatusOr<Value> result = node.builtin->apply(subject, arguments, budget_);
  if (!node.negated || !result.ok()) return AtPosition(at, std::move(result));
  return Value(!result->IsTrue());
}

absl::StatusOr<Value> Evaluator::EvaluateNode(Position at, const RaiseException& node) {
  BATON_ASSIGN_OR_RETURN(const Value message, Evaluate(*node.message));
  const absl::StatusOr<std::string> words = Printed(message);
  if (!words.ok()) return AtPosition(at, words.status());
  return Error(kInvalidArgument, "{}", *words);
}

}  // namespace

absl::StatusOr<std::string> Evaluate(const Statements& statements, const Variables& variables) {
  Evaluator evaluator(variables);
  BATON_RETURN_IF_ERROR(evaluator.Run(statements));
  return evaluator.TakeOutput();
}

}  // namespace baton::text::jinja
