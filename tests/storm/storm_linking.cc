#include <poll.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <deque>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "common/base/clock.h"
#include "tests/storm/child.h"
#include "tests/support/shared_data.h"
#include "tests/support/temporary_folder.h"

/// storm_linking: see README.md. Breaks data connections at each call to a socket that UCX makes for them.
namespace baton::storm {
namespace {

constexpr Duration kPatience = std::chrono::seconds(15);
constexpr Duration kPause = std::chrono::milliseconds(60);  // then whoever is not paused gives up
constexpr std::array<std::string_view, 4> kFaults = {"die", "kill", "shut", "pause"};
/// Calls that a connection and its canaries take are fewer: where so many are not reached, the rest is not.
constexpr int kMissedMax = 3;

struct Round {
  std::string_view fault;
  bool striker_dials = true;
  int call = 0;  // of the striker
};

/// One end: a storm_linker, what it says, and how far it is.
class End {
 public:
  End(const std::vector<std::string>& command, std::string log)
      : log_(std::move(log)), child_(std::make_unique<Child>(command, log_)) {}

  [[nodiscard]] Child& Process() { return *child_; }
  void Tell(const std::string& line) { child_->Tell(line); }
  /// False where it has said nothing new.
  bool Listen() {
    for (const std::string& line : child_->Read()) said_.push_back(line);
    if (const auto change = child_->Look(); change.exit) ended = change.exit;
    const bool news = !said_.empty() || (ended.has_value() && !down);
    for (; !said_.empty(); said_.pop_front()) {
      if (said_.front() == "sent")
        sent = true;
      else if (said_.front() == "down")
        down = true;
      else if (said_.front().starts_with("calls "))
        calls = said_.front();
      else
        address = said_.front();
    }
    if (ended) down = true;
    return news;
  }
  void Forget() {
    sent = down = false;
    calls.clear();
  }
  /// The assertion that ended it, or the last that it logged.
  [[nodiscard]] std::string LastWords() const {
    const std::string log = test::ReadFile(log_);
    const auto assertion = log.rfind("  Assertion `");
    if (assertion == std::string::npos)
      return log.substr(log.size() - std::min<std::size_t>(log.size(), 400));
    const auto begin = log.rfind('\n', assertion) + 1;
    return log.substr(begin, log.find('\n', assertion) - begin);
  }

  std::string address;
  std::string calls;
  bool sent = false;
  bool down = false;
  std::optional<int> ended;  // the code, or 128 + the signal

 private:
  std::string log_;
  std::unique_ptr<Child> child_;
  std::deque<std::string> said_;
};

class Linking {
 public:
  explicit Linking(bool rendezvous) : command_({ProgramBeside("storm_linker")}) {
    if (rendezvous) command_.emplace_back("rendezvous");
  }
  void PlayAll(std::string_view fault) {
    for (const bool striker_dials : {true, false}) {
      int missed = 0;
      for (int call = 0; missed < kMissedMax; ++call)
        missed = Play({.fault = fault, .striker_dials = striker_dials, .call = call}) ? 0 : missed + 1;
    }
  }
  [[nodiscard]] int Rounds() const { return rounds_; }
  [[nodiscard]] const std::vector<std::string>& Violations() const { return violations_; }

 private:
  /// True where the fault has struck.
  bool Play(const Round& round) {
    ++rounds_;
    for (std::unique_ptr<End>* end : {&striker_, &other_}) {
      if (*end == nullptr)
        *end = std::make_unique<End>(command_, fmt::format("{}/{}.log", folder_.Path(), ++started_));
      (*end)->Forget();
    }
    if (!WaitFor([&] { return !striker_->address.empty() && !other_->address.empty(); })) {
      Violate(round, "an end does not start");
      return false;
    }
    const pid_t other = other_->Process().Id();
    End& dialler = round.striker_dials ? *striker_ : *other_;
    End& listener = round.striker_dials ? *other_ : *striker_;
    // As the pair connection has it: the listener connects when it has the dialler's HELLO, the dialler when
    // it has the listener's; then the dialler sends, and when that has gone, the listener.
    striker_->Tell(fmt::format("connect {} {} {} {}", other_->address, round.call, round.fault, other));
    other_->Tell(fmt::format("connect {} -1 none 0", striker_->address));
    dialler.Tell("send");
    bool noticed = SentOrLost(round, dialler);
    if (noticed && !AnyDown()) {
      listener.Tell("send");
      noticed = SentOrLost(round, listener);
    }
    if (!noticed && round.fault != "pause") Violate(round, "neither made nor lost");
    Close(round);
    return Judge(round);
  }

