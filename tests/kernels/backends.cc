#include "tests/kernels/backends.h"

#include <cstdlib>
#include <map>

#include <fmt/format.h>
#include <catch2/catch.hpp>

#include "common/base/check.h"
#include "common/base/error.h"
#include "tests/kernels/cuda/on_host_memory.h"

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

std::vector<BackendCase> AllCases() {
  std::vector<BackendCase> cases = CpuCases();
  for (BackendCase& one : EmulatedCases()) cases.push_back(std::move(one));
  for (BackendCase& one : GpuCases()) cases.push_back(std::move(one));
  // BATON_TEST_BACKENDS=GPU leaves those out whose names do not have it: what costs minutes elsewhere.
  if (const char* wanted = std::getenv("BATON_TEST_BACKENDS"); wanted != nullptr) {
    std::erase_if(cases, [&](const BackendCase& one) { return one.name.find(wanted) == std::string::npos; });
    BATON_CHECK(!cases.empty(), "BATON_TEST_BACKENDS is {}, and no backend has that in its name", wanted);
  }
  return cases;
}

}  // namespace

const std::vector<BackendCase>& BackendCases() {
  static const std::vector<BackendCase> cases = AllCases();
  return cases;
}

std::vector<BackendCase> GpuCases(std::string* why_none) {
  const auto first = CreateCudaBackend({});
  if (!first.ok()) {
    if (why_none != nullptr) *why_none = Message(first.status());
    return {};
  }
  std::vector<BackendCase> cases;
  for (const ComputeClass compute : {ComputeClass::kF32, ComputeClass::kBF16}) {
    cases.push_back({fmt::format("{}, GPU 0", (*first)->Name()),
                     [=] { return OnHostMemory(*CreateCudaBackend({.compute = compute})); }});
  }
  return cases;
}

TEST_CASE("conformance runs on a GPU, or says aloud that it does not") {
  std::string why;
  const std::vector<BackendCase> cases = GpuCases(&why);

  if (cases.empty()) WARN("SKIPPED: every GPU case of the conformance suite: " << why);
  CHECK((cases.size() == 2 || !why.empty()));
}

std::vector<std::vector<BackendCase>> NumericsClasses() {
  std::map<std::string, std::vector<BackendCase>> groups;
  for (const BackendCase& one : BackendCases()) groups[one.make()->Name()].push_back(one);
  std::vector<std::vector<BackendCase>> result;
  for (auto& [name, group] : groups) result.push_back(std::move(group));
  return result;
}

}  // namespace baton::kernels
