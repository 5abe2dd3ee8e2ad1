#include <algorithm>

#include "common/base/error.h"
#include "tests/scenarios/cluster.h"

/// The router of the simulated cluster: sessions with the workers, placement, and the clients.
namespace baton::scenarios {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Duration kRequestDeadline = seconds(6);
constexpr Duration kWorkerTimeout = milliseconds(1000);
constexpr Duration kHeartbeat = milliseconds(250);

}  // namespace

void Cluster::PlanRequests() {
  const std::int64_t count = world_.Between(3, 12);
  unborn_ = static_cast<int>(count);
  for (std::int64_t i = 0; i < count; ++i) {
    const RequestId id(static_cast<std::uint64_t>(i) + 1);
    world_.After(world_.Delay(60'000, 2'500'000), World::kNobody, [this, id] {
      --unborn_;
      const int tokens = world_.Chance(100) ? 1 : static_cast<int>(world_.Between(2, 6));
      requests_.emplace(
          id, Request{.machine = AttemptMachine({.deadline = kRequestDeadline}, world_.Now(), tokens),
                      .prompt_tokens = world_.Between(1, 12),
                      .tokens = tokens,
                      .keep = world_.Chance(returns_)});
      Apply(id, requests_.at(id).machine.Begin());
      if (world_.Chance(200)) {
        world_.After(world_.Delay(10, 200'000), World::kNobody, [this, id] {
          world_.Log("router: the client of {} goes away", id.value);
          Apply(id, requests_.at(id).machine.ClientGone());
        });
      }
    });
  }
}

void Cluster::Apply(RequestId id, const AttemptMachine::Actions& actions) {
  using Kind = AttemptMachine::Action::Kind;
  Request& request = requests_.at(id);
  for (const AttemptMachine::Action& action : actions) {
    switch (action.kind) {
      case Kind::kPlace:
        Place(id, action.attempt);
        break;
      case Kind::kCancel:
        ToWorker(action.worker,
                 {.kind = Order::Kind::kCancel, .key = {.request = id, .attempt = action.attempt}});
        break;
      case Kind::kMoveStop:
        ToWorker(action.worker,
                 {.kind = Order::Kind::kMoveStop, .key = {.request = id, .attempt = action.attempt}});
        break;
      case Kind::kEnded:
        if (request.keep) OfferBack(id, action.attempt, action.worker);
        break;
      case Kind::kGiveBack:
        OrderGiveBack(id, action);
        break;
      case Kind::kDeliver:
        if (request.finished)
          world_.Violate(fmt::format("router: request {} gets a token after its end", id.value));
        break;
      case Kind::kFinish:
        world_.Log("router: request {} ends: {}", id.value, action.error.empty() ? "whole" : action.error);
        if (request.finished) world_.Violate(fmt::format("router: request {} ends twice", id.value));
        request.finished = true;
        CheckAnswer(id, request);
        if (action.error.empty()) ++summary_.completed;
        break;
    }
  }
}

void Cluster::CheckAnswer(RequestId id, const Request& request) {
  const std::vector<int>& delivered = request.machine.Delivered();
  for (int index = 0; index < static_cast<int>(delivered.size()); ++index) {
    if (delivered[static_cast<std::size_t>(index)] != TokenOf(id, index)) {
      world_.Violate(fmt::format("router: request {} was answered with another token {}", id.value, index));
    }
  }
}

void Cluster::Place(RequestId id, Attempt attempt) {
  Request& request = requests_.at(id);
  std::vector<int> here;
  for (int worker = 0; worker < kWorkers; ++worker) {
    if (sessions_[static_cast<std::size_t>(worker)].generation != 0) here.push_back(worker);
  }
  if (here.size() < 2) return request.machine.Unplaceable();
  const auto first = static_cast<std::size_t>(world_.Between(0, std::ssize(here) - 1));
  const auto step = static_cast<std::size_t>(world_.Between(1, std::ssize(here) - 1));
  const int prefill = here[first];
  const int decode = here[(first + step) % here.size()];
  world_.Log("router: request {}.{}: {} tokens, prefill on {}, decode on {}", id.value, attempt.value,
             request.prompt_tokens, prefill, decode);
  Apply(id, request.machine.Placed(prefill, decode));
  Order order{.kind = Order::Kind::kPrefill,
              .key = {.request = id, .attempt = attempt},
              .peer = decode,
              .peer_incarnation = sessions_[static_cast<std::size_t>(decode)].incarnation,
              .prompt_tokens = request.prompt_tokens,
              .tokens = request.tokens};
  ToWorker(prefill, order);
  order.kind = Order::Kind::kReserve;
  order.keep = request.keep;
  order.peer = prefill;
  order.peer_incarnation = sessions_[static_cast<std::size_t>(prefill)].incarnation;
  ToWorker(decode, order);
}

