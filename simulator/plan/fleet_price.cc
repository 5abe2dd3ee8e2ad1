#include "common/base/error.h"
#include "simulator/plan/figures.h"

namespace baton::simulator {

absl::StatusOr<FleetPrice> PriceOf(const hardware::Catalogue& catalogue, const FleetSpec& fleet) {
  FleetPrice price;
  for (const PoolSpec& pool : fleet.pools) {
    BATON_ASSIGN_OR_RETURN(const hardware::Machine* machine, catalogue.FindMachine(pool.machine));
    BATON_ASSIGN_OR_RETURN(const hardware::Device* device, catalogue.FindDevice(machine->device));
    const double count = pool.machines;
    const double cap = pool.gpu_cap_w > 0 ? pool.gpu_cap_w : machine->gpu_cap_w;
    const double rated =
        machine->rated_w > 0 ? machine->rated_w : machine->base_w + machine->devices * device->tdp_w;
    // A machine whose entry has a cap is rated with it already.
    const double taken_off = pool.gpu_cap_w > 0 && machine->gpu_cap_w == 0 && cap < device->tdp_w
                                 ? machine->devices * (device->tdp_w - cap)
                                 : 0;
    price.dollars_per_hour +=
        count * (machine->dollars_per_hour > 0 ? machine->dollars_per_hour
                                               : machine->devices * device->dollars_per_hour);
    price.watts += count * (rated - taken_off);
    price.machines += pool.machines;
    price.cost_weight += count * machine->cost_weight;
    price.power_weight += count * machine->power_weight;
  }
  return price;
}

}  // namespace baton::simulator
