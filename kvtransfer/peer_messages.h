#pragma once

#include <string>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "common/base/ids.h"
#include "kvtransfer/handoff.h"
#include "kvtransfer/reslice.h"

namespace baton::peer {
class Id;
class Layout;
class Grant;
}  // namespace baton::peer

/// Between our values and the messages of peer.proto.
namespace baton::kvtransfer {

/// What may differ between the two sides of a transfer.
struct PairShape {
  int ranks = 1;
  int block_tokens = 16;
  Element element = Element::kF32;
  friend bool operator==(const PairShape&, const PairShape&) = default;
};

/// Permission for one peer to write these blocks; minted by the receiver, single use.
struct Grant {
  RequestKey key;
  TransferId transfer;
  Incarnation receiver;
  Incarnation sender;
  std::int64_t prompt_tokens = 0;
  std::vector<BlockIndex> blocks;  // in order of position
  Duration lease{};
  std::uint64_t credit_bytes = 0;  // that may be sent before more is given
  PairShape receiver_shape{};
  PairShape sender_shape{};
  Element wire = Element::kF32;
};

void ToWire(TransferId id, peer::Id& out);
[[nodiscard]] TransferId FromWire(const peer::Id& id);
void ToWire(const KvLayout& layout, peer::Layout& out);
[[nodiscard]] KvLayout FromWire(const peer::Layout& layout);
void ToWire(const Grant& grant, peer::Grant& out);
/// InvalidArgument where the message contradicts itself or grants blocks for more than `tokens_max` positions
/// (checked before anything of that size is made).
[[nodiscard]] absl::Status FromWire(const peer::Grant& message, std::int64_t tokens_max, Grant& out);

/// How the KV of `layout` lies; InvalidArgument where it is none.
[[nodiscard]] absl::StatusOr<KvShape> ShapeOf(const KvLayout& layout);
[[nodiscard]] PairShape PairShapeOf(const KvShape& shape);
/// FailedPrecondition says why KV cannot go between the two: another model, or a shape that cannot be
/// converted. Ranks, block size and element type may differ.
[[nodiscard]] absl::Status CheckConvertible(const KvLayout& ours, const KvLayout& theirs);
/// What workers of one cluster are configured with alike, beside the layout.
struct Terms {
  std::string cluster_id;
  bool checksum = true;
};
/// PermissionDenied for another cluster, FailedPrecondition for another setting; the message says what to do.
[[nodiscard]] absl::Status CheckSame(const Terms& ours, const Terms& theirs);
/// `blocks` as maximal runs in order.
[[nodiscard]] std::vector<BlockRun> RunsOf(const std::vector<BlockIndex>& blocks);

}  // namespace baton::kvtransfer
