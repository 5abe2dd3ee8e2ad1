#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include <absl/container/flat_hash_map.h>
#include <absl/status/statusor.h>

#include "common/grammar/grammar.h"

namespace baton::engine {

/// Grammars by their text, so that requests of one schema share what is known of it. Belongs to one thread.
class GrammarCache {
 public:
  /// InvalidArgument as `grammar::FromText` has it.
  [[nodiscard]] absl::StatusOr<std::shared_ptr<const grammar::Grammar>> Find(std::string_view text);

 private:
  static constexpr std::size_t kGrammarsMax = 32;  // then all are forgotten: each may be some MiB
  absl::flat_hash_map<std::string, std::shared_ptr<const grammar::Grammar>> grammars_;
};

}  // namespace baton::engine
