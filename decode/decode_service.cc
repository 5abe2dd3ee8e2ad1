#include "decode/decode_service.h"

#include <algorithm>
#include <deque>
#include <optional>
#include <vector>

#include <absl/container/flat_hash_map.h>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/cluster/wire.pb.h"
#include "decode/job.h"
#include "decode/kept_answers.h"
#include "decode/mover.h"
#include "decode/outgoing_move.h"
#include "engine/kv/answer_memory.h"
#include "engine/worker/probe.h"
#include "kvtransfer/attempts.h"

namespace baton::decode {
namespace {

using engine::FinishReason;
using engine::Outcome;

/// How long an order whose sender gave up waits for the router to end it.
constexpr Duration kAbandonedPatience = std::chrono::seconds(2);
/// However long an answer's KV is to be kept after its end.
constexpr Duration kKeepMax = std::chrono::seconds(10);
/// Requests whose newest attempt is remembered: more than can be live or on their way at once.
constexpr std::size_t kRememberedRequests = 16384;

class DecodeService final : public engine::PhaseService {
 public:
  explicit DecodeService(const engine::ServiceContext& context)
      : context_(context),
        mover_(context.executor),
        memory_(context.pool, mover_, context.answers),
        kept_(context_, [this](RequestKey key) { OnKeptGone(key); }) {}

  void OnOrder(const wire::Envelope& order) override {
    if (order.has_reserve()) OnReserve(order.reserve());
    if (order.has_move()) OnMove(order.move());
    if (order.has_move_stop()) OnMoveStop(order.move_stop());
    if (order.has_give_back()) OnGiveBack(order.give_back());
    if (order.has_stop_sample()) OnStopSample(order.stop_sample());
  }
  void Cancel(RequestKey key) override;
  void CancelAll() override;
  void OnLayerDone(const engine::LayerEvent&) override {}
  void OnToken(const engine::TokenEvent& event) override;
  void OnExecutorReleased(RequestKey key, FinishReason reason) override;
  void OnPreempted(const engine::PreemptedEvent& event) override;
  void OnResumed(const engine::ResumedEvent& event) override;
  void OnPaused(engine::SequenceKey sequence) override;
  void OnStopped(engine::SequenceKey sequence) override;
  engine::ServiceLoad Load() const override;
  engine::AnswerMemoryCounts Answers() const override { return memory_.Counts(); }
  std::int64_t InFlight() const override { return static_cast<std::int64_t>(jobs_.size()); }

 private:
  void OnReserve(const wire::Reserve& order);
  [[nodiscard]] std::optional<Outcome> CheckReserve(Job& job, const wire::Reserve& order, bool full);
  void OnMove(const wire::Move& order);
  void OnMoveStop(const wire::MoveStop& order);
  void OnStopSample(const wire::StopSample& order);
  [[nodiscard]] absl::Status BeginMove(Job& job, const OutgoingMove::Target& target);
  void OnMoveEnded(RequestKey key, RequestKey target, const OutgoingMove::Result& result);
  void Keep(const Job& job);
  void OnGiveBack(const wire::GiveBack& order);
  void OnKeptGone(RequestKey key);
  void DropKeptIfShort();
  void OnArrived(Job& job, const kvtransfer::CommitInfo& info);
  void CancelUpTo(RequestKey key);
  void Advance();
  void Begin(Job& job, engine::BlockTable prompt);
  void OnCommitted(RequestKey key, const kvtransfer::CommitInfo& info);
  void Write(Job& job, std::span<const TokenId> first, std::span<const std::int32_t> samples);
  void Submit(const Job& job, engine::AnswerStart start, TokenId last);
  void OnTransferFailed(RequestKey key, kvtransfer::TransferEnd end, const absl::Status& status);
  void OnTransferReleased(RequestKey key);
  void SendToken(const engine::TokenEvent& event, std::int64_t cached_tokens = 0);
  void CountHandoff(Job& job, TimePoint step_begun);
  void End(Job& job, Outcome outcome);
  void FinishIfFree(Job& job);
  void SendReleased(const Job& job, const Outcome& outcome);
  /// To the end an answer that moves is as long as if it had begun here; what is received is more than its
  /// prompt.
  [[nodiscard]] static engine::AnswerSize SizeOf(const Job& job) {
    const std::int64_t tokens = std::ssize(job.tokens) - job.resumed + job.stop.max_tokens;
    const std::int64_t received = job.positions_max > 0 ? job.positions_max : std::ssize(job.tokens);
    return {.prompt_tokens = received, .max_tokens = tokens - received, .samples = job.samples};
  }
  Job* Find(RequestKey key) {
    const auto found = jobs_.find(key);
    return found == jobs_.end() ? nullptr : found->second.get();
  }

