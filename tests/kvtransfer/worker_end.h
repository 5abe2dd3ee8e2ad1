#pragma once

#include <catch2/catch.hpp>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/base/random.h"
#include "common/net/event_loop.h"
#include "kvtransfer/handoff.h"
#include "kvtransfer/handoff_with.h"
#include "tests/kvtransfer/watched.h"

namespace baton::kvtransfer::test {

using baton::test::Watched;

/// What the receiving side of one transfer was told.
struct ReceiveLog {
  int committed = 0;
  int failed = 0;
  int released = 0;
  int after_release = 0;  // events that came too late
  CommitInfo info{};
  TransferEnd end = TransferEnd::kAcked;
  absl::Status why{};
};
struct SendLog {
  int granted = 0;
  int ended = 0;
  TransferEnd end = TransferEnd::kAcked;
  absl::Status why{};
  TransferStats stats{};
};
using ReceiveWatch = std::shared_ptr<Watched<ReceiveLog>>;
using SendWatch = std::shared_ptr<Watched<SendLog>>;

[[nodiscard]] inline RequestKey Key(std::uint64_t request, std::uint32_t attempt = 1) {
  return {.request = RequestId(request), .attempt = Attempt(attempt)};
}

/// A worker with nothing but a hand-off: its loop, its arena, and its peer's readiness. Calls go to the loop
/// and wait.
class WorkerEnd {
 public:
  static constexpr int kLayers = 3;
  static constexpr std::int64_t kBlocks = 512;

  struct Setup {
    HandoffOptions options{};
    std::function<std::unique_ptr<Transport>(const HandoffOptions&)> transport{};  // empty: what options say
    WorkerId id{};
    Incarnation incarnation = NewIncarnation();
  };
  explicit WorkerEnd(Setup setup) : setup_(std::move(setup)), thread_("worker") {
    memory_.assign(static_cast<std::size_t>(kLayers * kBlocks) * Layout().BlockBytes(), std::byte{0});
    OnLoop([&] {
      const ArenaView arena{.region = {.address = memory_.data(), .bytes = memory_.size()},
                            .blocks = kBlocks,
                            .layout = Layout()};
      Handoff::Observer observer{.on_peer = [this](const PeerStatus& status) {
        ready_.Update([&](bool& ready) { ready = status.ready; });
      }};
      auto made = setup_.transport
                      ? CreateHandoffWith(setup_.transport(setup_.options), thread_.Loop(), setup_.options,
                                          arena, setup_.incarnation, metrics_, observer)
                      : Handoff::Create(thread_.Loop(), setup_.options, arena, setup_.incarnation, metrics_,
                                        observer);
      if (made.ok()) handoff_ = *std::move(made);
      created_ = made.status();
    });
    REQUIRE(created_ == absl::OkStatus());
    OnLoop([&] { handoff_->SetSelf(setup_.id); });
  }
  ~WorkerEnd() {
    OnLoop([&] { handoff_.reset(); });
  }
  WorkerEnd(const WorkerEnd&) = delete;
  WorkerEnd& operator=(const WorkerEnd&) = delete;

  static KvLayout Layout() {
    KvLayout layout;
    layout.layers = kLayers;
    layout.kv_heads = 2;
    layout.head_dim = 32;
    layout.dtype = "f32";
    return layout;  // 8 KiB a block
  }
  static std::size_t BlocksOf(std::int64_t tokens) { return static_cast<std::size_t>((tokens + 15) / 16); }

