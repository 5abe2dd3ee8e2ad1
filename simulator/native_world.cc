#include "simulator/native_world.h"

#include <algorithm>
#include <cmath>

#include "simulator/native_run.h"

namespace baton::simulator {
namespace native {
namespace {

std::vector<double> Cards(const NativeSetup& setup) {
  std::vector<double> cards;
  for (const NativeMachine& machine : setup.machines) cards.push_back(machine.nic_bandwidth);
  return cards;
}

double FirstArrival(const Workload& workload) {
  return workload.requests.empty() ? 0 : workload.requests.front().arrival_s;
}

}  // namespace

World::World(const NativeSetup& setup, const Workload& workload, router::Placer& placer,
             const RunOptions& options)
    : setup_(setup), workload_(workload), placer_(placer), options_(options), network_(Cards(setup)) {
  for (const NativeMachine& from : setup.machines) {
    Machine m;
    m.blocks = m.free_blocks = from.kv_blocks;
    if (from.role != router::MachineRole::kPrompt) blocks_max_ = std::max(blocks_max_, from.kv_blocks);
    const double bytes = KvBytes(from.kv_blocks * options.native.block_tokens);
    placer.Add(from.role, static_cast<std::int64_t>(bytes), 0);
    machines_.push_back(std::move(m));
    MachineUse use;
    use.pool = from.pool;
    result_.machines.push_back(std::move(use));
  }
  requests_.resize(workload.requests.size());
  result_.requests.resize(workload.requests.size());
  for (std::size_t i = 0; i < requests_.size(); ++i) {
    result_.requests[i].request = static_cast<std::int64_t>(i);
    Push(workload.requests[i].arrival_s, kArrival, static_cast<std::uint32_t>(i), 0);
  }
  to_arrive_ = static_cast<std::int64_t>(requests_.size());
  for (std::size_t i = 0; i < options.events.size(); ++i) {
    Push(options.events[i].time_s, kMachine, static_cast<std::uint32_t>(i), 0);
  }
  if (options.native.park_after_s > 0) {
    for (std::size_t i = 0; i < machines_.size(); ++i) NoteIdle(i);
  }
  if (options.native.migrate_every_s > 0) {
    // At whole seconds, as if counted from 0, but not through the years before the first arrival.
    Push(std::floor(FirstArrival(workload)) + options.native.migrate_every_s, kMigrate, 0, 0);
  }
}

RunResult World::Run() {
  std::int64_t handled = 0;
  while (!events_.Empty() && (active_ > 0 || to_arrive_ > 0)) {
    const Event event = events_.Pop();
    now_s_ = event.time_s;
    switch (event.kind) {
      case kArrival:
        Arrive(event.subject);
        break;
      case kStep:
        if (event.version == machines_[event.subject].version) CompleteStep(event.subject);
        break;
      case kNetwork:
        if (event.version != network_version_) break;
        for (const std::uint32_t flow : network_.Finish(now_s_)) FlowEnded(flow);
        WatchNetwork();
        break;
      case kJoin:
        if (event.version == requests_[event.subject].version) Join(event.subject);
        break;
      case kMachine:
        Befall(options_.events[event.subject]);
        break;
      case kMigrate:
        Migrate();
        break;
      case kPark:
        if (event.version == machines_[event.subject].power_version) TryPark(event.subject);
        break;
      case kAwake:
        if (event.version == machines_[event.subject].power_version) BecomeAwake(event.subject);
        break;
      default:
        break;
    }
    if (++handled % kAskEvents == 0 && options_.progress) {
      const auto left = static_cast<double>(to_arrive_ + active_);
      result_.interrupted = !options_.progress(1 - left / static_cast<double>(requests_.size()));
      if (result_.interrupted) break;
    }
    for (std::size_t i = 0; i < woken_.size(); ++i) Wake(woken_[i]);
    woken_.clear();
  }
  result_.span_s = std::max(0.0, now_s_ - FirstArrival(workload_));
  for (std::size_t i = 0; i < machines_.size(); ++i) CountPower(i);
  if (steps_timed_ > 0) {
    result_.extrapolated_share = static_cast<double>(steps_extrapolated_) / static_cast<double>(steps_timed_);
  }
  return std::move(result_);
}

void World::Arrive(std::uint32_t request) {
  --to_arrive_;
  const WorkloadRequest& from = workload_.requests[request];
  Request& r = requests_[request];
  r.prompt = from.prompt_tokens;
  r.left = from.output_tokens;
  ++active_;
  r.active = true;
  if (Blocks(from.prompt_tokens + from.output_tokens) > blocks_max_) {
    End(request, RequestEnd::kRefused);
    return;
  }
  NoteDemand(request);
  Place(request);
  ManagePower();
}

void World::Place(std::uint32_t request) {
  Request& r = requests_[request];
  RequestOutcome& outcome = result_.requests[request];
  const auto expected = std::max<std::int64_t>(1, std::llround(mean_output_) - r.made);
  r.prompt_bytes = std::llround(KvBytes(r.prompt + 1));
  r.answer_bytes = std::llround(KvBytes(expected));
  router::MachinePair pair;
  if (options_.policy == "cost") {
    pair = ChooseByCost(request);
  } else if (options_.policy == "pack") {
    pair = ChooseByPacking(request);
  } else {
    pair = placer_.Place({.id = request,
                          .prompt_tokens = r.prompt,
                          .prompt_bytes = r.prompt_bytes,
                          .answer_bytes = r.answer_bytes},
                         now_s_);
  }
  if (pair.prompt == router::kNoMachine) {
    End(request, outcome.restarts > 0 ? RequestEnd::kFailed : RequestEnd::kRefused);
    return;
  }
  r.prompt_machine = outcome.prefill_machine = pair.prompt;
  r.token_machine = outcome.decode_machine = pair.token;
  r.placed_tokens = r.prompt;
  r.queued = r.coming = true;
  machines_[At(pair.prompt)].queued_tokens += r.placed_tokens;
  machines_[At(pair.token)].coming += 1;
  machines_[At(pair.token)].coming_tokens += r.placed_tokens;
  const bool fits = Blocks(r.prompt + 1) <= machines_[At(pair.prompt)].blocks &&
                    Blocks(r.prompt + r.left) <= machines_[At(pair.token)].blocks;
  if (!fits) {
    Unplace(request);
    End(request, RequestEnd::kRefused);
    return;
  }
  AddWaiting(At(pair.prompt), request);
  Wake(At(pair.prompt));
}

/// The prompt is no more in its machine's queue.
void World::PromptCounted(std::uint32_t request) {
  Request& r = requests_[request];
  if (!r.queued) return;
  r.queued = false;
  machines_[At(r.prompt_machine)].queued_tokens -= r.placed_tokens;
}

/// The answer runs, or never will.
void World::AnswerCounted(std::uint32_t request) {
  Request& r = requests_[request];
  if (!r.coming) return;
  r.coming = false;
  machines_[At(r.token_machine)].coming -= 1;
  machines_[At(r.token_machine)].coming_tokens -= r.placed_tokens;
}

/// Takes back what the placer counts of the request.
void World::Unplace(std::uint32_t request) {
  Request& r = requests_[request];
  PromptCounted(request);
  AnswerCounted(request);
  if (!r.prompt_done) placer_.PromptDone(r.prompt_machine, r.prompt);
  if (Split(r) && r.hop != Hop::kArrived) placer_.Release(r.prompt_machine, r.prompt_bytes);
  placer_.AnswerDone(r.token_machine);
  placer_.Release(r.token_machine, r.prompt_bytes + r.answer_bytes);
}

void World::Restart(std::uint32_t request) {
  Request& r = requests_[request];
  CancelMove(request);
  network_.Cancel(now_s_, request);
  GiveBack(At(r.token_machine), r.granted_blocks);
  RemoveFrom(At(r.prompt_machine), request);
  if (Split(r)) RemoveFrom(At(r.token_machine), request);
  Unplace(request);
  ++result_.requests[request].restarts;
  ++r.version;
  r.prompt = workload_.requests[request].prompt_tokens + r.made;
  r.prompt_done = false;
  r.hop = Hop::kNone;
  r.granted_blocks = 0;
  Place(request);
}

void World::End(std::uint32_t request, RequestEnd end) {
  Request& r = requests_[request];
  r.active = false;
  --active_;
  RequestOutcome& outcome = result_.requests[request];
  outcome.end = end;
  if (end != RequestEnd::kDone) return;
  const WorkloadRequest& from = workload_.requests[request];
  outcome.response_s = now_s_ - from.arrival_s;
  const std::int64_t gaps = std::max<std::int64_t>(1, from.output_tokens - 1);
  outcome.tbt_s = (outcome.response_s - outcome.ttft_s) / static_cast<double>(gaps);
  mean_output_ += 0.01 * (static_cast<double>(from.output_tokens) - mean_output_);
}

}  // namespace native

RunResult RunNative(const NativeSetup& setup, const Workload& workload, router::Placer& placer,
                    const RunOptions& options) {
  RunResult result = native::World(setup, workload, placer, options).Run();
  if (!workload.requests.empty()) result.last_arrival_s = workload.requests.back().arrival_s;
  return result;
}

}  // namespace baton::simulator
