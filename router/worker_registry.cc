#include "router/worker_registry.h"

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/cluster/wire.h"
#include "common/cluster/wire.pb.h"
#include "router/wire_values.h"

namespace baton::router {
namespace {

using cluster::Phase;

/// One connection, and the worker behind it once it has registered.
struct Session {
  std::unique_ptr<net::Connection> connection;
  TimePoint heard_at;
  TimePoint pinged_at;
  bool registered = false;
  bool leaving = false;
  cluster::WorkerDescription about;
  std::uint64_t model_fingerprint = 0;
  std::string peer_address;
};

class Registry final : public WorkerRegistry {
 public:
  Registry(net::EventLoop& loop, Options options, Events events, Probe& probe)
      : loop_(loop),
        options_(std::move(options)),
        events_(std::move(events)),
        probe_(probe),
        self_(NewIncarnation()) {}

  absl::Status Listen() {
    BATON_ASSIGN_OR_RETURN(listener_,
                           net::Listen(loop_, options_.listen, {.cluster_key = options_.cluster_key},
                                       [this](std::unique_ptr<net::Connection> c) { Accept(std::move(c)); }));
    ScheduleSweep();
    return absl::OkStatus();
  }

  std::uint16_t Port() const override { return listener_->Port(); }

  void SendPrefill(WorkerId worker, const Order& order) override {
    wire::Envelope envelope;
    FillPrefill(order, envelope);
    SendToWorker(worker, envelope);
  }
  void SendReserve(WorkerId worker, const Order& order) override {
    wire::Envelope envelope;
    FillReserve(order, envelope);
    SendToWorker(worker, envelope);
  }
  void SendCancel(WorkerId worker, RequestKey key) override {
    wire::Envelope envelope;
    envelope.mutable_cancel()->set_request(key.request.value);
    envelope.mutable_cancel()->set_attempt(key.attempt.value);
    SendToWorker(worker, envelope);
  }
  void SendMove(WorkerId worker, const MoveOrder& order) override {
    wire::Envelope envelope;
    FillMove(order, envelope);
    SendToWorker(worker, envelope);
  }
  void SendStopSample(WorkerId worker, RequestKey key, std::int32_t sample) override {
    wire::Envelope envelope;
    envelope.mutable_stop_sample()->set_request(key.request.value);
    envelope.mutable_stop_sample()->set_attempt(key.attempt.value);
    envelope.mutable_stop_sample()->set_sample(sample);
    SendToWorker(worker, envelope);
  }
  void SendMoveStop(WorkerId worker, RequestKey target) override {
    wire::Envelope envelope;
    envelope.mutable_move_stop()->set_request(target.request.value);
    envelope.mutable_move_stop()->set_new_attempt(target.attempt.value);
    SendToWorker(worker, envelope);
  }
  void SendTakeBack(WorkerId worker, const TakeBackOrder& order) override {
    wire::Envelope envelope;
    FillTakeBack(order, envelope);
    SendToWorker(worker, envelope);
  }
  void SendGiveBack(WorkerId worker, const GiveBackOrder& order) override {
    wire::Envelope envelope;
    FillGiveBack(order, envelope);
    SendToWorker(worker, envelope);
  }
  void SendDrain(WorkerId worker) override {
    wire::Envelope envelope;
    envelope.mutable_drain();
    SendToWorker(worker, envelope);
  }

 private:
  using SessionId = std::uint64_t;

  void Accept(std::unique_ptr<net::Connection> connection) {
    if (sessions_.size() >= options_.connections_max) {
      LogWarning("worker_connection_refused",
                 {{"peer", connection->PeerAddress()}, {"reason", "too many connections"}});
      return;
    }
    const SessionId id = ++last_session_;
    Session& session = sessions_[id];
    session.connection = std::move(connection);
    session.heard_at = loop_.Now();
    session.connection->Start({.on_frame = [this, id](std::string_view frame) { OnFrame(id, frame); },
                               .on_close = [this, id](const absl::Status& why) { Drop(id, Message(why)); }});
  }

  void OnFrame(SessionId id, std::string_view frame) {
    const auto at = sessions_.find(id);
    if (at == sessions_.end()) return;
    at->second.heard_at = loop_.Now();
    wire::Envelope envelope;
    absl::Status status = wire::Decode(frame, envelope);
    if (status.ok()) status = Handle(id, at->second, envelope);
    if (status.ok()) return;
    LogWarning("worker_protocol_error", {{"peer", Describe(id)}, {"error", status}});
    probe_.WorkerBroken();
    Drop(id, "it broke the protocol");
  }

