#pragma once

#include <cstdint>
#include <optional>

#include "router/dispatcher.h"
#include "router/http/request.h"
#include "router/model_info.h"

namespace baton::router {

/// Turns a checked body, or one of its prompts, into a job: renders the chat, tokenizes, fills in what the
/// client left open, checks lengths. The sink, the id and the times are the caller's. `fallback_seed` is used
/// where the client names none, so that every attempt of the request draws the same tokens. Pure, but for the
/// time that tokenizing takes; any thread.
[[nodiscard]] std::optional<ApiError> MakeJob(const GenerationRequest& request, const ModelInfo& model,
                                              std::int64_t context_tokens, std::uint64_t fallback_seed,
                                              Job& out, std::size_t prompt = 0);

}  // namespace baton::router
