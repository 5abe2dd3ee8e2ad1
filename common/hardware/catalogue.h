#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "common/hardware/calibration.h"

/// Devices, machines and models that one can buy and serve, with prices: data, in YAML, that users extend.
namespace baton::hardware {

/// Shape of a decoder; what its bytes and operations follow from.
struct ModelShape {
  std::string name;
  int layers = 0;
  int hidden = 0;
  int heads = 0;
  int kv_heads = 0;
  int head_dim = 0;
  int intermediate = 0;
  int vocabulary = 0;
  int mlp_matrices = 3;  // 2 where the feed-forward part has no gate
  bool tied_embeddings = false;
  int experts = 0;                    // 0: dense
  int experts_used = 0;               // of each token
  double weight_bytes = 2;            // of one weight
  double kv_bytes = 2;                // of one number of the KV state
  double reference_weight_bytes = 0;  // all, as the paper's simulator counts them; 0: it has no such model

  [[nodiscard]] double Parameters() const;        // all
  [[nodiscard]] double ActiveParameters() const;  // that one token touches
  [[nodiscard]] double KvBytesPerToken() const;   // all layers, K and V
  [[nodiscard]] double WeightBytes() const;       // all
  /// What the paper's simulator takes: as if every head had K and V of its own, at two bytes.
  [[nodiscard]] double ReferenceKvBytesPerToken() const;
};

/// Operator-level efficiency of a roofline, between 0 and 1 of the peaks.
struct Efficiency {
  double gemm_compute = 0.75;
  double gemm_memory = 0.8;
  double attention_compute = 0.5;
  double kv_memory = 0.7;
  double overhead_us = 4;  // of one kernel
  double smooth = 2;       // exponent of the smooth maximum of compute and memory time
};

/// watts / TDP = min(1, p0 + p_b u_bw + p_f u_flop).
struct PowerCoefficients {
  double p0 = 0.3;
  double per_bandwidth = 0.5;
  double per_flops = 1.6;
  std::string quality = "guess";  // "fitted", "anchored", "guess"
};

struct Device {
  std::string name;
  double memory_bytes = 0;
  double bandwidth = 0;   // bytes/s
  double bf16_flops = 0;  // dense, per second
  double fp8_flops = 0;   // 0: has none
  double tdp_w = 0;
  double idle_w = 0;
  double nvlink_bandwidth = 0;  // bytes/s each direction
  double pcie_bandwidth = 0;
  double nic_bandwidth = 0;
  double allreduce_alpha_us = 5;
  double allreduce_efficiency = 0.6;
  double dollars_per_hour = 0;  // typical; 0: unknown
  Efficiency efficiency;
  PowerCoefficients power;
};

/// A server with equal devices.
struct Machine {
  std::string name;
  std::string device;
  int devices = 8;
  double base_w = 0;            // all but the devices, at any load
  double rated_w = 0;           // what a rack reserves for it
  double dollars_per_hour = 0;  // 0: devices times theirs
  double gpu_cap_w = 0;         // 0: none
  double parked_w = 100;        // powered down, ready to be woken
  double wake_s = 180;          // from there to the first step: boot, and the weights from its own disk
  double cost_weight = 0;       // of the paper's tables; 0: none
  double power_weight = 0;
};

/// Knots of a piecewise linear table (the paper's performance model): milliseconds over tokens.
struct TimeTable {
  std::string model;
  std::string machine;
  int tensor_parallel = 8;
  std::vector<double> tokens;
  std::vector<double> prompt_ms;
  std::vector<double> token_ms;
};

/// Immutable once made; any thread may read it.
class Catalogue {
 public:
  /// What is built in.
  [[nodiscard]] static const Catalogue& BuiltIn();
  /// `base` with the entries of a YAML file added or replaced; errors with file, line and field.
  [[nodiscard]] static absl::StatusOr<Catalogue> Load(const std::string& path,
                                                      const Catalogue& base = BuiltIn());
  /// The same from text, on top of the built-in one; `name` stands for the file in errors.
  [[nodiscard]] static absl::StatusOr<Catalogue> FromText(std::string_view text, const std::string& name);

  [[nodiscard]] absl::StatusOr<const Device*> FindDevice(std::string_view name) const;
  [[nodiscard]] absl::StatusOr<const Machine*> FindMachine(std::string_view name) const;
  [[nodiscard]] absl::StatusOr<const ModelShape*> FindModel(std::string_view name) const;
  /// Null where there is none.
  [[nodiscard]] const TimeTable* FindTable(std::string_view model, std::string_view machine,
                                           int tensor_parallel) const;
  [[nodiscard]] const Calibration* FindCalibration(std::string_view model, std::string_view device,
                                                   int tensor_parallel) const;

  [[nodiscard]] const std::map<std::string, Device, std::less<>>& Devices() const { return devices_; }
  [[nodiscard]] const std::map<std::string, Machine, std::less<>>& Machines() const { return machines_; }
  [[nodiscard]] const std::map<std::string, ModelShape, std::less<>>& Models() const { return models_; }
  [[nodiscard]] const std::vector<TimeTable>& Tables() const { return tables_; }
  [[nodiscard]] const std::vector<Calibration>& Calibrations() const { return calibrations_; }

  void Put(Device device) { devices_[device.name] = device; }
  void Put(Machine machine) { machines_[machine.name] = machine; }
  void Put(ModelShape model) { models_[model.name] = model; }
  /// Replaces the one of the same model, machine (device) and degree.
  void Put(TimeTable table);
  void ClearTables() { tables_.clear(); }
  void Put(Calibration calibration);

 private:
  std::map<std::string, Device, std::less<>> devices_;
  std::map<std::string, Machine, std::less<>> machines_;
  std::map<std::string, ModelShape, std::less<>> models_;
  std::vector<TimeTable> tables_;
  std::vector<Calibration> calibrations_;
};

}  // namespace baton::hardware
