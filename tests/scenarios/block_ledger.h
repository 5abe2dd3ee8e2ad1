#pragma once

#include <array>
#include <cstring>
#include <optional>
#include <vector>

#include "common/base/ids.h"
#include "kvtransfer/handoff.h"
#include "tests/scenarios/world.h"
#include "tests/support/plain_kv.h"

namespace baton::scenarios {

/// A worker's KV memory and who owns which block of it: the simulation's judge of every read and write.
class BlockLedger {
 public:
  static constexpr std::int64_t kBlocks = 16;
  static constexpr int kLayers = 2;

  BlockLedger(World& world, int process, const kvtransfer::KvLayout& layout)
      : world_(world),
        process_(process),
        layout_(layout),
        memory_(static_cast<std::size_t>(layout.RankLayers() * kBlocks) * layout.BlockBytes()),
        owners_(static_cast<std::size_t>(kBlocks)),
        kv_(layout, kBlocks, memory_) {}

  /// 32 bytes a block and layer, where ranks, block size and type are these.
  static kvtransfer::KvLayout MakeLayout(int ranks = 1, int block_tokens = 2, const char* dtype = "f32") {
    kvtransfer::KvLayout layout;
    layout.layers = kLayers;
    layout.kv_heads = 2;
    layout.head_dim = 1;
    layout.block_tokens = block_tokens;
    layout.dtype = dtype;
    layout.element_bytes = layout.dtype == "f32" ? 4 : 2;
    layout.ranks = ranks;
    return layout;
  }
  [[nodiscard]] const kvtransfer::KvLayout& Layout() const { return layout_; }
  [[nodiscard]] kvtransfer::ArenaView Arena() {
    return {
        .region = {.address = memory_.data(), .bytes = memory_.size()}, .blocks = kBlocks, .layout = layout_};
  }
  [[nodiscard]] std::size_t BlocksFor(std::int64_t tokens) const {
    return static_cast<std::size_t>((tokens + layout_.block_tokens - 1) / layout_.block_tokens);
  }

  /// `count` free blocks, often in a row; none where there are not so many.
  [[nodiscard]] std::optional<std::vector<BlockIndex>> Take(std::size_t count, RequestKey key) {
    std::vector<BlockIndex> free;
    for (std::uint32_t block = 0; block < kBlocks; ++block) {
      if (!owners_[block]) free.emplace_back(block);
    }
    if (free.size() < count) return std::nullopt;
    if (world_.Chance(500))
      std::swap(free[0], free[static_cast<std::size_t>(world_.Between(0, std::ssize(free) - 1))]);
    free.resize(count);
    for (const BlockIndex block : free) {
      owners_[block.value] = key;
      for (int layer = 0; layer < layout_.RankLayers(); ++layer)
        std::memset(At(layer, block), 0xee, layout_.BlockBytes());
    }
    return free;
  }
  void Give(const std::vector<BlockIndex>& blocks, RequestKey key) {
    for (const BlockIndex block : blocks) {
      if (owners_[block.value] != key) {
        world_.Violate(fmt::format("worker {}: block {} is freed by {}.{}, which does not own it", process_,
                                   block.value, key.request.value, key.attempt.value));
      }
      owners_[block.value].reset();
    }
  }
  [[nodiscard]] bool AllFree() const {
    return std::ranges::none_of(owners_, [](const auto& owner) { return owner.has_value(); });
  }

  /// The KV that `request` has at positions [first, first + tokens): the same wherever it is computed.
  void Compute(RequestId request, const std::vector<BlockIndex>& blocks, std::int64_t first,
               std::int64_t tokens) {
    kv_.Compute(request.value, blocks, first + tokens, first);
  }
  [[nodiscard]] bool Holds(RequestId request, const std::vector<BlockIndex>& blocks,
                           std::int64_t tokens) const {
    return kv_.Difference(request.value, blocks, tokens) == 0;
  }

  /// Whether `address` lies in the KV memory at all: it may be in a slot where a message is made.
  [[nodiscard]] bool Contains(const std::byte* address) const {
    return address >= memory_.data() && address < memory_.data() + memory_.size();
  }
  /// Who owns the block that `address` lies in.
  [[nodiscard]] std::optional<RequestKey> OwnerAt(const std::byte* address) const {
    const auto offset = static_cast<std::size_t>(address - memory_.data());
    return owners_[offset / layout_.BlockBytes() % static_cast<std::size_t>(kBlocks)];
  }
  [[nodiscard]] std::size_t BlockAt(const std::byte* address) const {
    const auto offset = static_cast<std::size_t>(address - memory_.data());
    return offset / layout_.BlockBytes() % static_cast<std::size_t>(kBlocks);
  }

 private:
  [[nodiscard]] std::byte* At(int layer, BlockIndex block) {
    return memory_.data() + (static_cast<std::size_t>(layer) * kBlocks + block.value) * layout_.BlockBytes();
  }

  World& world_;
  const int process_;
  const kvtransfer::KvLayout layout_;
  std::vector<std::byte> memory_;
  std::vector<std::optional<RequestKey>> owners_;
  test::PlainKv kv_;
};

}  // namespace baton::scenarios
