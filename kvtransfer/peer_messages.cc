#include "kvtransfer/peer_messages.h"

#include "common/base/error.h"
#include "kvtransfer/peer.pb.h"

namespace baton::kvtransfer {

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
}

KvLayout FromWire(const peer::Layout& layout) {
  return {.layers = layout.layers(),
          .kv_heads = layout.kv_heads(),
          .head_dim = layout.head_dim(),
          .block_tokens = layout.block_tokens(),
          .element_bytes = layout.element_bytes(),
          .dtype = layout.dtype(),
          .numerics_class = layout.numerics_class(),
          .model_fingerprint = layout.model_fingerprint()};
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
  for (const BlockRun& run : RunsOf(grant.blocks)) {
    peer::Run& wire = *out.add_blocks();
    wire.set_first(run.first.value);
    wire.set_count(run.count);
  }
}

absl::Status FromWire(const peer::Grant& message, std::int64_t blocks_max, Grant& out) {
  std::int64_t blocks = 0;
  for (const peer::Run& run : message.blocks()) blocks += run.count();
  if (blocks == 0 || blocks > blocks_max || message.prompt_tokens() <= 0) {
    return Error(kInvalidArgument, "a grant of {} blocks for {} tokens; this worker has {} blocks", blocks,
                 message.prompt_tokens(), blocks_max);
  }
  if (message.credit_bytes() == 0) return Error(kInvalidArgument, "a grant without credit");
  out = {.key = {.request = RequestId(message.request()), .attempt = Attempt(message.attempt())},
         .transfer = FromWire(message.transfer()),
         .receiver = Incarnation(message.receiver_incarnation()),
         .sender = Incarnation(message.sender_incarnation()),
         .prompt_tokens = message.prompt_tokens(),
         .blocks = {},
         .lease = std::chrono::milliseconds(message.lease_ms()),
         .credit_bytes = message.credit_bytes()};
  for (const peer::Run& run : message.blocks()) {
    for (std::uint32_t i = 0; i < run.count(); ++i) out.blocks.emplace_back(run.first() + i);
  }
  return absl::OkStatus();
}

absl::Status CheckSame(const KvLayout& ours, const KvLayout& theirs) {
  const auto differ = [](std::string_view what, const auto& here, const auto& there) {
    return Error(kFailedPrecondition,
                 "KV layouts differ in {}: here {}, there {}; conversion is not supported", what, here,
                 there);
  };
  if (ours.model_fingerprint != theirs.model_fingerprint) {
    return differ("the model's fingerprint", ours.model_fingerprint, theirs.model_fingerprint);
  }
  if (ours.layers != theirs.layers) return differ("layers", ours.layers, theirs.layers);
  if (ours.kv_heads != theirs.kv_heads) return differ("KV heads", ours.kv_heads, theirs.kv_heads);
  if (ours.head_dim != theirs.head_dim) return differ("head_dim", ours.head_dim, theirs.head_dim);
  if (ours.block_tokens != theirs.block_tokens)
    return differ("block size", ours.block_tokens, theirs.block_tokens);
  if (ours.dtype != theirs.dtype) return differ("dtype", ours.dtype, theirs.dtype);
  if (ours.element_bytes != theirs.element_bytes) {
    return differ("element size", ours.element_bytes, theirs.element_bytes);
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
