#include "common/json/value.h"

#include <algorithm>

namespace baton::json {

double Value::Number() const {
  if (const std::int64_t* whole = AsInt()) return static_cast<double>(*whole);
  const double* number = std::get_if<double>(&data_);
  return number == nullptr ? 0.0 : *number;
}

const Value* Value::Find(std::string_view key) const {
  const Object* object = AsObject();
  if (object == nullptr) return nullptr;
  const auto member = std::ranges::find(*object, key, &Object::value_type::first);
  return member == object->end() ? nullptr : &member->second;
}

std::string_view Value::KindName() const {
  struct Namer {
    std::string_view operator()(std::monostate) const { return "null"; }
    std::string_view operator()(bool) const { return "boolean"; }
    std::string_view operator()(std::int64_t) const { return "integer"; }
    std::string_view operator()(double) const { return "number"; }
    std::string_view operator()(const std::string&) const { return "string"; }
    std::string_view operator()(const Array&) const { return "array"; }
    std::string_view operator()(const Object&) const { return "object"; }
  };
  return std::visit(Namer{}, data_);
}

}  // namespace baton::json
