#include "perf/pause.h"

#include <poll.h>

#include <algorithm>

namespace baton::perf {

void PauseUntil(TimePoint moment) {
  using std::chrono::seconds;
  const Duration left = std::max(moment - std::chrono::steady_clock::now(), Duration::zero());
  const auto whole = std::chrono::duration_cast<seconds>(left);
  const timespec time{.tv_sec = whole.count(), .tv_nsec = (left - whole).count()};
  ::ppoll(nullptr, 0, &time, nullptr);
}

}  // namespace baton::perf
