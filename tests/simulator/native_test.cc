#include "simulator/native_world.h"

#include <catch2/catch.hpp>

#include "common/base/random.h"
#include "tests/simulator/plain_machines.h"

namespace baton::simulator {
namespace {

NativeSetup Pair(std::int64_t decode_blocks = 10'000) {
  return Setup({PlainMachine(MachineRole::kPrompt), PlainMachine(MachineRole::kToken, decode_blocks)});
}

RunResult RunIt(const NativeSetup& setup, const Workload& workload, const RunOptions& options = {}) {
  const auto placer = router::MakePlacer("mixed-pool", 0, {});
  return RunNative(setup, workload, *placer, options);
}

Workload RandomLoad(std::uint64_t seed, int count, double gap_s) {
  RandomStream chance(seed);
  Workload workload;
  double now = 0;
  for (int i = 0; i < count; ++i) {
    now += 2 * gap_s * chance.Uniform();
    workload.requests.push_back({i, now, chance.Between(10, 600), chance.Between(1, 120),
                                 static_cast<std::uint64_t>(chance.Between(0, 3)), 64});
  }
  return workload;
}

std::int64_t Sum(const RunResult& result, std::int64_t MachineUse::*what) {
  std::int64_t sum = 0;
  for (const MachineUse& use : result.machines) sum += use.*what;
  return sum;
}

void CheckAllServed(const Workload& workload, const RunResult& result) {
  for (const RequestOutcome& outcome : result.requests) {
    CAPTURE(outcome.request);
    REQUIRE(outcome.end == RequestEnd::kDone);
    REQUIRE(outcome.ttft_s > 0);
    REQUIRE(outcome.response_s >= outcome.ttft_s);
  }
  std::int64_t tokens = 0;
  for (const WorkloadRequest& request : workload.requests) tokens += request.output_tokens;
  CHECK(Sum(result, &MachineUse::output_tokens) == tokens);
}

}  // namespace

TEST_CASE("a short prompt is sent when it is whole, and decoding goes on at the other machine") {
  const RunResult result = RunIt(Pair(), Load({{0, 1.0, 100, 5}}));

  CHECK(result.requests[0].ttft_s == Approx(0.1));
  CHECK(result.requests[0].transfer_s == Approx(0.1));  // 100 bytes at 1000 bytes/s
  CHECK(result.requests[0].response_s == Approx(0.1 + 0.1 + 0.04));
  CHECK(result.requests[0].tbt_s == Approx(0.14 / 4));
  CHECK(result.machines[1].output_tokens == 4);
}

TEST_CASE("a long prompt is sent layer by layer, and only its last layer is waited for") {
  const RunResult result = RunIt(Pair(), Load({{0, 0.0, 2000, 2}}));

  // 2 s of compute hide 2 s of transfer; the last of ten layers takes 0.2 s.
  CHECK(result.requests[0].ttft_s == Approx(2));
  CHECK(result.requests[0].transfer_s == Approx(0.2));
}

TEST_CASE("a machine for both phases needs no transfer") {
  const RunResult result = RunIt(Setup({PlainMachine(MachineRole::kWhole)}), Load({{0, 0.0, 100, 5}}));
  CHECK(result.requests[0].transfer_s == 0);
  CHECK(result.requests[0].response_s == Approx(0.14));
}

TEST_CASE("an answer of one token ends with its prompt") {
  const RunResult result = RunIt(Pair(), Load({{0, 0.0, 600, 1}, {1, 5.0, 100, 2}}));
  CHECK(result.requests[0].response_s == Approx(0.6));
  CHECK(result.requests[1].end == RequestEnd::kDone);
}

TEST_CASE("prompts beside decodes are cut into chunks, so that no answer stalls for a whole prompt") {
  RunOptions options;
  options.keep_timelines = true;
  const RunResult result = RunIt(Setup({PlainMachine(MachineRole::kWhole)}),
                                 Load({{0, 0.0, 16, 400}, {1, 1.0, 2000, 2}}), options);
  for (const TimelineSlice& slice : result.machines[0].timeline) CHECK(slice.prompt_tokens <= 512);
  CheckAllServed(Load({{0, 0.0, 16, 400}, {1, 1.0, 2000, 2}}), result);
}

TEST_CASE("answers that outgrow the memory are preempted and end nevertheless") {
  const Workload workload = Load({{0, 0.0, 64, 100}, {1, 0.0, 64, 100}, {2, 0.0, 64, 100}});
  const RunResult result = RunIt(Setup({PlainMachine(MachineRole::kWhole, 20)}), workload);
  CheckAllServed(workload, result);
  std::int64_t preemptions = 0;
  for (const RequestOutcome& outcome : result.requests) preemptions += outcome.preemptions;
  CHECK(preemptions > 0);
  CHECK(result.requests[0].preemptions == 0);
}

TEST_CASE("what no machine could ever hold is refused") {
  const RunResult result = RunIt(Pair(10), Load({{0, 0.0, 100, 500}, {1, 0.0, 100, 5}}));
  CHECK(result.requests[0].end == RequestEnd::kRefused);
  CHECK(result.requests[1].end == RequestEnd::kDone);
}

TEST_CASE("a full receiver is waited for, and the prompt's machine keeps its KV") {
  const Workload workload = Load({{0, 0.0, 100, 50}, {1, 0.0, 100, 50}, {2, 0.0, 100, 50}});
  const NativeSetup setup = Pair(12);
  const auto placer = router::MakePlacer("split-round-robin", 0, {});
  const RunResult result = RunNative(setup, workload, *placer, {});
  CheckAllServed(workload, result);
  CHECK(result.requests[1].transfer_s > 0.4);
}

TEST_CASE("a prefix that a machine has computed is not computed again") {
  const Workload workload =
      Load({{0, 0.0, 200, 2, 7, 128}, {1, 5.0, 200, 2, 7, 128}, {2, 10.0, 200, 2, 8, 128}});
  const RunResult shared = RunIt(Setup({PlainMachine(MachineRole::kWhole)}), workload);
  CHECK(shared.requests[0].reused_tokens == 0);
  CHECK(shared.requests[1].reused_tokens == 128);
  CHECK(shared.requests[1].ttft_s == Approx(0.072));
  CHECK(shared.requests[2].reused_tokens == 0);
  RunOptions options;
  options.native.prefix_sharing = false;
  CHECK(RunIt(Setup({PlainMachine(MachineRole::kWhole)}), workload, options).requests[1].reused_tokens == 0);
}

TEST_CASE("what ran on a machine that fails begins again elsewhere, with what it had") {
  const NativeSetup setup = Setup({PlainMachine(MachineRole::kPrompt), PlainMachine(MachineRole::kToken),
                                   PlainMachine(MachineRole::kToken)});
  RunOptions options;
  options.events.push_back({.time_s = 0.5, .machine = 1, .kind = MachineEvent::Kind::kFail});
  const Workload workload = Load({{0, 0.0, 100, 100}});

  const RunResult result = RunIt(setup, workload, options);

  CHECK(result.requests[0].end == RequestEnd::kDone);
  CHECK(result.requests[0].restarts == 1);
  CHECK(result.requests[0].ttft_s == Approx(0.1));
  CHECK(result.requests[0].decode_machine == 2);
  // From 0.5: 131 tokens of prompt and answer, their transfer, and the tokens left.
  CHECK(result.requests[0].response_s == Approx(0.5 + 0.131 + 0.131 + 0.68).margin(0.02));
}

TEST_CASE("with its only machine gone a request fails, and a machine that returns serves again") {
  RunOptions options;
  options.events.push_back({.time_s = 0.15, .machine = 0, .kind = MachineEvent::Kind::kFail});
  options.events.push_back({.time_s = 3, .machine = 0, .kind = MachineEvent::Kind::kReturn});
  const RunResult result = RunIt(Setup({PlainMachine(MachineRole::kWhole)}),
                                 Load({{0, 0.0, 100, 100}, {1, 1.0, 100, 3}, {2, 4.0, 100, 3}}), options);
  CHECK(result.requests[0].end == RequestEnd::kFailed);
  CHECK(result.requests[1].end == RequestEnd::kRefused);
  CHECK(result.requests[2].end == RequestEnd::kDone);
}

TEST_CASE("a machine that drains sends its answers away") {
  const NativeSetup setup = Setup({PlainMachine(MachineRole::kPrompt), PlainMachine(MachineRole::kToken),
                                   PlainMachine(MachineRole::kToken)});
  RunOptions options;
  options.events.push_back({.time_s = 0.5, .machine = 1, .kind = MachineEvent::Kind::kDrain});
  const Workload workload = Load({{0, 0.0, 100, 1000}});

  const RunResult result = RunIt(setup, workload, options);

  CheckAllServed(workload, result);
  CHECK(result.requests[0].migrations == 1);
  CHECK(result.requests[0].decode_machine == 2);
  CHECK(result.machines[1].output_tokens < 200);
}

TEST_CASE("the cost policy fills the cheap machine, and refuses at once what would be late") {
  NativeSetup setup = Setup({PlainMachine(MachineRole::kPrompt), PlainMachine(MachineRole::kPrompt),
                             PlainMachine(MachineRole::kToken), PlainMachine(MachineRole::kToken)});
  for (NativeMachine& machine : setup.machines) machine.machine.dollars_per_hour = 10;
  setup.machines[0].machine.dollars_per_hour = 50;
  setup.machines[2].machine.dollars_per_hour = 50;
  RunOptions options;
  options.policy = "cost";
  Workload workload = Load({{0, 0.0, 1000, 5}, {1, 3.0, 1000, 5}, {2, 3.01, 1000, 5}, {3, 3.02, 1000, 5}});
  const auto placer = router::MakePlacer("split-round-robin", 0, {});

  const RunResult cheap = RunNative(setup, workload, *placer, options);

  CheckAllServed(workload, cheap);
  CHECK(cheap.requests[0].prefill_machine == 1);
  CHECK(cheap.requests[0].decode_machine == 3);

  options.native.limits = [](std::int64_t) { return RequestLimits{.ttft_s = 1.5}; };
  options.native.reject_early = true;
  const auto again = router::MakePlacer("split-round-robin", 0, {});
  const RunResult strict = RunNative(setup, workload, *again, options);
  CHECK(strict.requests[1].prefill_machine == 1);
  CHECK(strict.requests[2].prefill_machine == 0);
  CHECK(strict.requests[3].end == RequestEnd::kRefused);
}

TEST_CASE("a native run is interrupted while its last requests run, too") {
  Workload workload;
  for (int i = 0; i < 20'000; ++i) workload.requests.push_back({i, 0, 1000, 1});
  RunOptions options;
  options.progress = [](double share) { return share < 0.5; };

  const RunResult result = RunIt(Setup({PlainMachine(MachineRole::kWhole, 10'000'000)}), workload, options);

  CHECK(result.interrupted);
  CHECK(result.requests.front().end == RequestEnd::kDone);
  CHECK(result.requests.back().end == RequestEnd::kUnfinished);
}

TEST_CASE("a trace that begins late is simulated from its first arrival on") {
  const double first_s = 1e9;
  const Workload workload = Load({{0, first_s, 100, 5}, {1, first_s + 100, 100, 5}});
  RunOptions options;
  options.progress = [](double) { return false; };  // asked only where there are thousands of events

  const RunResult result = RunIt(Pair(), workload, options);

  CHECK_FALSE(result.interrupted);
  CheckAllServed(workload, result);
  CHECK(result.requests[1].ttft_s == Approx(0.1).epsilon(1e-4));
  CHECK(result.span_s == Approx(100.24));
}

TEST_CASE("energy is that of the steps and of the idle time between") {
  const Workload workload = Load({{0, 0.0, 1000, 2}, {1, 10.0, 1000, 2}});
  const RunResult result = RunIt(Setup({PlainMachine(MachineRole::kWhole)}), workload);
  const MachineUse& use = result.machines[0];
  CHECK(use.busy_s == Approx(2.02));
  const double idle_w = 100 + 2 * 50;
  CHECK(use.energy_j > idle_w * result.span_s);
  CHECK(use.energy_j < (100 + 2 * 400) * result.span_s);
}

TEST_CASE("whatever the load, memory and failures, every request ends, and equal runs are equal") {
  const auto seed = GENERATE(range<std::uint64_t>(1, 13));
  CAPTURE(seed);
  const NativeSetup setup =
      Setup({PlainMachine(MachineRole::kPrompt, 120), PlainMachine(MachineRole::kPrompt, 90),
             PlainMachine(MachineRole::kToken, 80), PlainMachine(MachineRole::kToken, 60),
             PlainMachine(MachineRole::kWhole, 70)});
  const Workload workload = RandomLoad(seed, 400, seed % 2 == 0 ? 0.2 : 0.02);
  RunOptions options;
  options.native.migrate_every_s = 0.3;
  if (seed % 3 == 0) {
    options.events.push_back({.time_s = 2, .machine = 2, .kind = MachineEvent::Kind::kFail});
    options.events.push_back({.time_s = 4, .machine = 2, .kind = MachineEvent::Kind::kReturn});
    options.events.push_back({.time_s = 5, .machine = 0, .kind = MachineEvent::Kind::kFail});
    options.events.push_back({.time_s = 6, .machine = 3, .kind = MachineEvent::Kind::kDrain});
  }

  const RunResult one = RunIt(setup, workload, options);
  const RunResult other = RunIt(setup, workload, options);

  for (std::size_t i = 0; i < workload.requests.size(); ++i) {
    CAPTURE(i);
    REQUIRE(one.requests[i].end == RequestEnd::kDone);
    REQUIRE(one.requests[i].response_s == other.requests[i].response_s);
  }
}

}  // namespace baton::simulator
