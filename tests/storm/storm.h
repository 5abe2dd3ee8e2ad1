#pragma once

#include <deque>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/base/random.h"
#include "tests/storm/book.h"
#include "tests/storm/child.h"
#include "tests/storm/stranger.h"
#include "tests/support/temporary_folder.h"

namespace baton::storm {

struct StormOptions {
  std::uint64_t transfers = 1000;
  std::uint64_t seed = 1;
  bool checksum = true;
  std::uint64_t transfers_a_fault = 20;  // one fault to so many transfers
  bool bound_memory = true;              // not under a sanitizer, which keeps what is freed
  std::string trace_file;                // "" = none; the last lines are printed where an invariant breaks
};

/// Four workers in processes of their own, all each other's peers, and their parent: the router that asks for
/// transfers, the hand that strikes, and the judge. Workers 1 and 2 are killed and started again, 3 and 4
/// live through it all. Seed and options fix what is asked and struck; the processes' pace is the machine's.
class Storm {
 public:
  explicit Storm(const StormOptions& options);
  ~Storm();
  /// True where every invariant holds.
  [[nodiscard]] bool Run();
  /// What happened, in words: ends, faults, growth.
  [[nodiscard]] std::string Summary() const;
  /// What broke, and the last of the trace and of the workers' logs.
  [[nodiscard]] std::string Violations() const;

 private:
  static constexpr std::size_t kWorkers = 4;
  static constexpr std::size_t kMortal = 2;  // the first of them

  struct Stat {
    long live = 0, free = 0, resident_kib = 0, descriptors = 0, dropped = 0, checksum_failures = 0,
         leaked = 0;
  };
  struct Worker {
    std::unique_ptr<Child> child;
    int generation = 0;
    bool up = false;  // has said where it listens
    std::uint16_t port = 0;
    Incarnation incarnation;
    std::string data_address;
    std::map<WorkerId, bool> links;
    std::string armed;   // "phase action", "" = nothing
    std::string unrest;  // why it did not rest when it was last asked
    bool killing = false;
    bool cut_off = false;  // about to stop, and its receivers give up what it sends
    std::optional<TimePoint> resume_at;
    std::optional<TimePoint> restart_at;
    std::optional<TimePoint> healing_since;
    std::optional<Stat> stat;
    std::optional<Stat> baseline;  // at the first pause
    std::optional<Stat> last;      // at the last one
    int injected = 0;
  };
  struct Fault {
    std::string kind;  // "strike", "visit", "rogue", "inject"
    std::string what;
  };

  static WorkerId Id(std::size_t worker) { return WorkerId(static_cast<std::uint32_t>(worker) + 1); }
  void Start(std::size_t worker);
  void TellPeers();
  void Step();
  bool WaitUntil(Duration limit, const std::string& what, const std::function<bool()>& condition);
  void OnLine(std::size_t worker, const std::string& line);
  void Look(std::size_t worker);
  void Died(std::size_t worker, int exit);
  std::string LogOf(std::size_t worker) const;
  void CutOff(std::size_t worker);
  void Timers();
  void AskNext();
  void Ask(std::size_t from, std::size_t to, std::int64_t blocks, const std::string& pace);
  void AskToBeCut();
  void AskStale();
  void StrikeNext();
  bool Strike(const Fault& fault);
  void ShuffleDeck();
  bool Linked(std::size_t a, std::size_t b) const;
  bool AllLinked() const;
  bool Quiesce(bool first);
  bool CheckStats(bool first);
  bool QuitAll();
  void Trace(const std::string& line);
  void Violate(const std::string& what);

  const StormOptions options_;
  RandomStream chance_;
  test::TemporaryFolder folder_;
  std::ofstream trace_out_;
  std::deque<std::string> trace_;
  std::vector<std::string> violations_;
  const TimePoint began_;
  Book book_;
  Stranger stranger_;
  std::vector<Worker> workers_{kWorkers};
  std::vector<std::unique_ptr<Child>> rogues_;
  std::multimap<TimePoint, std::pair<RequestKey, Book::Side>> aborts_;
  std::vector<Fault> deck_;
  std::optional<TimePoint> asked_stats_at_;
  std::uint64_t asked_ = 0;
  std::uint64_t next_request_ = 0;
  std::map<std::string, std::uint64_t> struck_;
  std::vector<double> heal_seconds_;
};

}  // namespace baton::storm
