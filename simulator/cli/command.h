#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <string>
#include <string_view>

#include <absl/status/status.h>

namespace CLI {
class App;
}

/// What the subcommands of baton-sim have in common.
namespace baton::simulator::cli {

inline constexpr int kOk = 0;
inline constexpr int kUsage = 1;
inline constexpr int kBadInput = 2;
inline constexpr int kInfeasible = 3;  // or, of a replay, different decisions
inline constexpr int kInterrupted = 130;

/// A subcommand runs and returns the exit code.
using Runs = std::function<int()>;

/// Makes `app`, a subcommand that parses, run `command`; `exit_code` gets what it returns.
void RunsAs(CLI::App& app, int& exit_code, Runs command);

/// Prints "baton-sim: message" on stderr; the exit code for it.
[[nodiscard]] int Fail(const absl::Status& status);

/// True from the first Ctrl-C on; a second one ends the process at once.
[[nodiscard]] bool Interrupted();
void WatchInterrupts();

/// One line on stderr, only where that is a terminal: share done and time left. Any thread.
class Progress {
 public:
  explicit Progress(std::string what);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  void Show(double share);
  /// Where the end is not known: a count.
  void Count(int count);

 private:
  [[nodiscard]] bool Due();
  std::string what_;
  bool shown_;
  std::chrono::steady_clock::time_point begun_;
  std::atomic<std::int64_t> next_ms_ = 0;
};

/// Each adds its subcommand to `app`.
void AddTrace(CLI::App& app, int& exit_code);
void AddSimulate(CLI::App& app, int& exit_code);
void AddCompare(CLI::App& app, int& exit_code);
void AddRecommend(CLI::App& app, int& exit_code);
void AddExplain(CLI::App& app, int& exit_code);
/// And merge.
void AddSweep(CLI::App& app, int& exit_code);
void AddPaper(CLI::App& app, int& exit_code);
void AddPolicies(CLI::App& app, int& exit_code);
void AddCalibrate(CLI::App& app, int& exit_code);
void AddExport(CLI::App& app, int& exit_code);
void AddReplay(CLI::App& app, int& exit_code);
void AddAll(CLI::App& app, int& exit_code);

}  // namespace baton::simulator::cli
