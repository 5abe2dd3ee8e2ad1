#pragma once

#include <cstdint>
#include <vector>

#include "common/base/ids.h"
#include "kvtransfer/data_header.h"

namespace baton::kvtransfer {

/// What a message has at most, unless one block alone is longer. It is small enough to stay in a core's own
/// cache while it is summed, copied and handed on, and goes over TCP as one segment of UCX's.
inline constexpr std::uint64_t kMessageBytes = 512U << 10;
/// One that is put together in a slot of host memory: a copy out of a GPU's memory wants to be long.
inline constexpr std::uint64_t kMessageBytesMax = 2U << 20;
/// UCX sends no more pieces at one go, besides the header.
inline constexpr std::size_t kMessageRunsMax = 15;

/// A run of blocks of the receiver's, and where the sender has them, if they lie alike there.
struct PlannedRun {
  std::uint16_t layer = 0;  // of all ranks', one rank's after another's
  BlockIndex source;
  BlockIndex target;
  std::uint32_t count = 0;
  std::uint32_t place = 0;  // of the first in the receiver's block table
  friend bool operator==(const PlannedRun&, const PlannedRun&) = default;
};

/// The runs of one message.
using PlannedMessage = std::vector<PlannedRun>;

/// Which messages carry a prompt's KV, and when: pure. Few, large messages (handoff, rule 8): a run of at
/// least kMessageBytes is cut into messages of its own; smaller runs are packed, as many as one message
/// takes.
class SendPlan {
 public:
  struct Shape {
    int layers = 0;
    int block_tokens = 16;
    std::size_t block_bytes = 0;             // of one block of one rank in one layer, on the wire
    std::uint64_t layer_wise_bytes_min = 0;  // a layer is sent before Finish once so much of it waits
    int ranks = 1;
    std::uint64_t message_bytes = kMessageBytes;  // of a long run that is cut
  };
  /// `source` holds the blocks of `prompt_tokens` positions in order. Of an answer that is still written they
  /// are the first, and `prompt_tokens` is a bound.
  SendPlan(const Shape& shape, std::int64_t prompt_tokens, std::vector<BlockIndex> source);

  /// The receiver's blocks, which lie as the sender's do; until then nothing can be sent.
  void SetTarget(std::vector<BlockIndex> target);
  /// The same where they do not: from here on the plan is made of the receiver's blocks.
  void SetTarget(std::vector<BlockIndex> target, const Shape& shape);
  /// From here on a layer is sent before Finish once so much of it waits.
  void SetLayerWiseBytesMin(std::uint64_t bytes) { shape_.layer_wise_bytes_min = bytes; }
  /// Source blocks that follow those known so far.
  void AddSource(const std::vector<BlockIndex>& blocks);
  /// Positions [first, first + tokens) of `layer` are final. In order of position for each layer.
  void LayerReady(int layer, std::int64_t first_position, std::int64_t tokens);
  /// There are `tokens` positions in the end, and every layer of them is ready: what is left may go, however
  /// small.
  void Finish(std::int64_t tokens);
  /// Messages that can go now; each block of each layer is returned once.
  [[nodiscard]] std::vector<PlannedMessage> Take();
  /// Finished, and everything has been taken.
  [[nodiscard]] bool Complete() const;
  [[nodiscard]] bool AllReady(std::int64_t tokens) const;
  /// Positions that there are, or at most: of those not ready nothing is taken.
  [[nodiscard]] std::int64_t Tokens() const { return prompt_tokens_; }
  /// True where a layer was sent before Finish.
  [[nodiscard]] bool LayerWise() const { return layer_wise_; }

 private:
  [[nodiscard]] std::int64_t ReadyBlocks(std::size_t layer) const;
  [[nodiscard]] std::int64_t AllBlocks() const;
  void AppendRuns(std::size_t layer, std::int64_t from, std::int64_t to, std::vector<PlannedRun>& runs) const;
  [[nodiscard]] std::vector<PlannedMessage> Pack(const std::vector<PlannedRun>& runs) const;

  Shape shape_;
  std::int64_t prompt_tokens_;
  std::vector<BlockIndex> source_;
  std::vector<BlockIndex> target_;
  std::vector<std::int64_t> ready_tokens_;  // per layer
  std::vector<std::int64_t> taken_blocks_;  // per layer
  bool alike_ = true;                       // the receiver's blocks lie as the sender's do
  bool finished_ = false;
  bool layer_wise_ = false;
};

}  // namespace baton::kvtransfer
