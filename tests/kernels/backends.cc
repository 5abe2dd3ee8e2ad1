#include "tests/kernels/backends.h"

#include <map>

#include <fmt/format.h>

namespace baton::kernels {
namespace {

std::vector<BackendCase> CpuCases() {
  std::vector<BackendCase> cases;
  for (const std::string& set : CpuInstructionSets()) {
    for (const ComputeClass compute : {ComputeClass::kF32, ComputeClass::kBF16, ComputeClass::kInt8}) {
      for (const int threads : {1, 2, 3}) {
        const auto make = [=] {
          return *CreateCpuBackend({.compute = compute, .threads = threads, .instruction_set = set});
        };
        cases.push_back({fmt::format("cpu/{}/{}, {} threads", set, Name(compute), threads), make});
      }
    }
  }
  return cases;
}

}  // namespace

const std::vector<BackendCase>& BackendCases() {
  static const std::vector<BackendCase> cases = CpuCases();
  return cases;
}

std::vector<std::vector<BackendCase>> NumericsClasses() {
  std::map<std::string, std::vector<BackendCase>> groups;
  for (const BackendCase& one : BackendCases()) groups[one.make()->Name()].push_back(one);
  std::vector<std::vector<BackendCase>> result;
  for (auto& [name, group] : groups) result.push_back(std::move(group));
  return result;
}

}  // namespace baton::kernels
