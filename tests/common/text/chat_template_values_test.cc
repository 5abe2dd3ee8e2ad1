#include <string>

#include <catch2/catch.hpp>

#include "tests/common/text/render.h"

/// What filters, tests, methods and statements of Jinja give, as the reference implementation does.
namespace baton::text {
namespace {

using namespace test;

const json::Object kDict = {
    {"b", 1}, {"a", json::Object{{"x", json::Array{1, 2.5, nullptr, true, "q\"'\n"}}}}, {"C", "z"}};
const json::Object kVariables = {{"d", kDict},
                                 {"l", json::Array{3, 1, 2}},
                                 {"s", "H\u00e9llo w\u00f6rld, it's"},
                                 {"w", json::Array{"b", "A", "c", "a", "B"}}};

std::string With(std::string_view source) {
  return Render(source, kVariables);
}

TEST_CASE("lists, tuples and dicts print as Python's repr") {
  CHECK(With("{{ d }}") == R"({'b': 1, 'a': {'x': [1, 2.5, None, True, 'q"\'\n']}, 'C': 'z'})");
  CHECK(With("{{ (1, 2) }}{{ (1,) }}{{ () }}{{ [] }}{{ {} }}") == "(1, 2)(1,)()[]{}");
  CHECK(With(R"({{ ["it's", 'a"b', '\x07\u2028\ufeff\xa0', 'é'] }})") ==
        R"(["it's", 'a"b', '\x07\u2028\ufeff\xa0', 'é'])");
  CHECK(With("{{ {'k': 1, 'k': [none, missing]} }}") == "{'k': [None, Undefined]}");
}

TEST_CASE("tojson writes as json.dumps does") {
  CHECK(With("{{ d|tojson }}") == R"({"b": 1, "a": {"x": [1, 2.5, null, true, "q\"'\n"]}, "C": "z"})");
  CHECK(With("{{ {'a': [1, {}], 'b': []}|tojson(indent=2) }}") ==
        "{\n  \"a\": [\n    1,\n    {}\n  ],\n  \"b\": []\n}");
  CHECK(With("{{ d|tojson(sort_keys=true) }}").starts_with(R"({"C": "z", "a")"));
  CHECK(With("{{ {'a': 1, 'b': (2,)}|tojson(separators=(',', ':')) }}") == R"({"a":1,"b":[2]})");
  CHECK(With("{{ '\u00e9<\U0001F642'|tojson }}") == "\"\u00e9<\U0001F642\"");
  CHECK(With("{{ '\u00e9\U0001F642'|tojson(ensure_ascii=true) }}") == R"("\u00e9\ud83d\ude42")");
  CHECK(With("{{ [1e22, 5.0]|tojson }}") == "[1e+22, 5.0]");
}

TEST_CASE("loops unpack, choose and jump") {
  CHECK(With("{% for k, v in d.items() %}{{ k }}{% endfor %}") == "baC");
  CHECK(With("{% for k, v in d|dictsort %}{{ k }}{% endfor %}{% for k in d %}{{ k }}{% endfor %}") ==
        "abCbaC");
  CHECK(With("{% for c in 'a\u00e9' %}[{{ c }}]{% endfor %}") == "[a][\u00e9]");
  CHECK(With("{% for i in l if i > 1 %}{{ loop.index }}/{{ loop.length }}:{{ i }} {% endfor %}") ==
        "1/2:3 2/2:2 ");
  CHECK(With("{% for i in l if i > 9 %}x{% else %}none{% endfor %}") == "none");
  CHECK(With("{% for i in l %}{% if i == 1 %}{% continue %}{% endif %}{{ i }}{% endfor %}") == "32");
  CHECK(With("{% for i in l %}{% if i == 1 %}{% break %}{% endif %}{{ i }}{% endfor %}|") == "3|");
  CHECK(
      With(
          "{% for i in l %}{{ loop.previtem }}<{{ loop.nextitem }}{{ loop.cycle('a', 'b') }} {% endfor %}") ==
      "<1a 3<2b 1<a ");
}

TEST_CASE("a namespace keeps what a loop sets") {
  CHECK(With("{% set ns = namespace(a=1, b='x') %}{% for i in l %}{% set ns.a = ns.a + i %}{% endfor %}"
             "{{ ns.a }}{{ ns.b }}{{ ns.c }}") == "7x");
  CHECK(With("{% set ns = namespace() %}{% set ns.me = ns %}{% set ns.l = [ns] %}{{ ns.me.l[0] == ns }}") ==
        "True");
}

