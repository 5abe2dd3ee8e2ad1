#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "tests/storm/memory.h"
#include "tests/storm/phase.h"
#include "tests/storm/storm.h"
#include "tests/support/shared_data.h"

/// What strikes the workers, and what is checked when the storm pauses.
namespace baton::storm {
namespace {

constexpr Duration kPauseBound = std::chrono::seconds(30);
constexpr long kGrowthKib = 24L << 10;
constexpr long kDescriptorsMore = 4;
constexpr std::size_t kRoguesMax = 2;

TimePoint Now() {
  return std::chrono::steady_clock::now();
}

}  // namespace

/// Each fault once, in an order of the seed's: none is left to luck.
void Storm::ShuffleDeck() {
  for (const std::string_view phase : kPhases) {
    for (const std::string_view action : kActions)
      deck_.push_back({"strike", fmt::format("{} {}", phase, action)});
  }
  for (const std::string_view visit : kVisits) deck_.push_back({"visit", std::string(visit)});
  for (int i = 0; i < 4; ++i) deck_.push_back({"inject", ""});
  for (int i = 0; i < 2; ++i) deck_.push_back({"rogue", ""});
  std::vector<std::pair<std::uint64_t, Fault>> order;
  for (Fault& fault : deck_) order.emplace_back(chance_.Bits(), std::move(fault));
  std::ranges::sort(order, {}, [](const auto& entry) { return entry.first; });
  deck_.clear();
  for (auto& [weight, fault] : order) deck_.push_back(std::move(fault));
}

void Storm::StrikeNext() {
  if (deck_.empty()) ShuffleDeck();
  if (Strike(deck_.back())) deck_.pop_back();  // else it waits for the next turn
}

/// False where no worker can take it now.
bool Storm::Strike(const Fault& fault) {
  const bool kills = fault.what.ends_with(" kill");
  const auto index = static_cast<std::size_t>(chance_.Between(0, (kills ? kMortal : kWorkers) - 1));
  Worker& worker = workers_[index];
  if (!worker.up || worker.resume_at) return false;
  if (fault.kind == "strike") {
    if (!worker.armed.empty()) return false;
    worker.armed = fault.what;
    worker.child->Tell("arm " + fault.what);
    Trace(fmt::format("worker {} will meet: {}", index + 1, fault.what));
    return true;
  }
  Trace(fmt::format("worker {} meets: {} {}", index + 1, fault.kind, fault.what));
  ++struck_[fault.kind + (fault.what.empty() ? "" : " " + fault.what)];
  if (fault.kind == "inject") {
    worker.child->Tell("inject");
  } else if (fault.kind == "visit") {
    const Worker& other = workers_[kMortal + (index + 1) % kMortal];
    stranger_.Visit(fault.what, {.port = worker.port,
                                 .incarnation = worker.incarnation,
                                 .data_address = FromHex(other.data_address),
                                 .checksum = options_.checksum});
  } else if (rogues_.size() < kRoguesMax) {
    rogues_.push_back(
        std::make_unique<Child>(std::vector<std::string>{ProgramBeside("storm_rogue"), worker.data_address,
                                                         std::to_string(chance_.Bits())},
                                folder_.Path() + "/rogue.log"));
  }
  return true;
}

/// Nothing new is asked and nothing strikes: all that was begun ends, all links heal, and everything is free.
bool Storm::Quiesce(bool first) {
  for (Worker& worker : workers_) {
    if (worker.child != nullptr) worker.child->Tell("arm nothing nothing");
    worker.armed.clear();
  }
  Trace(fmt::format("the storm pauses after {} transfers", asked_));
  if (!WaitUntil(kPauseBound, "every transfer ended", [this] { return book_.Open().empty(); })) return false;
  if (!WaitUntil(kPauseBound, "every link healed", [this] { return AllLinked() && rogues_.empty(); }))
    return false;
  return WaitUntil(kPauseBound, "every block, transfer and descriptor free again",
                   [this, first] { return CheckStats(first); });
}

/// Asks the workers once more where they are not at rest yet.
bool Storm::CheckStats(bool first) {
  bool answered = true;
  for (const Worker& worker : workers_) answered = answered && worker.stat.has_value();
  bool rests = answered;
  for (std::size_t index = 0; answered && index < kWorkers; ++index) {
    Worker& worker = workers_[index];
    const Stat& stat = *worker.stat;
    const bool bounded = worker.baseline.has_value() && index >= kMortal;
    const bool at_rest = stat.live == 0 && stat.free == Memory::kBlocks && stat.leaked == 0 &&
                         (!bounded || stat.descriptors <= worker.baseline->descriptors + kDescriptorsMore);
    if (!at_rest) {
      rests = false;
      const std::string state = fmt::format(
          "worker {} does not rest: {} live, {} of {} blocks free, {} receives leaked, {} descriptors",
          index + 1, stat.live, stat.free, Memory::kBlocks, stat.leaked, stat.descriptors);
      if (state != std::exchange(worker.unrest, state)) Trace(state);
    }
    // Late readers of a sender's blocks would find poison where the checksum found KV.
    if (stat.checksum_failures > 0) Violate(fmt::format("worker {}: a checksum differed", index + 1));
    if (!bounded) continue;
    if (options_.bound_memory && stat.resident_kib > worker.baseline->resident_kib + kGrowthKib) {
      Violate(fmt::format("worker {} has grown from {} to {} KiB", index + 1, worker.baseline->resident_kib,
                          stat.resident_kib));
    }
  }
  if (rests) {
    for (std::size_t index = 0; index < kWorkers; ++index) {
      Worker& worker = workers_[index];
      const Stat& stat = *worker.stat;
      Trace(fmt::format("worker {} rests: {} KiB, {} descriptors, {} messages dropped", index + 1,
                        stat.resident_kib, stat.descriptors, stat.dropped));
      if (first || !worker.baseline) worker.baseline = stat;
      worker.last = std::exchange(worker.stat, std::nullopt);
    }
    return true;
  }
  if (!answered && asked_stats_at_ && Now() - *asked_stats_at_ < std::chrono::seconds(1)) return false;
  if (answered && asked_stats_at_ && Now() - *asked_stats_at_ < std::chrono::milliseconds(20)) return false;
  asked_stats_at_ = Now();
  for (Worker& worker : workers_) {
    worker.stat.reset();
    worker.child->Tell("stat");
  }
  return false;
}

bool Storm::QuitAll() {
  for (std::size_t index = 0; index < kWorkers; ++index) {
    Worker& worker = workers_[index];
    worker.child->Tell("quit");
    std::optional<int> exit;
    const TimePoint deadline = Now() + kPauseBound;
    while (!exit && Now() < deadline) {
      static_cast<void>(worker.child->Read());
      exit = worker.child->Look().exit;
    }
    if (exit != 0)
      Violate(fmt::format("worker {} was told to end and ended with {}", index + 1, exit ? *exit : -1));
    worker.child.reset();
    worker.up = false;
  }
  return violations_.empty();
}

std::string Storm::Summary() const {
  const double seconds = Seconds(Now() - began_);
  std::string text = fmt::format("storm: seed {}, {} transfers in {:.1f} s, checksum {}\n", options_.seed,
                                 asked_, seconds, options_.checksum ? "on" : "off");
  for (const auto& [end, count] : book_.Ends()) text += fmt::format("  {} {}\n", end, count);
  for (const std::string_view action : kActions) {
    std::uint64_t count = 0;
    std::size_t phases = 0;
    for (const auto& [name, times] : struck_) {
      if (!name.ends_with(fmt::format(" {}", action))) continue;
      count += times;
      ++phases;
    }
    text += fmt::format("  {} {} times, at {} of {} phases\n", action, count, phases, kPhases.size());
  }
  for (const auto& [name, times] : struck_) {
    if (name.starts_with("visit") || name == "inject" || name == "rogue" || name == "streaming cut")
      text += fmt::format("  {} {}\n", name, times);
  }
  std::vector<double> heal = heal_seconds_;
  std::ranges::sort(heal);
  if (!heal.empty()) {
    text += fmt::format("  started to linked with all: p50 {:.2f} s, most {:.2f} s\n", heal[heal.size() / 2],
                        heal.back());
  }
  for (std::size_t index = kMortal; index < kWorkers; ++index) {
    const Worker& worker = workers_[index];
    if (!worker.baseline || !worker.last) continue;
    text += fmt::format("  worker {}: {} to {} KiB, {} to {} descriptors, {} messages dropped\n", index + 1,
                        worker.baseline->resident_kib, worker.last->resident_kib,
                        worker.baseline->descriptors, worker.last->descriptors, worker.last->dropped);
  }
  return text;
}

std::string Storm::Violations() const {
  std::string text;
  for (const std::string& line : trace_) text += line + "\n";
  for (std::size_t index = 0; index < kWorkers; ++index) {
    const std::string log = test::ReadFile(LogOf(index));
    text += fmt::format("--- the last of worker {}'s log\n{}\n", index + 1,
                        log.substr(log.size() > 3000 ? log.size() - 3000 : 0));
  }
  text += fmt::format("seed {}: an invariant does not hold\n", options_.seed);
  for (const std::string& what : violations_) text += "  " + what + "\n";
  return text;
}

}  // namespace baton::storm
