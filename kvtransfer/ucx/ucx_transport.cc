#include <ucp/api/ucp.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <limits>
#include <optional>
#include <utility>

#include <absl/container/flat_hash_map.h>

#include "common/base/check.h"
#include "common/base/crc32c.h"
#include "common/base/error.h"
#include "common/base/log.h"
#include "common/base/mutex.h"
#include "kvtransfer/receive_window.h"
#include "kvtransfer/send_plan.h"
#include "kvtransfer/send_queue.h"
#include "kvtransfer/transport.h"
#include "kvtransfer/ucx/data_address.h"
#include "kvtransfer/ucx/ucx_worker.h"
#include "kvtransfer/work_thread.h"

namespace baton::kvtransfer {
namespace {

constexpr unsigned kAmData = 2;
/// Over a network card a single run from here on goes by rendezvous.
constexpr std::size_t kRendezvousBytes = 256U << 10;
/// Sends that one endpoint has under way; more wait here, where a cancel still reaches them. Of those that go
/// eagerly few: they are summed when they are given to UCX, and should still be in the cache when they go.
constexpr std::size_t kOutstandingMax = 32;
constexpr std::size_t kEagerOutstandingMax = 4;
/// From here on conversions, and checksums of what has come by rendezvous, are done on a thread of their own;
/// below, the hop would cost more.
constexpr std::uint32_t kCheckedElsewhereBytes = 64U << 10;
constexpr std::size_t kCanaryMessageBytes = kMessageBytes;
constexpr std::size_t kCanaryPieceBytes = 96U << 10;
/// A close waits so long for the sends under way to end, or for UCX to see by itself that the peer is gone.
/// Closing over unsent bytes of a connection that the peer closes as well reads freed memory inside 1.13.1.
constexpr Duration kCloseGrace = std::chrono::milliseconds(300);
constexpr Duration kShutdownPatience = std::chrono::seconds(2);

absl::Status FromUcx(ucs_status_t status, std::string_view what) {
  if (status == UCS_OK) return absl::OkStatus();
  return Error(kUnavailable, "UCX: {}: {}", what, ucs_status_string(status));
}

/// A single run of more goes by rendezvous straight into its place, all else eagerly. Over TCP a whole
/// message is one segment: without a handshake, and copied once, where 1.13.1's rendezvous copies as well. In
/// shared memory all goes eagerly: with a peer's failure to be noticed, 1.13.1 has no single-copy rendezvous,
/// and an emulated one has a third of the speed. A card writes into place by rendezvous.
std::size_t EagerBytesMax(const std::string& tls) {
  if (tls.starts_with("tcp")) return kMessageBytes;
  const bool shared = tls.find("posix") != std::string::npos || tls.find("sysv") != std::string::npos;
  return shared ? std::numeric_limits<std::size_t>::max() : kRendezvousBytes - 1;
}

std::uint32_t ChecksumOf(const DataMessage& message) {
  std::uint32_t crc = BeginChecksum(message.header);
  for (const auto piece : message.pieces) crc = Crc32c(piece, crc);
  return crc;
}

class UcxTransport;

struct SendOperation {
  UcxTransport* owner = nullptr;
  PeerHandle peer{};
  SendHandle handle{};
  DataMessage message{};
  std::string header{};              // alive until completion: 1.13.1 cannot copy it
  std::vector<ucp_dt_iov_t> list{};  // likewise
  std::uint64_t canary_left = 0;     // canary messages still to send after this one
  TimePoint begun{};                 // on the wire
  bool canary = false;
};

struct ReceiveOperation {
  UcxTransport* owner = nullptr;
  DataHeader header;
  Landing landing;  // nowhere: a canary
  TimePoint landed{};
  std::optional<std::uint32_t> crc{};  // of header and payload, where it was summed as it was copied out
};

class UcxTransport final : public Transport {
 public:
  explicit UcxTransport(const HandoffOptions& options) : options_(options) {}
  ~UcxTransport() override;

  absl::Status Start(const ArenaView& arena, TransportEvents& events) override;
  std::string Name() const override { return worker_->TransportName(); }
  std::string LocalAddress() const override { return ucx::SealAddress(worker_->Address()); }

