#include "kvtransfer/send_plan.h"

#include <algorithm>

#include "common/base/check.h"

namespace baton::kvtransfer {
SendPlan::SendPlan(const Shape& shape, std::int64_t prompt_tokens, std::vector<BlockIndex> source)
    : shape_(shape),
      prompt_tokens_(prompt_tokens),
      source_(std::move(source)),
      ready_tokens_(static_cast<std::size_t>(shape.layers)),
      taken_blocks_(static_cast<std::size_t>(shape.layers)) {}

void SendPlan::SetTarget(std::vector<BlockIndex> target) {
  BATON_CHECK(std::ssize(target) == AllBlocks(), "{} blocks for {} tokens", target.size(), prompt_tokens_);
  target_ = std::move(target);
}

void SendPlan::SetTarget(std::vector<BlockIndex> target, const Shape& shape) {
  shape_ = shape;
  alike_ = false;
  source_ = target;  // what lies side by side is the receiver's alone
  SetTarget(std::move(target));
}

void SendPlan::AddSource(const std::vector<BlockIndex>& blocks) {
  if (alike_) source_.insert(source_.end(), blocks.begin(), blocks.end());
}

std::int64_t SendPlan::AllBlocks() const {
  return (prompt_tokens_ + shape_.block_tokens - 1) / shape_.block_tokens;
}

void SendPlan::LayerReady(int layer, std::int64_t first_position, std::int64_t tokens) {
  std::int64_t& ready = ready_tokens_.at(static_cast<std::size_t>(layer));
  BATON_CHECK(first_position == ready && tokens > 0 && ready + tokens <= prompt_tokens_,
              "layer {}: positions {}+{} after {} of {}", layer, first_position, tokens, ready,
              prompt_tokens_);
  BATON_CHECK(ready + tokens <= std::ssize(source_) * shape_.block_tokens, "positions {}+{} in {} blocks",
              first_position, tokens, source_.size());
  ready += tokens;
}

void SendPlan::Finish(std::int64_t tokens) {
  BATON_CHECK(tokens <= prompt_tokens_ && AllReady(tokens), "{} of {} tokens", tokens, prompt_tokens_);
  prompt_tokens_ = tokens;
  finished_ = true;
}

bool SendPlan::AllReady(std::int64_t tokens) const {
  return std::ranges::all_of(ready_tokens_, [&](std::int64_t ready) { return ready == tokens; });
}

bool SendPlan::Complete() const {
  return finished_ &&
         std::ranges::all_of(taken_blocks_, [&](std::int64_t taken) { return taken == AllBlocks(); });
}

std::int64_t SendPlan::ReadyBlocks(std::size_t layer) const {
  // A block that is not full yet will still change, unless it is the prompt's last one.
  if (ready_tokens_[layer] == prompt_tokens_) return AllBlocks();
  return ready_tokens_[layer] / shape_.block_tokens;
}

void SendPlan::AppendRuns(std::size_t layer, std::int64_t from, std::int64_t to,
                          std::vector<PlannedRun>& runs) const {
  const auto longest =
      static_cast<std::uint32_t>(std::max<std::uint64_t>(1, shape_.message_bytes / shape_.block_bytes));
  for (std::int64_t i = from; i < to; ++i) {
    const BlockIndex source = source_[static_cast<std::size_t>(i)];
    const BlockIndex target = target_[static_cast<std::size_t>(i)];
    if (i > from) {
      PlannedRun& last = runs.back();
      if (source.value == last.source.value + last.count && target.value == last.target.value + last.count &&
          last.count < longest) {
        ++last.count;
        continue;
      }
    }
    runs.push_back({.layer = static_cast<std::uint16_t>(layer),
                    .source = source,
                    .target = target,
                    .count = 1,
                    .place = static_cast<std::uint32_t>(i)});
  }
}

std::vector<PlannedMessage> SendPlan::Pack(const std::vector<PlannedRun>& runs) const {
  std::vector<PlannedMessage> messages;
  PlannedMessage packed;
  std::uint64_t packed_bytes = 0;
  for (const PlannedRun& run : runs) {
    const std::uint64_t bytes = run.count * shape_.block_bytes;
    if (bytes >= kMessageBytes) {
      messages.push_back({run});
      continue;
    }
    if (packed_bytes + bytes > kMessageBytes || packed.size() == kMessageRunsMax) {
      messages.push_back(std::exchange(packed, {}));
      packed_bytes = 0;
    }
    packed.push_back(run);
    packed_bytes += bytes;
  }
  if (!packed.empty()) messages.push_back(std::move(packed));
  return messages;
}

std::vector<PlannedMessage> SendPlan::Take() {
  if (target_.empty()) return {};
  std::vector<PlannedRun> runs;
  for (std::size_t layer = 0; layer < ready_tokens_.size(); ++layer) {
    const std::int64_t ready = ReadyBlocks(layer);
    std::int64_t& taken = taken_blocks_[layer];
    const auto ranks = static_cast<std::size_t>(shape_.ranks);
    const auto waiting = static_cast<std::uint64_t>(ready - taken) * shape_.block_bytes * ranks;
    if (waiting == 0 || (!finished_ && waiting < shape_.layer_wise_bytes_min)) continue;
    layer_wise_ = layer_wise_ || !finished_;
    for (std::size_t rank = 0; rank < ranks; ++rank)
      AppendRuns(rank * ready_tokens_.size() + layer, taken, ready, runs);
    taken = ready;
  }
  return Pack(runs);
}

}  // namespace baton::kvtransfer
