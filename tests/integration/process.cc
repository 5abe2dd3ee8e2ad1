#include "tests/integration/process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "common/base/check.h"
#include "tests/support/shared_data.h"
#include "tests/support/temporary_folder.h"

namespace baton::test {
namespace {

constexpr int kPauseMs = 10;  // short beside what is waited for, long beside what looking costs

/// In the child: only what is safe after fork.
[[noreturn]] void Become(char* const* arguments, const char* log_file, pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(126);  // the parent died before the line above
  const int log = ::open(log_file, O_WRONLY | O_CREAT | O_APPEND, 0600);
  const int null = ::open("/dev/null", O_RDONLY);
  ::dup2(null, STDIN_FILENO);
  ::dup2(log, STDOUT_FILENO);
  ::dup2(log, STDERR_FILENO);
  ::close_range(3, ~0U, 0);
  ::execv(arguments[0], arguments);
  ::_exit(127);
}

}  // namespace

bool WaitUntil(Duration limit, const std::function<bool()>& condition) {
  const TimePoint deadline = std::chrono::steady_clock::now() + limit;
  while (!condition()) {
    if (std::chrono::steady_clock::now() >= deadline) return false;
    ::poll(nullptr, 0, kPauseMs);
  }
  return true;
}

Process::Process(const std::vector<std::string>& command, std::string log_file)
    : log_file_(std::move(log_file)) {
  std::vector<std::string> words = command;
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  const pid_t parent = ::getpid();
  id_ = ::fork();
  BATON_CHECK(id_ >= 0, "fork: {}", std::strerror(errno));
  if (id_ == 0) Become(arguments.data(), log_file_.c_str(), parent);
}

Process::~Process() {
  if (!Running()) return;
  ::kill(id_, SIGKILL);
  Reap(0);
}

void Process::Signal(int signal) const {
  if (!exit_) ::kill(id_, signal);
}

void Process::Reap(int options) {
  if (exit_) return;
  int status = 0;
  pid_t ended = -1;
  do {
    ended = ::waitpid(id_, &status, options);
  } while (ended < 0 && errno == EINTR);
  if (ended != id_) return;
  exit_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

bool Process::Running() {
  Reap(WNOHANG);
  return !exit_;
}

std::optional<int> Process::WaitExit(Duration limit) {
  const int descriptor = static_cast<int>(::syscall(SYS_pidfd_open, id_, 0));
  if (descriptor >= 0) {
    pollfd ended{.fd = descriptor, .events = POLLIN, .revents = 0};
    ::poll(&ended, 1, static_cast<int>(std::chrono::duration_cast<std::chrono::milliseconds>(limit).count()));
    ::close(descriptor);
  }
  Reap(WNOHANG);
  return exit_;
}

std::size_t Process::OpenDescriptors() const {
  std::error_code ignored;
  const std::filesystem::directory_iterator entries("/proc/" + std::to_string(id_) + "/fd", ignored);
  return static_cast<std::size_t>(std::distance(begin(entries), end(entries)));
}

std::string Process::Log() const {
  return ReadFile(log_file_);
}

RunResult RunToEnd(const std::vector<std::string>& command, Duration limit) {
  const TemporaryFolder folder;
  const std::string log = folder.Path() + "/output";
  WriteFile(log, "");
  Process process(command, log);
  const auto exit = process.WaitExit(limit);
  return {.exit = exit.value_or(-1), .output = process.Log()};
}

void WriteFile(const std::string& path, const std::string& text) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out << text;
  out.close();
  BATON_CHECK(out.good(), "cannot write {}", path);
}

}  // namespace baton::test
