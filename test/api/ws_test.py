#!/usr/bin/env python3
"""The dispatch protocol, by the `websockets` package, against the real server.

usage: ws_test.py REALM SCRIPT

SCRIPT does what its prompt says: test/e2e/guests/script.c.
"""
import json
import signal
import sys
import time

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

import server
from server import test

ANSWER = "The capital of France is Paris."
# Says the same again and again, to the last token.
LONG = {"prompt": "Once", "max_tokens": 900, "temperature": 0, "frequency_penalty": -2}
FRANCE = [{"role": "user", "content": "What is the capital of France?"}]


def opened(s, path="/"):
    return connect(s.url.replace("http", "ws") + path, max_size=None)


def ask(ws, call, function, **params):
    ws.send(json.dumps({"id": call, "function": function, "params": params}))


def answer(ws, seconds=server.PATIENCE_S):
    return json.loads(ws.recv(timeout=seconds))


def begin_long(ws, call):
    """A call that lasts, beside as many as one connection may have: alone it takes 15 ms on a fast
    machine."""
    for i in range(40):
        ask(ws, f"{call}-{i}", "generate", **LONG)
    ask(ws, call, "generate", **LONG, stream=True)
    while (got := answer(ws))["status"] != "streaming":
        assert got["status"] == "complete", got


def tried(attempt):
    """Until attempt() is true: what lasts is over where the machine pauses its client."""
    assert any(attempt() for _ in range(20)), "it was over too soon each time"


@test
def chat_and_generate(s):
    with opened(s) as ws, opened(s, "/ws") as other:
        ask(ws, "a", "chat", messages=FRANCE, temperature=0)
        got = answer(ws)
        assert got["id"] == "a" and got["status"] == "complete"
        assert got["data"]["text"] == ANSWER and got["data"]["tokens_generated"] > 3
        assert got["data"]["prompt_tokens"] > 3 and got["data"]["time_ms"] >= 0
        ask(other, "b", "generate", prompt="The capital of France is", temperature=0, max_tokens=4)
        assert answer(other)["data"]["text"] == " Paris."


@test
def streams(s):
    with opened(s) as ws:
        ask(ws, "a", "chat", messages=FRANCE, temperature=0, stream=True)
        pieces = []
        while True:
            got = answer(ws)
            if got["status"] == "complete":
                break
            assert got["status"] == "streaming" and got["data"]["text"] == got["data"]["token"]
            pieces.append(got["data"])
        assert "".join(p["text"] for p in pieces) == ANSWER == got["data"]["text"]
        assert [p["index"] for p in pieces] == list(range(len(pieces)))
        assert [p["is_final"] for p in pieces] == [False] * (len(pieces) - 1) + [True]
        assert got["data"]["status"] == "complete"


@test
def pieces_have_log_probabilities(s):
    with opened(s) as ws:
        for wanted in (True, False):
            ask(ws, "a", "chat", messages=FRANCE, temperature=0, stream=True, logprobs=wanted)
            pieces = []
            while (got := answer(ws))["status"] == "streaming":
                pieces.append(got["data"])
            assert got["status"] == "complete" and got["data"]["text"] == ANSWER
            *shown, last = pieces
            assert all(("logprob" in p) is wanted for p in shown), shown
            assert all(p.get("logprob", 0) <= 0 for p in shown) and "logprob" not in last
            assert "".join(p["text"] for p in pieces) == ANSWER
        plain = s.ask("/v1/chat/completions", {"messages": FRANCE, "temperature": 0,
                                               "logprobs": True})[1]
        want = [t["logprob"] for t in json.loads(plain)["choices"][0]["logprobs"]["content"]]
        ask(ws, "b", "chat", messages=FRANCE, temperature=0, stream=True, logprobs=True)
        told = []
        while (got := answer(ws))["status"] == "streaming":
            told += [got["data"]["logprob"]] if "logprob" in got["data"] else []
        assert told == want[:len(told)] and len(told) >= len(want) - 1, (told, want)


@test
def many_calls_on_one_connection(s):
    with opened(s) as ws:
        for i in range(40):
            ask(ws, str(i), "chat", messages=FRANCE, temperature=0, stream=i % 2 == 0)
        texts = {}
        while len(texts) < 40:
            got = answer(ws)
            if got["status"] == "complete":
                texts[got["id"]] = got["data"]["text"]
        assert set(texts.values()) == {ANSWER}


