#include <string>

#include <fmt/format.h>
#include <catch2/catch.hpp>

#include "common/base/error.h"
#include "tests/common/text/render.h"

/// A template is not trusted with time, memory or stack, whatever it does.
namespace baton::text {
namespace {

using namespace test;

/// The message where a bound is met.
std::string Exhausted(std::string_view source, json::Object extra = {}) {
  const auto text = TryRender(source, std::move(extra));
  INFO(source.substr(0, 200));
  REQUIRE_FALSE(text.ok());
  CHECK(text.status().code() == kResourceExhausted);
  return Message(text.status());
}

void CheckTooMuch(std::string_view source, json::Object extra = {}) {
  const std::string message = Exhausted(source, std::move(extra));
  INFO(message);
  CHECK((message.find("too much text") != std::string::npos ||
         message.find("too many steps") != std::string::npos));
}

std::string Times(int count, std::string_view text) {
  std::string all;
  for (int i = 0; i < count; ++i) all += text;
  return all;
}

TEST_CASE("multiplied strings and lists are bounded") {
  CheckTooMuch("{{ 'x' * 9223372036854775807 }}");
  CheckTooMuch("{{ 'xx' * 9223372036854775807 }}");
  CheckTooMuch("{{ [1] * 999999999 }}");
}

TEST_CASE("ranges and batches are bounded") {
  CheckTooMuch("{{ range(9999999999)|length }}");
  CheckTooMuch("{{ [1]|batch(999999999999, 'x')|list }}");
}

TEST_CASE("replacing, joining and indenting are bounded") {
  const std::string grow = "{% set s = s.replace('x', 'xxxxxxxxxxxxxxxx') %}";
  CheckTooMuch("{% set s = 'x' %}" + Times(10, grow));
  CheckTooMuch("{% set s = 'x' %}" + Times(30, "{% set s = [s, s]|join(s) %}"));
  CheckTooMuch("{% set s = '\n' * 10000000 %}{{ s|indent(100, blank=true)|length }}");
  CheckTooMuch(
      "{% set s = 'x' * 1000000 %}{{ s.split('x')|length }}{{ s|list|length }}{{ s.replace('', s) }}");
}

TEST_CASE("values that share their parts are bounded where they are walked") {
  const std::string shared = "{% set a = ['x'] %}" + Times(60, "{% set a = [a, a] %}");
  CheckTooMuch(shared + "{{ a }}");
  CheckTooMuch(shared + "{{ a|tojson }}");
  CheckTooMuch(shared + "{% set b = a + [] %}{{ a == b }}");
  CheckTooMuch(shared + "{{ a < a }}");
}

TEST_CASE("values are bounded in depth") {
  CHECK(Exhausted("{% set a = [] %}" + Times(200, "{% set a = [a] %}")).find("a value more than 100 deep") !=
        std::string::npos);
  CHECK(Exhausted("{% set ns = namespace(a=[]) %}{% for i in range(100000) %}{% set ns.a = {'k': ns.a} %}{% "
                  "endfor %}")
            .find("a value more than 100 deep") != std::string::npos);
}

TEST_CASE("macros that call themselves are bounded") {
  CHECK(Exhausted("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}").find("nests more than 500 deep") !=
        std::string::npos);
  CHECK(Exhausted("{% macro m() %}{% call m() %}{{ caller() }}{% endcall %}{% endmacro %}{{ m() }}")
            .find("nests more than 500 deep") != std::string::npos);
  CheckTooMuch("{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(60) }}");
}

TEST_CASE("what macros and set blocks write is bounded") {
  CheckTooMuch(
      "{% set s = 'x' * 1000000 %}{% for i in range(1000) %}{% set b %}{{ s }}{% endset %}{% endfor %}");
  CheckTooMuch(
      "{% macro m(s) %}{{ s }}{% endmacro %}{% set s = 'x' * 1000000 %}"
      "{% for i in range(1000) %}{% set b = m(s) %}{% endfor %}");
}

TEST_CASE("searching large values again and again is bounded") {
  json::Object members;
  for (int i = 0; i < 20'000; ++i) members.emplace_back(fmt::format("k{}", i), i);
  CheckTooMuch(
      "{% for k in d %}{% for j in [1, 2, 3, 4, 5, 6, 7, 8] %}{% set x = d[k] %}{% endfor %}{% endfor %}",
      {{"d", members}});
  CheckTooMuch("{% set s = 'x' * 10000000 %}{% for i in range(100) %}{% set b = 'y' in s %}{% endfor %}");
  CheckTooMuch("{{ range(100000)|unique|list|length }}");
}

TEST_CASE("nested lists, dicts, calls and filters are bounded in depth when read") {
  const auto deep = [](std::string_view open) { return ErrorOf("{{ " + Times(10'000, open) + " }}"); };
  CHECK(
      ErrorOf("{{ " + Times(10'000, "{'a':") + "1" + Times(10'000, "}") + " }}").find("more than 200 deep") !=
      std::string::npos);
  CHECK(deep("[").find("more than 200 deep") != std::string::npos);
  CHECK(deep("range(").find("more than 200 deep") != std::string::npos);
  CHECK(deep("x.y(").find("method 'y' is not supported") != std::string::npos);
  CHECK(deep("x.get(").find("more than 200 deep") != std::string::npos);
  CHECK(deep("x[").find("more than 200 deep") != std::string::npos);
  CHECK(ErrorOf("{{ x" + Times(10'000, "|trim") + " }}").find("more than 200 deep") != std::string::npos);
  CHECK(ErrorOf("{{ x" + Times(10'000, ".y") + " }}").find("more than 200 deep") != std::string::npos);
  CHECK(ErrorOf("{{ " + Times(10'000, "1 if 1 else ") + "1 }}").find("more than 200 deep") !=
        std::string::npos);
  CHECK(ErrorOf("{{ " + Times(10'000, "+") + "1 }}").find("more than 200 deep") != std::string::npos);
  CHECK(ErrorOf("{{ " + Times(10'000, "2**") + "1 }}").find("more than 200 deep") != std::string::npos);
  CHECK(ErrorOf(Times(100, "{% macro m() %}")).find("more than 50 deep") != std::string::npos);
  CHECK(ErrorOf(Times(100, "{% set x %}")).find("more than 50 deep") != std::string::npos);
  CHECK(ErrorOf(Times(100, "{% generation %}")).find("more than 50 deep") != std::string::npos);
}

TEST_CASE("a template's source is bounded") {
  CHECK(ErrorOf(std::string((1U << 20) + 1, 'x')).find("at most 1048576 allowed") != std::string::npos);
}

}  // namespace
}  // namespace baton::text
