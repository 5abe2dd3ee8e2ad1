#include "engine/constrain/constraint.h"

#include <utility>

namespace baton::engine {

Constraint::Constraint(std::shared_ptr<const grammar::Grammar> grammar,
                       std::shared_ptr<const TokenTable> table)
    : grammar_(std::move(grammar)), table_(std::move(table)) {}

ConstraintState Constraint::Advance(ConstraintState state, TokenId token) {
  const std::string_view bytes = table_->BytesOf(token);
  if (bytes.empty()) return {};
  Forget();
  std::int32_t id = IdOf(state.text);
  for (const char byte : bytes) {
    if (id == kDead) return {};
    id = Next(id, static_cast<std::uint8_t>(byte));
  }
  if (id == kDead) return {};
  if (grammar_->HasFreeKeys() && !state.keys.Read(bytes)) return {};
  state.text = visited_[static_cast<std::size_t>(id)]->state;
  return state;
}

std::span<const std::uint64_t> Constraint::Mask(const ConstraintState& state) {
  auto found = masks_.find(state.text);
  if (found == masks_.end()) {
    Forget();
    if (masks_.size() >= kMasksMax) masks_.clear();
    found = masks_.emplace(state.text, Walk(IdOf(state.text))).first;
  }
  return grammar_->HasFreeKeys() ? WithoutRepeats(found->second, state.keys) : found->second;
}

/// Where a plain byte leads, whichever it is; dead where that differs.
std::int32_t Constraint::PlainNext(std::int32_t id) {
  std::int32_t all = kUnknown;
  for (unsigned byte = 0x20; byte < 0x7f; ++byte) {
    if (!TokenTable::IsPlain(static_cast<std::uint8_t>(byte))) continue;
    const std::int32_t next = Next(id, static_cast<std::uint8_t>(byte));
    if (next == kDead || (all != kUnknown && next != all)) return kDead;
    all = next;
  }
  return all;
}

std::int32_t Constraint::PlainRun(std::int32_t id) {
  if (visited_[static_cast<std::size_t>(id)]->plain_run != kUnknown)
    return visited_[static_cast<std::size_t>(id)]->plain_run;
  std::int32_t run = 0;
  for (std::int32_t at = id; run < kPlainRunMax; ++run) {
    const std::int32_t next = PlainNext(at);
    if (next == kDead) break;
    if (next == at) run = kPlainRunMax - 1;  // it goes on for ever
    at = next;
  }
  return visited_[static_cast<std::size_t>(id)]->plain_run = run;
}

/// A key ends with a quote: the other tokens need no look.
std::span<const std::uint64_t> Constraint::WithoutRepeats(std::span<const std::uint64_t> mask,
                                                          const grammar::KeyMemory& keys) {
  without_repeats_.assign(mask.begin(), mask.end());
  keys_ = keys;
  for (const TokenId token : table_->TokensWithQuotes(keys.QuotesToKeyEnd())) {
    const auto at = static_cast<std::size_t>(token);
    const std::uint64_t bit = std::uint64_t{1} << (at % 64);
    if ((mask[at / 64] & bit) != 0 && keys_.WouldRepeat(table_->BytesOf(token)))
      without_repeats_[at / 64] &= ~bit;
  }
  return without_repeats_;
}

void Constraint::Forget() {
  if (visited_.size() < kStatesMax) return;
  visited_.clear();
  ids_.clear();
}

std::int32_t Constraint::IdOf(grammar::State state) {
  if (state.empty()) return kDead;
  const auto [found, fresh] = ids_.try_emplace(state, static_cast<std::int32_t>(visited_.size()));
  if (fresh) {
    visited_.push_back(std::make_unique<Visited>());
    visited_.back()->state = std::move(state);
    visited_.back()->next.fill(kUnknown);
  }
  return found->second;
}

std::int32_t Constraint::Next(std::int32_t id, std::uint8_t byte) {
  const auto at = static_cast<std::size_t>(id);
  if (visited_[at]->next[byte] == kUnknown)
    visited_[at]->next[byte] = IdOf(grammar::Step(*grammar_, visited_[at]->state, byte));
  return visited_[at]->next[byte];
}

std::vector<std::uint64_t> Constraint::Walk(std::int32_t start) {
  std::vector<std::uint64_t> mask((static_cast<std::size_t>(table_->VocabularySize()) + 63) / 64);
  if (start == kDead) return mask;
  const std::vector<TokenTable::Entry>& entries = table_->Entries();
  std::vector<std::int32_t> path(static_cast<std::size_t>(table_->DepthMax()) + 1);
  path[0] = start;
  const auto allow = [&](std::uint32_t first, std::uint32_t end) {
    for (std::uint32_t t = first; t < end; ++t) {
      const auto token = static_cast<std::size_t>(table_->Tokens()[t]);
      mask[token / 64] |= std::uint64_t{1} << (token % 64);
    }
  };
  for (std::size_t i = 0; i + 1 < entries.size();) {
    const TokenTable::Entry& entry = entries[i];
    // A subtree of plain bytes inside of a string: all its tokens, without a walk.
    if (entry.plain_height <= kPlainRunMax && entry.plain_height <= PlainRun(path[entry.depth])) {
      allow(entry.tokens, entries[entry.after].tokens);
      i = entry.after;
      continue;
    }
    const std::int32_t next = Next(path[entry.depth], entry.byte);
    if (next == kDead) {
      i = entry.after;
      continue;
    }
    path[entry.depth + 1U] = next;
    // Tokens with the same bytes, and those of shorter bytes before them, are in the order of the trie.
    allow(entry.tokens, entries[i + 1].tokens);
    ++i;
  }
  return mask;
}

}  // namespace baton::engine
