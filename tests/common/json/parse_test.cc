#include <cmath>
#include <string>

#include <catch2/catch.hpp>

#include "common/base/error.h"
#include "common/json/value.h"

namespace baton::json {
namespace {

Value MustParse(std::string_view text) {
  auto value = Parse(text);
  INFO(text << ": " << Message(value.status()));
  REQUIRE(value.ok());
  return *std::move(value);
}

std::string ErrorOf(std::string_view text, const Limits& limits = {}) {
  const auto value = Parse(text, limits);
  REQUIRE_FALSE(value.ok());
  CHECK(value.status().code() == kInvalidArgument);
  return Message(value.status());
}

TEST_CASE("each kind of value is read as what it is") {
  const Value value = MustParse(R"( {"a":null,"b":true,"c":-7,"d":0.25,"e":"x","f":[1,2],"g":{"h":false}} )");

  CHECK(value.Find("a")->IsNull());
  CHECK(*value.Find("b")->AsBool());
  CHECK(*value.Find("c")->AsInt() == -7);
  CHECK(value.Find("d")->AsInt() == nullptr);
  CHECK(value.Find("d")->Number() == 0.25);
  CHECK(*value.Find("e")->AsString() == "x");
  CHECK(value.Find("f")->AsArray()->size() == 2);
  CHECK_FALSE(*value.Find("g")->Find("h")->AsBool());
  CHECK(value.Find("z") == nullptr);
  CHECK(value.Find("e")->Find("a") == nullptr);
}

TEST_CASE("members keep the order of the text") {
  const Value value = MustParse(R"({"z":1,"a":2,"m":3})");

  const Object& object = *value.AsObject();
  REQUIRE(object.size() == 3);
  CHECK(object[0].first == "z");
  CHECK(object[1].first == "a");
  CHECK(object[2].first == "m");
}

TEST_CASE("whole numbers are exact up to int64 and doubles beyond") {
  CHECK(*MustParse("9223372036854775807").AsInt() == 9223372036854775807LL);
  CHECK(*MustParse("-9223372036854775808").AsInt() == std::numeric_limits<std::int64_t>::min());
  CHECK(MustParse("9223372036854775808").AsInt() == nullptr);
  CHECK(MustParse("9223372036854775808").Number() == 9223372036854775808.0);
  CHECK(MustParse("18446744073709551616").Number() == 18446744073709551616.0);
  CHECK(MustParse("-9223372036854775809").Number() == -9223372036854775808.0);
}

TEST_CASE("doubles are read exactly, not to a unit in the last place") {
  CHECK(MustParse("0.1").Number() == 0.1);
  CHECK(MustParse("2.2250738585072014e-308").Number() == 2.2250738585072014e-308);
  CHECK(MustParse("8.98846567431158e307").Number() == 8.98846567431158e307);
  CHECK(MustParse("123456789.12345678901234567890").Number() == 123456789.12345678901234567890);
  CHECK(MustParse("1e-400").Number() == 0.0);
  CHECK(std::signbit(MustParse("-1e-400").Number()));
}

TEST_CASE("a number past the doubles is refused") {
  CHECK(ErrorOf("1e999").find("out of range") != std::string::npos);
  CHECK(ErrorOf("[-1e999]").find("out of range") != std::string::npos);
}

TEST_CASE("escapes and surrogate pairs become UTF-8") {
  CHECK(*MustParse(R"("\"\\\/\b\f\n\r\t")").AsString() == "\"\\/\b\f\n\r\t");
  CHECK(*MustParse(R"("\u00e9\u4f60\ud83d\ude42")").AsString() == "\xC3\xA9\xE4\xBD\xA0\xF0\x9F\x99\x82");
  CHECK(*MustParse(R"("a\u0000b")").AsString() == std::string("a\0b", 3));
}

TEST_CASE("what RFC 8259 does not allow is refused") {
  for (const std::string_view text :
       {"",         " ",         "{",   "[",    "[1,]",    "{\"a\":1,}", "{\"a\"}",   "{a:1}",
        "'a'",      "01",        "+1",  ".5",   "1.",      "1e",         "-",         "NaN",
        "Infinity", "-Infinity", "nul", "True", "\"a",     "\"\\x\"",    "\"\\u12\"", "\"\t\"",
        "\"\n\"",   "[1 2]",     "1 2", "{} x", "// c\n1", "/* c */1",   "[1]]",      "\xEF\xBB\xBF{}"}) {
    INFO(text);
    CHECK_FALSE(Parse(text).ok());
  }
  CHECK_FALSE(Parse(std::string_view("1\0", 2)).ok());
}

TEST_CASE("lone surrogates are refused") {
  for (const std::string_view text : {R"("\ud83d")", R"("\ud83dx")", R"("\ude42")", R"("\ud83d\u0041")",
                                      R"("\ude42\ud83d")", R"({"\ud83d":1})"}) {
    INFO(text);
    CHECK_FALSE(Parse(text).ok());
  }
}

TEST_CASE("invalid UTF-8 is refused in values and keys") {
  for (const std::string_view bytes :
       {"\xFF", "\xC3", "\xC0\xAF", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xE4\xBD"}) {
    CHECK_FALSE(Parse("\"" + std::string(bytes) + "\"").ok());
    CHECK_FALSE(Parse("{\"" + std::string(bytes) + "\":1}").ok());
  }
}

TEST_CASE("a duplicate key is refused by name, few members or many") {
  CHECK(ErrorOf(R"({"model":1,"x":2,"model":3})").find("duplicate key 'model'") != std::string::npos);
  CHECK(ErrorOf(R"({"a":1,"\u0061":2})").find("duplicate key 'a'") != std::string::npos);
  std::string many = "{";
  for (int i = 0; i < 1000; ++i) many += "\"k" + std::to_string(i) + "\":1,";
  CHECK(Parse(many + "\"new\":1}").ok());
  CHECK(ErrorOf(many + "\"k3\":1}").find("duplicate key 'k3'") != std::string::npos);
}

TEST_CASE("the same key in different objects is no duplicate") {
  CHECK(Parse(R"({"a":{"a":1},"b":[{"a":1},{"a":2}]})").ok());
}

TEST_CASE("an error names the byte where it was met") {
  CHECK(ErrorOf("[1,2,x]").find("at byte 5:") != std::string::npos);
  CHECK(ErrorOf("{} x").find("at byte 3:") != std::string::npos);
  CHECK(ErrorOf(R"({"a":1,"a":2})").find("at byte 9:") != std::string::npos);
}

TEST_CASE("depth is limited") {
  const Limits limits{.depth = 4};

  CHECK(Parse("[[[[1]]]]", limits).ok());
  CHECK_FALSE(Parse("[[[[[1]]]]]", limits).ok());
  CHECK_FALSE(Parse(std::string(1'000'000, '[')).ok());
}

TEST_CASE("the count of values is limited") {
  const Limits limits{.nodes = 4};

  CHECK(Parse("[1,2,3]", limits).ok());
  CHECK(ErrorOf("[1,2,3,4]", limits).find("too many values") != std::string::npos);
  CHECK(Parse(R"({"a":1,"b":2,"c":{}})", limits).ok());
  CHECK_FALSE(Parse(R"({"a":1,"b":2,"c":[{}]})", limits).ok());
}

TEST_CASE("the size of the text is limited") {
  const Limits limits{.bytes = 10};

  CHECK(Parse("\"12345678\"", limits).ok());
  CHECK(ErrorOf("\"123456789\"", limits).find("11 bytes, at most 10") != std::string::npos);
}

TEST_CASE("a kind has its name") {
  CHECK(MustParse("null").KindName() == "null");
  CHECK(MustParse("true").KindName() == "boolean");
  CHECK(MustParse("1").KindName() == "integer");
  CHECK(MustParse("1.5").KindName() == "number");
  CHECK(MustParse("\"\"").KindName() == "string");
  CHECK(MustParse("[]").KindName() == "array");
  CHECK(MustParse("{}").KindName() == "object");
}

}  // namespace
}  // namespace baton::json
