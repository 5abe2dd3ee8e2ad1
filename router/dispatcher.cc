#include "router/dispatcher.h"

#include <algorithm>
#include <utility>

#include "common/base/log.h"
#include "router/policy/placement.h"
#include "router/record/recorder.h"

namespace baton::router {
namespace {

using cluster::Phase;

// One more attempt, and only before the first token: a second failure is the cluster's, not the request's.
constexpr std::uint32_t kAttemptsMax = 2;

// 4 million tokens' worth of blocks: some 20 MiB, and more than most clusters hold KV of.
constexpr std::size_t kPrefixNamesMax = std::size_t{1} << 18;

constexpr std::int64_t kBlockTokens = 16;

RequestSize SizeOf(const Job& job, std::string_view model) {
  const auto prompt = static_cast<std::int64_t>(job.prompt->size());
  // What a further answer takes beside the prompt's full blocks, at most: its blocks begin inside a block and
  // end inside another.
  const std::int64_t further = (job.sampling.samples - 1) * (job.max_tokens + 2 * (kBlockTokens - 1));
  const std::int64_t sequence = prompt + job.max_tokens;
  return {
      .model = model, .prompt_tokens = prompt, .tokens_max = sequence + further, .sequence_tokens = sequence};
}

std::string_view ReasonOf(Refusal refusal) {
  switch (refusal) {
    case Refusal::kDraining:
      return "draining";
    case Refusal::kNoPrefillWorkers:
    case Refusal::kNoDecodeWorkers:
      return "no_workers";
    case Refusal::kQueueFull:
      return "queue_full";
    case Refusal::kModelNotFound:
    case Refusal::kTooLarge:
      return "validation";
  }
  return "internal";
}

/// Whether decode has reported a token that it made itself.
bool HasOwnToken(const std::vector<Answer>& answers) {
  return std::any_of(answers.begin(), answers.end(), [](const Answer& a) { return a.Count() >= 2; });
}

/// The client's code for what a worker says went wrong; unknown words are never passed on.
std::string_view ClientCode(std::string_view worker_code) {
  if (worker_code == "peer_lost") return "worker_lost";
  for (const std::string_view known : {"kv_transfer", "no_memory", "deadline", "worker_lost"}) {
    if (worker_code == known) return known;
  }
  return "internal_error";
}

}  // namespace

Dispatcher::Dispatcher(const Clock& clock, WorkerPort& workers, const text::Tokenizer& tokenizer,
                       Probe& probe, Options options)
    : clock_(clock),
      workers_(workers),
      tokenizer_(tokenizer),
      probe_(probe),
      options_(std::move(options)),
      prefixes_(kPrefixNamesMax) {}

template <typename T>
void Dispatcher::Apply(T what) {
  const cluster::ClusterEvent event{clock_.Now(), std::move(what)};
  if (options_.recorder != nullptr) options_.recorder->Event(event);
  view_.Apply(event);
}

void Dispatcher::Submit(Job job) {
  const RequestSize size = SizeOf(job, options_.model_name);
  const cluster::ClusterSnapshot snapshot = view_.Snapshot();
  const auto refusal = Admit(snapshot, size, options_.limits);
  if (options_.recorder != nullptr) options_.recorder->Admitted(job.id, size, snapshot, refusal);
  if (refusal) {
    probe_.Rejected(*refusal);
    probe_.Failed(ReasonOf(*refusal));
    LogDebug("request_refused", {{"request", job.id}, {"reason", Name(*refusal)}});
    job.sink->Fail(Refused(*refusal));
    return;
  }
  const RequestId id = job.id;
  std::vector<Answer> answers(static_cast<std::size_t>(job.sampling.samples), Answer(tokenizer_, job.answer));
  requests_.emplace(id, Request{.job = std::move(job),
                                .answers = std::move(answers),
                                .ended = 0,
                                .cut = false,
                                .attempt = {},
                                .held = {},
                                .answered = false,
                                .outcome = {},
                                .placed_at = {},
                                .last_token_at = {},
                                .first_token_after = {},
                                .answered_at = {},
                                .prefill = {}});
  Apply(cluster::RequestQueued{id, size.prompt_tokens, size.tokens_max});
  waiting_.push_back(id);
  PlaceWaiting();
}

void Dispatcher::PlaceWaiting() {
  while (!waiting_.empty()) {
    Request* request = Find(waiting_.front());
    // In the order of arrival: what comes later does not overtake a large request that waits for memory.
    if (request != nullptr && !TryPlace(*request)) return;
    waiting_.pop_front();
  }
}

bool Dispatcher::TryPlace(Request& request) {
  const Job& job = request.job;
  const cluster::ClusterSnapshot snapshot = view_.Snapshot();
  RequestSize size = SizeOf(job, options_.model_name);
  const std::vector<HeldPrefix> held = prefixes_.Find(job.prefixes);
  size.held = held;
  const RequestKey key{job.id, Attempt{request.attempt.value + 1}};
  const PlacementResult result = Place(snapshot, size);
  if (options_.recorder != nullptr) options_.recorder->Placed(key, size, snapshot, result);
  if (!result.placement) return false;
  const auto [prefill, decode] = *result.placement;
  request.attempt = key.attempt;
  request.held.push_back({prefill, Phase::kPrefill, key, false});
  request.held.push_back({decode, Phase::kDecode, key, false});
  request.prefill_worker = prefill;
  request.placed_at = clock_.Now();
  probe_.Placed(request.placed_at - job.arrived);
  Apply(cluster::RequestPlaced{key, prefill, decode});

  Order order{.key = key,
              .tokens = job.prompt,
              .cache_salt = job.cache_salt,
              .sampling = job.sampling,
              .max_tokens = job.max_tokens,
              .min_tokens = job.min_tokens,
              .stop_ids = job.stop_ids,
              .peer = decode,
              .peer_incarnation = snapshot.Find(decode)->about.incarnation,
              .remaining = std::max(Duration(1), job.deadline - request.placed_at)};
  workers_.SendPrefill(prefill, order);
  order.peer = prefill;
  order.peer_incarnation = snapshot.Find(prefill)->about.incarnation;
  workers_.SendReserve(decode, order);
  LogDebug("request_placed", {{"request", key}, {"prefill", prefill}, {"decode", decode}});
  return true;
}

void Dispatcher::ClientGone(RequestId id) {
  Request* request = Find(id);
  if (request == nullptr || request->answered) return;
  probe_.Failed("client_closed");
  End(*request, "client_closed", /*cancel=*/true);
}

void Dispatcher::OnJoined(const cluster::WorkerDescription& worker) {
  Apply(cluster::WorkerJoined{worker});
}

void Dispatcher::OnLoad(WorkerId worker, const cluster::LoadReport& load) {
  Apply(cluster::LoadReported{worker, load});
  PlaceWaiting();
}

void Dispatcher::OnLeaving(WorkerId worker) {
  Apply(cluster::WorkerLeaving{worker});
  FailWaitingIfHopeless();
}

void Dispatcher::OnLost(WorkerId worker) {
  Apply(cluster::WorkerLeft{worker});
  prefixes_.Forget(worker);
  std::vector<RequestKey> lost;
  for (auto& [id, request] : requests_) {
    std::erase_if(request.held, [&](const Part& part) {
      if (part.worker == worker) lost.push_back(part.key);
      return part.worker == worker;
    });
  }
  for (const RequestKey& key : lost) {
    Request* request = Find(key.request);
    if (request == nullptr) continue;
    // A prefill worker that dies after decode has produced a token of its own has handed over everything.
    const bool decode_runs = HasOwnToken(request->answers) &&
                             std::any_of(request->held.begin(), request->held.end(), [&](const Part& part) {
                               return part.phase == Phase::kDecode && part.key == key;
                             });
    if (!request->answered && request->attempt == key.attempt && !decode_runs) {
      AttemptFailed(*request, "worker_lost", "a worker of the request was lost");
    }
    ForgetIfDone(key.request);
  }
  FailWaitingIfHopeless();
  PlaceWaiting();
}

void Dispatcher::FailWaitingIfHopeless() {
  const cluster::ClusterSnapshot snapshot = view_.Snapshot();
  const auto refusal = WhyNotReady(snapshot, options_.model_name);
  if (options_.recorder != nullptr) options_.recorder->Ready(snapshot, refusal);
  // A router that drains still serves what it has admitted.
  if (!refusal || *refusal == Refusal::kDraining) return;
  for (const RequestId id : std::exchange(waiting_, {})) {
    if (Request* request = Find(id)) Fail(*request, Refused(*refusal), ReasonOf(*refusal));
  }
}

void Dispatcher::OnToken(WorkerId worker, const TokenReport& report) {
  Request* request = Find(report.key.request);
  const bool current = request != nullptr && !request->answered && request->attempt == report.key.attempt &&
                       std::any_of(request->held.begin(), request->held.end(), [&](const Part& part) {
                         return part.worker == worker && part.key == report.key;
                       });
  if (!current) return probe_.StaleToken();
  if (report.index >= request->job.max_tokens || report.sample < 0 ||
      report.sample >= std::ssize(request->answers)) {
    return AttemptFailed(*request, "internal", "a token past the answer's limit");
  }
  if (report.index == 0) {
    const auto prompt = static_cast<std::int64_t>(request->job.prompt->size());
    request->cached_tokens = std::min(report.cached_tokens, prompt);
  }
  Answer& answer = request->answers[static_cast<std::size_t>(report.sample)];
  Answer::Step step = answer.Take(report.index, report.token, report.finish, report.logprobs);
  if (step.tokens == 0) return;

  const TimePoint now = clock_.Now();
  const bool first = TokensOf(*request) == step.tokens;
  if (first) {
    request->first_token_after = now - request->job.arrived;
    probe_.FirstToken(request->first_token_after);
    probe_.CachedTokens(request->cached_tokens);
    prefixes_.Note(request->prefill_worker, request->job.prefixes);
    Apply(cluster::RequestPrefilled{report.key.request});
  } else {
    probe_.NextToken(now - request->last_token_at);
  }
  request->last_token_at = now;
  const bool shows = !step.text.empty() || !step.logprobs.empty() || answer.Count() == step.tokens;
  const bool alive =
      !shows || request->job.sink->Text(
                    {.choice = report.sample, .text = step.text, .logprobs = std::move(step.logprobs)},
                    UsageOf(*request));
  if (!alive) {
    ClientGone(report.key.request);
  } else if (step.end) {
    EndChoice(*request, report, *step.end);
  }
  if (first) PlaceWaiting();
}

void Dispatcher::EndChoice(Request& request, const TokenReport& report, const AnswerEnd& end) {
  request.job.sink->Finish(report.sample, end, UsageOf(request));
  request.cut |= report.finish.empty() || end.stop_reason.AsString() != nullptr;
  if (++request.ended < request.answers.size()) return;
  // Where decode itself ended every answer, both workers end by themselves.
  End(request, end.finish_reason, /*cancel=*/request.cut || report.index == 0);
}

void Dispatcher::OnReleased(WorkerId worker, const ReleaseReport& release) {
  Request* request = Find(release.key.request);
  if (request == nullptr) return;
  const auto part = std::find_if(request->held.begin(), request->held.end(),
                                 [&](const Part& p) { return p.worker == worker && p.key == release.key; });
  if (part == request->held.end()) return;
  const Phase phase = part->phase;
  DropPart(*request, worker, release.key);
  if (phase == Phase::kPrefill && release.has_transfer) {
    request->prefill = release;
    if (release.outcome == "done") probe_.Transferred(release.transfer);
  }
  if (!request->answered && request->attempt == release.key.attempt) {
    if (release.outcome != "done") {
      AttemptFailed(*request, release.error_code, release.error_message);
    } else if (phase == Phase::kDecode) {
      AttemptFailed(*request, "internal", "decode ended before the answer did");
    }
  }
  ForgetIfDone(release.key.request);
  PlaceWaiting();
}

void Dispatcher::AttemptFailed(Request& request, std::string_view code, std::string_view message) {
  LogWarning("attempt_failed", {{"request", RequestKey{request.job.id, request.attempt}},
                                {"code", code},
                                {"error", message},
                                {"tokens", TokensOf(request)}});
  const std::string_view client_code = ClientCode(code);
  CancelParts(request);
  const bool again = TokensOf(request) == 0 && request.attempt.value < kAttemptsMax &&
                     client_code != "internal_error" && client_code != "deadline";
  if (again && TryPlace(request)) return probe_.Retried();
  if (client_code == "deadline") return Fail(request, DeadlineExceeded(), "deadline");
  Fail(request, ServerError(client_code), client_code == "internal_error" ? "internal" : client_code);
}

void Dispatcher::Fail(Request& request, const ApiError& error, std::string_view reason) {
  probe_.Failed(reason);
  request.job.sink->Fail(error);
  End(request, reason, /*cancel=*/true);
}

void Dispatcher::End(Request& request, std::string_view outcome, bool cancel) {
  request.answered = true;
  request.outcome = outcome;
  request.answered_at = clock_.Now();
  request.job.sink.reset();
  if (cancel) CancelParts(request);
  const Usage usage = UsageOf(request);
  probe_.Ended(request.answered_at - request.job.arrived, usage.prompt_tokens, usage.completion_tokens);
  const RequestId id = request.job.id;
  Apply(cluster::RequestEnded{id});
  std::erase(waiting_, id);
  Record(request);
  ForgetIfDone(id);
}

void Dispatcher::CancelParts(Request& request) {
  for (Part& part : request.held) {
    if (std::exchange(part.cancelled, true)) continue;
    workers_.SendCancel(part.worker, part.key);
  }
}

void Dispatcher::DropPart(Request& request, WorkerId worker, RequestKey key) {
  std::erase_if(request.held, [&](const Part& part) { return part.worker == worker && part.key == key; });
  Apply(cluster::PartReleased{key, worker});
}

void Dispatcher::ForgetIfDone(RequestId id) {
  const auto at = requests_.find(id);
  if (at != requests_.end() && at->second.answered && at->second.held.empty()) requests_.erase(at);
}

void Dispatcher::Record(const Request& request) const {
  const Usage usage = UsageOf(request);
  LogInfo("request_ended",
          {{"request", RequestKey{request.job.id, request.attempt}},
           {"endpoint", Name(request.job.endpoint)},
           {"outcome", request.outcome},
           {"prompt_tokens", usage.prompt_tokens},
           {"cached_tokens", usage.cached_tokens},
           {"output_tokens", usage.completion_tokens},
           {"ttft_ms", fmt::format("{:.2f}", Milliseconds(request.first_token_after))},
           {"total_ms", fmt::format("{:.2f}", Milliseconds(request.answered_at - request.job.arrived))},
           {"kv_bytes", request.prefill.transfer.bytes}});
}

void Dispatcher::Tick() {
  const TimePoint now = clock_.Now();
  std::vector<RequestId> late;
  std::vector<RequestId> gone;
  std::vector<RequestId> unreleased;
  for (auto& [id, request] : requests_) {
    if (request.answered) {
      if (now - request.answered_at > options_.release_timeout) unreleased.push_back(id);
    } else if (now >= request.job.deadline) {
      late.push_back(id);
    } else if (!request.job.sink->Tick(now)) {
      gone.push_back(id);
    }
  }
  for (const RequestId id : gone) ClientGone(id);
  for (const RequestId id : late) {
    if (Request* request = Find(id)) Fail(*request, DeadlineExceeded(), "deadline");
  }
  for (const RequestId id : unreleased) {
    Request& request = *Find(id);
    for (const Part& part : std::vector(request.held)) {
      LogError("part_never_released", {{"request", part.key}, {"worker", part.worker}});
      DropPart(request, part.worker, part.key);
    }
    ForgetIfDone(id);
  }
  if (!late.empty() || !gone.empty() || !unreleased.empty()) PlaceWaiting();
  Observe();
}

void Dispatcher::BeginDrain() {
  Apply(cluster::DrainBegun{});
}

void Dispatcher::FailAll(const ApiError& error) {
  std::vector<RequestId> open;
  for (const auto& [id, request] : requests_) {
    if (!request.answered) open.push_back(id);
  }
  for (const RequestId id : open) Fail(*Find(id), error, "draining");
}

std::optional<Refusal> Dispatcher::NotReady() const {
  return WhyNotReady(view_.Snapshot(), options_.model_name);
}

std::optional<std::int64_t> Dispatcher::ContextTokens() const {
  std::optional<std::int64_t> least;
  for (const auto& worker : view_.Snapshot().workers) {
    least = std::min(least.value_or(worker.about.context_tokens), worker.about.context_tokens);
  }
  return least;
}

void Dispatcher::Observe() {
  const cluster::ClusterSnapshot snapshot = view_.Snapshot();
  probe_.InFlight(requests_.size(), snapshot.queued_requests, snapshot.queued_prompt_tokens);
  probe_.Workers(snapshot);
}

Dispatcher::Request* Dispatcher::Find(RequestId id) {
  const auto at = requests_.find(id);
  return at != requests_.end() ? &at->second : nullptr;
}

std::int64_t Dispatcher::TokensOf(const Request& request) {
  std::int64_t tokens = 0;
  for (const Answer& answer : request.answers) tokens += answer.Count();
  return tokens;
}

Usage Dispatcher::UsageOf(const Request& request) {
  return {.prompt_tokens = static_cast<std::int64_t>(request.job.prompt->size()),
          .completion_tokens = TokensOf(request),
          .cached_tokens = request.cached_tokens};
}

}  // namespace baton::router
