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
    data_ = std::make_shared<const List>(array->begin(), array->end());
  } else if (const json::Object* object = value.AsObject()) {
    Dict dict;
    dict.reserve(object->size());
    for (const auto& [key, member] : *object) dict.emplace_back(key, Value(member));
    data_ = std::make_shared<const Dict>(std::move(dict));
  }
}

Value Value::Member(std::string_view key) const {
  const Dict* dict = AsDict();
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
    bool operator()(const std::shared_ptr<const List>& v) const { return !v->empty(); }
    bool operator()(const std::shared_ptr<const Dict>& v) const { return !v->empty(); }
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
  return AsList() != nullptr ? "list" : "dict";
}

}  // namespace baton::text::jinja
