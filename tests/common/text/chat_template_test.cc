#include "common/text/chat_template.h"

#include <string>

#include <fmt/format.h>
#include <catch2/catch.hpp>

#include "common/base/error.h"
#include "tests/common/text/render.h"

namespace baton::text {
namespace {

using namespace test;

TEST_CASE("text and values are written as they are") {
  CHECK(Render("") == "");
  CHECK(Render("a { b } c") == "a { b } c");
  CHECK(Render("{{ bos_token }}x{{ eos_token }}") == "<s>x</s>");
  CHECK(Render("{{ 1 }} {{ 2.5 }} {{ true }} {{ none }} {{ missing }}|") == "1 2.5 True None |");
  CHECK(Render("{{ 'a' 'b' }}{{ \"it's\" }}") == "abit's");
}

TEST_CASE("floats print as Python prints them") {
  CHECK(Render("{{ x }}", {{"x", 1e16}}) == "1e+16");
  CHECK(Render("{{ x }}", {{"x", 123456789012345.0}}) == "123456789012345.0");
  CHECK(Render("{{ x }}", {{"x", 0.0001}}) == "0.0001");
  CHECK(Render("{{ x }}", {{"x", 0.00001}}) == "1e-05");
}

TEST_CASE("escapes in strings are resolved") {
  CHECK(Render(R"({{ 'a\n\t\\\'\"' }})") == "a\n\t\\'\"");
  CHECK(Render(R"({{ '\x41\u00e9\U0001F642' }})") == "A\u00e9\U0001F642");
  CHECK(Render(R"({{ '\q\.' }})") == "\\q\\.");
  CHECK(ErrorOf(R"({{ '\0' }})").find("line 1, column 5: this escape is not supported") != std::string::npos);
  CHECK(ErrorOf(R"({{ '\ud83d' }})").find("no such character") != std::string::npos);
  CHECK(ErrorOf(R"({{ '\u12' }})").find("4 hexadecimal digits expected") != std::string::npos);
}

TEST_CASE("one line end at the template's end is dropped and others become \\n") {
  CHECK(Render("a\n") == "a");
  CHECK(Render("a\n\n") == "a\n");
  CHECK(Render("a\r\nb\rc\r\n") == "a\nb\nc");
}

TEST_CASE("a statement takes its indentation and its line end along") {
  CHECK(Render("a\n  {% if true %}\n  b\n  {% endif %}\nc") == "a\n  b\nc");
  CHECK(Render("a\n  {{ 'x' }}\nb") == "a\n  x\nb");
  CHECK(Render("a {% if true %}b{% endif %} c") == "a b c");
  CHECK(Render("a\n  {# note #}\nb") == "a\nb");
  CHECK(Render("{% if true %}\n  {% if true %}\nx{% endif %}{% endif %}") == "x");
}

TEST_CASE("signs in tags control the white space around them") {
  CHECK(Render("a \n {{- 'x' -}} \n b") == "axb");
  CHECK(Render("a \n {%- if true -%} \n b{% endif %}") == "ab");
  CHECK(Render("a \n {#- note -#} \n b") == "ab");
  CHECK(Render("a\n  {%+ if true %}b{% endif %}") == "a\n  b");
  CHECK(Render("{% if true +%}\nb{% endif %}") == "\nb");
}

TEST_CASE("a loop has its variables") {
  CHECK(Render("{% for m in messages %}{{ loop.index }}{{ loop.index0 }}{{ loop.length }}{{ loop.first }}"
               "{{ loop.last }}{{ loop.revindex }} {% endfor %}") == "102TrueFalse2 212FalseTrue1 ");
  CHECK(Render("{% for m in messages %}{{ m.role }}:{{ m['content'] }};{% endfor %}") ==
        "user: Hi ;assistant:Yes;");
  CHECK(Render("{% for m in missing %}x{% else %}none{% endfor %}") == "none");
  CHECK(Render("{% for a in [1, 2] %}{% for b in [3] %}{{ loop.length }}{% endfor %}{{ loop.length }}{% "
               "endfor %}") == "1212");
}

TEST_CASE("what a loop sets ends with the round") {
  CHECK(Render("{% set x = 1 %}{% for i in [1, 2] %}{{ x }}{% set x = 5 %}{{ x }}{% endfor %}{{ x }}") ==
        "15151");
  CHECK(Render("{% if true %}{% set x = 2 %}{% endif %}{{ x }}") == "2");
}

TEST_CASE("branches are chosen by truth") {
  const std::string source = "{% if x %}a{% elif y %}b{% else %}c{% endif %}";
  CHECK(Render(source, {{"x", 1}}) == "a");
  CHECK(Render(source, {{"x", ""}, {"y", json::Array{0}}}) == "b");
  CHECK(Render(source, {{"x", json::Array{}}, {"y", nullptr}}) == "c");
  CHECK(Render("{{ 'a' if x else 'b' }}{{ 'c' if x }}") == "b");
}

TEST_CASE("operators bind as in Jinja") {
  CHECK(Render("{{ 1 + 2 * 3 - 4 }}") == "3");
  CHECK(Render("{{ -7 % 3 }} {{ 7 % -3 }}") == "2 -2");
  CHECK(Render("{{ -l[0] }}{{ --1 }}{{ -1 | trim }}", {{"l", json::Array{5}}}) == "-51-1");
  CHECK(Render("{{ 'a' + 'b' ~ 1 + 'c' }}") == "ab1c");
  CHECK(Render("{{ ' x ' | trim + 'y' }}") == "xy");
  CHECK(Render("{{ not x is defined }}{{ x is not defined }}") == "TrueTrue");
  CHECK(Render("{{ 1 == 1.0 and true == 1 }}{{ '' != false }}{{ none == none }}") == "TrueTrueTrue");
  CHECK(Render("{{ 'b' in 'abc' }}{{ 2 not in [1, 2] }}{{ 'role' in messages[0] }}") == "TrueFalseTrue");
  CHECK(Render("{{ 1 < 2 and 'a' < 'b' }}{{ 2 >= 3 or 'x' }}") == "Truex");
  CHECK(Render("{{ (1 + 2) * 3 }}") == "9");
  CHECK(Render("{{ [1] + [2] == [1, 2] }}") == "True");
}

TEST_CASE("lists are indexed and cut as in Python") {
  const json::Object list = {{"l", json::Array{0, 1, 2, 3}}};
  const auto joined = [&](std::string_view cut) {
    return Render(fmt::format("{{% for i in l{} %}}{{{{ i }}}}{{% endfor %}}", cut), list);
  };
  CHECK(joined("[1:]") == "123");
  CHECK(joined("[:-1]") == "012");
  CHECK(joined("[1:3]") == "12");
  CHECK(joined("[::-1]") == "3210");
  CHECK(joined("[::2]") == "02");
  CHECK(joined("[10:]") == "");
  CHECK(joined("[-10:2]") == "01");
  CHECK(joined("[3:0:-2]") == "31");
  CHECK(joined("[::9223372036854775807]") == "0");
  CHECK(Render("{{ l[-1] }}{{ l[7] }}{{ l[0] }}", list) == "30");
}

TEST_CASE("filters, tests and methods do what Python's do") {
  CHECK(Render("{{ messages[0].content | trim }}|{{ messages | length }}|{{ '\u00e9a' | length }}") ==
        "Hi|2|2");
  CHECK(Render("{{ ' \u3000a\ufeff ' | trim }}") == "a\ufeff");
  CHECK(Render("{{ 'xxaxx'.strip('x') }}{{ ' b '.lstrip() }}{{ ' c '.rstrip() }}|") == "ab  c|");
  CHECK(Render("{{ x is none }}{{ y is none }}{{ y is undefined }}", {{"x", nullptr}}) == "TrueFalseTrue");
  CHECK(Render("{{ messages is iterable }}{{ messages[0] is mapping }}{{ 'a' is string }}{{ 1 is true }}") ==
        "TrueTrueTrueFalse");
}

TEST_CASE("raise_exception ends rendering with the template's own words") {
  const auto text = TryRender("a{{ raise_exception('Roles must ' + 'alternate') }}b");

  REQUIRE_FALSE(text.ok());
  CHECK(text.status().code() == kInvalidArgument);
  CHECK(Message(text.status()) == "Roles must alternate");
}

TEST_CASE(
    "a method of a dict that is not called, and a call of what is no macro, are errors where they are "
    "reached") {
  CHECK(test::ErrorOf("{{ messages[0].items }}").find("attribute 'items' is not supported: it is a method") !=
        std::string::npos);
  CHECK(test::Render("{{ messages[0].items if false }}").empty());
  CHECK(test::ErrorOf("{{ messages[0]['role']('x') }}").find("what is called is no macro") !=
        std::string::npos);
  CHECK(test::ErrorOf("{% macro m(a) %}{{ a }}{% endmacro %}{{ m(*3) }}").find("has no elements") !=
        std::string::npos);
}

TEST_CASE("what is not supported is refused when the template is read") {
  const auto refused = [](std::string_view source) {
    const auto chat_template = ChatTemplate::Parse(source, "", "");
    INFO(source);
    REQUIRE_FALSE(chat_template.ok());
    CHECK(chat_template.status().code() == kInvalidArgument);
    return Message(chat_template.status());
  };
  CHECK(refused("\n {{ x | xmlattr('a') }}") ==
        "chat template: line 2, column 9: filter 'xmlattr' is not supported");
  CHECK(refused("{{ x is filter }}").find("test 'filter' is not supported") != std::string::npos);
  CHECK(refused("{% call x[0]() %}{% endcall %}").find("the call of a macro by its name expected") !=
        std::string::npos);
  CHECK(refused("{{ lipsum(3) }}").find("function 'lipsum' is not supported") != std::string::npos);
  CHECK(refused("{{ x.__class__() }}").find("method '__class__' is not supported") != std::string::npos);
  CHECK(refused("{{ x.append(1) }}").find("method 'append' is not supported") != std::string::npos);
  CHECK(refused("{% include 'x' %}").find("statement 'include' is not supported") != std::string::npos);
  CHECK(refused("{% import 'x' as y %}").find("statement 'import' is not supported") != std::string::npos);
  CHECK(refused("{{ x is none is true }}").find("a chain of tests") != std::string::npos);
  CHECK(refused("{{ x|trim[0] }}").find("unexpected '['") != std::string::npos);
  CHECK(refused("{{ x()() }}").find("is not supported") != std::string::npos);
  CHECK(refused("{% break %}").find("'break' outside of a loop") != std::string::npos);
  CHECK(refused("{% for i in x %}{% macro m() %}{% continue %}{% endmacro %}{% endfor %}")
            .find("'continue' outside of a loop") != std::string::npos);
  CHECK(refused("{{ x|tojson(ident=2) }}").find("'tojson' takes no argument 'ident'") != std::string::npos);
  CHECK(refused("{{ x|join(',', d=',') }}").find("argument 'd' given twice") != std::string::npos);
  CHECK(refused("{{ x|upper(1) }}").find("'upper' takes at most 0 arguments") != std::string::npos);
  CHECK(refused("{{ x is eq }}").find("test 'eq' takes one argument") != std::string::npos);
  CHECK(refused("{{ range(a=1, 2) }}").find("an argument without a name after") != std::string::npos);
}

TEST_CASE("a malformed template is refused with its place") {
  const auto refused = [](std::string_view source) {
    const auto chat_template = ChatTemplate::Parse(source, "", "");
    INFO(source);
    REQUIRE_FALSE(chat_template.ok());
    return Message(chat_template.status());
  };
  CHECK(refused("{{ 'a") == "chat template: line 1, column 4: string without an end");
  CHECK(refused("{{ a") == "chat template: line 1, column 1: tag without an end");
  CHECK(refused("a\nb{# c") == "chat template: line 2, column 2: comment without an end");
  CHECK(refused("{{ }}") == "chat template: line 1, column 4: expression expected, the end of the tag found");
  CHECK(refused("{{ a b }}") == "chat template: line 1, column 6: unexpected 'b'");
  CHECK(refused("{% if a %}b").find("'endif' expected before the end") != std::string::npos);
  CHECK(refused("{% endif %}").find("statement 'endif' is not supported here") != std::string::npos);
  CHECK(refused("{% if a %}{% endfor %}").find("statement 'endfor'") != std::string::npos);
  CHECK(refused("{% for in x %}").find("'in' expected") != std::string::npos);
  CHECK(refused("{{ a. }}").find("name expected after '.'") != std::string::npos);
  CHECK(refused("{{ a[ }}").find("expression expected") != std::string::npos);
  CHECK(refused("{{ a[] }}").find("without an index") != std::string::npos);
  CHECK(refused("{{ a ? b }}").find("unexpected '?'") != std::string::npos);
  CHECK(refused("{{ \u00e9 }}").find("unexpected '\u00e9'") != std::string::npos);
  CHECK(refused("{{ 99999999999999999999 }}").find("number out of range") != std::string::npos);
  CHECK(refused("\xFF").find("not UTF-8 at byte 0") != std::string::npos);
}

TEST_CASE("a value that does not fit is an error with its place") {
  CHECK(ErrorOf("{{ missing.role }}") == "line 1, column 4: 'missing' is undefined");
  CHECK(ErrorOf("{{ messages[9].role }}") == "line 1, column 12: this value is undefined");
  CHECK(ErrorOf("{{ 'a' + 1 }}") == "line 1, column 8: '+' between string and integer");
  CHECK(ErrorOf("{{ 'a' + none }}") == "line 1, column 8: '+' between string and none");
  CHECK(ErrorOf("{{ namespace() }}") == "line 1, column 4: printing a namespace");
  CHECK(ErrorOf("{{ missing | tojson }}").find("undefined is not JSON serializable") != std::string::npos);
  CHECK(ErrorOf("{{ 1 % 0 }}") == "line 1, column 6: modulo by zero");
  CHECK(ErrorOf("{% for c in 5 %}{% endfor %}") == "line 1, column 13: integer has no elements");
  CHECK(ErrorOf("{% for a, b in [[1]] %}{% endfor %}").find("1 values for 2 variables") != std::string::npos);
  CHECK(ErrorOf("{% set x.a = 1 %}").find("'x' is no namespace") != std::string::npos);
  CHECK(ErrorOf("{{ 1 // 0 }}").find("division by zero") != std::string::npos);
  CHECK(ErrorOf("{{ 1.5 / 0 }}").find("division by zero") != std::string::npos);
  CHECK(ErrorOf("{{ 2 ** 64 }}").find("overflows") != std::string::npos);
  CHECK(ErrorOf("{{ [1, 'a']|sort }}").find("'<' between") != std::string::npos);
  CHECK(ErrorOf("{{ 'a'.split('') }}").find("empty separator") != std::string::npos);
  CHECK(ErrorOf("{{ {1: 2} }}").find("a key that is integer") != std::string::npos);
  CHECK(ErrorOf("{{ range(0, 9, 0) }}").find("the step must not be 0") != std::string::npos);
  CHECK(ErrorOf("{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}").find("takes 1 arguments") !=
        std::string::npos);
  CHECK(ErrorOf("{% macro m(a) %}{% endmacro %}{{ m(b=2) }}").find("argument 'b' is unknown") !=
        std::string::npos);
  CHECK(ErrorOf("{{ 9223372036854775807 + 1 }}").find("overflows") != std::string::npos);
  CHECK(ErrorOf("{{ none.strip() }}").find("none has no method 'strip'") != std::string::npos);
  CHECK(ErrorOf("{{ [1][missing:] }}").find("a slice by undefined") != std::string::npos);
  CHECK(ErrorOf("{{ [1][::0] }}").find("a slice's step") != std::string::npos);
}

TEST_CASE("depth of expressions and statements is bounded") {
  const std::string parentheses = "{{ " + std::string(100'000, '(') + " }}";
  CHECK(ErrorOf(parentheses).find("more than 200 deep") != std::string::npos);
  CHECK(ErrorOf("{{ " + std::string(100'000, '[') + " }}").find("more than 200 deep") != std::string::npos);
  std::string sum = "{{ 1";
  std::string nots = "{{ ";
  std::string minuses = "{{ ";
  std::string ifs;
  for (int i = 0; i < 10'000; ++i) {
    sum += "+1";
    nots += "not ";
    minuses += "- ";
    ifs += "{% if 1 %}";
  }
  CHECK(ErrorOf(sum + " }}").find("more than 200 deep") != std::string::npos);
  CHECK(ErrorOf(nots + "1 }}").find("more than 200 deep") != std::string::npos);
  CHECK(ErrorOf(minuses + "1 }}").find("more than 200 deep") != std::string::npos);
  CHECK(ErrorOf(ifs).find("more than 50 deep") != std::string::npos);
}

TEST_CASE("steps, values and output are bounded") {
  json::Array hundred(100, json::Value(1));
  std::string loops;
  std::string ends;
  for (int i = 0; i < 5; ++i) {
    loops += "{% for i in l %}";
    ends += "{% endfor %}";
  }
  const auto steps = TryRender(loops + ends, {{"l", hundred}});
  REQUIRE_FALSE(steps.ok());
  CHECK(steps.status().code() == kResourceExhausted);
  CHECK(Message(steps.status()).find("too many steps") != std::string::npos);

  std::string doubling = "{% set s = 'xxxxxxxxxxxxxxxx' %}";
  for (int i = 0; i < 40; ++i) doubling += "{% set s = s + s %}";
  const auto values = TryRender(doubling);
  REQUIRE_FALSE(values.ok());
  CHECK(values.status().code() == kResourceExhausted);
  CHECK(Message(values.status()).find("too much text") != std::string::npos);

  const auto output = TryRender("{% for i in l %}{% for j in l %}{{ s }}{% endfor %}{% endfor %}",
                                {{"l", hundred}, {"s", std::string(10'000, 'x')}});
  REQUIRE_FALSE(output.ok());
  CHECK(output.status().code() == kResourceExhausted);
  CHECK(Message(output.status()).find("the text is longer than") != std::string::npos);
}

TEST_CASE("a folder without tokenizer_config.json has no template") {
  const auto chat_template = ChatTemplate::Load("/nonexistent/model");

  REQUIRE_FALSE(chat_template.ok());
  CHECK(chat_template.status().code() == kNotFound);
}

}  // namespace
}  // namespace baton::text
