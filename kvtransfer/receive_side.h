#pragma once

#include <map>
#include <memory>
#include <vector>

#include <absl/container/flat_hash_map.h>

#include "kvtransfer/attempts.h"
#include "kvtransfer/credit_window.h"
#include "kvtransfer/handoff.h"
#include "kvtransfer/probe.h"
#include "kvtransfer/receiver_machine.h"
#include "kvtransfer/side_host.h"
#include "kvtransfer/transport.h"

namespace baton::peer {
class Abort;
class Commit;
}  // namespace baton::peer

namespace baton::kvtransfer {

/// The transfers that this worker receives: machines, windows and their callers' events. Control loop only.
class ReceiveSide {
 public:
  ReceiveSide(SideHost& host, const HandoffOptions& options, const ArenaView& arena, Incarnation incarnation,
              Transport& transport, const Probe& probe);
  ~ReceiveSide();
  ReceiveSide(const ReceiveSide&) = delete;
  ReceiveSide& operator=(const ReceiveSide&) = delete;

  [[nodiscard]] absl::Status Receive(const ReceiveRequest& request, ReceiverEvents events);
  void Abort(RequestKey key);
  void OnPlaced(const Received& received);
  void OnDrained(TransferId transfer);
  void OnCommit(WorkerId from, const peer::Commit& commit);
  void OnAbort(WorkerId from, const peer::Abort& abort);
  void Renew(WorkerId from, TransferId transfer);
  void OnPeerLost(WorkerId peer, const absl::Status& why);
  void Tick();
  [[nodiscard]] std::size_t Live() const { return transfers_.size(); }
  void LiveOf(WorkerId peer, std::vector<TransferId>& out) const;

 private:
  struct Transfer;
  Transfer* Find(WorkerId from, TransferId transfer);
  [[nodiscard]] static CommitInfo CommitOf(const Transfer& transfer);
  void Run(Transfer& transfer, const ReceiverMachine::Actions& actions);
  CreditWindow& CreditOf(WorkerId peer);
  void Confirm(const Transfer& transfer);
  void SendCredit(WorkerId peer, const CreditWindow::Grants& grants);
  void EndCredit(WorkerId peer, TransferId transfer);
  void Report(const std::shared_ptr<ReceiverEvents>& events,
              std::function<void(const ReceiverEvents&)> report);

  SideHost& host_;
  const HandoffOptions options_;
  const ArenaView arena_;
  const Incarnation incarnation_;
  Transport& transport_;
  const Probe& probe_;
  std::map<TransferId, std::unique_ptr<Transfer>> transfers_;  // ordered: a simulation repeats itself
  absl::flat_hash_map<RequestKey, TransferId> by_key_;
  std::map<WorkerId, CreditWindow> credit_;  // of the peers with transfers
  Attempts attempts_;
};

}  // namespace baton::kvtransfer
