#pragma once

#include <atomic>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "common/base/mutex.h"
#include "simulator/plan/search.h"

namespace baton::simulator {

/// Remembers what has been evaluated and counts it; ends the search on an error or when the caller wants it.
/// Any thread.
class Evaluations {
 public:
  Evaluations(const Evaluator& evaluate, const std::function<bool(int)>& progress)
      : evaluate_(evaluate), progress_(progress) {}

  /// An infeasible probe once the search has ended.
  [[nodiscard]] Probe Of(const FleetSpec& fleet, double rate);
  [[nodiscard]] bool Ended() const { return ended_; }
  [[nodiscard]] int Count() const;
  [[nodiscard]] absl::Status Problem() const;

 private:
  const Evaluator& evaluate_;
  const std::function<bool(int)>& progress_;
  mutable Mutex mutex_;  // guards known_, count_, problem_
  std::map<std::string, Probe> known_;
  int count_ = 0;
  absl::Status problem_;
  std::atomic<bool> ended_ = false;
};

/// A pair is given up where even so many times the machines that analysis expects do not hold.
inline constexpr int kStartTimes = 3;  // where a search begins
inline constexpr int kDoublings = 4;
inline constexpr int kSearchedTimes = kStartTimes << kDoublings;

/// One type of machines for each role: {mixed}, or {prefill, decode}.
struct Pair {
  std::vector<const Column*> columns;
};

/// What an objective minimises of one machine.
[[nodiscard]] double PriceOf(const Column& column, Objective objective);
[[nodiscard]] double PriceOf(const Candidate& candidate, Objective objective);
/// Of two that cost the same, the one with more room under the objectives.
[[nodiscard]] bool Better(const Candidate& a, const Candidate& b, Objective objective);
[[nodiscard]] bool Within(const Candidate& candidate, const Budget& budget);
[[nodiscard]] int MostWithin(const Column& column, const Budget& budget);
/// `counts[i]` machines of `columns[i]`; nothing probed yet.
[[nodiscard]] Candidate MakeCandidate(const std::vector<const Column*>& columns,
                                      const std::vector<int>& counts, double rate);

/// The search in one pair. All methods evaluate in an order that depends on the arguments alone.
class PairSearch {
 public:
  PairSearch(const Pair& pair, const SearchOptions& options, Evaluations& evaluations)
      : pair_(pair), options_(options), evaluations_(evaluations) {}

  /// The cheapest feasible fleet whose price is at most `price_limit`.
  [[nodiscard]] std::optional<Candidate> Cheapest(double price_limit);
  /// The fleet with the smallest tightest ratio among those that spend the budget.
  [[nodiscard]] std::optional<Candidate> Fastest();
  /// The fleet with the highest feasible rate above `rate_to_beat`, to within 1 %.
  [[nodiscard]] std::optional<Candidate> HighestRate(double rate_to_beat);

 private:
  [[nodiscard]] Candidate Try(const std::vector<int>& counts, double rate);
  [[nodiscard]] bool Holds(int prefill, int decode);
  [[nodiscard]] int Guess(std::size_t column, double rate) const;
  /// Counts that hold, twice and twice again as many, up to what limit and budget allow of each type.
  [[nodiscard]] std::optional<std::vector<int>> Enough(double price_limit);
  [[nodiscard]] std::optional<Candidate> CheapestMixed(double price_limit);
  [[nodiscard]] std::optional<Candidate> CheapestSplit(double price_limit);
  [[nodiscard]] std::optional<Candidate> Walk(int prefill_least, int decode_least, int decode_most,
                                              double price_limit);
  /// Fleets that leave no room in the budget for another machine.
  [[nodiscard]] std::vector<std::vector<int>> Frontier() const;
  [[nodiscard]] std::size_t NearestToBalance(const std::vector<std::vector<int>>& frontier) const;
  [[nodiscard]] Candidate RaiseRate(const std::vector<int>& counts, Candidate held);

  const Pair& pair_;
  const SearchOptions& options_;
  Evaluations& evaluations_;
};

}  // namespace baton::simulator
