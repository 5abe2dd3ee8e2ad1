#include "kvtransfer/reslice.h"

#include <algorithm>

#include "common/base/check.h"
#include "common/base/error.h"
#include "common/base/random.h"

namespace baton::kvtransfer {
namespace {

/// Elements of a rank's block in one layer: [k|v][head][token][dim].
std::size_t BlockElements(const KvShare& share) {
  return std::size_t{2} *
         static_cast<std::size_t>(HeadsOf(share).count * share.block_tokens * share.head_dim);
}

std::size_t ElementAt(const KvShare& share, int part, int head, int token) {
  const HeadRange held = HeadsOf(share);
  const int row = (part * held.count + head - held.first) * share.block_tokens + token;
  return static_cast<std::size_t>(row) * static_cast<std::size_t>(share.head_dim);
}

/// A part of a row of whole elements in the arena; only the wire knows int8.
template <typename Byte>
std::span<Byte> Place(std::span<Byte> layer, const KvShare& share, BlockIndex block, std::size_t at,
                      std::size_t count) {
  const std::size_t element = RowBytes(share.element, 1);
  return layer.subspan((block.value * BlockElements(share) + at) * element, count * element);
}

}  // namespace

absl::Status CheckShare(const KvShare& share) {
  if (share.kv_heads <= 0 || share.head_dim <= 0 || share.block_tokens <= 0 || share.ranks <= 0 ||
      share.rank < 0 || share.rank >= share.ranks) {
    return Error(kInvalidArgument, "no KV geometry: {} heads of {}, blocks of {} tokens, rank {} of {}",
                 share.kv_heads, share.head_dim, share.block_tokens, share.rank, share.ranks);
  }
  if (share.kv_heads % share.ranks != 0 && share.ranks % share.kv_heads != 0) {
    return Error(kInvalidArgument, "{} KV heads cannot be shared by {} ranks: one must divide the other",
                 share.kv_heads, share.ranks);
  }
  if (share.element == Element::kInt8) {
    return Error(kInvalidArgument, "KV of int8 lies in no arena: it is a wire's type");
  }
  return absl::OkStatus();
}

HeadRange HeadsOf(const KvShare& share) {
  if (share.ranks > share.kv_heads) return {.first = share.rank / (share.ranks / share.kv_heads), .count = 1};
  const int count = share.kv_heads / share.ranks;
  return {.first = share.rank * count, .count = count};
}

std::optional<HeadRange> HeadsBetween(const KvShare& source, const KvShare& target) {
  if (source.ranks > source.kv_heads && source.rank % (source.ranks / source.kv_heads) != 0)
    return std::nullopt;
  const HeadRange ours = HeadsOf(source);
  const HeadRange theirs = HeadsOf(target);
  const int first = std::max(ours.first, theirs.first);
  const int end = std::min(ours.first + ours.count, theirs.first + theirs.count);
  if (first >= end) return std::nullopt;
  return HeadRange{.first = first, .count = end - first};
}

absl::StatusOr<ReslicePlan> ReslicePlan::Create(const KvShare& source, const KvShare& target, Element wire,
                                                std::int64_t prompt_tokens) {
  BATON_RETURN_IF_ERROR(Annotate(CheckShare(source), "source"));
  BATON_RETURN_IF_ERROR(Annotate(CheckShare(target), "target"));
  if (source.kv_heads != target.kv_heads || source.head_dim != target.head_dim) {
    return Error(kFailedPrecondition, "{} heads of {} here, {} of {} there: another model", source.kv_heads,
                 source.head_dim, target.kv_heads, target.head_dim);
  }
  if (prompt_tokens <= 0) return Error(kInvalidArgument, "a prompt of {} tokens", prompt_tokens);
  ReslicePlan plan(source, target, wire);
  const std::optional<HeadRange> heads = HeadsBetween(source, target);
  if (!heads) return plan;
  for (std::int64_t token = 0; token < prompt_tokens;) {
    const auto source_token = static_cast<int>(token % source.block_tokens);
    const auto target_token = static_cast<int>(token % target.block_tokens);
    // Whole pieces: what lies behind the prompt's end in its last block is nobody's and may go along.
    const int tokens = std::min(source.block_tokens - source_token, target.block_tokens - target_token);
    for (int part = 0; part < 2; ++part) {
      for (int head = heads->first; head < heads->first + heads->count; ++head) {
        plan.Add({.source_block = static_cast<std::size_t>(token / source.block_tokens),
                  .source_at = ElementAt(source, part, head, source_token),
                  .target_block = static_cast<std::size_t>(token / target.block_tokens),
                  .target_at = ElementAt(target, part, head, target_token),
                  .count = static_cast<std::size_t>(tokens) * static_cast<std::size_t>(source.head_dim)});
      }
    }
    token += tokens;
  }
  for (const Slice& slice : plan.slices_) plan.wire_bytes_ += RowBytes(wire, slice.count);
  return plan;
}

/// Joins a slice to the one before where both sides go on; not with int8, whose scale is a head's own.
void ReslicePlan::Add(const Slice& slice) {
  if (!slices_.empty() && wire_ != Element::kInt8) {
    Slice& last = slices_.back();
    if (last.source_block == slice.source_block && last.target_block == slice.target_block &&
        last.source_at + last.count == slice.source_at && last.target_at + last.count == slice.target_at) {
      last.count += slice.count;
      return;
    }
  }
  slices_.push_back(slice);
}

std::uint64_t ReslicePlan::Hash() const {
  std::uint64_t hash = Mix64(static_cast<std::uint64_t>(wire_) + 1);
  for (const Slice& slice : slices_) {
    for (const std::size_t value :
         {slice.source_block, slice.source_at, slice.target_block, slice.target_at, slice.count}) {
      hash = Mix64(hash ^ value);
    }
  }
  return hash;
}

std::size_t ReslicePlan::Fitting(std::size_t first, std::size_t bytes) const {
  std::size_t used = 0;
  std::size_t last = first;
  for (; last < slices_.size(); ++last) {
    used += RowBytes(wire_, slices_[last].count);
    if (used > bytes) break;
  }
  return std::max(last, first + 1);
}

std::size_t ReslicePlan::Gather(std::span<const std::byte> layer, std::span<const BlockIndex> blocks,
                                std::size_t first, std::size_t last, std::span<std::byte> wire) const {
  std::size_t at = 0;
  for (std::size_t i = first; i < last; ++i) {
    const Slice& slice = slices_[i];
    const auto row = Place(layer, source_, blocks[slice.source_block], slice.source_at, slice.count);
    const std::size_t bytes = RowBytes(wire_, slice.count);
    ConvertRow(source_.element, row, wire_, wire.subspan(at, bytes), slice.count);
    at += bytes;
  }
  return at;
}

absl::Status ReslicePlan::Scatter(std::span<const std::byte> wire, std::size_t first, std::size_t last,
                                  std::span<std::byte> layer, std::span<const BlockIndex> blocks) const {
  std::size_t expected = 0;
  for (std::size_t i = first; i < last; ++i) expected += RowBytes(wire_, slices_[i].count);
  if (wire.size() != expected) {
    return Error(kInvalidArgument, "{} bytes for {} slices of {} bytes", wire.size(), last - first, expected);
  }
  std::size_t at = 0;
  for (std::size_t i = first; i < last; ++i) {
    const Slice& slice = slices_[i];
    const auto row = Place(layer, target_, blocks[slice.target_block], slice.target_at, slice.count);
    const std::size_t bytes = RowBytes(wire_, slice.count);
    ConvertRow(wire_, wire.subspan(at, bytes), target_.element, row, slice.count);
    at += bytes;
  }
  return absl::OkStatus();
}

}  // namespace baton::kvtransfer