TEST_CASE("set takes several variables or a block") {
  CHECK(With("{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set t = 1, 2 %}{{ t }}") == "12(1, 2)");
  CHECK(With("{% set x %}a{{ l }}b{% endset %}{{ x|upper }}{{ x is string }}") == "A[3, 1, 2]BTrue");
}

TEST_CASE("macros take arguments, defaults and callers") {
  const std::string macro = "{% macro m(a, b=2, c=a) %}[{{ a }}{{ b }}{{ c }}]{% endmacro %}";
  CHECK(With(macro + "{{ m(1) }}{{ m(1, 3) }}{{ m(b=5, a=4) }}{{ m() }}") == "[121][131][454][2]");
  CHECK(With("{% macro r(n) %}{{ n }}{% if n > 0 %}{{ r(n - 1) }}{% endif %}{% endmacro %}{{ r(3) }}") ==
        "3210");
  CHECK(With("{% set x = 5 %}{% macro q() %}{{ x }}{% endmacro %}{% for x in [7] %}{{ q() }}{% endfor %}") ==
        "5");
  CHECK(With("{% macro t(x) %}<{{ caller() }}{{ x }}>{% endmacro %}"
             "{% for i in l %}{% call t(i) %}in{{ i }}{% endcall %}{% endfor %}") == "<in33><in11><in22>");
}

TEST_CASE("raw and generation blocks are their text") {
  CHECK(With("{% raw %}{{ x }} {% y %}{% endraw %}|{% raw -%}\n  a  {%- endraw %}|") == "{{ x }} {% y %}|a|");
  CHECK(With("a\n  {% raw %}\n b\n  {% endraw %}\nc") == "a\n\n b\nc");
  CHECK(With("{% generation %}a{{ l[0] }}{% endgeneration %}b") == "a3b");
}

TEST_CASE("arithmetic is Python's") {
  CHECK(With("{{ 7 // 2 }} {{ -7 // 2 }} {{ 6 / 2 }} {{ -7.5 % 2 }} {{ 7.5 // 2 }}") == "3 -4 3.0 0.5 3.0");
  CHECK(With("{{ 2 ** 10 }} {{ 2 ** -1 }} {{ 2 ** 3 ** 2 }} {{ +1 }} {{ 1.5e-7 }}") ==
        "1024 0.5 64 1 1.5e-07");
  CHECK(With("{{ 'ab' * 3 }}{{ 2 * [1] }}{{ 'x' * -1 }}") == "ababab[1, 1]");
  CHECK(With("{{ 1 == 1.0 == true }}{{ 1 < 2 < 2 }}{{ [1, 2] < [1, 3] }}{{ (1,) == [1] }}") ==
        "TrueFalseTrueFalse");
}

TEST_CASE("strings are cut by characters") {
  CHECK(With("{{ s[1] }}{{ s[-1] }}{{ s[1:4] }}|{{ s[::-1][:3] }}") == "\u00e9s\u00e9ll|s't");
  CHECK(With("{{ s.split() }}{{ 'a,b,,c'.split(',', 1) }}{{ 'a b c'.rsplit(' ', 1) }}") ==
        "['H\u00e9llo', 'w\u00f6rld,', \"it's\"]['a', 'b,,c']['a b', 'c']");
  CHECK(With("{{ ' a  b '.split() }}{{ ''.split() }}{{ ''.split(',') }}{{ 'a\\nb'.splitlines() }}") ==
        "['a', 'b'][]['']['a', 'b']");
}

TEST_CASE("methods of strings are Python's") {
  CHECK(With("{{ s.upper() }}|{{ s.title() }}|{{ s|title }}|{{ s.capitalize() }}") ==
        "H\u00c9LLO W\u00d6RLD, IT'S|H\u00e9llo W\u00f6rld, It'S|H\u00e9llo W\u00f6rld, It's|"
        "H\u00e9llo w\u00f6rld, it's");
  CHECK(With("{{ s.startswith('H') }}{{ s.endswith(('x', \"'s\")) }}{{ s.find('w') }}{{ s.find('zz') }}"
             "{{ s.rfind('l') }}{{ s.count('l') }}") == "TrueTrue6-193");
  CHECK(With("{{ 'll'.replace('l', 'x', 1) }}{{ '\u00e9a'.replace('', '-') }}{{ ', '.join(w) }}") ==
        "xl-\u00e9-a-b, A, c, a, B");
  CHECK(With("{{ 'abc'.removeprefix('a').removesuffix('c') }}{{ '12'.isdigit() }}{{ ' '.isspace() }}") ==
        "bTrueTrue");
}

