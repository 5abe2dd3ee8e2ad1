#include "engine/worker/router_link.h"

#include <atomic>

#include <catch2/catch.hpp>

#include "tests/engine/worker/scripted_router.h"

namespace baton::engine {
namespace {

/// A link whose worker counts what it hears.
struct LinkRig {
  explicit LinkRig(ScriptedRouter& router) {
    const net::Address address = router.Address();
    net::OnLoop(thread.Loop(), [&, address] {
      link = std::make_unique<RouterLink>(
          thread.Loop(), RouterLink::Options{.router = address, .cluster_key = {}},
          RouterLink::Events{.fill_register = [](wire::Register& message) { message.set_name("worker"); },
                             .fill_load = [this](wire::Load& load) { load.set_running_requests(++loads); },
                             .on_welcome = [this](WorkerId self) { welcomed.Set(self); },
                             .on_order =
                                 [this](const wire::Envelope& order) {
                                   orders.Update([&](auto& all) { all.push_back(order); });
                                 },
                             .on_lost = [this] { lost.Update([](int& count) { ++count; }); }});
      link->Start();
    });
  }
  ~LinkRig() {
    net::OnLoop(thread.Loop(), [this] { link.reset(); });
  }
  [[nodiscard]] bool WaitForWelcome(std::uint32_t id) {
    return welcomed.WaitFor([&](WorkerId self) { return self == WorkerId(id); });
  }

  net::Watched<WorkerId> welcomed;
  net::Watched<std::vector<wire::Envelope>> orders;
  net::Watched<int> lost;
  int loads = 0;  // loop thread only
  std::unique_ptr<RouterLink> link;
  net::LoopThread thread{"worker"};
};

wire::Envelope CancelOf(std::uint64_t request) {
  wire::Envelope envelope;
  envelope.mutable_cancel()->set_request(request);
  envelope.mutable_cancel()->set_attempt(1);
  return envelope;
}

bool IsLoad(const wire::Envelope& envelope) {
  return envelope.has_load();
}

TEST_CASE("a worker registers with this protocol version and then reports its load at every heartbeat") {
  ScriptedRouter router;
  LinkRig rig(router);

  REQUIRE(router.WaitFor(1, [](const wire::Envelope& e) {
    return e.has_register_() && e.register_().name() == "worker" &&
           e.register_().protocol_version() == wire::kProtocolVersion;
  }));
  CHECK(rig.WaitForWelcome(1));
  CHECK(router.WaitFor(
      1, [](const wire::Envelope& e) { return IsLoad(e) && e.load().running_requests() >= 3; }));
}

TEST_CASE("a worker answers the router's Ping and hands its orders on") {
  ScriptedRouter router;
  LinkRig rig(router);
  REQUIRE(rig.WaitForWelcome(1));
  wire::Envelope ping;
  ping.mutable_ping()->set_nonce(77);

  router.Send(1, ping);
  router.Send(1, CancelOf(5));

  CHECK(router.WaitFor(1, [](const wire::Envelope& e) { return e.has_pong() && e.pong().nonce() == 77; }));
  CHECK(
      rig.orders.WaitFor([](const auto& all) { return all.size() == 1 && all[0].cancel().request() == 5; }));
}

TEST_CASE("a worker that lost its router is told once, and registers anew") {
  ScriptedRouter router;
  LinkRig rig(router);
  REQUIRE(rig.WaitForWelcome(1));

  router.Drop(1);

  CHECK(rig.WaitForWelcome(2));
  CHECK(rig.lost.Get() == 1);
  CHECK(router.WaitFor(2, IsLoad));
}

TEST_CASE("a malformed message ends the connection, and the worker registers anew") {
  ScriptedRouter router;
  LinkRig rig(router);
  REQUIRE(rig.WaitForWelcome(1));
  std::string frame;
  SECTION("bytes that are no message") {
    frame = "\xff\xff\xff\xff";
  }
  SECTION("a message without a body") {
    frame = "";
  }
  SECTION("half a message") {
    frame = wire::Encode(CancelOf(1234567));
    frame.pop_back();
  }

  router.SendRaw(1, frame);

  CHECK(router.WaitForClose(1));
  CHECK(rig.WaitForWelcome(2));
  CHECK(rig.lost.Get() == 1);
  CHECK(rig.orders.Get().empty());
}

TEST_CASE("orders that come before the Welcome are not taken") {
  ScriptedRouter router(/*welcomes=*/false);
  LinkRig rig(router);
  REQUIRE(router.WaitFor(1, [](const wire::Envelope& e) { return e.has_register_(); }));
  wire::Envelope ping;
  ping.mutable_ping()->set_nonce(1);

  router.Send(1, CancelOf(5));
  router.Send(1, ping);

  REQUIRE(router.WaitFor(1, [](const wire::Envelope& e) { return e.has_pong(); }));
  CHECK(rig.orders.Get().empty());
}

TEST_CASE("many changes of the load in one turn of the loop are one report") {
  ScriptedRouter router;
  LinkRig rig(router);
  REQUIRE(rig.WaitForWelcome(1));

  int before = 0;
  int after = 0;
  net::OnLoop(rig.thread.Loop(), [&] {
    before = rig.loads;
    for (int i = 0; i < 100; ++i) rig.link->LoadChanged();
  });
  net::OnLoop(rig.thread.Loop(), [&] { after = rig.loads; });

  CHECK(after >= before + 1);
  CHECK(after <= before + 2);  // a heartbeat may fall between
}

}  // namespace
}  // namespace baton::engine
