#include "simulator/plan/evaluation.h"

#include <algorithm>
#include <map>
#include <utility>

#include "common/base/error.h"
#include "common/base/mutex.h"
#include "common/hardware/perf_model.h"
#include "common/hardware/table_model.h"

namespace baton::simulator {
namespace {

// The first part of a load, by which a hopeless fleet is known: it has less backlog than the whole, so what
// it misses by this factor the whole misses too.
constexpr double kShortShare = 0.25;
constexpr double kHopeless = 1.5;
constexpr std::size_t kShortLeast = 1000;  // requests: below, tail quantiles of the part say little

/// Loads by rate and seed. Any thread.
class Loads {
 public:
  explicit Loads(LoadMaker make) : make_(std::move(make)) {}

  absl::StatusOr<std::shared_ptr<const Workload>> Of(double rate, std::uint64_t seed) {
    const std::pair key(rate, seed);
    {
      const MutexLock lock(mutex_);
      if (const auto found = known_.find(key); found != known_.end()) return found->second;
    }
    BATON_ASSIGN_OR_RETURN(Workload made, make_(rate, seed));
    auto shared = std::make_shared<const Workload>(std::move(made));
    const MutexLock lock(mutex_);
    if (known_.size() > kMost) known_.clear();  // a search over rates needs each for a short time
    known_[key] = shared;
    return shared;
  }

