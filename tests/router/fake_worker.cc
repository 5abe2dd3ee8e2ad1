#include "tests/router/fake_worker.h"

#include <utility>

#include "common/cluster/wire.h"

namespace baton::router {

FakeWorker::FakeWorker(Options options)
    : options_(std::move(options)), thread_(std::make_unique<net::LoopThread>("fake-worker")) {
  net::Signal connected;
  net::EventLoop& loop = thread_->Loop();
  loop.Post([&] {
    connecting_ =
        net::Connect(loop, {"127.0.0.1", options_.router_port}, {.cluster_key = options_.cluster_key},
                     net::kPatience, [&](absl::StatusOr<std::unique_ptr<net::Connection>> connection) {
                       if (connection.ok()) {
                         connection_ = *std::move(connection);
                         connection_->Start({.on_frame = [this](std::string_view frame) { OnFrame(frame); },
                                             .on_close = [this](const absl::Status&) { closed_.Raise(); }});
                         wire::Envelope envelope;
                         *envelope.mutable_register_() = options_.registration;
                         if (!options_.registration.name().empty()) SendNow(envelope);
                       } else {
                         closed_.Raise();
                       }
                       connected.Raise();
                     });
  });
  REQUIRE(connected.Wait());
}

FakeWorker::~FakeWorker() {
  net::OnLoop(thread_->Loop(), [this] {
    connection_ = nullptr;
    connecting_ = nullptr;
  });
}

wire::Register FakeWorker::Registration(const std::string& name, wire::Phase phase,
                                        std::uint64_t tokenizer_fingerprint, std::int32_t vocabulary) {
  wire::Register out;
  out.set_protocol_version(wire::kProtocolVersion);
  out.set_name(name);
  out.set_phase(phase);
  out.set_incarnation(std::hash<std::string>{}(name) | 1U);
  out.set_model("baton-demo");
  out.set_model_fingerprint(7);
  out.set_tokenizer_fingerprint(tokenizer_fingerprint);
  out.set_numerics_class("cpu-f32");
  out.mutable_kv()->set_block_tokens(16);
  out.set_kv_blocks(64);
  out.set_context_tokens(512);
  out.set_vocabulary(vocabulary);
  out.set_peer_address("127.0.0.1:1");
  return out;
}

void FakeWorker::Answer(std::vector<std::int32_t> tokens, std::string finish, std::size_t tokens_shown) {
  net::OnLoop(thread_->Loop(), [&] {
    tokens_ = std::move(tokens);
    finish_ = std::move(finish);
    tokens_shown_ = tokens_shown;
    plays_ = true;
  });
}

void FakeWorker::OnFrame(std::string_view frame) {
  wire::Envelope envelope;
  if (!wire::Decode(frame, envelope).ok()) return;
  received_.Update([&](auto& all) { all.push_back(envelope); });
  if (!plays_) return;
  if (envelope.has_prefill()) Play(envelope.prefill().request(), envelope.prefill().attempt());
  if (envelope.has_reserve()) Play(envelope.reserve().request(), envelope.reserve().attempt());
}

void FakeWorker::Play(std::uint64_t request, std::uint32_t attempt) {
  const bool prefill = options_.registration.phase() == wire::PREFILL;
  const std::size_t last = prefill ? 1 : tokens_.size();
  for (std::size_t index = 0; index < std::min(last, tokens_shown_); ++index) {
    wire::Envelope envelope;
    wire::Token& token = *envelope.mutable_token();
    token.set_request(request);
    token.set_attempt(attempt);
    token.set_index(static_cast<std::int64_t>(index));
    token.set_token(tokens_[index]);
    if (index + 1 == tokens_.size()) token.set_finish(finish_);
    SendNow(envelope);
  }
  if (tokens_shown_ < last) return;
  wire::Envelope released;
  released.mutable_released()->set_request(request);
  released.mutable_released()->set_attempt(attempt);
  released.mutable_released()->set_outcome("done");
  SendNow(released);
}

void FakeWorker::SendNow(const wire::Envelope& envelope) {
  if (connection_) static_cast<void>(connection_->Send(wire::Encode(envelope)));
}

void FakeWorker::Send(const wire::Envelope& envelope) {
  SendRaw(wire::Encode(envelope));
}

void FakeWorker::SendRaw(std::string frame) {
  net::OnLoop(thread_->Loop(), [&] {
    if (connection_) static_cast<void>(connection_->Send(frame));
  });
}

void FakeWorker::SendReady(std::uint32_t peer) {
  wire::Envelope envelope;
  wire::Load& load = *envelope.mutable_load();
  load.set_ready(true);
  load.set_kv_blocks_free(options_.registration.kv_blocks());
  wire::Link& link = *load.add_links();
  link.set_peer(peer);
  link.set_ready(true);
  Send(envelope);
}

void FakeWorker::Die() {
  net::OnLoop(thread_->Loop(), [this] { connection_ = nullptr; });
}

bool FakeWorker::WaitFor(const std::function<bool(const wire::Envelope&)>& wanted) {
  return received_.WaitFor([&](const auto& all) { return std::any_of(all.begin(), all.end(), wanted); });
}

bool FakeWorker::WaitForClose() {
  return closed_.Wait();
}

std::uint32_t FakeWorker::Id() {
  REQUIRE(WaitFor([](const wire::Envelope& e) { return e.has_welcome(); }));
  for (const wire::Envelope& envelope : received_.Get()) {
    if (envelope.has_welcome()) return envelope.welcome().worker_id();
  }
  return 0;
}

}  // namespace baton::router
