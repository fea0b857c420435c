#!/usr/bin/env python3
"""Published chat templates: what Jinja2 renders, as transformers sets it up, is what we render.

usage: templates_test.py RENDER_TEMPLATE FOLDER

Prints TAP, one case for each template.
"""
import datetime
import json
import os
import subprocess
import sys

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment

TOOLS = [{"type": "function", "function": {
    "name": "get_weather", "description": "The weather of a \"city\" & <more>",
    "parameters": {"type": "object", "properties": {
        "city": {"type": "string", "description": "Zürich, 東京"},
        "days": {"type": "integer", "enum": [1, 2, 3]},
        "units": {"type": ["string", "null"]}}, "required": ["city"]}}},
    {"type": "function", "function": {"name": "now", "description": "", "parameters": {
        "type": "object", "properties": {}}}}]
# Some templates call themselves without end for types that are lists, in Jinja2 too.
PLAIN_TOOLS = TOOLS[1:]
SYSTEM = {"role": "system", "content": "Be brief.\nBe kind."}
USER = {"role": "user", "content": "Hello"}
HI = {"role": "assistant", "content": "Hi!"}
MORE = {"role": "user", "content": "  And the weather in Zürich?  \n"}
CALL = {"role": "assistant", "content": "", "tool_calls": [{
    "id": "abcdefghi", "type": "function",
    "function": {"name": "get_weather", "arguments": {"city": "Zürich", "days": 2}}}]}
NULL_CALL = {**CALL, "content": None}
RESULT = {"role": "tool", "tool_call_id": "abcdefghi", "name": "get_weather",
          "content": "{\"sky\": \"blue\"}"}
ODD = {"role": "user", "content": "\U0001F600 \u00e9\u0301 {{ x }} {% y %} <|im_end|> \u2028 "
                                  "' \" \\ & <b>"}
THOUGHT = {"role": "assistant", "content": "<think>\nHmm.\n</think>\n\nBlue."}
REASONED = {"role": "assistant", "content": "Blue.", "reasoning_content": "Hmm."}

TALKS = {
    "one": [USER],
    "system": [SYSTEM, USER],
    "turns": [USER, HI, MORE],
    "system and turns": [SYSTEM, USER, HI, MORE, HI, USER],
    "odd text": [SYSTEM, ODD],
    "call": [USER, CALL, RESULT],
    "call and null": [SYSTEM, USER, NULL_CALL, RESULT, HI, MORE],
    "two results": [USER, CALL, RESULT, RESULT],
    "thought": [USER, THOUGHT, MORE],
    "reasoned": [USER, REASONED, MORE],
    "empty": [{"role": "user", "content": ""}],
    "assistant last": [USER, HI],
}


class Generation(jinja2.ext.Extension):
    """{% generation %} marks text for training and shows it as it is."""
    tags = {"generation"}

    def parse(self, parser):
        lineno = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_show"), [], [], body).set_lineno(lineno)

    @staticmethod
    def _show(caller):
        return caller()


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators,
                      sort_keys=sort_keys)


def environment():
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True,
                                        extensions=[Generation, jinja2.ext.loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = lambda form: datetime.datetime.now().strftime(form)
    return env


def contexts():
    for name, messages in TALKS.items():
        for tools in (None, TOOLS, PLAIN_TOOLS):
            for more in ({}, {"add_generation_prompt": False}, {"enable_thinking": False}):
                context = {"messages": messages, "tools": tools, "documents": None,
                           "bos_token": "<s>", "eos_token": "</s>", "add_generation_prompt": True,
                           "functions": "[]", "datetime": "today", **more}
                yield f"{name}, {len(tools or [])} tools, {more}", context


def check(render, folder, name):
    """How many of the conversations Jinja2 renders, and the first that differs."""
    path = os.path.join(folder, name)
    with open(path, encoding="utf-8") as source:
        template = environment().from_string(source.read())
    rows = list(contexts())
    ours = subprocess.run([render, path], capture_output=True, text=True, check=True,
                          input="".join(json.dumps(c) + "\n" for _, c in rows)).stdout
    rendered = 0
    for (label, context), line in zip(rows, ours.splitlines(), strict=True):
        try:
            wanted = template.render(**context)
        except Exception:
            continue  # what Jinja2 refuses we may refuse, or not
        rendered += 1
        got = json.loads(line)
        if got != wanted:
            return rendered, f"{label}:\n wanted {wanted!r}\n got    {got!r}"
    return rendered, None


def main():
    render, folder = sys.argv[1:3]
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    if not names:
        print("1..0 # SKIP no published templates: set REALM_TEST_DATA")
        return 0
    failed = 0
    print(f"1..{len(names)}")
    for i, name in enumerate(names, 1):
        rendered, wrong = check(render, folder, name)
        ok = not wrong and rendered > 0
        failed += not ok
        print(f"{'ok' if ok else 'not ok'} {i} - {name}, {rendered} conversations", flush=True)
        if wrong:
            print("# " + wrong.replace("\n", "\n# "))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
