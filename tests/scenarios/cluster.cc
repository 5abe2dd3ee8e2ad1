#include "tests/scenarios/cluster.h"

#include <algorithm>

#include "common/base/error.h"
#include "common/metrics/registry.h"

namespace baton::scenarios {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Duration kPing = milliseconds(100);
/// After the last fault has healed everything ends within a request's deadline, a transfer's lease and
/// deadline, a drain and what notices them.
constexpr Duration kBound = seconds(20);

const kvtransfer::Probe& SharedProbe() {
  static metrics::Registry registry;
  static const kvtransfer::Probe probe(registry);
  return probe;
}

}  // namespace

Cluster::Cluster(std::uint64_t seed, Mutation mutation, bool tracing)
    : world_(seed, kWorkers + 1, tracing), nodes_(kWorkers) {
  options_.lease = milliseconds(1500);
  options_.transfer_deadline = seconds(3);
  options_.drain_deadline = milliseconds(300);
  options_.layer_wise_bytes_min = world_.Chance(500) ? 1 : world_.Chance(500) ? 64 : 1 << 20;
  if (world_.Chance(500)) {
    options_.credit_bytes = static_cast<std::uint64_t>(world_.Between(1, 1024));
    options_.credit_bytes_least = 512;  // no message of these prompts is longer
  }
  network_.mutation = mutation;
  network_.checksum = mutation != Mutation::kNoChecksum;
  network_.blocked = [this](int from, int to) { return Blocked(from, to); };
  const auto rate = [&](std::int64_t most) { return world_.Chance(300) ? world_.Between(1, most) : 0; };
  network_.faults = {.corrupt = rate(60),
                     .corrupt_header = rate(60),
                     .truncate = rate(40),
                     .repeat = rate(150),
                     .lose = rate(40),
                     .misroute = rate(500)};
  if (world_.Chance(500)) moves_ = world_.Between(50, 1000);
  if (world_.Chance(500)) returns_ = world_.Between(300, 1000);
  if (world_.Chance(300)) {
    frame_loss_ = rate(60);
    frame_repeat_ = rate(150);
    frame_reorder_ = rate(150);
    frame_cut_ = rate(10);
  }
  around_ = {
      .to_router = [this](int from, const Report& report) { ToRouter(from, report); },
      .to_peer = [this](int from, int to,
                        std::string frame) { return SendFrame(from, to, std::move(frame)); },
      .ready = [this](int from, int to, Incarnation incarnation) -> absl::StatusOr<kvtransfer::PeerHandle> {
        const End& end = EndOf(from, to);
        if (end.generation == 0) return Error(kUnavailable, "the link is not ready");
        if (end.peer != incarnation) return Error(kAborted, "another incarnation");
        return end.data;
      },
      .reset = [this](int from, int to, const absl::Status& why) { Lose(from, to, why); },
      .layout = [this](int worker) { return layouts_.at(static_cast<std::size_t>(worker)); }};
  const bool alike = world_.Chance(500);
  for (int worker = 0; worker < kWorkers; ++worker) {
    layouts_.push_back(alike ? BlockLedger::MakeLayout()
                             : BlockLedger::MakeLayout(1 << world_.Between(0, 2), 1 << world_.Between(1, 2),
                                                       world_.Chance(500) ? "f32" : "bf16"));
  }
  options_.staging_bytes = world_.Chance(500) ? 1 : options_.staging_bytes;
  for (int worker = 0; worker < kWorkers; ++worker) StartWorker(worker);
  PlanRequests();
  PlanFaults();
  world_.After(milliseconds(20), World::kNobody, [this] { RouterTimer(); });
}

Summary Cluster::Run() {
  while (!world_.Violation() && world_.Step()) {
    if (world_.Now() > faults_end_ + kBound) {
      world_.Violate("not everything has ended in time:" + Leftover());
    }
    if (Quiet()) break;
  }
  summary_.requests = static_cast<int>(requests_.size());
  summary_.violation = world_.Violation().value_or("");
  summary_.trace = world_.Trace();
  return summary_;
}

bool Cluster::Quiet() const {
  return unborn_ == 0 && outstanding_ == 0 &&
         std::ranges::all_of(requests_, [](const auto& entry) { return entry.second.machine.Done(); }) &&
         std::ranges::all_of(nodes_,
                             [](const auto& node) { return node != nullptr && node->Leftover().empty(); });
}

std::string Cluster::Leftover() const {
  std::string left;
  for (int worker = 0; worker < kWorkers; ++worker) {
    const auto& node = nodes_[static_cast<std::size_t>(worker)];
    if (node != nullptr && !node->Leftover().empty())
      left += fmt::format(" worker {}:{};", worker, node->Leftover());
  }
  for (const auto& [id, request] : requests_) {
    if (!request.machine.Done()) left += fmt::format(" router: request {};", id.value);
  }
  return left;
}

