// Matmul and attention of the CPU backend at the shapes of a 1.1 B, a 125 M and a 15 M model, with the
// machine's measured limits beside them. `of_peak` and `of_read` are fractions of those limits.
#include <sched.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include "common/base/random.h"
#include "kernels/backend.h"
#include "perf/micro/machine_peak.h"

namespace baton::kernels {
namespace {

/// As many as the process may run on, so that `taskset -c 0` measures one.
int Threads() {
  cpu_set_t set;
  CPU_ZERO(&set);
  return sched_getaffinity(0, sizeof set, &set) == 0 ? std::max(1, CPU_COUNT(&set)) : 1;
}

struct Limits {
  double f32, bf16, read;
};
const Limits& MachineLimits() {
  static const Limits limits{perf::PeakF32(Threads()), perf::PeakBf16(Threads()),
                             perf::ReadBandwidth(Threads())};
  return limits;
}

std::vector<float> Numbers(std::int64_t count) {
  RandomStream random(1);
  std::vector<float> numbers(static_cast<std::size_t>(count));
  for (float& number : numbers) number = static_cast<float>(2 * random.Uniform() - 1);
  return numbers;
}

/// Fractions of the machine's limits for `operations` and `bytes` an iteration.
void Report(benchmark::State& state, ComputeClass compute, double operations, double bytes) {
  const double peak = compute == ComputeClass::kBF16 ? MachineLimits().bf16 : MachineLimits().f32;
  using benchmark::Counter;
  const auto flags = Counter::kIsIterationInvariantRate;
  state.counters["GFLOP"] = Counter(operations / 1e9, flags);
  state.counters["GB"] = Counter(bytes / 1e9, flags);
  state.counters["of_peak"] = Counter(operations / 1e9 / peak, flags);
  state.counters["of_read"] = Counter(bytes / 1e9 / MachineLimits().read, flags);
}

void MachineLimit(benchmark::State& state) {
  for ([[maybe_unused]] auto _ : state) benchmark::DoNotOptimize(MachineLimits());
  state.counters["f32_GFLOP/s"] = MachineLimits().f32;
  state.counters["bf16_GFLOP/s"] = MachineLimits().bf16;
  state.counters["read_GB/s"] = MachineLimits().read;
}

struct MatMulShape {
  std::int64_t rows, outputs, inputs;
};

void MatMul(benchmark::State& state, const std::string& set, ComputeClass compute, MatMulShape shape) {
  const auto backend = *CreateCpuBackend({.compute = compute, .threads = Threads(), .instruction_set = set});
  const std::vector<std::uint16_t> weight(static_cast<std::size_t>(shape.outputs * shape.inputs), 0x3c01);
  const auto packed = *backend->Pack(
      {reinterpret_cast<const std::byte*>(weight.data()), DType::kBF16, shape.outputs, shape.inputs});
  std::vector<float> in = Numbers(shape.rows * shape.inputs);
  std::vector<float> out(static_cast<std::size_t>(shape.rows * shape.outputs));
  for ([[maybe_unused]] auto _ : state) {
    backend->MatMul(*packed, {in.data(), shape.rows, shape.inputs, shape.inputs},
                    {out.data(), shape.rows, shape.outputs, shape.outputs});
    benchmark::DoNotOptimize(out.data());
  }
  const auto elements = static_cast<double>(shape.outputs * shape.inputs);
  Report(state, compute, 2 * elements * static_cast<double>(shape.rows), 2 * elements);
}

struct AttentionCase {
  int sequences;
  std::int64_t tokens;   // new ones, of each sequence
  std::int64_t context;  // positions, the new ones included
  int heads, kv_heads, head_dim;
};

/// Multiply-adds of the scores and of the weighted sum, over the positions that each token sees.
double Operations(const AttentionCase& c) {
  const auto tokens = static_cast<double>(c.tokens);
  const double seen = tokens * static_cast<double>(c.context - c.tokens) + tokens * (tokens + 1) / 2;
  return c.sequences * c.heads * seen * c.head_dim * 4.0;
}

void Attention(benchmark::State& state, const std::string& set, ComputeClass compute, AttentionCase c) {
  const auto backend = *CreateCpuBackend({.compute = compute, .threads = Threads(), .instruction_set = set});
  const std::int64_t blocks = (c.context + 15) / 16;
  KvLayer layer{.dtype = backend->KvType(), .kv_heads = c.kv_heads, .head_dim = c.head_dim};
  const Buffer memory =
      *backend->Allocate(layer.BlockBytes() * static_cast<std::size_t>(blocks * c.sequences));
  layer.base = memory.As<std::byte>();
  std::vector<std::vector<BlockIndex>> tables(static_cast<std::size_t>(c.sequences));
  std::vector<SequenceSlice> slices;
  const std::int64_t kv_width = std::int64_t{c.kv_heads} * c.head_dim;
  std::vector<float> kv = Numbers(c.context * kv_width);
  for (int s = 0; s < c.sequences; ++s) {
    auto& table = tables[static_cast<std::size_t>(s)];
    for (std::int64_t b = 0; b < blocks; ++b) table.emplace_back(static_cast<std::uint32_t>(s * blocks + b));
    const SequenceSlice whole{.blocks = table, .first_row = 0, .tokens = c.context, .first_position = 0};
    backend->WriteKv(layer, {&whole, 1}, {kv.data(), c.context, kv_width, kv_width},
                     {kv.data(), c.context, kv_width, kv_width});
    slices.push_back({.blocks = table,
                      .first_row = s * c.tokens,
                      .tokens = c.tokens,
                      .first_position = c.context - c.tokens});
  }
  const std::int64_t width = std::int64_t{c.heads} * c.head_dim;
  std::vector<float> q = Numbers(c.sequences * c.tokens * width);
  std::vector<float> out(q.size());
  const Rows q_rows{q.data(), c.sequences * c.tokens, width, width};
  const Rows out_rows{out.data(), c.sequences * c.tokens, width, width};
  const AttentionShape shape{.heads = c.heads, .scale = 1 / std::sqrt(static_cast<float>(c.head_dim))};
  for ([[maybe_unused]] auto _ : state) {
    backend->Attention(layer, slices, shape, q_rows, out_rows);
    benchmark::DoNotOptimize(out.data());
  }
  Report(state, compute, Operations(c),
         static_cast<double>(layer.BlockBytes()) * static_cast<double>(blocks * c.sequences));
}

/// An operation that is almost nothing: what starting and joining the threads costs.
void SmallMatMul(benchmark::State& state) {
  MatMul(state, "auto", ComputeClass::kBF16, {1, 288, 288});
}

void Register() {
  benchmark::RegisterBenchmark("machine", MachineLimit)->Iterations(1);
  const MatMulShape matmuls[] = {{512, 2048, 2048}, {512, 11264, 2048}, {512, 2048, 5632}, {128, 2048, 2048},
                                 {512, 768, 768},   {32, 32000, 2048},  {8, 32000, 2048},  {5, 32000, 2048},
                                 {3, 32000, 2048},  {2, 32000, 2048},   {1, 32000, 2048},  {1, 2048, 2048},
                                 {128, 288, 288}};
  const AttentionCase attentions[] = {{1, 512, 512, 32, 4, 64},  {1, 512, 2048, 32, 4, 64},
                                      {1, 512, 512, 12, 12, 64}, {8, 1, 1024, 32, 4, 64},
                                      {8, 1, 1024, 12, 12, 64},  {1, 1, 2048, 12, 12, 64}};
  const std::vector<std::string> sets = CpuInstructionSets();
  for (const std::string& set : sets) {
    for (const ComputeClass compute : {ComputeClass::kBF16, ComputeClass::kF32}) {
      const std::string prefix = fmt::format("{}/{}", set, Name(compute));
      for (const MatMulShape& m : matmuls) {
        benchmark::RegisterBenchmark(
            fmt::format("matmul/{}/{}x{}x{}", prefix, m.rows, m.outputs, m.inputs).c_str(), MatMul, set,
            compute, m)
            ->UseRealTime();
      }
      for (const AttentionCase& a : attentions) {
        const std::string name =
            fmt::format("attention/{}/{}x{}_of_{}/heads_{}_{}_dim_{}", prefix, a.sequences, a.tokens,
                        a.context, a.heads, a.kv_heads, a.head_dim);
        benchmark::RegisterBenchmark(name.c_str(), Attention, set, compute, a)->UseRealTime();
      }
    }
  }
  benchmark::RegisterBenchmark("small_matmul", SmallMatMul)->UseRealTime();
}

}  // namespace
}  // namespace baton::kernels

int main(int argc, char** argv) {
  baton::kernels::Register();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