  absl::StatusOr<PeerHandle> ConnectPeer(const std::string& sealed) override {
    BATON_ASSIGN_OR_RETURN(const std::string address, ucx::OpenAddress(sealed));
    const PeerHandle handle(++last_handle_);
    worker_->Post([this, handle, address] { Connect(handle, address); });
    return handle;
  }
  void ClosePeer(PeerHandle peer) override {
    worker_->Post([this, peer] { WindDown(peer, Error(kAborted, "the endpoint was closed")); });
  }
  void CancelSends(PeerHandle peer, TransferId transfer) override {
    // Behind the sends whose checksums are being computed: it is to find them.
    checks_->Post(
        [this, peer, transfer] { worker_->Post([this, peer, transfer] { CancelWaiting(peer, transfer); }); });
  }
  // At once, not posted: the grant that follows may bring data before the transfer thread looks at its queue.
  void OpenWindow(ReceiveWindow window) override {
    const MutexLock lock(windows_mutex_);
    windows_->Open(std::move(window));
  }
  void CloseWindow(TransferId transfer) override {
    bool drained = false;
    {
      const MutexLock lock(windows_mutex_);
      drained = windows_->Close(transfer);
    }
    if (drained) events_->OnDrained(transfer);
  }
  SendHandle Send(PeerHandle peer, DataMessage message) override {
    return Enqueue({.owner = this, .peer = peer, .message = std::move(message)});
  }
  SendHandle SendCanary(PeerHandle peer, std::uint64_t bytes) override {
    const std::uint64_t messages = std::max<std::uint64_t>(1, bytes / kCanaryMessageBytes);
    SendOperation operation{.owner = this, .peer = peer, .canary_left = messages, .canary = true};
    operation.message.header.type = DataType::kCanary;
    // Packed, as scattered runs are: the first such message of a process costs UCX milliseconds, which an
    // answer that moves would stand still for.
    const std::span<const std::byte> source(canary_source_);
    operation.message.pieces = {source.first(kCanaryPieceBytes), source.last(kCanaryPieceBytes)};
    return Enqueue(std::move(operation));
  }
  bool ReadsDeviceMemory() const override { return worker_->SeesCuda(); }
  TransportCounters Counters() const override {
    return {.dropped_messages = dropped_.load(), .checksum_failures = checksum_failures_.load()};
  }

 private:
  struct Peer {
    UcxTransport* owner = nullptr;
    PeerHandle handle;
    ucp_ep_h endpoint = nullptr;
    SendQueue<std::unique_ptr<SendOperation>> waiting;
    std::size_t outstanding = 0;
    bool connected = false;     // it has sockets, or has failed
    bool winding_down = false;  // sends nothing more; closed when what is under way has ended
    bool failed = false;
    bool closed = false;
    absl::Status why;
  };

  // All below runs on the transfer thread.
  SendHandle Enqueue(SendOperation operation);
  void CancelWaiting(PeerHandle peer, TransferId transfer);
  void ReportUnsent(const SendOperation& operation, const absl::Status& why) {
    events_->OnSent({.send = operation.handle, .status = why});
  }
  void Begin(const std::shared_ptr<SendOperation>& shared);
  void Connect(PeerHandle handle, const std::string& address);
  void FailPeer(PeerHandle handle, const absl::Status& why);
  void WindDown(PeerHandle handle, const absl::Status& why);
  void AwaitConnection(Peer& peer);
  void ConnectionEnded(PeerHandle handle);
  void OperationEnded(Peer& peer);
  void CloseEndpoint(Peer& peer);
  void ReportDownIfDone(Peer& peer);
  void Pump(Peer& peer);
  /// One run only: else the receiver has no single place for it, though it may be one piece here.
  [[nodiscard]] bool GoesEagerly(const DataMessage& message) const {
    return message.pieces.size() > 1 || message.header.runs.size() > 1 ||
           message.header.payload_bytes <= eager_bytes_max_;
  }
  void Post(Peer& peer, std::unique_ptr<SendOperation> operation);
  void Finish(std::unique_ptr<SendOperation> operation, const absl::Status& status);
  bool CloseAll();

