#include <algorithm>
#include <functional>
#include <utility>

#include "common/base/check.h"
#include "common/base/error.h"
#include "common/sensors/power_sensor.h"

namespace baton::sensors {
namespace {

/// Nothing where one side has nothing.
template <typename Join>
void JoinInto(std::optional<double>& all, const std::optional<double>& one, const Join& join) {
  all = all && one ? std::optional<double>(join(*all, *one)) : std::nullopt;
}

class JoinedSensors final : public PowerSensor {
 public:
  explicit JoinedSensors(std::vector<std::unique_ptr<PowerSensor>> parts) : parts_(std::move(parts)) {}

  std::string Source() const override { return parts_.front()->Source(); }
  std::string Name() const override { return fmt::format("{} x {}", parts_.size(), parts_.front()->Name()); }
  absl::StatusOr<PowerReading> Read() override {
    BATON_ASSIGN_OR_RETURN(PowerReading all, parts_.front()->Read());
    const auto highest = [](double a, double b) { return std::max(a, b); };
    for (std::size_t i = 1; i < parts_.size(); ++i) {
      BATON_ASSIGN_OR_RETURN(const PowerReading one, parts_[i]->Read());
      all.energy_uj += one.energy_uj;
      JoinInto(all.watts, one.watts, std::plus<>());
      JoinInto(all.cap_watts, one.cap_watts, std::plus<>());
      JoinInto(all.temperature_c, one.temperature_c, highest);
      JoinInto(all.clock_mhz, one.clock_mhz, highest);
    }
    return all;
  }
  absl::Status SetCap(double watts) override {
    const double each = watts / static_cast<double>(parts_.size());
    for (const auto& part : parts_) BATON_RETURN_IF_ERROR(part->SetCap(each));
    return absl::OkStatus();
  }
  absl::Status LockClock(double mhz) override {
    for (const auto& part : parts_) BATON_RETURN_IF_ERROR(part->LockClock(mhz));
    return absl::OkStatus();
  }

 private:
  const std::vector<std::unique_ptr<PowerSensor>> parts_;
};

}  // namespace

std::unique_ptr<PowerSensor> JoinSensors(std::vector<std::unique_ptr<PowerSensor>> parts) {
  BATON_CHECK(!parts.empty());
  if (parts.size() == 1) return std::move(parts.front());
  return std::make_unique<JoinedSensors>(std::move(parts));
}

}  // namespace baton::sensors
