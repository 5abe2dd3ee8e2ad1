#pragma once

#include <algorithm>
#include <cstring>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "common/base/ids.h"
#include "common/base/random.h"
#include "kvtransfer/handoff.h"

namespace baton::storm {

/// A worker's KV memory and who owns which block of it. Every byte tells whose it is: an owned block holds
/// what only (request, attempt, layer, position, offset) has, a free one holds poison of its own. A block
/// that is given back is poisoned at once and is the first to be taken again, so that a late write or read
/// shows. Control loop only, but for what the transport reads and writes.
class Memory {
 public:
  static constexpr int kLayers = 3;
  static constexpr std::int64_t kBlocks = 256;
  static constexpr std::size_t kBlockBytes = 8192;  // of one layer: what Layout() makes

  /// `wrong` is told of every byte that is not what it must be.
  explicit Memory(std::function<void(const std::string&)> wrong)
      : wrong_(std::move(wrong)),
        bytes_(kBlockBytes * kLayers * kBlocks),
        owners_(static_cast<std::size_t>(kBlocks)) {
    for (std::uint32_t block = 0; block < kBlocks; ++block) free_.emplace_back(block);
    Poison(free_);
  }

  /// 8 KiB a block and layer: long runs, and short ones that are packed.
  static kvtransfer::KvLayout Layout() {
    kvtransfer::KvLayout layout;
    layout.layers = kLayers;
    layout.kv_heads = 2;
    layout.head_dim = 32;
    layout.dtype = "f32";
    layout.numerics_class = "storm";
    return layout;
  }
  [[nodiscard]] kvtransfer::ArenaView Arena() {
    return {
        .region = {.address = bytes_.data(), .bytes = bytes_.size()}, .blocks = kBlocks, .layout = Layout()};
  }

  /// `count` free blocks, those freed last first; with `scattered` in no order. None where there are too few.
  [[nodiscard]] std::optional<std::vector<BlockIndex>> Take(std::size_t count, RequestKey key,
                                                            bool scattered) {
    if (free_.size() < count) return std::nullopt;
    std::vector<BlockIndex> taken(free_.end() - static_cast<std::ptrdiff_t>(count), free_.end());
    free_.erase(free_.end() - static_cast<std::ptrdiff_t>(count), free_.end());
    std::ranges::sort(taken);
    if (scattered) {
      std::ranges::sort(taken, {}, [&](BlockIndex block) { return Mix64(key.request.value + block.value); });
    }
    CheckPoison(taken, key);
    for (const BlockIndex block : taken) owners_[block.value] = key;
    return taken;
  }
  /// `count` free blocks in a row, which go as one message; as `Take` where there are none.
  [[nodiscard]] std::optional<std::vector<BlockIndex>> TakeRun(std::size_t count, RequestKey key) {
    std::vector<BlockIndex> sorted = free_;
    std::ranges::sort(sorted);
    for (std::size_t i = 0; i + count <= sorted.size(); ++i) {
      if (sorted[i + count - 1].value - sorted[i].value != count - 1) continue;
      const auto in_run = [&](BlockIndex block) {
        return block >= sorted[i] && block <= sorted[i + count - 1];
      };
      std::ranges::stable_partition(free_, [&](BlockIndex block) { return !in_run(block); });
      break;
    }
    return Take(count, key, /*scattered=*/false);
  }
  void Give(const std::vector<BlockIndex>& blocks, RequestKey key) {
    for (const BlockIndex block : blocks) {
      if (owners_[block.value] != key)
        wrong_(fmt::format("block {} freed by {}, which does not own it", block, key));
      owners_[block.value].reset();
    }
    Poison(blocks);
    free_.insert(free_.end(), blocks.begin(), blocks.end());
  }
  [[nodiscard]] std::size_t Free() const { return free_.size(); }
  void CheckFree() { CheckPoison(free_, {}); }

  /// Writes what `key` computes in `layer`.
  void Compute(RequestKey key, int layer, const std::vector<BlockIndex>& blocks) {
    for (std::size_t position = 0; position < blocks.size(); ++position)
      Fill(At(layer, blocks[position]), KvSeed(key, layer, position));
  }
  /// Tells `wrong` where `blocks` do not hold all that `key` computed.
  void CheckHolds(RequestKey key, const std::vector<BlockIndex>& blocks, const char* when) {
    for (int layer = 0; layer < kLayers; ++layer) {
      for (std::size_t position = 0; position < blocks.size(); ++position) {
        const auto at = FirstDifference(At(layer, blocks[position]), KvSeed(key, layer, position));
        if (at) {
          return wrong_(fmt::format("{} of {}: layer {} position {} (block {}) differs from byte {} on", when,
                                    key, layer, position, blocks[position], *at));
        }
      }
    }
  }
  /// Who owns the block that `address` lies in.
  [[nodiscard]] std::optional<RequestKey> OwnerAt(const std::byte* address) const {
    const auto offset = static_cast<std::size_t>(address - bytes_.data());
    return owners_[offset / kBlockBytes % static_cast<std::size_t>(kBlocks)];
  }
  [[nodiscard]] std::optional<RequestKey> OwnerOf(BlockIndex block) const {
    return block.value < owners_.size() ? owners_[block.value] : std::nullopt;
  }

 private:
  static std::uint64_t KvSeed(RequestKey key, int layer, std::size_t position) {
    return Mix64(key.request.value * 1000003 + key.attempt.value) + static_cast<std::uint64_t>(layer) * 4099 +
           position;
  }
  static std::uint64_t PoisonSeed(int layer, BlockIndex block) {
    return ~(static_cast<std::uint64_t>(layer) * 65537 + block.value);
  }
  static std::uint64_t Next(std::uint64_t word) {
    return word * 6364136223846793005ULL + 1442695040888963407ULL;
  }
  static void Fill(std::span<std::byte> block, std::uint64_t seed) {
    std::uint64_t word = Mix64(seed);
    for (std::size_t i = 0; i < block.size(); i += sizeof word, word = Next(word))
      std::memcpy(block.data() + i, &word, sizeof word);
  }
  static std::optional<std::size_t> FirstDifference(std::span<const std::byte> block, std::uint64_t seed) {
    std::uint64_t word = Mix64(seed);
    for (std::size_t i = 0; i < block.size(); i += sizeof word, word = Next(word)) {
      if (std::memcmp(block.data() + i, &word, sizeof word) != 0) return i;
    }
    return std::nullopt;
  }
  std::span<std::byte> At(int layer, BlockIndex block) {
    return {bytes_.data() + (static_cast<std::size_t>(layer) * kBlocks + block.value) * kBlockBytes,
            kBlockBytes};
  }
  void Poison(const std::vector<BlockIndex>& blocks) {
    for (const BlockIndex block : blocks) {
      for (int layer = 0; layer < kLayers; ++layer) Fill(At(layer, block), PoisonSeed(layer, block));
    }
  }
  void CheckPoison(const std::vector<BlockIndex>& blocks, RequestKey taker) {
    for (const BlockIndex block : blocks) {
      for (int layer = 0; layer < kLayers; ++layer) {
        const auto at = FirstDifference(At(layer, block), PoisonSeed(layer, block));
        if (at) {
          wrong_(
              fmt::format("block {} layer {} was written from byte {} on while it was free (next owner {})",
                          block, layer, *at, taker));
        }
      }
    }
  }

  std::function<void(const std::string&)> wrong_;
  std::vector<std::byte> bytes_;
  std::vector<std::optional<RequestKey>> owners_;
  std::vector<BlockIndex> free_;  // the last is taken first
};

}  // namespace baton::storm
