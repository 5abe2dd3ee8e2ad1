#include "simulator/report/run_report.h"

#include <catch2/catch.hpp>

#include "common/json/value.h"

namespace baton::simulator {
namespace {

struct Made {
  Workload workload;
  RunResult result;
};

Made MadeRun() {
  Made made;
  for (int i = 0; i < 3; ++i) {
    made.workload.requests.push_back(
        {.id = 10 + i, .arrival_s = i * 1.0, .prompt_tokens = 100, .output_tokens = 20});
    RequestOutcome outcome;
    outcome.request = i;
    outcome.end = i == 2 ? RequestEnd::kRefused : RequestEnd::kDone;
    outcome.queue_s = 0.1;
    outcome.ttft_s = 0.25;
    outcome.tbt_s = 0.5;
    outcome.response_s = i == 0 ? 8 : 0.5;
    outcome.second_token_s = 0.125;
    outcome.prefill_machine = 0;
    outcome.decode_machine = 1;
    made.result.requests.push_back(outcome);
  }
  made.result.span_s = 10;
  made.result.last_arrival_s = 2;
  made.result.machines.resize(2);
  made.result.machines[0].name = "prefill-0";
  made.result.machines[0].timeline = {
      {.start_s = 0, .end_s = 1, .prompts = 1, .prompt_tokens = 100, .watts = 900}};
  made.result.machines[1].name = "decode-\"1\"";
  made.result.machines[1].timeline = {{.start_s = 1, .end_s = 9, .decodes = 2, .watts = 400},
                                      {.start_s = 9, .end_s = 10}};
  return made;
}

NamedRun Named(const Made& made, const std::string& name) {
  return {.name = name,
          .fleet = {.pools = {{.role = PoolRole::kMixed, .machine = "box", .machines = 2}}},
          .figures = {FiguresOf({.dollars_per_hour = 10, .watts = 500, .machines = 2, .pool_dollars = {10}},
                                made.workload, made.result, PaperSlo(), [](const WorkloadRequest&) {
                                  return AloneTimes{.ttft_s = 1, .tbt_s = 1, .e2e_s = 1};
                                })}};
}

TEST_CASE("what is not known of power is a dash, never a 0") {
  Made made = MadeRun();
  const auto cell = [&](const char* figure) {
    for (const auto& row : SummaryTable({Named(made, "a")}, false).rows) {
      if (row[0] == figure) return row[1];
    }
    return std::string("no such figure");
  };

  CHECK(cell("mean_kw") == "-");
  CHECK(cell("joules_per_token") == "-");
  const std::string json = RunsAsJson({Named(made, "a")}, {0}, PaperSlo(), "roofline");
  CHECK(json.find("\"mean_kw\":null") != std::string::npos);

  made.result.machines[0].energy_j = 5000;
  made.result.machines[0].output_tokens = 10;
  CHECK(cell("mean_kw") == "0.500");
  CHECK(cell("joules_per_token") == "500");
}

TEST_CASE(
    "the CSV of requests has the reference's columns, in order of completion, without what was refused") {
  const Made made = MadeRun();

  CHECK(RequestsAsCsv(made.workload, made.result) ==
        "request_ids,response_times,queue_times,ttft_times,tbt_times,nth_token_overheads,prompt_sizes,token_"
        "sizes\n"
        "11,0.5,0.1,0.25,0.5,0.125,100,20\n"
        "10,8,0.1,0.25,0.5,0.125,100,20\n");
}

TEST_CASE("a Perfetto trace is JSON with a slice for each busy piece and a span for each phase") {
  const Made made = MadeRun();

  const auto trace = json::Parse(AsPerfetto(made.workload, made.result));

  REQUIRE(trace.ok());
  const json::Array* events = trace->Find("traceEvents")->AsArray();
  REQUIRE(events != nullptr);
  int slices = 0;
  int begins = 0;
  int ends = 0;
  for (const json::Value& event : *events) {
    const std::string& phase = *event.Find("ph")->AsString();
    slices += phase == "X" ? 1 : 0;
    begins += phase == "b" ? 1 : 0;
    ends += phase == "e" ? 1 : 0;
    if (phase == "X" && *event.Find("name")->AsString() == "decode 2") {
      CHECK(event.Find("ts")->Number() == 1e6);
      CHECK(event.Find("dur")->Number() == 8e6);
    }
  }
  CHECK(slices == 2);
  CHECK(begins == ends);
  CHECK(begins == 10);  // request, queue, prefill, hand-off, decode of two
}

TEST_CASE("a trace shows no more requests than allowed") {
  const Made made = MadeRun();

  CHECK(AsPerfetto(made.workload, made.result, 0).find("\"ph\":\"b\"") == std::string::npos);
}

TEST_CASE("runs as JSON hold each seed's figures and every limit") {
  const Made made = MadeRun();

  const auto value = json::Parse(RunsAsJson({Named(made, "a")}, {7}, PaperSlo(), "roofline"));

  REQUIRE(value.ok());
  CHECK(*value->Find("schema_version")->AsInt() == 1);
  const json::Value& run = (*value->Find("runs")->AsArray())[0];
  CHECK(*run.Find("fleet")->AsString() == "mixed=2xbox");
  const json::Value& seed = (*run.Find("seeds")->AsArray())[0];
  CHECK(*seed.Find("seed")->AsInt() == 7);
  CHECK(seed.Find("figures")->Find("not_done")->Number() == 1);
  CHECK(seed.Find("slo")->Find("limits")->AsArray()->size() == 9);
  CHECK_FALSE(*seed.Find("slo")->Find("met")->AsBool());
}

TEST_CASE("differences are against the first run") {
  const Made made = MadeRun();
  NamedRun second = Named(made, "b");
  second.figures[0].price.dollars_per_hour = 15;

  const Table table = SummaryTable({Named(made, "a"), second}, true);

  CHECK(table.header == std::vector<std::string>{"figure", "a", "b", "change"});
  bool seen = false;
  for (const auto& row : table.rows) {
    if (row[0] != "dollars_per_hour") continue;
    seen = true;
    CHECK(row[3] == "+50.0 %");
  }
  CHECK(seen);
}

TEST_CASE("a difference that seeds do not show is marked") {
  const Made made = MadeRun();
  NamedRun first = Named(made, "a");
  first.figures = {first.figures[0], first.figures[0], first.figures[0]};
  NamedRun second = first;
  for (int i = 0; i < 3; ++i) second.figures[static_cast<std::size_t>(i)].queue_mean_s *= 0.8 + 0.3 * i;

  for (const auto& row : SummaryTable({first, second}, true).rows) {
    if (row[0] == "queue_mean_ms") CHECK(row[3] == "+10.0 ± 74.5 % (n.s.)");
  }
}

TEST_CASE("a page is whole in itself") {
  const Made made = MadeRun();

  const std::string page =
      RunsPage("A <run>", {{Named(made, "a"), &made.workload, &made.result}}, PaperSlo());

  CHECK(page.find("<script") == std::string::npos);
  CHECK(page.find("http") == std::string::npos);
  CHECK(page.find("A &lt;run&gt;") != std::string::npos);
  CHECK(page.find("Time to first token") != std::string::npos);
  CHECK(page.find("decode-&quot;1&quot;") != std::string::npos);
  CHECK(page.find("MISSED") != std::string::npos);
}

TEST_CASE("a picture of machines begins with the first arrival") {
  const Made made = MadeRun();
  Made later = made;
  for (WorkloadRequest& request : later.workload.requests) request.arrival_s += 1000;
  later.result.last_arrival_s += 1000;
  for (MachineUse& machine : later.result.machines) {
    for (TimelineSlice& slice : machine.timeline) {
      slice.start_s += 1000;
      slice.end_s += 1000;
    }
  }
  const auto page = [](const Made& of) {
    return RunsPage("run", {{Named(of, "a"), &of.workload, &of.result}}, PaperSlo());
  };

  CHECK(page(later) == page(made));
}

TEST_CASE("a recommendation says what binds, what is spare and what came second") {
  Recommendation found;
  Candidate best{.fleet = {.pools = {{.role = PoolRole::kMixed, .machine = "box", .machines = 2}}},
                 .dollars_per_hour = 20,
                 .watts = 1000,
                 .machines = 2,
                 .rate = 70,
                 .probe = {.feasible = true, .tightest = 0.8, .binding = "tbt_p99"}};
  found.best = best;
  found.headroom = 0.25;
  found.one_less = {{"2 x box mixed", best}};
  found.one_less[0].candidate.probe = {.feasible = false, .tightest = 1.3, .binding = "ttft_p90"};
  found.evaluations = 12;

  const std::string text = RecommendationText(found, {.objective = Objective::kCheapest}, "roofline");

  CHECK(text ==
        "cheapest        mixed=2xbox\n"
        "                70.0 requests/s: 2 machines, 20.0 $/h, 1.00 kW rated\n"
        "binding         tbt_p99 at 80 % of its limit\n"
        "headroom        the rate may grow by 25 %\n"
        "one less        of 2 x box mixed: ttft_p90 at 130 % of its limit\n"
        "runner-up       no other pair of types within 15 %\n"
        "step times      roofline\n"
        "searched        12 simulations\n");
  CHECK(json::Parse(RecommendationJson(found, {.objective = Objective::kCheapest}, "roofline")).ok());
  CHECK(SearchPage("t", found, Objective::kCheapest).find("mixed=2xbox") != std::string::npos);
}

TEST_CASE("that nothing was found is said") {
  CHECK(RecommendationText({}, {}, "") ==
        "No fleet of the allowed machines meets the objectives, with up to 48 times the machines of a type "
        "that "
        "analysis expects (0 simulations).\n");
  CHECK(RecommendationText({}, {.objective = Objective::kFastest, .budget = {.machines = 3}}, "") ==
        "No fleet of the allowed machines meets the objectives within the budget (0 simulations).\n");
  Recommendation interrupted;
  interrupted.interrupted = true;
  interrupted.evaluations = 2;
  CHECK(RecommendationText(interrupted, {}, "") ==
        "Interrupted after 2 simulations, before any fleet was found.\n");
}

}  // namespace
}  // namespace baton::simulator
