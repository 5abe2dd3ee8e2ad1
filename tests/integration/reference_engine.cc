#include "tests/integration/reference_engine.h"

#include <condition_variable>
#include <optional>

#include "common/base/check.h"
#include "common/base/error.h"
#include "common/base/mutex.h"
#include "common/text/tokenizer.h"
#include "engine/kv/block_pool.h"
#include "engine/kv/kv_arena.h"
#include "engine/model/model.h"

namespace baton::test {
namespace {

constexpr std::int64_t kArenaTokens = 2048;

/// Gathers one request's tokens.
class Collector final : public engine::ExecutorEvents {
 public:
  void OnLayerDone(const engine::LayerEvent&) override {}
  void OnStep(const engine::StepReport&) override {}
  void OnToken(const engine::TokenEvent& event) override {
    const MutexLock lock(mutex_);
    tokens_.push_back(event.token);
    if (event.finish) finish_ = event.finish;
  }
  void OnReleased(RequestKey, engine::FinishReason) override {
    const MutexLock lock(mutex_);
    released_ = true;
    changed_.notify_all();
  }

  EngineAnswer Take() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return released_; });
    EngineAnswer answer{.tokens = std::move(tokens_), .text = {}, .finish_reason = {}};
    BATON_CHECK(finish_.has_value());
    answer.finish_reason = *finish_ == engine::FinishReason::kStop ? "stop" : "length";
    tokens_.clear();
    finish_.reset();
    released_ = false;
    return answer;
  }

 private:
  Mutex mutex_;
  std::condition_variable changed_;
  std::vector<TokenId> tokens_;
  std::optional<engine::FinishReason> finish_;
  bool released_ = false;
};

}  // namespace

struct ReferenceEngine::State {
  std::unique_ptr<text::Tokenizer> tokenizer;
  std::unique_ptr<kernels::Backend> backend;
  std::unique_ptr<engine::Model> model;
  std::optional<engine::KvArena> arena;
  engine::BlockPool pool{engine::BlocksFor(kArenaTokens, engine::kBlockTokens)};
  Collector collector;
  std::optional<engine::Executor> executor;
  std::uint64_t next_request = 1;
};

ReferenceEngine::ReferenceEngine(std::unique_ptr<State> state) : state_(std::move(state)) {}
ReferenceEngine::~ReferenceEngine() = default;

absl::StatusOr<std::unique_ptr<ReferenceEngine>> ReferenceEngine::Create(const std::string& model,
                                                                         kernels::ComputeClass compute,
                                                                         std::int64_t prefill_chunk,
                                                                         std::optional<kernels::DType> kv) {
  auto state = std::make_unique<State>();
  BATON_ASSIGN_OR_RETURN(state->tokenizer, text::Tokenizer::Load(model));
  BATON_ASSIGN_OR_RETURN(
      state->backend,
      kernels::CreateCpuBackend({.compute = compute, .kv = kv, .threads = 1, .instruction_set = "auto"}));
  BATON_ASSIGN_OR_RETURN(state->model, engine::LoadModel(model, *state->backend, prefill_chunk));
  const engine::ModelConfig& config = state->model->Config();
  const engine::KvGeometry geometry{.layers = config.layers,
                                    .blocks = engine::BlocksFor(kArenaTokens, engine::kBlockTokens),
                                    .kv_heads = config.kv_heads,
                                    .head_dim = config.head_dim,
                                    .dtype = state->backend->KvType()};
  BATON_ASSIGN_OR_RETURN(engine::KvArena arena, engine::KvArena::Create(*state->backend, geometry));
  state->arena.emplace(std::move(arena));
  const engine::PlannerLimits limits{
      .batch_tokens = prefill_chunk, .batch_sequences = 1, .prefill_chunk_tokens = prefill_chunk};
  state->executor.emplace(*state->model, *state->arena, limits, state->collector);
  return std::make_unique<ReferenceEngine>(std::move(state));
}

EngineAnswer ReferenceEngine::Run(const EngineRequest& request) {
  const auto positions = static_cast<std::int64_t>(request.prompt.size()) + request.max_tokens - 1;
  auto blocks = state_->pool.Allocate(engine::BlocksFor(positions, engine::kBlockTokens));
  BATON_CHECK(blocks.ok(), "{}", Message(blocks.status()));
  engine::SequenceSpec spec{.key = {RequestId(state_->next_request++), Attempt(1)},
                            .phase = engine::Phase::kWhole,
                            .tokens = request.prompt,
                            .blocks = *blocks,
                            .sampling = request.sampling,
                            .stop = {.max_tokens = request.max_tokens, .min_tokens = 0, .stop_ids = {}}};
  if (!request.ignore_eos) spec.stop.stop_ids = state_->model->Config().eos;
  state_->executor->Submit(std::move(spec));
  EngineAnswer answer = state_->collector.Take();
  state_->pool.Release(*blocks);
  std::vector<TokenId> shown = answer.tokens;
  if (answer.finish_reason == "stop") shown.pop_back();
  answer.text = state_->tokenizer->Decode(shown, /*skip_special=*/true);
  return answer;
}

std::vector<TokenId> ReferenceEngine::Encode(std::string_view text, bool chat) const {
  const auto ids = state_->tokenizer->Encode(text, {.add_special_tokens = !chat});
  BATON_CHECK(ids.ok(), "{}", Message(ids.status()));
  return *ids;
}

std::int32_t ReferenceEngine::Vocabulary() const {
  return state_->model->Config().vocabulary;
}

}  // namespace baton::test
