#include "router/policy/prefix_index.h"

#include <algorithm>

namespace baton::router {

void PrefixIndex::Note(WorkerId worker, const std::vector<std::uint64_t>& names) {
  // Longest first: what a prompt shares with others is then the youngest. What is past the bound would be
  // dropped at once.
  for (std::size_t i = std::min(names.size(), names_max_); i-- > 0;) {
    const auto [at, fresh] = entries_.try_emplace(names[i]);
    Entry& entry = at->second;
    if (fresh) {
      entry.age = ages_.insert(ages_.end(), names[i]);
    } else {
      ages_.splice(ages_.end(), ages_, entry.age);
    }
    const auto place = std::lower_bound(entry.workers.begin(), entry.workers.end(), worker);
    if (place == entry.workers.end() || *place != worker) entry.workers.insert(place, worker);
  }
  while (entries_.size() > names_max_) {
    entries_.erase(ages_.front());
    ages_.pop_front();
  }
}

void PrefixIndex::Forget(WorkerId worker) {
  for (auto at = entries_.begin(); at != entries_.end();) {
    std::erase(at->second.workers, worker);
    if (at->second.workers.empty()) {
      ages_.erase(at->second.age);
      at = entries_.erase(at);
    } else {
      ++at;
    }
  }
}

std::vector<HeldPrefix> PrefixIndex::Find(const std::vector<std::uint64_t>& names) const {
  std::vector<HeldPrefix> found;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const auto at = entries_.find(names[i]);
    if (at == entries_.end()) break;
    const auto depth = static_cast<std::int64_t>(i);
    if (i == 0) {
      for (const WorkerId worker : at->second.workers) found.push_back({worker, 0});
    }
    bool any = false;
    for (HeldPrefix& held : found) {
      if (held.blocks != depth) continue;
      if (!std::binary_search(at->second.workers.begin(), at->second.workers.end(), held.worker)) continue;
      ++held.blocks;
      any = true;
    }
    if (!any) break;
  }
  return found;
}

}  // namespace baton::router
