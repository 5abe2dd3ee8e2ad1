#include "common/grammar/schema.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "common/base/error.h"
#include "common/grammar/builder.h"
#include "common/grammar/exclusion.h"
#include "common/grammar/schema_fields.h"
#include "common/json/value.h"

namespace baton::grammar {
namespace {

constexpr int kDepthMax = 200;  // of the compiler's own recursion: references can chain without nesting

constexpr std::size_t kPatternStatesMax = 3000;  // of one pattern
// To find them, for all patterns of a schema: some ten milliseconds.
constexpr std::size_t kPatternWorkMax = 4'000'000;

struct Property {
  std::string_view name;
  const json::Value* schema = nullptr;  // null: any value
  bool required = false;
  NodeId rule = 0;  // key, ':' and value
};

/// From schema objects to rules, each once; a reference is the rule of what it points to, so that recursion
/// is a call.
class Compiler {
 public:
  Compiler(const json::Value& root, const SchemaLimits& limits)
      : root_(root), limits_(limits), builder_(limits.nodes), exclusion_(root) {}

  absl::StatusOr<std::shared_ptr<const Grammar>> Run() {
    BATON_ASSIGN_OR_RETURN(const NodeId root, RuleOf(root_, ""));
    if (builder_.Full()) return TooLarge();
    auto grammar = std::make_shared<const Grammar>(std::move(builder_).Build(root));
    if (grammar->LeftRecursive())
      return Error(kInvalidArgument, "the schema refers to itself with nothing between");
    if (!grammar->Satisfiable()) return Error(kInvalidArgument, "no value satisfies the schema");
    return grammar;
  }

 private:
  absl::Status TooLarge() const {
    return Error(kInvalidArgument, "the schema needs more than {} states", limits_.nodes);
  }
  absl::StatusOr<NodeId> RuleOf(const json::Value& schema, const std::string& pointer) {
    if (const auto found = rules_.find(&schema); found != rules_.end()) return found->second;
    if (builder_.Full()) return TooLarge();
    if (++depth_ > kDepthMax)
      return Error(kInvalidArgument, "more than {} schemas lie inside or refer to each other at '{}'",
                   kDepthMax, pointer);
    const NodeId rule = builder_.AddNode();
    rules_[&schema] = rule;
    BATON_RETURN_IF_ERROR(Fill(rule, schema, pointer));
    --depth_;
    return rule;
  }
  absl::Status Fill(NodeId rule, const json::Value& schema, const std::string& pointer);
  absl::Status FillKinds(NodeId rule, unsigned kinds, const json::Value& schema, const std::string& pointer);
  absl::Status FillFormat(NodeId rule, const json::Value& schema, const std::string& pointer);
  absl::Status FillPattern(NodeId rule, const json::Value& schema, const std::string& pointer);
  absl::Status FillNumber(NodeId rule, bool fractions, const json::Value& schema, const std::string& pointer);
  absl::Status FillAlternatives(NodeId rule, const json::Value& list, const std::string& pointer);
  absl::Status CheckExclusive(const json::Array& schemas, const std::string& pointer);
  absl::Status FillEnum(NodeId rule, const json::Array& values, const json::Value& schema,
                        const std::string& pointer);
  absl::Status FillReference(NodeId rule, const json::Value& reference, const std::string& pointer);
  absl::Status FillArray(NodeId rule, const json::Value& schema, const std::string& pointer);
  absl::Status FillObject(NodeId rule, const json::Value& schema, const std::string& pointer);
  absl::StatusOr<std::vector<Property>> PropertiesOf(const json::Value& schema, const std::string& pointer,
                                                     bool closed);
  /// The rule of one property that the schema does not name; nothing where there may be none.
  absl::StatusOr<std::optional<NodeId>> FreeMember(const json::Value& schema, const std::string& pointer,
                                                   const std::vector<Property>& properties);
  void Members(NodeId rule, const std::vector<Property>& properties, std::optional<NodeId> free_member);
  /// `rule` is what the rule `target` is.
  void Become(NodeId rule, NodeId target) { builder_.Call(rule, target, builder_.AddNode(true)); }

