#include "common/net/connection.h"

#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "common/base/error.h"
#include "tests/common/net/raw_socket.h"
#include "tests/common/net/support.h"

namespace baton::net {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

/// A listener that keeps what it accepts, and what its peers send, on a loop of its own.
class Server {
 public:
  explicit Server(ConnectionOptions options = {}) : Server(options, true) {}
  Server(const ConnectionOptions& options, bool start) : start_(start) {
    OnLoop(loop_.Loop(), [&] {
      auto listener =
          Listen(loop_.Loop(), {.host = "127.0.0.1", .port = 0}, options,
                 [this](std::unique_ptr<Connection> connection) { Accept(std::move(connection)); });
      REQUIRE(listener.ok());
      listener_ = *std::move(listener);
      port_ = listener_->Port();
    });
  }
  ~Server() {
    OnLoop(loop_.Loop(), [&] {
      connections.clear();
      listener_ = nullptr;
    });
  }

  [[nodiscard]] Address At() const { return {.host = "127.0.0.1", .port = port_}; }
  [[nodiscard]] EventLoop& Loop() { return loop_.Loop(); }
  [[nodiscard]] std::uint64_t Refused() const { return listener_->RefusedHandshakes(); }

  std::vector<std::unique_ptr<Connection>> connections;  // loop thread
  Watched<std::vector<std::string>> frames;
  Watched<std::size_t> accepted;
  Watched<std::vector<std::string>>
      closed;  // text: Debian's Abseil, not built for ThreadSanitizer, hides its counting
  std::function<void(Connection&, std::string_view)> on_frame;  // set before the first connection

 private:
  void Accept(std::unique_ptr<Connection> connection) {
    Connection& peer = *connection;
    connections.push_back(std::move(connection));
    if (start_) {
      peer.Start({.on_frame =
                      [this, &peer](std::string_view frame) {
                        if (on_frame) on_frame(peer, frame);
                        frames.Update([&](auto& all) { all.emplace_back(frame); });
                      },
                  .on_close =
                      [this](const absl::Status& why) {
                        closed.Update([&](auto& all) { all.push_back(why.ToString()); });
                      }});
    }
    accepted.Update([](std::size_t& n) { ++n; });
  }

  LoopThread loop_{"server"};
  bool start_;
  std::unique_ptr<Listener> listener_;
  std::uint16_t port_ = 0;
};

/// One connecting side on a loop of its own.
class Client {
 public:
  ~Client() {
    OnLoop(loop_.Loop(), [&] {
      pending_ = nullptr;
      connection = nullptr;
    });
  }

  absl::Status Connect(const Address& address, const ConnectionOptions& options = {},
                       Duration timeout = seconds(10)) {
    Watched<std::optional<std::pair<absl::StatusCode, std::string>>> result;
    OnLoop(loop_.Loop(), [&] {
      pending_ = net::Connect(loop_.Loop(), address, options, timeout,
                              [&](absl::StatusOr<std::unique_ptr<Connection>> made) {
                                if (made.ok()) connection = *std::move(made);
                                result.Set(std::pair(made.status().code(), Message(made.status())));
                              });
    });
    REQUIRE(result.WaitFor([](const auto& status) { return status.has_value(); }));
    return absl::Status(result.Get()->first, result.Get()->second);
  }

  void Start() {
    OnLoop(loop_.Loop(), [&] {
      connection->Start(
          {.on_frame =
               [&](std::string_view frame) { frames.Update([&](auto& all) { all.emplace_back(frame); }); },
           .on_close =
               [&](const absl::Status& why) {
                 closed.Update([&](auto& all) { all.push_back(why.ToString()); });
               }});
    });
  }

  absl::Status Send(std::string_view frame) {
    absl::Status status;
    OnLoop(loop_.Loop(), [&] { status = connection->Send(frame); });
    return status;
  }

  [[nodiscard]] EventLoop& Loop() { return loop_.Loop(); }

  std::unique_ptr<Connection> connection;  // loop thread
  Watched<std::vector<std::string>> frames;
  Watched<std::vector<std::string>> closed;

