#include "simulator/run.h"

#include <map>
#include <utility>

#include <fmt/format.h>

#include "common/base/check.h"
#include "common/base/error.h"
#include "common/hardware/table_model.h"
#include "router/policy/pools.h"
#include "simulator/native_world.h"
#include "simulator/splitwise_world.h"
#include "simulator/stats.h"

namespace baton::simulator {
namespace {

constexpr std::string_view kPolicies =
    "random, round-robin, jsq, token-jsq, mixed-pool, split-random, split-round-robin, split-jsq, "
    "split-token-jsq, cost and pack";

router::MachineRole RoleOf(PoolRole role) {
  switch (role) {
    case PoolRole::kPrefill:
      return router::MachineRole::kPrompt;
    case PoolRole::kDecode:
      return router::MachineRole::kToken;
    case PoolRole::kMixed:
      return router::MachineRole::kWhole;
  }
  return router::MachineRole::kWhole;
}

/// A pool with what the catalogue has of it.
struct KnownPool {
  const PoolSpec* spec = nullptr;
  const hardware::Machine* machine = nullptr;
  const hardware::Device* device = nullptr;
  int tensor_parallel = 0;
  int instances = 0;  // of all its machines
};

absl::StatusOr<std::vector<KnownPool>> LookUp(const hardware::Catalogue& catalogue, const FleetSpec& fleet) {
  if (fleet.pools.empty()) return Error(kInvalidArgument, "fleet: it has no pools");
  std::vector<KnownPool> pools;
  for (const PoolSpec& spec : fleet.pools) {
    KnownPool pool;
    pool.spec = &spec;
    BATON_ASSIGN_OR_RETURN(pool.machine, catalogue.FindMachine(spec.machine));
    BATON_ASSIGN_OR_RETURN(pool.device, catalogue.FindDevice(pool.machine->device));
    if (spec.machines < 1) {
      return Error(kInvalidArgument, "pool of {}: {} machines, at least 1 wanted", spec.machine,
                   spec.machines);
    }
    pool.tensor_parallel = spec.tensor_parallel == 0 ? pool.machine->devices : spec.tensor_parallel;
    if (pool.tensor_parallel < 0 || pool.tensor_parallel > pool.machine->devices) {
      return Error(kInvalidArgument, "pool of {}: tensor parallel {}, the machine has {} devices",
                   spec.machine, spec.tensor_parallel, pool.machine->devices);
    }
    pool.instances = spec.machines * (pool.machine->devices / pool.tensor_parallel);
    pools.push_back(pool);
  }
  return pools;
}

/// Whether requests have where to go under the policy.
absl::Status CheckRoles(const FleetSpec& fleet, const std::string& policy) {
  bool whole = false;
  bool prompt = false;
  bool token = false;
  for (const PoolSpec& pool : fleet.pools) {
    whole |= pool.role == PoolRole::kMixed;
    prompt |= pool.role == PoolRole::kPrefill;
    token |= pool.role == PoolRole::kDecode;
  }
  const bool one_machine =
      policy == "random" || policy == "round-robin" || policy == "jsq" || policy == "token-jsq";
  if (one_machine && (prompt || token)) {
    return Error(kInvalidArgument,
                 "policy {}: it runs both phases of a request on one machine, the fleet has split pools",
                 policy);
  }
  if (!whole && !(prompt && token)) {
    return Error(kInvalidArgument, "fleet: prefill pools need decode pools, and the other way round");
  }
  return absl::OkStatus();
}

std::vector<std::string> NamesOf(const std::vector<KnownPool>& pools) {
  std::vector<std::string> names;
  std::map<std::string_view, int> count;
  for (const KnownPool& pool : pools) {
    const std::string_view role = NameOf(pool.spec->role);
    for (int i = 0; i < pool.instances; ++i) names.push_back(fmt::format("{}-{}", role, count[role]++));
  }
  return names;
}

absl::StatusOr<SplitwiseSetup> SplitwiseSetupOf(const hardware::Catalogue& catalogue,
                                                const std::vector<KnownPool>& pools,
                                                const std::string& model_name) {
  BATON_ASSIGN_OR_RETURN(const hardware::ModelShape* model, catalogue.FindModel(model_name));
  const double weights = hardware::ReferenceWeightBytes(*model);
  SplitwiseSetup setup;
  setup.kv_bytes_per_token = static_cast<std::int64_t>(model->ReferenceKvBytesPerToken());
  for (std::size_t i = 0; i < pools.size(); ++i) {
    const KnownPool& pool = pools[i];
    if (pool.spec->gpu_cap_w > 0) {
      return Error(kInvalidArgument,
                   "pool of {}: mode splitwise knows no other power cap than the machine's own",
                   pool.machine->name);
    }
    const hardware::TimeTable* table =
        catalogue.FindTable(model_name, pool.machine->name, pool.tensor_parallel);
    if (table == nullptr || table->tokens.size() < 2) {
      return Error(kNotFound,
                   "mode splitwise: the catalogue has no table of times for {} on {} with tensor parallel {}",
                   model_name, pool.machine->name, pool.tensor_parallel);
    }
    BATON_RETURN_IF_ERROR(hardware::CheckTable(*table));
    StepTable steps{table->tokens, table->prompt_ms, table->token_ms};
    for (double& time : steps.prompt_s) time /= 1000;
    for (double& time : steps.token_s) time /= 1000;
    setup.tables.push_back(std::move(steps));
    const auto memory = static_cast<std::int64_t>(pool.device->memory_bytes) * pool.tensor_parallel;
    if (static_cast<double>(memory) <= weights) {
      return Error(kInvalidArgument, "pool of {}: {} does not fit on {} devices", pool.machine->name,
                   model_name, pool.tensor_parallel);
    }
    for (int k = 0; k < pool.instances; ++k) {
      setup.machines.push_back({.role = RoleOf(pool.spec->role),
                                .pool = static_cast<std::int32_t>(i),
                                .table = static_cast<std::int32_t>(i),
                                .memory_bytes = memory,
                                .weight_bytes = static_cast<std::int64_t>(weights)});
    }
  }
  return setup;
}

absl::StatusOr<NativeSetup> NativeSetupOf(const hardware::Catalogue& catalogue,
                                          const std::vector<KnownPool>& pools, const RunOptions& options) {
  BATON_ASSIGN_OR_RETURN(const hardware::ModelShape* model, catalogue.FindModel(options.model));
  NativeSetup setup;
  setup.kv_bytes_per_token = model->KvBytesPerToken();
  setup.layers = model->layers;
  for (std::size_t i = 0; i < pools.size(); ++i) {
    const KnownPool& pool = pools[i];
    const double share = static_cast<double>(pool.tensor_parallel) / pool.machine->devices;
    NativeMachine machine;
    machine.role = RoleOf(pool.spec->role);
    machine.pool = static_cast<std::int32_t>(i);
    BATON_ASSIGN_OR_RETURN(std::unique_ptr<hardware::PerfModel> perf,
                           hardware::MakePerfModel(catalogue,
                                                   {.model = options.model,
                                                    .machine = pool.spec->machine,
                                                    .tensor_parallel = pool.tensor_parallel,
                                                    .gpu_cap_w = pool.spec->gpu_cap_w},
                                                   options.step_times));
    machine.perf = std::move(perf);
    const double memory = pool.device->memory_bytes * pool.tensor_parallel * options.native.memory_share;
    const double tokens = (memory - model->WeightBytes()) / setup.kv_bytes_per_token;
    machine.kv_blocks = static_cast<std::int64_t>(tokens) / options.native.block_tokens;
    if (machine.kv_blocks < 1) {
      return Error(kInvalidArgument, "pool of {}: {} does not fit on {} devices with room for KV",
                   pool.spec->machine, options.model, pool.tensor_parallel);
    }
    machine.nic_bandwidth = pool.device->nic_bandwidth * pool.tensor_parallel;
    machine.device = *pool.device;
    machine.machine = *pool.machine;
    machine.machine.devices = pool.tensor_parallel;
    if (options.native.park_after_s > 0 && share < 1) {
      return Error(kInvalidArgument,
                   "pool of {}: {} of {} devices make an instance; parking powers whole machines down",
                   pool.spec->machine, pool.tensor_parallel, pool.machine->devices);
    }
    machine.machine.base_w *= share;
    machine.machine.dollars_per_hour *= share;
    machine.gpu_cap_w = pool.spec->gpu_cap_w > 0 ? pool.spec->gpu_cap_w : pool.machine->gpu_cap_w;
    if (machine.nic_bandwidth <= 0) {
      return Error(kInvalidArgument, "pool of {}: device {} has no network bandwidth", pool.spec->machine,
                   pool.device->name);
    }
    for (int k = 0; k < pool.instances; ++k) setup.machines.push_back(machine);
  }
  return setup;
}

absl::Status CheckWorkload(const Workload& workload) {
  double previous = 0;
  for (const WorkloadRequest& request : workload.requests) {
    if (request.prompt_tokens < 1 || request.output_tokens < 1 || !(request.arrival_s >= previous)) {
      return Error(
          kInvalidArgument,
          "workload {}: request {}: prompt {}, output {}, arrival {}: tokens are at least 1, arrivals rise "
          "from 0",
          workload.name, request.id, request.prompt_tokens, request.output_tokens, request.arrival_s);
    }
    previous = request.arrival_s;
  }
  return absl::OkStatus();
}

}  // namespace

std::string_view NameOf(PoolRole role) {
  switch (role) {
    case PoolRole::kPrefill:
      return "prefill";
    case PoolRole::kDecode:
      return "decode";
    case PoolRole::kMixed:
      return "mixed";
  }
  return "";
}

absl::StatusOr<std::vector<std::string>> MachineNames(const hardware::Catalogue& catalogue,
                                                      const FleetSpec& fleet) {
  BATON_ASSIGN_OR_RETURN(const std::vector<KnownPool> pools, LookUp(catalogue, fleet));
  return NamesOf(pools);
}

absl::StatusOr<RunResult> Run(const hardware::Catalogue& catalogue, const FleetSpec& fleet,
                              const Workload& workload, const RunOptions& options) {
  BATON_RETURN_IF_ERROR(CheckWorkload(workload));
  BATON_ASSIGN_OR_RETURN(const std::vector<KnownPool> pools, LookUp(catalogue, fleet));
  BATON_RETURN_IF_ERROR(CheckRoles(fleet, options.policy));
  const router::PoolOptions pool_options{.back = options.mode == Mode::kSplitwise
                                                     ? router::PoolOptions::Return::kIdle
                                                     : router::PoolOptions::Return::kNoOppositeWork,
                                         .repurpose_after_s = options.repurpose_after_s};
  // These two are asked by the native world itself: what they weigh are predictions, not queues.
  const bool predicts = options.policy == "cost" || options.policy == "pack";
  if (predicts && options.mode != Mode::kNative) {
    return Error(kInvalidArgument,
                 "policy {}: it places by predictions of mode native, which mode splitwise does not make",
                 options.policy);
  }
  if (options.native.park_after_s > 0 && options.mode != Mode::kNative) {
    return Error(kInvalidArgument, "parking: mode splitwise has none, its machines stay on; use mode native");
  }
  const auto placer =
      router::MakePlacer(predicts ? "split-round-robin" : options.policy, options.seed, pool_options);
  if (placer == nullptr) {
    return Error(kInvalidArgument, "policy {}: not known; there are {}", options.policy, kPolicies);
  }
  RunResult result;
  if (options.mode == Mode::kSplitwise) {
    BATON_ASSIGN_OR_RETURN(const SplitwiseSetup setup, SplitwiseSetupOf(catalogue, pools, options.model));
    result = RunSplitwise(setup, workload, *placer, options);
    for (MachineUse& use : result.machines) use.powered_s = result.span_s;
  } else {
    BATON_ASSIGN_OR_RETURN(const NativeSetup setup, NativeSetupOf(catalogue, pools, options));
    result = RunNative(setup, workload, *placer, options);
  }
  std::vector<std::string> names = NamesOf(pools);
  BATON_CHECK(names.size() == result.machines.size());
  for (std::size_t i = 0; i < names.size(); ++i) result.machines[i].name = std::move(names[i]);
  result.backlog_grows = BacklogGrows(workload, result);
  return result;
}

}  // namespace baton::simulator
