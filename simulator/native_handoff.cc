#include "simulator/native_run.h"

#include <algorithm>
#include <cmath>

#include "router/policy/migration.h"

namespace baton::simulator::native {

double World::Tail(const Request& r) const {
  const double bandwidth = std::min(setup_.machines[At(r.prompt_machine)].nic_bandwidth,
                                    setup_.machines[At(r.token_machine)].nic_bandwidth);
  return KvBytes(r.prompt) / setup_.layers / bandwidth;
}

void World::Grant(std::size_t machine) {
  Machine& m = machines_[machine];
  if (!m.Awake()) return;
  while (!m.grants.empty()) {
    const std::uint32_t request = m.grants.front();
    Request& r = requests_[request];
    if (!m.waiting.empty() && m.waiting.front() < request) return;  // whoever was preempted here is older
    const std::int64_t blocks = Blocks(r.prompt + 1);
    if (blocks > m.Available()) return;
    m.Take(blocks);
    r.granted_blocks = blocks;
    m.grants.pop_front();
    r.hop = Hop::kGranted;
    if (r.prompt_done || r.prompt >= options_.native.layerwise_tokens) StartFlow(request);
  }
}

void World::StartFlow(std::uint32_t request) {
  Request& r = requests_[request];
  r.hop = Hop::kFlowing;
  network_.Start(now_s_, {.id = request,
                          .from = static_cast<std::uint32_t>(r.prompt_machine),
                          .to = static_cast<std::uint32_t>(r.token_machine),
                          .bytes = KvBytes(r.prompt)});
  WatchNetwork();
}

void World::WatchNetwork() {
  ++network_version_;
  const double end_s = network_.NextEnd();
  if (std::isfinite(end_s)) Push(std::max(end_s, now_s_), kNetwork, 0, network_version_);
}

void World::FlowEnded(std::uint32_t flow) {
  Request& r = requests_[flow & ~kMoveBit];
  if ((flow & kMoveBit) != 0) {
    r.move_ready = true;
    const std::size_t from = At(r.token_machine);
    if (machines_[from].busy) {
      Pause(from);
    } else {
      Sweep(from);
      Wake(from);
    }
    return;
  }
  r.hop = Hop::kFlowed;
  if (r.prompt_done) SentAll(flow);
}

/// The prompt is whole: what is not yet under way goes now, and of what went layer by layer the last layer.
void World::SentAll(std::uint32_t request) {
  Request& r = requests_[request];
  if (r.hop == Hop::kGranted) {
    StartFlow(request);
  } else if (r.hop == Hop::kFlowed) {
    const bool layerwise = r.prompt >= options_.native.layerwise_tokens;
    const double end_s = std::max(now_s_, r.prompt_end_s + (layerwise ? Tail(r) : 0));
    Push(end_s, kJoin, request, r.version);
  }
}

void World::Join(std::uint32_t request) {
  Request& r = requests_[request];
  Machine& from = machines_[At(r.prompt_machine)];
  const auto sent = std::find_if(from.sending.begin(), from.sending.end(),
                                 [&](const Sequence& s) { return s.request == request; });
  FreeSequence(from, *sent);
  from.sending.erase(sent);
  r.hop = Hop::kArrived;
  AnswerCounted(request);
  result_.requests[request].transfer_s = now_s_ - r.prompt_end_s;
  placer_.Release(r.prompt_machine, r.prompt_bytes);
  placer_.AnswerArrived(r.token_machine);
  Machine& to = machines_[At(r.token_machine)];
  const Sequence s{.request = request, .tokens = r.prompt, .blocks = r.granted_blocks};
  r.granted_blocks = 0;
  if (to.busy) {
    // In the batch from the next step on: the queue of a running step must not shift.
    to.joining.push_back(s);
    Pause(At(r.token_machine));
  } else {
    to.Insert(s);
  }
  Wake(At(r.prompt_machine));
  Wake(At(r.token_machine));
}

void World::Migrate() {
  if (active_ == 0 && to_arrive_ == 0) return;
  std::vector<router::DecodeLoad> loads;
  for (std::size_t i = 0; i < machines_.size(); ++i) {
    const Machine& m = machines_[i];
    if (!m.up || !m.Awake() || setup_.machines[i].role == router::MachineRole::kPrompt) continue;
    router::DecodeLoad load;
    load.machine = static_cast<MachineIndex>(i);
    load.free_tokens = m.Available() * options_.native.block_tokens;
    if (!m.waiting.empty()) {
      load.wanted_tokens = requests_[m.waiting.front()].prompt;
    } else if (!m.grants.empty()) {
      load.wanted_tokens = requests_[m.grants.front()].prompt;
    }
    load.sequences = static_cast<std::int64_t>(m.running.size());
    load.step_s = m.last_step_s;
    load.draining = m.draining;
    loads.push_back(load);
  }
  for (const router::MachineMove& move : router::PairMigrations(loads, {}))
    StartMove(At(move.from), At(move.to));
  // With nothing else to come nothing will change either.
  if (!events_.Empty()) Push(now_s_ + options_.native.migrate_every_s, kMigrate, 0, 0);
}

/// The shortest running answer moves: it frees least, but is there soonest.
void World::StartMove(std::size_t from, std::size_t to) {
  const Sequence* shortest = nullptr;
  for (const Sequence& s : machines_[from].running) {
    const Request& r = requests_[s.request];
    const bool can = s.prompt_left == 0 && !s.dead && r.moves_to == router::kNoMachine &&
                     r.left >= kMoveTokensMin && At(r.token_machine) == from;
    if (can && (shortest == nullptr || s.tokens < shortest->tokens)) shortest = &s;
  }
  if (shortest == nullptr) return;
  const std::uint32_t request = shortest->request;
  Machine& destination = machines_[to];
  Request& r = requests_[request];
  const WorkloadRequest& about = workload_.requests[request];
  const std::int64_t blocks = Blocks(shortest->tokens + 1);
  if (blocks > destination.Available() ||
      Blocks(about.prompt_tokens + about.output_tokens) > destination.blocks) {
    return;
  }
  destination.Take(blocks);
  r.granted_blocks = blocks;
  r.moves_to = static_cast<MachineIndex>(to);
  network_.Start(now_s_, {.id = request | kMoveBit,
                          .from = static_cast<std::uint32_t>(from),
                          .to = static_cast<std::uint32_t>(to),
                          .bytes = KvBytes(shortest->tokens)});
  WatchNetwork();
}

void World::CancelMove(std::uint32_t request) {
  Request& r = requests_[request];
  if (r.moves_to == router::kNoMachine) return;
  network_.Cancel(now_s_, request | kMoveBit);
  GiveBack(At(r.moves_to), r.granted_blocks);
  r.granted_blocks = 0;
  r.moves_to = router::kNoMachine;
  r.move_ready = false;
  WatchNetwork();
}

/// The copy is there, and the step has ended: the answer goes on at its destination, if that still has room
/// for what was written meanwhile.
void World::Move(std::size_t from, Sequence& s) {
  Request& r = requests_[s.request];
  const std::size_t to = At(r.moves_to);
  Machine& destination = machines_[to];
  const std::int64_t more = std::max<std::int64_t>(0, Blocks(s.tokens + 1) - r.granted_blocks);
  if (more > destination.Available() || !destination.up) {
    CancelMove(s.request);
    machines_[from].Insert(s);
    return;
  }
  destination.Take(more);
  Sequence there{.request = s.request, .tokens = s.tokens, .blocks = r.granted_blocks + more, .fresh = false};
  FreeSequence(machines_[from], s);
  placer_.AnswerMoved(static_cast<MachineIndex>(from), r.moves_to, r.prompt_bytes + r.answer_bytes);
  if (!Split(r)) r.prompt_machine = r.moves_to;
  r.token_machine = r.moves_to;
  r.granted_blocks = 0;
  r.moves_to = router::kNoMachine;
  r.move_ready = false;
  ++result_.requests[s.request].migrations;
  result_.requests[s.request].decode_machine = r.token_machine;
  if (destination.busy) {
    destination.joining.push_back(there);
    Pause(to);
  } else {
    destination.Insert(there);
    StartStep(to);
  }
}

void World::Befall(const MachineEvent& event) {
  if (event.machine < 0 || At(event.machine) >= machines_.size()) return;
  Machine& m = machines_[At(event.machine)];
  switch (event.kind) {
    case MachineEvent::Kind::kFail:
      Fail(At(event.machine));
      break;
    case MachineEvent::Kind::kDrain:
      m.draining = true;
      placer_.SetUp(event.machine, false);
      KeepTaker();
      break;
    case MachineEvent::Kind::kReturn:
      m.up = true;
      m.draining = false;
      placer_.SetUp(event.machine, m.Takes());
      break;
  }
}

void World::RemoveFrom(std::size_t machine, std::uint32_t request) {
  Machine& m = machines_[machine];
  const auto own = [&](const Sequence& s) { return s.request == request; };
  std::erase(m.waiting, request);
  std::erase(m.grants, request);
  for (auto* list : {&m.sending, &m.joining}) {
    for (const Sequence& s : *list) {
      if (own(s)) FreeSequence(m, s);
    }
    std::erase_if(*list, own);
  }
  const auto running = std::find_if(m.running.begin(), m.running.end(), own);
  if (running == m.running.end()) return;
  if (m.busy) {
    running->dead = true;
  } else {
    FreeSequence(m, *running);
    m.running.erase(running);
  }
}

/// All that was there is lost, and begins again elsewhere, from what its client already has.
void World::Fail(std::size_t machine) {
  Machine& m = machines_[machine];
  if (!m.up) return;
  if (m.busy) {
    // Tokens of whole steps have reached their clients; the step that was running is lost.
    m.steps = m.decode_run ? static_cast<std::int64_t>(std::floor((now_s_ - m.start_s) / m.step_s)) : 0;
    for (std::size_t i = 0; i < static_cast<std::size_t>(m.decode_run ? m.decodes : 0); ++i) {
      requests_[m.running[i].request].made += m.steps;
      requests_[m.running[i].request].left -= m.steps;
    }
    m.plan.slices.clear();
    NoteUse(machine);
  }
  m.up = m.busy = false;
  ++m.version;
  EndPower(machine);
  placer_.SetUp(static_cast<MachineIndex>(machine), false);
  KeepTaker();
  std::vector<std::uint32_t> lost;
  for (std::size_t i = 0; i < requests_.size(); ++i) {
    const Request& r = requests_[i];
    if (!r.active || r.prompt_machine == router::kNoMachine) continue;
    const bool there =
        At(r.token_machine) == machine || (At(r.prompt_machine) == machine && r.hop != Hop::kArrived);
    if (there) lost.push_back(static_cast<std::uint32_t>(i));
    if (r.moves_to == static_cast<MachineIndex>(machine)) CancelMove(static_cast<std::uint32_t>(i));
  }
  for (const std::uint32_t request : lost) Restart(request);
  m.running.clear();
  m.prefixes.Clear();
  m.free_blocks = m.blocks;
  WatchNetwork();
  for (std::size_t i = 0; i < machines_.size(); ++i) {
    if (machines_[i].up) Wake(i);
  }
}

}  // namespace baton::simulator::native