void Cluster::StartWorker(int worker) {
  const auto at = static_cast<std::size_t>(worker);
  world_.Begin(worker);
  nodes_[at] = std::make_unique<Node>(world_, network_, around_, worker, options_, SharedProbe());
  world_.Log("worker {} starts, incarnation {:x}", worker, nodes_[at]->GetIncarnation().value);
  world_.After(world_.Delay(100, 30'000), worker, [this, worker] { Register(worker); });
  for (int other = 0; other < kWorkers; ++other) {
    if (other != worker)
      world_.After(world_.Delay(100, 50'000), World::kNobody, [=, this] { TryConnect(worker, other); });
  }
  PingTimer(worker);
  WorkerSessionTimer(worker);
}

void Cluster::KillWorker(int worker, Duration until_restart) {
  const auto at = static_cast<std::size_t>(worker);
  if (nodes_[at] == nullptr) return;
  world_.Log("worker {} is killed", worker);
  ++outstanding_;
  world_.Kill(worker);
  nodes_[at].reset();
  for (int other = 0; other < kWorkers; ++other) {
    if (other == worker) continue;
    EndOf(worker, other) = {};
    if (Blocked(worker, other)) continue;
    // The kernel resets its connections; who is cut off has to find out by pings.
    const std::uint64_t generation = EndOf(other, worker).generation;
    world_.After(world_.Delay(100, 100'000), other, [=, this] {
      if (generation != 0 && EndOf(other, worker).generation == generation)
        Lose(other, worker, Error(kUnavailable, "worker {}: connection reset", worker));
    });
    world_.After(world_.Delay(100, 100'000), other,
                 [=, this] { network_.transports.at(other)->PeerGone(worker); });
  }
  sessions_[at].worker_generation = 0;
  const std::uint64_t generation = sessions_[at].generation;
  if (!Blocked(worker, kRouter)) {
    world_.After(world_.Delay(100, 100'000), World::kNobody, [=, this] {
      if (generation != 0 && sessions_[static_cast<std::size_t>(worker)].generation == generation)
        LoseWorker(worker);
    });
  }
  world_.After(until_restart, World::kNobody, [this, worker] {
    --outstanding_;
    if (nodes_[static_cast<std::size_t>(worker)] == nullptr) StartWorker(worker);
  });
}

void Cluster::Partition(int from, int to, Duration length) {
  world_.Log("{} -> {} is cut off for {:.0f} ms", from, to, Milliseconds(length));
  ++outstanding_;
  blocked_.insert({from, to});
  world_.After(length, World::kNobody, [this, from, to] {
    --outstanding_;
    blocked_.erase(blocked_.find({from, to}));
    world_.Log("{} -> {} is whole again", from, to);
  });
}

void Cluster::PlanFaults() {
  const std::int64_t count = world_.Chance(300) ? 0 : world_.Between(1, 5);
  for (std::int64_t i = 0; i < count; ++i) {
    ++outstanding_;
    world_.After(world_.Delay(60'000, 3'000'000), World::kNobody, [this] {
      --outstanding_;
      Fault();
    });
  }
  faults_end_ = world_.Now() + seconds(8);
}

void Cluster::Fault() {
  const int worker = static_cast<int>(world_.Between(0, kWorkers - 1));
  const int other = static_cast<int>((worker + world_.Between(1, kWorkers - 1)) % kWorkers);
  const Duration length =
      world_.Chance(500) ? world_.Delay(10'000, 300'000) : world_.Delay(300'000, 4'000'000);
  switch (world_.Between(0, 5)) {
    case 0:
      ++summary_.faults["kill"];
      return KillWorker(worker, length / 4);
    case 1:
      if (world_.Stopped(worker) || nodes_[static_cast<std::size_t>(worker)] == nullptr) return;
      ++summary_.faults["stop"];
      world_.Log("worker {} stops for {:.0f} ms", worker, Milliseconds(length));
      world_.Stop(worker);
      ++outstanding_;
      return world_.After(length, World::kNobody, [this, worker] {
        --outstanding_;
        if (!world_.Stopped(worker)) return;
        world_.Log("worker {} goes on", worker);
        world_.Continue(worker);
      });
    case 2:
      ++summary_.faults["partition of workers"];
      Partition(worker, other, length);
      if (world_.Chance(500)) Partition(other, worker, length);
      return;
    case 3:
      ++summary_.faults["partition of the router"];
      Partition(worker, kRouter, length);
      if (world_.Chance(500)) Partition(kRouter, worker, length);
      return;
    case 4:
    case 5:
      if (nodes_[static_cast<std::size_t>(worker)] == nullptr) return;
      ++summary_.faults["reset"];
      return world_.After({}, worker, [=, this] {
        if (EndOf(worker, other).generation != 0)
          Lose(worker, other, Error(kUnavailable, "connection reset"));
      });
  }
}

// ---- pair connections ----

absl::Status Cluster::SendFrame(int from, int to, std::string frame) {
  const std::uint64_t generation = EndOf(from, to).generation;
  if (generation == 0) return Error(kUnavailable, "worker {}: not connected", to);
  if (world_.Chance(frame_loss_)) return absl::OkStatus();
  if (world_.Chance(frame_cut_)) frame.resize(frame.size() / 2);
  auto& coming = EndOf(to, from).coming;
  const int copies = world_.Chance(frame_repeat_) ? 2 : 1;
  for (int i = 0; i < copies; ++i) {
    const auto behind =
        world_.Chance(frame_reorder_) ? world_.Between(0, std::ssize(coming)) : std::ssize(coming);
    coming.insert(coming.begin() + behind, {generation, frame});
    world_.After(world_.Delay(20, 3'000), World::kNobody, [=, this] { DeliverFrame(from, to); });
  }
  return absl::OkStatus();
}

/// Whatever is first in the line.
void Cluster::DeliverFrame(int from, int to) {
  if (Blocked(from, to)) {  // the kernel tries again
    world_.After(milliseconds(20), World::kNobody, [=, this] { DeliverFrame(from, to); });
    return;
  }
  auto& coming = EndOf(to, from).coming;
  if (coming.empty() || nodes_[static_cast<std::size_t>(to)] == nullptr) return;
  const auto [generation, frame] = coming.front();
  coming.pop_front();
  world_.After({}, to, [=, this, text = frame, sent_in = generation] {
    End& end = EndOf(to, from);
    if (end.generation != sent_in) return;
    end.last_heard = world_.Now();
    if (!nodes_[static_cast<std::size_t>(to)]->OnFrame(from, text)) {
      Lose(to, from, Error(kInvalidArgument, "worker {}: a malformed message", from));
    }
  });
}

void Cluster::Lose(int side, int other, const absl::Status& why) {
  End& end = EndOf(side, other);
  if (end.generation == 0) return;
  world_.Log("worker {}: loses worker {}: {}", side, other, Message(why));
  const std::uint64_t generation = std::exchange(end.generation, 0);
  Node& node = *nodes_[static_cast<std::size_t>(side)];
  node.Wire().ClosePeer(end.data);
  node.OnPeerLost(other, why);
  if (!Blocked(side, other)) {
    world_.After(world_.Delay(20, 3'000), other, [=, this] {
      if (EndOf(other, side).generation == generation) {
        Lose(other, side, Error(kUnavailable, "worker {}: closed the connection", side));
      }
    });
  }
  world_.After(world_.Delay(20'000, 200'000), World::kNobody, [=, this] { TryConnect(side, other); });
}

void Cluster::TryConnect(int a, int b) {
  const auto node_a = static_cast<std::size_t>(a);
  const auto node_b = static_cast<std::size_t>(b);
  if (nodes_[node_a] == nullptr || nodes_[node_b] == nullptr) return;  // it tries when it starts
  End& end_a = EndOf(a, b);
  End& end_b = EndOf(b, a);
  if (end_a.generation != 0 && end_a.generation == end_b.generation) return;
  if (world_.Stopped(a) || world_.Stopped(b) || Blocked(a, b) || Blocked(b, a)) {
    world_.After(milliseconds(100), World::kNobody, [=, this] { TryConnect(a, b); });
    return;
  }
  Lose(a, b, Error(kAborted, "the peer connected anew"));
  Lose(b, a, Error(kAborted, "the peer connected anew"));
  ++last_generation_;
  const auto make = [&](End& end, int side, int other) {
    end.generation = last_generation_;
    end.coming.clear();
    end.last_heard = world_.Now();
    end.peer = nodes_[static_cast<std::size_t>(other)]->GetIncarnation();
    end.data = *nodes_[static_cast<std::size_t>(side)]->Wire().ConnectPeer(std::to_string(other));
  };
  make(end_a, a, b);
  make(end_b, b, a);
  world_.Log("workers {} and {} are connected", a, b);
}

void Cluster::PingTimer(int worker) {
  world_.After(kPing, worker, [this, worker] {
    for (int other = 0; other < kWorkers; ++other) {
      if (other == worker || EndOf(worker, other).generation == 0) continue;
      if (world_.Now() - EndOf(worker, other).last_heard > 3 * kPing) {
        Lose(worker, other, Error(kUnavailable, "worker {}: silent for 3 pings", other));
        continue;
      }
      static_cast<void>(SendFrame(worker, other, nodes_[static_cast<std::size_t>(worker)]->Ping(other)));
    }
    PingTimer(worker);
  });
}

}  // namespace baton::scenarios
