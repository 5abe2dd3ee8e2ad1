#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/clock.h"
#include "common/base/ids.h"
#include "common/cluster/view.h"
#include "common/text/tokenizer.h"
#include "router/answer.h"
#include "router/give_back.h"
#include "router/http/errors.h"
#include "router/http/response.h"
#include "router/messages.h"
#include "router/move.h"
#include "router/policy/admission.h"
#include "router/policy/give_back.h"
#include "router/policy/migration.h"
#include "router/policy/prefix_index.h"
#include "router/probe.h"
#include "router/resume.h"

namespace baton::router {

class Recorder;

/// Where an answer goes. Called on the control loop: text, then Finish for each choice, or Fail; after a
/// false nothing more.
class AnswerSink {
 public:
  virtual ~AnswerSink() = default;
  /// The answer grows. False where the client is gone or too slow.
  [[nodiscard]] virtual bool Text(TextPiece piece, const Usage& usage) = 0;
  /// Ends the choice.
  virtual void Finish(std::int32_t choice, const AnswerEnd& end, const Usage& usage) = 0;
  virtual void Fail(const ApiError& error) = 0;
  /// Called now and then, for signs of life. False as with Text.
  [[nodiscard]] virtual bool Tick(TimePoint now) = 0;
};

/// A request that has been read, checked and tokenized.
struct Job {
  RequestId id;
  Endpoint endpoint = Endpoint::kCompletions;
  std::shared_ptr<const std::vector<TokenId>> prompt;
  std::string cache_salt;
  std::vector<std::uint64_t> prefixes;  // names of the prompt's prefixes of whole blocks, shortest first
  SamplingParameters sampling;
  std::int64_t max_tokens = 0;
  std::int64_t min_tokens = 0;
  std::vector<TokenId> stop_ids;
  Answer::Options answer;
  TimePoint arrived;
  TimePoint deadline;
  std::unique_ptr<AnswerSink> sink;
};

/// Admits, places, follows and ends requests: the one place where the router decides. All state is here, on
/// the control loop; no locks, no I/O but through WorkerPort and the sinks.
class Dispatcher {
 public:
  struct Options {
    std::string model_name;
    AdmissionLimits limits;
    ResumeLimits resume;
    /// For how long after a request's end its workers may take to free it before they are no longer asked.
    Duration release_timeout = std::chrono::seconds(60);
    /// Is told every event and decision; null: nobody is. Outlives the dispatcher.
    Recorder* recorder = nullptr;
    /// Answers move from decode workers whose memory is about to end to those that have time.
    bool balance = false;
    /// Answers move so that a request can begin for which no worker alone has the memory.
    bool make_room = false;
    /// KV of chats' answers that have ended goes back to prefill workers.
    GiveBackLimits give_back = {.enabled = false};
  };
  Dispatcher(const Clock& clock, WorkerPort& workers, const text::Tokenizer& tokenizer, Probe& probe,
             Options options);

  /// Takes the request, or fails its sink at once.
  void Submit(Job job);
  /// Its client is gone.
  void ClientGone(RequestId id);

  void OnJoined(const cluster::WorkerDescription& worker);
  void OnLoad(WorkerId worker, const cluster::LoadReport& load);
  void OnLeaving(WorkerId worker);
  void OnLost(WorkerId worker);
  void OnToken(WorkerId worker, const TokenReport& token);
  void OnPromptLogprobs(WorkerId worker, PromptLogprobsReport report);
  void OnReleased(WorkerId worker, const ReleaseReport& release);
  void OnMoveFailed(WorkerId worker, const MoveFailure& failure);
  void OnTakes(WorkerId worker, const TakeReport& takes);

  /// Deadlines and signs of life; to be called several times a second.
  void Tick();
  /// Refuses what comes from now on.
  void BeginDrain();
  /// Asks the worker of this name to leave; false where there is none.
  [[nodiscard]] bool DrainWorker(std::string_view name);
  /// Fails everything that is not answered yet.
  void FailAll(const ApiError& error);
  /// Requests that are not yet answered and released.
  [[nodiscard]] std::size_t Live() const { return requests_.size(); }
  [[nodiscard]] std::optional<Refusal> NotReady() const;
  /// The longest context that every registered worker offers; nothing where none is registered.
  [[nodiscard]] std::optional<std::int64_t> ContextTokens() const;

