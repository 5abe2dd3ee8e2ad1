#include "router/dispatcher.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "common/base/log.h"
#include "router/policy/placement.h"
#include "router/record/recorder.h"

namespace baton::router {
namespace {

using cluster::Phase;

// 4 million tokens' worth of blocks: some 20 MiB, and more than most clusters hold KV of.
constexpr std::size_t kPrefixNamesMax = std::size_t{1} << 18;

/// Of the decode workers that are there.
std::int64_t LargestBlock(const cluster::ClusterSnapshot& snapshot) {
  std::int64_t tokens = 1;
  for (const cluster::WorkerSnapshot& worker : snapshot.workers) {
    if (worker.about.phase == Phase::kDecode) tokens = std::max(tokens, worker.about.block_tokens);
  }
  return tokens;
}

/// Of a placement: the prompt is what prefill computes, the answer's tokens that are there among it.
RequestSize SizeOf(const Job& job, const Beginning& beginning, const cluster::ClusterSnapshot& snapshot,
                   std::string_view model) {
  const auto prompt = static_cast<std::int64_t>(job.prompt->size());
  // What a further answer takes beside the prompt's full blocks, at most: its blocks begin inside a block and
  // end inside another.
  const std::int64_t further =
      (job.sampling.samples - 1) * (job.max_tokens + 2 * (LargestBlock(snapshot) - 1));
  const std::int64_t sequence = prompt + job.max_tokens;
  return {.model = model,
          .prompt_tokens = std::ssize(*beginning.tokens),
          .tokens_max = sequence + further,
          .sequence_tokens = sequence};
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

}  // namespace

Dispatcher::Dispatcher(const Clock& clock, WorkerPort& workers, const text::Tokenizer& tokenizer,
                       Probe& probe, Options options)
    : clock_(clock),
      workers_(workers),
      tokenizer_(tokenizer),
      probe_(probe),
      options_(std::move(options)),
      prefixes_(kPrefixNamesMax) {}

void Dispatcher::Tell(const cluster::ClusterEvent& event) {
  if (options_.recorder != nullptr) options_.recorder->Event(event);
  view_.Apply(event);
}

void Dispatcher::Submit(Job job) {
  Beginning beginning{.tokens = job.prompt};
  const cluster::ClusterSnapshot snapshot = view_.Snapshot();
  const RequestSize size = SizeOf(job, beginning, snapshot, options_.model_name);
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
                                .beginning = std::move(beginning),
                                .answered = false,
                                .outcome = {},
                                .placed_at = {},
                                .last_token_at = {},
                                .first_token_after = {},
                                .answered_at = {},
                                .prefill = {}});
  ShowPromptLogprobs(*Find(id));  // a prompt of one token has none to wait for
  Apply(cluster::RequestQueued{id, size.prompt_tokens, size.tokens_max});
  waiting_.push_back(id);
  PlaceWaiting();
}

void Dispatcher::PlaceWaiting() {
  PlaceInOrder();
  if (std::exchange(resumed_, false)) FailWaitingIfHopeless();
}

void Dispatcher::PlaceInOrder() {
  short_of_memory_.reset();
  std::optional<cluster::ClusterSnapshot> snapshot;  // until somebody is placed
  for (std::size_t i = 0; i < waiting_.size();) {
    Request* request = Find(waiting_[i]);
    const bool pauses = request != nullptr && clock_.Now() < request->place_after;
    Tried tried = request == nullptr ? Tried::kPlaced : Tried::kNoPair;
    if (request != nullptr && !pauses) {
      if (!snapshot) snapshot = view_.Snapshot();
      tried = TryPlace(*request, *snapshot);
      if (tried == Tried::kPlaced) snapshot.reset();
    }
    // In the order of arrival: what comes later does not overtake a large request that waits for memory.
    if (tried == Tried::kWaits) {
      short_of_memory_ = waiting_[i];
      return StopGiveBacks();
    }
    if (tried == Tried::kNoPair) {
      ++i;
    } else {
      waiting_.erase(waiting_.begin() + static_cast<std::ptrdiff_t>(i));
    }
  }
}

RequestSize Dispatcher::SizeOfWaiting(const Request& request,
                                      const cluster::ClusterSnapshot& snapshot) const {
  RequestSize size = SizeOf(request.job, request.beginning, snapshot, options_.model_name);
  // What the client has seen goes on with the same bits, or waits for a worker that makes them.
  if (TokensOf(request) > 0) size.numerics_class = request.numerics_class;
  return size;
}

