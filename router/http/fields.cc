#include "router/http/fields.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include <fmt/format.h>

namespace baton::router {

const json::Value* Fields::Take(std::string_view key) {
  known_.push_back(key);
  for (const auto& [name, value] : *object_) {
    if (name == key) return value.IsNull() ? nullptr : &value;
  }
  return nullptr;
}

const json::Value* Fields::TakeUnread(std::string_view key) {
  return std::find(known_.begin(), known_.end(), key) == known_.end() ? Take(key) : nullptr;
}

std::string Fields::Path(std::string_view key) const {
  return prefix_.empty() ? std::string(key) : fmt::format("{}.{}", prefix_, key);
}

void Fields::Fail(ApiError error) {
  if (!error_) error_ = std::move(error);
}

void Fields::FailKind(std::string_view key, std::string_view wanted, const json::Value& got) {
  Fail(InvalidValue(Path(key), fmt::format("'{}' must be {}, not {}", Path(key), wanted, got.KindName())));
}

void Fields::Boolean(std::string_view key, bool& out) {
  const json::Value* value = Take(key);
  if (value == nullptr) return;
  if (value->AsBool() == nullptr) return FailKind(key, "a boolean", *value);
  out = *value->AsBool();
}

void Fields::Integer(std::string_view key, std::int64_t low, std::int64_t high,
                     std::optional<std::int64_t>& out) {
  const json::Value* value = Take(key);
  if (value == nullptr) return;
  if (value->AsInt() == nullptr) return FailKind(key, "an integer", *value);
  const std::int64_t number = *value->AsInt();
  if (number < low)
    return Fail(InvalidValue(Path(key), fmt::format("'{}' must be at least {}", Path(key), low)));
  if (number > high)
    return Fail(InvalidValue(Path(key), fmt::format("'{}' must be at most {}", Path(key), high)));
  out = number;
}

void Fields::Number(std::string_view key, const Range& range, std::optional<double>& out) {
  const json::Value* value = Take(key);
  if (value == nullptr) return;
  if (!value->IsNumber()) return FailKind(key, "a number", *value);
  const double number = value->Number();
  const bool inside = std::isfinite(number) && number <= range.high &&
                      (range.open_low ? number > range.low : number >= range.low);
  if (!inside) {
    return Fail(InvalidValue(
        Path(key), fmt::format("'{}' must be {} {} and at most {}", Path(key),
                               range.open_low ? "greater than" : "at least", range.low, range.high)));
  }
  out = number;
}

void Fields::String(std::string_view key, std::optional<std::string>& out) {
  const json::Value* value = Take(key);
  if (value == nullptr) return;
  if (value->AsString() == nullptr) return FailKind(key, "a string", *value);
  out = *value->AsString();
}

int Fields::CountUnknown(bool strict) {
  int unknown = 0;
  for (const auto& [key, value] : *object_) {
    if (std::find(known_.begin(), known_.end(), key) != known_.end()) continue;
    ++unknown;
    constexpr std::size_t kShown = 64;  // a longer one is no field's name, and not sent back
    const std::string path = key.size() <= kShown ? Path(key) : "";
    if (strict) Fail(UnsupportedParameter(path, fmt::format("the field '{}' is not known", path)));
  }
  return unknown;
}

}  // namespace baton::router
