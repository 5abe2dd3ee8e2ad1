#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/base/check.h"
#include "common/base/error.h"
#include "common/metrics/registry.h"
#include "common/net/event_loop.h"
#include "kvtransfer/handoff.h"
#include "kvtransfer/handoff_with.h"
#include "kvtransfer/transport.h"
#include "tests/kvtransfer/watched.h"
#include "tests/support/hidden_memory.h"
#include "tests/support/plain_kv.h"

namespace baton::test {

/// 32 KiB a block and layer.
[[nodiscard]] inline kvtransfer::KvLayout TestLayout() {
  kvtransfer::KvLayout layout;
  layout.layers = 2;
  layout.kv_heads = 4;
  layout.head_dim = 64;
  layout.block_tokens = 16;
  layout.dtype = "f32";
  layout.numerics_class = "test";
  layout.model_fingerprint = 42;
  return layout;
}

[[nodiscard]] inline RequestKey Key(std::uint64_t request, std::uint32_t attempt = 1) {
  return {.request = RequestId(request), .attempt = Attempt(attempt)};
}

/// `count` blocks from `first` on.
[[nodiscard]] inline std::vector<BlockIndex> Blocks(std::uint32_t first, std::uint32_t count) {
  std::vector<BlockIndex> blocks;
  for (std::uint32_t i = 0; i < count; ++i) blocks.emplace_back(first + i);
  return blocks;
}

struct WorkerSetup {
  WorkerId id;
  std::string transport = "loopback";
  std::int64_t blocks = 256;
  std::string cluster_key = "key of the test";
  kvtransfer::KvLayout layout = TestLayout();
  bool hidden = false;  // KV as on a GPU: who reads it but through its copier has a fault
  std::function<void(kvtransfer::HandoffOptions&)> adjust = {};
  /// Makes the transport instead of `transport`.
  std::function<std::unique_ptr<kvtransfer::Transport>(const kvtransfer::HandoffOptions&)> make = {};
  Incarnation incarnation = NewIncarnation();
};

/// A worker that has nothing but its end of the hand-off, on a loop of its own. Methods are for the test's
/// thread.
class Worker {
 public:
  struct Receiving {
    std::optional<kvtransfer::CommitInfo> committed;
    std::optional<kvtransfer::TransferEnd> failed;
    std::string why;
    int reports = 0;  // of on_committed and on_failed
    int released = 0;
  };
  struct Sending {
    bool granted = false;
    int idle = 0;
    std::optional<kvtransfer::TransferEnd> ended;
    std::string why;
    kvtransfer::TransferStats stats;
    int reports = 0;
  };
  using Receipt = std::shared_ptr<Watched<Receiving>>;
  using Dispatch = std::shared_ptr<Watched<Sending>>;

  explicit Worker(const WorkerSetup& setup)
      : setup_(setup),
        memory_(std::make_shared<HiddenMemory>(
            static_cast<std::size_t>(setup.layout.RankLayers() * setup.blocks) * setup.layout.BlockBytes())) {
    kvtransfer::HandoffOptions options;
    options.transport = setup.transport;
    options.listen = {.host = "127.0.0.1", .port = 0};
    options.cluster_key = setup.cluster_key;
    options.net_device = "lo";
    options.layer_wise_bytes_min = 512U << 10;  // fitted, it would depend on the machine
    if (setup.adjust) setup.adjust(options);
    Do([&] {
      const MemoryRegion host{.address = Memory().data(), .bytes = Memory().size()};
      const kvtransfer::ArenaView arena{.region = setup.hidden ? memory_->Region() : host,
                                        .blocks = setup.blocks,
                                        .layout = setup.layout,
                                        .copier = setup.hidden ? memory_ : nullptr};
      kvtransfer::Handoff::Observer observer{.on_peer = [this](const kvtransfer::PeerStatus& status) {
        peers.Update([&](auto& all) { all[status.id] = status; });
      }};
      auto made = setup.make ? kvtransfer::CreateHandoffWith(
                                   setup.make(options), loop_.Loop(), options, arena, setup.incarnation,
                                   metrics_, std::move(observer), [&] { return setup.make(options); })
                             : kvtransfer::Handoff::Create(loop_.Loop(), options, arena, setup.incarnation,
                                                           metrics_, std::move(observer));
      BATON_CHECK(made.ok(), "{}", Message(made.status()));
      handoff_ = *std::move(made);
      handoff_->SetSelf(setup.id);
    });
  }
  ~Worker() {
    Do([this] { handoff_.reset(); });
  }

