#include "simulator/plan/pair_search.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <tuple>

#include <fmt/format.h>

namespace baton::simulator {
namespace {

// Beyond this no cluster is bought by a simulation; it also ends a search under an evaluator that always says
// no.
constexpr int kMachinesMost = 20'000;
constexpr double kRateStep = 1.01;

std::string KeyOf(const FleetSpec& fleet, double rate) {
  std::string key = fmt::format("{}", rate);
  for (const PoolSpec& pool : fleet.pools) {
    fmt::format_to(std::back_inserter(key), "|{}x{}x{}/{}x{}", static_cast<int>(pool.role), pool.machines,
                   pool.machine, pool.tensor_parallel, pool.gpu_cap_w);
  }
  return key;
}

/// Equal prices are equal in whatever order they were added up.
double Rounded(double value) {
  return std::round(value * 1e6) / 1e6;
}

/// The least n in [low, high] that holds, `high` being known to hold, beginning at `guess`.
int LeastThatHolds(int low, int high, int guess, const std::function<bool(int)>& holds) {
  int step = std::max(1, guess / 16);
  int at = std::clamp(guess, low, high);
  if (at < high && !holds(at)) {
    low = at + 1;
    while (low < high) {  // gallop up: the guess is rarely far off
      at = std::min(low + step, high);
      if (at == high || holds(at)) break;
      low = at + 1;
      step *= 2;
    }
    high = std::min(at, high);
  } else {
    high = at;
    while (high > low) {
      at = std::max(high - step, low);
      if (!holds(at)) {
        low = at + 1;
        break;
      }
      high = at;
      step *= 2;
    }
  }
  while (low < high) {
    const int middle = low + (high - low) / 2;
    if (holds(middle)) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return low;
}

}  // namespace

Probe Evaluations::Of(const FleetSpec& fleet, double rate) {
  if (ended_) return {};
  const std::string key = KeyOf(fleet, rate);
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = known_.find(key); found != known_.end()) return found->second;
  }
  const auto probe = evaluate_(fleet, rate);
  const std::lock_guard lock(mutex_);
  if (!probe.ok()) {
    if (problem_.ok()) problem_ = probe.status();
    ended_ = true;
    return {};
  }
  if (ended_) return {};
  known_.emplace(key, *probe);
  ++count_;
  if (progress_ && !progress_(count_)) ended_ = true;
  return *probe;
}

int Evaluations::Count() const {
  const std::lock_guard lock(mutex_);
  return count_;
}

absl::Status Evaluations::Problem() const {
  const std::lock_guard lock(mutex_);
  return problem_;
}

double PriceOf(const Column& column, Objective objective) {
  switch (objective) {
    case Objective::kCheapest:
      return column.dollars_per_hour;
    case Objective::kLowestPower:
      return column.watts;
    case Objective::kFewestMachines:
    case Objective::kFastest:
    case Objective::kMaxRate:
      return 1;
  }
  return 1;
}

double PriceOf(const Candidate& candidate, Objective objective) {
  switch (objective) {
    case Objective::kCheapest:
      return candidate.dollars_per_hour;
    case Objective::kLowestPower:
      return candidate.watts;
    case Objective::kFewestMachines:
      return candidate.machines;
    case Objective::kFastest:
      return candidate.probe.tightest;
    case Objective::kMaxRate:
      return -candidate.rate;
  }
  return 0;
}

bool Better(const Candidate& a, const Candidate& b, Objective objective) {
  const auto key = [&](const Candidate& candidate) {
    return std::tuple(Rounded(PriceOf(candidate, objective)), candidate.machines,
                      Rounded(candidate.dollars_per_hour), Rounded(candidate.watts),
                      candidate.probe.tightest);
  };
  return key(a) < key(b);
}

bool Within(const Candidate& candidate, const Budget& budget) {
  constexpr double kRound = 1 + 1e-9;  // sums of prices
  return candidate.dollars_per_hour <= budget.dollars_per_hour * kRound &&
         candidate.watts <= budget.watts * kRound && candidate.machines <= budget.machines;
}

int MostWithin(const Column& column, const Budget& budget) {
  double most = std::min<double>(kMachinesMost, budget.machines);
  if (column.dollars_per_hour > 0)
    most = std::min(most, budget.dollars_per_hour / column.dollars_per_hour + 1e-9);
  if (column.watts > 0) most = std::min(most, budget.watts / column.watts + 1e-9);
  return static_cast<int>(most);
}

Candidate MakeCandidate(const std::vector<const Column*>& columns, const std::vector<int>& counts,
                        double rate) {
  Candidate candidate{.fleet = {}, .rate = rate, .probe = {}};
  for (std::size_t i = 0; i < columns.size(); ++i) {
    if (counts[i] == 0) continue;
    const Column& column = *columns[i];
    candidate.fleet.pools.push_back({.role = column.role,
                                     .machine = column.machine,
                                     .machines = counts[i],
                                     .tensor_parallel = column.tensor_parallel,
                                     .gpu_cap_w = column.gpu_cap_w});
    candidate.dollars_per_hour += counts[i] * column.dollars_per_hour;
    candidate.watts += counts[i] * column.watts;
    candidate.machines += counts[i];
  }
  return candidate;
}

