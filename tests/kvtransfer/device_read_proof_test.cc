#include "kvtransfer/device_read_proof.h"

#include <catch2/catch.hpp>

#include "common/base/error.h"
#include "tests/kvtransfer/layout_pair.h"

/// Transports that read a device's memory, or say so: what a UCX built for CUDA does is played by a mapping
/// of the same memory.
namespace baton::kvtransfer {
namespace {

using test::HiddenMemory;
using test::Key;
using test::Layout;
using test::Pair;

enum class Claim {
  kTrue,
  kGarbles,    // it reads something else
  kSilent,     // nothing that it is to send comes to an end
  kFails,      // it ends with an error
  kTakenBack,  // the second one does not claim it
};

class SeesDevice final : public Transport {
 public:
  SeesDevice(std::unique_ptr<Transport> inner, Claim claim) : inner_(std::move(inner)), claim_(claim) {}
  absl::Status Start(const ArenaView& arena, TransportEvents& events) override {
    memory_ = std::dynamic_pointer_cast<HiddenMemory>(arena.copier);
    events_ = &events;
    return inner_->Start(arena, events);
  }
  std::string Name() const override { return inner_->Name(); }
  std::string LocalAddress() const override { return inner_->LocalAddress(); }
  absl::StatusOr<PeerHandle> ConnectPeer(const std::string& address) override {
    return inner_->ConnectPeer(address);
  }
  void ClosePeer(PeerHandle peer) override { inner_->ClosePeer(peer); }
  void OpenWindow(ReceiveWindow window) override { inner_->OpenWindow(std::move(window)); }
  void CloseWindow(TransferId transfer) override { inner_->CloseWindow(transfer); }
  void CancelSends(PeerHandle peer, TransferId transfer) override { inner_->CancelSends(peer, transfer); }
  SendHandle SendCanary(PeerHandle peer, std::uint64_t bytes) override {
    return inner_->SendCanary(peer, bytes);
  }
  bool ReadsDeviceMemory() const override { return claim_ != Claim::kTakenBack; }
  TransportCounters Counters() const override { return inner_->Counters(); }
  SendHandle Send(PeerHandle peer, DataMessage message) override {
    constexpr SendHandle kNobodys(~std::uint64_t{0});
    if (claim_ == Claim::kSilent) return kNobodys;
    if (claim_ == Claim::kFails) {
      events_->OnSent({.send = kNobodys, .status = Error(kUnavailable, "the library has failed")});
      return kNobodys;
    }
    for (auto& piece : message.pieces) {
      if (!memory_->Holds(piece.data())) continue;
      const std::byte* seen = memory_->Seen(piece.data());
      piece = {claim_ == Claim::kGarbles ? seen + 1 : seen, piece.size()};
    }
    return inner_->Send(peer, std::move(message));
  }

