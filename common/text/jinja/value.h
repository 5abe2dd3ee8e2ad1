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

struct Macro;
struct Namespace;

/// A value inside a template, with Python's meaning: undefined, none, boolean, integer, float, string, list,
/// tuple, dict, macro or namespace. Strings, lists and dicts are shared and never change: copies cost
/// nothing. Macros and namespaces are the rendering's and lent.
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
  explicit Value(List v);
  explicit Value(Dict v);
  explicit Value(const Macro* v) : data_(v) {}
  explicit Value(Namespace* v) : data_(v) {}
  [[nodiscard]] static Value Tuple(List v);
  /// The same value; integers, floats and so on keep their kind.
  explicit Value(const json::Value& value);

  [[nodiscard]] bool IsUndefined() const { return std::holds_alternative<std::monostate>(data_); }
  [[nodiscard]] bool IsNone() const { return std::holds_alternative<std::nullptr_t>(data_); }
  /// Null where the value is of another kind.
  [[nodiscard]] const bool* AsBool() const { return std::get_if<bool>(&data_); }
  [[nodiscard]] const std::int64_t* AsInt() const { return std::get_if<std::int64_t>(&data_); }
  [[nodiscard]] const double* AsFloat() const { return std::get_if<double>(&data_); }
  [[nodiscard]] const std::string* AsString() const { return Shared<std::string>(); }
  /// Tuples are lists too.
  [[nodiscard]] const List* AsList() const;
  [[nodiscard]] const Dict* AsDict() const;
  [[nodiscard]] bool IsTuple() const;
  [[nodiscard]] const Macro* AsMacro() const;
  [[nodiscard]] Namespace* AsNamespace() const;

  /// How many lists and dicts are inside each other: what it takes to walk or to free the value.
  [[nodiscard]] int Depth() const;
  /// The member `key` of a dict; undefined where there is none.
  [[nodiscard]] Value Member(std::string_view key) const;
  /// Whether an `if` takes it for true.
  [[nodiscard]] bool IsTrue() const;
  /// "undefined", "none", "boolean", "integer", "float", "string", "list", ...: for messages.
  [[nodiscard]] std::string_view KindName() const;

 private:
  struct Elements {
    List list;
    bool is_tuple = false;
    int depth = 1;
  };
  struct Members {
    Dict dict;
    int depth = 1;
  };
  template <typename T>
  [[nodiscard]] const T* Shared() const {
    const auto* held = std::get_if<std::shared_ptr<const T>>(&data_);
    return held == nullptr ? nullptr : held->get();
  }
  static std::shared_ptr<const Elements> Hold(List list, bool is_tuple);

  std::variant<std::monostate, std::nullptr_t, bool, std::int64_t, double, std::shared_ptr<const std::string>,
               std::shared_ptr<const Elements>, std::shared_ptr<const Members>, const Macro*, Namespace*>
      data_;
};

/// namespace(...): the one thing that changes. Owned by the evaluator, so that one may hold itself.
struct Namespace {
  Value::Dict members;
};

}  // namespace baton::text::jinja
