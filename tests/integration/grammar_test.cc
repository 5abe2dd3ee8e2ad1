#include <catch2/catch.hpp>

#include "common/grammar/schema.h"
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

/// The answer to a body that must be good.
json::Value Whole(Cluster& cluster, const json::Object& body) {
  const perf::Answer answer =
      cluster.Ask({.server = {}, .path = "/v1/completions", .body = json::Serialize(body), .stream = false});
  INFO(answer.Describe() << answer.body);
  REQUIRE(answer.status == 200);
  return json::Parse(answer.body).value();
}

json::Value SchemaFormat(const json::Value& schema) {
  return json::Object{{"type", "json_schema"},
                      {"json_schema", json::Object{{"name", "t"}, {"schema", schema}, {"strict", true}}}};
}

/// Each choice that ends by itself is a value that `fits`; returns how many are.
template <typename Fits>
int CheckChoices(const json::Value& answer, std::size_t choices, Fits&& fits) {
  REQUIRE(answer.Find("choices")->AsArray()->size() == choices);
  int ended = 0;
  for (const json::Value& choice : *answer.Find("choices")->AsArray()) {
    const std::string& text = *choice.Find("text")->AsString();
    INFO(text);
    const bool stopped = *choice.Find("finish_reason")->AsString() == "stop";
    const auto grammar = grammar::AnyJsonObject();
    CHECK_FALSE(grammar::Feed(*grammar, grammar::Initial(*grammar), text).empty());
    if (!stopped) continue;
    const auto value = json::Parse(text);  // refuses an object with a key twice
    REQUIRE(value.ok());
    CHECK(fits(*value));
    ++ended;
  }
  return ended;
}

TEST_CASE("an answer in json_object is an object, no key of which comes twice") {
  Cluster cluster({.model = ProjectFile("deploy/demo-model")});
  int ended = 0;
  for (std::int64_t seed = 1; seed <= 12; ++seed) {
    const json::Object body = {{"model", kModelName},
                               {"prompt", "In the beginning"},
                               {"max_tokens", 200},
                               {"temperature", 1.0},
                               {"seed", seed},
                               {"logit_bias", json::Object{{"92", 6}}},
                               {"response_format", json::Object{{"type", "json_object"}}}};
    ended += CheckChoices(Whole(cluster, body), 1,
                          [](const json::Value& value) { return value.AsObject() != nullptr; });
  }
  CHECK(ended >= 4);
}

TEST_CASE("several answers of one prompt each follow the schema") {
  const json::Value schema =
      json::Parse(R"({"oneOf":[{"type":"object","properties":{"kind":{"const":"a"},"x":{"type":"number",)"
                  R"("minimum":0,"maximum":1}},"required":["kind","x"],"additionalProperties":false},)"
                  R"({"type":"object","properties":{"kind":{"const":"b"},"names":{"type":"array","items":)"
                  R"({"type":"string","maxLength":4},"maxItems":3}},"required":["kind","names"],)"
                  R"("additionalProperties":false}]})")
          .value();
  Cluster cluster({.model = ProjectFile("deploy/demo-model")});
  int ended = 0;
  for (const std::int64_t seed : {1, 2, 3}) {
    const json::Object body = {{"model", kModelName},
                               {"prompt", "In the beginning"},
                               {"max_tokens", 120},
                               {"temperature", 1.0},
                               {"seed", seed},
                               {"n", 2},
                               {"response_format", SchemaFormat(schema)}};
    ended += CheckChoices(Whole(cluster, body), 2,
                          [&](const json::Value& value) { return Validates(value, schema, schema); });
  }
  CHECK(ended == 6);
}

TEST_CASE("a vocabulary in the manner of SentencePiece follows a schema") {
  const auto model = SharedData("golden/models/mistral-tiny");
  if (!model) {
    WARN("SKIPPED: no ../shared/data/golden/models/mistral-tiny");
    return;
  }
  const json::Value schema =
      json::Parse(R"({"type":"object","properties":{"name":{"type":"string","minLength":1,"maxLength":6},)"
                  R"("age":{"type":"integer","minimum":0,"maximum":120},"tags":{"type":"array","items":)"
                  R"({"enum":["red","grün",7]},"maxItems":2}},"required":["name","age","tags"],)"
                  R"("additionalProperties":false})")
          .value();
  Cluster cluster({.model = *model});
  int ended = 0;
  for (const std::int64_t seed : {1, 2, 3, 4}) {
    const json::Object body = {{"model", kModelName}, {"prompt", "In the beginning"},
                               {"max_tokens", 120},   {"temperature", 1.0},
                               {"seed", seed},        {"response_format", SchemaFormat(schema)}};
    ended += CheckChoices(Whole(cluster, body), 1,
                          [&](const json::Value& value) { return Validates(value, schema, schema); });
  }
  CHECK(ended == 4);
}

}  // namespace
}  // namespace baton::test
