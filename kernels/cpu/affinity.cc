#include "kernels/cpu/affinity.h"

#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <iterator>
#include <string>

#include "common/base/error.h"
#include "kernels/backend.h"

namespace baton::kernels {
namespace cpu {
namespace {

constexpr int kCoresMax = CPU_SETSIZE;
constexpr int kNodesMax = 1024;

std::string ReadLine(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

/// Empty where there is no such node.
std::vector<int> CoresOfNode(int node) {
  const std::string list = ReadLine(fmt::format("/sys/devices/system/node/node{}/cpulist", node));
  return list.empty() ? std::vector<int>() : ParseCoreList(list).value_or(std::vector<int>());
}

/// The node that all `cores` are of; -1: none, or none is known.
int NodeOf(const std::vector<int>& cores) {
  for (int node = 0; node < kNodesMax; ++node) {
    const std::vector<int> here = CoresOfNode(node);
    if (here.empty() && node > 0) return -1;
    if (std::ranges::includes(here, cores)) return node;
  }
  return -1;
}

std::string ToText(const std::vector<int>& cores) {
  return fmt::format("{}", fmt::join(cores, ","));
}

absl::Status CheckCores(const std::vector<int>& cores) {
  const std::vector<int> usable = UsableCores();
  const long configured = sysconf(_SC_NPROCESSORS_CONF);
  std::vector<int> seen;
  for (const int core : cores) {
    if (core < 0 || core >= configured) {
      return Error(kInvalidArgument, "core {} does not exist; this machine has 0 to {}", core,
                   configured - 1);
    }
    if (!std::ranges::binary_search(usable, core)) {
      return Error(kInvalidArgument, "core {} is not one that this process may use; it may use {}", core,
                   ToText(usable));
    }
    if (std::ranges::find(seen, core) != seen.end())
      return Error(kInvalidArgument, "core {} is named twice", core);
    seen.push_back(core);
  }
  return absl::OkStatus();
}

}  // namespace

std::vector<int> UsableCores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> cores;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return {0};
  for (int core = 0; core < kCoresMax; ++core) {
    if (CPU_ISSET(static_cast<std::size_t>(core), &set)) cores.push_back(core);
  }
  return cores;
}

absl::StatusOr<Placement> Place(const std::vector<int>& cores, int numa_node) {
  Placement placement{.cores = cores, .numa_node = numa_node};
  BATON_RETURN_IF_ERROR(CheckCores(cores));
  if (numa_node >= 0) {
    const std::vector<int> here = CoresOfNode(numa_node);
    if (here.empty())
      return Error(kInvalidArgument, "NUMA node {} does not exist or has no cores", numa_node);
    if (!cores.empty()) return placement;
    std::ranges::set_intersection(here, UsableCores(), std::back_inserter(placement.cores));
    if (placement.cores.empty()) {
      return Error(kInvalidArgument, "NUMA node {} has no core that this process may use; it may use {}",
                   numa_node, ToText(UsableCores()));
    }
    return placement;
  }
  placement.must_be_there = false;
  std::vector<int> sorted = cores;
  std::ranges::sort(sorted);
  if (!cores.empty()) placement.numa_node = NodeOf(sorted);
  return placement;
}

void PinThisThread(int core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<std::size_t>(core), &set);
  sched_setaffinity(0, sizeof set, &set);
}

void BindMemory(MemoryRegion region, const Placement& placement) {
  if (placement.numa_node < 0 || placement.numa_node >= kNodesMax) return;
  constexpr unsigned long kPreferred = 1;  // MPOL_PREFERRED and MPOL_BIND of linux/mempolicy.h
  constexpr unsigned long kBind = 2;
  constexpr unsigned long kBits = 8 * sizeof(unsigned long);
  unsigned long nodes[kNodesMax / kBits] = {};
  const auto node = static_cast<unsigned long>(placement.numa_node);
  nodes[node / kBits] |= 1UL << (node % kBits);
  syscall(SYS_mbind, region.address, region.bytes, placement.must_be_there ? kBind : kPreferred, nodes,
          static_cast<unsigned long>(kNodesMax), 0UL);
}

}  // namespace cpu

absl::StatusOr<std::vector<int>> ParseCoreList(std::string_view text) {
  std::vector<int> cores;
  const auto wrong = [&] {
    return Error(kInvalidArgument, "'{}' is not a list of cores, such as 0-7,16", std::string(text));
  };
  const char* at = text.data();
  const char* end = at + text.size();
  const auto number = [&](int& out) {
    const auto [next, error] = std::from_chars(at, end, out);
    if (error != std::errc() || out < 0 || out >= cpu::kCoresMax) return false;
    at = next;
    return true;
  };
  while (true) {
    int first = 0;
    if (!number(first)) return wrong();
    int last = first;
    if (at != end && *at == '-') {
      ++at;
      if (!number(last) || last < first) return wrong();
    }
    for (int core = first; core <= last; ++core) cores.push_back(core);
    if (at == end) return cores;
    if (*at++ != ',') return wrong();
  }
}

}  // namespace baton::kernels
