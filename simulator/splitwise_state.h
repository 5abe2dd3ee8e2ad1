#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "router/policy/pools.h"
#include "simulator/splitwise_queue.h"
#include "simulator/splitwise_world.h"

/// What the world of kSplitwise keeps of requests and machines.
namespace baton::simulator::splitwise {

using router::MachineIndex;

inline constexpr std::uint32_t kNobody = std::numeric_limits<std::uint32_t>::max();

inline double Interpolate(const std::vector<double>& x, const std::vector<double>& y, double at) {
  const auto above = static_cast<std::size_t>(std::lower_bound(x.begin(), x.end(), at) - x.begin());
  const std::size_t high = std::clamp<std::size_t>(above, 1, x.size() - 1);
  const double slope = (y[high] - y[high - 1]) / (x[high] - x[high - 1]);
  const double value = slope * (at - x[high - 1]) + y[high - 1];
  // Time does not run backwards, however the last piece falls.
  return value >= 0 || at <= x.back() ? value : y.back();
}

/// A table with the answers that it has given.
class StepTimes {
 public:
  explicit StepTimes(const StepTable& table) : table_(table) {}
  double Prompt(std::int64_t tokens) { return Get(prompt_, table_.prompt_s, tokens); }
  double Token(std::int64_t sequences) { return Get(token_, table_.token_s, sequences); }

 private:
  double Get(std::vector<double>& known, const std::vector<double>& y, std::int64_t tokens) {
    const auto at = static_cast<std::size_t>(tokens);
    constexpr std::size_t kKnownMax = 65'536;
    if (at >= kKnownMax) return Interpolate(table_.tokens, y, static_cast<double>(tokens));
    if (at >= known.size()) known.resize(at + 1, -1);
    if (known[at] < 0) known[at] = Interpolate(table_.tokens, y, static_cast<double>(tokens));
    return known[at];
  }

  const StepTable& table_;
  std::vector<double> prompt_;
  std::vector<double> token_;
};

/// A task is 2 x request for the prompt and 2 x request + 1 for the answer.
using Task = std::uint32_t;
constexpr bool IsPrompt(Task task) {
  return (task & 1U) == 0;
}

enum class TaskState : std::uint8_t { kNone, kQueued, kRunning, kBlocked, kDone };

/// How often a step began without the task at the head of its request: counted by the machine's steps while
/// it counts.
struct TaskInfo {
  TaskState state = TaskState::kNone;
  bool counting = false;
  std::uint32_t chunk = 0;
  std::int64_t preemptions = 0;
  std::int64_t since = 0;
};

struct Links {
  std::uint32_t before = kNobody;
  std::uint32_t after = kNobody;
};

struct Request {
  double arrival_s = 0;
  std::int64_t prompt_tokens = 0;
  std::int64_t answer_tokens = 0;  // without the first, which the prompt's step makes
  std::int64_t prompt_bytes = 0;
  std::int64_t answer_bytes = 0;
  std::int64_t left = 0;  // answer tokens, while the answer runs in no batch
  std::int64_t entered = 0;
  MachineIndex prompt_machine = router::kNoMachine;
  MachineIndex token_machine = router::kNoMachine;
  std::int64_t chosen = -1;  // number of the selection that has it
  TaskInfo tasks[2];
  Links waiting;
  Links prompts;
};

/// A list through the requests, by `links`.
template <Links Request::*links>
class RequestList {
 public:
  std::uint32_t first = kNobody;
  std::uint32_t last = kNobody;

  /// Before `next`, or at the end.
  void InsertBefore(std::vector<Request>& requests, std::uint32_t request, std::uint32_t next) {
    Links& own = requests[request].*links;
    own.after = next;
    own.before = next == kNobody ? last : (requests[next].*links).before;
    (own.before == kNobody ? first : (requests[own.before].*links).after) = request;
    (next == kNobody ? last : (requests[next].*links).before) = request;
  }
  void Remove(std::vector<Request>& requests, std::uint32_t request) {
    const Links own = requests[request].*links;
    (own.before == kNobody ? first : (requests[own.before].*links).after) = own.after;
    (own.after == kNobody ? last : (requests[own.after].*links).before) = own.before;
  }
};

struct Decode {
  Task task = 0;
  std::int64_t ends = 0;  // when the machine has made so many decode steps
};

struct Machine {
  StepTimes* times = nullptr;
  std::int64_t memory = 0;
  std::int64_t memory_max = 0;
  std::vector<Decode> decodes;  // of the batch, in its order
  std::vector<Task> prompts;    // of the batch
  ChunkedList pending;
  RequestList<&Request::waiting> waiting;  // heads that never ran, by arrival
  RequestList<&Request::prompts> prompt_queue;
  std::vector<Task> blocked;  // preempted answers
  std::int64_t in_pool = 0;   // requests
  std::int64_t batch_tokens = 0;
  std::int64_t starts = 0;   // of steps
  std::int64_t decoded = 0;  // decode steps made
  double step_s = 0;
  double steps = 0;    // that the running event stands for
  double event_s = 0;  // when it ends
  double start_s = 0;  // of it, for statistics
  std::uint32_t version = 0;
  bool paused = false;
  std::int64_t selections = 0;  // number of its last one, of those of all machines

  [[nodiscard]] std::size_t BatchSize() const { return decodes.size() + prompts.size(); }
};

}  // namespace baton::simulator::splitwise
