#!/usr/bin/env python3
"""Mixed load on a real server, of tenants with and without a program, with clients that leave,
models that come and go, and reloads; afterwards memory, descriptors, threads and pages are what
they were.

usage: soak.py BUILD MODEL [SECONDS]

SECONDS is 15, or with REALM_E2E_FULL=1 (`make e2e`) ten minutes.

Prints TAP.  Needs nothing but Python's standard library.
"""
import asyncio
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

BUILD, MODEL = sys.argv[1], sys.argv[2]
FULL = os.environ.get("REALM_E2E_FULL") == "1"
SECONDS = float(sys.argv[3]) if len(sys.argv) > 3 else 600 if FULL else 15
CLIENTS = 24
RSS_MIB_MAX = 24  # what allocators may keep


def start(folder):
    models = os.path.join(folder, "models")
    os.mkdir(models)
    for name in ("one", "two"):
        shutil.copy(MODEL, os.path.join(models, name + ".gguf"))
    config = os.path.join(folder, "realm.yaml")
    with open(config, "w", encoding="utf-8") as out:
        out.write("log:\n  level: error\n")
    server = subprocess.Popen(
        [os.path.join(BUILD, "realm"), "serve", "--config", config, "--port", "0", "--models",
         models, "--state", os.path.join(folder, "state")],
        stdout=subprocess.PIPE, text=True)
    line = server.stdout.readline().split()
    assert line[:2] == ["listening", "on"], line
    host, port = line[2].removeprefix("http://").rsplit(":", 1)
    return server, host, int(port), os.path.join(folder, "state", "admin.sock")


async def request(opened, method, path, body=None, leave_after=None, key=""):
    """Status and body, or None after leaving when leave_after seconds have passed."""
    reader, writer = await opened
    data = json.dumps(body).encode() if isinstance(body, dict) else body or b""
    writer.write(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                 f"x-api-key: {key}\r\n"
                 f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
                 .encode() + data)
    try:
        answer = await asyncio.wait_for(reader.read(), leave_after)
        head, _, rest = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]), rest
    except (asyncio.TimeoutError, ConnectionError):
        return None
    finally:
        if random.random() < 0.5:
            writer.transport.abort()
        writer.close()


async def make_tenants(admin):
    """Keys of tenants, the first of which has a program."""
    keys = []
    for name in ("guest", "plain", "limited"):
        body = {"id": name, "limits": {"tokens_per_min": 10**11, "budget_tokens": 10**11}}
        for path, sent in (("", body if name == "limited" else {"id": name}),
                           (f"/{name}/keys", {})):
            status, text = await request(asyncio.open_unix_connection(admin), "POST",
                                         "/admin/tenants" + path, sent)
            assert status == 200, text
        keys.append(json.loads(text)["key"])
    with open(os.path.join(BUILD, "guests", "default.wasm"), "rb") as file:
        status, text = await request(asyncio.open_unix_connection(admin), "PUT",
                                     "/admin/tenants/guest/guest", file.read())
    assert status == 200, text
    return keys


def chat(rng, model, stream, n):
    words = " ".join(rng.choices(["red", "blue", "sum", "of", "two"], k=rng.randint(1, 60)))
    return {"model": model, "messages": [{"role": "user", "content": words}],
            "max_tokens": rng.randint(1, 60), "stream": stream, "n": n}


