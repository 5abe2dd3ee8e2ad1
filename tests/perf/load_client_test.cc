#include "perf/load_client.h"

#include <algorithm>

#include <catch2/catch.hpp>

#include "common/json/value.h"

namespace baton::perf {
namespace {

LoadOptions Options(std::uint64_t seed) {
  LoadOptions options;
  options.prompt_tokens = 20;
  options.requests = 2000;
  options.rate = 50;
  options.seed = seed;
  return options;
}

}  // namespace

TEST_CASE("a load is a function of its seed") {
  CHECK(RequestBody(Options(1), 3) == RequestBody(Options(1), 3));
  CHECK(RequestBody(Options(1), 3) != RequestBody(Options(1), 4));
  CHECK(RequestBody(Options(1), 3) != RequestBody(Options(2), 3));
  CHECK(Arrivals(Options(1)) == Arrivals(Options(1)));
  CHECK(Arrivals(Options(1)) != Arrivals(Options(2)));
}

TEST_CASE("a request carries as many ids as asked for, each in every byte-level vocabulary") {
  const auto body = json::Parse(RequestBody(Options(1), 0));
  REQUIRE(body.ok());
  const json::Array& ids = *body->Find("prompt")->AsArray();
  CHECK(ids.size() == 20);
  CHECK(std::all_of(ids.begin(), ids.end(),
                    [](const json::Value& id) { return *id.AsInt() >= 0 && *id.AsInt() < 256; }));
}

TEST_CASE("an open loop's arrivals ascend and keep the rate") {
  const std::vector<Duration> due = Arrivals(Options(7));
  REQUIRE(due.size() == 2000);
  CHECK(std::is_sorted(due.begin(), due.end()));
  // 2000 exponential gaps: the mean is within 10 % unless the generator is broken (4.5 standard deviations).
  CHECK(Seconds(due.back()) == Approx(2000.0 / 50).epsilon(0.1));
  LoadOptions closed = Options(7);
  closed.rate = 0;
  CHECK(Arrivals(closed).empty());
}

}  // namespace baton::perf
