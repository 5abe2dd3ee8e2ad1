#include "tests/integration/network.h"

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "common/base/check.h"
#include "common/base/error.h"
#include "tests/integration/process.h"

namespace baton::test {
namespace {

constexpr const char* kIp = "/usr/sbin/ip";
constexpr const char* kNft = "/usr/sbin/nft";
constexpr const char* kTc = "/usr/sbin/tc";

absl::Status Run(const std::vector<std::string>& words) {
  const RunResult result = RunToEnd(words);
  if (result.exit == 0) return absl::OkStatus();
  std::string command;
  for (const std::string& word : words) command += word + " ";
  return Error(kFailedPrecondition, "{}: exit {}: {}", command, result.exit, result.output);
}

absl::Status Ip(std::vector<std::string> words) {
  words.insert(words.begin(), kIp);
  return Run(words);
}

}  // namespace

absl::StatusOr<std::unique_ptr<NetworkPair>> NetworkPair::Create() {
  if (::geteuid() != 0) return Error(kFailedPrecondition, "network namespaces need root");
  if (::access(kIp, X_OK) != 0)
    return Error(kFailedPrecondition, "network namespaces need iproute2 ({})", kIp);
  auto pair = std::make_unique<NetworkPair>();
  const std::string prefix = fmt::format("baton-{}-", ::getpid());
  pair->first_ = {.name = prefix + "a", .address = "10.77.0.1"};
  pair->second_ = {.name = prefix + "b", .address = "10.77.0.2"};
  BATON_RETURN_IF_ERROR(pair->Build());
  return pair;
}

absl::Status NetworkPair::Build() {
  BATON_RETURN_IF_ERROR(Ip({"netns", "add", first_.name}));
  BATON_RETURN_IF_ERROR(Ip({"netns", "add", second_.name}));
  BATON_RETURN_IF_ERROR(Ip({"link", "add", first_.device, "netns", first_.name, "type", "veth", "peer",
                            "name", second_.device, "netns", second_.name}));
  for (const Side& side : {first_, second_}) {
    BATON_RETURN_IF_ERROR(Ip({"-n", side.name, "address", "add", side.address + "/24", "dev", side.device}));
    BATON_RETURN_IF_ERROR(Ip({"-n", side.name, "link", "set", "lo", "up"}));
    BATON_RETURN_IF_ERROR(Ip({"-n", side.name, "link", "set", side.device, "up"}));
  }
  // A veth has its carrier a moment after both ends are up; UCX takes no interface without one.
  for (const Side& side : {first_, second_}) {
    const auto has_carrier = [&side] {
      return RunToEnd(InNamespace(side.name, {"/bin/cat", "/sys/class/net/" + side.device + "/operstate"}))
                 .output == "up\n";
    };
    if (!WaitUntil(std::chrono::seconds(10), has_carrier)) {
      return Error(kFailedPrecondition, "{} in {} does not come up", side.device, side.name);
    }
  }
  // What the daemons need of it: being run in it.
  const RunResult trial = RunToEnd(InNamespace(first_.name, {"/bin/true"}));
  if (trial.exit != 0) return Error(kFailedPrecondition, "ip netns exec: {}", trial.output);
  return absl::OkStatus();
}

NetworkPair::~NetworkPair() {
  for (const Side& side : {first_, second_}) {
    if (!side.name.empty()) static_cast<void>(Ip({"netns", "delete", side.name}));
  }
}

absl::Status NetworkPair::Filter(const Side& side, const std::vector<std::string>& rules) const {
  if (::access(kNft, X_OK) != 0) return Error(kFailedPrecondition, "packet rules need nftables ({})", kNft);
  // One transaction: the table is made where it is not there, emptied, and written anew.
  std::string script = "add table inet baton; delete table inet baton; add table inet baton; ";
  script += "add chain inet baton in { type filter hook input priority 0; }; ";
  for (const std::string& rule : rules) {
    script += fmt::format("add rule inet baton in iifname \"{}\" {}; ", side.device, rule);
  }
  return Run(InNamespace(side.name, {kNft, script}));
}

absl::Status NetworkPair::Limit(const std::string& rate) const {
  for (const Side& side : {first_, second_}) {
    BATON_RETURN_IF_ERROR(
        Run(InNamespace(side.name, {kTc, "qdisc", "replace", "dev", side.device, "root", "tbf", "rate", rate,
                                    "burst", "64kb", "latency", "200ms"})));
  }
  return absl::OkStatus();
}

absl::Status NetworkPair::SetLink(const Side& side, bool up) const {
  return Ip({"-n", side.name, "link", "set", side.device, up ? "up" : "down"});
}

std::vector<std::string> InNamespace(const std::string& name, const std::vector<std::string>& command) {
  std::vector<std::string> words = {kIp, "netns", "exec", name};
  words.insert(words.end(), command.begin(), command.end());
  return words;
}

NamespaceScope::NamespaceScope(const std::string& name) {
  if (name.empty()) return;
  home_ = ::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
  const int target = ::open(("/run/netns/" + name).c_str(), O_RDONLY | O_CLOEXEC);
  BATON_CHECK(home_ >= 0 && target >= 0, "open namespace {}: {}", name, std::strerror(errno));
  BATON_CHECK(::setns(target, CLONE_NEWNET) == 0, "enter namespace {}: {}", name, std::strerror(errno));
  ::close(target);
}

NamespaceScope::~NamespaceScope() {
  if (home_ < 0) return;
  BATON_CHECK(::setns(home_, CLONE_NEWNET) == 0, "leave namespace: {}", std::strerror(errno));
  ::close(home_);
}

}  // namespace baton::test
