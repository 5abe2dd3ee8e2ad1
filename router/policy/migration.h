#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "common/cluster/view.h"
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

/// An answer that may go on elsewhere.
struct MovableAnswer {
  WorkerId at;
  std::int64_t positions = 0;   // that are to be received
  std::int64_t tokens_max = 0;  // prompt and longest answer
};

/// Where it goes: of the ready decode workers of its model and numerics class that are linked with where it
/// is and have room, the one that holds the fewest tokens; ties to the lowest id. Nothing where there is
/// none. Pure.
[[nodiscard]] std::optional<WorkerId> ChooseDestination(const cluster::ClusterSnapshot& snapshot,
                                                        const MovableAnswer& answer);
/// Whether it could go there now.
[[nodiscard]] bool CanMove(const cluster::WorkerSnapshot& from, const cluster::WorkerSnapshot& to,
                           const MovableAnswer& answer);

}  // namespace baton::router
