#include <catch2/catch.hpp>

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>
#include <csignal>
#include <filesystem>

#include "tests/kvtransfer/worker.h"

/// Two real processes over UCX: what the survivor sees when the other is killed or stopped in the middle.
namespace baton::kvtransfer {
namespace {

using test::Blocks;
using test::Key;
using test::Worker;

/// The helper program, built beside this one. Killed at the end of the scope.
class PeerProcess {
 public:
  PeerProcess(const std::string& role, std::uint16_t port, Incarnation own, Incarnation parent) {
    const std::string program =
        (std::filesystem::read_symlink("/proc/self/exe").parent_path() / "kvtransfer_peer_process").string();
    std::vector<std::string> words = {program, role, std::to_string(port), std::to_string(own.value),
                                      std::to_string(parent.value)};
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    REQUIRE(posix_spawn(&pid_, program.c_str(), nullptr, nullptr, arguments.data(), environ) == 0);
  }
  ~PeerProcess() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  PeerProcess(const PeerProcess&) = delete;
  PeerProcess& operator=(const PeerProcess&) = delete;
  void Signal(int number) const { REQUIRE(kill(pid_, number) == 0); }

 private:
  pid_t pid_ = 0;
};

struct Parent {
  Parent() : worker({.id = WorkerId(1), .transport = "ucx", .blocks = 1024}) {
    worker.SetPeers(
        {{.id = WorkerId(2), .incarnation = peer.Setup().incarnation, .address = {}, .name = "peer"}});
  }
  /// Stands for the other process in what needs its id and incarnation.
  Worker peer{{.id = WorkerId(2), .blocks = 1}};
  Worker worker;
};

TEST_CASE("a sender that is killed or stopped in the middle: every transfer ends, its blocks are released") {
  const int signal = GENERATE(SIGKILL, SIGSTOP);
  CAPTURE(signal);
  Parent parent;
  const PeerProcess process("sender", parent.worker.Info(false).address.port, parent.peer.Setup().incarnation,
                            parent.worker.Setup().incarnation);
  REQUIRE(parent.worker.WaitReady(WorkerId(2)));
  std::vector<Worker::Receipt> receipts;
  for (std::uint32_t i = 0; i < 32; ++i) {
    receipts.push_back(parent.worker.Receive(Key(1 + i), parent.peer, Blocks(32 * i, 32)));
  }
  REQUIRE(receipts[0]->WaitFor([](const auto& r) { return r.released == 1; }));
  CHECK(receipts[0]->Get().committed.has_value());
  CHECK(parent.worker.Holds(Blocks(0, 32), 1));

  process.Signal(signal);

  REQUIRE(parent.worker.WaitReady(WorkerId(2), false));
  for (std::uint32_t i = 1; i < 32; ++i) {
    REQUIRE(receipts[i]->WaitFor([](const auto& r) { return r.released == 1; }));
    CHECK(receipts[i]->Get().failed == TransferEnd::kFailed);
  }
  CHECK(parent.worker.Live() == 0);
}

TEST_CASE("a receiver that is killed or stopped in the middle: every send ends, its blocks are free") {
  const int signal = GENERATE(SIGKILL, SIGSTOP);
  CAPTURE(signal);
  Parent parent;
  const PeerProcess process("receiver", parent.worker.Info(false).address.port,
                            parent.peer.Setup().incarnation, parent.worker.Setup().incarnation);
  REQUIRE(parent.worker.WaitReady(WorkerId(2)));
  std::vector<Worker::Dispatch> dispatches;
  for (std::uint32_t i = 0; i < 32; ++i) {
    dispatches.push_back(parent.worker.Send(Key(1 + i), parent.peer, Blocks(32 * i, 32)));
  }
  REQUIRE(dispatches[31]->WaitFor([](const auto& s) { return s.granted; }));
  parent.worker.Produce(Key(1), 32);
  REQUIRE(dispatches[0]->WaitFor([](const auto& s) { return s.ended.has_value(); }));
  CHECK(dispatches[0]->Get().ended == TransferEnd::kAcked);

  for (std::uint32_t i = 1; i < 16; ++i) parent.worker.Produce(Key(1 + i), 32);
  process.Signal(signal);

  REQUIRE(parent.worker.WaitReady(WorkerId(2), false));
  for (std::uint32_t i = 1; i < 32; ++i) {
    REQUIRE(dispatches[i]->WaitFor([](const auto& s) { return s.ended.has_value(); }));
    CHECK(dispatches[i]->Get().reports == 1);
    if (i >= 16) CHECK(dispatches[i]->Get().ended == TransferEnd::kFailed);
  }
  CHECK(parent.worker.Live() == 0);
}

}  // namespace
}  // namespace baton::kvtransfer
