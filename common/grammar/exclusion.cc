#include "common/grammar/exclusion.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <string_view>

#include "common/grammar/schema_fields.h"

namespace baton::grammar {
namespace {

const json::Array* ListOf(const json::Value& schema, std::string_view keyword) {
  const json::Value* list = schema.Find(keyword);
  return list == nullptr ? nullptr : list->AsArray();
}

/// The schemas of which one must hold; null where there is no such list.
const json::Array* Alternatives(const json::Value& schema) {
  for (const std::string_view keyword : {"anyOf", "oneOf", "allOf"}) {
    if (const json::Array* list = ListOf(schema, keyword); list != nullptr) return list;
  }
  return nullptr;
}

/// The values that a schema lists; false where it lists none.
bool Listed(const json::Value& schema, json::Array& out) {
  if (const json::Value* only = schema.Find("const"); only != nullptr) {
    out = {*only};
    return true;
  }
  const json::Array* values = ListOf(schema, "enum");
  if (values != nullptr) out = *values;
  return values != nullptr;
}

unsigned KindsOfValue(const json::Value& value) {
  if (!value.IsNumber()) return KindOf(value);
  const bool whole = value.Number() == std::floor(value.Number());
  return whole ? kInteger | kNumber : static_cast<unsigned>(kNumber);
}

bool Equal(const json::Value& a, const json::Value& b) {
  if (a.IsNumber() && b.IsNumber()) return a.Number() == b.Number();
  return json::Serialize(a) == json::Serialize(b);
}

bool IsFalse(const json::Value* schema) {
  return schema != nullptr && schema->AsBool() != nullptr && !*schema->AsBool();
}

/// The schema of a member: its own, that of other members, or null for any value.
const json::Value* MemberSchema(const json::Value& schema, std::string_view name) {
  const json::Value* properties = schema.Find("properties");
  const json::Value* named = properties == nullptr ? nullptr : properties->Find(name);
  return named != nullptr ? named : schema.Find("additionalProperties");
}

bool Requires(const json::Value& schema, std::string_view name) {
  const json::Array* required = ListOf(schema, "required");
  return required != nullptr && std::any_of(required->begin(), required->end(), [&](const json::Value& each) {
           return each.AsString() != nullptr && *each.AsString() == name;
         });
}

/// Whether a text that this module writes for an object of the schema may have the member.
bool MayWrite(const json::Value& schema, std::string_view name) {
  const json::Value* properties = schema.Find("properties");
  if (properties != nullptr && properties->Find(name) != nullptr) return true;
  if (Requires(schema, name)) return true;
  const json::Value* others = schema.Find("additionalProperties");
  if (others != nullptr) return !IsFalse(others);
  const json::Array* required = ListOf(schema, "required");
  const bool names_some =
      (properties != nullptr && properties->AsObject() != nullptr && !properties->AsObject()->empty()) ||
      (required != nullptr && !required->empty());
  return !names_some;
}

/// Of schemas of integers.
bool AreApart(const json::Value& a, const json::Value& b) {
  const auto one = RangeOf(a, "");
  const auto other = RangeOf(b, "");
  if (!one.ok() || !other.ok() || !*one || !*other) return false;
  return (*one)->high < (*other)->low || (*other)->high < (*one)->low;
}

}  // namespace

const json::Value* Referred(const json::Value& root, std::string_view reference) {
  if (reference == "#") return &root;
  for (const std::string_view folder : {"$defs", "definitions"}) {
    const std::string prefix = "#" + Below("", folder) + "/";
    if (!reference.starts_with(prefix)) continue;
    const json::Value* definitions = root.Find(folder);
    if (definitions == nullptr || definitions->AsObject() == nullptr) return nullptr;
    const std::string_view wanted = reference.substr(prefix.size());
    for (const auto& [name, schema] : *definitions->AsObject()) {
      if (name == wanted || Below("", name).substr(1) == wanted) return &schema;
    }
    return nullptr;
  }
  return nullptr;
}

const json::Value& Exclusion::Resolve(const json::Value& schema) const {
  const json::Value* at = &schema;
  for (int i = 0; i < kDepthMax; ++i) {
    const json::Value* reference = at->Find("$ref");
    if (reference == nullptr || reference->AsString() == nullptr) break;
    const json::Value* target = Referred(root_, *reference->AsString());
    if (target == nullptr) break;
    at = target;
  }
  return *at;
}

unsigned Exclusion::KindsAllowed(const json::Value& schema) const {
  json::Array values;
  if (Listed(schema, values)) {
    unsigned kinds = 0;
    for (const json::Value& value : values) kinds |= KindsOfValue(value);
    return kinds;
  }
  if (schema.Find("type") == nullptr) return kEverything;
  const absl::StatusOr<unsigned> kinds = KindsOf(schema, "");
  if (!kinds.ok()) return kEverything;
  return (*kinds & kNumber) != 0 ? *kinds | kInteger : *kinds;
}

bool Exclusion::ValueExcluded(const json::Value& value, const json::Value& unresolved, int depth) {
  if (depth > kDepthMax || --steps_left_ < 0) return false;
  const json::Value& schema = Resolve(unresolved);
  if (schema.AsObject() == nullptr) return IsFalse(&schema);
  if (const json::Array* list = Alternatives(schema); list != nullptr) {
    return std::all_of(list->begin(), list->end(),
                       [&](const json::Value& each) { return ValueExcluded(value, each, depth + 1); });
  }
  json::Array values;
  if (Listed(schema, values)) {
    steps_left_ -= static_cast<int>(values.size());
    return std::none_of(values.begin(), values.end(),
                        [&](const json::Value& each) { return Equal(each, value); });
  }
  if ((KindsOfValue(value) & KindsAllowed(schema)) == 0) return true;
  if (value.AsObject() == nullptr) return false;
  if (const json::Array* required = ListOf(schema, "required"); required != nullptr) {
    const auto missing = [&](const json::Value& name) {
      return name.AsString() != nullptr && value.Find(*name.AsString()) == nullptr;
    };
    if (std::any_of(required->begin(), required->end(), missing)) return true;
  }
  return std::any_of(value.AsObject()->begin(), value.AsObject()->end(), [&](const auto& member) {
    const json::Value* inner = MemberSchema(schema, member.first);
    return inner != nullptr && ValueExcluded(member.second, *inner, depth + 1);
  });
}

bool Exclusion::ObjectExcludes(const json::Value& written, const json::Value& schema, int depth) {
  // A member that one of them requires is in every value of both.
  for (const json::Value* owner : {&written, &schema}) {
    const json::Array* required = ListOf(*owner, "required");
    if (required == nullptr) continue;
    for (const json::Value& name : *required) {
      if (name.AsString() == nullptr || --steps_left_ < 0) return false;
      if (owner == &schema && !MayWrite(written, *name.AsString())) return true;
      const json::Value* a = MemberSchema(written, *name.AsString());
      const json::Value* b = MemberSchema(schema, *name.AsString());
      if (IsFalse(a) || IsFalse(b)) return true;
      if (a != nullptr && b != nullptr && Excludes(*a, *b, depth + 1)) return true;
    }
  }
  return false;
}

bool Exclusion::Excludes(const json::Value& unresolved_written, const json::Value& unresolved, int depth) {
  if (depth > kDepthMax || --steps_left_ < 0) return false;
  const json::Value& written = Resolve(unresolved_written);
  const json::Value& schema = Resolve(unresolved);
  if (IsFalse(&written) || IsFalse(&schema)) return true;
  if (written.AsObject() == nullptr || schema.AsObject() == nullptr) return false;
  if (const json::Array* list = Alternatives(written); list != nullptr) {
    return std::all_of(list->begin(), list->end(),
                       [&](const json::Value& each) { return Excludes(each, schema, depth + 1); });
  }
  if (const json::Array* list = Alternatives(schema); list != nullptr) {
    return std::all_of(list->begin(), list->end(),
                       [&](const json::Value& each) { return Excludes(written, each, depth + 1); });
  }
  json::Array values;
  if (Listed(written, values)) {
    return std::all_of(values.begin(), values.end(),
                       [&](const json::Value& each) { return ValueExcluded(each, schema, depth + 1); });
  }
  const absl::StatusOr<unsigned> kinds = KindsOf(written, "");
  if (!kinds.ok()) return false;
  const unsigned shared = ((*kinds & kNumber) != 0 ? *kinds | kInteger : *kinds) & KindsAllowed(schema);
  if (shared == 0) return true;
  if (Listed(schema, values)) {
    return std::all_of(values.begin(), values.end(),
                       [&](const json::Value& each) { return ValueExcluded(each, written, depth + 1); });
  }
  if (shared == kObject) return ObjectExcludes(written, schema, depth);
  return shared == kInteger && AreApart(written, schema);
}

}  // namespace baton::grammar
