#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include <absl/container/flat_hash_map.h>

#include "kvtransfer/attempts.h"
#include "kvtransfer/handoff.h"
#include "kvtransfer/peer_messages.h"
#include "kvtransfer/probe.h"
#include "kvtransfer/send_plan.h"
#include "kvtransfer/sender_machine.h"
#include "kvtransfer/side_host.h"
#include "kvtransfer/staging_area.h"
#include "kvtransfer/transport.h"

namespace baton::peer {
class Abort;
class Credit;
class Grant;
}  // namespace baton::peer

namespace baton::kvtransfer {

/// The transfers that this worker sends: machines, plans and their callers' events. Control loop only.
class SendSide {
 public:
  SendSide(SideHost& host, const HandoffOptions& options, const ArenaView& arena, Incarnation incarnation,
           Transport& transport, const Probe& probe);
  ~SendSide();
  SendSide(const SendSide&) = delete;
  SendSide& operator=(const SendSide&) = delete;

  /// KV in a GPU's memory may be sent from there. Before the first Send.
  void SetTransportReadsDevice(bool reads) { transport_reads_device_ = reads; }
  [[nodiscard]] absl::Status Send(const SendRequest& request, SenderEvents events);
  void ProducerStarted(RequestKey key);
  void LayerReady(RequestKey key, int layer, std::int64_t first_position, std::int64_t tokens);
  void PositionsReady(RequestKey key, std::int64_t first_position, std::int64_t tokens,
                      const std::vector<BlockIndex>& more_blocks);
  void Commit(RequestKey key, const CommitInfo& info);
  void Abort(RequestKey key);
  void OnGrant(WorkerId from, const peer::Grant& message);
  void OnCredit(WorkerId from, const peer::Credit& credit);
  void OnAck(WorkerId from, TransferId transfer);
  void OnAbort(WorkerId from, const peer::Abort& abort);
  /// False where the send is none of these transfers'.
  bool OnSent(const Sent& sent);
  void OnPeerLost(WorkerId peer, const absl::Status& why);
  void Tick();
  [[nodiscard]] std::size_t Live() const { return transfers_.size(); }
  void LiveOf(WorkerId peer, std::vector<TransferId>& out) const;

 private:
  struct Transfer;
  /// A message that the transport has.
  struct Posted {
    RequestKey key;
    std::optional<SlotIndex> slot;
  };
  /// A grant that came before its Send.
  struct Early {
    WorkerId from;
    Grant grant;
    TimePoint until{};
  };
  Transfer* FindGranted(WorkerId from, TransferId transfer);
  void Apply(Transfer& transfer, const Grant& grant);
  void Pump(Transfer& transfer);
  void PumpThoseThatWait();
  [[nodiscard]] std::uint64_t FirstLayerWiseMin(bool grows) const;
  void FitLayerWise(Transfer& transfer, int layer);
  void ReportIfIdle(const Transfer& transfer);
  [[nodiscard]] absl::Status CheckBlocks(const SendRequest& request) const;
  [[nodiscard]] static bool MayPost(const Transfer& transfer, const PlannedMessage& message);
  [[nodiscard]] bool Post(Transfer& transfer, const PlannedMessage& message);
  void PostStaged(Transfer& transfer, const PlannedMessage& message, DataMessage data, SlotIndex slot);
  void OnStaged(RequestKey key, SlotIndex slot, DataMessage data, const absl::Status& status);
  static void CountTimes(Transfer& transfer);
  void Measure(const Transfer& transfer);
  void Run(Transfer& transfer, const SenderMachine::Actions& actions);
  void Refuse(WorkerId peer, TransferId transfer, const std::string& reason);

  SideHost& host_;
  const HandoffOptions options_;
  const ArenaView arena_;
  const Incarnation incarnation_;
  Transport& transport_;
  bool transport_reads_device_ = false;
  const Probe& probe_;
  std::map<RequestKey, std::unique_ptr<Transfer>> transfers_;  // ordered: a simulation repeats itself
  std::map<TransferId, RequestKey> by_transfer_;
  absl::flat_hash_map<SendHandle, Posted> posted_;
  StagingArea staging_;
  std::deque<RequestKey> waiting_;  // for a slot, in order
  std::map<RequestKey, Early> early_;
  Attempts attempts_;
};

}  // namespace baton::kvtransfer
