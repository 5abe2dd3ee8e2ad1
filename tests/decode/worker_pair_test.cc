#include <catch2/catch.hpp>

#include "common/base/error.h"
#include "decode/decode_service.h"
#include "engine/worker/runtime.h"
#include "prefill/prefill_service.h"
#include "tests/engine/worker/scripted_router.h"
#include "tests/support/sequence_runner.h"
#include "tests/support/shared_data.h"

/// A whole prefill worker and a whole decode worker in one process, before a router that a test plays.
namespace baton::decode {
namespace {

using engine::ScriptedRouter;
using engine::WorkerRuntime;

constexpr kernels::CpuOptions kCompute{.compute = kernels::ComputeClass::kF32, .threads = 1};

std::string DemoModel() {
  return test::ProjectFile("deploy/demo-model");
}

/// A worker on a loop of its own.
class Worker {
 public:
  Worker(ScriptedRouter& router, bool prefill) {
    engine::WorkerConfig config{.name = prefill ? "prefill-0" : "decode-0",
                                .model = DemoModel(),
                                .model_name = "baton-demo",
                                .router = router.Address(),
                                .peer_host = "127.0.0.1",
                                .compute = kCompute,
                                .kv_memory = 8U << 20,
                                .batch = {.prefill_chunk_tokens = 32}};
    config.transfer.transport = "loopback";
    config.transfer.listen = {"127.0.0.1", 0};
    net::OnLoop(thread_.Loop(), [&] {
      auto created = WorkerRuntime::Create(thread_.Loop(), config, prefill,
                                           prefill ? prefill::CreatePrefillService : CreateDecodeService);
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
  Pair() {
    decode = std::make_unique<Worker>(router, false);
    decode_registration = Registration(1);
    prefill = std::make_unique<Worker>(router, true);
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

std::vector<TokenId> Prompt(std::int64_t length, TokenId first) {
  std::vector<TokenId> tokens;
  for (std::int64_t i = 0; i < length; ++i) tokens.push_back(static_cast<TokenId>((first + i * 31) % 400));
  return tokens;
}

TEST_CASE("a pair of workers answers with the same tokens as one engine, for several requests at once") {
  Pair pair;
  test::SequenceRunner whole(DemoModel(), kCompute);
  constexpr std::int64_t kAnswer = 24;
  const std::vector<std::vector<TokenId>> prompts = {Prompt(5, 3), Prompt(40, 7), Prompt(100, 11),
                                                     Prompt(16, 13)};

  for (std::size_t i = 0; i < prompts.size(); ++i) pair.Ask(i + 1, prompts[i], kAnswer);

  for (std::size_t i = 0; i < prompts.size(); ++i) {
    const wire::Released prefilled = pair.Released(2, i + 1);
    CHECK(prefilled.outcome() == "done");
    CHECK(prefilled.transfer().bytes() > 0);
    CHECK(pair.Released(1, i + 1).outcome() == "done");
    const std::vector<TokenId> expected = whole.Greedy(prompts[i], kAnswer);
    CHECK(pair.Tokens(1, i + 1) == expected);
    CHECK(pair.Tokens(2, i + 1) == std::vector<TokenId>{expected.front()});
  }
  CHECK(pair.BecomesIdle(1));
  CHECK(pair.BecomesIdle(2));
}

TEST_CASE("an answer cancelled at both workers leaves nothing behind") {
  Pair pair;
  pair.Ask(1, Prompt(100, 3), 300);
  REQUIRE(pair.router.WaitFor(
      1, [](const wire::Envelope& e) { return e.has_token() && e.token().index() >= 2; }));
  wire::Envelope cancel;
  cancel.mutable_cancel()->set_request(1);
  cancel.mutable_cancel()->set_attempt(1);

  pair.router.Send(1, cancel);
  pair.router.Send(2, cancel);

  CHECK(pair.Released(1, 1).outcome() == "cancelled");
  CHECK(pair.BecomesIdle(1));
  CHECK(pair.BecomesIdle(2));
}

TEST_CASE("a decode worker that lost the router frees everything and registers anew") {
  Pair pair;
  pair.Ask(1, Prompt(100, 3), 300);
  REQUIRE(pair.router.WaitFor(1, [](const wire::Envelope& e) { return e.has_token(); }));

  pair.router.Drop(1);

  REQUIRE(pair.router.WaitFor(3, [](const wire::Envelope& e) { return e.has_register_(); }));
  CHECK(pair.Registration(3).incarnation() == pair.decode_registration.incarnation());
  CHECK(pair.BecomesIdle(3));
}

TEST_CASE("a worker that drains says so, finishes its answers, and is done") {
  Pair pair;
  pair.Ask(1, Prompt(100, 3), 60);
  REQUIRE(pair.router.WaitFor(1, [](const wire::Envelope& e) { return e.has_token(); }));
  net::Signal drained;

  pair.decode->OnLoop([&](WorkerRuntime& runtime) { runtime.Drain([&] { drained.Raise(); }); });

  CHECK(pair.router.WaitFor(1, [](const wire::Envelope& e) { return e.has_leaving(); }));
  CHECK(drained.Wait());
  CHECK(pair.Released(1, 1).outcome() == "done");
  CHECK(pair.Tokens(1, 1).size() == 60);
  CHECK(pair.router.WaitForClose(1));
}

TEST_CASE("a drain that is aborted cancels what runs, and is done") {
  Pair pair;
  pair.Ask(1, Prompt(100, 3), 400);
  REQUIRE(pair.router.WaitFor(1, [](const wire::Envelope& e) { return e.has_token(); }));
  net::Signal drained;

  pair.decode->OnLoop([&](WorkerRuntime& runtime) {
    runtime.Drain([&] { drained.Raise(); });
    runtime.Abort();
  });

  CHECK(drained.Wait());
  CHECK(pair.Released(1, 1).outcome() == "cancelled");
}

}  // namespace
}  // namespace baton::decode
