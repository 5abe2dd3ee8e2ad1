#include <algorithm>

#include "common/base/log.h"
#include "router/dispatcher.h"

/// What the dispatcher does when an attempt fails: see resume.h for what it decides by.
namespace baton::router {

void Dispatcher::AttemptFailed(Request& request, std::string_view code, std::string_view message) {
  const std::string_view client_code = ClientCode(code);
  const Attempt placed(request.attempt.value - request.moves);  // a move is no failure
  const auto pause = PauseBeforeNext(placed, client_code, options_.resume);
  LogWarning("attempt_failed", {{"request", RequestKey{request.job.id, request.attempt}},
                                {"code", code},
                                {"error", message},
                                {"tokens", TokensOf(request)},
                                {"resumes", pause.has_value()}});
  CancelParts(request);
  EndMove(request, "failed");
  if (pause) return Resume(request, client_code, *pause);
  if (client_code == "deadline") return Fail(request, DeadlineExceeded(), "deadline");
  Fail(request, ServerError(client_code), client_code == "internal_error" ? "internal" : client_code);
}

/// By a worker that reports what it must not.
void Dispatcher::AttemptBroken(Request& request, std::string_view message) {
  AttemptFailed(request, "internal", message);
  PlaceWaiting();
}

/// It waits again; whoever calls looks for a place once all that failed together is known.
void Dispatcher::Resume(Request& request, std::string_view client_code, Duration pause) {
  for (Answer& answer : request.answers) answer.DropEarly();
  request.beginning = BeginningOf(request.job.prompt, request.answers);
  request.prefilled = request.decode_writes = false;
  if (LacksPromptLogprobs(request)) request.prompt_logprobs.clear();
  // Answers that have ended begin again beside the others, and are stopped: decode may still be at them when
  // the last of the others ends.
  request.cut |= request.ended > 0;
  request.failure = client_code;
  request.failed_at = clock_.Now();
  request.place_after = request.failed_at + pause;
  probe_.Retried(client_code, TokensOf(request) > 0);
  Apply(cluster::RequestResumed{request.job.id, std::ssize(*request.beginning.tokens)});
  const auto later = std::find_if(waiting_.begin(), waiting_.end(), [&](RequestId id) {
    const Request* other = Find(id);
    return other != nullptr && other->job.arrived > request.job.arrived;
  });
  waiting_.insert(later, request.job.id);
  resumed_ = true;
}

void Dispatcher::AttemptBegun(const Request& request, const TokenReport& report) {
  prefixes_.Note(request.prefill_worker, request.job.prefixes);
  Apply(cluster::RequestPrefilled{request.job.id});
  const std::int64_t made = TokensOf(request);
  if (made == 0) return;
  const std::int64_t prompt = std::ssize(*request.beginning.tokens);
  const std::int64_t again = made - request.beginning.resumed;  // by decode
  probe_.Resumed(clock_.Now() - request.failed_at, prompt - std::min(report.cached_tokens, prompt) + again);
}

/// Whether the attempt needs its prefill worker no more: decode has the KV, which its own tokens show, and
/// the router has what prefill alone reports (log-probabilities of first tokens).
bool Dispatcher::HandedOver(const Request& request) {
  const auto decode = std::find_if(request.held.begin(), request.held.end(), [&](const Part& part) {
    return part.phase == cluster::Phase::kDecode && part.key.attempt == request.attempt && !part.cancelled;
  });
  return request.decode_writes && decode != request.held.end() &&
         std::all_of(request.answers.begin(), request.answers.end(), [&](const Answer& answer) {
           return answer.Ended() || answer.Count() > request.beginning.resumed;
         });
}

}  // namespace baton::router
