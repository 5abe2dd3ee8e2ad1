#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "common/base/ids.h"
#include "common/net/event_loop.h"
#include "engine/constrain/grammar_cache.h"
#include "engine/executor.h"
#include "engine/kv/answer_memory.h"
#include "engine/kv/block_pool.h"
#include "engine/kv/prefix_cache.h"
#include "engine/model/model_config.h"
#include "kvtransfer/handoff.h"

namespace baton::wire {
class Envelope;
class PromptLogprobs;
class Released;
class Sampling;
class Stop;
class Token;
}  // namespace baton::wire

namespace baton::engine {

class WorkerProbe;

/// What a phase works with; all of it outlives the service. Control loop only, the executor's calls aside.
struct ServiceContext {
  net::EventLoop& loop;
  Executor& executor;
  BlockPool& pool;
  kvtransfer::Handoff& handoff;
  const ModelConfig& model;
  std::int64_t queue_requests;
  WorkerProbe& probe;
  /// To the router, in order.
  std::function<void(const wire::Envelope&)> send;
  /// Something that a load report says has changed.
  std::function<void()> load_changed;
  PrefixCache* prefixes = nullptr;  // KV of earlier prompts; null: none is kept
  /// Copies the KV of one block, all layers, into another. Neither may be in use.
  std::function<void(BlockIndex from, BlockIndex to)> copy_block = {};
  GrammarCache* grammars = nullptr;  // null: this worker's vocabulary cannot follow a grammar
  AnswerMemoryOptions answers = {};  // decode
  std::int64_t block_tokens = kBlockTokens;
};

struct ServiceLoad {
  std::int64_t queued_requests = 0;       // without blocks yet
  std::int64_t queued_prompt_tokens = 0;  // not yet computed
  std::int64_t running_requests = 0;      // with blocks
  /// Blocks that a new request could take now, where that is not what the pool has free.
  std::optional<std::int64_t> blocks_available = std::nullopt;
};

/// One phase of requests on this worker: orders of the router in, events of executor and hand-off in, tokens
/// and Released out. Control loop only.
class PhaseService {
 public:
  virtual ~PhaseService() = default;
  /// An order of the phase; anything else is ignored.
  virtual void OnOrder(const wire::Envelope& order) = 0;
  /// Ends this attempt of the request and older ones, wherever they stand.
  virtual void Cancel(RequestKey key) = 0;
  virtual void CancelAll() = 0;
  virtual void OnLayerDone(const LayerEvent& event) = 0;
  virtual void OnToken(const TokenEvent& event) = 0;
  /// Of a phase that asks the executor for it.
  virtual void OnPromptLogprobs(const PromptLogprobsEvent&) {}
  virtual void OnExecutorReleased(RequestKey key, FinishReason reason) = 0;
  virtual void OnPreempted(const PreemptedEvent&) {}
  virtual void OnResumed(const ResumedEvent&) {}
  virtual void OnPaused(SequenceKey) {}
  virtual void OnStopped(SequenceKey) {}
  [[nodiscard]] virtual ServiceLoad Load() const = 0;
  /// Of a phase that writes answers.
  [[nodiscard]] virtual AnswerMemoryCounts Answers() const { return {}; }
  /// Requests that have not been reported Released.
  [[nodiscard]] virtual std::int64_t InFlight() const = 0;
};

[[nodiscard]] SamplingParams FromWire(const wire::Sampling& sampling);
[[nodiscard]] StopRules FromWire(const wire::Stop& stop);
/// Alternatives to report with each token; below 0: no log-probabilities.
[[nodiscard]] std::int32_t LogprobsWanted(const wire::Sampling& sampling);
/// Answers to write.
[[nodiscard]] std::int32_t SamplesWanted(const wire::Sampling& sampling);
/// What the answer must be; null where it may be anything. Errors: a grammar that is refused, one without a
/// stop id to end with, or a worker that follows none.
[[nodiscard]] absl::StatusOr<std::shared_ptr<const grammar::Grammar>> GrammarWanted(
    const wire::Sampling& sampling, const StopRules& stop, GrammarCache* grammars);
/// `event` as the router reads it; not finished by a hand-off.
void ToWire(const TokenEvent& event, wire::Token& out);
void ToWire(const PromptLogprobsEvent& event, wire::PromptLogprobs& out);
inline constexpr std::int32_t kSamplesMax = 64;
/// InvalidArgument where the model cannot run this: ids outside the vocabulary, empty, longer than the
/// context, bad limits. Of `prompt`, the last `resumed` tokens are the answer's, of which there is one then.
[[nodiscard]] absl::Status CheckOrder(const std::vector<TokenId>& prompt, std::int64_t resumed,
                                      std::int32_t samples, const SamplingParams& sampling,
                                      const StopRules& stop, const ModelConfig& model);

/// How a request ended on this worker, for Released.
struct Outcome {
  std::string name;  // "done", "cancelled", "failed"
  std::string code;  // of failed
  std::string message;
};
[[nodiscard]] Outcome Failed(std::string code, const absl::Status& status);
/// What Released says of it, beside what the phase reports.
void ToWire(RequestKey key, const Outcome& outcome, wire::Released& out);
/// The outcome of a hand-off that did not end well.
[[nodiscard]] Outcome FailedTransfer(const absl::Status& status);

}  // namespace baton::engine
