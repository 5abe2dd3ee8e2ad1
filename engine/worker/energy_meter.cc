#include "engine/worker/energy_meter.h"

#include <utility>
#include <vector>

#include "common/base/error.h"
#include "common/base/log.h"
#include "kernels/backend.h"

namespace baton::engine {
namespace {

absl::StatusOr<std::unique_ptr<sensors::PowerSensor>> OpenAny(const PowerConfig& config,
                                                              std::string_view backend,
                                                              const GpuRange& gpus) {
  const bool on_gpu = backend.starts_with("cuda/");
  if (config.sensor == "rapl" || (config.sensor == "auto" && !on_gpu)) return sensors::OpenRapl();
  std::vector<std::unique_ptr<sensors::PowerSensor>> parts;
  for (int gpu = gpus.first; gpu < gpus.first + gpus.count; ++gpu) {
    BATON_ASSIGN_OR_RETURN(const std::string bus_id, kernels::CudaBusId(gpu));
    BATON_ASSIGN_OR_RETURN(parts.emplace_back(), sensors::OpenNvml({.bus_id = bus_id}));
  }
  return sensors::JoinSensors(std::move(parts));
}

}  // namespace

absl::StatusOr<std::unique_ptr<sensors::PowerSensor>> OpenSensor(const PowerConfig& config,
                                                                 std::string_view backend,
                                                                 const GpuRange& gpus) {
  if (config.sensor == "off") return nullptr;
  auto sensor = OpenAny(config, backend, gpus);
  if (!sensor.ok()) {
    if (config.sensor != "auto" || config.cap_watts > 0 || config.clock_mhz > 0)
      return Annotate(sensor.status(), fmt::format("power.sensor {}", config.sensor));
    LogInfo("energy_unmeasured", {{"why", sensor.status()}});
    return nullptr;
  }
  if (config.cap_watts > 0)
    BATON_RETURN_IF_ERROR(Annotate((*sensor)->SetCap(config.cap_watts), "power.cap_watts"));
  if (config.clock_mhz > 0)
    BATON_RETURN_IF_ERROR(Annotate((*sensor)->LockClock(config.clock_mhz), "power.clock_mhz"));
  LogInfo("energy_measured", {{"source", (*sensor)->Source()},
                              {"device", (*sensor)->Name()},
                              {"cap_watts", config.cap_watts},
                              {"clock_mhz", config.clock_mhz}});
  return sensor;
}

EnergyMeter::EnergyMeter(net::EventLoop& loop, std::unique_ptr<sensors::PowerSensor> sensor,
                         metrics::Registry& registry, const Options& options, std::function<bool()> is_idle)
    : loop_(loop),
      interval_(options.interval),
      is_idle_(std::move(is_idle)),
      ledger_(options.cost),
      sensor_(std::move(sensor)),
      last_at_(loop.Now()) {
  AddMetrics(registry, std::string(options.role));
  thread_ = std::make_unique<net::LoopThread>("power");
  Read();
  Tick();
}

EnergyMeter::~EnergyMeter() {
  *alive_ = false;
}

void EnergyMeter::AddMetrics(metrics::Registry& registry, const std::string& role) {
  const std::string source = sensor_->Source();
  const std::string_view joules = "Energy measured, by what it went to; their sum is the counter's";
  const auto phase = [&](const char* name) {
    return registry.AddCounter("baton_energy_joules_total", joules,
                               {{"role", role}, {"phase", name}, {"source", source}});
  };
  prompt_joules_ = phase("prompt");
  answer_joules_ = phase("answer");
  idle_joules_ = phase("idle");
  const metrics::Labels labels = {{"role", role}, {"source", source}};
  failures_ =
      registry.AddCounter("baton_power_read_failures_total", "Readings of the sensor that failed", labels);
  watts_ = registry.AddGauge("baton_power_watts", "Mean power between the last two readings", labels);
  cap_ =
      registry.AddGauge("baton_power_cap_watts", "What the hardware is held to; 0: it does not say", labels);
  temperature_ = registry.AddGauge("baton_temperature_celsius", "Of the GPU; 0: it is not known", labels);
  clock_ = registry.AddGauge("baton_clock_hertz", "Of the GPU's processors; 0: it is not known", labels);
  request_joules_ =
      registry.AddHistogram("baton_request_energy_joules",
                            "What a request that has ended drew on this worker, idle power not counted",
                            labels, {0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000, 10000});
}

void EnergyMeter::OnStep(const StepReport& step) {
  ledger_.OnStep(step);
  if (loop_.Now() - last_at_ >= interval_) Read();
}

/// Readings without steps, and what a step that ended before a reading came back has left behind.
void EnergyMeter::Tick() {
  if (is_idle_()) Read();
  tick_ = loop_.After(interval_, [this] { Tick(); });
}

void EnergyMeter::Read() {
  if (std::exchange(reading_, true)) return;
  thread_->Loop().Post([this, alive = alive_] {
    // The destructor joins this thread before the sensor goes; `alive` is the control loop's to look at.
    absl::StatusOr<sensors::PowerReading> reading = sensor_->Read();
    loop_.Post([this, alive, reading = std::move(reading)] {
      if (*alive) OnReading(reading);
    });
  });
}

void EnergyMeter::OnReading(const absl::StatusOr<sensors::PowerReading>& reading) {
  reading_ = false;
  if (!reading.ok()) {
    failures_.Increment();
    if (!std::exchange(failing_, true)) LogWarning("energy_unread", {{"error", reading.status()}});
    return;  // what it was is in the next one
  }
  failing_ = false;
  const TimePoint now = loop_.Now();
  const Duration length = now - last_at_;
  if (std::exchange(first_, false) && !ledger_.HasSteps()) {  // from here on
    last_at_ = now;
    last_uj_ = reading->energy_uj;
  } else if (length > Duration{}) {
    const std::int64_t energy = reading->energy_uj - last_uj_;
    const EnergyWindow window = ledger_.Close(energy, length);
    prompt_joules_.Increment(1e-6 * static_cast<double>(window.prompt_uj));
    answer_joules_.Increment(1e-6 * static_cast<double>(window.answer_uj));
    idle_joules_.Increment(1e-6 * static_cast<double>(window.idle_uj));
    for (const std::int64_t uj : window.ended_uj) request_joules_.Observe(1e-6 * static_cast<double>(uj));
    power_.watts = 1e-6 * static_cast<double>(energy) / Seconds(length);
    power_.idle_watts = ledger_.IdleWatts();
    if (window.busy > Duration{}) {
      const double watts =
          1e-6 * static_cast<double>(window.prompt_uj + window.answer_uj) / Seconds(window.busy);
      // Half-life of some 7 readings.
      power_.step_watts =
          power_.step_watts > 0 ? power_.step_watts + 0.1 * (watts - power_.step_watts) : watts;
    }
    last_at_ = now;
    last_uj_ = reading->energy_uj;
  }
  power_.cap_watts = reading->cap_watts.value_or(0);
  watts_.Set(power_.watts);
  cap_.Set(power_.cap_watts);
  temperature_.Set(reading->temperature_c.value_or(0));
  clock_.Set(1e6 * reading->clock_mhz.value_or(0));
}

}  // namespace baton::engine
