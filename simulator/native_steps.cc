#include "simulator/native_run.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "common/hardware/power.h"
#include "engine/schedule/preemption.h"

namespace baton::simulator::native {

void World::AddWaiting(std::size_t machine, std::uint32_t request) {
  auto& waiting = machines_[machine].waiting;
  waiting.insert(std::upper_bound(waiting.begin(), waiting.end(), request), request);
}

void World::NoteWaiting(std::size_t machine) {
  placer_.SetWaiting(static_cast<MachineIndex>(machine), !machines_[machine].waiting.empty());
}

void World::FreeSequence(Machine& m, const Sequence& sequence) {
  m.free_blocks += sequence.blocks;
  if (sequence.prefix != 0 && sequence.shared > 0) m.prefixes.Leave(sequence.prefix);
}

void World::GiveBack(std::size_t machine, std::int64_t blocks) {
  if (blocks == 0) return;
  machines_[machine].free_blocks += blocks;
  woken_.push_back(machine);
}

/// After memory has become free: older work of the machine first, then what wants to come.
void World::Wake(std::size_t machine) {
  Grant(machine);
  Machine& m = machines_[machine];
  if (!m.busy) {
    StartStep(machine);
  } else if (m.decode_run && !m.waiting.empty()) {
    Pause(machine);
  }
  NoteWaiting(machine);
}

bool World::TryAdmit(std::size_t machine, std::uint32_t request) {
  Machine& m = machines_[machine];
  Request& r = requests_[request];
  const WorkloadRequest& from = workload_.requests[request];
  Sequence s;
  s.request = request;
  std::int64_t held = 0;
  if (options_.native.prefix_sharing && from.prefix_id != 0) {
    const std::int64_t usable = std::min(from.prefix_tokens, r.prompt - 1) / options_.native.block_tokens;
    held = std::min(m.prefixes.Held(from.prefix_id), usable);
  }
  if (held > 0) m.prefixes.Use(from.prefix_id);
  const std::int64_t blocks = Blocks(r.prompt + 1) - held;
  // Where others decode each may need a block soon: without it the newcomer would be the next to go.
  const bool decodes = setup_.machines[machine].role != router::MachineRole::kPrompt;
  const std::int64_t margin = decodes ? static_cast<std::int64_t>(m.running.size()) : 0;
  if (blocks + margin > m.Available()) {
    if (held > 0) m.prefixes.Leave(from.prefix_id);
    return false;
  }
  m.Take(blocks);
  s.blocks = blocks;
  s.prefix = from.prefix_id;
  s.shared = s.tokens = held * options_.native.block_tokens;
  s.prompt_left = r.prompt - s.tokens;
  s.keeps_place = r.prompt_done;
  RequestOutcome& outcome = result_.requests[request];
  if (r.made == 0 && outcome.restarts == 0 && outcome.preemptions == 0) {
    outcome.queue_s = now_s_ - from.arrival_s;
    outcome.reused_tokens = s.tokens;
  }
  m.Insert(s);
  if (Split(r) && !r.prompt_done && r.hop == Hop::kNone) {
    r.hop = Hop::kWaiting;
    machines_[At(r.token_machine)].grants.push_back(request);
    Grant(At(r.token_machine));
  }
  return true;
}

void World::Admit(std::size_t machine) {
  Machine& m = machines_[machine];
  while (!m.waiting.empty() &&
         static_cast<std::int64_t>(m.running.size()) < options_.native.batch_sequences) {
    if (!TryAdmit(machine, m.waiting.front())) return;
    m.waiting.pop_front();
  }
}

/// Preempts until so many blocks are available; `has_room_` says whether there are, or nobody is left who
/// could go.
void World::MakeRoom(std::size_t machine, std::int64_t blocks) {
  Machine& m = machines_[machine];
  has_room_ = false;
  while (m.Available() < blocks) {
    std::vector<engine::VictimView> candidates;
    for (std::size_t i = 1; i < m.running.size(); ++i) {
      const Sequence& s = m.running[i];
      candidates.push_back({.arrival = s.request, .tokens = s.tokens, .frees_blocks = s.blocks});
    }
    const engine::PreemptionRates rates{.prompt_tokens_per_second = 10'000};
    const auto victim = engine::ChooseVictim(candidates, rates, engine::Preemption::kRecompute);
    if (!victim) return;
    const std::size_t index = victim->index + 1;
    const std::uint32_t request = m.running[index].request;
    CancelMove(request);
    FreeSequence(m, m.running[index]);
    m.running.erase(m.running.begin() + static_cast<std::ptrdiff_t>(index));
    ++result_.requests[request].preemptions;
    Request& r = requests_[request];
    if (r.prompt_done) r.prompt = workload_.requests[request].prompt_tokens + r.made;
    AddWaiting(machine, request);
  }
  has_room_ = true;
}

void World::Grow(Machine& m, Sequence& sequence, std::int64_t tokens) {
  sequence.tokens += tokens;
  const std::int64_t more = Blocks(sequence.tokens - sequence.shared) - sequence.blocks;
  if (more <= 0) return;
  m.Take(more);
  sequence.blocks += more;
}

std::int64_t World::Growth(const Machine& m, std::span<const engine::PlannedSlice> slices) const {
  std::int64_t blocks = 0;
  for (const engine::PlannedSlice& slice : slices) {
    const Sequence& s = m.running[slice.sequence];
    if (s.prompt_left == 0 && s.tokens + 1 > Capacity(s)) ++blocks;
  }
  return blocks;
}

std::int64_t World::RunGrowth(const Machine& m, std::int64_t sequences, std::int64_t steps) const {
  std::int64_t blocks = 0;
  for (std::int64_t i = 0; i < sequences; ++i) {
    const Sequence& s = m.running[static_cast<std::size_t>(i)];
    blocks += std::max<std::int64_t>(0, Blocks(s.tokens - s.shared + steps) - s.blocks);
  }
  return blocks;
}

void World::StartStep(std::size_t machine) {
  Machine& m = machines_[machine];
  if (!m.up || !m.Awake()) return;
  Admit(machine);
  while (true) {  // not let in again at once: whoever is preempted here
    if (m.running.empty()) {
      if (m.waiting.empty() && m.grants.empty() && m.sending.empty()) {
        placer_.Idle(static_cast<MachineIndex>(machine));
        NoteIdle(machine);
      }
      return;
    }
    const bool prompts =
        std::any_of(m.running.begin(), m.running.end(), [](const Sequence& s) { return s.prompt_left > 0; });
    if (prompts ? PlanStep(machine) : RunDecodes(machine)) return;
    if (!has_room_) return;  // the oldest waits for what is on its way here to make room
  }
}

/// One step of prompts, and decodes beside them, by the production's planner. False where it had to preempt
/// or has no room: look again.
bool World::PlanStep(std::size_t machine) {
  Machine& m = machines_[machine];
  const bool mixed = setup_.machines[machine].role != router::MachineRole::kPrompt;
  const NativeSettings& native = options_.native;
  engine::QueueView queue;
  queue.sequences.reserve(m.running.size());
  for (const Sequence& s : m.running) {
    queue.sequences.push_back({.prompt_tokens_left = s.prompt_left, .keeps_place = s.keeps_place});
  }
  m.plan = engine::Plan(
      queue, {.batch_tokens = mixed ? native.mixed_batch_tokens : native.prefill_batch_tokens,
              .batch_sequences = native.batch_sequences,
              .prefill_chunk_tokens = mixed ? native.mixed_chunk_tokens : native.prefill_batch_tokens});
  const std::int64_t growth = Growth(m, m.plan.slices);
  if (growth > m.Available()) {
    MakeRoom(machine, growth);
    return false;
  }
  std::vector<hardware::PromptPiece> pieces;
  hardware::StepWork work;
  for (const engine::PlannedSlice& slice : m.plan.slices) {
    Sequence& s = m.running[slice.sequence];
    if (s.prompt_left > 0) {
      pieces.push_back({.tokens = slice.tokens, .cached = s.tokens});
    } else {
      ++work.decodes;
      work.decode_context += s.tokens;
      if (s.fresh) result_.requests[s.request].second_token_s = now_s_ - requests_[s.request].prompt_end_s;
      s.fresh = false;
    }
  }
  work.prompts = pieces;
  m.decode_run = false;
  m.decodes = work.decodes;
  Begin(machine, setup_.machines[machine].perf->Time(work), 1);
  return true;
}

/// Decodes alone: as many steps as run alike, in one event. Their time is that of the middle one, which is
/// their mean where time is linear in the context.
bool World::RunDecodes(std::size_t machine) {
  Machine& m = machines_[machine];
  const std::int64_t count =
      std::min(static_cast<std::int64_t>(m.running.size()), options_.native.batch_sequences);
  std::int64_t steps = std::numeric_limits<std::int64_t>::max();
  std::int64_t context = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    Sequence& s = m.running[static_cast<std::size_t>(i)];
    steps = std::min(steps, requests_[s.request].left);
    context += s.tokens;
    if (s.fresh) result_.requests[s.request].second_token_s = now_s_ - requests_[s.request].prompt_end_s;
    s.fresh = false;
  }
  if (count * (steps / options_.native.block_tokens + 1) > m.Available()) {
    std::int64_t most = 0;  // steps that memory allows
    for (std::int64_t high = steps; most < high;) {
      const std::int64_t middle = most + (high - most + 1) / 2;
      RunGrowth(m, count, middle) <= m.Available() ? most = middle : high = middle - 1;
    }
    if (most == 0) {
      MakeRoom(machine, RunGrowth(m, count, 1));
      return false;
    }
    steps = most;
  }
  m.decode_run = true;
  m.decodes = count;
  const hardware::StepTime time = setup_.machines[machine].perf->Time(
      {.decodes = count, .decode_context = context + count * (steps - 1) / 2});
  m.last_step_s = time.seconds;
  Begin(machine, time, steps);
  return true;
}

void World::Begin(std::size_t machine, const hardware::StepTime& time, std::int64_t steps) {
  Machine& m = machines_[machine];
  const NativeMachine& about = setup_.machines[machine];
  m.busy = true;
  m.idle = false;
  m.paused = false;
  m.steps = steps;
  m.step_s = time.seconds;
  m.start_s = now_s_;
  m.watts = hardware::MachineWatts(about.machine, about.device, about.machine.devices, time,
                                   {.cap_w = about.gpu_cap_w});
  ++m.version;
  steps_timed_ += steps;
  if (time.extrapolated) steps_extrapolated_ += steps;
  Push(now_s_ + time.seconds * static_cast<double>(steps), kStep, static_cast<std::uint32_t>(machine),
       m.version);
}

/// A run of decodes ends at its next step.
void World::Pause(std::size_t machine) {
  Machine& m = machines_[machine];
  if (!m.busy || !m.decode_run || m.paused) return;
  const auto made = static_cast<std::int64_t>(std::floor((now_s_ - m.start_s) / m.step_s)) + 1;
  if (made >= m.steps) return;
  m.paused = true;
  m.steps = made;
  ++m.version;
  const double end_s = m.start_s + m.step_s * static_cast<double>(made);
  Push(std::max(now_s_, end_s), kStep, static_cast<std::uint32_t>(machine), m.version);
}

void World::NoteUse(std::size_t machine) {
  const Machine& m = machines_[machine];
  MachineUse& use = result_.machines[machine];
  const double seconds = now_s_ - m.start_s;
  use.busy_s += seconds;
  use.energy_j += m.watts * seconds;
  const auto taken = static_cast<double>(m.blocks - m.Available());
  use.peak_kv_share =
      std::max(use.peak_kv_share, taken / static_cast<double>(std::max<std::int64_t>(1, m.blocks)));
  std::int64_t prompt_tokens = 0;
  std::int32_t prompts = 0;
  if (!m.decode_run) {
    for (const engine::PlannedSlice& slice : m.plan.slices) {
      if (m.running[slice.sequence].prompt_left == 0) continue;
      prompt_tokens += slice.tokens;
      ++prompts;
    }
  }
  use.prompt_tokens += prompt_tokens;
  use.output_tokens += m.decodes * m.steps;
  if (options_.keep_timelines) {
    use.timeline.push_back({m.start_s, now_s_, prompts, static_cast<std::int32_t>(prompt_tokens),
                            static_cast<std::int32_t>(m.decodes), m.watts});
  }
}

void World::CompleteStep(std::size_t machine) {
  NoteUse(machine);
  Machine& m = machines_[machine];
  const auto decode = [&](Sequence& s, std::int64_t steps) {
    Grow(m, s, steps);
    Request& r = requests_[s.request];
    r.made += steps;
    r.left -= steps;
  };
  if (m.decode_run) {
    for (std::int64_t i = 0; i < m.decodes; ++i) {
      Sequence& s = m.running[static_cast<std::size_t>(i)];
      if (!s.dead) decode(s, m.steps);
    }
  } else {
    for (const engine::PlannedSlice& slice : m.plan.slices) {
      Sequence& s = m.running[slice.sequence];
      if (s.dead) continue;
      if (s.prompt_left == 0) {
        decode(s, 1);
        continue;
      }
      s.tokens += slice.tokens;
      s.prompt_left -= slice.tokens;
      if (s.prompt_left == 0) PromptWhole(machine, s);
    }
  }
  m.busy = false;
  Sweep(machine);
  for (const Sequence& s : m.joining) m.Insert(s);
  m.joining.clear();
  Wake(machine);
}

/// The prompt's last piece gives a token.
void World::PromptWhole(std::size_t machine, Sequence& s) {
  Request& r = requests_[s.request];
  Machine& m = machines_[machine];
  RequestOutcome& outcome = result_.requests[s.request];
  const WorkloadRequest& from = workload_.requests[s.request];
  if (r.made == 0) outcome.ttft_s = now_s_ - from.arrival_s;
  ++r.made;
  --r.left;
  ++result_.machines[machine].output_tokens;
  s.keeps_place = false;
  if (options_.native.prefix_sharing && from.prefix_id != 0 && s.shared == 0 &&
      m.prefixes.Held(from.prefix_id) == 0) {
    const std::int64_t blocks = std::min(from.prefix_tokens, r.prompt - 1) / options_.native.block_tokens;
    if (blocks > 0) {
      m.prefixes.Keep(from.prefix_id, blocks);
      s.blocks -= blocks;
      s.shared = blocks * options_.native.block_tokens;
    }
  }
  if (r.prompt_done) return;
  PromptCounted(s.request);
  if (!Split(r)) AnswerCounted(s.request);
  r.prompt_done = true;
  r.prompt_end_s = now_s_;
  placer_.PromptDone(static_cast<MachineIndex>(machine), r.prompt);
}

/// After a step: those that have ended go, whole prompts of split pairs go to be sent, moves are made.
void World::Sweep(std::size_t machine) {
  Machine& m = machines_[machine];
  std::vector<Sequence> leaving;
  std::size_t kept = 0;
  for (Sequence& s : m.running) {
    const Request& r = requests_[s.request];
    const bool sends =
        s.prompt_left == 0 && Split(r) && At(r.prompt_machine) == machine && r.hop != Hop::kArrived;
    if (s.dead || (s.prompt_left == 0 && (r.left == 0 || sends || r.move_ready))) {
      leaving.push_back(s);
    } else {
      m.running[kept++] = s;
    }
  }
  m.running.resize(kept);
  for (Sequence& s : leaving) {
    Request& r = requests_[s.request];
    if (s.dead) {
      FreeSequence(m, s);
    } else if (r.left == 0) {
      CancelMove(s.request);
      FreeSequence(m, s);
      if (r.hop == Hop::kWaiting) std::erase(machines_[At(r.token_machine)].grants, s.request);
      GiveBack(At(r.token_machine), r.granted_blocks);
      network_.Cancel(now_s_, s.request);
      r.granted_blocks = 0;
      Unplace(s.request);
      End(s.request, RequestEnd::kDone);
    } else if (r.move_ready) {
      Move(machine, s);
    } else {
      m.sending.push_back(s);
      SentAll(s.request);
    }
  }
  if (!leaving.empty()) WatchNetwork();
}

}  // namespace baton::simulator::native
