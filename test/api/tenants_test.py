#!/usr/bin/env python3
"""Tenants as their clients see them: keys, limits, shares of the cache, and the ledger beside what
the clients counted.   usage: tenants_test.py REALM GUEST"""
import asyncio
import json
import re
import socket
import sys
import threading
import time
import urllib.error
import urllib.request

import openai
import websockets

import server
from server import test
from tenancy import MODEL, STORY, ask, chat, rows, settled, used

# ---- keys ----

@test
def keys_tell_who_calls(s):
    key = s.tenant("keys")
    assert re.fullmatch(r"rlm_[A-Za-z0-9]{8}_[A-Za-z0-9]{40,55}", key), key
    for headers in ({"Authorization": f"Bearer {key}"}, {"Authorization": f"bearer {key}"},
                    {"x-api-key": key}):
        assert ask(s, None, "/v1/models", headers=headers)[0]["data"]
    client = openai.OpenAI(base_url=s.url + "/v1", api_key=key)
    assert client.models.list().data


@test
def who_has_no_key_is_not_let_in(s):
    """A01: every wrong key is told the same, before a body is read."""
    key = s.tenant("wrong")
    off = s.admin("POST", "/admin/tenants/wrong/keys", {})
    s.admin("PATCH", f"/admin/keys/{off['id']}", {"disabled": True})
    old = s.admin("POST", "/admin/tenants/wrong/keys", {"expires_at": int(time.time()) + 1})
    time.sleep(2.1)
    unknown = key[:4] + "AAAAAAAA" + key[12:]
    bodies = set()
    for headers in (
            {"Authorization": f"Basic {key}"}, {"Authorization": "Bearer "},
            {"Authorization": f"Bearer {key}x"}, {"Authorization": "Bearer " + "k" * 4000},
            {"Authorization": f"Bearer {unknown}"}, {"Authorization": f"Bearer {off['key']}"},
            {"Authorization": f"Bearer {old['key']}"}, {"x-api-key": key[:-1]},
            {"Authorization": f"Bearer {key.swapcase()}"}, {"Authorization": f"Bearer  {key}"},
            {"Authorization": f"Bearer {key} x"}, {"Authorization": key}, {"x-api-key": ""}):
        answer, head, _ = ask(s, None, "/v1/models", headers=headers, expect=401)
        assert head["WWW-Authenticate"] == "Bearer"
        error = answer["error"]
        assert error["code"] == "invalid_api_key" and key not in json.dumps(answer)
        bodies.add(json.dumps({**error, "request_id": ""}))
    assert len(bodies) == 1, bodies
    for path in ("/v1/models", f"/v1/models?api_key={key}", "/v1/models/" + MODEL, "/props"):
        assert ask(s, None, path, expect=401)[0]["error"]["code"] == "missing_api_key"
    for path in ("/health", "/ready", "/openapi.json"):
        ask(s, None, path)
    # Twice in one head, and before a body is read.
    with socket.create_connection((s.host, s.port), timeout=10) as c:
        c.sendall(f"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n"
                  f"Authorization: Bearer {key}\r\nConnection: close\r\n\r\n".encode())
        assert c.makefile("rb").read().startswith(b"HTTP/1.1 400")
    with socket.create_connection((s.host, s.port), timeout=10) as c:
        c.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
                  b"Content-Length: 4000000\r\n\r\n")
        got = c.makefile("rb").read()
        assert got.startswith(b"HTTP/1.1 401") and b"Connection: close" in got
    error, head, _ = ask(s, None, "/v1/messages", {}, expect=401)
    assert error["type"] == "error" and error["error"]["type"] == "authentication_error"
    assert head["request-id"] == head["x-request-id"] == error["request_id"]
    assert used(s, "wrong") == (0, 0, 0)