  const json::Value& root_;
  const SchemaLimits& limits_;
  std::size_t pattern_work_ = kPatternWorkMax;  // left
  Builder builder_;
  Exclusion exclusion_;
  std::map<const json::Value*, NodeId> rules_;
  int depth_ = 0;
};

absl::Status Compiler::Fill(NodeId rule, const json::Value& schema, const std::string& pointer) {
  if (const bool* any = schema.AsBool(); any != nullptr) {
    if (*any) Become(rule, builder_.AnyValue());
    return {};  // `false`: nothing leads on
  }
  const json::Object* object = schema.AsObject();
  if (object == nullptr) return Error(kInvalidArgument, "the schema at '{}' is no object", pointer);
  BATON_RETURN_IF_ERROR(CheckKeywords(*object, pointer));
  if (const json::Value* reference = schema.Find("$ref"); reference != nullptr) {
    BATON_RETURN_IF_ERROR(CheckAlone(*object, pointer, "$ref"));
    return FillReference(rule, *reference, pointer);
  }
  for (const std::string_view name : {"anyOf", "oneOf", "allOf"}) {
    const json::Value* list = schema.Find(name);
    if (list == nullptr) continue;
    BATON_RETURN_IF_ERROR(CheckAlone(*object, pointer, name));
    if (list->AsArray() == nullptr || list->AsArray()->empty()) {
      return Error(kInvalidArgument, "'{}' at '{}' must be a list of schemas", name, pointer);
    }
    if (name == "allOf" && list->AsArray()->size() != 1) {
      return Error(kInvalidArgument, "'allOf' at '{}' with more than one schema is not supported", pointer);
    }
    if (name == "oneOf") BATON_RETURN_IF_ERROR(CheckExclusive(*list->AsArray(), pointer));
    return FillAlternatives(rule, *list, Below(pointer, name));
  }
  if (const json::Value* value = schema.Find("const"); value != nullptr) {
    BATON_RETURN_IF_ERROR(CheckAlone(*object, pointer, "const", "type"));
    return FillEnum(rule, {*value}, schema, pointer);
  }
  if (const json::Value* values = schema.Find("enum"); values != nullptr) {
    BATON_RETURN_IF_ERROR(CheckAlone(*object, pointer, "enum", "type"));
    if (values->AsArray() == nullptr)
      return Error(kInvalidArgument, "'enum' at '{}' must be a list", pointer);
    return FillEnum(rule, *values->AsArray(), schema, pointer);
  }
  BATON_ASSIGN_OR_RETURN(const unsigned kinds, KindsOf(schema, pointer));
  return FillKinds(rule, kinds, schema, pointer);
}

absl::Status Compiler::FillKinds(NodeId rule, unsigned kinds, const json::Value& schema,
                                 const std::string& pointer) {
  if ((kinds & kNull) != 0) Become(rule, builder_.Null());
  if ((kinds & kBoolean) != 0) Become(rule, builder_.Boolean());
  if ((kinds & (kInteger | kNumber)) != 0) {
    BATON_RETURN_IF_ERROR(FillNumber(rule, (kinds & kNumber) != 0, schema, pointer));
  }
  if ((kinds & kString) != 0 && schema.Find("format") != nullptr) {
    BATON_RETURN_IF_ERROR(FillFormat(rule, schema, pointer));
  } else if ((kinds & kString) != 0 && schema.Find("pattern") != nullptr) {
    BATON_RETURN_IF_ERROR(FillPattern(rule, schema, pointer));
  } else if ((kinds & kString) != 0) {
    BATON_ASSIGN_OR_RETURN(const Builder::Counts counts,
                           CountsOf(schema, pointer, "minLength", "maxLength", limits_));
    const bool any = counts.least == 0 && !counts.most;
    Become(rule, any ? builder_.AnyString() : builder_.StringOf(counts));
  }
  if ((kinds & kArray) != 0) BATON_RETURN_IF_ERROR(FillArray(rule, schema, pointer));
  if ((kinds & kObject) != 0) BATON_RETURN_IF_ERROR(FillObject(rule, schema, pointer));
  return {};
}

absl::Status Compiler::FillFormat(NodeId rule, const json::Value& schema, const std::string& pointer) {
  const std::string* format = schema.Find("format")->AsString();
  if (format == nullptr) return Error(kInvalidArgument, "'format' at '{}' must be a string", pointer);
  for (const std::string_view name : {"minLength", "maxLength", "pattern"}) {
    if (schema.Find(name) == nullptr) continue;
    return Error(kInvalidArgument, "keyword '{}' at '{}' is not supported beside 'format'", name, pointer);
  }
  const std::optional<NodeId> text = builder_.StringOfFormat(*format);
  if (!text) {
    return Error(kInvalidArgument,
                 "this 'format' at '{}' is not supported: date, time, date-time, uuid and ipv4 are", pointer);
  }
  Become(rule, *text);
  return {};
}

absl::Status Compiler::FillPattern(NodeId rule, const json::Value& schema, const std::string& pointer) {
  const std::string* text = schema.Find("pattern")->AsString();
  if (text == nullptr) return Error(kInvalidArgument, "'pattern' at '{}' must be a string", pointer);
  const absl::StatusOr<Pattern> pattern = ParsePattern(*text);
  if (!pattern.ok())
    return Error(kInvalidArgument, "'pattern' at '{}': {}", pointer, Message(pattern.status()));
  BATON_ASSIGN_OR_RETURN(const Builder::Counts counts,
                         CountsOf(schema, pointer, "minLength", "maxLength", limits_));
  if (counts.least > pattern->shortest || (counts.most && *counts.most < pattern->longest)) {
    return Error(
        kInvalidArgument,
        "'minLength' and 'maxLength' at '{}' are not supported where 'pattern' allows other lengths: "
        "write them into the pattern",
        pointer);
  }
  const std::optional<PatternStates> states = StatesOf(*pattern, kPatternStatesMax, pattern_work_);
  if (!states) {
    return Error(
        kInvalidArgument,
        "'pattern' at '{}' is too large or too ambiguous: it needs more than {} states, or {} places "
        "between characters when written out, or all patterns of the schema together take too long",
        pointer, kPatternStatesMax, kPlacesOfEachState * kPatternStatesMax);
  }
  Become(rule, builder_.StringOfPattern(*states));
  return {};
}

absl::Status Compiler::FillNumber(NodeId rule, bool fractions, const json::Value& schema,
                                  const std::string& pointer) {
  BATON_ASSIGN_OR_RETURN(const std::optional<IntegerRange> range, RangeOf(schema, pointer));
  if (!range) {
    Become(rule, fractions ? builder_.AnyNumber() : builder_.AnyInteger());
    return {};
  }
  if (!fractions) {
    Become(rule, builder_.IntegerBetween(range->low, range->high));
    return {};
  }
  const json::Value* minimum = schema.Find("minimum");
  const bool from_zero = minimum != nullptr && minimum->Number() == 0 && schema.Find("maximum") == nullptr &&
                         schema.Find("exclusiveMinimum") == nullptr &&
                         schema.Find("exclusiveMaximum") == nullptr;
  Become(rule, from_zero ? builder_.NumberFromZero() : builder_.NumberBetween(FractionsOf(schema), *range));
  return {};
}

/// A grammar lets through what any of its alternatives does: right for `oneOf` where no value is of two.
absl::Status Compiler::CheckExclusive(const json::Array& schemas, const std::string& pointer) {
  for (std::size_t i = 0; i < schemas.size() && schemas.size() <= limits_.alternatives; ++i) {
    for (std::size_t j = i + 1; j < schemas.size(); ++j) {
      if (exclusion_.Exclude(schemas[i], schemas[j])) continue;
      return Error(kInvalidArgument,
                   "a value may fit schemas {} and {} of 'oneOf' at '{}': give them different types, or a "
                   "required property with different constants; or write 'anyOf'",
                   i, j, pointer);
    }
  }
  return {};
}

absl::Status Compiler::FillAlternatives(NodeId rule, const json::Value& list, const std::string& pointer) {
  const json::Array& schemas = *list.AsArray();
  if (schemas.size() > limits_.alternatives) {
    return Error(kInvalidArgument, "more than {} schemas at '{}'", limits_.alternatives, pointer);
  }
  for (std::size_t i = 0; i < schemas.size(); ++i) {
    BATON_ASSIGN_OR_RETURN(const NodeId target, RuleOf(schemas[i], Below(pointer, std::to_string(i))));
    Become(rule, target);
  }
  return {};
}

absl::Status Compiler::FillEnum(NodeId rule, const json::Array& values, const json::Value& schema,
                                const std::string& pointer) {
  if (values.size() > limits_.enum_values) {
    return Error(kInvalidArgument, "'enum' at '{}' has more than {} values", pointer, limits_.enum_values);
  }
  unsigned kinds = kEverything;
  if (schema.Find("type") != nullptr) {
    BATON_ASSIGN_OR_RETURN(kinds, KindsOf(schema, pointer));
  }
  // One trie, so that a text with a thousand values is still one reading.
  std::map<std::pair<NodeId, char>, NodeId> next;
  for (const json::Value& value : values) {
    if ((KindOf(value) & kinds) == 0) continue;
    NodeId at = rule;
    for (const char byte : json::Serialize(value)) {
      const auto [found, fresh] = next.try_emplace({at, byte}, 0);
      if (fresh) {
        found->second = builder_.AddNode();
        builder_.Byte(at, byte, found->second);
      }
      at = found->second;
      if (builder_.Full()) return TooLarge();
    }
    builder_.SetFinal(at);
  }
  return {};
}

/// "#", "#/$defs/NAME" or "#/definitions/NAME".
absl::Status Compiler::FillReference(NodeId rule, const json::Value& reference, const std::string& pointer) {
  const std::string* text = reference.AsString();
  if (text == nullptr) return Error(kInvalidArgument, "'$ref' at '{}' must be a string", pointer);
  if (const json::Value* schema = Referred(root_, *text); schema != nullptr) {
    BATON_ASSIGN_OR_RETURN(const NodeId target, RuleOf(*schema, text->substr(1)));
    Become(rule, target);
    return {};
  }
  return Error(kInvalidArgument,
               "'$ref' at '{}' must be '#' or name a schema in '#/$defs' or '#/definitions'", pointer);
}

absl::Status Compiler::FillArray(NodeId rule, const json::Value& schema, const std::string& pointer) {
  BATON_ASSIGN_OR_RETURN(Builder::Counts counts, CountsOf(schema, pointer, "minItems", "maxItems", limits_));
  std::vector<NodeId> places;
  if (const json::Value* prefix = schema.Find("prefixItems"); prefix != nullptr) {
    const json::Array* schemas = prefix->AsArray();
    if (schemas == nullptr || static_cast<std::int64_t>(schemas->size()) > limits_.count) {
      return Error(kInvalidArgument, "'prefixItems' at '{}' must be a list of at most {} schemas", pointer,
                   limits_.count);
    }
    const std::string below = Below(pointer, "prefixItems");
    for (std::size_t i = 0; i < schemas->size(); ++i) {
      BATON_ASSIGN_OR_RETURN(const NodeId place, RuleOf((*schemas)[i], Below(below, std::to_string(i))));
      places.push_back(place);
    }
  }
  const json::Value* items = schema.Find("items");
  NodeId others = 0;
  if (items != nullptr) {
    BATON_ASSIGN_OR_RETURN(others, RuleOf(*items, Below(pointer, "items")));
  } else {
    others = builder_.AnyValue();
  }
  const NodeId end = builder_.AddNode(true);
  NodeId at = builder_.AddNode();
  builder_.Byte(rule, '[', at);
  const auto fixed = static_cast<std::int64_t>(places.size());
  for (std::int64_t count = 0; !builder_.Full(); ++count) {
    if (count >= counts.least) builder_.Byte(at, ']', end);
    if (counts.most && count >= *counts.most) break;
    const NodeId before = count == 0 ? at : builder_.Separator(at, ',');
    const NodeId item = count < fixed ? places[static_cast<std::size_t>(count)] : others;
    // Without an end the last of the counted places repeats itself.
    const bool repeats = !counts.most && count >= std::max({counts.least, fixed, std::int64_t{1}});
    const NodeId next = repeats ? at : builder_.AddNode();
    builder_.Call(before, item, next);
    if (repeats) break;
    at = next;
  }
  return {};
}

absl::StatusOr<std::vector<Property>> Compiler::PropertiesOf(const json::Value& schema,
                                                             const std::string& pointer, bool closed) {
  std::vector<Property> out;
  if (const json::Value* properties = schema.Find("properties"); properties != nullptr) {
    if (properties->AsObject() == nullptr)
      return Error(kInvalidArgument, "'properties' at '{}' must be an object", pointer);
    for (const auto& [name, property] : *properties->AsObject())
      out.push_back({.name = name, .schema = &property, .required = false, .rule = 0});
  }
  if (const json::Value* required = schema.Find("required"); required != nullptr) {
    if (required->AsArray() == nullptr)
      return Error(kInvalidArgument, "'required' at '{}' must be a list", pointer);
    for (const json::Value& name : *required->AsArray()) {
      const std::string* text = name.AsString();
      if (text == nullptr) return Error(kInvalidArgument, "'required' at '{}' must have strings", pointer);
      const auto found =
          std::find_if(out.begin(), out.end(), [&](const Property& p) { return p.name == *text; });
      if (found != out.end()) {
        found->required = true;
      } else if (closed) {
        return Error(kInvalidArgument, "'required' at '{}' names a property that may not be there", pointer);
      } else {
        const json::Value* others = schema.Find("additionalProperties");
        out.push_back({.name = *text, .schema = others, .required = true, .rule = 0});
      }
      if (out.size() > limits_.properties) break;
    }
  }
  if (out.size() > limits_.properties) {
    return Error(kInvalidArgument, "the object at '{}' has more than {} properties", pointer,
                 limits_.properties);
  }
  return out;
}

absl::StatusOr<std::optional<NodeId>> Compiler::FreeMember(const json::Value& schema,
                                                           const std::string& pointer,
                                                           const std::vector<Property>& properties) {
  const json::Value* others = schema.Find("additionalProperties");
  if (others == nullptr && !properties.empty()) return std::optional<NodeId>();
  if (others != nullptr && others->AsBool() != nullptr && !*others->AsBool()) return std::optional<NodeId>();
  NodeId value = 0;
  if (others != nullptr) {
    BATON_ASSIGN_OR_RETURN(value, RuleOf(*others, Below(pointer, "additionalProperties")));
  } else {
    value = builder_.AnyValue();
  }
  std::vector<std::string_view> taken;
  for (const Property& property : properties) taken.push_back(property.name);
  const NodeId rule = builder_.AddNode();
  const NodeId key = builder_.AddNode();
  builder_.Call(rule, builder_.KeyOtherThan(taken), key);
  builder_.Call(builder_.Separator(key, ':'), value, builder_.AddNode(true));
  return std::optional<NodeId>(rule);
}

/// Two rows of nodes, one place a property: before the first member that is there, and after one.
void Compiler::Members(NodeId rule, const std::vector<Property>& properties,
                       std::optional<NodeId> free_member) {
  const NodeId end = builder_.AddNode(true);
  NodeId none = builder_.AddNode();
  NodeId some = builder_.AddNode();
  builder_.Byte(rule, '{', none);
  for (const Property& property : properties) {
    const NodeId next_some = builder_.AddNode();
    const NodeId next_none = builder_.AddNode();
    builder_.Call(none, property.rule, next_some);
    builder_.Call(builder_.Separator(some, ','), property.rule, next_some);
    if (!property.required) {
      builder_.Skip(none, next_none);
      builder_.Skip(some, next_some);
    }
    none = next_none;
    some = next_some;
  }
  builder_.Byte(none, '}', end);
  builder_.Byte(some, '}', end);
  if (!free_member) return;
  builder_.Call(none, *free_member, some);
  builder_.Call(builder_.Separator(some, ','), *free_member, some);
}

absl::Status Compiler::FillObject(NodeId rule, const json::Value& schema, const std::string& pointer) {
  const json::Value* others = schema.Find("additionalProperties");
  const bool closed = others != nullptr && others->AsBool() != nullptr && !*others->AsBool();
  BATON_ASSIGN_OR_RETURN(std::vector<Property> properties, PropertiesOf(schema, pointer, closed));
  for (Property& property : properties) {
    NodeId value = builder_.AnyValue();
    if (property.schema != nullptr) {
      const std::string below = Below(Below(pointer, "properties"), property.name);
      BATON_ASSIGN_OR_RETURN(value, RuleOf(*property.schema, below));
    }
    std::string key;
    json::AppendQuoted(key, property.name);
    property.rule = builder_.AddNode();
    const NodeId colon = builder_.Separator(builder_.Literal(property.rule, key), ':');
    builder_.Call(colon, value, builder_.AddNode(true));
  }
  BATON_ASSIGN_OR_RETURN(const std::optional<NodeId> free_member, FreeMember(schema, pointer, properties));
  Members(rule, properties, free_member);
  return {};
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Grammar>> FromSchema(std::string_view schema,
                                                          const SchemaLimits& limits) {
  if (schema.size() > limits.bytes)
    return Error(kInvalidArgument, "the schema is longer than {} bytes", limits.bytes);
  const auto value =
      json::Parse(schema, {.bytes = limits.bytes, .depth = limits.depth, .nodes = limits.bytes});
  if (!value.ok()) return Annotate(value.status(), "schema");
  return Compiler(*value, limits).Run();
}

std::shared_ptr<const Grammar> AnyJsonObject() {
  constexpr std::size_t kNodesMax = 1000;
  Builder builder(kNodesMax);
  const NodeId root = builder.AnyObject();
  return std::make_shared<const Grammar>(std::move(builder).Build(root));
}

absl::StatusOr<std::shared_ptr<const Grammar>> FromText(std::string_view text) {
  if (text == kAnyObjectText) return AnyJsonObject();
  return FromSchema(text);
}

}  // namespace baton::grammar
