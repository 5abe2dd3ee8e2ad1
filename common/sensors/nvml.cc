// NVML, loaded at run time. What is declared here is the part of its C interface that is used; the numbers
// are that interface's.
#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "common/base/dynamic_library.h"
#include "common/base/error.h"
#include "common/sensors/energy_counter.h"
#include "common/sensors/power_sensor.h"

namespace baton::sensors {
namespace {

using Device = void*;
using Code = int;

constexpr Code kSuccess = 0;
constexpr Code kErrorInvalidArgument = 2;
constexpr Code kErrorNotSupported = 3;
constexpr Code kErrorNoPermission = 4;
constexpr unsigned kClockOfProcessors = 1;
constexpr unsigned kTemperatureOfChip = 0;

/// Those that must be there, then those without which a reading is empty or a setting refused.
struct Functions {
  Code (*init)() = nullptr;
  Code (*shutdown)() = nullptr;
  const char* (*error_string)(Code) = nullptr;
  Code (*by_bus_id)(const char*, Device*) = nullptr;
  Code (*energy_mj)(Device, unsigned long long*) = nullptr;

  Code (*name)(Device, char*, unsigned) = nullptr;
  Code (*power_mw)(Device, unsigned*) = nullptr;
  Code (*limit_mw)(Device, unsigned*) = nullptr;
  Code (*limit_range_mw)(Device, unsigned*, unsigned*) = nullptr;
  Code (*temperature)(Device, unsigned, unsigned*) = nullptr;
  Code (*clock_mhz)(Device, unsigned, unsigned*) = nullptr;
  Code (*set_limit_mw)(Device, unsigned) = nullptr;
  Code (*lock_clocks)(Device, unsigned, unsigned) = nullptr;
  Code (*reset_clocks)(Device) = nullptr;
};

absl::StatusOr<Functions> Load(const std::string& name) {
  absl::StatusOr<DynamicLibrary> library = DynamicLibrary::Open(name);
  if (!library.ok()) return Annotate(library.status(), "NVML, which comes with NVIDIA's driver");
  Functions f;
  library->Find("nvmlInit_v2", f.init);
  library->Find("nvmlShutdown", f.shutdown);
  library->Find("nvmlErrorString", f.error_string);
  library->Find("nvmlDeviceGetHandleByPciBusId_v2", f.by_bus_id);
  library->Find("nvmlDeviceGetTotalEnergyConsumption", f.energy_mj);
  if (const absl::Status found = library->FoundAll(); !found.ok())
    return Annotate(found, "a newer driver is needed to measure energy");
  library->FindIfThere("nvmlDeviceGetName", f.name);
  library->FindIfThere("nvmlDeviceGetPowerUsage", f.power_mw);
  library->FindIfThere("nvmlDeviceGetPowerManagementLimit", f.limit_mw);
  library->FindIfThere("nvmlDeviceGetPowerManagementLimitConstraints", f.limit_range_mw);
  library->FindIfThere("nvmlDeviceGetTemperature", f.temperature);
  library->FindIfThere("nvmlDeviceGetClockInfo", f.clock_mhz);
  library->FindIfThere("nvmlDeviceSetPowerManagementLimit", f.set_limit_mw);
  library->FindIfThere("nvmlDeviceSetGpuLockedClocks", f.lock_clocks);
  library->FindIfThere("nvmlDeviceResetGpuLockedClocks", f.reset_clocks);
  return f;
}

class Nvml final : public PowerSensor {
 public:
  explicit Nvml(const NvmlOptions& options) : options_(options) {}
  ~Nvml() override {
    // Nobody hears of a failure here: the settings then stay until the driver is loaded again.
    if (cap_before_mw_ != 0) functions_.set_limit_mw(device_, cap_before_mw_);
    if (clocks_locked_) functions_.reset_clocks(device_);
    if (begun_) functions_.shutdown();
  }

  absl::Status Open() {
    BATON_ASSIGN_OR_RETURN(functions_, Load(options_.library));
    if (const Code code = functions_.init(); code != kSuccess) return ErrorOf(code, "cannot begin");
    begun_ = true;
    if (const Code code = functions_.by_bus_id(options_.bus_id.c_str(), &device_); code != kSuccess)
      return ErrorOf(code, "cannot find it");
    unsigned long long energy = 0;
    if (const Code code = functions_.energy_mj(device_, &energy); code != kSuccess)
      return ErrorOf(code, "cannot read its energy counter");
    counter_ = EnergyCounter(energy);
    std::array<char, 96> name{};
    if (functions_.name != nullptr && functions_.name(device_, name.data(), name.size() - 1) == kSuccess)
      name_ = name.data();
    return absl::OkStatus();
  }

