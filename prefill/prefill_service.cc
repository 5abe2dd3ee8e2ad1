#include "prefill/prefill_service.h"

#include <algorithm>
#include <deque>
#include <optional>
#include <span>
#include <vector>

#include <absl/container/flat_hash_map.h>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/cluster/wire.pb.h"
#include "engine/worker/probe.h"
#include "kvtransfer/attempts.h"
#include "prefill/taken_answers.h"

namespace baton::prefill {
namespace {

using engine::FinishReason;
using engine::Outcome;

/// Requests whose newest attempt is remembered: more than can be live or on their way at once.
constexpr std::size_t kRememberedRequests = 16384;

struct Job {
  RequestKey key;
  std::vector<TokenId> tokens;
  std::int64_t resumed = 0;  // of them, at the end: the answer's, from an earlier attempt
  std::string cache_salt;
  engine::SamplingParams sampling;
  engine::StopRules stop;
  std::int32_t logprobs = -1;
  bool prompt_logprobs = false;                     // then all of the prompt is computed: KV alone has none
  std::shared_ptr<const grammar::Grammar> grammar;  // null: the answer may be anything
  std::int32_t samples = 1;
  WorkerId decode;
  Incarnation decode_incarnation;

  engine::BlockTable blocks;       // empty while it waits
  std::int64_t cached = 0;         // prompt tokens whose KV was there already
  RequestKey behind;               // while it waits: whose blocks it waits for
  std::int64_t behind_tokens = 0;  // up to here; 0: nobody's
  bool executor_holds = false;
  bool handoff_holds = false;
  std::vector<TokenId> first_tokens;  // of the answers, in order
  bool goes_on = false;               // one of them has not ended with it
  bool started = false;               // the first layer of the first chunk is done
  std::int64_t computed = 0;          // prompt tokens whose last layer is done
  std::optional<Outcome> outcome;     // decided; it may still hold blocks
  std::optional<kvtransfer::TransferStats> transfer;
  TimePoint arrived{};
  TimePoint begun{};
  TimePoint last_step{};  // of the prompt
  net::Timer deadline;
};

class PrefillService final : public engine::PhaseService {
 public:
  explicit PrefillService(const engine::ServiceContext& context)
      : context_(context), taken_(context_, [this] { OnTakenGone(); }) {}

  void OnOrder(const wire::Envelope& order) override {
    if (order.has_prefill()) OnPrefill(order.prefill());
    if (order.has_take_back()) OnTakeBack(order.take_back());
  }
  void Cancel(RequestKey key) override;
  void CancelAll() override;
  void OnLayerDone(const engine::LayerEvent& event) override;
  void OnToken(const engine::TokenEvent& event) override;
  void OnPromptLogprobs(const engine::PromptLogprobsEvent& event) override;
  void OnExecutorReleased(RequestKey key, FinishReason reason) override;
  engine::ServiceLoad Load() const override;
  std::int64_t InFlight() const override { return std::ssize(jobs_) + taken_.InFlight(); }

 private:
  void OnPrefill(const wire::Prefill& order);
  void OnTakeBack(const wire::TakeBack& order);
  void OnTakenGone();
  void CancelUpTo(RequestKey key);
  void Advance();
  [[nodiscard]] bool WillFindMore(Job& job);
  [[nodiscard]] bool ComesTo(RequestKey key, std::int64_t tokens) const;
  [[nodiscard]] bool Allocate(Job& job);
  void Begin(Job& job);
  void OnTransferEnded(RequestKey key, kvtransfer::TransferEnd end, const absl::Status& status,
                       const kvtransfer::TransferStats& stats);
  void End(Job& job, Outcome outcome);
  void FinishIfFree(Job& job);
  void SendReleased(const Job& job, const Outcome& outcome);
  Job* Find(RequestKey key) const {
    const auto found = jobs_.find(key);
    return found == jobs_.end() ? nullptr : found->second.get();
  }