  [[nodiscard]] bool AnyDown() const { return striker_->down || other_->down; }
  bool SentOrLost(const Round& round, const End& end) {
    return WaitFor([&] { return end.sent || AnyDown(); }, round.fault == "pause" ? kPause : kPatience);
  }
  template <typename F>
  bool WaitFor(F condition, Duration patience = kPatience) {
    const TimePoint deadline = std::chrono::steady_clock::now() + patience;
    while (true) {
      const bool first = striker_->Listen();
      const bool news = other_->Listen() || first;
      if (condition()) return true;
      if (std::chrono::steady_clock::now() >= deadline) return false;
      if (news) continue;
      pollfd waits[] = {
          {.fd = striker_->ended ? -1 : striker_->Process().Channel(), .events = POLLIN, .revents = 0},
          {.fd = other_->ended ? -1 : other_->Process().Channel(), .events = POLLIN, .revents = 0}};
      poll(waits, 2, 10);
    }
  }
  /// Whoever lives closes; a paused end goes on when the other has given up.
  void Close(const Round& round) {
    striker_->Tell("close");
    if (round.fault == "pause") {
      if (!WaitFor([&] { return striker_->down; })) Violate(round, "the striker does not close");
    }
    other_->Tell("close");
    const auto closed = [&] {
      if (round.fault == "pause") other_->Process().Signal(SIGCONT);  // the close may be what strikes
      return striker_->down && other_->down;
    };
    if (!WaitFor(closed))
      Violate(round,
              fmt::format("not closed: {}{}", striker_->down ? "" : "striker ", other_->down ? "" : "other"));
  }
  bool Judge(const Round& round) {
    bool struck = round.fault == "die" && striker_->ended == 128 + SIGKILL;
    if (!striker_->ended) {
      striker_->Tell("calls");
      if (!WaitFor([&] { return !striker_->calls.empty() || striker_->ended; })) Violate(round, "no calls");
      struck = struck || (!striker_->calls.empty() && !striker_->calls.ends_with("nowhere"));
    }
    Bury(round, striker_, round.fault == "die");
    Bury(round, other_, round.fault == "kill");
    return struck;
  }
  void Bury(const Round& round, std::unique_ptr<End>& end, bool may_be_killed) {
    if (!end->down) end.reset();
    if (end == nullptr || !end->ended) return;
    if (!may_be_killed || end->ended != 128 + SIGKILL)
      Violate(round, fmt::format("the {} ended with {}: {}", end == striker_ ? "striker" : "other",
                                 *end->ended, end->LastWords()));
    end.reset();
  }
  void Violate(const Round& round, const std::string& what) {
    violations_.push_back(what);
    std::fputs(fmt::format("{} at call {} of the {}: {}\n", round.fault, round.call,
                           round.striker_dials ? "dialler" : "listener", what)
                   .c_str(),
               stdout);
    std::fflush(stdout);
  }

  std::vector<std::string> command_;
  test::TemporaryFolder folder_;
  std::unique_ptr<End> striker_;
  std::unique_ptr<End> other_;
  int started_ = 0;
  int rounds_ = 0;
  std::vector<std::string> violations_;
};

}  // namespace
}  // namespace baton::storm

/// 0: none but those that were killed has ended, and every connection was closed; 1: else, and what happened.
int main(int argc, char** argv) {
  using namespace baton::storm;
  CLI::App app("Data connections that break at each call to a socket which UCX makes for them.");
  int times = 1;
  std::string only;
  app.add_option("--times", times, "How often each is broken")->check(CLI::Range(1, 1000));
  app.add_option("--fault", only, "Only this fault: die, kill, shut or pause");
  CLI11_PARSE(app, argc, argv);
  int rounds = 0;
  std::size_t violations = 0;
  for (const bool rendezvous : {false, true}) {
    Linking linking(rendezvous);
    for (int time = 0; time < times; ++time) {
      for (const std::string_view fault : kFaults) {
        if (only.empty() || only == fault) linking.PlayAll(fault);
      }
    }
    rounds += linking.Rounds();
    violations += linking.Violations().size();
  }
  std::fputs(fmt::format("{} connections, {} violations\n", rounds, violations).c_str(), stdout);
  return violations == 0 ? 0 : 1;
}