Candidate PairSearch::Try(const std::vector<int>& counts, double rate) {
  Candidate candidate = MakeCandidate(pair_.columns, counts, rate);
  candidate.probe = evaluations_.Of(candidate.fleet, rate);
  return candidate;
}

bool PairSearch::Holds(int prefill, int decode) {
  return Try({prefill, decode}, options_.rate).probe.feasible;
}

int PairSearch::Guess(std::size_t column, double rate) const {
  const double guess = std::ceil(rate / std::max(pair_.columns[column]->capacity, 1e-9));
  return static_cast<int>(std::clamp(guess, 1.0, static_cast<double>(kMachinesMost)));
}

std::optional<Candidate> PairSearch::Cheapest(double price_limit) {
  return pair_.columns.size() == 1 ? CheapestMixed(price_limit) : CheapestSplit(price_limit);
}

std::optional<std::vector<int>> PairSearch::Enough(double price_limit) {
  std::vector<int> most;
  std::vector<int> counts;
  for (std::size_t i = 0; i < pair_.columns.size(); ++i) {
    // No fleet within limit and budget has more of a type than it could have of that type alone.
    const double price = PriceOf(*pair_.columns[i], options_.objective);
    int count = MostWithin(*pair_.columns[i], options_.budget);
    if (price > 0) count = static_cast<int>(std::min<double>(count, price_limit / price * (1 + 1e-9)));
    if (count < 1) return std::nullopt;
    most.push_back(count);
    counts.push_back(std::min(count, kStartTimes * Guess(i, options_.rate) + 4));
  }
  for (int doubled = 0; !Try(counts, options_.rate).probe.feasible; ++doubled) {
    if (doubled == kDoublings || counts == most || evaluations_.Ended()) return std::nullopt;
    for (std::size_t i = 0; i < counts.size(); ++i) counts[i] = std::min(most[i], 2 * counts[i]);
  }
  return counts;
}

std::optional<Candidate> PairSearch::CheapestMixed(double price_limit) {
  const std::optional<std::vector<int>> enough = Enough(price_limit);
  if (!enough) return std::nullopt;
  const auto holds = [&](int n) { return Try({n}, options_.rate).probe.feasible; };
  return Try({LeastThatHolds(1, (*enough)[0], Guess(0, options_.rate), holds)}, options_.rate);
}

std::optional<Candidate> PairSearch::CheapestSplit(double price_limit) {
  const std::optional<std::vector<int>> enough = Enough(price_limit);
  if (!enough) return std::nullopt;
  const int prefill_guess = Guess(0, options_.rate);
  const int decode_guess = Guess(1, options_.rate);
  const int prefill_most = (*enough)[0];
  const int decode_most = (*enough)[1];
  const double price_p = PriceOf(*pair_.columns[0], options_.objective);
  const double price_d = PriceOf(*pair_.columns[1], options_.objective);
  const int prefill_least =
      LeastThatHolds(1, prefill_most, prefill_guess, [&](int n) { return Holds(n, decode_most); });
  if (prefill_least * price_p + price_d > price_limit) return std::nullopt;
  const int decode_least =
      LeastThatHolds(1, decode_most, decode_guess, [&](int n) { return Holds(prefill_most, n); });
  return Walk(prefill_least, decode_least, decode_most, price_limit);
}

/// Along the staircase between feasible and infeasible fleets, only where it is no dearer than what is known.
std::optional<Candidate> PairSearch::Walk(int prefill_least, int decode_least, int decode_most,
                                          double price_limit) {
  const double price_p = PriceOf(*pair_.columns[0], options_.objective);
  const double price_d = PriceOf(*pair_.columns[1], options_.objective);
  std::optional<Candidate> best;
  int decode = decode_most;
  for (int prefill = prefill_least; decode >= decode_least && !evaluations_.Ended(); ++prefill) {
    const double limit = best ? PriceOf(*best, options_.objective) : price_limit;
    if (prefill * price_p + decode_least * price_d > limit) break;
    const Candidate all = MakeCandidate(pair_.columns, {prefill, decode_least}, options_.rate);
    if (!Within(all, options_.budget) || prefill > kMachinesMost) break;
    int affordable = decode;
    if (price_d > 0) {
      affordable =
          static_cast<int>(std::min<double>(decode, (limit - prefill * price_p) / price_d * (1 + 1e-9)));
    }
    while (affordable > decode_least &&
           !Within(MakeCandidate(pair_.columns, {prefill, affordable}, options_.rate), options_.budget)) {
      --affordable;
    }
    affordable = std::max(affordable, decode_least);
    if (!Holds(prefill, affordable)) continue;
    const int least =
        LeastThatHolds(decode_least, affordable, affordable, [&](int n) { return Holds(prefill, n); });
    const Candidate found = Try({prefill, least}, options_.rate);
    if (!best || Better(found, *best, options_.objective)) best = found;
    decode = least - 1;
  }
  return best;
}

