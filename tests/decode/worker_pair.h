#pragma once

#include <catch2/catch.hpp>

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/base/error.h"
#include "decode/decode_service.h"
#include "engine/worker/runtime.h"
#include "prefill/prefill_service.h"
#include "tests/engine/worker/scripted_router.h"
#include "tests/support/sequence_runner.h"
#include "tests/support/shared_data.h"

namespace baton::test {

using engine::ScriptedRouter;
using engine::WorkerRuntime;

inline constexpr kernels::CpuOptions kPairCompute{.compute = kernels::ComputeClass::kF32, .threads = 1};

[[nodiscard]] inline std::string DemoModel() {
  return ProjectFile("deploy/demo-model");
}

/// What a worker computes on, where it is not one thread of the CPU in class f32.
struct On {
  WorkerRuntime::OpenDevices open = {};
  int ranks = 1;
  int block_tokens = 16;
  Duration engine_timeout = std::chrono::seconds(60);
};

/// A worker on a loop of its own.
class Worker {
 public:
  Worker(ScriptedRouter& router, bool prefill, On on = {}) {
    engine::WorkerConfig config{.name = prefill ? "prefill-0" : "decode-0",
                                .model = DemoModel(),
                                .model_name = "baton-demo",
                                .router = router.Address(),
                                .peer_host = "127.0.0.1",
                                .device = {.backend = engine::BackendChoice::kCpu},
                                .compute = kPairCompute,
                                .ranks = on.ranks,
                                .block_tokens = on.block_tokens,
                                .kv_memory = 8U << 20,
                                .batch = {.prefill_chunk_tokens = 32},
                                .engine_timeout = on.engine_timeout};
    config.transfer.transport = "loopback";
    config.transfer.listen = {"127.0.0.1", 0};
    net::OnLoop(thread_.Loop(), [&] {
      auto created = WorkerRuntime::Create(
          thread_.Loop(), config, prefill,
          prefill ? prefill::CreatePrefillService : decode::CreateDecodeService, std::move(on.open));
      INFO(created.status());
      REQUIRE(created.ok());
      runtime_ = *std::move(created);
      runtime_->Start();
    });
  }
  ~Worker() {
    net::OnLoop(thread_.Loop(), [this] { runtime_.reset(); });
  }
  void OnLoop(const std::function<void(WorkerRuntime&)>& work) {
    net::OnLoop(thread_.Loop(), [&] { work(*runtime_); });
  }

 private:
  std::unique_ptr<WorkerRuntime> runtime_;
  net::LoopThread thread_{"worker"};
};

/// Both workers, registered and introduced: decode is number 1 of the router, prefill 2.
struct Pair {
  explicit Pair(On decode_on = {}, On prefill_on = {}) {
    decode = std::make_unique<Worker>(router, false, std::move(decode_on));
    decode_registration = Registration(1);
    prefill = std::make_unique<Worker>(router, true, std::move(prefill_on));
    prefill_registration = Registration(2);
    Introduce(1, 2, prefill_registration);
    Introduce(2, 1, decode_registration);
    for (const std::uint32_t worker : {1U, 2U}) {
      REQUIRE(router.WaitFor(worker, [](const wire::Envelope& e) { return e.load().ready(); }));
    }
  }

  wire::Register Registration(std::uint32_t worker) {
    REQUIRE(router.WaitFor(worker, [](const wire::Envelope& e) { return e.has_load(); }));
    for (const auto& [number, envelope] : router.heard.Get()) {
      if (number == worker && envelope.has_register_()) return envelope.register_();
    }
    FAIL("no registration");
    return {};
  }
  void Introduce(std::uint32_t worker, std::uint32_t peer, const wire::Register& registration) {
    wire::Envelope envelope;
    wire::Peer& info = *envelope.mutable_peers()->add_peers();
    info.set_worker_id(peer);
    info.set_incarnation(registration.incarnation());
    info.set_phase(registration.phase());
    info.set_address(registration.peer_address());
    info.set_name(registration.name());
    router.Send(worker, envelope);
  }
  void Ask(std::uint64_t request, const std::vector<TokenId>& prompt, std::int64_t max_tokens) {
    wire::Envelope reserve;
    wire::Reserve& order = *reserve.mutable_reserve();
    order.set_request(request);
    order.set_attempt(1);
    order.mutable_tokens()->Assign(prompt.begin(), prompt.end());
    order.mutable_sampling()->set_top_p(1);
    order.mutable_sampling()->set_logprobs(true);
    order.mutable_stop()->set_max_tokens(max_tokens);
    order.set_prefill_worker(2);
    order.set_prefill_incarnation(prefill_registration.incarnation());
    wire::Envelope both;
    wire::Prefill& other = *both.mutable_prefill();
    other.set_request(request);
    other.set_attempt(1);
    *other.mutable_tokens() = order.tokens();
    *other.mutable_sampling() = order.sampling();
    *other.mutable_stop() = order.stop();
    other.set_decode_worker(1);
    other.set_decode_incarnation(decode_registration.incarnation());
    router.Send(1, reserve);
    router.Send(2, both);
  }
  wire::Released Released(std::uint32_t worker, std::uint64_t request) {
    const auto is_it = [&](const wire::Envelope& e) {
      return e.has_released() && e.released().request() == request;
    };
    REQUIRE(router.WaitFor(worker, is_it));
    for (const auto& [number, envelope] : router.heard.Get()) {
      if (number == worker && is_it(envelope)) return envelope.released();
    }
    return {};
  }
  std::vector<TokenId> Tokens(std::uint32_t worker, std::uint64_t request) {
    std::vector<TokenId> tokens;
    for (const auto& [number, envelope] : router.heard.Get()) {
      if (number != worker || !envelope.has_token() || envelope.token().request() != request) continue;
      CHECK(envelope.token().index() == std::ssize(tokens));
      tokens.push_back(envelope.token().token());
    }
    return tokens;
  }
  /// Log-probabilities of the tokens that this worker chose.
  std::vector<float> Logprobs(std::uint32_t worker, std::uint64_t request) {
    std::vector<float> values;
    for (const auto& [number, envelope] : router.heard.Get()) {
      if (number == worker && envelope.has_token() && envelope.token().request() == request &&
          envelope.token().has_logprobs())
        values.push_back(envelope.token().logprobs().chosen());
    }
    return values;
  }
  /// The worker's next reports of its load say that it holds nothing.
  bool BecomesIdle(std::uint32_t worker) {
    const std::size_t begin = router.heard.Get().size();
    return router.heard.WaitFor([&](const ScriptedRouter::Messages& all) {
      return std::any_of(all.begin() + static_cast<std::ptrdiff_t>(begin), all.end(), [&](const auto& one) {
        const wire::Load& load = one.second.load();
        return one.first == worker && one.second.has_load() && load.kv_blocks_used() == 0 &&
               load.grants() == 0 && load.kv_blocks_quarantined() == 0 && load.running_requests() == 0 &&
               load.queued_requests() == 0;
      });
    });
  }

