#include "common/grammar/pattern.h"

#include <regex>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <catch2/catch.hpp>

#include "common/base/error.h"
#include "common/base/random.h"
#include "common/grammar/schema.h"
#include "common/json/value.h"

namespace baton::grammar {
namespace {

std::string SchemaOf(std::string_view pattern, std::string_view more = "") {
  std::string schema = R"({"type":"string","pattern":)";
  json::AppendQuoted(schema, pattern);
  return schema.append(more) + "}";
}

std::shared_ptr<const Grammar> Of(std::string_view pattern) {
  auto grammar = FromSchema(SchemaOf(pattern));
  INFO(pattern << ": " << Message(grammar.status()));
  REQUIRE(grammar.ok());
  return *grammar;
}

std::string ErrorOf(std::string_view pattern, std::string_view more = "") {
  const auto grammar = FromSchema(SchemaOf(pattern, more));
  INFO(pattern);
  REQUIRE_FALSE(grammar.ok());
  CHECK(grammar.status().code() == kInvalidArgument);
  return Message(grammar.status());
}

/// Whether the grammar has the string, as JSON writes it.
bool Has(const Grammar& grammar, std::string_view text) {
  std::string quoted;
  json::AppendQuoted(quoted, text);
  return IsComplete(Feed(grammar, Initial(grammar), quoted));
}

TEST_CASE("a string belongs to a pattern's grammar exactly where the pattern matches it") {
  const std::vector<std::string_view> patterns = {"^[A-Z]{2}-[0-9]{3}$",
                                                  "a|b",
                                                  "^a|b$",
                                                  "^(?:ab)*c?$",
                                                  "^(a|bb){1,2}$",
                                                  "x+?y",
                                                  "^[^a-c]$",
                                                  "^.$",
                                                  "^\\d+\\s$",
                                                  "^\\w{2,}$",
                                                  "^\\W\\D\\S$",
                                                  "^a.c$",
                                                  "^(?<year>\\d{2})$",
                                                  "^$",
                                                  "",
                                                  "^[\\]\\-x]$",
                                                  "^[-a]$",
                                                  "^a{0}b$",
                                                  "^(a?){3}$",
                                                  "^\\x41\\u0042$",
                                                  "^(a*)*$",
                                                  "^(a?b*|c{0})*$",
                                                  "^(?:a*b?){2,3}$",
                                                  "^(()|a)+c$",
                                                  "^[\\d_]+$",
                                                  "^\\/\\.\\*$",
                                                  "^(|a)b$"};
  const std::string_view letters = "aAbcBxy01_-] .*/\n";
  RandomStream random(5);
  for (const std::string_view pattern : patterns) {
    const auto grammar = Of(pattern);
    // The library has no named groups.
    std::string plain(pattern);
    if (const auto at = plain.find("?<year>"); at != std::string::npos) plain.erase(at, 7);
    const std::regex regex(plain, std::regex::ECMAScript);
    int matches = 0;
    for (int i = 0; i < 1500; ++i) {
      std::string text;
      for (std::int64_t left = random.Between(0, 6); left > 0; --left)
        text += letters[static_cast<std::size_t>(random.Between(0, std::ssize(letters) - 1))];
      const bool wanted = std::regex_search(text, regex);
      matches += wanted ? 1 : 0;
      INFO(pattern << " and '" << text << "'");
      REQUIRE(Has(*grammar, text) == wanted);
    }
    CAPTURE(pattern, matches);
  }
}

TEST_CASE("examples of patterns that schemas have") {
  struct Example {
    std::string_view pattern;
    std::vector<std::string_view> good;
    std::vector<std::string_view> bad;
  };
  for (const Example& example :
       {Example{"^\\+?[1-9]\\d{1,14}$", {"+4912345", "12"}, {"+0123", "1", "12a"}},
        Example{"^[a-z0-9]+(?:-[a-z0-9]+)*$", {"a", "a-b-9"}, {"", "-a", "a-", "A"}},
        Example{"^#(?:[0-9a-fA-F]{3}){1,2}$", {"#fff", "#00FF9a"}, {"fff", "#ff", "#fffff"}},
        Example{"^[^@\\s]+@[^@\\s]+\\.[a-z]{2,}$", {"a.b@c.de", "ü@x.org"}, {"a@b", "a b@c.de", "@c.de"}},
        Example{"^(?:[01]\\d|2[0-3]):[0-5]\\d$", {"00:00", "23:59"}, {"24:00", "1:00"}},
        Example{"^[äöü€-₿]\U0001F600?$", {"ä", "€", "₿\U0001F600"}, {"a", "\U0001F600", "ää"}},
        Example{"^.{2}$", {"é€", "\U0001F600a", "\\\""}, {"a", "abc", "a\n"}},
        Example{"^[^x]$", {"\n", "\"", "\\", "\x01", "\U0010FFFF", "\uD7FF", "\uE000"}, {"x", ""}}}) {
    const auto grammar = Of(example.pattern);
    for (const std::string_view text : example.good) {
      INFO(example.pattern << " " << text);
      CHECK(Has(*grammar, text));
    }
    for (const std::string_view text : example.bad) {
      INFO(example.pattern << " " << text);
      CHECK_FALSE(Has(*grammar, text));
    }
  }
}

TEST_CASE("every walk through a pattern's grammar ends in a string that the pattern matches") {
  RandomStream random(11);
  for (const std::string_view pattern : {"^[ab]{3}\\d?(-[x-z])*$", "^(?:\\w|\\\\){1,9}$", "[\"\\\\]",
                                         "^[\\n\\t ]{2}$", "^(a|ab)(c|bcd)(d*)$"}) {
    const auto grammar = Of(pattern);
    const std::regex regex(std::string(pattern), std::regex::ECMAScript);
    for (int walk = 0; walk < 60; ++walk) {
      State state = Initial(*grammar);
      std::string text;
      while (!IsComplete(state)) {
        REQUIRE(text.size() < 4000);
        std::vector<std::uint8_t> ways;
        for (std::uint8_t byte = 1; byte < 128; ++byte) {
          if (!Step(*grammar, state, byte).empty()) ways.push_back(byte);
        }
        REQUIRE_FALSE(ways.empty());
        // What may end, ends soon.
        const bool may_end = text.size() > 30 && std::ranges::count(ways, std::uint8_t{'"'}) > 0;
        const std::uint8_t byte =
            may_end ? std::uint8_t{'"'}
                    : ways[static_cast<std::size_t>(random.Between(0, std::ssize(ways) - 1))];
        text += static_cast<char>(byte);
        state = Step(*grammar, state, byte);
      }
      const auto value = json::Parse(text);
      INFO(pattern << " and " << text);
      REQUIRE(value.ok());
      REQUIRE(std::regex_search(*value->AsString(), regex));
    }
  }
}

TEST_CASE("a pattern that is malformed or not supported says where and what") {
  CHECK(ErrorOf("^(a)\\1$") ==
        "'pattern' at '': at byte 6: this escape is not supported: \\d, \\w, \\s, characters and their codes "
        "are");
  for (const std::string_view pattern : {"(?=a)", "(?!a)", "(?<=a)b", "(?<!a)b", "\\bword\\b", "a^b", "(^a)",
                                         "(a$)", "a$b", "\\p{L}", "\\k<a>"}) {
    CHECK_THAT(ErrorOf(pattern), Catch::StartsWith("'pattern' at '': at byte "));
  }
  for (const std::string_view pattern :
       {"(",      ")",       "(a",      "a)",      "[",
        "[a",     "[z-a]",   "[\\d-z]", "a{",      "a{2",
        "a{3,2}", "a{x}",    "*",       "a**",     "\\",
        "\\x4",   "\\uD800", "(?<a",    "a{2001}", "a{99999999999999999999}"}) {
    CHECK_THAT(ErrorOf(pattern), Catch::StartsWith("'pattern' at '': at byte "));
  }
  CHECK(ErrorOf(std::string(1025, 'a')) == "'pattern' at '': 1025 bytes, at most 1024 allowed");
  CHECK_THAT(ErrorOf(std::string(200, '(') + std::string(200, ')')), Catch::Contains("too deep"));
  for (const std::string_view large :
       {"^(?:a{2000}){2000}$", "^(?:(?:(?:a?){2000}){2000}){2000}$", "^(?:(?:){2000}){2000}$",
        "^[ab]{0,2000}[cd]{0,2000}$", "^(?:.{0,50}){57}$", "^[ab]*a[ab]{12}$",
        "^(?:(?:a|b?){40}c?){40}(?:a|b){0,40}$", "^(?:a|a|a|a|a|a|a){1700}$"}) {
    CHECK_THAT(ErrorOf(large),
               Catch::StartsWith("'pattern' at '' is too large or too ambiguous: it needs more "
                                 "than 3000 states"));
  }
  // Alternatives of nothing: no places, but ways.
  const std::string ways = "^(?:(?:" + std::string(985, '|') + "){2000}){11}$";
  CHECK_THAT(ErrorOf(ways), Catch::Contains("too large or too ambiguous"));
  CHECK(ErrorOf("^[]$") == "no value satisfies the schema");
  CHECK(FromSchema(R"({"pattern":1})").status().code() == kInvalidArgument);
  CHECK(Message(FromSchema(R"({"format":"date","pattern":"a"})").status()) ==
        "keyword 'pattern' at '' is not supported beside 'format'");
}

TEST_CASE("lengths beside a pattern must be those that it allows anyway") {
  CHECK(FromSchema(SchemaOf("^a{2,4}$", R"(,"minLength":2,"maxLength":4)")).ok());
  CHECK(FromSchema(SchemaOf("^(?:a|bcd)x*$", R"(,"minLength":1)")).ok());
  CHECK_THAT(ErrorOf("^a{2,4}$", R"(,"minLength":3)"), Catch::Contains("write them into the pattern"));
  CHECK_THAT(ErrorOf("^a{2,4}$", R"(,"maxLength":3)"), Catch::Contains("write them into the pattern"));
  CHECK_THAT(ErrorOf("a", R"(,"maxLength":3)"), Catch::Contains("write them into the pattern"));
}

TEST_CASE("however ambiguous a pattern is, its text has few readings") {
  for (const std::string_view pattern :
       {"^(?:a?){300}b{400,600}$", "^(?:a|a|a)*(?:a?){20}b*$", "a.*a.*a", "^(?:[a-c]*[ab]?){30}$"}) {
    const auto grammar = Of(pattern);
    State state = Feed(*grammar, Initial(*grammar), "\"aaaaaaaaaa");
    INFO(pattern << ": " << state.size());
    CHECK_FALSE(state.empty());
    CHECK(state.size() < 100);  // a reading takes 13 bytes or so
  }
}

TEST_CASE("patterns of a schema share what may be spent on them") {
  std::string schema = R"({"type":"object","properties":{)";
  for (int i = 0; i < 150; ++i)
    schema += fmt::format(R"({}"p{}":{{"pattern":"^(?:.{{0,20}}){{20}}{}$"}})", i == 0 ? "" : ",", i, i);
  CHECK_THAT(Message(FromSchema(schema + "}}").status()), Catch::Contains("too ambiguous"));
}

TEST_CASE("a pattern of many readings at once leads on") {
  const auto grammar = Of("^(?:a?){300}b{400,600}$");
  State state = Feed(*grammar, Initial(*grammar), "\"");
  for (int i = 0; i < 500; ++i) state = Step(*grammar, state, 'b');
  CHECK_FALSE(state.empty());
  CHECK(IsComplete(Step(*grammar, state, '"')));
}

}  // namespace
}  // namespace baton::grammar
