#include "router/probe.h"

namespace baton::router {
namespace {

using cluster::Phase;

// What a worker can name; anything else is "other", so that no worker makes labels.
constexpr std::string_view kTransports[] = {"tcp",  "rc",   "dc",       "ud",   "posix",
                                            "sysv", "self", "loopback", "other"};

// 100 us to 10 s: what tokenizing and waiting take.
const std::vector<double>& ShortBuckets() {
  static const std::vector<double> buckets = {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025,
                                              0.05,   0.1,     0.25,   0.5,   1,      2.5,   5,    10};
  return buckets;
}

constexpr const char* kRequestsHelp =
    "HTTP requests for an answer, and what was refused elsewhere, by endpoint and status.";

std::string State(const cluster::WorkerSnapshot& worker) {
  if (worker.draining) return "draining";
  return worker.ready ? "ready" : "starting";
}

}  // namespace

Probe::Probe(metrics::Registry& registry) : registry_(&registry) {
  for (const std::string_view reason : kErrorReasons) {
    errors_.emplace(
        reason, registry.AddCounter("baton_request_errors_total", "Requests that were not answered in full.",
                                    {{"reason", std::string(reason)}}));
  }
  for (const Refusal refusal : kRefusals) {
    rejections_.emplace(
        refusal, registry.AddCounter("baton_admission_rejections_total", "Requests refused at admission.",
                                     {{"reason", std::string(Name(refusal))}}));
  }
  for (const Endpoint endpoint : {Endpoint::kCompletions, Endpoint::kChat}) {
    for (const int status : {200, 400, 404, 500, 503, 504}) {
      static_cast<void>(
          registry.AddCounter("baton_requests_total", kRequestsHelp,
                              {{"endpoint", std::string(Name(endpoint))}, {"code", std::to_string(status)}}));
    }
  }
  ignored_fields_ =
      registry.AddCounter("baton_http_ignored_fields_total", "Unknown fields in request bodies.");
  in_flight_ = registry.AddGauge("baton_requests_in_flight",
                                 "Requests admitted and not yet released by every worker.");
  queued_ = registry.AddGauge("baton_requests_queued", "Requests admitted whose first token has not come.");
  queued_tokens_ = registry.AddGauge("baton_queued_prompt_tokens", "Prompt tokens of the queued requests.");
  queue_seconds_ = registry.AddHistogram("baton_request_queue_seconds", "From admission to placement.", {},
                                         ShortBuckets());
  tokenize_seconds_ = registry.AddHistogram("baton_stage_duration_seconds", "Time of a stage of a request.",
                                            {{"stage", "tokenize"}}, ShortBuckets());
  const std::vector<double> latency = metrics::LatencyBuckets();
  first_token_ = registry.AddHistogram("baton_time_to_first_token_seconds",
                                       "From arrival to the first token.", {}, latency);
  next_token_ = registry.AddHistogram("baton_inter_token_latency_seconds", "Between two tokens of an answer.",
                                      {}, latency);
  duration_ = registry.AddHistogram("baton_request_duration_seconds", "From arrival to the answer's end.", {},
                                    latency);
  AddResumeMetrics(registry);
  prompt_tokens_ = registry.AddCounter("baton_prompt_tokens_total", "Prompt tokens of ended requests.");
  cached_tokens_ = registry.AddCounter("baton_cached_prompt_tokens_total",
                                       "Prompt tokens that workers found instead of computed.");
  generated_tokens_ = registry.AddCounter("baton_generated_tokens_total", "Tokens of ended answers.");
  stale_tokens_ =
      registry.AddCounter("baton_stale_tokens_total", "Tokens of older attempts or of no request.");
  workers_refused_ = registry.AddCounter("baton_worker_refusals_total", "Registrations refused.");
  handshakes_refused_ = registry.AddGauge(
      "baton_handshake_refusals", "Connections refused so far: without the cluster's key, or no worker's.");
  workers_broken_ = registry.AddCounter("baton_worker_protocol_errors_total",
                                        "Worker connections closed for what they sent.");
  workers_lost_ =
      registry.AddCounter("baton_workers_lost_total", "Workers whose connection broke or went silent.");
  for (const Phase phase : {Phase::kPrefill, Phase::kDecode}) {
    for (const char* state : {"starting", "ready", "draining"}) {
      workers_[{phase, state}] =
          registry.AddGauge("baton_workers", "Registered workers.",
                            {{"phase", std::string(cluster::Name(phase))}, {"state", state}});
    }
  }
  AddHandoffMetrics(registry);
  AddMoveMetrics(registry);
}

void Probe::AddMoveMetrics(metrics::Registry& registry) {
  for (const std::string_view reason : kMoveReasons) {
    for (const std::string_view outcome : kMoveOutcomes) {
      const std::pair<std::string, std::string> labels(reason, outcome);
      moves_.emplace(
          labels,
          registry.AddCounter("baton_migrations_total",
                              "Answers that were to move to another decode worker, by why and how it ended.",
                              {{"reason", labels.first}, {"outcome", labels.second}}));
    }
  }
  move_gap_ = registry.AddHistogram("baton_migration_gap_seconds",
                                    "Between a moved answer's last token on the one worker and its first on "
                                    "the other.",
                                    {}, metrics::LatencyBuckets());
  for (const std::string_view outcome : kGiveBackOutcomes) {
    give_backs_.emplace(outcome,
                        registry.AddCounter("baton_give_backs_total",
                                            "Ended answers whose KV was to go back to a prefill worker.",
                                            {{"outcome", std::string(outcome)}}));
  }
  given_back_tokens_ = registry.AddCounter("baton_given_back_tokens_total",
                                           "Tokens whose KV has gone back to prefill workers.");
}

void Probe::GaveBack(std::string_view outcome, std::int64_t tokens) {
  if (const auto at = give_backs_.find(outcome); at != give_backs_.end()) at->second.Increment();
  given_back_tokens_.Increment(static_cast<double>(tokens));
}

void Probe::MoveEnded(std::string_view reason, std::string_view outcome) {
  const auto at = moves_.find({std::string(reason), std::string(outcome)});
  if (at != moves_.end()) at->second.Increment();
}

void Probe::AddResumeMetrics(metrics::Registry& registry) {
  retries_ =
      registry.AddCounter("baton_retries_total", "Attempts that followed a failed one before any token.");
  for (const std::string_view reason : kResumeReasons) {
    resumes_.emplace(reason, registry.AddCounter("baton_resumed_requests_total",
                                                 "Attempts that followed a failed one amid an answer.",
                                                 {{"reason", std::string(reason)}}));
  }
  recomputed_tokens_ =
      registry.AddCounter("baton_resumed_tokens_recomputed_total",
                          "Tokens of prompts and answers that resumed requests computed a second time.");
  resume_gap_ = registry.AddHistogram("baton_resume_gap_seconds",
                                      "From an attempt's failure to the next one's first token.", {},
                                      metrics::LatencyBuckets());
}

void Probe::AddHandoffMetrics(metrics::Registry& registry) {
  handoffs_ = registry.AddCounter("baton_kv_handoff_total", "KV hand-offs that workers reported.");
  for (const std::string_view transport : kTransports) {
    handoff_bytes_.emplace(transport,
                           registry.AddCounter("baton_kv_handoff_bytes_total", "Bytes of KV handed off.",
                                               {{"transport", std::string(transport)}}));
  }
  handoff_messages_ = registry.AddCounter("baton_kv_handoff_messages_total", "Messages of KV handed off.");
  handoff_wire_ =
      registry.AddCounter("baton_kv_handoff_wire_seconds_total", "Something of a hand-off was on the wire.");
  handoff_exposed_ = registry.AddCounter("baton_kv_handoff_exposed_seconds_total",
                                         "Of the wire time, what came after the prompt's last step.");
  handoff_seconds_ = registry.AddCounter("baton_kv_handoff_seconds_total",
                                         "From the end of a prompt's last step to the acknowledgement.");
}

void Probe::Responded(std::string_view endpoint, int status) {
  registry_
      ->AddCounter("baton_requests_total", kRequestsHelp,
                   {{"endpoint", std::string(endpoint)}, {"code", std::to_string(status)}})
      .Increment();
}

void Probe::Failed(std::string_view reason) {
  const auto at = errors_.find(reason);
  (at != errors_.end() ? at->second : errors_.find("internal")->second).Increment();
}

void Probe::Rejected(Refusal refusal) {
  rejections_.at(refusal).Increment();
}
void Probe::FieldsIgnored(int count) {
  ignored_fields_.Increment(count);
}
void Probe::Tokenized(Duration took) {
  tokenize_seconds_.Observe(Seconds(took));
}

void Probe::InFlight(std::size_t requests, std::int64_t queued, std::int64_t queued_prompt_tokens) {
  in_flight_.Set(static_cast<double>(requests));
  queued_.Set(static_cast<double>(queued));
  queued_tokens_.Set(static_cast<double>(queued_prompt_tokens));
}

void Probe::Placed(Duration waited) {
  queue_seconds_.Observe(Seconds(waited));
}
void Probe::Retried(std::string_view reason, bool after_first_token) {
  if (!after_first_token) return retries_.Increment();
  const auto at = resumes_.find(reason);
  if (at != resumes_.end()) at->second.Increment();
}
void Probe::Resumed(Duration gap, std::int64_t recomputed) {
  resume_gap_.Observe(Seconds(gap));
  recomputed_tokens_.Increment(static_cast<double>(recomputed));
}
void Probe::FirstToken(Duration since_arrival) {
  first_token_.Observe(Seconds(since_arrival));
}
void Probe::NextToken(Duration since_last) {
  next_token_.Observe(Seconds(since_last));
}

void Probe::Ended(Duration since_arrival, std::int64_t prompt_tokens, std::int64_t output_tokens) {
  duration_.Observe(Seconds(since_arrival));
  prompt_tokens_.Increment(static_cast<double>(prompt_tokens));
  generated_tokens_.Increment(static_cast<double>(output_tokens));
}

void Probe::Transferred(const TransferReport& report) {
  handoffs_.Increment();
  const auto bytes = handoff_bytes_.find(report.transport);
  (bytes != handoff_bytes_.end() ? bytes : handoff_bytes_.find("other"))
      ->second.Increment(static_cast<double>(report.bytes));
  handoff_messages_.Increment(static_cast<double>(report.messages));
  handoff_wire_.Increment(Seconds(report.wire));
  handoff_exposed_.Increment(Seconds(report.exposed));
  handoff_seconds_.Increment(Seconds(report.handoff));
}

void Probe::StaleToken() {
  stale_tokens_.Increment();
}

void Probe::Workers(const cluster::ClusterSnapshot& snapshot) {
  std::map<std::pair<Phase, std::string>, int> counts;
  for (const auto& worker : snapshot.workers) ++counts[{worker.about.phase, State(worker)}];
  for (const auto& [key, gauge] : workers_) gauge.Set(counts[key]);
}

void Probe::WorkerRefused() {
  workers_refused_.Increment();
}
void Probe::HandshakesRefused(std::uint64_t total) {
  handshakes_refused_.Set(static_cast<double>(total));
}
void Probe::WorkerBroken() {
  workers_broken_.Increment();
}
void Probe::WorkerLost() {
  workers_lost_.Increment();
}

}  // namespace baton::router
