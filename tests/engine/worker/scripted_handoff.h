#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "common/base/error.h"
#include "kvtransfer/handoff.h"
#include "tests/common/net/support.h"

namespace baton::engine {

/// A hand-off without peers: keeps what a phase asks of it, and ends transfers when a test says so.
/// Everything but `WaitFor` and `Count` on the control loop.
class ScriptedHandoff final : public kvtransfer::Handoff {
 public:
  std::uint16_t Port() const override { return 1; }
  void SetSelf(WorkerId) override {}
  void SetPeers(const std::vector<kvtransfer::PeerInfo>&) override {}
  std::vector<kvtransfer::PeerStatus> Peers() const override { return {}; }

  absl::Status Receive(const kvtransfer::ReceiveRequest& request,
                       kvtransfer::ReceiverEvents events) override {
    if (!refusal.ok()) return refusal;
    receives[request.key] = {request, std::move(events)};
    Note("receive", request.key);
    return absl::OkStatus();
  }
  void AbortReceive(RequestKey key) override { Note("abort_receive", key); }
  absl::Status Send(const kvtransfer::SendRequest& request, kvtransfer::SenderEvents events) override {
    if (!refusal.ok()) return refusal;
    sends[request.key] = {request, std::move(events)};
    Note("send", request.key);
    return absl::OkStatus();
  }
  void ProducerStarted(RequestKey key) override { Note("started", key); }
  void LayerReady(RequestKey key, int layer, std::int64_t first, std::int64_t tokens) override {
    Note(fmt::format("layer {} {}+{}", layer, first, tokens), key);
  }
  void PositionsReady(RequestKey key, std::int64_t first, std::int64_t tokens,
                      const std::vector<BlockIndex>& more_blocks) override {
    Note(fmt::format("ready {}+{} more {}", first, tokens, more_blocks.size()), key);
  }
  void Commit(RequestKey key, const kvtransfer::CommitInfo& info) override {
    commits[key] = info;
    Note("commit", key);
  }
  void AbortSend(RequestKey key) override { Note("abort_send", key); }
  std::size_t LiveTransfers() const override { return sends.size() + receives.size(); }

  /// Ends a send, as the transport does when it reads the blocks no more.
  void EndSend(RequestKey key, kvtransfer::TransferEnd end, const absl::Status& status = absl::OkStatus(),
               const kvtransfer::TransferStats& stats = {}) {
    const auto events = std::move(sends.extract(key).mapped().second);
    events.on_ended(end, status, stats);
  }
  void Release(RequestKey key) {
    const auto events = std::move(receives.extract(key).mapped().second);
    events.on_released();
  }

  /// Waits for a call, such as "commit 1/1".
  [[nodiscard]] bool WaitFor(const std::string& call) {
    return calls.WaitFor(
        [&](const auto& all) { return std::find(all.begin(), all.end(), call) != all.end(); });
  }
  [[nodiscard]] std::int64_t Count(const std::string& call) const {
    const auto all = calls.Get();
    return std::count(all.begin(), all.end(), call);
  }

  absl::Status refusal;  // of every Send and Receive, where it is an error
  std::map<RequestKey, std::pair<kvtransfer::SendRequest, kvtransfer::SenderEvents>> sends;
  std::map<RequestKey, std::pair<kvtransfer::ReceiveRequest, kvtransfer::ReceiverEvents>> receives;
  std::map<RequestKey, kvtransfer::CommitInfo> commits;
  net::Watched<std::vector<std::string>> calls;

 private:
  void Note(const std::string& call, RequestKey key) {
    calls.Update([&](auto& all) { all.push_back(fmt::format("{} {}", call, key)); });
  }
};

}  // namespace baton::engine
