#!/usr/bin/env python3
"""Anthropic's Python client against the real server.   usage: anthropic_test.py REALM"""
import sys

import anthropic

import server
from server import test

FRANCE = [{"role": "user", "content": "What is the capital of France?"}]
ANSWER = "The capital of France is Paris."
MODEL = "tiny-q8_0"
COLD = {"temperature": 0}


def client(s):
    return anthropic.Anthropic(base_url=s.url, api_key="none", max_retries=0)


@test
def a_message(s):
    m = client(s).messages.create(model=MODEL, max_tokens=50, extra_body=COLD, messages=FRANCE,
                                  system="Be brief.")
    assert m.content[0].type == "text" and m.content[0].text
    assert m.stop_reason == "end_turn" and m.role == "assistant" and m.id.startswith("msg_")
    assert m.usage.input_tokens > 5 and m.usage.output_tokens > 3


@test
def blocks_of_text(s):
    m = client(s).messages.create(
        model=MODEL, max_tokens=50, extra_body=COLD,
        messages=[{"role": "user", "content": [{"type": "text", "text": FRANCE[0]["content"]}]}])
    assert m.content[0].text == ANSWER


@test
def a_stream(s):
    with client(s).messages.stream(model=MODEL, max_tokens=50, extra_body=COLD,
                                   messages=FRANCE) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text == ANSWER == final.content[0].text
    assert final.stop_reason == "end_turn"
    whole = client(s).messages.create(model=MODEL, max_tokens=50, extra_body=COLD, messages=FRANCE)
    assert final.usage.input_tokens == whole.usage.input_tokens
    assert final.usage.output_tokens == whole.usage.output_tokens


@test
def raw_events(s):
    events = [e.type for e in client(s).messages.create(
        model=MODEL, max_tokens=4, extra_body=COLD, messages=FRANCE, stream=True)]
    assert events[:2] == ["message_start", "content_block_start"]
    assert events[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert set(events[2:-3]) == {"content_block_delta"}


@test
def why_it_stopped(s):
    c = client(s)
    short = c.messages.create(model=MODEL, max_tokens=3, extra_body=COLD, messages=FRANCE)
    assert short.stop_reason == "max_tokens" and short.usage.output_tokens == 3
    cut = c.messages.create(model=MODEL, max_tokens=50, extra_body=COLD, messages=FRANCE,
                            stop_sequences=["xyz", "Paris"])
    assert cut.stop_reason == "stop_sequence" and cut.stop_sequence == "Paris"
    assert cut.content[0].text == "The capital of France is "


@test
def counting(s):
    c = client(s)
    counted = c.messages.count_tokens(model=MODEL, messages=FRANCE).input_tokens
    m = c.messages.create(model=MODEL, max_tokens=1, messages=FRANCE)
    assert counted == m.usage.input_tokens


@test
def errors(s):
    c = client(s)
    for kind, call in (
            (anthropic.NotFoundError,
             lambda: c.messages.create(model="claude", max_tokens=1, messages=FRANCE)),
            (anthropic.BadRequestError,
             lambda: c.messages.create(model=MODEL, max_tokens=0, messages=FRANCE)),
            (anthropic.BadRequestError,
             lambda: c.messages.create(model=MODEL, max_tokens=1, messages=[
                 {"role": "user", "content": [{"type": "image", "source": {
                     "type": "base64", "media_type": "image/png", "data": ""}}]}])),
            (anthropic.BadRequestError,
             lambda: c.messages.create(model=MODEL, max_tokens=1, messages=FRANCE, tools=[
                 {"name": "f", "input_schema": {"type": "object"}}]))):
        try:
            call()
        except kind as e:
            assert e.body["type"] == "error" and e.body["error"]["message"], e.body
            continue
        raise AssertionError(kind)


if __name__ == "__main__":
    server.main(server.Server(sys.argv[1]))
