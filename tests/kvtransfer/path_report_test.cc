#include <catch2/catch.hpp>

#include <limits>

#include "kvtransfer/path_report.h"
#include "tests/kvtransfer/worker.h"

namespace baton::kvtransfer {
namespace {

PathFacts Good() {
  return {.transport = "tcp",
          .device = "eth1",
          .mtu = 9000,
          .memlock_bytes = std::numeric_limits<std::uint64_t>::max(),
          .arena_bytes = 1U << 30,
          .huge_bytes = 1U << 30,
          .huge_pages_allowed = true,
          .block_bytes = 64U << 10,
          .layers = 4};
}

TEST_CASE("a path that nothing slows has no reasons, and each fault is one, with its cure") {
  CHECK(WhySlow(Good()).empty());
  const auto one = [](auto change) {
    PathFacts facts = Good();
    change(facts);
    const auto reasons = WhySlow(facts);
    REQUIRE(reasons.size() == 1);
    return reasons[0];
  };

  CHECK(one([](PathFacts& f) { f.device = ""; }).find("transfer.net_device") != std::string::npos);
  CHECK(one([](PathFacts& f) { f.mtu = 1500; }).find("MTU 1500 on eth1") != std::string::npos);
  CHECK(one([](PathFacts& f) {
          f.transport = "rc";
          f.memlock_bytes = 8U << 20;
        }).find("LimitMEMLOCK") != std::string::npos);
  CHECK(one([](PathFacts& f) {
          f.path = MemoryPath::kStaged;
          f.huge_pages_allowed = false;  // says nothing of a GPU's memory
        }).find("goes through host memory") != std::string::npos);
  CHECK(one([](PathFacts& f) { f.huge_pages_allowed = false; }).find("transparent_hugepage") !=
        std::string::npos);
  CHECK(one([](PathFacts& f) { f.huge_bytes = 0; }).find("huge pages now") != std::string::npos);
  CHECK(one([](PathFacts& f) { f.block_bytes = 4096; }).find("block_tokens") != std::string::npos);
}

TEST_CASE("a prompt in one run takes few messages, a scattered one as many as are packed") {
  PathFacts facts = Good();
  facts.block_bytes = 16U << 10;
  const MessageCounts counts = CountMessages(facts, 960);  // 15 MiB a layer

  CHECK(counts.best == 4 * 30);   // 512 KiB each
  CHECK(counts.worst == 4 * 64);  // 15 blocks each
  CHECK(counts.worst_message_bytes == 240U << 10);
  facts.path = MemoryPath::kStaged;  // out of a GPU's memory by long copies
  CHECK(CountMessages(facts, 960).best == 4 * 8);
}

TEST_CASE("the facts of this machine are read: loopback's MTU, the arena, the limit") {
  std::vector<std::byte> memory(1U << 20);
  HandoffOptions options;
  options.net_device = "lo";

  const PathFacts facts = ReadPathFacts(
      options, *CreateLoopbackTransport(options),
      {.region = {.address = memory.data(), .bytes = memory.size()}, .layout = test::TestLayout()});

  CHECK(facts.mtu > 0);
  CHECK(facts.memlock_bytes > 0);
  CHECK(facts.arena_bytes == 1U << 20);
  CHECK(facts.block_bytes == test::TestLayout().BlockBytes());
}

}  // namespace
}  // namespace baton::kvtransfer
