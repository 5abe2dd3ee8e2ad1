#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

/// Placement over plain load values: join the shortest queue, and the two-level pools of Splitwise (Patel et
/// al., ISCA 2024, section 4.1). Nothing here knows of a network or a clock: whoever calls tells what was
/// placed and what has ended, and asks where the next request goes. Router and simulator call the same.
///
/// A decision costs O(log machines): each list keeps its least machine at hand. It equals that of a scan
/// through the list which takes the first of the least (tests/router/policy/pools_test.cc compares).
namespace baton::router {

/// Number of a machine: the order in which it was added.
using MachineIndex = std::int32_t;
inline constexpr MachineIndex kNoMachine = -1;

/// A list of machines with a value each. `First` is the least value; of several, the one that has been in the
/// list longest.
class ShortestQueue {
 public:
  /// At the tail of the list. The machine is not in it.
  void Join(MachineIndex machine, std::int64_t value);
  void Leave(MachineIndex machine);
  /// Of a machine in the list.
  void Set(MachineIndex machine, std::int64_t value);
  [[nodiscard]] bool Contains(MachineIndex machine) const {
    return static_cast<std::size_t>(machine) < place_.size() &&
           place_[static_cast<std::size_t>(machine)] >= 0;
  }
  [[nodiscard]] bool Empty() const { return heap_.empty(); }
  [[nodiscard]] std::size_t Size() const { return heap_.size(); }
  /// kNoMachine where the list is empty.
  [[nodiscard]] MachineIndex First() const { return heap_.empty() ? kNoMachine : heap_.front().machine; }

 private:
  struct Entry {
    std::int64_t value = 0;
    std::uint64_t joined = 0;
    MachineIndex machine = kNoMachine;
  };
  static bool Before(const Entry& a, const Entry& b) {
    return a.value != b.value ? a.value < b.value : a.joined < b.joined;
  }
  void Up(std::size_t at);
  void Down(std::size_t at);
  void Put(std::size_t at, const Entry& entry);

  std::vector<Entry> heap_;
  std::vector<std::int32_t> place_;  // of a machine in heap_; -1: not in the list
  std::uint64_t joined_ = 0;
};

/// What a machine was bought for. A whole machine takes both phases of a request.
enum class MachineRole { kPrompt, kToken, kWhole };

struct PlacedRequest {
  std::uint64_t id = 0;
  std::int64_t prompt_tokens = 0;
  std::int64_t prompt_bytes = 0;  // KV of the prompt and the first token
  std::int64_t answer_bytes = 0;  // KV of the other tokens, as many as the policy is to reserve for
};

struct MachinePair {
  MachineIndex prompt = kNoMachine;
  MachineIndex token = kNoMachine;
  friend bool operator==(const MachinePair&, const MachinePair&) = default;
};

/// Places requests and keeps the loads that it places by. Not thread-safe; deterministic.
class Placer {
 public:
  virtual ~Placer() = default;
  /// `used_bytes`: what the weights take of `memory_bytes`.
  virtual MachineIndex Add(MachineRole role, std::int64_t memory_bytes, std::int64_t used_bytes) = 0;
  /// Chooses and reserves. {kNoMachine, kNoMachine} where no machine is up.
  [[nodiscard]] virtual MachinePair Place(const PlacedRequest& request, double now_s) = 0;

  /// A prompt placed there is computed, or will never be.
  virtual void PromptDone(MachineIndex machine, std::int64_t prompt_tokens) = 0;
  /// An answer whose prompt ran elsewhere is now in the machine's queue.
  virtual void AnswerArrived(MachineIndex machine) = 0;
  virtual void AnswerDone(MachineIndex machine) = 0;
  /// A running answer has moved, with the memory that was reserved for it.
  virtual void AnswerMoved(MachineIndex from, MachineIndex to, std::int64_t bytes) = 0;
  /// KV memory that `Place` had reserved is free.
  virtual void Release(MachineIndex machine, std::int64_t bytes) = 0;
  /// Whether something on the machine waits that runs in no batch.
  virtual void SetWaiting(MachineIndex machine, bool waiting) = 0;
  /// The machine has nothing at all to do.
  virtual void Idle(MachineIndex machine) = 0;
  /// A machine that is down or drains is placed nowhere; up again, it stands at its list's tail.
  virtual void SetUp(MachineIndex machine, bool up) = 0;
};

/// How a list of equals is used.
enum class QueueRule {
  kRandom,  // by the request's id alone
  kRoundRobin,
  kFewestRequests,  // join the shortest queue, of requests
  kFewestTokens,    // of prompt tokens to compute, and one for each answer
};

/// One machine for both phases: the paper's baselines (kFewestTokens).
[[nodiscard]] std::unique_ptr<Placer> MakeWholePlacer(QueueRule rule, std::uint64_t seed);

/// Two fixed lists, chosen from independently.
[[nodiscard]] std::unique_ptr<Placer> MakeSplitPlacer(QueueRule rule, std::uint64_t seed);

struct PoolOptions {
  /// A prompt machine with something waiting takes no prompt that would queue more tokens than these. The
  /// paper names no figure; its simulator has 8192.
  std::int64_t queue_tokens_max = 8192;
  /// When a lent machine goes home: as the paper says, once no task of the other kind is left on it, or as
  /// its simulator does, once it is idle.
  enum class Return { kNoOppositeWork, kIdle } back = Return::kNoOppositeWork;
  /// A machine that has been lent for so long changes its home (the paper's coarse re-purposing, for which it
  /// gives no figure). 0: never.
  double repurpose_after_s = 0;
};

enum class PoolName { kPrompt, kToken, kMixed };

/// Splitwise's cluster-level scheduler. The prompt goes to the shortest queue of the prompt pool, if that
/// queue is not too long, else of the mixed pool; the answer to the machine with the least reserved memory of
/// the token pool, if it has room, else of the mixed pool. Where none was found, the other pool lends its
/// best machine, which is then mixed: it runs both phases in one batch, and keeps its home. With nothing left
/// to lend, one machine takes both phases: the shortest queue of all. A whole machine is mixed for good.
class PoolPlacer : public Placer {
 public:
  [[nodiscard]] virtual PoolName PoolOf(MachineIndex machine) const = 0;
  [[nodiscard]] virtual std::int64_t PendingTokens(MachineIndex machine) const = 0;
  [[nodiscard]] virtual std::int64_t ReservedBytes(MachineIndex machine) const = 0;
};
[[nodiscard]] std::unique_ptr<PoolPlacer> MakePoolPlacer(const PoolOptions& options);

/// "random", "round-robin", "jsq", "token-jsq": whole machines; "split-random", "split-round-robin",
/// "split-jsq", "split-token-jsq": two lists; "mixed-pool". Null for another name.
[[nodiscard]] std::unique_ptr<Placer> MakePlacer(std::string_view policy, std::uint64_t seed,
                                                 const PoolOptions& options);

}  // namespace baton::router
