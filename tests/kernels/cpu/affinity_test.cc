#include "kernels/cpu/affinity.h"

#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <string>
#include <thread>

#include <catch2/catch.hpp>

#include "common/base/error.h"
#include "kernels/backend.h"

namespace baton::kernels {
namespace {

std::set<int> ThreadIds() {
  std::set<int> ids;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/task"))
    ids.insert(std::stoi(entry.path().filename().string()));
  return ids;
}

/// 0: the calling thread.
std::vector<int> CoresOf(int thread_id) {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> cores;
  if (sched_getaffinity(thread_id, sizeof set, &set) != 0) return cores;
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(static_cast<std::size_t>(core), &set)) cores.push_back(core);
  }
  return cores;
}

/// Where the threads are that exist now and did not then.
std::vector<std::vector<int>> CoresOfNew(const std::set<int>& before) {
  std::vector<std::vector<int>> cores;
  for (const int id : ThreadIds()) {
    if (!before.contains(id)) cores.push_back(CoresOf(id));
  }
  std::ranges::sort(cores);
  return cores;
}

TEST_CASE("each thread of a backend runs on the core that the options name for it") {
  const std::vector<int> usable = cpu::UsableCores();
  const std::set<int> before = ThreadIds();

  const auto backend = *CreateCpuBackend({.cores = usable});

  // As many threads as cores, the caller included, which does not move before it enters.
  std::vector<std::vector<int>> wanted;
  for (const int core : usable) wanted.push_back({core});
  wanted.erase(wanted.begin());
  CHECK(CoresOfNew(before) == wanted);
  CHECK(CoresOf(0) == usable);

  std::vector<int> entered;
  std::thread([&] {
    backend->EnterThread();
    entered = CoresOf(0);
  }).join();
  CHECK(entered == std::vector<int>{usable.front()});
  CHECK(CoresOf(0) == usable);
}

TEST_CASE("without cores no thread is moved") {
  const std::vector<int> usable = cpu::UsableCores();
  const std::set<int> before = ThreadIds();

  const auto backend = *CreateCpuBackend({.threads = 3});
  backend->EnterThread();

  CHECK(CoresOfNew(before) == std::vector<std::vector<int>>(2, usable));
  CHECK(CoresOf(0) == usable);
}

TEST_CASE("fewer threads than cores take the first cores, more are refused") {
  const std::vector<int> usable = cpu::UsableCores();
  const std::set<int> before = ThreadIds();

  const auto backend = *CreateCpuBackend({.threads = 1, .cores = usable});
  CHECK(CoresOfNew(before).empty());

  const int many = static_cast<int>(usable.size()) + 1;
  CHECK(CreateCpuBackend({.threads = many, .cores = usable}).status().code() == kInvalidArgument);
}

TEST_CASE("a core that does not exist, is named twice or belongs to others is refused by its number") {
  const auto refusal = [](const CpuOptions& options) {
    const auto backend = CreateCpuBackend(options);
    return backend.ok() ? std::string() : Message(backend.status());
  };
  const int first = cpu::UsableCores().front();

  CHECK(refusal({.cores = {100'000}}).find("core 100000 does not exist") != std::string::npos);
  CHECK(refusal({.cores = {first, first}}).find("named twice") != std::string::npos);
  CHECK(refusal({.numa_node = 900}).find("NUMA node 900") != std::string::npos);

  const int last = cpu::UsableCores().back();
  if (last == first) {
    WARN("skipped in part: this process has one core");
    return;
  }
  std::string outside;
  std::thread([&] {
    cpu::PinThisThread(first);
    outside = refusal({.cores = {last}});
  }).join();
  INFO(outside);
  CHECK(outside.find("may use") != std::string::npos);
}

TEST_CASE("memory lies on the NUMA node that the options name, and threads on its cores") {
  if (!std::filesystem::exists("/sys/devices/system/node/node0/cpulist")) {
    WARN("skipped: this machine has no NUMA nodes");
    return;
  }
  const auto placement = cpu::Place({}, 0);
  if (!placement.ok()) {
    WARN("skipped: no core of node 0 is this process's to use");
    return;
  }
  const std::set<int> before = ThreadIds();

  const auto backend = *CreateCpuBackend({.numa_node = 0});

  CHECK(CoresOfNew(before).size() == placement->cores.size() - 1);
  const auto buffer = backend->Allocate(5'000'000);
  REQUIRE(buffer.ok());
  constexpr unsigned long kNodeOfAddress = 1UL | 2UL;  // MPOL_F_NODE | MPOL_F_ADDR
  int node = -1;
  if (syscall(SYS_get_mempolicy, &node, nullptr, 0UL, buffer->As<char>() + 4'000'000, kNodeOfAddress) == 0) {
    CHECK(node == 0);
  }
  int policy = -1;
  if (syscall(SYS_get_mempolicy, &policy, nullptr, 0UL, buffer->As<char>(), 2UL) == 0) {
    CHECK(policy == 2);  // MPOL_BIND
  }
}

TEST_CASE("a list of cores is numbers and ranges with commas between") {
  CHECK(*ParseCoreList("3") == std::vector<int>{3});
  CHECK(*ParseCoreList("0-2,8") == std::vector<int>{0, 1, 2, 8});
  for (const char* wrong : {"", ",", "1,", "a", "2-1", "-1", "1-", "1 2", "0-99999999"}) {
    INFO(wrong);
    CHECK(ParseCoreList(wrong).status().code() == kInvalidArgument);
  }
}

}  // namespace
}  // namespace baton::kernels
