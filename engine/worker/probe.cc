#include "engine/worker/probe.h"

namespace baton::engine {

WorkerProbe::WorkerProbe(metrics::Registry& registry, bool prefill) : prefill_(prefill) {
  const metrics::Labels role = {{"role", prefill ? "prefill" : "decode"}};
  const auto with = [&](std::string_view key, std::string_view value) {
    metrics::Labels labels = role;
    labels.emplace_back(key, value);
    return labels;
  };
  in_flight_ =
      registry.AddGauge("baton_requests_in_flight", "Requests that this worker has not released", role);
  queued_tokens_ =
      registry.AddGauge("baton_queued_prompt_tokens", "Prompt tokens that wait to be computed", role);
  ready_ = registry.AddGauge("baton_ready", "1 where the worker takes requests", role);
  load_seconds_ = registry.AddGauge("baton_model_load_seconds", "How long loading the model took", role);
  engine_age_ = registry.AddGauge("baton_engine_watchdog_age_seconds",
                                  "Since the engine last made progress; 0 where it has nothing to do", role);
  const std::string_view blocks = "KV blocks by state";
  blocks_free_ = registry.AddGauge("baton_kv_blocks", blocks, with("state", "free"));
  blocks_used_ = registry.AddGauge("baton_kv_blocks", blocks, with("state", "used"));
  blocks_quarantined_ = registry.AddGauge("baton_kv_blocks", blocks, with("state", "quarantined"));
  blocks_cached_ = registry.AddGauge("baton_kv_blocks", blocks, with("state", "cached"));
  if (prefill) {
    const std::string_view lookups = "Prompts looked up in the prefix cache, by whether any of it was there";
    prefix_hits_ = registry.AddCounter("baton_prefix_cache_lookups_total", lookups, {{"result", "hit"}});
    prefix_misses_ = registry.AddCounter("baton_prefix_cache_lookups_total", lookups, {{"result", "miss"}});
    prefix_tokens_ = registry.AddCounter("baton_prefix_cache_tokens_reused_total",
                                         "Prompt tokens that were found instead of computed", {});
    prefix_evictions_ = registry.AddCounter("baton_prefix_cache_evictions_total",
                                            "KV blocks that the prefix cache gave up for others", {});
    prefix_pinned_ = registry.AddGauge("baton_prefix_cache_pinned_blocks",
                                       "KV blocks of beginnings that are given up last", {});
  }
  if (!prefill) {
    const std::string_view preemptions = "Answers that made room for older ones, by what became of their KV";
    preempted_swap_ = registry.AddCounter("baton_preemptions_total", preemptions, {{"kind", "swap"}});
    preempted_recompute_ =
        registry.AddCounter("baton_preemptions_total", preemptions, {{"kind", "recompute"}});
    const std::string_view swapped = "KV of preempted answers copied to host memory and back";
    swapped_out_bytes_ = registry.AddCounter("baton_kv_swapped_bytes_total", swapped, {{"direction", "out"}});
    swapped_in_bytes_ = registry.AddCounter("baton_kv_swapped_bytes_total", swapped, {{"direction", "in"}});
    const std::string_view out = "Preempted answers that wait for room, by where their KV is";
    sequences_out_ = registry.AddGauge("baton_preempted_sequences", out, {{"kv", "dropped"}});
    sequences_swapped_ = registry.AddGauge("baton_preempted_sequences", out, {{"kv", "swapped"}});
    AddMoves(registry);
  }
  AddHandoffs(registry, prefill);
  const std::string_view ended = "Requests that this worker has released, by outcome";
  done_ = registry.AddCounter("baton_worker_requests_total", ended, with("outcome", "done"));
  cancelled_ = registry.AddCounter("baton_worker_requests_total", ended, with("outcome", "cancelled"));
  failed_ = registry.AddCounter("baton_worker_requests_total", ended, with("outcome", "failed"));
  moved_away_ = registry.AddCounter("baton_worker_requests_total", ended, with("outcome", "moved"));
  prompt_tokens_ = registry.AddCounter("baton_prompt_tokens_total", "Prompt tokens computed", role);
  generated_tokens_ = registry.AddCounter("baton_generated_tokens_total", "Tokens decoded", role);
  busy_seconds_ = registry.AddCounter("baton_step_busy_seconds_total",
                                      "Time inside steps: its rate is utilisation", role);
  step_seconds_ = registry.AddHistogram("baton_step_duration_seconds", "Duration of a step", role,
                                        metrics::LatencyBuckets());
  const std::vector<double> sizes = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048};
  batch_ = prefill ? registry.AddHistogram("baton_prefill_batch_tokens", "Prompt tokens of a step", {}, sizes)
                   : registry.AddHistogram("baton_decode_batch_size", "Sequences of a step", {}, sizes);
}

