#include "perf/micro/machine_peak.h"

#include <immintrin.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

namespace baton::perf {
namespace {

constexpr int kRounds = 4'000'000;
constexpr int kChains = 12;  // more than latency times throughput of any processor with these instructions

/// Operations a round: chains x lanes x (multiply, add) x (products a lane).
struct Loop {
  double operations_per_round;
  void (*run)();
};

/// Keeps the compiler from merging or dropping the chains.
#define BATON_KEEP(vector) asm volatile("" : "+v"(vector))

__attribute__((target("avx512f"))) void FmaAvx512() {
  __m512 sum[kChains];
#pragma GCC unroll 12
  for (int c = 0; c < kChains; ++c) sum[c] = _mm512_setzero_ps();
  const __m512 x = _mm512_set1_ps(0.5F);
  for (int i = 0; i < kRounds; ++i) {
#pragma GCC unroll 12
    for (int c = 0; c < kChains; ++c) {
      sum[c] = _mm512_fmadd_ps(x, x, sum[c]);
      BATON_KEEP(sum[c]);
    }
  }
}

__attribute__((target("avx512f,avx512bf16"))) void DotAvx512() {
  __m512 sum[kChains];
#pragma GCC unroll 12
  for (int c = 0; c < kChains; ++c) sum[c] = _mm512_setzero_ps();
  const __m512bh x = reinterpret_cast<__m512bh>(_mm512_set1_epi32(0x3f003f00));
  for (int i = 0; i < kRounds; ++i) {
#pragma GCC unroll 12
    for (int c = 0; c < kChains; ++c) {
      sum[c] = _mm512_dpbf16_ps(sum[c], x, x);
      BATON_KEEP(sum[c]);
    }
  }
}

__attribute__((target("avx512f,avx512vnni"))) void DotBytesAvx512() {
  __m512i sum[kChains];
#pragma GCC unroll 12
  for (int c = 0; c < kChains; ++c) sum[c] = _mm512_setzero_si512();
  const __m512i x = _mm512_set1_epi8(1);
  for (int i = 0; i < kRounds; ++i) {
#pragma GCC unroll 12
    for (int c = 0; c < kChains; ++c) {
      sum[c] = _mm512_dpbusd_epi32(sum[c], x, x);
      BATON_KEEP(sum[c]);
    }
  }
}

/// What the loops of tiles do to the accumulators 0 to 3: 16 x 16 sums each, 64 bytes of K.
#define BATON_TILE_LOOP(multiply)            \
  alignas(64) unsigned char config[64] = {}; \
  config[0] = 1;                             \
  for (int t = 0; t < 8; ++t) {              \
    config[16 + 2 * t] = 64;                 \
    config[48 + t] = 16;                     \
  }                                          \
  _tile_loadconfig(config);                  \
  for (int i = 0; i < kTileRounds; ++i) {    \
    multiply(0, 4, 6);                       \
    multiply(1, 4, 7);                       \
    multiply(2, 5, 6);                       \
    multiply(3, 5, 7);                       \
  }
constexpr int kTileRounds = kRounds / 16;

__attribute__((target("amx-tile,amx-bf16"))) void DotTiles() {
  BATON_TILE_LOOP(_tile_dpbf16ps)
}
__attribute__((target("amx-tile,amx-int8"))) void DotByteTiles() {
  BATON_TILE_LOOP(_tile_dpbsud)
}
/// Operations a round of `kRounds`, as they are counted below.
constexpr double kTileOperations = 4 * 16 * 16 * 32 * 2.0 / 16;

__attribute__((target("avx2,fma"))) void FmaAvx2() {
  __m256 sum[kChains];
#pragma GCC unroll 12
  for (int c = 0; c < kChains; ++c) sum[c] = _mm256_setzero_ps();
  const __m256 x = _mm256_set1_ps(0.5F);
  for (int i = 0; i < kRounds; ++i) {
#pragma GCC unroll 12
    for (int c = 0; c < kChains; ++c) {
      sum[c] = _mm256_fmadd_ps(x, x, sum[c]);
      asm volatile("" : "+x"(sum[c]));
    }
  }
}

void AddMultiplySse() {
  __m128 sum[kChains];
#pragma GCC unroll 12
  for (int c = 0; c < kChains; ++c) sum[c] = _mm_setzero_ps();
  const __m128 x = _mm_set1_ps(0.5F);
  for (int i = 0; i < kRounds; ++i) {
#pragma GCC unroll 12
    for (int c = 0; c < kChains; ++c) {
      sum[c] = _mm_add_ps(_mm_mul_ps(x, x), sum[c]);
      asm volatile("" : "+x"(sum[c]));
    }
  }
}

/// Seconds that `work(thread)` takes on all threads together; the best of three.
double Seconds(int threads, const std::function<void(int)>& work) {
  double best = 1e30;
  for (int repeat = 0; repeat < 3; ++repeat) {
    const auto start = std::chrono::steady_clock::now();
    std::vector<std::thread> others;
    for (int t = 1; t < threads; ++t) others.emplace_back(work, t);
    work(0);
    for (std::thread& other : others) other.join();
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

double Rate(int threads, const Loop& loop) {
  const double seconds = Seconds(threads, [&](int) { loop.run(); });
  return loop.operations_per_round * kRounds * threads / seconds / 1e9;
}

Loop F32Loop() {
  if (__builtin_cpu_supports("avx512f")) return {kChains * 16 * 2.0, FmaAvx512};
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return {kChains * 8 * 2.0, FmaAvx2};
  return {kChains * 4 * 2.0, AddMultiplySse};
}

}  // namespace

double PeakF32(int threads) {
  return Rate(threads, F32Loop());
}

double PeakTilesBf16(int threads) {
  return Rate(threads, {kTileOperations, DotTiles});
}

double PeakTilesInt8(int threads) {
  return Rate(threads, {kTileOperations * 2, DotByteTiles});
}

double PeakBf16(int threads) {
  if (__builtin_cpu_supports("avx512bf16")) return Rate(threads, {kChains * 16 * 2 * 2.0, DotAvx512});
  return PeakF32(threads);
}

double PeakInt8(int threads) {
  if (__builtin_cpu_supports("avx512vnni")) return Rate(threads, {kChains * 16 * 4 * 2.0, DotBytesAvx512});
  return PeakBf16(threads);
}

double ReadBandwidth(int threads) {
  constexpr std::size_t kWords = std::size_t{256} << 17;  // 256 MiB: beyond any cache
  const std::vector<std::uint64_t> memory(kWords, 1);
  std::vector<std::uint64_t> sums(static_cast<std::size_t>(threads) * 8);  // a cache line each
  const double seconds = Seconds(threads, [&](int thread) {
    const std::size_t begin = kWords / static_cast<std::size_t>(threads) * static_cast<std::size_t>(thread);
    const std::uint64_t* data = memory.data() + begin;
    std::uint64_t sum[8] = {};
    for (std::size_t i = 0; i + 8 <= kWords / static_cast<std::size_t>(threads); i += 8) {
      for (std::size_t j = 0; j < 8; ++j) sum[j] += data[i + j];
    }
    for (const std::uint64_t part : sum) sums[static_cast<std::size_t>(thread) * 8] += part;
  });
  return static_cast<double>(kWords) * 8 / seconds / 1e9;
}

}  // namespace baton::perf
