#!/usr/bin/env python3
"""Anthropic's Python client against the real server.   usage: anthropic_test.py REALM"""
import asyncio
import concurrent.futures
import os
import sys

import anthropic

import server
from server import test

FRANCE = [{"role": "user", "content": "What is the capital of France?"}]
ANSWER = "The capital of France is Paris."
MODEL = "tiny-q8_0"
COLD = {"temperature": 0}


STORY = {"model": MODEL, "max_tokens": 900, "extra_body": {"ignore_eos": True},
         "messages": [{"role": "user", "content": "Tell me a story."}]}


def client(s, **kwargs):
    return anthropic.Anthropic(base_url=s.url, api_key="none", **{"max_retries": 0, **kwargs})


@test
def a_message(s):
    m = client(s).messages.create(model=MODEL, max_tokens=50, extra_body=COLD, messages=FRANCE,
                                  system="Be brief.")
    assert m.content[0].type == "text" and m.content[0].text
    assert m.stop_reason == "end_turn" and m.role == "assistant" and m.id.startswith("msg_")
    assert m.usage.input_tokens > 5 and m.usage.output_tokens > 3


@test
def models(s):
    page = client(s).models.list()
    assert [m.id for m in page] == [MODEL] and not page.has_more
    assert page.first_id == page.last_id == MODEL
    m = client(s).models.retrieve(MODEL)
    assert m.type == "model" and m.id == m.display_name == MODEL
    assert abs(m.created_at.timestamp() - os.stat(server.TINY).st_mtime) < 1


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
    assert counted == m.usage.input_tokens + (m.usage.cache_read_input_tokens or 0)


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


@test
def too_long(s):
    try:
        client(s).messages.create(model=MODEL, max_tokens=1, messages=[
            {"role": "user", "content": "word " * 4000}])
    except anthropic.BadRequestError as e:
        assert e.body["error"]["type"] == "invalid_request_error" and e.request_id
        assert "context" in e.body["error"]["message"]
        return
    raise AssertionError("a prompt that does not fit")


@test
def asynchronous_calls(s):
    async def run():
        async with anthropic.AsyncAnthropic(base_url=s.url, api_key="none") as c:
            whole = await c.messages.create(model=MODEL, max_tokens=50, extra_body=COLD,
                                            messages=FRANCE)
            async with c.messages.stream(model=MODEL, max_tokens=50, extra_body=COLD,
                                         messages=FRANCE) as stream:
                return whole, "".join([text async for text in stream.text_stream])
    whole, text = asyncio.run(run())
    assert text == whole.content[0].text == ANSWER and whole._request_id.startswith("req_")


@test
def several_turns(s):
    m = client(s).messages.create(model=MODEL, max_tokens=50, extra_body=COLD, messages=[
        {"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi!"}, *FRANCE])
    assert m.content[0].text == ANSWER


@test
def a_stream_that_is_left_frees_what_it_held(s):
    def begin():
        stream = client(s).messages.create(**STORY, stream=True)
        while next(stream).type != "content_block_delta":
            pass
        return stream.close
    server.leaves(s, "messages", begin)


@test
def the_client_comes_again_when_it_is_told_to(s):
    def call():
        answer = client(s, max_retries=2).messages.with_raw_response.create(
            model=MODEL, max_tokens=50, extra_body=COLD, messages=FRANCE)
        assert answer.parse().content[0].text == ANSWER
        return answer.retries_taken
    server.retries(s, call)


@test
def an_error_after_the_first_token_is_raised(_):
    """Of many at once, which takes longer than they may."""
    other = server.Server(sys.argv[1], config="api:\n  request_s: 1\n")

    def error(_):
        begun = False
        try:
            for event in client(other).messages.create(**STORY, stream=True):
                begun = begun or event.type == "content_block_delta"
        except anthropic.APIStatusError as e:
            return e if begun else None
        return None
    try:
        for n in (0, 4, 12):
            with server.stories(other, [None] * n), \
                    concurrent.futures.ThreadPoolExecutor(32) as pool:
                errors = [e for e in pool.map(error, range(32)) if e]
            if errors:
                break
        assert errors
        for e in errors:
            assert e.body["error"]["type"] == "timeout_error" and e.body["request_id"], e.body
    finally:
        other.stop()


@test
def who_does_not_come_again_is_told(s):
    crowd = server.Crowd(s)
    try:
        client(s).messages.create(model=MODEL, max_tokens=1, messages=FRANCE)
    except anthropic.InternalServerError as e:
        assert e.status_code == 503 and e.response.headers["retry-after"] == "1"
    else:
        raise AssertionError("a full server answers")
    finally:
        crowd.end()


if __name__ == "__main__":
    server.main(server.Server(sys.argv[1], config=server.SMALL))
