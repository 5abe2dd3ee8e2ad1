#include "common/text/jinja/evaluator.h"

#include <algorithm>
#include <utility>

#include "common/text/jinja/builtins.h"
#include "common/text/jinja/operators.h"
#include "common/text/jinja/printing.h"
#include "common/text/jinja/rendering.h"

namespace baton::text::jinja {
namespace {

// A prompt of a million tokens has some 4 MB; nothing that a model can take is longer than this.
constexpr std::size_t kMaxOutputBytes = 32U << 20;

/// What `loop` is in the round `index`.
Value LoopVariable(std::size_t index, const Value::List& list, int depth) {
  const auto number = [](std::size_t n) { return Value(static_cast<std::int64_t>(n)); };
  const std::size_t count = list.size();
  return Value(Value::Dict{{"index", number(index + 1)},
                           {"index0", number(index)},
                           {"revindex", number(count - index)},
                           {"revindex0", number(count - index - 1)},
                           {"first", Value(index == 0)},
                           {"last", Value(index + 1 == count)},
                           {"length", number(count)},
                           {"depth", Value(std::int64_t{depth} + 1)},
                           {"depth0", Value(std::int64_t{depth})},
                           {"previtem", index == 0 ? Value() : list[index - 1]},
                           {"nextitem", index + 1 == count ? Value() : list[index + 1]}});
}

}  // namespace

absl::Status AtPosition(Position at, const absl::Status& status) {
  return Annotate(status, fmt::format("line {}, column {}", at.line, at.column));
}

absl::StatusOr<Value> AtPosition(Position at, absl::StatusOr<Value> result) {
  if (!result.ok()) return AtPosition(at, result.status());
  return result;
}

absl::Status Rendering::Run(const Statements& statements) {
  if (depth_ >= kMaxDepth)
    return Error(kResourceExhausted, "the template nests more than {} deep", kMaxDepth);
  ++depth_;
  const absl::Status status = RunEach(statements);
  --depth_;
  return status;
}

absl::Status Rendering::RunEach(const Statements& statements) {
  for (const Statement& statement : statements) {
    BATON_RETURN_IF_ERROR(AtPosition(statement.at, budget_.Step()));
    BATON_RETURN_IF_ERROR(
        std::visit([&](const auto& node) { return RunNode(statement.at, node); }, statement.node));
    if (flow_ != Flow::kNormal) break;
  }
  return absl::OkStatus();
}

absl::Status Rendering::Write(Position at, std::string_view text) {
  if (text.size() > kMaxOutputBytes - output_.size()) {
    return AtPosition(at, Error(kResourceExhausted, "the text is longer than {} bytes", kMaxOutputBytes));
  }
  if (captures_) BATON_RETURN_IF_ERROR(AtPosition(at, budget_.Make(text.size())));
  output_ += text;
  return absl::OkStatus();
}

absl::StatusOr<Value> Rendering::Capture(const Statements& statements) {
  std::string outside = std::exchange(output_, {});
  const bool captured = std::exchange(captures_, true);
  const absl::Status status = Run(statements);
  captures_ = captured;
  std::string inside = std::exchange(output_, std::move(outside));
  BATON_RETURN_IF_ERROR(status);
  return Value(std::move(inside));
}

Value Rendering::Look(const std::string& name) const {
  for (std::size_t i = scopes_.size(); i > base_; --i) {
    const auto variable = scopes_[i - 1].find(name);
    if (variable != scopes_[i - 1].end()) return variable->second;
  }
  if (const auto variable = scopes_[0].find(name); variable != scopes_[0].end()) return variable->second;
  const auto variable = globals_.find(name);
  if (variable != globals_.end()) return variable->second;
  return IsFunction(name) ? Value(&FunctionItself()) : Value();
}

const Macro& Rendering::FunctionItself() {
  static const Macro macro;
  return macro;
}

Variables Rendering::InSight() const {
  Variables variables;
  for (std::size_t i = std::max<std::size_t>(base_, 1); i < scopes_.size(); ++i) {
    for (const auto& [name, value] : scopes_[i]) variables.insert_or_assign(name, value);
  }
  return variables;
}

absl::Status Rendering::RunNode(Position, const Output& node) {
  BATON_ASSIGN_OR_RETURN(const Value value, Evaluate(node.value));
  if (value.AsString() != nullptr) return Write(node.value.at, *value.AsString());
  const absl::StatusOr<std::string> text = Printed(value, budget_);
  if (!text.ok()) return AtPosition(node.value.at, text.status());
  return Write(node.value.at, *text);
}

absl::StatusOr<Value::List> Rendering::Chosen(const For& node, const Value& iterable) {
  absl::StatusOr<Value::List> list = ElementsOf(iterable, budget_);
  if (!list.ok()) return AtPosition(node.iterable.at, list.status());
  if (node.condition == nullptr) return list;
  Value::List chosen;
  for (const Value& element : *list) {
    scopes_.emplace_back();
    const absl::Status assigned = Assign(node.iterable.at, node.targets, element);
    const absl::StatusOr<Value> condition = assigned.ok() ? Evaluate(*node.condition) : assigned;
    scopes_.pop_back();
    BATON_RETURN_IF_ERROR(condition.status());
    if (condition->IsTrue()) chosen.push_back(element);
  }
  return chosen;
}

absl::Status Rendering::RunNode(Position at, const For& node) {
  BATON_ASSIGN_OR_RETURN(const Value iterable, Evaluate(node.iterable));
  return RunLoop(at, node, iterable, /*depth=*/0);
}

absl::Status Rendering::RunLoop(Position at, const For& node, const Value& iterable, int depth) {
  BATON_ASSIGN_OR_RETURN(const Value::List list, Chosen(node, iterable));
  if (list.empty()) return Run(node.otherwise);
  loops_.push_back({.node = &node, .depth = depth, .last_changed = {}});
  absl::Status status;
  for (std::size_t i = 0; status.ok() && i < list.size(); ++i) {
    status = AtPosition(at, budget_.Step());
    if (!status.ok()) break;
    scopes_.emplace_back();
    scopes_.back().emplace("loop", LoopVariable(i, list, depth));
    status = Assign(at, node.targets, list[i]);
    if (status.ok()) status = Run(node.body);
    scopes_.pop_back();
    if (std::exchange(flow_, Flow::kNormal) == Flow::kBreak) break;
  }
  loops_.pop_back();
  return status;
}

absl::StatusOr<Value> Rendering::LoopAgain(Position at, const GivenArguments& given) {
  const Loop* loop = loops_.size() > loops_base_ ? &loops_.back() : nullptr;
  if (loop == nullptr || !loop->node->recursive)
    return TemplateError(at, "loop() outside of a recursive loop");
  if (given.positional.size() != 1 || !given.named.empty()) return TemplateError(at, "loop() takes one list");
  std::string outside = std::exchange(output_, {});
  const bool captured = std::exchange(captures_, true);
  const absl::Status status = RunLoop(at, *loop->node, given.positional[0], loop->depth + 1);
  captures_ = captured;
  std::string inside = std::exchange(output_, std::move(outside));
  BATON_RETURN_IF_ERROR(status);
  return Value(std::move(inside));
}

absl::StatusOr<Value> Rendering::LoopChanged(const std::vector<Value>& values) {
  if (loops_.size() <= loops_base_) return Error(kInvalidArgument, "changed is a method of loop");
  Value now = Value::Tuple(values);
  std::optional<Value>& last = loops_.back().last_changed;
  bool same = false;
  if (last) {
    BATON_ASSIGN_OR_RETURN(same, Equal(*last, now, budget_));
  }
  last = std::move(now);
  return Value(!same);
}

absl::Status Rendering::RunNode(Position, const Break&) {
  flow_ = Flow::kBreak;
  return absl::OkStatus();
}
absl::Status Rendering::RunNode(Position, const Continue&) {
  flow_ = Flow::kContinue;
  return absl::OkStatus();
}

absl::Status Rendering::RunNode(Position, const If& node) {
  for (const If::Branch& branch : node.branches) {
    BATON_ASSIGN_OR_RETURN(const Value condition, Evaluate(branch.condition));
    if (condition.IsTrue()) return Run(branch.body);
  }
  return Run(node.otherwise);
}

absl::Status Rendering::Assign(Position at, const Targets& targets, const Value& value) {
  if (targets.size() == 1) {
    scopes_.back().insert_or_assign(targets[0], value);
    return absl::OkStatus();
  }
  const absl::StatusOr<Value::List> elements = ElementsOf(value, budget_);
  if (!elements.ok()) return AtPosition(at, elements.status());
  if (elements->size() != targets.size()) {
    return TemplateError(at, "{} values for {} variables", elements->size(), targets.size());
  }
  for (std::size_t i = 0; i < targets.size(); ++i) {
    scopes_.back().insert_or_assign(targets[i], (*elements)[i]);
  }
  return absl::OkStatus();
}

absl::Status Rendering::SetAttribute(Position at, const Set& node, Value value) {
  Namespace* space = Look(node.targets[0]).AsNamespace();
  if (space == nullptr) return TemplateError(at, "'{}' is no namespace", node.targets[0]);
  BATON_RETURN_IF_ERROR(AtPosition(at, budget_.Look(64 * space->members.size())));
  for (auto& [name, member] : space->members) {
    if (name != node.attribute) continue;
    member = std::move(value);
    return absl::OkStatus();
  }
  space->members.emplace_back(node.attribute, std::move(value));
  return absl::OkStatus();
}

absl::Status Rendering::RunNode(Position at, const Set& node) {
  BATON_ASSIGN_OR_RETURN(Value value, Evaluate(node.value));
  if (!node.attribute.empty()) return SetAttribute(at, node, std::move(value));
  return Assign(at, node.targets, value);
}

absl::StatusOr<Value> Rendering::Filtered(const Statements& body, const Expression* filters) {
  scopes_.emplace_back();
  absl::StatusOr<Value> text = Capture(body);
  scopes_.pop_back();
  if (!text.ok() || filters == nullptr) return text;
  scopes_.emplace_back();
  scopes_.back().emplace(kBlockText, *std::move(text));
  text = Evaluate(*filters);
  scopes_.pop_back();
  return text;
}

absl::Status Rendering::RunNode(Position, const SetBlock& node) {
  BATON_ASSIGN_OR_RETURN(Value text, Filtered(node.body, node.filtered.get()));
  scopes_.back().insert_or_assign(node.variable, std::move(text));
  return absl::OkStatus();
}

absl::Status Rendering::RunNode(Position at, const FilterBlock& node) {
  BATON_ASSIGN_OR_RETURN(const Value value, Filtered(node.body, &node.filtered));
  const absl::StatusOr<std::string> text = Printed(value, budget_);
  if (!text.ok()) return AtPosition(at, text.status());
  return Write(at, *text);
}

absl::Status Rendering::RunNode(Position, const With& node) {
  Variables variables;
  for (std::size_t i = 0; i < node.variables.size(); ++i) {
    BATON_ASSIGN_OR_RETURN(Value value, Evaluate(node.values[i]));
    variables.insert_or_assign(node.variables[i], std::move(value));
  }
  scopes_.push_back(std::move(variables));
  const absl::Status status = Run(node.body);
  scopes_.pop_back();
  return status;
}

absl::Status Rendering::RunNode(Position, const DefineMacro& node) {
  scopes_.back().insert_or_assign(node.macro->name, Value(node.macro.get()));
  return absl::OkStatus();
}

absl::Status Rendering::RunNode(Position at, const CallBlock& node) {
  const Call& call = std::get<Call>(node.call.node);
  const Macro* macro = Look(call.name).AsMacro();
  if (macro == nullptr || macro == &FunctionItself()) return TemplateError(at, "'{}' is no macro", call.name);
  BATON_ASSIGN_OR_RETURN(GivenArguments given, EvaluateArguments(call));
  Variables outside = std::exchange(closures_[node.caller.get()], InSight());
  const absl::StatusOr<Value> text = CallMacro(*macro, std::move(given), Value(node.caller.get()));
  closures_[node.caller.get()] = std::move(outside);
  if (!text.ok()) return text.status();
  return Write(at, *text->AsString());
}

absl::StatusOr<std::string> Evaluate(const Statements& statements, const Variables& variables,
                                     std::int64_t now_unix_s) {
  Rendering rendering(variables, now_unix_s);
  BATON_RETURN_IF_ERROR(rendering.Run(statements));
  return rendering.TakeOutput();
}

}  // namespace baton::text::jinja
