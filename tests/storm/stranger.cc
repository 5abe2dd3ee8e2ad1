#include "tests/storm/stranger.h"

#include <future>

#include "common/base/check.h"
#include "kvtransfer/peer.pb.h"
#include "kvtransfer/peer_messages.h"
#include "tests/storm/memory.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

namespace baton::storm {
namespace {

constexpr unsigned kProtocolVersion = 5;
constexpr Duration kStay = std::chrono::milliseconds(400);
constexpr std::size_t kOversized = (16U << 20) + 1;  // one byte above what a worker accepts

std::string Bytes(RandomStream& chance, std::int64_t most) {
  std::string bytes(static_cast<std::size_t>(chance.Between(1, most)), '\0');
  for (char& byte : bytes) byte = static_cast<char>(chance.Between(0, 255));
  return bytes;
}

void SendNoise(std::uint16_t port, const std::string& bytes) {
  const int out = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(out, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0)
    static_cast<void>(send(out, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT));
  close(out);
}

}  // namespace

Stranger::~Stranger() {
  std::promise<void> done;
  loop_.Loop().Post([&] {
    guests_.clear();
    done.set_value();
  });
  done.get_future().wait();
}

void Stranger::Visit(std::string_view kind, const Target& target) {
  loop_.Loop().Post([this, kind = std::string(kind), target] {
    if (kind == "noise") return SendNoise(target.port, Bytes(chance_, 5000));
    const int id = ++last_guest_;
    auto guest = std::make_unique<Guest>();
    guest->leave = loop_.Loop().After(kStay, [this, id] { guests_.erase(id); });
    guest->pending = net::Connect(
        loop_.Loop(), {.host = "127.0.0.1", .port = target.port},
        {.cluster_key = kind == "wrong-key" ? "another key" : "key of the storm",
         .frame_bytes_max = 64U << 20},
        kStay, [this, id, kind, target](absl::StatusOr<std::unique_ptr<net::Connection>> connection) {
          OnConnected(id, kind, target, std::move(connection));
        });
    guests_[id] = std::move(guest);
  });
}

void Stranger::OnConnected(int guest, const std::string& kind, const Target& target,
                           absl::StatusOr<std::unique_ptr<net::Connection>> connection) {
  const auto found = guests_.find(guest);
  if (found == guests_.end() || !connection.ok()) return;
  BATON_CHECK(kind != "wrong-key", "a worker let a peer with another key in");
  found->second->connection = *std::move(connection);
  net::Connection& made = *found->second->connection;
  made.Start({.on_frame =
                  [this, &made, kind, target](std::string_view frame) {
                    peer::Envelope answer;
                    if (!answer.ParseFromArray(frame.data(), static_cast<int>(frame.size()))) return;
                    if (!answer.has_hello() || kind != "hostile") return;
                    ++believed_;
                    TalkNonsense(made, target);
                  },
              .on_close = [](const absl::Status&) {}});
  if (kind == "no-hello") {
    static_cast<void>(made.Send(Bytes(chance_, 3000)));
  } else if (kind == "oversized") {
    static_cast<void>(made.Send(std::string(kOversized, 'x')));
  } else {
    static_cast<void>(made.Send(Hello(kind, target)));
  }
}

std::string Stranger::Hello(const std::string& kind, const Target& target) {
  peer::Envelope envelope;
  peer::Hello& hello = *envelope.mutable_hello();
  hello.set_protocol_version(kProtocolVersion);
  hello.set_worker_id(kind == "unknown-worker" ? 77 : kHostile.value);
  hello.set_incarnation(kHostileIncarnation.value - (kind == "stale-incarnation" ? 1 : 0));
  hello.set_cluster_id(kind == "wrong-cluster" ? "another" : "storm");
  hello.set_checksum(target.checksum);
  hello.set_data_address(kind == "wrong-address" ? Bytes(chance_, 300) : target.data_address);
  kvtransfer::ToWire(Memory::Layout(), *hello.mutable_layout());
  return envelope.SerializeAsString();
}

void Stranger::TalkNonsense(net::Connection& connection, const Target& target) {
  const auto id = [this](peer::Id* out) {
    out->set_high(chance_.Bits());
    out->set_low(chance_.Bits());
  };
  for (int i = 0; i < 20; ++i) {
    peer::Envelope envelope;
    switch (chance_.Between(0, 6)) {
      case 0:
        envelope.mutable_measured()->set_bytes_per_second(-1e300);
        break;
      case 1: {
        peer::Grant& grant = *envelope.mutable_grant();
        id(grant.mutable_transfer());
        grant.set_request(chance_.Bits() | 1ULL << 62);
        grant.set_attempt(1);
        grant.set_sender_incarnation(target.incarnation.value);
        grant.set_prompt_tokens(chance_.Between(-5, 5000));
        grant.set_credit_bytes(chance_.Bits());
        peer::Run& run = *grant.add_blocks();
        run.set_first(static_cast<std::uint32_t>(chance_.Bits()));
        run.set_count(static_cast<std::uint32_t>(chance_.Bits()));
        break;
      }
      case 2:
        id(envelope.mutable_credit()->mutable_transfer());
        envelope.mutable_credit()->set_bytes(~0ULL);
        break;
      case 3:
        id(envelope.mutable_commit()->mutable_transfer());
        envelope.mutable_commit()->set_bytes(chance_.Bits());
        break;
      case 4:
        id(envelope.mutable_ack()->mutable_transfer());
        break;
      case 5:
        id(envelope.mutable_abort()->mutable_transfer());
        envelope.mutable_abort()->set_reason(Bytes(chance_, 10).assign(3000, 'r'));
        break;
      default:
        for (int n = 0; n < 500; ++n) id(envelope.mutable_ping()->add_transfers());
    }
    static_cast<void>(connection.Send(envelope.SerializeAsString()));
  }
  if (chance_.Between(0, 1) == 0) static_cast<void>(connection.Send(std::string(kOversized, 'y')));
  static_cast<void>(connection.Send(Bytes(chance_, 2000)));
}

}  // namespace baton::storm
