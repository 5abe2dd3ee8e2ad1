#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "router/policy/pools.h"

namespace baton::router {

/// What is known of a machine that decodes.
struct DecodeLoad {
  MachineIndex machine = kNoMachine;
  std::int64_t free_tokens = 0;    // KV memory that nobody has, less what is on its way here
  std::int64_t wanted_tokens = 0;  // of the first that waits for memory; 0: nobody does
  std::int64_t sequences = 0;      // that decode
  double step_s = 0;               // of its last step
  bool draining = false;
};

/// For how many seconds the machine can go on before its memory ends, as each sequence takes a token a step:
/// Llumnix's freeness (Sun et al., OSDI 2024, section 4.4) times the step, for machines that are not equally
/// fast. Below zero where somebody waits for more than there is; minus infinity while it drains.
[[nodiscard]] double FreenessSeconds(const DecodeLoad& load);

struct MigrationOptions {
  double source_below_s = 0.5;        // act only on a real deficit
  double destination_above_s = 10.0;  // and only to where there is time
};

struct MachineMove {
  MachineIndex from = kNoMachine;
  MachineIndex to = kNoMachine;
  friend bool operator==(const MachineMove&, const MachineMove&) = default;
};

/// Pairs the least free with the freest, the second with the second, and so on: one answer moves along each.
/// Ties by machine. Pure.
[[nodiscard]] std::vector<MachineMove> PairMigrations(std::span<const DecodeLoad> loads,
                                                      const MigrationOptions& options);

}  // namespace baton::router
