#include "simulator/splitwise_world.h"

#include <algorithm>
#include <cstddef>

#include "simulator/splitwise_run.h"

namespace baton::simulator {
namespace splitwise {

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
  std::int64_t handled = 0;
  while (!events_.Empty() && now_s_ < setup_.end_s) {
    if (++handled % kAskEvents == 0 && options_.progress &&
        !options_.progress(static_cast<double>(done_) / static_cast<double>(requests_.size()))) {
      result_.interrupted = true;
      break;
    }
    const Event event = events_.Pop();
    if (event.kind == kStep && event.version != machines_[event.subject].version) continue;
    now_s_ = event.time_s;
    switch (event.kind) {
      case kArrival:
        Arrive(event.subject);
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
  ++done_;
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

}  // namespace splitwise

RunResult RunSplitwise(const SplitwiseSetup& setup, const Workload& workload, router::Placer& placer,
                       const RunOptions& options) {
  RunResult result = splitwise::World(setup, workload, placer, options).Run();
  if (!workload.requests.empty()) result.last_arrival_s = workload.requests.back().arrival_s;
  return result;
}

}  // namespace baton::simulator
