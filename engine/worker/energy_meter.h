#pragma once

#include <functional>
#include <memory>
#include <string_view>

#include <absl/status/statusor.h>

#include "common/metrics/registry.h"
#include "common/net/event_loop.h"
#include "common/sensors/power_sensor.h"
#include "engine/worker/config.h"
#include "engine/worker/energy_ledger.h"

namespace baton::engine {

/// GPUs [first, first + count), one of each rank.
struct GpuRange {
  int first = 0;
  int count = 1;
};
/// The sensor that the configuration asks for, caps and clocks set; null where none is wanted, or where
/// "auto" finds none (the log says why). `backend` is a backend's name: the sensors of the GPUs, as one, go
/// with a GPU's backend.
[[nodiscard]] absl::StatusOr<std::unique_ptr<sensors::PowerSensor>> OpenSensor(const PowerConfig& config,
                                                                               std::string_view backend,
                                                                               const GpuRange& gpus = {});

/// Reads a sensor on a thread of its own, since a driver may make it wait, and tells the metrics whose the
/// energy was. While steps run a reading follows the end of one, so that steps lie between readings. Control
/// loop only.
class EnergyMeter {
 public:
  struct Options {
    Duration interval = std::chrono::milliseconds(250);
    std::string_view role;  // "prefill", "decode"
    StepCost cost;
  };
  /// `is_idle`: no step is running.
  EnergyMeter(net::EventLoop& loop, std::unique_ptr<sensors::PowerSensor> sensor, metrics::Registry& registry,
              const Options& options, std::function<bool()> is_idle);
  ~EnergyMeter();
  EnergyMeter(const EnergyMeter&) = delete;
  EnergyMeter& operator=(const EnergyMeter&) = delete;

  void OnStep(const StepReport& step);
  void OnEnded(RequestKey key) { ledger_.OnEnded(key); }

  /// For the router; 0: not known yet.
  struct Power {
    double watts = 0;       // between the last two readings
    double step_watts = 0;  // within steps, of late
    double idle_watts = 0;
    double cap_watts = 0;
  };
  [[nodiscard]] const Power& Now() const { return power_; }

 private:
  void AddMetrics(metrics::Registry& registry, const std::string& role);
  void Tick();
  void Read();
  void OnReading(const absl::StatusOr<sensors::PowerReading>& reading);

  net::EventLoop& loop_;
  const Duration interval_;
  const std::function<bool()> is_idle_;
  EnergyLedger ledger_;
  Power power_;
  std::unique_ptr<sensors::PowerSensor> sensor_;  // of the sensor's thread
  net::Timer tick_;
  bool reading_ = false;
  bool failing_ = false;  // the last reading failed
  bool first_ = true;
  TimePoint last_at_;
  std::int64_t last_uj_ = 0;
  metrics::Counter prompt_joules_;
  metrics::Counter answer_joules_;
  metrics::Counter idle_joules_;
  metrics::Counter failures_;
  metrics::Gauge watts_;
  metrics::Gauge cap_;
  metrics::Gauge temperature_;
  metrics::Gauge clock_;
  metrics::Histogram request_joules_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  std::unique_ptr<net::LoopThread> thread_;  // last: it uses the sensor
};

}  // namespace baton::engine