Dispatcher::Tried Dispatcher::TryPlace(Request& request, const cluster::ClusterSnapshot& snapshot) {
  const Job& job = request.job;
  RequestSize size = SizeOfWaiting(request, snapshot);
  const std::vector<HeldPrefix> held = prefixes_.Find(job.prefixes);
  size.held = held;
  const RequestKey key{job.id, Attempt{request.attempt.value + 1}};
  const PlacementResult result = Place(snapshot, size);
  if (options_.recorder != nullptr) options_.recorder->Placed(key, size, snapshot, result);
  if (!result.placement) {
    const bool memory = std::any_of(result.scores.begin(), result.scores.end(),
                                    [](const PairScore& score) { return score.why == kNoMemoryNow; });
    return memory || result.scores.empty() ? Tried::kWaits : Tried::kNoPair;
  }
  const auto [prefill, decode] = *result.placement;
  request.attempt = key.attempt;
  request.held.push_back({prefill, Phase::kPrefill, key, false});
  request.held.push_back({decode, Phase::kDecode, key, false});
  request.prefill_worker = prefill;
  const std::string& numerics_class = snapshot.Find(prefill)->about.numerics_class;
  // The text of a pair of two classes is no class's: whoever goes on with it, it is as good.
  request.numerics_class =
      numerics_class == snapshot.Find(decode)->about.numerics_class ? numerics_class : "";
  request.exact = !request.numerics_class.empty() && snapshot.Find(decode)->about.kv_returns;
  request.placed_at = clock_.Now();
  if (request.attempt == Attempt{1}) probe_.Placed(request.placed_at - job.arrived);
  Apply(cluster::RequestPlaced{key, prefill, decode});

  Order order = OrderOf(job, key, *snapshot.Find(decode));
  order.tokens = request.beginning.tokens;
  order.resumed = request.beginning.resumed;
  order.sampling.prompt_logprobs = LacksPromptLogprobs(request);
  workers_.SendPrefill(prefill, order);
  order.peer = prefill;
  order.peer_incarnation = snapshot.Find(prefill)->about.incarnation;
  order.keep = KeepFor(request);
  workers_.SendReserve(decode, order);
  for (std::size_t i = 0; i < request.answers.size(); ++i) {  // it has begun anew, the others with it
    if (request.answers[i].Ended()) workers_.SendStopSample(decode, key, static_cast<std::int32_t>(i));
  }
  LogDebug("request_placed", {{"request", key}, {"prefill", prefill}, {"decode", decode}});
  return Tried::kPlaced;
}

/// For a worker that exchanges KV with `peer`: the job's prompt and all that does not depend on the attempt.
Order Dispatcher::OrderOf(const Job& job, RequestKey key, const cluster::WorkerSnapshot& peer) const {
  return {.key = key,
          .tokens = job.prompt,
          .cache_salt = job.cache_salt,
          .sampling = job.sampling,
          .max_tokens = job.max_tokens,
          .min_tokens = job.min_tokens,
          .stop_ids = job.stop_ids,
          .peer = peer.about.id,
          .peer_incarnation = peer.about.incarnation,
          .remaining = std::max(Duration(1), job.deadline - clock_.Now())};
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
  const cluster::ClusterSnapshot snapshot = view_.Snapshot();
  const cluster::WorkerSnapshot* leaves = snapshot.Find(worker);
  if (leaves != nullptr && leaves->about.phase == Phase::kDecode) leaving_.insert(worker);
  FailWaitingIfHopeless();
  MoveAnswers();
}

void Dispatcher::OnLost(WorkerId worker) {
  Apply(cluster::WorkerLeft{worker});
  prefixes_.Forget(worker);
  leaving_.erase(worker);
  std::vector<Part> lost;
  for (auto& [id, request] : requests_) {
    std::erase_if(request.held, [&](const Part& part) {
      if (part.worker == worker) lost.push_back(part);
      return part.worker == worker;
    });
  }
  for (const Part& part : lost) {
    Request* request = Find(part.key.request);
    if (request == nullptr) continue;
    EndGiveBack(*request, part, "failed");
    const bool done = part.phase == Phase::kPrefill && HandedOver(*request);
    if (!request->answered && !part.cancelled && !done && !EndsByMove(*request, part, "lost")) {
      AttemptFailed(*request, "worker_lost", "a worker of the request was lost");
    }
    ForgetIfDone(part.key.request);
  }
  FailWaitingIfHopeless();
  PlaceWaiting();
}

