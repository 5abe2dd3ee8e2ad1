#include "tests/scenarios/data_network.h"

#include <algorithm>

#include "common/base/crc32c.h"
#include "common/base/error.h"

namespace baton::scenarios {

using kvtransfer::DataHeader;
using kvtransfer::PeerHandle;
using kvtransfer::SendHandle;

/// A message on the sender's side.
struct Sending {
  SendHandle handle;
  PeerHandle peer;
  kvtransfer::DataMessage message;
  std::vector<RequestKey> owners;  // of the pieces, when they were posted
  std::string bytes{};             // read so far
  std::size_t size = 0;
  std::size_t lost_from = SIZE_MAX;
  std::shared_ptr<struct Flight> flight{};
  TimePoint last_arrival{};
  TimePoint begun{};
};

/// The same on its way and at the receiver.
struct Flight {
  int from = 0;
  std::string header;
  std::string payload{};   // what has left the sender
  std::size_t length = 0;  // as the receiver is told
  bool spoiled_next = false;
  enum class State { kUnseen, kDropped, kPlacing, kDone } state = State::kUnseen;
  DataHeader decoded{};
  kvtransfer::Landing landing{};
  bool in_window = false;
};

namespace {

constexpr int kOutstandingMax = 2;

/// Flips a bit of one byte.
void Spoil(World& world, std::string& bytes) {
  if (bytes.empty()) return;
  const auto at = static_cast<std::size_t>(world.Between(0, std::ssize(bytes) - 1));
  bytes[at] = static_cast<char>(bytes[at] ^ (1 << world.Between(0, 7)));
}

}  // namespace

SimTransport::SimTransport(World& world, DataNetwork& network, int process, BlockLedger& ledger)
    : world_(world), network_(network), process_(process), ledger_(ledger) {
  network_.transports[process] = this;
}

SimTransport::~SimTransport() {
  if (network_.transports[process_] == this) network_.transports.erase(process_);
}

absl::Status SimTransport::Start(const kvtransfer::ArenaView& arena, kvtransfer::TransportEvents& events) {
  events_ = &events;
  windows_ = std::make_unique<kvtransfer::ReceiveWindows>(arena);
  return absl::OkStatus();
}

absl::StatusOr<PeerHandle> SimTransport::ConnectPeer(const std::string& address) {
  const PeerHandle handle(++last_handle_);
  peers_[handle] = {.process = std::stoi(address)};
  return handle;
}

void SimTransport::ClosePeer(PeerHandle handle) {
  const auto found = peers_.find(handle);
  if (found == peers_.end() || found->second.closed) return;
  Peer& peer = found->second;
  peer.closed = true;
  for (const auto& sending : std::exchange(peer.waiting, {})) {
    events_->OnSent({.send = sending->handle, .status = Error(kAborted, "the endpoint was closed")});
  }
  // The other side's receives end some time after, and so do ours: until then what is on its way may land.
  const int other = peer.process;
  if (network_.transports.contains(other) && !network_.blocked(process_, other)) {
    world_.After(world_.Delay(100, 40'000), other, [&network = network_, other, process = process_] {
      network.transports.at(other)->PeerGone(process);
    });
  }
  world_.After(world_.Delay(100, 40'000), process_, [this, other] { PeerGone(other); });
  if (peer.outstanding == 0) ReportDown(handle);
}

void SimTransport::ReportDown(PeerHandle handle) {
  peers_.erase(handle);
  events_->OnPeerDown(handle, Error(kAborted, "the endpoint was closed"));
}

void SimTransport::PeerGone(int process) {
  const auto receiving = receiving_;
  for (const auto& flight : receiving) {
    if (flight->from == process) Finish(flight, Error(kUnavailable, "the peer's connection is gone"));
  }
}

void SimTransport::OpenWindow(kvtransfer::ReceiveWindow window) {
  window_owners_[window.transfer] = expected_;
  open_[window.transfer] = true;
  windows_->Open(std::move(window));
}

void SimTransport::CloseWindow(TransferId transfer) {
  open_.erase(transfer);
  const bool drained = windows_->Close(transfer);
  if (drained || network_.mutation == Mutation::kDrainedAtClose) events_->OnDrained(transfer);
}

SendHandle SimTransport::Send(PeerHandle peer, kvtransfer::DataMessage message) {
  auto sending = std::make_shared<Sending>(Sending{
      .handle = SendHandle(++last_handle_), .peer = peer, .message = std::move(message), .owners = {}});
  for (const auto& piece : sending->message.pieces) {
    sending->owners.push_back(
        ledger_.Contains(piece.data()) ? ledger_.OwnerAt(piece.data()).value_or(RequestKey{}) : RequestKey{});
    sending->size += piece.size();
  }
  const auto found = peers_.find(peer);
  if (found == peers_.end() || found->second.closed) {
    events_->OnSent({.send = sending->handle, .status = Error(kUnavailable, "the peer is gone")});
    return sending->handle;
  }
  found->second.waiting.push_back(sending);
  world_.After(world_.Delay(1, 100), process_, [this, peer] { Pump(peer); });
  return sending->handle;
}

void SimTransport::CancelSends(PeerHandle handle, TransferId transfer) {
  const auto found = peers_.find(handle);
  if (found == peers_.end()) return;
  auto& waiting = found->second.waiting;
  for (const auto& sending : waiting) {
    if (sending->message.header.transfer == transfer)
      events_->OnSent({.send = sending->handle, .status = Error(kCancelled, "the transfer was aborted")});
  }
  std::erase_if(waiting, [&](const auto& s) { return s->message.header.transfer == transfer; });
}

void SimTransport::Pump(PeerHandle handle) {
  const auto found = peers_.find(handle);
  if (found == peers_.end() || found->second.closed) return;
  Peer& peer = found->second;
  while (peer.outstanding < kOutstandingMax && !peer.waiting.empty()) {
    const auto sending = peer.waiting.front();
    peer.waiting.pop_front();
    ++peer.outstanding;
    Begin(sending);
  }
}

void SimTransport::Begin(const std::shared_ptr<Sending>& sending) {
  DataHeader& header = sending->message.header;
  header.payload_bytes = static_cast<std::uint32_t>(sending->size);
  header.crc = 0;
  if (network_.checksum) {
    header.crc = kvtransfer::BeginChecksum(header);
    for (const auto& piece : sending->message.pieces) header.crc = Crc32c(piece, header.crc);
  }
  sending->begun = world_.Now();
  sending->flight = std::make_shared<Flight>(
      Flight{.from = process_, .header = EncodeDataHeader(header), .length = sending->size});
  if (world_.Chance(network_.faults.corrupt_header)) Spoil(world_, sending->flight->header);
  if (world_.Chance(network_.faults.truncate)) --sending->flight->length;
  if (world_.Chance(network_.faults.corrupt)) sending->flight->spoiled_next = true;
  if (world_.Chance(network_.faults.lose)) {
    sending->lost_from =
        static_cast<std::size_t>(world_.Between(0, static_cast<std::int64_t>(sending->size) - 1));
  }
  world_.After(world_.Delay(10, 300), process_, [this, sending] { SendPiece(sending); });
}

/// Reads and sends the next few bytes.
void SimTransport::SendPiece(const std::shared_ptr<Sending>& sending) {
  const Peer& peer = peers_.at(sending->peer);
  if (peer.closed) return Sent(sending, Error(kAborted, "the endpoint was closed"));
  const std::size_t begin = sending->bytes.size();
  const std::size_t end = std::min(sending->size, begin + static_cast<std::size_t>(world_.Between(16, 256)));
  std::size_t offset = 0;
  for (std::size_t i = 0; i < sending->message.pieces.size(); ++i) {
    const auto piece = sending->message.pieces[i];
    for (std::size_t at = std::max(begin, offset); at < std::min(end, offset + piece.size()); ++at) {
      const std::byte* address = piece.data() + (at - offset);
      if (ledger_.Contains(address) && ledger_.OwnerAt(address) != sending->owners[i]) {
        return world_.Violate(fmt::format(
            "worker {}: block {} is read for {}.{} after that gave it away", process_,
            ledger_.BlockAt(address), sending->owners[i].request.value, sending->owners[i].attempt.value));
      }
      sending->bytes.push_back(static_cast<char>(*address));
    }
    offset += piece.size();
  }
  Flight& flight = *sending->flight;
  std::string wire = sending->bytes.substr(begin);
  if (std::exchange(flight.spoiled_next, false)) Spoil(world_, wire);
  flight.payload += wire;
  if (end <= sending->lost_from) {
    sending->last_arrival = std::max(sending->last_arrival, world_.Now() + world_.Delay(20, 3'000));
    Deliver(peer.process, sending->flight, begin, end, sending->last_arrival);
  }
  if (end < sending->size) {
    world_.After(world_.Delay(5, 500), process_, [this, sending] { SendPiece(sending); });
    return;
  }
  if (world_.Chance(network_.faults.repeat)) Repeat(peer.process, *sending);
  world_.After(world_.Delay(5, 2'000), process_, [this, sending] { Sent(sending, absl::OkStatus()); });
}

void SimTransport::Sent(const std::shared_ptr<Sending>& sending, const absl::Status& status) {
  Peer& peer = peers_.at(sending->peer);
  --peer.outstanding;
  events_->OnSent(
      {.send = sending->handle, .status = status, .begun = sending->begun, .ended = world_.Now()});
  if (peer.closed) {
    if (peer.outstanding == 0) ReportDown(sending->peer);
  } else {
    Pump(sending->peer);
  }
}

/// The message comes once more, perhaps spoilt this time, perhaps much later.
void SimTransport::Repeat(int to, const Sending& sending) {
  auto flight = std::make_shared<Flight>(Flight{
      .from = process_, .header = sending.flight->header, .payload = sending.bytes, .length = sending.size});
  if (world_.Chance(300)) Spoil(world_, flight->payload);
  const TimePoint first = world_.Now() + world_.Delay(20, 30'000);
  Deliver(to, flight, 0, sending.size / 2, first);
  Deliver(to, flight, sending.size / 2, sending.size, first + world_.Delay(1, 20'000));
}

void SimTransport::Deliver(int to, const std::shared_ptr<Flight>& flight, std::size_t begin, std::size_t end,
                           TimePoint at) {
  // A misrouted message finds whatever process is there when it comes; others end with the one they were for.
  const int process = world_.Chance(network_.faults.misroute) ? World::kNobody : to;
  world_.After(at - world_.Now(), process, [&network = network_, &world = world_, to, flight, begin, end] {
    const auto target = network.transports.find(to);
    if (target == network.transports.end() || world.Stopped(to) || network.blocked(flight->from, to)) {
      return;  // the rest of the message will not come: the link is given up before it could
    }
    target->second->Arrive(flight, begin, end);
  });
}

void SimTransport::Arrive(const std::shared_ptr<Flight>& flight, std::size_t begin, std::size_t end) {
  if (flight->state == Flight::State::kUnseen && begin == 0) {
    Accept(*flight);
    if (flight->state == Flight::State::kPlacing) receiving_.push_back(flight);
  }
  if (flight->state != Flight::State::kPlacing) return;
  const auto owner = window_owners_.find(flight->decoded.transfer);
  std::size_t offset = 0;
  for (const std::span<std::byte> place : flight->landing.places) {
    for (std::size_t at = std::max(begin, offset); at < std::min(end, offset + place.size()); ++at) {
      std::byte* address = place.data() + (at - offset);
      if (!Owns(owner, address)) return ViolateAt(*flight, address);
      *address = static_cast<std::byte>(flight->payload[at]);
    }
    offset += place.size();
  }
  if (end >= flight->length) Finish(flight, absl::OkStatus());
}

/// Whether the transfer may write there: into a block of its own, or into memory where it waits.
bool SimTransport::Owns(std::map<TransferId, RequestKey>::const_iterator owner,
                        const std::byte* address) const {
  return !ledger_.Contains(address) ||
         (owner != window_owners_.end() && ledger_.OwnerAt(address) == owner->second);
}

void SimTransport::ViolateAt(const Flight& flight, const std::byte* address) {
  world_.Violate(fmt::format("worker {}: data of transfer {:x} lands in block {}, which is not its own",
                             process_, flight.decoded.transfer.low, ledger_.BlockAt(address)));
}

/// The first bytes: is it a message for us, and where does it go?
void SimTransport::Accept(Flight& flight) {
  flight.state = Flight::State::kDropped;
  const auto header =
      kvtransfer::DecodeDataHeader(std::as_bytes(std::span(flight.header.data(), flight.header.size())));
  if (!header.ok() || header->payload_bytes != flight.length || header->type != kvtransfer::DataType::kData)
    return;
  flight.decoded = *header;
  auto landing = windows_->Place(*header);
  const bool blind = network_.mutation == Mutation::kNoFence ||
                     (network_.mutation == Mutation::kRepeatedData && open_.contains(header->transfer));
  if (landing.ok()) {
    windows_->Begin(*header);
    flight.in_window = true;
    flight.landing = *std::move(landing);
  } else if (blind) {
    flight.landing.places = PlacesOf(*header);
  }
  if (!flight.landing.places.empty()) flight.state = Flight::State::kPlacing;
}

/// Without a look at any window.
std::vector<std::span<std::byte>> SimTransport::PlacesOf(const DataHeader& header) const {
  const kvtransfer::ArenaView arena = ledger_.Arena();
  const std::size_t block_bytes = arena.layout.BlockBytes();
  std::vector<std::span<std::byte>> places;
  std::size_t bytes = 0;
  for (const kvtransfer::DataRun& run : header.runs) {
    if (run.layer >= arena.layout.RankLayers() ||
        run.blocks.first.value + std::uint64_t{run.blocks.count} > 16)
      return {};
    const std::size_t offset = (std::size_t{run.layer} * 16 + run.blocks.first.value) * block_bytes;
    places.push_back({arena.region.address + offset, run.blocks.count * block_bytes});
    bytes += places.back().size();
  }
  if (bytes != header.payload_bytes) return {};
  return places;
}

void SimTransport::Finish(const std::shared_ptr<Flight>& flight, const absl::Status& status) {
  std::erase(receiving_, flight);
  flight->state = Flight::State::kDone;
  const DataHeader& header = flight->decoded;
  kvtransfer::Received received{.transfer = header.transfer,
                                .sequence = header.sequence,
                                .bytes = header.payload_bytes,
                                .runs = header.runs,
                                .status = status,
                                .landed = world_.Now()};
  if (status.ok() && network_.checksum) {
    std::uint32_t crc = kvtransfer::BeginChecksum(header);
    for (const std::span<std::byte> place : flight->landing.places) crc = Crc32c(place, crc);
    if (crc != header.crc)
      received.status = Error(kDataLoss, "message {}: checksum differs", header.sequence);
  }
  world_.Log("worker {}: DATA {} of transfer {:x} from worker {}: {}", process_, header.sequence,
             header.transfer.low, flight->from, received.status.ok() ? "in place" : Message(received.status));
  if (received.status.ok() && flight->landing.Settles()) {
    const auto owner = window_owners_.find(header.transfer);
    for (const std::span<std::byte> block : flight->landing.blocks) {
      for (const std::byte& byte : block) {
        if (!Owns(owner, &byte)) return ViolateAt(*flight, &byte);
      }
    }
    received.status = flight->landing.Settle();
  }
  events_->OnReceived(std::move(received));
  if (flight->in_window && windows_->End(header.transfer)) events_->OnDrained(header.transfer);
}

}  // namespace baton::scenarios
