#include "simulator/cli/command.h"

#include <unistd.h>

#include <csignal>
#include <cstdio>

#include <CLI/CLI.hpp>

#include "common/base/error.h"

namespace baton::simulator::cli {
namespace {

std::atomic<bool> interrupted = false;
static_assert(std::atomic<bool>::is_always_lock_free);

extern "C" void OnInterrupt(int) {
  if (interrupted.exchange(true)) _exit(kInterrupted);
}

}  // namespace

void RunsAs(CLI::App& app, int& exit_code, Runs command) {
  app.callback([&exit_code, command = std::move(command)] { exit_code = command(); });
}

int Fail(const absl::Status& status) {
  std::fprintf(stderr, "baton-sim: %s\n", Message(status).c_str());
  return kBadInput;
}

bool Interrupted() {
  return interrupted;
}

void WatchInterrupts() {
  std::signal(SIGINT, OnInterrupt);
}

Progress::Progress(std::string what)
    : what_(std::move(what)), shown_(isatty(STDERR_FILENO) == 1), begun_(std::chrono::steady_clock::now()) {}

Progress::~Progress() {
  if (shown_) std::fprintf(stderr, "\r\033[K");
}

bool Progress::Due() {
  if (!shown_) return false;
  const auto now =
      std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begun_);
  std::int64_t next = next_ms_;
  return now.count() >= next && next_ms_.compare_exchange_strong(next, now.count() + 100);
}

void Progress::Show(double share) {
  if (!Due() || share <= 0) return;
  const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - begun_;
  const int filled = static_cast<int>(share * 30);
  std::fprintf(stderr, "\r%s [%s%s] %3.0f %%, %.0f s left\033[K", what_.c_str(),
               std::string(filled, '#').c_str(), std::string(30 - filled, ' ').c_str(), share * 100,
               passed.count() * (1 - share) / share);
}

void Progress::Count(int count) {
  if (!Due()) return;
  const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - begun_;
  std::fprintf(stderr, "\r%s: %d in %.0f s\033[K", what_.c_str(), count, passed.count());
}

}  // namespace baton::simulator::cli