@test
def a_key_that_is_taken_away_ends_its_streams(s):
    """A01: within a second and a half, or what a busy machine makes of that."""
    def take(n):
        s.admin("POST", "/admin/tenants", {"id": f"gone-{n}"})
        key = s.admin("POST", f"/admin/tenants/gone-{n}/keys", {})
        body = {**server.STORY, "stream": True}
        request = urllib.request.Request(s.url + "/v1/completions", json.dumps(body).encode(), {
            "Content-Type": "application/json", "Authorization": f"Bearer {key['key']}"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            answer.readline()
            s.admin("PATCH", f"/admin/keys/{key['id']}", {"disabled": True})
            began = time.monotonic()
            text = answer.read().decode()
        assert time.monotonic() - began < 20
        return (n, text) if "[DONE]" not in text else None

    n, text = server.beside_stories(s, "going", take)
    assert '"invalid_api_key"' in text, text[-300:]
    (row,) = settled(s, f"gone-{n}", 1)
    assert row["outcome"] in ("refused", "failed", "cancelled"), row
    assert row["completion_tokens"] >= text.count('"text":"')


@test
def models_that_are_not_allowed_are_not_there(s):
    """A03: what a tenant may not use does not exist for it."""
    key = s.tenant("few", models=["other"])
    assert ask(s, key, "/v1/models")[0]["data"] == []
    hidden = chat(s, key, expect=404)[0]["error"]
    none = chat(s, key, expect=404, model="nothing")[0]["error"]
    assert hidden["code"] == none["code"] == "model_not_found"
    assert hidden["message"].replace(MODEL, "X") == none["message"].replace("nothing", "X")
    ask(s, key, f"/v1/models/{MODEL}", expect=404)
    ask(s, key, "/tokenize", {"content": "a", "model": MODEL}, expect=404)
    s.admin("PATCH", "/admin/tenants/few", {"models": [MODEL]})
    assert [m["id"] for m in ask(s, key, "/v1/models")[0]["data"]] == [MODEL]
    chat(s, key)


@test
def models_tell_a_tenant_nothing_of_others(s):
    """When a shared one is loaded says that somebody uses it; administration sees that."""
    key = s.tenant("watcher")
    secret = {"state", "memory_bytes"}
    shown = [*ask(s, key, "/v1/models")[0]["data"], ask(s, key, f"/v1/models/{MODEL}")[0]]
    assert len(shown) >= 2 and not any(secret & set(m) for m in shown), shown
    assert all(secret <= set(m) for m in s.admin("GET", "/admin/models")["data"])


@test
def defaults_and_caps_of_a_tenant(s):
    key = s.tenant("caps", defaults={"temperature": 0, "max_tokens": 3},
                   limits={"max_tokens": 5})
    body = {"model": MODEL, "prompt": STORY}
    first = ask(s, key, "/v1/completions", body)[0]
    assert first["usage"]["completion_tokens"] == 3
    assert ask(s, key, "/v1/completions", body)[0]["choices"] == first["choices"]
    absent = {**body, "max_tokens": None, "temperature": None}
    assert ask(s, key, "/v1/completions", absent)[0]["choices"] == first["choices"]
    longer = ask(s, key, "/v1/completions", {**body, "max_tokens": 50})[0]
    assert longer["usage"]["completion_tokens"] == 5
    assert longer["choices"][0]["finish_reason"] == "length"


@test
def defaults_have_the_names_of_each_door(s):
    """llama-server's own, too; and a request's own value goes before, by whichever name."""
    key = s.tenant("names", defaults={"temperature": 0, "max_tokens": 3,
                                      "repetition_penalty": 1.5, "min_p": 0.25})

    def settings(**more):
        answer = ask(s, key, "/completion", {"prompt": STORY, "ignore_eos": True, **more})[0]
        g = answer["generation_settings"]
        return (answer["tokens_predicted"], g["repeat_penalty"], g["temperature"], g["min_p"])

    assert settings() == (3, 1.5, 0, 0.25)
    assert settings(n_predict=None, repeat_penalty=None) == (3, 1.5, 0, 0.25)
    assert settings(n_predict=5, repeat_penalty=1, min_p=0) == (5, 1, 0, 0)
    messages = [{"role": "user", "content": STORY}]
    for path, body, n in (
            ("/v1/chat/completions", {"messages": messages}, 3),
            ("/v1/chat/completions", {"messages": messages, "max_completion_tokens": 4}, 4),
            ("/v1/completions", {"prompt": STORY}, 3)):
        usage = ask(s, key, path, {"ignore_eos": True, **body})[0]["usage"]
        assert usage["completion_tokens"] == n, (path, body, usage)
    out = ask(s, key, "/v1/messages", {"messages": messages, "model": MODEL, "ignore_eos": True})[0]
    assert out["usage"]["output_tokens"] == 3, out


@test
def a_default_is_brought_into_the_range_of_the_door(s):
    """Anthropic's temperatures end at 1; a request that names none must not be refused for it."""
    key = s.tenant("hot", defaults={"temperature": 1.5, "max_tokens": 3})
    body = {"messages": [{"role": "user", "content": STORY}], "model": MODEL, "seed": 7}
    hot = ask(s, key, "/v1/messages", body)[0]["content"]
    assert hot == ask(s, key, "/v1/messages", {**body, "temperature": 1})[0]["content"]
    asked = ask(s, key, "/v1/messages", {**body, "temperature": 1.5}, expect=400)[0]["error"]
    assert "temperature" in asked["message"], asked
    ask(s, key, "/v1/chat/completions", body)


# ---- limits ----

@test
def requests_per_minute(s):
    key = s.tenant("rpm", limits={"requests_per_min": 3})
    left = [int(chat(s, key)[1]["x-ratelimit-remaining-requests"]) for _ in range(3)]
    assert left == [2, 1, 0], left
    answer, head, _ = chat(s, key, expect=429)
    assert answer["error"]["code"] == "rate_limit_exceeded"
    assert 0 < int(head["Retry-After"]) <= 60 and head["x-ratelimit-limit-requests"] == "3"
    ask(s, key, "/v1/models")  # is not counted
    slow = s.tenant("slow", limits={"requests_per_min": 1})
    began = time.monotonic()
    chat(s, slow)
    head = chat(s, slow, expect=429)[1]  # who waits for a minute does not come in vain
    passed = time.monotonic() - began
    assert 59 - passed <= int(head["Retry-After"]) <= 60, (head, passed)
    assert head["x-should-retry"] is None, head
    assert settled(s, "rpm", 3) and used(s, "rpm")[0] == 3


@test
def a_rate_breaks_off_no_answer(s):
    """The minute must have room for its beginning; the next request waits for the rest."""
    probe = s.tenant("measured")
    prompt = chat(s, probe)[0]["usage"]["prompt_tokens"]
    key = s.tenant("owing", limits={"tokens_per_min": prompt + 1})
    answer = chat(s, key, max_tokens=40, ignore_eos=True)[0]
    assert answer["usage"]["completion_tokens"] == 40, answer
    assert chat(s, key, expect=429)[0]["error"]["code"] == "rate_limit_exceeded"
    small = s.tenant("small", limits={"tokens_per_min": prompt})
    assert chat(s, small, expect=429)[0]["error"]["code"] == "rate_limit_exceeded"
    assert used(s, "small")[1:] == (0, 0)


@test
def at_once(s):
    def three(n):
        key = s.tenant(f"two-{n}", limits={"parallel": 2})
        open_ones = []
        for _ in range(2):
            open_ones.append(urllib.request.urlopen(urllib.request.Request(
                s.url + "/v1/completions", json.dumps({**server.STORY, "stream": True}).encode(),
                {"Authorization": f"Bearer {key}"}), timeout=60))
            open_ones[-1].readline()
        answer, _, status = chat(s, key, expect=None)
        open_ones.pop().close()
        assert server.until(lambda: chat(s, key, expect=None)[2] == 200), "who left still counts"
        open_ones.pop().close()
        return answer if status == 429 else None

    assert server.beside_stories(s, "one", three)["error"]["code"] == "rate_limit_exceeded"


@test
def a_budget_for_five_lets_five_in(s):
    """A05: a hundred at once."""
    probe = s.tenant("probe")
    tokens = chat(s, probe, ignore_eos=True)[0]["usage"]["total_tokens"]
    key = s.tenant("five", limits={"budget_tokens": 5 * tokens, "budget_window": "day"})
    found = []
    gate = threading.Barrier(100)

    def one():
        gate.wait()
        found.append(chat(s, key, ignore_eos=True, expect=None)[2])

    threads = [threading.Thread(target=one) for _ in range(100)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sorted(found) == [200] * 5 + [429] * 95, sorted(found)
    settled(s, "five", 5)
    assert sum(used(s, "five")[1:]) == 5 * tokens
    error, head, _ = chat(s, key, expect=429)
    assert error["error"]["code"] == "quota_exceeded" and head["x-should-retry"] == "false"


@test
def a_budget_ends_an_answer_where_it_ends(s):
    """A06: what is delivered is what is billed."""
    for stream in (True, False):
        name = f"ends{stream}".lower()
        key = s.tenant(name, limits={"budget_tokens": 400, "budget_window": "day"})
        body = {**server.STORY, "n": 1, "stream": stream}
        request = urllib.request.Request(s.url + "/v1/completions", json.dumps(body).encode(), {
            "Authorization": f"Bearer {key}"})
        text = urllib.request.urlopen(request, timeout=60).read().decode()
        assert '"finish_reason":"length"' in text and "quota_exceeded" not in text, text[-400:]
        (row,) = settled(s, name, 1)
        assert row["prompt_tokens"] + row["completion_tokens"] == 400, row
        chat(s, key, expect=429)


@test
def a_server_without_room_takes_nothing_of_the_minute(_):
    """What the engine's queue has no place for is not counted."""
    s = server.Server(sys.argv[1])
    n, most = 110, 120
    failed = 'realm_tenant_requests_total{tenant="crowd",outcome="failed"}'
    key = s.tenant("crowd", limits={"requests_per_min": most})
    body = json.dumps({**server.STORY, "stream": True}).encode()
    head = (f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}"
            f"\r\nContent-Length: {len(body)}\r\n\r\n").encode()
    open_ones = [socket.create_connection((s.host, s.port)) for _ in range(n)]
    try:
        for c in open_ones:
            c.sendall(head + body)
        before, refused = 0, 0
        while not refused or refused != before:
            before = refused
            time.sleep(1)
            refused = s.metrics().get(failed, 0)
        assert refused >= 20, refused
        left = int(chat(s, key, temperature=-1, expect=400)[1]["x-ratelimit-remaining-requests"])
        assert left >= most - n - 1 + refused, (left, refused)
    finally:
        for c in open_ones:
            c.close()
    assert s.stop() == 0


# ---- the ledger ----

def counted(client, n):
    """What a client counts of several kinds of requests, some at once."""
    total = [0, 0, 0]
    lock = threading.Lock()

    def add(usage, completion):
        with lock:
            total[0] += 1
            total[1] += usage.prompt_tokens
            total[2] += completion

    def one(i):
        kind = i % 4
        if kind == 0:
            out = client.chat.completions.create(
                model=MODEL, max_tokens=5 + i % 7,
                messages=[{"role": "user", "content": f"{i} {STORY}"}])
            add(out.usage, out.usage.completion_tokens)
        elif kind == 1:
            events = list(client.completions.create(
                model=MODEL, prompt=STORY, max_tokens=9, stream=True, n=1 + i % 3,
                stream_options={"include_usage": True}))
            add(events[-1].usage, events[-1].usage.completion_tokens)
        elif kind == 2:
            out = client.embeddings.create(model=MODEL, input=["a", f"{i} b", STORY])
            add(out.usage, 0)
        else:
            out = client.completions.create(model=MODEL, prompt=[STORY, "2 + 3 ="], n=2,
                                            max_tokens=4)
            add(out.usage, out.usage.completion_tokens)

    threads = [threading.Thread(target=one, args=(i,)) for i in range(n)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return tuple(total)


@test
def the_ledger_is_what_clients_counted(s):
    key = s.tenant("exact")
    client = openai.OpenAI(base_url=s.url + "/v1", api_key=key, max_retries=0)
    want = counted(client, 48)
    assert used(s, "exact") == want, (used(s, "exact"), want)
    assert {r["outcome"] for r in rows(s, "exact")} == {"ok"}
    by_model = s.admin("GET", "/admin/usage?tenant=exact&group_by=model,day")["rows"]
    assert [r["model"] for r in by_model] == [MODEL]
    assert by_model[0]["completion_tokens"] == want[2]


@test
def whoever_leaves_has_a_row_of_what_was_done(s):
    def leave(n):
        name = f"leaves-{n}"
        key = s.tenant(name)
        for i in range(5):
            with socket.create_connection((s.host, s.port), timeout=60) as c:
                body = json.dumps({**server.STORY, "n": 1, "stream": True}).encode()
                c.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n"
                          b"Authorization: Bearer " + key.encode() +
                          b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
                if i:
                    c.recv(4096)
        found = settled(s, name, 5)
        assert {r["outcome"] for r in found} <= {"cancelled", "ok"}, found
        return (name, key, found) if {r["outcome"] for r in found} == {"cancelled"} else None

    name, key, found = server.beside_stories(s, "staying", leave)
    assert sum(r["completion_tokens"] > 0 for r in found) >= 4, found
    refused = chat(s, key, expect=400, temperature=-1)[0]
    assert refused["error"]["param"] == "temperature"
    (row,) = [r for r in settled(s, name, 6) if r["outcome"] == "refused"]
    assert row["prompt_tokens"] == row["completion_tokens"] == 0


@test
def metrics_name_tenants_and_no_keys(s):
    text = s.metrics()
    assert text['realm_tenant_requests_total{tenant="exact",outcome="ok"}'] == 48
    assert 'realm_limit_refusals_total{limit="budget"}' in text
    assert "rlm_" not in json.dumps(text)
    assert "rlm_" not in s.text(), "a key is in the log"


# ---- WebSocket ----

@test
def sockets_are_let_in_by_a_message_or_by_their_head(s):
    key = s.tenant("wired")

    async def talk():
        async with websockets.connect(f"ws://{s.host}:{s.port}/ws") as ws:
            assert json.loads(await ws.recv())["type"] == "auth_required"
            await ws.send(json.dumps({"type": "auth", "api_key": key}))
            assert json.loads(await ws.recv()) == {"type": "auth_success", "tenant_id": "wired"}
            await ws.send(json.dumps({"id": "1", "function": "generate", "tenant_id": "keys",
                                      "params": {"prompt": STORY}}))
            assert json.loads(await ws.recv())["error"]["code"] == "UNAUTHORIZED"
            await ws.send(json.dumps({"id": "2", "function": "generate", "tenant_id": "wired",
                                      "params": {"prompt": STORY, "max_tokens": 5}}))
            done = json.loads(await ws.recv())
            assert done["status"] == "complete" and done["data"]["tokens_generated"] <= 5
        async with websockets.connect(f"ws://{s.host}:{s.port}/", additional_headers={
                "Authorization": f"Bearer {key}"}) as ws:
            await ws.send(json.dumps({"id": "h", "function": "health"}))
            assert json.loads(await ws.recv())["status"] == "complete"
        for first in ('{"type":"auth","api_key":"rlm_x"}', '{"id":"1","function":"health"}', "no",
                      b"binary"):
            async with websockets.connect(f"ws://{s.host}:{s.port}/ws") as ws:
                await ws.recv()
                await ws.send(first)
                assert json.loads(await ws.recv())["type"] == "auth_failed"
                await ws.wait_closed()
                assert ws.close_code == 1008
        try:
            await websockets.connect(f"ws://{s.host}:{s.port}/ws", additional_headers={
                "Authorization": "Bearer rlm_x"})
            raise AssertionError("a wrong key in the head was let in")
        except websockets.exceptions.InvalidStatus as error:
            assert error.response.status_code == 401

    asyncio.run(talk())
    (row,) = settled(s, "wired", 1)
    assert row["outcome"] == "ok" and row["completion_tokens"] > 0


@test
def calls_on_sockets_meet_limits(s):
    """Each is told by its code, and where waiting helps for how long."""
    rated = s.tenant("rated", limits={"requests_per_min": 1})
    spent = s.tenant("overdrawn", limits={"budget_tokens": 1})

    async def errors(key, calls, **params):
        """Of so many calls at once, each of which ends."""
        head = {"Authorization": f"Bearer {key}"}
        async with websockets.connect(f"ws://{s.host}:{s.port}/ws", additional_headers=head) as ws:
            for i in range(calls):
                await ws.send(json.dumps({"id": str(i), "function": "generate",
                                          "params": {"prompt": STORY, **params}}))
            ends, found = 0, []
            while ends < calls:
                got = json.loads(await ws.recv())
                ends += 1
                found += [got["error"]] if got["status"] == "error" else []
            return found

    async def says_nothing():
        async with websockets.connect(f"ws://{s.host}:{s.port}/ws") as ws:
            began = time.monotonic()
            await ws.wait_closed()
            return ws.close_code, time.monotonic() - began

    async def talk():
        silent = asyncio.create_task(says_nothing())
        (error,) = await errors(rated, 2, max_tokens=2)
        assert error["code"] == "RATE_LIMIT_EXCEEDED" and 0 < error["retry_after"] <= 60, error
        (error,) = await errors(spent, 1, max_tokens=2)
        assert error["code"] == "QUOTA_EXCEEDED", error
        code, seconds = await silent
        assert code == 1008 and 9.9 < seconds < 60, (code, seconds)

    asyncio.run(talk())

    def many(n):
        return asyncio.run(errors(s.tenant(f"calling-{n}"), 70, max_tokens=100, temperature=0,
                                  frequency_penalty=-2))

    for error in server.beside_stories(s, "listening", many):
        assert error["code"] == "OVERLOADED" and error["retry_after"] == 1, error


@test
def sockets_without_a_key_say_little(s):
    """H03: who has not shown a key cannot make the server hold a large message."""
    key = s.tenant("brief")

    async def closed(*frames):
        async with websockets.connect(f"ws://{s.host}:{s.port}/ws") as ws:
            await ws.recv()
            await ws.send(frames if len(frames) > 1 else frames[0])
            await ws.wait_closed()
            return ws.close_code

    async def talk():
        assert await closed("x" * 4097) == 1009
        assert await closed("x" * 4000, "x" * 97) == 1009
        assert await closed("x" * 4096) == 1008  # is read, and no key
        auth = {"type": "auth", "api_key": key}
        filled = json.dumps({**auth, "x": ""})
        filled = json.dumps({**auth, "x": "x" * (4096 - len(filled))})
        async with websockets.connect(f"ws://{s.host}:{s.port}/ws") as ws:
            await ws.recv()
            await ws.send([filled[:1], filled[1:40], filled[40:]])
            await ws.send(json.dumps({"id": "1", "function": "health", "x": "y" * 1000000}))
            assert json.loads(await ws.recv())["type"] == "auth_success"
            assert json.loads(await ws.recv())["status"] == "complete"

    asyncio.run(talk())


@test
def sockets_of_one_tenant_leave_room_for_others(_):
    s = server.Server(sys.argv[1], config="limits:\n  connections: 9\n")
    many, few = s.tenant("many"), s.tenant("few")

    def head(key):
        return {"additional_headers": {"Authorization": f"Bearer {key}"}}

    async def talk():
        held = []
        while len(held) < 9:
            try:
                held.append(await websockets.connect(s.url.replace("http", "ws"), **head(many)))
            except websockets.exceptions.InvalidStatus as error:
                assert error.response.status_code == 429
                assert b"too_many_connections" in error.response.body
                break
        assert len(held) in (4, 5), len(held)  # one of administration may still be open
        async with websockets.connect(s.url.replace("http", "ws")) as ws:
            await ws.recv()
            await ws.send(json.dumps({"type": "auth", "api_key": many}))
            await ws.wait_closed()
            assert ws.close_code == 1013, ws.close_code
        async with websockets.connect(s.url.replace("http", "ws"), **head(few)) as ws:
            await ws.send(json.dumps({"id": "h", "function": "health"}))
            assert json.loads(await ws.recv())["status"] == "complete"
        assert ask(s, many, "/v1/models")[0]["data"]  # a request is answered all the same
        for ws in held:
            await ws.close()

    asyncio.run(talk())
    assert s.stop() == 0


if __name__ == "__main__":
    server.main(server.Server(sys.argv[1]))
