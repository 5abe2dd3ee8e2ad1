#include "common/net/event_loop.h"

#include <memory>
#include <thread>
#include <vector>

#include "tests/common/net/support.h"

namespace baton::net {
namespace {

using std::chrono::milliseconds;

TEST_CASE("posted work runs on the loop's thread in the order of posting") {
  LoopThread thread("loop");
  std::vector<int> order;
  bool on_thread = true;

  for (int i = 0; i < 1000; ++i) {
    thread.Loop().Post([&, i] {
      order.push_back(i);
      on_thread = on_thread && thread.Loop().OnLoopThread();
    });
  }

  OnLoop(thread.Loop(), [] {});
  CHECK_FALSE(thread.Loop().OnLoopThread());
  CHECK(on_thread);
  REQUIRE(order.size() == 1000);
  CHECK(std::is_sorted(order.begin(), order.end()));
}

TEST_CASE("work that the loop posts keeps its place before what another thread posts later") {
  LoopThread thread("loop");
  std::vector<int> order;

  OnLoop(thread.Loop(), [&] {
    thread.Loop().Post([&] { order.push_back(1); });
    std::thread other([&] { thread.Loop().Post([&] { order.push_back(2); }); });
    other.join();
    thread.Loop().Post([&] { order.push_back(3); });
  });

  OnLoop(thread.Loop(), [] {});
  CHECK(order == std::vector<int>{1, 2, 3});
}

TEST_CASE("a stop lets what was posted before it run and drops what comes after") {
  EventLoop loop;
  int ran = 0;
  auto token = std::make_shared<int>(0);

  loop.Post([&] { ++ran; });
  loop.Stop();
  loop.Post([&ran, token] { ++ran; });
  loop.Run();
  loop.Post([&ran, token] { ++ran; });

  CHECK(ran == 1);
  CHECK(token.use_count() == 1);
}

TEST_CASE("a timer fires once, not before its delay") {
  LoopThread thread("loop");
  EventLoop& loop = thread.Loop();
  Signal fired;
  int count = 0;
  Timer timer;
  TimePoint armed;
  TimePoint at;

  OnLoop(loop, [&] {
    armed = loop.Now();
    timer = loop.After(milliseconds(5), [&] {
      ++count;
      at = loop.Now();
      fired.Raise();
    });
  });

  REQUIRE(fired.Wait());
  OnLoop(loop, [&] { timer.Cancel(); });
  CHECK(count == 1);
  CHECK(at - armed >= milliseconds(5));
}

TEST_CASE("a timer that is cancelled, destroyed or replaced does not fire and frees what it holds") {
  LoopThread thread("loop");
  EventLoop& loop = thread.Loop();
  auto token = std::make_shared<int>(0);
  int fired = 0;
  Signal later;
  Timer last;

  OnLoop(loop, [&] {
    const auto work = [&fired, token] { ++fired; };
    Timer cancelled = loop.After(milliseconds(1), work);
    cancelled.Cancel();
    { const Timer destroyed = loop.After(milliseconds(1), work); }
    last = loop.After(milliseconds(1), work);
    last = loop.After(milliseconds(10), [&] { later.Raise(); });
  });

  REQUIRE(later.Wait());
  CHECK(fired == 0);
  CHECK(token.use_count() == 1);
}

TEST_CASE("a timer that is due may still be cancelled by work that runs before it") {
  EventLoop loop;
  bool fired = false;
  Timer second;

  Timer first = loop.After(milliseconds(0), [&] { second.Cancel(); });
  second = loop.After(milliseconds(0), [&] { fired = true; });
  Timer end = loop.After(milliseconds(1), [&] { loop.Stop(); });
  loop.Run();

  CHECK_FALSE(fired);
}

TEST_CASE("a timer may destroy itself while it fires") {
  LoopThread thread("loop");
  Signal fired;
  auto timer = std::make_unique<Timer>();

  OnLoop(thread.Loop(), [&] {
    *timer = thread.Loop().After(milliseconds(0), [&] {
      timer.reset();
      fired.Raise();
    });
  });

  CHECK(fired.Wait());
}

}  // namespace
}  // namespace baton::net
