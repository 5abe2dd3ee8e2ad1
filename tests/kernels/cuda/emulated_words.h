#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <type_traits>
#include <vector>

#include "kernels/cuda/arguments.h"
#include "kernels/cuda/fp8.h"

/// The words of kernels/cuda/device_words.cuh for the host, so that the kernels' own source runs without a
/// GPU: each thread of a block is a fiber, barriers and warp operations wait for those that take part. It
/// checks what a kernel computes and that its barriers suffice (threads run in changing orders, and
/// asynchronous copies arrive as late as they may); it says nothing of speed, nor whether the assembly in
/// device_words.cuh is right.
#define __global__
#define __device__
#define __grid_constant__
#define __launch_bounds__(threads)

namespace baton::kernels::cuda::emulated {

struct Index {
  unsigned x = 0;
  unsigned y = 0;
  unsigned z = 0;
};
/// Of the thread that runs.
extern thread_local Index threadIdx;
extern thread_local Index blockIdx;
extern thread_local Index gridDim;

struct alignas(16) Words {
  unsigned x, y, z, w;
};
struct Grid {
  unsigned x = 1;
  unsigned y = 1;
  unsigned z = 1;
};

inline float FloatOf(unsigned bits) {
  float value = 0;
  std::memcpy(&value, &bits, 4);
  return value;
}
inline unsigned Bf16Of(float value) {
  unsigned bits = 0;
  std::memcpy(&bits, &value, 4);
  if ((bits & 0x7fffffffU) > 0x7f800000U) return 0x7fff;
  return (bits + 0x7fffU + (bits >> 16 & 1U)) >> 16;
}
inline unsigned PairOfBf16(float low, float high) {
  return Bf16Of(low) | Bf16Of(high) << 16;
}
inline unsigned ByteOfFp8(float value) {
  return ToFp8(value);
}
inline float FusedMultiplyAdd(float a, float b, float c) {
  return std::fma(a, b, c);
}
inline float Exponential(float x) {
  return std::exp(x);
}
inline double WideExponential(double x) {
  return std::exp(x);
}
inline float SquareRoot(float x) {
  return std::sqrt(x);
}
inline void SineCosine(double angle, double& sine, double& cosine) {
  sine = std::sin(angle);
  cosine = std::cos(angle);
}

/// Filled with NaNs before each block.
[[nodiscard]] std::byte* SharedMemory();
void SyncBlock();
void SyncWarp();
[[nodiscard]] float ShuffleXor(float x, int mask);
void MultiplyAccumulate(float (&acc)[4], const unsigned (&a)[4], const unsigned (&b)[2]);
void LoadTransposed(unsigned (&out)[4], const void* row);
void CopyAsync(void* shared, const void* global, bool there);
void CommitCopies();
void WaitCopiesBut(int left);
template <int left>
void WaitCopies() {
  WaitCopiesBut(left);
}
inline Words LoadOnce(const std::uint16_t* p) {
  Words words;
  std::memcpy(&words, p, sizeof words);
  return words;
}

/// Work that waits: a queue of a device that computes later, or a graph.
using Waiting = std::vector<std::function<void()>>;

/// Runs all blocks, one after another.
void Run(const Grid& grid, int threads, int shared, const std::function<void()>& kernel);
/// At once, or when the queue gets there.
template <auto kernel, typename Arguments>
void Launch(void* queue, const Grid& grid, int threads, int shared, const Arguments& arguments) {
  auto run = [=] { Run(grid, threads, shared, [&] { kernel(arguments); }); };
  if (queue == nullptr) return run();
  static_cast<Waiting*>(queue)->push_back(run);
}

/// Memory of a device that the host may not touch: only `Run`, and who holds a `DeviceAccess`.
class DeviceMemory {
 public:
  /// Zeroed, for what is given out piece by piece.
  explicit DeviceMemory(std::size_t bytes);
  ~DeviceMemory();
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;
  [[nodiscard]] std::byte* Take(std::size_t bytes);
  [[nodiscard]] bool Holds(const std::byte* at) const { return at >= begin_ && at < begin_ + bytes_; }

 private:
  friend class DeviceAccess;
  std::byte* begin_;
  std::size_t bytes_;
  std::size_t used_ = 0;
};
class DeviceAccess {
 public:
  DeviceAccess();
  ~DeviceAccess();
  DeviceAccess(const DeviceAccess&) = delete;
  DeviceAccess& operator=(const DeviceAccess&) = delete;

 private:
  const bool has_turn_;
};

}  // namespace baton::kernels::cuda::emulated