@test
def cancel(s):
    def attempt():
        with opened(s) as ws:
            begin_long(ws, "long")
            ask(ws, "c", "cancel", id="long")
            seen = {}
            while not {"long", "c"} <= set(seen):
                got = answer(ws)
                if got["status"] != "streaming":
                    seen[got["id"]] = got
            if seen["long"]["status"] == "complete":
                ws.close_socket()
                return False
            assert (seen["long"]["status"], seen["c"]["status"]) == ("cancelled", "complete"), seen
            ask(ws, "d", "cancel", id="long")
            while (got := answer(ws))["id"] != "d":
                pass
            error = got["error"]
            assert error["code"] == "INVALID_PARAMS" and error["details"]["param"] == "id", error
            ws.close_socket()
            return True

    tried(attempt)
    assert s.wait_for("realm_requests_running", 0, server.PATIENCE_S) is not None


@test
def a_cancel_and_the_end_that_meet(s):
    """C06: whichever comes first, a call ends once."""
    found = set()
    for step_s in (0.001, 0.01, 0.1):  # of a cancel that comes after its call, on a slow machine
        found |= cancels_and_ends(s, step_s)
        if found == {"cancelled", "complete"}:
            return
    raise AssertionError(found)


def cancels_and_ends(s, step_s):
    """How calls ended that were cancelled after a step or some."""
    with opened(s) as ws:
        for i in range(60):
            more = LONG if i % 12 == 0 else {"prompt": "Once", "max_tokens": 1 + i % 5}
            ask(ws, f"{i}", "generate", **more, stream=i % 2 == 0)
            time.sleep(i % 6 * step_s)
            ask(ws, f"c{i}", "cancel", id=f"{i}")
        ends = {}
        while len(ends) < 120:
            got = answer(ws)
            if got["status"] != "streaming":
                assert got["id"] not in ends, got
                ends[got["id"]] = got["status"]
        for i in range(60):
            assert (ends[f"{i}"], ends[f"c{i}"]) in (("cancelled", "complete"),
                                                     ("complete", "error")), (i, ends)
        ask(ws, "h", "health")
        assert answer(ws)["id"] == "h"  # nothing comes after that
        return {ends[f"{i}"] for i in range(60)}


@test
def leaving_ends_the_work(s):
    def attempt():
        before = s.metric("realm_completion_tokens_total")
        with opened(s) as ws:
            for i in range(32):
                ask(ws, str(i), "generate", **LONG, stream=True)
            answer(ws)
            ws.close_socket()  # without a word: a goodbye would wait behind what was not read
        assert s.wait_for("realm_requests_running", 0, server.PATIENCE_S) is not None
        return s.metric("realm_completion_tokens_total") - before < 32 * 900

    tried(attempt)


@test
def health_and_metadata(s):
    with opened(s) as ws:
        ask(ws, "h", "health")
        data = answer(ws)["data"]
        assert data["status"] == "ok" and data["version"] and data["uptime_seconds"] >= 0
        ask(ws, "m", "metadata")
        functions = {f["name"]: f for f in answer(ws)["data"]["functions"]}
        assert set(functions) == {"generate", "chat", "pipeline", "health", "metadata", "cancel"}
        params = {p["name"]: p for p in functions["generate"]["params"]}
        assert params["prompt"]["required"] and params["max_tokens"]["default"] == 100
        assert params["temperature"]["default"] == 0.7 and params["top_k"]["default"] == 0
        ask(ws, "g", "generate", prompt="Once", max_tokens=1)
        told = functions["generate"]["returns"].strip("{}").split(", ")
        assert told == list(answer(ws)["data"]), told
        ws.send(json.dumps({"id": "n", "function": "health", "params": None}))
        assert answer(ws)["status"] == "complete"  # null counts as absent


