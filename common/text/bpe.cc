#include "common/text/bpe.h"

#include <algorithm>
#include <functional>

#include "common/base/check.h"

namespace baton::text {
namespace {

// From here on buckets beat the heap: measured on runs of one character.
constexpr std::size_t kLongWord = 512;

std::uint64_t PairKey(TokenId left, TokenId right) {
  return (std::uint64_t{static_cast<std::uint32_t>(left)} << 32) | static_cast<std::uint32_t>(right);
}

}  // namespace

void Bpe::Scratch::Heap::Push(Candidate candidate) {
  entries_.push_back((std::uint64_t{candidate.rank} << 32) | candidate.place);
  std::push_heap(entries_.begin(), entries_.end(), std::greater<>());
}

bool Bpe::Scratch::Heap::Pop(Candidate& candidate) {
  if (entries_.empty()) return false;
  std::pop_heap(entries_.begin(), entries_.end(), std::greater<>());
  candidate = {.rank = static_cast<std::uint32_t>(entries_.back() >> 32),
               .place = static_cast<std::uint32_t>(entries_.back())};
  entries_.pop_back();
  return true;
}

void Bpe::Scratch::Buckets::Clear() {
  buckets_.clear();
  ranks_.clear();
}

void Bpe::Scratch::Buckets::Push(Candidate candidate) {
  Bucket& bucket = buckets_[candidate.rank];
  if (bucket.taken == bucket.places.size()) {
    ranks_.push_back(candidate.rank);
    std::push_heap(ranks_.begin(), ranks_.end(), std::greater<>());
    bucket = {};
  }
  bucket.in_order = bucket.in_order && (bucket.places.empty() || bucket.places.back() <= candidate.place);
  bucket.places.push_back(candidate.place);
}

bool Bpe::Scratch::Buckets::Pop(Candidate& candidate) {
  if (ranks_.empty()) return false;
  candidate.rank = ranks_.front();
  Bucket& bucket = buckets_.find(candidate.rank)->second;
  if (!bucket.in_order) {
    std::sort(bucket.places.begin() + static_cast<std::ptrdiff_t>(bucket.taken), bucket.places.end());
    bucket.in_order = true;
  }
  candidate.place = bucket.places[bucket.taken++];
  if (bucket.taken == bucket.places.size()) {
    std::pop_heap(ranks_.begin(), ranks_.end(), std::greater<>());
    ranks_.pop_back();
  }
  return true;
}

Bpe::Bpe(const std::vector<Merge>& merges) {
  BATON_CHECK(merges.size() < UINT32_MAX);
  rules_.reserve(merges.size());
  results_.reserve(merges.size());
  std::uint32_t rank = 0;
  for (const Merge& merge : merges) {
    rules_.insert_or_assign(PairKey(merge.left, merge.right), Rule{.rank = rank++, .result = merge.result});
    results_.push_back(merge.result);
  }
}

const Bpe::Rule* Bpe::FindRule(TokenId left, TokenId right) const {
  const auto rule = rules_.find(PairKey(left, right));
  return rule == rules_.end() ? nullptr : &rule->second;
}

template <typename Queue>
void Bpe::MergeAll(Scratch& scratch, Queue& queue) const {
  std::vector<Scratch::Symbol>& symbols = scratch.symbols_;
  const auto consider = [&](std::uint32_t at) {
    ++scratch.steps_;
    const Rule* rule = FindRule(symbols[at].id, symbols[symbols[at].next].id);
    if (rule != nullptr) queue.Push({.rank = rule->rank, .place = at});
  };
  queue.Clear();
  for (std::uint32_t i = 0; i + 1 < symbols.size(); ++i) consider(i);
  for (Scratch::Candidate best; queue.Pop(best);) {
    ++scratch.steps_;
    const std::uint32_t at = best.place;
    Scratch::Symbol& left = symbols[at];
    if (left.merged_away || left.next == Scratch::kNone) continue;
    Scratch::Symbol& right = symbols[left.next];
    const Rule* rule = FindRule(left.id, right.id);
    if (rule == nullptr || rule->result != results_[best.rank]) continue;  // a neighbour has changed since
    left.id = rule->result;
    right.merged_away = true;
    left.next = right.next;
    if (left.next != Scratch::kNone) symbols[left.next].previous = at;
    if (left.previous != Scratch::kNone) consider(left.previous);
    if (left.next != Scratch::kNone) consider(at);
  }
}

void Bpe::Append(std::span<const TokenId> word, Scratch& scratch, std::vector<TokenId>& ids) const {
  BATON_CHECK(word.size() < Scratch::kNone, "a word of {} tokens", word.size());
  if (word.empty()) return;
  std::vector<Scratch::Symbol>& symbols = scratch.symbols_;
  symbols.clear();
  const auto length = static_cast<std::uint32_t>(word.size());
  for (std::uint32_t i = 0; i < length; ++i) {
    symbols.push_back({.id = word[i],
                       .previous = i == 0 ? Scratch::kNone : i - 1,
                       .next = i + 1 == length ? Scratch::kNone : i + 1});
  }
  if (word.size() < kLongWord) {
    MergeAll(scratch, scratch.heap_);
  } else {
    MergeAll(scratch, scratch.buckets_);
  }
  for (std::uint32_t i = 0; i != Scratch::kNone; i = symbols[i].next) ids.push_back(symbols[i].id);
}

}  // namespace baton::text
