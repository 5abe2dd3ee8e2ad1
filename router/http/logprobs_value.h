#pragma once

#include <vector>

#include "common/json/value.h"
#include "router/http/response.h"

namespace baton::router {

/// The `logprobs` member of a choice; null where there are none. A token that is no whole character is told
/// by its bytes: chats have them beside a replacement character, completions write them as `bytes:\xe2`.
[[nodiscard]] json::Value LogprobsValue(Endpoint endpoint, const std::vector<ShownLogprobs>& logprobs);

}  // namespace baton::router
