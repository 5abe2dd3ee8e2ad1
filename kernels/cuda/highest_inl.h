#pragma once

// The highest values of a row, in order: what sampling needs of logits, so that a step's vocabulary stays on
// the device. Comparisons alone, hence exact. Included where the words of device code are defined.

/// One of a row's values. A higher one comes first; of equals, the lower column. A NaN comes before nothing.
struct Ranked {
  float value;
  int column;
};
constexpr int kNoColumn = 0x7fffffff;
__device__ inline bool ComesFirst(const Ranked& a, const Ranked& b) {
  return a.value > b.value || (a.value == b.value && a.column < b.column);
}
__device__ inline Ranked Last() {
  return {.value = FloatOf(0xff800000U), .column = kNoColumn};
}

/// What each thread has ready of its own columns. Few rows' highest lie that close together in one thread's.
constexpr int kReady = 4;

/// A thread's next ones, after `after`, of its columns.
__device__ inline void FindReady(const float* row, std::int64_t columns, const Ranked& after, bool all,
                                 Ranked (&ready)[kReady]) {
  for (Ranked& one : ready) one = Last();
  for (std::int64_t c = threadIdx.x; c < columns; c += kRowThreads) {
    const Ranked here{.value = row[c], .column = static_cast<int>(c)};
    if (!ComesFirst(here, ready[kReady - 1]) || (!all && !ComesFirst(after, here))) continue;
    int place = kReady - 1;
    for (; place > 0 && ComesFirst(here, ready[place - 1]); --place) ready[place] = ready[place - 1];
    ready[place] = here;
  }
}

/// A block a row: each round takes the first of what the threads have ready.
__global__ void __launch_bounds__(kRowThreads) HighestKernel(const __grid_constant__ HighestArguments a) {
  constexpr int kGroup = 16;
  auto* first_of_thread = reinterpret_cast<Ranked*>(SharedMemory());
  Ranked* first_of_group = first_of_thread + kRowThreads;
  const float* row = a.in.data + blockIdx.x * a.in.stride;
  const int thread = static_cast<int>(threadIdx.x);
  Ranked ready[kReady];
  FindReady(row, a.in.columns, Last(), true, ready);
  int used = 0;
  for (int round = 0; round < a.count; ++round) {
    first_of_thread[thread] = ready[used];
    SyncBlock();
    if (thread < kRowThreads / kGroup) {
      Ranked first = first_of_thread[thread * kGroup];
      for (int i = 1; i < kGroup; ++i) {
        const Ranked& other = first_of_thread[thread * kGroup + i];
        if (ComesFirst(other, first)) first = other;
      }
      first_of_group[thread] = first;
    }
    SyncBlock();
    Ranked first = first_of_group[0];
    for (int i = 1; i < kRowThreads / kGroup; ++i)
      if (ComesFirst(first_of_group[i], first)) first = first_of_group[i];
    if (thread == 0) {  // a column in any case: NaNs may have left none
      a.values[std::int64_t{blockIdx.x} * a.count + round] = first.value;
      a.columns[std::int64_t{blockIdx.x} * a.count + round] =
          first.column != kNoColumn ? first.column : round;
    }
    if (first.column != kNoColumn && first.column % kRowThreads == thread && ++used == kReady) {
      FindReady(row, a.in.columns, first, false, ready);
      used = 0;
    }
    SyncBlock();
  }
}