async def client(seed, host, port, until, keys, counts):
    rng = random.Random(seed)
    while time.monotonic() < until:
        model = rng.choice(["one", "two"])
        key = rng.randrange(len(keys))
        n = rng.choice([1, 1, 2]) if key else 1  # a program gives one answer
        kind = rng.choice(["chat", "stream", "embed", "models", "wrong",
                           *(["completion"] if key else [])])
        leave = rng.random() * 0.3 if rng.random() < 0.4 else None
        path, body = {
            "chat": ("/v1/chat/completions", chat(rng, model, False, n)),
            "stream": ("/v1/chat/completions", chat(rng, model, True, n)),
            "completion": ("/v1/completions", {"model": model, "prompt": ["a", "b"], "echo": True,
                                               "logprobs": 3, "max_tokens": 5}),
            "embed": ("/v1/embeddings", {"model": model, "input": ["a", "b c", "d"]}),
            "models": ("/v1/models", None),
            "wrong": ("/v1/chat/completions", {"model": "three", "messages": []}),
        }[kind]
        method = "GET" if body is None else "POST"
        answer = await request(asyncio.open_connection(host, port), method, path, body, leave,
                               keys[key])
        expected = (400, 404) if kind == "wrong" else (200,)
        ok = answer is not None and answer[0] in expected
        what = "ok" if ok else "left" if answer is None else f"{kind} {answer[0]}"
        counts[what] = counts.get(what, 0) + 1


async def disturb(server, admin, until):
    """Unloads, clears and reloads."""
    rng = random.Random(7)
    while time.monotonic() < until:
        await asyncio.sleep(0.2)
        what = rng.choice(["unload", "clear", "reload", "load"])
        if what == "reload":
            server.send_signal(signal.SIGHUP)
            continue
        path = "/admin/cache/clear" if what == "clear" else \
            f"/admin/models/{rng.choice(['one', 'two'])}/{what}"
        await request(asyncio.open_unix_connection(admin), "POST", path)


async def load(server, host, port, admin, seconds, keys, counts):
    until = time.monotonic() + seconds
    await asyncio.gather(disturb(server, admin, until),
                         *(client(i, host, port, until, keys, counts) for i in range(CLIENTS)))


async def state(server, admin):
    """Once nothing runs any more: RSS in MiB, descriptors, threads, pages, connections."""
    await request(asyncio.open_unix_connection(admin), "POST", "/admin/cache/clear")
    await asyncio.sleep(15)  # idle workers leave after ten seconds
    _, text = await request(asyncio.open_unix_connection(admin), "GET", "/metrics")
    pages = next(float(line.split()[1]) for line in text.decode().splitlines()
                 if line.startswith("realm_kv_pages_used "))
    proc = f"/proc/{server.pid}"
    with open(proc + "/status", encoding="utf-8") as lines:
        status = dict(line.split(":", 1) for line in lines)
    return {"rss": int(status["VmRSS"].split()[0]) / 1024, "threads": int(status["Threads"]),
            "fds": len(os.listdir(proc + "/fd")), "pages": pages}


def main():
    results = []
    counts = {}
    with tempfile.TemporaryDirectory() as folder:
        server, host, port, admin = start(folder)
        keys = asyncio.run(make_tenants(admin))
        asyncio.run(load(server, host, port, admin, 4, keys, {}))
        before = asyncio.run(state(server, admin))
        asyncio.run(load(server, host, port, admin, SECONDS, keys, counts))
        after = asyncio.run(state(server, admin))
        server.send_signal(signal.SIGTERM)
        code = server.wait(60)
    print("#", counts, before, after, flush=True)
    results.append(("answers are those that were asked for", set(counts) <= {"ok", "left"}))
    results.append(("both kinds happened", counts.get("ok", 0) > 20 and counts.get("left", 0) > 20))
    results.append(("pages are back", after["pages"] == before["pages"] == 0))
    results.append(("descriptors are back", after["fds"] <= before["fds"]))
    results.append(("threads are back", after["threads"] <= before["threads"]))
    results.append(("memory is flat", after["rss"] < before["rss"] + RSS_MIB_MAX))
    results.append(("the server ends with 0", code == 0))
    print(f"1..{len(results)}")
    for i, (what, ok) in enumerate(results, 1):
        print(f"{'ok' if ok else 'not ok'} {i} - {what}")
    sys.exit(not all(ok for _, ok in results))


if __name__ == "__main__":
    main()
