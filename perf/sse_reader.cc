#include "perf/sse_reader.h"

#include "common/base/error.h"

namespace baton::perf {
namespace {

constexpr std::string_view kPrefix = "data: ";

absl::Status HandOut(std::string_view event, const SseReader::OnEvent& on_event) {
  if (event.find('\r') != std::string_view::npos) {
    return Error(kInvalidArgument, "event with a carriage return: '{}'", event);
  }
  if (event.starts_with(':')) return absl::OkStatus();  // a comment keeps the connection alive
  if (!event.starts_with(kPrefix)) return Error(kInvalidArgument, "event without 'data: ': '{}'", event);
  if (event.find('\n') != std::string_view::npos)
    return Error(kInvalidArgument, "event of several lines: '{}'", event);
  on_event(event.substr(kPrefix.size()));
  return absl::OkStatus();
}

}  // namespace

absl::Status SseReader::Push(std::string_view bytes, const OnEvent& on_event) {
  held_.append(bytes);
  std::size_t begin = 0;
  for (std::size_t end = held_.find("\n\n"); end != std::string::npos; end = held_.find("\n\n", begin)) {
    BATON_RETURN_IF_ERROR(HandOut(std::string_view(held_).substr(begin, end - begin), on_event));
    begin = end + 2;
  }
  held_.erase(0, begin);
  return absl::OkStatus();
}

}  // namespace baton::perf
