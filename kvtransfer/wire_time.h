#pragma once

#include <algorithm>
#include <vector>

#include "common/base/clock.h"

namespace baton::kvtransfer {

/// When messages of one transfer were on the wire: their times as a union, since they overlap. Pure.
class WireTime {
 public:
  void Add(TimePoint begun, TimePoint ended) {
    Span span{.from = begun, .until = ended};
    while (!spans_.empty() && spans_.back().until >= span.from) {  // they end in order, or nearly
      span = {.from = std::min(span.from, spans_.back().from),
              .until = std::max(span.until, spans_.back().until)};
      spans_.pop_back();
    }
    spans_.push_back(span);
  }
  /// How long something was on the wire from `moment` on.
  [[nodiscard]] Duration Since(TimePoint moment) const {
    Duration sum{};
    for (const Span& span : spans_)
      sum += std::max(Duration::zero(), span.until - std::max(span.from, moment));
    return sum;
  }
  [[nodiscard]] Duration Whole() const { return Since(TimePoint::min()); }
  [[nodiscard]] bool Empty() const { return spans_.empty(); }
  /// Where it is not empty.
  [[nodiscard]] TimePoint Begin() const { return spans_.front().from; }

 private:
  struct Span {
    TimePoint from;
    TimePoint until;
  };
  std::vector<Span> spans_;  // disjoint, in order
};

}  // namespace baton::kvtransfer