std::vector<std::vector<int>> PairSearch::Frontier() const {
  std::vector<std::vector<int>> frontier;
  const int first_most = MostWithin(*pair_.columns[0], options_.budget);
  if (pair_.columns.size() == 1) {
    if (first_most >= 1) frontier.push_back({first_most});
    return frontier;
  }
  int decode = MostWithin(*pair_.columns[1], options_.budget);
  for (int prefill = 1; prefill <= first_most; ++prefill) {
    while (decode > 0 &&
           !Within(MakeCandidate(pair_.columns, {prefill, decode}, options_.rate), options_.budget)) {
      --decode;
    }
    if (decode == 0) break;
    // The same decode machines with another prefill machine: no budget is spent twice.
    if (!frontier.empty() && frontier.back()[1] == decode) frontier.pop_back();
    frontier.push_back({prefill, decode});
  }
  return frontier;
}

std::size_t PairSearch::NearestToBalance(const std::vector<std::vector<int>>& frontier) const {
  if (pair_.columns.size() == 1) return 0;
  const auto served = [&](const std::vector<int>& counts) {
    return std::min(counts[0] * pair_.columns[0]->capacity, counts[1] * pair_.columns[1]->capacity);
  };
  const auto best = std::max_element(frontier.begin(), frontier.end(),
                                     [&](const auto& a, const auto& b) { return served(a) < served(b); });
  return static_cast<std::size_t>(best - frontier.begin());
}

std::optional<Candidate> PairSearch::Fastest() {
  const std::vector<std::vector<int>> frontier = Frontier();
  if (frontier.empty()) return std::nullopt;
  std::optional<Candidate> best;
  std::size_t best_at = 0;
  const auto look = [&](std::size_t at) {
    const Candidate candidate = Try(frontier[at], options_.rate);
    if (evaluations_.Ended() && !candidate.probe.feasible) return;
    if (best && candidate.probe.tightest >= best->probe.tightest) return;
    best = candidate;
    best_at = at;
  };
  constexpr std::size_t kCoarse = 8;
  look(NearestToBalance(frontier));
  std::size_t step = std::max<std::size_t>(1, frontier.size() / kCoarse);
  for (std::size_t at = 0; at < frontier.size(); at += step) look(at);
  for (step /= 2; step > 0; step /= 2) {
    const std::size_t middle = best_at;
    if (middle >= step) look(middle - step);
    if (middle + step < frontier.size()) look(middle + step);
  }
  if (!best || !best->probe.feasible) return std::nullopt;
  return best;
}

Candidate PairSearch::RaiseRate(const std::vector<int>& counts, Candidate held) {
  double low = held.rate;
  double high = low * 2;
  for (Candidate next = Try(counts, high); next.probe.feasible; next = Try(counts, high)) {
    held = next;
    low = high;
    high *= 2;
    if (high > 1e9) return held;
  }
  while (high > low * kRateStep) {
    const double middle = (low + high) / 2;
    if (const Candidate next = Try(counts, middle); next.probe.feasible) {
      held = next;
      low = middle;
    } else {
      high = middle;
    }
  }
  return held;
}

std::optional<Candidate> PairSearch::HighestRate(double rate_to_beat) {
  const std::vector<std::vector<int>> frontier = Frontier();
  if (frontier.empty()) return std::nullopt;
  std::optional<Candidate> best;
  const std::size_t middle = NearestToBalance(frontier);
  const auto look = [&](std::size_t at) {
    const double least = best ? best->rate : rate_to_beat;
    Candidate first = Try(frontier[at], least * kRateStep);
    for (double rate = least / 2;
         !best && !first.probe.feasible && rate_to_beat == options_.rate && rate > 1e-3 * least; rate /= 2) {
      first = Try(frontier[at], rate);  // nothing holds yet: the rate given was too high
    }
    if (!first.probe.feasible) return false;
    best = RaiseRate(frontier[at], first);
    return true;
  };
  // The highest rate of a split has one peak; three points without progress are taken for its far side.
  constexpr int kPatience = 3;
  look(middle);
  int failures = 0;
  for (std::size_t at = middle; at-- > 0 && failures < kPatience;) failures = look(at) ? 0 : failures + 1;
  failures = 0;
  for (std::size_t at = middle + 1; at < frontier.size() && failures < kPatience; ++at) {
    failures = look(at) ? 0 : failures + 1;
  }
  return best;
}

}  // namespace baton::simulator
