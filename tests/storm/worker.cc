#include "tests/storm/worker.h"

#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <future>

#include "common/base/check.h"
#include "common/base/error.h"
#include "kvtransfer/handoff_with.h"
#include "kvtransfer/ucx/broken_peer.h"
#include "tests/storm/phase.h"

namespace baton::storm {
namespace {

using kvtransfer::TransferEnd;

/// A link that is being made is struck at one of UCX's first calls to sockets: so many make it.
constexpr int kLinkingCalls = 40;

kvtransfer::HandoffOptions HandoffOptionsOf(const Worker::Options& options) {
  kvtransfer::HandoffOptions result;
  result.listen = {.host = "127.0.0.1", .port = 0};
  result.cluster_key = "key of the storm";
  result.cluster_id = "storm";
  result.net_device = "lo";
  result.checksum = options.checksum;
  // Shorter than in production, so that a storm sees many of them pass.
  result.ping_interval = std::chrono::milliseconds(150);
  result.lease = std::chrono::seconds(2);
  result.transfer_deadline = std::chrono::seconds(3);
  result.drain_deadline = std::chrono::milliseconds(500);
  result.layer_wise_bytes_min = 128U << 10;  // both ways of sending
  if (options.id.value % 2 == 0) {
    result.credit_bytes = 1U << 20;
    result.credit_bytes_least = 512U << 10;  // the longest message
  }
  return result;
}

RequestKey ReadKey(std::istringstream& words) {
  RequestKey key;
  words >> key.request.value >> key.attempt.value;
  return key;
}

std::string Words(RequestKey key) {
  return fmt::format("{} {}", key.request.value, key.attempt.value);
}

long ResidentKib() {
  std::ifstream file("/proc/self/statm");
  long pages = 0;
  long resident = 0;
  file >> pages >> resident;
  return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

long Descriptors() {
  const std::filesystem::directory_iterator entries("/proc/self/fd");
  return std::distance(begin(entries), end(entries)) - 1;  // without the one that looks
}

}  // namespace

Worker::Worker(const Options& options, int out)
    : options_(options),
      out_(out),
      chance_(options.seed),
      memory_([this](const std::string& what) { Report("wrong " + what); }) {
  kvtransfer::ucx::BrokenPeer::SetProbe([this](const char*, int) {
    if (calls_left_.load() > 0 && calls_left_.fetch_sub(1) == 1) Reached("linking", {});
  });
  DoOnLoop([this] {
    const kvtransfer::HandoffOptions handoff_options = HandoffOptionsOf(options_);
    TappedTransport::Hooks hooks{
        .on_post =
            [this](const std::byte* source) {
              const RequestKey key = memory_.OwnerAt(source).value_or(RequestKey{});
              Reached("posting", key);
              return key;
            },
        .on_sent = [this] { Reached("sent", {}); },
        .on_streaming = [this] { StopIfCut(); },
        .on_placed =
            [this](BlockIndex block) {
              if (Strikes("placing"))
                loop_.Loop().Post(
                    [this, block] { Abort("placing", memory_.OwnerOf(block).value_or(RequestKey{})); });
            },
        .on_connect = [this] { calls_left_ = static_cast<int>(chance_.Between(1, kLinkingCalls)); },
        .on_close_window = [this] { Reached("closing", {}); }};
    auto tapped =
        std::make_unique<TappedTransport>(kvtransfer::CreateUcxTransport(handoff_options), std::move(hooks));
    transport_ = tapped.get();
    auto made = kvtransfer::CreateHandoffWith(
        std::move(tapped), loop_.Loop(), handoff_options, memory_.Arena(), incarnation_, metrics_,
        {.on_peer = [this](const kvtransfer::PeerStatus& status) {
          Report(fmt::format("link {} {}", status.id, status.ready ? 1 : 0));
        }});
    BATON_CHECK(made.ok(), "{}", Message(made.status()));
    handoff_ = *std::move(made);
    handoff_->SetSelf(options_.id);
    std::string address;
    for (const char byte : transport_->LocalAddress())
      address += fmt::format("{:02x}", static_cast<unsigned char>(byte));
    Report(fmt::format("up {} {} {}", handoff_->Port(), incarnation_.value, address));
  });
}

Worker::~Worker() {
  DoOnLoop([this] {
    handoff_.reset();
    sending_.clear();
    receiving_.clear();
  });
}

void Worker::DoOnLoop(std::function<void()> work) {
  std::promise<void> done;
  loop_.Loop().Post([&] {
    work();
    done.set_value();
  });
  done.get_future().wait();
}

void Worker::Report(const std::string& line) {
  const std::string text = line + "\n";
  std::size_t written = 0;
  while (written < text.size()) {
    const ssize_t count = write(out_, text.data() + written, text.size() - written);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) _exit(3);  // the parent is gone
    written += static_cast<std::size_t>(count);
  }
}

bool Worker::Command(const std::string& line) {
  bool goes_on = true;
  DoOnLoop([&] {
    std::istringstream words(line);
    std::string verb;
    words >> verb;
    if (verb == "peers") return SetPeers(words);
    if (verb == "receive") return Receive(words);
    if (verb == "send") return Send(words);
    if (verb == "abort-receive") return handoff_->AbortReceive(ReadKey(words));
    if (verb == "abort-send") return handoff_->AbortSend(ReadKey(words));
    if (verb == "stat") return Stat();
    if (verb == "arm") return Arm(words);
    if (verb == "cut") return cut_.store(true);
    if (verb == "inject") return Report(fmt::format("injected {}", transport_->Inject(8, chance_)));
    BATON_CHECK(verb == "quit", "unknown command '{}'", line);
    goes_on = false;
  });
  return goes_on;
}

void Worker::SetPeers(std::istringstream& words) {
  std::vector<kvtransfer::PeerInfo> peers;
  kvtransfer::PeerInfo peer;
  peer.name = "peer";
  peer.address.host = "127.0.0.1";
  while (words >> peer.id.value >> peer.incarnation.value >> peer.address.port >> peer.dial)
    peers.push_back(peer);
  handoff_->SetPeers(peers);
}

std::optional<std::vector<BlockIndex>> Worker::TakeBlocks(std::size_t count, RequestKey key,
                                                          std::string_view pace) {
  if (pace == "burst") return memory_.TakeRun(count, key);
  return memory_.Take(count, key, chance_.Between(0, 2) == 0);
}

void Worker::Receive(std::istringstream& words) {
  const RequestKey key = ReadKey(words);
  kvtransfer::ReceiveRequest request{.key = key};
  std::size_t count = 0;
  std::string pace;
  words >> request.sender.value >> request.sender_incarnation.value >> count >> pace;
  const auto taken = TakeBlocks(count, key, pace);
  if (!taken) return Report(fmt::format("receive-refused {} no blocks", Words(key)));
  request.blocks = *taken;
  request.prompt_tokens = static_cast<std::int64_t>(count) * Memory::Layout().block_tokens - 1;
  const absl::Status begun = handoff_->Receive(
      request,
      {.on_committed = [this, key](const kvtransfer::CommitInfo&) { Committed(key); },
       .on_failed =
           [this, key](TransferEnd end, const absl::Status& why) {
             ++receiving_.at(key).reports;
             Report(fmt::format("receive-failed {} {} {}", Words(key), kvtransfer::Name(end), Message(why)));
           },
       .on_released =
           [this, key] {
             const auto found = receiving_.find(key);
             if (found == receiving_.end() || found->second.reports != 1 || found->second.released)
               return Report(fmt::format("wrong released {} out of order", Words(key)));
             found->second.released = true;
             Report(fmt::format("receive-released {}", Words(key)));
             Reached("released", key);
             GiveBackIfDone(key);
           }});
  if (!begun.ok()) {
    memory_.Give(*taken, key);
    return Report(fmt::format("receive-refused {} {}", Words(key), Message(begun)));
  }
  receiving_[key].blocks = *taken;
  Reached("reserved", key);
}

void Worker::Committed(RequestKey key) {
  Receiving& receiving = receiving_.at(key);
  ++receiving.reports;
  receiving.committed = receiving.decoding = true;
  memory_.CheckHolds(key, receiving.blocks, "KV committed");
  Report(fmt::format("receive-committed {}", Words(key)));
  Reached("received", key);
  receiving.decode = loop_.Loop().After(std::chrono::milliseconds(chance_.Between(0, 20)), [this, key] {
    Receiving& decoded = receiving_.at(key);
    memory_.CheckHolds(key, decoded.blocks, "KV decoded from");
    decoded.decoding = false;
    loop_.Loop().Post([this, key] { GiveBackIfDone(key); });
  });
}

void Worker::GiveBackIfDone(RequestKey key) {
  const auto found = receiving_.find(key);
  if (found == receiving_.end() || !found->second.released || found->second.decoding) return;
  memory_.Give(found->second.blocks, key);
  receiving_.erase(found);
}

void Worker::Send(std::istringstream& words) {
  const RequestKey key = ReadKey(words);
  kvtransfer::SendRequest request{.key = key};
  std::size_t count = 0;
  std::string pace;
  words >> request.receiver.value >> request.receiver_incarnation.value >> count >> pace;
  const auto taken = TakeBlocks(count, key, pace);
  if (!taken) return Report(fmt::format("send-refused {} no blocks", Words(key)));
  request.blocks = *taken;
  request.prompt_tokens = static_cast<std::int64_t>(count) * Memory::Layout().block_tokens - 1;
  const absl::Status begun = handoff_->Send(
      request, {.on_granted = [this, key] { Reached("granted", key); },
                .on_ended = [this, key](TransferEnd end, const absl::Status& why,
                                        const kvtransfer::TransferStats&) { EndSend(key, end, why); }});
  if (!begun.ok()) {
    memory_.Give(*taken, key);
    return Report(fmt::format("send-refused {} {}", Words(key), Message(begun)));
  }
  sending_[key] = {.blocks = *taken, .tokens = request.prompt_tokens, .pace = pace, .layers = 0, .next = {}};
  Reached("asked", key);
  handoff_->ProducerStarted(key);
  ComputeNext(key);
}

void Worker::ComputeNext(RequestKey key) {
  const auto found = sending_.find(key);
  if (found == sending_.end()) return;
  Sending& sending = found->second;
  memory_.Compute(key, sending.layers, sending.blocks);
  handoff_->LayerReady(key, sending.layers, 0, sending.tokens);
  ++sending.layers;
  if (sending.layers == 2) Reached("computing", key);
  if (sending.layers == Memory::kLayers) {
    handoff_->Commit(key, {.first_token = 7, .prompt_tokens = sending.tokens});
    return Reached("committed", key);
  }
  if (sending.pace == "stall") return;
  if (sending.pace == "burst") return ComputeNext(key);
  sending.next = loop_.Loop().After(std::chrono::microseconds(chance_.Between(0, 3000)),
                                    [this, key] { loop_.Loop().Post([this, key] { ComputeNext(key); }); });
}

void Worker::EndSend(RequestKey key, TransferEnd end, const absl::Status& why) {
  const auto found = sending_.find(key);
  if (found == sending_.end()) return Report(fmt::format("wrong ended {} twice", Words(key)));
  Reached("ended", key);
  transport_->Ended(key);
  memory_.Give(found->second.blocks, key);
  sending_.erase(found);
  Report(fmt::format("send-ended {} {} {}", Words(key), kvtransfer::Name(end), Message(why)));
}

void Worker::Stat() {
  memory_.CheckFree();
  const kvtransfer::TransportCounters counters = transport_->Counters();
  Report(fmt::format("stat {} {} {} {} {} {} {}", handoff_->LiveTransfers(), memory_.Free(), ResidentKib(),
                     Descriptors(), counters.dropped_messages, counters.checksum_failures,
                     counters.leaked_receives));
}

void Worker::Arm(std::istringstream& words) {
  std::string phase;
  std::string action;
  words >> phase >> action;
  armed_ = -1;
  for (std::size_t p = 0; p < kPhases.size(); ++p) {
    for (std::size_t a = 0; a < kActions.size(); ++a) {
      if (kPhases[p] == phase && kActions[a] == action) armed_ = static_cast<int>(p * kActions.size() + a);
    }
  }
}

/// Whether the armed fault is of this phase; it is used up. Kills and stops at once. Any thread.
bool Worker::Strikes(std::string_view phase) {
  int armed = armed_.load();
  if (armed < 0 || kPhases[static_cast<std::size_t>(armed) / kActions.size()] != phase ||
      !armed_.compare_exchange_strong(armed, -1)) {
    return false;
  }
  const std::string_view action = kActions[static_cast<std::size_t>(armed) % kActions.size()];
  Report(fmt::format("struck {} {}", phase, action));
  if (action == "abort") return true;
  kill(getpid(), action == "kill" ? SIGKILL : SIGSTOP);
  return false;
}

/// At once, on the thread that says that one message has gone while another is on its way.
void Worker::StopIfCut() {
  if (!cut_.exchange(false)) return;
  Report("struck streaming cut");
  kill(getpid(), SIGSTOP);
}

void Worker::Reached(std::string_view phase, RequestKey key) {
  if (!Strikes(phase)) return;
  // Not from inside a call of the hand-off.
  loop_.Loop().Post([this, phase, key] { Abort(phase, key); });
}

void Worker::Abort(std::string_view phase, RequestKey key) {
  if (key.request.value == 0) {  // the phase does not know: any that is under way
    if (phase == "sent" && !sending_.empty()) key = sending_.begin()->first;
    if (phase != "sent" && !receiving_.empty()) key = receiving_.begin()->first;
  }
  handoff_->AbortSend(key);
  handoff_->AbortReceive(key);
}

}  // namespace baton::storm
