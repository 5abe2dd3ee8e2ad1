#pragma once

#include "router/http/fields.h"
#include "router/http/request.h"

namespace baton::router {

/// `response_format`: text, json_object or json_schema. A schema is compiled here, so that one that is
/// refused never reaches a worker. Private to this module.
void ReadResponseFormat(Fields& fields, GenerationRequest& out);

}  // namespace baton::router
