#include "kernels/cpu/instruction_sets.h"

#include "common/base/error.h"
#include "kernels/backend.h"

namespace baton::kernels {
namespace cpu {
namespace {

struct Candidate {
  const InnerKernels* kernels;
  bool available;
};

/// Best first.
std::vector<Candidate> Candidates() {
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  const bool bf16 = avx512 && __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512vnni");
  return {{&kAvx512Bf16Kernels, bf16},
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
