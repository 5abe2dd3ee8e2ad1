#include "common/text/bpe.h"

#include <algorithm>

#include "common/base/check.h"

namespace baton::text {
namespace {

std::uint64_t PairKey(TokenId left, TokenId right) {
  return (std::uint64_t{static_cast<std::uint32_t>(left)} << 32) | static_cast<std::uint32_t>(right);
}

constexpr auto kLater = [](const auto& a, const auto& b) { return a.rank_and_place > b.rank_and_place; };

}  // namespace

Bpe::Bpe(const std::vector<Merge>& merges) {
  BATON_CHECK(merges.size() < UINT32_MAX);
  rules_.reserve(merges.size());
  std::uint32_t rank = 0;
  for (const Merge& merge : merges) {
    rules_.insert_or_assign(PairKey(merge.left, merge.right), Rule{.rank = rank++, .result = merge.result});
  }
}

const Bpe::Rule* Bpe::FindRule(TokenId left, TokenId right) const {
  const auto rule = rules_.find(PairKey(left, right));
  return rule == rules_.end() ? nullptr : &rule->second;
}

void Bpe::Consider(std::uint32_t at, Scratch& scratch) const {
  const Scratch::Symbol& left = scratch.symbols[at];
  const Rule* rule = FindRule(left.id, scratch.symbols[left.next].id);
  if (rule == nullptr) return;
  scratch.heap.push_back({.rank_and_place = (std::uint64_t{rule->rank} << 32) | at, .result = rule->result});
}

void Bpe::Append(std::span<const TokenId> word, Scratch& scratch, std::vector<TokenId>& ids) const {
  BATON_CHECK(word.size() < Scratch::kNone, "a word of {} tokens", word.size());
  std::vector<Scratch::Symbol>& symbols = scratch.symbols;
  std::vector<Scratch::Candidate>& heap = scratch.heap;
  symbols.clear();
  heap.clear();
  const auto length = static_cast<std::uint32_t>(word.size());
  for (std::uint32_t i = 0; i < length; ++i) {
    symbols.push_back({.id = word[i],
                       .previous = i == 0 ? Scratch::kNone : i - 1,
                       .next = i + 1 == length ? Scratch::kNone : i + 1});
  }
  for (std::uint32_t i = 0; i + 1 < length; ++i) Consider(i, scratch);
  std::make_heap(heap.begin(), heap.end(), kLater);

  const auto note = [&](std::uint32_t at) {
    const std::size_t before = heap.size();
    Consider(at, scratch);
    if (heap.size() > before) std::push_heap(heap.begin(), heap.end(), kLater);
  };
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), kLater);
    const Scratch::Candidate best = heap.back();
    heap.pop_back();
    const auto at = static_cast<std::uint32_t>(best.rank_and_place);
    Scratch::Symbol& left = symbols[at];
    if (left.merged_away || left.next == Scratch::kNone) continue;
    Scratch::Symbol& right = symbols[left.next];
    const Rule* rule = FindRule(left.id, right.id);
    if (rule == nullptr || rule->result != best.result) continue;  // a neighbour has changed since
    left.id = best.result;
    right.merged_away = true;
    left.next = right.next;
    if (left.next != Scratch::kNone) symbols[left.next].previous = at;
    if (left.previous != Scratch::kNone) note(left.previous);
    if (left.next != Scratch::kNone) note(at);
  }
  for (std::uint32_t i = length == 0 ? Scratch::kNone : 0; i != Scratch::kNone; i = symbols[i].next) {
    ids.push_back(symbols[i].id);
  }
}

}  // namespace baton::text
