#include "engine/worker/router_link.h"

#include <algorithm>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/cluster/wire.h"
#include "common/cluster/wire.pb.h"

namespace baton::engine {
namespace {

constexpr Duration kDialTimeout = std::chrono::seconds(5);
constexpr Duration kDialPauseFirst = std::chrono::milliseconds(100);
// A router that comes back has its workers within this: a connection that is refused costs neither side much.
constexpr Duration kDialPauseMax = std::chrono::milliseconds(400);

}  // namespace

RouterLink::RouterLink(net::EventLoop& loop, Options options, Events events)
    : loop_(loop), options_(std::move(options)), events_(std::move(events)), dial_pause_(kDialPauseFirst) {}

RouterLink::~RouterLink() {
  *alive_ = false;
}

void RouterLink::Start() {
  Dial();
}

void RouterLink::Dial() {
  pending_ = net::Connect(loop_, options_.router, {.cluster_key = options_.cluster_key}, kDialTimeout,
                          [this](absl::StatusOr<std::unique_ptr<net::Connection>> connection) {
                            OnConnected(std::move(connection));
                          });
}

void RouterLink::OnConnected(absl::StatusOr<std::unique_ptr<net::Connection>> connection) {
  pending_.reset();
  if (closed_) return;
  if (!connection.ok()) return Lose(connection.status());
  connection_ = *std::move(connection);
  wire::Envelope envelope;
  wire::Register& message = *envelope.mutable_register_();
  message.set_protocol_version(wire::kProtocolVersion);
  events_.fill_register(message);
  static_cast<void>(connection_->Send(wire::Encode(envelope)));
  connection_->Start({.on_frame = [this](std::string_view frame) { OnFrame(frame); },
                      .on_close = [this](const absl::Status& why) { Lose(why); }});
}

void RouterLink::OnFrame(std::string_view frame) {
  wire::Envelope envelope;
  if (const absl::Status decoded = wire::Decode(frame, envelope); !decoded.ok()) {
    // The connection is calling: it is dropped once it has returned.
    loop_.Post([this, alive = alive_, decoded] {
      if (*alive) Lose(decoded);
    });
    return;
  }
  switch (envelope.body_case()) {
    case wire::Envelope::kWelcome:
      return OnWelcome(WorkerId(envelope.welcome().worker_id()),
                       std::chrono::milliseconds(envelope.welcome().heartbeat_ms()));
    case wire::Envelope::kRefused:
      LogError("router_refused", {{"reason", envelope.refused().reason()}});
      return;  // it closes; dialled again with a pause
    case wire::Envelope::kPing: {
      wire::Envelope pong;
      pong.mutable_pong()->set_nonce(envelope.ping().nonce());
      return static_cast<void>(connection_->Send(wire::Encode(pong)));
    }
    default:
      if (registered_) events_.on_order(envelope);
  }
}

void RouterLink::OnWelcome(WorkerId self, Duration heartbeat) {
  registered_ = true;
  heartbeat_ = std::clamp<Duration>(heartbeat, std::chrono::milliseconds(10), std::chrono::seconds(60));
  dial_pause_ = kDialPauseFirst;
  LogInfo("registered", {{"router", options_.router.ToString()}, {"worker", self}});
  events_.on_welcome(self);
  SendLoad();
  ScheduleHeartbeat();
}

void RouterLink::ScheduleHeartbeat() {
  heartbeat_timer_ = loop_.After(heartbeat_, [this] {
    SendLoad();
    ScheduleHeartbeat();
  });
}

void RouterLink::SendLoad() {
  if (!registered_) return;
  wire::Envelope envelope;
  events_.fill_load(*envelope.mutable_load());
  Send(envelope);
}

void RouterLink::LoadChanged() {
  if (load_posted_) return;
  load_posted_ = true;
  loop_.Post([this, alive = alive_] {
    if (!*alive) return;
    load_posted_ = false;
    SendLoad();
  });
}

void RouterLink::Send(const wire::Envelope& envelope) {
  if (!registered_ || connection_ == nullptr) return;
  const absl::Status sent = connection_->Send(wire::Encode(envelope));
  if (sent.ok() || sent.code() == kUnavailable) return;  // closed: its on_close comes
  // A token that is not sent leaves a hole in an answer: better no router at all. The caller is in the middle
  // of its work.
  loop_.Post([this, alive = alive_, sent] {
    if (*alive) Lose(sent);
  });
}

void RouterLink::Lose(const absl::Status& why) {
  const bool was_registered = registered_;
  registered_ = false;
  heartbeat_timer_.Cancel();
  connection_.reset();
  if (closed_) return;
  LogWarning("router_unreachable", {{"router", options_.router.ToString()}, {"why", why}});
  if (was_registered) events_.on_lost();
  dial_timer_ = loop_.After(dial_pause_, [this] { Dial(); });
  dial_pause_ = std::min(dial_pause_ * 2, kDialPauseMax);
}

void RouterLink::Close() {
  closed_ = true;
  registered_ = false;
  heartbeat_timer_.Cancel();
  dial_timer_.Cancel();
  pending_.reset();
  if (connection_ != nullptr) connection_->Close();
}

}  // namespace baton::engine
