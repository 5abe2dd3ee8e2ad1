#pragma once

// Drawing a row's column by its weights, so that a step's vocabulary stays on the device. The sampler sums
// weights one after another in order of columns, with its own library's exponential; here they are summed
// otherwise. Hence a column is told only where no rounding of either could choose another. Included where the
// words of device code are defined.

/// A sum of a million doubles of whatever order, and exponentials good to some units in the last place, are
/// nearer to the truth than this part of the whole by a factor of some hundred.
constexpr double kDrawSlack = 0x1p-30;

/// A row's weights as they are drawn from.
struct DrawWeights {
  const float* row;
  double highest;
  double temperature;
  double least;  // those below do not count

  __device__ double At(std::int64_t column) const {
    const double weight = WideExponential((static_cast<double>(row[column]) - highest) / temperature);
    return weight >= least ? weight : 0;
  }
  /// Whether that it counts, or does not, may be an error of rounding.
  __device__ bool Doubtful(std::int64_t column) const {
    if (least <= 0) return false;
    const double weight = WideExponential((static_cast<double>(row[column]) - highest) / temperature);
    return weight > least * (1 - kDrawSlack) && weight < least * (1 + kDrawSlack);
  }
};

/// A block a row, whose threads have neighbouring runs of its columns.
__global__ void __launch_bounds__(kRowThreads) DrawKernel(const __grid_constant__ DrawArguments a) {
  auto* sums = reinterpret_cast<double*>(SharedMemory());
  auto* scratch = reinterpret_cast<float*>(sums + kRowThreads);  // of each of three comparisons
  const DrawRequest request = a.requests[blockIdx.x];
  DrawResult* const result = a.results + blockIdx.x;
  if (threadIdx.x == 0) *result = {0, -1, 0};
  if (request.temperature <= 0) return;  // the block as a whole, here and below
  const std::int64_t run = (a.in.columns + kRowThreads - 1) / kRowThreads;
  const std::int64_t first = threadIdx.x * run;
  const std::int64_t end = first + run < a.in.columns ? first + run : a.in.columns;
  const float* row = a.in.data + blockIdx.x * a.in.stride;

  float highest = FloatOf(0xff800000U);
  float wrong = 0;
  for (std::int64_t c = first; c < end; ++c) {
    highest = row[c] > highest ? row[c] : highest;
    wrong = row[c] == row[c] ? wrong : 1;
  }
  highest = BlockMax(highest, scratch);
  wrong = BlockMax(wrong, scratch + kRowThreads / 32);
  const float infinity = FloatOf(0x7f800000U);
  if (wrong > 0 || highest == infinity || highest == -infinity) return;

  const DrawWeights weights{row, static_cast<double>(highest), request.temperature, request.least};
  double mine = 0;
  for (std::int64_t c = first; c < end; ++c) {
    mine += weights.At(c);
    wrong = weights.Doubtful(c) ? 1 : wrong;
  }
  sums[threadIdx.x] = mine;
  wrong = BlockMax(wrong, scratch + 2 * (kRowThreads / 32));  // and all sums are there
  if (wrong > 0) return;
  double before = 0;
  double total = 0;
  for (int thread = 0; thread < kRowThreads; ++thread) {
    if (thread == static_cast<int>(threadIdx.x)) before = total;
    total += sums[thread];
  }
  if (threadIdx.x == 0) result->total = total;
  const double target = request.uniform * total;
  if (!(before <= target && target < before + mine)) return;  // another thread's, if anybody's
  const double slack = total * kDrawSlack;
  double reached = before;
  for (std::int64_t c = first; c < end; ++c) {
    const double weight = weights.At(c);
    if (reached + weight <= target) {
      reached += weight;
      continue;
    }
    if (target - reached > slack && reached + weight - target > slack) result->column = static_cast<int>(c);
    return;
  }
}
