#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "common/hardware/perf_model.h"
#include "engine/schedule/batch_planner.h"
#include "router/policy/cost.h"
#include "router/policy/packing.h"
#include "simulator/event_heap.h"
#include "simulator/native_state.h"
#include "simulator/native_world.h"
#include "simulator/network.h"

/// The world of kNative, inside.
namespace baton::simulator::native {

enum Kind : std::uint32_t { kArrival, kStep, kNetwork, kJoin, kMachine, kMigrate, kPark, kAwake };

/// Ids of flows: a hand-off is its request, a move has this bit as well.
inline constexpr std::uint32_t kMoveBit = 1U << 31U;
/// Answers that are nearly done do not move.
inline constexpr std::int64_t kMoveTokensMin = 16;

inline std::size_t At(MachineIndex machine) {
  return static_cast<std::size_t>(machine);
}

/// The run itself. Its parts are in native_world.cc (requests), native_steps.cc (memory and steps) and
/// native_handoff.cc (hand-off, moves, failures) and native_power.cc (parking); native_cost.cc and
/// native_pack.cc ask the policies that weigh predictions.
class World {
 public:
  World(const NativeSetup& setup, const Workload& workload, router::Placer& placer,
        const RunOptions& options);
  RunResult Run();

 private:
  // Requests.
  void Arrive(std::uint32_t request);
  void Place(std::uint32_t request);
  void Unplace(std::uint32_t request);
  router::MachinePair ChooseByCost(std::uint32_t request);
  [[nodiscard]] router::PrefillCandidate PrefillChoice(std::size_t machine, std::int64_t prompt) const;
  [[nodiscard]] router::DecodeCandidate DecodeChoice(std::size_t machine, std::int64_t prompt,
                                                     double ahead_s) const;
  [[nodiscard]] RequestLimits LimitsOf(std::int64_t prompt) const;
  router::MachinePair ChooseByPacking(std::uint32_t request);
  [[nodiscard]] router::PackCandidate PackChoice(std::size_t machine, std::int64_t prompt) const;
  [[nodiscard]] router::SharedSteps StepsWith(std::size_t machine, std::int64_t sequences,
                                              double context) const;
  void PromptCounted(std::uint32_t request);
  void AnswerCounted(std::uint32_t request);
  void Restart(std::uint32_t request);
  void End(std::uint32_t request, RequestEnd end);

  // Steps.
  void Wake(std::size_t machine);
  void Admit(std::size_t machine);
  bool TryAdmit(std::size_t machine, std::uint32_t request);
  void StartStep(std::size_t machine);
  bool PlanStep(std::size_t machine);
  bool RunDecodes(std::size_t machine);
  void Begin(std::size_t machine, const hardware::StepTime& time, std::int64_t steps);
  void MakeRoom(std::size_t machine, std::int64_t blocks);
  std::int64_t Growth(const Machine& m, std::span<const engine::PlannedSlice> slices) const;
  std::int64_t RunGrowth(const Machine& m, std::int64_t sequences, std::int64_t steps) const;
  void Grow(Machine& m, Sequence& sequence, std::int64_t tokens);
  void Pause(std::size_t machine);
  void CompleteStep(std::size_t machine);
  void PromptWhole(std::size_t machine, Sequence& sequence);
  void NoteUse(std::size_t machine);
  void FreeSequence(Machine& m, const Sequence& sequence);
  void GiveBack(std::size_t machine, std::int64_t blocks);
  void Sweep(std::size_t machine);
  void AddWaiting(std::size_t machine, std::uint32_t request);
  void NoteWaiting(std::size_t machine);

  // Hand-off.
  void Grant(std::size_t machine);
  void StartFlow(std::uint32_t request);
  void FlowEnded(std::uint32_t request);
  void Join(std::uint32_t request);
  void SentAll(std::uint32_t request);
  void WatchNetwork();
  double Tail(const Request& r) const;

  // Power.
  void NoteDemand(std::uint32_t request);
  void NoteMost();
  [[nodiscard]] std::int64_t AnswersMost(std::size_t machine, double context) const;
  [[nodiscard]] router::PowerMachine LookAtMost(std::size_t machine) const;
  [[nodiscard]] router::PowerMachine MostOf(std::size_t machine) const;
  [[nodiscard]] std::vector<router::PowerMachine> PowerMachines() const;
  void ManagePower();
  void NoteIdle(std::size_t machine);
  void TryPark(std::size_t machine);
  void StartWaking(std::size_t machine, bool takes_early);
  void BecomeAwake(std::size_t machine);
  void EndPower(std::size_t machine);
  void KeepTaker();
  void CountPower(std::size_t machine);

  // Moves and failures.
  void Migrate();
  void StartMove(std::size_t from, std::size_t to);
  void CancelMove(std::uint32_t request);
  void Move(std::size_t from, Sequence& sequence);
  void Befall(const MachineEvent& event);
  void Fail(std::size_t machine);
  void RemoveFrom(std::size_t machine, std::uint32_t request);

  std::int64_t Blocks(std::int64_t tokens) const {
    return (tokens + options_.native.block_tokens - 1) / options_.native.block_tokens;
  }
  std::int64_t Capacity(const Sequence& s) const {
    return s.blocks * options_.native.block_tokens + s.shared;
  }
  double KvBytes(std::int64_t tokens) const {
    return static_cast<double>(tokens) * setup_.kv_bytes_per_token;
  }
  bool Split(const Request& r) const { return r.prompt_machine != r.token_machine; }
  void Push(double time_s, Kind kind, std::uint32_t subject, std::uint32_t version) {
    events_.Push({time_s, kind, subject, version});
  }

  const NativeSetup& setup_;
  const Workload& workload_;
  router::Placer& placer_;
  const RunOptions& options_;
  std::vector<Machine> machines_;
  std::vector<Request> requests_;
  FairNetwork network_;
  std::uint32_t network_version_ = 0;
  EventHeap events_;
  double now_s_ = 0;
  double mean_output_ = 128;  // what an answer is expected to take: of those that have ended
  double mean_prompt_ = 0;    // of those that have arrived
  router::FleetDemand demand_;
  double demand_at_s_ = 0;
  std::vector<router::PowerMachine> most_;  // of each pool, as of the last time that means were looked at
  std::int64_t active_ = 0;
  std::int64_t to_arrive_ = 0;
  std::int64_t blocks_max_ = 0;
  std::int64_t steps_timed_ = 0;
  std::int64_t steps_extrapolated_ = 0;
  bool has_room_ = true;            // what the last MakeRoom said
  std::vector<std::size_t> woken_;  // memory has become free there since the event began
  RunResult result_;
};

}  // namespace baton::simulator::native
