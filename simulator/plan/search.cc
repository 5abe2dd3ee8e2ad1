#include "simulator/plan/search.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "common/base/error.h"
#include "simulator/plan/cover.h"
#include "simulator/plan/pair_search.h"
#include "simulator/plan/parallel.h"
#include "simulator/run.h"

namespace baton::simulator {
namespace {

constexpr std::array<std::string_view, 5> kObjectiveNames{"cheapest", "lowest-power", "fewest-machines",
                                                          "fastest", "max-rate"};
// Pairs searched at a time under one price limit. Not the number of threads: the result must not depend on
// it.
constexpr std::size_t kRound = 4;
// Designs up to so much dearer than the best are worth their evaluations: the runner-up is among them.
constexpr double kMargin = 1.15;
constexpr int kCovers = 6;  // mixtures simulated for each role

std::vector<Pair> PairsOf(const std::vector<Column>& columns) {
  std::vector<Pair> pairs;
  for (const Column& first : columns) {
    if (first.role == PoolRole::kMixed) pairs.push_back({{&first}});
    if (first.role != PoolRole::kPrefill) continue;
    for (const Column& second : columns) {
      if (second.role == PoolRole::kDecode) pairs.push_back({{&first, &second}});
    }
  }
  return pairs;
}

/// What analysis expects the pair to cost, to look at promising ones first.
double ExpectedPrice(const Pair& pair, const SearchOptions& options) {
  double price = 0;
  for (const Column* column : pair.columns) {
    price += options.rate / std::max(column->capacity, 1e-9) * PriceOf(*column, options.objective);
  }
  return price;
}

/// The types of a fleet, role by role: candidates of one design differ in counts alone.
std::vector<std::string> DesignOf(const Candidate& candidate) {
  std::vector<std::string> design;
  for (const PoolSpec& pool : candidate.fleet.pools) {
    design.push_back(fmt::format("{} {}/{} {}", static_cast<int>(pool.role), pool.machine,
                                 pool.tensor_parallel, pool.gpu_cap_w));
  }
  return design;
}

std::string TextOf(const PoolSpec& pool) {
  std::string name = fmt::format("{} x {}", pool.machines, pool.machine);
  if (pool.tensor_parallel > 0) name += fmt::format("/{}", pool.tensor_parallel);
  if (pool.gpu_cap_w > 0) name += fmt::format("@{:g}w", pool.gpu_cap_w);
  return fmt::format("{} {}", name, NameOf(pool.role));
}

class Session {
 public:
  Session(const std::vector<Column>& columns, const Evaluator& evaluate, const SearchOptions& options)
      : columns_(columns), options_(options), evaluations_(evaluate, options.progress) {}

  absl::StatusOr<Recommendation> Run() {
    SearchPairs();
    if (best_ && options_.objective <= Objective::kFewestMachines) MixTypes();
    if (best_) {
      LookAround();
      Headroom();
    }
    BATON_RETURN_IF_ERROR(evaluations_.Problem());
    result_.best = best_;
    std::stable_sort(
        result_.designs.begin(), result_.designs.end(),
        [&](const Candidate& a, const Candidate& b) { return Better(a, b, options_.objective); });
    for (const Candidate& design : result_.designs) {
      if (best_ && DesignOf(design) != DesignOf(*best_)) {
        result_.runner_up = design;
        break;
      }
    }
    result_.evaluations = evaluations_.Count();
    result_.interrupted = evaluations_.Ended();
    return std::move(result_);
  }

 private:
  std::optional<Candidate> SearchPair(const Pair& pair, const std::optional<Candidate>& incumbent) {
    PairSearch search(pair, options_, evaluations_);
    switch (options_.objective) {
      case Objective::kCheapest:
      case Objective::kLowestPower:
      case Objective::kFewestMachines:
        return search.Cheapest(incumbent ? PriceOf(*incumbent, options_.objective) * kMargin : INFINITY);
      case Objective::kFastest:
        return search.Fastest();
      case Objective::kMaxRate:
        return search.HighestRate(incumbent ? incumbent->rate / kMargin : options_.rate);
    }
    return std::nullopt;
  }

