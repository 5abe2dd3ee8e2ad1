#include "router/http/stop_scanner.h"

#include <algorithm>
#include <utility>

namespace baton::router {

StopScanner::Piece StopScanner::Push(std::string_view text) {
  if (stops_.empty()) return {.text = std::string(text), .stop = std::nullopt};
  held_ += text;
  const std::string* found = nullptr;
  std::size_t begin = 0;
  for (const std::string& stop : stops_) {
    const std::size_t at = held_.find(stop);
    if (at == std::string::npos) continue;
    const std::size_t end = at + stop.size();
    const std::size_t best = found == nullptr ? 0 : begin + found->size();
    if (found == nullptr || end < best || (end == best && at < begin)) {
      found = &stop;
      begin = at;
    }
  }
  if (found != nullptr) {
    Piece piece{.text = held_.substr(0, begin + (include_ ? found->size() : 0)), .stop = *found};
    held_.clear();
    return piece;
  }
  const std::size_t shown = held_.size() - HeldBytes();
  Piece piece{.text = held_.substr(0, shown), .stop = std::nullopt};
  held_.erase(0, shown);
  return piece;
}

std::size_t StopScanner::HeldBytes() const {
  std::size_t longest = 0;
  for (const std::string& stop : stops_) {
    for (std::size_t length = std::min(stop.size() - 1, held_.size()); length > longest; --length) {
      if (held_.ends_with(std::string_view(stop).substr(0, length))) {
        longest = length;
        break;
      }
    }
  }
  return longest;
}

std::string StopScanner::Flush() {
  return std::exchange(held_, {});
}

}  // namespace baton::router