  absl::Status Handle(SessionId id, Session& session, const wire::Envelope& envelope) {
    const WorkerId worker = session.about.id;
    if (!session.registered && !envelope.has_register_()) {
      return Error(kFailedPrecondition, "the first frame is not Register");
    }
    switch (envelope.body_case()) {
      case wire::Envelope::kRegister:
        if (session.registered) return Error(kFailedPrecondition, "Register twice on one connection");
        Register(id, session, envelope.register_());
        return absl::OkStatus();
      case wire::Envelope::kLoad: {
        BATON_ASSIGN_OR_RETURN(const cluster::LoadReport load, ReadLoad(envelope.load()));
        events_.on_load(worker, load);
        return absl::OkStatus();
      }
      case wire::Envelope::kToken: {
        BATON_ASSIGN_OR_RETURN(const TokenReport token, ReadToken(envelope.token()));
        events_.on_token(worker, token);
        return absl::OkStatus();
      }
      case wire::Envelope::kPromptLogprobs: {
        BATON_ASSIGN_OR_RETURN(PromptLogprobsReport prompt, ReadPromptLogprobs(envelope.prompt_logprobs()));
        events_.on_prompt_logprobs(worker, std::move(prompt));
        return absl::OkStatus();
      }
      case wire::Envelope::kReleased: {
        BATON_ASSIGN_OR_RETURN(const ReleaseReport release, ReadReleased(envelope.released()));
        events_.on_released(worker, release);
        return absl::OkStatus();
      }
      case wire::Envelope::kMoveFailed:
        events_.on_move_failed(worker, ReadMoveFailed(envelope.move_failed()));
        return absl::OkStatus();
      case wire::Envelope::kTakes: {
        BATON_ASSIGN_OR_RETURN(const TakeReport takes, ReadTakes(envelope.takes()));
        events_.on_takes(worker, takes);
        return absl::OkStatus();
      }
      case wire::Envelope::kPing: {
        wire::Envelope pong;
        pong.mutable_pong()->set_nonce(envelope.ping().nonce());
        return session.connection->Send(wire::Encode(pong));
      }
      case wire::Envelope::kPong:
        return absl::OkStatus();
      case wire::Envelope::kLeaving:
        session.leaving = true;
        LogInfo("worker_leaving", {{"worker", session.about.name}});
        events_.on_leaving(worker);
        return absl::OkStatus();
      default:
        return Error(kInvalidArgument, "a message that only the router sends");
    }
  }

  void Register(SessionId id, Session& session, const wire::Register& message) {
    absl::StatusOr<cluster::WorkerDescription> about =
        ReadRegister(message, {.model_name = options_.model_name,
                               .tokenizer_fingerprint = options_.tokenizer_fingerprint,
                               .vocabulary = options_.vocabulary,
                               .model_fingerprint = ModelFingerprint(message.name())});
    if (!about.ok()) {
      LogWarning("worker_refused", {{"peer", session.connection->PeerAddress()}, {"reason", about.status()}});
      probe_.WorkerRefused();
      wire::Envelope refused;
      refused.mutable_refused()->set_reason(Message(about.status()));
      static_cast<void>(session.connection->Send(wire::Encode(refused)));  // a courtesy: it closes either way
      session.connection->Close();
      sessions_.erase(id);
      return;
    }
    // A worker that comes back before its old connection was found dead: the old one is.
    if (const SessionId old = FindByName(about->name); old != 0) Drop(old, "it registered anew");
    about->id = WorkerId{++last_worker_};
    session.about = *about;
    session.registered = true;
    session.model_fingerprint = message.model_fingerprint();
    session.peer_address = message.peer_address();
    by_worker_[about->id] = id;

    wire::Envelope welcome;
    welcome.mutable_welcome()->set_protocol_version(wire::kProtocolVersion);
    welcome.mutable_welcome()->set_worker_id(about->id.value);
    welcome.mutable_welcome()->set_router_incarnation(self_.value);
    // Four reports within the time after which silence counts as death.
    const auto heartbeat =
        std::chrono::duration_cast<std::chrono::milliseconds>(options_.worker_timeout / 4).count();
    welcome.mutable_welcome()->set_heartbeat_ms(
        static_cast<std::uint32_t>(std::max<std::int64_t>(heartbeat, 1)));
    LogInfo("worker_registered", {{"worker", about->name},
                                  {"id", about->id},
                                  {"phase", cluster::Name(about->phase)},
                                  {"kv_blocks", about->kv_blocks},
                                  {"class", about->numerics_class}});
    SendToWorker(about->id, welcome);
    events_.on_joined(*about);
    BroadcastPeers();
  }

  /// Of the workers that are here, but for an earlier life of `name`; 0 where there is none.
  std::uint64_t ModelFingerprint(std::string_view name) const {
    for (const auto& [id, session] : sessions_) {
      if (session.registered && session.about.name != name) return session.model_fingerprint;
    }
    return 0;
  }

