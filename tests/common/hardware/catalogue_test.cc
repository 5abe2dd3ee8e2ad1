#include "common/hardware/catalogue.h"

#include <filesystem>
#include <fstream>

#include <catch2/catch.hpp>

#include "common/base/error.h"

namespace baton::hardware {
namespace {

constexpr double kGibibyte = 1024.0 * 1024 * 1024;

std::string ProblemsOf(std::string_view text) {
  const absl::StatusOr<Catalogue> catalogue = Catalogue::FromText(text, "mine.yaml");
  REQUIRE_FALSE(catalogue.ok());
  return Message(catalogue.status());
}

TEST_CASE("the built-in catalogue has the machines of the paper and those one can buy now") {
  const Catalogue& catalogue = Catalogue::BuiltIn();

  for (const char* name :
       {"dgx-a100", "dgx-h100", "dgx-h100-pcap", "hgx-h200", "hgx-b200", "l40s-x8", "mi300x-x8"}) {
    INFO(name);
    const auto machine = catalogue.FindMachine(name);
    REQUIRE(machine.ok());
    const auto device = catalogue.FindDevice((*machine)->device);
    REQUIRE(device.ok());
    CHECK((*machine)->base_w + (*machine)->devices * (*device)->idle_w < (*machine)->rated_w);
    CHECK((*device)->dollars_per_hour > 0);
  }
  CHECK((*catalogue.FindMachine("dgx-h100"))->cost_weight == 4.76);
  CHECK((*catalogue.FindMachine("dgx-a100"))->cost_weight == 2.21);
  CHECK((*catalogue.FindMachine("dgx-h100-pcap"))->power_weight == 30.8);
  CHECK((*catalogue.FindMachine("dgx-h100-pcap"))->cost_weight == 4.76);  // like dgx-h100
  CHECK((*catalogue.FindMachine("dgx-h100-pcap"))->gpu_cap_w == 350);
}

TEST_CASE("a device that begins like another keeps what it does not say") {
  const Device& h200 = **Catalogue::BuiltIn().FindDevice("h200-141gb");

  CHECK(h200.memory_bytes == 141 * kGibibyte);
  CHECK(h200.bandwidth == 4800e9);
  CHECK(h200.efficiency.gemm_compute == 0.70);
  CHECK(h200.efficiency.overhead_us == 3.7);  // as h100-80gb
  CHECK(h200.tdp_w == 700);
  CHECK(h200.power.quality == "anchored");
}

TEST_CASE("the shapes of the built-in models have as many parameters as their names say") {
  const Catalogue& catalogue = Catalogue::BuiltIn();
  const auto billions = [&](const char* name) { return (*catalogue.FindModel(name))->Parameters() / 1e9; };

  CHECK(billions("bloom-176b") == Approx(176.2).epsilon(0.005));
  CHECK(billions("llama2-70b") == Approx(68.98).epsilon(0.005));
  CHECK(billions("llama-3-8b") == Approx(8.03).epsilon(0.005));
  CHECK(billions("llama-3-70b") == Approx(70.6).epsilon(0.005));
  CHECK(billions("llama-3.1-405b") == Approx(405.8).epsilon(0.005));
  CHECK(billions("llama-3.2-1b") == Approx(1.236).epsilon(0.005));
  CHECK(billions("mistral-7b") == Approx(7.24).epsilon(0.005));
  CHECK(billions("mixtral-8x7b") == Approx(46.7).epsilon(0.005));
  CHECK(billions("mixtral-8x22b") == Approx(140.6).epsilon(0.005));
  CHECK(billions("qwen2.5-0.5b") == Approx(0.494).epsilon(0.005));
  CHECK(billions("qwen2.5-7b") == Approx(7.61).epsilon(0.005));
  CHECK(billions("qwen2.5-72b") == Approx(72.7).epsilon(0.005));
  CHECK((*catalogue.FindModel("mixtral-8x7b"))->ActiveParameters() / 1e9 == Approx(12.9).epsilon(0.005));
}

TEST_CASE("KV follows the KV heads, and the paper's simulator counts every head") {
  const ModelShape& llama = **Catalogue::BuiltIn().FindModel("llama2-70b");
  const ModelShape& bloom = **Catalogue::BuiltIn().FindModel("bloom-176b");

  CHECK(llama.KvBytesPerToken() == 327'680);
  CHECK(llama.ReferenceKvBytesPerToken() == 2'621'440);
  CHECK(bloom.KvBytesPerToken() == 4'014'080);
  CHECK(bloom.ReferenceKvBytesPerToken() == 4'014'080);
  CHECK(llama.reference_weight_bytes == 135e9);
  CHECK(bloom.reference_weight_bytes == 329e9);
}

TEST_CASE("a file adds entries and replaces them, and the built-in catalogue stays as it is") {
  const auto catalogue = Catalogue::FromText(R"(
machines:
  - {name: my-box, device: l40s-48gb, devices: 2, base_w: 150, dollars_per_hour: 0.5}
  - {name: dgx-a100, like: dgx-a100, dollars_per_hour: 9.5}
models:
  - {name: mixtral-small, like: mixtral-8x7b, layers: 16}
tables:
  - model: mixtral-small
    machine: my-box
    tensor_parallel: 2
    knots: [{tokens: 1, prompt_ms: 2, token_ms: 3}, {tokens: 5, prompt_ms: 6, token_ms: 7}]
)",
                                             "mine.yaml");
  INFO(catalogue.status());
  REQUIRE(catalogue.ok());

  CHECK((*catalogue->FindMachine("my-box"))->devices == 2);
  CHECK((*catalogue->FindMachine("dgx-a100"))->dollars_per_hour == 9.5);
  CHECK((*catalogue->FindMachine("dgx-a100"))->power_weight == 24.8);
  CHECK((*catalogue->FindModel("mixtral-small"))->experts == 8);
  REQUIRE(catalogue->FindTable("mixtral-small", "my-box", 2) != nullptr);
  CHECK(catalogue->FindTable("mixtral-small", "my-box", 2)->token_ms == std::vector<double>{3, 7});
  CHECK(catalogue->FindTable("mixtral-small", "my-box", 1) == nullptr);
  CHECK(Catalogue::BuiltIn().FindMachine("my-box").status().code() == kNotFound);
  CHECK((*Catalogue::BuiltIn().FindMachine("dgx-a100"))->dollars_per_hour == 0);
}

TEST_CASE("every mistake of a catalogue is told with file, line and field, all at once") {
  const std::string problems = ProblemsOf(R"(devices:
  - {name: d1, memory_gib: 80, bandwidth_gbs: -1, bf16_tflops: 10, tdp_w: 50, idle_w: 60,
     pcie_gbs: 1, nic_gbs: 1}
machines:
  - {name: m1, device: nowhere, devices: 8, base_w: 1}
  - {name: m1, like: dgx-a100}
  - {name: "a b", like: dgx-b100}
models:
  - {name: x, like: llama-3-8b, kv_heads: 64, experts: 8, lairs: 3}
tables:
  - model: x
    machine: m2
    tensor_parallel: 0
    knots: [{tokens: 4, prompt_ms: 1, token_ms: 1}, {tokens: 4, prompt_ms: 1, token_ms: 1}]
)");

  INFO(problems);
  for (const char* line :
       {"mine.yaml:2:47: devices[0].bandwidth_gbs", "devices[0].idle_w: is more than tdp_w",
        "mine.yaml:5:24: machines[0].device: names no device",
        "machines[1].name: stands here for the second time", "machines[2].name: has other characters",
        "machines[2].like: names no entry before this one", "models[0].kv_heads: are more than heads",
        "models[0].experts: need experts_used", "models[0].lairs", "tables[0].machine: names no machine",
        "mine.yaml:13:22: tables[0].tensor_parallel", "tables[0].knots[1].tokens: do not rise"}) {
    CHECK_THAT(problems, Catch::Contains(line));
  }
}

TEST_CASE("a catalogue that is too large is refused before it is read") {
  CHECK_THAT(ProblemsOf(std::string((4U << 20) + 1, ' ')),
             Catch::Contains("mine.yaml: 4194305 bytes; a catalogue has at most"));
  std::string many = "machines:\n";
  for (int i = 0; i < 1001; ++i) many += "  - {name: m" + std::to_string(i) + ", like: dgx-a100}\n";
  CHECK_THAT(ProblemsOf(many), Catch::Contains("machines: has 1001 entries; at most 1000 are allowed"));
}

TEST_CASE("a catalogue is loaded from a file, and a missing one is told by its path") {
  const std::filesystem::path path = std::filesystem::temp_directory_path() / "baton_catalogue_test.yaml";
  std::ofstream(path) << "machines:\n  - {name: tiny, like: l40s-x8, devices: 1}\n";

  const auto catalogue = Catalogue::Load(path.string());
  std::filesystem::remove(path);

  INFO(catalogue.status());
  REQUIRE(catalogue.ok());
  CHECK((*catalogue->FindMachine("tiny"))->devices == 1);
  const auto missing = Catalogue::Load("/nowhere/c.yaml");
  CHECK_FALSE(missing.ok());
  CHECK_THAT(Message(missing.status()), Catch::Contains("/nowhere/c.yaml"));
}

TEST_CASE("a name that the catalogue lacks is answered with those that it has") {
  const auto machine = Catalogue::BuiltIn().FindMachine("dgx-b100");

  REQUIRE_FALSE(machine.ok());
  CHECK(machine.status().code() == kNotFound);
  CHECK_THAT(Message(machine.status()), Catch::Contains("machine \"dgx-b100\" is not in the catalogue"));
  CHECK_THAT(Message(machine.status()), Catch::Contains("dgx-a100, dgx-h100, dgx-h100-pcap"));
}

}  // namespace
}  // namespace baton::hardware
