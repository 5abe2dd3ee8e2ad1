#pragma once

#include <mutex>

namespace baton {

/// The project's mutex. Debian's `absl::Mutex` gives false races under ThreadSanitizer, so it wraps the
/// standard's. Never held across a callback.
using Mutex = std::mutex;
using MutexLock = std::scoped_lock<std::mutex>;

}  // namespace baton