 private:
  static constexpr std::size_t kMost = 64;
  LoadMaker make_;
  Mutex mutex_;  // guards known_
  std::map<std::pair<double, std::uint64_t>, std::shared_ptr<const Workload>> known_;
};

std::string DefaultPolicy(const FleetSpec& fleet) {
  const bool split = std::any_of(fleet.pools.begin(), fleet.pools.end(),
                                 [](const PoolSpec& pool) { return pool.role != PoolRole::kMixed; });
  return split ? "mixed-pool" : "token-jsq";
}

Workload FirstPart(const Workload& workload) {
  const auto count = static_cast<std::size_t>(static_cast<double>(workload.requests.size()) * kShortShare);
  return {.name = workload.name,
          .requests = {workload.requests.begin(),
                       workload.requests.begin() + static_cast<std::ptrdiff_t>(count)}};
}

/// Requests that arrive after the warm-up.
std::size_t CountedOf(const Workload& workload, double warm_up_s) {
  const auto first =
      std::partition_point(workload.requests.begin(), workload.requests.end(),
                           [&](const WorkloadRequest& request) { return request.arrival_s < warm_up_s; });
  return static_cast<std::size_t>(workload.requests.end() - first);
}

void Add(const SloVerdict& verdict, Probe& probe) {
  if (!verdict.met) probe.feasible = false;
  if (verdict.tightest > probe.tightest) {
    probe.tightest = verdict.tightest;
    probe.binding = verdict.binding;
  }
}

absl::StatusOr<Probe> Ask(const Experiment& experiment, Loads& loads, const FleetSpec& fleet, double rate) {
  Probe probe{.feasible = true};
  for (const std::uint64_t seed : experiment.seeds) {
    BATON_ASSIGN_OR_RETURN(const std::shared_ptr<const Workload> workload, loads.Of(rate, seed));
    if (const Workload first = FirstPart(*workload); CountedOf(first, experiment.warm_up_s) >= kShortLeast) {
      BATON_ASSIGN_OR_RETURN(const Figures part, RunOnce(experiment, fleet, first, {.seed = seed}));
      if (part.verdict.tightest > kHopeless) {
        Add(part.verdict, probe);
        return probe;
      }
    }
    BATON_ASSIGN_OR_RETURN(const Figures figures, RunOnce(experiment, fleet, *workload, {.seed = seed}));
    Add(figures.verdict, probe);
    if (figures.interrupted) probe.feasible = false;
    if (!probe.feasible) return probe;
  }
  return probe;
}

}  // namespace

absl::StatusOr<AloneModel> MakeAloneModel(const hardware::Catalogue& catalogue, Mode mode,
                                          const std::string& model, hardware::PerfKind kind) {
  if (mode == Mode::kSplitwise) {
    const hardware::TimeTable* table = catalogue.FindTable(model, kAloneMachine, 8);
    if (table == nullptr) {
      return Error(kNotFound, "model {}: no table of step times on {}; mode splitwise needs one", model,
                   kAloneMachine);
    }
    BATON_RETURN_IF_ERROR(hardware::CheckTable(*table));
    return AloneModel([times = hardware::ReferenceTimes(*table)](const WorkloadRequest& request) {
      const auto prompt = static_cast<double>(request.prompt_tokens);
      AloneTimes alone{.ttft_s = times.PromptSeconds(prompt), .tbt_s = times.TokenSeconds(prompt)};
      alone.e2e_s = alone.ttft_s + alone.tbt_s * static_cast<double>(request.output_tokens - 1);
      return alone;
    });
  }
  BATON_ASSIGN_OR_RETURN(
      std::shared_ptr<const hardware::PerfModel> perf,
      hardware::MakePerfModel(catalogue, {.model = model, .machine = kAloneMachine}, kind));
  return AloneModel([perf](const WorkloadRequest& request) {
    const hardware::PromptPiece prompt{.tokens = request.prompt_tokens};
    AloneTimes alone;
    alone.ttft_s = perf->Time({.prompts = {&prompt, 1}}).seconds;
    // Context grows by a token a step: the middle one stands for all.
    alone.tbt_s =
        perf->Time({.decodes = 1, .decode_context = request.prompt_tokens + request.output_tokens / 2})
            .seconds;
    alone.e2e_s = alone.ttft_s + alone.tbt_s * static_cast<double>(request.output_tokens - 1);
    return alone;
  });
}

std::function<RequestLimits(std::int64_t)> LimitsOf(const Slo& slo, const AloneModel& alone) {
  const auto tightest = [](const std::array<double, 3>& limits) {
    double least = 0;
    for (const double limit : limits) {
      if (limit > 0 && (least == 0 || limit < least)) least = limit;
    }
    return least;
  };
  const auto metric = [tightest](const SloTable& table, Metric which) {
    return tightest(table[static_cast<std::size_t>(which)]);
  };
  const auto least = [](double a, double b) { return a > 0 && b > 0 ? std::min(a, b) : std::max(a, b); };
  return [=](std::int64_t prompt) {
    RequestLimits limits{.ttft_s = metric(slo.seconds, Metric::kTtft),
                         .tbt_s = metric(slo.seconds, Metric::kTbt)};
    if (!alone) return limits;
    // How long the answer will be is not known, and hardly changes its time between tokens.
    const AloneTimes times = alone({.prompt_tokens = prompt, .output_tokens = 2});
    limits.ttft_s = least(limits.ttft_s, metric(slo.slowdown, Metric::kTtft) * times.ttft_s);
    limits.tbt_s = least(limits.tbt_s, metric(slo.slowdown, Metric::kTbt) * times.tbt_s);
    return limits;
  };
}

absl::StatusOr<Figures> RunOnce(const Experiment& experiment, const FleetSpec& fleet,
                                const Workload& workload, const RunWanted& wanted) {
  if (experiment.warm_up_s > 0 && CountedOf(workload, experiment.warm_up_s) == 0) {
    return Error(kInvalidArgument, "--warm-up: {}: nothing arrives after the first {} s", workload.name,
                 experiment.warm_up_s);
  }
  RunOptions options{.mode = experiment.mode,
                     .model = experiment.model,
                     .policy = experiment.policy.empty() ? DefaultPolicy(fleet) : experiment.policy,
                     .step_times = experiment.step_times,
                     .seed = wanted.seed,
                     .keep_timelines = wanted.timelines,
                     .native = experiment.native};
  if (!options.native.limits) options.native.limits = LimitsOf(experiment.slo, experiment.alone);
  options.native.prices.per_joule = hardware::EnergyDollars(1, experiment.tariff);
  options.events = experiment.events;
  options.repurpose_after_s = experiment.repurpose_after_s;
  if (experiment.keep_going || wanted.progress) {
    options.progress = [&](double share) {
      if (experiment.keep_going && !experiment.keep_going()) return false;
      return !wanted.progress || wanted.progress(share);
    };
  }
  BATON_ASSIGN_OR_RETURN(const FleetPrice price, PriceOf(*experiment.catalogue, fleet));
  BATON_ASSIGN_OR_RETURN(RunResult result, Run(*experiment.catalogue, fleet, workload, options));
  Figures figures =
      FiguresOf(price, workload, result, experiment.slo, experiment.alone, experiment.warm_up_s);
  figures.energy_dollars_per_hour = hardware::EnergyDollars(figures.mean_watts * 3600, experiment.tariff);
  if (wanted.result != nullptr) *wanted.result = std::move(result);
  return figures;
}

absl::StatusOr<HighestRate> FindHighestRate(const Evaluator& evaluate, const FleetSpec& fleet) {
  HighestRate highest;
  double low = 0;
  double high = 64;
  while (high < 1e5) {
    BATON_ASSIGN_OR_RETURN(const Probe probe, evaluate(fleet, high));
    if (!probe.feasible) {
      highest.above = probe;
      break;
    }
    low = high;
    high *= 2;
  }
  while (high - low > 0.01 * high && high > 0.1) {
    const double middle = (low + high) / 2;
    BATON_ASSIGN_OR_RETURN(const Probe probe, evaluate(fleet, middle));
    if (probe.feasible) {
      low = middle;
    } else {
      high = middle;
      highest.above = probe;
    }
  }
  highest.rate = low;
  return highest;
}

Evaluator MakeEvaluator(const Experiment& experiment) {
  auto loads = std::make_shared<Loads>(experiment.load);
  return [experiment, loads](const FleetSpec& fleet, double rate) {
    return Ask(experiment, *loads, fleet, rate);
  };
}

}  // namespace baton::simulator
