#include "engine/kv/prefix_cache.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include <catch2/catch.hpp>

#include "common/base/error.h"
#include "common/base/random.h"
#include "common/text/prefix_hash.h"

namespace baton::engine {
namespace {

std::vector<TokenId> Prompt(std::int64_t length, TokenId first = 0) {
  std::vector<TokenId> tokens;
  for (std::int64_t i = 0; i < length; ++i) tokens.push_back(first + static_cast<TokenId>(i));
  return tokens;
}

/// A prompt goes through: allocated, computed, kept, let go. Returns what was reused.
std::int64_t Compute(PrefixCache& cache, BlockPool& pool, std::string_view salt,
                     const std::vector<TokenId>& prompt) {
  const auto got = cache.Allocate(salt, prompt);
  REQUIRE(got.ok());
  cache.Insert(salt, prompt, got->blocks);
  pool.Release(got->blocks);
  return got->cached_tokens;
}

TEST_CASE("a prompt that comes again finds its full blocks, but its last token is left to compute") {
  BlockPool pool(16);
  PrefixCache cache(pool, 16);

  CHECK(Compute(cache, pool, "", Prompt(40)) == 0);
  CHECK(Compute(cache, pool, "", Prompt(40)) == 32);
  CHECK(Compute(cache, pool, "", Prompt(32)) == 16);
  CHECK(Compute(cache, pool, "", Prompt(33)) == 32);
  CHECK(Compute(cache, pool, "", Prompt(16)) == 0);

  const PrefixCounts counts = cache.Counts();
  CHECK(counts.blocks == 2);
  CHECK(counts.hits == 3);
  CHECK(counts.misses == 2);
  CHECK(counts.tokens_reused == 32 + 16 + 32);
}

TEST_CASE("shared blocks are the same blocks, and what follows them is new") {
  BlockPool pool(16);
  PrefixCache cache(pool, 16);
  const auto first = *cache.Allocate("", Prompt(48));
  cache.Insert("", Prompt(48), first.blocks);
  std::vector<TokenId> other = Prompt(48);
  other[40] = 7777;

  const auto second = *cache.Allocate("", other);

  CHECK(second.cached_tokens == 32);
  CHECK(std::equal(first.blocks.begin(), first.blocks.begin() + 2, second.blocks.begin()));
  CHECK(first.blocks[2] != second.blocks[2]);
  CHECK(pool.Counts().used == 4);
  pool.Release(first.blocks);
  pool.Release(second.blocks);
  CHECK(pool.Counts().used == 0);
  CHECK(pool.Counts().cached == 3);
}

TEST_CASE("the same tokens under another salt are found by nobody") {
  BlockPool pool(16);
  PrefixCache cache(pool, 16);

  CHECK(Compute(cache, pool, "alice", Prompt(40)) == 0);
  CHECK(Compute(cache, pool, "bob", Prompt(40)) == 0);
  CHECK(Compute(cache, pool, "", Prompt(40)) == 0);
  CHECK(Compute(cache, pool, "alice", Prompt(40)) == 32);
}

TEST_CASE("a pool that runs short takes the oldest leaves first") {
  BlockPool pool(6);
  PrefixCache cache(pool, 6);
  Compute(cache, pool, "", Prompt(32, 0));
  Compute(cache, pool, "", Prompt(32, 1000));
  Compute(cache, pool, "", Prompt(33, 0));  // used again: younger now

  const auto large = *cache.Allocate("", Prompt(48, 5000));  // 2 are free

  CHECK(cache.Counts().evictions == 1);
  pool.Release(large.blocks);
  CHECK(Compute(cache, pool, "", Prompt(33, 1000)) == 16);  // its leaf is gone, its root is here
  CHECK(Compute(cache, pool, "", Prompt(33, 0)) == 32);
}

TEST_CASE("blocks in use are never evicted, and a prompt that does not fit evicts nothing") {
  BlockPool pool(6);
  PrefixCache cache(pool, 6);
  const auto live = *cache.Allocate("", Prompt(32));
  cache.Insert("", Prompt(32), live.blocks);
  Compute(cache, pool, "", Prompt(32, 1000));

  const auto too_large = cache.Allocate("", Prompt(80, 5000));

  CHECK(too_large.status().code() == kResourceExhausted);
  CHECK(cache.Counts().evictions == 0);
  const auto fits = *cache.Allocate("", Prompt(64, 5000));
  CHECK(cache.Counts().evictions == 2);
  pool.Release(fits.blocks);
  pool.Release(live.blocks);
  CHECK(Compute(cache, pool, "", Prompt(33)) == 32);
}

TEST_CASE("the cache keeps no more blocks than its share") {
  BlockPool pool(16);
  PrefixCache cache(pool, 3);

  Compute(cache, pool, "", Prompt(64));
  CHECK(cache.Counts().blocks == 3);
  Compute(cache, pool, "", Prompt(32, 1000));

  CHECK(cache.Counts().blocks == 3);
  CHECK(pool.Counts().cached == 3);
  CHECK(Compute(cache, pool, "", Prompt(33, 1000)) == 32);
}

TEST_CASE("of two that compute one prompt at the same time, one leaves its blocks") {
  BlockPool pool(16);
  PrefixCache cache(pool, 16);
  const auto one = *cache.Allocate("", Prompt(40));
  const auto two = *cache.Allocate("", Prompt(40));

  cache.Insert("", Prompt(40), one.blocks);
  cache.Insert("", Prompt(40), two.blocks);

  pool.Release(one.blocks);
  pool.Release(two.blocks);
  CHECK(pool.Counts().cached == 2);
  CHECK(pool.Counts().free == 14);
}

/// Two different blocks of one name, as an attacker would find them: blocks whose first 15 tokens lead to
/// states that differ in the last token's bits alone.
std::pair<std::vector<TokenId>, std::vector<TokenId>> CollidingBlocks() {
  constexpr std::uint64_t kStep = 0x9e3779b97f4a7c15;  // of prefix_hash.cc
  std::map<std::uint64_t, std::pair<TokenId, std::uint64_t>> seen;
  for (TokenId first = 0;; ++first) {
    std::vector<TokenId> block(15, 1);
    block[0] = first;
    const std::uint64_t state = text::PrefixChild(text::PrefixRoot(""), block) + kStep;
    const auto [at, fresh] = seen.try_emplace(state >> 31, first, state);
    if (fresh) continue;
    std::vector<TokenId> other(15, 1);
    other[0] = at->second.first;
    block.push_back(0);
    other.push_back(static_cast<TokenId>(state ^ at->second.second));
    return {block, other};
  }
}

TEST_CASE("two blocks of one name are not taken for each other") {
  auto [mine, yours] = CollidingBlocks();
  REQUIRE(mine != yours);
  REQUIRE(text::PrefixNames("", mine, 16) == text::PrefixNames("", yours, 16));
  mine.push_back(3);
  yours.push_back(3);
  BlockPool pool(16);
  PrefixCache cache(pool, 16);

  CHECK(Compute(cache, pool, "", mine) == 0);
  CHECK(Compute(cache, pool, "", yours) == 0);
  CHECK(Compute(cache, pool, "", yours) == 0);  // the name is taken
  CHECK(Compute(cache, pool, "", mine) == 16);
}

/// What a block must hold: the salt, and the prompt up to its end.
using Content = std::pair<std::string, std::vector<TokenId>>;

Content ContentOf(const std::string& salt, const std::vector<TokenId>& prompt, std::size_t block) {
  return {salt, {prompt.begin(), prompt.begin() + static_cast<std::ptrdiff_t>((block + 1) * kBlockTokens)}};
}

/// A cache in use, beside what each block holds and what was ever kept.
struct Playground {
  struct Live {
    std::string salt;
    std::vector<TokenId> prompt;
    BlockTable blocks;
  };

