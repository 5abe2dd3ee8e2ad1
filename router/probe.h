#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/base/clock.h"
#include "common/cluster/view.h"
#include "common/metrics/registry.h"
#include "router/http/request.h"
#include "router/messages.h"
#include "router/policy/admission.h"

namespace baton::router {

/// What the router counts: the code says what happened, probe.cc knows names, labels and units. Every label
/// value that can occur is there from the start, at 0. Thread-safe but for what is marked.
class Probe {
 public:
  explicit Probe(metrics::Registry& registry);

  /// An HTTP answer begins (a stream) or is sent.
  void Responded(std::string_view endpoint, int status);
  /// A request that was not answered in full. `reason` as in kErrorReasons.
  void Failed(std::string_view reason);
  void Rejected(Refusal refusal);
  void FieldsIgnored(int count);
  void Tokenized(Duration took);

  // Control loop only from here on.
  void InFlight(std::size_t requests, std::int64_t queued, std::int64_t queued_prompt_tokens);
  void Placed(Duration waited);
  /// An attempt failed and another follows; `reason` as in kResumeReasons.
  void Retried(std::string_view reason, bool after_first_token);
  /// The next attempt of a request with tokens is at new ones: `gap` after the failure, with `recomputed`.
  void Resumed(Duration gap, std::int64_t recomputed);
  void FirstToken(Duration since_arrival);
  void NextToken(Duration since_last);
  void Ended(Duration since_arrival, std::int64_t prompt_tokens, std::int64_t output_tokens);
  void Transferred(const TransferReport& report);
  void StaleToken();
  void CachedTokens(std::int64_t tokens) { cached_tokens_.Increment(static_cast<double>(tokens)); }
  /// An answer was to move. `gap`: of a moved one, between its last token there and its first here.
  void MoveEnded(std::string_view reason, std::string_view outcome);
  void MoveGap(Duration gap) { move_gap_.Observe(Seconds(gap)); }
  /// An answer's KV was to go back; `tokens` that went. `outcome` as in kGiveBackOutcomes.
  void GaveBack(std::string_view outcome, std::int64_t tokens);
  void Workers(const cluster::ClusterSnapshot& snapshot);
  void WorkerRefused();
  void HandshakesRefused(std::uint64_t total);
  void WorkerBroken();
  void WorkerLost();

 private:
  void AddResumeMetrics(metrics::Registry& registry);
  void AddHandoffMetrics(metrics::Registry& registry);
  void AddMoveMetrics(metrics::Registry& registry);

  metrics::Registry* registry_;
  std::map<std::string, metrics::Counter, std::less<>> errors_;
  std::map<Refusal, metrics::Counter> rejections_;
  metrics::Counter ignored_fields_;
  metrics::Gauge in_flight_;
  metrics::Gauge queued_;
  metrics::Gauge queued_tokens_;
  metrics::Histogram queue_seconds_;
  metrics::Histogram tokenize_seconds_;
  metrics::Histogram first_token_;
  metrics::Histogram next_token_;
  metrics::Histogram duration_;
  metrics::Counter retries_;
  std::map<std::string, metrics::Counter, std::less<>> resumes_;  // by reason
  metrics::Counter recomputed_tokens_;
  metrics::Histogram resume_gap_;
  metrics::Counter prompt_tokens_;
  metrics::Counter cached_tokens_;
  metrics::Counter generated_tokens_;
  metrics::Counter stale_tokens_;
  std::map<std::pair<std::string, std::string>, metrics::Counter> moves_;  // by reason and outcome
  metrics::Histogram move_gap_;
  std::map<std::string, metrics::Counter, std::less<>> give_backs_;  // by outcome
  metrics::Counter given_back_tokens_;
  metrics::Counter workers_refused_;
  metrics::Gauge handshakes_refused_;
  metrics::Counter workers_broken_;
  metrics::Counter workers_lost_;
  std::map<std::pair<cluster::Phase, std::string>, metrics::Gauge> workers_;
  std::map<std::string, metrics::Counter, std::less<>> handoff_bytes_;  // by transport
  metrics::Counter handoff_messages_;
  metrics::Counter handoff_wire_;
  metrics::Counter handoff_exposed_;
  metrics::Counter handoff_seconds_;
  metrics::Counter handoffs_;
};

/// Labels of baton_migrations_total.
inline constexpr std::string_view kMoveReasons[] = {"drain", "balance", "room"};
inline constexpr std::string_view kMoveOutcomes[] = {"moved", "refused", "failed", "ended"};

/// Values of the label `outcome` of baton_give_backs_total.
inline constexpr std::string_view kGiveBackOutcomes[] = {"done", "failed", "cancelled"};

/// Values of the label `reason` of baton_request_errors_total.
inline constexpr std::string_view kErrorReasons[] = {
    "validation", "queue_full", "no_workers",    "worker_lost", "kv_transfer",
    "no_memory",  "deadline",   "client_closed", "draining",    "internal"};

/// Values of the label `reason` of baton_resumed_requests_total.
inline constexpr std::string_view kResumeReasons[] = {"worker_lost", "kv_transfer", "no_memory"};

}  // namespace baton::router