  /// Runs `work` on the loop and waits for it.
  void Do(std::function<void()> work) {
    std::promise<void> done;
    loop_.Loop().Post([&] {
      work();
      done.set_value();
    });
    done.get_future().wait();
  }

  [[nodiscard]] kvtransfer::PeerInfo Info(bool dial) {
    std::uint16_t port = 0;
    Do([&] { port = handoff_->Port(); });
    return {.id = setup_.id,
            .incarnation = setup_.incarnation,
            .address = {.host = "127.0.0.1", .port = port},
            .name = "test",
            .dial = dial};
  }
  void SetPeers(const std::vector<kvtransfer::PeerInfo>& infos) {
    Do([&] { handoff_->SetPeers(infos); });
  }
  [[nodiscard]] bool WaitReady(WorkerId peer, bool ready = true) {
    return peers.WaitFor([&](const auto& all) { return all.contains(peer) && all.at(peer).ready == ready; });
  }
  [[nodiscard]] bool IsReady(WorkerId peer) {
    const auto all = peers.Get();
    return all.contains(peer) && all.at(peer).ready;
  }

  [[nodiscard]] absl::Status Receive(const kvtransfer::ReceiveRequest& request, const Receipt& receipt) {
    absl::Status status;
    Do([&] {
      status = handoff_->Receive(
          request,
          {.on_committed =
               [receipt](const kvtransfer::CommitInfo& info) {
                 receipt->Update([&](Receiving& r) { r.committed = info, ++r.reports; });
               },
           .on_failed =
               [receipt](kvtransfer::TransferEnd end, const absl::Status& why) {
                 receipt->Update([&](Receiving& r) { r.failed = end, r.why = Message(why), ++r.reports; });
               },
           .on_released = [receipt] { receipt->Update([](Receiving& r) { ++r.released; }); }});
    });
    return status;
  }
  [[nodiscard]] Receipt Receive(RequestKey key, const Worker& from, const std::vector<BlockIndex>& blocks) {
    auto receipt = std::make_shared<Watched<Receiving>>();
    const absl::Status status = Receive({.key = key,
                                         .sender = from.setup_.id,
                                         .sender_incarnation = from.setup_.incarnation,
                                         .prompt_tokens = std::ssize(blocks) * setup_.layout.block_tokens,
                                         .blocks = blocks},
                                        receipt);
    BATON_CHECK(status.ok(), "{}", Message(status));
    return receipt;
  }
  [[nodiscard]] absl::Status Send(const kvtransfer::SendRequest& request, const Dispatch& dispatch) {
    absl::Status status;
    Do([&] {
      status = handoff_->Send(
          request, {.on_granted = [dispatch] { dispatch->Update([](Sending& s) { s.granted = true; }); },
                    .on_idle = [dispatch] { dispatch->Update([](Sending& s) { ++s.idle; }); },
                    .on_ended =
                        [dispatch](kvtransfer::TransferEnd end, const absl::Status& why,
                                   const kvtransfer::TransferStats& stats) {
                          dispatch->Update([&](Sending& s) {
                            s.ended = end, s.why = Message(why), s.stats = stats, ++s.reports;
                          });
                        }});
    });
    return status;
  }
  [[nodiscard]] Dispatch Send(RequestKey key, const Worker& to, const std::vector<BlockIndex>& blocks) {
    auto dispatch = std::make_shared<Watched<Sending>>();
    const absl::Status status = Send({.key = key,
                                      .receiver = to.setup_.id,
                                      .receiver_incarnation = to.setup_.incarnation,
                                      .prompt_tokens = std::ssize(blocks) * setup_.layout.block_tokens,
                                      .blocks = blocks},
                                     dispatch);
    BATON_CHECK(status.ok(), "{}", Message(status));
    return dispatch;
  }
  /// The prefill of `key` begins, computes every layer, and commits `first_token`.
  void Produce(RequestKey key, std::size_t blocks, TokenId first_token = 7) {
    ProduceTokens(key, static_cast<std::int64_t>(blocks) * setup_.layout.block_tokens, first_token);
  }
  void ProduceTokens(RequestKey key, std::int64_t tokens, TokenId first_token = 7) {
    Do([&] {
      handoff_->ProducerStarted(key);
      for (int layer = 0; layer < setup_.layout.layers; ++layer) handoff_->LayerReady(key, layer, 0, tokens);
      handoff_->Commit(key, {.first_token = first_token, .prompt_tokens = tokens});
    });
  }
  void PositionsReady(RequestKey key, std::int64_t first, std::int64_t tokens,
                      const std::vector<BlockIndex>& more_blocks) {
    Do([&] { handoff_->PositionsReady(key, first, tokens, more_blocks); });
  }
  void Commit(RequestKey key, const kvtransfer::CommitInfo& info) {
    Do([&] { handoff_->Commit(key, info); });
  }
  void Start(RequestKey key) {
    Do([&] { handoff_->ProducerStarted(key); });
  }
  void AbortReceive(RequestKey key) {
    Do([&] { handoff_->AbortReceive(key); });
  }
  void AbortSend(RequestKey key) {
    Do([&] { handoff_->AbortSend(key); });
  }

