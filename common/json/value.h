#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <absl/status/statusor.h>

/// JSON as a plain value type. Boost.JSON does the parsing (parse.cc) and stays out of this header.
namespace baton::json {

class Value;
using Array = std::vector<Value>;
/// Members in the order of the text. Looked up linearly; large maps (a vocabulary) are iterated, not
/// searched.
using Object = std::vector<std::pair<std::string, Value>>;

/// null, bool, whole number (int64), other number (double), string, array or object.
class Value {
 public:
  Value() = default;
  Value(std::nullptr_t) {}
  Value(bool v) : data_(v) {}
  Value(std::int64_t v) : data_(v) {}
  Value(int v) : data_(std::int64_t{v}) {}
  Value(double v) : data_(v) {}
  Value(std::string v) : data_(std::move(v)) {}
  Value(std::string_view v) : data_(std::string(v)) {}
  Value(const char* v) : data_(std::string(v)) {}
  Value(Array v) : data_(std::move(v)) {}
  Value(Object v) : data_(std::move(v)) {}

  [[nodiscard]] bool IsNull() const { return std::holds_alternative<std::monostate>(data_); }
  /// Null where the value is of another kind. `Number` takes whole ones too.
  [[nodiscard]] const bool* AsBool() const { return std::get_if<bool>(&data_); }
  [[nodiscard]] const std::int64_t* AsInt() const { return std::get_if<std::int64_t>(&data_); }
  [[nodiscard]] const std::string* AsString() const { return std::get_if<std::string>(&data_); }
  [[nodiscard]] const Array* AsArray() const { return std::get_if<Array>(&data_); }
  [[nodiscard]] const Object* AsObject() const { return std::get_if<Object>(&data_); }
  [[nodiscard]] bool IsNumber() const { return AsInt() != nullptr || std::holds_alternative<double>(data_); }
  /// The number as a double; 0 where it is none (ask `IsNumber` first).
  [[nodiscard]] double Number() const;
  /// The member `key` of an object; null where there is none or this is no object.
  [[nodiscard]] const Value* Find(std::string_view key) const;
  /// "null", "boolean", "integer", "number", "string", "array", "object": for messages.
  [[nodiscard]] std::string_view KindName() const;

 private:
  std::variant<std::monostate, bool, std::int64_t, double, std::string, Array, Object> data_;
};

/// Bounds on what `Parse` accepts, checked while parsing and before anything large is built.
struct Limits {
  std::size_t bytes = 8U << 20;
  std::size_t depth = 64;
  std::size_t nodes = 1'000'000;
};

/// Strict RFC 8259 and strict UTF-8: no NaN, no trailing text, no duplicate keys, no lone surrogates. The
/// error says what and at which byte: "invalid JSON at byte 17: duplicate key 'model'". Integers beyond int64
/// become doubles.
[[nodiscard]] absl::StatusOr<Value> Parse(std::string_view text, const Limits& limits = {});

/// One line, UTF-8, no spaces. Doubles print with the fewest digits that read back the same; non-finite ones
/// as null.
[[nodiscard]] std::string Serialize(const Value& value);

/// Appends `text` quoted and escaped. Invalid UTF-8 becomes U+FFFD.
void AppendQuoted(std::string& out, std::string_view text);

}  // namespace baton::json
