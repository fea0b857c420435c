#!/usr/bin/env python3
"""What tenants learn of each other, and others of them.   usage: isolation_test.py REALM"""
import json
import os
import socket
import sys
import threading
import urllib.error
import urllib.request

import server
from server import test
from tenancy import STORY, ask, chat


@test
def the_cache_tells_nobody_else(s):
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
def what_is_declared_public_is_shared(_):
    """A declared system message is found by whoever says it, and nothing behind it."""
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
    """Words planted in prompts: in nobody else's answers, nor anywhere that the server writes."""
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
        assert any(refused(c) for c in open_ones)
    finally:
        for c in open_ones:
            c.close()


def scrape(url, key=None):
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(url + "/metrics", headers=headers),
                                    timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        assert error.code != 401 or error.headers["WWW-Authenticate"] == "Bearer"
        return error.code, error.read().decode()


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@test
def metrics_are_the_operators(_):
    """I09: what is told of tenants is told to nobody else once there are keys."""
    secrets = {"REALM_METRICS_KEY": "scrape-me", "REALM_ADMIN_KEY": "run-me"}
    for public in (False, True):
        port = free_port()
        other = server.Server(sys.argv[1], env=secrets, config=(
            f"listen:\n  metrics_port: {port}\n  metrics_public: {str(public).lower()}\n"))
        try:
            urls = (other.url, f"http://127.0.0.1:{port}")
            assert all(scrape(url)[0] == 200 for url in urls), "there are no keys yet"
            key = other.tenant("seen")
            chat(other, key)
            for url in urls:
                for shown in (None, key, "scrape-mf", "scrape-me2", "", "run"):
                    status, text = scrape(url, shown)
                    assert status == (200 if public else 401), (url, shown, status)
                    assert public or "seen" not in text, text
                for shown in secrets.values():
                    status, text = scrape(url, shown)
                    assert status == 200 and 'tenant="seen"' in text, (url, shown, status)
            assert any("seen" in name for name in other.metrics())
        finally:
            other.stop()
    other = server.Server(sys.argv[1])
    try:
        other.tenant("a")
        assert [scrape(other.url, shown)[0] for shown in (None, "x")] == [401, 401]
    finally:
        other.stop()


def own_address():
    """An address of this machine that is not for itself alone; None: there is none."""
    for there in ("192.0.2.1", "198.51.100.1"):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            try:
                s.connect((there, 9))  # sends nothing
            except OSError:
                continue
            if not s.getsockname()[0].startswith("127."):
                return s.getsockname()[0]
    return None


@test
def metrics_from_elsewhere(_):
    """On an address that others reach the key for metrics is the only one that helps."""
    here = own_address()
    if not here:
        print("# SKIP this machine has no address but its own")
        return
    for secret, status in (("scrape-me", 401), (None, 404)):
        env = {"REALM_ADMIN_KEY": "run-me", **({"REALM_METRICS_KEY": secret} if secret else {})}
        other = server.Server(sys.argv[1], "--host", "0.0.0.0", env=env,
                              config="listen:\n  insecure_public: true\n")
        try:
            key, url = other.tenant("seen"), f"http://{here}:{other.port}"
            for shown in (None, key, "run-me"):
                assert scrape(url, shown)[0] == status, (secret, shown)
            if secret:
                assert scrape(url, secret)[0] == 200
            for _ in range(30 if secret else 0):
                found = scrape(url, "guess")[0]
            assert not secret or found == 429
        finally:
            other.stop()


if __name__ == "__main__":
    server.main(server.Server(sys.argv[1]))
