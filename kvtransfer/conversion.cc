#include "kvtransfer/conversion.h"

#include <utility>
#include <vector>

#include "common/base/error.h"

namespace baton::kvtransfer {
namespace {

std::string Describe(const PairShape& shape) {
  return fmt::format("{} ranks, {} tokens a block, {}", shape.ranks, shape.block_tokens, Name(shape.element));
}

}  // namespace

absl::StatusOr<Conversion> Conversion::Create(const ArenaView& arena, const Grant& grant) {
  BATON_ASSIGN_OR_RETURN(const KvShape source, ShapeOf(arena.layout));
  if (PairShapeOf(source) != grant.sender_shape) {
    return Error(kFailedPrecondition, "the grant takes this worker's KV for {}; it is {}",
                 Describe(grant.sender_shape), Describe(PairShapeOf(source)));
  }
  KvShape target = source;
  target.ranks = grant.receiver_shape.ranks;
  target.block_tokens = grant.receiver_shape.block_tokens;
  target.element = grant.receiver_shape.element;
  auto reslice = Reslice::Create(source, target, grant.wire);
  if (!reslice.ok()) return Annotate(reslice.status(), "KV cannot be converted");
  if ((source != target || arena.copier != nullptr) && reslice->Wire().BlockBytes() > kMessageBytesMax) {
    return Error(kFailedPrecondition, "KV cannot be converted: a block of {} bytes is longer than a message",
                 reslice->Wire().BlockBytes());
  }
  return Conversion(arena, source, target, *std::move(reslice));
}

SendPlan::Shape Conversion::TargetShape(std::uint64_t layer_wise_bytes_min) const {
  return {.layers = arena_.layout.layers,
          .block_tokens = target_.block_tokens,
          .block_bytes = reslice_.Wire().BlockBytes(),
          .layer_wise_bytes_min = layer_wise_bytes_min,
          .ranks = target_.ranks,
          .message_bytes = kMessageBytesMax};
}

StageJob Conversion::JobFor(const PlannedMessage& message, std::span<const BlockIndex> source,
                            std::int64_t prompt_tokens) const {
  StageJob job{.from = source_.element, .to = reslice_.Wire().element};
  const std::size_t element_bytes = RowBytes(source_.element, 1);
  std::vector<Slice> slices;
  for (const PlannedRun& run : message) {
    const int rank = run.layer / arena_.layout.layers;
    const int layer = run.layer % arena_.layout.layers;
    for (std::uint32_t i = 0; i < run.count; ++i) {
      slices.clear();
      reslice_.AppendSlices(rank, run.place + i, prompt_tokens, slices);
      for (const Slice& slice : slices) {
        const auto row = static_cast<std::size_t>(slice.source_rank * arena_.layout.layers + layer);
        job.pieces.push_back(
            {.source = arena_.Block(row, source[slice.source_block].value) + slice.source_at * element_bytes,
             .count = slice.count,
             .at = job.bytes + slice.wire_at});
      }
      job.bytes += reslice_.Wire().BlockBytes();
    }
  }
  return job;
}

}  // namespace baton::kvtransfer
