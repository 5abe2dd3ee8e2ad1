#include "engine/constrain/grammar_cache.h"

#include <utility>

#include "common/base/error.h"
#include "common/grammar/schema.h"

namespace baton::engine {

absl::StatusOr<std::shared_ptr<const grammar::Grammar>> GrammarCache::Find(std::string_view text) {
  std::string key(text);
  if (const auto found = grammars_.find(key); found != grammars_.end()) return found->second;
  BATON_ASSIGN_OR_RETURN(std::shared_ptr<const grammar::Grammar> grammar, grammar::FromText(text));
  if (grammars_.size() >= kGrammarsMax) grammars_.clear();
  grammars_.emplace(std::move(key), grammar);
  return grammar;
}

}  // namespace baton::engine
