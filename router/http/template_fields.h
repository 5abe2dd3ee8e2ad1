#pragma once

#include "router/http/fields.h"
#include "router/http/request.h"

/// What a chat gives to the model's template beside its messages. Private to this module.
namespace baton::router {

/// Reads `tools` with `tool_choice`, `documents` and `chat_template_kwargs`. The template itself is never the
/// client's. Forced calls and functions with `strict` are refused: answers are not held to a tool's schema.
void ReadTemplateInputs(Fields& fields, const RequestLimits& limits, GenerationRequest& out);

}  // namespace baton::router
