#!/usr/bin/env python3
"""A full disk under the ledger: new requests are refused, what ran is not lost, and all goes on by
itself when there is room again.   usage: disk_test.py REALM"""
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import server

SIZE = "24m"


def ask(url, **more):
    body = json.dumps({"prompt": "Once", "max_tokens": 4, **more}).encode()
    try:
        with urllib.request.urlopen(url + "/v1/completions", body, timeout=60) as answer:
            return answer.status, answer.read().decode(), answer.headers
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(), error.headers


def fill(path):
    """Until nothing more fits."""
    with open(path, "wb", buffering=0) as out:
        for step in (1 << 20, 4096, 512):
            try:
                while True:
                    out.write(b"\0" * step)
            except OSError:
                pass


def rows(state):
    """All ids in the ledger of requests that went well: a report has the newest alone."""
    sql = sqlite3.connect(os.path.join(state, "realm.db"))
    try:
        return {name for name, in sql.execute("SELECT id FROM requests WHERE outcome = 0")}
    finally:
        sql.close()


def test(realm, folder):
    state = os.path.join(folder, "state")
    p = subprocess.Popen([realm, "serve", "-m", server.TINY, "--port", "0", "--state", state],
                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    url = p.stdout.readline().split()[-1]
    try:
        acknowledged = set()
        status, text, head = ask(url)
        assert status == 200, text
        acknowledged.add(head["x-request-id"])
        # One that runs while the disk fills.
        request = urllib.request.Request(url + "/v1/completions", json.dumps(
            {**server.STORY, "n": 1, "stream": True}).encode())
        running = urllib.request.urlopen(request, timeout=60)
        running.readline()
        fill(os.path.join(folder, "filler"))
        text = running.read().decode()
        assert "data: [DONE]" in text or '"ledger_unavailable"' in text, text[-300:]
        if "data: [DONE]" in text:
            acknowledged.add(running.headers["x-request-id"])
        refused = None
        for _ in range(3000):
            status, text, head = ask(url)
            if status != 200:
                refused = (status, text, head)
                break
            acknowledged.add(head["x-request-id"])
        assert refused and refused[0] == 503, refused
        assert '"ledger_unavailable"' in refused[1] and refused[2]["Retry-After"], refused
        with urllib.request.urlopen(url + "/health", timeout=60) as answer:
            assert answer.status == 200
        os.remove(os.path.join(folder, "filler"))
        for _ in range(100):
            status, text, head = ask(url)
            if status == 200:
                break
            time.sleep(0.1)
        assert status == 200, text
        acknowledged.add(head["x-request-id"])
        lost = acknowledged - rows(state)
        assert not lost, sorted(lost)[:5]
        return len(acknowledged)
    finally:
        p.send_signal(signal.SIGTERM)
        assert p.wait(60) == 0


def main():
    print("1..1")
    with tempfile.TemporaryDirectory() as folder:
        mounted = os.geteuid() == 0 and subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "realm-test", folder],
            stderr=subprocess.DEVNULL, check=False).returncode == 0
        if not mounted:
            print("ok 1 - a full disk # SKIP a small file system cannot be mounted here")
            return
        try:
            n = test(sys.argv[1], folder)
            print(f"# {n} answers acknowledged, none lost")
            print("ok 1 - a full disk refuses, loses nothing and is got over")
        except AssertionError as error:
            print(f"not ok 1 - a full disk\n# {error}")
            sys.exit(1)
        finally:
            subprocess.run(["umount", folder], check=False)


if __name__ == "__main__":
    main()
