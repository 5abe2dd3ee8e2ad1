#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include <absl/status/statusor.h>

#include "common/base/ids.h"
#include "kvtransfer/element.h"

/// KV that lies differently on the two sides of a transfer: other tensor-parallel sizes, block sizes or
/// element types. Pure: which parts of which blocks go where, and the copying through a wire's buffer.
namespace baton::kvtransfer {

/// What one rank of a worker holds of a model's KV.
struct KvShare {
  int kv_heads = 0;  // of the model
  int head_dim = 0;
  int block_tokens = 16;
  Element element = Element::kF32;
  int ranks = 1;
  int rank = 0;
};

/// Heads [first, first + count) of the model.
struct HeadRange {
  int first = 0;
  int count = 0;
  friend bool operator==(const HeadRange&, const HeadRange&) = default;
};

/// InvalidArgument where heads and ranks do not divide each other, or a number is impossible.
[[nodiscard]] absl::Status CheckShare(const KvShare& share);
/// The heads that a rank holds. With more ranks than heads each head is held by ranks / heads of them.
[[nodiscard]] HeadRange HeadsOf(const KvShare& share);
/// The heads that `source` sends to `target`: their intersection; of ranks that hold the same head only the
/// lowest sends. Nothing where that is empty. Over all source ranks each head of `target` comes exactly once.
[[nodiscard]] std::optional<HeadRange> HeadsBetween(const KvShare& source, const KvShare& target);

/// A run of elements of one layer: where it lies in a block of each side, counted in elements from the
/// block's beginning.
struct Slice {
  std::size_t source_block = 0;  // index in the source's block table
  std::size_t source_at = 0;
  std::size_t target_block = 0;
  std::size_t target_at = 0;
  std::size_t count = 0;
  friend bool operator==(const Slice&, const Slice&) = default;
};

/// The plan for a pair of ranks and a prompt. The same on both sides, each of which makes it from the two
/// geometries; `Hash` says whether they did.
class ReslicePlan {
 public:
  /// `wire` is the element type between the two; int8 has a scale for each head of each piece of a block.
  [[nodiscard]] static absl::StatusOr<ReslicePlan> Create(const KvShare& source, const KvShare& target,
                                                          Element wire, std::int64_t prompt_tokens);

  /// Empty where this pair exchanges nothing.
  [[nodiscard]] const std::vector<Slice>& Slices() const { return slices_; }
  /// Bytes of one layer on the wire.
  [[nodiscard]] std::size_t WireBytes() const { return wire_bytes_; }
  [[nodiscard]] std::uint64_t Hash() const;

  /// Packs slices [first, last) of a layer. `layer` is the layer's part of the arena, `blocks` the prompt's.
  /// The bytes written.
  std::size_t Gather(std::span<const std::byte> layer, std::span<const BlockIndex> blocks, std::size_t first,
                     std::size_t last, std::span<std::byte> wire) const;
  /// Unpacks what Gather of the other side has packed. InvalidArgument where `wire` has another length:
  /// nothing is written then.
  [[nodiscard]] absl::Status Scatter(std::span<const std::byte> wire, std::size_t first, std::size_t last,
                                     std::span<std::byte> layer, std::span<const BlockIndex> blocks) const;
  /// The first slice that does not fit into `bytes` of wire together with those from `first` on: how a layer
  /// is cut into messages or slots. At least first + 1.
  [[nodiscard]] std::size_t Fitting(std::size_t first, std::size_t bytes) const;

 private:
  ReslicePlan(const KvShare& source, const KvShare& target, Element wire)
      : source_(source), target_(target), wire_(wire) {}
  void Add(const Slice& slice);

  KvShare source_;
  KvShare target_;
  Element wire_;
  std::vector<Slice> slices_;
  std::size_t wire_bytes_ = 0;
};

}  // namespace baton::kvtransfer
