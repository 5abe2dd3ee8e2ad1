#include "tests/storm/child.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>

#include "common/base/check.h"

namespace baton::storm {

Child::Child(const std::vector<std::string>& command, const std::string& log_file) {
  int ends[2];
  BATON_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0, "socketpair: {}",
              std::strerror(errno));
  channel_ = ends[0];
  BATON_CHECK(fcntl(channel_, F_SETFL, O_NONBLOCK) == 0);
  // Above 3, so that the copy to 3 in the child is a copy, without the flag that closes it at exec.
  const int far = fcntl(ends[1], F_DUPFD_CLOEXEC, 100);
  close(ends[1]);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, log_file.c_str(), O_WRONLY | O_CREAT | O_APPEND,
                                   0600);
  posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
  posix_spawn_file_actions_adddup2(&actions, far, 3);
  std::vector<std::string> words = command;
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  const int failed = posix_spawn(&id_, arguments[0], &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(far);
  BATON_CHECK(failed == 0, "cannot start {}: {}", command[0], std::strerror(failed));
}

Child::~Child() {
  close(channel_);
  if (reaped_) return;
  kill(id_, SIGKILL);
  waitpid(id_, nullptr, 0);
}

void Child::Tell(const std::string& line) {
  unsent_ += line + "\n";
  Write();
}

void Child::Write() {
  while (!unsent_.empty() && !ended_) {
    const ssize_t count = send(channel_, unsent_.data(), unsent_.size(), MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) return;  // stopped: it is sent when it goes on
    if (count < 0) {
      unsent_.clear();
      return;
    }
    unsent_.erase(0, static_cast<std::size_t>(count));
  }
}

std::vector<std::string> Child::Read() {
  Write();
  char buffer[16384];
  while (!ended_) {
    const ssize_t count = read(channel_, buffer, sizeof buffer);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) break;
    if (count <= 0) {
      ended_ = true;
      break;
    }
    unread_.append(buffer, static_cast<std::size_t>(count));
  }
  std::vector<std::string> lines;
  std::size_t begin = 0;
  for (std::size_t end = 0; (end = unread_.find('\n', begin)) != std::string::npos; begin = end + 1)
    lines.push_back(unread_.substr(begin, end - begin));
  unread_.erase(0, begin);
  return lines;
}

void Child::Signal(int number) const {
  if (!reaped_) kill(id_, number);
}

Child::Change Child::Look() {
  Change change;
  int status = 0;
  while (!reaped_ && waitpid(id_, &status, WNOHANG | WUNTRACED) == id_) {
    if (WIFSTOPPED(status)) {
      change.stopped = true;
      continue;
    }
    reaped_ = true;
    change.exit = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  return change;
}

std::string FromHex(const std::string& text) {
  std::string bytes;
  for (std::size_t i = 0; i + 1 < text.size(); i += 2)
    bytes.push_back(static_cast<char>(std::stoi(text.substr(i, 2), nullptr, 16)));
  return bytes;
}

std::string ProgramBeside(const std::string& name) {
  return (std::filesystem::read_symlink("/proc/self/exe").parent_path() / name).string();
}

}  // namespace baton::storm
