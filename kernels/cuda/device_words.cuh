#pragma once

// The words that the kernels are written in, for a GPU. tests/kernels/cuda has the same for the host, which
// emulates a block.

#include <cuda_bf16.h>
#include <cuda_fp8.h>
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace baton::kernels::cuda {
namespace {

/// 16 bytes.
using Words = uint4;

struct Grid {
  unsigned x = 1;
  unsigned y = 1;
  unsigned z = 1;
};

__device__ inline float FloatOf(unsigned bits) {
  return __uint_as_float(bits);
}
/// Two bf16, `low` first: to nearest, ties to even.
__device__ inline unsigned PairOfBf16(float low, float high) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  return static_cast<unsigned>(__bfloat16_as_ushort(pair.x)) |
         static_cast<unsigned>(__bfloat16_as_ushort(pair.y)) << 16;
}
/// An 8-bit float (fp8.h).
__device__ inline unsigned ByteOfFp8(float value) {
  return __nv_cvt_float_to_fp8(value, __NV_SATFINITE, __NV_E4M3);
}
__device__ inline float FusedMultiplyAdd(float a, float b, float c) {
  return __fmaf_rn(a, b, c);
}
__device__ inline float Exponential(float x) {
  return expf(x);
}
__device__ inline double WideExponential(double x) {
  return exp(x);
}
__device__ inline float SquareRoot(float x) {
  return __fsqrt_rn(x);
}
__device__ inline void SineCosine(double angle, double& sine, double& cosine) {
  sincos(angle, &sine, &cosine);
}

__device__ inline std::byte* SharedMemory() {
  extern __shared__ __align__(16) std::byte shared_memory[];
  return shared_memory;
}
__device__ inline void SyncBlock() {
  __syncthreads();
}
/// Among the lanes of a warp, all of which come here.
__device__ inline void SyncWarp() {
  __syncwarp();
}
__device__ inline float ShuffleXor(float x, int mask) {
  return __shfl_xor_sync(0xffffffffU, x, mask);
}

/// acc += a b on the tensor cores: a is 16 x 16, b 16 x 8, bf16; acc f32. By the whole warp.
__device__ inline void MultiplyAccumulate(float (&acc)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};\n"
      : "+f"(acc[0]), "+f"(acc[1]), "+f"(acc[2]), "+f"(acc[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/// Four 8 x 8 matrices of 16-bit elements, transposed; lane i names row i % 8 of matrix i / 8 in shared
/// memory. By the warp.
__device__ inline void LoadTransposed(unsigned (&out)[4], const void* row) {
  const auto address = static_cast<unsigned>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];\n"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(address)
               : "memory");
}

/// 16 bytes to shared memory, some time before WaitCopies says so; zeros where there is nothing to copy.
__device__ inline void CopyAsync(void* shared, const void* global, bool there) {
  const auto address = static_cast<unsigned>(__cvta_generic_to_shared(shared));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(address), "l"(global),
               "r"(there ? 16 : 0)
               : "memory");
}
/// Ends a group of this thread's copies; groups complete in order.
__device__ inline void CommitCopies() {
  asm volatile("cp.async.commit_group;\n" ::: "memory");
}
/// All but the last `left` groups of this thread are there.
template <int left>
__device__ inline void WaitCopies() {
  asm volatile("cp.async.wait_group %0;\n" ::"n"(left) : "memory");
}

/// 16 bytes that nobody reads again.
__device__ inline Words LoadOnce(const std::uint16_t* p) {
  Words w;
  asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];\n"
               : "=r"(w.x), "=r"(w.y), "=r"(w.z), "=r"(w.w)
               : "l"(p));
  return w;
}

/// Every kernel that is launched anywhere.
inline std::vector<const void*>& AllKernels() {
  static std::vector<const void*> all;
  return all;
}
template <auto kernel>
struct Listed {
  static inline const bool done = [] {
    AllKernels().push_back(reinterpret_cast<const void*>(kernel));
    return true;
  }();
};

/// An error of the launch waits for the next Synchronize.
template <auto kernel, typename Arguments>
void Launch(void* queue, const Grid& grid, int threads, int shared, const Arguments& arguments) {
  static_cast<void>(Listed<kernel>::done);
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  kernel<<<dim3(grid.x, grid.y, grid.z), static_cast<unsigned>(threads), static_cast<std::size_t>(shared),
           static_cast<cudaStream_t>(queue)>>>(arguments);
}

}  // namespace
}  // namespace baton::kernels::cuda
