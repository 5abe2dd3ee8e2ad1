#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <queue>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "common/base/clock.h"
#include "common/base/random.h"

namespace baton::scenarios {

/// What is left out of the protocol on purpose, to see that the simulation notices.
enum class Mutation {
  kNone,
  kNoQuarantine,    // a receiver's blocks are reused as soon as its transfer has failed
  kDrainedAtClose,  // a closed window counts as drained, whatever is still being received
  kNoFence,         // data is placed without a look at transfer and incarnation
  kNoChecksum,
  kUnpinned,         // a sender's blocks are reused as soon as its transfer is cancelled
  kNoCompleteness,   // COMMIT counts as if all data had come
  kNoTimers,         // clean-up runs only when there is other work
  kRepeatedData,     // a block that was received is received again
  kUnfinishedBlock,  // the block that an answer is written into is sent as if it were full
  kKeptUnpinned,     // an ended answer's blocks are reused as soon as it is given up, though they are sent
  kTakenUnfenced,    // the blocks of an answer that was to come back are reused as soon as it will not
  kPartialReturn,    // what has come of an answer that will not come back whole is cached
};

/// Virtual time, chance and a trace. Events belong to a process (or to nobody): those of a stopped process
/// wait until it goes on, those of a killed one never happen. One seed, one run.
class World {
 public:
  static constexpr int kNobody = -1;
  /// `processes` counts them; the trace is kept only where somebody will read it.
  World(std::uint64_t seed, int processes, bool tracing)
      : chance_(seed), processes_(static_cast<std::size_t>(processes)), tracing_(tracing) {}

  [[nodiscard]] TimePoint Now() const { return now_; }
  /// Runs `work` after `delay`, in the life that `process` has now.
  void After(Duration delay, int process, std::function<void()> work);
  /// Runs the next event; false where none is left.
  bool Step();

  /// SIGSTOP and SIGCONT.
  void Stop(int process) { At(process).stopped = true; }
  void Continue(int process);
  [[nodiscard]] bool Stopped(int process) const {
    return processes_[static_cast<std::size_t>(process)].stopped;
  }
  /// A process begins: until then, and after a kill -9, nothing happens in it.
  void Begin(int process) { At(process).alive = true; }
  void Kill(int process);

  /// A whole number in [low, high].
  std::int64_t Between(std::int64_t low, std::int64_t high) { return chance_.Between(low, high); }
  Duration Delay(std::int64_t low_us, std::int64_t high_us) {
    return std::chrono::microseconds(Between(low_us, high_us));
  }
  /// True `per_mille` times of 1000.
  bool Chance(std::int64_t per_mille) { return per_mille > 0 && Between(0, 999) < per_mille; }
  std::uint64_t Bits() { return chance_.Bits(); }

  /// An invariant is broken: the first is kept, and ends the run.
  void Violate(std::string what) {
    if (!violation_) violation_ = std::move(what);
  }
  [[nodiscard]] const std::optional<std::string>& Violation() const { return violation_; }

  template <typename... Args>
  void Log(fmt::format_string<Args...> format, Args&&... args) {
    if (tracing_) Write(fmt::format(format, std::forward<Args>(args)...));
  }
  [[nodiscard]] const std::vector<std::string>& Trace() const { return trace_; }

 private:
  struct Event {
    TimePoint at;
    std::uint64_t order;
    int process;
    std::uint32_t life;
    std::function<void()> work;
  };
  struct Later {
    bool operator()(const Event& a, const Event& b) const {
      return a.at != b.at ? a.at > b.at : a.order > b.order;
    }
  };
  struct Process {
    bool alive = false;
    bool stopped = false;
    std::uint32_t life = 0;
    std::vector<Event> waiting{};  // came due while it was stopped
  };
  Process& At(int process) { return processes_[static_cast<std::size_t>(process)]; }
  void Write(const std::string& text);

  RandomStream chance_;
  std::vector<Process> processes_;
  const bool tracing_;
  TimePoint now_{};
  std::uint64_t order_ = 0;
  std::priority_queue<Event, std::vector<Event>, Later> events_;
  std::optional<std::string> violation_;
  std::vector<std::string> trace_;
};

}  // namespace baton::scenarios
