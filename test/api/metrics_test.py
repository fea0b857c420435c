#!/usr/bin/env python3
"""Who may read /metrics, what it names, and what guesses of keys come to.

usage: metrics_test.py REALM
"""
import contextlib
import json
import os
import shutil
import socket
import sys
import tempfile
import threading
import urllib.error
import urllib.request

import server
from server import test


def scrape(url, key=None):
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(url + "/metrics", headers=headers),
                                    timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        assert error.code != 401 or error.headers["WWW-Authenticate"] == "Bearer"
        return error.code, error.read().decode()


def memory(s):
    """Bytes that the server has."""
    with open(f"/proc/{s.process.pid}/statm", encoding="ascii") as text:
        return int(text.read().split()[1]) * 4096


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
            other.ask("/v1/completions", {"prompt": "a", "max_tokens": 1}, key)
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


@test
def metrics_from_elsewhere(_):
    """On an address that others reach the key for metrics is the only one that helps."""
    here = server.own_address()
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


@contextlib.contextmanager
def room_for_one(seconds):
    """A server with room for one of the models one and two; how many seconds a load waits."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("one", "two"):
            shutil.copy(server.TINY, os.path.join(folder, name + ".gguf"))
        config = f"models:\n  dir: {folder}\n  kv_bytes: 64MiB\n  load_wait_s: {seconds}\n"
        other = server.Server(sys.argv[1], config=config)
        other.admin("POST", "/admin/models/one/load")
        bytes_ = json.loads(other.ask("/v1/models/one")[1])["memory_bytes"]
        other.stop()
        config += f"  memory_bytes: {(64 << 20) + bytes_ * 3 // 2}\n"
        other = server.Server(sys.argv[1], config=config)
        try:
            yield other
        finally:
            other.stop()


@test
def who_waits_for_a_model_is_counted(_):
    """What the Kubernetes gateway reads: the second model has no room while the first answers."""
    answers = []
    with room_for_one(100) as other:
        def ask(**body):
            answers.append(other.ask("/v1/completions", body)[0])
        threads = [threading.Thread(target=ask, kwargs={"model": "two", "prompt": text})
                   for text in "ab"]
        with server.stories(other, [None] * 8, model="one"):
            assert server.until(lambda: other.metric("realm_requests_running"))
            for thread in threads:
                thread.start()
            assert other.wait_for("realm_requests_waiting", 2, server.PATIENCE_S) is not None
            assert json.loads(other.ask("/v1/models/two")[1])["state"] == "loading"
        for thread in threads:
            thread.join()
        assert answers == [200] * 2, answers
        assert other.wait_for("realm_requests_waiting", 0, server.PATIENCE_S) is not None


@test
def who_came_while_there_was_no_room_may_come_again(_):
    """Where others use it up; not where it never will be there."""
    with room_for_one(1) as other:
        with server.stories(other, [None] * 8, model="one"):
            assert server.until(lambda: other.metric("realm_requests_running"))
            status, text, head = other.ask("/v1/completions", {"model": "two", "prompt": "a"})
        assert status == 503 and json.loads(text)["error"]["code"] == "overloaded", text
        assert head["Retry-After"] == "1" and head["retry-after-ms"] == "1000", head
        assert server.until(lambda: other.ask("/v1/completions", {"model": "two", "prompt": "a"})[0]
                            == 200)
        other.admin("POST", "/admin/models/two/pin")
        status, text, head = other.ask("/v1/completions", {"model": "one", "prompt": "a"})
        assert status == 507 and "pinned" in text and not head["Retry-After"], (status, text)


@test
def labels_do_not_grow(_):
    """I09: the first hundred tenants have a name of their own, and all others share one."""
    other = server.Server(sys.argv[1])
    try:
        for i in range(104):
            key = other.tenant(f"many-{i}")
            assert other.ask("/v1/completions", {"prompt": "a", "top_p": 2}, key)[0] == 400
        found = {name: value for name, value in other.metrics().items()
                 if value and "tenant_requests_total" in name and 'outcome="refused"' in name}
        assert len(found) == 101 and sum(found.values()) == 104, len(found)
        assert found['realm_tenant_requests_total{tenant="(others)",outcome="refused"}'] == 4
    finally:
        other.stop()


@test
def who_guesses_keys_is_held_back(_):
    """A02: from one address twenty wrong keys in a minute; a right one is let in all the same."""
    here = server.own_address()
    if not here:
        print("# SKIP this machine has no address but its own")
        return
    # What is freed is free, of AddressSanitizer's, too.
    other = server.Server(sys.argv[1], "--host", "0.0.0.0",
                          env={"ASAN_OPTIONS": "quarantine_size_mb=1"},
                          config="listen:\n  insecure_public: true\n")
    try:
        key = other.tenant("guessed")
        there = other.url
        other.url = f"http://{here}:{other.port}"
        rss = memory(other)
        found = [other.ask("/v1/models", key=f"rlm_{i:08}_{'x' * 49}") for i in range(1000)]
        codes = [status for status, _, _ in found]
        # A minute may have passed in between.
        assert codes[:20] == [401] * 20 and codes.count(401) <= 40 and set(codes) == {401, 429}
        status, text, head = found[codes.index(429)]
        assert '"too_many_wrong_keys"' in text and int(head["Retry-After"]) > 0, text
        assert other.ask("/v1/models", key=key)[0] == 200
        grown = memory(other) - rss
        assert grown < 8 << 20, f"guesses take memory: {grown}"
        other.url = there.replace("0.0.0.0", "127.0.0.1")
        assert {other.ask("/v1/models", key="rlm_x")[0] for _ in range(50)} == {401}
    finally:
        other.stop()


if __name__ == "__main__":
    server.main(server.Server(sys.argv[1]))
