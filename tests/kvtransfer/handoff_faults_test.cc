#include <catch2/catch.hpp>

#include <algorithm>

#include "tests/kvtransfer/faulty_transport.h"
#include "tests/kvtransfer/worker_end.h"

/// One fault at a time, at every place where it can happen.
namespace baton::kvtransfer::test {
namespace {

using Kind = Fault::Kind;

constexpr std::int64_t kTokens = 400;

HandoffOptions FaultOptions(const std::string& kind) {
  HandoffOptions options = OptionsOf(kind);
  options.layer_wise_bytes_min = 16U << 10;
  options.transfer_deadline = std::chrono::milliseconds(600);
  options.lease = std::chrono::seconds(2);
  return options;
}

std::unique_ptr<Transport> Make(const HandoffOptions& options) {
  return options.transport == "ucx" ? CreateUcxTransport(options) : CreateLoopbackTransport(options);
}

struct FaultyWorkers {
  FaultyWorkers(const std::string& kind, const Fault& fault) {
    state->fault = fault;
    const auto faulty = [state = state](const HandoffOptions& options) -> std::unique_ptr<Transport> {
      return std::make_unique<FaultyTransport>(Make(options), state);
    };
    const bool receives = fault.kind == Kind::kReceiveFails || fault.kind == Kind::kReceivedTwice;
    workers = receives ? std::make_unique<Workers>(FaultOptions(kind), Make, faulty)
                       : std::make_unique<Workers>(FaultOptions(kind), faulty, Make);
    workers->RequireReady();
  }
  std::shared_ptr<FaultyTransport::State> state = std::make_shared<FaultyTransport::State>();
  std::unique_ptr<Workers> workers;
};

/// One transfer from fill to end; whether the receiver has committed. What it commits must be right.
bool TransferOnce(Workers& workers, std::uint64_t request) {
  const std::vector<BlockIndex> source = BlockTables(request).Take(WorkerEnd::BlocksOf(kTokens));
  const std::vector<BlockIndex> target = BlockTables(request + 50).Take(WorkerEnd::BlocksOf(kTokens));
  for (int layer = 0; layer < WorkerEnd::kLayers; ++layer) {
    for (std::size_t i = 0; i < source.size(); ++i)
      FillKv(workers.sender->Block(layer, source[i]), request, layer, i);
  }
  const ReceiveWatch receive = std::make_shared<Watched<ReceiveLog>>();
  const SendWatch send = std::make_shared<Watched<SendLog>>();
  REQUIRE(workers.receiver->Receive(Key(request), *workers.sender, kTokens, target, receive).ok());
  REQUIRE(workers.sender->Send(Key(request), *workers.receiver, kTokens, source, send).ok());
  workers.sender->Produce(Key(request), kTokens, 100);
  REQUIRE(receive->WaitFor([](const ReceiveLog& l) { return l.released > 0; }, std::chrono::seconds(6)));
  REQUIRE(send->WaitFor([](const SendLog& l) { return l.ended > 0; }, std::chrono::seconds(6)));
  CHECK(workers.sender->Idle());
  CHECK(workers.receiver->Idle());
  const ReceiveLog received = receive->Get();
  CHECK(received.committed + received.failed == 1);
  CHECK(received.released == 1);
  CHECK(received.after_release == 0);
  CHECK(send->Get().ended == 1);
  if (received.committed == 0) return false;
  for (int layer = 0; layer < WorkerEnd::kLayers; ++layer) {
    for (std::size_t i = 0; i < source.size(); ++i) {
      CHECK(std::ranges::equal(workers.sender->Block(layer, source[i]),
                               workers.receiver->Block(layer, target[i])));
    }
  }
  return true;
}

TEST_CASE("whichever operation of the transport fails, both sides end once and the next transfer works") {
  const std::string transport = GENERATE("loopback", "ucx");
  const Kind kind = GENERATE(Kind::kSendFails, Kind::kSendLost, Kind::kPeerGoesDown, Kind::kReceiveFails);
  CAPTURE(transport, static_cast<int>(kind));
  bool happened = true;
  for (std::uint64_t at = 0; happened; ++at) {
    CAPTURE(at);
    REQUIRE(at < 200);
    FaultyWorkers faulty(transport, {.kind = kind, .at = at});
    const bool committed = TransferOnce(*faulty.workers, 1);
    happened = faulty.state->happened;
    if (happened && kind != Kind::kPeerGoesDown) CHECK_FALSE(committed);
    if (!happened) CHECK(committed);
    // A fault may have cost the link: it comes back by itself.
    REQUIRE(faulty.workers->sender->WaitReady());
    REQUIRE(faulty.workers->receiver->WaitReady());
    if (happened && kind != Kind::kPeerGoesDown) CHECK(TransferOnce(*faulty.workers, 2));
  }
}

TEST_CASE("data that comes twice is as good as data that comes once") {
  const std::string transport = GENERATE("loopback", "ucx");
  const Kind kind = GENERATE(Kind::kSendTwice, Kind::kReceivedTwice);
  CAPTURE(transport, static_cast<int>(kind));
  bool happened = true;
  for (std::uint64_t at = 0; happened; ++at) {
    CAPTURE(at);
    REQUIRE(at < 200);
    FaultyWorkers faulty(transport, {.kind = kind, .at = at});
    CHECK(TransferOnce(*faulty.workers, 1));
    happened = faulty.state->happened;
  }
}

TEST_CASE("a connection or a canary that fails is tried again until the peer is ready") {
  const std::string transport = GENERATE("loopback", "ucx");
  const Kind kind = GENERATE(Kind::kConnectFails, Kind::kCanaryFails);
  CAPTURE(transport, static_cast<int>(kind));
  FaultyWorkers faulty(transport, {.kind = kind, .at = 0});
  CHECK(faulty.state->happened);
  CHECK(TransferOnce(*faulty.workers, 1));
}

}  // namespace
}  // namespace baton::kvtransfer::test
