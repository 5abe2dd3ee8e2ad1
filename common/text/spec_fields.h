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

[[nodiscard]] inline absl::Status Unsupported(std::string_view path, std::string_view type,
                                              std::string_view supported) {
  return Error(kInvalidArgument, "tokenizer.json: {}.type '{}' is not supported; supported: {}", path, type,
               supported);
}

// Sequences may nest; nobody nests them deeper than once.
inline constexpr int kMaxNesting = 4;

/// Calls `visit(part, type, path)` for `component`, or for each part of a Sequence whose list is `list_key`.
template <typename Visit>
[[nodiscard]] absl::Status VisitParts(const json::Value& component, const std::string& path,
                                      std::string_view list_key, int nesting, const Visit& visit) {
  if (component.AsObject() == nullptr) return WrongKind(path, &component, "object");
  BATON_ASSIGN_OR_RETURN(const std::string* type, StringField(component, path, "type"));
  if (*type != "Sequence") return visit(component, *type, path);
  const std::string list_path = fmt::format("{}.{}", path, list_key);
  if (nesting == kMaxNesting) return FieldError(list_path, "sequences nested more than {} deep", kMaxNesting);
  const json::Value* parts = component.Find(list_key);
  if (parts == nullptr || parts->AsArray() == nullptr) return WrongKind(list_path, parts, "array");
  for (std::size_t i = 0; i < parts->AsArray()->size(); ++i) {
    BATON_RETURN_IF_ERROR(VisitParts((*parts->AsArray())[i], fmt::format("{}[{}]", list_path, i), list_key,
                                     nesting + 1, visit));
  }
  return absl::OkStatus();
}

}  // namespace baton::text
