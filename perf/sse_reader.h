#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

#include <absl/status/status.h>

namespace baton::perf {

/// Cuts a body of server-sent events into the events' data, and holds the server to the framing that the
/// pickiest clients need: "data: " with its space, LF alone, one line an event, comments between events. Not
/// thread-safe.
class SseReader {
 public:
  using OnEvent = std::function<void(std::string_view data)>;

  /// Takes the next bytes of the body and hands out each event that they complete. InvalidArgument says which
  /// line breaks the framing.
  [[nodiscard]] absl::Status Push(std::string_view bytes, const OnEvent& on_event);
  /// Whether the body may end here: no event has begun.
  [[nodiscard]] bool BetweenEvents() const { return held_.empty(); }

 private:
  std::string held_;  // the beginning of an event
};

}  // namespace baton::perf
