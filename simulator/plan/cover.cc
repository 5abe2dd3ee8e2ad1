#include "simulator/plan/cover.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <tuple>

namespace baton::simulator {
namespace {

// Rates are sums of floating-point capacities: half a part in a billion is no machine.
constexpr double kSlack = 1e-9;

int Machines(const Cover& cover) {
  return std::accumulate(cover.counts.begin(), cover.counts.end(), 0);
}

bool Before(const Cover& a, const Cover& b) {
  return std::forward_as_tuple(a.price, Machines(a), a.counts) <
         std::forward_as_tuple(b.price, Machines(b), b.counts);
}

class Search {
 public:
  Search(const std::vector<CoverItem>& items, double rate, int how_many)
      : items_(items), rate_(rate), how_many_(static_cast<std::size_t>(std::max(how_many, 1))) {
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (items[i].capacity > 0 && items[i].price > 0 && items[i].most > 0) order_.push_back(i);
    }
    std::stable_sort(order_.begin(), order_.end(), [&](std::size_t a, std::size_t b) {
      return items_[a].price * items_[b].capacity < items_[b].price * items_[a].capacity;
    });
    current_.counts.assign(items.size(), 0);
  }

  std::vector<Cover> Run() {
    Descend(0, rate_, 0);
    return best_;
  }

 private:
  void Descend(std::size_t depth, double missing, double price) {
    if (missing <= rate_ * kSlack) {
      Keep(price);
      return;
    }
    if (depth == order_.size()) return;
    const CoverItem& item = items_[order_[depth]];
    // The rest can be no cheaper than whole in the type with the lowest price for capacity: this one.
    const double bound = price + missing * item.price / item.capacity * (1 - kSlack);
    if (best_.size() == how_many_ && bound > best_.back().price) return;
    const double wanted = std::ceil(missing / item.capacity * (1 - kSlack));
    const int most = static_cast<int>(std::min<double>(wanted, item.most));
    for (int count = most; count >= 0; --count) {
      current_.counts[order_[depth]] = count;
      Descend(depth + 1, missing - count * item.capacity, price + count * item.price);
    }
    current_.counts[order_[depth]] = 0;
  }

  [[nodiscard]] bool HasOneTooMany() const {
    double capacity = 0;
    double smallest = INFINITY;
    for (const std::size_t i : order_) {
      capacity += current_.counts[i] * items_[i].capacity;
      if (current_.counts[i] > 0) smallest = std::min(smallest, items_[i].capacity);
    }
    return capacity - smallest >= rate_ * (1 - kSlack);
  }

  void Keep(double price) {
    if (HasOneTooMany()) return;
    current_.price = price;
    const auto at = std::lower_bound(best_.begin(), best_.end(), current_, Before);
    best_.insert(at, current_);
    if (best_.size() > how_many_) best_.pop_back();
  }

  const std::vector<CoverItem>& items_;
  double rate_;
  std::size_t how_many_;
  std::vector<std::size_t> order_;
  Cover current_;
  std::vector<Cover> best_;
};

}  // namespace

std::vector<Cover> CheapestCovers(const std::vector<CoverItem>& items, double rate, int how_many) {
  if (!(rate > 0)) return {};
  return Search(items, rate, how_many).Run();
}

}  // namespace baton::simulator
