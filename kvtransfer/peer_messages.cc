#include "kvtransfer/peer_messages.h"

#include <algorithm>

#include "common/base/error.h"
#include "kvtransfer/peer.pb.h"
#include "kvtransfer/send_plan.h"

namespace baton::kvtransfer {
namespace {

constexpr int kBlockTokensMax = 1 << 16;

void ToWire(const PairShape& shape, peer::Shape& out) {
  out.set_ranks(shape.ranks);
  out.set_block_tokens(shape.block_tokens);
  out.set_dtype(std::string(Name(shape.element)));
}

absl::Status FromWire(const peer::Shape& shape, PairShape& out) {
  BATON_ASSIGN_OR_RETURN(const Element element, ElementOf(shape.dtype()));
  if (shape.ranks() <= 0 || shape.block_tokens() <= 0 || shape.block_tokens() > kBlockTokensMax ||
      element == Element::kInt8) {
    return Error(kInvalidArgument, "a shape of {} ranks, {} tokens a block and {}", shape.ranks(),
                 shape.block_tokens(), shape.dtype());
  }
  out = {.ranks = shape.ranks(), .block_tokens = shape.block_tokens(), .element = element};
  return absl::OkStatus();
}

}  // namespace

void ToWire(TransferId id, peer::Id& out) {
  out.set_high(id.high);
  out.set_low(id.low);
}

TransferId FromWire(const peer::Id& id) {
  return {.high = id.high(), .low = id.low()};
}

void ToWire(const KvLayout& layout, peer::Layout& out) {
  out.set_layers(layout.layers);
  out.set_kv_heads(layout.kv_heads);
  out.set_head_dim(layout.head_dim);
  out.set_block_tokens(layout.block_tokens);
  out.set_element_bytes(layout.element_bytes);
  out.set_dtype(layout.dtype);
  out.set_numerics_class(layout.numerics_class);
  out.set_model_fingerprint(layout.model_fingerprint);
  out.set_ranks(layout.ranks);
}

KvLayout FromWire(const peer::Layout& layout) {
  return {.layers = layout.layers(),
          .kv_heads = layout.kv_heads(),
          .head_dim = layout.head_dim(),
          .block_tokens = layout.block_tokens(),
          .element_bytes = layout.element_bytes(),
          .dtype = layout.dtype(),
          .numerics_class = layout.numerics_class(),
          .model_fingerprint = layout.model_fingerprint(),
          .ranks = layout.ranks()};
}

void ToWire(const Grant& grant, peer::Grant& out) {
  ToWire(grant.transfer, *out.mutable_transfer());
  out.set_request(grant.key.request.value);
  out.set_attempt(grant.key.attempt.value);
  out.set_receiver_incarnation(grant.receiver.value);
  out.set_sender_incarnation(grant.sender.value);
  out.set_prompt_tokens(grant.prompt_tokens);
  out.set_lease_ms(static_cast<std::uint32_t>(Milliseconds(grant.lease)));
  out.set_credit_bytes(grant.credit_bytes);
  ToWire(grant.receiver_shape, *out.mutable_receiver_shape());
  ToWire(grant.sender_shape, *out.mutable_sender_shape());
  out.set_wire(std::string(Name(grant.wire)));
  for (const BlockRun& run : RunsOf(grant.blocks)) {
    peer::Run& wire = *out.add_blocks();
    wire.set_first(run.first.value);
    wire.set_count(run.count);
  }
}

absl::Status FromWire(const peer::Grant& message, std::int64_t tokens_max, Grant& out) {
  PairShape receiver;
  PairShape sender;
  BATON_RETURN_IF_ERROR(Annotate(FromWire(message.receiver_shape(), receiver), "the receiver"));
  BATON_RETURN_IF_ERROR(Annotate(FromWire(message.sender_shape(), sender), "the sender"));
  BATON_ASSIGN_OR_RETURN(const Element wire, ElementOf(message.wire()));
  std::int64_t blocks = 0;
  for (const peer::Run& run : message.blocks()) blocks += run.count();
  if (message.prompt_tokens() <= 0 || message.prompt_tokens() > tokens_max ||
      blocks != (message.prompt_tokens() + receiver.block_tokens - 1) / receiver.block_tokens) {
    return Error(kInvalidArgument,
                 "a grant of {} blocks for {} tokens, {} a block; this worker has room for {}", blocks,
                 message.prompt_tokens(), receiver.block_tokens, tokens_max);
  }
  if (message.credit_bytes() == 0) return Error(kInvalidArgument, "a grant without credit");
  out = {.key = {.request = RequestId(message.request()), .attempt = Attempt(message.attempt())},
         .transfer = FromWire(message.transfer()),
         .receiver = Incarnation(message.receiver_incarnation()),
         .sender = Incarnation(message.sender_incarnation()),
         .prompt_tokens = message.prompt_tokens(),
         .blocks = {},
         .lease = std::chrono::milliseconds(message.lease_ms()),
         .credit_bytes = message.credit_bytes(),
         .receiver_shape = receiver,
         .sender_shape = sender,
         .wire = wire};
  for (const peer::Run& run : message.blocks()) {
    for (std::uint32_t i = 0; i < run.count(); ++i) out.blocks.emplace_back(run.first() + i);
  }
  return absl::OkStatus();
}

absl::StatusOr<KvShape> ShapeOf(const KvLayout& layout) {
  BATON_ASSIGN_OR_RETURN(const Element element, ElementOf(layout.dtype));
  const KvShape shape{.kv_heads = layout.kv_heads,
                      .head_dim = layout.head_dim,
                      .block_tokens = layout.block_tokens,
                      .element = element,
                      .ranks = layout.ranks};
  BATON_RETURN_IF_ERROR(CheckShape(shape));
  if (static_cast<std::size_t>(layout.element_bytes) != RowBytes(element, 1)) {
    return Error(kInvalidArgument, "elements of {} bytes are no {}", layout.element_bytes, layout.dtype);
  }
  return shape;
}

PairShape PairShapeOf(const KvShape& shape) {
  return {.ranks = shape.ranks, .block_tokens = shape.block_tokens, .element = shape.element};
}

absl::Status CheckConvertible(const KvLayout& ours, const KvLayout& theirs) {
  const auto differ = [](std::string_view what, const auto& here, const auto& there) {
    return Error(kFailedPrecondition, "KV of another model: {} here {}, there {}", what, here, there);
  };
  if (ours.model_fingerprint != theirs.model_fingerprint) {
    return differ("fingerprint:", ours.model_fingerprint, theirs.model_fingerprint);
  }
  if (ours.layers != theirs.layers) return differ("layers:", ours.layers, theirs.layers);
  if (ours.kv_heads != theirs.kv_heads) return differ("KV heads:", ours.kv_heads, theirs.kv_heads);
  if (ours.head_dim != theirs.head_dim) return differ("head_dim:", ours.head_dim, theirs.head_dim);
  const absl::StatusOr<KvShape> here = ShapeOf(ours);
  if (!here.ok()) return Annotate(here.status(), "KV cannot be converted: here");
  const absl::StatusOr<KvShape> there = ShapeOf(theirs);
  if (!there.ok()) return Annotate(there.status(), "KV cannot be converted: there");
  const std::size_t block_bytes = std::max(ours.BlockBytes(), theirs.BlockBytes());
  if (*here != *there && block_bytes > kMessageBytesMax) {
    return Error(
        kFailedPrecondition,
        "KV cannot be converted: a block of {} bytes in each layer is more than a staging slot's {}; "
        "choose a smaller kv.block_tokens",
        block_bytes, kMessageBytesMax);
  }
  return absl::OkStatus();
}

absl::Status CheckSame(const Terms& ours, const Terms& theirs) {
  if (ours.cluster_id != theirs.cluster_id) {
    return Error(kPermissionDenied, "a worker of cluster '{}', this one is of '{}'; see transfer.cluster_id",
                 theirs.cluster_id, ours.cluster_id);
  }
  if (ours.checksum != theirs.checksum) {
    return Error(kFailedPrecondition, "checksums are {} here, {} there; set transfer.checksum alike",
                 ours.checksum ? "on" : "off", theirs.checksum ? "on" : "off");
  }
  return absl::OkStatus();
}

std::vector<BlockRun> RunsOf(const std::vector<BlockIndex>& blocks) {
  std::vector<BlockRun> runs;
  for (const BlockIndex block : blocks) {
    if (!runs.empty() && block.value == runs.back().first.value + runs.back().count) {
      ++runs.back().count;
    } else {
      runs.push_back({.first = block, .count = 1});
    }
  }
  return runs;
}

}  // namespace baton::kvtransfer
