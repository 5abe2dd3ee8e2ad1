#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>

#include "simulator/splitwise_run.h"

namespace baton::simulator::splitwise {
namespace {

/// The reference divides as Python does: the floor of the quotient, from the exact remainder.
double FloorQuotient(double a, double b) {
  const double remainder = std::fmod(a, b);
  const double quotient = (a - remainder) / b;
  const double whole = std::floor(quotient);
  return quotient - whole > 0.5 ? whole + 1 : whole;
}

}  // namespace

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

}  // namespace baton::simulator::splitwise