  const engine::ServiceContext context_;
  Mover mover_;
  engine::AnswerMemory memory_;
  KeptAnswers kept_;
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
  job.sender = WorkerId(order.prefill_worker());
  job.sender_incarnation = Incarnation(order.prefill_incarnation());
  job.positions_max = order.positions_max();
  job.known = order.known();
  job.keep = std::min<Duration>(std::chrono::milliseconds(order.keep_ms()), kKeepMax);
  job.arrived = context_.loop.Now();
  const bool full = std::ssize(waiting_) >= context_.queue_requests;
  jobs_[job.key] = std::move(made);
  if (auto refused = CheckReserve(job, order, full)) return End(job, *std::move(refused));
  if (order.deadline_ms() > 0) {
    job.deadline = context_.loop.After(std::chrono::milliseconds(order.deadline_ms()), [this, key = job.key] {
      if (Job* late = Find(key); late != nullptr) {
        End(*late, engine::Failed("deadline", Error(kDeadlineExceeded, "the request's deadline has passed")));
      }
    });
  }
  const RequestKey key = job.key;
  waiting_.push_back(key);
  Advance();
  context_.load_changed();
  // An answer that would have to wait is better off where it is.
  Job* there = Find(key);
  if (there == nullptr || there->positions_max == 0 || there->reserved || there->outcome) return;
  End(*there, engine::Failed("no_memory", Error(kResourceExhausted, "no KV blocks are free for it now")));
}

/// Why the order cannot begin, if so; else it is read to its end.
std::optional<Outcome> DecodeService::CheckReserve(Job& job, const wire::Reserve& order, bool full) {
  const absl::Status checked =
      engine::CheckOrder(job.tokens, job.resumed, job.samples, job.sampling, job.stop, context_.model);
  if (!checked.ok()) return engine::Failed("internal", checked);
  const std::int64_t prompt = std::ssize(job.tokens) - job.resumed;
  if (job.positions_max != 0 &&
      (job.samples != 1 || job.positions_max < prompt || job.positions_max >= prompt + job.stop.max_tokens)) {
    return engine::Failed("internal",
                          Error(kInvalidArgument, "{} positions for a prompt of {} and {} answers of {}",
                                job.positions_max, prompt, job.samples, job.stop.max_tokens));
  }
  auto grammar = engine::GrammarWanted(order.sampling(), job.stop, context_.grammars);
  if (!grammar.ok()) return engine::Failed("internal", grammar.status());
  job.grammar = *std::move(grammar);
  if (const absl::Status fits = memory_.CheckFits(SizeOf(job)); !fits.ok())
    return engine::Failed("no_memory", fits);
  if (!full) return std::nullopt;
  return engine::Failed("no_memory",
                        Error(kResourceExhausted, "{} reservations wait for KV blocks", waiting_.size()));
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
  DropKeptIfShort();
}

void DecodeService::Begin(Job& job, engine::BlockTable prompt) {
  job.begun = context_.loop.Now();
  const RequestKey key = job.key;
  const absl::Status begun = context_.handoff.Receive(
      {.key = key,
       .sender = job.sender,
       .sender_incarnation = job.sender_incarnation,
       .prompt_tokens = SizeOf(job).prompt_tokens,
       .blocks = std::move(prompt),
       .least_tokens = job.positions_max > 0 ? std::ssize(job.tokens) - job.resumed : 0},
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
  job->handed_over = info;
  if (job->positions_max > 0) return OnArrived(*job, info);
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
    std::optional<FinishReason> finish;
    if (job->stop.max_tokens == job->resumed + 1) finish = FinishReason::kLength;
    if (std::ranges::count(job->stop.stop_ids, token) > 0) finish = FinishReason::kStop;
    SendToken({.key = key, .index = job->resumed, .token = token, .finish = finish, .sample = sample},
              info.cached_tokens);
    if (!finish && !job->stopped.contains(sample)) going_on.push_back(sample);
  }
  if (job->samples == 1) {
    job->answer.assign(job->tokens.end() - job->resumed, job->tokens.end());
    job->answer.push_back(first.front());
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
    const TokenId last = first[static_cast<std::size_t>(start.sample)];
    Submit(job, std::move(start), last);
  }
  memory_.Arrange();
}

/// The sequence begins after `last`, the answer's newest token.
void DecodeService::Submit(const Job& job, engine::AnswerStart start, TokenId last) {
  engine::SequenceSpec spec{.key = job.key, .phase = engine::Phase::kDecode, .tokens = job.tokens};
  spec.tokens.push_back(last);
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

/// An answer has come from another decode worker: it goes on after its last token. That token is told again,
/// and those that the router may not have had yet: the worker they were made on may die with them.
void DecodeService::OnArrived(Job& job, const kvtransfer::CommitInfo& info) {
  const std::int64_t count = std::ssize(info.answer);
  const std::int64_t prompt = std::ssize(job.tokens) - job.resumed;
  const bool known = std::ranges::all_of(
      info.answer, [&](TokenId token) { return token >= 0 && token < context_.model.vocabulary; });
  if (count < 1 || count >= job.stop.max_tokens || info.prompt_tokens != prompt + count - 1 || !known) {
    return End(job,
               engine::Failed("kv_transfer", Error(kInvalidArgument,
                                                   "COMMIT of {} positions and {} tokens after a "
                                                   "prompt of {}, {}",
                                                   info.prompt_tokens, count, prompt,
                                                   known ? "all known" : "some outside the vocabulary")));
  }
  job.answer = info.answer;
  job.resumed = count - 1;
  job.tokens.resize(static_cast<std::size_t>(prompt));
  job.tokens.insert(job.tokens.end(), job.answer.begin(), job.answer.end() - 1);
  for (std::int64_t index = std::clamp<std::int64_t>(job.known, 0, count - 1); index < count; ++index)
    SendToken({.key = job.key, .index = index, .token = job.answer[static_cast<std::size_t>(index)]});
  job.reserved = false;
  job.sequences = job.writing = 1;
  Submit(job, {.sample = 0, .blocks = memory_.BeginMoved(job.key, info.prompt_tokens), .copy = {}},
         job.answer.back());
  memory_.Arrange();
  Advance();
  context_.load_changed();
}

void DecodeService::OnMove(const wire::Move& order) {
  const RequestKey key{.request = RequestId(order.request()), .attempt = Attempt(order.attempt())};
  const OutgoingMove::Target target{.key = {.request = key.request, .attempt = Attempt(order.new_attempt())},
                                    .worker = WorkerId(order.worker()),
                                    .incarnation = Incarnation(order.incarnation()),
                                    .positions_max = order.positions_max()};
  Job* job = Find(key);
  if (job != nullptr && job->move != nullptr && job->move->Key() == target.key) return;  // repeated
  const absl::Status begun = job == nullptr || job->outcome
                                 ? Error(kNotFound, "the answer is not here (any more)")
                                 : BeginMove(*job, target);
  if (!begun.ok()) OnMoveEnded(key, target.key, {.moved = false, .why = Message(begun)});
}

absl::Status DecodeService::BeginMove(Job& job, const OutgoingMove::Target& target) {
  if (job.move != nullptr) return Error(kFailedPrecondition, "it is on its way to another worker");
  if (job.samples != 1) return Error(kUnimplemented, "several answers to one prompt do not move");
  if (job.sequences == 0) return Error(kFailedPrecondition, "its prompt has not come yet");
  if (memory_.BlocksOf({job.key, 0}).empty())
    return Error(kFailedPrecondition, "it has made room for another answer");
  auto move = std::make_unique<OutgoingMove>(
      context_, memory_,
      OutgoingMove::Source{.sequence = {job.key, 0},
                           .prompt_tokens = std::ssize(job.tokens) - job.resumed,
                           .answer = job.answer},
      target);
  BATON_RETURN_IF_ERROR(
      move->Begin([this, key = job.key, to = target.key](const OutgoingMove::Result& result) {
        OnMoveEnded(key, to, result);
      }));
  job.move = std::move(move);
  return absl::OkStatus();
}

void DecodeService::OnMoveStop(const wire::MoveStop& order) {
  const RequestKey target{.request = RequestId(order.request()), .attempt = Attempt(order.new_attempt())};
  for (const auto& [key, job] : jobs_) {
    if (job->move != nullptr && job->move->Key() == target) return job->move->Abort("the router says so");
  }
}

/// A moved answer is no longer this worker's; any other goes on here.
void DecodeService::OnMoveEnded(RequestKey key, RequestKey target, const OutgoingMove::Result& result) {
  Job* job = Find(key);
  std::unique_ptr<OutgoingMove> move;
  if (job != nullptr && job->move != nullptr && job->move->Key() == target) move = std::move(job->move);
  context_.probe.MoveEnded(result.moved, result.pause, result.rounds);
  if (result.moved) {
    LogInfo("answer_moved",
            {{"request", target}, {"pause_ms", Milliseconds(result.pause)}, {"rounds", result.rounds}});
  } else {
    LogInfo("move_failed", {{"request", target}, {"why", result.why}});
    wire::Envelope envelope;
    wire::MoveFailed& failed = *envelope.mutable_move_failed();
    failed.set_request(target.request.value);
    failed.set_new_attempt(target.attempt.value);
    failed.set_reason(result.why);
    context_.send(envelope);
  }
  memory_.Arrange();  // blocks may have come free
  if (job == nullptr) return;
  if (result.moved && !job->outcome) return End(*job, {.name = "moved", .code = {}, .message = {}});
  FinishIfFree(*job);
}

void DecodeService::OnTransferFailed(RequestKey key, kvtransfer::TransferEnd end,
                                     const absl::Status& status) {
  Job* job = Find(key);
  if (job == nullptr) return;
  memory_.Quarantine(key);
  if (end != kvtransfer::TransferEnd::kAborted || job->outcome || job->positions_max > 0)
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

/// Holds the KV of an answer that has just ended, for the router may want it elsewhere.
void DecodeService::Keep(const Job& job) {
  if (job.keep == Duration{} || job.samples != 1 || !waiting_.empty() || memory_.Available() == 0) return;
  // The last token has none.
  const std::int64_t positions = std::ssize(job.tokens) - job.resumed + std::ssize(job.answer) - 1;
  const std::int64_t full = positions / context_.block_tokens;
  engine::BlockTable blocks = memory_.BlocksOf({job.key, 0});
  if (full == 0 || std::ssize(blocks) < full) return;
  blocks.resize(static_cast<std::size_t>(full));
  kept_.Keep(job.key, std::move(blocks), job.keep);
}

void DecodeService::OnGiveBack(const wire::GiveBack& order) {
  const RequestId request(order.request());
  kept_.Send({.request = request, .attempt = Attempt(order.attempt())},
             {.key = {.request = request, .attempt = Attempt(order.new_attempt())},
              .worker = WorkerId(order.worker()),
              .incarnation = Incarnation(order.incarnation()),
              .first = order.first(),
              .positions = order.positions()});
}

void DecodeService::OnKeptGone(RequestKey key) {
  memory_.Arrange();  // blocks have come free
  if (Job* job = Find(key); job != nullptr) FinishIfFree(*job);
}

/// What is written, or waits to be, needs the memory more.
void DecodeService::DropKeptIfShort() {
  if (kept_.Empty() || (waiting_.empty() && memory_.Available() > 0)) return;
  kept_.DropAll();
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
  CountHandoff(*job, event.step_begun);
  if (job->samples == 1) job->answer.push_back(event.token);
  if (job->move != nullptr) event.finish ? job->move->Abort("it has ended") : job->move->OnToken();
  const engine::SequenceKey sequence{event.key, event.sample};
  if (!event.finish) {
    if (memory_.OnToken(sequence)) DropKeptIfShort();
    return;
  }
  Keep(*job);
  memory_.OnEnded(sequence);
  if (--job->writing == 0) job->outcome = Outcome{.name = "done", .code = {}, .message = {}};
  Advance();
}

/// With the first token of the first step after KV has come.
void DecodeService::CountHandoff(Job& job, TimePoint step_begun) {
  const auto info = std::exchange(job.handed_over, std::nullopt);
  if (!info) return;
  engine::HandoffTimes times{.start = step_begun - info->arrived_at, .moved = job.positions_max > 0};
  if (info->computed_at) times.whole = step_begun - *info->computed_at;
  context_.probe.HandedOver(times);
}

/// The router ends one of several answers; the last is ended with its request.
void DecodeService::OnStopSample(const wire::StopSample& order) {
  const RequestKey key{.request = RequestId(order.request()), .attempt = Attempt(order.attempt())};
  Job* job = Find(key);
  if (job == nullptr || job->outcome || job->samples == 1) return;
  if (job->committed != TimePoint{}) return context_.executor.Stop({key, order.sample()});
  if (order.sample() >= 0 && order.sample() < job->samples) job->stopped.insert(order.sample());
}

void DecodeService::OnStopped(engine::SequenceKey sequence) {
  Job* job = Find(sequence.request);
  if (job == nullptr || job->outcome) return;
  memory_.OnEnded(sequence);
  if (--job->writing == 0) job->outcome = Outcome{.name = "done", .code = {}, .message = {}};
  Advance();
  context_.load_changed();
}

void DecodeService::OnPaused(engine::SequenceKey sequence) {
  Job* job = Find(sequence.request);
  if (job != nullptr && job->move != nullptr) job->move->OnPaused();
}

void DecodeService::OnPreempted(const engine::PreemptedEvent& event) {
  Job* job = Find(event.sequence.request);
  if (job != nullptr && job->move != nullptr) job->move->Abort("it made room for another answer");
  memory_.OnPreempted(event.sequence, event.positions, event.bytes, event.duration);
  DropKeptIfShort();
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
  if (job.move != nullptr) job.move->Abort("it has ended");
  if (job.handoff_holds) context_.handoff.AbortReceive(job.key);
  kept_.Drop(job.key);
  FinishIfFree(job);
}

void DecodeService::FinishIfFree(Job& job) {
  if (!job.outcome || job.sequences > 0 || job.handoff_holds || job.move != nullptr) return;
  if (kept_.Holds(job.key)) return;
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
  engine::ToWire(job.key, outcome, released);
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
  for (const auto& [key, job] : jobs_)
    load.running_requests += job->begun != TimePoint{} && !kept_.Holds(key) ? 1 : 0;
  return load;
}

}  // namespace

std::unique_ptr<engine::PhaseService> CreateDecodeService(const engine::ServiceContext& context) {
  return std::make_unique<DecodeService>(context);
}

}  // namespace baton::decode