  [[nodiscard]] std::span<std::byte> Block(int layer, BlockIndex block) {
    const std::size_t bytes = setup_.layout.BlockBytes();
    return {Memory().data() + static_cast<std::size_t>(layer * setup_.blocks + block.value) * bytes, bytes};
  }
  /// Fills blocks of all layers; each byte tells `value`, layer and place in the list.
  void Fill(const std::vector<BlockIndex>& blocks, unsigned value) {
    for (int layer = 0; layer < setup_.layout.layers; ++layer) {
      for (std::size_t i = 0; i < blocks.size(); ++i)
        std::ranges::fill(Block(layer, blocks[i]), Pattern(value, layer, i));
    }
  }
  [[nodiscard]] bool Holds(const std::vector<BlockIndex>& blocks, unsigned value) {
    for (int layer = 0; layer < setup_.layout.layers; ++layer) {
      for (std::size_t i = 0; i < blocks.size(); ++i) {
        const std::byte expected = Pattern(value, layer, i);
        if (!std::ranges::all_of(Block(layer, blocks[i]), [&](std::byte b) { return b == expected; }))
          return false;
      }
    }
    return true;
  }
  /// Its memory as the layout says.
  [[nodiscard]] PlainKv Kv() { return {setup_.layout, setup_.blocks, Memory()}; }
  /// Of a hidden one, what its device sees.
  [[nodiscard]] std::span<std::byte> Memory() const { return memory_->Seen(); }
  [[nodiscard]] HiddenMemory& Hidden() const { return *memory_; }
  [[nodiscard]] std::size_t Live() {
    std::size_t live = 0;
    Do([&] { live = handoff_->LiveTransfers(); });
    return live;
  }
  [[nodiscard]] std::string Metrics() { return metrics_.Text(); }
  [[nodiscard]] const WorkerSetup& Setup() const { return setup_; }

  Watched<std::map<WorkerId, kvtransfer::PeerStatus>> peers;

 private:
  static std::byte Pattern(unsigned value, int layer, std::size_t index) {
    return static_cast<std::byte>((value * 31 + static_cast<unsigned>(layer) * 7 + index * 13) % 251);
  }

  const WorkerSetup setup_;
  const std::shared_ptr<HiddenMemory> memory_;
  metrics::Registry metrics_;
  net::LoopThread loop_{"test"};
  std::unique_ptr<kvtransfer::Handoff> handoff_;
};

/// `dialer` connects to `listener`; true once both are ready for each other.
[[nodiscard]] inline bool Introduce(Worker& dialer, Worker& listener) {
  listener.SetPeers({dialer.Info(false)});
  dialer.SetPeers({listener.Info(true)});
  return dialer.WaitReady(listener.Setup().id) && listener.WaitReady(dialer.Setup().id);
}

}  // namespace baton::test
