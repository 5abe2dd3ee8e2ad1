#include "engine/worker/energy_meter.h"

#include <atomic>
#include <functional>
#include <vector>

#include <catch2/catch.hpp>

#include "common/base/error.h"

namespace baton::engine {
namespace {

using std::chrono::milliseconds;

constexpr RequestKey kKey{RequestId(5), Attempt(1)};

/// A joule more each time it is read.
struct Script {
  std::atomic<std::int64_t> joules = 0;
  std::atomic<bool> broken = false;
};

class ScriptedSensor final : public sensors::PowerSensor {
 public:
  explicit ScriptedSensor(Script& script) : script_(script) {}
  std::string Source() const override { return "scripted"; }
  std::string Name() const override { return "none"; }
  absl::StatusOr<sensors::PowerReading> Read() override {
    const std::int64_t joules = ++script_.joules;
    if (script_.broken) return Error(kFailedPrecondition, "broken");
    return sensors::PowerReading{.energy_uj = joules * 1'000'000, .cap_watts = 350};
  }
  absl::Status SetCap(double) override { return absl::OkStatus(); }
  absl::Status LockClock(double) override { return absl::OkStatus(); }

 private:
  Script& script_;
};

/// A control loop with a meter on it.
struct Bench {
  net::EventLoop loop;
  metrics::Registry registry;
  Script script;
  bool idle = true;
  std::unique_ptr<EnergyMeter> meter;

  explicit Bench(Duration interval) {
    meter = std::make_unique<EnergyMeter>(
        loop, std::make_unique<ScriptedSensor>(script), registry,
        EnergyMeter::Options{
            .interval = interval, .role = "decode", .cost = {.weights = 1, .kv_position = 1}},
        [this] { return idle; });
  }
  double Value(const std::string& name) const {
    const std::string text = registry.Text();
    const std::size_t at = text.find("\n" + name);
    REQUIRE(at != std::string::npos);
    return std::stod(text.substr(text.find("} ", at) + 2));
  }
  double Joules(const std::string& phase) const {
    return Value("baton_energy_joules_total{phase=\"" + phase + "\"");
  }
  /// Runs the loop through `stages`, each until it is true. A loop runs once. A test that waits in vain is
  /// ended by its limit.
  void Run(const std::vector<std::function<bool()>>& stages) {
    std::size_t stage = 0;
    net::Timer timer;
    std::function<void()> look = [&] {
      while (stage < stages.size() && stages[stage]()) ++stage;
      if (stage == stages.size()) return loop.Stop();
      timer = loop.After(milliseconds(1), look);
    };
    loop.Post(look);
    loop.Run();
  }
  void Step() {
    meter->OnStep({.duration = milliseconds(5),
                   .parts = {{.key = kKey, .tokens = 1, .positions = 9, .decoding = true}}});
  }
};

TEST_CASE("an idle worker's energy is idle, and its power and cap are told") {
  Bench bench(milliseconds(2));

  bench.Run({[&] { return bench.Joules("idle") >= 3; }});

  CHECK(bench.Joules("prompt") == 0);
  CHECK(bench.Joules("answer") == 0);
  CHECK(bench.meter->Now().watts > 0);
  CHECK(bench.meter->Now().cap_watts == 350);
  CHECK(bench.meter->Now().step_watts == 0);
  CHECK(bench.Value("baton_power_cap_watts") == 350);
}

TEST_CASE("while a step runs nothing is read but at its end") {
  Bench bench(milliseconds(1));
  bench.idle = false;
  std::int64_t turns = 0;

  bench.Run({[&] { return bench.Value("baton_power_cap_watts") == 350 && ++turns == 20; }});

  CHECK(bench.script.joules == 1);  // that of the start
}

TEST_CASE("a request's joules are told when it has ended, and are those of its steps") {
  Bench bench(Duration(1));
  bench.idle = false;
  double before = -1;

  bench.Run({[&] {
               bench.Step();
               return bench.Joules("answer") > 2;
             },
             [&] {
               before = bench.Value("baton_request_energy_joules_count");
               bench.meter->OnEnded(kKey);
               bench.idle = true;
               return true;
             },
             [&] { return bench.Value("baton_request_energy_joules_count") == 1; }});

  CHECK(before == 0);
  CHECK(bench.Value("baton_request_energy_joules_sum") == Approx(bench.Joules("answer")));
  CHECK(bench.meter->Now().step_watts > 0);
}

TEST_CASE("a reading that fails is counted, and its energy is in the next one") {
  Bench bench(milliseconds(1));
  double before = 0;

  bench.Run({[&] { return bench.Joules("idle") >= 1; },
             [&] {
               bench.script.broken = true;
               before = bench.Joules("idle");
               return true;
             },
             [&] { return bench.Value("baton_power_read_failures_total") >= 2; },
             [&] {
               bench.script.broken = false;
               before = bench.Joules("idle");
               return true;
             },
             [&] { return bench.Joules("idle") > before; }});

  CHECK(bench.Joules("idle") >= before + 3);
}

TEST_CASE("a sensor that is asked for by name must be there; auto does without") {
  const auto asked = OpenSensor({.sensor = "nvml"}, "cpu/avx2/bf16");
  CHECK(Message(asked.status()).starts_with("power.sensor nvml: "));
  const auto automatic = OpenSensor({}, "cuda/sm90/bf16");
  CHECK(automatic.ok());
  CHECK_FALSE(OpenSensor({.cap_watts = 300}, "cuda/sm90/bf16").ok());
  const auto off = OpenSensor({.sensor = "off"}, "cpu/avx2/bf16");
  REQUIRE(off.ok());
  CHECK(*off == nullptr);
}

}  // namespace
}  // namespace baton::engine
