#pragma once

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "common/base/random.h"
#include "engine/executor.h"
#include "tests/support/event_recorder.h"
#include "tests/support/fake_model.h"

namespace baton::engine {

inline RequestKey Key(std::uint64_t id) {
  return {RequestId(id), Attempt(1)};
}

inline std::vector<TokenId> Prompt(std::int64_t length, std::uint64_t seed) {
  RandomStream random(seed);
  std::vector<TokenId> tokens(static_cast<std::size_t>(length));
  for (TokenId& token : tokens) token = static_cast<TokenId>(random.Between(0, 96));
  return tokens;
}

/// An engine over the fake model.
struct Rig {
  explicit Rig(std::int64_t blocks = 512)
      : backend(*kernels::CreateCpuBackend({.compute = kernels::ComputeClass::kF32, .threads = 1})),
        arena(*KvArena::Create(*backend, model.Geometry(blocks))),
        pool(blocks) {}

  void Start(const PlannerLimits& limits = {}, std::shared_ptr<const TokenTable> tokens = nullptr,
             SwapArea* swap = nullptr) {
    executor = std::make_unique<Executor>(model, arena, limits, events, std::move(tokens), swap);
  }

  SequenceSpec Spec(std::uint64_t id, std::vector<TokenId> prompt, std::int64_t max_tokens) {
    SequenceSpec spec{.key = Key(id), .tokens = std::move(prompt), .stop = {.max_tokens = max_tokens}};
    spec.blocks = *pool.Allocate(BlocksFor(std::ssize(spec.tokens) + max_tokens - 1, kBlockTokens));
    return spec;
  }

  test::FakeModel model;
  std::unique_ptr<kernels::Backend> backend;
  KvArena arena;
  BlockPool pool;
  test::EventRecorder events;
  std::unique_ptr<Executor> executor;
};

/// What `spec` must answer, worked out one token at a time without KV, batch or threads.
inline std::vector<TokenId> PlainAnswer(const test::FakeModel& model, const SequenceSpec& spec) {
  Sampler sampler(model.Config().vocabulary);
  std::vector<TokenId> tokens = spec.tokens;
  std::vector<TokenId> answer;
  const auto stops = [&](TokenId id) {
    return std::count(spec.stop.stop_ids.begin(), spec.stop.stop_ids.end(), id) > 0;
  };
  while (std::ssize(answer) < spec.stop.max_tokens) {
    std::vector<float> logits = model.PlainLogits(tokens);
    if (std::ssize(answer) < spec.stop.min_tokens) {
      for (const TokenId id : spec.stop.stop_ids) logits[static_cast<std::size_t>(id)] = -HUGE_VALF;
    }
    TokenHistory history;
    history.AddPrompt(spec.tokens);
    for (const TokenId token : answer) history.AddAnswer(token);
    tokens.push_back(sampler.Sample(logits, spec.sampling, std::ssize(tokens),
                                    {.history = &history, .sample = spec.sample}));
    answer.push_back(tokens.back());
    if (stops(answer.back())) break;
  }
  return answer;
}

}  // namespace baton::engine
