#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <string>

#include <catch2/catch.hpp>

#include "common/base/error.h"
#include "common/json/value.h"

namespace baton::json {
namespace {

std::string Quoted(std::string_view text) {
  std::string out;
  AppendQuoted(out, text);
  return out;
}

TEST_CASE("a value is written on one line without spaces") {
  const Value value(
      Object{{"a", Array{1, nullptr, true, false}}, {"b", Object{}}, {"c", "x"}, {"d", Array{}}});

  CHECK(Serialize(value) == R"({"a":[1,null,true,false],"b":{},"c":"x","d":[]})");
}

TEST_CASE("what is read and written again is the same text") {
  const std::string text = R"({"z":[1,-2,0.5,1e+300,"\u0001\n\"\\"],"a":{"b":null}})";

  const auto value = Parse(text);

  REQUIRE(value.ok());
  CHECK(Serialize(*value) == text);
}

TEST_CASE("a double is written with the fewest digits and stays a double") {
  CHECK(Serialize(0.1) == "0.1");
  CHECK(Serialize(1.0) == "1.0");
  CHECK(Serialize(-0.0) == "-0.0");
  CHECK(Serialize(1e21) == "1e+21");
  CHECK(Serialize(std::nan("")) == "null");
  CHECK(Serialize(std::numeric_limits<double>::infinity()) == "null");
}

TEST_CASE("random doubles read back with the same bits") {
  std::mt19937_64 random(20240521);
  for (int i = 0; i < 20'000; ++i) {
    const auto number = std::bit_cast<double>(random());
    if (!std::isfinite(number)) continue;
    const auto back = Parse(Serialize(number));
    INFO(Serialize(number));
    REQUIRE(back.ok());
    REQUIRE(std::bit_cast<std::uint64_t>(back->Number()) == std::bit_cast<std::uint64_t>(number));
  }
}

TEST_CASE("quotes, backslashes and control characters are escaped") {
  CHECK(Quoted("a\"b\\c/") == R"("a\"b\\c/")");
  CHECK(Quoted("\b\f\n\r\t") == R"("\b\f\n\r\t")");
  CHECK(Quoted(std::string_view("\0\x1F\x7F", 3)) == "\"\\u0000\\u001f\x7F\"");
}

TEST_CASE("valid UTF-8 is written as it is, invalid as U+FFFD") {
  CHECK(Quoted("\xC3\xA9\xF0\x9F\x99\x82") == "\"\xC3\xA9\xF0\x9F\x99\x82\"");
  CHECK(Quoted("a\xFF"
               "b") ==
        "\"a\xEF\xBF\xBD"
        "b\"");
  CHECK(Quoted("\xF0\x9F\x99") == "\"\xEF\xBF\xBD\"");
  CHECK(Quoted("\xED\xA0\x80") == "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"");
}

}  // namespace
}  // namespace baton::json
