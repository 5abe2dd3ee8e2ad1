#include "engine/sample/token_history.h"

namespace baton::engine {

void TokenHistory::AddPrompt(std::span<const TokenId> tokens) {
  for (const TokenId token : tokens) EntryOf(token);
}

TokenHistory::Entry& TokenHistory::EntryOf(TokenId token) {
  const auto [at, added] = index_.try_emplace(token, entries_.size());
  if (added) entries_.push_back({.token = token});
  return entries_[at->second];
}

}  // namespace baton::engine
