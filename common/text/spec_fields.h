#pragma once

#include <string>
#include <string_view>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "common/base/error.h"
#include "common/json/value.h"

/// Reading fields of tokenizer.json with errors that name the file and the field.
namespace baton::text {

/// "tokenizer.json: FIELD: ...".
template <typename... Args>
[[nodiscard]] absl::Status FieldError(std::string_view field, fmt::format_string<Args...> format,
                                      Args&&... args) {
  return Error(kInvalidArgument, "tokenizer.json: {}: {}", field,
               fmt::format(format, std::forward<Args>(args)...));
}

[[nodiscard]] inline absl::Status WrongKind(std::string_view field, const json::Value* value,
                                            std::string_view wanted) {
  return FieldError(field, "{} expected, {} found", wanted, value == nullptr ? "nothing" : value->KindName());
}

/// `object`.`key`, or null where it is missing or null.
[[nodiscard]] inline const json::Value* FindField(const json::Value& object, std::string_view key) {
  const json::Value* value = object.Find(key);
  return value == nullptr || value->IsNull() ? nullptr : value;
}

/// A boolean; `fallback` where it is missing or null.
[[nodiscard]] inline absl::StatusOr<bool> BoolField(const json::Value& object, std::string_view path,
                                                    std::string_view key, bool fallback) {
  const json::Value* value = FindField(object, key);
  if (value == nullptr) return fallback;
  if (value->AsBool() == nullptr) return WrongKind(fmt::format("{}.{}", path, key), value, "boolean");
  return *value->AsBool();
}

/// A string that must be there. Lives as long as `object`.
[[nodiscard]] inline absl::StatusOr<const std::string*> StringField(const json::Value& object,
                                                                    std::string_view path,
                                                                    std::string_view key) {
  const json::Value* value = object.Find(key);
  if (value == nullptr || value->AsString() == nullptr) {
    return WrongKind(fmt::format("{}.{}", path, key), value, "string");
  }
  return value->AsString();
}

}  // namespace baton::text
