#include <algorithm>
#include <cstdio>
#include <ctime>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "common/base/random.h"
#include "router/policy/packing.h"
#include "router/policy/pools.h"
#include "simulator/run.h"
#include "simulator/trace/trace_file.h"

/// How many requests a second one core simulates, and what one placement costs: `sim_bench TRACE...`.
namespace baton {
namespace {

using simulator::PoolRole;

/// Of the processor's time: other work on the machine does not count.
double Seconds() {
  return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
}

simulator::FleetSpec Fleet(int prefill, int decode) {
  return {{{.role = PoolRole::kPrefill, .machine = "dgx-a100", .machines = prefill},
           {.role = PoolRole::kDecode, .machine = "dgx-a100", .machines = decode}}};
}

simulator::FleetSpec Mixed(int machines) {
  return {{{.role = PoolRole::kMixed, .machine = "dgx-a100", .machines = machines}}};
}

/// The trace `times` over, one copy after the other: the same rate for longer.
simulator::Workload Longer(const simulator::Workload& workload, int times) {
  simulator::Workload longer;
  const double span = workload.requests.back().arrival_s;
  for (int i = 0; i < times; ++i) {
    for (simulator::WorkloadRequest request : workload.requests) {
      request.arrival_s += span * i;
      longer.requests.push_back(request);
    }
  }
  return longer;
}

void Measure(const std::string& name, const simulator::FleetSpec& fleet, const simulator::Workload& workload,
             simulator::Mode mode, const std::string& policy) {
  simulator::RunOptions options;
  options.mode = mode;
  options.model = "bloom-176b";
  options.policy = policy;
  double best = 1e300;
  for (int round = 0; round < 3; ++round) {
    const double begin = Seconds();
    const auto result = simulator::Run(hardware::Catalogue::BuiltIn(), fleet, workload, options);
    if (!result.ok()) {
      std::printf("%s: %s\n", name.c_str(), Message(result.status()).c_str());
      return;
    }
    best = std::min(best, Seconds() - begin);
  }
  const auto count = static_cast<double>(workload.requests.size());
  std::printf("%-44s %8.0f requests %9.4f s CPU %10.0f requests/s\n", name.c_str(), count, best,
              count / best);
}

void MeasurePlacement(int machines) {
  const auto placer = router::MakePoolPlacer({});
  for (int i = 0; i < machines; ++i) {
    placer->Add(i % 2 == 0 ? router::MachineRole::kPrompt : router::MachineRole::kToken, 1LL << 40, 0);
  }
  RandomStream chance(1);
  constexpr int kRounds = 200'000;
  const double begin = Seconds();
  for (int i = 0; i < kRounds; ++i) {
    (void)placer->Place({.id = static_cast<std::uint64_t>(i),
                         .prompt_tokens = chance.Between(10, 4000),
                         .prompt_bytes = 1000,
                         .answer_bytes = 1000},
                        0);
  }
  std::printf("place among %d machines: %.3f us\n", machines, (Seconds() - begin) / kRounds * 1e6);
}

/// Packing looks at every machine: which are spare, then first fit.
void MeasurePacking(int machines) {
  RandomStream chance(1);
  std::vector<router::PowerMachine> power;
  std::vector<router::PackCandidate> candidates;
  for (int i = 0; i < machines; ++i) {
    const double price = 1 + i % 4;
    power.push_back({.machine = i, .price = price, .answers = 50, .requests_per_s = 2});
    candidates.push_back({.machine = i,
                          .price = price,
                          .ttft_s = 0.1 + chance.Uniform(),
                          .tbt_s = 0.03 + 0.03 * chance.Uniform(),
                          .free_tokens = 100'000});
  }
  const router::FleetDemand demand{.answers = machines * 20.0, .requests_per_s = machines * 0.8};
  const int rounds = std::max(10, 2'000'000 / machines);
  std::int64_t sum = 0;  // keeps the work
  double begin = Seconds();
  for (int i = 0; i < rounds; ++i) sum += static_cast<std::int64_t>(SpareMachines(power, demand, {}).size());
  const double spare_s = (Seconds() - begin) / rounds;
  begin = Seconds();
  for (int i = 0; i < rounds; ++i) {
    sum += router::PlaceByPacking(1000 + i, candidates, {.ttft_s = 1, .tbt_s = 0.05}).pair.token;
  }
  std::printf("pack among %d machines: %.2f us which are spare, %.2f us first fit (%lld)\n", machines,
              spare_s * 1e6, (Seconds() - begin) / rounds * 1e6, static_cast<long long>(sum));
}

int Main(int count, char** arguments) {
  for (int i = 1; i < count; ++i) {
    const auto trace = simulator::ReadTrace(arguments[i]);
    if (!trace.ok()) {
      std::printf("%s\n", Message(trace.status()).c_str());
      return 1;
    }
    using simulator::Mode;
    const std::string name = trace->name.substr(trace->name.rfind('/') + 1);
    for (const int times : {1, 4}) {
      const simulator::Workload load = Longer(*trace, times);
      Measure(name + " splitwise AA 45+25", Fleet(45, 25), load, Mode::kSplitwise, "mixed-pool");
      Measure(name + " splitwise baseline 70", Mixed(70), load, Mode::kSplitwise, "token-jsq");
      Measure(name + " splitwise overload AA 15+8", Fleet(15, 8), load, Mode::kSplitwise, "mixed-pool");
      Measure(name + " splitwise overload 20", Mixed(20), load, Mode::kSplitwise, "token-jsq");
      Measure(name + " native AA 45+25", Fleet(45, 25), load, Mode::kNative, "mixed-pool");
      Measure(name + " native mixed 70", Mixed(70), load, Mode::kNative, "token-jsq");
      Measure(name + " native overload AA 15+8", Fleet(15, 8), load, Mode::kNative, "mixed-pool");
      Measure(name + " native mixed 120, pack", Mixed(120), load, Mode::kNative, "pack");
    }
  }
  MeasurePlacement(70);
  MeasurePlacement(10'000);
  MeasurePacking(70);
  MeasurePacking(10'000);
  return 0;
}

}  // namespace
}  // namespace baton

int main(int count, char** arguments) {
  return baton::Main(count, arguments);
}
