#include "router/policy/room.h"

#include <algorithm>
#include <optional>
#include <set>
#include <tuple>
#include <utility>

namespace baton::router {
namespace {

using cluster::WorkerSnapshot;

struct Plan {
  std::vector<RoomMove> moves;
  std::int64_t positions = 0;
};

/// One worker that is to make room.
class Maker {
 public:
  Maker(const cluster::ClusterSnapshot& snapshot, const WorkerSnapshot& worker,
        std::span<const RoomAnswer> answers, std::int64_t wanted)
      : snapshot_(snapshot), worker_(worker), answers_(answers), wanted_(wanted) {
    for (std::size_t i = 0; i < answers.size(); ++i) {
      if (answers[i].movable && answers[i].answer.at == worker.about.id) candidates_.push_back(i);
    }
  }

  /// The shortest answer that is enough alone; else those that hold most, one after the other.
  [[nodiscard]] Plan Make(std::size_t moves_max) {
    if (Offers({}) >= wanted_) return {};  // its memory is short for another reason: moves do not help
    SortBy([this](std::size_t i) { return std::pair(answers_[i].answer.positions, std::int64_t{0}); });
    for (const std::size_t index : candidates_) {
      if (const Plan plan = Try({index}, 1); !plan.moves.empty()) return plan;
    }
    SortBy([this](std::size_t i) { return std::pair(-Longest(answers_[i]), -answers_[i].blocks); });
    return Try(candidates_, moves_max);
  }

 private:
  template <typename Key>
  void SortBy(Key key) {
    std::stable_sort(candidates_.begin(), candidates_.end(),
                     [&](std::size_t a, std::size_t b) { return key(a) < key(b); });
  }
  [[nodiscard]] std::int64_t Longest(const RoomAnswer& answer) const {
    return cluster::BlocksFor(answer.answer.tokens_max, worker_.about.block_tokens);
  }
  /// Blocks for a new request once `gone` have left.
  [[nodiscard]] std::int64_t Offers(const std::set<std::size_t>& gone) const {
    std::int64_t used = 0;
    std::int64_t longest = 0;
    for (std::size_t i = 0; i < answers_.size(); ++i) {
      if (answers_[i].answer.at != worker_.about.id || gone.contains(i)) continue;
      used += answers_[i].blocks;
      longest = std::max(longest, Longest(answers_[i]));
    }
    return worker_.about.kv_blocks - std::max(used, longest);
  }
  /// Moves in this order until there is enough; empty where there is not.
  [[nodiscard]] Plan Try(const std::vector<std::size_t>& order, std::size_t moves_max) const {
    Plan plan;
    std::set<std::size_t> gone;
    std::optional<cluster::ClusterSnapshot> after;  // the moves so far; none yet: as it is
    for (const std::size_t index : order) {
      const MovableAnswer& answer = answers_[index].answer;
      const auto to = ChooseDestination(after ? *after : snapshot_, answer);
      if (!to) continue;
      gone.insert(index);
      plan.moves.push_back({index, *to});
      plan.positions += answer.positions;
      if (Offers(gone) >= wanted_) return plan;
      if (plan.moves.size() == moves_max) break;
      if (!after) after = snapshot_;
      auto& snapshot = *after;
      const auto at = std::find_if(snapshot.workers.begin(), snapshot.workers.end(),
                                   [&](const WorkerSnapshot& worker) { return worker.about.id == *to; });
      at->kv_blocks_free -= cluster::BlocksToBegin(at->about, answer.positions, answer.tokens_max);
    }
    return {};
  }

  const cluster::ClusterSnapshot& snapshot_;
  const WorkerSnapshot& worker_;
  const std::span<const RoomAnswer> answers_;
  const std::int64_t wanted_;
  std::vector<std::size_t> candidates_;
};

}  // namespace

std::vector<RoomMove> MakeRoom(const cluster::ClusterSnapshot& snapshot, const RequestSize& request,
                               std::span<const PairScore> scores, std::span<const RoomAnswer> answers,
                               std::size_t moves_max) {
  std::set<WorkerId> short_of_memory;
  for (const PairScore& score : scores) {
    if (score.why == kNoMemoryNow) short_of_memory.insert(score.decode);
  }
  Plan best;
  for (const WorkerId id : short_of_memory) {
    const WorkerSnapshot* worker = snapshot.Find(id);
    if (worker == nullptr) continue;
    const std::int64_t wanted =
        cluster::BlocksToBegin(worker->about, request.prompt_tokens, request.tokens_max);
    Plan plan = Maker(snapshot, *worker, answers, wanted).Make(moves_max);
    if (plan.moves.empty()) continue;
    if (best.moves.empty() ||
        std::tuple(plan.moves.size(), plan.positions) < std::tuple(best.moves.size(), best.positions)) {
      best = std::move(plan);
    }
  }
  return best.moves;
}

}  // namespace baton::router
