#include "kvtransfer/path_report.h"

#include <sys/resource.h>

#include <algorithm>
#include <fstream>
#include <limits>

#include "common/base/log.h"
#include "common/base/units.h"
#include "kvtransfer/data_header.h"
#include "kvtransfer/send_plan.h"

namespace baton::kvtransfer {
namespace {

/// The AnonHugePages of the mapping that `address` lies in.
std::uint64_t HugeBytesAt(std::uintptr_t address) {
  std::ifstream maps("/proc/self/smaps");
  bool inside = false;
  for (std::string line; std::getline(maps, line);) {
    unsigned long begin = 0;
    unsigned long end = 0;
    unsigned long kib = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &begin, &end) == 2) {
      inside = address >= begin && address < end;
    } else if (inside && std::sscanf(line.c_str(), "AnonHugePages: %lu kB", &kib) == 1) {
      return std::uint64_t{kib} << 10;
    }
  }
  return 0;
}

bool HugePagesAllowed() {
  std::ifstream file("/sys/kernel/mm/transparent_hugepage/enabled");
  std::string text;
  std::getline(file, text);
  return text.find("[always]") != std::string::npos || text.find("[madvise]") != std::string::npos;
}

std::int64_t MtuOf(const std::string& device) {
  std::ifstream file("/sys/class/net/" + device + "/mtu");
  std::int64_t mtu = 0;
  return !device.empty() && file >> mtu ? mtu : 0;
}

std::string Bytes(std::uint64_t bytes) {
  return bytes == std::numeric_limits<std::uint64_t>::max() ? "unlimited" : FormatBytes(bytes);
}

}  // namespace

PathFacts ReadPathFacts(const HandoffOptions& options, const Transport& transport, const ArenaView& arena,
                        bool transport_reads_device) {
  rlimit limit{};
  getrlimit(RLIMIT_MEMLOCK, &limit);
  return {.transport = transport.Name(),
          .device = options.net_device,
          .mtu = MtuOf(options.net_device),
          .memlock_bytes = limit.rlim_cur == RLIM_INFINITY ? std::numeric_limits<std::uint64_t>::max()
                                                           : std::uint64_t{limit.rlim_cur},
          .arena_bytes = arena.region.bytes * std::max<std::size_t>(1, arena.rank_parts.size()),
          .huge_bytes = HugeBytesAt(reinterpret_cast<std::uintptr_t>(arena.region.address)),
          .huge_pages_allowed = HugePagesAllowed(),
          .block_bytes = arena.layout.BlockBytes(),
          .layers = arena.layout.layers,
          .checksum = options.checksum,
          .path = PathFrom({.kind = arena.region.kind,
                            .transport_reads_device = transport_reads_device,
                            .checksum = options.checksum})};
}

MessageCounts CountMessages(const PathFacts& facts, std::int64_t blocks) {
  const auto count = [&](bool together) {
    std::vector<BlockIndex> table;
    for (std::int64_t i = 0; i < blocks; ++i)
      table.emplace_back(static_cast<std::uint32_t>(together ? i : 2 * i));
    const std::uint64_t message = facts.path == MemoryPath::kStaged ? kMessageBytesMax : kMessageBytes;
    SendPlan plan({.layers = facts.layers,
                   .block_tokens = 1,
                   .block_bytes = facts.block_bytes,
                   .message_bytes = message},
                  blocks, table);
    plan.SetTarget(table);
    for (int layer = 0; layer < facts.layers; ++layer) plan.LayerReady(layer, 0, blocks);
    plan.Finish(blocks);
    return static_cast<std::uint64_t>(plan.Take().size());
  };
  MessageCounts counts{.best = count(true), .worst = count(false)};
  const std::uint64_t bytes = facts.block_bytes * static_cast<std::uint64_t>(blocks * facts.layers);
  counts.worst_message_bytes = counts.worst > 0 ? bytes / counts.worst : 0;
  return counts;
}

std::vector<std::string> WhySlow(const PathFacts& facts) {
  std::vector<std::string> reasons;
  if (facts.device.empty()) {
    reasons.emplace_back("no interface is named, UCX may choose a slow one; set transfer.net_device");
  }
  if (facts.mtu > 0 && facts.mtu < 9000 && facts.transport == "tcp") {
    reasons.push_back(
        fmt::format("MTU {} on {}: more packets a byte than with 9000; raise it on both ends and between",
                    facts.mtu, facts.device));
  }
  if (facts.path == MemoryPath::kStaged) {
    reasons.emplace_back(
        "KV in a GPU's memory goes through host memory: UCX without CUDA, or transfer.checksum, asks for it");
    return reasons;  // the rest is about an arena in host memory
  }
  if (facts.memlock_bytes < facts.arena_bytes && facts.transport != "tcp") {
    reasons.push_back(
        fmt::format("may lock {} of memory, the KV has {}: a network card cannot register it; raise "
                    "LimitMEMLOCK",
                    Bytes(facts.memlock_bytes), Bytes(facts.arena_bytes)));
  }
  if (!facts.huge_pages_allowed) {
    reasons.emplace_back("no huge pages for KV: set /sys/kernel/mm/transparent_hugepage/enabled to madvise");
  } else if (facts.huge_bytes < facts.arena_bytes / 2) {
    reasons.push_back(fmt::format("{} of {} of KV lie in huge pages now; what is touched later may still",
                                  Bytes(facts.huge_bytes), Bytes(facts.arena_bytes)));
  }
  if (facts.block_bytes < (16U << 10)) {
    reasons.push_back(
        fmt::format("a block of one layer has {}: scattered prompts go in small pieces; a larger "
                    "block_tokens helps",
                    Bytes(facts.block_bytes)));
  }
  return reasons;
}

void LogPath(const PathFacts& facts, int block_tokens) {
  const std::int64_t blocks = (4096 + block_tokens - 1) / block_tokens;
  const MessageCounts counts = CountMessages(facts, blocks);
  LogInfo("transfer_path", {{"transport", facts.transport},
                            {"device", facts.device.empty() ? "any" : facts.device},
                            {"mtu", facts.mtu},
                            {"checksum", facts.checksum ? "crc32c" : "off"},
                            {"memlock", Bytes(facts.memlock_bytes)},
                            {"arena", Bytes(facts.arena_bytes)},
                            {"memory", Name(facts.path)},
                            {"huge", Bytes(facts.huge_bytes)},
                            {"block", Bytes(facts.block_bytes)},
                            {"messages_of_4096_tokens", fmt::format("{} to {}", counts.best, counts.worst)},
                            {"smallest_message", Bytes(counts.worst_message_bytes)}});
  for (const std::string& reason : WhySlow(facts)) LogInfo("transfer_slow_because", {{"reason", reason}});
}

}  // namespace baton::kvtransfer
