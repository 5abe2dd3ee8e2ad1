#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include <catch2/catch.hpp>

#include "common/base/error.h"
#include "kvtransfer/transport.h"
#include "tests/kvtransfer/watched.h"

/// What every transport promises; each case runs on loopback and on UCX over TCP loopback.
namespace baton::kvtransfer {
namespace {

constexpr Incarnation kIncarnation(77);
constexpr std::int64_t kArenaBlocks = 64;

KvLayout Layout() {
  KvLayout layout;
  layout.layers = 2;
  layout.kv_heads = 4;
  layout.head_dim = 64;
  layout.block_tokens = 16;
  return layout;  // 32 KiB a block: 32 of them in a row go by rendezvous
}

HandoffOptions Options() {
  HandoffOptions options;
  options.net_device = "lo";
  return options;
}

/// One end: transport, arena, and what was reported.
class End final : public TransportEvents {
 public:
  struct Reports {
    std::vector<Received> received;
    std::vector<TransferId> drained;
    std::map<SendHandle, std::vector<absl::Status>> sent;
    std::vector<PeerHandle> down;
    std::map<SendHandle, Sent> last;  // report of each
  };

  explicit End(std::unique_ptr<Transport> transport, std::byte fill) : transport_(std::move(transport)) {
    memory_.assign(static_cast<std::size_t>(2 * kArenaBlocks) * Layout().BlockBytes(), fill);
    REQUIRE(transport_
                ->Start({.region = {.address = memory_.data(), .bytes = memory_.size()},
                         .blocks = kArenaBlocks,
                         .layout = Layout()},
                        *this)
                .ok());
  }

  void OnReceived(Received received) override {
    reports.Update([&](Reports& r) { r.received.push_back(std::move(received)); });
  }
  void OnDrained(TransferId transfer) override {
    reports.Update([&](Reports& r) { r.drained.push_back(transfer); });
  }
  void OnSent(const Sent& sent) override {
    reports.Update([&](Reports& r) {
      r.sent[sent.send].push_back(sent.status);
      r.last[sent.send] = sent;
    });
  }
  void OnPeerDown(PeerHandle peer, const absl::Status&) override {
    reports.Update([&](Reports& r) { r.down.push_back(peer); });
  }

  [[nodiscard]] std::span<std::byte> Block(int layer, std::uint32_t block) {
    const std::size_t bytes = Layout().BlockBytes();
    return {memory_.data() + (static_cast<std::size_t>(layer * kArenaBlocks) + block) * bytes, bytes};
  }
  Transport& operator*() { return *transport_; }
  Transport* operator->() { return transport_.get(); }

  test::Watched<Reports> reports;