  static void OnEndpointError(void* argument, ucp_ep_h endpoint, ucs_status_t status);
  static void OnSendDone(void* request, ucs_status_t status, void* argument);
  static void OnCloseDone(void* request, ucs_status_t status, void* argument);
  static void OnReceiveDone(void* request, ucs_status_t status, std::size_t length, void* argument);
  static ucs_status_t OnMessage(void* argument, const void* header, std::size_t header_length, void* data,
                                std::size_t length, const ucp_am_recv_param_t* parameters);
  ucs_status_t Message(const DataHeader& header, void* data, std::size_t length, bool rendezvous);
  ucs_status_t ReceiveRendezvous(std::unique_ptr<ReceiveOperation> operation, void* data, std::size_t length,
                                 std::byte* target);
  void Placed(std::unique_ptr<ReceiveOperation> operation, const absl::Status& status);
  void Verify(const ReceiveOperation& operation, const absl::Status& status);

  const HandoffOptions options_;
  std::unique_ptr<ucx::UcxWorker> worker_;
  TransportEvents* events_ = nullptr;
  Mutex windows_mutex_;
  std::unique_ptr<ReceiveWindows> windows_;  // guarded by windows_mutex_
  absl::flat_hash_map<PeerHandle, std::unique_ptr<Peer>> peers_;
  std::vector<std::byte> canary_source_ = std::vector<std::byte>(kCanaryMessageBytes);
  std::vector<std::byte> canary_sink_ = std::vector<std::byte>(kCanaryMessageBytes);
  std::uint64_t last_handle_ = 0;  // control loop
  std::int64_t receiving_ = 0;     // rendezvous receives under way
  const std::size_t eager_bytes_max_ = EagerBytesMax(options_.tls);
  std::atomic<std::uint64_t> dropped_{0};
  std::atomic<std::uint64_t> checksum_failures_{0};
  std::unique_ptr<WorkThread> checks_;  // its work uses the above: destroyed first
};

absl::Status UcxTransport::Start(const ArenaView& arena, TransportEvents& events) {
  events_ = &events;
  windows_ = std::make_unique<ReceiveWindows>(arena);
  BATON_RETURN_IF_ERROR(windows_->Prepare(options_.staging_bytes));
  // A UCX for CUDA fails, or crashes when it waits, on threads that have entered no device.
  if (arena.copier != nullptr) arena.copier->EnterThread();
  BATON_ASSIGN_OR_RETURN(worker_, ucx::UcxWorker::Create(options_));
  if (arena.copier != nullptr) worker_->Post([copier = arena.copier] { copier->EnterThread(); });
  ucp_am_handler_param_t parameters{};
  parameters.field_mask = UCP_AM_HANDLER_PARAM_FIELD_ID | UCP_AM_HANDLER_PARAM_FIELD_CB |
                          UCP_AM_HANDLER_PARAM_FIELD_ARG | UCP_AM_HANDLER_PARAM_FIELD_FLAGS;
  parameters.id = kAmData;
  parameters.cb = OnMessage;
  parameters.arg = this;
  parameters.flags = UCP_AM_FLAG_WHOLE_MSG;
  BATON_RETURN_IF_ERROR(
      FromUcx(ucp_worker_set_am_recv_handler(worker_->Handle(), &parameters), "setting the message handler"));
  checks_ = std::make_unique<WorkThread>();
  worker_->Start();
  return absl::OkStatus();
}

UcxTransport::~UcxTransport() {
  if (worker_ != nullptr) worker_->Stop([this] { return CloseAll(); }, kShutdownPatience);
}

SendHandle UcxTransport::Enqueue(SendOperation operation) {
  operation.handle = SendHandle(++last_handle_);
  const SendHandle handle = operation.handle;
  auto shared = std::make_shared<SendOperation>(std::move(operation));
  DataHeader& header = shared->message.header;
  header.payload_bytes = 0;
  for (const auto piece : shared->message.pieces)
    header.payload_bytes += static_cast<std::uint32_t>(piece.size());
  header.crc = 0;
  const auto begin = [this, shared] { worker_->Post([this, shared] { Begin(shared); }); };
  if (!options_.checksum || shared->canary || GoesEagerly(shared->message)) {
    begin();
  } else {
    checks_->Post([shared, begin] {
      shared->message.header.crc = ChecksumOf(shared->message);
      begin();
    });
  }
  return handle;
}

void UcxTransport::CancelWaiting(PeerHandle peer, TransferId transfer) {
  const auto found = peers_.find(peer);
  if (found == peers_.end()) return;
  for (const auto& operation : found->second->waiting.Remove(transfer)) {
    ReportUnsent(*operation, Error(kCancelled, "the transfer was aborted"));
  }
}

void UcxTransport::Begin(const std::shared_ptr<SendOperation>& shared) {
  auto own = std::make_unique<SendOperation>(std::move(*shared));
  const auto peer = peers_.find(own->peer);
  if (peer == peers_.end() || peer->second->failed || peer->second->winding_down) {
    ReportUnsent(*own, Error(kUnavailable, "the peer's data connection is gone"));
    return;
  }
  const TransferId transfer = own->message.header.transfer;
  peer->second->waiting.Push(transfer, std::move(own));
  Pump(*peer->second);
}

void UcxTransport::Connect(PeerHandle handle, const std::string& address) {
  auto peer = std::make_unique<Peer>();
  peer->owner = this;
  peer->handle = handle;
  ucp_ep_params_t parameters{};
  parameters.field_mask = UCP_EP_PARAM_FIELD_REMOTE_ADDRESS | UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE |
                          UCP_EP_PARAM_FIELD_ERR_HANDLER;
  parameters.address = reinterpret_cast<const ucp_address_t*>(address.data());
  parameters.err_mode = UCP_ERR_HANDLING_MODE_PEER;  // always, on both sides
  parameters.err_handler = {.cb = OnEndpointError, .arg = peer.get()};
  const ucs_status_t status = ucp_ep_create(worker_->Handle(), &parameters, &peer->endpoint);
  if (status != UCS_OK) {
    events_->OnPeerDown(handle, FromUcx(status, "connecting to the peer's data address"));
    return;
  }
  Peer& made = *peer;
  peers_[handle] = std::move(peer);
  AwaitConnection(made);
}

/// A flush ends when the sockets are there. Nothing is sent before: UCX would keep it back, its own questions
/// and answers among it, and where the connection then fails it has more to lose. It counts as an operation:
/// a close waits for it, within its grace.
void UcxTransport::AwaitConnection(Peer& peer) {
  ucp_request_param_t parameters{};
  parameters.op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA;
  parameters.cb.send = [](void* request, ucs_status_t, void* argument) {
    ucp_request_free(request);
    static_cast<Peer*>(argument)->owner->ConnectionEnded(static_cast<Peer*>(argument)->handle);
  };
  parameters.user_data = &peer;
  ++peer.outstanding;
  if (!UCS_PTR_IS_PTR(ucp_ep_flush_nbx(peer.endpoint, &parameters))) ConnectionEnded(peer.handle);
}

void UcxTransport::ConnectionEnded(PeerHandle handle) {
  worker_->Post([this, handle] {
    const auto found = peers_.find(handle);
    BATON_CHECK(found != peers_.end());
    --found->second->outstanding;
    found->second->connected = true;
    OperationEnded(*found->second);
  });
}

void UcxTransport::OnEndpointError(void* argument, ucp_ep_h, ucs_status_t status) {
  // Only marks and posts: nothing may be progressed or closed from inside a callback.
  auto* peer = static_cast<Peer*>(argument);
  UcxTransport* owner = peer->owner;
  owner->worker_->Post([owner, handle = peer->handle, status] {
    owner->FailPeer(handle, FromUcx(status, "the peer's data connection"));
  });
}

void UcxTransport::FailPeer(PeerHandle handle, const absl::Status& why) {
  const auto found = peers_.find(handle);
  if (found == peers_.end() || found->second->failed) return;
  Peer& peer = *found->second;
  peer.failed = true;
  peer.why = why;
  for (const auto& operation : peer.waiting.RemoveAll()) ReportUnsent(*operation, why);
  worker_->WhenSettled(kCloseGrace, [this, handle] { CloseEndpoint(*peers_.at(handle)); });
}

void UcxTransport::WindDown(PeerHandle handle, const absl::Status& why) {
  const auto found = peers_.find(handle);
  if (found == peers_.end() || found->second->failed || found->second->winding_down) return;
  Peer& peer = *found->second;
  if (peer.outstanding == 0) return FailPeer(handle, why);
  peer.winding_down = true;
  peer.why = why;
  for (const auto& operation : peer.waiting.RemoveAll()) ReportUnsent(*operation, why);
  worker_->PostAfter(kCloseGrace, [this, handle, why] { FailPeer(handle, why); });
}

void UcxTransport::CloseEndpoint(Peer& peer) {
  ucp_request_param_t parameters{};
  parameters.op_attr_mask =
      UCP_OP_ATTR_FIELD_FLAGS | UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA;
  parameters.flags = UCP_EP_CLOSE_FLAG_FORCE;  // ends every request of the endpoint
  parameters.cb.send = OnCloseDone;
  parameters.user_data = &peer;
  const ucs_status_ptr_t request = ucp_ep_close_nbx(std::exchange(peer.endpoint, nullptr), &parameters);
  if (!UCS_PTR_IS_PTR(request)) {
    peer.closed = true;
    worker_->Post([this, handle = peer.handle] {
      if (const auto found = peers_.find(handle); found != peers_.end()) ReportDownIfDone(*found->second);
    });
  }
}

void UcxTransport::OnCloseDone(void* request, ucs_status_t, void* argument) {
  ucp_request_free(request);
  auto* peer = static_cast<Peer*>(argument);
  peer->closed = true;
  UcxTransport* owner = peer->owner;
  owner->worker_->Post([owner, handle = peer->handle] {
    if (const auto found = owner->peers_.find(handle); found != owner->peers_.end()) {
      owner->ReportDownIfDone(*found->second);
    }
  });
}

void UcxTransport::ReportDownIfDone(Peer& peer) {
  if (!peer.closed || peer.outstanding > 0) return;
  events_->OnPeerDown(peer.handle, peer.why);
  peers_.erase(PeerHandle(peer.handle));
}

void UcxTransport::Pump(Peer& peer) {
  const std::size_t most = eager_bytes_max_ < kMessageBytes ? kOutstandingMax : kEagerOutstandingMax;
  while (peer.connected && !peer.failed && peer.outstanding < most) {
    auto next = peer.waiting.Pop();
    if (!next) return;
    Post(peer, *std::move(next));
  }
}

void UcxTransport::Post(Peer& peer, std::unique_ptr<SendOperation> operation) {
  DataHeader& header = operation->message.header;
  const bool eager = GoesEagerly(operation->message);
  if (eager && options_.checksum && !operation->canary) header.crc = ChecksumOf(operation->message);
  operation->list.clear();
  for (const std::span<const std::byte> piece : operation->message.pieces) {
    operation->list.push_back({.buffer = const_cast<std::byte*>(piece.data()), .length = piece.size()});
  }
  operation->header = EncodeDataHeader(header);
  const bool one = operation->list.size() == 1;
  ucp_request_param_t parameters{};
  parameters.op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA |
                            UCP_OP_ATTR_FIELD_FLAGS | UCP_OP_ATTR_FIELD_DATATYPE;
  parameters.cb.send = OnSendDone;
  parameters.user_data = operation.get();
  parameters.datatype = ucp_dt_make_contig(1);
  if (!one) parameters.datatype = UCP_DATATYPE_IOV;
  parameters.flags = eager ? UCP_AM_SEND_FLAG_EAGER : UCP_AM_SEND_FLAG_RNDV;
  const void* buffer = one ? operation->list[0].buffer : operation->list.data();
  const std::size_t count = one ? operation->list[0].length : operation->list.size();
  ++peer.outstanding;
  operation->begun = std::chrono::steady_clock::now();
  const ucs_status_ptr_t request = ucp_am_send_nbx(peer.endpoint, kAmData, operation->header.data(),
                                                   operation->header.size(), buffer, count, &parameters);
  SendOperation* raw = operation.release();  // owned by the request from here on, taken back in Finish
  if (UCS_PTR_IS_PTR(request)) return;
  worker_->Post([this, raw, status = UCS_PTR_STATUS(request)] {
    Finish(std::unique_ptr<SendOperation>(raw), FromUcx(status, "sending"));
  });
}

void UcxTransport::OnSendDone(void* request, ucs_status_t status, void* argument) {
  ucp_request_free(request);
  auto* operation = static_cast<SendOperation*>(argument);
  UcxTransport* owner = operation->owner;
  owner->worker_->Post([owner, operation, status] {
    owner->Finish(std::unique_ptr<SendOperation>(operation), FromUcx(status, "sending"));
  });
}

void UcxTransport::Finish(std::unique_ptr<SendOperation> operation, const absl::Status& status) {
  const auto found = peers_.find(operation->peer);
  BATON_CHECK(found != peers_.end());
  Peer& peer = *found->second;
  --peer.outstanding;
  if (status.ok() && operation->canary_left > 0 && !peer.failed && !peer.winding_down) {
    --operation->canary_left;
    operation->message.pieces = {canary_source_};
    operation->message.header.payload_bytes = kCanaryMessageBytes;
    peer.waiting.Push(TransferId(), std::move(operation));
  } else {
    events_->OnSent({.send = operation->handle,
                     .status = status,
                     .begun = operation->begun,
                     .ended = std::chrono::steady_clock::now()});
    if (!status.ok()) FailPeer(peer.handle, status);
  }
  OperationEnded(peer);
}

/// `peer` may be gone afterwards.
void UcxTransport::OperationEnded(Peer& peer) {
  if (peer.failed) {
    ReportDownIfDone(peer);
  } else if (peer.winding_down) {
    if (peer.outstanding == 0) FailPeer(PeerHandle(peer.handle), absl::Status(peer.why));
  } else {
    Pump(peer);
  }
}

ucs_status_t UcxTransport::OnMessage(void* argument, const void* header, std::size_t header_length,
                                     void* data, std::size_t length, const ucp_am_recv_param_t* parameters) {
  auto* self = static_cast<UcxTransport*>(argument);
  const auto decoded = DecodeDataHeader({static_cast<const std::byte*>(header), header_length});
  const bool rendezvous = (parameters->recv_attr & UCP_AM_RECV_ATTR_FLAG_RNDV) != 0;
  if (!decoded.ok() || decoded->payload_bytes != length) {
    self->dropped_.fetch_add(1);
    return UCS_OK;
  }
  return self->Message(*decoded, data, length, rendezvous);
}

ucs_status_t UcxTransport::Message(const DataHeader& header, void* data, std::size_t length,
                                   bool rendezvous) {
  auto operation = std::make_unique<ReceiveOperation>();
  operation->owner = this;
  operation->header = header;
  if (header.type == DataType::kCanary) {
    if (length > canary_sink_.size()) {
      dropped_.fetch_add(1);
      return UCS_OK;
    }
    return rendezvous ? ReceiveRendezvous(std::move(operation), data, length, canary_sink_.data()) : UCS_OK;
  }
  {
    const MutexLock lock(windows_mutex_);
    auto landing = windows_->Place(header);
    if (!landing.ok() || (rendezvous && landing->places.size() != 1)) {
      dropped_.fetch_add(1);  // unknown, stale or outside its grant: nothing is written
      return UCS_OK;
    }
    operation->landing = *std::move(landing);
    windows_->Begin(header);
  }
  if (rendezvous) {
    std::byte* target = operation->landing.places[0].data();
    return ReceiveRendezvous(std::move(operation), data, length, target);
  }
  std::span<const std::byte> left(static_cast<const std::byte*>(data), length);
  if (options_.checksum) operation->crc = BeginChecksum(header);
  for (const std::span<std::byte> place : operation->landing.places) {
    if (options_.checksum) {
      operation->crc = CopyCrc32c(left.first(place.size()), place.data(), *operation->crc);
    } else {
      std::memcpy(place.data(), left.data(), place.size());
    }
    left = left.subspan(place.size());
  }
  Placed(std::move(operation), absl::OkStatus());
  return UCS_OK;
}

ucs_status_t UcxTransport::ReceiveRendezvous(std::unique_ptr<ReceiveOperation> operation, void* data,
                                             std::size_t length, std::byte* target) {
  ucp_request_param_t parameters{};
  parameters.op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA;
  parameters.cb.recv_am = OnReceiveDone;
  ReceiveOperation* raw = operation.release();  // owned by the request, taken back in OnReceiveDone
  ++receiving_;
  parameters.user_data = raw;
  const ucs_status_ptr_t request = ucp_am_recv_data_nbx(worker_->Handle(), data, target, length, &parameters);
  if (!UCS_PTR_IS_PTR(request)) {
    std::unique_ptr<ReceiveOperation> done(raw);
    --receiving_;
    if (!done->landing.places.empty()) Placed(std::move(done), FromUcx(UCS_PTR_STATUS(request), "receiving"));
  }
  return UCS_INPROGRESS;
}

void UcxTransport::OnReceiveDone(void* request, ucs_status_t status, std::size_t, void* argument) {
  ucp_request_free(request);
  std::unique_ptr<ReceiveOperation> operation(static_cast<ReceiveOperation*>(argument));
  UcxTransport* owner = operation->owner;
  --owner->receiving_;
  if (!operation->landing.places.empty()) owner->Placed(std::move(operation), FromUcx(status, "receiving"));
}

void UcxTransport::Placed(std::unique_ptr<ReceiveOperation> operation, const absl::Status& status) {
  operation->landed = std::chrono::steady_clock::now();
  const Landing& landing = operation->landing;
  const bool work = (options_.checksum && !operation->crc) || landing.Settles();
  const bool quick = operation->header.payload_bytes < kCheckedElsewhereBytes && landing.device == nullptr;
  if (!work || !status.ok() || quick) {
    return Verify(*operation, status);
  }
  // It counts as in flight until it is verified: the window does not drain before.
  checks_->Post([this, shared = std::shared_ptr<ReceiveOperation>(std::move(operation))] {
    Verify(*shared, absl::OkStatus());
  });
}

/// On the transfer thread or the checksums'.
void UcxTransport::Verify(const ReceiveOperation& operation, const absl::Status& status) {
  const DataHeader& header = operation.header;
  Received received{.transfer = header.transfer,
                    .sequence = header.sequence,
                    .bytes = header.payload_bytes,
                    .runs = header.runs,
                    .status = status,
                    .landed = operation.landed};
  if (status.ok() && options_.checksum) {
    std::uint32_t crc = operation.crc.value_or(0);
    if (!operation.crc) {
      crc = BeginChecksum(header);
      for (const std::span<std::byte> place : operation.landing.places) crc = Crc32c(place, crc);
    }
    if (crc != header.crc) {
      checksum_failures_.fetch_add(1);
      received.status =
          Error(kDataLoss, "message {} of {} bytes: checksum differs", header.sequence, received.bytes);
    }
  }
  if (received.status.ok() && operation.landing.Settles()) received.status = operation.landing.Settle();
  events_->OnReceived(std::move(received));
  bool drained = false;
  {
    const MutexLock lock(windows_mutex_);
    drained = windows_->End(header.transfer);
  }
  if (drained) events_->OnDrained(header.transfer);
}

bool UcxTransport::CloseAll() {
  for (auto& [handle, peer] : peers_) {
    WindDown(handle, Error(kCancelled, "shutting down"));
  }
  return peers_.empty() && receiving_ == 0;
}

}  // namespace

std::unique_ptr<Transport> CreateUcxTransport(const HandoffOptions& options) {
  return std::make_unique<UcxTransport>(options);
}

}  // namespace baton::kvtransfer
