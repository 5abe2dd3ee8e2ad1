#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "common/base/ids.h"
#include "common/net/connection.h"
#include "common/net/event_loop.h"

namespace baton::wire {
class Envelope;
class Load;
class Register;
}  // namespace baton::wire

namespace baton::engine {

/// A worker's connection with its router: dials until it is there, registers, reports load, hands orders on.
/// Control loop only.
class RouterLink {
 public:
  struct Options {
    net::Address router;
    std::string cluster_key;
  };
  struct Events {
    std::function<void(wire::Register&)> fill_register;
    std::function<void(wire::Load&)> fill_load;
    std::function<void(WorkerId self)> on_welcome;
    /// Whatever comes after the welcome but for Ping, which it answers itself.
    std::function<void(const wire::Envelope&)> on_order;
    /// The router that gave the orders is gone: cancel them. It is dialled again.
    std::function<void()> on_lost;
  };

  RouterLink(net::EventLoop& loop, Options options, Events events);
  ~RouterLink();
  RouterLink(const RouterLink&) = delete;
  RouterLink& operator=(const RouterLink&) = delete;

  void Start();
  /// Dropped where no router has welcomed this worker.
  void Send(const wire::Envelope& envelope);
  /// The load has changed: a report goes out once what is posted now has run, however often this is called.
  void LoadChanged();
  [[nodiscard]] bool Registered() const { return registered_; }
  /// Sends what is queued and does not come back.
  void Close();

 private:
  void Dial();
  void OnConnected(absl::StatusOr<std::unique_ptr<net::Connection>> connection);
  void OnFrame(std::string_view frame);
  void OnWelcome(WorkerId self, Duration heartbeat);
  void Lose(const absl::Status& why);
  void SendLoad();
  void ScheduleHeartbeat();

  net::EventLoop& loop_;
  const Options options_;
  Events events_;
  std::unique_ptr<net::PendingConnect> pending_;
  std::unique_ptr<net::Connection> connection_;
  net::Timer dial_timer_;
  net::Timer heartbeat_timer_;
  Duration heartbeat_{};
  Duration dial_pause_;
  bool registered_ = false;
  bool load_posted_ = false;
  bool closed_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace baton::engine
