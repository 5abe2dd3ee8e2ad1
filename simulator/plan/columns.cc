#include <algorithm>
#include <cmath>
#include <optional>

#include "common/base/error.h"
#include "common/hardware/perf_model.h"
#include "common/hardware/table_model.h"
#include "simulator/plan/evaluation.h"
#include "simulator/stats.h"

namespace baton::simulator {
namespace {

constexpr std::size_t kSample = 2000;     // requests looked at
constexpr std::int64_t kBatchMost = 512;  // sequences
constexpr double kBatchPrompts = 2048;    // tokens of a prompt batch, from where longer ones gain nothing
constexpr double kKvShare = 0.9;          // of the memory that weights leave
constexpr double kMixedShare = 0.75;      // of what two phases would give apart: they disturb each other
constexpr int kServersMost = 20'000;

/// The tightest limit on one quantile of one metric, in seconds; infinite where there is none.
double LimitOf(const Slo& slo, Metric metric, std::size_t quantile, double alone_s) {
  const auto m = static_cast<std::size_t>(metric);
  double limit = INFINITY;
  if (slo.seconds[m][quantile] > 0) limit = slo.seconds[m][quantile];
  if (slo.slowdown[m][quantile] > 0 && alone_s > 0)
    limit = std::min(limit, slo.slowdown[m][quantile] * alone_s);
  return limit;
}

/// What the load asks of a machine.
struct Demand {
  std::vector<std::int64_t> prompts;
  double context_mean = 0;  // of a decoding sequence, in the middle of its answer
  double output_mean = 0;
  double gap_cv2 = 1;
  double ttft_p99_limit_s = INFINITY;
  double tbt_limit_s = INFINITY;
};

Demand DemandOf(const Experiment& experiment, const Workload& sample) {
  Demand demand;
  std::vector<double> ttft;
  std::vector<double> tbt;
  double gap = 0;
  double gap2 = 0;
  const std::size_t count = std::min(sample.requests.size(), kSample);
  for (std::size_t i = 0; i < count; ++i) {
    const WorkloadRequest& request = sample.requests[i];
    demand.prompts.push_back(request.prompt_tokens);
    demand.output_mean += static_cast<double>(request.output_tokens);
    // A long answer occupies its place for longer: contexts are weighted by answers.
    demand.context_mean += static_cast<double>(request.output_tokens) *
                           static_cast<double>(request.prompt_tokens + request.output_tokens / 2);
    if (experiment.alone) {
      const AloneTimes alone = experiment.alone(request);
      ttft.push_back(alone.ttft_s);
      tbt.push_back(alone.tbt_s);
    }
    if (i > 0) {
      const double between = request.arrival_s - sample.requests[i - 1].arrival_s;
      gap += between;
      gap2 += between * between;
    }
  }
  demand.context_mean /= std::max(demand.output_mean, 1.0);
  demand.output_mean /= static_cast<double>(std::max<std::size_t>(count, 1));
  const double gaps = static_cast<double>(std::max<std::size_t>(count, 2) - 1);
  if (gap > 0) demand.gap_cv2 = std::max(0.1, gap2 * gaps / (gap * gap) - 1);
  if (ttft.empty()) ttft = tbt = {0};
  demand.ttft_p99_limit_s = LimitOf(experiment.slo, Metric::kTtft, 2, QuantileOf(ttft, 0.99));
  for (std::size_t quantile = 0; quantile < 2; ++quantile) {
    demand.tbt_limit_s = std::min(demand.tbt_limit_s, LimitOf(experiment.slo, Metric::kTbt, quantile,
                                                              QuantileOf(tbt, kSloQuantiles[quantile])));
  }
  return demand;
}

double PrefillCapacity(const hardware::PerfModel& perf, const Demand& demand, double rate) {
  double sum = 0;
  double squares = 0;
  std::vector<double> services;
  for (const std::int64_t tokens : demand.prompts) {
    const hardware::PromptPiece piece{.tokens = tokens};
    double seconds = perf.Time({.prompts = {&piece, 1}}).seconds;
    if (const auto size = static_cast<double>(tokens); size < kBatchPrompts) {
      // Short prompts share batches under load; what a full batch spends on this one's tokens.
      const hardware::PromptPiece full{.tokens = static_cast<std::int64_t>(kBatchPrompts)};
      seconds = std::min(seconds,
                         perf.Time({.prompts = {&full, 1}}).seconds * std::max(size / kBatchPrompts, 0.25));
    }
    services.push_back(seconds);
    sum += seconds;
    squares += seconds * seconds;
  }
  const auto count = static_cast<double>(services.size());
  const double mean = sum / count;
  const double slack = demand.ttft_p99_limit_s - QuantileOf(services, 0.99);
  const int servers = ServersFor({.rate = rate,
                                  .service_s = mean,
                                  .gap_cv2 = demand.gap_cv2,
                                  .service_cv2 = std::max(0.0, squares * count / (sum * sum) - 1),
                                  .wait_limit_s = slack > 0 ? slack : mean});
  return rate / servers;
}

double DecodeCapacity(const hardware::PerfModel& perf, const Demand& demand, double kv_tokens) {
  const auto step = [&](std::int64_t batch) {
    const double context = demand.context_mean * static_cast<double>(batch);
    return perf.Time({.decodes = batch, .decode_context = static_cast<std::int64_t>(context)}).seconds;
  };
  const double fits = kv_tokens / std::max(demand.context_mean, 1.0);
  std::int64_t low = 1;
  auto high = static_cast<std::int64_t>(std::clamp(fits, 1.0, static_cast<double>(kBatchMost)));
  while (low < high) {
    const std::int64_t middle = (low + high + 1) / 2;
    if (step(middle) <= demand.tbt_limit_s) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return static_cast<double>(low) * 0.9 / (std::max(demand.output_mean, 1.0) * step(low));
}

/// Tokens of KV state that a machine holds, or nothing where the weights alone do not fit.
std::optional<double> KvTokens(const hardware::ModelShape& model, const hardware::Device& device, int devices,
                               Mode mode) {
  const double memory = device.memory_bytes * devices;
  if (mode == Mode::kSplitwise) {
    const double left = memory - hardware::ReferenceWeightBytes(model);
    return left > 0 ? std::optional(left / model.ReferenceKvBytesPerToken()) : std::nullopt;
  }
  const double left = memory * kKvShare - model.WeightBytes();
  return left > 0 ? std::optional(left / model.KvBytesPerToken()) : std::nullopt;
}

}  // namespace

int ServersFor(const QueueSpec& queue) {
  const double offered = queue.rate * queue.service_s;
  const double variation = std::max((queue.gap_cv2 + queue.service_cv2) / 2, 1e-3);
  double blocking = 1;  // Erlang's B, built up server by server
  for (int servers = 1; servers < kServersMost; ++servers) {
    blocking = offered * blocking / (servers + offered * blocking);
    const double load = offered / servers;
    if (load >= 1) continue;
    const double waits = blocking / (1 - load * (1 - blocking));  // Erlang's C
    const double rate_out = (servers / queue.service_s - queue.rate) / variation;
    if (waits * std::exp(-rate_out * queue.wait_limit_s) <= 0.01) return servers;
  }
  return kServersMost;
}

absl::StatusOr<std::vector<Column>> AnalyseColumns(const Experiment& experiment,
                                                   const std::vector<std::string>& machines,
                                                   const Workload& sample, double rate,
                                                   std::vector<std::string>& skipped) {
  const hardware::Catalogue& catalogue = *experiment.catalogue;
  BATON_ASSIGN_OR_RETURN(const hardware::ModelShape* model, catalogue.FindModel(experiment.model));
  const Demand demand = DemandOf(experiment, sample);
  if (demand.prompts.empty()) return Error(kInvalidArgument, "the load has no requests");
  std::vector<Column> columns;
  for (const std::string& name : machines) {
    BATON_ASSIGN_OR_RETURN(const FleetSpec one, ParseFleet("mixed=1x" + name));
    if (one.pools.size() != 1) return Error(kInvalidArgument, "machine '{}': one type each", name);
    const PoolSpec& pool = one.pools[0];
    BATON_ASSIGN_OR_RETURN(const hardware::Machine* machine, catalogue.FindMachine(pool.machine));
    BATON_ASSIGN_OR_RETURN(const hardware::Device* device, catalogue.FindDevice(machine->device));
    BATON_ASSIGN_OR_RETURN(const FleetPrice price, PriceOf(catalogue, one));
    const int degree = pool.tensor_parallel > 0 ? pool.tensor_parallel : machine->devices;
    const auto kv_tokens = KvTokens(*model, *device, degree, experiment.mode);
    if (!kv_tokens) {
      skipped.push_back(fmt::format("{}: {} does not fit into its memory", name, experiment.model));
      continue;
    }
    const auto perf = hardware::MakePerfModel(
        catalogue,
        {.model = experiment.model,
         .machine = pool.machine,
         .tensor_parallel = degree,
         .gpu_cap_w = pool.gpu_cap_w},
        experiment.mode == Mode::kSplitwise ? hardware::PerfKind::kReference : experiment.step_times);
    if (!perf.ok()) {
      skipped.push_back(fmt::format("{}: {}", name, Message(perf.status())));
      continue;
    }
    const int instances = machine->devices / degree;
    const double prefill = instances * PrefillCapacity(**perf, demand, rate);
    const double decode = instances * DecodeCapacity(**perf, demand, *kv_tokens);
    const auto add = [&](PoolRole role, double capacity) {
      columns.push_back({.role = role,
                         .machine = pool.machine,
                         .tensor_parallel = pool.tensor_parallel,
                         .gpu_cap_w = pool.gpu_cap_w,
                         .capacity = capacity,
                         .dollars_per_hour = price.dollars_per_hour,
                         .watts = price.watts});
    };
    add(PoolRole::kPrefill, prefill);
    add(PoolRole::kDecode, decode);
    add(PoolRole::kMixed, kMixedShare / (1 / prefill + 1 / decode));
  }
  return columns;
}

}  // namespace baton::simulator
