#include <algorithm>
#include <utility>

#include "common/base/log.h"
#include "router/dispatcher.h"
#include "router/policy/migration.h"

/// Answers that go on at another decode worker: see move.h, and docs/PROTOCOL.md for the messages.
namespace baton::router {

using cluster::Phase;

/// The part that writes the answer, where that could move now.
const Dispatcher::Part* Dispatcher::Movable(const Request& request) const {
  if (request.answered || request.move || request.answers.size() != 1 || !request.decode_writes)
    return nullptr;
  if (clock_.Now() < request.move_after) return nullptr;
  if (request.job.max_tokens - request.answers.front().Count() < kMoveTokensLeft) return nullptr;
  const Part* writer = nullptr;
  for (const Part& part : request.held) {
    if (part.cancelled) continue;
    if (part.phase == Phase::kPrefill || writer != nullptr) return nullptr;
    writer = &part;
  }
  return writer;
}

MovableAnswer Dispatcher::AnswerOf(const Request& request, WorkerId at) {
  const std::int64_t prompt = std::ssize(*request.job.prompt);
  const std::int64_t longest = prompt + request.job.max_tokens;
  return {.at = at,
          .positions = std::min(prompt + request.answers.front().Count() + kMoveHeadroom, longest - 1),
          .tokens_max = longest};
}

void Dispatcher::BeginMove(Request& request, const Part& writer, WorkerId to, MoveReason reason) {
  const cluster::ClusterSnapshot snapshot = view_.Snapshot();
  const Job& job = request.job;
  const MovableAnswer answer = AnswerOf(request, writer.worker);
  const RequestKey source = writer.key;
  const WorkerId from = writer.worker;
  request.attempt = Attempt{request.attempt.value + 1};
  ++request.moves;
  const RequestKey target{job.id, request.attempt};
  request.move = Move{.source = source, .target = target, .from = from, .to = to, .reason = reason};
  request.moves_to = target;
  request.held.push_back({to, Phase::kDecode, target, false});
  Apply(cluster::AnswerMoves{target, to});
  Order order = OrderOf(job, target, *snapshot.Find(from));
  order.positions_max = answer.positions;
  order.known = request.answers.front().Count();
  order.keep = snapshot.Find(to)->about.kv_returns ? KeepFor(request) : Duration{};
  workers_.SendReserve(to, order);
  workers_.SendMove(from, {.key = source,
                           .target = target,
                           .to = to,
                           .to_incarnation = snapshot.Find(to)->about.incarnation,
                           .positions_max = answer.positions});
  LogDebug("move_begun", {{"request", target}, {"from", from}, {"to", to}, {"reason", Name(reason)}});
}

void Dispatcher::EndMove(Request& request, std::string_view outcome) {
  if (!request.move) return;
  const Move move = *std::exchange(request.move, std::nullopt);
  probe_.MoveEnded(Name(move.reason), outcome);
  if (outcome == "moved") {
    const cluster::ClusterSnapshot snapshot = view_.Snapshot();
    const cluster::WorkerSnapshot* to = snapshot.Find(move.to);
    request.exact &= to != nullptr && to->about.kv_returns;
  } else {
    request.move_after = clock_.Now() + kMovePause;
  }
  LogInfo("move_ended", {{"request", move.target},
                         {"from", move.from},
                         {"to", move.to},
                         {"reason", Name(move.reason)},
                         {"outcome", outcome}});
}

/// A part that is not cancelled has ended, or its worker is lost. True where the answer goes on at the other
/// worker of its move all the same, or has been given up here.
bool Dispatcher::EndsByMove(Request& request, const Part& part, std::string_view outcome) {
  if (!request.move) {
    if (outcome != "moved") return false;
    AttemptFailed(request, "worker_lost", "the worker that the answer had moved to was lost");
    return true;
  }
  const Move move = *request.move;
  if (part.key == move.target) {
    workers_.SendMoveStop(move.from, move.target);
    EndMove(request, move.there || outcome == "lost" ? "failed" : "refused");
    return true;
  }
  if (part.key != move.source) return false;
  // What a source that is lost had not told yet the target has told again, but for log-probabilities.
  const bool goes_on = move.there && request.job.sampling.logprobs < 0;
  if (outcome != "moved" && !goes_on) return false;
  EndMove(request, "moved");
  return true;
}

void Dispatcher::OnMoveFailed(WorkerId worker, const MoveFailure& failure) {
  Request* request = Find(failure.target.request);
  if (request == nullptr || !request->move || request->move->target != failure.target ||
      request->move->from != worker) {
    return;
  }
  // Where the other one has begun all the same, its acknowledgement was lost: it goes on, and this one stops.
  const bool there = request->move->there;
  const RequestKey over = there ? request->move->source : request->move->target;
  for (Part& part : request->held) {
    if (part.key != over || std::exchange(part.cancelled, true)) continue;
    workers_.SendCancel(part.worker, part.key);
  }
  LogInfo("move_failed", {{"request", failure.target}, {"why", failure.reason}});
  EndMove(*request, there ? "moved" : "failed");
  MoveAnswers();
}

/// Moves what can be moved away from workers that leave, some at a time.
void Dispatcher::MoveAnswers() {
  if (leaving_.empty()) return;
  std::map<WorkerId, std::size_t> under_way;
  for (const auto& [id, request] : requests_) {
    if (request.move) ++under_way[request.move->from];
  }
  cluster::ClusterSnapshot snapshot = view_.Snapshot();
  for (auto& [id, request] : requests_) {
    const Part* writer = Movable(request);
    if (writer == nullptr || !leaving_.contains(writer->worker)) continue;
    if (under_way[writer->worker] >= kMovesAtOnce) continue;
    const auto to = ChooseDestination(snapshot, AnswerOf(request, writer->worker));
    if (!to) continue;
    ++under_way[writer->worker];
    BeginMove(request, *writer, *to, MoveReason::kDrain);
    snapshot = view_.Snapshot();  // the move counts where it goes
  }
}

/// The answer that writes on `at`, came last and could go to `to`.
Dispatcher::Request* Dispatcher::YoungestMovable(WorkerId at, WorkerId to) {
  const cluster::ClusterSnapshot snapshot = view_.Snapshot();
  Request* youngest = nullptr;
  for (auto& [id, request] : requests_) {
    const Part* writer = Movable(request);
    if (writer == nullptr || writer->worker != at) continue;
    if (!CanMove(*snapshot.Find(at), *snapshot.Find(to), AnswerOf(request, at))) continue;
    if (youngest == nullptr || request.job.arrived > youngest->job.arrived) youngest = &request;
  }
  return youngest;
}

/// From where memory is about to end to where there is time: one answer along each pair.
void Dispatcher::Balance() {
  const TimePoint now = clock_.Now();
  if (!options_.balance || now < balance_at_) return;
  balance_at_ = now + kBalanceInterval;
  const cluster::ClusterSnapshot snapshot = view_.Snapshot();
  std::vector<DecodeLoad> loads;
  for (std::size_t i = 0; i < snapshot.workers.size(); ++i) {
    const cluster::WorkerSnapshot& worker = snapshot.workers[i];
    if (worker.about.phase != Phase::kDecode || !worker.ready) continue;
    loads.push_back({.machine = static_cast<MachineIndex>(i),
                     .free_tokens = worker.kv_blocks_free * worker.about.block_tokens,
                     .sequences = worker.running_requests,
                     .step_s = worker.step_seconds});
  }
  for (const MachineMove& pair : PairMigrations(loads, {})) {
    const WorkerId from = snapshot.workers[static_cast<std::size_t>(pair.from)].about.id;
    const WorkerId to = snapshot.workers[static_cast<std::size_t>(pair.to)].about.id;
    Request* request = YoungestMovable(from, to);
    if (request != nullptr) BeginMove(*request, *Movable(*request), to, MoveReason::kBalance);
  }
}

}  // namespace baton::router
