#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "common/base/clock.h"
#include "common/base/ids.h"

namespace baton::router {

/// KV of an answer that has ended, on its way from decode to a prefill worker.
struct GiveBack {
  RequestKey source;  // the attempt that wrote it
  RequestKey target;  // the transfer's
  WorkerId from;
  WorkerId to;
  std::int64_t positions = 0;              // prompt and answer, whole blocks
  std::optional<std::int64_t> first = {};  // the others are being sent
  std::vector<std::uint64_t> names = {};
};

/// How long decode keeps an ended answer's KV unasked. The question takes a few milliseconds, and where it is
/// not going to be asked the router says so; this is for when the router cannot.
inline constexpr Duration kKeepAnswer = std::chrono::seconds(1);

}  // namespace baton::router
