#include "kvtransfer/receive_window.h"

#include <algorithm>

#include "common/base/check.h"
#include "common/base/error.h"

namespace baton::kvtransfer {
namespace {

/// Whether `run` lies inside one of `allowed` (sorted, disjoint, maximal).
bool Contains(const std::vector<BlockRun>& allowed, const BlockRun& run) {
  auto after =
      std::ranges::upper_bound(allowed, run.first.value, {}, [](const BlockRun& r) { return r.first.value; });
  if (after == allowed.begin()) return false;
  const BlockRun& candidate = *std::prev(after);
  const std::uint64_t end = std::uint64_t{run.first.value} + run.count;
  return end <= std::uint64_t{candidate.first.value} + candidate.count;
}

}  // namespace

void ReceiveWindows::Open(ReceiveWindow window) {
  const TransferId transfer = window.transfer;
  const bool fresh = entries_.try_emplace(transfer, Entry{.window = std::move(window)}).second;
  BATON_CHECK(fresh, "transfer {} opened twice", transfer);
}

bool ReceiveWindows::Close(TransferId transfer) {
  const auto entry = entries_.find(transfer);
  if (entry == entries_.end()) return false;
  entry->second.closed = true;
  if (entry->second.in_flight > 0) return false;
  entries_.erase(entry);
  return true;
}

absl::StatusOr<std::vector<std::span<std::byte>>> ReceiveWindows::Place(const DataHeader& header) const {
  const auto entry = entries_.find(header.transfer);
  if (entry == entries_.end() || entry->second.closed) {
    return Error(kNotFound, "no transfer {} is open here", header.transfer);
  }
  const ReceiveWindow& window = entry->second.window;
  if (header.receiver != window.receiver)
    return Error(kAborted, "transfer {}: stale incarnation", header.transfer);
  if (header.runs.empty())
    return Error(kInvalidArgument, "transfer {}: a message without runs", header.transfer);
  const std::size_t block_bytes = arena_.layout.BlockBytes();
  std::vector<std::span<std::byte>> places;
  std::uint64_t bytes = 0;
  for (const DataRun& run : header.runs) {
    if (run.layer >= arena_.layout.layers || run.blocks.count == 0 || !Contains(window.blocks, run.blocks)) {
      return Error(kInvalidArgument, "transfer {}: layer {} blocks {}+{} are not granted", header.transfer,
                   run.layer, run.blocks.first, run.blocks.count);
    }
    const std::uint64_t offset =
        (std::uint64_t{run.layer} * static_cast<std::uint64_t>(arena_.blocks) + run.blocks.first.value) *
        block_bytes;
    const std::uint64_t length = std::uint64_t{run.blocks.count} * block_bytes;
    places.push_back({arena_.region.address + offset, static_cast<std::size_t>(length)});
    bytes += length;
  }
  if (bytes != header.payload_bytes) {
    return Error(kInvalidArgument, "transfer {}: {} bytes for runs of {}", header.transfer,
                 header.payload_bytes, bytes);
  }
  return places;
}

void ReceiveWindows::Begin(TransferId transfer) {
  ++entries_.at(transfer).in_flight;
}

bool ReceiveWindows::End(TransferId transfer) {
  const auto entry = entries_.find(transfer);
  BATON_CHECK(entry != entries_.end() && entry->second.in_flight > 0);
  if (--entry->second.in_flight > 0 || !entry->second.closed) return false;
  entries_.erase(entry);
  return true;
}

}  // namespace baton::kvtransfer
