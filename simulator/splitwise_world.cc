#include "simulator/splitwise_world.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>

#include "simulator/event_heap.h"
#include "simulator/splitwise_state.h"

namespace baton::simulator {
namespace {

using router::MachineIndex;
using namespace splitwise;

/// The reference divides as Python does: the floor of the quotient, from the exact remainder.
double FloorQuotient(double a, double b) {
  const double remainder = std::fmod(a, b);
  const double quotient = (a - remainder) / b;
  const double whole = std::floor(quotient);
  return quotient - whole > 0.5 ? whole + 1 : whole;
}

enum Kind : std::uint32_t { kArrival, kStep, kFlow, kRetry };

class World {
 public:
  World(const SplitwiseSetup& setup, const Workload& workload, router::Placer& placer,
        const RunOptions& options)
      : setup_(setup), workload_(workload), placer_(placer), options_(options) {
    for (const StepTable& table : setup.tables) times_.emplace_back(table);
    for (const SplitwiseMachine& machine : setup.machines) AddMachine(machine);
    AddRequests();
  }

  RunResult Run();

 private:
  void AddMachine(const SplitwiseMachine& machine);
  void AddRequests();
  void Arrive(std::uint32_t request);
  void TaskArrives(std::size_t machine, Task task);
  void BecomesHead(Machine& m, Task task);
  void AddPending(std::size_t machine, Task task);
  void RemovePending(std::size_t machine, Task task);
  void StartStep(std::size_t machine);
  void SelectBatch(Machine& m);
  bool TryAdd(const Machine& m, Task task);
  void SelectStarved(Machine& m);
  void SelectPrompts(const Machine& m);
  bool SelectBlocked(const Machine& m);
  bool SelectRunning(const Machine& m);
  void SelectWaiting(const Machine& m);
  void ApplySelection(std::size_t machine);
  void Enter(std::size_t machine, Task task);
  bool Begin(std::size_t machine);
  void Pause(std::size_t machine);
  void CompleteStep(std::size_t machine);
  void FinishPrompt(std::size_t machine, Task task);
  void FinishAnswer(std::size_t machine, Task task);
  void TryFlow(std::uint32_t request);
  void FlowDone(std::uint32_t request);
  void NoteUse(std::size_t machine, double end_s);
  void Push(double time_s, Kind kind, std::uint32_t subject, std::uint32_t version = 0) {
    events_.Push({time_s, kind, subject, version});
  }

  Request& Of(Task task) { return requests_[task >> 1U]; }
  const Request& Of(Task task) const { return requests_[task >> 1U]; }
  TaskInfo& Info(Task task) { return Of(task).tasks[task & 1U]; }
  const TaskInfo& Info(Task task) const { return Of(task).tasks[task & 1U]; }
  std::int64_t Bytes(Task task) const {
    return IsPrompt(task) ? Of(task).prompt_bytes : Of(task).answer_bytes;
  }
  std::int64_t TokensOfStep(Task task) const { return IsPrompt(task) ? Of(task).prompt_tokens : 1; }
  std::int64_t Preemptions(const Machine& m, Task task) const {
    const TaskInfo& info = Info(task);
    return info.preemptions + (info.counting ? m.starts - info.since : 0);
  }
  void StopCounting(const Machine& m, Task task) {
    TaskInfo& info = Info(task);
    info.preemptions = Preemptions(m, task);
    info.counting = false;
  }
  auto Chunks() {
    return [this](Task task) -> std::uint32_t& { return Info(task).chunk; };
  }

  const SplitwiseSetup& setup_;
  const Workload& workload_;
  router::Placer& placer_;
  const RunOptions& options_;
  std::vector<StepTimes> times_;
  std::vector<Machine> machines_;
  std::vector<Request> requests_;
  EventHeap events_;
  double now_s_ = 0;
  RunResult result_;
  std::int64_t pool_order_ = 0;
  std::int64_t selections_ = 0;