void Dispatcher::FailWaitingIfHopeless() {
  const cluster::ClusterSnapshot snapshot = view_.Snapshot();
  const auto refusal = WhyNotReady(snapshot, options_.model_name);
  if (options_.recorder != nullptr) options_.recorder->Ready(snapshot, refusal);
  // A router that drains still serves what it has admitted.
  if (refusal == Refusal::kDraining) return;
  for (const RequestId id : std::vector<RequestId>(waiting_.begin(), waiting_.end())) {
    Request* request = Find(id);
    // An answer that has begun can only be broken off: it waits for a worker until its deadline. The others
    // are told with a status while they can be, so that they go elsewhere.
    if (request == nullptr || TokensOf(*request) > 0) continue;
    // Where the workers that could hold it are gone there are none, as far as it is concerned.
    std::optional<Refusal> why = refusal;
    if (!why && !CanBeHeld(snapshot, SizeOfWaiting(*request, snapshot))) why = Refusal::kNoDecodeWorkers;
    if (!why) continue;
    if (!request->failure.empty()) {
      Fail(*request, ServerError(request->failure), request->failure);
    } else {
      Fail(*request, Refused(*why), ReasonOf(*why));
    }
  }
}

void Dispatcher::OnToken(WorkerId worker, const TokenReport& report) {
  Request* request = Find(report.key.request);
  const Part* part =
      request != nullptr && !request->answered ? HeldBy(*request, worker, report.key) : nullptr;
  if (part == nullptr || part->cancelled) return probe_.StaleToken();
  if (report.index >= request->job.max_tokens || report.sample < 0 ||
      report.sample >= std::ssize(request->answers)) {
    return AttemptBroken(*request, "a token past the answer's limit");
  }
  if (part->phase == Phase::kPrefill && LacksPromptLogprobs(*request))
    return AttemptBroken(*request, "a token before the prompt's log-probabilities");
  if (request->move && part->key == request->move->target) request->move->there = true;
  const bool none_yet = TokensOf(*request) == 0;
  if (report.index == 0 && none_yet) {
    const auto prompt = static_cast<std::int64_t>(request->job.prompt->size());
    request->cached_tokens = std::min(report.cached_tokens, prompt);
  }
  const bool begins = !std::exchange(request->prefilled, true);
  if (begins) AttemptBegun(*request, report);
  request->decode_writes |= part->phase == Phase::kDecode && report.index > request->beginning.resumed;
  Answer& answer = request->answers[static_cast<std::size_t>(report.sample)];
  Answer::Step step = answer.Take(report.index, report.token, report.finish, report.logprobs);
  if (step.tokens == 0) return;

  const TimePoint now = clock_.Now();
  if (none_yet) {
    request->first_token_after = now - request->job.arrived;
    probe_.FirstToken(request->first_token_after);
    probe_.CachedTokens(request->cached_tokens);
  } else {
    probe_.NextToken(now - request->last_token_at);
    if (report.key == request->moves_to) {
      probe_.MoveGap(now - request->last_token_at);
      request->moves_to = {};
    }
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
  if (begins) PlaceWaiting();
}

/// Whether the prompt's log-probabilities are asked for and not all there.
bool Dispatcher::LacksPromptLogprobs(const Request& request) {
  return request.job.sampling.prompt_logprobs &&
         request.prompt_logprobs.size() + 1 < request.job.prompt->size();
}

/// Gives them to the answers, once all are there.
void Dispatcher::ShowPromptLogprobs(Request& request) {
  const Job& job = request.job;
  if (!job.sampling.prompt_logprobs || LacksPromptLogprobs(request)) return;
  const auto shown = std::make_shared<const std::vector<ShownLogprobs>>(
      ShownPrompt(tokenizer_, *job.prompt, request.prompt_logprobs, job.answer.prefix));
  for (Answer& answer : request.answers) answer.SetPrefixLogprobs(shown);
}

void Dispatcher::OnPromptLogprobs(WorkerId worker, PromptLogprobsReport report) {
  Request* request = Find(report.key.request);
  const Part* part =
      request != nullptr && !request->answered ? HeldBy(*request, worker, report.key) : nullptr;
  if (part == nullptr || part->cancelled) return;
  std::vector<Logprobs>& all = request->prompt_logprobs;
  const auto room = std::ssize(*request->job.prompt) - 1 - std::ssize(all);
  if (!request->job.sampling.prompt_logprobs || report.first != std::ssize(all) + 1 ||
      std::ssize(report.logprobs) > room) {
    return AttemptBroken(*request, "log-probabilities of the prompt out of order");
  }
  std::move(report.logprobs.begin(), report.logprobs.end(), std::back_inserter(all));
  ShowPromptLogprobs(*request);
}

void Dispatcher::EndChoice(Request& request, const TokenReport& report, const AnswerEnd& end) {
  request.job.sink->Finish(report.sample, end, UsageOf(request));
  request.cut |= report.finish.empty() || end.stop_reason.AsString() != nullptr;
  if (++request.ended < request.answers.size()) {
    if (report.finish.empty()) StopSample(request, report.sample);
    return;
  }
  // Where decode itself ended every answer, both workers end by themselves.
  const bool cancel = request.cut || report.index == request.beginning.resumed;
  if (!cancel) OfferBack(request);
  End(request, end.finish_reason, cancel);
}

/// Decode writes no more of an answer that has ended without its doing.
void Dispatcher::StopSample(const Request& request, std::int32_t sample) {
  for (const Part& part : request.held) {
    if (part.phase == Phase::kDecode && part.key.attempt == request.attempt && !part.cancelled)
      workers_.SendStopSample(part.worker, part.key, sample);
  }
}

void Dispatcher::OnReleased(WorkerId worker, const ReleaseReport& release) {
  Request* request = Find(release.key.request);
  if (request == nullptr) return;
  const Part* held = HeldBy(*request, worker, release.key);
  if (held == nullptr) return;
  const Part part = *held;
  DropPart(*request, worker, release.key);
  EndGiveBack(*request, part, release.outcome);
  if (part.phase == Phase::kPrefill && release.has_transfer) {
    request->prefill = release;
    if (release.outcome == "done") probe_.Transferred(release.transfer);
  }
  if (!request->answered && !part.cancelled && !EndsByMove(*request, part, release.outcome)) {
    if (release.outcome == "done") {
      if (part.phase == Phase::kDecode) {
        AttemptFailed(*request, "internal", "decode ended before the answer did");
      }
    } else if (part.phase == Phase::kDecode || !HandedOver(*request)) {
      // Cancelled, but not by this router: the worker leaves without its requests.
      const bool leaves = release.outcome == "cancelled";
      AttemptFailed(*request, leaves ? "worker_lost" : release.error_code, release.error_message);
    }
  }
  ForgetIfDone(release.key.request);
  PlaceWaiting();
  MoveAnswers();
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
  // One of two that may write the answer has ended it: the other must not go on.
  if (cancel || request.move) CancelParts(request);
  EndMove(request, "ended");
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

const Dispatcher::Part* Dispatcher::HeldBy(const Request& request, WorkerId worker, RequestKey key) {
  const auto part = std::find_if(request.held.begin(), request.held.end(),
                                 [&](const Part& p) { return p.worker == worker && p.key == key; });
  return part != request.held.end() ? &*part : nullptr;
}

void Dispatcher::DropPart(Request& request, WorkerId worker, RequestKey key) {
  std::erase_if(request.held, [&](const Part& part) { return part.worker == worker && part.key == key; });
  Apply(cluster::PartReleased{key, worker});
}

void Dispatcher::ForgetIfDone(RequestId id) {
  const auto at = requests_.find(id);
  if (at == requests_.end() || !at->second.answered || !at->second.held.empty()) return;
  giving_back_.erase(id);
  requests_.erase(at);
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
  MoveAnswers();
  Balance();
  MakeRoomForFirst();
  PlaceWaiting();  // some have paused, or memory has come free
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

bool Dispatcher::DrainWorker(std::string_view name) {
  const cluster::ClusterSnapshot snapshot = view_.Snapshot();
  const auto worker = std::find_if(snapshot.workers.begin(), snapshot.workers.end(),
                                   [&](const cluster::WorkerSnapshot& w) { return w.about.name == name; });
  if (worker == snapshot.workers.end()) return false;
  workers_.SendDrain(worker->about.id);
  return true;
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
          .completion_tokens = request.job.answer.prefix_alone ? 0 : TokensOf(request),
          .cached_tokens = request.cached_tokens};
}

}  // namespace baton::router
