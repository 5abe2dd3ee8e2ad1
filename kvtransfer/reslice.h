#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <absl/status/statusor.h>

#include "kvtransfer/element.h"

/// KV that lies differently on the two sides of a transfer: other tensor-parallel sizes, block sizes or
/// element types. Pure. What travels are whole blocks of the receiver's, in its order, of elements that the
/// two have agreed on; the sender puts them together, the receiver widens them where it must.
namespace baton::kvtransfer {

/// How one layer of a model's KV lies over the ranks of a worker: of each rank
/// [block][k|v][head][token][dim].
struct KvShape {
  int kv_heads = 0;  // of the model
  int head_dim = 0;
  int block_tokens = 16;
  Element element = Element::kF32;
  int ranks = 1;

  /// Heads that each rank holds: with more ranks than heads one, which several of them hold.
  [[nodiscard]] int HeadsPerRank() const { return ranks > kv_heads ? 1 : kv_heads / ranks; }
  /// Of one block of one rank.
  [[nodiscard]] std::size_t BlockElements() const;
  friend bool operator==(const KvShape&, const KvShape&) = default;
};

/// InvalidArgument where heads and ranks do not divide each other, or a number is impossible.
[[nodiscard]] absl::Status CheckShape(const KvShape& shape);

/// Heads [first, first + count) of the model.
struct HeadRange {
  int first = 0;
  int count = 0;
  friend bool operator==(const HeadRange&, const HeadRange&) = default;
};
[[nodiscard]] HeadRange HeadsOf(const KvShape& shape, int rank);
/// The lowest of the ranks that hold `head`.
[[nodiscard]] int RankOf(const KvShape& shape, int head);

/// A block of the receiver's on the wire: rows of elements, side by side. int8 has a row, and thus a scale,
/// for each head of k and v and each group of tokens that lie in one block on both sides.
struct WireFormat {
  Element element = Element::kF32;
  std::size_t rows = 1;
  std::size_t row_elements = 0;

  [[nodiscard]] std::size_t BlockBytes() const { return rows * RowBytes(element, row_elements); }
  /// Blocks in this format as blocks of `element`s; as many as `wire` has.
  void Unpack(std::span<const std::byte> wire, Element to, std::span<std::byte> out) const;
  friend bool operator==(const WireFormat&, const WireFormat&) = default;
};

/// What two workers send each other their KV as: the narrower of their types, so that whoever has the wider
/// one converts.
[[nodiscard]] Element WireElement(Element source, Element target);

/// A run of elements of a layer that lies in one block of the source.
struct Slice {
  int source_rank = 0;
  std::size_t source_block = 0;  // index in the source's block table
  std::size_t source_at = 0;     // elements from that block's beginning
  std::size_t count = 0;         // elements
  std::size_t wire_at = 0;       // bytes from the beginning of the target's block on the wire
  friend bool operator==(const Slice&, const Slice&) = default;
};

/// From one shape to another.
class Reslice {
 public:
  /// `wire` is the type between the two. FailedPrecondition where they are no shapes of one model.
  [[nodiscard]] static absl::StatusOr<Reslice> Create(const KvShape& source, const KvShape& target,
                                                      Element wire);

  [[nodiscard]] const WireFormat& Wire() const { return wire_; }
  /// What block `target_block`, an index in the target's block table, of one of its ranks is made of. What no
  /// slice covers lies behind the prompt's end. Slices that go on where the one before ends are one.
  void AppendSlices(int target_rank, std::int64_t target_block, std::int64_t prompt_tokens,
                    std::vector<Slice>& out) const;

 private:
  Reslice(const KvShape& source, const KvShape& target, Element wire);

  KvShape source_;
  KvShape target_;
  int group_tokens_;  // of one row of int8
  WireFormat wire_;
};

/// The format of `target`'s blocks when they come from `source` as `wire`; for the receiver.
[[nodiscard]] WireFormat WireFormatOf(const KvShape& source, const KvShape& target, Element wire);

}  // namespace baton::kvtransfer
