#include "common/grammar/schema_fields.h"

#include <algorithm>
#include <array>
#include <utility>

#include "common/base/error.h"

namespace baton::grammar {
namespace {

constexpr std::int64_t kIntegerMax = 999'999'999'999'999'999;

constexpr std::array<std::string_view, 13> kAnnotations = {
    "title",         "description", "default",  "examples",  "$schema", "$id",        "$comment",
    "discriminator", "deprecated",  "readOnly", "writeOnly", "$defs",   "definitions"};

struct Keyword {
  std::string_view name;
  unsigned kinds;  // what it speaks of; 0: not of one kind
};
constexpr std::array<Keyword, 22> kKeywords = {{{"type", 0},
                                                {"enum", 0},
                                                {"const", 0},
                                                {"anyOf", 0},
                                                {"oneOf", 0},
                                                {"allOf", 0},
                                                {"$ref", 0},
                                                {"properties", kObject},
                                                {"required", kObject},
                                                {"additionalProperties", kObject},
                                                {"items", kArray},
                                                {"prefixItems", kArray},
                                                {"minItems", kArray},
                                                {"maxItems", kArray},
                                                {"minLength", kString},
                                                {"maxLength", kString},
                                                {"format", kString},
                                                {"pattern", kString},
                                                {"minimum", kNumber},
                                                {"maximum", kNumber},
                                                {"exclusiveMinimum", kNumber},
                                                {"exclusiveMaximum", kNumber}}};

constexpr std::array<std::pair<std::string_view, unsigned>, 7> kTypes = {{{"null", kNull},
                                                                          {"boolean", kBoolean},
                                                                          {"integer", kInteger},
                                                                          {"number", kNumber},
                                                                          {"string", kString},
                                                                          {"array", kArray},
                                                                          {"object", kObject}}};

bool IsAnnotation(std::string_view name) {
  return std::find(kAnnotations.begin(), kAnnotations.end(), name) != kAnnotations.end();
}

const Keyword* FindKeyword(std::string_view name) {
  const auto found = std::find_if(kKeywords.begin(), kKeywords.end(),
                                  [&](const Keyword& keyword) { return keyword.name == name; });
  return found == kKeywords.end() ? nullptr : &*found;
}

/// A name of the client's, cut for a message.
std::string Short(std::string_view name) {
  return std::string(name.substr(0, 64));
}

absl::StatusOr<unsigned> KindNamed(const json::Value& name, std::string_view pointer) {
  if (const std::string* text = name.AsString(); text != nullptr) {
    for (const auto& [type, kind] : kTypes) {
      if (type == *text) return kind;
    }
  }
  return Error(kInvalidArgument, "'type' at '{}' is no JSON type", pointer);
}

}  // namespace

std::string Below(std::string_view pointer, std::string_view part) {
  std::string out(pointer);
  out += '/';
  for (const char c : part.substr(0, 64)) {
    if (c == '~')
      out += "~0";
    else if (c == '/')
      out += "~1";
    else
      out += c;
  }
  return out;
}

absl::Status CheckKeywords(const json::Object& schema, std::string_view pointer) {
  for (const auto& [name, value] : schema) {
    if (FindKeyword(name) == nullptr && !IsAnnotation(name)) {
      return Error(kInvalidArgument, "keyword '{}' at '{}' is not supported", Short(name), pointer);
    }
  }
  return {};
}

absl::Status CheckAlone(const json::Object& schema, std::string_view pointer, std::string_view keyword,
                        std::string_view also) {
  for (const auto& [name, value] : schema) {
    if (name == keyword || name == also || IsAnnotation(name)) continue;
    return Error(kInvalidArgument, "keyword '{}' at '{}' is not supported beside '{}'", Short(name), pointer,
                 keyword);
  }
  return {};
}

absl::StatusOr<unsigned> KindsOf(const json::Value& schema, std::string_view pointer) {
  const json::Value* type = schema.Find("type");
  unsigned kinds = 0;
  if (type == nullptr) {
    for (const auto& [name, value] : *schema.AsObject()) {
      if (const Keyword* keyword = FindKeyword(name); keyword != nullptr) kinds |= keyword->kinds;
    }
    return kinds == 0 ? static_cast<unsigned>(kEverything) : kinds;
  }
  if (const json::Array* list = type->AsArray(); list != nullptr) {
    for (const json::Value& name : *list) {
      BATON_ASSIGN_OR_RETURN(const unsigned kind, KindNamed(name, pointer));
      kinds |= kind;
    }
    if (kinds == 0) return Error(kInvalidArgument, "'type' at '{}' is an empty list", pointer);
    return kinds;
  }
  return KindNamed(*type, pointer);
}

unsigned KindOf(const json::Value& value) {
  if (value.AsInt() != nullptr) return kInteger | kNumber;
  for (const auto& [type, kind] : kTypes) {
    if (type == value.KindName()) return kind;
  }
  return kNull;
}

absl::StatusOr<Builder::Counts> CountsOf(const json::Value& schema, std::string_view pointer,
                                         std::string_view least, std::string_view most,
                                         const SchemaLimits& limits) {
  Builder::Counts counts;
  for (const std::string_view name : {least, most}) {
    const json::Value* value = schema.Find(name);
    if (value == nullptr) continue;
    const std::int64_t* number = value->AsInt();
    if (number == nullptr || *number < 0) {
      return Error(kInvalidArgument, "'{}' at '{}' must be a whole number from 0", name, pointer);
    }
    if (*number > limits.count) {
      return Error(kInvalidArgument, "'{}' at '{}' is above {}", name, pointer, limits.count);
    }
    if (name == least) counts.least = *number;
    if (name == most) counts.most = *number;
  }
  return counts;
}

IntegerRange FractionsOf(const json::Value& schema) {
  IntegerRange range{.low = -kIntegerMax, .high = kIntegerMax};
  for (const std::string_view name : {"minimum", "exclusiveMinimum"}) {
    if (const json::Value* bound = schema.Find(name)) range.low = std::max(range.low, *bound->AsInt());
  }
  for (const std::string_view name : {"maximum", "exclusiveMaximum"}) {
    if (const json::Value* bound = schema.Find(name)) range.high = std::min(range.high, *bound->AsInt());
  }
  return range;
}

absl::StatusOr<std::optional<IntegerRange>> RangeOf(const json::Value& schema, std::string_view pointer) {
  IntegerRange range{.low = -kIntegerMax, .high = kIntegerMax};
  bool bounded = false;
  for (const std::string_view name : {"minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"}) {
    const json::Value* value = schema.Find(name);
    if (value == nullptr) continue;
    bounded = true;
    const std::int64_t* bound = value->AsInt();
    if (bound == nullptr || *bound > kIntegerMax || *bound < -kIntegerMax) {
      return Error(kInvalidArgument, "'{}' at '{}' must be a whole number of at most 18 digits", name,
                   pointer);
    }
    if (name == "minimum") range.low = std::max(range.low, *bound);
    if (name == "exclusiveMinimum") range.low = std::max(range.low, *bound + 1);
    if (name == "maximum") range.high = std::min(range.high, *bound);
    if (name == "exclusiveMaximum") range.high = std::min(range.high, *bound - 1);
  }
  if (!bounded) return std::optional<IntegerRange>();
  return std::optional<IntegerRange>(range);
}

}  // namespace baton::grammar
