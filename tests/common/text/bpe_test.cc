#include "common/text/bpe.h"

#include <optional>
#include <random>
#include <string>

#include <catch2/catch.hpp>

namespace baton::text {
namespace {

/// Each byte is its own token.
std::vector<TokenId> Bytes(std::string_view word) {
  std::vector<TokenId> ids;
  for (const char byte : word) ids.push_back(static_cast<std::uint8_t>(byte));
  return ids;
}

/// The definition, word for word: find the pair of lowest rank, the leftmost of equals; merge it; again.
std::vector<TokenId> MergeByDefinition(std::string_view word, const std::vector<Merge>& merges) {
  std::vector<TokenId> ids = Bytes(word);
  for (;;) {
    std::optional<std::size_t> best_rank;
    std::size_t best_place = 0;
    for (std::size_t i = 0; i + 1 < ids.size(); ++i) {
      for (std::size_t rank = 0; rank < merges.size(); ++rank) {
        if (merges[rank].left != ids[i] || merges[rank].right != ids[i + 1]) continue;
        if (!best_rank || rank < *best_rank) {
          best_rank = rank;
          best_place = i;
        }
      }
    }
    if (!best_rank) return ids;
    ids[best_place] = merges[*best_rank].result;
    ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(best_place) + 1);
  }
}

/// Random merges of tokens that exist by then, each making a new token.
std::vector<Merge> RandomMerges(std::mt19937& random) {
  std::vector<TokenId> tokens = {'a', 'b', 'c'};
  std::vector<Merge> merges;
  for (TokenId made = 256; made < 280; ++made) {
    const TokenId left = tokens[random() % tokens.size()];
    const TokenId right = tokens[random() % tokens.size()];
    bool known = false;
    for (const Merge& merge : merges) known |= merge.left == left && merge.right == right;
    if (known) continue;
    merges.push_back({.left = left, .right = right, .result = made});
    tokens.push_back(made);
  }
  std::shuffle(merges.begin(), merges.end(), random);
  return merges;
}

TEST_CASE("the heap merges as the definition does, on random merges and words") {
  std::mt19937 random(7);
  for (int round = 0; round < 300; ++round) {
    const std::vector<Merge> merges = RandomMerges(random);
    const Bpe bpe(merges);
    Bpe::Scratch scratch;
    std::string word;
    for (std::size_t i = random() % 40; i > 0; --i) word += static_cast<char>('a' + random() % 3);
    std::vector<TokenId> ids;
    bpe.Append(Bytes(word), scratch, ids);
    INFO("round " << round << " word " << word);
    CHECK(ids == MergeByDefinition(word, merges));
  }
}

TEST_CASE("long words are merged as short ones are") {
  std::mt19937 random(8);
  for (int round = 0; round < 12; ++round) {
    const std::vector<Merge> merges = RandomMerges(random);
    const Bpe bpe(merges);
    Bpe::Scratch scratch;
    std::string word;
    for (std::size_t i = 520 + random() % 400; i > 0; --i) {
      // Runs of a letter as well as a mixture.
      word += round % 3 == 0 ? 'a' : static_cast<char>('a' + random() % 3);
    }
    std::vector<TokenId> ids;
    bpe.Append(Bytes(word), scratch, ids);
    INFO("round " << round);
    CHECK(ids == MergeByDefinition(word, merges));
  }
}

TEST_CASE("scratch carries nothing from word to word") {
  const Bpe bpe({{.left = 'a', .right = 'a', .result = 256}});
  Bpe::Scratch scratch;
  std::vector<TokenId> ids;

  for (const std::string_view word : {"aaaa", "", "a", "ba"}) bpe.Append(Bytes(word), scratch, ids);

  CHECK(ids == std::vector<TokenId>{256, 256, 'a', 'b', 'a'});
}

}  // namespace
}  // namespace baton::text
