#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "router/http/fields.h"
#include "router/http/request.h"

/// The members of a body that say how tokens are chosen and what is told of them. Private to this module.
namespace baton::router {

/// Token ids from an array whose members must all be ids of the vocabulary.
void ReadIds(Fields& fields, std::string_view key, const json::Array& array, std::int32_t vocabulary,
             std::vector<TokenId>& out);
void ReadSampling(Fields& fields, const RequestLimits& limits, GenerationRequest& out);
void ReadLogprobs(Fields& fields, GenerationRequest& out);
void ReadEcho(Fields& fields, GenerationRequest& out);

}  // namespace baton::router
