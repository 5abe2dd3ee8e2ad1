// Energy counters of processors, as Linux's powercap tree shows them: a folder a zone, with its name, its
// counter in microjoules, where that wraps, and limits.
#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <utility>
#include <vector>

#include "common/base/error.h"
#include "common/sensors/energy_counter.h"
#include "common/sensors/power_sensor.h"

namespace baton::sensors {
namespace {

absl::StatusOr<std::string> ReadText(const std::string& path) {
  errno = 0;
  std::ifstream file(path);
  std::string text;
  if (!file || !std::getline(file, text)) {
    const int code = errno;
    return Error(code == EACCES || code == EPERM ? kPermissionDenied : kFailedPrecondition, "{}: {}", path,
                 code != 0 ? std::strerror(code) : "empty");
  }
  return text;
}

absl::StatusOr<std::uint64_t> ReadNumber(const std::string& path) {
  BATON_ASSIGN_OR_RETURN(const std::string text, ReadText(path));
  std::uint64_t value = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code != std::errc() || end != text.data() + text.size())
    return Error(kFailedPrecondition, "{}: \"{}\" is no whole number", path, text.substr(0, 64));
  return value;
}

struct Zone {
  std::string path;
  std::string name;
  EnergyCounter counter{0};
  std::uint64_t cap_before_uw = 0;  // 0: it was not set here

  [[nodiscard]] bool IsPackage() const { return name.starts_with("package"); }
  [[nodiscard]] std::string CapPath() const { return path + "/constraint_0_power_limit_uw"; }
};

/// Packages and memory; the other zones are within packages, or show the same again.
bool Counts(const std::string& name) {
  return name.starts_with("package") || name == "dram";
}

class Rapl final : public PowerSensor {
 public:
  explicit Rapl(std::vector<Zone> zones) : zones_(std::move(zones)) {}
  ~Rapl() override {
    for (const Zone& zone : zones_) {
      if (zone.cap_before_uw != 0) static_cast<void>(Write(zone, zone.cap_before_uw));
    }
  }

  std::string Source() const override { return "rapl"; }
  std::string Name() const override {
    std::string all;
    for (const Zone& zone : zones_) all += (all.empty() ? "" : "+") + zone.name;
    return all;
  }

  absl::StatusOr<PowerReading> Read() override {
    PowerReading out;
    double cap_uw = 0;
    for (Zone& zone : zones_) {
      BATON_ASSIGN_OR_RETURN(const std::uint64_t raw, ReadNumber(zone.path + "/energy_uj"));
      out.energy_uj += static_cast<std::int64_t>(zone.counter.Advance(raw));
      if (!zone.IsPackage()) continue;
      if (const auto cap = ReadNumber(zone.CapPath()); cap.ok()) cap_uw += static_cast<double>(*cap);
    }
    if (cap_uw > 0) out.cap_watts = cap_uw * 1e-6;
    return out;
  }

  absl::Status SetCap(double watts) override {
    const auto packages = std::ranges::count_if(zones_, &Zone::IsPackage);
    for (Zone& zone : zones_) {
      if (!zone.IsPackage()) continue;
      BATON_ASSIGN_OR_RETURN(const std::uint64_t before, ReadNumber(zone.CapPath()));
      BATON_RETURN_IF_ERROR(
          Write(zone, static_cast<std::uint64_t>(std::llround(watts * 1e6 / static_cast<double>(packages)))));
      if (zone.cap_before_uw == 0) zone.cap_before_uw = before;
    }
    return absl::OkStatus();
  }

  absl::Status LockClock(double) override {
    return Error(kUnimplemented, "clocks of processors are not set here; see cpupower");
  }

 private:
  static absl::Status Write(const Zone& zone, std::uint64_t microwatts) {
    errno = 0;
    std::ofstream file(zone.CapPath());
    file << microwatts << std::flush;
    if (file) return absl::OkStatus();
    const int code = errno;
    return Error(code == EACCES || code == EPERM ? kPermissionDenied : kFailedPrecondition,
                 "{}: cannot set {} uW: {}", zone.CapPath(), microwatts, std::strerror(code));
  }

  std::vector<Zone> zones_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<PowerSensor>> OpenRapl(const std::string& root) {
  std::vector<Zone> zones;
  std::error_code code;
  for (std::filesystem::directory_iterator at(root, code), end; !code && at != end; at.increment(code)) {
    // "intel-rapl:0", its part "intel-rapl:0:2"; AMD's have the same names. "intel-rapl-mmio" shows them
    // again.
    if (!at->path().filename().string().starts_with("intel-rapl:")) continue;
    const auto name = ReadText(at->path().string() + "/name");
    if (name.ok() && Counts(*name)) zones.push_back({.path = at->path().string(), .name = *name});
  }
  if (zones.empty()) return Error(kFailedPrecondition, "{}: no energy counter of a processor is there", root);
  std::ranges::sort(zones, {}, &Zone::path);
  for (Zone& zone : zones) {
    const auto first = ReadNumber(zone.path + "/energy_uj");
    if (!first.ok()) {
      return Error(first.status().code(), "{}; the kernel lets root read it, or whom a udev rule names",
                   Message(first.status()));
    }
    BATON_ASSIGN_OR_RETURN(const std::uint64_t range, ReadNumber(zone.path + "/max_energy_range_uj"));
    zone.counter = EnergyCounter(*first, range);
  }
  return std::make_unique<Rapl>(std::move(zones));
}

}  // namespace baton::sensors