  void OnLoop(const std::function<void()>& work) {
    Watched<bool> done;
    thread_.Loop().Post([&] {
      work();
      done.Update([](bool& value) { value = true; });
    });
    if (!done.WaitFor([](bool value) { return value; })) FAIL("the loop does not answer");
  }
  void Meet(const WorkerEnd& peer, bool dial, std::optional<std::uint16_t> port = std::nullopt) {
    OnLoop([&] {
      handoff_->SetPeers({{.id = peer.setup_.id,
                           .incarnation = peer.setup_.incarnation,
                           .address = {.host = "127.0.0.1", .port = port.value_or(peer.port_)},
                           .name = "peer",
                           .dial = dial}});
    });
  }
  void LearnPort() {
    OnLoop([&] { port_ = handoff_->Port(); });
  }
  [[nodiscard]] bool WaitReady(bool ready = true) {
    return ready_.WaitFor([&](bool value) { return value == ready; });
  }
  [[nodiscard]] bool Idle() {
    // Looked at again with each tick of the wait: the count is the loop's own.
    for (int i = 0; i < 400; ++i) {
      std::size_t live = 1;
      OnLoop([&] { live = handoff_->LiveTransfers(); });
      if (live == 0) return true;
      Watched<bool> never;
      static_cast<void>(never.WaitFor([](bool value) { return value; }, std::chrono::milliseconds(25)));
    }
    return false;
  }

  absl::Status Receive(RequestKey key, const WorkerEnd& sender, std::int64_t tokens,
                       const std::vector<BlockIndex>& blocks, const ReceiveWatch& log,
                       std::function<void()> on_released = {},
                       std::optional<Incarnation> incarnation = std::nullopt) {
    absl::Status status;
    OnLoop([&] {
      const auto note = [log](auto change) {
        log->Update([&](ReceiveLog& l) {
          l.after_release += l.released;
          change(l);
        });
      };
      status = handoff_->Receive(
          {.key = key,
           .sender = sender.setup_.id,
           .sender_incarnation = incarnation.value_or(sender.setup_.incarnation),
           .prompt_tokens = tokens,
           .blocks = blocks},
          {.on_committed =
               [note](const CommitInfo& info) { note([&](ReceiveLog& l) { ++l.committed, l.info = info; }); },
           .on_failed =
               [note](TransferEnd end, const absl::Status& why) {
                 note([&](ReceiveLog& l) { ++l.failed, l.end = end, l.why = why; });
               },
           .on_released =
               [note, on_released] {
                 if (on_released) on_released();
                 note([](ReceiveLog& l) { ++l.released; });
               }});
    });
    return status;
  }
  absl::Status Send(RequestKey key, const WorkerEnd& receiver, std::int64_t tokens,
                    const std::vector<BlockIndex>& blocks, const SendWatch& log,
                    std::optional<Incarnation> incarnation = std::nullopt) {
    absl::Status status;
    OnLoop([&] {
      status = handoff_->Send(
          {.key = key,
           .receiver = receiver.setup_.id,
           .receiver_incarnation = incarnation.value_or(receiver.setup_.incarnation),
           .prompt_tokens = tokens,
           .blocks = blocks},
          {.on_granted = [log] { log->Update([](SendLog& l) { ++l.granted; }); },
           .on_ended =
               [log](TransferEnd end, const absl::Status& why, const TransferStats& stats) {
                 log->Update([&](SendLog& l) { ++l.ended, l.end = end, l.why = why, l.stats = stats; });
               }});
    });
    return status;
  }
  /// Produces the whole prompt in chunks of `chunk` tokens, layer by layer; then commits, if asked to.
  void Produce(RequestKey key, std::int64_t tokens, std::int64_t chunk, bool commit = true) {
    OnLoop([&] {
      handoff_->ProducerStarted(key);
      for (std::int64_t first = 0; first < tokens; first += chunk) {
        for (int layer = 0; layer < kLayers; ++layer) {
          handoff_->LayerReady(key, layer, first, std::min(chunk, tokens - first));
        }
      }
      if (commit) handoff_->Commit(key, {.first_token = 7, .prompt_tokens = tokens});
    });
  }
  void AbortSend(RequestKey key) {
    OnLoop([&] { handoff_->AbortSend(key); });
  }
  void AbortReceive(RequestKey key) {
    OnLoop([&] { handoff_->AbortReceive(key); });
  }
  void Commit(RequestKey key, std::int64_t tokens) {
    OnLoop([&] { handoff_->Commit(key, {.first_token = 7, .prompt_tokens = tokens}); });
  }
  [[nodiscard]] std::span<std::byte> Block(int layer, BlockIndex block) {
    const std::size_t bytes = Layout().BlockBytes();
    return {memory_.data() + (static_cast<std::size_t>(layer) * kBlocks + block.value) * bytes, bytes};
  }
  [[nodiscard]] std::vector<std::byte>& Memory() { return memory_; }
  [[nodiscard]] Incarnation GetIncarnation() const { return setup_.incarnation; }

