#include "engine/worker/config.h"

#include <fstream>

#include <catch2/catch.hpp>

#include "common/base/error.h"
#include "tests/support/shared_data.h"
#include "tests/support/temporary_folder.h"

namespace baton::engine {
namespace {

std::string Write(const test::TemporaryFolder& folder, const std::string& yaml) {
  const std::string path = folder.Path() + "/worker.yaml";
  std::ofstream(path) << yaml;
  return path;
}

}  // namespace

TEST_CASE("the example files are read, and say what the defaults are") {
  for (const char* name : {"prefill", "decode"}) {
    const auto config = ReadWorkerConfig(test::ProjectFile(fmt::format("deploy/examples/{}.yaml", name)));
    INFO(config.status());
    REQUIRE(config.ok());
    const WorkerConfig defaults;

    CHECK(config->name == fmt::format("{}-0", name));
    CHECK(config->router.port == 7000);
    CHECK(config->kv_memory == defaults.kv_memory);
    CHECK(config->prefix_cache == defaults.prefix_cache);
    CHECK(config->prefix_cache_share == defaults.prefix_cache_share);
    CHECK(config->pin_hits == defaults.pin_hits);
    CHECK(config->pin_share == defaults.pin_share);
    CHECK(config->growth_blocks == defaults.growth_blocks);
    CHECK(config->swap_memory == defaults.swap_memory);
    CHECK(config->preemption == defaults.preemption);
    CHECK(config->batch.batch_tokens == defaults.batch.batch_tokens);
    CHECK(config->batch.prefill_chunk_tokens == defaults.batch.prefill_chunk_tokens);
    CHECK(config->queue_requests == defaults.queue_requests);
    CHECK(config->transfer.layer_wise_bytes_min == defaults.transfer.layer_wise_bytes_min);
    CHECK(config->transfer.lease == defaults.transfer.lease);
    CHECK(config->transfer.transfer_deadline == defaults.transfer.transfer_deadline);
    CHECK(config->transfer.drain_deadline == defaults.transfer.drain_deadline);
    CHECK(config->transfer.ping_interval == defaults.transfer.ping_interval);
    CHECK(config->drain_timeout == defaults.drain_timeout);
    CHECK(config->engine_timeout == defaults.engine_timeout);
    CHECK(config->compute.threads == 0);
    CHECK(config->power.sensor == defaults.power.sensor);
    CHECK(config->power.interval == defaults.power.interval);
    CHECK(config->device.backend == BackendChoice::kAuto);
    CHECK(config->device.device == 0);
    CHECK(config->device.invariant);
    CHECK(config->device.graphs);
    CHECK(config->ranks == defaults.ranks);
    CHECK(config->block_tokens == defaults.block_tokens);
    CHECK(config->compute.kv == defaults.compute.kv);
    CHECK(config->other_classes == defaults.other_classes);
    CHECK(config->steps.file.empty());
  }
}

TEST_CASE("the file says what a worker computes on, and a backend that nobody knows is an error") {
  const test::TemporaryFolder folder;
  const std::string head = "name: d\nmodel: m\nrouter: \"127.0.0.1:1\"\n";
  const auto config = ReadWorkerConfig(Write(
      folder, head + "compute: {backend: cuda, device: 5, invariant: false, graphs: false, class: fp8}\n"));

  REQUIRE(config.ok());
  CHECK(config->device.backend == BackendChoice::kCuda);
  CHECK(config->device.device == 5);
  CHECK_FALSE(config->device.invariant);
  CHECK_FALSE(config->device.graphs);
  CHECK(config->compute.compute == kernels::ComputeClass::kFp8);
  CHECK_FALSE(ReadWorkerConfig(Write(folder, head + "compute: {backend: rocm}\n")).ok());
  CHECK_FALSE(ReadWorkerConfig(Write(folder, head + "compute: {device: -1}\n")).ok());
}

TEST_CASE("what becomes of preempted answers can be said in the file") {
  const test::TemporaryFolder folder;
  const auto config = ReadWorkerConfig(Write(
      folder, "name: d\nmodel: m\nrouter: \"127.0.0.1:1\"\nkv: {swap: 1GiB, growth: 3, preemption: swap}\n"));

  REQUIRE(config.ok());
  CHECK(config->swap_memory == std::uint64_t{1} << 30);
  CHECK(config->growth_blocks == 3);
  CHECK(config->preemption == Preemption::kSwap);
}

TEST_CASE("a worker keeps the times of its steps where the file says so") {
  const test::TemporaryFolder folder;
  const std::string start = "name: d\nmodel: m\nrouter: \"127.0.0.1:1\"\n";
  const auto config =
      ReadWorkerConfig(Write(folder, start + "telemetry: {steps_file: /tmp/steps.csv, limit: 1MiB}\n"));
  REQUIRE(config.ok());
  CHECK(config->steps.file == "/tmp/steps.csv");
  CHECK(config->steps.limit_bytes == std::uint64_t{1} << 20);

  const auto refused = ReadWorkerConfig(Write(folder, start + "telemetry: {limit: 1B}\n"));
  CHECK(Message(refused.status()).find("telemetry.limit") != std::string::npos);
}

TEST_CASE("a power cap is set through a sensor, and without one it is refused") {
  const test::TemporaryFolder folder;
  const std::string start = "name: d\nmodel: m\nrouter: \"127.0.0.1:1\"\n";
  const auto config =
      ReadWorkerConfig(Write(folder, start + "power: {sensor: nvml, cap_watts: 350, clock_mhz: 1410}\n"));
  REQUIRE(config.ok());
  CHECK(config->power.sensor == "nvml");
  CHECK(config->power.cap_watts == 350);
  CHECK(config->power.clock_mhz == 1410);

  const auto refused = ReadWorkerConfig(Write(folder, start + "power: {sensor: off, cap_watts: 350}\n"));
  CHECK(Message(refused.status()).find("a cap or a clock is set through a sensor") != std::string::npos);
}

TEST_CASE("each compute class has its name in the file") {
  const test::TemporaryFolder folder;
  for (const kernels::ComputeClass compute : {kernels::ComputeClass::kF32, kernels::ComputeClass::kBF16,
                                              kernels::ComputeClass::kInt8, kernels::ComputeClass::kFp8}) {
    const auto config = ReadWorkerConfig(
        Write(folder, fmt::format("name: p\nmodel: m\nrouter: \"127.0.0.1:1\"\ncompute: {{class: {}}}\n",
                                  std::string(kernels::Name(compute)))));

    INFO(config.status());
    REQUIRE(config.ok());
    CHECK(config->compute.compute == compute);
  }
}

TEST_CASE("cores are numbers and ranges, and a list that is none is named with its line") {
  const test::TemporaryFolder folder;
  const std::string start = "name: p\nmodel: m\nrouter: \"127.0.0.1:1\"\n";

  const auto config =
      ReadWorkerConfig(Write(folder, start + "compute: {cores: [0-2, 8, \"10,12\"], numa_node: 1}\n"));
  INFO(config.status());
  REQUIRE(config.ok());
  CHECK(config->compute.cores == std::vector<int>{0, 1, 2, 8, 10, 12});
  CHECK(config->compute.numa_node == 1);
  CHECK(ReadWorkerConfig(Write(folder, start))->compute.cores.empty());

  const auto refused = ReadWorkerConfig(Write(folder, start + "compute: {cores: [3-1], numa_node: -2}\n"));
  REQUIRE_FALSE(refused.ok());
  for (const char* expected : {":4:", "cores", "'3-1'", "numa_node"})
    CHECK(Message(refused.status()).find(expected) != std::string::npos);
  CHECK(Message(refused.status()).find("unknown") == std::string::npos);  // the rest is read all the same
}

TEST_CASE("ranks, block size and KV type are each worker's own, and a wrong one is named with its line") {
  const test::TemporaryFolder folder;
  const std::string start = "name: d\nmodel: m\nrouter: \"127.0.0.1:1\"\n";

  const auto config = ReadWorkerConfig(
      Write(folder, start + "compute: {ranks: 4, cores: [0-7]}\nkv: {block_tokens: 48, dtype: f32}\n"
                            "transfer: {other_classes: true}\n"));
  INFO(config.status());
  REQUIRE(config.ok());
  CHECK(config->ranks == 4);
  CHECK(config->block_tokens == 48);
  CHECK(config->compute.kv == kernels::DType::kF32);
  CHECK(config->other_classes);

  const auto refused =
      ReadWorkerConfig(Write(folder, start + "compute: {ranks: 3}\nkv: {block_tokens: 24, dtype: int8}\n"));
  REQUIRE_FALSE(refused.ok());
  for (const char* expected : {":4:", "must be 1, 2, 4 or 8", ":5:", "must be a multiple of 16", "dtype"})
    CHECK(Message(refused.status()).find(expected) != std::string::npos);
  const auto uneven = ReadWorkerConfig(Write(folder, start + "compute: {ranks: 4, cores: [0-5]}\n"));
  CHECK(Message(uneven.status()).find("6 cores cannot be shared out evenly among 4 ranks") !=
        std::string::npos);
}

TEST_CASE("the prefix cache can be turned off") {
  const test::TemporaryFolder folder;

  const auto config = ReadWorkerConfig(Write(
      folder,
      "name: p\nmodel: m\nrouter: \"127.0.0.1:1\"\nkv: {prefix_cache: false, prefix_cache_share: 0.5}\n"));

  INFO(config.status());
  REQUIRE(config.ok());
  CHECK_FALSE(config->prefix_cache);
  CHECK(config->prefix_cache_share == 0.5);
}

TEST_CASE("every mistake of a worker's file is named with its line") {
  const test::TemporaryFolder folder;
  const std::string path = Write(
      folder,
      "name: d\nmodel: m\nrouter: nowhere\nkv: {memory: 12, prefix_cache_share: 1.5}\ncompute: {class: fp4}\n"
      "batch: {tokens: 0}\nsurprise: 1\n");

  const auto config = ReadWorkerConfig(path);

  REQUIRE_FALSE(config.ok());
  const std::string message = Message(config.status());
  INFO(message);
  for (const char* expected : {":3:", ":4:", "prefix_cache_share", ":5:", ":6:", "surprise"}) {
    CHECK(message.find(expected) != std::string::npos);
  }
}

TEST_CASE("a peer listener beyond loopback wants a cluster key or an explicit word") {
  const test::TemporaryFolder folder;
  const std::string open =
      "name: d\nmodel: m\nrouter: \"10.0.0.1:7000\"\npeer: {listen: \"10.0.0.2:7100\"}\n";

  const auto refused = ReadWorkerConfig(Write(folder, open));
  REQUIRE_FALSE(refused.ok());
  CHECK(Message(refused.status()).find("cluster_key_file") != std::string::npos);

  CHECK(ReadWorkerConfig(Write(folder, open + "cluster_key_file: key\n")).ok());
  CHECK(ReadWorkerConfig(Write(folder, open + "insecure_no_auth: true\n")).ok());
}

TEST_CASE("a listener on every address wants to know which one peers are to dial") {
  const test::TemporaryFolder folder;
  const std::string start = "name: d\nmodel: m\nrouter: \"10.0.0.1:7000\"\ncluster_key_file: key\n";

  for (const char* peer : {"{listen: \"0.0.0.0:7400\"}", "{listen: \"[::]:7400\"}",
                           "{listen: \"10.0.0.2:7400\", advertise: \"0.0.0.0\"}"}) {
    CAPTURE(peer);
    const auto refused = ReadWorkerConfig(Write(folder, start + "peer: " + peer + "\n"));
    REQUIRE_FALSE(refused.ok());
    CHECK(Message(refused.status()).find(":5:") != std::string::npos);
    CHECK(Message(refused.status()).find("peer.advertise") != std::string::npos);
  }
  const auto named =
      ReadWorkerConfig(Write(folder, start + "peer: {listen: \"0.0.0.0:7400\", advertise: decode-0}\n"));
  INFO(named.status());
  REQUIRE(named.ok());
  CHECK(named->peer_host == "decode-0");
}

TEST_CASE("a lease outlives a ping that is late") {
  const test::TemporaryFolder folder;
  const std::string start = "name: d\nmodel: m\nrouter: \"127.0.0.1:1\"\n";

  const auto refused = ReadWorkerConfig(Write(folder, start + "transfer: {ping_interval: 3s, lease: 5s}\n"));
  REQUIRE_FALSE(refused.ok());
  CHECK(Message(refused.status()).find("transfer.lease") != std::string::npos);
  CHECK(ReadWorkerConfig(Write(folder, start + "transfer: {ping_interval: 3s, lease: 6s}\n")).ok());
}

}  // namespace baton::engine
