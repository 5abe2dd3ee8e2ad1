#include "simulator/plan/machine_events.h"

#include <chrono>
#include <map>
#include <utility>

#include "common/base/error.h"
#include "common/config/reader.h"

namespace baton::simulator {
namespace {

constexpr std::size_t kEventsMost = 100'000;

/// A run's machines, by name.
absl::StatusOr<std::map<std::string, std::int32_t>> MachinesOf(const hardware::Catalogue& catalogue,
                                                               const FleetSpec& fleet) {
  BATON_ASSIGN_OR_RETURN(const std::vector<std::string> names, MachineNames(catalogue, fleet));
  std::map<std::string, std::int32_t> machines;
  for (const std::string& name : names) machines.emplace(name, static_cast<std::int32_t>(machines.size()));
  return machines;
}

std::string Counts(const std::map<std::string, std::int32_t>& machines) {
  std::map<std::string, int> roles;
  for (const auto& [name, index] : machines) ++roles[name.substr(0, name.find('-'))];
  std::string out;
  for (const auto& [role, count] : roles) {
    out += fmt::format("{}{}-0 to {}-{}", out.empty() ? "" : ", ", role, role, count - 1);
  }
  return out;
}

}  // namespace

absl::StatusOr<std::vector<MachineEvent>> ReadMachineEvents(const std::string& path,
                                                            const hardware::Catalogue& catalogue,
                                                            const FleetSpec& fleet) {
  BATON_ASSIGN_OR_RETURN(const auto machines, MachinesOf(catalogue, fleet));
  BATON_ASSIGN_OR_RETURN(const config::Document document, config::Document::Open(path));
  constexpr auto kRequired = config::Section::Need::kRequired;
  std::vector<MachineEvent> events;
  for (const config::Section& section : document.Root().SubList("events")) {
    MachineEvent event;
    Duration at{};
    std::string machine;
    std::string what = "fail";
    section.Duration("at", at, Duration(0), std::chrono::hours(24 * 366), kRequired);
    section.String("machine", machine, kRequired);
    section.Choice("what", what, {"fail", "drain", "return"}, kRequired);
    event.time_s = Seconds(at);
    event.kind = what == "drain"    ? MachineEvent::Kind::kDrain
                 : what == "return" ? MachineEvent::Kind::kReturn
                                    : MachineEvent::Kind::kFail;
    const auto found = machines.find(machine);
    if (found != machines.end()) {
      event.machine = found->second;
    } else if (!machine.empty()) {
      section.Problem("machine",
                      fmt::format("'{}' is no machine of this fleet: it has {}", machine, Counts(machines)));
    }
    events.push_back(event);
  }
  BATON_RETURN_IF_ERROR(document.Finish());
  if (events.empty()) return Error(kInvalidArgument, "{}: events: there is none", path);
  if (events.size() > kEventsMost)
    return Error(kInvalidArgument, "{}: {} events, at most {} allowed", path, events.size(), kEventsMost);
  return events;
}

}  // namespace baton::simulator
