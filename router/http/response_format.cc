#include "router/http/response_format.h"

#include <string>

#include "common/base/error.h"
#include "common/grammar/schema.h"

namespace baton::router {

void ReadResponseFormat(Fields& fields, GenerationRequest& out) {
  const json::Value* format = fields.Take("response_format");
  if (format == nullptr) return;
  if (format->AsObject() == nullptr) return fields.FailKind("response_format", "an object", *format);
  const json::Value* type = format->Find("type");
  const std::string* name = type == nullptr ? nullptr : type->AsString();
  if (name == nullptr) return fields.Fail(MissingParameter("response_format.type"));
  if (*name == "text") return;
  if (*name == "json_object") {
    out.grammar = grammar::kAnyObjectText;
    return;
  }
  if (*name != "json_schema") {
    return fields.Fail(InvalidValue("response_format.type",
                                    "'response_format.type' must be text, json_object or json_schema"));
  }
  const json::Value* outer = format->Find("json_schema");
  const json::Value* schema = outer == nullptr ? nullptr : outer->Find("schema");
  if (schema == nullptr || schema->IsNull())
    return fields.Fail(MissingParameter("response_format.json_schema.schema"));
  out.grammar = json::Serialize(*schema);
  if (const auto compiled = grammar::FromSchema(out.grammar); !compiled.ok())
    fields.Fail(InvalidValue("response_format.json_schema.schema", Message(compiled.status())));
}

}  // namespace baton::router
