#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

namespace baton::storm {

/// A process of the storm with a channel of lines, which it has as descriptor 3. Killed with this object, and
/// when the parent dies its channel ends.
class Child {
 public:
  /// `command` is a path and its arguments; what it logs goes to `log_file`, which is appended to.
  Child(const std::vector<std::string>& command, const std::string& log_file);
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  [[nodiscard]] int Channel() const { return channel_; }
  [[nodiscard]] pid_t Id() const { return id_; }
  void Tell(const std::string& line);
  /// The lines that have come. Empty and `Ended` where the channel is closed.
  [[nodiscard]] std::vector<std::string> Read();
  [[nodiscard]] bool ChannelEnded() const { return ended_; }
  void Signal(int number) const;

  struct Change {
    bool stopped = false;
    std::optional<int> exit;  // the code, or 128 + the signal
  };
  /// What has happened to the process since the last call.
  [[nodiscard]] Change Look();

 private:
  void Write();

  pid_t id_ = -1;
  int channel_ = -1;
  bool ended_ = false;
  bool reaped_ = false;
  std::string unread_;
  std::string unsent_;
};

/// Bytes that must pass as a word: two hexadecimal digits each.
[[nodiscard]] std::string FromHex(const std::string& text);
/// The path of a program that was built beside this one.
[[nodiscard]] std::string ProgramBeside(const std::string& name);

}  // namespace baton::storm
