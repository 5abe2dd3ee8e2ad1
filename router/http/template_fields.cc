#include "router/http/template_fields.h"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

#include "router/http/chat_fields.h"

namespace baton::router {
namespace {

// Names that a template's text takes for granted: the server's to say, never the client's.
constexpr auto kReserved = std::to_array<std::string_view>({"messages",
                                                            "tools",
                                                            "documents",
                                                            "add_generation_prompt",
                                                            "continue_final_message",
                                                            "bos_token",
                                                            "eos_token",
                                                            "unk_token",
                                                            "pad_token",
                                                            "sep_token",
                                                            "cls_token",
                                                            "mask_token",
                                                            "tokenizer",
                                                            "chat_template",
                                                            "raise_exception",
                                                            "strftime_now",
                                                            "namespace",
                                                            "range",
                                                            "dict",
                                                            "loop",
                                                            "caller",
                                                            "self",
                                                            "true",
                                                            "false",
                                                            "none",
                                                            "True",
                                                            "False",
                                                            "None"});

bool IsVariableName(std::string_view name) {
  constexpr std::size_t kBytesMax = 64;
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  return !name.empty() && name.size() <= kBytesMax && letter(name[0]) &&
         std::all_of(name.begin(), name.end(), [&](char c) { return letter(c) || (c >= '0' && c <= '9'); });
}

/// One of `tools`; its name goes to `names`.
std::optional<ApiError> CheckTool(const json::Value& tool, const std::string& path,
                                  std::vector<std::string>& names) {
  if (tool.AsObject() == nullptr) return InvalidValue(path, fmt::format("'{}' must be an object", path));
  const json::Value* type = tool.Find("type");
  if (type == nullptr || type->AsString() == nullptr || *type->AsString() != "function")
    return UnsupportedParameter(path + ".type", "only tools of type 'function' are supported");
  const json::Value* function = tool.Find("function");
  const std::string at = path + ".function";
  if (function == nullptr || function->AsObject() == nullptr) return MissingParameter(at);
  const json::Value* name = function->Find("name");
  if (name == nullptr || name->IsNull()) return MissingParameter(at + ".name");
  if (name->AsString() == nullptr || !IsFunctionName(*name->AsString())) {
    return InvalidValue(at + ".name",
                        fmt::format("'{}.name' must be 1 to 64 of letters, digits, '_' and '-'", at));
  }
  if (std::find(names.begin(), names.end(), *name->AsString()) != names.end())
    return InvalidValue(at + ".name", "two tools have the same name");
  names.push_back(*name->AsString());
  const json::Value* description = function->Find("description");
  if (description != nullptr && !description->IsNull() && description->AsString() == nullptr)
    return InvalidValue(at + ".description", fmt::format("'{}.description' must be a string", at));
  const json::Value* parameters = function->Find("parameters");
  if (parameters != nullptr && !parameters->IsNull() && parameters->AsObject() == nullptr)
    return InvalidValue(at + ".parameters", fmt::format("'{}.parameters' must be an object", at));
  const json::Value* strict = function->Find("strict");
  const bool loose =
      strict == nullptr || strict->IsNull() || (strict->AsBool() != nullptr && !*strict->AsBool());
  if (!loose) return UnsupportedParameter(at + ".strict", "a call's arguments are not held to their schema");
  return std::nullopt;
}

void ReadToolList(Fields& fields, const RequestLimits& limits, std::optional<json::Array>& out) {
  const json::Value* value = fields.Take("tools");
  if (value == nullptr) return;
  const json::Array* list = value->AsArray();
  if (list == nullptr) return fields.FailKind("tools", "a list", *value);
  if (list->empty()) return;
  if (list->size() > limits.tools_max)
    return fields.Fail(InvalidValue("tools", fmt::format("at most {} tools", limits.tools_max)));
  std::vector<std::string> names;
  for (std::size_t i = 0; i < list->size(); ++i) {
    if (auto error = CheckTool((*list)[i], fmt::format("tools.{}", i), names))
      return fields.Fail(*std::move(error));
  }
  if (json::Serialize(*value).size() > limits.tools_bytes_max) {
    return fields.Fail(InvalidValue(
        "tools", fmt::format("the tools have more than {} bytes of JSON", limits.tools_bytes_max)));
  }
  out = *list;
}

void ReadTools(Fields& fields, const RequestLimits& limits, GenerationRequest& out) {
  ReadToolList(fields, limits, out.tools);
  const json::Value* choice = fields.Take("tool_choice");
  if (choice == nullptr) return;
  const std::string* name = choice->AsString();
  if (name != nullptr && *name == "none") {
    out.tools.reset();  // a model that knows of no tool calls none
  } else if (name == nullptr || *name != "auto") {
    fields.Fail(
        UnsupportedParameter("tool_choice", "'tool_choice' must be 'auto' or 'none': no call is forced"));
  }
}

void ReadDocuments(Fields& fields, const RequestLimits& limits, GenerationRequest& out) {
  const json::Value* value = fields.Take("documents");
  if (value == nullptr) return;
  const json::Array* list = value->AsArray();
  if (list == nullptr) return fields.FailKind("documents", "a list", *value);
  if (list->empty()) return;
  if (list->size() > limits.documents_max)
    return fields.Fail(InvalidValue("documents", fmt::format("at most {} documents", limits.documents_max)));
  for (std::size_t i = 0; i < list->size(); ++i) {
    if ((*list)[i].AsObject() != nullptr) continue;
    const std::string at = fmt::format("documents.{}", i);
    return fields.Fail(InvalidValue(at, fmt::format("'{}' must be an object", at)));
  }
  out.documents = *list;
}

void ReadVariables(Fields& fields, const RequestLimits& limits, GenerationRequest& out) {
  constexpr std::string_view kKey = "chat_template_kwargs";
  const json::Value* value = fields.Take(kKey);
  if (value == nullptr) return;
  const json::Object* object = value->AsObject();
  if (object == nullptr) return fields.FailKind(kKey, "an object", *value);
  const auto fail = [&](std::string message) { fields.Fail(InvalidValue(kKey, std::move(message))); };
  if (object->size() > limits.template_variables_max)
    return fail(fmt::format("'{}' has at most {} members", kKey, limits.template_variables_max));
  if (json::Serialize(*value).size() > limits.template_variables_bytes_max)
    return fail(fmt::format("'{}' has at most {} bytes", kKey, limits.template_variables_bytes_max));
  for (const auto& [name, member] : *object) {
    if (!IsVariableName(name))
      return fail(fmt::format("'{}': a name is 1 to 64 letters, digits and '_', no digit first", kKey));
    const auto reserved = std::find(kReserved.begin(), kReserved.end(), name);
    if (reserved != kReserved.end())
      return fail(fmt::format("'{}' must not have '{}': the server says it", kKey, *reserved));
  }
  out.template_variables = *object;
}

}  // namespace

void ReadTemplateInputs(Fields& fields, const RequestLimits& limits, GenerationRequest& out) {
  ReadTools(fields, limits, out);
  ReadDocuments(fields, limits, out);
  ReadVariables(fields, limits, out);
}

}  // namespace baton::router
