#include "kernels/cpu/thread_pool.h"

#include <atomic>
#include <vector>

#include <catch2/catch.hpp>

namespace baton::kernels::cpu {
namespace {

TEST_CASE("a parallel loop runs every index once, on threads it names") {
  for (const int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    CHECK(pool.Threads() == threads);
    for (const std::int64_t count : {0, 1, 2, 7, 1000}) {
      std::vector<std::atomic<int>> runs(static_cast<std::size_t>(count));
      std::atomic<bool> named{true};

      pool.ParallelFor(count, [&](std::int64_t index, int thread) {
        ++runs[static_cast<std::size_t>(index)];
        if (thread < 0 || thread >= threads) named = false;
      });

      bool once = true;
      for (const auto& run : runs) once = once && run == 1;
      CHECK(once);
      CHECK(named);
    }
  }
}

TEST_CASE("thousands of short loops in a row see each other's writes") {
  ThreadPool pool(3);
  std::vector<std::int64_t> values(64);
  for (int round = 0; round < 5000; ++round) {
    pool.ParallelFor(64, [&](std::int64_t index, int) {
      const auto i = static_cast<std::size_t>(index);
      values[i] = values[i] + 1;
    });
  }
  for (const std::int64_t value : values) CHECK(value == 5000);
}

TEST_CASE("a pool that never worked, or whose threads sleep, ends") {
  for (int i = 0; i < 50; ++i) {
    ThreadPool idle(4);
    ThreadPool used(4);
    used.ParallelFor(10, [](std::int64_t, int) {});
  }
  SUCCEED();
}

}  // namespace
}  // namespace baton::kernels::cpu