void WorkerProbe::Step(const StepReport& report) const {
  prompt_tokens_.Increment(static_cast<double>(report.prompt_tokens));
  generated_tokens_.Increment(static_cast<double>(report.decode_tokens));
  busy_seconds_.Increment(Seconds(report.duration));
  step_seconds_.Observe(Seconds(report.duration));
  batch_.Observe(
      static_cast<double>(prefill_ ? report.prompt_tokens + report.decode_tokens : std::ssize(report.parts)));
}

void WorkerProbe::Blocks(const PoolCounts& counts) const {
  blocks_free_.Set(static_cast<double>(counts.free));
  blocks_used_.Set(static_cast<double>(counts.used));
  blocks_quarantined_.Set(static_cast<double>(counts.quarantined));
  blocks_cached_.Set(static_cast<double>(counts.cached));
}

void WorkerProbe::Prefixes(const PrefixCounts& counts) {
  prefix_hits_.Increment(static_cast<double>(counts.hits - prefixes_.hits));
  prefix_misses_.Increment(static_cast<double>(counts.misses - prefixes_.misses));
  prefix_tokens_.Increment(static_cast<double>(counts.tokens_reused - prefixes_.tokens_reused));
  prefix_evictions_.Increment(static_cast<double>(counts.evictions - prefixes_.evictions));
  prefix_pinned_.Set(static_cast<double>(counts.pinned));
  prefixes_ = counts;
}

void WorkerProbe::Answers(const AnswerMemoryCounts& counts) {
  preempted_swap_.Increment(static_cast<double>(counts.swaps - answers_.swaps));
  preempted_recompute_.Increment(static_cast<double>(counts.recomputations - answers_.recomputations));
  swapped_out_bytes_.Increment(static_cast<double>(counts.bytes_out - answers_.bytes_out));
  swapped_in_bytes_.Increment(static_cast<double>(counts.bytes_in - answers_.bytes_in));
  sequences_out_.Set(static_cast<double>(counts.preempted - counts.swapped_out));
  sequences_swapped_.Set(static_cast<double>(counts.swapped_out));
  answers_ = counts;
}

void WorkerProbe::AddHandoffs(metrics::Registry& registry, bool prefill) {
  const std::vector<double> bounds = {0.0001, 0.00025, 0.0005, 0.001, 0.002, 0.005,
                                      0.01,   0.025,   0.05,   0.1,   0.25,  1};
  if (prefill) {
    handoff_begin_ = registry.AddHistogram(
        "baton_handoff_begin_seconds",
        "From the end of a prompt's last step to the first of its KV on the wire; 0 where some went before",
        {}, bounds);
    return;
  }
  const auto add = [&](const std::string& kind) {
    return Handoffs{
        .whole =
            registry.AddHistogram("baton_handoff_seconds",
                                  "From the end of the sender's last step to the answer's first step here; "
                                  "of senders on the same host",
                                  {{"of", kind}}, bounds),
        .start = registry.AddHistogram(
            "baton_handoff_start_seconds",
            "Of that, since KV was here: verified, committed, taken into the batch", {{"of", kind}}, bounds)};
  };
  prompts_ = add("prompt");
  moves_ = add("move");
}

void WorkerProbe::HandedOver(const HandoffTimes& times) const {
  const Handoffs& handoffs = times.moved ? moves_ : prompts_;
  handoffs.start.Observe(Seconds(times.start));
  if (times.whole) handoffs.whole.Observe(Seconds(*times.whole));
}

void WorkerProbe::AddMoves(metrics::Registry& registry) {
  const std::string_view moves = "Answers that were to move to another worker, by whether they did";
  moved_ = registry.AddCounter("baton_moves_sent_total", moves, {{"outcome", "moved"}});
  moves_failed_ = registry.AddCounter("baton_moves_sent_total", moves, {{"outcome", "failed"}});
  move_rounds_ = registry.AddCounter("baton_move_rounds_total",
                                     "Rounds of copying of moved answers while they were written");
  move_pause_ = registry.AddHistogram("baton_move_pause_seconds",
                                      "From a moved answer's standing still to the acknowledgement", {},
                                      metrics::LatencyBuckets());
}

void WorkerProbe::Ended(const std::string& outcome) const {
  const auto& counter = outcome == "done"        ? done_
                        : outcome == "cancelled" ? cancelled_
                        : outcome == "moved"     ? moved_away_
                                                 : failed_;
  counter.Increment();
}

void WorkerProbe::MoveEnded(bool moved, Duration pause, int rounds) const {
  (moved ? moved_ : moves_failed_).Increment();
  if (!moved) return;
  move_rounds_.Increment(rounds);
  move_pause_.Observe(Seconds(pause));
}

}  // namespace baton::engine
