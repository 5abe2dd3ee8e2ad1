#pragma once

#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "common/base/clock.h"
#include "common/base/ids.h"
#include "common/grammar/grammar.h"
#include "decode/outgoing_move.h"
#include "engine/executor.h"
#include "engine/worker/service.h"
#include "kvtransfer/handoff.h"

namespace baton::decode {

/// What a decode worker keeps of a request, from its order until everything of it is free. Belongs to the
/// control thread.
struct Job {
  RequestKey key;
  std::vector<TokenId> tokens;  // the prompt
  std::int64_t resumed = 0;     // of them, at the end: the answer's, from an earlier attempt
  engine::SamplingParams sampling;
  engine::StopRules stop;
  std::int32_t logprobs = -1;
  std::shared_ptr<const grammar::Grammar> grammar;  // null: the answer may be anything
  std::int32_t samples = 1;
  WorkerId sender;  // prefill, or the decode worker that an answer moves from
  Incarnation sender_incarnation;
  std::int64_t positions_max = 0;  // of an answer that moves here: what is reserved; 0: a prompt comes
  std::int64_t known = 0;          // of such an answer: tokens that the router has
  Duration keep{};                 // for which its KV may be asked for after its end

  std::set<std::int32_t> stopped;      // answers that the router has ended before the prompt came
  std::vector<TokenId> answer;         // its tokens so far, of a request of one answer
  std::unique_ptr<OutgoingMove> move;  // the answer is on its way to another worker
  bool handoff_holds = false;
  std::int32_t sequences = 0;  // in the executor
  std::int32_t writing = 0;    // answers that have not ended
  bool reserved = false;       // has blocks, and the prompt has not come
  std::optional<engine::Outcome> outcome;
  TimePoint arrived{};
  TimePoint begun{};
  TimePoint committed{};
  std::optional<kvtransfer::CommitInfo> handed_over;  // until the first step
  net::Timer deadline;
};

}  // namespace baton::decode
