#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "common/json/value.h"

namespace baton::text::jinja {

/// A value inside a template, with Python's meaning: undefined, none, boolean, integer, float, string, list
/// or dict. Strings, lists and dicts are shared and never change: copies cost nothing.
class Value {
 public:
  using List = std::vector<Value>;
  using Dict = std::vector<std::pair<std::string, Value>>;

  /// Undefined: a variable or a key that is not there.
  Value() = default;
  explicit Value(std::nullptr_t) : data_(nullptr) {}
  explicit Value(bool v) : data_(v) {}
  explicit Value(std::int64_t v) : data_(v) {}
  explicit Value(double v) : data_(v) {}
  explicit Value(std::string v) : data_(std::make_shared<const std::string>(std::move(v))) {}
  explicit Value(List v) : data_(std::make_shared<const List>(std::move(v))) {}
  explicit Value(Dict v) : data_(std::make_shared<const Dict>(std::move(v))) {}
  /// The same value; integers, floats and so on keep their kind.
  explicit Value(const json::Value& value);

  [[nodiscard]] bool IsUndefined() const { return std::holds_alternative<std::monostate>(data_); }
  [[nodiscard]] bool IsNone() const { return std::holds_alternative<std::nullptr_t>(data_); }
  /// Null where the value is of another kind.
  [[nodiscard]] const bool* AsBool() const { return std::get_if<bool>(&data_); }
  [[nodiscard]] const std::int64_t* AsInt() const { return std::get_if<std::int64_t>(&data_); }
  [[nodiscard]] const double* AsFloat() const { return std::get_if<double>(&data_); }
  [[nodiscard]] const std::string* AsString() const { return Shared<std::string>(); }
  [[nodiscard]] const List* AsList() const { return Shared<List>(); }
  [[nodiscard]] const Dict* AsDict() const { return Shared<Dict>(); }

  /// The member `key` of a dict; undefined where there is none.
  [[nodiscard]] Value Member(std::string_view key) const;
  /// Whether an `if` takes it for true.
  [[nodiscard]] bool IsTrue() const;
  /// "undefined", "none", "boolean", "integer", "float", "string", "list", "dict": for messages.
  [[nodiscard]] std::string_view KindName() const;

 private:
  template <typename T>
  [[nodiscard]] const T* Shared() const {
    const auto* held = std::get_if<std::shared_ptr<const T>>(&data_);
    return held == nullptr ? nullptr : held->get();
  }

  std::variant<std::monostate, std::nullptr_t, bool, std::int64_t, double, std::shared_ptr<const std::string>,
               std::shared_ptr<const List>, std::shared_ptr<const Dict>>
      data_;
};

}  // namespace baton::text::jinja
