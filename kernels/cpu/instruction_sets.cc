#include "kernels/cpu/instruction_sets.h"

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/base/error.h"
#include "kernels/backend.h"

namespace baton::kernels {
namespace cpu {
namespace {

struct Candidate {
  const InnerKernels* kernels;
  bool available;
};

/// Whether the processor multiplies tiles and the system lets this process use them: it must be asked, since
/// a thread's saved state grows by 8 KiB. All threads may, once it has said yes.
bool MayUseTiles() {
  constexpr unsigned kTileBits = 1U << 22 | 1U << 24 | 1U << 25;  // bf16, tiles, int8
  constexpr int kRequestPermission = 0x1023;                      // ARCH_REQ_XCOMP_PERM
  constexpr int kTileData = 18;
  unsigned a = 0;
  unsigned b = 0;
  unsigned c = 0;
  unsigned d = 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0 || (d & kTileBits) != kTileBits) return false;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

/// Best first.
std::vector<Candidate> Candidates() {
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  const bool bf16 = avx512 && __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512vnni");
  static const bool tiles = bf16 && MayUseTiles();
  return {{&kAmxKernels, tiles},
          {&kAvx512Bf16Kernels, bf16},
          {&kAvx512Kernels, avx512},
          {&kAvx2Kernels, avx2},
          {&kPortableKernels, true}};
}

}  // namespace

absl::StatusOr<const InnerKernels*> FindKernels(const std::string& name) {
  std::string available;
  for (const Candidate& candidate : Candidates()) {
    if (candidate.available && (name == "auto" || name == candidate.kernels->name)) return candidate.kernels;
    if (candidate.available)
      available += fmt::format("{}{}", available.empty() ? "" : ", ", candidate.kernels->name);
  }
  return Error(kInvalidArgument, "instruction set '{}' is unknown or not on this processor; it has: {}", name,
               available);
}

}  // namespace cpu

std::vector<std::string> CpuInstructionSets() {
  std::vector<std::string> names;
  for (const cpu::Candidate& candidate : cpu::Candidates()) {
    if (candidate.available) names.emplace_back(candidate.kernels->name);
  }
  return names;
}

}  // namespace baton::kernels
