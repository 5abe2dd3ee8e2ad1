#include "simulator/trace/synthesis.h"

#include <catch2/catch.hpp>

#include "common/base/error.h"
#include "simulator/trace/trace_stats.h"

namespace baton::simulator {
namespace {

Workload Made(const ArrivalOptions& arrivals, const LengthOptions& lengths = {}, std::uint64_t seed = 1) {
  auto workload = Synthesize(arrivals, lengths, seed);
  REQUIRE(workload.ok());
  return *std::move(workload);
}

TEST_CASE("Poisson arrivals have the rate asked for and gaps of variation one") {
  const TraceStats stats = StatsOf(Made({.rate = 50, .duration_s = 1000}));

  CHECK(stats.rate == Approx(50).epsilon(0.02));
  CHECK(stats.gap_cv == Approx(1).epsilon(0.03));
}

TEST_CASE("gaps of Gamma arrivals vary as asked") {
  for (const double cv : {0.3, 1.0, 3.0}) {
    const TraceStats stats =
        StatsOf(Made({.process = ArrivalProcess::kGamma, .rate = 50, .duration_s = 4000, .cv = cv}));
    CHECK(stats.rate == Approx(50).epsilon(0.05));
    CHECK(stats.gap_cv == Approx(cv).epsilon(0.05));
  }
}

TEST_CASE("a bursty load keeps its mean rate and bunches within minutes") {
  const TraceStats calm = StatsOf(Made({.rate = 20, .duration_s = 20000}));
  const TraceStats bursty =
      StatsOf(Made({.process = ArrivalProcess::kMmpp, .rate = 20, .duration_s = 20000, .burst_ratio = 8}));

  CHECK(bursty.rate == Approx(20).epsilon(0.08));
  CHECK(calm.dispersion_60s < 1.5);
  CHECK(bursty.dispersion_60s > 20);
}

TEST_CASE("lengths drawn in pairs keep the sample's pairs, drawn apart they do not") {
  LengthOptions lengths;
  for (std::int64_t i = 1; i <= 50; ++i)
    lengths.sample.push_back({.prompt_tokens = i * 10, .output_tokens = i});
  lengths.paired = true;
  const TraceStats paired = StatsOf(Made({.rate = 100, .duration_s = 50}, lengths));
  lengths.paired = false;
  const TraceStats apart = StatsOf(Made({.rate = 100, .duration_s = 50}, lengths));

  CHECK(paired.pearson == Approx(1));
  CHECK(std::abs(apart.pearson) < 0.05);
  CHECK(apart.prompt.mean == Approx(255).epsilon(0.03));
}

TEST_CASE("log-normal lengths have the median asked for and stay within the limit") {
  const TraceStats stats = StatsOf(Made({.rate = 100, .duration_s = 200},
                                        {.prompt_median = 800, .prompt_sigma = 1.5, .tokens_max = 5000}));

  CHECK(stats.prompt.p50 == Approx(800).epsilon(0.05));
  CHECK(stats.prompt.most == 5000);
}

TEST_CASE("a seed decides a synthetic load, and another seed another one") {
  const Workload a = Made({.rate = 10, .duration_s = 20}, {}, 5);
  const Workload b = Made({.rate = 10, .duration_s = 20}, {}, 5);
  const Workload c = Made({.rate = 10, .duration_s = 20}, {}, 6);

  REQUIRE(a.requests.size() == b.requests.size());
  for (std::size_t i = 0; i < a.requests.size(); ++i) {
    CHECK(a.requests[i].arrival_s == b.requests[i].arrival_s);
    CHECK(a.requests[i].prompt_tokens == b.requests[i].prompt_tokens);
  }
  CHECK(a.requests.front().arrival_s != c.requests.front().arrival_s);
}

TEST_CASE("a synthetic load that nobody can mean is refused by name") {
  const auto problem = [](const ArrivalOptions& arrivals) {
    return Message(Synthesize(arrivals, {}, 1).status());
  };

  CHECK(problem({.rate = 0}) == "rate: 0 must be above 0");
  CHECK(problem({.rate = 1e9, .duration_s = 1e9}) ==
        "1000000000 requests/s for 1000000000 s are more than 50000000 requests");
  CHECK(problem({.rate = 1e-9}) == "no request arrives in 120 s at 1e-09 requests/s");
  CHECK(problem({.cv = 0}) == "cv: 0 is not between 0.05 and 30");
  CHECK(problem({.burst_share = 1}) == "burst share: 1 is not between 0 and 1");
}

TEST_CASE("a scaled load arrives faster by the factor") {
  const Workload workload = Made({.rate = 10, .duration_s = 100});

  CHECK(RateOf(Scaled(workload, 2.5)) == Approx(2.5 * RateOf(workload)));
}

TEST_CASE("a trimmed load holds what arrives within, counted from there") {
  const Workload workload{.name = "w", .requests = {{.arrival_s = 1}, {.arrival_s = 2.5}, {.arrival_s = 4}}};

  const Workload trimmed = Trimmed(workload, 2, 4);

  REQUIRE(trimmed.requests.size() == 1);
  CHECK(trimmed.requests[0].arrival_s == 0.5);
}

TEST_CASE("merged loads are in order and do not share each other's prefixes") {
  const Workload a{.name = "a",
                   .requests = {{.id = 0, .arrival_s = 1, .prefix_id = 7}, {.id = 1, .arrival_s = 3}}};
  const Workload b{.name = "b", .requests = {{.id = 0, .arrival_s = 2, .prefix_id = 7}}};

  const Workload merged = Merged({a, b});

  REQUIRE(merged.requests.size() == 3);
  CHECK(merged.name == "a+b");
  CHECK(merged.requests[1].arrival_s == 2);
  CHECK(merged.requests[1].id == 1);
  CHECK(merged.requests[0].prefix_id == 7);
  CHECK(merged.requests[1].prefix_id != 7);
  CHECK(merged.requests[1].prefix_id != 0);
}

}  // namespace
}  // namespace baton::simulator
