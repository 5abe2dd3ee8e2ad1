#pragma once

#include <memory>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

namespace baton::test {

/// Two network namespaces joined by one cable (a veth pair), so that daemons meet over something that is no
/// loopback. Needs root and iproute2.
class NetworkPair {
 public:
  struct Side {
    std::string name;     // of the namespace
    std::string address;  // of its end of the cable
    std::string device = "wire0";
  };

  /// FailedPrecondition says what this machine lacks.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<NetworkPair>> Create();
  NetworkPair() = default;  // names nothing yet; use Create
  ~NetworkPair();
  NetworkPair(const NetworkPair&) = delete;
  NetworkPair& operator=(const NetworkPair&) = delete;

  [[nodiscard]] const Side& First() const { return first_; }
  [[nodiscard]] const Side& Second() const { return second_; }

  /// Replaces what happens to the packets that come in at `side`: rules of nft, such as "tcp dport 80 drop";
  /// none: all pass. FailedPrecondition where the machine has no nft.
  [[nodiscard]] absl::Status Filter(const Side& side, const std::vector<std::string>& rules) const;
  /// Both directions carry no more than `rate` ("100mbit").
  [[nodiscard]] absl::Status Limit(const std::string& rate) const;
  [[nodiscard]] absl::Status SetLink(const Side& side, bool up) const;

 private:
  absl::Status Build();

  Side first_;
  Side second_;
};

/// The command that runs `command` in namespace `name`, with the namespace's own /sys: UCX reads its devices
/// there.
[[nodiscard]] std::vector<std::string> InNamespace(const std::string& name,
                                                   const std::vector<std::string>& command);

/// Puts the calling thread into a namespace ("" = leaves it where it is) and back.
class NamespaceScope {
 public:
  explicit NamespaceScope(const std::string& name);
  ~NamespaceScope();
  NamespaceScope(const NamespaceScope&) = delete;
  NamespaceScope& operator=(const NamespaceScope&) = delete;

 private:
  int home_ = -1;
};

}  // namespace baton::test
