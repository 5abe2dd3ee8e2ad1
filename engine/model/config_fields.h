#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <absl/status/statusor.h>

#include "common/base/error.h"
#include "common/json/value.h"

namespace baton::engine {

/// Reads the members of one object and names it in errors.
class Fields {
 public:
  Fields(const json::Value& object, std::string_view name) : object_(object), name_(name) {}

  /// The member, or null where it is absent or null, which mean the same here.
  [[nodiscard]] const json::Value* Find(std::string_view key) const {
    const json::Value* value = object_.Find(key);
    return value == nullptr || value->IsNull() ? nullptr : value;
  }
  /// It is there, and null.
  [[nodiscard]] bool IsNull(std::string_view key) const {
    const json::Value* value = object_.Find(key);
    return value != nullptr && value->IsNull();
  }
  [[nodiscard]] absl::StatusOr<std::int64_t> Int(std::string_view key, std::int64_t highest,
                                                 std::optional<std::int64_t> absent = std::nullopt) const {
    const json::Value* value = Find(key);
    if (value == nullptr && absent.has_value()) return *absent;
    if (value == nullptr) return Error(kInvalidArgument, "{}: {} is missing", name_, key);
    const std::int64_t* number = value->AsInt();
    if (number == nullptr) {
      return Error(kInvalidArgument, "{}: {} must be an integer, not {}", name_, key, value->KindName());
    }
    if (*number < 1 || *number > highest) {
      return Error(kInvalidArgument, "{}: {} must be between 1 and {}, not {}", name_, key, highest, *number);
    }
    return *number;
  }
  /// A number above `lowest`, up to `highest`.
  [[nodiscard]] absl::StatusOr<double> Number(std::string_view key, double lowest, double highest,
                                              std::optional<double> absent = std::nullopt) const {
    const json::Value* value = Find(key);
    if (value == nullptr && absent.has_value()) return *absent;
    if (value == nullptr) return Error(kInvalidArgument, "{}: {} is missing", name_, key);
    if (!value->IsNumber() || !(value->Number() > lowest && value->Number() <= highest)) {
      return Error(kInvalidArgument, "{}: {} must be a number above {} and at most {}", name_, key, lowest,
                   highest);
    }
    return value->Number();
  }
  [[nodiscard]] absl::StatusOr<bool> Bool(std::string_view key, bool absent) const {
    const json::Value* value = Find(key);
    if (value == nullptr) return absent;
    if (value->AsBool() == nullptr) {
      return Error(kInvalidArgument, "{}: {} must be true or false, not {}", name_, key, value->KindName());
    }
    return *value->AsBool();
  }
  [[nodiscard]] const std::string& Name() const { return name_; }

 private:
  const json::Value& object_;
  std::string name_;
};

}  // namespace baton::engine
