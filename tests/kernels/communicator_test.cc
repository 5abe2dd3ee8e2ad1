#include "kernels/communicator.h"

#include <catch2/catch.hpp>

#include <functional>
#include <thread>

#include "common/base/random.h"
#include "tests/kernels/rank_cases.h"
#include "tests/kernels/tensors.h"

namespace baton::kernels {
namespace {

std::vector<std::pair<RankCase, int>> Groups(const std::vector<int>& sizes) {
  std::vector<std::pair<RankCase, int>> all;
  for (const RankCase& one : RankCases()) {
    for (const int ranks : sizes) all.emplace_back(one, ranks);
  }
  return all;
}

/// Runs `work` on a thread for each rank.
void OnRanks(const RankCase& one, int ranks, const std::function<void(Communicator&)>& work) {
  const Ranks group = one.make(ranks);
  std::vector<std::jthread> threads;
  for (const auto& communicator : group.communicators)
    threads.emplace_back([&work, &communicator] { work(*communicator); });
}

TEST_CASE("a sum over ranks follows the tree, whatever the ranks' order, again and again") {
  for (const auto& [one, ranks] : Groups({1, 2, 4, 8})) {
    CAPTURE(one.name, ranks);
    RandomStream random(21);
    std::vector<Tensor> parts;
    for (int rank = 0; rank < ranks; ++rank) parts.push_back(Tensor::Random(5, 7, random, 1e6));
    std::vector<Tensor> sums = parts;
    std::vector<Tensor> twice = parts;

    OnRanks(one, ranks, [&](Communicator& communicator) {
      const auto rank = static_cast<std::size_t>(communicator.Rank());
      communicator.SumInOrder(sums[rank].View());
      twice[rank] = sums[rank];
      communicator.SumInOrder(twice[rank].View());
    });

    for (std::int64_t row = 0; row < 5; ++row) {
      for (std::int64_t column = 0; column < 7; ++column) {
        const auto tree = [&](auto& self, int first, int count) -> float {
          if (count == 1) return parts[static_cast<std::size_t>(first)].At(row, column);
          return self(self, first, count / 2) + self(self, first + count / 2, count / 2);
        };
        const float wanted = tree(tree, 0, ranks);
        for (const Tensor& sum : sums) REQUIRE(sum.At(row, column) == wanted);
        for (const Tensor& sum : twice) REQUIRE(sum.At(row, column) == wanted * static_cast<float>(ranks));
      }
    }
    for (const Tensor& sum : sums) CHECK(sum.GapIntact());
  }
}

TEST_CASE("gathering puts the ranks' columns side by side, of unequal widths too") {
  for (const auto& [one, ranks] : Groups({1, 2, 4})) {
    CAPTURE(one.name, ranks);
    RandomStream random(22);
    std::vector<Tensor> parts;
    std::int64_t width = 0;
    for (int rank = 0; rank < ranks; ++rank) {
      parts.push_back(Tensor::Random(3, 2 + rank, random));
      width += 2 + rank;
    }
    std::vector<Tensor> gathered(static_cast<std::size_t>(ranks), Tensor(3, width));

    OnRanks(one, ranks, [&](Communicator& communicator) {
      const auto rank = static_cast<std::size_t>(communicator.Rank());
      communicator.AllGather(parts[rank].View(), gathered[rank].View());
    });

    for (const Tensor& all : gathered) {
      for (std::int64_t row = 0; row < 3; ++row) {
        std::int64_t column = 0;
        for (const Tensor& part : parts) {
          for (std::int64_t i = 0; i < part.Columns(); ++i) REQUIRE(all.At(row, column++) == part.At(row, i));
        }
      }
    }
  }
}

}  // namespace
}  // namespace baton::kernels
