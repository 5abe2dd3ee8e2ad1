#include "kernels/cpu/work_shares.h"

#include <atomic>
#include <vector>

#include <catch2/catch.hpp>

#include "kernels/cpu/thread_pool.h"

namespace baton::kernels::cpu {
namespace {

TEST_CASE("a thread walks its own run of indices, told which comes next, and then helps the others") {
  WorkShares shares(2);
  shares.Divide(5);  // [0, 2) and [2, 5)

  const auto first = shares.Take(1);
  CHECK(first.index == 2);
  CHECK(first.next == 3);
  CHECK(shares.Take(1).index == 3);
  const auto last = shares.Take(1);
  CHECK(last.index == 4);
  CHECK(last.next == -1);
  CHECK(shares.Take(1).index == 0);
  CHECK(shares.Take(0).index == 1);
}

TEST_CASE("every index is taken once, by as many takes as there are indices, whatever the threads") {
  for (const int threads : {1, 2, 3, 5}) {
    ThreadPool pool(threads);
    WorkShares shares(threads);
    for (const std::int64_t count : {1, 2, 4, 7, 100}) {
      INFO(threads << " threads, " << count << " indices");
      std::vector<std::atomic<int>> taken(static_cast<std::size_t>(count));
      shares.Divide(count);

      pool.ParallelFor(count, [&](std::int64_t, int thread) {
        taken[static_cast<std::size_t>(shares.Take(thread).index)].fetch_add(1);
      });

      bool once = true;
      for (const auto& times : taken) once = once && times.load() == 1;
      CHECK(once);
    }
  }
}

}  // namespace
}  // namespace baton::kernels::cpu
