#include <array>
#include <ctime>
#include <utility>

#include "common/base/error.h"
#include "common/text/jinja/operators.h"
#include "common/text/jinja/rendering.h"
#include "common/text/jinja/text_builtins.h"

namespace baton::text::jinja {
namespace {

/// The time as `format` of strftime writes it, in UTC.
absl::StatusOr<Value> TimeText(std::int64_t unix_s, const std::string& format) {
  const std::time_t time = unix_s;
  std::tm fields{};
  if (format.empty()) return Value(std::string());
  std::array<char, 1024> text{};
  if (gmtime_r(&time, &fields) == nullptr) return Error(kInvalidArgument, "no such time: {}", unix_s);
  const std::size_t length = std::strftime(text.data(), text.size(), format.c_str(), &fields);
  if (length == 0) return Error(kInvalidArgument, "strftime_now: the format makes no text");
  return Value(std::string(text.data(), length));
}

}  // namespace

absl::StatusOr<Variables> Rendering::BindParameters(const Macro& macro, GivenArguments& given) {
  if (given.positional.size() > macro.parameters.size()) {
    return Error(kInvalidArgument, "macro '{}' takes {} arguments", macro.name, macro.parameters.size());
  }
  Variables bound;
  for (std::size_t i = 0; i < given.positional.size(); ++i) {
    bound.insert_or_assign(macro.parameters[i].name, std::move(given.positional[i]));
  }
  for (auto& [name, value] : given.named) {
    const auto known = [&name = name](const Macro::Parameter& each) { return each.name == name; };
    if (std::ranges::none_of(macro.parameters, known) || bound.contains(name)) {
      return Error(kInvalidArgument, "macro '{}': argument '{}' is unknown or given twice", macro.name, name);
    }
    bound.emplace(name, std::move(value));
  }
  return bound;
}

absl::StatusOr<Value> Rendering::CallMacro(const Macro& macro, GivenArguments given, Value caller) {
  BATON_ASSIGN_OR_RETURN(Variables bound, BindParameters(macro, given));
  if (!caller.IsUndefined()) bound.insert_or_assign("caller", std::move(caller));
  const std::size_t size = scopes_.size();
  const std::size_t outer_base = std::exchange(base_, size);
  const std::size_t outer_loops = std::exchange(loops_base_, loops_.size());
  if (const auto closure = closures_.find(&macro); closure != closures_.end()) {
    scopes_.push_back(closure->second);
  }
  scopes_.push_back(std::move(bound));
  absl::StatusOr<Value> text = Value();
  for (const Macro::Parameter& parameter : macro.parameters) {
    if (!text.ok() || scopes_.back().contains(parameter.name)) continue;
    text = EvaluateOptional(parameter.fallback, Value());
    if (text.ok()) scopes_.back().emplace(parameter.name, *text);
  }
  if (text.ok()) text = Capture(macro.body);
  scopes_.resize(size);
  base_ = outer_base;
  loops_base_ = outer_loops;
  return text;
}

absl::StatusOr<Value> Rendering::CallFunction(const std::string& name, GivenArguments given) {
  if (name == "namespace") return MakeNamespace(std::move(given));
  if (name == "range" && given.named.empty()) return Range(given.positional);
  if (name == "dict" && given.positional.empty()) {
    BATON_RETURN_IF_ERROR(budget_.Make(given.named.size() * 2 * sizeof(Value)));
    return Value(Value::Dict(std::move(given.named)));
  }
  if (name == "strftime_now" && given.positional.size() == 1 && given.named.empty()) {
    BATON_ASSIGN_OR_RETURN(const std::string format, TextArgument(given.positional[0], ""));
    return TimeText(now_unix_s_, format);
  }
  return Error(kInvalidArgument, "'{}' can not be called with these arguments", name);
}

absl::StatusOr<Value> Rendering::MakeNamespace(GivenArguments given) {
  Value::Dict members;
  for (const Value& each : given.positional) {
    if (each.AsDict() == nullptr) return Error(kInvalidArgument, "namespace takes a dict or named values");
    members.insert(members.end(), each.AsDict()->begin(), each.AsDict()->end());
  }
  BATON_RETURN_IF_ERROR(budget_.Make(members.size() * 2 * sizeof(Value) + 256));
  for (auto& [name, value] : given.named) {
    const auto known = std::ranges::find(members, name, &Value::Dict::value_type::first);
    if (known == members.end()) {
      members.emplace_back(name, std::move(value));
    } else {
      known->second = std::move(value);
    }
  }
  return Value(&namespaces_.emplace_back(Namespace{std::move(members)}));
}

absl::StatusOr<Value> Rendering::Range(const std::vector<Value>& bounds) {
  if (bounds.empty() || bounds.size() > 3)
    return Error(kInvalidArgument, "range takes one to three integers");
  std::array<std::int64_t, 3> parts = {0, 0, 1};
  for (std::size_t i = 0; i < bounds.size(); ++i) {
    if (bounds[i].AsInt() == nullptr) return Error(kInvalidArgument, "range of {}", bounds[i].KindName());
    parts[bounds.size() == 1 ? 1 : i] = *bounds[i].AsInt();
  }
  const auto [start, stop, step] = parts;
  if (step == 0) return Error(kInvalidArgument, "range: the step must not be 0");
  Value::List list;
  for (std::int64_t i = start; step > 0 ? i < stop : i > stop;) {
    BATON_RETURN_IF_ERROR(budget_.Make(2 * sizeof(Value)));
    list.emplace_back(i);
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  return Value(std::move(list));
}

}  // namespace baton::text::jinja
