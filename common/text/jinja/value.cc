#include "common/text/jinja/value.h"

#include <algorithm>

namespace baton::text::jinja {

Value::Value(const json::Value& value) {
  if (value.IsNull()) {
    data_ = nullptr;
  } else if (const bool* boolean = value.AsBool()) {
    data_ = *boolean;
  } else if (const std::int64_t* whole = value.AsInt()) {
    data_ = *whole;
  } else if (value.IsNumber()) {
    data_ = value.Number();
  } else if (const std::string* text = value.AsString()) {
    data_ = std::make_shared<const std::string>(*text);
  } else if (const json::Array* array = value.AsArray()) {
    *this = Value(List(array->begin(), array->end()));
  } else if (const json::Object* object = value.AsObject()) {
    Dict dict;
    dict.reserve(object->size());
    for (const auto& [key, member] : *object) dict.emplace_back(key, Value(member));
    *this = Value(std::move(dict));
  }
}

std::shared_ptr<const Value::Elements> Value::Hold(List list, bool is_tuple) {
  int depth = 0;
  for (const Value& each : list) depth = std::max(depth, each.Depth());
  return std::make_shared<const Elements>(Elements{std::move(list), is_tuple, depth + 1});
}

Value::Value(List v) : data_(Hold(std::move(v), false)) {}

Value::Value(Dict v) {
  int depth = 0;
  for (const auto& [key, member] : v) depth = std::max(depth, member.Depth());
  data_ = std::make_shared<const Members>(Members{std::move(v), depth + 1});
}

Value Value::Tuple(List v) {
  Value tuple;
  tuple.data_ = Hold(std::move(v), true);
  return tuple;
}

const Value::List* Value::AsList() const {
  const auto* held = Shared<Elements>();
  return held == nullptr ? nullptr : &held->list;
}
const Value::Dict* Value::AsDict() const {
  const auto* held = Shared<Members>();
  return held == nullptr ? nullptr : &held->dict;
}
bool Value::IsTuple() const {
  const auto* held = Shared<Elements>();
  return held != nullptr && held->is_tuple;
}
const Macro* Value::AsMacro() const {
  const auto* held = std::get_if<const Macro*>(&data_);
  return held == nullptr ? nullptr : *held;
}
Namespace* Value::AsNamespace() const {
  const auto* held = std::get_if<Namespace*>(&data_);
  return held == nullptr ? nullptr : *held;
}

int Value::Depth() const {
  if (const auto* elements = Shared<Elements>()) return elements->depth;
  if (const auto* members = Shared<Members>()) return members->depth;
  return 0;
}

Value Value::Member(std::string_view key) const {
  const Dict* dict = AsNamespace() != nullptr ? &AsNamespace()->members : AsDict();
  if (dict == nullptr) return {};
  const auto member = std::ranges::find(*dict, key, &Dict::value_type::first);
  return member == dict->end() ? Value() : member->second;
}

bool Value::IsTrue() const {
  struct Truth {
    bool operator()(std::monostate) const { return false; }
    bool operator()(std::nullptr_t) const { return false; }
    bool operator()(bool v) const { return v; }
    bool operator()(std::int64_t v) const { return v != 0; }
    bool operator()(double v) const { return v != 0.0; }
    bool operator()(const std::shared_ptr<const std::string>& v) const { return !v->empty(); }
    bool operator()(const std::shared_ptr<const Elements>& v) const { return !v->list.empty(); }
    bool operator()(const std::shared_ptr<const Members>& v) const { return !v->dict.empty(); }
    bool operator()(const Macro*) const { return true; }
    bool operator()(Namespace*) const { return true; }
  };
  return std::visit(Truth{}, data_);
}

std::string_view Value::KindName() const {
  if (IsUndefined()) return "undefined";
  if (IsNone()) return "none";
  if (AsBool() != nullptr) return "boolean";
  if (AsInt() != nullptr) return "integer";
  if (AsFloat() != nullptr) return "float";
  if (AsString() != nullptr) return "string";
  if (AsMacro() != nullptr) return "macro";
  if (AsNamespace() != nullptr) return "namespace";
  if (IsTuple()) return "tuple";
  return AsList() != nullptr ? "list" : "dict";
}

}  // namespace baton::text::jinja
