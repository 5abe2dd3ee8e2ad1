#include <algorithm>
#include <optional>
#include <string_view>

#include "common/base/error.h"
#include "common/text/jinja/operators.h"
#include "common/text/jinja/python_text.h"

namespace baton::text::jinja {
namespace {

/// The value as a whole number: True counts as 1.
std::optional<std::int64_t> Whole(const Value& value) {
  if (value.AsInt() != nullptr) return *value.AsInt();
  if (value.AsBool() != nullptr) return *value.AsBool() ? 1 : 0;
  return std::nullopt;
}

/// A bound of a slice, counted from the front and brought within [low, high].
absl::StatusOr<std::int64_t> Bound(const Value& value, std::int64_t fallback, std::int64_t size,
                                   std::int64_t low, std::int64_t high) {
  if (value.IsNone()) return fallback;
  const auto bound = Whole(value);
  if (!bound) return Error(kInvalidArgument, "a slice by {}", value.KindName());
  return std::clamp(*bound < 0 ? *bound + size : *bound, low, high);
}

}  // namespace

absl::StatusOr<Value> Element(const Value& object, const Value& index, Budget& budget) {
  if (object.AsDict() != nullptr || object.AsNamespace() != nullptr) {
    if (object.AsDict() != nullptr) BATON_RETURN_IF_ERROR(budget.Look(object.AsDict()->size()));
    return index.AsString() == nullptr ? Value() : object.Member(*index.AsString());
  }
  if (object.AsString() == nullptr && object.AsList() == nullptr) return Value();
  const auto place = Whole(index);
  if (!place) return Value();
  const auto at = [&](std::size_t size) -> std::optional<std::size_t> {
    const auto count = static_cast<std::int64_t>(size);
    if (*place >= count || *place < -count) return std::nullopt;
    return static_cast<std::size_t>(*place < 0 ? *place + count : *place);
  };
  if (const Value::List* list = object.AsList()) {
    const auto found = at(list->size());
    return found ? (*list)[*found] : Value();
  }
  BATON_RETURN_IF_ERROR(budget.Look(object.AsString()->size()));
  const std::vector<std::string_view> characters = Characters(*object.AsString());
  const auto found = at(characters.size());
  return found ? Value(std::string(characters[*found])) : Value();
}

absl::StatusOr<Value::List> ElementsOf(const Value& value, Budget& budget) {
  Value::List list;
  if (value.IsUndefined()) return list;
  if (const Value::List* elements = value.AsList()) {
    BATON_RETURN_IF_ERROR(budget.Make(elements->size() * sizeof(Value)));
    return *elements;
  }
  if (const Value::Dict* dict = value.AsDict()) {
    for (const auto& [key, member] : *dict) {
      BATON_RETURN_IF_ERROR(budget.Make(key.size() + sizeof(Value)));
      list.emplace_back(key);
    }
    return list;
  }
  if (const std::string* text = value.AsString()) {
    BATON_RETURN_IF_ERROR(budget.Make(text->size() * 2 * sizeof(Value)));
    for (const std::string_view character : Characters(*text)) list.emplace_back(std::string(character));
    return list;
  }
  return Error(kInvalidArgument, "{} has no elements", value.KindName());
}

absl::StatusOr<Value> SliceOf(const Value& object, const Value& start, const Value& stop, const Value& step,
                              Budget& budget) {
  const std::string* text = object.AsString();
  const Value::List* list = object.AsList();
  if (list == nullptr && text == nullptr) return Error(kInvalidArgument, "a slice of {}", object.KindName());
  BATON_RETURN_IF_ERROR(budget.Make(text != nullptr ? text->size() : list->size() * sizeof(Value)));
  const std::size_t count = text != nullptr ? CharacterCount(*text) : list->size();
  const auto size = static_cast<std::int64_t>(count);
  std::int64_t stride = 1;
  if (!step.IsNone()) {
    if (!Whole(step) || *Whole(step) == 0)
      return Error(kInvalidArgument, "a slice's step must be an integer, not 0");
    stride = std::clamp(*Whole(step), -size - 1, size + 1);  // further would only overflow
  }
  const std::int64_t low = stride > 0 ? 0 : -1;
  const std::int64_t high = stride > 0 ? size : size - 1;
  BATON_ASSIGN_OR_RETURN(const std::int64_t from, Bound(start, stride > 0 ? 0 : size - 1, size, low, high));
  BATON_ASSIGN_OR_RETURN(const std::int64_t to, Bound(stop, stride > 0 ? size : -1, size, low, high));
  const auto each = [&](auto&& take) {
    for (std::int64_t i = from; stride > 0 ? i < to : i > to; i += stride) take(static_cast<std::size_t>(i));
  };
  if (text != nullptr) {
    const std::vector<std::string_view> characters = Characters(*text);
    std::string part;
    each([&](std::size_t i) { part += characters[i]; });
    return Value(std::move(part));
  }
  Value::List part;
  each([&](std::size_t i) { part.push_back((*list)[i]); });
  return object.IsTuple() ? Value::Tuple(std::move(part)) : Value(std::move(part));
}

}  // namespace baton::text::jinja
