#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "common/hardware/power.h"
#include "router/policy/packing.h"
#include "simulator/native_run.h"

namespace baton::simulator::native {
namespace {

using router::PowerState;

// Demand is looked at over so long: far less than a machine takes to wake, far more than a request.
constexpr double kSmoothS = 30;
// Requests after which the means have moved enough to look again at what machines can take.
constexpr std::int64_t kLookAgain = 256;
// Of its time that a prompt machine may compute: at 1 its queue grows.
constexpr double kPromptBusyMost = 0.8;
// Pieces of prompts for each step where others decode. Two fit into a step (NativeSettings), so that the
// queue is short up to 1.
constexpr double kMixedShareMost = 0.9;

}  // namespace

void World::NoteDemand(std::uint32_t request) {
  const auto prompt = static_cast<double>(workload_.requests[request].prompt_tokens);
  mean_prompt_ = mean_prompt_ == 0 ? prompt : mean_prompt_ + 0.01 * (prompt - mean_prompt_);
  const double kept = std::exp((demand_at_s_ - now_s_) / kSmoothS);
  demand_at_s_ = now_s_;
  const auto answers = static_cast<double>(active_);
  demand_.answers = answers + (demand_.answers - answers) * kept;
  demand_.requests_per_s = demand_.requests_per_s * kept + 1 / kSmoothS;
  const bool wanted = options_.policy == "pack" || options_.native.park_after_s > 0;
  if (wanted && (most_.empty() || request % kLookAgain == 0)) NoteMost();
}

/// The most answers that a machine holds at a time within its limit, between prompts that interrupt them.
std::int64_t World::AnswersMost(std::size_t machine, double context) const {
  const RequestLimits limits = LimitsOf(std::llround(mean_prompt_));
  const double tbt_s =
      limits.tbt_s > 0 ? limits.tbt_s * options_.native.fill : std::numeric_limits<double>::infinity();
  const double fits =
      static_cast<double>(setup_.machines[machine].kv_blocks * options_.native.block_tokens) / context;
  std::int64_t low = 1;
  auto high =
      static_cast<std::int64_t>(std::clamp(fits, 1.0, static_cast<double>(options_.native.batch_sequences)));
  while (low < high) {
    const std::int64_t middle = (low + high + 1) / 2;
    router::SharedSteps steps = StepsWith(machine, middle, context * static_cast<double>(middle));
    steps.queued_pieces = 0;
    const bool holds = router::InterruptedTbt(steps) <= tbt_s && router::MixedShare(steps) <= kMixedShareMost;
    holds ? low = middle : high = middle - 1;
  }
  return low;
}

/// What a machine takes at most of requests as they have been lately, and what one costs there then.
router::PowerMachine World::LookAtMost(std::size_t machine) const {
  const NativeMachine& about = setup_.machines[machine];
  const auto watts = [&](const hardware::StepWork& work) {
    return hardware::MachineWatts(about.machine, about.device, about.machine.devices, about.perf->Time(work),
                                  {.cap_w = about.gpu_cap_w});
  };
  const double dollars = hardware::DollarsPerHour(about.machine, about.device);
  router::PowerMachine most;
  if (about.role == router::MachineRole::kPrompt) {
    const hardware::PromptPiece prompt{.tokens = std::max<std::int64_t>(1, std::llround(mean_prompt_))};
    const hardware::StepWork work{.prompts = {&prompt, 1}};
    most.requests_per_s = kPromptBusyMost / about.perf->Time(work).seconds;
    most.price = router::PricePerRequest(dollars, watts(work), most.requests_per_s, options_.native.prices);
    return most;
  }
  const double context = mean_prompt_ + mean_output_ / 2;
  const std::int64_t count = AnswersMost(machine, context);
  const auto answers = static_cast<double>(count);
  router::SharedSteps steps = StepsWith(machine, count, context * answers);
  steps.queued_pieces = 0;
  const double requests_per_s = answers / (steps.answer_tokens * router::InterruptedTbt(steps));
  // Those whose prompts are being computed count as answers that are here.
  most.answers = answers + requests_per_s * steps.pieces * steps.mixed_s;
  hardware::StepWork work{.prompts = {}, .decodes = count, .decode_context = std::llround(context * answers)};
  double drawn = watts(work);
  if (about.role == router::MachineRole::kWhole) {
    most.requests_per_s = requests_per_s;
    const double share = std::min(1.0, router::MixedShare(steps));
    const hardware::PromptPiece piece{
        .tokens = std::max<std::int64_t>(1, std::llround(mean_prompt_ / steps.pieces))};
    work.prompts = {&piece, 1};
    drawn = (1 - share) * drawn + share * watts(work);
  }
  most.price = router::PricePerRequest(dollars, drawn, requests_per_s, options_.native.prices);
  return most;
}

/// Machines of one pool are equal.
void World::NoteMost() {
  most_.clear();
  for (std::size_t i = 0; i < machines_.size(); ++i) {
    const auto pool = static_cast<std::size_t>(setup_.machines[i].pool);
    if (pool < most_.size()) continue;
    most_.resize(pool + 1);
    most_[pool] = LookAtMost(i);
  }
}

router::PowerMachine World::MostOf(std::size_t machine) const {
  router::PowerMachine most = most_[static_cast<std::size_t>(setup_.machines[machine].pool)];
  most.machine = static_cast<MachineIndex>(machine);
  most.state = machines_[machine].power;
  return most;
}

std::vector<router::PowerMachine> World::PowerMachines() const {
  std::vector<router::PowerMachine> machines;
  for (std::size_t i = 0; i < machines_.size(); ++i) {
    if (machines_[i].up && !machines_[i].draining) machines.push_back(MostOf(i));
  }
  return machines;
}

/// After each arrival: wakes one machine where the fleet is short, powers down those that were refused it
/// when they fell idle.
void World::ManagePower() {
  if (options_.native.park_after_s <= 0) return;
  const MachineIndex wake = router::ChooseToWake(PowerMachines(), demand_, {});
  if (wake != router::kNoMachine) StartWaking(At(wake), false);
  for (std::size_t i = 0; i < machines_.size(); ++i) {
    if (machines_[i].idle) TryPark(i);
  }
}

void World::NoteIdle(std::size_t machine) {
  Machine& m = machines_[machine];
  if (options_.native.park_after_s <= 0 || m.idle || !m.HasNothing()) return;
  m.idle = true;
  m.idle_since_s = now_s_;
  ++m.power_version;
  Push(now_s_ + options_.native.park_after_s, kPark, static_cast<std::uint32_t>(machine), m.power_version);
}

void World::TryPark(std::size_t machine) {
  Machine& m = machines_[machine];
  // A request that is about to be placed finds nobody whose capacity is known before the first has come.
  if (!m.idle || !m.Awake() || !m.Takes() || !m.HasNothing() || most_.empty()) return;
  if (now_s_ < m.idle_since_s + options_.native.park_after_s) return;
  router::FleetDemand demand = demand_;
  const double kept = std::exp((demand_at_s_ - now_s_) / kSmoothS);
  demand.answers = static_cast<double>(active_) + (demand.answers - static_cast<double>(active_)) * kept;
  demand.requests_per_s *= kept;
  if (!router::MayPark(static_cast<MachineIndex>(machine), PowerMachines(), demand, {})) return;
  m.power = PowerState::kParked;
  m.idle = false;
  m.parked_at_s = now_s_;
  m.prefixes.Clear();
  m.free_blocks = m.blocks;
  ++m.power_version;
  placer_.SetUp(static_cast<MachineIndex>(machine), false);
}

void World::StartWaking(std::size_t machine, bool takes_early) {
  Machine& m = machines_[machine];
  if (m.power == PowerState::kParked) {
    EndPower(machine);
    m.power = PowerState::kWaking;
    ++result_.machines[machine].wakes;
    m.awake_at_s = now_s_ + setup_.machines[machine].machine.wake_s;
    Push(m.awake_at_s, kAwake, static_cast<std::uint32_t>(machine), m.power_version);
  }
  m.takes_early = takes_early;
  if (takes_early) placer_.SetUp(static_cast<MachineIndex>(machine), true);
}

void World::BecomeAwake(std::size_t machine) {
  Machine& m = machines_[machine];
  m.power = PowerState::kAwake;
  m.takes_early = false;
  placer_.SetUp(static_cast<MachineIndex>(machine), m.Takes());
  Wake(machine);
}

/// Closes the account of its time in the dark; it is awake until somebody says otherwise.
void World::EndPower(std::size_t machine) {
  Machine& m = machines_[machine];
  if (m.power == PowerState::kParked) {
    const double first = workload_.requests.empty() ? 0 : workload_.requests.front().arrival_s;
    m.parked_s += std::max(0.0, now_s_ - std::max(first, m.parked_at_s));
  }
  m.power = PowerState::kAwake;
  m.takes_early = m.idle = false;
  ++m.power_version;
}

/// Where the last machine of some kind of work has gone, one that is parked takes its requests at once; they
/// wait until it is awake.
void World::KeepTaker() {
  if (options_.native.park_after_s <= 0) return;
  for (const router::MachineRole other : {router::MachineRole::kPrompt, router::MachineRole::kToken}) {
    std::size_t wake = machines_.size();
    bool taken = false;
    for (std::size_t i = 0; i < machines_.size(); ++i) {
      if (setup_.machines[i].role == other) continue;  // does only the other kind
      const Machine& m = machines_[i];
      taken |= m.Takes();
      if (m.up && !m.draining && !m.Awake() && (wake == machines_.size() || m.power == PowerState::kWaking))
        wake = i;
    }
    if (!taken && wake < machines_.size()) StartWaking(wake, true);
  }
}

/// At the end of the run: what the machine drew beside its steps, and how long it was powered.
void World::CountPower(std::size_t machine) {
  EndPower(machine);
  const NativeMachine& about = setup_.machines[machine];
  MachineUse& use = result_.machines[machine];
  const double parked_s = std::min(machines_[machine].parked_s, result_.span_s);
  use.powered_s = result_.span_s - parked_s;
  use.energy_j += parked_s * about.machine.parked_w;
  use.energy_j +=
      std::max(0.0, use.powered_s - use.busy_s) * hardware::IdleMachineWatts(about.machine, about.device);
}

}  // namespace baton::simulator::native