@test
def refusals(s):
    with opened(s) as ws:
        rows = (
            ({"id": "1", "function": "fly", "params": {}}, "1", "UNKNOWN_FUNCTION", None),
            ({"id": "1", "function": "generate", "params": {}}, "1", "INVALID_PARAMS", "prompt"),
            ({"id": "1", "function": "generate", "params": {"prompt": "x", "temperature": -1}},
             "1", "INVALID_PARAMS", "temperature"),
            ({"id": "1", "function": "generate", "params": {"prompt": "x", "model": "none"}},
             "1", "MODEL_NOT_FOUND", None),
            ({"id": "1", "function": "generate", "params": {"prompt": "word " * 4000}},
             "1", "CONTEXT_LENGTH_EXCEEDED", None),
            ({"id": "1", "function": "generate", "params": {"prompt": "x"}, "tenant_id": "other"},
             "1", "UNAUTHORIZED", None),
            ({"id": "1", "function": "pipeline", "params": {"pipeline": "p", "input": {}}},
             "1", "INVALID_PARAMS", "pipeline"),
            ({"id": 7, "function": "health"}, "", "INVALID_PARAMS", "id"),
            ({"function": "health"}, "", "INVALID_PARAMS", "id"),
            ([], "", "INVALID_PARAMS", None),
        )
        for message, id, code, param in rows:
            ws.send(json.dumps(message))
            got = answer(ws)
            assert (got["id"], got["status"], got["error"]["code"]) == (id, "error", code), got
            assert param is None or got["error"]["details"]["param"] == param, got
        for raw in ("{", "hello", "", b"\x00\x01", b'{"id":"x","function":"health"}'):
            ws.send(raw)
            got = answer(ws)
            assert got["id"] == "" and got["error"]["code"] == "INVALID_PARAMS", got
        ws.send(json.dumps({"id": "h", "function": "health", "tenant_id": "default"}))
        assert answer(ws)["status"] == "complete"  # the connection lives on


@test
def an_open_id_cannot_be_used_twice(s):
    def attempt():
        with opened(s) as ws:
            begin_long(ws, "a")
            ask(ws, "a", "health")
            while (got := answer(ws))["status"] == "streaming" or got["id"] != "a":
                pass
            ws.close_socket()
            if got["status"] == "complete":
                return False
            assert got["status"] == "error" and got["error"]["details"]["param"] == "id", got
            return True

    tried(attempt)


def close_code(ws):
    try:
        while True:
            ws.recv(timeout=server.PATIENCE_S)
    except ConnectionClosed as e:
        return e.rcvd.code if e.rcvd else None


@test
def a_shutdown_lets_calls_end(_):
    """C10: what runs is answered, and then the connection says goodbye; an idle one at once."""
    def attempt():
        other = server.Server(sys.argv[1])
        with opened(other) as idle, opened(other) as ws:
            for i in range(60):
                ask(ws, str(i), "generate", **LONG, stream=i % 2 == 0)
            answer(ws)
            other.process.send_signal(signal.SIGTERM)
            assert close_code(idle) == 1001
            ends = {}
            try:
                ask(ws, "new", "generate", prompt="Once", max_tokens=1)
                while len(ends) < 61:
                    got = answer(ws)
                    if got["status"] != "streaming":
                        ends[got["id"]] = got["error"]["code"] if "error" in got else got["status"]
            except ConnectionClosed as e:  # all was answered before the new one came
                assert len(ends) in (0, 60) and e.rcvd.code == 1001, (ends, e)
            else:
                assert ends.pop("new") == "OVERLOADED", ends
                assert close_code(ws) == 1001
            assert set(ends.values()) <= {"complete"}, ends
        assert other.stop() == 0
        return len(ends) == 60

    tried(attempt)


@test
def a_shutdown_that_waits_no_longer_tells_calls(_):
    def attempt():
        other = server.Server(sys.argv[1], config="api:\n  drain_s: 0\n")
        with opened(other) as ws:
            for i in range(60):
                ask(ws, str(i), "generate", **LONG)
            assert server.until(lambda: other.metric("realm_requests_running"))
            other.process.send_signal(signal.SIGTERM)
            codes = [answer(ws).get("error", {}).get("code") for _ in range(60)]
            assert set(codes) <= {"OVERLOADED", None}, codes
            assert close_code(ws) == 1001
        assert other.stop() == 0
        return "OVERLOADED" in codes

    tried(attempt)


@test
def a_program_that_fails(_):
    """GUEST_ERROR, and the connection and the program's other calls live on."""
    other = server.Server(sys.argv[1], "--guest", sys.argv[2])
    try:
        with opened(other) as ws:
            for stream in (False, True):
                ask(ws, "a", "generate", prompt="t\n", stream=stream)
                got = answer(ws)
                assert (got["id"], got["status"]) == ("a", "error"), got
                assert got["error"]["code"] == "GUEST_ERROR" and got["error"]["message"], got
            ask(ws, "b", "generate", prompt="s $0 well\nz $0\n")
            assert answer(ws)["data"]["text"] == "well\n"
    finally:
        other.stop()


@test
def a_message_that_is_too_large(s):
    with opened(s) as ws:
        try:
            ws.send("x" * (2 << 20))
            ws.recv(timeout=30)
        except ConnectionClosed as e:
            assert e.rcvd is None or e.rcvd.code == 1009, e
            return
        raise AssertionError("it was taken")


if __name__ == "__main__":
    server.main(server.Server(sys.argv[1]))