  std::string Source() const override { return "nvml"; }
  std::string Name() const override { return name_; }

  absl::StatusOr<PowerReading> Read() override {
    unsigned long long energy = 0;
    if (const Code code = functions_.energy_mj(device_, &energy); code != kSuccess)
      return ErrorOf(code, "cannot read its energy counter");
    PowerReading out{.energy_uj = static_cast<std::int64_t>(counter_.Advance(energy) * 1000)};
    out.watts = Optional(1e-3, functions_.power_mw, device_);
    out.cap_watts = Optional(1e-3, functions_.limit_mw, device_);
    out.temperature_c = Optional(1, functions_.temperature, device_, kTemperatureOfChip);
    out.clock_mhz = Optional(1, functions_.clock_mhz, device_, kClockOfProcessors);
    return out;
  }

  absl::Status SetCap(double watts) override {
    if (functions_.set_limit_mw == nullptr || functions_.limit_mw == nullptr)
      return Error(kUnimplemented, "GPU {}: this driver sets no power cap", options_.bus_id);
    unsigned least = 0;
    unsigned most = 0;
    if (functions_.limit_range_mw != nullptr &&
        functions_.limit_range_mw(device_, &least, &most) == kSuccess &&
        !(watts * 1e3 >= least && watts * 1e3 <= most)) {
      return Error(kInvalidArgument, "GPU {}: a power cap of {} W; it takes {} to {} W", options_.bus_id,
                   watts, least / 1000, most / 1000);
    }
    unsigned before = 0;
    if (const Code code = functions_.limit_mw(device_, &before); code != kSuccess)
      return ErrorOf(code, "cannot read its power cap");
    if (const Code code = functions_.set_limit_mw(device_, static_cast<unsigned>(std::lround(watts * 1e3)));
        code != kSuccess) {
      return ErrorOf(code, "cannot set its power cap");
    }
    if (cap_before_mw_ == 0) cap_before_mw_ = before;
    return absl::OkStatus();
  }

  absl::Status LockClock(double mhz) override {
    if (functions_.lock_clocks == nullptr || functions_.reset_clocks == nullptr)
      return Error(kUnimplemented, "GPU {}: this driver locks no clocks", options_.bus_id);
    const auto whole = static_cast<unsigned>(std::lround(std::max(0.0, mhz)));
    if (const Code code = functions_.lock_clocks(device_, whole, whole); code != kSuccess)
      return ErrorOf(code, "cannot lock its clock");
    clocks_locked_ = true;
    return absl::OkStatus();
  }

 private:
  absl::Status ErrorOf(Code code, const char* what) const {
    const auto status = code == kErrorNoPermission      ? kPermissionDenied
                        : code == kErrorInvalidArgument ? kInvalidArgument
                        : code == kErrorNotSupported    ? kUnimplemented
                                                        : kFailedPrecondition;
    return Error(status, "GPU {}: {}: NVML says \"{}\" ({}){}", options_.bus_id, what,
                 functions_.error_string(code), code,
                 code == kErrorNoPermission ? "; setting takes root or CAP_SYS_ADMIN" : "");
  }

  /// `scale` times what `get` says; nothing where there is no such function or value.
  template <typename Function, typename... Args>
  static std::optional<double> Optional(double scale, Function get, Args... args) {
    unsigned value = 0;
    if (get == nullptr || get(args..., &value) != kSuccess) return std::nullopt;
    return scale * value;
  }

  const NvmlOptions options_;
  Functions functions_;
  bool begun_ = false;
  Device device_ = nullptr;
  std::string name_;
  EnergyCounter counter_{0};
  unsigned cap_before_mw_ = 0;  // 0: it was not set here
  bool clocks_locked_ = false;
};

}  // namespace

absl::StatusOr<std::unique_ptr<PowerSensor>> OpenNvml(const NvmlOptions& options) {
  auto sensor = std::make_unique<Nvml>(options);
  BATON_RETURN_IF_ERROR(sensor->Open());
  return sensor;
}

}  // namespace baton::sensors
