#include "engine/kv/block_pool.h"

#include <algorithm>
#include <set>

#include <catch2/catch.hpp>

#include "common/base/error.h"
#include "common/base/random.h"

namespace baton::engine {
namespace {

BlockTable Blocks(std::uint32_t first, std::uint32_t count) {
  BlockTable blocks;
  for (std::uint32_t i = 0; i < count; ++i) blocks.emplace_back(first + i);
  return blocks;
}

TEST_CASE("a fresh pool gives one contiguous run") {
  BlockPool pool(32);

  const auto blocks = pool.Allocate(20);

  REQUIRE(blocks.ok());
  CHECK(Runs(*blocks) == std::vector<BlockRun>{{BlockIndex(0), 20}});
  CHECK(pool.Counts().free == 12);
  CHECK(pool.Counts().used == 20);
}

TEST_CASE("the smallest run that holds all is taken") {
  BlockPool pool(30);
  REQUIRE(pool.Allocate(30).ok());
  pool.Release(Blocks(2, 10));
  pool.Release(Blocks(14, 4));
  pool.Release(Blocks(20, 8));

  const auto blocks = pool.Allocate(4);

  REQUIRE(blocks.ok());
  CHECK(*blocks == Blocks(14, 4));
}

TEST_CASE("where no run holds all, the largest go first") {
  BlockPool pool(30);
  REQUIRE(pool.Allocate(30).ok());
  pool.Release(Blocks(1, 3));
  pool.Release(Blocks(10, 6));
  pool.Release(Blocks(20, 4));

  const auto blocks = pool.Allocate(9);

  REQUIRE(blocks.ok());
  CHECK(Runs(*blocks) == std::vector<BlockRun>{{BlockIndex(10), 6}, {BlockIndex(1), 3}});
}

TEST_CASE("too many blocks are refused whole, and the message says wanted and free") {
  BlockPool pool(8);
  REQUIRE(pool.Allocate(5).ok());

  const auto blocks = pool.Allocate(4);

  REQUIRE_FALSE(blocks.ok());
  CHECK(blocks.status().code() == kResourceExhausted);
  CHECK(Message(blocks.status()) == "4 KV blocks wanted, 3 free");
  CHECK(pool.Counts().free == 3);
}

TEST_CASE("a block with two references is free after the second release") {
  BlockPool pool(4);
  const BlockTable blocks = *pool.Allocate(2);
  pool.Retain(blocks);

  pool.Release(blocks);
  CHECK(pool.Counts().used == 2);
  pool.Release(blocks);
  CHECK(pool.Counts().used == 0);
}

TEST_CASE("a quarantined block is given to nobody") {
  BlockPool pool(4);
  const BlockTable blocks = *pool.Allocate(3);
  pool.Quarantine(blocks);

  CHECK(pool.Counts().quarantined == 3);
  CHECK_FALSE(pool.Allocate(2).ok());
  pool.EndQuarantine(blocks);
  CHECK(pool.Allocate(4).ok());
}

/// The blocks that `Allocate` is to choose of those that are free, the plain way: a search for each piece.
BlockTable PlainChoice(std::vector<bool> free, std::int64_t count) {
  BlockTable chosen;
  while (std::ssize(chosen) < count) {
    const auto left = static_cast<std::uint32_t>(count - std::ssize(chosen));
    std::vector<BlockRun> runs;
    for (std::uint32_t block = 0; block < free.size(); ++block) {
      if (!free[block]) continue;
      if (block == 0 || !free[block - 1]) runs.push_back({.first = BlockIndex(block), .count = 0});
      ++runs.back().count;
    }
    const BlockRun* best = nullptr;
    for (const BlockRun& run : runs) {
      const bool fits = run.count >= left;
      const bool best_fits = best != nullptr && best->count >= left;
      const bool better = best == nullptr || (fits != best_fits ? fits
                                              : fits            ? run.count < best->count
                                                                : run.count > best->count);
      if (better) best = &run;
    }
    for (std::uint32_t i = 0; i < std::min(left, best->count); ++i) {
      chosen.emplace_back(best->first.value + i);
      free[best->first.value + i] = false;
    }
  }
  return chosen;
}

TEST_CASE("a fragmented pool gives what a search for each piece would") {
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    CAPTURE(seed);
    RandomStream random(seed);
    const std::int64_t size = random.Between(1, 120);
    BlockPool pool(size);
    REQUIRE(pool.Allocate(size).ok());
    std::vector<bool> free(static_cast<std::size_t>(size));
    const std::int64_t in_ten = random.Between(1, 9);
    for (std::uint32_t block = 0; block < free.size(); ++block) {
      free[block] = random.Between(0, 9) < in_ten;
      if (free[block]) pool.Release({BlockIndex(block)});
    }
    const std::int64_t count = random.Between(0, pool.Counts().free);

    REQUIRE(*pool.Allocate(count) == PlainChoice(free, count));
  }
}

/// What the pool should know, kept the plain way.
struct PlainPool {
  std::vector<int> references;
  std::vector<bool> quarantined;
};

void CheckAgainst(const PlainPool& plain, const BlockPool& pool) {
  const PoolCounts counts = pool.Counts();
  const auto quarantined = std::count(plain.quarantined.begin(), plain.quarantined.end(), true);
  const auto used =
      std::count_if(plain.references.begin(), plain.references.end(), [](int r) { return r > 0; });
  REQUIRE(counts.quarantined == quarantined);
  REQUIRE(counts.used == used);
  REQUIRE(counts.free == counts.total - used - quarantined);
}

TEST_CASE("random use agrees with a plain model, and every block comes back") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    CAPTURE(seed);
    RandomStream random(seed);
    constexpr std::int64_t kBlocks = 64;
    BlockPool pool(kBlocks);
    PlainPool plain{std::vector<int>(kBlocks), std::vector<bool>(kBlocks)};
    std::vector<BlockTable> held;
    std::vector<BlockTable> quarantined;
    const auto take = [&](std::vector<BlockTable>& from) {
      const auto at = static_cast<std::size_t>(random.Between(0, std::ssize(from) - 1));
      std::swap(from[at], from.back());
      BlockTable table = std::move(from.back());
      from.pop_back();
      return table;
    };
    for (int step = 0; step < 2000; ++step) {
      switch (random.Between(0, 4)) {
        case 0: {
          const std::int64_t count = random.Between(0, 20);
          const bool fits = count <= pool.Counts().free;
          auto blocks = pool.Allocate(count);
          REQUIRE(blocks.ok() == fits);
          if (!fits) break;
          REQUIRE(std::ssize(*blocks) == count);
          for (const BlockIndex b : *blocks) {
            REQUIRE(plain.references.at(b.value)++ == 0);
            REQUIRE_FALSE(plain.quarantined.at(b.value));
          }
          held.push_back(*std::move(blocks));
          break;
        }
        case 1: {
          if (held.empty()) break;
          BlockTable copy = held[static_cast<std::size_t>(random.Between(0, std::ssize(held) - 1))];
          pool.Retain(copy);
          for (const BlockIndex b : copy) ++plain.references.at(b.value);
          held.push_back(std::move(copy));
          break;
        }
        case 2: {
          if (held.empty()) break;
          const BlockTable table = take(held);
          pool.Release(table);
          for (const BlockIndex b : table) --plain.references.at(b.value);
          break;
        }
        case 3: {
          if (held.empty()) break;
          BlockTable table = take(held);
          const bool alone = std::all_of(table.begin(), table.end(),
                                         [&](BlockIndex b) { return plain.references.at(b.value) == 1; });
          if (!alone) {
            held.push_back(std::move(table));
            break;
          }
          pool.Quarantine(table);
          for (const BlockIndex b : table) {
            plain.references.at(b.value) = 0;
            plain.quarantined.at(b.value) = true;
          }
          quarantined.push_back(std::move(table));
          break;
        }
        case 4: {
          if (quarantined.empty()) break;
          const BlockTable table = take(quarantined);
          pool.EndQuarantine(table);
          for (const BlockIndex b : table) plain.quarantined.at(b.value) = false;
          break;
        }
      }
      CheckAgainst(plain, pool);
    }
    for (const BlockTable& table : held) pool.Release(table);
    for (const BlockTable& table : quarantined) pool.EndQuarantine(table);
    const auto all = pool.Allocate(kBlocks);
    REQUIRE(all.ok());
    CHECK(Runs(*all).size() == 1);  // and neighbours have joined
  }
}

}  // namespace
}  // namespace baton::engine