 private:
  std::vector<std::byte> memory_;
  std::unique_ptr<Transport> transport_;
};

std::unique_ptr<Transport> Make(const std::string& kind) {
  return kind == "ucx" ? CreateUcxTransport(Options()) : CreateLoopbackTransport(Options());
}

/// A message from `source` blocks of layer 1 to the same number of target blocks, one run each.
DataMessage MessageOf(End& from, TransferId transfer, std::uint32_t sequence,
                      const std::vector<std::pair<BlockRun, BlockRun>>& runs) {
  DataMessage message;
  message.header.sequence = sequence;
  message.header.transfer = transfer;
  message.header.receiver = kIncarnation;
  for (const auto& [source, target] : runs) {
    message.header.runs.push_back({.layer = 1, .blocks = target});
    message.pieces.push_back(
        {from.Block(1, source.first.value).data(), std::size_t{source.count} * Layout().BlockBytes()});
  }
  return message;
}

BlockRun Run(std::uint32_t first, std::uint32_t count) {
  return {.first = BlockIndex(first), .count = count};
}

struct Pair {
  explicit Pair(const std::string& kind)
      : sender(Make(kind), std::byte{0}), receiver(Make(kind), std::byte{0xee}) {
    for (std::uint32_t block = 0; block < kArenaBlocks; ++block) {
      for (int layer = 0; layer < 2; ++layer)
        std::ranges::fill(sender.Block(layer, block), std::byte(block + 1));
    }
    const auto there = sender->ConnectPeer(receiver->LocalAddress());
    const auto back = receiver->ConnectPeer(sender->LocalAddress());
    REQUIRE(there.ok());
    REQUIRE(back.ok());
    peer = *there;
    peer_back = *back;
    // Warmed both ways, as the links do.
    const SendHandle one = sender->SendCanary(peer, 4U << 20);
    const SendHandle two = receiver->SendCanary(peer_back, 4U << 20);
    REQUIRE(sender.reports.WaitFor(
        [&](const auto& r) { return r.sent.contains(one) && r.sent.at(one)[0].ok(); }));
    REQUIRE(receiver.reports.WaitFor(
        [&](const auto& r) { return r.sent.contains(two) && r.sent.at(two)[0].ok(); }));
  }
  End sender;
  End receiver;
  PeerHandle peer, peer_back;
};

bool Holds(std::span<const std::byte> bytes, unsigned value) {
  return std::ranges::all_of(bytes, [&](std::byte b) { return b == std::byte(value); });
}

/// Established TCP connections of this process, and those of them that the kernel asks for their peers.
std::pair<int, int> CountConnections() {
  std::pair<int, int> counts;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    const int descriptor = std::stoi(entry.path().filename());
    tcp_info info{};
    socklen_t length = sizeof info;
    if (getsockopt(descriptor, IPPROTO_TCP, TCP_INFO, &info, &length) != 0 ||
        info.tcpi_state != TCP_ESTABLISHED)
      continue;
    int watched = 0;
    length = sizeof watched;
    getsockopt(descriptor, SOL_SOCKET, SO_KEEPALIVE, &watched, &length);
    ++counts.first;
    counts.second += watched;
  }
  return counts;
}

TEST_CASE("of each connection that UCX made or accepted the kernel asks whether the peer is there") {
  const auto before = CountConnections();
  Pair pair("ucx");

  const auto [connections, watched] = CountConnections();

  CHECK(connections >= before.first + 2);  // both ends of one
  CHECK(watched - before.second == connections - before.first);
}

TEST_CASE("a transport places packed and large runs where the window says, and nothing else") {
  const std::string kind = GENERATE("loopback", "ucx");
  CAPTURE(kind);
  Pair pair(kind);
  const TransferId transfer = NewTransferId();
  pair.receiver->OpenWindow({.transfer = transfer, .receiver = kIncarnation, .blocks = {Run(0, 60)}});

  const SendHandle packed = pair.sender->Send(
      pair.peer, MessageOf(pair.sender, transfer, 0, {{Run(1, 1), Run(7, 1)}, {Run(5, 2), Run(2, 2)}}));
  const SendHandle large =
      pair.sender->Send(pair.peer, MessageOf(pair.sender, transfer, 1, {{Run(20, 32), Run(16, 32)}}));

  REQUIRE(pair.receiver.reports.WaitFor([](const auto& r) { return r.received.size() == 2; }));
  REQUIRE(pair.sender.reports.WaitFor(
      [&](const auto& r) { return r.sent.contains(packed) && r.sent.contains(large); }));
  for (const SendHandle send : {packed, large}) {
    const Sent sent = pair.sender.reports.Get().last.at(send);
    CHECK(sent.begun > TimePoint{});
    CHECK(sent.ended >= sent.begun);
    for (const Received& received : pair.receiver.reports.Get().received)
      CHECK((received.sequence != (send == large ? 1U : 0U) || received.landed >= sent.begun));
  }
  for (const Received& received : pair.receiver.reports.Get().received) CHECK(received.status.ok());
  CHECK(Holds(pair.receiver.Block(1, 7), 2));
  CHECK(Holds(pair.receiver.Block(1, 2), 6));
  CHECK(Holds(pair.receiver.Block(1, 3), 7));
  for (std::uint32_t i = 0; i < 32; ++i) CHECK(Holds(pair.receiver.Block(1, 16 + i), 21 + i));
  CHECK(Holds(pair.receiver.Block(0, 7), 0xee));
  CHECK(Holds(pair.receiver.Block(1, 48), 0xee));
  pair.receiver->CloseWindow(transfer);
  CHECK(pair.receiver.reports.WaitFor([](const auto& r) { return r.drained.size() == 1; }));
}

TEST_CASE(
    "a transport drops data without a window, with a stale incarnation, or outside its blocks, and counts "
    "it") {
  const std::string kind = GENERATE("loopback", "ucx");
  CAPTURE(kind);
  Pair pair(kind);
  const TransferId transfer = NewTransferId();
  pair.receiver->OpenWindow({.transfer = transfer, .receiver = kIncarnation, .blocks = {Run(0, 10)}});
  DataMessage stale = MessageOf(pair.sender, transfer, 0, {{Run(1, 1), Run(1, 1)}});
  stale.header.receiver = Incarnation(78);

  pair.sender->Send(pair.peer, std::move(stale));
  pair.sender->Send(pair.peer, MessageOf(pair.sender, NewTransferId(), 0, {{Run(1, 1), Run(1, 1)}}));
  pair.sender->Send(pair.peer, MessageOf(pair.sender, transfer, 1, {{Run(1, 2), Run(9, 2)}}));
  pair.sender->Send(pair.peer, MessageOf(pair.sender, NewTransferId(), 0, {{Run(0, 32), Run(0, 32)}}));
  pair.sender->Send(pair.peer, MessageOf(pair.sender, transfer, 2, {{Run(4, 1), Run(4, 1)}}));

  // Rendezvous is slower than what follows it: all must be answered before the count is looked at.
  REQUIRE(pair.sender.reports.WaitFor([](const auto& r) { return r.sent.size() == 6; }));
  REQUIRE(pair.receiver.reports.WaitFor([](const auto& r) { return r.received.size() == 1; }));
  CHECK(pair.receiver->Counters().dropped_messages == 4);
  CHECK(Holds(pair.receiver.Block(1, 1), 0xee));
  CHECK(Holds(pair.receiver.Block(1, 4), 5));
}

TEST_CASE("every send of a transport is reported once, also when the peer is closed under it") {
  const std::string kind = GENERATE("loopback", "ucx");
  CAPTURE(kind);
  Pair pair(kind);
  const TransferId transfer = NewTransferId();
  pair.receiver->OpenWindow({.transfer = transfer, .receiver = kIncarnation, .blocks = {Run(0, 64)}});
  std::vector<SendHandle> sends;
  for (std::uint32_t i = 0; i < 100; ++i) {
    sends.push_back(
        pair.sender->Send(pair.peer, MessageOf(pair.sender, transfer, i, {{Run(0, 32), Run(32, 32)}})));
  }

  pair.sender->ClosePeer(pair.peer);
  sends.push_back(
      pair.sender->Send(pair.peer, MessageOf(pair.sender, transfer, 100, {{Run(0, 1), Run(0, 1)}})));

  REQUIRE(pair.sender.reports.WaitFor([&](const auto& r) { return r.sent.size() == sends.size() + 1; }));
  REQUIRE(pair.sender.reports.WaitFor([](const auto& r) { return r.down.size() == 1; }));
  const auto reports = pair.sender.reports.Get();
  for (const SendHandle send : sends) CHECK(reports.sent.at(send).size() == 1);
  CHECK_FALSE(reports.sent.at(sends.back())[0].ok());
}

TEST_CASE("memory of a closed window stays as it is once the transport says that it is drained") {
  const std::string kind = GENERATE("loopback", "ucx");
  CAPTURE(kind);
  Pair pair(kind);
  constexpr std::size_t kRounds = 8;
  for (std::size_t round = 0; round < kRounds; ++round) {
    const TransferId transfer = NewTransferId();
    pair.receiver->OpenWindow({.transfer = transfer, .receiver = kIncarnation, .blocks = {Run(0, 64)}});
    for (std::uint32_t i = 0; i < 8; ++i) {
      pair.sender->Send(pair.peer, MessageOf(pair.sender, transfer, i, {{Run(0, 32), Run(i % 2 * 32, 32)}}));
    }
    if (round + 1 == kRounds) {  // a forced close in the middle: the case in which bytes land late
      REQUIRE(pair.receiver.reports.WaitFor([&](const auto& r) { return !r.received.empty(); }));
      pair.receiver->ClosePeer(pair.peer_back);
    }
    pair.receiver->CloseWindow(transfer);
    REQUIRE(pair.receiver.reports.WaitFor(
        [&](const auto& r) { return std::ranges::count(r.drained, transfer) == 1; }));

    for (std::uint32_t block = 0; block < 64; ++block)
      std::ranges::fill(pair.receiver.Block(1, block), std::byte{0x55});
    pair.sender->CancelSends(pair.peer, transfer);
    REQUIRE(pair.sender.reports.WaitFor([&](const auto& r) { return r.sent.size() == 1 + 8 * (round + 1); }));
    for (std::uint32_t block = 0; block < 64; ++block) REQUIRE(Holds(pair.receiver.Block(1, block), 0x55));
  }
}

TEST_CASE("a data address that is none is refused with an error, whatever its bytes") {
  const std::string kind = GENERATE("loopback", "ucx");
  CAPTURE(kind);
  Pair pair(kind);
  const std::string right = pair.receiver->LocalAddress();
  std::string spoilt = right;
  spoilt.back() ^= 1;
  const std::string cut = right.substr(0, right.size() - 1);

  for (const std::string& address : {std::string(), std::string("u"), std::string(100, 'x'),
                                     std::string(9000, 'x'), "ucx1" + std::string(100, '7'), spoilt, cut}) {
    CAPTURE(address.size());
    CHECK_FALSE(pair.sender->ConnectPeer(address).ok());
  }
  CHECK(pair.sender->ConnectPeer(right).ok());
}

}  // namespace
}  // namespace baton::kvtransfer
