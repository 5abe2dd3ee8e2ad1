#pragma once

#include <cstddef>

namespace baton {

enum class MemoryKind { kHost, kPinned, kDevice };

/// Bytes somewhere: what the KV transfer layer takes, so that it needs to know no backend. Owns nothing.
struct MemoryRegion {
  std::byte* address = nullptr;
  std::size_t bytes = 0;
  MemoryKind kind = MemoryKind::kHost;
  int device = 0;  // of kDevice: which GPU
};

}  // namespace baton
