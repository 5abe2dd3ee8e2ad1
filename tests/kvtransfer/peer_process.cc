#include <unistd.h>

#include <cstdlib>
#include <string>

#include "tests/kvtransfer/worker.h"

/// A worker in a process of its own, for tests that kill or stop one: peer_process ROLE PORT INCARNATION
/// PARENT_INCARNATION. Worker 2; dials worker 1 at PORT. As "sender" it sends requests 1 to 32 and commits
/// the first only; as "receiver" it takes them. Runs until it is killed, or its parent has gone.
int main(int argc, char** argv) {
  using namespace baton;
  if (argc != 5) return 2;
  const std::string role = argv[1];
  test::Worker parent_stand_in(
      {.id = WorkerId(1), .blocks = 1, .incarnation = Incarnation(std::stoull(argv[4]))});
  test::Worker self({.id = WorkerId(2),
                     .transport = "ucx",
                     .blocks = 1024,
                     .incarnation = Incarnation(std::stoull(argv[3]))});
  self.SetPeers({{.id = WorkerId(1),
                  .incarnation = parent_stand_in.Setup().incarnation,
                  .address = {.host = "127.0.0.1", .port = static_cast<std::uint16_t>(std::stoul(argv[2]))},
                  .name = "parent",
                  .dial = true}});
  if (!self.WaitReady(WorkerId(1))) return 3;
  std::vector<test::Worker::Receipt> receipts;
  std::vector<test::Worker::Dispatch> dispatches;
  for (std::uint32_t i = 0; i < 32; ++i) {
    const RequestKey key = test::Key(1 + i);
    const auto blocks = test::Blocks(32 * i, 32);
    if (role == "receiver") {
      receipts.push_back(self.Receive(key, parent_stand_in, blocks));
      continue;
    }
    self.Fill(blocks, 1 + i);
    dispatches.push_back(self.Send(key, parent_stand_in, blocks));
    i == 0 ? self.Produce(key, blocks.size()) : self.Start(key);
  }
  while (getppid() != 1) pause();
  return 0;
}
