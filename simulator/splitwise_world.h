#pragma once

#include <cstdint>
#include <vector>

#include "router/policy/pools.h"
#include "simulator/run.h"

/// Mode kSplitwise: the reference simulator of Splitwise (Patel et al., ISCA 2024), its batching, memory,
/// transfers and step times reproduced exactly, oddities included. What is shared with the rest is placement.
namespace baton::simulator {

/// Seconds of a step over its tokens: linear between knots, and beyond them along the outer segments.
struct StepTable {
  std::vector<double> tokens;  // rising, at least two
  std::vector<double> prompt_s;
  std::vector<double> token_s;
};

struct SplitwiseMachine {
  router::MachineRole role = router::MachineRole::kWhole;
  std::int32_t pool = 0;   // of the fleet
  std::int32_t table = 0;  // index into SplitwiseSetup::tables
  std::int64_t memory_bytes = 0;
  std::int64_t weight_bytes = 0;
};

struct SplitwiseSetup {
  std::vector<SplitwiseMachine> machines;  // in the order of the reference's servers
  std::vector<StepTable> tables;
  std::int64_t kv_bytes_per_token = 0;
  double link_bytes_per_s = 200.0 * 1024 * 1024 * 1024;  // each transfer has a link of its own
  std::int64_t batch_sequences_max = 512;
  std::int64_t batch_tokens_max = 2048;
  std::int64_t preemptions_max = 4;
  double retry_s = 1;     // a transfer whose receiver has no memory asks again after this
  double end_s = 86'400;  // nothing begins after it
};

/// A step: prompts alone cost prompt(tokens), decodes alone token(sequences), both 1.1 prompt(tokens).
/// Reserves all KV memory when a task first runs, preempts decodes for prompts, and splits no prompt.
/// Requests that never fit stay unfinished, as they do in the reference.
[[nodiscard]] RunResult RunSplitwise(const SplitwiseSetup& setup, const Workload& workload,
                                     router::Placer& placer, const RunOptions& options);

}  // namespace baton::simulator
