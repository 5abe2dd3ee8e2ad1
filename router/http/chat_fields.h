#pragma once

#include "router/http/fields.h"
#include "router/http/request.h"

/// The messages of a chat. Private to this module.
namespace baton::router {

/// Reads `messages`: what a template sees, tool calls too. A call's arguments, a string of JSON on the wire,
/// become the object that they are.
void ReadMessages(Fields& fields, const RequestLimits& limits, GenerationRequest& out);

/// Whether `name` may name a function: 1 to 64 letters, digits, '_' and '-'.
[[nodiscard]] bool IsFunctionName(std::string_view name);

}  // namespace baton::router
