#!/usr/bin/env python3
"""What tenants learn of each other.   usage: isolation_test.py REALM GUEST"""
import json
import os
import socket
import sys
import threading

import server
from server import test
from tenancy import STORY, ask, chat, settled


@test
def the_cache_tells_nobody_else(s):
    """I01: what another tenant asked is no hit."""
    a, b = s.tenant("cache-a"), s.tenant("cache-b")
    text = "A fox and a hen went to the market, and there they bought a red hat. " * 4

    def cached(key):
        usage = chat(s, key, text)[0]["usage"]
        return usage["prompt_tokens_details"]["cached_tokens"], usage["prompt_tokens"]

    first, n = cached(a)
    assert first < 16
    assert cached(a) == (n - 1, n)
    assert cached(b)[0] < 16, "another tenant's prompt was found in the cache"
    assert cached(b) == (n - 1, n)


@test
def a_known_prompt_costs_another_tenant_what_a_new_one_does(s):
    """I01: of what one tenant asked before, another's time tells nothing: as much is computed."""
    a, b = s.tenant("known-a"), s.tenant("known-b")

    def computed(key, i):
        text = f"{i:03} " + "A fox and a hen went to the market, and bought a red hat. " * 3
        before = s.metric("realm_prompt_rows_total")
        chat(s, key, text)
        return s.metric("realm_prompt_rows_total") - before

    for i in range(100, 112):
        fresh = computed(a, i)
        assert computed(b, i) == fresh, "what another tenant asked was not computed again"
        assert computed(a, i) == 1 < fresh, "one's own is found"


@test
def lengths_of_events_tell_less(s):
    """I12: with obfuscation, events of a stream are as long as a whole number of blocks."""
    key = s.tenant("even")
    for even in (True, False):
        _, text, _ = s.ask("/v1/chat/completions", {
            "messages": [{"role": "user", "content": STORY}], "stream": True, "max_tokens": 60,
            "ignore_eos": True, "stream_options": {"include_obfuscation": even}}, key)
        lengths = {len(line) - len("data: ") for line in text.splitlines()
                   if line.startswith("data: {")}
        assert all(n % 64 == 0 for n in lengths) == even, (even, lengths)


@test
def what_is_declared_public_is_shared(_):
    """I03: a declared system message is found by whoever says it, and nothing behind it."""
    public = "You know the streets and houses of the old town by the sea, and tell the way. " * 3
    other = server.Server(sys.argv[1],
                          config=f"models:\n  shared_prompts: [{json.dumps(public)}]\n")
    try:
        keys = [other.tenant(name) for name in ("one", "two")]

        def cached(key, system, text):
            messages = [{"role": "system", "content": system}, {"role": "user", "content": text}]
            usage = chat(other, key, messages=messages, max_tokens=2)[0]["usage"]
            return usage["prompt_tokens_details"]["cached_tokens"], usage["prompt_tokens"]

        question = "The word is amber. " * 8
        assert cached(keys[0], public, question)[0] == 0
        found, n = cached(keys[1], public, question)
        alone = cached(keys[1], public, "")[1]
        assert 16 <= found <= alone and found < n - 32, (found, alone, n)
        assert cached(keys[0], "Private. " + public, question)[0] < 16
        assert cached(keys[1], "Private. " + public, question)[0] < 16
    finally:
        other.stop()


@test
def secrets_stay_with_their_tenant(s):
    """I07: words planted in prompts stand in nobody else's answers, nor where the server writes."""
    secrets = {f"vault-{i}": f"zq{i}xkcd{i}canary" for i in range(4)}
    keys = {name: s.tenant(name) for name in secrets}
    answers = {name: "" for name in secrets}

    def talk(name):
        for i in range(6):
            text = f"The secret word is {secrets[name]}. What is the secret word? {i % 2}"
            for more in ({}, {"temperature": 1, "n": 2}):
                out = chat(s, keys[name], text, max_tokens=24, **more)[0]
                answers[name] += json.dumps(out)
        answers[name] += json.dumps(chat(s, keys[name], secrets[name], 400, stop=[""])[0])

    threads = [threading.Thread(target=talk, args=(name,)) for name in secrets]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    written = s.text() + json.dumps(s.metrics())
    state = os.path.join(s.folder.name, "state")
    for folder, _, names in os.walk(state):
        for name in names:
            path = os.path.join(folder, name)
            if os.path.isfile(path):
                with open(path, "rb") as data:
                    written += data.read().decode("latin-1")
    for name, secret in secrets.items():
        assert secret not in written, f"{name}'s secret was written down"
        assert keys[name] not in written, f"{name}'s key was written down"
        for other, text in answers.items():
            assert other == name or secret not in text, f"{other} was told {name}'s secret"


