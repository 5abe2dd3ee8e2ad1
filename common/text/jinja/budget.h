#pragma once

#include <cstddef>

#include <absl/status/status.h>

#include "common/base/error.h"

namespace baton::text::jinja {

/// What one rendering may use. A template of a few kilobytes with a thousand messages needs some ten thousand
/// steps.
class Budget {
 public:
  /// One expression or statement.
  [[nodiscard]] absl::Status Step() {
    if (steps_ == 0) return Error(kResourceExhausted, "the template takes too many steps");
    --steps_;
    return absl::OkStatus();
  }
  /// The looking at `count` bytes or elements, of which many make a step.
  [[nodiscard]] absl::Status Look(std::size_t count) {
    const std::size_t steps = count / 64;
    if (steps > steps_) return Error(kResourceExhausted, "the template takes too many steps");
    steps_ -= steps;
    return absl::OkStatus();
  }
  /// A value of `bytes` that is about to be made.
  [[nodiscard]] absl::Status Make(std::size_t bytes) {
    if (bytes > bytes_) return Error(kResourceExhausted, "the template makes too much text");
    bytes_ -= bytes;
    return absl::OkStatus();
  }

 private:
  std::size_t steps_ = 2'000'000;
  std::size_t bytes_ = 256U << 20;  // of all intermediate values; a request's text is copied some five times
};

}  // namespace baton::text::jinja