 private:
  struct Part {
    WorkerId worker;
    cluster::Phase phase = cluster::Phase::kPrefill;
    RequestKey key;
    bool cancelled = false;
  };
  struct Request {
    Job job;
    std::vector<Answer> answers;  // one a choice
    std::size_t ended = 0;        // of them
    bool cut = false;             // one ended without the worker's doing
    Attempt attempt{0};           // 0: waits for its placement
    std::vector<Part> held;       // by workers, not yet released
    Beginning beginning;          // of the attempt, or of the next one
    bool prefilled = false;       // the attempt has reported a token
    bool decode_writes = false;   // and one that decode made
    std::string numerics_class;   // of the last placement
    std::string_view failure;     // the client's code for how the last attempt ended; "": none has
    TimePoint failed_at;
    TimePoint place_after;              // not before
    std::optional<Move> move;           // to another decode worker
    RequestKey moves_to;                // the newest move's target, until it has written a token
    std::uint32_t moves = 0;            // so far, the present one included: each has taken an attempt
    TimePoint move_after;               // not before
    bool exact = false;                 // decode has KV with the bits that prefill would compute
    std::optional<GiveBack> give_back;  // of an answer that has ended
    bool answered = false;
    std::string_view outcome;
    TimePoint placed_at;
    TimePoint last_token_at;
    Duration first_token_after{};
    TimePoint answered_at;
    ReleaseReport prefill;  // as the prefill worker reported it
    WorkerId prefill_worker;
    std::int64_t cached_tokens = 0;         // of the prompt
    std::vector<Logprobs> prompt_logprobs;  // where asked for, so far: of all but its first token
  };

  template <typename T>
  void Apply(T what) {
    Tell({clock_.Now(), std::move(what)});
  }
  void Tell(const cluster::ClusterEvent& event);
  void PlaceWaiting();
  void PlaceInOrder();
  /// kNoPair: no worker that it is bound to is there, so that it holds nobody up.
  enum class Tried { kPlaced, kWaits, kNoPair };
  [[nodiscard]] Tried TryPlace(Request& request, const cluster::ClusterSnapshot& snapshot);
  [[nodiscard]] RequestSize SizeOfWaiting(const Request& request,
                                          const cluster::ClusterSnapshot& snapshot) const;
  [[nodiscard]] Order OrderOf(const Job& job, RequestKey key, const cluster::WorkerSnapshot& peer) const;
  void FailWaitingIfHopeless();
  void AttemptFailed(Request& request, std::string_view code, std::string_view message);
  void AttemptBroken(Request& request, std::string_view message);
  void Resume(Request& request, std::string_view client_code, Duration pause);
  void AttemptBegun(const Request& request, const TokenReport& report);
  [[nodiscard]] static bool LacksPromptLogprobs(const Request& request);
  void ShowPromptLogprobs(Request& request);
  [[nodiscard]] static bool HandedOver(const Request& request);
  void Fail(Request& request, const ApiError& error, std::string_view reason);
  void End(Request& request, std::string_view outcome, bool cancel);
  void CancelParts(Request& request);
  [[nodiscard]] static const Part* HeldBy(const Request& request, WorkerId worker, RequestKey key);
  void DropPart(Request& request, WorkerId worker, RequestKey key);
  void ForgetIfDone(RequestId id);
  [[nodiscard]] const Part* Movable(const Request& request) const;
  [[nodiscard]] static MovableAnswer AnswerOf(const Request& request, WorkerId at);
  void BeginMove(Request& request, const Part& writer, WorkerId to, MoveReason reason);
  void EndMove(Request& request, std::string_view outcome);
  [[nodiscard]] bool EndsByMove(Request& request, const Part& part, std::string_view outcome);
  [[nodiscard]] Duration KeepFor(const Request& request) const;
  void OfferBack(Request& request);
  [[nodiscard]] std::map<WorkerId, std::int64_t> GiveBacks() const;
  void EndGiveBack(Request& request, const Part& part, std::string_view outcome);
  void StopGiveBacks();
  void MoveAnswers();
  [[nodiscard]] Request* YoungestMovable(WorkerId at, WorkerId to);
  void Balance();
  void MakeRoomForFirst();
  void Record(const Request& request) const;
  void Observe();
  [[nodiscard]] Request* Find(RequestId id);
  [[nodiscard]] static std::int64_t TokensOf(const Request& request);
  void EndChoice(Request& request, const TokenReport& report, const AnswerEnd& end);
  void StopSample(const Request& request, std::int32_t sample);
  [[nodiscard]] static Usage UsageOf(const Request& request);

  const Clock& clock_;
  WorkerPort& workers_;
  const text::Tokenizer& tokenizer_;
  Probe& probe_;
  const Options options_;
  cluster::ClusterView view_;
  PrefixIndex prefixes_;
  std::map<RequestId, Request> requests_;
  std::set<WorkerId> leaving_;       // decode workers
  std::set<RequestId> giving_back_;  // answered requests with a give_back
  TimePoint balance_at_;
  TimePoint room_at_;
  std::deque<RequestId> waiting_;             // to be placed, in order of arrival
  bool resumed_ = false;                      // some of them wait again, and were not looked at since
  std::optional<RequestId> short_of_memory_;  // of them: behind which nobody is placed
};

}  // namespace baton::router
