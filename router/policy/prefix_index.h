#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <vector>

#include "common/base/ids.h"

namespace baton::router {

/// Tokens of a block of a prefix's name, whatever a worker's own blocks have.
inline constexpr std::int64_t kPrefixBlockTokens = 16;

/// How much of a prompt a prefill worker probably has the KV of.
struct HeldPrefix {
  WorkerId worker;
  std::int64_t blocks = 0;
  friend bool operator==(const HeldPrefix&, const HeldPrefix&) = default;
};

/// Which prefill workers have computed which prefixes, by name (common/text/prefix_hash.h). A guess for
/// placement: a worker may have given a prefix up since, and two prefixes may have one name; the worker looks
/// for itself. Bounded: the names that were used least recently go first. Not thread-safe.
class PrefixIndex {
 public:
  explicit PrefixIndex(std::size_t names_max) : names_max_(names_max) {}

  /// `worker` has computed a prompt with these prefixes, shortest first.
  void Note(WorkerId worker, const std::vector<std::uint64_t>& names);
  /// The worker is gone, with all that it held.
  void Forget(WorkerId worker);
  /// Who holds the first of `names`, and how many in a row; by worker id.
  [[nodiscard]] std::vector<HeldPrefix> Find(const std::vector<std::uint64_t>& names) const;
  [[nodiscard]] std::size_t Size() const { return entries_.size(); }

 private:
  struct Entry {
    std::vector<WorkerId> workers;  // rising
    std::list<std::uint64_t>::iterator age;
  };

  const std::size_t names_max_;
  std::map<std::uint64_t, Entry> entries_;
  std::list<std::uint64_t> ages_;  // least recently used first; longer prefixes before shorter ones
};

}  // namespace baton::router
