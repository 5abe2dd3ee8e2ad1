#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/base/ids.h"

namespace baton::scenarios {

/// The router's part of one request, as docs/PROTOCOL.md has it ("A request"), as a pure machine: places,
/// takes tokens of the current attempt by index and drops repeats, cancels, places once more after a failure
/// before the first token, and is done when every worker it gave something to has released it.
class AttemptMachine {
 public:
  struct Action {
    enum class Kind {
      kPlace,     // choose workers for `attempt`; answered by Placed or Unplaceable
      kCancel,    // `attempt` at `worker`
      kMoveStop,  // the move that was to go on as `attempt`, at `worker`, which sends it
      kEnded,     // the whole answer, written as `attempt` at `worker`, which may keep its KV
      kGiveBack,  // the KV kept as `attempt` at `worker`: from `first` on, to the taker
      kDeliver,   // the next token of the answer
      kFinish,    // the client's end, with `error` where it is none
    };
    Kind kind = Kind::kPlace;
    Attempt attempt{};
    int worker = -1;
    int token = 0;
    std::int64_t first = 0;
    std::string error{};
  };
  using Actions = std::vector<Action>;

  struct Limits {
    Duration deadline{};  // of the whole answer
    std::uint32_t attempts_max = 2;
  };
  /// `tokens` is how many the answer has.
  AttemptMachine(const Limits& limits, TimePoint now, int tokens);

  [[nodiscard]] Actions Begin();
  [[nodiscard]] Actions Placed(int prefill, int decode);
  /// No worker is there now; Tick tries again.
  void Unplaceable() { waiting_ = true; }
  /// From `worker`, for `attempt`: anything else than the current one is dropped.
  [[nodiscard]] Actions Token(int worker, Attempt attempt, int index, int token);
  [[nodiscard]] Actions Released(int worker, Attempt attempt, bool failed, bool moved = false);
  /// Whether the answer is being written, by a worker alone that could send it to another.
  [[nodiscard]] bool Movable() const;
  [[nodiscard]] int Writer() const { return decode_; }
  [[nodiscard]] Attempt WriterAttempt() const { return attempt_; }
  /// It is to go on at `target`, under the attempt that is returned.
  [[nodiscard]] Attempt BeginMove(int target);
  [[nodiscard]] Actions MoveFailed(int worker, Attempt attempt);
  /// The ended answer's KV is to go to `taker`, under the attempt that is returned.
  [[nodiscard]] Attempt BeginGiveBack(int taker);
  [[nodiscard]] bool GivesBack() const { return give_back_.has_value(); }
  [[nodiscard]] Attempt GiveBackAttempt() const { return give_back_->attempt; }
  [[nodiscard]] int Taker() const { return give_back_->taker; }
  /// The taker has what lies before `first`.
  [[nodiscard]] Actions Takes(int worker, Attempt attempt, std::int64_t first);
  [[nodiscard]] Actions StopGiveBack();
  [[nodiscard]] Actions WorkerLost(int worker);
  [[nodiscard]] Actions ClientGone();
  [[nodiscard]] Actions Tick(TimePoint now);

  /// The client has its end, and no worker holds anything of it.
  [[nodiscard]] bool Done() const { return finished_ && holders_.empty(); }
  [[nodiscard]] bool Finished() const { return finished_; }
  [[nodiscard]] const std::vector<int>& Delivered() const { return delivered_; }

 private:
  struct Holder {
    int worker;
    Attempt attempt;
    friend auto operator<=>(const Holder&, const Holder&) = default;
  };
  struct Moving {
    Attempt attempt;
    int target = -1;
    bool there = false;  // the target has reported a token
  };
  /// KV of the answer, which has ended, on its way back.
  struct GiveBack {
    Attempt attempt;
    int taker = -1;
  };
  /// The source has let go, or is over: the target goes on.
  void Adopt();
  void CancelAll(Actions& actions);
  void Finish(Actions& actions, std::string error);
  /// The current attempt has failed: another one, or the end.
  void Fail(Actions& actions, const std::string& why);

  Limits limits_;
  const TimePoint deadline_;
  const int tokens_;
  Attempt attempt_;
  Attempt minted_;  // the newest
  std::optional<Moving> move_;
  std::optional<GiveBack> give_back_;
  int placements_ = 0;
  int prefill_ = -1;
  int decode_ = -1;
  bool waiting_ = false;  // for workers
  bool finished_ = false;
  bool decode_spoke_ = false;       // a token of its own: the KV has arrived
  std::map<Holder, bool> holders_;  // who has yet to release what
  std::map<int, int> early_;        // tokens that came before those in front of them
  std::vector<int> delivered_;
};

}  // namespace baton::scenarios
