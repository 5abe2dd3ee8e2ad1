#include "router/http/chat_fields.h"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

namespace baton::router {
namespace {

// Of an id or a name that a template may print: far beyond any that a server or a library makes.
constexpr std::size_t kLabelBytesMax = 256;

bool IsAbsent(const json::Value* value) {
  return value == nullptr || value->IsNull();
}

/// The text of a message: a string, or its text parts joined by newlines.
std::optional<ApiError> ReadContent(const json::Value& content, const std::string& path, std::string& out) {
  if (const std::string* text = content.AsString()) {
    out = *text;
    return std::nullopt;
  }
  const json::Array* parts = content.AsArray();
  if (parts == nullptr)
    return InvalidValue(path, fmt::format("'{}' must be a string or a list of parts", path));
  if (parts->empty()) return InvalidValue(path, fmt::format("'{}' must not be an empty list", path));
  for (std::size_t i = 0; i < parts->size(); ++i) {
    const json::Value* type = (*parts)[i].Find("type");
    const json::Value* text = (*parts)[i].Find("text");
    const std::string at = fmt::format("{}.{}", path, i);
    if (type == nullptr || type->AsString() == nullptr)
      return InvalidValue(at, fmt::format("'{}' has no type", at));
    if (*type->AsString() != "text")
      return UnsupportedParameter(at, "only parts of type 'text' are supported");
    if (text == nullptr || text->AsString() == nullptr) {
      return InvalidValue(at + ".text", fmt::format("'{}.text' must be a string", at));
    }
    if (i > 0) out += '\n';
    out += *text->AsString();
  }
  return std::nullopt;
}

/// A short text that goes to the template as it is; nothing where it is absent.
std::optional<ApiError> CopyLabel(const json::Value& from, std::string_view key, const std::string& path,
                                  json::Object& out) {
  const json::Value* value = from.Find(key);
  if (IsAbsent(value)) return std::nullopt;
  if (value->AsString() == nullptr || value->AsString()->size() > kLabelBytesMax) {
    const std::string at = fmt::format("{}.{}", path, key);
    return InvalidValue(at, fmt::format("'{}' must be a string of at most {} bytes", at, kLabelBytesMax));
  }
  out.emplace_back(key, *value->AsString());
  return std::nullopt;
}

/// The object that `arguments` are, written as JSON in a string or as it is.
std::optional<ApiError> ReadArguments(const json::Value* arguments, const std::string& path,
                                      json::Value& out) {
  if (IsAbsent(arguments)) return MissingParameter(path);
  out = *arguments;
  if (const std::string* text = arguments->AsString()) {
    absl::StatusOr<json::Value> parsed = json::Parse(text->empty() ? "{}" : *text, {.depth = 32});
    if (!parsed.ok()) return InvalidValue(path, fmt::format("'{}' must be a JSON object as a string", path));
    out = *std::move(parsed);
  }
  if (out.AsObject() == nullptr)
    return InvalidValue(path, fmt::format("'{}' must be a JSON object as a string", path));
  return std::nullopt;
}

std::optional<ApiError> ReadToolCall(const json::Value& call, const std::string& path, json::Array& out) {
  if (call.AsObject() == nullptr) return InvalidValue(path, fmt::format("'{}' must be an object", path));
  const json::Value* type = call.Find("type");
  if (!IsAbsent(type) && (type->AsString() == nullptr || *type->AsString() != "function"))
    return UnsupportedParameter(path + ".type", "only calls of type 'function' are supported");
  const json::Value* function = call.Find("function");
  if (IsAbsent(function)) return MissingParameter(path + ".function");
  const json::Value* name = function->Find("name");
  const std::string name_path = path + ".function.name";
  if (IsAbsent(name)) return MissingParameter(name_path);
  if (name->AsString() == nullptr || !IsFunctionName(*name->AsString()))
    return InvalidValue(name_path, fmt::format("'{}' must be a function's name", name_path));
  json::Value arguments;
  if (auto error = ReadArguments(function->Find("arguments"), path + ".function.arguments", arguments))
    return error;
  json::Object read;
  if (auto error = CopyLabel(call, "id", path, read)) return error;
  read.emplace_back("type", "function");
  read.emplace_back("function",
                    json::Object{{"name", *name->AsString()}, {"arguments", std::move(arguments)}});
  out.emplace_back(std::move(read));
  return std::nullopt;
}

/// `tool_calls` of an assistant's message; nothing where there are none.
std::optional<ApiError> ReadToolCalls(const json::Value& message, const std::string& path, bool assistant,
                                      std::size_t calls_max, json::Array& out) {
  const json::Value* calls = message.Find("tool_calls");
  if (IsAbsent(calls)) return std::nullopt;
  const std::string at = path + ".tool_calls";
  const json::Array* list = calls->AsArray();
  if (list == nullptr) return InvalidValue(at, fmt::format("'{}' must be a list", at));
  if (list->empty()) return std::nullopt;
  if (!assistant) return InvalidValue(at, fmt::format("'{}' is for messages of role assistant", at));
  if (list->size() > calls_max) return InvalidValue(at, fmt::format("at most {} tool calls", calls_max));
  for (std::size_t i = 0; i < list->size(); ++i) {
    if (auto error = ReadToolCall((*list)[i], fmt::format("{}.{}", at, i), out)) return error;
  }
  return std::nullopt;
}

std::optional<ApiError> ReadRole(const json::Value& message, const std::string& path, std::string& out) {
  constexpr auto kRoles =
      std::to_array<std::string_view>({"system", "developer", "user", "assistant", "tool", "function"});
  const json::Value* role = message.Find("role");
  if (IsAbsent(role)) return MissingParameter(path + ".role");
  if (role->AsString() == nullptr ||
      std::find(kRoles.begin(), kRoles.end(), *role->AsString()) == kRoles.end()) {
    return InvalidValue(path + ".role", fmt::format("'{}.role' must be one of {}", path,
                                                    fmt::join(kRoles.begin(), kRoles.end(), ", ")));
  }
  out = *role->AsString();
  return std::nullopt;
}

/// What this server does not do: older calls, sound.
std::optional<ApiError> RefuseUnsupported(const json::Value& message, const std::string& path) {
  for (const std::string_view key : {"function_call", "audio"}) {
    const json::Value* value = message.Find(key);
    const bool nothing = IsAbsent(value) || (value->AsArray() != nullptr && value->AsArray()->empty());
    if (!nothing)
      return UnsupportedParameter(fmt::format("{}.{}", path, key),
                                  "'function_call' (use 'tool_calls') and 'audio' are not supported");
  }
  return std::nullopt;
}

std::optional<ApiError> ReadMessage(const json::Value& message, const std::string& path,
                                    const RequestLimits& limits, json::Object& out) {
  if (message.AsObject() == nullptr) return InvalidValue(path, fmt::format("'{}' must be an object", path));
  std::string role;
  if (auto error = ReadRole(message, path, role)) return error;
  if (auto error = RefuseUnsupported(message, path)) return error;
  json::Array calls;
  if (auto error = ReadToolCalls(message, path, role == "assistant", limits.tools_max, calls)) return error;
  const json::Value* content = message.Find("content");
  json::Value shown;
  if (!IsAbsent(content)) {
    std::string text;
    if (auto error = ReadContent(*content, path + ".content", text)) return error;
    shown = std::move(text);
  } else if (calls.empty()) {
    return MissingParameter(path + ".content");
  }
  out.emplace_back("role", std::move(role));
  out.emplace_back("content", std::move(shown));
  for (const std::string_view key : {"name", "tool_call_id"}) {
    if (auto error = CopyLabel(message, key, path, out)) return error;
  }
  if (const json::Value* thought = message.Find("reasoning_content"); !IsAbsent(thought)) {
    const std::string at = path + ".reasoning_content";
    if (thought->AsString() == nullptr) return InvalidValue(at, fmt::format("'{}' must be a string", at));
    out.emplace_back("reasoning_content", *thought);
  }
  if (!calls.empty()) out.emplace_back("tool_calls", std::move(calls));
  return std::nullopt;
}

}  // namespace

bool IsFunctionName(std::string_view name) {
  constexpr std::size_t kBytesMax = 64;
  return !name.empty() && name.size() <= kBytesMax && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  });
}

void ReadMessages(Fields& fields, const RequestLimits& limits, GenerationRequest& out) {
  const json::Value* value = fields.Take("messages");
  if (value == nullptr) return fields.Fail(MissingParameter("messages"));
  const json::Array* list = value->AsArray();
  if (list == nullptr) return fields.FailKind("messages", "a list", *value);
  if (list->empty()) return fields.Fail(InvalidValue("messages", "'messages' must not be empty"));
  if (list->size() > limits.messages_max) {
    return fields.Fail(InvalidValue("messages", fmt::format("at most {} messages", limits.messages_max)));
  }
  for (std::size_t i = 0; i < list->size(); ++i) {
    json::Object message;
    if (auto error = ReadMessage((*list)[i], fmt::format("messages.{}", i), limits, message))
      return fields.Fail(*std::move(error));
    out.messages.emplace_back(std::move(message));
  }
}

}  // namespace baton::router
