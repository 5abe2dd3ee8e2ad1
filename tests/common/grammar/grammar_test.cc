#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <catch2/catch.hpp>

#include "common/base/random.h"
#include "common/grammar/grammar.h"
#include "common/grammar/schema.h"
#include "tests/support/json_schema.h"
#include "tests/support/schemas.h"

namespace baton::grammar {
namespace {

std::shared_ptr<const Grammar> Of(std::string_view schema) {
  auto grammar = FromSchema(schema);
  INFO(grammar.status().message());
  REQUIRE(grammar.ok());
  return *grammar;
}

bool Accepts(const Grammar& grammar, std::string_view text) {
  return IsComplete(Feed(grammar, Initial(grammar), text));
}

TEST_CASE("every random value of a schema is a text of its grammar, byte for byte") {
  for (const std::string_view text : test::kSchemas) {
    const auto grammar = Of(text);
    const json::Value schema = json::Parse(text).value();
    RandomStream random(7);
    for (int i = 0; i < 200; ++i) {
      const json::Value value = test::RandomValue(schema, schema, random);
      const std::string written = json::Serialize(value);
      INFO(text << "\n" << written);
      REQUIRE(test::Validates(value, schema, schema));
      REQUIRE(Accepts(*grammar, written));
    }
  }
}

TEST_CASE("whole numbers between two bounds are exactly the grammar's") {
  for (const auto& [low, high] :
       {std::pair{-123, 45}, {0, 0}, {7, 7}, {9, 1001}, {-5, -5}, {-1200, -99}, {0, 99}}) {
    const auto grammar = Of(R"({"type":"integer","minimum":)" + std::to_string(low) + R"(,"maximum":)" +
                            std::to_string(high) + "}");
    for (int n = -1300; n <= 1300; ++n) {
      INFO(low << " " << high << " " << n);
      REQUIRE(Accepts(*grammar, std::to_string(n)) == (n >= low && n <= high));
    }
    CHECK_FALSE(Accepts(*grammar, "-0"));
    CHECK_FALSE(Accepts(*grammar, "07"));
  }
  CHECK(Accepts(*Of(R"({"exclusiveMinimum":4,"exclusiveMaximum":6,"type":"integer"})"), "5"));
  CHECK_FALSE(Accepts(*Of(R"({"exclusiveMinimum":4,"exclusiveMaximum":6,"type":"integer"})"), "4"));
}

TEST_CASE("numbers between bounds are the grammar's, written without an exponent") {
  struct Bounds {
    std::string_view schema;
    double low;
    double high;
    bool open_low;
    bool open_high;
  };
  for (const Bounds& bounds :
       {Bounds{R"("minimum":0,"maximum":1)", 0, 1, false, false},
        Bounds{R"("exclusiveMinimum":0,"exclusiveMaximum":1)", 0, 1, true, true},
        Bounds{R"("exclusiveMinimum":0)", 0, 1e17, true, false},
        Bounds{R"("maximum":-2)", -1e17, -2, false, false},
        Bounds{R"("minimum":-3,"exclusiveMaximum":12)", -3, 12, false, true},
        Bounds{R"("minimum":-3,"exclusiveMinimum":-3,"maximum":-1)", -3, -1, true, false}}) {
    const auto grammar = Of(fmt::format(R"({{"type":"number",{}}})", bounds.schema));
    for (int hundredths = -450; hundredths <= 1450; ++hundredths) {
      const double number = hundredths / 100.0;
      const bool inside = (bounds.open_low ? number > bounds.low : number >= bounds.low) &&
                          (bounds.open_high ? number < bounds.high : number <= bounds.high);
      for (const std::string& text : {fmt::format("{:.2f}", number), fmt::format("{:g}", number)}) {
        INFO(bounds.schema << " " << text);
        const bool written = text.find(".00") == std::string::npos;
        REQUIRE(Accepts(*grammar, text) == (inside && written && text != "-0"));
      }
    }
    CHECK_FALSE(Accepts(*grammar, "1e0"));
    CHECK_FALSE(Accepts(*grammar, "0.999999999999999999"));
  }
  CHECK(Accepts(*Of(R"({"type":"number","exclusiveMaximum":1})"), "0.99999999999999"));
  CHECK(Accepts(*Of(R"({"type":"number","maximum":1})"), "1.0"));
}

TEST_CASE("a string of a format is one, and nothing else is") {
  struct Format {
    std::string_view name;
    std::vector<std::string_view> good;
    std::vector<std::string_view> bad;
  };
  for (const Format& format :
       {Format{"date",
               {"2024-12-31", "0001-02-28", "1999-04-30"},
               {"2024-04-31", "2024-02-30", "2024-13-01", "2024-00-01", "2024-01-00", "24-01-01"}},
        Format{"time",
               {"23:59:59Z", "00:00:00.5+01:30", "12:00:00.123456-23:59"},
               {"24:00:00Z", "12:60:00Z", "12:00:60Z", "12:00:00", "12:00:00.Z", "12:00:00+1:00"}},
        Format{"date-time",
               {"2024-12-31T23:59:59Z", "2024-01-01T00:00:00.001+02:00"},
               {"2024-12-31", "2024-12-31 23:59:59Z", "2024-02-30T00:00:00Z"}},
        Format{"uuid",
               {"123e4567-e89b-12d3-a456-426614174000"},
               {"123e4567e89b12d3a456426614174000", "123e4567-e89b-12d3-a456-42661417400",
                "123e4567-e89b-12d3-a456-42661417400g"}},
        Format{"ipv4",
               {"0.0.0.0", "255.255.255.255", "10.1.199.249"},
               {"256.0.0.1", "1.2.3", "1.2.3.4.5", "01.2.3.4", "1.2.3."}}}) {
    const auto grammar = Of(fmt::format(R"({{"type":"string","format":"{}"}})", format.name));
    INFO(format.name);
    for (const std::string_view text : format.good) CHECK(Accepts(*grammar, fmt::format("\"{}\"", text)));
    for (const std::string_view text : format.bad)
      CHECK_FALSE(Accepts(*grammar, fmt::format("\"{}\"", text)));
  }
}

TEST_CASE("one space after a separator is allowed, other white space is not") {
  const auto grammar = AnyJsonObject();
  CHECK(Accepts(*grammar, R"({"a": [1, 2],"b":{}})"));
  for (const std::string_view text :
       {R"({"a":  1})", R"({ "a":1})", R"({"a" :1})", R"({"a":1 })", "{}\n", " {}"}) {
    INFO(text);
    CHECK_FALSE(Accepts(*grammar, text));
  }
}

TEST_CASE("strings are JSON's: escapes, UTF-8 and surrogates in pairs") {
  const auto grammar = Of(R"({"type":"string"})");
  for (const std::string_view text : {R"("")", R"("\"\\\/\b\f\n\r\t\u00e9\uD83D\uDE00")", "\"é€😀\x7f\""}) {
    INFO(text);
    CHECK(Accepts(*grammar, text));
    CHECK(json::Parse(text).ok());
  }
  for (const std::string_view text :
       {"\"\n\"", R"("\x")", R"("\uD83D")", R"("\uDE00")", R"("\uD83D\u0041")", "\"\xc0\x80\"",
        "\"\xed\xa0\x80\"", "\"\xe2\x82\"", "\"\xf4\x90\x80\x80\"", "\"\xff\""}) {
    INFO(text);
    CHECK_FALSE(Accepts(*grammar, text));
  }
}

TEST_CASE("a pair of surrogates is one character of a string's length") {
  const auto grammar = Of(R"({"type":"string","minLength":1,"maxLength":1})");
  CHECK(Accepts(*grammar, R"("\uD83D\uDE00")"));
  CHECK(Accepts(*grammar, "\"😀\""));
  CHECK_FALSE(Accepts(*grammar, R"("")"));
  CHECK_FALSE(Accepts(*grammar, R"("ab")"));
}

TEST_CASE("a free key is none of the named ones") {
  const auto grammar =
      Of(R"({"properties":{"ab":{"type":"null"},"né":{"type":"null"}},"additionalProperties":)"
         R"({"type":"integer"}})");
  CHECK(Accepts(*grammar, R"({"ab":null,"a":1,"abc":2,"n":3,"né€":4,"":5})"));
  CHECK_FALSE(Accepts(*grammar, R"({"ab":1})"));
  CHECK_FALSE(Accepts(*grammar, R"({"né":1})"));
  CHECK_FALSE(
      Accepts(*grammar, R"({"a":1,"ab":null})"));  // properties come in the schema's order, then free keys
}

TEST_CASE("digits and nesting end") {
  CHECK_FALSE(Accepts(*Of(R"({"type":"integer"})"), std::string(19, '1')));
  CHECK_FALSE(Accepts(*Of(R"({"type":"number"})"), "1e100"));
  CHECK(Accepts(*Of(R"({"type":"number"})"), "-0.5E-12"));
  const auto grammar = AnyJsonObject();
  const State deep = Feed(*grammar, Initial(*grammar), R"({"a":)" + std::string(50, '['));
  CHECK_FALSE(deep.empty());
  CHECK(Feed(*grammar, deep, std::string(20, '[')).empty());
}

TEST_CASE("from every state some byte leads on, or the text is complete") {
  for (const std::string_view schema : test::kSchemas) {
    const auto grammar = Of(schema);
    RandomStream random(11);
    for (int walk = 0; walk < 20; ++walk) {
      State state = Initial(*grammar);
      for (int length = 0; length < 200 && !MustEnd(state); ++length) {
        std::vector<State> next;
        for (int byte = 0; byte < 256; ++byte) {
          if (State after = Step(*grammar, state, static_cast<std::uint8_t>(byte)); !after.empty())
            next.push_back(std::move(after));
        }
        INFO(schema);
        REQUIRE((IsComplete(state) || !next.empty()));
        if (next.empty()) break;
        state = next[static_cast<std::size_t>(random.Between(0, static_cast<std::int64_t>(next.size()) - 1))];
        REQUIRE(IsState(*grammar, state));
      }
    }
  }
}

TEST_CASE("bytes that are no state are told apart") {
  const auto grammar = AnyJsonObject();
  const State state = Initial(*grammar);
  CHECK(IsState(*grammar, state));
  CHECK_FALSE(IsState(*grammar, std::string_view(state).substr(0, state.size() - 1)));
  CHECK_FALSE(IsState(*grammar, "\x01\xff\xff\xff\xff"));
  CHECK_FALSE(IsState(*grammar, "\xff"));
}

}  // namespace
}  // namespace baton::grammar