/// As chance will: the answer is to go on at another worker.
void Cluster::MoveSome(RequestId id) {
  Request& request = requests_.at(id);
  if (moves_ == 0 || !request.machine.Movable() || !world_.Chance(moves_)) return;
  const int from = request.machine.Writer();
  const int to = static_cast<int>((from + world_.Between(1, kWorkers - 1)) % kWorkers);
  if (sessions_[static_cast<std::size_t>(to)].generation == 0) return;
  const Attempt source = request.machine.WriterAttempt();
  const Attempt target = request.machine.BeginMove(to);
  const auto known = static_cast<std::int64_t>(request.machine.Delivered().size());
  const std::int64_t bound = request.prompt_tokens + request.tokens - 1;
  const std::int64_t positions =
      std::min(bound, request.prompt_tokens + known + world_.Between(0, request.tokens));
  world_.Log("router: request {}.{} moves from {} to {} as {}", id.value, source.value, from, to,
             target.value);
  Order order{.kind = Order::Kind::kReserve,
              .key = {.request = id, .attempt = target},
              .peer = from,
              .peer_incarnation = sessions_[static_cast<std::size_t>(from)].incarnation,
              .prompt_tokens = request.prompt_tokens,
              .tokens = request.tokens,
              .positions_max = positions,
              .known = static_cast<int>(known),
              .keep = request.keep};
  ToWorker(to, order);
  order.kind = Order::Kind::kMove;
  order.key.attempt = source;
  order.target = target;
  order.peer = to;
  order.peer_incarnation = sessions_[static_cast<std::size_t>(to)].incarnation;
  ToWorker(from, order);
}

/// The answer has ended at `writer`, which keeps its KV for a moment: another worker of its class may have
/// it.
void Cluster::OfferBack(RequestId id, Attempt attempt, int writer) {
  Request& request = requests_.at(id);
  const kvtransfer::KvLayout& layout = layouts_.at(static_cast<std::size_t>(writer));
  const std::int64_t written = request.prompt_tokens + request.tokens - 1;
  const std::int64_t positions = written - written % layout.block_tokens;
  const int taker = static_cast<int>((writer + world_.Between(1, kWorkers - 1)) % kWorkers);
  const kvtransfer::KvLayout& theirs = layouts_.at(static_cast<std::size_t>(taker));
  const bool fits = theirs.block_tokens == layout.block_tokens && theirs.dtype == layout.dtype;
  if (positions == 0 || !fits || sessions_[static_cast<std::size_t>(taker)].generation == 0 ||
      world_.Chance(100)) {
    return ToWorker(writer, {.kind = Order::Kind::kCancel, .key = {.request = id, .attempt = attempt}});
  }
  const Attempt target = request.machine.BeginGiveBack(taker);
  world_.Log("router: request {}.{} goes back from {} to {} as {}, {} positions", id.value, attempt.value,
             writer, taker, target.value, positions);
  ToWorker(taker, {.kind = Order::Kind::kTakeBack,
                   .key = {.request = id, .attempt = target},
                   .peer = writer,
                   .peer_incarnation = sessions_[static_cast<std::size_t>(writer)].incarnation,
                   .positions_max = positions});
}

void Cluster::OrderGiveBack(RequestId id, const AttemptMachine::Action& action) {
  const AttemptMachine& machine = requests_.at(id).machine;
  const int taker = machine.Taker();
  const std::int64_t written = requests_.at(id).prompt_tokens + requests_.at(id).tokens - 1;
  const std::int64_t block = layouts_.at(static_cast<std::size_t>(taker)).block_tokens;
  ToWorker(action.worker, {.kind = Order::Kind::kGiveBack,
                           .key = {.request = id, .attempt = action.attempt},
                           .peer = taker,
                           .peer_incarnation = sessions_[static_cast<std::size_t>(taker)].incarnation,
                           .target = machine.GiveBackAttempt(),
                           .positions_max = written - written % block,
                           .first = action.first});
}

