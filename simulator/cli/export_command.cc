#include <array>
#include <bit>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include "common/base/error.h"
#include "simulator/cli/command.h"
#include "simulator/cli/world_options.h"
#include "simulator/trace/trace_file.h"

namespace baton::simulator::cli {
namespace {

constexpr int kWorkersMost = 10'000;
constexpr int kRanksMost = 8;  // of a worker's `compute.ranks`

struct ExportOptions {
  std::string fleet;
  std::string folder = "baton-deploy";
  std::string model = "/srv/models/model";
  std::string router = "router.example:7000";
  std::string key = "/etc/baton/cluster.key";
  std::vector<std::string> catalogues;
  std::string kv_memory = "64GiB";
};

std::string RouterYaml(const ExportOptions& options) {
  return fmt::format(
      "# Written by baton-sim export. All fields: deploy/examples/router.yaml.\n"
      "model: {}\n"
      "http:\n"
      "  listen: \"0.0.0.0:8080\"\n"
      "control:\n"
      "  listen: \"0.0.0.0:{}\"\n"
      "metrics:\n"
      "  listen: \"0.0.0.0:9100\"\n"
      "cluster_key_file: {}\n",
      options.model, options.router.substr(options.router.rfind(':') + 1), options.key);
}

std::string WorkerYaml(const ExportOptions& options, const std::string& name, int ranks) {
  return fmt::format(
      "# Written by baton-sim export. All fields: deploy/examples.\n"
      "name: {}\n"
      "model: {}\n"
      "router: \"{}\"\n"
      "peer:\n"
      "  listen: \"0.0.0.0:7400\"\n"
      "  advertise: \"{}\"\n"
      "metrics:\n"
      "  listen: \"0.0.0.0:9101\"\n"
      "cluster_key_file: {}\n"
      "compute:\n"
      "  device: 0\n"
      "  ranks: {}\n"
      "kv:\n"
      "  memory: {}\n"
      "batch:\n"
      "  tokens: 2048\n"
      "  sequences: 256\n",
      name, options.model, options.router, name, options.key, ranks, options.kv_memory);
}

std::string DropIn(const std::string& program, const std::string& config, const PoolSpec& pool) {
  std::string text =
      fmt::format("# Written by baton-sim export, for a {}.\n[Service]\nExecStart=\n", pool.machine);
  if (pool.gpu_cap_w > 0) {
    text += fmt::format("ExecStartPre=+/usr/bin/nvidia-smi --power-limit={:.0f}\n", pool.gpu_cap_w);
  }
  return text + fmt::format("ExecStart=/usr/bin/{} --config /etc/baton/{}\n", program, config);
}

/// GPUs of each worker, which has a machine for itself.
absl::StatusOr<int> RanksOf(const PoolSpec& pool, const hardware::Machine& machine) {
  const int ranks = pool.tensor_parallel > 0 ? pool.tensor_parallel : machine.devices;
  const std::string text = FormatFleet({.pools = {pool}});
  if (ranks > machine.devices) {
    return Error(kInvalidArgument, "{}: {} GPUs an instance, a {} has {}", text, ranks, machine.name,
                 machine.devices);
  }
  if (ranks > kRanksMost || !std::has_single_bit(static_cast<unsigned>(ranks))) {
    return Error(kInvalidArgument, "{}: {} GPUs an instance; a worker has 1, 2, 4 or 8 ranks", text, ranks);
  }
  if (machine.devices / ranks > 1) {
    return Error(
        kInvalidArgument,
        "{}: {} instances share a machine, where the services of one role have one name; export wants "
        "instances of all {} GPUs, or a machine of {} in --catalogue",
        text, machine.devices / ranks, machine.devices, ranks);
  }
  return ranks;
}

int Export(const ExportOptions& options) {
  const auto fleet = ReadFleet(options.fleet);
  if (!fleet.ok()) return Fail(fleet.status());
  const auto catalogue = LoadCatalogue(options.catalogues);
  if (!catalogue.ok()) return Fail(catalogue.status());
  if (options.router.rfind(':') == std::string::npos) {
    return Fail(Error(kInvalidArgument, "--router: '{}': want HOST:PORT", options.router));
  }
  std::vector<std::pair<std::string, std::string>> files{{"router.yaml", RouterYaml(options)}};
  int workers = 0;
  std::array<int, 2> next{};
  for (const PoolSpec& pool : fleet->fleet.pools) {
    const auto machine = (*catalogue)->FindMachine(pool.machine);
    if (!machine.ok()) return Fail(machine.status());
    if (pool.role == PoolRole::kMixed) {
      return Fail(Error(kInvalidArgument,
                        "{}: Baton has no worker that does both phases; export wants prefill and decode",
                        FormatFleet(fleet->fleet)));
    }
    const auto ranks = RanksOf(pool, **machine);
    if (!ranks.ok()) return Fail(ranks.status());
    workers += pool.machines;
    if (workers > kWorkersMost) return Fail(Error(kInvalidArgument, "more than {} workers", kWorkersMost));
    PoolSpec capped = pool;
    if (capped.gpu_cap_w == 0) capped.gpu_cap_w = (*machine)->gpu_cap_w;
    const bool prefill = pool.role == PoolRole::kPrefill;
    const std::string program = prefill ? "baton-prefill" : "baton-decode";
    for (int i = 0; i < pool.machines; ++i) {
      const std::string name = fmt::format("{}-{}", NameOf(pool.role), next[prefill ? 0 : 1]++);
      files.emplace_back(name + ".yaml", WorkerYaml(options, name, *ranks));
      files.emplace_back(fmt::format("systemd/{}/{}.service.d/10-fleet.conf", name, program),
                         DropIn(program, name + ".yaml", capped));
    }
  }
  for (const auto& [name, text] : files) {
    const std::filesystem::path path = std::filesystem::path(options.folder) / name;
    std::error_code problem;
    std::filesystem::create_directories(path.parent_path(), problem);
    if (problem)
      return Fail(Error(kInvalidArgument, "{}: {}", path.parent_path().string(), problem.message()));
    if (const absl::Status written = WriteText(path.string(), text); !written.ok()) return Fail(written);
  }
  fmt::print("{} files for {} workers and a router in {}\n", files.size(), workers, options.folder);
  return kOk;
}

}  // namespace

void AddExport(CLI::App& app, int& exit_code) {
  auto* exports = app.add_subcommand(
      "export", "A fleet as configuration files of router and workers, and systemd drop-ins");
  auto options = std::make_shared<ExportOptions>();
  exports
      ->add_option("--fleet", options->fleet,
                   "As of simulate, of prefill and decode pools whose instances have a machine each")
      ->required();
  exports->add_option("--out", options->folder, "Folder")->capture_default_str();
  exports->add_option("--model", options->model, "Where the checkpoint lies on every machine")
      ->capture_default_str();
  exports->add_option("--router", options->router, "HOST:PORT that workers dial")->capture_default_str();
  exports->add_option("--key", options->key, "The cluster's key on every machine")->capture_default_str();
  exports->add_option("--kv-memory", options->kv_memory, "The KV arena of a worker")->capture_default_str();
  AddCatalogueOption(*exports, options->catalogues, "YAML file with machines of yours");
  exports->footer(
      "Example: baton-sim export --fleet prefill=12xdgx-h100,decode=15xdgx-a100 --out deploy-conv");
  RunsAs(*exports, exit_code, [=] { return Export(*options); });
}

}  // namespace baton::simulator::cli
