#include <bit>
#include <cstring>

#include "common/base/check.h"
#include "kernels/communicator.h"
#include "kernels/rank_group.h"

namespace baton::kernels {
namespace {

class InProcessCommunicator final : public Communicator {
 public:
  InProcessCommunicator(std::shared_ptr<RankGroup> group, int rank) : group_(std::move(group)), rank_(rank) {}
  [[nodiscard]] int Rank() const override { return rank_; }
  [[nodiscard]] int Size() const override { return group_->Size(); }

  void SumInOrder(Rows x) override {
    if (Size() == 1) return;
    group_->Publish(rank_, x);
    sums_.resize(static_cast<std::size_t>(x.rows * x.columns));
    for (std::int64_t row = 0; row < x.rows; ++row) {
      for (std::int64_t column = 0; column < x.columns; ++column)
        sums_[static_cast<std::size_t>(row * x.columns + column)] = Sum(row, column);
    }
    group_->Wait();  // nobody reads x any more
    for (std::int64_t row = 0; row < x.rows; ++row) {
      std::memcpy(x.data + row * x.stride, sums_.data() + row * x.columns,
                  static_cast<std::size_t>(x.columns) * sizeof(float));
    }
  }

  void AllGather(Rows mine, Rows all) override {
    group_->Publish(rank_, mine);
    std::int64_t first = 0;
    for (int rank = 0; rank < Size(); ++rank) {
      const Rows& part = group_->Of(rank);
      BATON_CHECK(part.rows == all.rows && first + part.columns <= all.columns);
      for (std::int64_t row = 0; row < all.rows; ++row) {
        std::memcpy(all.data + row * all.stride + first, part.data + row * part.stride,
                    static_cast<std::size_t>(part.columns) * sizeof(float));
      }
      first += part.columns;
    }
    BATON_CHECK(first == all.columns);
    group_->Wait();
  }

 private:
  [[nodiscard]] float Sum(std::int64_t row, std::int64_t column) const {
    float part[kReductionSegments];
    int count = Size();
    for (int rank = 0; rank < count; ++rank) {
      const Rows& rows = group_->Of(rank);
      part[rank] = rows.data[row * rows.stride + column];
    }
    for (; count > 1; count /= 2) {
      for (int i = 0; i < count / 2; ++i) part[i] = part[2 * i] + part[2 * i + 1];
    }
    return part[0];
  }

  const std::shared_ptr<RankGroup> group_;
  const int rank_;
  std::vector<float> sums_;  // kept between calls
};

}  // namespace

std::vector<std::unique_ptr<Communicator>> CreateInProcessCommunicators(int ranks) {
  BATON_CHECK(ranks > 0 && ranks <= kReductionSegments && std::has_single_bit(static_cast<unsigned>(ranks)),
              "{} ranks", ranks);
  auto group = std::make_shared<RankGroup>(ranks);
  std::vector<std::unique_ptr<Communicator>> all;
  for (int rank = 0; rank < ranks; ++rank)
    all.push_back(std::make_unique<InProcessCommunicator>(group, rank));
  return all;
}

}  // namespace baton::kernels
