#include <csignal>
#include <filesystem>
#include <optional>

#include <catch2/catch.hpp>

#include "common/json/value.h"
#include "tests/simulator/cli/baton_sim.h"
#include "tests/support/shared_data.h"
#include "tests/support/temporary_folder.h"

namespace baton::test {
namespace {

/// Arguments of a small load in the mode that needs least.
std::vector<std::string> Small(std::vector<std::string> arguments) {
  for (const char* each :
       {"--mode", "splitwise", "--model", "bloom-176b", "--rate", "4", "--duration", "20"}) {
    arguments.emplace_back(each);
  }
  return arguments;
}

TEST_CASE("a simulation says which objectives are met, and the same for the same seed") {
  const auto arguments =
      Small({"simulate", "--fleet", "prefill=2xdgx-h100,decode=1xdgx-h100", "--seed", "3"});

  const RunResult first = BatonSim(arguments);
  const RunResult second = BatonSim(arguments);

  CHECK(first.exit == 0);
  CHECK(Contains(first.output, "ttft_p99"));
  CHECK(Contains(first.output, "tbt_p50_ms"));
  CHECK(first.output == second.output);
}

TEST_CASE("results do not depend on the number of threads") {
  const auto arguments = Small({"compare", "a=mixed=2xdgx-h100", "b=mixed=4xdgx-a100", "--seeds", "1,2,3"});
  auto one = arguments;
  one.insert(one.end(), {"--jobs", "1"});
  auto three = arguments;
  three.insert(three.end(), {"--jobs", "3"});

  const RunResult first = BatonSim(one);

  CHECK(first.exit == 0);
  CHECK(Contains(first.output, "change"));
  CHECK(Contains(first.output, "±"));
  CHECK(first.output == BatonSim(three).output);
}

TEST_CASE("a missed objective is exit code 3 with --check") {
  const RunResult missed =
      BatonSim(Small({"simulate", "--fleet", "mixed=1xdgx-a100", "--slo", "ttft_p50=1ms", "--check"}));

  CHECK(missed.exit == 3);
  CHECK(Contains(missed.output, "MISSED"));
  CHECK(BatonSim(Small({"simulate", "--fleet", "mixed=1xdgx-a100", "--slo", "ttft_p50=1ms"})).exit == 0);
}

TEST_CASE("output is JSON on demand, and files are written beside it") {
  const TemporaryFolder folder;
  auto arguments = Small({"simulate", "--fleet", "prefill=1xdgx-h100,decode=1xdgx-h100", "--output", "json"});
  for (const auto& [option, file] :
       {std::pair{"--requests-out", "r.csv"}, {"--html", "r.html"}, {"--perfetto", "r.json"}}) {
    arguments.insert(arguments.end(), {option, folder.Path() + "/" + file});
  }

  const RunResult result = BatonSim(arguments);

  CHECK(result.exit == 0);
  CHECK(json::Parse(result.output).ok());
  CHECK(ReadFile(folder.Path() + "/r.csv").starts_with("request_ids,response_times,"));
  CHECK(Contains(ReadFile(folder.Path() + "/r.html"), "</svg>"));
  CHECK(json::Parse(ReadFile(folder.Path() + "/r.json"), {.bytes = 64U << 20}).ok());
}

TEST_CASE("what cannot be simulated is named, with exit code 2") {
  const auto problem = [](const std::vector<std::string>& arguments) {
    const RunResult result = BatonSim(arguments);
    CHECK(result.exit == 2);
    return result.output;
  };

  CHECK(Contains(problem(Small({"simulate", "--fleet", "mixed=1xno-such"})), "no-such"));
  CHECK(Contains(problem(Small({"simulate", "--fleet", "mixed=x"})), "no whole number of machines"));
  CHECK(Contains(problem({"simulate", "--fleet", "mixed=1xdgx-h100", "--model", "gpt-9", "--rate", "1"}),
                 "gpt-9"));
  CHECK(Contains(problem({"simulate", "--fleet", "mixed=1xdgx-h100"}), "--rate is needed"));
  CHECK(Contains(problem(Small({"simulate", "--fleet", "mixed=1xdgx-h100", "--slo", "ttft=3"})),
                 "slo: 'ttft=3'"));
  CHECK(Contains(problem(Small({"simulate", "--fleet", "f.yaml"})), "f.yaml"));
  CHECK(Contains(problem({"simulate", "--fleet", "mixed=1xdgx-h100@20w", "--rate", "1"}),
                 "a cap of 20 W a GPU is not above the 75 W that h100-80gb draws idle"));
}

TEST_CASE("a warm-up that lasts for the whole load is an error, not an objective that is met") {
  auto arguments = Small({"simulate", "--fleet", "mixed=4xdgx-h100", "--warm-up", "10", "--check"});
  CHECK(BatonSim(arguments).exit == 0);
  arguments[4] = "20";  // seconds, as the load lasts

  const RunResult result = BatonSim(arguments);

  CHECK(result.exit == 2);
  CHECK(Contains(result.output, "--warm-up: "));
  CHECK(Contains(result.output, "nothing arrives after the first 20 s"));
}

TEST_CASE("a replayed part of a trace is scaled to the rate by its own rate") {
  const TemporaryFolder folder;
  const std::string path = folder.Path() + "/slow-then-fast.csv";
  std::string text = "arrival_s,prompt_tokens,output_tokens\n";
  for (int i = 0; i <= 50; ++i) text += fmt::format("{},100,5\n", 2 * i);
  for (int i = 1; i <= 2000; ++i) text += fmt::format("{},100,5\n", 100 + i * 0.05);
  WriteFile(path, text);
  const auto offered = [&](std::vector<std::string> rate) {
    std::vector<std::string> arguments{
        "simulate", "--fleet", "mixed=2xdgx-h100", "--trace", path,         "--duration", "101", "--slo",
        "none",     "--mode",  "splitwise",        "--model", "bloom-176b", "--output",   "json"};
    arguments.insert(arguments.end(), rate.begin(), rate.end());
    const RunResult result = BatonSim(arguments);
    INFO(result.output);
    REQUIRE(result.exit == 0);
    const auto value = json::Parse(result.output);
    REQUIRE(value.ok());
    const json::Value& run = (*value->Find("runs")->AsArray())[0];
    return (*run.Find("seeds")->AsArray())[0].Find("figures")->Find("offered_rps")->Number();
  };

  CHECK(offered({}) == Approx(0.7).epsilon(0.05));
  CHECK(offered({"--rate", "2"}) == Approx(2).epsilon(0.05));
}

TEST_CASE("requests that no machine could hold are counted, and their objectives are never met") {
  const TemporaryFolder folder;
  const std::string trace = folder.Path() + "/huge.csv";
  WriteFile(trace, "arrival_s,prompt_tokens,output_tokens\n0,16777216,5\n1,100,5\n2,5,16777216\n");

  const RunResult run = BatonSim({"simulate", "--fleet", "mixed=1xdgx-h100", "--trace", trace});

  CHECK(run.exit == 0);
  CHECK(Contains(run.output, "2 of 3 requests were not served: 2 refused, 0 failed, 0 unfinished"));
  CHECK(Contains(run.output, "never"));
  CHECK_FALSE(Contains(run.output, "infx"));
}

TEST_CASE("a machine that has been lent for long changes its home where the command line says so") {
  auto never = Small({"simulate", "--fleet", "prefill=4xdgx-h100,decode=1xdgx-a100"});
  never[never.size() - 3] = "12";  // requests a second: too many for one machine to decode
  REQUIRE(never[never.size() - 4] == "--rate");
  auto soon = never;
  soon.insert(soon.end(), {"--repurpose-after", "1"});
  auto late = never;
  late.insert(late.end(), {"--repurpose-after", "1000000"});

  const RunResult as_it_was = BatonSim(never);
  const RunResult changed = BatonSim(soon);

  CHECK(as_it_was.exit == 0);
  CHECK(changed.exit == 0);
  CHECK(changed.output != as_it_was.output);
  CHECK(BatonSim(late).output == as_it_was.output);
}

TEST_CASE("machines fail, drain and return as a file says") {
  const TemporaryFolder folder;
  const std::string file = folder.Path() + "/events.yaml";
  const std::vector<std::string> fleet{"simulate", "--fleet", "prefill=1xdgx-h100,decode=2xdgx-h100",
                                       "--rate",   "4",       "--duration",
                                       "20",       "--slo",   "none",
                                       "--output", "json",    "--events",
                                       file};
  const auto not_done = [&](const std::string& events) {
    WriteFile(file, events);
    const RunResult result = BatonSim(fleet);
    INFO(result.output);
    REQUIRE(result.exit == 0);
    const auto value = json::Parse(result.output);
    REQUIRE(value.ok());
    const json::Value& run = value->Find("runs")->AsArray()->at(0);
    return run.Find("seeds")->AsArray()->at(0).Find("figures")->Find("not_done")->Number();
  };

  CHECK(not_done("events:\n  - {at: 5s, machine: decode-0, what: fail}\n") == 0);
  // The only prefill machine: decode machines lend themselves. All three: nobody is left.
  CHECK(not_done("events:\n  - {at: 5s, machine: prefill-0, what: fail}\n") == 0);
  CHECK(not_done("events:\n  - {at: 5s, machine: prefill-0, what: fail}\n"
                 "  - {at: 5s, machine: decode-0, what: fail}\n"
                 "  - {at: 5s, machine: decode-1, what: fail}\n") > 0);
  CHECK(not_done("events:\n  - {at: 5s, machine: decode-1, what: drain}\n"
                 "  - {at: 9s, machine: decode-1, what: return}\n") == 0);

  WriteFile(file, "events:\n  - {at: 5s, machine: decode-2, what: fail}\n");
  const RunResult unknown = BatonSim(fleet);
  CHECK(unknown.exit == 2);
  CHECK(Contains(unknown.output, "events.yaml:2:"));
  auto splitwise = Small({"simulate", "--fleet", "mixed=1xdgx-h100", "--events", file});
  CHECK(Contains(BatonSim(splitwise).output, "--events: mode splitwise has no failures"));
}

TEST_CASE("a fleet may be a file, whose mistakes are named by line") {
  const TemporaryFolder folder;
  WriteFile(folder.Path() + "/good.yaml",
            "pools:\n  - role: mixed\n    machine: dgx-h100\n    machines: 2\n");
  WriteFile(folder.Path() + "/bad.yaml", "pools:\n  - role: both\n    machine: dgx-h100\n    machines: 2\n");

  CHECK(BatonSim(Small({"simulate", "--fleet", folder.Path() + "/good.yaml"})).exit == 0);
  const RunResult bad = BatonSim(Small({"simulate", "--fleet", folder.Path() + "/bad.yaml"}));
  CHECK(bad.exit == 2);
  CHECK(Contains(bad.output, "bad.yaml:2:"));
}

TEST_CASE("a recommended fleet meets the objectives, and one machine less does not") {
  const RunResult found =
      BatonSim(Small({"recommend", "--machines", "dgx-h100,dgx-a100", "--output", "json"}));

  CHECK(found.exit == 0);
  const auto value = json::Parse(found.output);
  REQUIRE(value.ok());
  const std::string fleet = *value->Find("best")->Find("fleet")->AsString();
  CHECK(BatonSim(Small({"simulate", "--fleet", fleet, "--check"})).exit == 0);
  for (const json::Value& less : *value->Find("one_less")->AsArray()) {
    CHECK_FALSE(*less.Find("candidate")->Find("feasible")->AsBool());
  }
}

TEST_CASE("that no fleet can meet the objectives is exit code 3") {
  const RunResult none = BatonSim(Small({"recommend", "--machines", "dgx-a100", "--slo", "ttft_p50=1ms"}));

  CHECK(none.exit == 3);
  CHECK(Contains(none.output, "No fleet of the allowed machines meets the objectives"));
}

TEST_CASE("a type on which a model of one's own does not fit is left out in mode splitwise, too") {
  const TemporaryFolder folder;
  const std::string path = folder.Path() + "/mine.yaml";
  std::string text = "models:\n  - {name: big-one, like: llama-3-8b, layers: 400}\ntables:\n";
  for (const int degree : {2, 8}) {
    text += fmt::format(
        "  - {{model: big-one, machine: dgx-h100, tensor_parallel: {}, knots: [{{tokens: 1, prompt_ms: 20, "
        "token_ms: "
        "9}}, {{tokens: 9000, prompt_ms: 900, token_ms: 10}}]}}\n",
        degree);
  }
  WriteFile(path, text);

  const RunResult found = BatonSim({"recommend", "--machines", "dgx-h100/2,dgx-h100", "--mode", "splitwise",
                                    "--model", "big-one", "--catalogue", path, "--rate", "2", "--duration",
                                    "20", "--slo", "ttft_p99=10s", "--roles", "mixed"});

  INFO(found.output);
  CHECK(found.exit == 0);
  CHECK(Contains(found.output, "left out: dgx-h100/2: big-one does not fit into its memory"));
}

TEST_CASE("a sweep of more points than anybody waits for is refused at once") {
  const auto problem = [](const std::string& fleets, const std::string& rates) {
    const RunResult result = BatonSim(Small({"sweep", fleets, "--rates", rates}));
    CHECK(result.exit == 2);
    return result.output;
  };

  CHECK(Contains(problem("mixed=1..1000xdgx-h100", "1..100000"),
                 "sweep: 1000 fleets x 100000 rates x 1 seeds are more than 1000000 points"));
  CHECK(Contains(problem("mixed=9223372036854775800..9223372036854775807:5xdgx-h100", "1"),
                 "is no range such as"));
}

TEST_CASE("output that cannot be written is an error") {
  const auto into_full = [](const std::string& arguments) {
    return RunToEnd(
        {"/bin/sh", "-c", std::string(BATON_PROGRAMS) + "/baton-sim " + arguments + " > /dev/full"},
        std::chrono::seconds(60));
  };
  for (const char* arguments :
       {"--help", "simulate --fleet mixed=1xdgx-h100 --rate 1 --duration 5 --output json",
        "sweep mixed=1xdgx-h100 --rate 1 --duration 5", "trace synth --rate 100 --duration 100"}) {
    const RunResult result = into_full(arguments);
    INFO(arguments << ": " << result.output);
    CHECK(result.exit == 2);
    CHECK(Contains(result.output, "No space left on device"));
  }
}

TEST_CASE("shards of a sweep merge into what one sweep gives") {
  const TemporaryFolder folder;
  const auto sweep = [&](const std::string& shard, const std::string& file) {
    return BatonSim(Small({"sweep", "mixed=1..3xdgx-h100", "--rates", "2..6:2", "--shard", shard, "--out",
                           folder.Path() + "/" + file}))
        .exit;
  };
  CHECK(sweep("0/1", "all.csv") == 0);
  CHECK(sweep("0/2", "0.csv") == 0);
  CHECK(sweep("1/2", "1.csv") == 0);

  const RunResult merged = BatonSim({"merge", folder.Path() + "/1.csv", folder.Path() + "/0.csv"});

  CHECK(merged.exit == 0);
  CHECK(merged.output == ReadFile(folder.Path() + "/all.csv"));
  const RunResult part = BatonSim({"merge", folder.Path() + "/1.csv", "--out", folder.Path() + "/part.csv"});
  CHECK(part.exit == 2);
  CHECK(Contains(part.output, "of 9 points 5 are missing: 0, 2, 4, 6, 8"));
  CHECK(ReadFile(folder.Path() + "/part.csv") == ReadFile(folder.Path() + "/1.csv"));
  CHECK(sweep("8/9", "last.csv") == 0);
  CHECK(
      Contains(BatonSim({"merge", folder.Path() + "/last.csv"}).output, "missing: 0, 1, 2, 3, 4, 5, 6, 7;"));
  const std::string header =
      ReadFile(folder.Path() + "/1.csv").substr(0, ReadFile(folder.Path() + "/1.csv").find('\n') + 1);
  WriteFile(folder.Path() + "/far.csv", header + "0,900000000000,x\n");
  const RunResult far = BatonSim({"merge", folder.Path() + "/far.csv"});
  CHECK(far.exit == 2);
  CHECK(Contains(far.output,
                 "of 900000000000 points 899999999999 are missing: 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, ..."));
  const RunResult other = BatonSim({"merge", folder.Path() + "/1.csv", folder.Path() + "/far.csv"});
  CHECK(other.exit == 2);
  CHECK(Contains(other.output,
                 "far.csv:2: point 0 of 900000000000: is of another sweep; before, there were 9"));
  WriteFile(folder.Path() + "/empty.csv", "");
  CHECK(Contains(BatonSim({"merge", folder.Path() + "/empty.csv"}).output, "empty.csv: is empty"));
}

TEST_CASE("rates of a sweep are ranges, lists and fractions") {
  const RunResult sweep =
      BatonSim(Small({"sweep", "mixed=1xdgx-h100", "--rates", "0.5,1..2:0.5", "--output", "json"}));

  CHECK(sweep.exit == 0);
  const auto rows = json::Parse(sweep.output.substr(sweep.output.find('[')));
  REQUIRE(rows.ok());
  std::vector<double> rates;
  for (const json::Value& row : *rows->AsArray()) rates.push_back(row.Find("rate")->Number());
  CHECK(rates == std::vector<double>{0.5, 1, 1.5, 2});
  CHECK(BatonSim(Small({"sweep", "mixed=1xdgx-h100", "--rates", "3..1"})).exit == 2);
  CHECK(BatonSim(Small({"sweep", "mixed=1xdgx-h100", "--rates", "1,,2"})).exit == 2);
}

TEST_CASE("machines are compared on times of one kind, and which is said") {
  const auto times = [](std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"--rate", "2", "--duration", "20", "--seeds", "1"});
    const RunResult result = BatonSim(arguments);
    CHECK(result.exit == 0);
    const std::size_t at = result.output.find("step times: ");
    REQUIRE(at != std::string::npos);
    return result.output.substr(at, result.output.find('\n', at) - at);
  };

