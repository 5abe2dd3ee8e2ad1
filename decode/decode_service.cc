#include "decode/decode_service.h"

#include <algorithm>
#include <deque>
#include <optional>
#include <vector>

#include <absl/container/flat_hash_map.h>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/cluster/wire.pb.h"
#include "engine/kv/answer_memory.h"
#include "engine/worker/probe.h"
#include "kvtransfer/attempts.h"

namespace baton::decode {
namespace {

using engine::FinishReason;
using engine::Outcome;

/// How long an order whose sender gave up waits for the router to end it.
constexpr Duration kAbandonedPatience = std::chrono::seconds(2);
/// Requests whose newest attempt is remembered: more than can be live or on their way at once.
constexpr std::size_t kRememberedRequests = 16384;

struct Job {
  RequestKey key;
  std::vector<TokenId> tokens;  // the prompt
  std::int64_t resumed = 0;     // of them, at the end: the answer's, from an earlier attempt
  engine::SamplingParams sampling;
  engine::StopRules stop;
  std::int32_t logprobs = -1;
  std::shared_ptr<const grammar::Grammar> grammar;  // null: the answer may be anything
  std::int32_t samples = 1;
  WorkerId prefill;
  Incarnation prefill_incarnation;

  bool handoff_holds = false;
  std::int32_t sequences = 0;  // in the executor
  std::int32_t writing = 0;    // answers that have not ended
  bool reserved = false;       // has blocks, and the prompt has not come
  std::optional<Outcome> outcome;
  TimePoint arrived{};
  TimePoint begun{};
  TimePoint committed{};
  net::Timer deadline;
};

/// Hands what the memory wants on to the executor.
class Mover final : public engine::SequenceMover {
 public:
  explicit Mover(engine::Executor& executor) : executor_(executor) {}
  void Grow(engine::SequenceKey key, engine::BlockTable more) override {
    executor_.Grow(key, std::move(more));
  }
  void Preempt(engine::SequenceKey key, engine::BlockTable slots) override {
    executor_.Preempt(key, std::move(slots));
  }
  void Resume(engine::SequenceKey key, engine::BlockTable blocks, engine::BlockTable slots) override {
    executor_.Resume(key, std::move(blocks), std::move(slots));
  }

 private:
  engine::Executor& executor_;
};

class DecodeService final : public engine::PhaseService {
 public:
  explicit DecodeService(const engine::ServiceContext& context)
      : context_(context), mover_(context.executor), memory_(context.pool, mover_, context.answers) {}

  void OnOrder(const wire::Envelope& order) override {
    if (order.has_reserve()) OnReserve(order.reserve());
  }
  void Cancel(RequestKey key) override;
  void CancelAll() override;
  void OnLayerDone(const engine::LayerEvent&) override {}
  void OnToken(const engine::TokenEvent& event) override;
  void OnExecutorReleased(RequestKey key, FinishReason reason) override;
  void OnPreempted(const engine::PreemptedEvent& event) override;
  void OnResumed(const engine::ResumedEvent& event) override;
  engine::ServiceLoad Load() const override;
  engine::AnswerMemoryCounts Answers() const override { return memory_.Counts(); }
  std::int64_t InFlight() const override { return static_cast<std::int64_t>(jobs_.size()); }

 private:
  void OnReserve(const wire::Reserve& order);
  void CancelUpTo(RequestKey key);
  void Advance();
  void Begin(Job& job, engine::BlockTable prompt);
  void OnCommitted(RequestKey key, const kvtransfer::CommitInfo& info);
  void Write(Job& job, std::span<const TokenId> first, std::span<const std::int32_t> samples);
  void OnTransferFailed(RequestKey key, kvtransfer::TransferEnd end, const absl::Status& status);
  void OnTransferReleased(RequestKey key);
  void SendToken(const engine::TokenEvent& event, std::int64_t cached_tokens = 0);
  void End(Job& job, Outcome outcome);
  void FinishIfFree(Job& job);
  void SendReleased(const Job& job, const Outcome& outcome);
  [[nodiscard]] static engine::AnswerSize SizeOf(const Job& job) {
    return {.prompt_tokens = std::ssize(job.tokens),
            .max_tokens = job.stop.max_tokens - job.resumed,
            .samples = job.samples};
  }
  Job* Find(RequestKey key) {
    const auto found = jobs_.find(key);
    return found == jobs_.end() ? nullptr : found->second.get();
  }

