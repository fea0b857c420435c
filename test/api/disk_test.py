#!/usr/bin/env python3
"""A disk under the ledger that is full, or that turns read-only: new requests are refused and what
ran is not lost.  When there is room again all goes on by itself; on a disk that was read-only
it does with a start over the mended one.   usage: disk_test.py REALM"""
import json
import os
import shutil
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
IMAGE_BYTES = 64 << 20  # an ext4 with a journal


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


class Served:
    """A server over a state folder, and the ids of what its clients were acknowledged."""

    def __init__(self, realm, state):
        self.process = subprocess.Popen(
            [realm, "serve", "-m", server.TINY, "--port", "0", "--state", state],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.url = self.process.stdout.readline().split()[-1]
        self.acknowledged = set()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(60) == 0

    def ask(self):
        """Status, text and head."""
        answer = ask(self.url)
        if answer[0] == 200:
            self.acknowledged.add(answer[2]["x-request-id"])
        return answer

    def ask_while(self, breaks):
        """An answer that runs while the disk breaks."""
        request = urllib.request.Request(self.url + "/v1/completions", json.dumps(
            {**server.STORY, "n": 1, "stream": True}).encode())
        running = urllib.request.urlopen(request, timeout=60)
        running.readline()
        breaks()
        text = running.read().decode()
        assert "data: [DONE]" in text or '"ledger_unavailable"' in text, text[-300:]
        if "data: [DONE]" in text:
            self.acknowledged.add(running.headers["x-request-id"])

    def becomes_refusing(self):
        for _ in range(3000):
            status, text, head = self.ask()
            if status != 200:
                break
        self.refuses(status, text, head)
        with urllib.request.urlopen(self.url + "/health", timeout=60) as answer:
            assert answer.status == 200

    def is_writable(self):
        with urllib.request.urlopen(self.url + "/metrics", timeout=60) as answer:
            return "\nrealm_ledger_writable 1\n" in answer.read().decode()

    @staticmethod
    def refuses(status, text, head):
        assert status == 503 and '"ledger_unavailable"' in text and head["Retry-After"], \
            (status, text)


def lost(acknowledged, state):
    missing = acknowledged - rows(state)
    assert not missing, sorted(missing)[:5]
    return len(acknowledged)


def test_full(realm, folder):
    state = os.path.join(folder, "state")
    filler = os.path.join(folder, "filler")
    with Served(realm, state) as s:
        assert s.ask()[0] == 200
        s.ask_while(lambda: fill(filler))
        s.becomes_refusing()
        os.remove(filler)
        for _ in range(600):
            status, text, _ = s.ask()
            if status == 200:
                break
            time.sleep(0.1)
        assert status == 200, text
        return lost(s.acknowledged, state)


def test_read_only(realm, folder, image):
    """As ext4 does it after an error of its disk: with files open for writing."""
    state = os.path.join(folder, "state")
    with Served(realm, state) as s:
        assert s.ask()[0] == 200 and s.is_writable()
        s.ask_while(lambda: subprocess.run(["mount", "-o", "remount,abort", folder], check=True))
        s.becomes_refusing()
        end = time.monotonic() + 2  # the ledger tries again each half second
        while time.monotonic() < end:
            s.refuses(*s.ask())
            assert not s.is_writable(), "it takes new work again"
    again = subprocess.run([realm, "serve", "-m", server.TINY, "--port", "0", "--state", state],
                           stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
                           check=False)
    assert again.returncode == 1 and "ead-only" in again.stderr, (again.returncode, again.stderr)
    subprocess.run(["umount", folder], check=True)
    assert mount_image(image, folder)
    acknowledged = s.acknowledged
    with Served(realm, state) as s:
        assert s.ask()[0] == 200
        return lost(acknowledged | s.acknowledged, state)


def quiet(*command):
    return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                          check=False).returncode == 0


def mount_memory(folder):
    return os.geteuid() == 0 and quiet("mount", "-t", "tmpfs", "-o", f"size={SIZE}", "realm-test",
                                       folder)


def mount_image(image, folder):
    return os.geteuid() == 0 and quiet("mount", "-o", "loop", image, folder)


def make_image(path):
    with open(path, "wb") as out:
        out.truncate(IMAGE_BYTES)
    return shutil.which("mkfs.ext4") and quiet("mkfs.ext4", "-q", path)


def run(number, what, mounted, test, folder, *args):
    """Whether it did not fail."""
    if not mounted:
        print(f"ok {number} - {what} # SKIP such a file system cannot be mounted here")
        return True
    try:
        n = test(*args)
        print(f"# {n} answers acknowledged, none lost")
        print(f"ok {number} - {what}")
        return True
    except AssertionError as error:
        print(f"not ok {number} - {what}\n# {error}")
        return False
    finally:
        subprocess.run(["umount", folder], check=False)


def main():
    realm = sys.argv[1]
    print("1..2")
    with tempfile.TemporaryDirectory() as folder:
        good = run(1, "a full disk refuses, loses nothing and is got over", mount_memory(folder),
                   test_full, folder, realm, folder)
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as beside:
        image = os.path.join(beside, "disk")
        mounted = make_image(image) and mount_image(image, folder)
        good &= run(2, "a disk that turns read-only refuses and loses nothing", mounted,
                    test_read_only, folder, realm, folder, image)
    sys.exit(not good)


if __name__ == "__main__":
    main()
