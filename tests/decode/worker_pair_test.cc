#include <catch2/catch.hpp>

#include "tests/decode/worker_pair.h"
#include "tests/support/gated_backend.h"
#include "tests/support/sequence_runner.h"

/// A whole prefill worker and a whole decode worker in one process, before a router that a test plays.
namespace baton::decode {
namespace {

using engine::ScriptedRouter;
using engine::WorkerRuntime;
using test::DemoModel;
using test::Pair;
using test::Prompt;

constexpr kernels::CpuOptions kCompute = test::kPairCompute;

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

TEST_CASE("a worker whose engine hangs in a step is ready for nothing until it goes on") {
  net::Watched<bool> open{true};
  Pair pair({.open = [&]() -> absl::StatusOr<engine::OpenedDevices> {
               engine::OpenedDevices devices;
               devices.ranks.push_back(std::make_unique<test::GatedBackend>(
                   *kernels::CreateCpuBackend(kCompute),
                   [&] { static_cast<void>(open.WaitFor([](bool is_open) { return is_open; })); }));
               return devices;
             },
             .engine_timeout = std::chrono::milliseconds(200)});
  const auto hears_ready = [&](bool ready) {
    const std::size_t from = pair.router.heard.Get().size();
    return pair.router.heard.WaitFor([&](const ScriptedRouter::Messages& all) {
      return std::any_of(all.begin() + static_cast<std::ptrdiff_t>(from), all.end(), [&](const auto& one) {
        return one.first == 1 && one.second.has_load() && one.second.load().ready() == ready;
      });
    });
  };

  open.Set(false);
  pair.Ask(1, Prompt(20, 3), 5);
  CHECK(hears_ready(false));
  pair.decode->OnLoop([](WorkerRuntime& runtime) { CHECK(runtime.EngineHangs()); });
  open.Set(true);

  CHECK(hears_ready(true));
  CHECK(pair.Released(1, 1).outcome() == "done");
  CHECK(pair.Tokens(1, 1).size() == 5);
  pair.decode->OnLoop([](WorkerRuntime& runtime) { CHECK_FALSE(runtime.EngineHangs()); });
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
