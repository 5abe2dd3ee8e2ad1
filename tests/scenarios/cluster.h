#pragma once

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "tests/scenarios/attempt_machine.h"
#include "tests/scenarios/node.h"

namespace baton::scenarios {

/// What a run was, for those who want to know that runs are not all alike.
struct Summary {
  std::string violation{};  // empty: every invariant held
  std::vector<std::string> trace{};
  int requests = 0;
  int completed = 0;  // whole answers
  int moved = 0;      // answers, from worker to worker
  int returned = 0;   // answers whose KV came back whole
  std::map<std::string, int> faults{};
};

/// A whole cluster under a seed: three workers, a router, requests, and faults. `Run` plays until everything
/// has ended, and judges.
class Cluster {
 public:
  Cluster(std::uint64_t seed, Mutation mutation, bool tracing);
  [[nodiscard]] Summary Run();

 private:
  static constexpr int kWorkers = 3;
  static constexpr int kRouter = kWorkers;

  /// One side's end of a pair's connection.
  struct End {
    std::uint64_t generation = 0;  // 0: not connected
    kvtransfer::PeerHandle data{};
    Incarnation peer{};
    TimePoint last_heard{};
    std::deque<std::pair<std::uint64_t, std::string>> coming{};  // frames on their way to this end
  };
  /// The router's connection with a worker.
  struct Session {
    std::uint64_t generation = 0;         // 0: not registered
    std::uint64_t worker_generation = 0;  // what the worker believes
    Incarnation incarnation{};
    TimePoint router_heard{};
    TimePoint worker_heard{};
    TimePoint to_worker{};  // both keep their order
    TimePoint to_router{};
  };
  struct Request {
    AttemptMachine machine;
    std::int64_t prompt_tokens = 0;
    int tokens = 0;
    bool keep = false;  // its KV may go back when it has ended
    bool finished = false;
  };

  void StartWorker(int worker);
  void KillWorker(int worker, Duration until_restart);
  void Fault();
  void PlanFaults();
  void PlanRequests();
  void Partition(int from, int to, Duration length);

  absl::Status SendFrame(int from, int to, std::string frame);
  void DeliverFrame(int from, int to);
  void Lose(int side, int other, const absl::Status& why);
  void TryConnect(int a, int b);
  void PingTimer(int worker);
  End& EndOf(int side, int other) { return ends_[{side, other}]; }

  void Register(int worker);
  void LoseWorker(int worker);
  void ToWorker(int worker, const Order& order);
  void ToRouter(int worker, const Report& report);
  void OnReport(int worker, const Report& report);
  void Apply(RequestId request, const AttemptMachine::Actions& actions);
  void Place(RequestId request, Attempt attempt);
  void MoveSome(RequestId request);
  void OfferBack(RequestId request, Attempt attempt, int writer);
  void OrderGiveBack(RequestId request, const AttemptMachine::Action& action);
  void RouterTimer();
  void WorkerSessionTimer(int worker);
  void CheckAnswer(RequestId id, const Request& request);
  [[nodiscard]] bool Quiet() const;
  [[nodiscard]] std::string Leftover() const;
  [[nodiscard]] bool Blocked(int from, int to) const { return blocked_.contains({from, to}); }

  World world_;
  DataNetwork network_;
  Surroundings around_;
  kvtransfer::HandoffOptions options_;
  std::vector<kvtransfer::KvLayout> layouts_;  // of each worker, in all its lives
  std::vector<std::unique_ptr<Node>> nodes_;
  std::map<std::pair<int, int>, End> ends_;
  std::vector<Session> sessions_ = std::vector<Session>(kWorkers);
  std::multiset<std::pair<int, int>> blocked_;
  std::map<RequestId, Request> requests_;
  std::uint64_t last_generation_ = 0;
  int unborn_ = 0;       // requests that are still to come
  int outstanding_ = 0;  // faults that have not healed yet
  TimePoint faults_end_{};
  std::int64_t moves_ = 0;       // of 1000, each time that an answer could move
  std::int64_t returns_ = 0;     // of 1000 answers, KV that is to go back
  std::int64_t frame_loss_ = 0;  // of 1000; a TCP stream has none of the three
  std::int64_t frame_repeat_ = 0;
  std::int64_t frame_reorder_ = 0;
  std::int64_t frame_cut_ = 0;
  Summary summary_;
};

}  // namespace baton::scenarios
