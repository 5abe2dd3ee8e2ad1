#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

#include "common/cluster/wire.h"
#include "common/cluster/wire.pb.h"
#include "common/net/connection.h"
#include "tests/common/net/support.h"

namespace baton::engine {

/// A router that only listens: welcomes workers, numbered from 1 in order of connection, and keeps what they
/// say. Its loop has a thread of its own.
class ScriptedRouter {
 public:
  using Messages = std::vector<std::pair<std::uint32_t, wire::Envelope>>;  // with the worker's number

  explicit ScriptedRouter(bool welcomes = true) : welcomes_(welcomes) {
    net::OnLoop(thread_.Loop(), [this] {
      auto listener =
          net::Listen(thread_.Loop(), {"127.0.0.1", 0}, {},
                      [this](std::unique_ptr<net::Connection> connection) { Accept(std::move(connection)); });
      REQUIRE(listener.ok());
      listener_ = *std::move(listener);
    });
  }
  ~ScriptedRouter() {
    net::OnLoop(thread_.Loop(), [this] {
      workers_.clear();
      listener_.reset();
    });
  }

  [[nodiscard]] net::Address Address() {
    net::Address address{"127.0.0.1", 0};
    net::OnLoop(thread_.Loop(), [&] { address.port = listener_->Port(); });
    return address;
  }
  void Send(std::uint32_t worker, const wire::Envelope& envelope) { SendRaw(worker, wire::Encode(envelope)); }
  void SendRaw(std::uint32_t worker, const std::string& frame) {
    net::OnLoop(thread_.Loop(), [&] { REQUIRE(workers_.at(worker - 1)->Send(frame).ok()); });
  }
  void Drop(std::uint32_t worker) {
    net::OnLoop(thread_.Loop(), [&] { workers_.at(worker - 1).reset(); });
  }

  /// Waits for a message of a worker; every message so far counts.
  [[nodiscard]] bool WaitFor(std::uint32_t worker, const std::function<bool(const wire::Envelope&)>& wanted) {
    return heard.WaitFor([&](const Messages& all) {
      return std::any_of(all.begin(), all.end(),
                         [&](const auto& one) { return one.first == worker && wanted(one.second); });
    });
  }
  /// The worker with this number went away.
  [[nodiscard]] bool WaitForClose(std::uint32_t worker) {
    return closed.WaitFor([&](const auto& all) { return std::count(all.begin(), all.end(), worker) > 0; });
  }

  net::Watched<Messages> heard;
  net::Watched<std::vector<std::uint32_t>> closed;

 private:
  void Accept(std::unique_ptr<net::Connection> connection) {
    workers_.push_back(std::move(connection));
    const auto number = static_cast<std::uint32_t>(workers_.size());
    workers_.back()->Start(
        {.on_frame = [this, number](std::string_view frame) { OnFrame(number, frame); },
         .on_close = [this, number](
                         const absl::Status&) { closed.Update([&](auto& all) { all.push_back(number); }); }});
  }
  void OnFrame(std::uint32_t number, std::string_view frame) {
    wire::Envelope envelope;
    if (!wire::Decode(frame, envelope).ok()) return;
    if (envelope.has_register_() && welcomes_) {
      wire::Envelope welcome;
      welcome.mutable_welcome()->set_protocol_version(wire::kProtocolVersion);
      welcome.mutable_welcome()->set_worker_id(number);
      welcome.mutable_welcome()->set_router_incarnation(99);
      welcome.mutable_welcome()->set_heartbeat_ms(20);
      static_cast<void>(workers_.at(number - 1)->Send(wire::Encode(welcome)));
    }
    heard.Update([&](Messages& all) { all.emplace_back(number, std::move(envelope)); });
  }

  const bool welcomes_;
  std::vector<std::unique_ptr<net::Connection>> workers_;
  std::unique_ptr<net::Listener> listener_;
  net::LoopThread thread_{"router"};
};

}  // namespace baton::engine
