#include "tests/support/json_schema.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "common/base/utf8.h"

namespace baton::test {
namespace {

using json::Value;

const Value& Resolve(const Value& schema, const Value& root) {
  const Value* reference = schema.Find("$ref");
  if (reference == nullptr) return schema;
  const std::string& text = *reference->AsString();
  if (text == "#") return root;
  for (const std::string_view folder : {"$defs", "definitions"}) {
    const std::string prefix = "#/" + std::string(folder) + "/";
    if (!text.starts_with(prefix)) continue;
    return Resolve(*root.Find(folder)->Find(text.substr(prefix.size())), root);
  }
  return schema;
}

bool HasType(const Value& value, const std::string& type) {
  if (type == "integer") return value.IsNumber() && value.Number() == std::floor(value.Number());
  if (type == "number") return value.IsNumber();
  return value.KindName() == type;
}

std::int64_t Characters(std::string_view text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; });
}

bool Bounded(double number, const Value& schema, std::string_view least, std::string_view most) {
  if (const Value* bound = schema.Find(least); bound != nullptr && number < bound->Number()) return false;
  const Value* bound = schema.Find(most);
  return bound == nullptr || number <= bound->Number();
}

bool ArrayFits(const json::Array& array, const Value& schema, const Value& root) {
  if (!Bounded(static_cast<double>(array.size()), schema, "minItems", "maxItems")) return false;
  const Value* prefix = schema.Find("prefixItems");
  const Value* items = schema.Find("items");
  for (std::size_t i = 0; i < array.size(); ++i) {
    if (prefix != nullptr && i < prefix->AsArray()->size()) {
      if (!Validates(array[i], (*prefix->AsArray())[i], root)) return false;
    } else if (items != nullptr && !Validates(array[i], *items, root)) {
      return false;
    }
  }
  return true;
}

bool ObjectFits(const Value& value, const Value& schema, const Value& root) {
  const Value* properties = schema.Find("properties");
  const Value* others = schema.Find("additionalProperties");
  if (const Value* required = schema.Find("required"); required != nullptr) {
    for (const Value& name : *required->AsArray()) {
      if (value.Find(*name.AsString()) == nullptr) return false;
    }
  }
  for (const auto& [name, member] : *value.AsObject()) {
    const Value* named = properties == nullptr ? nullptr : properties->Find(name);
    if (named == nullptr) named = others;
    if (named != nullptr && !Validates(member, *named, root)) return false;
  }
  return true;
}

std::string RandomText(RandomStream& random, std::int64_t least, std::int64_t most) {
  constexpr std::array<char32_t, 12> kLetters = {'a',  'Z', '0',  '"',    '\\',    '/',
                                                 '\n', 1,   0xe9, 0x20ac, 0x1f600, ' '};
  std::string out;
  for (std::int64_t left = random.Between(least, most); left > 0; --left)
    AppendUtf8(out, kLetters[static_cast<std::size_t>(random.Between(0, 11))]);
  return out;
}

std::int64_t Integer(const Value& schema, std::string_view name, std::int64_t otherwise) {
  const Value* value = schema.Find(name);
  return value == nullptr ? otherwise : *value->AsInt();
}

Value RandomObject(const Value& schema, const Value& root, RandomStream& random, int depth) {
  json::Object object;
  const Value* properties = schema.Find("properties");
  const Value* required = schema.Find("required");
  if (properties != nullptr) {
    for (const auto& [name, member] : *properties->AsObject()) {
      const bool needed =
          required != nullptr && std::any_of(required->AsArray()->begin(), required->AsArray()->end(),
                                             [&](const Value& v) { return *v.AsString() == name; });
      if (needed || (depth < 5 && random.Between(0, 1) == 1))
        object.emplace_back(name, RandomValue(member, root, random, depth + 1));
    }
  }
  const Value* others = schema.Find("additionalProperties");
  const bool free =
      others == nullptr ? properties == nullptr : others->AsBool() == nullptr || *others->AsBool();
  for (std::int64_t i = 0; free && depth < 5 && i < random.Between(0, 2); ++i) {
    const std::string name = "né" + std::to_string(i);
    object.emplace_back(name,
                        RandomValue(others == nullptr ? Value(true) : *others, root, random, depth + 1));
  }
  return object;
}

Value RandomArray(const Value& schema, const Value& root, RandomStream& random, int depth) {
  const std::int64_t least = Integer(schema, "minItems", 0);
  const Value* prefix = schema.Find("prefixItems");
  const std::int64_t most = Integer(schema, "maxItems", least + (depth < 5 ? 3 : 0));
  json::Array array;
  for (std::int64_t count = random.Between(least, most); count > 0; --count) {
    if (prefix != nullptr && array.size() < prefix->AsArray()->size()) {
      array.push_back(RandomValue((*prefix->AsArray())[array.size()], root, random, depth + 1));
      continue;
    }
    const Value* items = schema.Find("items");
    array.push_back(RandomValue(items == nullptr ? Value(true) : *items, root, random, depth + 1));
  }
  return array;
}

}  // namespace

