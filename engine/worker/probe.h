#pragma once

#include <optional>
#include <string>

#include "common/metrics/registry.h"
#include "engine/executor.h"
#include "engine/kv/answer_memory.h"
#include "engine/kv/block_pool.h"
#include "engine/kv/prefix_cache.h"

namespace baton::engine {

/// What a decode worker knows of a hand-off when the answer's first step here has begun.
struct HandoffTimes {
  Duration start{};                 // since KV was here
  std::optional<Duration> whole{};  // since the sender's last step had ended; of a sender on the same host
  bool moved = false;               // an answer that came from another decode worker
};

/// What a worker tells Prometheus; only probe.cc knows names, labels and units.
class WorkerProbe {
 public:
  WorkerProbe(metrics::Registry& registry, bool prefill);

  void Step(const StepReport& report) const;
  void Blocks(const PoolCounts& counts) const;
  /// Counts since the start, of a prefix cache.
  void Prefixes(const PrefixCounts& counts);
  /// Counts since the start, of a worker that writes answers.
  void Answers(const AnswerMemoryCounts& counts);
  void InFlight(double requests) const { in_flight_.Set(requests); }
  void QueuedTokens(double tokens) const { queued_tokens_.Set(tokens); }
  /// Since the engine's last step, or its last look for one.
  void EngineAge(Duration age) const { engine_age_.Set(Seconds(age)); }
  void Ready(bool ready) const { ready_.Set(ready ? 1 : 0); }
  void ModelLoaded(Duration took) const { load_seconds_.Set(Seconds(took)); }
  void Ended(const std::string& outcome) const;
  /// Of a worker that writes answers: one was to move to another. `pause` of one that did.
  void MoveEnded(bool moved, Duration pause, int rounds) const;
  /// Of a worker that computes prompts: see baton_handoff_begin_seconds.
  void HandoffBegun(Duration begin) const { handoff_begin_.Observe(Seconds(begin)); }
  void HandedOver(const HandoffTimes& times) const;

 private:
  /// Of prompts, or of answers that have moved.
  struct Handoffs {
    metrics::Histogram whole;
    metrics::Histogram start;
  };
  void AddHandoffs(metrics::Registry& registry, bool prefill);
  void AddMoves(metrics::Registry& registry);

  const bool prefill_;
  metrics::Gauge in_flight_;
  metrics::Gauge queued_tokens_;
  metrics::Gauge ready_;
  metrics::Gauge load_seconds_;
  metrics::Gauge engine_age_;
  metrics::Gauge blocks_free_;
  metrics::Gauge blocks_used_;
  metrics::Gauge blocks_quarantined_;
  metrics::Gauge blocks_cached_;
  metrics::Counter prefix_hits_;
  metrics::Counter prefix_misses_;
  metrics::Counter prefix_tokens_;
  metrics::Counter prefix_evictions_;
  metrics::Gauge prefix_pinned_;
  PrefixCounts prefixes_;  // as last counted
  metrics::Counter preempted_swap_;
  metrics::Counter preempted_recompute_;
  metrics::Counter swapped_out_bytes_;
  metrics::Counter swapped_in_bytes_;
  metrics::Gauge sequences_out_;
  metrics::Gauge sequences_swapped_;
  AnswerMemoryCounts answers_;  // as last counted
  metrics::Counter done_;
  metrics::Counter cancelled_;
  metrics::Counter failed_;
  metrics::Counter moved_away_;
  metrics::Counter prompt_tokens_;
  metrics::Counter generated_tokens_;
  metrics::Counter busy_seconds_;
  metrics::Counter moved_;
  metrics::Counter moves_failed_;
  metrics::Counter move_rounds_;
  metrics::Histogram move_pause_;
  metrics::Histogram handoff_begin_;
  Handoffs prompts_;
  Handoffs moves_;
  metrics::Histogram step_seconds_;
  metrics::Histogram batch_;
};

}  // namespace baton::engine
