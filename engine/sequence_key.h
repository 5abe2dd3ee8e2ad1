#pragma once

#include <cstdint>
#include <utility>

#include "common/base/ids.h"

namespace baton::engine {

/// One of a request's answers.
struct SequenceKey {
  RequestKey request;
  std::int32_t sample = 0;
  friend constexpr auto operator<=>(const SequenceKey&, const SequenceKey&) = default;

  template <typename H>
  friend H AbslHashValue(H state, const SequenceKey& key) {
    return H::combine(std::move(state), key.request, key.sample);
  }
};

}  // namespace baton::engine
