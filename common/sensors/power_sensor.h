#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

namespace baton::sensors {

/// What is absent cannot be read of this hardware.
struct PowerReading {
  std::int64_t energy_uj = 0;  // drawn since the sensor was opened; never falls
  std::optional<double> watts;
  std::optional<double> cap_watts;
  std::optional<double> temperature_c;
  std::optional<double> clock_mhz;
};

/// The power of one GPU, or of a machine's processors. One thread at a time: a read may wait for a driver.
class PowerSensor {
 public:
  virtual ~PowerSensor() = default;
  /// "nvml", "rapl": where its figures come from.
  [[nodiscard]] virtual std::string Source() const = 0;
  /// "NVIDIA H200", "package-0+dram": for people.
  [[nodiscard]] virtual std::string Name() const = 0;
  [[nodiscard]] virtual absl::StatusOr<PowerReading> Read() = 0;
  /// Until the sensor is destroyed, which puts back what was. InvalidArgument names the limits,
  /// PermissionDenied whose right it is, Unimplemented what cannot.
  [[nodiscard]] virtual absl::Status SetCap(double watts) = 0;
  [[nodiscard]] virtual absl::Status LockClock(double mhz) = 0;
};

struct NvmlOptions {
  std::string bus_id;  // of the GPU on the PCI bus, "0000:3b:00.0"
  std::string library = "libnvidia-ml.so.1";
};
/// FailedPrecondition where library, function or counter is missing; the message says which.
[[nodiscard]] absl::StatusOr<std::unique_ptr<PowerSensor>> OpenNvml(const NvmlOptions& options);

/// Several GPUs as one: energies, watts and caps add up, temperature and clock are the highest. A cap is
/// shared out evenly. What one of them cannot tell, they do not tell. One sensor stays what it is.
[[nodiscard]] std::unique_ptr<PowerSensor> JoinSensors(std::vector<std::unique_ptr<PowerSensor>> parts);

/// All packages of this machine, and memory where it is counted apart. FailedPrecondition where there is no
/// counter, PermissionDenied where it may not be read. `root` is a test's.
[[nodiscard]] absl::StatusOr<std::unique_ptr<PowerSensor>> OpenRapl(
    const std::string& root = "/sys/class/powercap");

}  // namespace baton::sensors