  void SearchPairs() {
    std::vector<Pair> pairs = PairsOf(columns_);
    std::stable_sort(pairs.begin(), pairs.end(), [&](const Pair& a, const Pair& b) {
      return ExpectedPrice(a, options_) < ExpectedPrice(b, options_);
    });
    for (std::size_t begin = 0; begin < pairs.size() && !evaluations_.Ended(); begin += kRound) {
      const std::size_t count = std::min(kRound, pairs.size() - begin);
      std::vector<std::optional<Candidate>> found(count);
      const std::optional<Candidate> incumbent = best_;
      ParallelFor(count, options_.jobs,
                  [&](std::size_t i) { found[i] = SearchPair(pairs[begin + i], incumbent); });
      for (const auto& candidate : found) {
        if (candidate) Keep(*candidate);
      }
    }
  }

  void Keep(const Candidate& candidate) {
    result_.designs.push_back(candidate);
    if (!best_ || Better(candidate, *best_, options_.objective)) best_ = candidate;
  }

  /// Replaces the machines of one role by cheaper mixtures of types, as exact covers propose them.
  void MixTypes() {
    for (const PoolRole role : {PoolRole::kPrefill, PoolRole::kDecode, PoolRole::kMixed}) {
      std::vector<const Column*> types;
      for (const Column& column : columns_) {
        if (column.role == role) types.push_back(&column);
      }
      std::vector<const Column*> others;
      std::vector<int> other_counts;
      double own_capacity = 0;
      double own_price = 0;
      for (const PoolSpec& pool : best_->fleet.pools) {
        const Column* column = ColumnOf(pool);
        if (pool.role == role) {
          own_capacity += pool.machines * column->capacity;
          own_price += pool.machines * PriceOf(*column, options_.objective);
        } else {
          others.push_back(column);
          other_counts.push_back(pool.machines);
        }
      }
      if (own_capacity <= 0 || types.size() < 2) continue;
      TryMixtures(types, others, other_counts, own_capacity, own_price);
    }
  }

  void TryMixtures(const std::vector<const Column*>& types, const std::vector<const Column*>& others,
                   const std::vector<int>& other_counts, double own_capacity, double own_price) {
    std::vector<CoverItem> items;
    double smallest = INFINITY;
    for (const Column* type : types) {
      items.push_back({.capacity = type->capacity, .price = PriceOf(*type, options_.objective)});
      smallest = std::min(smallest, type->capacity);
    }
    // What was simulated corrects the analysis: the role needs more than its best count less one machine
    // gives.
    const double needed = std::max(own_capacity - smallest * 0.999, own_capacity * 0.5);
    std::vector<Candidate> candidates;
    for (const Cover& cover : CheapestCovers(items, needed, 4 * kCovers)) {
      if (cover.price >= own_price * (1 - 1e-9)) continue;
      std::vector<const Column*> columns = types;
      std::vector<int> counts = cover.counts;
      columns.insert(columns.end(), others.begin(), others.end());
      counts.insert(counts.end(), other_counts.begin(), other_counts.end());
      candidates.push_back(MakeCandidate(columns, counts, options_.rate));
    }
    candidates.resize(std::min<std::size_t>(candidates.size(), kCovers));
    ParallelFor(candidates.size(), options_.jobs, [&](std::size_t i) {
      candidates[i].probe = evaluations_.Of(candidates[i].fleet, options_.rate);
    });
    for (const Candidate& candidate : candidates) {
      if (candidate.probe.feasible && Within(candidate, options_.budget)) Keep(candidate);
    }
  }

  [[nodiscard]] const Column* ColumnOf(const PoolSpec& pool) const {
    const auto found = std::find_if(columns_.begin(), columns_.end(), [&](const Column& column) {
      return column.role == pool.role && column.machine == pool.machine &&
             column.tensor_parallel == pool.tensor_parallel && column.gpu_cap_w == pool.gpu_cap_w;
    });
    return &*found;
  }

  /// The best fleet with `extra[i]` more machines in pool i.
  [[nodiscard]] Candidate Changed(const Candidate& from, const std::vector<int>& extra) const {
    std::vector<const Column*> columns;
    std::vector<int> counts;
    for (std::size_t i = 0; i < from.fleet.pools.size(); ++i) {
      columns.push_back(ColumnOf(from.fleet.pools[i]));
      counts.push_back(from.fleet.pools[i].machines + extra[i]);
    }
    return MakeCandidate(columns, counts, from.rate);
  }

