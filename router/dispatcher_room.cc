#include <vector>

#include "router/dispatcher.h"
#include "router/policy/placement.h"
#include "router/policy/room.h"

/// Answers that move so that a request can begin: see policy/room.h for which.
namespace baton::router {

/// For the one that holds up the line, once it has waited: most waits end by themselves as answers do.
void Dispatcher::MakeRoomForFirst() {
  if (!options_.make_room || !short_of_memory_ || clock_.Now() < room_at_) return;
  Request* first = Find(*short_of_memory_);
  if (first == nullptr || clock_.Now() < first->place_after ||
      clock_.Now() - first->job.arrived < kRoomPatience) {
    return;
  }
  std::vector<RoomAnswer> answers;
  std::vector<Request*> requests;  // as many
  const cluster::ClusterSnapshot snapshot = view_.Snapshot();
  for (auto& [id, request] : requests_) {
    if (request.move && request.move->reason == MoveReason::kRoom) return;  // one after the other
    const Part* writer = Movable(request);
    for (const Part& part : request.held) {
      const cluster::WorkerSnapshot* at = snapshot.Find(part.worker);
      if (part.phase != cluster::Phase::kDecode || at == nullptr) continue;
      const MovableAnswer answer = AnswerOf(request, part.worker);
      // Of all answers to the prompt; `answer` is one of them.
      const std::int64_t positions = std::ssize(*request.job.prompt) + TokensOf(request);
      const std::int64_t most = SizeOfWaiting(request, snapshot).tokens_max;
      answers.push_back({.answer = answer,
                         .blocks = cluster::BlocksToBegin(at->about, positions, most),
                         .movable = &part == writer});
      requests.push_back(&request);
    }
  }
  const RequestSize size = SizeOfWaiting(*first, snapshot);
  const PlacementResult placed = Place(snapshot, size);
  if (placed.placement) return;
  room_at_ = clock_.Now() + kRoomPause;
  const auto moves = MakeRoom(snapshot, size, placed.scores, answers, kMovesAtOnce);
  for (const RoomMove& move : moves) {
    Request& request = *requests[move.answer];
    BeginMove(request, *Movable(request), move.to, MoveReason::kRoom);
  }
}

}  // namespace baton::router