bool Validates(const Value& value, const Value& unresolved, const Value& root) {
  if (const bool* any = unresolved.AsBool(); any != nullptr) return *any;
  const Value& schema = Resolve(unresolved, root);
  for (const std::string_view name : {"anyOf", "oneOf", "allOf"}) {
    const Value* list = schema.Find(name);
    if (list == nullptr) continue;
    const auto fits = std::count_if(list->AsArray()->begin(), list->AsArray()->end(),
                                    [&](const Value& one) { return Validates(value, one, root); });
    if (fits == 0 || (name == "oneOf" && fits != 1)) return false;
  }
  const std::string text = json::Serialize(value);
  if (const Value* only = schema.Find("const"); only != nullptr && json::Serialize(*only) != text)
    return false;
  if (const Value* values = schema.Find("enum"); values != nullptr) {
    const bool found = std::any_of(values->AsArray()->begin(), values->AsArray()->end(),
                                   [&](const Value& one) { return json::Serialize(one) == text; });
    if (!found) return false;
  }
  if (const Value* type = schema.Find("type"); type != nullptr) {
    const json::Array types = type->AsArray() != nullptr ? *type->AsArray() : json::Array{*type};
    if (std::none_of(types.begin(), types.end(),
                     [&](const Value& t) { return HasType(value, *t.AsString()); }))
      return false;
  }
  if (value.IsNumber() && !Bounded(value.Number(), schema, "minimum", "maximum")) return false;
  for (const std::string_view name : {"exclusiveMinimum", "exclusiveMaximum"}) {
    const Value* bound = value.IsNumber() ? schema.Find(name) : nullptr;
    if (bound == nullptr) continue;
    if (name == "exclusiveMinimum" ? value.Number() <= bound->Number() : value.Number() >= bound->Number())
      return false;
  }
  if (const std::string* s = value.AsString(); s != nullptr) {
    if (!Bounded(static_cast<double>(Characters(*s)), schema, "minLength", "maxLength")) return false;
  }
  if (value.AsArray() != nullptr) return ArrayFits(*value.AsArray(), schema, root);
  return value.AsObject() == nullptr || ObjectFits(value, schema, root);
}

Value RandomValue(const Value& unresolved, const Value& root, RandomStream& random, int depth) {
  static const Value kAny(json::Object{
      {"type", json::Array{"null", "boolean", "integer", "number", "string", "array", "object"}}});
  const Value& schema = unresolved.AsBool() != nullptr ? kAny : Resolve(unresolved, root);
  for (const std::string_view name : {"anyOf", "oneOf", "allOf", "enum"}) {
    const Value* list = schema.Find(name);
    if (list == nullptr) continue;
    const json::Array& array = *list->AsArray();
    // Deep down the first: the tests' schemas have what ends there.
    const std::int64_t last = depth < 5 ? static_cast<std::int64_t>(array.size()) - 1 : 0;
    const Value& one = array[static_cast<std::size_t>(random.Between(0, last))];
    return name == "enum" ? one : RandomValue(one, root, random, depth + 1);
  }
  if (const Value* only = schema.Find("const"); only != nullptr) return *only;
  const Value* type = schema.Find("type");
  if (type == nullptr) return RandomValue(Value(true), root, random, depth);
  std::string kind;
  if (type->AsArray() != nullptr) {
    const std::int64_t last = depth < 5 ? static_cast<std::int64_t>(type->AsArray()->size()) - 1 : 0;
    kind = *(*type->AsArray())[static_cast<std::size_t>(random.Between(0, last))].AsString();
  } else {
    kind = *type->AsString();
  }
  if (kind == "null") return nullptr;
  if (kind == "boolean") return random.Between(0, 1) == 1;
  if (kind == "integer")
    return random.Between(Integer(schema, "minimum", -99'999), Integer(schema, "maximum", 99'999));
  if (kind == "number")
    return static_cast<double>(
               random.Between(8 * Integer(schema, "minimum", -9999), 8 * Integer(schema, "maximum", 9999))) /
           8;
  if (kind == "string") {
    const std::int64_t least = Integer(schema, "minLength", 0);
    return RandomText(random, least, Integer(schema, "maxLength", least + 8));
  }
  return kind == "array" ? RandomArray(schema, root, random, depth)
                         : RandomObject(schema, root, random, depth);
}

}  // namespace baton::test
