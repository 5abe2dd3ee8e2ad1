#pragma once

#include <string>
#include <vector>

#include <absl/status/statusor.h>

#include "common/hardware/catalogue.h"
#include "simulator/fleet.h"
#include "simulator/run.h"

namespace baton::simulator {

/// What befalls the fleet's machines, from a YAML file:
///
///     events:
///       - {at: 30s, machine: decode-0, what: fail}     # or drain, return
///
/// Machines are called as in results: by role and number, pool after pool, each instance counted. Errors name
/// file, line and field.
[[nodiscard]] absl::StatusOr<std::vector<MachineEvent>> ReadMachineEvents(
    const std::string& path, const hardware::Catalogue& catalogue, const FleetSpec& fleet);

}  // namespace baton::simulator