void Cluster::ToWorker(int worker, const Order& order) {
  Session& session = sessions_[static_cast<std::size_t>(worker)];
  if (session.generation == 0) return;
  session.to_worker = std::max(session.to_worker, world_.Now() + world_.Delay(20, 5'000));
  const auto deliver = [this, worker, order, generation = session.generation](const auto& self) -> void {
    const Session& now = sessions_[static_cast<std::size_t>(worker)];
    if (nodes_[static_cast<std::size_t>(worker)] == nullptr || now.worker_generation != generation) return;
    if (Blocked(kRouter, worker)) {  // the connection dies of it, or brings the order late
      world_.After(milliseconds(20), World::kNobody, [self] { self(self); });
      return;
    }
    world_.After({}, worker, [this, worker, order, generation] {
      if (sessions_[static_cast<std::size_t>(worker)].worker_generation == generation)
        nodes_[static_cast<std::size_t>(worker)]->OnOrder(order);
    });
  };
  world_.After(session.to_worker - world_.Now(), World::kNobody, [deliver] { deliver(deliver); });
}

void Cluster::ToRouter(int worker, const Report& report) {
  Session& session = sessions_[static_cast<std::size_t>(worker)];
  if (session.worker_generation == 0) return;
  session.to_router = std::max(session.to_router, world_.Now() + world_.Delay(20, 5'000));
  const auto deliver = [this, worker, report,
                        generation = session.worker_generation](const auto& self) -> void {
    if (sessions_[static_cast<std::size_t>(worker)].generation != generation) return;
    if (Blocked(worker, kRouter)) {
      world_.After(milliseconds(20), World::kNobody, [self] { self(self); });
      return;
    }
    OnReport(worker, report);
  };
  world_.After(session.to_router - world_.Now(), World::kNobody, [deliver] { deliver(deliver); });
}

void Cluster::OnReport(int worker, const Report& report) {
  sessions_[static_cast<std::size_t>(worker)].router_heard = world_.Now();
  AttemptMachine& machine = requests_.at(report.key.request).machine;
  world_.Log("router: worker {} on {}.{}: {}", worker, report.key.request.value, report.key.attempt.value,
             report.takes         ? fmt::format("takes it from {} on", report.first)
             : report.move_failed ? "the move failed"
             : report.moved       ? "released, moved"
             : report.released    ? (report.failed ? "released, failed" : "released")
                                  : fmt::format("token {}", report.index));
  summary_.moved += report.moved ? 1 : 0;
  if (report.takes) return Apply(report.key.request, machine.Takes(worker, report.key.attempt, report.first));
  const bool back = machine.GivesBack() && machine.GiveBackAttempt() == report.key.attempt;
  summary_.returned += back && report.released && !report.failed ? 1 : 0;
  if (report.move_failed) return Apply(report.key.request, machine.MoveFailed(worker, report.key.attempt));
  Apply(report.key.request, report.released
                                ? machine.Released(worker, report.key.attempt, report.failed, report.moved)
                                : machine.Token(worker, report.key.attempt, report.index, report.token));
}

void Cluster::Register(int worker) {
  Session& session = sessions_[static_cast<std::size_t>(worker)];
  if (session.worker_generation != 0) return;
  if (Blocked(worker, kRouter) || Blocked(kRouter, worker)) {
    world_.After(milliseconds(100), worker, [this, worker] { Register(worker); });
    return;
  }
  if (session.generation != 0) LoseWorker(worker);  // it came back before its death was noticed
  session.generation = session.worker_generation = ++last_generation_;
  session.incarnation = nodes_[static_cast<std::size_t>(worker)]->GetIncarnation();
  session.router_heard = session.worker_heard = world_.Now();
  world_.Log("router: worker {} has registered", worker);
}

void Cluster::LoseWorker(int worker) {
  world_.Log("router: loses worker {}", worker);
  sessions_[static_cast<std::size_t>(worker)].generation = 0;
  for (auto& [id, request] : requests_) Apply(id, request.machine.WorkerLost(worker));
}

void Cluster::RouterTimer() {
  for (int worker = 0; worker < kWorkers; ++worker) {
    const Session& session = sessions_[static_cast<std::size_t>(worker)];
    if (session.generation != 0 && world_.Now() - session.router_heard > kWorkerTimeout) LoseWorker(worker);
  }
  for (auto& [id, request] : requests_) {
    Apply(id, request.machine.Tick(world_.Now()));
    MoveSome(id);
    if (request.machine.GivesBack() && world_.Chance(150)) Apply(id, request.machine.StopGiveBack());
  }
  world_.After(milliseconds(20), World::kNobody, [this] { RouterTimer(); });
}

/// Both sides hear of each other, or give the connection up.
void Cluster::WorkerSessionTimer(int worker) {
  world_.After(kHeartbeat, worker, [this, worker] {
    Session& session = sessions_[static_cast<std::size_t>(worker)];
    if (session.worker_generation != 0) {
      const bool same = session.worker_generation == session.generation;
      if (same && !Blocked(worker, kRouter)) session.router_heard = world_.Now();
      if (same && !Blocked(kRouter, worker)) session.worker_heard = world_.Now();
      const bool closed = !same && !Blocked(kRouter, worker);
      if (closed || world_.Now() - session.worker_heard > kWorkerTimeout) {
        world_.Log("worker {}: loses the router", worker);
        session.worker_generation = 0;
        nodes_[static_cast<std::size_t>(worker)]->CancelAll();
        world_.After(world_.Delay(1'000, 50'000), worker, [this, worker] { Register(worker); });
      }
    }
    WorkerSessionTimer(worker);
  });
}

}  // namespace baton::scenarios