  [[nodiscard]] bool HoldsAfterAnyLoss(const Candidate& candidate) {
    for (std::size_t i = 0; i < candidate.fleet.pools.size(); ++i) {
      std::vector<int> extra(candidate.fleet.pools.size(), 0);
      extra[i] = -1;
      const Candidate less = Changed(candidate, extra);
      if (less.fleet.pools.size() < candidate.fleet.pools.size()) return false;
      if (!evaluations_.Of(less.fleet, less.rate).feasible) return false;
    }
    return true;
  }

  void LookAround() {
    const std::size_t pools = best_->fleet.pools.size();
    for (std::size_t i = 0; i < pools; ++i) {
      std::vector<int> extra(pools, 0);
      extra[i] = -1;
      Candidate less = Changed(*best_, extra);
      if (less.fleet.pools.size() == pools) {
        less.probe = evaluations_.Of(less.fleet, less.rate);
      } else {
        less.probe = {.feasible = false, .tightest = INFINITY, .binding = "no machine"};
      }
      if (evaluations_.Ended()) return;
      result_.one_less.push_back({TextOf(best_->fleet.pools[i]), less});
    }
    // Each pool may or may not get one more; all of them surely suffices.
    std::vector<Candidate> richer;
    for (unsigned mask = 0; mask < 1U << std::min<std::size_t>(pools, 8); ++mask) {
      std::vector<int> extra(pools, 0);
      for (std::size_t i = 0; i < pools; ++i) extra[i] = static_cast<int>(mask >> i & 1U);
      richer.push_back(Changed(*best_, extra));
    }
    std::stable_sort(richer.begin(), richer.end(), [&](const Candidate& a, const Candidate& b) {
      return Better(a, b, options_.objective);
    });
    for (Candidate& candidate : richer) {
      if (!HoldsAfterAnyLoss(candidate)) continue;
      candidate.probe = evaluations_.Of(candidate.fleet, candidate.rate);
      if (!evaluations_.Ended()) result_.spare = candidate;
      return;
    }
  }

  void Headroom() {
    double low = 0;
    double high = 1;
    while (high - low > 0.02 && !evaluations_.Ended()) {
      const double middle = (low + high) / 2;
      if (evaluations_.Of(best_->fleet, best_->rate * (1 + middle)).feasible) {
        low = middle;
      } else {
        high = middle;
      }
    }
    result_.headroom = low;
  }

  const std::vector<Column>& columns_;
  const SearchOptions& options_;
  Evaluations evaluations_;
  std::optional<Candidate> best_;
  Recommendation result_;
};

}  // namespace

absl::StatusOr<Objective> ObjectiveOf(std::string_view name) {
  for (std::size_t i = 0; i < kObjectiveNames.size(); ++i) {
    if (kObjectiveNames[i] == name) return static_cast<Objective>(i);
  }
  return Error(kInvalidArgument, "objective '{}': want {}", name, fmt::join(kObjectiveNames, ", "));
}

std::string_view NameOf(Objective objective) {
  return kObjectiveNames[static_cast<std::size_t>(objective)];
}

bool Budget::Unlimited() const {
  return std::isinf(dollars_per_hour) && std::isinf(watts) && std::isinf(machines);
}

absl::StatusOr<Recommendation> Recommend(const std::vector<Column>& columns, const Evaluator& evaluate,
                                         const SearchOptions& options) {
  const bool spends = options.objective == Objective::kFastest || options.objective == Objective::kMaxRate;
  if (spends && options.budget.Unlimited()) {
    return Error(kInvalidArgument, "objective {} needs a budget: dollars an hour, watts or machines",
                 NameOf(options.objective));
  }
  if (!(options.rate > 0)) return Error(kInvalidArgument, "rate: {} must be above 0", options.rate);
  if (PairsOf(columns).empty()) return Error(kInvalidArgument, "no machine type may be bought");
  return Session(columns, evaluate, options).Run();
}

}  // namespace baton::simulator
