#!/usr/bin/env python3
"""How requests end: whatever a client is told stands in the ledger before it is told, and the two
agree.   usage: outcomes_test.py REALM"""
import asyncio
import http.client
import json
import os
import signal
import sqlite3
import sys
import threading
import time
import urllib.request

import websockets

import server
from server import test

MODEL = "tiny-q8_0"
STORY = "Once upon a time"
LONG = {**server.STORY, "n": 1}
HI = [{"role": "user", "content": "hi"}]


def rows(s, tenant):
    return s.admin("GET", f"/admin/requests?tenant={tenant}&limit=1000")["rows"]


def row(s, tenant):
    """The only one there is, now."""
    found = rows(s, tenant)
    assert len(found) == 1, found
    return found[0]


def refused_rows(s, tenant, n):
    """All of its rows, once there are n: who is refused waits for half a second for his at most."""
    server.until(lambda: len(rows(s, tenant)) >= n)
    return rows(s, tenant)


def database(s):
    return sqlite3.connect(os.path.join(s.folder.name, "state", "realm.db"), isolation_level=None)


# Name, path, body; status and code of the answer; outcome.
REFUSED = [
    ("wrong", "/v1/completions", {"prompt": STORY, "temperature": -1}, 400, None),
    ("empty", "/v1/completions", {}, 400, "missing_required_parameter"),
    ("lost", "/v1/completions", {"prompt": STORY, "model": "nothing"}, 404, "model_not_found"),
    ("long", "/v1/completions", {"prompt": STORY * 3000}, 400, "context_length_exceeded"),
    ("chatty", "/v1/chat/completions", {"messages": HI, "top_p": 2}, 400, None),
    ("anthropic", "/v1/messages", {"messages": HI}, 400, None),
    ("llama", "/completion", {"prompt": STORY, "n_predict": "x"}, 400, None),
    ("embedding", "/v1/embeddings", {"input": "a", "model": "nothing"}, 404, "model_not_found"),
]


@test
def refusals(s):
    """Requests that are refused before they run."""
    for name, path, body, status, code in REFUSED:
        key = s.tenant(name)
        for stream in (False, True):
            got, text, _ = s.ask(path, {**body, "stream": stream}, key)
            assert got == status, (name, got, text)
            found = refused_rows(s, name, 1 + stream)
            assert len(found) == 1 + stream, (name, stream, found)
            assert found[0]["outcome"] == "refused", found
            assert code is None or found[0]["code"] == code, found
            assert found[0]["completion_tokens"] == 0, found


# Lists that are refused for their last: name, path, body, status, code, budget.
TOO_LONG = STORY * 3000
LISTS = [
    ("prompts", "/v1/completions", {"prompt": [STORY * 100] * 4 + [TOO_LONG], "max_tokens": 1},
     400, "context_length_exceeded", None),
    ("parts", "/completion", {"prompt": [STORY * 100] * 4 + [[999999]], "n_predict": 1},
     400, None, None),
    ("inputs", "/v1/embeddings", {"input": [STORY * 20] * 100 + [TOO_LONG]},
     400, "context_length_exceeded", None),
    ("vectors", "/embedding", {"input": [STORY * 20] * 100 + [TOO_LONG]},
     400, "context_length_exceeded", None),
    ("dear", "/v1/completions", {"prompt": [STORY] * 8, "max_tokens": 1},
     429, "quota_exceeded", 40),
    ("dearer", "/v1/embeddings", {"input": [STORY * 20] * 100}, 429, "quota_exceeded", 4000),
]


@test
def lists_that_are_refused(s):
    """J06: all of a list is looked at and paid for before any is computed."""
    for name, path, body, status, code, budget in LISTS:
        limits = {"budget_tokens": budget, "budget_window": "day"} if budget else {}
        key = s.tenant(name, limits=limits)
        before = s.metric("realm_prompt_tokens_total")
        got, text, _ = s.ask(path, body, key)
        assert got == status, (name, got, text[-300:])
        (found,) = refused_rows(s, name, 1)
        assert (found["outcome"], found["prompt_tokens"]) == ("refused", 0), (name, found)
        assert code is None or found["code"] == code, (name, found)
        assert s.metric("realm_prompt_tokens_total") == before, name


