#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "common/base/clock.h"
#include "common/base/ids.h"
#include "router/answer.h"

/// What follows an attempt that failed. Pure.
namespace baton::router {

struct ResumeLimits {
  int attempts = 5;  // of a request, the first among them; 1: no failure is hidden
};

/// The client's code for what a worker says went wrong; unknown words are never passed on.
[[nodiscard]] std::string_view ClientCode(std::string_view worker_code);

/// How long the request waits before it is placed again; nothing where it is not: what went wrong would go
/// wrong again, or has too often. The first time it does not wait, for that is the gap that a client sees;
/// later longer and longer, so that who fails has been noticed by then.
[[nodiscard]] std::optional<Duration> PauseBeforeNext(Attempt failed, std::string_view client_code,
                                                      const ResumeLimits& limits);

/// The tokens that an attempt computes before it makes new ones.
struct Beginning {
  std::shared_ptr<const std::vector<TokenId>> tokens;
  std::int64_t resumed = 0;  // of them, at the end: the answer's
};

/// One answer goes on after its last token. Several begin anew, from the prompt that they share: the same
/// tokens come again, and `Answer` drops those that it has.
[[nodiscard]] Beginning BeginningOf(const std::shared_ptr<const std::vector<TokenId>>& prompt,
                                    const std::vector<Answer>& answers);

}  // namespace baton::router
