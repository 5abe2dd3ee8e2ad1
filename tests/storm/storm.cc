#include "tests/storm/storm.h"

#include <poll.h>

#include <algorithm>
#include <csignal>
#include <sstream>

#include <fmt/format.h>

#include "tests/storm/memory.h"
#include "tests/storm/phase.h"
#include "tests/support/shared_data.h"

namespace baton::storm {
namespace {

constexpr std::size_t kOpenMax = 16;                       // transfers at a time
constexpr std::size_t kTraceKept = 300;                    // lines
constexpr std::uint64_t kEpoch = 2500;                     // transfers between two checks of everything
constexpr std::uint64_t kTransfersACut = 20;               // one sender that stops amid a message to so many
constexpr Duration kEndBound = std::chrono::seconds(30);   // deadline 3 s, drain 0.5 s, stops, a busy machine
constexpr Duration kHealBound = std::chrono::seconds(30);  // aim: 2 s, on a machine with nothing else to do

TimePoint Now() {
  return std::chrono::steady_clock::now();
}

}  // namespace

Storm::Storm(const StormOptions& options)
    : options_(options),
      chance_(options.seed),
      began_(Now()),
      book_([this](const std::string& what) { Violate(what); }),
      stranger_(options.seed) {
  if (!options_.trace_file.empty()) trace_out_.open(options_.trace_file);
  book_.on_refused = [this](RequestKey key, Book::Side side) {
    aborts_.emplace(
        Now(), std::pair(key, side == Book::Side::kSender ? Book::Side::kReceiver : Book::Side::kSender));
  };
}

Storm::~Storm() = default;

void Storm::Trace(const std::string& line) {
  const std::string text = fmt::format("{:9.3f} {}", Seconds(Now() - began_), line);
  if (trace_out_.is_open()) trace_out_ << text << '\n';
  trace_.push_back(text);
  if (trace_.size() > kTraceKept) trace_.pop_front();
}

void Storm::Violate(const std::string& what) {
  Trace("VIOLATED: " + what);
  violations_.push_back(what);
}

bool Storm::Run() {
  for (std::size_t worker = 0; worker < kWorkers; ++worker) Start(worker);
  if (!WaitUntil(kHealBound, "all workers linked at the start", [this] { return AllLinked(); })) return false;
  bool first = true;
  while (asked_ < options_.transfers) {
    // The first check is the baseline of memory and descriptors: a tenth of the storm has passed by then.
    const std::uint64_t epoch =
        std::min(asked_ + std::min(kEpoch, options_.transfers / 4), options_.transfers);
    while (asked_ < epoch && violations_.empty()) {
      Step();
      AskNext();
    }
    if (!violations_.empty() || !Quiesce(first)) return false;
    first = false;
  }
  if (stranger_.Believed() == 0 && struck_["visit hostile"] > 0)
    Violate("no hostile visit was believed: its HELLO is not that of the protocol any more");
  if (struck_["streaming cut"] == 0)
    Violate("no sender was stopped amid a message: late writes were not forced");
  const auto committed = book_.Ends().find("receiver acked");
  if (committed == book_.Ends().end() || committed->second * 2 < asked_)
    Violate("fewer than half of the transfers were committed: the storm tests nothing");
  return QuitAll() && violations_.empty();
}

void Storm::Start(std::size_t index) {
  Worker& worker = workers_[index];
  ++worker.generation;
  worker.up = worker.killing = false;
  worker.armed.clear();
  worker.links.clear();
  worker.injected = 0;
  worker.restart_at.reset();
  worker.child = std::make_unique<Child>(
      std::vector<std::string>{ProgramBeside("storm_worker"), std::to_string(index + 1),
                               options_.checksum ? "1" : "0", std::to_string(chance_.Bits())},
      LogOf(index));
  Trace(fmt::format("worker {} starts, process {}", index + 1, worker.child->Id()));
  // Connections are made now: the one moment at which a worker's death or sleep meets half-made ones.
  if (worker.generation > 1 && chance_.Between(0, 3) == 0) {
    worker.armed = chance_.Between(0, 2) == 0 ? "linking kill" : "linking stop";
    worker.child->Tell("arm " + worker.armed);
  }
}

/// Whoever is up is named to all; the lower id dials.
void Storm::TellPeers() {
  for (std::size_t to = 0; to < kWorkers; ++to) {
    if (!workers_[to].up) continue;
    std::string line = fmt::format("peers {} {} 1 0", kHostile, kHostileIncarnation);
    for (std::size_t peer = 0; peer < kWorkers; ++peer) {
      const Worker& other = workers_[peer];
      if (peer != to && other.up)
        line += fmt::format(" {} {} {} {}", Id(peer), other.incarnation, other.port, to < peer ? 1 : 0);
    }
    workers_[to].child->Tell(line);
  }
}

void Storm::Step() {
  std::vector<pollfd> descriptors;
  for (const Worker& worker : workers_) {
    const bool open = worker.child != nullptr && !worker.child->ChannelEnded();
    descriptors.push_back({.fd = open ? worker.child->Channel() : -1, .events = POLLIN, .revents = 0});
  }
  poll(descriptors.data(), descriptors.size(), book_.Open().size() < kOpenMax ? 1 : 10);
  for (std::size_t worker = 0; worker < kWorkers; ++worker) Look(worker);
  std::erase_if(rogues_, [this](const std::unique_ptr<Child>& rogue) {
    const Child::Change change = rogue->Look();
    if (change.exit && *change.exit != 0) Violate(fmt::format("the rogue ended with {}", *change.exit));
    return change.exit.has_value();
  });
  Timers();
}

bool Storm::WaitUntil(Duration limit, const std::string& what, const std::function<bool()>& condition) {
  const TimePoint deadline = Now() + limit;
  while (!condition()) {
    if (!violations_.empty()) return false;
    if (Now() >= deadline) {
      Violate(fmt::format("not within {:.0f} s: {}", Seconds(limit), what));
      return false;
    }
    Step();
  }
  return true;
}

void Storm::Look(std::size_t index) {
  Worker& worker = workers_[index];
  if (worker.child == nullptr) return;
  const Child::Change change = worker.child->Look();
  for (const std::string& line : worker.child->Read()) OnLine(index, line);
  if (change.stopped) {
    const Duration stops[] = {std::chrono::milliseconds(30), std::chrono::milliseconds(200),
                              std::chrono::milliseconds(900)};  // the last is longer than three pings
    worker.resume_at =
        Now() + (std::exchange(worker.cut_off, false) ? stops[1] : stops[chance_.Between(0, 2)]);
    Trace(fmt::format("worker {} is stopped", index + 1));
  }
  if (change.exit) Died(index, *change.exit);
}

std::string Storm::LogOf(std::size_t worker) const {
  return fmt::format("{}/worker{}.log", folder_.Path(), worker + 1);
}

void Storm::Died(std::size_t index, int exit) {
  Worker& worker = workers_[index];
  Trace(fmt::format("worker {} ended with {}", index + 1, exit));
  if (!worker.killing || exit != 128 + SIGKILL)
    Violate(fmt::format("worker {} ended with {}, nobody has killed it", index + 1, exit));
  book_.OnDeath({.worker = index, .generation = worker.generation});
  worker.child.reset();
  worker.up = false;
  worker.resume_at.reset();
  for (Worker& other : workers_) other.links.erase(Id(index));
  if (chance_.Between(0, 1) == 0) TellPeers();  // else its peers notice by themselves
  worker.restart_at = Now() + std::chrono::milliseconds(chance_.Between(0, 300));
}

void Storm::OnLine(std::size_t index, const std::string& line) {
  Worker& worker = workers_[index];
  std::istringstream words(line);
  std::string verb;
  words >> verb;
  if (verb != "up" && verb != "stat") Trace(fmt::format("worker {}: {}", index + 1, line));
  if (verb == "up") {
    words >> worker.port >> worker.incarnation.value >> worker.data_address;
    worker.up = true;
    worker.healing_since = Now();
    return TellPeers();
  }
  if (verb == "link") {
    std::uint32_t peer = 0;
    bool ready = false;
    words >> peer >> ready;
    worker.links[WorkerId(peer)] = ready;
    for (std::size_t i = 0; i < kWorkers; ++i) {
      if (!workers_[i].healing_since) continue;
      bool linked = true;
      for (std::size_t j = 0; j < kWorkers; ++j)
        linked = linked && (i == j || !workers_[j].up || Linked(i, j));
      if (!linked) continue;
      heal_seconds_.push_back(Seconds(Now() - *workers_[i].healing_since));
      workers_[i].healing_since.reset();
    }
    return;
  }
  if (verb == "struck") {
    std::string phase;
    std::string action;
    words >> phase >> action;
    ++struck_[phase + " " + action];
    if (action == "cut") return CutOff(index);
    worker.armed.clear();
    if (action == "kill") worker.killing = true;
    return;
  }
  if (verb == "stat") {
    Stat stat;
    words >> stat.live >> stat.free >> stat.resident_kib >> stat.descriptors >> stat.dropped >>
        stat.checksum_failures >> stat.leaked;
    worker.stat = stat;
    return;
  }
  if (verb == "injected") {
    int count = 0;
    words >> count;
    worker.injected += count;
    return;
  }
  if (verb == "wrong") return Violate(fmt::format("worker {}: {}", index + 1, line.substr(6)));
  if (!book_.OnLine({.worker = index, .generation = worker.generation}, line))
    Violate(fmt::format("worker {} says '{}'", index + 1, line));
}

/// A sender stands still amid a message, half of which is in the network; whoever receives gives up, and
/// others take the blocks as soon as they are free. When it goes on, before anybody misses it, the other half
/// comes.
void Storm::CutOff(std::size_t index) {
  workers_[index].cut_off = true;
  for (const auto& [key, transfer] : book_.Open()) {
    if (transfer.process[0] == ProcessName{.worker = index, .generation = workers_[index].generation})
      aborts_.emplace(Now(), std::pair(key, Book::Side::kReceiver));
  }
}

void Storm::Timers() {
  const TimePoint now = Now();
  for (std::size_t index = 0; index < kWorkers; ++index) {
    Worker& worker = workers_[index];
    if (worker.resume_at && now >= *worker.resume_at) {
      worker.resume_at.reset();
      worker.child->Signal(SIGCONT);
      Trace(fmt::format("worker {} goes on", index + 1));
    }
    if (worker.restart_at && now >= *worker.restart_at) Start(index);
  }
  while (!aborts_.empty() && aborts_.begin()->first <= now) {
    const auto [key, side] = aborts_.begin()->second;
    aborts_.erase(aborts_.begin());
    const auto found = book_.Open().find(key);
    if (found == book_.Open().end()) continue;
    const ProcessName& process = found->second.process[static_cast<std::size_t>(side)];
    const Worker& worker = workers_[process.worker];
    if (worker.child == nullptr || worker.generation != process.generation) continue;
    worker.child->Tell(fmt::format("{} {} {}", side == Book::Side::kSender ? "abort-send" : "abort-receive",
                                   key.request.value, key.attempt.value));
  }
  for (const auto& [key, transfer] : book_.Open()) {
    if (now - transfer.asked > kEndBound) {
      return Violate(fmt::format("{} from worker {} ('{}') to worker {} ('{}') has not ended within {:.0f} s",
                                 key, transfer.process[0].worker + 1, transfer.end[0],
                                 transfer.process[1].worker + 1, transfer.end[1], Seconds(kEndBound)));
    }
  }
}

bool Storm::Linked(std::size_t a, std::size_t b) const {
  const auto ready = [this](std::size_t from, std::size_t to) {
    const auto link = workers_[from].links.find(Id(to));
    return workers_[from].up && link != workers_[from].links.end() && link->second;
  };
  return ready(a, b) && ready(b, a);
}

bool Storm::AllLinked() const {
  for (std::size_t a = 0; a < kWorkers; ++a) {
    for (std::size_t b = 0; b < a; ++b) {
      if (!Linked(a, b)) return false;
    }
  }
  return true;
}

void Storm::AskNext() {
  if (book_.Open().size() >= kOpenMax) return;
  const auto from = static_cast<std::size_t>(chance_.Between(0, kWorkers - 1));
  const auto to = static_cast<std::size_t>(chance_.Between(0, kWorkers - 1));
  // A link that its two ends have not both reported ready is asked now and then: it must refuse, or fail.
  if (from == to || !workers_[from].up || !workers_[to].up ||
      (!Linked(from, to) && chance_.Between(0, 300) > 0))
    return;
  const std::int64_t size = chance_.Between(0, 99);
  const std::int64_t blocks = size < 60   ? chance_.Between(1, 8)
                              : size < 85 ? chance_.Between(9, 32)
                                          : chance_.Between(33, 64);
  Ask(from, to, blocks, chance_.Between(0, 399) == 0 ? "stall" : "plain");
  ++asked_;
  if (asked_ % 100 == 0) AskStale();
  if (asked_ % kTransfersACut == 0) AskToBeCut();
  if (asked_ % options_.transfers_a_fault == 0) StrikeNext();
}

/// A large prompt whose sender is going to stop amid it.
void Storm::AskToBeCut() {
  const auto from = static_cast<std::size_t>(chance_.Between(0, kWorkers - 1));
  const std::size_t to = (from + static_cast<std::size_t>(chance_.Between(1, kWorkers - 1))) % kWorkers;
  if (!workers_[from].up || !Linked(from, to) || workers_[from].resume_at) return;
  workers_[from].child->Tell("cut");
  Ask(from, to, /*blocks=*/40, "burst");
}

void Storm::Ask(std::size_t from, std::size_t to, std::int64_t blocks, const std::string& pace) {
  const RequestKey key{.request = RequestId(++next_request_),
                       .attempt = Attempt(static_cast<std::uint32_t>(chance_.Between(1, 3)))};
  book_.Ask(key, {.process = {{.worker = from, .generation = workers_[from].generation},
                              {.worker = to, .generation = workers_[to].generation}},
                  .open = {true, true},
                  .end = {},
                  .must_be_refused = false,
                  .asked = Now()});
  Trace(fmt::format("{} of {} blocks from worker {} to worker {}, {}", key, blocks, from + 1, to + 1, pace));
  const auto receive = [&] {
    workers_[to].child->Tell(fmt::format("receive {} {} {} {} {} {}", key.request, key.attempt, Id(from),
                                         workers_[from].incarnation, blocks, pace));
  };
  const bool receive_first = chance_.Between(0, 1) == 0;
  if (receive_first) receive();
  workers_[from].child->Tell(fmt::format("send {} {} {} {} {} {}", key.request, key.attempt, Id(to),
                                         workers_[to].incarnation, blocks, pace));
  if (!receive_first) receive();
  if (pace != "burst" && chance_.Between(0, blocks > 32 ? 2 : 9) == 0) {
    aborts_.emplace(Now() + std::chrono::microseconds(chance_.Between(0, 20000)),
                    std::pair(key, chance_.Between(0, 1) == 0 ? Book::Side::kSender : Book::Side::kReceiver));
  }
}

/// An attempt that has ended is asked for again, of the same process: it must be refused.
void Storm::AskStale() {
  if (book_.Recent().empty()) return;
  const auto& [key, old] = book_.Recent().back();
  const bool sends = chance_.Between(0, 1) == 0;
  const ProcessName process = old.process[sends ? 0 : 1];
  const std::size_t peer = old.process[sends ? 1 : 0].worker;
  if (old.end[sends ? 0 : 1] == "refused" || old.end[sends ? 0 : 1] == "died" || book_.Open().contains(key) ||
      workers_[process.worker].generation != process.generation || !workers_[process.worker].up) {
    return;
  }
  book_.Ask(key, {.process = {process, process},
                  .open = {sends, !sends},
                  .end = {sends ? "" : "not asked", sends ? "not asked" : ""},
                  .must_be_refused = true,
                  .asked = Now()});
  Trace(fmt::format("{} once more, to worker {}", key, process.worker + 1));
  workers_[process.worker].child->Tell(fmt::format("{} {} {} {} {} 1 plain", sends ? "send" : "receive",
                                                   key.request, key.attempt, Id(peer),
                                                   workers_[peer].incarnation));
}

}  // namespace baton::storm