  CHECK(times({"simulate", "--fleet", "mixed=2xdgx-h100"}) == "step times: measured (eager vLLM of 2023)");
  CHECK(Contains(times({"compare", "mixed=2xdgx-h100", "mixed=2xhgx-h200"}),
                 "roofline for all, for there are no measurements of llama2-70b on hgx-h200"));
  CHECK(Contains(times({"compare", "mixed=2xdgx-h100", "mixed=2xhgx-h200", "--step-times", "best"}),
                 "hgx-h200 roofline; this compares engines as well as machines"));
  CHECK(times({"simulate", "--fleet", "mixed=2xdgx-h100", "--step-times", "table"}) == "step times: table");
}

TEST_CASE("a table of step times may come from a file") {
  const TemporaryFolder folder;
  const std::string path = folder.Path() + "/times.csv";
  std::string text =
      "model,hardware,tensor_parallel,prompt_size,batch_size,token_size,prompt_time,token_time\n";
  for (const char* machine : {"dgx-h100", "dgx-a100"}) {
    for (const int prompt : {1, 100'000}) {
      text += fmt::format("llama2-70b,{},8,{},1,128,{},7\n", machine, prompt, prompt * 0.1);
    }
  }
  WriteFile(path, text);

  const RunResult result = BatonSim({"simulate", "--fleet", "mixed=1xdgx-h100", "--rate", "1", "--duration",
                                     "20", "--perf-table", path, "--output", "json"});

  CHECK(result.exit == 0);
  const auto value = json::Parse(result.output);
  REQUIRE(value.ok());
  CHECK(*value->Find("step_times")->AsString() == "table of " + path);
  const json::Value& figures =
      *(*(*value->Find("runs")->AsArray())[0].Find("seeds")->AsArray())[0].Find("figures");
  CHECK(figures.Find("tbt_p50_ms")->Number() >= 7);
  CHECK(figures.Find("tbt_p50_ms")->Number() < 100);
  const RunResult mixed = BatonSim({"simulate", "--fleet", "mixed=1xdgx-h100-pcap", "--rate", "1",
                                    "--duration", "20", "--step-times", "table", "--perf-table", path});
  CHECK(mixed.exit == 2);  // not the built-in table of another engine
  CHECK(Contains(mixed.output, "no table of times for llama2-70b on dgx-h100-pcap"));
  WriteFile(path, text + "gpt-9,dgx-h100,8,1,1,1,1,1\n");
  const RunResult bad = BatonSim(
      {"simulate", "--fleet", "mixed=1xdgx-h100", "--rate", "1", "--duration", "20", "--perf-table", path});
  CHECK(bad.exit == 2);
  CHECK(Contains(bad.output, "times.csv: line 6: model \"gpt-9\""));
}

TEST_CASE("instances of a few GPUs can be bought") {
  const RunResult found = BatonSim({"recommend", "--machines", "dgx-h100/4,dgx-h100", "--rate", "3",
                                    "--duration", "20", "--roles", "mixed", "--output", "json"});

  CHECK(found.exit == 0);
  const auto value = json::Parse(found.output);
  REQUIRE(value.ok());
  bool halves = false;
  for (const json::Value& design : *value->Find("designs")->AsArray()) {
    halves = halves || Contains(*design.Find("fleet")->AsString(), "xdgx-h100/4");
  }
  CHECK(halves);
  CHECK(BatonSim({"recommend", "--machines", "dgx-h100/0", "--rate", "3"}).exit == 2);
}

TEST_CASE("an unknown policy is answered with the names of those there are") {
  const RunResult result = BatonSim(Small({"simulate", "--fleet", "mixed=1xdgx-h100", "--policy", "best"}));

  CHECK(result.exit == 2);
  CHECK(Contains(result.output, "token-jsq"));
}

TEST_CASE("explain shows what binds and what a change would do") {
  const RunResult result = BatonSim(Small({"explain", "--fleet", "prefill=1xdgx-h100,decode=1xdgx-h100"}));

  CHECK(result.exit == 0);
  CHECK(Contains(result.output, "what binds:"));
  CHECK(Contains(result.output, "decode wait"));
  for (const char* slowest : {"slowest first token", "slowest time between tokens", "slowest response"}) {
    CHECK(Contains(result.output, slowest));
  }
  CHECK(Contains(result.output, "load +20 %"));
  CHECK(Contains(result.output, "+1 dgx-h100 prefill"));

  const RunResult numbers =
      BatonSim(Small({"explain", "--fleet", "prefill=1xdgx-h100,decode=1xdgx-h100", "--output", "json"}));
  const auto changes = json::Parse(numbers.output.substr(numbers.output.find('[')));
  REQUIRE(changes.ok());
  CHECK(changes->AsArray()->front().Find("ttft_p99_s")->IsNumber());
  CHECK(changes->AsArray()->front().Find("slo_tightest")->IsNumber());
}

TEST_CASE("an exported fleet has a file for each worker") {
  const TemporaryFolder folder;
  const RunResult result =
      BatonSim({"export", "--fleet", "prefill=2xdgx-h100,decode=1xdgx-h100@350w", "--out", folder.Path()});

  CHECK(result.exit == 0);
  CHECK(std::filesystem::exists(folder.Path() + "/router.yaml"));
  CHECK(Contains(ReadFile(folder.Path() + "/prefill-1.yaml"), "name: prefill-1"));
  CHECK(Contains(ReadFile(folder.Path() + "/systemd/decode-0/baton-decode.service.d/10-fleet.conf"),
                 "--power-limit=350"));
  CHECK(BatonSim({"export", "--fleet", "mixed=2xdgx-h100", "--out", folder.Path()}).exit == 2);
}

TEST_CASE("exported workers have the GPUs with which they were simulated, or there are none") {
  const TemporaryFolder folder;
  const std::string one = folder.Path() + "/one.yaml";
  WriteFile(one, "machines:\n  - {name: half-box, like: dgx-h100, devices: 4}\n");
  const auto problem = [&](const std::string& fleet) {
    const RunResult result = BatonSim({"export", "--fleet", fleet, "--out", folder.Path() + "/none"});
    CHECK(result.exit == 2);
    return result.output;
  };

  const RunResult result = BatonSim({"export", "--fleet", "prefill=1xdgx-h100,decode=1xhalf-box",
                                     "--catalogue", one, "--out", folder.Path()});
  INFO(result.output);
  CHECK(result.exit == 0);
  CHECK(Contains(ReadFile(folder.Path() + "/prefill-0.yaml"), "compute:\n  device: 0\n  ranks: 8\n"));
  CHECK(Contains(ReadFile(folder.Path() + "/decode-0.yaml"), "compute:\n  device: 0\n  ranks: 4\n"));
  CHECK(Contains(problem("prefill=1xdgx-h100/4,decode=1xdgx-h100"),
                 "prefill=1xdgx-h100/4: 2 instances share a machine"));
  CHECK(
      Contains(problem("prefill=1xdgx-h100/64,decode=1xdgx-h100"), "64 GPUs an instance, a dgx-h100 has 8"));
  CHECK(Contains(problem("prefill=1xdgx-h100/6,decode=1xdgx-h100"), "a worker has 1, 2, 4 or 8 ranks"));
  CHECK_FALSE(std::filesystem::exists(folder.Path() + "/none"));
}

TEST_CASE("an interrupt prints what is known and exits with 130") {
  const TemporaryFolder folder;
  const std::string log = folder.Path() + "/log";
  Process process({std::string(BATON_PROGRAMS) + "/baton-sim", "sweep", "mixed=40..4000xdgx-h100", "--mode",
                   "splitwise", "--model", "bloom-176b", "--rate", "60", "--jobs", "1"},
                  log);
  // The handler is there once the program reads its options; SIGINT is sent until it has been seen.
  std::optional<int> exit;
  for (int i = 0; i < 200 && !exit; ++i) {
    exit = process.WaitExit(std::chrono::milliseconds(300));
    if (!exit && i == 1) process.Signal(SIGINT);
  }

  REQUIRE(exit);
  CHECK(*exit == 130);
  CHECK(Contains(process.Log(), "point,points,fleet,rate"));
}

}  // namespace
}  // namespace baton::test
