#include <benchmark/benchmark.h>

#include <filesystem>
#include <memory>
#include <string>

#include "common/base/check.h"
#include "router/record/recorder.h"

/// What recording costs the router's control loop, a line at a time, beside the decision itself. The argument
/// is the number of workers of each kind; each has a link with each of the other kind.
namespace baton::router {
namespace {

struct Cluster {
  explicit Cluster(std::uint32_t pairs) {
    const auto join = [&](std::uint32_t id, cluster::Phase phase, std::uint32_t first_peer) {
      Apply(cluster::WorkerJoined{{.id = WorkerId{id},
                                   .name = "worker-of-a-cluster",
                                   .phase = phase,
                                   .incarnation = Incarnation{id},
                                   .model = "m",
                                   .numerics_class = "cpu/avx512bf16/bf16",
                                   .kv_blocks = 1 << 16,
                                   .block_tokens = 16,
                                   .context_tokens = 1 << 15,
                                   .batch_tokens = 2048,
                                   .batch_sequences = 256}});
      load = {.ready = true, .kv_blocks_free = 1 << 16};
      for (std::uint32_t i = 0; i < pairs; ++i)
        load.links.push_back({WorkerId{first_peer + i}, true, "tcp", 1e9 / (i + 3)});
      Apply(cluster::LoadReported{WorkerId{id}, load});
    };
    for (std::uint32_t i = 0; i < pairs; ++i) join(1 + i, cluster::Phase::kPrefill, 1 + pairs);
    for (std::uint32_t i = 0; i < pairs; ++i) join(1 + pairs + i, cluster::Phase::kDecode, 1);
  }
  template <typename T>
  void Apply(T what) {
    view.Apply({TimePoint(Duration(1)), std::move(what)});
  }

  cluster::ClusterView view;
  cluster::LoadReport load;  // of one of them
};

constexpr RequestSize kSize{.model = "m", .prompt_tokens = 1500, .tokens_max = 1800, .sequence_tokens = 1800};

std::unique_ptr<Recorder> OpenRecorder() {
  const std::string file = (std::filesystem::temp_directory_path() / "baton-record-perf.rec").string();
  auto recorder = Recorder::Open(
      {.file = file, .limit_bytes = std::uint64_t{8} << 30, .behind_bytes_max = std::uint64_t{1} << 40},
      {.router = "perf", .model = "m", .limits = {}});
  BATON_CHECK(recorder.ok(), "{}", recorder.status().ToString());
  std::filesystem::remove(file);  // it has a descriptor
  return *std::move(recorder);
}

void Place(benchmark::State& state) {
  const Cluster cluster(static_cast<std::uint32_t>(state.range(0)));
  for (auto _ : state) {
    const cluster::ClusterSnapshot snapshot = cluster.view.Snapshot();
    benchmark::DoNotOptimize(router::Place(snapshot, kSize));
  }
}

void PlaceRecorded(benchmark::State& state) {
  const Cluster cluster(static_cast<std::uint32_t>(state.range(0)));
  const auto recorder = OpenRecorder();
  for (auto _ : state) {
    const cluster::ClusterSnapshot snapshot = cluster.view.Snapshot();
    const PlacementResult result = router::Place(snapshot, kSize);
    recorder->Placed({RequestId{0xfedcba9876543210U}, Attempt{1}}, kSize, snapshot, result);
  }
}

void RecordLoad(benchmark::State& state) {
  const Cluster cluster(static_cast<std::uint32_t>(state.range(0)));
  const auto recorder = OpenRecorder();
  for (auto _ : state)
    recorder->Event({TimePoint(Duration(1)), cluster::LoadReported{WorkerId{1}, cluster.load}});
}

void RecordEnded(benchmark::State& state) {
  const auto recorder = OpenRecorder();
  for (auto _ : state)
    recorder->Event({TimePoint(Duration(1)), cluster::RequestEnded{RequestId{0xfedcba9876543210U}}});
}

BENCHMARK(Place)->Arg(2)->Arg(8)->Arg(32);
BENCHMARK(PlaceRecorded)->Arg(2)->Arg(8)->Arg(32);
BENCHMARK(RecordLoad)->Arg(2)->Arg(8)->Arg(32);
BENCHMARK(RecordEnded);

}  // namespace
}  // namespace baton::router

BENCHMARK_MAIN();
