#pragma once

#include <string>
#include <vector>

namespace baton::simulator {

/// What the machines of a pool are for. Mixed machines run both phases in one batch: the baselines.
enum class PoolRole { kPrefill, kDecode, kMixed };

/// Equal machines with one role. `machine` names an entry of the catalogue (common/hardware/catalogue.h).
struct PoolSpec {
  PoolRole role = PoolRole::kMixed;
  std::string machine;
  int machines = 1;
  int tensor_parallel = 0;  // GPUs of one instance; 0: all of the machine
  double gpu_cap_w = 0;     // power cap of each GPU; 0: none
};

/// A cluster in one value: what `recommend` varies and what `simulate` is given.
struct FleetSpec {
  std::vector<PoolSpec> pools;
};

}  // namespace baton::simulator