  Playground(std::int64_t blocks, std::int64_t share, const PinOptions& pins)
      : pool(blocks), cache(pool, share, pins), pins_max(pins.blocks_max) {}

  void Begin(const std::string& salt, const std::vector<TokenId>& prompt) {
    const PoolCounts before = pool.Counts();
    const auto got = cache.Allocate(salt, prompt);
    if (!got.ok()) {
      REQUIRE(pool.Counts().free == before.free);
      return;
    }
    const auto cached = static_cast<std::size_t>(got->cached_tokens / kBlockTokens);
    REQUIRE(got->cached_tokens < std::ssize(prompt));
    std::size_t expected = 0;
    const auto reusable = (prompt.size() - 1) / kBlockTokens;
    while (expected < reusable && kept.contains(ContentOf(salt, prompt, expected))) ++expected;
    REQUIRE(cached <= expected);
    if (cache.Counts().evictions == 0 && unlimited) REQUIRE(cached == expected);
    for (std::size_t i = 0; i < got->blocks.size(); ++i) {
      Content& holds = contents[got->blocks[i].value];
      if (i < cached) {
        REQUIRE(holds == ContentOf(salt, prompt, i));
        continue;
      }
      for (const Live& other : live) REQUIRE(!std::ranges::count(other.blocks, got->blocks[i]));
      holds = (i + 1) * kBlockTokens <= prompt.size() ? ContentOf(salt, prompt, i) : Content{"partial", {}};
    }
    live.push_back({salt, prompt, got->blocks});
  }
  void End(std::size_t index, bool computed) {
    const Live ended = live[index];
    live.erase(live.begin() + static_cast<std::ptrdiff_t>(index));
    if (computed) {
      cache.Insert(ended.salt, ended.prompt, ended.blocks);
      for (std::size_t i = 0; i < ended.prompt.size() / kBlockTokens; ++i)
        kept.insert(ContentOf(ended.salt, ended.prompt, i));
    }
    pool.Release(ended.blocks);
  }
  void CheckCounts() {
    std::set<BlockIndex> used;
    for (const Live& one : live) used.insert(one.blocks.begin(), one.blocks.end());
    const PoolCounts counts = pool.Counts();
    REQUIRE(counts.used == std::ssize(used));
    REQUIRE(counts.free + counts.used + counts.cached == counts.total);
    REQUIRE(counts.cached <= cache.Counts().blocks);
    REQUIRE(cache.Counts().pinned <= pins_max);
    most_pinned = std::max(most_pinned, cache.Counts().pinned);
  }