  SessionId FindByName(std::string_view name) const {
    for (const auto& [id, session] : sessions_) {
      if (session.registered && session.about.name == name) return id;
    }
    return 0;
  }

  void BroadcastPeers() {
    std::vector<std::pair<WorkerId, wire::Envelope>> messages;
    for (const auto& [worker, id] : by_worker_) {
      wire::Envelope envelope;
      wire::Peers& peers = *envelope.mutable_peers();
      const Phase own = sessions_.at(id).about.phase;
      for (const auto& [other, other_id] : by_worker_) {
        const Session& session = sessions_.at(other_id);
        // Prompts go from prefill to decode, answers from decode to decode.
        if (other == worker || (own == Phase::kPrefill && session.about.phase == own)) continue;
        wire::Peer& peer = *peers.add_peers();
        peer.set_worker_id(other.value);
        peer.set_incarnation(session.about.incarnation.value);
        peer.set_phase(session.about.phase == Phase::kPrefill ? wire::PREFILL : wire::DECODE);
        peer.set_address(session.peer_address);
        peer.set_name(session.about.name);
      }
      messages.emplace_back(worker, std::move(envelope));
    }
    for (const auto& [worker, envelope] : messages) SendToWorker(worker, envelope);
  }

  void SendToWorker(WorkerId worker, const wire::Envelope& envelope) {
    const auto at = by_worker_.find(worker);
    if (at == by_worker_.end()) return;  // on_lost has told
    const SessionId id = at->second;
    const absl::Status sent = sessions_.at(id).connection->Send(wire::Encode(envelope));
    // Not here and now: the caller is in the middle of something that on_lost would change.
    if (!sent.ok())
      loop_.Post([this, id, why = Message(sent), alive = std::weak_ptr(alive_)] {
        if (!alive.expired()) Drop(id, why);
      });
  }

  void Drop(SessionId id, std::string_view why) {
    const auto at = sessions_.find(id);
    if (at == sessions_.end()) return;
    const Session session = std::move(at->second);
    sessions_.erase(at);
    if (!session.registered) {
      LogInfo("worker_connection_closed", {{"peer", session.connection->PeerAddress()}, {"reason", why}});
      return;
    }
    by_worker_.erase(session.about.id);
    if (!session.leaving) probe_.WorkerLost();
    Log(session.leaving ? LogLevel::kInfo : LogLevel::kWarning,
        session.leaving ? "worker_left" : "worker_lost",
        {{"worker", session.about.name}, {"id", session.about.id}, {"reason", why}});
    events_.on_lost(session.about.id);
    BroadcastPeers();
  }

  void ScheduleSweep() {
    // Ten looks within the timeout: a silent worker is noticed at most a tenth late.
    sweep_ = loop_.After(options_.worker_timeout / 10, [this] {
      Sweep();
      ScheduleSweep();
    });
  }

  void Sweep() {
    const TimePoint now = loop_.Now();
    probe_.HandshakesRefused(listener_->RefusedHandshakes());
    std::vector<std::pair<SessionId, std::string>> lost;
    for (auto& [id, session] : sessions_) {
      const Duration silence = now - session.heard_at;
      if (silence > (session.registered ? options_.worker_timeout : options_.register_timeout)) {
        lost.emplace_back(id, fmt::format("silent for {:.1f} s", Seconds(silence)));
      } else if (session.registered && silence > options_.worker_timeout / 2 &&
                 session.pinged_at < session.heard_at) {
        session.pinged_at = now;
        wire::Envelope ping;
        ping.mutable_ping()->set_nonce(++last_nonce_);
        SendToWorker(session.about.id, ping);
      }
    }
    for (const auto& [id, why] : lost) Drop(id, why);
  }

  std::string Describe(SessionId id) const {
    const Session& session = sessions_.at(id);
    return session.registered ? session.about.name : session.connection->PeerAddress();
  }

  net::EventLoop& loop_;
  const Options options_;
  const Events events_;
  Probe& probe_;
  const Incarnation self_;
  std::map<SessionId, Session> sessions_;
  std::map<WorkerId, SessionId> by_worker_;
  SessionId last_session_ = 0;
  std::uint32_t last_worker_ = 0;
  std::uint64_t last_nonce_ = 0;
  std::unique_ptr<net::Listener> listener_;
  net::Timer sweep_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);  // posted work asks whether this is still there
};

}  // namespace

absl::StatusOr<std::unique_ptr<WorkerRegistry>> WorkerRegistry::Start(net::EventLoop& loop, Options options,
                                                                      Events events, Probe& probe) {
  auto registry = std::make_unique<Registry>(loop, std::move(options), std::move(events), probe);
  BATON_RETURN_IF_ERROR(Annotate(registry->Listen(), "control listener"));
  return registry;
}

}  // namespace baton::router