 private:
  Setup setup_;
  std::vector<std::byte> memory_;
  metrics::Registry metrics_;
  Watched<bool> ready_;
  std::uint16_t port_ = 0;
  absl::Status created_;
  net::LoopThread thread_;
  std::unique_ptr<Handoff> handoff_;
};

[[nodiscard]] inline HandoffOptions OptionsOf(const std::string& kind) {
  HandoffOptions options;
  options.transport = kind;
  options.listen = {.host = "127.0.0.1", .port = 0};
  options.cluster_key = "key";
  options.net_device = "lo";
  options.layer_wise_bytes_min = 512U << 10;  // fitted, it would depend on the machine
  return options;
}

/// Two workers that are each other's peer: worker 1 sends, worker 2 receives.
struct Workers {
  explicit Workers(const HandoffOptions& options,
                   std::function<std::unique_ptr<Transport>(const HandoffOptions&)> sends = {},
                   std::function<std::unique_ptr<Transport>(const HandoffOptions&)> receives = {})
      : sender(std::make_unique<WorkerEnd>(
            WorkerEnd::Setup{.options = options, .transport = std::move(sends), .id = WorkerId(1)})),
        receiver(std::make_unique<WorkerEnd>(
            WorkerEnd::Setup{.options = options, .transport = std::move(receives), .id = WorkerId(2)})) {
    Introduce();
  }
  void Introduce() {
    receiver->LearnPort();
    receiver->Meet(*sender, /*dial=*/false);
    sender->Meet(*receiver, /*dial=*/true);
  }
  void RequireReady() {
    REQUIRE(sender->WaitReady());
    REQUIRE(receiver->WaitReady());
  }
  std::unique_ptr<WorkerEnd> sender;
  std::unique_ptr<WorkerEnd> receiver;
};

/// Fills `bytes` with what only (seed, layer, position of the block) has.
inline void FillKv(std::span<std::byte> bytes, std::uint64_t seed, int layer, std::size_t position) {
  std::uint64_t word = Mix64(seed * 1000003 + static_cast<std::uint64_t>(layer) * 4099 + position);
  for (std::size_t i = 0; i < bytes.size(); i += sizeof word) {
    std::memcpy(bytes.data() + i, &word, sizeof word);
    word = word * 6364136223846793005ULL + 1442695040888963407ULL;
  }
}

/// Random tables that share no block: mostly runs, with some single blocks in between.
class BlockTables {
 public:
  explicit BlockTables(std::uint64_t seed) : chance_(seed) {
    for (std::uint32_t block = 0; block < WorkerEnd::kBlocks; ++block) free_.emplace_back(block);
  }
  [[nodiscard]] std::vector<BlockIndex> Take(std::size_t count) {
    REQUIRE(count <= free_.size());
    if (chance_.Between(0, 2) == 0) {
      for (std::size_t i = free_.size() - 1; i > 0; --i) {
        std::swap(free_[i],
                  free_[static_cast<std::size_t>(chance_.Between(0, static_cast<std::int64_t>(i)))]);
      }
    }
    std::vector<BlockIndex> taken(free_.end() - static_cast<std::ptrdiff_t>(count), free_.end());
    free_.resize(free_.size() - count);
    return taken;
  }
  void Give(const std::vector<BlockIndex>& blocks) {
    free_.insert(free_.begin(), blocks.begin(), blocks.end());
  }

 private:
  RandomStream chance_;
  std::vector<BlockIndex> free_;
};

}  // namespace baton::kvtransfer::test
