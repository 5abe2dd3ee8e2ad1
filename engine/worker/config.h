#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include <absl/status/statusor.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/net/connection.h"
#include "engine/schedule/batch_planner.h"
#include "engine/schedule/preemption.h"
#include "engine/worker/compute.h"
#include "kernels/backend.h"
#include "kvtransfer/handoff.h"

namespace baton::engine {

/// How this worker's energy is measured. What is 0 is not set.
struct PowerConfig {
  std::string sensor = "auto";  // nvml, rapl, off; auto: that of the backend's device, if it can be read
  double cap_watts = 0;
  double clock_mhz = 0;  // of a GPU
  Duration interval = std::chrono::milliseconds(250);
};

/// Where the times of steps are written, for `baton-sim calibrate`.
struct StepLogConfig {
  std::string file;  // "": nowhere
  std::uint64_t limit_bytes = std::uint64_t{64} << 20;
};

/// What prefill.yaml and decode.yaml say; deploy/examples explains each field.
struct WorkerConfig {
  std::string name;
  std::string model;       // Hugging Face directory
  std::string model_name;  // the id that clients ask for; the router's must be the same
  net::Address router{"127.0.0.1", 7000};
  std::string peer_host;  // the host that peers are told to dial
  net::Address metrics{"127.0.0.1", 0};
  std::string cluster_key_file;
  bool insecure_no_auth = false;
  DeviceConfig device;
  kernels::CpuOptions compute;  // of all ranks together
  int ranks = 1;                // tensor-parallel, on this machine
  int block_tokens = 16;        // of a KV block
  std::uint64_t kv_memory = 64U << 20;
  bool prefix_cache = true;         // prefill: keep the KV of prompts
  double prefix_cache_share = 0.9;  // of the KV memory, at most
  std::int64_t pin_hits = 4;        // prefill: prompts that must find a block before it is pinned; 0: none is
  double pin_share = 0.25;          // prefill: of the KV memory, at most
  std::uint64_t swap_memory = 64U << 20;  // decode: host memory for the KV of preempted sequences
  std::optional<Preemption> preemption;   // decode: leaves no choice by cost
  std::int64_t growth_blocks = 1;         // decode: that an answer has ahead of what it writes
  PlannerLimits batch;
  std::int64_t queue_requests = 256;
  kvtransfer::HandoffOptions transfer;
  bool other_classes = false;  // decode: takes KV of another numerics class, converted
  PowerConfig power;
  StepLogConfig steps;
  Duration drain_timeout = std::chrono::seconds(120);
  Duration engine_timeout = std::chrono::seconds(60);  // a step that takes longer: the engine hangs
  std::string ports_file;
  LogLevel log_level = LogLevel::kInfo;
};

/// What the worker is to compute.
[[nodiscard]] ComputeDemand Demand(const WorkerConfig& config);

/// Every error of the file, one a line, as "file:line:column: field: what".
[[nodiscard]] absl::StatusOr<WorkerConfig> ReadWorkerConfig(const std::string& path);

}  // namespace baton::engine
