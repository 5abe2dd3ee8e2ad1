#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "common/base/clock.h"
#include "common/base/ids.h"
#include "common/grammar/grammar.h"
#include "engine/constrain/token_table.h"
#include "engine/kv/block_pool.h"
#include "engine/kv/kv_arena.h"
#include "engine/kv/swap_area.h"
#include "engine/model/model.h"
#include "engine/sample/logprobs.h"
#include "engine/sample/sampler.h"
#include "engine/schedule/batch_planner.h"
#include "engine/schedule/preemption.h"
#include "engine/sequence_key.h"

namespace baton::engine {

/// Which part of a request's life this worker runs.
enum class Phase {
  kWhole,    // prompt and answer, on one engine
  kPrefill,  // prompt and first token
  kDecode,   // answer from the second token on; the prompt's KV is in `blocks`
};

enum class FinishReason { kStop, kLength, kCancelled, kPrefilled };
[[nodiscard]] std::string_view Name(FinishReason reason);

struct StopRules {
  std::int64_t max_tokens = 16;   // of the answer, the first token included
  std::int64_t min_tokens = 0;    // before this many, stop ids are sampled over (never chosen)
  std::vector<TokenId> stop_ids;  // end the answer; reported as its last token
};

/// What the executor needs to run a sequence. The blocks belong to the caller, who may free them after
/// OnReleased.
struct SequenceSpec {
  RequestKey key;
  Phase phase = Phase::kWhole;
  /// The prompt. For kDecode: the prompt followed by the first token of the answer.
  std::vector<TokenId> tokens;
  /// Tokens of the answer that an earlier attempt has made: they end the prompt in `tokens`, and count as the
  /// answer's for everything that depends on it. Fewer than max_tokens; 0 where `samples` is not 1.
  std::int64_t resumed = 0;
  /// Covers every position that will be written: prompt + max_tokens - 1 (kPrefill: the prompt). Where it
  /// `grows`, the prompt's at first: it pauses where the next position has no block, until `Grow` brings one.
  BlockTable blocks;
  bool grows = false;  // kDecode
  /// Positions from 0 on whose KV is in `blocks` already: they are not computed. Fewer than the prompt's
  /// tokens; nothing to say for kDecode.
  std::int64_t computed_tokens = 0;
  SamplingParams sampling;
  StopRules stop;
  /// Alternatives whose log-probability is reported with each token; below 0: none is, nor the token's own.
  std::int32_t logprobs = -1;
  /// Report the prompt's own tokens too, from the second on. Needs `logprobs`, and all of the prompt is
  /// computed.
  bool prompt_logprobs = false;
  /// kPrefill: answers to begin, each with a seed of its own: as many first tokens are drawn.
  /// Else 1, and `sample` says which of them this sequence is; `sampling.seed` is the first one's.
  std::int32_t samples = 1;
  std::int32_t sample = 0;
  /// The answer is one of its texts, and ends with a stop id; null: it may be anything. Needs the executor's
  /// token table, and a stop id.
  std::shared_ptr<const grammar::Grammar> grammar = nullptr;
  /// kPrefill: call OnLayerDone for each layer of each chunk.
  bool report_layers = false;
};

struct TokenEvent {
  RequestKey key;
  std::int64_t index = 0;  // in the answer, from 0
  TokenId token = 0;
  std::optional<FinishReason> finish;  // set on the last one
  TimePoint at;
  TimePoint step_begun = {};         // of the step that made it
  std::int32_t sample = 0;           // which of the request's answers
  std::optional<Logprobs> logprobs;  // where asked for
};

/// How likely the model held tokens of the prompt, each after those before it.
struct PromptLogprobsEvent {
  RequestKey key;
  std::int64_t first = 0;          // place in the prompt of the first of them
  std::vector<Logprobs> logprobs;  // in order
};

struct LayerEvent {
  RequestKey key;
  int layer = 0;
  std::int64_t first_position = 0;
  std::int64_t tokens = 0;
  bool last = false;  // the prompt's last chunk
};

/// The executor touches the sequence's blocks no more, until it is resumed.
struct PreemptedEvent {
  SequenceKey sequence;
  std::int64_t positions = 0;  // that it needs blocks for before it can go on
  std::int64_t bytes = 0;      // copied to the swap area
  Duration duration{};         // of the copy
};

/// A preempted sequence stands where it stood, and its slots in the swap area are free.
struct ResumedEvent {
  SequenceKey sequence;
  Preemption kind = Preemption::kRecompute;
  std::int64_t tokens = 0;  // computed again
  std::int64_t bytes = 0;   // copied back
  Duration duration{};      // of the copy, or its share of the steps
};

/// A sequence's part in a step.
struct StepPart {
  RequestKey key;
  std::int64_t tokens = 0;     // computed
  std::int64_t positions = 0;  // of its KV that they saw
  bool decoding = false;       // of the answer, not of the prompt
};

struct StepReport {
  std::int64_t prompt_tokens = 0;
  std::int64_t decode_tokens = 0;
  Duration duration{};
  std::vector<StepPart> parts;
};

/// Called on the engine thread (OnLayerDone: within a step, perhaps on another rank's), never while the
/// executor holds a lock; they post to the control thread and return.
class ExecutorEvents {
 public:
  virtual ~ExecutorEvents() = default;
  virtual void OnLayerDone(const LayerEvent& event) = 0;
  /// After the one with `finish` the executor touches this sequence's blocks no more.
  virtual void OnToken(const TokenEvent& event) = 0;
  /// Once for each Stop of a sequence that has not ended before: its blocks are touched no more.
  virtual void OnStopped(SequenceKey) {}
  /// With each step that computes some of them; before the sequence's first token.
  virtual void OnPromptLogprobs(const PromptLogprobsEvent&) {}
  /// The executor will never touch the sequence's blocks again. Exactly once for each Submit, after all else.
  virtual void OnReleased(RequestKey key, FinishReason reason) = 0;
  virtual void OnStep(const StepReport& report) = 0;
  /// Once for each Preempt and Resume of a sequence that has not ended before.
  virtual void OnPreempted(const PreemptedEvent&) {}
  virtual void OnResumed(const ResumedEvent&) {}
  /// Once for each Pause of a sequence that neither has ended nor was preempted before: no token of it comes
  /// until Continue, and its KV stays as it is.
  virtual void OnPaused(SequenceKey) {}
};

/// The loop of a worker: plan -> forward -> sample -> publish, on a thread of its own. Submit, Cancel and
/// Sequences from any thread. A cancelled sequence leaves before the next step.
///
/// A sequence may be preempted: it leaves the batch between two steps with all that its answer depends on
/// (tokens, counts, state of the grammar; chance is a function of position), and comes back into other blocks
/// at its place in the order of arrival. Its text is the same to the bit.
class Executor {
 public:
  /// `tokens`: the vocabulary's bytes; null: no sequence may have a grammar. `swap`: where KV of preempted
  /// sequences goes; null: they are computed again.
  Executor(Model& model, const KvArena& arena, const PlannerLimits& limits, ExecutorEvents& events,
           std::shared_ptr<const TokenTable> tokens = nullptr, SwapArea* swap = nullptr);
  /// Cancels what runs, reports it released and joins the thread.
  ~Executor();
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  /// Takes the sequence into the next step's plan. The caller has checked lengths, ids and blocks.
  void Submit(SequenceSpec spec);
  /// Nothing happens where the sequence is unknown or already released.
  void Cancel(RequestKey key);
  /// Ends one sequence as Cancel ends all of a request.
  void Stop(SequenceKey key);
  /// More blocks for a sequence that grows; obeyed, like those below and above, in order and before the next
  /// step. Nothing happens where the sequence is unknown or already released.
  void Grow(SequenceKey key, BlockTable more);
  /// Takes the sequence out. Its KV goes to `slots`, as many as it has blocks; where there are none it is
  /// dropped, to be computed again.
  void Preempt(SequenceKey key, BlockTable slots);
  /// Takes a preempted sequence in again, with blocks for all its positions and the one to be written next,
  /// and the slots that it was preempted with.
  void Resume(SequenceKey key, BlockTable blocks, BlockTable slots);
  /// Lets the sequence stand where it stands, with its blocks, until `Continue`. It may still be preempted.
  void Pause(SequenceKey key);
  void Continue(SequenceKey key);
  /// That it has not released, preempted ones too.
  [[nodiscard]] std::int64_t Sequences() const;
  /// End of the last step or of the last idle check: what a watchdog looks at.
  [[nodiscard]] TimePoint LastProgress() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace baton::engine
