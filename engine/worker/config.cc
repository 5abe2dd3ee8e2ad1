#include "engine/worker/config.h"

#include <bit>
#include <filesystem>
#include <utility>

#include "common/base/error.h"
#include "common/config/reader.h"

namespace baton::engine {
namespace {

using config::Section;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr auto kRequired = Section::Need::kRequired;

void ReadAddress(const Section& section, std::string_view key, net::Address& out,
                 Section::Need need = Section::Need::kOptional) {
  std::string text;
  section.String(key, text, need);
  if (text.empty()) return;
  absl::StatusOr<net::Address> address = net::Address::Parse(text);
  if (!address.ok()) return section.Problem(key, Message(address.status()));
  out = *std::move(address);
}

void ReadCompute(const Section& compute, kernels::CpuOptions& out) {
  std::string name = "bf16";
  compute.Choice("class", name, {"f32", "bf16", "int8", "fp8"});
  using kernels::ComputeClass;
  for (const auto one : {ComputeClass::kF32, ComputeClass::kBF16, ComputeClass::kInt8, ComputeClass::kFp8}) {
    if (name == kernels::Name(one)) out.compute = one;
  }
  compute.Integer("threads", out.threads, 0, 1024);
  std::vector<std::string> cores;
  compute.StringList("cores", cores);
  for (const std::string& some : cores) {
    const auto parsed = kernels::ParseCoreList(some);
    if (!parsed.ok()) {
      compute.Problem("cores", Message(parsed.status()));
      continue;
    }
    out.cores.insert(out.cores.end(), parsed->begin(), parsed->end());
  }
  compute.Integer("numa_node", out.numa_node, -1, 1023);
  compute.Choice("instruction_set", out.instruction_set,
                 {"auto", "amx", "avx512bf16", "avx512", "avx2", "portable"});
}

void ReadDevice(const Section& compute, DeviceConfig& out) {
  std::string backend = "auto";
  compute.Choice("backend", backend, {"auto", "cpu", "cuda"});
  if (backend == "cpu") out.backend = BackendChoice::kCpu;
  if (backend == "cuda") out.backend = BackendChoice::kCuda;
  compute.Integer("device", out.device, 0, 255);
  compute.Boolean("invariant", out.invariant);
  compute.Boolean("graphs", out.graphs);
}

void ReadRanks(const Section& compute, const std::vector<int>& cores, int& out) {
  compute.Integer("ranks", out, 1, kernels::kReductionSegments);
  if (!std::has_single_bit(static_cast<unsigned>(out))) {
    compute.Problem("ranks", "must be 1, 2, 4 or 8");
  } else if (std::ssize(cores) % out != 0) {
    compute.Problem("ranks",
                    fmt::format("{} cores cannot be shared out evenly among {} ranks", cores.size(), out));
  }
}

void ReadKvForm(const Section& kv, WorkerConfig& out) {
  kv.Integer("block_tokens", out.block_tokens, 16, 1024);
  if (out.block_tokens % 16 != 0) kv.Problem("block_tokens", "must be a multiple of 16");
  std::string dtype = "auto";
  kv.Choice("dtype", dtype, {"auto", "f32", "bf16"});
  if (dtype == "f32") out.compute.kv = kernels::DType::kF32;
  if (dtype == "bf16") out.compute.kv = kernels::DType::kBF16;
}

void ReadKv(const Section& kv, WorkerConfig& out) {
  ReadKvForm(kv, out);
  kv.Bytes("memory", out.kv_memory, 4096, std::uint64_t{1} << 50);
  kv.Boolean("prefix_cache", out.prefix_cache);
  kv.Number("prefix_cache_share", out.prefix_cache_share, 0, 1);
  const Section pins = kv.Sub("pinned_prefixes");
  pins.Integer("hits", out.pin_hits, 0, 1'000'000'000);
  pins.Number("share", out.pin_share, 0, 1);
  kv.Bytes("swap", out.swap_memory, 0, std::uint64_t{1} << 50);
  kv.Integer("growth", out.growth_blocks, 0, 1024);
  std::string preemption = "auto";
  kv.Choice("preemption", preemption, {"auto", "swap", "recompute"});
  if (preemption == "swap") out.preemption = Preemption::kSwap;
  if (preemption == "recompute") out.preemption = Preemption::kRecompute;
}

void ReadBatch(const Section& batch, PlannerLimits& out) {
  batch.Integer("tokens", out.batch_tokens, 1, 65536);
  batch.Integer("sequences", out.batch_sequences, 1, 4096);
  batch.Integer("prefill_chunk", out.prefill_chunk_tokens, 1, 65536);
}

void ReadTransfer(const Section& transfer, kvtransfer::HandoffOptions& out) {
  transfer.Choice("transport", out.transport, {"ucx", "loopback"});
  transfer.String("net_device", out.net_device);
  transfer.String("tls", out.tls);
  transfer.Boolean("checksum", out.checksum);
  transfer.String("cluster_id", out.cluster_id);
  transfer.Bytes("credit", out.credit_bytes, out.credit_bytes_least, std::uint64_t{1} << 40);
  transfer.Bytes("staging", out.staging_bytes, 1U << 20, std::uint64_t{1} << 40);
  std::string wire = "auto";
  transfer.Choice("wire", wire, {"auto", "int8"});
  out.wire_int8 = wire == "int8";
  transfer.Bytes("layer_wise_min", out.layer_wise_bytes_min, 0, std::uint64_t{1} << 40);
  std::int64_t live = static_cast<std::int64_t>(out.transfers_max);
  transfer.Integer("live_max", live, 1, 1'000'000);
  out.transfers_max = static_cast<std::size_t>(live);
  transfer.Duration("ping_interval", out.ping_interval, milliseconds(50), seconds(60));
  transfer.Integer("pings_missed", out.pings_missed_max, 1, 100);
  transfer.Duration("lease", out.lease, milliseconds(500), std::chrono::minutes(10));
  if (out.lease < 2 * out.ping_interval) {
    // A PING renews it: one that is late must not end the grant.
    transfer.Problem("lease", "must be at least twice transfer.ping_interval, whose pings renew it");
  }
  transfer.Duration("deadline", out.transfer_deadline, milliseconds(500), std::chrono::hours(1));
  transfer.Duration("drain_deadline", out.drain_deadline, milliseconds(50), std::chrono::minutes(1));
}

void ReadPower(const Section& power, PowerConfig& out) {
  power.Choice("sensor", out.sensor, {"auto", "nvml", "rapl", "off"});
  power.Number("cap_watts", out.cap_watts, 0, 100'000);
  power.Number("clock_mhz", out.clock_mhz, 0, 100'000);
  power.Duration("interval", out.interval, milliseconds(20), seconds(60));
  if (out.sensor == "off" && (out.cap_watts > 0 || out.clock_mhz > 0))
    power.Problem("sensor", "a cap or a clock is set through a sensor; off has none");
}

void ReadTelemetry(const Section& telemetry, StepLogConfig& out) {
  telemetry.String("steps_file", out.file);
  telemetry.Bytes("limit", out.limit_bytes, 4096, std::uint64_t{1} << 40);
}

void ReadLogLevel(const Section& root, WorkerConfig& out) {
  std::string level = "info";
  root.Choice("log_level", level, {"debug", "info", "warning", "error"});
  if (level == "debug") out.log_level = LogLevel::kDebug;
  if (level == "warning") out.log_level = LogLevel::kWarning;
  if (level == "error") out.log_level = LogLevel::kError;
}

bool IsAnyHost(const std::string& host) {
  return host == "0.0.0.0" || host == "::";
}

void ReadNetwork(const Section& root, WorkerConfig& out) {
  ReadAddress(root, "router", out.router, kRequired);
  const Section peer = root.Sub("peer");
  out.transfer.listen = {"127.0.0.1", 0};
  ReadAddress(peer, "listen", out.transfer.listen);
  out.peer_host = out.transfer.listen.host;
  peer.String("advertise", out.peer_host);
  if (IsAnyHost(out.peer_host)) {
    peer.Problem("advertise",
                 fmt::format("'{}' is every address of this machine, and nobody else can dial it; "
                             "name the host that peers are to dial",
                             out.peer_host));
  }
  ReadAddress(root.Sub("metrics"), "listen", out.metrics);
  root.String("cluster_key_file", out.cluster_key_file);
  root.Boolean("insecure_no_auth", out.insecure_no_auth);
  if (out.cluster_key_file.empty() && !out.insecure_no_auth && !out.transfer.listen.IsLoopback()) {
    root.Problem("peer",
                 "listens beyond loopback without cluster_key_file; name one, or set insecure_no_auth: true");
  }
}

}  // namespace

ComputeDemand Demand(const WorkerConfig& config) {
  return {.cpu = config.compute, .ranks = config.ranks, .block_tokens = config.block_tokens};
}

absl::StatusOr<WorkerConfig> ReadWorkerConfig(const std::string& path) {
  BATON_ASSIGN_OR_RETURN(config::Document document, config::Document::Open(path));
  const Section root = document.Root();
  WorkerConfig out;
  root.String("name", out.name, kRequired);
  root.String("model", out.model, kRequired);
  root.String("model_name", out.model_name);
  if (out.model_name.empty()) {
    const std::filesystem::path model(out.model);
    out.model_name = (model.has_filename() ? model : model.parent_path()).filename().string();
  }
  ReadNetwork(root, out);
  const Section compute = root.Sub("compute");
  ReadDevice(compute, out.device);
  ReadCompute(compute, out.compute);
  ReadRanks(compute, out.compute.cores, out.ranks);
  ReadKv(root.Sub("kv"), out);
  ReadBatch(root.Sub("batch"), out.batch);
  root.Sub("queue").Integer("requests", out.queue_requests, 1, 1'000'000);
  const Section transfer = root.Sub("transfer");
  ReadTransfer(transfer, out.transfer);
  transfer.Boolean("other_classes", out.other_classes);
  ReadPower(root.Sub("power"), out.power);
  ReadTelemetry(root.Sub("telemetry"), out.steps);
  root.Duration("drain_timeout", out.drain_timeout, seconds(0), std::chrono::hours(24));
  root.Duration("engine_timeout", out.engine_timeout, milliseconds(100), std::chrono::hours(1));
  root.String("ports_file", out.ports_file);
  ReadLogLevel(root, out);
  BATON_RETURN_IF_ERROR(document.Finish());
  return out;
}

}  // namespace baton::engine
