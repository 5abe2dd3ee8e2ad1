#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "common/base/clock.h"
#include "common/base/ids.h"

/// What the router (or the simulator) knows of a cluster: a reducer from events to a value that policies
/// read.
namespace baton::cluster {

enum class Phase { kPrefill, kDecode };
[[nodiscard]] std::string_view Name(Phase phase);

/// How a worker's KV lies, as far as two of one model can differ.
struct KvForm {
  std::int64_t layers = 0;
  std::int64_t kv_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t ranks = 1;
  std::string dtype;
  friend bool operator==(const KvForm&, const KvForm&) = default;
};

/// What a worker says once, when it registers.
struct WorkerDescription {
  WorkerId id;
  std::string name;
  Phase phase = Phase::kPrefill;
  Incarnation incarnation;
  std::string model;
  std::string numerics_class;
  std::int64_t kv_blocks = 0;
  std::int64_t block_tokens = 16;
  std::int64_t context_tokens = 0;
  std::int64_t batch_tokens = 0;
  std::int64_t batch_sequences = 0;
  /// Decode: a reservation takes the prompt's blocks and so many, and answers grow; nothing: it takes the
  /// longest answer's.
  std::optional<std::int64_t> growth_blocks = std::nullopt;
  /// KV that comes here keeps its bits. Prefill: and it keeps prefixes, so that an answer's KV can come back.
  bool kv_returns = false;
  KvForm kv = {};
  bool other_classes = false;  // decode: takes KV of another numerics class
};

/// A worker's own view of its connection with a peer.
struct LinkReport {
  WorkerId peer;
  bool ready = false;
  std::string transport;
  double bytes_per_second = 0;  // measured
};

/// What a worker measures of the power that it draws; 0: not known.
struct PowerReport {
  double watts = 0;       // now
  double step_watts = 0;  // within steps, of late
  double idle_watts = 0;
  double cap_watts = 0;  // that the hardware is held to
  friend bool operator==(const PowerReport&, const PowerReport&) = default;
};

/// What a worker says at every change that matters.
struct LoadReport {
  bool ready = false;
  bool draining = false;
  std::int64_t queued_requests = 0;
  std::int64_t queued_prompt_tokens = 0;
  std::int64_t running_requests = 0;
  std::int64_t kv_blocks_free = 0;
  std::int64_t kv_blocks_used = 0;
  std::int64_t kv_blocks_quarantined = 0;
  std::int64_t grants = 0;
  double step_seconds = 0;  // of the engine's last steps; 0: it has made none
  PowerReport power;
  std::vector<LinkReport> links;
};

struct WorkerJoined {
  WorkerDescription worker;
};
struct WorkerLeft {
  WorkerId worker;
};
/// It finishes what it has and takes nothing new.
struct WorkerLeaving {
  WorkerId worker;
};
struct LoadReported {
  WorkerId worker;
  LoadReport load;
};
/// A request has been admitted and waits for its placement.
struct RequestQueued {
  RequestId request;
  std::int64_t prompt_tokens = 0;
  std::int64_t tokens_max = 0;  // prompt and the longest answer
};
/// An attempt of a queued request goes to two workers.
struct RequestPlaced {
  RequestKey key;
  WorkerId prefill;
  WorkerId decode;
};
/// Its first token has come: the prompt no longer queues anywhere.
struct RequestPrefilled {
  RequestId request;
};
/// An attempt has failed, and the request waits for its next placement: its prompt queues again, longer by
/// the tokens of its answer that are computed anew.
struct RequestResumed {
  RequestId request;
  std::int64_t prompt_tokens = 0;
};
/// An answer is to go on at another decode worker, under a new attempt.
struct AnswerMoves {
  RequestKey key;
  WorkerId to;
};
/// A worker has freed everything that it kept for the attempt.
struct PartReleased {
  RequestKey key;
  WorkerId worker;
};
/// The request has its end, good or bad; parts may still be held by workers.
struct RequestEnded {
  RequestId request;
};
/// The front door takes nothing new.
struct DrainBegun {};

struct ClusterEvent {
  TimePoint at;
  std::variant<WorkerJoined, WorkerLeft, WorkerLeaving, LoadReported, RequestQueued, RequestPlaced,
               RequestPrefilled, RequestResumed, AnswerMoves, PartReleased, RequestEnded, DrainBegun>
      what;
};

/// A worker as policies see it. Queue and memory account for what has been placed but not reported yet.
struct WorkerSnapshot {
  WorkerDescription about;
  bool ready = false;  // takes requests: reported ready, neither draining nor leaving
  bool draining = false;
  std::int64_t queued_prompt_tokens = 0;
  std::int64_t queued_requests = 0;
  std::int64_t running_requests = 0;
  std::int64_t placed_tokens = 0;   // prompt and longest answer of every part that it holds
  std::int64_t kv_blocks_free = 0;  // not promised to anybody
  double step_seconds = 0;          // of its last steps
  PowerReport power;
  std::vector<LinkReport> links;  // by peer id; `ready` only where both ends say so
};

/// A value: no pointers, no clock.
struct ClusterSnapshot {
  TimePoint now;
  bool draining = false;
  std::int64_t queued_requests = 0;       // admitted, first token not yet there
  std::int64_t queued_prompt_tokens = 0;  // their prompts
  std::vector<WorkerSnapshot> workers;    // by id

  [[nodiscard]] const WorkerSnapshot* Find(WorkerId id) const;
};

/// Blocks of `block_tokens` that hold `tokens`.
[[nodiscard]] std::int64_t BlocksFor(std::int64_t tokens, std::int64_t block_tokens);

/// Blocks that the worker takes when it begins with a request of `prompt_tokens`, `tokens_max` with its
/// longest answers.
[[nodiscard]] std::int64_t BlocksToBegin(const WorkerDescription& worker, std::int64_t prompt_tokens,
                                         std::int64_t tokens_max);

/// The one reducer from events to what policies see; the live router and the simulator feed the same code.
/// Events about unknown workers or requests change nothing. Not thread-safe.
class ClusterView {
 public:
  void Apply(const ClusterEvent& event);
  [[nodiscard]] ClusterSnapshot Snapshot() const;
  /// Admitted requests without an end, and ended ones of which a worker still holds a part.
  [[nodiscard]] std::size_t LiveRequests() const { return requests_.size(); }

 private:
  struct Worker {
    WorkerDescription about;
    LoadReport load;
    bool leaving = false;
  };
  struct Part {
    Attempt attempt;
    WorkerId worker;
    Phase phase = Phase::kPrefill;
  };
  struct Request {
    std::int64_t prompt_tokens = 0;
    std::int64_t tokens_max = 0;
    bool prefilled = false;
    bool ended = false;
    std::vector<Part> parts;
  };

  void On(const WorkerJoined& event);
  void On(const WorkerLeft& event);
  void On(const WorkerLeaving& event);
  void On(const LoadReported& event);
  void On(const RequestQueued& event);
  void On(const RequestPlaced& event);
  void On(const RequestPrefilled& event);
  void On(const RequestResumed& event);
  void On(const AnswerMoves& event);
  void On(const PartReleased& event);
  void On(const RequestEnded& event);
  void On(const DrainBegun& event);
  void DropIfDone(RequestId request);
  [[nodiscard]] WorkerSnapshot Look(const Worker& worker) const;
  [[nodiscard]] bool ReadyBothWays(WorkerId from, WorkerId to) const;

  TimePoint now_;
  bool draining_ = false;
  std::map<WorkerId, Worker> workers_;
  std::map<RequestId, Request> requests_;
};

}  // namespace baton::cluster
