#include <catch2/catch.hpp>

#include "common/json/value.h"
#include "tests/integration/cluster.h"
#include "tests/integration/traffic.h"
#include "tests/support/json_schema.h"
#include "tests/support/shared_data.h"

namespace baton::test {
namespace {

std::string Body(const json::Value& format, std::int64_t seed, bool stream) {
  return json::Serialize(json::Object{{"model", kModelName},
                                      {"prompt", "In the beginning"},
                                      {"max_tokens", 180},
                                      {"temperature", 1.0},
                                      {"seed", seed},
                                      {"stream", stream},
                                      {"response_format", format}});
}

TEST_CASE("answers in a response_format parse and validate, streamed and whole") {
  constexpr std::array<std::string_view, 3> kFormats = {
      R"({"type":"object","properties":{"name":{"type":"string","maxLength":8},"age":{"type":"integer",)"
      R"("minimum":0,"maximum":120}},"required":["name","age"],"additionalProperties":false})",
      R"({"type":"array","items":{"enum":["red","green",7]},"minItems":1,"maxItems":4})",
      R"({"anyOf":[{"type":"boolean"},{"type":"object","properties":{"ok":{"type":"null"}},)"
      R"("required":["ok"],"additionalProperties":false}]})"};
  Cluster cluster({.model = ProjectFile("deploy/demo-model")});

  for (const std::string_view text : kFormats) {
    const json::Value schema = json::Parse(text).value();
    const json::Value format(
        json::Object{{"type", "json_schema"},
                     {"json_schema", json::Object{{"name", "t"}, {"schema", schema}, {"strict", true}}}});
    for (const std::int64_t seed : {1, 2, 3}) {
      std::string whole;
      for (const bool stream : {false, true}) {
        const perf::Answer answer = cluster.Ask(
            {.server = {}, .path = "/v1/completions", .body = Body(format, seed, stream), .stream = stream});
        INFO(text << "\n" << answer.Describe() << "\n" << answer.text);
        REQUIRE(answer.Complete());
        CHECK(answer.finish_reason == "stop");
        const auto value = json::Parse(answer.text);
        REQUIRE(value.ok());
        CHECK(Validates(*value, schema, schema));
        if (stream) CHECK(answer.text == whole);
        whole = answer.text;
      }
    }
  }
}

}  // namespace
}  // namespace baton::test
