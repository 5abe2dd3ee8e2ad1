#pragma once

#include <array>
#include <cstring>
#include <optional>
#include <vector>

#include "common/base/ids.h"
#include "common/base/random.h"
#include "kvtransfer/handoff.h"
#include "tests/scenarios/world.h"

namespace baton::scenarios {

/// A worker's KV memory and who owns which block of it: the simulation's judge of every read and write.
class BlockLedger {
 public:
  static constexpr std::int64_t kBlocks = 16;
  static constexpr int kLayers = 2;

  BlockLedger(World& world, int process)
      : world_(world),
        process_(process),
        memory_(static_cast<std::size_t>(kLayers * kBlocks) * Layout().BlockBytes()),
        owners_(static_cast<std::size_t>(kBlocks)) {}

  static kvtransfer::KvLayout Layout() {
    kvtransfer::KvLayout layout;
    layout.layers = kLayers;
    layout.kv_heads = 1;
    layout.head_dim = 2;
    layout.block_tokens = 2;
    layout.dtype = "f32";
    return layout;  // 32 bytes a block and layer
  }
  [[nodiscard]] kvtransfer::ArenaView Arena() {
    return {.region = {.address = memory_.data(), .bytes = memory_.size()},
            .blocks = kBlocks,
            .layout = Layout()};
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
      for (int layer = 0; layer < kLayers; ++layer)
        std::memset(At(layer, block), 0xee, Layout().BlockBytes());
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

  /// The KV that `request` has at `position`: the same wherever it is computed.
  void Compute(RequestId request, int layer, std::size_t position, const std::vector<BlockIndex>& blocks) {
    for (const std::size_t offset : Offsets(position)) {
      const std::uint64_t word = Word(request, layer, position, offset);
      std::memcpy(At(layer, blocks[position / 2]) + offset, &word, sizeof word);
    }
  }
  /// At every position before `positions`.
  [[nodiscard]] bool Holds(RequestId request, const std::vector<BlockIndex>& blocks,
                           std::size_t positions) const {
    for (int layer = 0; layer < kLayers; ++layer) {
      for (std::size_t position = 0; position < positions; ++position) {
        for (const std::size_t offset : Offsets(position)) {
          std::uint64_t word = 0;
          std::memcpy(&word, At(layer, blocks[position / 2]) + offset, sizeof word);
          if (word != Word(request, layer, position, offset)) return false;
        }
      }
    }
    return true;
  }

  /// Who owns the block that `address` lies in.
  [[nodiscard]] std::optional<RequestKey> OwnerAt(const std::byte* address) const {
    const auto offset = static_cast<std::size_t>(address - memory_.data());
    return owners_[offset / Layout().BlockBytes() % static_cast<std::size_t>(kBlocks)];
  }
  [[nodiscard]] std::size_t BlockAt(const std::byte* address) const {
    const auto offset = static_cast<std::size_t>(address - memory_.data());
    return offset / Layout().BlockBytes() % static_cast<std::size_t>(kBlocks);
  }

 private:
  /// Where a position's words are in its block, [k|v][head][token][dim]: two positions of 8 bytes each.
  static std::array<std::size_t, 2> Offsets(std::size_t position) {
    return {position % 2 * 8, 16 + position % 2 * 8};
  }
  static std::uint64_t Word(RequestId request, int layer, std::size_t position, std::size_t i) {
    return Mix64(request.value * 1000003 + static_cast<std::uint64_t>(layer) * 4099 + position * 64 + i);
  }
  [[nodiscard]] std::byte* At(int layer, BlockIndex block) { return memory_.data() + Offset(layer, block); }
  [[nodiscard]] const std::byte* At(int layer, BlockIndex block) const {
    return memory_.data() + Offset(layer, block);
  }
  static std::size_t Offset(int layer, BlockIndex block) {
    return (static_cast<std::size_t>(layer) * kBlocks + block.value) * Layout().BlockBytes();
  }

  World& world_;
  const int process_;
  std::vector<std::byte> memory_;
  std::vector<std::optional<RequestKey>> owners_;
};

}  // namespace baton::scenarios
