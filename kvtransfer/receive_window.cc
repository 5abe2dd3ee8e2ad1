#include "kvtransfer/receive_window.h"

#include <algorithm>
#include <utility>

#include "common/base/check.h"
#include "common/base/error.h"

namespace baton::kvtransfer {
namespace {

/// Whether two runs of one message share a block.
bool Overlap(const DataRun& a, const DataRun& b) {
  return a.layer == b.layer && a.blocks.first.value < std::uint64_t{b.blocks.first.value} + b.blocks.count &&
         b.blocks.first.value < std::uint64_t{a.blocks.first.value} + a.blocks.count;
}

bool RepeatsItself(const std::vector<DataRun>& runs) {
  for (std::size_t i = 0; i < runs.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      if (Overlap(runs[i], runs[j])) return true;
    }
  }
  return false;
}

}  // namespace

absl::Status ReceiveWindows::Prepare(std::uint64_t staging_bytes) {
  if (arena_.copier == nullptr) return absl::OkStatus();
  BATON_ASSIGN_OR_RETURN(device_,
                         DeviceLandings::Create(arena_.copier, staging_bytes, arena_.layout.BlockBytes()));
  return absl::OkStatus();
}

void ReceiveWindows::Open(ReceiveWindow window) {
  const TransferId transfer = window.transfer;
  Entry entry{.window = std::move(window)};
  for (const BlockRun& run : entry.window.blocks) entry.blocks += run.count;
  entry.begun.resize(static_cast<std::size_t>(arena_.layout.RankLayers() * entry.blocks));
  const bool fresh = entries_.try_emplace(transfer, std::move(entry)).second;
  BATON_CHECK(fresh, "transfer {} opened twice", transfer);
}

std::optional<std::size_t> ReceiveWindows::FirstPlace(const Entry& entry, const DataRun& run) const {
  if (run.layer >= arena_.layout.RankLayers() || run.blocks.count == 0) return std::nullopt;
  std::size_t place = static_cast<std::size_t>(run.layer) * static_cast<std::size_t>(entry.blocks);
  const std::uint64_t end = std::uint64_t{run.blocks.first.value} + run.blocks.count;
  for (const BlockRun& granted : entry.window.blocks) {
    if (run.blocks.first >= granted.first && end <= std::uint64_t{granted.first.value} + granted.count) {
      return place + (run.blocks.first.value - granted.first.value);
    }
    place += granted.count;
  }
  return std::nullopt;
}

bool ReceiveWindows::Close(TransferId transfer) {
  const auto entry = entries_.find(transfer);
  if (entry == entries_.end()) return false;
  entry->second.closed = true;
  if (entry->second.in_flight > 0) return false;
  entries_.erase(entry);
  return true;
}

absl::StatusOr<Landing> ReceiveWindows::Place(const DataHeader& header) const {
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
  const std::size_t wire_bytes = window.wire ? window.wire->BlockBytes() : block_bytes;
  std::vector<std::span<std::byte>> places;
  std::uint64_t bytes = 0;
  if (RepeatsItself(header.runs)) {
    return Error(kInvalidArgument, "transfer {}: a message names a block twice", header.transfer);
  }
  for (const DataRun& run : header.runs) {
    const std::optional<std::size_t> first = FirstPlace(entry->second, run);
    if (!first) {
      return Error(kInvalidArgument, "transfer {}: layer {} blocks {}+{} are not granted", header.transfer,
                   run.layer, run.blocks.first, run.blocks.count);
    }
    const auto begun = entry->second.begun.begin() + static_cast<std::ptrdiff_t>(*first);
    if (std::find(begun, begun + run.blocks.count, true) != begun + run.blocks.count) {
      return Error(kAlreadyExists, "transfer {}: layer {} blocks {}+{} have come already", header.transfer,
                   run.layer, run.blocks.first, run.blocks.count);
    }
    places.push_back({arena_.Block(run.layer, run.blocks.first.value), run.blocks.count * block_bytes});
    bytes += std::uint64_t{run.blocks.count} * wire_bytes;
  }
  if (bytes != header.payload_bytes) {
    return Error(kInvalidArgument, "transfer {}: {} bytes for runs of {}", header.transfer,
                 header.payload_bytes, bytes);
  }
  Landing landing{.places = std::move(places)};
  if (!window.wire && arena_.copier == nullptr) return landing;
  landing.wire = window.wire;
  landing.element = window.element;
  landing.device = device_;
  const auto length = static_cast<std::size_t>(bytes);  // as long as the header allows, and within credit
  if (device_ != nullptr) landing.slot = device_->Take(length);
  if (landing.slot == nullptr) landing.staged.resize(length);
  std::byte* place = landing.slot != nullptr ? landing.slot.get() : landing.staged.data();
  landing.blocks = std::exchange(landing.places, {{place, length}});
  return landing;
}

absl::Status Landing::Settle() const {
  if (device != nullptr) return device->Settle(*this);
  std::span<const std::byte> left = staged;
  for (const std::span<std::byte> target : blocks) {
    const std::size_t elements = target.size() / RowBytes(element, 1);
    const std::size_t bytes = elements / (wire->rows * wire->row_elements) * wire->BlockBytes();
    wire->Unpack(left.first(bytes), element, target);
    left = left.subspan(bytes);
  }
  return absl::OkStatus();
}

void ReceiveWindows::Begin(const DataHeader& header) {
  Entry& entry = entries_.at(header.transfer);
  ++entry.in_flight;
  for (const DataRun& run : header.runs) {
    const auto begun = entry.begun.begin() + static_cast<std::ptrdiff_t>(FirstPlace(entry, run).value());
    std::fill(begun, begun + run.blocks.count, true);
  }
}

bool ReceiveWindows::End(TransferId transfer) {
  const auto entry = entries_.find(transfer);
  BATON_CHECK(entry != entries_.end() && entry->second.in_flight > 0);
  if (--entry->second.in_flight > 0 || !entry->second.closed) return false;
  entries_.erase(entry);
  return true;
}

}  // namespace baton::kvtransfer
