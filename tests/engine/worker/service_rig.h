#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "common/cluster/wire.pb.h"
#include "common/metrics/registry.h"
#include "engine/executor.h"
#include "engine/worker/probe.h"
#include "engine/worker/service.h"
#include "tests/engine/worker/scripted_handoff.h"
#include "tests/support/fake_model.h"

namespace baton::engine {

inline RequestKey Key(std::uint64_t request, std::uint32_t attempt = 1) {
  return {RequestId(request), Attempt(attempt)};
}

inline std::vector<TokenId> Prompt(std::int64_t length, TokenId first = 1) {
  std::vector<TokenId> tokens;
  for (std::int64_t i = 0; i < length; ++i) tokens.push_back(static_cast<TokenId>((first + i * 7) % 97));
  return tokens;
}

/// The likeliest token after `tokens`.
inline TokenId Next(const test::FakeModel& model, const std::vector<TokenId>& tokens) {
  const std::vector<float> logits = model.PlainLogits(tokens);
  return static_cast<TokenId>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

/// A phase's service with a real executor over the fake model, a scripted hand-off, and a router that only
/// listens.
class ServiceRig {
 public:
  using Create = std::function<std::unique_ptr<PhaseService>(const ServiceContext&)>;

  /// `prefix_blocks` are kept of computed prompts; 0: none, and no cache.
  ServiceRig(const Create& create, bool prefill, std::int64_t blocks, std::int64_t queue_requests = 8,
             std::int64_t prefix_blocks = 0, const AnswerMemoryOptions& answers = {})
      : pool(blocks),
        backend_(*kernels::CreateCpuBackend({.compute = kernels::ComputeClass::kF32, .threads = 1})),
        arena_(*KvArena::Create(*backend_, model.Geometry(blocks))),
        probe_(registry, prefill) {
    model.before_step = [this](const StepBatch&) {
      stepping.Raise();
      static_cast<void>(gate_.WaitFor([](bool open) { return open; }));
    };
    if (prefix_blocks > 0) prefixes_ = std::make_unique<PrefixCache>(pool, prefix_blocks);
    const auto swap_bytes = arena_.Geometry().TotalBytes() / static_cast<std::size_t>(blocks) *
                            static_cast<std::size_t>(answers.swap_slots);
    swap_ = std::make_unique<SwapArea>(*SwapArea::Create(arena_.Geometry(), swap_bytes));
    executor_ = std::make_unique<Executor>(model, arena_, PlannerLimits{.prefill_chunk_tokens = 32}, events_,
                                           nullptr, swap_.get());
    OnLoop([&] {
      service = create(
          {.loop = thread_.Loop(),
           .executor = *executor_,
           .pool = pool,
           .handoff = handoff,
           .model = model.Config(),
           .queue_requests = queue_requests,
           .probe = probe_,
           .send = [this](const wire::Envelope& e) { sent.Update([&](auto& all) { all.push_back(e); }); },
           .load_changed = [] {},
           .prefixes = prefixes_.get(),
           .copy_block = [this](BlockIndex from,
                                BlockIndex to) { static_cast<void>(arena_.CopyBlock(from, to, nullptr)); },
           .answers = answers});
    });
  }
  ~ServiceRig() {
    Open();
    executor_.reset();
    OnLoop([this] { service.reset(); });
  }

  /// The engine waits at the begin of its next step until `Open`.
  void Shut() { gate_.Set(false); }
  void Open() { gate_.Set(true); }

  void OnLoop(const std::function<void()>& work) { net::OnLoop(thread_.Loop(), work); }
  void Order(const wire::Envelope& order) {
    OnLoop([&] { service->OnOrder(order); });
  }
  void Cancel(RequestKey key) {
    OnLoop([&] { service->Cancel(key); });
  }
  [[nodiscard]] PoolCounts Blocks() {
    PoolCounts counts;
    OnLoop([&] { counts = pool.Counts(); });
    return counts;
  }
  [[nodiscard]] std::int64_t InFlight() {
    std::int64_t count = 0;
    OnLoop([&] { count = service->InFlight(); });
    return count;
  }

  /// The report that a request has ended; fails the test where none comes.
  [[nodiscard]] wire::Released Released(RequestKey key) {
    REQUIRE(sent.WaitFor([&](const auto& all) { return Find(all, key).has_value(); }));
    return *Find(sent.Get(), key);
  }
  [[nodiscard]] bool IsReleased(RequestKey key) const { return Find(sent.Get(), key).has_value(); }
  [[nodiscard]] std::int64_t Releases() const {
    const auto all = sent.Get();
    return std::count_if(all.begin(), all.end(), [](const wire::Envelope& e) { return e.has_released(); });
  }
  [[nodiscard]] bool WaitForTokens(RequestKey key, std::int64_t count) {
    return sent.WaitFor([&](const auto& all) { return std::ssize(TokensIn(all, key)) >= count; });
  }
  [[nodiscard]] std::vector<wire::Token> Tokens(RequestKey key) const { return TokensIn(sent.Get(), key); }

  [[nodiscard]] bool WaitForPreemptions(int count) {
    return preemptions_.WaitFor([count](int seen) { return seen >= count; });
  }
  [[nodiscard]] const KvArena& Arena() const { return arena_; }

  std::function<void()> on_preempted;  // on the loop; set before anything is ordered
  test::FakeModel model;
  BlockPool pool;
  ScriptedHandoff handoff;
  metrics::Registry registry;
  net::Watched<std::vector<wire::Envelope>> sent;
  net::Signal stepping;  // the engine has begun a step
  std::unique_ptr<PhaseService> service;

 private:
  /// What the engine reports, to the loop. Whole as long as the engine is, whoever derives from the rig.
  struct Events final : ExecutorEvents {
    explicit Events(ServiceRig& r) : rig(r) {}
    void OnLayerDone(const LayerEvent& event) override {
      rig.thread_.Loop().Post([&rig = rig, event] { rig.service->OnLayerDone(event); });
    }
    void OnToken(const TokenEvent& event) override {
      rig.thread_.Loop().Post([&rig = rig, event] { rig.service->OnToken(event); });
    }
    void OnStopped(SequenceKey sequence) override {
      rig.thread_.Loop().Post([&rig = rig, sequence] { rig.service->OnStopped(sequence); });
    }
    void OnPromptLogprobs(const PromptLogprobsEvent& event) override {
      rig.thread_.Loop().Post([&rig = rig, event] { rig.service->OnPromptLogprobs(event); });
    }
    void OnReleased(RequestKey key, FinishReason reason) override {
      rig.thread_.Loop().Post([&rig = rig, key, reason] { rig.service->OnExecutorReleased(key, reason); });
    }
    void OnPreempted(const PreemptedEvent& event) override {
      rig.thread_.Loop().Post([&rig = rig, event] {
        rig.service->OnPreempted(event);
        if (rig.on_preempted) rig.on_preempted();
        rig.preemptions_.Update([](int& count) { ++count; });
      });
    }
    void OnResumed(const ResumedEvent& event) override {
      rig.thread_.Loop().Post([&rig = rig, event] { rig.service->OnResumed(event); });
    }
    void OnPaused(SequenceKey sequence) override {
      rig.thread_.Loop().Post([&rig = rig, sequence] { rig.service->OnPaused(sequence); });
    }
    void OnStep(const StepReport&) override {}
    ServiceRig& rig;
  };

  static std::optional<wire::Released> Find(const std::vector<wire::Envelope>& all, RequestKey key) {
    for (const wire::Envelope& e : all) {
      const wire::Released& released = e.released();
      if (e.has_released() && released.request() == key.request.value &&
          released.attempt() == key.attempt.value) {
        return released;
      }
    }
    return std::nullopt;
  }
  static std::vector<wire::Token> TokensIn(const std::vector<wire::Envelope>& all, RequestKey key) {
    std::vector<wire::Token> tokens;
    for (const wire::Envelope& e : all) {
      if (!e.has_token() || e.token().request() != key.request.value) continue;
      if (e.token().attempt() == key.attempt.value) tokens.push_back(e.token());
    }
    return tokens;
  }

  std::unique_ptr<PrefixCache> prefixes_;
  net::Watched<bool> gate_{true};
  net::Watched<int> preemptions_{0};
  std::unique_ptr<kernels::Backend> backend_;
  KvArena arena_;
  std::unique_ptr<SwapArea> swap_;
  WorkerProbe probe_;
  net::LoopThread thread_{"service-rig"};
  Events events_{*this};
  std::unique_ptr<Executor> executor_;
};

}  // namespace baton::engine
