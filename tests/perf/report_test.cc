#include "perf/report.h"

#include <catch2/catch.hpp>

#include "common/json/value.h"

namespace baton::perf {
namespace {

using std::chrono::milliseconds;

Answer CompleteAnswer(std::vector<int> text_at_ms, int ended_ms) {
  Answer answer;
  answer.status = 200;
  answer.finish_reason = "length";
  answer.finish_events = 1;
  answer.usage =
      Usage{.prompt_tokens = 10, .completion_tokens = static_cast<std::int64_t>(text_at_ms.size())};
  for (const int at : text_at_ms) answer.text_at.push_back(answer.begun + milliseconds(at));
  answer.ended = answer.begun + milliseconds(ended_ms);
  return answer;
}

Answer FailedAnswer(const char* code) {
  Answer answer;
  answer.status = 200;
  answer.done = true;
  answer.error_code = code;
  return answer;
}

}  // namespace

TEST_CASE("quantiles are by nearest rank") {
  std::vector<double> values;
  for (int i = 100; i >= 1; --i) values.push_back(i);
  const Quantiles quantiles = QuantilesOf(values);
  CHECK(quantiles.p50 == 50);
  CHECK(quantiles.p90 == 90);
  CHECK(quantiles.p99 == 99);
  CHECK(QuantilesOf({5}).p99 == 5);
  CHECK(QuantilesOf({}).count == 0);
}

TEST_CASE("times count whole answers, and errors are counted by name") {
  LoadResult result;
  result.wall = std::chrono::seconds(2);
  result.answers = {CompleteAnswer({10, 14, 20}, 21), CompleteAnswer({30, 32}, 33),
                    FailedAnswer("worker_lost"), FailedAnswer("worker_lost")};

  const Report report = Summarize(result);

  CHECK(report.requests == 4);
  CHECK(report.complete == 2);
  CHECK(report.errors == std::map<std::string, std::int64_t>{{"worker_lost", 2}});
  CHECK(report.output_tokens == 5);
  CHECK(report.time_to_first_token.p50 == 10);
  CHECK(report.time_to_first_token.p99 == 30);
  CHECK(report.time_between_tokens.count == 3);
  CHECK(report.time_between_tokens.p99 == 6);
  const auto parsed = json::Parse(AsJson(report, {}));
  REQUIRE(parsed.ok());
  CHECK(parsed->Find("output_tokens_per_second")->Number() == 2.5);
  CHECK(*parsed->Find("schema_version")->AsInt() == 1);
}

}  // namespace baton::perf