  const engine::ServiceContext context_;
  absl::flat_hash_map<RequestKey, std::unique_ptr<Job>> jobs_;
  std::deque<RequestKey> waiting_;  // for blocks, in order of arrival
  TakenAnswers taken_;
  kvtransfer::Attempts attempts_{kRememberedRequests};
  bool advancing_ = false;
};

void PrefillService::OnPrefill(const wire::Prefill& order) {
  auto made = std::make_unique<Job>();
  Job& job = *made;
  job.key = {.request = RequestId(order.request()), .attempt = Attempt(order.attempt())};
  if (jobs_.contains(job.key)) return;  // repeated
  if (!attempts_.Begin(job.key)) return SendReleased(job, {.name = "cancelled", .code = {}, .message = {}});
  if (job.key.attempt.value > 1)
    CancelUpTo({.request = job.key.request, .attempt = Attempt(job.key.attempt.value - 1)});
  job.tokens.assign(order.tokens().begin(), order.tokens().end());
  job.cache_salt = order.cache_salt();
  job.resumed = order.resumed();
  job.sampling = engine::FromWire(order.sampling());
  job.stop = engine::FromWire(order.stop());
  job.logprobs = engine::LogprobsWanted(order.sampling());
  job.prompt_logprobs = job.logprobs >= 0 && order.sampling().prompt_logprobs();
  job.samples = engine::SamplesWanted(order.sampling());
  job.decode = WorkerId(order.decode_worker());
  job.decode_incarnation = Incarnation(order.decode_incarnation());
  job.arrived = context_.loop.Now();
  const bool full = std::ssize(waiting_) >= context_.queue_requests;
  jobs_[job.key] = std::move(made);
  if (const absl::Status checked =
          engine::CheckOrder(job.tokens, job.resumed, job.samples, job.sampling, job.stop, context_.model);
      !checked.ok()) {
    return End(job, engine::Failed("internal", checked));
  }
  auto grammar = engine::GrammarWanted(order.sampling(), job.stop, context_.grammars);
  if (!grammar.ok()) return End(job, engine::Failed("internal", grammar.status()));
  job.grammar = *std::move(grammar);
  const std::int64_t needed = engine::BlocksFor(std::ssize(job.tokens), context_.block_tokens);
  if (full || needed > context_.pool.Counts().total) {
    return End(job,
               engine::Failed("no_memory", Error(kResourceExhausted,
                                                 "{} requests wait for KV blocks; this one needs "
                                                 "{} of {}",
                                                 waiting_.size(), needed, context_.pool.Counts().total)));
  }
  if (order.deadline_ms() > 0) {
    job.deadline = context_.loop.After(std::chrono::milliseconds(order.deadline_ms()), [this, key = job.key] {
      if (Job* late = Find(key); late != nullptr) {
        End(*late, engine::Failed("deadline", Error(kDeadlineExceeded, "the request's deadline has passed")));
      }
    });
  }
  waiting_.push_back(job.key);
  Advance();
  context_.load_changed();
}

/// Begins whatever the free blocks allow, in order; but for those that are going to find their beginning.
void PrefillService::Advance() {
  if (std::exchange(advancing_, true)) return;  // an order that ends while it begins comes back here
  for (std::size_t i = 0; i < waiting_.size();) {
    Job& job = *jobs_.at(waiting_[i]);
    if (WillFindMore(job)) {
      ++i;
      continue;
    }
    if (!Allocate(job)) {
      taken_.DropAll();
      break;
    }
    waiting_.erase(waiting_.begin() + static_cast<std::ptrdiff_t>(i));
    Begin(job);
  }
  advancing_ = false;
}

/// A prompt that is computed now begins like this one, and further than what the cache has: it waits for
/// those blocks instead of computing them a second time. They come chunk by chunk; where the other one is
/// cancelled, what it has computed stays and the wait is over. Compares prompts once for each wait: hundreds
/// may wait, and each chunk asks.
bool PrefillService::WillFindMore(Job& job) {
  if (context_.prefixes == nullptr || job.prompt_logprobs) return false;
  if (job.behind_tokens > 0 && ComesTo(job.behind, job.behind_tokens)) return true;
  job.behind_tokens = 0;
  for (const auto& [key, other] : jobs_) {
    if (other->cache_salt != job.cache_salt || !ComesTo(key, std::ssize(other->tokens))) continue;
    const auto differs = std::ranges::mismatch(job.tokens, other->tokens).in1;
    const std::int64_t alike =
        std::min<std::int64_t>(std::distance(job.tokens.begin(), differs),
                               std::ssize(job.tokens) - 1);  // the last is computed anyway
    const std::int64_t shared = alike / context_.block_tokens * context_.block_tokens;
    // What it has computed is in the cache by now, or had no room there.
    if (shared <= job.behind_tokens || !ComesTo(key, shared)) continue;
    job.behind = key;
    job.behind_tokens = shared;
  }
  if (job.behind_tokens <= context_.prefixes->CachedTokens(job.cache_salt, job.tokens)) job.behind_tokens = 0;
  return job.behind_tokens > 0;
}

/// Whether the prompt is under way, and is going to be computed up to there.
bool PrefillService::ComesTo(RequestKey key, std::int64_t tokens) const {
  const Job* job = Find(key);
  return job != nullptr && job->executor_holds && !job->outcome && job->computed < tokens;
}

/// Blocks for the prompt; those that begin it may be shared, with their KV in place.
bool PrefillService::Allocate(Job& job) {
  if (context_.prefixes == nullptr) {
    absl::StatusOr<engine::BlockTable> blocks =
        context_.pool.Allocate(engine::BlocksFor(std::ssize(job.tokens), context_.block_tokens));
    if (blocks.ok()) job.blocks = *std::move(blocks);
    return blocks.ok();
  }
  absl::StatusOr<engine::PromptBlocks> prompt =
      context_.prefixes->Allocate(job.cache_salt, job.tokens, /*share=*/!job.prompt_logprobs);
  if (!prompt.ok()) return false;
  job.blocks = std::move(prompt->blocks);
  job.cached = job.computed = prompt->cached_tokens;
  return true;
}

void PrefillService::Begin(Job& job) {
  job.begun = context_.loop.Now();
  const RequestKey key = job.key;
  const absl::Status sent =
      context_.handoff.Send({.key = key,
                             .receiver = job.decode,
                             .receiver_incarnation = job.decode_incarnation,
                             .prompt_tokens = std::ssize(job.tokens),
                             .blocks = job.blocks},
                            {.on_granted = nullptr,
                             .on_ended = [this, key](kvtransfer::TransferEnd end, const absl::Status& status,
                                                     const kvtransfer::TransferStats& stats) {
                               OnTransferEnded(key, end, status, stats);
                             }});
  if (!sent.ok()) return End(job, engine::FailedTransfer(sent));
  job.handoff_holds = true;
  job.executor_holds = true;
  context_.executor.Submit({.key = key,
                            .phase = engine::Phase::kPrefill,
                            .tokens = job.tokens,
                            .resumed = job.resumed,
                            .blocks = job.blocks,
                            .computed_tokens = job.cached,
                            .sampling = job.sampling,
                            .stop = job.stop,
                            .logprobs = job.logprobs,
                            .prompt_logprobs = job.prompt_logprobs,
                            .samples = job.samples,
                            .grammar = job.grammar,
                            .report_layers = true});
  // After the submission: sending much takes time on this thread, and the engine can compute meanwhile.
  for (int layer = 0; job.cached > 0 && layer < context_.model.layers; ++layer) {
    context_.handoff.LayerReady(key, layer, 0, job.cached);
  }
}

void PrefillService::OnLayerDone(const engine::LayerEvent& event) {
  Job* job = Find(event.key);
  if (job == nullptr) return;
  if (!std::exchange(job->started, true)) context_.handoff.ProducerStarted(event.key);
  if (event.layer + 1 == context_.model.layers) {
    job->computed = event.first_position + event.tokens;
    job->last_step = context_.loop.Now();
    context_.load_changed();
  }
  if (!job->outcome) context_.handoff.LayerReady(event.key, event.layer, event.first_position, event.tokens);
  if (context_.prefixes != nullptr && event.layer + 1 == context_.model.layers) {
    const auto computed = static_cast<std::size_t>(job->computed);
    context_.prefixes->Insert(job->cache_salt, std::span(job->tokens).first(computed), job->blocks);
    Advance();  // some may have waited for these blocks
  }
}

void PrefillService::OnToken(const engine::TokenEvent& event) {
  Job* job = Find(event.key);
  if (job == nullptr || job->outcome) return;
  wire::Envelope envelope;
  wire::Token& token = *envelope.mutable_token();
  engine::ToWire(event, token);
  token.set_cached_tokens(job->cached);
  context_.send(envelope);  // the client's first token does not wait for the transfer
  job->first_tokens.push_back(event.token);
  job->goes_on |= token.finish().empty();
  if (std::ssize(job->first_tokens) < job->samples) return;
  if (!job->goes_on) return End(*job, {.name = "done", .code = {}, .message = {}});
  context_.handoff.Commit(event.key,
                          {.first_token = job->first_tokens.front(),
                           .prompt_tokens = std::ssize(job->tokens),
                           .cached_tokens = job->cached,
                           .more_first_tokens = {job->first_tokens.begin() + 1, job->first_tokens.end()},
                           .computed_at = event.at});
}

void PrefillService::OnPromptLogprobs(const engine::PromptLogprobsEvent& event) {
  const Job* job = Find(event.key);
  if (job == nullptr || job->outcome) return;
  wire::Envelope envelope;
  engine::ToWire(event, *envelope.mutable_prompt_logprobs());
  context_.send(envelope);
}

void PrefillService::OnTransferEnded(RequestKey key, kvtransfer::TransferEnd end, const absl::Status& status,
                                     const kvtransfer::TransferStats& stats) {
  Job* job = Find(key);
  if (job == nullptr) return;
  job->handoff_holds = false;
  if (end == kvtransfer::TransferEnd::kAcked) {
    job->transfer = stats;
    context_.probe.HandoffBegun(stats.begin);
  }
  if (!job->outcome) {
    if (end == kvtransfer::TransferEnd::kAcked) {
      job->outcome = Outcome{.name = "done", .code = {}, .message = {}};
    } else {
      return End(*job, engine::FailedTransfer(status));
    }
  }
  FinishIfFree(*job);
}

void PrefillService::OnExecutorReleased(RequestKey key, FinishReason) {
  Job* job = Find(key);
  if (job == nullptr) return;
  job->executor_holds = false;
  FinishIfFree(*job);
}

/// Decides the outcome and lets go of everything; Released follows when nothing holds the blocks any more.
void PrefillService::End(Job& job, Outcome outcome) {
  if (!job.outcome) job.outcome = std::move(outcome);
  std::erase(waiting_, job.key);
  if (job.executor_holds) context_.executor.Cancel(job.key);
  if (job.handoff_holds) context_.handoff.AbortSend(job.key);
  FinishIfFree(job);
}

void PrefillService::FinishIfFree(Job& job) {
  if (!job.outcome || job.executor_holds || job.handoff_holds) return;
  if (!job.blocks.empty()) context_.pool.Release(job.blocks);
  const std::unique_ptr<Job> ended = std::move(jobs_.extract(job.key).mapped());
  SendReleased(*ended, *ended->outcome);
  Advance();
  context_.load_changed();
}

void PrefillService::SendReleased(const Job& job, const Outcome& outcome) {
  wire::Envelope envelope;
  wire::Released& released = *envelope.mutable_released();
  engine::ToWire(job.key, outcome, released);
  if (job.begun != TimePoint{}) {
    released.mutable_timing()->set_queue_ns(static_cast<std::uint64_t>((job.begun - job.arrived).count()));
    if (job.last_step > job.begun) {
      released.mutable_timing()->set_compute_ns(
          static_cast<std::uint64_t>((job.last_step - job.begun).count()));
    }
  }
  if (job.transfer) {
    wire::TransferReport& report = *released.mutable_transfer();
    report.set_transport(job.transfer->transport);
    report.set_bytes(job.transfer->bytes);
    report.set_messages(job.transfer->messages);
    report.set_wire_ns(static_cast<std::uint64_t>(job.transfer->wire.count()));
    report.set_exposed_ns(static_cast<std::uint64_t>(job.transfer->exposed.count()));
    report.set_handoff_ns(static_cast<std::uint64_t>(job.transfer->whole.count()));
    report.set_layer_wise(job.transfer->layer_wise);
  }
  context_.probe.Ended(outcome.name);
  context_.send(envelope);
}

void PrefillService::Cancel(RequestKey key) {
  attempts_.Abort(key);  // it may have overtaken its order
  CancelUpTo(key);
}

void PrefillService::CancelUpTo(RequestKey key) {
  std::vector<RequestKey> ended;
  for (const auto& [candidate, job] : jobs_) {
    if (candidate.request == key.request && candidate.attempt <= key.attempt) ended.push_back(candidate);
  }
  for (const RequestKey candidate : ended) {
    if (Job* job = Find(candidate); job != nullptr)
      End(*job, {.name = "cancelled", .code = {}, .message = {}});
  }
  taken_.CancelUpTo(key);
}

/// A prompt that waits for memory goes first.
void PrefillService::OnTakeBack(const wire::TakeBack& order) {
  const RequestKey key{.request = RequestId(order.request()), .attempt = Attempt(order.attempt())};
  const bool memory = waiting_.empty();
  if (memory && attempts_.Begin(key)) return taken_.Take(order);
  wire::Envelope envelope;
  const Outcome outcome =
      memory ? Outcome{.name = "cancelled", .code = {}, .message = {}}
             : engine::Failed("no_memory", Error(kResourceExhausted, "prompts wait for KV blocks"));
  engine::ToWire(key, outcome, *envelope.mutable_released());
  context_.send(envelope);
}

void PrefillService::OnTakenGone() {
  Advance();
  context_.load_changed();
}

void PrefillService::CancelAll() {
  // Those that wait first: a block that comes free must begin none of them.
  std::vector<RequestKey> keys(waiting_.begin(), waiting_.end());
  for (const auto& [key, job] : jobs_) keys.push_back(key);
  for (const RequestKey key : keys) Cancel(key);
  taken_.DropAll();
}

engine::ServiceLoad PrefillService::Load() const {
  engine::ServiceLoad load{.queued_requests = std::ssize(waiting_)};
  for (const auto& [key, job] : jobs_) {
    load.running_requests += job->blocks.empty() ? 0 : 1;
    if (!job->outcome) load.queued_prompt_tokens += std::ssize(job->tokens) - job->computed;
  }
  return load;
}

}  // namespace

std::unique_ptr<engine::PhaseService> CreatePrefillService(const engine::ServiceContext& context) {
  return std::make_unique<PrefillService>(context);
}

}  // namespace baton::prefill