 private:
  std::unique_ptr<Transport> inner_;
  const Claim claim_;
  std::shared_ptr<HiddenMemory> memory_;
  TransportEvents* events_ = nullptr;
};

HandoffOptions Unchecked(const std::string& transport) {
  HandoffOptions options;
  options.transport = transport;
  options.net_device = "lo";
  options.checksum = false;
  return options;
}
std::unique_ptr<Transport> Make(const HandoffOptions& options, Claim claim) {
  return std::make_unique<SeesDevice>(
      options.transport == "ucx" ? CreateUcxTransport(options) : CreateLoopbackTransport(options), claim);
}

ArenaView Arena(const std::shared_ptr<HiddenMemory>& memory, std::int64_t blocks) {
  return {.region = memory->Region(), .blocks = blocks, .layout = test::TestLayout(), .copier = memory};
}
std::shared_ptr<HiddenMemory> Memory(std::int64_t blocks) {
  return std::make_shared<HiddenMemory>(test::TestLayout().BlockBytes() *
                                        static_cast<std::size_t>(blocks * test::TestLayout().RankLayers()));
}
bool Zero(const HiddenMemory& memory) {
  return std::ranges::all_of(memory.Seen(), [](std::byte b) { return b == std::byte{0}; });
}

TEST_CASE("a transport that reads a device's memory proves it, and leaves the memory as it was") {
  const std::string transport = GENERATE("loopback", "ucx");
  const std::int64_t blocks = GENERATE(4, 5, 256);
  CAPTURE(transport, blocks);
  const auto memory = Memory(blocks);
  HandoffOptions options = Unchecked(transport);
  options.tls = "tcp";  // the way that KV takes

  const absl::Status proof =
      ProveDeviceReads(Make(options, Claim::kTrue), Arena(memory, blocks), std::chrono::seconds(30));

  CHECK(proof == absl::OkStatus());
  CHECK(Zero(*memory));
  // UCX's own thread, and the one that it was made on.
  CHECK(memory->Entered() == (transport == "ucx" ? 2 : 0));
}

TEST_CASE("a transport that does not read what lies in the device is found out, however it fails") {
  const auto [claim, why] = GENERATE(table<Claim, std::string>({
      {Claim::kGarbles, "what arrived is not what lies in the GPU's memory"},
      {Claim::kSilent, "0 of 2 messages arrived, 0 were sent"},
      {Claim::kFails, "the library has failed"},
      {Claim::kTakenBack, "it does not claim to"},
  }));
  const auto memory = Memory(256);

  const absl::Status proof =
      ProveDeviceReads(Make(Unchecked("loopback"), claim), Arena(memory, 256), std::chrono::milliseconds(20));

  CHECK(Message(proof).find(why) != std::string::npos);
  CHECK(Zero(*memory));
}

TEST_CASE("KV on several GPUs, or an arena that is too small, proves nothing") {
  const auto memory = Memory(3);
  ArenaView small = Arena(memory, 3);
  CHECK(Message(ProveDeviceReads(Make(Unchecked("loopback"), Claim::kTrue), small, std::chrono::seconds(1)))
            .find("3 blocks is too small") != std::string::npos);

  small.rank_parts = {memory->Region().address, memory->Region().address + 1};
  CHECK(Message(ProveDeviceReads(Make(Unchecked("loopback"), Claim::kTrue), small, std::chrono::seconds(1)))
            .find("lies on 2 GPUs") != std::string::npos);
}

TEST_CASE("KV goes straight from a device's memory where that is proved and nobody needs its checksum") {
  const std::string transport = GENERATE("loopback", "ucx");
  const auto [claim, checksum, direct] = GENERATE(table<Claim, bool, bool>({
      {Claim::kTrue, false, true},
      {Claim::kTrue, true, false},
      {Claim::kGarbles, false, false},
  }));
  CAPTURE(transport, checksum, direct);
  int made = 0;
  // A transport that garbles is found out before it carries anything; what then carries is honest, as a
  // library is with the host's memory.
  Pair pair(
      transport, Layout(1, 16, "bf16"), Layout(1, 16, "bf16"),
      [&, checksum = checksum](HandoffOptions& options) { options.checksum = checksum; }, true, true,
      [&made, claim = claim](const HandoffOptions& options) {
        ++made;
        return Make(options, claim);
      });
  CHECK(made == (checksum ? 2 : 4));  // one of each worker's for the proof
  const std::size_t before = pair.prefill.Hidden().Gathers();

  for (const std::int64_t tokens : {1, 40, 1000}) {
    const RequestKey key = Key(static_cast<std::uint64_t>(tokens));
    const Pair::Transfer transfer = pair.Begin(key, tokens, 2);
    pair.prefill.ProduceTokens(key, tokens);
    pair.RequireArrived(key, transfer);
  }

  CHECK((pair.prefill.Hidden().Gathers() == before) == direct);
  CHECK(pair.prefill.Live() == 0);
  CHECK(pair.decode.Live() == 0);
}

TEST_CASE("KV that has to be converted is staged, whatever the transport reads") {
  Pair pair(
      "loopback", Layout(1, 16, "bf16"), Layout(1, 16, "f32"),
      [](HandoffOptions& options) { options.checksum = false; }, true, true,
      [](const HandoffOptions& options) { return Make(options, Claim::kTrue); });
  const std::size_t before = pair.prefill.Hidden().Gathers();
  const Pair::Transfer transfer = pair.Begin(Key(1), 600, 2);

  pair.prefill.ProduceTokens(Key(1), 600);

  pair.RequireArrived(Key(1), transfer);
  CHECK(pair.prefill.Hidden().Gathers() > before);
}

}  // namespace
}  // namespace baton::kvtransfer
