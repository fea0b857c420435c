"""Starts `realm serve` for tests, and prints TAP for what they find.  Standard library only."""
import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import urllib.error
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TINY = os.path.join(ROOT, "models", "tiny", "tiny-q8_0.gguf")


class Server:
    """A server with the tiny model, on a free port, with a state folder of its own."""

    def __init__(self, realm, *args, env=None, config=None):
        self.folder = tempfile.TemporaryDirectory()
        if config:
            path = os.path.join(self.folder.name, "realm.yaml")
            with open(path, "w", encoding="utf-8") as out:
                out.write(config)
            args = ("--config", path, *args)
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
        if not self.is_ready():
            raise RuntimeError(f"the server listens and is not ready: {self.text()}")

    def is_ready(self):
        for _ in range(3000):
            try:
                with urllib.request.urlopen(self.url + "/ready", timeout=30) as answer:
                    return answer.status == 200
            except urllib.error.HTTPError:
                time.sleep(0.02)
        return False

    def text(self):
        self.log.flush()
        with open(self.log.name, encoding="utf-8") as lines:
            return lines.read()

    def admin(self, method, path, body=None, expect=200):
        """The answer's JSON of a call on the socket for administration."""
        c = http.client.HTTPConnection("localhost", timeout=60)
        c.sock = socket.socket(socket.AF_UNIX)
        c.sock.connect(os.path.join(self.folder.name, "state", "admin.sock"))
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        c.request(method, path, data, {"Content-Type": "application/json"} if data else {})
        answer = c.getresponse()
        text = answer.read().decode()
        c.close()
        assert expect is None or answer.status == expect, (method, path, answer.status, text)
        return json.loads(text) if text else None

    def ask(self, path, body=None, key=None, headers=None):
        """Status, text and head of an answer to a client."""
        head = {"Content-Type": "application/json", **(headers or {})}
        if key:
            head["Authorization"] = f"Bearer {key}"
        data = json.dumps(body).encode() if body is not None else None
        try:
            answer = urllib.request.urlopen(urllib.request.Request(self.url + path, data, head),
                                            timeout=120)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            return answer.status, answer.read().decode(), answer.headers

    def tenant(self, name, **settings):
        """Makes a tenant; its key."""
        self.admin("POST", "/admin/tenants", {"id": name, **settings})
        return self.admin("POST", f"/admin/tenants/{name}/keys", {})["key"]

    def metrics(self):
        """The samples, by their names with labels; on the socket, where no key is needed."""
        c = http.client.HTTPConnection("localhost", timeout=30)
        c.sock = socket.socket(socket.AF_UNIX)
        c.sock.connect(os.path.join(self.folder.name, "state", "admin.sock"))
        c.request("GET", "/metrics")
        lines = c.getresponse().read().decode().splitlines()
        c.close()
        return {name: float(value) for name, value in
                (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}

    def metric(self, name):
        return self.metrics()[name]

    def cancelled(self, endpoint):
        """How many requests of an endpoint were left by their clients."""
        name = f'realm_requests_total{{endpoint="{endpoint}",outcome="cancelled"}}'
        return self.metrics().get(name, 0)  # there is none before the endpoint's first request

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
            status = self.process.wait(60)
            if "Sanitizer: " in self.text():
                raise RuntimeError(self.text())
            return status
        finally:
            self.process.kill()
            self.log.close()
            self.folder.cleanup()


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


# The configuration of a server that can be filled.
SMALL = "limits:\n  connections: 100\n"
# Answers that take a while; how long, depends on the machine.
STORY = {"model": "tiny-q8_0", "prompt": "Once upon a time", "n": 16, "max_tokens": 900,
         "ignore_eos": True, "seed": 1}
# How long a test waits for what must come: a machine may be slow, or pause it.
PATIENCE_S = 60


@contextlib.contextmanager
def stories(s, keys, **more):
    """For each key one after another, for as long as the context lasts, on a machine of any
    speed."""
    over = threading.Event()
    refused = []

    def tell_one(key):
        head = {"Content-Type": "application/json"}
        if key:
            head["Authorization"] = f"Bearer {key}"
        c = http.client.HTTPConnection(s.host, s.port, timeout=120)
        try:
            c.request("POST", "/v1/completions", json.dumps({**STORY, "stream": True, **more}),
                      head)
            answer = c.getresponse()
            if answer.status not in (200, 504):  # 504: of a server that gives no more time
                refused.append((answer.status, answer.read()))
            while not over.is_set() and answer.readline():
                pass
        except (OSError, http.client.HTTPException) as error:
            if not until(lambda: s.process.poll() is not None or over.is_set(), 20):
                refused.append(error)
        finally:
            c.close()

    def tell(key):
        while not over.is_set() and not refused and s.process.poll() is None:
            tell_one(key)

    threads = [threading.Thread(target=tell, args=(key,)) for key in keys]
    for t in threads:
        t.start()
    try:
        yield
    finally:
        over.set()
        for t in threads:
            t.join()
    assert not refused, refused[:3]


def beside_stories(s, name, attempt):
    """What attempt(n) returns, beside the stories of n other tenants: of more and more, until it
    is something, for a fast machine is through with what should have lasted."""
    for n in (4, 16, 64):
        with stories(s, [s.tenant(f"{name}-{n}-{i}") for i in range(n)]):
            found = attempt(n)
        if found:
            return found
    raise AssertionError("it was over too soon each time")


def until(condition, seconds=PATIENCE_S):
    """What condition() returns once it is something, or in the end."""
    end = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < end:
        time.sleep(0.02)
    return found


class Crowd:
    """All the connections that a server with the configuration SMALL takes."""

    def __init__(self, s):
        self.connections = []
        for _ in range(200):
            c = socket.create_connection((s.host, s.port))
            c.settimeout(0.01)
            self.connections.append(c)
            try:
                answer = c.recv(4096)
            except TimeoutError:
                continue
            assert answer.startswith(b"HTTP/1.1 503 "), answer
            return
        raise AssertionError("the server takes whoever comes")

    def end(self):
        for c in self.connections:
            c.close()


def retries(s, call):
    """Runs call while the server is full, which it is no longer half a second later; call
    returns how often its client came again, or None.  The server asks for a second; what
    clients wait of their own accord is at most half of that.  Where an older client lets its
    connection go meanwhile, the call gets its place, and where the machine keeps the crowd for too
    long it gets none: then it is tried anew."""
    took = []
    for _ in range(20):
        crowd = Crowd(s)
        timer = threading.Timer(0.5, crowd.end)
        timer.start()
        start = time.monotonic()
        try:
            count = call()
            took.append(time.monotonic() - start)
        except Exception as error:  # each client has its own
            took.append(error)
            continue
        finally:
            timer.join()
        assert count in (None, 0, 1, 2), count
        if took[-1] >= 0.95 * (count or 1):
            assert count != 0
            return
    raise AssertionError(took)


def leaves(s, endpoint, begin, seconds=0.25):
    """begin starts a request and returns, in its middle, what leaves it.  What it held must be
    free in time; a busy machine has more tries, and so has one that was through with it."""
    took = []
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        before = s.cancelled(endpoint)
        leave = begin()
        start = time.monotonic()
        leave()
        for name in ("realm_requests_running", "realm_requests_waiting", "realm_kv_pages_used"):
            assert s.wait_for(name, 0, PATIENCE_S) is not None, f"{name} stays"
        seen = time.monotonic() - start
        if until(lambda: s.cancelled(endpoint) > before, 2):
            took.append(seen)
            if seen < seconds:
                return
    raise AssertionError(f"free after {took} s")


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
