#include <algorithm>

#include <catch2/catch.hpp>

#include "tests/simulator/plain_machines.h"

namespace baton::simulator {
namespace {

constexpr double kIdleW = 100 + 2 * 50;
constexpr double kParkedW = 10;
constexpr double kWakeS = 5;

NativeMachine ParkedMachine(MachineRole role = MachineRole::kWhole) {
  NativeMachine machine = PlainMachine(role);
  machine.machine.parked_w = kParkedW;
  machine.machine.wake_s = kWakeS;
  return machine;
}

RunOptions Parking() {
  RunOptions options;
  options.keep_timelines = true;
  options.native.park_after_s = 10;
  return options;
}

RunResult RunWhole(const Workload& workload, const RunOptions& options, std::size_t machines = 2) {
  const NativeSetup setup = Setup(std::vector<NativeMachine>(machines, ParkedMachine()));
  const auto placer = router::MakePlacer("token-jsq", 0, {});
  return RunNative(setup, workload, *placer, options);
}

double StepJoules(const MachineUse& use) {
  double joules = 0;
  for (const TimelineSlice& slice : use.timeline) joules += slice.watts * (slice.end_s - slice.start_s);
  return joules;
}

/// Joules of a machine that was powered for so long, all three states.
double Joules(const MachineUse& use, double span_s, double powered_s) {
  return StepJoules(use) + (powered_s - use.busy_s) * kIdleW + (span_s - powered_s) * kParkedW;
}

}  // namespace

TEST_CASE("an idle machine is powered down, and its energy and hours are counted to the second") {
  const RunResult result = RunWhole(Load({{0, 0.0, 100, 5}, {1, 100.0, 100, 5}}), Parking());

  CHECK(result.span_s == Approx(100.14));
  const MachineUse& on = result.machines[0];
  CHECK(on.powered_s == Approx(100.14));  // the last one stays
  CHECK(on.busy_s == Approx(0.28));
  CHECK(on.energy_j == Approx(Joules(on, 100.14, 100.14)));
  const MachineUse& parked = result.machines[1];
  CHECK(parked.powered_s == Approx(10));
  CHECK(parked.wakes == 0);
  CHECK(parked.energy_j == Approx(10 * kIdleW + 90.14 * kParkedW));
}

TEST_CASE("machines stay on where parking is not asked for") {
  RunOptions options = Parking();
  options.native.park_after_s = 0;
  const RunResult result = RunWhole(Load({{0, 0.0, 100, 5}, {1, 100.0, 100, 5}}), options);
  for (const MachineUse& use : result.machines) CHECK(use.powered_s == Approx(result.span_s));
}

TEST_CASE("time before the first arrival and after the last end is nobody's") {
  const RunResult result = RunWhole(Load({{0, 50.0, 100, 5}, {1, 100.0, 100, 5}}), Parking());

  // Idle since 0, but parked only once somebody has come and a fleet's demand is known.
  CHECK(result.span_s == Approx(50.14));
  CHECK(result.machines[1].powered_s == Approx(0).margin(1e-9));
  CHECK(result.machines[1].energy_j == Approx(50.14 * kParkedW));
}

TEST_CASE("a parked machine is woken before the others are full, and serves once it is awake") {
  RunOptions options = Parking();
  options.native.batch_sequences = 4;
  std::vector<WorkloadRequest> requests{{0, 0.0, 10, 2}};
  for (int i = 1; i <= 200; ++i) requests.push_back({i, 30 + 0.5 * i, 10, 400});
  const RunResult result = RunWhole(Load(requests), options);

  for (const RequestOutcome& outcome : result.requests) CHECK(outcome.end == RequestEnd::kDone);
  const MachineUse& woken = result.machines[1];
  REQUIRE(woken.wakes == 1);
  REQUIRE_FALSE(woken.timeline.empty());
  CHECK(woken.powered_s < result.span_s - 20);
  // It was in the dark from second 10 until a whole wake before its first step, at least.
  const double woken_at_s = result.span_s - (woken.powered_s - 10);
  CHECK(woken_at_s > 30);
  CHECK(woken.timeline.front().start_s >= woken_at_s + kWakeS);
  CHECK(woken.timeline.front().start_s < woken_at_s + kWakeS + 1);
  CHECK(woken.energy_j == Approx(Joules(woken, result.span_s, woken.powered_s)));
}

TEST_CASE("where the last machine that is awake fails, a parked one takes over as soon as it has woken") {
  RunOptions options = Parking();
  options.events = {{50.0, 0, MachineEvent::Kind::kFail}};
  const RunResult result = RunWhole(Load({{0, 0.0, 100, 5}, {1, 49.95, 100, 5}, {2, 52.0, 100, 5}}), options);

  for (const RequestOutcome& outcome : result.requests) REQUIRE(outcome.end == RequestEnd::kDone);
  CHECK(result.requests[1].restarts == 1);
  CHECK(result.requests[1].prefill_machine == 1);
  CHECK(result.requests[1].ttft_s >= 55 - 49.95 + 0.1 - 1e-9);
  CHECK(result.requests[1].ttft_s < 55 - 49.95 + 0.3);
  CHECK(result.requests[2].prefill_machine == 1);
  CHECK(result.machines[1].wakes == 1);
}

TEST_CASE("a machine that drains or has failed is not powered down, one that returns parked stays so") {
  RunOptions options = Parking();
  options.events = {{20.0, 1, MachineEvent::Kind::kDrain}, {40.0, 1, MachineEvent::Kind::kReturn}};
  const RunResult result = RunWhole(Load({{0, 0.0, 100, 5}, {1, 100.0, 100, 5}}), options);
  CHECK(result.machines[1].powered_s == Approx(10));

  options.events = {{5.0, 1, MachineEvent::Kind::kDrain}};
  const RunResult drained = RunWhole(Load({{0, 0.0, 100, 5}, {1, 100.0, 100, 5}}), options);
  CHECK(drained.machines[1].powered_s == Approx(drained.span_s));
}

TEST_CASE("split pools keep a machine of each kind, and hand over only to one that is awake") {
  NativeSetup setup = Setup({ParkedMachine(MachineRole::kPrompt), ParkedMachine(MachineRole::kPrompt),
                             ParkedMachine(MachineRole::kToken), ParkedMachine(MachineRole::kToken)});
  setup.machines[2].pool = setup.machines[3].pool = 1;
  for (const char* policy : {"pack", "cost", "split-token-jsq"}) {
    CAPTURE(policy);
    RunOptions options = Parking();
    options.policy = policy;
    const auto placer = router::MakePlacer("split-token-jsq", 0, {});
    const RunResult result = RunNative(setup, Load({{0, 0.0, 100, 5}, {1, 100.0, 100, 5}}), *placer, options);
    for (const RequestOutcome& outcome : result.requests) CHECK(outcome.end == RequestEnd::kDone);
    int parked = 0;
    for (const MachineUse& use : result.machines) parked += use.powered_s < 20 ? 1 : 0;
    CHECK(parked == 2);
  }
}

TEST_CASE("packing leaves machines idle that joining the shortest queue keeps busy, within the same limits") {
  RunOptions options = Parking();
  options.native.limits = [](std::int64_t) { return RequestLimits{.ttft_s = 2, .tbt_s = 0.05}; };
  std::vector<WorkloadRequest> requests;
  for (int i = 0; i < 600; ++i) requests.push_back({i, 0.5 * i, 100, 100});
  const Workload workload = Load(requests);

  const RunResult spread = RunWhole(workload, options, 4);
  options.policy = "pack";
  const RunResult packed = RunWhole(workload, options, 4);

  const auto powered = [](const RunResult& result) {
    double sum = 0;
    for (const MachineUse& use : result.machines) sum += use.powered_s;
    return sum / result.span_s;
  };
  CHECK(powered(spread) > 3);
  CHECK(powered(packed) < 1.3);
  for (const RequestOutcome& outcome : packed.requests) {
    CHECK(outcome.ttft_s < 2);
    CHECK(outcome.tbt_s < 0.05);
  }
}

TEST_CASE("the cost policy counts the time until a waking machine is awake") {
  const NativeSetup setup = Setup({ParkedMachine(), ParkedMachine()});
  RunOptions options = Parking();
  options.policy = "cost";
  options.native.limits = [](std::int64_t) { return RequestLimits{.ttft_s = 2}; };
  options.native.reject_early = true;
  options.events = {{.time_s = 50, .machine = 0, .kind = MachineEvent::Kind::kFail}};
  const auto placer = router::MakePlacer("split-round-robin", 0, {});

  // The other one, parked since 10, is awake at 55.
  const RunResult result =
      RunNative(setup, Load({{0, 0.0, 100, 5}, {1, 51.0, 100, 5}, {2, 54.0, 100, 5}, {3, 60.0, 100, 5}}),
                *placer, options);

  CHECK(result.requests[0].prefill_machine == 0);
  CHECK(result.requests[1].end == RequestEnd::kRefused);
  CHECK(result.requests[2].ttft_s == Approx(1.1));
  CHECK(result.requests[3].end == RequestEnd::kDone);
}

}  // namespace baton::simulator