  // The selection that is being made.
  std::vector<Task> new_tasks_;
  std::size_t kept_ = 0;  // of the machine's decodes
  std::int64_t size_ = 0;
  std::int64_t tokens_ = 0;
  std::int64_t memory_ = 0;
};

void World::AddMachine(const SplitwiseMachine& machine) {
  Machine m;
  m.times = &times_[static_cast<std::size_t>(machine.table)];
  m.memory = machine.weight_bytes;
  m.memory_max = machine.memory_bytes;
  placer_.Add(machine.role, machine.memory_bytes, machine.weight_bytes);
  machines_.push_back(std::move(m));
  MachineUse use;
  use.pool = machine.pool;
  result_.machines.push_back(std::move(use));
}

void World::AddRequests() {
  const std::size_t count = workload_.requests.size();
  requests_.resize(count);
  result_.requests.resize(count);
  events_.Reserve(count + 4 * machines_.size());
  for (std::size_t i = 0; i < count; ++i) {
    const WorkloadRequest& from = workload_.requests[i];
    Request& to = requests_[i];
    to.arrival_s = from.arrival_s;
    to.prompt_tokens = from.prompt_tokens;
    to.answer_tokens = from.output_tokens - 1;
    to.left = to.answer_tokens;
    to.prompt_bytes = (from.prompt_tokens + 1) * setup_.kv_bytes_per_token;
    to.answer_bytes = to.answer_tokens * setup_.kv_bytes_per_token;
    result_.requests[i].request = static_cast<std::int64_t>(i);
  }
}

RunResult World::Run() {
  for (std::size_t i = 0; i < requests_.size(); ++i) {
    const auto request = static_cast<std::uint32_t>(i);
    requests_[i].arrival_s == 0 ? Arrive(request) : Push(requests_[i].arrival_s, kArrival, request);
  }
  std::size_t arrived = 0;
  while (!events_.Empty() && now_s_ < setup_.end_s) {
    const Event event = events_.Pop();
    if (event.kind == kStep && event.version != machines_[event.subject].version) continue;
    now_s_ = event.time_s;
    switch (event.kind) {
      case kArrival:
        Arrive(event.subject);
        if (++arrived % 4096 == 0 && options_.progress &&
            !options_.progress(static_cast<double>(arrived) / static_cast<double>(requests_.size()))) {
          result_.interrupted = true;
          return std::move(result_);
        }
        break;
      case kStep:
        CompleteStep(event.subject);
        break;
      case kFlow:
        FlowDone(event.subject);
        break;
      case kRetry:
        TryFlow(event.subject);
        break;
      default:
        break;
    }
  }
  return std::move(result_);
}

void World::Arrive(std::uint32_t request) {
  Request& r = requests_[request];
  const router::MachinePair pair = placer_.Place({.id = request,
                                                  .prompt_tokens = r.prompt_tokens,
                                                  .prompt_bytes = r.prompt_bytes,
                                                  .answer_bytes = r.answer_bytes},
                                                 now_s_);
  r.prompt_machine = pair.prompt;
  r.token_machine = pair.token;
  result_.requests[request].prefill_machine = pair.prompt;
  result_.requests[request].decode_machine = pair.token;
  TaskArrives(static_cast<std::size_t>(pair.prompt), 2 * request);
  if (pair.prompt == pair.token) TaskArrives(static_cast<std::size_t>(pair.token), 2 * request + 1);
}

void World::BecomesHead(Machine& m, Task task) {
  TaskInfo& info = Info(task);
  info.counting = true;
  info.since = m.starts;
  const Request& r = Of(task);
  const auto before = [&](std::uint32_t other) {
    const Request& o = requests_[other];
    return r.arrival_s != o.arrival_s ? r.arrival_s < o.arrival_s : r.entered < o.entered;
  };
  // From both ends at once: prompts belong at the end, answers that follow their prompts near the front.
  std::uint32_t next = m.waiting.first;
  std::uint32_t previous = m.waiting.last;
  while (true) {
    if (next == kNobody || before(next)) {
      m.waiting.InsertBefore(requests_, task >> 1U, next);
      return;
    }
    if (previous == kNobody || !before(previous)) {
      m.waiting.InsertBefore(requests_, task >> 1U,
                             previous == kNobody ? m.waiting.first : requests_[previous].waiting.after);
      return;
    }
    next = requests_[next].waiting.after;
    previous = requests_[previous].waiting.before;
  }
}

void World::AddPending(std::size_t machine, Task task) {
  Machine& m = machines_[machine];
  const std::int64_t own = Preemptions(m, task);
  const double arrival = Of(task).arrival_s;
  const auto after = [&](Task other) {
    const std::int64_t theirs = Preemptions(m, other);
    return own != theirs ? own < theirs : arrival < Of(other).arrival_s;
  };
  m.pending.Insert(task, after, Chunks());
  if (m.pending.Size() == 1) placer_.SetWaiting(static_cast<MachineIndex>(machine), true);
}

void World::RemovePending(std::size_t machine, Task task) {
  Machine& m = machines_[machine];
  m.pending.Erase(task, Chunks());
  if (m.pending.Empty()) placer_.SetWaiting(static_cast<MachineIndex>(machine), false);
}

void World::TaskArrives(std::size_t machine, Task task) {
  Machine& m = machines_[machine];
  Request& r = Of(task);
  Info(task).state = TaskState::kQueued;
  const bool behind_prompt = !IsPrompt(task) && r.prompt_machine == r.token_machine;
  if (!behind_prompt) {
    ++m.in_pool;
    r.entered = ++pool_order_;
    BecomesHead(m, task);
  }
  AddPending(machine, task);
  if (IsPrompt(task)) m.prompt_queue.InsertBefore(requests_, task >> 1U, kNobody);

  if (m.BatchSize() == 0) {
    if (m.memory + Bytes(task) <= m.memory_max) StartStep(machine);
    return;
  }
  const bool size_fits = static_cast<std::int64_t>(m.BatchSize()) < setup_.batch_sequences_max;
  if (size_fits && m.batch_tokens + TokensOfStep(task) <= setup_.batch_tokens_max) {
    Pause(machine);
  } else if (IsPrompt(task) && m.prompts.size() < m.BatchSize()) {
    const std::int64_t prompt_tokens = m.batch_tokens - static_cast<std::int64_t>(m.decodes.size());
    if (prompt_tokens + r.prompt_tokens <= setup_.batch_tokens_max) Pause(machine);
  }
}

/// A step that had begun with decodes alone ends at its next boundary.
void World::Pause(std::size_t machine) {
  Machine& m = machines_[machine];
  if (m.paused || !m.prompts.empty()) return;
  m.paused = true;
  const double elapsed = now_s_ - (m.event_s - m.step_s * m.steps);
  m.steps = FloorQuotient(elapsed, m.step_s) + 1;
  const double remaining = m.step_s * m.steps - elapsed;
  ++m.version;
  if (remaining == 0) {
    CompleteStep(machine);
    return;
  }
  m.event_s = now_s_ + remaining;
  Push(m.event_s, kStep, static_cast<std::uint32_t>(machine), m.version);
}

bool World::TryAdd(const Machine& m, Task task) {
  const bool reserved = Info(task).state == TaskState::kBlocked;
  if (!reserved && Bytes(task) + memory_ > m.memory_max) return false;
  if (!reserved) memory_ += Bytes(task);
  new_tasks_.push_back(task);
  Of(task).chosen = m.selections;
  tokens_ += TokensOfStep(task);
  ++size_;
  return true;
}

void World::SelectStarved(Machine& m) {
  m.pending.ForEach([&](Task task) {
    if (Preemptions(m, task) < setup_.preemptions_max || size_ == setup_.batch_sequences_max) return false;
    if (size_ > 0 && tokens_ + TokensOfStep(task) > setup_.batch_tokens_max) return false;
    if (Of(task).chosen != m.selections) (void)TryAdd(m, task);
    return true;
  });
}

void World::SelectPrompts(const Machine& m) {
  for (std::uint32_t request = m.prompt_queue.first; request != kNobody;
       request = requests_[request].prompts.after) {
    const Task task = 2 * request;
    if (size_ == setup_.batch_sequences_max) return;
    if (size_ > 0 && tokens_ + TokensOfStep(task) > setup_.batch_tokens_max) return;
    if (requests_[request].chosen == m.selections) continue;
    if (!TryAdd(m, task)) return;
  }
}

bool World::SelectBlocked(const Machine& m) {
  for (const Task task : m.blocked) {
    if (size_ == setup_.batch_sequences_max) return false;
    if (size_ > 0 && tokens_ + 1 > setup_.batch_tokens_max) return false;
    if (Of(task).chosen != m.selections) (void)TryAdd(m, task);
  }
  return true;
}

/// How many of the batch's decodes stay in it: all that follow the first that must go, go.
bool World::SelectRunning(const Machine& m) {
  const auto running = static_cast<std::int64_t>(m.decodes.size());
  std::int64_t room = std::min(setup_.batch_sequences_max - size_, setup_.batch_tokens_max - tokens_);
  if (size_ == 0) room = std::max<std::int64_t>(room, 1);
  const std::int64_t kept = std::clamp<std::int64_t>(room, 0, running);
  kept_ = static_cast<std::size_t>(kept);
  size_ += kept;
  tokens_ += kept;
  return kept == running;
}

void World::SelectWaiting(const Machine& m) {
  for (std::uint32_t request = m.waiting.first; request != kNobody;
       request = requests_[request].waiting.after) {
    if (size_ == setup_.batch_sequences_max) return;
    const Request& r = requests_[request];
    if (r.chosen == m.selections) continue;
    const Task task = r.tasks[0].state == TaskState::kQueued ? 2 * request : 2 * request + 1;
    if (size_ > 0 && tokens_ + TokensOfStep(task) > setup_.batch_tokens_max) return;
    if (!TryAdd(m, task)) return;
  }
}

void World::SelectBatch(Machine& m) {
  m.selections = ++selections_;
  new_tasks_.clear();
  size_ = tokens_ = 0;
  kept_ = 0;
  memory_ = m.memory;
  if (!m.pending.Empty()) {
    SelectStarved(m);
    SelectPrompts(m);
  }
  // What stops one of these stops the next: each of the rest costs at least the one token that had no room.
  if (SelectBlocked(m) && SelectRunning(m) && m.waiting.first != kNobody) SelectWaiting(m);
  m.batch_tokens = tokens_;
}

void World::Enter(std::size_t machine, Task task) {
  Machine& m = machines_[machine];
  TaskInfo& info = Info(task);
  Request& r = Of(task);
  RemovePending(machine, task);
  StopCounting(m, task);
  const bool first_time = info.state == TaskState::kQueued;
  if (first_time) m.waiting.Remove(requests_, task >> 1U);
  if (first_time) m.memory += Bytes(task);
  info.state = TaskState::kRunning;
  RequestOutcome& outcome = result_.requests[task >> 1U];
  if (IsPrompt(task)) {
    m.prompt_queue.Remove(requests_, task >> 1U);
    m.prompts.push_back(task);
    outcome.queue_s = now_s_ - r.arrival_s;
  } else {
    m.decodes.push_back({task, m.decoded + r.left});
    if (first_time) outcome.second_token_s = now_s_ - (r.arrival_s + outcome.ttft_s);
  }
}

/// Preempts, then lets in what was selected. The step that begins counts as a preemption for all heads that
/// are not in it, those included that were never in one.
void World::ApplySelection(std::size_t machine) {
  Machine& m = machines_[machine];
  const std::size_t blocked_before = m.blocked.size();
  for (std::size_t i = kept_; i < m.decodes.size(); ++i) {
    const Decode& decode = m.decodes[i];
    TaskInfo& info = Info(decode.task);
    info.state = TaskState::kBlocked;
    info.counting = true;
    info.since = m.starts;
    Of(decode.task).left = decode.ends - m.decoded;
    ++result_.requests[decode.task >> 1U].preemptions;
    AddPending(machine, decode.task);
    m.blocked.push_back(decode.task);
  }
  m.decodes.resize(kept_);
  if (blocked_before > 0) {
    const auto back = [&](Task task) { return Of(task).chosen == m.selections; };
    m.blocked.erase(std::remove_if(m.blocked.begin(), m.blocked.end(), back), m.blocked.end());
  }
  for (const Task task : new_tasks_) Enter(machine, task);
  ++m.starts;
}

/// Begins the selected step; false where it has no step to make, and has ended.
bool World::Begin(std::size_t machine) {
  Machine& m = machines_[machine];
  if (m.prompts.empty()) {
    m.step_s = m.times->Token(m.batch_tokens);
    std::int64_t least = std::numeric_limits<std::int64_t>::max();
    for (const Decode& decode : m.decodes) least = std::min(least, decode.ends);
    m.steps = static_cast<double>(least - m.decoded);
  } else {
    m.step_s = m.times->Prompt(m.batch_tokens) * (m.decodes.empty() ? 1.0 : 1.1);
    m.steps = 1;
  }
  m.start_s = now_s_;
  ++m.version;
  const double duration = m.step_s * m.steps;
  m.event_s = now_s_ + duration;
  if (duration == 0) return false;
  Push(m.event_s, kStep, static_cast<std::uint32_t>(machine), m.version);
  return true;
}

void World::StartStep(std::size_t machine) {
  SelectBatch(machines_[machine]);
  ApplySelection(machine);
  const Machine& m = machines_[machine];
  if (m.BatchSize() == 0) {
    if (m.in_pool == 0) placer_.Idle(static_cast<MachineIndex>(machine));
    return;
  }
  if (!Begin(machine)) CompleteStep(machine);
}

void World::NoteUse(std::size_t machine, double end_s) {
  const Machine& m = machines_[machine];
  MachineUse& use = result_.machines[machine];
  use.busy_s += end_s - m.start_s;
  std::int64_t prompt_tokens = 0;
  for (const Task task : m.prompts) prompt_tokens += Of(task).prompt_tokens;
  use.prompt_tokens += prompt_tokens;
  use.output_tokens += static_cast<std::int64_t>(m.prompts.size()) +
                       static_cast<std::int64_t>(m.steps) * static_cast<std::int64_t>(m.decodes.size());
  use.peak_kv_share =
      std::max(use.peak_kv_share, static_cast<double>(m.memory) / static_cast<double>(m.memory_max));
  if (options_.keep_timelines) {
    use.timeline.push_back({m.start_s, end_s, static_cast<std::int32_t>(m.prompts.size()),
                            static_cast<std::int32_t>(prompt_tokens),
                            static_cast<std::int32_t>(m.decodes.size()), 0});
  }
}

void World::CompleteStep(std::size_t machine) {
  NoteUse(machine, now_s_);
  Machine& m = machines_[machine];
  m.decoded += static_cast<std::int64_t>(m.steps);
  std::size_t kept = 0;
  for (std::size_t i = 0; i < m.decodes.size(); ++i) {
    const Decode decode = m.decodes[i];
    if (decode.ends <= m.decoded) {
      FinishAnswer(machine, decode.task);
    } else {
      m.decodes[kept++] = decode;
    }
  }
  m.decodes.resize(kept);
  for (const Task task : m.prompts) FinishPrompt(machine, task);
  m.prompts.clear();
  m.paused = false;
  StartStep(machine);
}

void World::FinishPrompt(std::size_t machine, Task task) {
  Machine& m = machines_[machine];
  const std::uint32_t request = task >> 1U;
  Request& r = requests_[request];
  Info(task).state = TaskState::kDone;
  RequestOutcome& outcome = result_.requests[request];
  outcome.ttft_s = now_s_ - r.arrival_s;
  placer_.PromptDone(static_cast<MachineIndex>(machine), r.prompt_tokens);
  if (r.prompt_machine == r.token_machine) {
    BecomesHead(m, 2 * request + 1);
  } else {
    --m.in_pool;
    TryFlow(request);
  }
}

void World::FinishAnswer(std::size_t machine, Task task) {
  Machine& m = machines_[machine];
  Request& r = Of(task);
  Info(task).state = TaskState::kDone;
  m.memory -= r.prompt_bytes + r.answer_bytes;
  --m.in_pool;
  placer_.AnswerDone(static_cast<MachineIndex>(machine));
  placer_.Release(static_cast<MachineIndex>(machine), r.prompt_bytes + r.answer_bytes);
  RequestOutcome& outcome = result_.requests[task >> 1U];
  outcome.end = RequestEnd::kDone;
  outcome.response_s = now_s_ - r.arrival_s;
  outcome.tbt_s = (outcome.response_s - outcome.ttft_s) / static_cast<double>(r.answer_tokens + 1);
  result_.span_s = now_s_ - workload_.requests.front().arrival_s;
}

void World::TryFlow(std::uint32_t request) {
  const Request& r = requests_[request];
  Machine& to = machines_[static_cast<std::size_t>(r.token_machine)];
  if (to.memory + r.prompt_bytes > to.memory_max) {
    Push(now_s_ + setup_.retry_s, kRetry, request);
    return;
  }
  to.memory += r.prompt_bytes;
  const double bytes = static_cast<double>(r.prompt_tokens * setup_.kv_bytes_per_token);
  result_.requests[request].transfer_s = bytes / setup_.link_bytes_per_s;
  Push(now_s_ + bytes / setup_.link_bytes_per_s, kFlow, request);
}

void World::FlowDone(std::uint32_t request) {
  const Request& r = requests_[request];
  const auto from = static_cast<std::size_t>(r.prompt_machine);
  machines_[from].memory -= r.prompt_bytes;
  placer_.Release(r.prompt_machine, r.prompt_bytes);
  placer_.AnswerArrived(r.token_machine);
  TaskArrives(static_cast<std::size_t>(r.token_machine), 2 * request + 1);

  Machine& m = machines_[from];
  if (m.pending.Empty()) return;
  if (m.BatchSize() == 0) {
    if (m.memory + Bytes(m.pending.Front()) <= m.memory_max) StartStep(from);
  } else if (static_cast<std::int64_t>(m.BatchSize()) < setup_.batch_sequences_max &&
             m.batch_tokens < setup_.batch_tokens_max) {
    Pause(from);
  }
}

}  // namespace

RunResult RunSplitwise(const SplitwiseSetup& setup, const Workload& workload, router::Placer& placer,
                       const RunOptions& options) {
  RunResult result = World(setup, workload, placer, options).Run();
  if (!workload.requests.empty()) result.last_arrival_s = workload.requests.back().arrival_s;
  return result;
}

}  // namespace baton::simulator
