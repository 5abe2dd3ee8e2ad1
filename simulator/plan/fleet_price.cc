#include "common/base/error.h"
#include "common/hardware/power.h"
#include "simulator/plan/figures.h"

namespace baton::simulator {

absl::StatusOr<FleetPrice> PriceOf(const hardware::Catalogue& catalogue, const FleetSpec& fleet) {
  FleetPrice price;
  for (const PoolSpec& pool : fleet.pools) {
    BATON_ASSIGN_OR_RETURN(const hardware::Machine* machine, catalogue.FindMachine(pool.machine));
    BATON_ASSIGN_OR_RETURN(const hardware::Device* device, catalogue.FindDevice(machine->device));
    price.pool_dollars.push_back(pool.machines * hardware::DollarsPerHour(*machine, *device));
    price.dollars_per_hour += price.pool_dollars.back();
    price.pool_machines.push_back(pool.machines);
    price.watts += pool.machines * hardware::ReservedWatts(*machine, *device, pool.gpu_cap_w);
    price.machines += pool.machines;
    price.cost_weight += pool.machines * machine->cost_weight;
    price.power_weight += pool.machines * machine->power_weight;
  }
  return price;
}

}  // namespace baton::simulator
