#include "engine/kv/prefix_cache.h"

#include <algorithm>
#include <iterator>

#include "common/base/check.h"
#include "common/base/error.h"
#include "common/text/prefix_hash.h"

namespace baton::engine {

PrefixCache::PrefixCache(BlockPool& pool, std::int64_t blocks_max, const PinOptions& pins, int block_tokens)
    : pool_(pool), blocks_max_(blocks_max), pins_(pins), block_tokens_(block_tokens) {}

PrefixCache::Tokens PrefixCache::TokensOf(std::span<const TokenId> prompt, std::int64_t block) const {
  return prompt.subspan(static_cast<std::size_t>(block * block_tokens_),
                        static_cast<std::size_t>(block_tokens_));
}

std::int64_t PrefixCache::CachedTokens(std::string_view salt, std::span<const TokenId> prompt) const {
  return std::ssize(Find(salt, prompt, (std::ssize(prompt) - 1) / block_tokens_)) * block_tokens_;
}

absl::StatusOr<PromptBlocks> PrefixCache::Allocate(std::string_view salt, std::span<const TokenId> prompt,
                                                   bool share) {
  BATON_CHECK(!prompt.empty(), "blocks for an empty prompt");
  const std::int64_t total = BlocksFor(std::ssize(prompt), block_tokens_);
  const std::int64_t most = share ? (std::ssize(prompt) - 1) / block_tokens_ : 0;
  const std::vector<Entry*> found = Find(salt, prompt, most);
  BATON_ASSIGN_OR_RETURN(PromptBlocks out, Share(found, total, /*take_pinned=*/true));
  if (share) ++(found.empty() ? counts_.misses : counts_.hits);
  counts_.tokens_reused += out.cached_tokens;
  CountHit(found);
  return out;
}

absl::StatusOr<PromptBlocks> PrefixCache::AllocateToReceive(std::string_view salt,
                                                            std::span<const TokenId> tokens) {
  const std::int64_t blocks = std::ssize(tokens) / block_tokens_;
  BATON_CHECK(blocks > 0 && std::ssize(tokens) == blocks * block_tokens_, "{} tokens are no whole blocks",
              tokens.size());
  return Share(Find(salt, tokens, blocks), blocks, /*take_pinned=*/false);
}

/// `total` blocks, those of `found` first; room is made for the others.
absl::StatusOr<PromptBlocks> PrefixCache::Share(const std::vector<Entry*>& found, std::int64_t total,
                                                bool take_pinned) {
  PromptBlocks out;
  for (const Entry* entry : found) out.blocks.push_back(entry->block);
  pool_.Retain(out.blocks);  // before anything is evicted
  if (!found.empty()) Touch(found.back());

  const std::int64_t wanted = total - std::ssize(found);
  const PoolCounts pool = pool_.Counts();
  const std::int64_t stay = take_pinned || pool.free >= wanted ? 0 : PinnedAlone();
  if (pool.free < wanted && pool.free + pool.cached - stay >= wanted) Evict(wanted - pool.free, take_pinned);
  absl::StatusOr<BlockTable> fresh = pool_.Allocate(wanted);
  if (!fresh.ok()) {
    pool_.Release(out.blocks);
    return fresh.status();
  }
  out.blocks.insert(out.blocks.end(), fresh->begin(), fresh->end());
  out.cached_tokens = std::ssize(found) * block_tokens_;
  return out;
}

void PrefixCache::Insert(std::string_view salt, std::span<const TokenId> prompt, const BlockTable& blocks) {
  const std::int64_t full = std::ssize(prompt) / block_tokens_;
  BATON_CHECK(std::ssize(blocks) >= full, "{} blocks for {} tokens", blocks.size(), prompt.size());
  const std::vector<Entry*> found = Find(salt, prompt, full);
  Entry* leaf = found.empty() ? nullptr : found.back();
  std::uint64_t name = leaf != nullptr ? leaf->name : text::PrefixRoot(salt);
  for (std::int64_t i = std::ssize(found); i < full; ++i) {
    name = text::PrefixChild(name, TokensOf(prompt, i));
    Entry* added = Add(name, leaf, salt, TokensOf(prompt, i), blocks[static_cast<std::size_t>(i)]);
    if (added == nullptr) break;
    leaf = added;
  }
  if (leaf != nullptr) Touch(leaf);
}

/// Nothing where there is no room, or where another prefix has the name.
PrefixCache::Entry* PrefixCache::Add(std::uint64_t name, Entry* parent, std::string_view salt, Tokens tokens,
                                     BlockIndex block) {
  if (entries_.contains(name) || pool_.Cached(block)) return nullptr;
  if (parent != nullptr) ++parent->children;  // so that it stays while room is made
  if (std::ssize(entries_) >= blocks_max_ && Evict(1, /*pinned=*/false) == 0) {
    if (parent != nullptr) --parent->children;
    return nullptr;
  }
  auto made = std::make_unique<Entry>();
  Entry* entry = made.get();
  entry->name = name;
  entry->parent = parent;
  if (parent == nullptr) entry->salt = salt;
  entry->tokens.assign(tokens.begin(), tokens.end());
  entry->block = block;
  entry->age = ages_.insert(ages_.end(), entry);
  entries_.emplace(name, std::move(made));
  pool_.Retain({block});
  pool_.SetCached(block, true);
  return entry;
}

std::vector<PrefixCache::Entry*> PrefixCache::Find(std::string_view salt, std::span<const TokenId> prompt,
                                                   std::int64_t blocks_max) const {
  std::vector<Entry*> found;
  std::uint64_t name = text::PrefixRoot(salt);
  for (std::int64_t i = 0; i < blocks_max; ++i) {
    name = text::PrefixChild(name, TokensOf(prompt, i));
    Entry* entry = FindChild(name, found.empty() ? nullptr : found.back(), salt, TokensOf(prompt, i));
    if (entry == nullptr) break;
    found.push_back(entry);
  }
  return found;
}

PrefixCache::Entry* PrefixCache::FindChild(std::uint64_t name, const Entry* parent, std::string_view salt,
                                           Tokens tokens) const {
  const auto at = entries_.find(name);
  if (at == entries_.end()) return nullptr;
  Entry* entry = at->second.get();
  const bool same = entry->parent == parent && (parent != nullptr || entry->salt == salt) &&
                    std::ranges::equal(tokens, entry->tokens);
  return same ? entry : nullptr;
}

/// The leaf, then its parents: each parent is then younger than its children.
void PrefixCache::Touch(Entry* leaf) {
  for (Entry* entry = leaf; entry != nullptr; entry = entry->parent) {
    Ages& ages = entry->pinned ? pinned_ages_ : ages_;
    ages.splice(ages.end(), ages, entry->age);
  }
}

/// Pins what has been found often enough, from the root on: a parent of a pinned block is pinned too.
void PrefixCache::CountHit(const std::vector<Entry*>& found) {
  ++lookups_;
  for (Entry* entry : found) {
    ++entry->hits;
    entry->last_hit = lookups_;
  }
  if (pins_.hits <= 0) return;
  for (Entry* entry : found) {
    if (entry->pinned) continue;
    if (entry->hits < pins_.hits || !MakePinRoom()) return;
    // It was touched just now, before its parent.
    const auto place = entry->parent != nullptr ? entry->parent->age : pinned_ages_.end();
    pinned_ages_.splice(place, ages_, entry->age);
    entry->pinned = true;
  }
}

/// Room for one more pin: the least recently used one goes, a child before its parent, but none that this
/// lookup has found. It is as if used now: where it stood among the others nobody remembers.
bool PrefixCache::MakePinRoom() {
  if (std::ssize(pinned_ages_) < pins_.blocks_max) return true;
  if (pinned_ages_.empty() || pinned_ages_.front()->last_hit == lookups_) return false;
  pinned_ages_.front()->pinned = false;
  ages_.splice(ages_.end(), pinned_ages_, pinned_ages_.begin());
  return true;
}

/// Pinned blocks that nobody uses.
std::int64_t PrefixCache::PinnedAlone() const {
  return std::ranges::count_if(pinned_ages_,
                               [&](const Entry* entry) { return pool_.References(entry->block) == 1; });
}

/// Takes out up to `count` blocks that nobody uses, oldest leaves first; how many it was. Pinned ones only
/// where `pinned` says so, after all others. One pass does, since children are older than their parents.
std::int64_t PrefixCache::Evict(std::int64_t count, bool pinned) {
  std::int64_t evicted = 0;
  const auto evict = [&](const Ages& ages) {
    for (auto at = ages.begin(); at != ages.end() && evicted < count;) {
      Entry* entry = *at++;
      if (entry->children > 0 || pool_.References(entry->block) > 1) continue;
      Remove(entry);
      ++evicted;
    }
  };
  evict(ages_);
  if (pinned) evict(pinned_ages_);
  counts_.evictions += evicted;
  return evicted;
}

void PrefixCache::Remove(Entry* entry) {
  if (entry->parent != nullptr) --entry->parent->children;
  pool_.SetCached(entry->block, false);
  pool_.Release({entry->block});
  (entry->pinned ? pinned_ages_ : ages_).erase(entry->age);
  entries_.erase(entry->name);
}

void PrefixCache::Clear() {
  while (!ages_.empty()) Remove(ages_.front());
  while (!pinned_ages_.empty()) Remove(pinned_ages_.front());
}

PrefixCounts PrefixCache::Counts() const {
  PrefixCounts counts = counts_;
  counts.blocks = std::ssize(entries_);
  counts.pinned = std::ssize(pinned_ages_);
  return counts;
}

}  // namespace baton::engine