  ScriptedRouter router;
  std::unique_ptr<Worker> decode;
  std::unique_ptr<Worker> prefill;
  wire::Register decode_registration;
  wire::Register prefill_registration;
};

/// The log-probability of each token of `answer` after the first, by one engine that computes everything.
[[nodiscard]] inline std::vector<double> LogprobsOf(SequenceRunner& whole, const std::vector<TokenId>& prompt,
                                                    const std::vector<TokenId>& answer) {
  std::vector<TokenId> all = prompt;
  all.insert(all.end(), answer.begin(), answer.end());
  const auto logits = whole.AllLogits(all);
  std::vector<double> values;
  for (std::size_t i = 1; i < answer.size(); ++i) {
    const std::vector<float>& row = logits[prompt.size() + i - 1];
    double sum = 0;
    const double highest = *std::ranges::max_element(row);
    for (const float x : row) sum += std::exp(x - highest);
    values.push_back(row[static_cast<std::size_t>(answer[i])] - highest - std::log(sum));
  }
  return values;
}

/// Asks a pair for answers of `count` tokens to the prompts, all at once; nothing is left. Root mean square
/// of what the answers' log-probabilities differ by from those of `whole` for the same tokens.
[[nodiscard]] inline double AskAll(Pair& pair, SequenceRunner& whole,
                                   const std::vector<std::vector<TokenId>>& prompts, std::int64_t count) {
  for (std::size_t i = 0; i < prompts.size(); ++i) pair.Ask(i + 1, prompts[i], count);
  double squares = 0;
  double values = 0;
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    CHECK(pair.Released(2, i + 1).outcome() == "done");
    CHECK(pair.Released(1, i + 1).outcome() == "done");
    const std::vector<TokenId> answer = pair.Tokens(1, i + 1);
    const std::vector<float> told = pair.Logprobs(1, i + 1);
    REQUIRE(std::ssize(answer) == count);
    REQUIRE(std::ssize(told) == count - 1);  // the first is prefill's to tell
    const std::vector<double> expected = LogprobsOf(whole, prompts[i], answer);
    for (std::size_t t = 0; t < told.size(); ++t) {
      squares += std::pow(static_cast<double>(told[t]) - expected[t], 2);
      ++values;
    }
  }
  CHECK(pair.BecomesIdle(1));
  CHECK(pair.BecomesIdle(2));
  return std::sqrt(squares / values);
}

/// The same of one numerics class: the tokens are those of `whole`, and what is left of the log-probabilities
/// is the sum of a softmax in another order.
inline void AnswersAsOne(Pair& pair, SequenceRunner& whole, const std::vector<std::vector<TokenId>>& prompts,
                         std::int64_t count) {
  CHECK(AskAll(pair, whole, prompts, count) < 1e-6);
  for (std::size_t i = 0; i < prompts.size(); ++i)
    CHECK(pair.Tokens(1, i + 1) == whole.Greedy(prompts[i], count));
}

[[nodiscard]] inline std::vector<TokenId> Prompt(std::int64_t length, TokenId first) {
  std::vector<TokenId> tokens;
  for (std::int64_t i = 0; i < length; ++i) tokens.push_back(static_cast<TokenId>((first + i * 31) % 400));
  return tokens;
}

}  // namespace baton::test