TEST_CASE("methods of dicts are Python's") {
  CHECK(With("{{ d.get('b') }}{{ d.get('no') }}{{ d.get('no', 5) }}{{ d.keys() }}{{ d.values()|length }}") ==
        "1None5['b', 'a', 'C']3");
}

TEST_CASE("filters of lists do what Jinja's do") {
  CHECK(With("{{ l|sort }}{{ l|sort(reverse=true) }}{{ w|sort }}{{ w|sort(case_sensitive=true) }}") ==
        "[1, 2, 3][3, 2, 1]['A', 'a', 'b', 'B', 'c']['A', 'B', 'a', 'b', 'c']");
  CHECK(With("{{ w|unique|list }}{{ l|min }}{{ l|max }}{{ l|sum }}{{ l|first }}{{ l|last }}") ==
        "['b', 'A', 'c']13632");
  CHECK(With("{{ messages|map(attribute='role')|join(',') }}{{ w|map('upper')|join }}") ==
        "user,assistantBACAB");
  CHECK(With("{{ messages|map(attribute='x', default='-')|list }}{{ [[1, 2]]|map(attribute='0')|list }}") ==
        "['-', '-'][1]");
  CHECK(With("{{ l|select('gt', 1)|list }}{{ l|reject('equalto', 1)|list }}{{ [0, 1]|select|list }}") ==
        "[3, 2][3, 2][1]");
  CHECK(With("{{ messages|selectattr('role', 'equalto', 'user')|list|length }}"
             "{{ messages|rejectattr('role', 'in', ['user'])|map(attribute='role')|first }}") ==
        "1assistant");
  CHECK(With("{{ [1, 2, 3]|batch(2, 'x')|list }}{{ l|reverse|list }}{{ d|items|first }}") ==
        "[[1, 2], [3, 'x']][2, 1, 3]('b', 1)");
}

TEST_CASE("filters of single values do what Jinja's do") {
  CHECK(With("{{ no|default('x') }}{{ none|d('x') }}{{ none|d('x', true) }}{{ ''|d('y', boolean=true) }}") ==
        "xNonexy");
  CHECK(With("{{ '42'|int }}{{ 'x'|int(7) }}{{ 3.9|int }}{{ '3.5'|float }}{{ -3|abs }}{{ 2.567|round(2) }}"
             "{{ 2.1|round(method='ceil') }}") == "42733.532.573.0");
  CHECK(With("{{ 'a\\nb\\n\\nc'|indent(2) }}|{{ 'a\\nb'|indent('> ', true) }}") == "a\n  b\n\n  c|> a\n> b");
  CHECK(With("{{ 'xax'|trim('x') }}{{ '<'|e }}{{ '<'|safe }}{{ l|string|length }}") == "a&lt;<9");
}

TEST_CASE("tests tell kinds and values apart") {
  CHECK(With("{{ 5 is number }}{{ true is integer }}{{ true is boolean }}{{ 5.0 is float }}{{ d is sequence "
             "}}") == "TrueFalseTrueTrueTrue");
  CHECK(With("{{ 4 is divisibleby 2 }}{{ 3 is odd }}{{ 3 is in [3] }}{{ 3 is not in [3] }}{{ 1 is sameas "
             "true }}") == "TrueTrueTrueFalseFalse");
  CHECK(With("{{ 1 is eq 1 }}{{ 1 is lt(2) }}{{ 'a' is lower }}{{ w is string or w is iterable }}") ==
        "TrueTrueTrueTrue");
}

TEST_CASE("functions make ranges, dicts and dates") {
  CHECK(With("{{ range(3) }}{{ range(5, 0, -2) }}{{ dict(a=1) }}") == "[0, 1, 2][5, 3, 1]{'a': 1}");
  CHECK(With("{{ strftime_now('%d %b %Y %H:%M:%S') }}") == "09 Mar 2025 14:05:06");
}

}  // namespace
}  // namespace baton::text