  const engine::ServiceContext context_;
  Mover mover_;
  engine::AnswerMemory memory_;
  absl::flat_hash_map<RequestKey, std::unique_ptr<Job>> jobs_;
  std::deque<RequestKey> waiting_;  // for blocks, in order of arrival
  kvtransfer::Attempts attempts_{kRememberedRequests};
  bool advancing_ = false;
};

void DecodeService::OnReserve(const wire::Reserve& order) {
  auto made = std::make_unique<Job>();
  Job& job = *made;
  job.key = {.request = RequestId(order.request()), .attempt = Attempt(order.attempt())};
  if (jobs_.contains(job.key)) return;  // repeated
  if (!attempts_.Begin(job.key)) return SendReleased(job, {.name = "cancelled", .code = {}, .message = {}});
  if (job.key.attempt.value > 1)
    CancelUpTo({.request = job.key.request, .attempt = Attempt(job.key.attempt.value - 1)});
  job.tokens.assign(order.tokens().begin(), order.tokens().end());
  job.resumed = order.resumed();
  job.sampling = engine::FromWire(order.sampling());
  job.stop = engine::FromWire(order.stop());
  job.logprobs = engine::LogprobsWanted(order.sampling());
  job.samples = engine::SamplesWanted(order.sampling());
  job.prefill = WorkerId(order.prefill_worker());
  job.prefill_incarnation = Incarnation(order.prefill_incarnation());
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
  if (const absl::Status fits = memory_.CheckFits(SizeOf(job)); !fits.ok())
    return End(job, engine::Failed("no_memory", fits));
  if (full) {
    return End(job,
               engine::Failed("no_memory", Error(kResourceExhausted, "{} reservations wait for KV blocks",
                                                 waiting_.size())));
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

void DecodeService::Advance() {
  if (std::exchange(advancing_, true)) return;  // an order that ends while it begins comes back here
  while (!waiting_.empty()) {
    Job& job = *jobs_.at(waiting_.front());
    std::optional<engine::BlockTable> prompt = memory_.Reserve(job.key, SizeOf(job));
    if (!prompt) break;
    waiting_.pop_front();
    job.reserved = true;
    Begin(job, *std::move(prompt));
  }
  advancing_ = false;
}

void DecodeService::Begin(Job& job, engine::BlockTable prompt) {
  job.begun = context_.loop.Now();
  const RequestKey key = job.key;
  const absl::Status begun = context_.handoff.Receive(
      {.key = key,
       .sender = job.prefill,
       .sender_incarnation = job.prefill_incarnation,
       .prompt_tokens = std::ssize(job.tokens),
       .blocks = std::move(prompt)},
      {.on_committed = [this, key](const kvtransfer::CommitInfo& info) { OnCommitted(key, info); },
       .on_failed = [this, key](kvtransfer::TransferEnd end,
                                const absl::Status& status) { OnTransferFailed(key, end, status); },
       .on_released = [this, key] { OnTransferReleased(key); }});
  if (!begun.ok()) return End(job, engine::FailedTransfer(begun));
  job.handoff_holds = true;
}

void DecodeService::OnCommitted(RequestKey key, const kvtransfer::CommitInfo& info) {
  Job* job = Find(key);
  if (job == nullptr || job->outcome) return;
  job->committed = context_.loop.Now();
  std::vector<TokenId> first = {info.first_token};
  first.insert(first.end(), info.more_first_tokens.begin(), info.more_first_tokens.end());
  const bool known = std::ranges::all_of(
      first, [&](TokenId token) { return token >= 0 && token < context_.model.vocabulary; });
  if (!known || std::ssize(first) != job->samples) {
    return End(*job, engine::Failed("kv_transfer",
                                    Error(kInvalidArgument, "COMMIT with {} first tokens for {} answers, {}",
                                          first.size(), job->samples,
                                          known ? "all known" : "some outside the vocabulary")));
  }
  std::vector<std::int32_t> going_on;
  for (std::int32_t sample = 0; sample < job->samples; ++sample) {
    const TokenId token = first[static_cast<std::size_t>(sample)];
    const bool stops =
        job->stop.min_tokens <= job->resumed + 1 && std::ranges::count(job->stop.stop_ids, token) > 0;
    std::optional<FinishReason> finish;
    if (job->stop.max_tokens == job->resumed + 1) finish = FinishReason::kLength;
    if (stops) finish = FinishReason::kStop;
    SendToken({.key = key, .index = job->resumed, .token = token, .finish = finish, .sample = sample},
              info.cached_tokens);
    if (!finish) going_on.push_back(sample);
  }
  Write(*job, first, going_on);
  if (going_on.empty()) return End(*job, {.name = "done", .code = {}, .message = {}});
  Advance();
  context_.load_changed();
}

/// The answers that go on after their first tokens join the running batch.
void DecodeService::Write(Job& job, std::span<const TokenId> first, std::span<const std::int32_t> samples) {
  job.reserved = false;
  job.sequences = job.writing = static_cast<std::int32_t>(samples.size());
  std::vector<engine::AnswerStart> starts = memory_.Begin(job.key, samples);
  for (const engine::AnswerStart& start : starts) {
    if (start.copy) context_.copy_block(start.copy->first, start.copy->second);
  }
  for (engine::AnswerStart& start : starts) {
    engine::SequenceSpec spec{.key = job.key, .phase = engine::Phase::kDecode, .tokens = job.tokens};
    spec.tokens.push_back(first[static_cast<std::size_t>(start.sample)]);
    spec.resumed = job.resumed;
    spec.blocks = std::move(start.blocks);
    spec.grows = true;
    spec.sampling = job.sampling;
    spec.stop = job.stop;
    spec.logprobs = job.logprobs;
    spec.grammar = job.grammar;
    spec.sample = start.sample;
    context_.executor.Submit(std::move(spec));
  }
  memory_.Arrange();
}

void DecodeService::OnTransferFailed(RequestKey key, kvtransfer::TransferEnd end,
                                     const absl::Status& status) {
  Job* job = Find(key);
  if (job == nullptr) return;
  memory_.Quarantine(key);
  if (end != kvtransfer::TransferEnd::kAborted || job->outcome)
    return End(*job, engine::FailedTransfer(status));
  // The sender gave up: because the answer ended with its first token, or was cancelled. The router knows
  // which and says Cancel to both sides; whose word reaches it first is chance, so this side waits for the
  // router's.
  job->deadline = context_.loop.After(kAbandonedPatience, [this, key] {
    if (Job* late = Find(key); late != nullptr) {
      End(*late, engine::Failed("kv_transfer",
                                Error(kAborted, "the sender gave up, and the router did not say why")));
    }
  });
}

void DecodeService::OnTransferReleased(RequestKey key) {
  Job* job = Find(key);
  if (job == nullptr) return;
  job->handoff_holds = false;
  FinishIfFree(*job);
}

void DecodeService::SendToken(const engine::TokenEvent& event, std::int64_t cached_tokens) {
  wire::Envelope envelope;
  wire::Token& message = *envelope.mutable_token();
  engine::ToWire(event, message);
  message.set_cached_tokens(cached_tokens);
  context_.send(envelope);
}

void DecodeService::OnToken(const engine::TokenEvent& event) {
  Job* job = Find(event.key);
  if (job == nullptr || job->outcome) return;
  SendToken(event);
  const engine::SequenceKey sequence{event.key, event.sample};
  if (!event.finish) return memory_.OnToken(sequence);
  memory_.OnEnded(sequence);
  if (--job->writing == 0) job->outcome = Outcome{.name = "done", .code = {}, .message = {}};
  Advance();
}

void DecodeService::OnPreempted(const engine::PreemptedEvent& event) {
  memory_.OnPreempted(event.sequence, event.positions, event.bytes, event.duration);
  context_.load_changed();
}

void DecodeService::OnResumed(const engine::ResumedEvent& event) {
  memory_.OnResumed(event.sequence, event.tokens, event.bytes, event.duration);
  Advance();
  context_.load_changed();
}

void DecodeService::OnExecutorReleased(RequestKey key, FinishReason) {
  Job* job = Find(key);
  if (job == nullptr) return;
  --job->sequences;
  FinishIfFree(*job);
}

/// Decides the outcome and lets go of everything; Released follows when nothing holds the blocks any more.
void DecodeService::End(Job& job, Outcome outcome) {
  if (!job.outcome) job.outcome = std::move(outcome);
  std::erase(waiting_, job.key);
  if (job.sequences > 0) context_.executor.Cancel(job.key);
  if (job.handoff_holds) context_.handoff.AbortReceive(job.key);
  FinishIfFree(job);
}

void DecodeService::FinishIfFree(Job& job) {
  if (!job.outcome || job.sequences > 0 || job.handoff_holds) return;
  if (job.reserved) memory_.Drop(job.key);
  for (std::int32_t sample = 0; sample < job.samples; ++sample) memory_.OnEnded({job.key, sample});
  const std::unique_ptr<Job> ended = std::move(jobs_.extract(job.key).mapped());
  SendReleased(*ended, *ended->outcome);
  Advance();
  context_.load_changed();
}

void DecodeService::SendReleased(const Job& job, const Outcome& outcome) {
  wire::Envelope envelope;
  wire::Released& released = *envelope.mutable_released();
  released.set_request(job.key.request.value);
  released.set_attempt(job.key.attempt.value);
  released.set_outcome(outcome.name);
  released.set_error_code(outcome.code);
  released.set_error_message(outcome.message);
  if (job.committed != TimePoint{}) {
    released.mutable_timing()->set_queue_ns(static_cast<std::uint64_t>((job.begun - job.arrived).count()));
    released.mutable_timing()->set_compute_ns(
        static_cast<std::uint64_t>((context_.loop.Now() - job.committed).count()));
  }
  context_.probe.Ended(outcome.name);
  context_.send(envelope);
}

void DecodeService::Cancel(RequestKey key) {
  attempts_.Abort(key);  // it may have overtaken its order
  CancelUpTo(key);
}

void DecodeService::CancelUpTo(RequestKey key) {
  std::vector<RequestKey> ended;
  for (const auto& [candidate, job] : jobs_) {
    if (candidate.request == key.request && candidate.attempt <= key.attempt) ended.push_back(candidate);
  }
  for (const RequestKey candidate : ended) {
    if (Job* job = Find(candidate); job != nullptr)
      End(*job, {.name = "cancelled", .code = {}, .message = {}});
  }
}

void DecodeService::CancelAll() {
  // Those that wait first: a block that comes free must begin none of them.
  std::vector<RequestKey> keys(waiting_.begin(), waiting_.end());
  for (const auto& [key, job] : jobs_) keys.push_back(key);
  for (const RequestKey key : keys) Cancel(key);
}

engine::ServiceLoad DecodeService::Load() const {
  engine::ServiceLoad load{.queued_requests = std::ssize(waiting_),
                           .blocks_available = waiting_.empty() ? memory_.Available() : 0};
  for (const auto& [key, job] : jobs_) load.running_requests += job->begun != TimePoint{} ? 1 : 0;
  return load;
}

}  // namespace

std::unique_ptr<engine::PhaseService> CreateDecodeService(const engine::ServiceContext& context) {
  return std::make_unique<DecodeService>(context);
}

}  // namespace baton::decode
