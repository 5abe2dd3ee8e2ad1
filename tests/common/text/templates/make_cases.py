#!/usr/bin/env python3
"""Renders the templates of this folder with Jinja itself and writes what the tests expect.

    python3 tests/common/text/templates/make_cases.py

Needs jinja2. Set up as model libraries set it up: sandboxed, trim_blocks and lstrip_blocks, loop controls, a
tojson that does not escape HTML, raise_exception and strftime_now. NAME.jinja gives NAME.cases.json over the chats
and settings of inputs.json, each line of idioms.txt a pair in idioms.json.
"""
import datetime
import json
import pathlib

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.sandbox import ImmutableSandboxedEnvironment

FOLDER = pathlib.Path(__file__).parent
NOW = datetime.datetime.fromtimestamp(1741529106, datetime.timezone.utc)


class Generation(Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller):
        return caller()


class Raised(jinja2.exceptions.TemplateError):
    pass


def raise_exception(message):
    raise Raised(message)


def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def environment():
    made = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])
    made.filters["tojson"] = tojson
    made.globals["raise_exception"] = raise_exception
    made.globals["strftime_now"] = NOW.strftime
    return made


def call(arguments, name="get_weather", identity="abcdefghi"):
    return {"id": identity, "type": "function", "function": {"name": name, "arguments": arguments}}


PROPERTIES = {
    "city": {"type": "string", "description": " a city "},
    "days": {"type": ["integer", "null"]},
    "tags": {"type": "array", "items": {"type": "string"}},
    "limits": {"type": "object", "additionalProperties": {"type": "number"}},
}
TOOLS = [
    {"type": "function", "function": {
        "name": "get_weather", "description": 'Weather "now" é',
        "parameters": {"type": "object", "properties": PROPERTIES, "required": ["city"]},
        "return": {"type": "string"}}},
    {"type": "function", "function": {
        "name": "now", "description": "time", "parameters": {"type": "object", "properties": {}}}},
]
DOCUMENTS = [{"doc_id": "d1", "text": "one", "title": "the title"}, {"text": "two", "year": 1999}]
TOOL = {"role": "tool", "tool_call_id": "abcdefghi"}
CALL = call({"city": "Zürich", "days": "3"})
CHATS = {
    "one": [{"role": "user", "content": " Hi\nthere "}],
    "system": [{"role": "system", "content": " Be brief.\n"}, {"role": "user", "content": "q?"}],
    "thought": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "<think>\nhm\n</think>\n\nb"},
                {"role": "user", "content": "c"}],
    "call": [{"role": "user", "content": "w?"}, {"role": "assistant", "content": None, "tool_calls": [CALL]},
             dict(TOOL, name="get_weather", content='{"t": 20}')],
    "results": [{"role": "user", "content": "w?"}, {"role": "assistant", "content": "", "tool_calls": [CALL]},
                dict(TOOL, content="20"), dict(TOOL, content="21"), {"role": "assistant", "content": "It is 20."},
                {"role": "user", "content": "ok"}],
    "text arguments": [{"role": "user", "content": "w?"},
                       {"role": "assistant", "content": None, "tool_calls": [call('{"a": 1}'), call('{"b": 2}')]},
                       dict(TOOL, content="20"), {"role": "assistant", "content": "x", "reasoning_content": "why"}],
    "assistant first": [{"role": "assistant", "content": "first"}],
    "long": [{"role": "system", "content": "s"}, {"role": "user", "content": "<resp>x</resp>"},
             {"role": "assistant", "content": "y"}, {"role": "developer", "content": "z"},
             {"role": "user", "content": "é🙂"}],
}
SETTINGS = [
    {"add_generation_prompt": True},
    {"add_generation_prompt": False, "tools": TOOLS},
    {"add_generation_prompt": True, "tools": TOOLS, "documents": DOCUMENTS, "enable_thinking": False,
     "builtin_tools": ["brave", "get_weather", "code_interpreter"], "tools_in_user_message": False,
     "controls": {"citations": True}},
]


def cases_of(template):
    for name, messages in CHATS.items():
        for number, settings in enumerate(SETTINGS):
            case = {"chat": name, "settings": number}
            try:
                case["rendered"] = template.render(messages=messages, bos_token="<s>", eos_token="</s>", **settings)
            except Raised as error:
                case["raises"] = str(error)
            except (TypeError, jinja2.exceptions.UndefinedError):
                case["fails"] = True
            yield case


def write(path, value):
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n")


def main():
    made = environment()
    for path in sorted(FOLDER.glob("*.jinja")):
        cases = list(cases_of(made.from_string(path.read_text())))
        write(path.with_suffix(".cases.json"), cases)
    write(FOLDER / "inputs.json", {"chats": CHATS, "settings": SETTINGS})
    messages = [{"role": "user", "content": " Hi "}, {"role": "assistant", "content": "Yes"}]
    pairs = []
    for line in (FOLDER / "idioms.txt").read_text().splitlines():
        values = {"messages": messages, "add_generation_prompt": True, "bos_token": "<s>", "eos_token": "</s>"}
        pairs.append([line, made.from_string(line).render(**values)])
    write(FOLDER / "idioms.json", pairs)


if __name__ == "__main__":
    main()
