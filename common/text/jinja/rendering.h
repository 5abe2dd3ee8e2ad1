#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <absl/container/flat_hash_map.h>
#include <absl/status/statusor.h>

#include "common/text/jinja/budget.h"
#include "common/text/jinja/evaluator.h"
#include "common/text/jinja/syntax.h"
#include "common/text/jinja/value.h"

namespace baton::text::jinja {

// Values nest less deep than this: printing, comparing and freeing them recurses. A request's JSON has at
// most 64 levels.
inline constexpr int kMaxValueDepth = 100;
// Of evaluation: expressions, statements and macros inside each other.
inline constexpr int kMaxDepth = 500;

/// `status` with the place; called once, where an operation fails.
[[nodiscard]] absl::Status AtPosition(Position at, const absl::Status& status);
[[nodiscard]] absl::StatusOr<Value> AtPosition(Position at, absl::StatusOr<Value> result);

/// One run of a template. Statements are in evaluator.cc, expressions in evaluate_expressions.cc, functions
/// and macros in functions.cc.
class Rendering {
 public:
  Rendering(const Variables& variables, std::int64_t now_unix_s)
      : globals_(variables), now_unix_s_(now_unix_s) {}

  absl::Status Run(const Statements& statements);
  std::string TakeOutput() { return std::move(output_); }

 private:
  enum class Flow { kNormal, kBreak, kContinue };
  struct GivenArguments {
    std::vector<Value> positional;
    std::vector<std::pair<std::string, Value>> named;
  };

  absl::StatusOr<Value> Evaluate(const Expression& expression);
  /// The value of an expression that may be left out: `absent` then.
  absl::StatusOr<Value> EvaluateOptional(const ExpressionPtr& expression, Value absent);
  /// The value of an object whose part is wanted: not undefined.
  absl::StatusOr<Value> EvaluateObject(const Expression& expression);

  absl::StatusOr<Value> EvaluateNode(Position, const Literal& node) { return node.value; }
  absl::StatusOr<Value> EvaluateNode(Position, const Name& node) { return Look(node.name); }
  absl::StatusOr<Value> EvaluateNode(Position at, const ListLiteral& node);
  absl::StatusOr<Value> EvaluateNode(Position at, const DictLiteral& node);
  absl::StatusOr<Value> EvaluateNode(Position at, const Attribute& node);
  absl::StatusOr<Value> EvaluateNode(Position at, const Subscript& node);
  absl::StatusOr<Value> EvaluateNode(Position at, const Slice& node);
  absl::StatusOr<Value> EvaluateNode(Position at, const Not& node);
  absl::StatusOr<Value> EvaluateNode(Position at, const Negate& node);
  absl::StatusOr<Value> EvaluateNode(Position at, const Binary& node);
  absl::StatusOr<Value> EvaluateNode(Position at, const Comparison& node);
  absl::StatusOr<Value> EvaluateNode(Position at, const Conditional& node);
  absl::StatusOr<Value> EvaluateNode(Position at, const Apply& node);
  absl::StatusOr<Value> EvaluateNode(Position at, const Call& node);

  absl::Status RunNode(Position at, const Text& node) { return Write(at, node.text); }
  absl::Status RunNode(Position at, const Output& node);
  absl::Status RunNode(Position at, const For& node);
  absl::Status RunNode(Position at, const If& node);
  absl::Status RunNode(Position at, const Set& node);
  absl::Status RunNode(Position at, const SetBlock& node);
  absl::Status RunNode(Position at, const FilterBlock& node);
  absl::Status RunNode(Position at, const With& node);
  absl::Status RunNode(Position at, const DefineMacro& node);
  absl::Status RunNode(Position at, const CallBlock& node);
  absl::Status RunNode(Position, const Block& node) { return Run(node.body); }
  absl::Status RunNode(Position at, const Break& node);
  absl::Status RunNode(Position at, const Continue& node);

  absl::Status RunEach(const Statements& statements);
  /// A loop that runs.
  struct Loop {
    const For* node;
    int depth = 0;                      // of recursion, from 0
    std::optional<Value> last_changed;  // what loop.changed was given last
  };
  /// The elements of the list that meet the loop's condition.
  absl::StatusOr<Value::List> Chosen(const For& node, const Value& iterable);
  absl::Status RunLoop(Position at, const For& node, const Value& iterable, int depth);
  /// The text of a block after its filters.
  absl::StatusOr<Value> Filtered(const Statements& body, const Expression* filters);
  /// loop(list): the recursive loop around it, over the list.
  absl::StatusOr<Value> LoopAgain(Position at, const GivenArguments& given);
  /// loop.changed(...): whether the loop around it was given something else the last time.
  absl::StatusOr<Value> LoopChanged(const std::vector<Value>& values);
  /// Sets the variables in the innermost scope, of elements of the value where there are several.
  absl::Status Assign(Position at, const Targets& targets, const Value& value);
  absl::Status SetAttribute(Position at, const Set& node, Value value);
  absl::Status Write(Position at, std::string_view text);
  /// What the statements write, as a value.
  absl::StatusOr<Value> Capture(const Statements& statements);
  [[nodiscard]] Value Look(const std::string& name) const;
  /// What a function's name stands for where it is not called: something that is defined and callable.
  [[nodiscard]] static const Macro& FunctionItself();
  /// All variables that are in sight but the template's own and the globals.
  [[nodiscard]] Variables InSight() const;

  absl::StatusOr<GivenArguments> EvaluateArguments(const Call& node);
  absl::StatusOr<Value> CallMacro(const Macro& macro, GivenArguments given, Value caller);
  absl::StatusOr<Variables> BindParameters(const Macro& macro, GivenArguments& given);
  absl::StatusOr<Value> CallFunction(const std::string& name, GivenArguments given);
  absl::StatusOr<Value> MakeNamespace(GivenArguments given);
  absl::StatusOr<Value> Range(const std::vector<Value>& bounds);

  const Variables& globals_;
  const std::int64_t now_unix_s_;
  std::vector<Variables> scopes_{
      1};                 // the innermost last; `set` writes there, a loop's body has one of its own
  std::size_t base_ = 0;  // scopes from here on are in sight, and the first
  std::deque<Namespace> namespaces_;
  absl::flat_hash_map<const Macro*, Variables> closures_;  // of the callers of call blocks
  std::string output_;
  std::vector<Loop> loops_;     // those that run, the innermost last
  std::size_t loops_base_ = 0;  // those from here on are in sight
  bool captures_ = false;       // the output becomes a value
  Flow flow_ = Flow::kNormal;
  int depth_ = 0;
  Budget budget_;
};

}  // namespace baton::text::jinja