 private:
  LoopThread loop_{"client"};
  std::unique_ptr<PendingConnect> pending_;
};

auto Count(std::size_t wanted) {
  return [wanted](const auto& all) { return all.size() >= wanted; };
}

TEST_CASE("thousands of frames arrive whole and in order, both ways") {
  Server server;
  server.on_frame = [](Connection& peer, std::string_view frame) { CHECK(peer.Send(frame).ok()); };
  Client client;
  REQUIRE(client.Connect(server.At()).ok());
  client.Start();

  constexpr std::size_t kFrames = 5000;
  OnLoop(client.Loop(), [&] {
    for (std::size_t i = 0; i < kFrames; ++i) {
      CHECK(client.connection->Send(std::to_string(i) + std::string(i % 700, 'x')).ok());
    }
  });

  REQUIRE(client.frames.WaitFor(Count(kFrames)));
  const std::vector<std::string> echoed = client.frames.Get();
  bool equal = true;
  for (std::size_t i = 0; i < kFrames; ++i) {
    equal = equal && echoed[i] == std::to_string(i) + std::string(i % 700, 'x');
  }
  CHECK(equal);
}

TEST_CASE("empty frames and frames of the largest size arrive") {
  const ConnectionOptions options{.cluster_key = "k", .frame_bytes_max = 3U << 20};
  Server server(options);
  Client client;
  REQUIRE(client.Connect(server.At(), options).ok());

  const std::string large(3U << 20, 'z');
  CHECK(client.Send("").ok());
  CHECK(client.Send(large).ok());
  CHECK(client.Send("end").ok());

  REQUIRE(server.frames.WaitFor(Count(3)));
  const auto frames = server.frames.Get();
  CHECK(frames[0].empty());
  CHECK(frames[1] == large);
  CHECK(frames[2] == "end");
}

TEST_CASE("frames sent before the receiver starts wait for it") {
  Server server({}, false);
  Client client;
  REQUIRE(client.Connect(server.At()).ok());
  CHECK(client.Send("early").ok());
  REQUIRE(server.accepted.WaitFor([](std::size_t n) { return n == 1; }));

  OnLoop(server.Loop(), [&] {
    server.connections[0]->Start({.on_frame =
                                      [&](std::string_view frame) {
                                        server.frames.Update([&](auto& all) { all.emplace_back(frame); });
                                      },
                                  .on_close = {}});
  });

  REQUIRE(server.frames.WaitFor(Count(1)));
  CHECK(server.frames.Get()[0] == "early");
}

TEST_CASE("a peer with another cluster key is refused, and told so") {
  Server server({.cluster_key = "the right one"});
  Client client;

  const absl::Status wrong = client.Connect(server.At(), {.cluster_key = "a wrong one"});
  const absl::Status none = client.Connect(server.At(), {.cluster_key = ""});

  CHECK(wrong.code() == kPermissionDenied);
  CHECK_THAT(Message(wrong), Catch::Contains("wrong cluster key or not a Baton peer"));
  CHECK(none.code() == kPermissionDenied);
  CHECK(client.Connect(server.At(), {.cluster_key = "the right one"}).ok());
  CHECK(server.Refused() == 2);
  CHECK(server.accepted.WaitFor([](std::size_t n) { return n == 1; }));
}

TEST_CASE("a server that is no Baton peer is recognised") {
  RawListener stranger;
  Client client;
  std::thread answer(
      [&] { stranger.AcceptAndSend("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n      "); });

  const absl::Status status = client.Connect({.host = "127.0.0.1", .port = stranger.Port()});

  answer.join();
  CHECK(status.code() == kPermissionDenied);
  CHECK_THAT(Message(status), Catch::Contains("wrong cluster key or not a Baton peer"));
}

TEST_CASE("a stranger who says something else is cut off without an answer") {
  Server server;
  RawSocket stranger(server.At().port);

  stranger.Send("GET / HTTP/1.1\r\nHost: here and there\r\n\r\n");

  CHECK(stranger.ReadAll().empty());
  CHECK(server.Refused() == 1);
}

TEST_CASE("a handshake that is never finished times out on both sides") {
  Server server({.handshake_timeout = milliseconds(20)});
  RawSocket silent(server.At().port);
  CHECK(silent.ReadAll().empty());
  CHECK(server.Refused() == 1);

  RawListener mute;
  Client client;
  const absl::Status status =
      client.Connect({.host = "127.0.0.1", .port = mute.Port()}, {.handshake_timeout = milliseconds(20)});
  CHECK(status.code() == kDeadlineExceeded);
}

TEST_CASE("connecting fails with the address and the cause") {
  std::uint16_t closed_port = 0;
  {
    const RawListener gone;
    closed_port = gone.Port();
  }
  Client client;

  const absl::Status status = client.Connect({.host = "127.0.0.1", .port = closed_port});

  CHECK(status.code() == kUnavailable);
  CHECK_THAT(Message(status),
             Catch::StartsWith("connect to 127.0.0.1:" + std::to_string(closed_port) + ": "));
  CHECK(client.Connect({.host = "localhost", .port = closed_port}).code() == kUnavailable);
}

TEST_CASE("destroying a pending connect means that its handler never runs") {
  RawListener mute;
  LoopThread thread("client");
  bool ran = false;
  std::unique_ptr<PendingConnect> pending;

  OnLoop(thread.Loop(), [&] {
    pending = Connect(thread.Loop(), {.host = "127.0.0.1", .port = mute.Port()}, {}, milliseconds(20),
                      [&](const auto&) { ran = true; });
    pending = nullptr;
  });
  Signal later;
  Timer timer;
  OnLoop(thread.Loop(), [&] { timer = thread.Loop().After(milliseconds(40), [&] { later.Raise(); }); });

  REQUIRE(later.Wait());
  CHECK_FALSE(ran);
}

TEST_CASE("an announced frame past the limit closes the connection with a clear status") {
  Server server({.frame_bytes_max = 1000});
  Client client;
  REQUIRE(client.Connect(server.At()).ok());
  client.Start();

  REQUIRE(client.Send(std::string(1001, 'x')).ok());

  REQUIRE(server.closed.WaitFor(Count(1)));
  CHECK_THAT(server.closed.Get()[0], Catch::Contains("frame of 1001 bytes, at most 1000"));
  REQUIRE(client.closed.WaitFor(Count(1)));
  CHECK(server.frames.Get().empty());
}

TEST_CASE("sending refuses a frame past the own limit and a queue that is full") {
  Server server({}, false);  // never reads
  const ConnectionOptions options{.frame_bytes_max = 1U << 20, .queued_bytes_max = 8U << 20};
  Client client;
  REQUIRE(client.Connect(server.At(), options).ok());

  CHECK(client.Send(std::string((1U << 20) + 1, 'x')).code() == kInvalidArgument);
  const std::string frame(1U << 20, 'x');
  absl::Status status;
  for (int i = 0; i < 64 && status.ok(); ++i) status = client.Send(frame);

  CHECK(status.code() == kResourceExhausted);
  CHECK(client.Send("x").ok());  // a small one still fits
}

TEST_CASE("the peer's end is reported once, after all of its frames") {
  Server server;
  Client client;
  REQUIRE(client.Connect(server.At()).ok());
  REQUIRE(server.accepted.WaitFor([](std::size_t n) { return n == 1; }));

  OnLoop(client.Loop(), [&] {
    for (int i = 0; i < 200; ++i) CHECK(client.connection->Send(std::string(50'000, 'a')).ok());
    client.connection->Close(seconds(10));
    CHECK(client.connection->Send("late").code() == kUnavailable);
    client.connection = nullptr;  // what is queued goes on
  });

  REQUIRE(server.closed.WaitFor(Count(1)));
  CHECK(server.frames.Get().size() == 200);
  CHECK_THAT(server.closed.Get()[0], Catch::StartsWith("UNAVAILABLE: "));
  OnLoop(server.Loop(), [&] { CHECK(server.connections[0]->Send("x").code() == kUnavailable); });
  CHECK(server.closed.Get().size() == 1);
}

TEST_CASE("what one side has sent arrives even if the other closes over unread bytes") {
  Server server;
  server.on_frame = [](Connection& peer, std::string_view) {
    CHECK(peer.Send("farewell").ok());
    peer.Close();
  };
  Client client;
  REQUIRE(client.Connect(server.At()).ok());
  client.Start();

  OnLoop(client.Loop(), [&] {
    for (int i = 0; i < 100; ++i) (void)client.connection->Send(std::string(100'000, 'a'));
  });

  REQUIRE(client.closed.WaitFor(Count(1)));
  CHECK(client.frames.Get() == std::vector<std::string>{"farewell"});
  REQUIRE(server.frames.WaitFor(Count(1)));
  OnLoop(server.Loop(), [&] { CHECK(server.frames.Get().size() == 1); });
}

TEST_CASE("lingering ends at its limit where the peer does not read") {
  Server server({}, false);
  const std::size_t before = OpenDescriptors();
  {
    Client client;
    REQUIRE(client.Connect(server.At()).ok());
    REQUIRE(server.accepted.WaitFor([](std::size_t n) { return n == 1; }));
    Signal later;
    Timer timer;
    OnLoop(client.Loop(), [&] {
      for (int i = 0; i < 30; ++i) CHECK(client.connection->Send(std::string(1U << 20, 'a')).ok());
      client.connection->Close(milliseconds(10));
      timer = client.Loop().After(milliseconds(30), [&] { later.Raise(); });
    });
    REQUIRE(later.Wait());
    OnLoop(server.Loop(), [&] { server.connections.clear(); });
    OnLoop(client.Loop(), [&] { CHECK(client.connection->Send("x").code() == kUnavailable); });
  }
  CHECK(OpenDescriptors() == before);
}

TEST_CASE("a handler may destroy its connection, on a frame and on the end") {
  Server server;
  server.on_frame = [&](Connection&, std::string_view) { server.connections.clear(); };
  Client client;
  REQUIRE(client.Connect(server.At()).ok());
  OnLoop(client.Loop(), [&] {
    client.connection->Start({.on_frame = {}, .on_close = [&](const absl::Status& why) {
                                client.connection = nullptr;
                                client.closed.Update([&](auto& all) { all.push_back(why.ToString()); });
                              }});
    CHECK(client.connection->Send("one").ok());
    CHECK(client.connection->Send("two").ok());
  });

  REQUIRE(client.closed.WaitFor(Count(1)));
  REQUIRE(server.frames.WaitFor(Count(1)));
  OnLoop(server.Loop(), [&] { CHECK(server.frames.Get().size() == 1); });
  CHECK(server.closed.Get().empty());
}

TEST_CASE("a peer that vanishes inside a frame is data loss") {
  Server server;
  Client client;
  REQUIRE(client.Connect(server.At(), {.queued_bytes_max = 64U << 20}).ok());
  REQUIRE(server.accepted.WaitFor([](std::size_t n) { return n == 1; }));

  OnLoop(client.Loop(), [&] {
    CHECK(client.connection->Send(std::string(16U << 20, 'x')).ok());
    client.connection = nullptr;
  });

  REQUIRE(server.closed.WaitFor(Count(1)));
  CHECK(server.frames.Get().empty());
  CHECK_FALSE(server.closed.Get()[0].empty());
}

TEST_CASE("two hundred connections at once leave no descriptor behind") {
  const std::size_t before = OpenDescriptors();
  {
    Server server;
    LoopThread thread("clients");
    std::vector<std::unique_ptr<PendingConnect>> pending;
    std::vector<std::unique_ptr<Connection>> connections;
    Watched<int> made;
    OnLoop(thread.Loop(), [&] {
      for (int i = 0; i < 200; ++i) {
        pending.push_back(Connect(thread.Loop(), server.At(), {}, seconds(10), [&](auto connection) {
          REQUIRE(connection.ok());
          CHECK((*connection)->Send("hello").ok());
          connections.push_back(*std::move(connection));
          made.Update([](int& n) { ++n; });
        }));
      }
    });
    REQUIRE(made.WaitFor([](int n) { return n == 200; }));
    REQUIRE(server.frames.WaitFor(Count(200)));
    OnLoop(thread.Loop(), [&] {
      connections.clear();
      pending.clear();
    });
    REQUIRE(server.closed.WaitFor(Count(200)));
  }
  CHECK(OpenDescriptors() == before);
}

TEST_CASE("accepting goes on after the process ran out of descriptors") {
  Server server;
  Client client;
  {
    const NoMoreDescriptors none(1);  // one is left: for the client's own socket
    RawSocket waiting(server.At().port);
    CHECK_FALSE(waiting.Readable(milliseconds(50)));
    CHECK(server.accepted.Get() == 0);
  }
  CHECK(client.Connect(server.At()).ok());
}

TEST_CASE("listening on a port that is taken says so") {
  Server server;
  EventLoop loop;

  const auto second = Listen(loop, server.At(), {}, [](auto) {});

  REQUIRE_FALSE(second.ok());
  CHECK_THAT(Message(second.status()), Catch::StartsWith("listen on " + server.At().ToString() + ": "));
}

}  // namespace
}  // namespace baton::net
