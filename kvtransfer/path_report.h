#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kvtransfer/handoff.h"
#include "kvtransfer/memory_path.h"
#include "kvtransfer/transport.h"

/// What the speed of a worker's hand-offs depends on, said once at the start: an operator who finds transfers
/// slow reads the reasons in the log.
namespace baton::kvtransfer {

/// 0 where a number is not known.
struct PathFacts {
  std::string transport;  // "tcp"
  std::string device;     // "" = all interfaces
  std::int64_t mtu = 0;
  std::uint64_t memlock_bytes = 0;  // that this process may lock; the largest number: no limit
  std::uint64_t arena_bytes = 0;
  std::uint64_t huge_bytes = 0;  // of the arena's mapping, in huge pages now
  bool huge_pages_allowed = false;
  std::uint64_t block_bytes = 0;  // of one layer
  int layers = 0;
  bool checksum = true;
  MemoryPath path = MemoryPath::kInPlace;  // of KV that need not be converted
};

/// Reads what the kernel says about this process and its interface.
[[nodiscard]] PathFacts ReadPathFacts(const HandoffOptions& options, const Transport& transport,
                                      const ArenaView& arena, bool transport_reads_device = false);
/// Messages of a request of `blocks` blocks in the best case, one run a layer, and in the worst, each block
/// by itself.
struct MessageCounts {
  std::uint64_t best = 0;
  std::uint64_t worst = 0;
  std::uint64_t worst_message_bytes = 0;
};
[[nodiscard]] MessageCounts CountMessages(const PathFacts& facts, std::int64_t blocks);
/// What costs speed here, each with what to do about it; empty where nothing does.
[[nodiscard]] std::vector<std::string> WhySlow(const PathFacts& facts);
/// Logs all of it.
void LogPath(const PathFacts& facts, int block_tokens);

}  // namespace baton::kvtransfer
