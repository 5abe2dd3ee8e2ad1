#include "common/cluster/view.h"

#include <algorithm>

namespace baton::cluster {

std::string_view Name(Phase phase) {
  return phase == Phase::kPrefill ? "prefill" : "decode";
}

std::int64_t BlocksFor(std::int64_t tokens, std::int64_t block_tokens) {
  if (block_tokens <= 0) return 0;
  return (tokens + block_tokens - 1) / block_tokens;
}

std::int64_t BlocksToBegin(const WorkerDescription& worker, std::int64_t prompt_tokens,
                           std::int64_t tokens_max) {
  if (worker.phase == Phase::kPrefill) return BlocksFor(prompt_tokens, worker.block_tokens);
  const std::int64_t longest = BlocksFor(tokens_max, worker.block_tokens);
  if (!worker.growth_blocks) return longest;
  return std::min(longest, BlocksFor(prompt_tokens + 1, worker.block_tokens) + *worker.growth_blocks);
}

const WorkerSnapshot* ClusterSnapshot::Find(WorkerId id) const {
  const auto at =
      std::lower_bound(workers.begin(), workers.end(), id,
                       [](const WorkerSnapshot& w, WorkerId wanted) { return w.about.id < wanted; });
  return at != workers.end() && at->about.id == id ? &*at : nullptr;
}

void ClusterView::Apply(const ClusterEvent& event) {
  now_ = std::max(now_, event.at);
  std::visit([this](const auto& what) { On(what); }, event.what);
}

void ClusterView::On(const WorkerJoined& event) {
  workers_[event.worker.id] = Worker{.about = event.worker, .load = {}};
}

void ClusterView::On(const WorkerLeft& event) {
  if (workers_.erase(event.worker) == 0) return;
  for (auto at = requests_.begin(); at != requests_.end();) {
    Request& request = at->second;
    std::erase_if(request.parts, [&](const Part& part) { return part.worker == event.worker; });
    at = request.ended && request.parts.empty() ? requests_.erase(at) : std::next(at);
  }
}

void ClusterView::On(const WorkerLeaving& event) {
  if (const auto at = workers_.find(event.worker); at != workers_.end()) at->second.leaving = true;
}

void ClusterView::On(const LoadReported& event) {
  if (const auto at = workers_.find(event.worker); at != workers_.end()) at->second.load = event.load;
}

void ClusterView::On(const RequestQueued& event) {
  requests_.try_emplace(event.request, Request{.prompt_tokens = event.prompt_tokens,
                                               .tokens_max = event.tokens_max,
                                               .prefilled = false,
                                               .ended = false,
                                               .parts = {}});
}

void ClusterView::On(const RequestPlaced& event) {
  const auto at = requests_.find(event.key.request);
  if (at == requests_.end()) return;
  at->second.parts.push_back({event.key.attempt, event.prefill, Phase::kPrefill});
  at->second.parts.push_back({event.key.attempt, event.decode, Phase::kDecode});
}

void ClusterView::On(const RequestPrefilled& event) {
  if (const auto at = requests_.find(event.request); at != requests_.end()) at->second.prefilled = true;
}

void ClusterView::On(const RequestResumed& event) {
  const auto at = requests_.find(event.request);
  if (at == requests_.end()) return;
  at->second.prefilled = false;
  at->second.prompt_tokens = event.prompt_tokens;
}

void ClusterView::On(const AnswerMoves& event) {
  const auto at = requests_.find(event.key.request);
  if (at != requests_.end()) at->second.parts.push_back({event.key.attempt, event.to, Phase::kDecode});
}

void ClusterView::On(const PartReleased& event) {
  const auto at = requests_.find(event.key.request);
  if (at == requests_.end()) return;
  std::erase_if(at->second.parts, [&](const Part& part) {
    return part.worker == event.worker && part.attempt == event.key.attempt;
  });
  DropIfDone(event.key.request);
}

void ClusterView::On(const RequestEnded& event) {
  if (const auto at = requests_.find(event.request); at != requests_.end()) at->second.ended = true;
  DropIfDone(event.request);
}

void ClusterView::On(const DrainBegun& /*event*/) {
  draining_ = true;
}

void ClusterView::DropIfDone(RequestId request) {
  const auto at = requests_.find(request);
  if (at != requests_.end() && at->second.ended && at->second.parts.empty()) requests_.erase(at);
}

bool ClusterView::ReadyBothWays(WorkerId from, WorkerId to) const {
  const auto says_ready = [this](WorkerId who, WorkerId peer) {
    const auto at = workers_.find(who);
    return at != workers_.end() &&
           std::any_of(at->second.load.links.begin(), at->second.load.links.end(),
                       [&](const LinkReport& l) { return l.peer == peer && l.ready; });
  };
  return says_ready(from, to) && says_ready(to, from);
}

WorkerSnapshot ClusterView::Look(const Worker& worker) const {
  const LoadReport& load = worker.load;
  WorkerSnapshot out;
  out.about = worker.about;
  out.draining = load.draining || worker.leaving;
  out.ready = load.ready && !out.draining;
  out.step_seconds = load.step_seconds;
  out.power = load.power;
  out.links = load.links;
  std::sort(out.links.begin(), out.links.end(), [](const auto& a, const auto& b) { return a.peer < b.peer; });
  for (LinkReport& link : out.links) link.ready = ReadyBothWays(worker.about.id, link.peer);

  std::int64_t queued = 0;
  std::int64_t queued_tokens = 0;
  std::int64_t running = 0;
  std::int64_t promised = 0;
  for (const auto& [id, request] : requests_) {
    for (const Part& part : request.parts) {
      if (part.worker != worker.about.id) continue;
      const bool prefill = part.phase == Phase::kPrefill;
      promised += BlocksToBegin(worker.about, request.prompt_tokens, request.tokens_max);
      out.placed_tokens += prefill ? request.prompt_tokens : request.tokens_max;
      const bool queues = prefill && !request.prefilled && !request.ended;
      queued += queues ? 1 : 0;
      queued_tokens += queues ? request.prompt_tokens : 0;
      running += queues ? 0 : 1;
    }
  }
  // A report lags behind what has been placed since; other routers' requests are in the report alone. The
  // greater of the two overstates neither.
  out.queued_requests = std::max(load.queued_requests, queued);
  out.queued_prompt_tokens = std::max(load.queued_prompt_tokens, queued_tokens);
  out.running_requests = std::max(load.running_requests, running);
  const std::int64_t unpromised = worker.about.kv_blocks - load.kv_blocks_quarantined - promised;
  out.kv_blocks_free = std::max<std::int64_t>(0, std::min(load.kv_blocks_free, unpromised));
  return out;
}

ClusterSnapshot ClusterView::Snapshot() const {
  ClusterSnapshot out;
  out.now = now_;
  out.draining = draining_;
  for (const auto& [id, request] : requests_) {
    if (request.prefilled || request.ended) continue;
    ++out.queued_requests;
    out.queued_prompt_tokens += request.prompt_tokens;
  }
  out.workers.reserve(workers_.size());
  for (const auto& [id, worker] : workers_) out.workers.push_back(Look(worker));
  return out;
}

}  // namespace baton::cluster
