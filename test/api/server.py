"""Starts `realm serve` for tests, and prints TAP for what they find.  Standard library only."""
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TINY = os.path.join(ROOT, "models", "tiny", "tiny-q8_0.gguf")


class Server:
    """A server with the tiny model, on a free port, with a state folder of its own."""

    def __init__(self, realm, *args, env=None):
        self.folder = tempfile.TemporaryDirectory()
        self.log = open(os.path.join(self.folder.name, "log"), "w+", encoding="utf-8")
        self.process = subprocess.Popen(
            [realm, "serve", "--port", "0", "--state", os.path.join(self.folder.name, "state"),
             *args], stdout=subprocess.PIPE, stderr=self.log, text=True,
            env={**os.environ, "REALM_LOG": "info", **(env or {})})
        line = self.process.stdout.readline()
        match = re.fullmatch(r"listening on (http://\S+)\n", line)
        if not match:
            raise RuntimeError(f"the server did not start: {line!r} {self.text()}")
        self.url = match.group(1)
        self.host, port = self.url.removeprefix("http://").rsplit(":", 1)
        self.port = int(port)

    def text(self):
        self.log.flush()
        with open(self.log.name, encoding="utf-8") as lines:
            return lines.read()

    def metric(self, name):
        with urllib.request.urlopen(self.url + "/metrics", timeout=30) as answer:
            text = answer.read().decode()
        return float(re.search(rf"^{name} (\S+)$", text, re.M).group(1))

    def wait_for(self, name, value, seconds):
        """How long it takes until the metric has the value; None: longer."""
        start = time.monotonic()
        while time.monotonic() - start < seconds:
            if self.metric(name) == value:
                return time.monotonic() - start
            time.sleep(0.005)
        return None

    def stop(self):
        """The exit status."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(60)
        finally:
            self.process.kill()
            self.log.close()
            self.folder.cleanup()


TESTS = []


def test(function):
    TESTS.append(function)
    return function


def main(server, *args):
    """Runs every test with the server, which must then end with 0."""
    failed = 0
    print(f"1..{len(TESTS) + 1}")
    for i, function in enumerate(TESTS, 1):
        try:
            function(server, *args)
            print(f"ok {i} - {function.__name__}", flush=True)
        except Exception:
            failed += 1
            print(f"not ok {i} - {function.__name__}", flush=True)
            print("".join("# " + line + "\n" for line in traceback.format_exc().splitlines()))
    code = server.stop()
    failed += code != 0
    print(f"{'ok' if code == 0 else 'not ok'} {len(TESTS) + 1} - the server ends with {code}")
    sys.exit(bool(failed))