# Path, body, and what says in the door's form that a limit ended the answer.
SPENDERS = [
    ("/v1/completions", LONG, '"finish_reason":"length"'),
    ("/v1/chat/completions", {"messages": HI, "ignore_eos": True}, '"finish_reason":"length"'),
    ("/v1/messages", {"messages": HI, "max_tokens": 900, "ignore_eos": True,
                      "model": MODEL}, '"stop_reason":"max_tokens"'),
    ("/completion", {"prompt": STORY, "ignore_eos": True, "n_predict": 900},
     '"stop_type":"limit"'),
]


@test
def ends_of_budgets(s):
    """A06: tokens delivered are tokens billed: the answer ends where the budget does, and says so
    as at any limit; the next request gets the 429."""
    for i, (path, body, said) in enumerate(SPENDERS):
        for stream in (True, False):
            name = f"spent{i}{stream}".lower()
            key = s.tenant(name, limits={"budget_tokens": 300, "budget_window": "day"})
            status, text, _ = s.ask(path, {**body, "stream": stream}, key)
            assert status == 200 and said in text and "error" not in text, text[-300:]
            found = row(s, name)
            assert (found["outcome"], found["code"]) == ("ok", None), found
            assert found["prompt_tokens"] + found["completion_tokens"] == 300, found
            status, text, _ = s.ask(path, {**body, "stream": stream}, key)
            assert status == 429 and "the budget of 300 tokens per day is spent" in text, text


@test
def what_a_budget_lets_through_is_delivered(s):
    """Each token that is billed is in the answer, of several answers each."""
    key = s.tenant("delivered", limits={"budget_tokens": 300, "budget_window": "day"})
    body = {**LONG, "n": 3, "logprobs": 0}
    status, text, _ = s.ask("/v1/completions", body, key)
    answer = json.loads(text)
    assert status == 200, text[-300:]
    assert [c["finish_reason"] for c in answer["choices"]] == ["length"] * 3, text[-300:]
    delivered = sum(len(c["logprobs"]["tokens"]) for c in answer["choices"])
    found = row(s, "delivered")
    assert delivered == found["completion_tokens"] == answer["usage"]["completion_tokens"], found
    assert 298 <= delivered + found["prompt_tokens"] <= 300, found