  BlockPool pool;
  PrefixCache cache;
  std::int64_t pins_max;
  std::int64_t most_pinned = 0;
  bool unlimited = false;
  std::vector<Live> live;
  std::map<std::uint32_t, Content> contents;
  std::set<Content> kept;  // ever
};

TEST_CASE("random prompts, salts and evictions: no block holds another's KV, and every block comes back") {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    CAPTURE(seed);
    RandomStream random(seed);
    const bool roomy = seed % 3 == 0;
    const std::int64_t blocks = roomy ? 4000 : 40;
    const PinOptions pins{.hits = random.Between(0, 3), .blocks_max = random.Between(0, 12)};
    Playground play(blocks, roomy ? blocks : random.Between(1, blocks), pins);
    play.unlimited = roomy;
    for (int step = 0; step < 600; ++step) {
      if (play.live.empty() || (random.Between(0, 2) > 0 && play.live.size() < 8)) {
        // Few distinct blocks, so that prefixes are shared and differ at every depth.
        std::vector<TokenId> prompt;
        const std::int64_t length = random.Between(1, 120);
        while (std::ssize(prompt) < length)
          prompt.insert(prompt.end(), kBlockTokens, static_cast<TokenId>(random.Between(0, 1)));
        prompt.resize(static_cast<std::size_t>(length));
        constexpr const char* kSalts[] = {"", "a", "b"};
        play.Begin(kSalts[random.Between(0, 2)], prompt);
      } else {
        play.End(static_cast<std::size_t>(random.Between(0, std::ssize(play.live) - 1)),
                 random.Between(0, 3) > 0);
      }
      play.CheckCounts();
    }
    REQUIRE(play.cache.Counts().hits > 0);
    REQUIRE((roomy || play.cache.Counts().evictions > 0));
    if (roomy && pins.hits > 0) REQUIRE(play.most_pinned == pins.blocks_max);
    while (!play.live.empty()) play.End(0, true);
    play.cache.Clear();
    CHECK(play.pool.Counts().free == blocks);
  }
}

TEST_CASE("a beginning that was found often enough survives prompts that come once, and others do not") {
  for (const std::int64_t hits : {0, 3}) {
    CAPTURE(hits);
    BlockPool pool(20);
    PrefixCache cache(pool, 16, {.hits = hits, .blocks_max = 4});
    const std::vector<TokenId> root = Prompt(33);
    const std::vector<TokenId> rare = Prompt(33, 5000);
    for (int i = 0; i < 4; ++i) Compute(cache, pool, "", root);
    for (int i = 0; i < 3; ++i) Compute(cache, pool, "", rare);
    CHECK(cache.Counts().pinned == (hits == 3 ? 2 : 0));

    for (TokenId once = 0; once < 20; ++once) Compute(cache, pool, "", Prompt(48, 10000 + once * 100));

    CHECK(cache.CachedTokens("", root) == (hits == 3 ? 32 : 0));
    CHECK(cache.CachedTokens("", rare) == 0);
    CHECK(cache.Counts().blocks == 16);
  }
}

TEST_CASE("pins are bounded, and the one that is found least recently makes way") {
  BlockPool pool(40);
  PrefixCache cache(pool, 40, {.hits = 1, .blocks_max = 3});
  const std::vector<TokenId> first = Prompt(33);
  const std::vector<TokenId> second = Prompt(33, 1000);
  const std::vector<TokenId> large = Prompt(160, 2000);
  for (const auto* prompt : {&first, &first, &second, &second, &large, &large})
    Compute(cache, pool, "", *prompt);
  CHECK(cache.Counts().pinned == 3);
  Compute(cache, pool, "", second);  // in place of the last two of the large one's

  for (TokenId once = 0; once < 30; ++once) Compute(cache, pool, "", Prompt(160, 10000 + once * 1000));

  CHECK(cache.Counts().pinned == 3);
  CHECK(cache.CachedTokens("", first) == 0);
  CHECK(cache.CachedTokens("", second) == 32);
  CHECK(cache.CachedTokens("", large) == 16);
}

TEST_CASE("a prompt that needs the memory takes pinned blocks too, after all others") {
  BlockPool pool(10);
  PrefixCache cache(pool, 10, {.hits = 1, .blocks_max = 8});
  const std::vector<TokenId> root = Prompt(65);
  for (int i = 0; i < 2; ++i) Compute(cache, pool, "", root);
  REQUIRE(cache.Counts().pinned == 4);
  Compute(cache, pool, "", Prompt(64, 1000));

  const auto some = cache.Allocate("", Prompt(96, 3000));
  REQUIRE(some.ok());
  CHECK(cache.CachedTokens("", root) == 64);
  pool.Release(some->blocks);
  const auto all = cache.Allocate("", Prompt(160, 4000));
  REQUIRE(all.ok());

  CHECK(cache.Counts().pinned == 0);
  CHECK(cache.Counts().blocks == 0);
  pool.Release(all->blocks);
  CHECK(pool.Counts().free == 10);
}

TEST_CASE("what is to be received takes no pinned block, and where it does not fit it evicts nothing") {
  BlockPool pool(10);
  PrefixCache cache(pool, 10, {.hits = 1, .blocks_max = 4});
  const std::vector<TokenId> root = Prompt(65);
  for (int i = 0; i < 2; ++i) Compute(cache, pool, "", root);
  Compute(cache, pool, "", Prompt(64, 1000));
  REQUIRE(cache.Counts().pinned == 4);
  REQUIRE(pool.Counts().free == 2);

  CHECK(cache.AllocateToReceive("", Prompt(112, 3000)).status().code() == kResourceExhausted);
  CHECK(cache.Counts().evictions == 0);

  // Pinned blocks that somebody uses are not among those that the cache has to itself.
  const auto user = cache.Allocate("", root);
  REQUIRE(user.ok());
  const auto fits = cache.AllocateToReceive("", Prompt(80, 3000));
  REQUIRE(fits.ok());
  CHECK(cache.Counts().evictions == 4);
  pool.Release(fits->blocks);
  pool.Release(user->blocks);
  CHECK(cache.CachedTokens("", root) == 64);
}

}  // namespace
}  // namespace baton::engine
