#pragma once

#include "common/base/clock.h"

namespace baton::perf {

/// Waits for a moment on the monotonic clock: an open loop's next arrival, or the next look at a counter. A
/// signal ends it early.
void PauseUntil(TimePoint moment);

}  // namespace baton::perf
