#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "decode/move_rounds.h"
#include "engine/kv/answer_memory.h"
#include "engine/worker/service.h"

namespace baton::decode {

/// One answer on its way to another decode worker: sends its KV in rounds while it is written here, lets it
/// stand still for the last one, and commits. Whatever goes wrong, the answer goes on here. Its blocks are
/// held until the transport reads them no more, even where the answer ends or is preempted before. Control
/// loop only.
///   WAITING (for the grant) -> COPYING -> PAUSING -> COMMITTED -> over
class OutgoingMove {
 public:
  struct Target {
    RequestKey key;  // of the attempt that goes on there
    WorkerId worker;
    Incarnation incarnation;
    std::int64_t positions_max = 0;  // that are reserved there
  };
  struct Result {
    bool moved = false;
    std::string why;   // where not
    Duration pause{};  // of a moved one: from its standing still to the acknowledgement
    int rounds = 0;    // the last one not counted
  };
  /// `prompt` and `answer` are the job's: what it has now, whenever looked at.
  struct Source {
    engine::SequenceKey sequence;
    std::int64_t prompt_tokens = 0;
    const std::vector<TokenId>& answer;
  };
  OutgoingMove(const engine::ServiceContext& context, const engine::AnswerMemory& memory,
               const Source& source, const Target& target);

  /// Announces the transfer. `done` comes once, last, when the blocks are free; never where this is an error.
  [[nodiscard]] absl::Status Begin(std::function<void(const Result&)> done);
  /// The answer has grown.
  void OnToken();
  /// The executor lets it stand.
  void OnPaused();
  /// Gives up; `done` follows. Nothing where that has been said, or it has been acknowledged.
  void Abort(std::string why);
  [[nodiscard]] RequestKey Key() const { return target_.key; }

 private:
  enum class State { kWaiting, kCopying, kPausing, kCommitted, kAborting };

  [[nodiscard]] std::int64_t Positions() const {
    return source_.prompt_tokens + std::ssize(source_.answer) - 1;
  }
  void OnGranted();
  void OnIdle();
  void Pause();
  [[nodiscard]] bool SendRound();
  void OnEnded(kvtransfer::TransferEnd end, const absl::Status& status);
  [[nodiscard]] double Speed() const;

  const engine::ServiceContext& context_;
  const engine::AnswerMemory& memory_;
  const Source source_;
  const Target target_;
  MoveRounds rounds_;
  State state_ = State::kWaiting;
  bool pause_asked_ = false;
  std::string why_;
  engine::BlockTable held_;  // with a reference of this move's own
  std::int64_t ready_ = 0;   // positions that have been given to the transfer
  TimePoint paused_at_{};
  std::function<void(const Result&)> done_;
};

}  // namespace baton::decode
