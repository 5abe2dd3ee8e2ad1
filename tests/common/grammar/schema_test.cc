#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <catch2/catch.hpp>

#include "common/base/error.h"
#include "common/grammar/schema.h"

namespace baton::grammar {
namespace {

std::string ErrorOf(std::string_view schema, const SchemaLimits& limits = {}) {
  const auto grammar = FromSchema(schema, limits);
  if (grammar.ok()) return "";
  CHECK(grammar.status().code() == kInvalidArgument);
  return Message(grammar.status());
}

TEST_CASE("a keyword that is not supported is named with its place") {
  CHECK(ErrorOf(R"({"type":"object","properties":{"a/b":{"type":"string","contentEncoding":"x"}}})") ==
        "keyword 'contentEncoding' at '/properties/a~1b' is not supported");
  CHECK(ErrorOf(R"({"items":{"format":"regex"}})") ==
        "this 'format' at '/items' is not supported: date, time, date-time, uuid and ipv4 are");
  CHECK(ErrorOf(R"({"format":"date","minLength":2})") ==
        "keyword 'minLength' at '' is not supported beside 'format'");
  CHECK(ErrorOf(R"({"anyOf":[{"not":{}}]})") == "keyword 'not' at '/anyOf/0' is not supported");
  CHECK(ErrorOf(R"({"enum":["ab"],"minLength":3})") ==
        "keyword 'minLength' at '' is not supported beside 'enum'");
  CHECK(ErrorOf(R"({"$ref":"#/$defs/a","type":"null","$defs":{"a":true}})") ==
        "keyword 'type' at '' is not supported beside '$ref'");
}

TEST_CASE("what cannot be done exactly is refused") {
  CHECK_THAT(ErrorOf(R"({"type":"number","maximum":1.5})"), Catch::Contains("18 digits"));
  CHECK_THAT(ErrorOf(R"({"allOf":[{"type":"null"},{"type":"null"}]})"), Catch::Contains("'allOf' at ''"));
  CHECK_THAT(ErrorOf(R"({"$ref":"http://example.org/a"})"), Catch::Contains("'$ref' at ''"));
  CHECK_THAT(ErrorOf(R"({"$ref":"#/$defs/none","$defs":{}})"), Catch::Contains("'$ref' at ''"));
}

std::string OneOf(std::string_view a, std::string_view b, std::string_view definitions = "{}") {
  return fmt::format(R"({{"oneOf":[{},{}],"$defs":{}}})", a, b, definitions);
}

TEST_CASE("oneOf takes schemas of which no value fits two") {
  for (const auto& [a, b] : std::vector<std::pair<std::string_view, std::string_view>>{
           {R"({"type":"string"})", R"({"type":["null","integer"]})"},
           {R"({"const":1})", R"({"enum":[2,"1",null]})"},
           {R"({"const":1.5})", R"({"type":"integer"})"},
           {R"({"type":"integer","maximum":3})", R"({"type":"integer","minimum":4})"},
           {R"({"type":"object","properties":{"k":{"const":"a"}},"required":["k"]})",
            R"({"type":"object","properties":{"k":{"enum":["b","c"]}},"required":["k"]})"},
           {R"({"type":"object","properties":{"a":{}},"required":["a"],"additionalProperties":false})",
            R"({"type":"object","properties":{"b":{}},"required":["b"],"additionalProperties":false})"},
           {R"({"type":"object","properties":{"a":{}},"required":["a"]})",
            R"({"type":"object","properties":{"b":{}},"required":["b"]})"},
           {R"({"anyOf":[{"type":"null"},{"type":"boolean"}]})", R"({"allOf":[{"type":"array"}]})"},
           {R"({"const":{"k":1}})", R"({"type":"object","properties":{"k":{"const":2}}})"},
           {R"({"const":{"k":1}})", R"({"type":"object","required":["j"]})"},
           {R"({"type":"array"})", "false"}}) {
    CHECK(ErrorOf(OneOf(a, b)) == "");
    CHECK(ErrorOf(OneOf(b, a)) == "");
  }
  CHECK(ErrorOf(OneOf(R"({"$ref":"#/$defs/a"})", R"({"$ref":"#/$defs/b"})",
                      R"({"a":{"type":"null"},"b":{"type":"boolean"}})")) == "");
}

TEST_CASE("oneOf of schemas that a value may fit both is refused") {
  for (const auto& [a, b] : std::vector<std::pair<std::string_view, std::string_view>>{
           {R"({"type":"string"})", R"({"type":"string","minLength":2})"},
           {R"({"type":"integer"})", R"({"type":"number"})"},
           {R"({"type":"number","exclusiveMaximum":5})", R"({"type":"number","exclusiveMinimum":4})"},
           {R"({"const":1})", R"({"enum":[2,1.0]})"},
           {R"({"const":"a"})", R"({"type":"string"})"},
           {R"({"type":"object","properties":{"k":{"const":"a"}}})",
            R"({"type":"object","properties":{"k":{"const":"b"}}})"},
           {R"({"type":"object","properties":{"k":{"const":"a"}},"required":["k"]})",
            R"({"properties":{"k":{"const":"a"}},"required":["k"]})"},
           {R"({"type":"object","properties":{"a":{}},"required":["a"],"additionalProperties":true})",
            R"({"type":"object","properties":{"b":{}},"required":["b"],"additionalProperties":true})"},
           {"true", R"({"type":"null"})"},
           {R"({"anyOf":[{"type":"null"},{"type":"boolean"}]})", R"({"type":"boolean"})"},
           {R"({"const":{"k":1}})", R"({"type":"object"})"},
           {R"({"type":"array","items":{"$ref":"#"}})", R"({"type":"array"})"}}) {
    for (const std::string& schema : {OneOf(a, b), OneOf(b, a)}) {
      INFO(schema);
      CHECK_THAT(ErrorOf(schema), Catch::StartsWith("a value may fit schemas 0 and 1 of 'oneOf' at ''"));
    }
  }
}

TEST_CASE("a schema that nothing satisfies is refused") {
  CHECK(ErrorOf("false") == "no value satisfies the schema");
  CHECK(ErrorOf(R"({"enum":[]})") == "no value satisfies the schema");
  CHECK(ErrorOf(R"({"type":"integer","minimum":3,"maximum":2})") == "no value satisfies the schema");
  CHECK(ErrorOf(R"({"properties":{"a":{"$ref":"#"}},"required":["a"]})") == "no value satisfies the schema");
  CHECK_THAT(ErrorOf(R"({"required":["a"],"additionalProperties":false})"),
             Catch::Contains("may not be there"));
}

TEST_CASE("a schema that is itself without anything between is refused") {
  CHECK_THAT(ErrorOf(R"({"$ref":"#"})"), Catch::Contains("refers to itself"));
  CHECK_THAT(ErrorOf(R"({"anyOf":[{"type":"null"},{"$ref":"#"}]})"), Catch::Contains("refers to itself"));
}

TEST_CASE("malformed schemas are refused") {
  for (const std::string_view schema :
       {"", "[]", "1", R"({"type":"strin"})", R"({"type":[]})", R"({"type":1})", R"({"enum":1})",
        R"({"properties":[]})", R"({"required":"a"})", R"({"required":[1]})", R"({"anyOf":[]})",
        R"({"$ref":1})", R"({"minItems":-1})", R"({"minItems":1.5})", R"({"prefixItems":1})",
        R"({"items":3})"}) {
    INFO(schema);
    CHECK_FALSE(ErrorOf(schema).empty());
  }
}

TEST_CASE("a hostile schema meets a limit that says its name") {
  std::string deep = "true";
  for (int i = 0; i < 40; ++i) deep = R"({"items":)" + deep + "}";
  CHECK_THAT(ErrorOf(deep), Catch::Contains("schema: invalid JSON"));
  CHECK(ErrorOf(std::string(70'000, ' ')) == "the schema is longer than 65536 bytes");
  CHECK(ErrorOf(R"({"maxLength":2001})") == "'maxLength' at '' is above 2000");
  std::string values = "0";
  for (int i = 1; i <= 1000; ++i) values += "," + std::to_string(i);
  CHECK(ErrorOf(R"({"enum":[)" + values + "]}") == "'enum' at '' has more than 1000 values");
  std::string properties = R"("p":true)";
  for (int i = 0; i < 200; ++i) properties += R"(,"p)" + std::to_string(i) + R"(":true)";
  CHECK(ErrorOf(R"({"properties":{)" + properties + "}}") == "the object at '' has more than 200 properties");
  std::string places = R"({"maxLength":2000})";
  for (int i = 0; i < 100; ++i) places += R"(,{"maxLength":2000})";
  CHECK(ErrorOf(R"({"prefixItems":[)" + places + "]}") == "the schema needs more than 60000 states");
  std::string chain = R"("d0":true)";
  for (int i = 1; i < 400; ++i)
    chain += R"(,"d)" + std::to_string(i) + R"(":{"$ref":"#/$defs/d)" + std::to_string(i - 1) + R"("})";
  CHECK_THAT(ErrorOf(R"({"$ref":"#/$defs/d399","$defs":{)" + chain + "}}"),
             Catch::Contains("more than 200 schemas"));
}

}  // namespace
}  // namespace baton::grammar
