#!/usr/bin/env python3
"""A server for which the system has little: no more threads, nothing to wait for events with,
nobody who reads its log.
usage: system_test.py REALM REFUSE_CALLS"""
import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request

import server
from server import test

REALM, REFUSE = sys.argv[1:3]
STORY = {"prompt": "Once upon a time", "max_tokens": 5}


class Start:
    """A start that may fail; its log is err."""

    def __init__(self, err, before=None, **env):
        self.folder = tempfile.TemporaryDirectory()
        self.state = os.path.join(self.folder.name, "state")
        self.process = subprocess.Popen(
            [REALM, "serve", "--port", "0", "--state", self.state], stdout=subprocess.PIPE,
            stderr=err, text=True, preexec_fn=before, env={**os.environ, **env})
        line = self.process.stdout.readline()
        match = re.fullmatch(r"listening on (http://\S+)\n", line)
        self.url = match and match.group(1)

    def ask(self, path="/v1/completions", body=None):
        data = None if body is None else json.dumps(body).encode()
        try:
            with urllib.request.urlopen(self.url + path, data, timeout=60) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def end(self):
        """The exit status."""
        if self.url:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(60)
        finally:
            self.process.kill()
            self.folder.cleanup()


def start_refused(call, n):
    """Whether the server came up although the n-th call of that name and all later ones were
    refused; one that did not says why."""
    with tempfile.TemporaryFile("w+", encoding="utf-8") as err:
        s = Start(err, REALM_LOG="error", LD_PRELOAD=REFUSE, REFUSE_CALL=call, REFUSE_FROM=str(n))
        if s.url:
            status, text = s.ask(body=STORY)
            assert status in (200, 503), (call, n, status, text)
            status, _ = s.ask("/health")
            assert status == 200, (call, n)
        code = s.end()
        err.seek(0)
        told = err.read()
        assert code == (0 if s.url else 1), (call, n, code, told)
        assert s.url or told.startswith("realm serve: ") or "\nrealm serve: " in told, told
        return bool(s.url)


@test
def starts_without_threads_or_events(_):
    """X04: a sentence and status 1, or a server that does what it can."""
    for call, most in (("pthread_create", 16), ("eventfd", 6), ("epoll_create1", 4)):
        came_up = [start_refused(call, n) for n in range(1, most + 1)]
        assert came_up[-1] and not came_up[0], (call, came_up)
        print(f"# {call}: starts with {came_up.index(True)} of them")


@test
def a_log_that_nobody_takes(_):
    """X05: standard error is closed, its reader is gone, or it is full."""
    reader, full = os.pipe()
    fcntl.fcntl(full, fcntl.F_SETPIPE_SZ, 4096)
    gone, broken = os.pipe()
    os.close(gone)
    for err, before in ((None, lambda: os.close(2)), (broken, None), (full, None)):
        s = Start(err, before, REALM_LOG="debug")
        for _ in range(60):
            assert s.ask(body=STORY)[0] == 200
        dropped = re.search(r"^realm_log_dropped_total (\d+)", s.ask("/metrics")[1], re.MULTILINE)
        assert int(dropped[1]) > 0, dropped
        # No other file got the number of one that was closed.
        assert os.path.getsize(os.path.join(s.state, "lock")) == 0
        assert s.end() == 0
    for fd in (reader, full, broken):
        os.close(fd)


server.main(server.Server(REALM))