@test
def ends_of_keys(s):
    """A01: a key that is taken away."""
    def take(n):
        s.admin("POST", "/admin/tenants", {"id": f"taken-{n}"})
        key = s.admin("POST", f"/admin/tenants/taken-{n}/keys", {})
        request = urllib.request.Request(s.url + "/v1/completions", json.dumps(
            {**LONG, "n": 16, "stream": True}).encode(), {"Authorization": f"Bearer {key['key']}"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.readline().decode()
            s.admin("PATCH", f"/admin/keys/{key['id']}", {"disabled": True})
            text += answer.read().decode()
        return (n, text) if "[DONE]" not in text else None

    n, text = server.beside_stories(s, "takers", take)
    assert '"invalid_api_key"' in text, text[-300:]
    found = row(s, f"taken-{n}")
    assert (found["outcome"], found["code"]) == ("refused", "invalid_api_key"), found
    assert found["completion_tokens"] >= text.count('"text":"') > 0, found


async def talk(s, key, *messages):
    """What a WebSocket is told of call "1" last, and how its row stands then."""
    async with websockets.connect(f"ws://{s.host}:{s.port}/ws", additional_headers={
            "Authorization": f"Bearer {key}"}) as ws:
        for message in messages:
            await ws.send(json.dumps(message))
        while True:
            got = json.loads(await ws.recv())
            if got["id"] == "1" and got["status"] != "streaming":
                return got


@test
def ends_of_calls(s):
    key = s.tenant("calls")
    got = asyncio.run(talk(s, key, {"id": "1", "function": "generate",
                                    "params": {"prompt": STORY, "model": "nothing"}}))
    assert got["error"]["code"] == "MODEL_NOT_FOUND", got
    assert row(s, "calls")["outcome"] == "refused"
    def cancel(n):
        key = s.tenant(f"ended-{n}")
        got = asyncio.run(talk(
            s, key, {"id": "1", "function": "generate",
                     "params": {"prompt": STORY, "max_tokens": 1000, "temperature": 2}},
            {"id": "2", "function": "cancel", "params": {"id": "1"}}))
        return n if got["status"] == "cancelled" else None

    n = server.beside_stories(s, "enders", cancel)
    assert row(s, f"ended-{n}")["outcome"] == "cancelled"


@test
def ends_of_time(_):
    """A deadline that comes before the answer is whole, and one that comes after it."""
    other = server.Server(sys.argv[1], config="api:\n  request_s: 1\n")
    try:
        for stream in (True, False):
            name = f"late{stream}".lower()

            def ask(n, name=name, stream=stream):
                status, text, _ = other.ask("/v1/completions", {**server.STORY, "stream": stream},
                                            other.tenant(f"{name}-for-{n}"))
                return (n, status, text) if '"timeout"' in text else None

            n, status, text = server.beside_stories(other, name, ask)
            assert status == (200 if stream else 504), text[-300:]
            found = row(other, f"{name}-for-{n}")
            assert (found["outcome"], found["code"]) == ("failed", "timeout"), found
    finally:
        other.stop()


@test
def ends_of_time_after_the_answer(_):
    other = server.Server(sys.argv[1], config="api:\n  request_s: 5\n")
    try:
        key = other.tenant("whole")
        sql = database(other)
        sql.execute("BEGIN IMMEDIATE")  # the ledger waits for whoever else writes
        timer = threading.Timer(7, lambda: None)
        answers = []
        asking = threading.Thread(target=lambda: answers.append(
            other.ask("/v1/completions", {"prompt": STORY, "max_tokens": 2}, key)))
        timer.start()
        asking.start()
        timer.join()
        assert not answers, "an answer came before its row was written"
        sql.execute("ROLLBACK")
        asking.join()
        assert answers[0][0] == 200, answers
        assert row(other, "whole")["outcome"] == "ok"
        sql.close()
    finally:
        other.stop()


@test
def a_failure_does_not_wait_for_ever(s):
    """While the ledger cannot write, a client is told soon that its request was wrong."""
    key = s.tenant("patient")
    sql = database(s)
    sql.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    status, text, _ = s.ask("/v1/completions", {"prompt": STORY, "temperature": -1}, key)
    took = time.monotonic() - began
    sql.execute("ROLLBACK")
    sql.close()
    assert status == 400 and 0.4 < took < 30, (status, text, took)
    server.until(lambda: rows(s, "patient"))
    assert row(s, "patient")["outcome"] == "refused"


@test
def ends_of_servers(_):
    """C10: what is cut off by a shutdown is told so, and its row says so."""
    for n in (4, 16, 64):
        text, found = cut_off(n)
        if "[DONE]" not in text:
            break
    assert '"shutdown"' in text and "[DONE]" not in text, text[-300:]
    assert found == [(3, "shutdown")], found


def cut_off(n):
    """What is told of an answer beside n stories that a shutdown ends, and its row."""
    other = server.Server(sys.argv[1], config="api:\n  drain_s: 0\n")
    try:
        key = other.tenant("cut")
        with server.stories(other, [other.tenant(f"beside-{i}") for i in range(n)]):
            answer = streamed(other, "/v1/completions", server.STORY, key).getresponse()
            text = answer.readline().decode()
            other.process.send_signal(signal.SIGTERM)
            text += answer.read().decode()
        sql = database(other)
        found = sql.execute("SELECT outcome, code FROM requests WHERE tenant = 'cut'").fetchall()
        sql.close()
        return text, found
    finally:
        other.stop()


def killed(s, as_wanted):
    """What the ledger has of the requests that run when the server is killed, which is once it has
    what is wanted: it is told each second how far they are, and writes within a quarter of one."""
    sql = database(s)

    def look():
        return sql.execute("SELECT prompt_tokens, completion_tokens FROM requests "
                           "WHERE outcome = -1 ORDER BY 1, 2").fetchall()

    server.until(lambda: as_wanted(look()))
    s.process.kill()
    s.process.wait()
    found = look()
    sql.close()
    return found


def asks(s, *args):
    """In the background, whatever comes of it."""
    def ask():
        try:
            s.ask(*args)
        except (OSError, http.client.HTTPException):
            pass  # it was killed

    thread = threading.Thread(target=ask)
    thread.start()
    return thread


@test
def what_a_killed_server_had_embedded(_):
    """It is paid for as far as it was computed, though no answer is there yet."""
    other = server.Server(sys.argv[1])
    asking = asks(other, "/v1/embeddings", {"input": ["a " * 900] * 2048})
    try:
        found = killed(other, lambda rows: rows and rows[0][0] > 0)
        assert len(found) == 1 and found[0][0] > 0, found
    finally:
        other.stop()
        asking.join()


@test
def what_a_killed_server_had_not_begun(_):
    """A prompt that waits for the engine is nobody's debt."""
    other = server.Server(sys.argv[1])
    asking = [asks(other, "/v1/completions", server.STORY) for _ in range(60)]  # 16 can run

    def half(rows):
        return any(drawn > 0 for _, drawn in rows) and (0, 0) in rows

    try:
        found = killed(other, half)
        assert half(found), found[:3]
        assert found.count((0, 0)) >= 60 - 16 - 4, found  # some of the first may be through
        assert all(prompt > 0 and drawn > 0 for prompt, drawn in found if prompt or drawn), found
    finally:
        other.stop()
        for thread in asking:
            thread.join()


def streamed(s, path, body, key):
    """A request on a connection of its own; its answer's head has not been read."""
    c = http.client.HTTPConnection(s.host, s.port, timeout=30)
    c.request("POST", path, json.dumps({**body, "stream": True}),
              {"Content-Type": "application/json", "Authorization": f"Bearer {key}"})
    return c


@test
def a_stream_that_waits_says_something(_):
    """Proxies cut what is silent: the head goes out before the first token, and comments follow.
    Then it is answered, or the error is an event; what is not streamed keeps its status."""
    other = server.Server(sys.argv[1], config="limits:\n  keep_alive_s: 1\n")
    busy = other.tenant("busy")  # another's would not have to wait
    key = other.admin("POST", "/admin/tenants/busy/keys", {})
    crowd = [streamed(other, "/v1/completions", server.STORY, busy) for _ in range(60)]
    short = {"messages": HI, "max_tokens": 4, "temperature": 0, "model": MODEL}
    try:
        assert server.until(lambda: other.metric("realm_requests_waiting") >= 16)
        start = time.monotonic()
        waits = [streamed(other, path, short, busy)
                 for path in ("/v1/chat/completions", "/v1/messages")]
        fails = [streamed(other, path, short, key["key"])
                 for path in ("/v1/chat/completions", "/v1/messages")]
        told = []
        whole = threading.Thread(target=lambda: told.append(
            other.ask("/v1/chat/completions", short, key["key"])[0]))
        whole.start()
        answers = [c.getresponse() for c in waits + fails]
        assert 0.9 < time.monotonic() - start < 30, time.monotonic() - start
        for answer in answers:
            assert answer.status == 200 and answer.readline() == b": \n", answer.status
            assert answer.headers["Content-Type"] == "text/event-stream"
        assert other.metric("realm_requests_waiting") > 0
        other.admin("DELETE", f"/admin/keys/{key['id']}")
        for answer in answers[2:]:
            text = answer.read().decode()
            assert '"error"' in text and "not valid any more" in text, text
        whole.join()
        assert told == [401], told
        for c in crowd:
            c.close()
        assert answers[0].read().endswith(b"data: [DONE]\n\n")
        assert b"event: message_stop\n" in answers[1].read()
    finally:
        other.stop()


if __name__ == "__main__":
    server.main(server.Server(sys.argv[1]))