@test
def nothing_crosses_where_room_is_short(_):
    """I06, I07: with programs, generations that give way and pages that are given up, everybody
    gets bit for bit what he gets alone."""
    other = server.Server(sys.argv[1], config="models:\n  kv_bytes: 1638400\n")  # 40 pages
    wrong = []
    try:
        keys = [other.tenant(f"short-{i}") for i in range(8)]
        with open(sys.argv[2], "rb") as wasm:
            module = wasm.read()
        for i in range(0, 8, 2):
            other.admin("PUT", f"/admin/tenants/short-{i}/guest", module)

        def answer(i, k):
            body = {"prompt": f"The secret word is zq{i}xkcd{i}canary. Say it {k} times. {STORY}",
                    "max_tokens": 60, "temperature": 1, "seed": 10 * i + k + 1}
            return ask(other, keys[i], "/v1/completions", body)[0]["choices"][0]["text"]

        alone = {(i, k): answer(i, k) for i in range(8) for k in range(3)}
        assert other.metric("realm_preemptions_total") == 0

        def talk(lane):
            for at in range(6):
                i, k = lane % 8, (lane // 8 + at) % 3
                if answer(i, k) != alone[i, k]:
                    wrong.append((i, k))

        threads = [threading.Thread(target=talk, args=(lane,)) for lane in range(24)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert not wrong, wrong[:5]
        assert other.metric("realm_preemptions_total") > 0
        assert other.metric("realm_cached_tokens_total") > 0
    finally:
        other.stop()


def refused(c):
    """Whether the server has said so on a connection with half a request."""
    c.settimeout(0.02)
    try:
        return b'"overloaded"' in c.recv(4096)
    except (TimeoutError, ConnectionError):
        return False


@test
def bodies_of_one_leave_room_for_others(s):
    """A tenant that sends 80 bodies of 4 MiB at once, none of them whole, is refused some; another
    is not."""
    many, other = s.tenant("many"), s.tenant("other")
    open_ones = []
    try:
        for _ in range(80):
            c = socket.create_connection((s.host, s.port), timeout=10)
            open_ones.append(c)
            try:
                c.sendall(f"POST /tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Length: {4 << 20}"
                          f"\r\nAuthorization: Bearer {many}\r\n\r\n".encode())
                c.sendall(b" " * ((4 << 20) - 1))
            except OSError:
                pass  # it was refused before all was sent
        text = STORY + " " * (3 << 20)
        status, answer, _ = s.ask("/tokenize", {"content": text, "add_special": False}, other)
        assert status == 200, (status, answer[:300])
        assert server.until(lambda: any(refused(c) for c in open_ones))
    finally:
        for c in open_ones:
            c.close()


@test
def names_of_requests_are_no_keys(s):
    """J12: the same x-request-id from two tenants, many times at once."""
    keys = {name: s.tenant(name) for name in ("named-a", "named-b")}
    texts = {"named-a": "What is the capital of France?", "named-b": STORY}
    want = {name: chat(s, key, texts[name])[0]["choices"] for name, key in keys.items()}
    assert want["named-a"] != want["named-b"]
    ids, wrong = [], []

    def one(name):
        body = {"messages": [{"role": "user", "content": texts[name]}], "max_tokens": 8,
                "temperature": 0}
        answer, head, _ = ask(s, keys[name], "/v1/chat/completions", body,
                              headers={"X-Request-Id": "the-same"})
        ids.append(answer["id"])
        if answer["choices"] != want[name] or head["x-request-id"] != "the-same":
            wrong.append((name, answer))

    for _ in range(4):
        threads = [threading.Thread(target=one, args=(name,)) for name in keys for _ in range(32)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    assert not wrong, wrong[:2]
    assert len(set(ids)) == len(ids) == 256
    for name in keys:
        found = settled(s, name, 129)
        assert len({row["request_id"] for row in found}) == len(found) == 129


if __name__ == "__main__":
    server.main(server.Server(sys.argv[1]))
