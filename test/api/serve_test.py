#!/usr/bin/env python3
"""`realm serve` as an operator sees it: start, refusals, reload, drain, watchdog.

usage: serve_test.py REALM MODEL [NAME ...]

Prints TAP.  Needs Python's standard library and, for TLS, the openssl program.
"""
import ctypes
import json
import os
import re
import resource
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import urllib.error
import urllib.request

from server import until

REALM, MODEL = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
FOLDER = tempfile.mkdtemp(prefix="realm-serve-")
TESTS = []
running = []


class Skip(Exception):
    pass


def test(function):
    TESTS.append(function)
    return function


def path(name):
    return os.path.join(FOLDER, name)


def write(name, text):
    with open(path(name), "w", encoding="utf-8") as out:
        out.write(text)
    return path(name)


fresh_count = 0


def fresh_state():
    global fresh_count
    fresh_count += 1
    return path(f"state-{fresh_count}")


def refused(*args, env=None):
    """Exit status and what standard error says, but for the log, of a server that is not to
    come up."""
    done = subprocess.run([REALM, "serve", *args], capture_output=True, text=True, timeout=60,
                          cwd=FOLDER, env={**os.environ, **(env or {})}, check=False)
    assert done.stdout == "" or done.returncode == 0, done.stdout
    told = [line for line in done.stderr.splitlines(True) if not re.match(r"\d{4}-\d\d-", line)]
    return done.returncode, "".join(told)


class Server:
    def __init__(self, *args, env=None, before=None, port="0"):
        self.state = fresh_state()
        self.log_path = path(f"log-{fresh_count}")
        args = list(args)
        if "--state" not in args:
            args += ["--state", self.state]
        if port is not None:
            args += ["--port", port]
        with open(self.log_path, "w", encoding="utf-8") as log:
            self.process = subprocess.Popen([REALM, "serve", *args], stdout=subprocess.PIPE,
                                            stderr=log, text=True, preexec_fn=before,
                                            env={**os.environ, **(env or {})})
        running.append(self.process)
        self.first = self.process.stdout.readline()
        match = re.fullmatch(r"listening on (https?)://([0-9.]+):([0-9]+)\n", self.first)
        assert match, (self.first, self.log())
        self.scheme, self.host, self.port = match[1], match[2], int(match[3])

    def log(self):
        with open(self.log_path, encoding="utf-8") as log:
            return log.read()

    def wait_log(self, text, seconds=60):
        end = time.monotonic() + seconds
        while text not in self.log():
            assert time.monotonic() < end, f"no {text!r} in the log:\n{self.log()}"
            time.sleep(0.02)

    def get(self, where, port=None, seconds=20):
        url = f"{self.scheme}://{self.host}:{port or self.port}{where}"
        try:
            with urllib.request.urlopen(url, timeout=seconds) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def stream(self, tokens=900, **more):
        return Stream(self, tokens, more)

    def kill(self, number):
        self.process.send_signal(number)

    def end(self, number=signal.SIGTERM, seconds=60):
        self.kill(number)
        return self.process.wait(seconds)


class Stream(threading.Thread):
    """One streamed completion, read to its end."""

    def __init__(self, server, tokens, more):
        super().__init__(daemon=True)
        body = json.dumps({"prompt": "Once", "n_predict": tokens, "stream": True,
                           "ignore_eos": True, **more}).encode()
        self.request = urllib.request.Request(
            f"http://{server.host}:{server.port}/completion", body,
            {"Content-Type": "application/json"})
        self.began = threading.Event()
        self.lines, self.error, self.status = [], None, None
        self.start()

    def run(self):
        try:
            with urllib.request.urlopen(self.request, timeout=90) as answer:
                self.status = answer.status
                for line in answer:
                    if line.strip():
                        self.lines.append(line.decode().strip())
                        self.began.set()
        except urllib.error.HTTPError as error:
            self.status, self.error = error.code, error.read().decode()
        except (OSError, ValueError) as error:
            self.error = repr(error)
        self.began.set()

    def events(self):
        return [json.loads(line[6:]) for line in self.lines if line.startswith("data: {")]

    def finished(self):
        events = self.events()
        return bool(events) and events[-1].get("stop") is True


def streams(server, n):
    all_of_them = [server.stream() for _ in range(n)]
    for one in all_of_them:
        assert one.began.wait(60) and one.lines, one.error
    return all_of_them


# ---------------------------------------------------------------- start


@test
def says_where_it_listens_and_serves():
    server = Server("-m", MODEL, env={"REALM_LOG": "debug"})
    assert server.scheme == "http" and server.host == "127.0.0.1"
    assert server.get("/health")[0] == 200
    assert server.get("/ready")[0] == 200
    names = [m["id"] for m in json.loads(server.get("/v1/models")[1])["data"]]
    assert names == [os.path.basename(MODEL).removesuffix(".gguf")], names
    one = server.stream(20)
    one.join(60)
    assert one.finished(), one.lines[-3:] or one.error
    assert server.end() == 0
    assert server.process.stdout.read() == ""
    assert "debug 0 allocations are left" in server.log(), server.log()


@test
def without_arguments_it_serves_the_model_that_comes_along():
    server = Server()
    assert "tiny-q8_0" in server.get("/v1/models")[1]
    assert server.end(signal.SIGINT) == 0


@test
def a_folder_without_models_is_warned_of():
    folder = path("models")
    os.makedirs(os.path.join(folder, "in.gguf"))
    os.symlink(MODEL, os.path.join(folder, "link.gguf"))
    server = Server("--models", folder)
    server.wait_log(f"there is no *.gguf in {folder}")
    assert server.end() == 0
    shutil.copy(MODEL, os.path.join(folder, "one.gguf"))
    server = Server("--models", folder)
    assert server.get("/props?model=one")[0] == 200
    server.wait_log(f"loaded {folder}/one.gguf: ")
    status, text = server.get("/v1/models/two")
    assert status == 404 and "no model is named two; `/v1/models` lists them" in text, text
    assert server.end() == 0 and "there is no *.gguf" not in server.log(), server.log()


@test
def state_is_for_its_user_alone_and_for_one_server():
    server = Server("-m", MODEL)
    assert stat.S_IMODE(os.stat(server.state).st_mode) == 0o700
    socket_mode = os.stat(os.path.join(server.state, "admin.sock"))
    assert stat.S_ISSOCK(socket_mode.st_mode) and stat.S_IMODE(socket_mode.st_mode) == 0o600
    code, told = refused("-m", MODEL, "--port", "0", "--state", server.state)
    assert code == 1 and told == (
        f"realm serve: another server uses the state directory {server.state}; give this one its "
        "own with --state DIR\n"), told
    assert server.get("/health")[0] == 200
    server.process.kill()
    server.process.wait()
    # What was left behind is no obstacle.
    again = Server("-m", MODEL, "--state", server.state)
    assert again.end() == 0
    os.chmod(server.state, 0o777)
    code, told = refused("-m", MODEL, "--port", "0", "--state", server.state)
    assert code == 1 and "nobody else may write to it" in told, told


@test
def a_port_in_use_is_a_sentence():
    server = Server("-m", MODEL)
    code, told = refused("-m", MODEL, "--port", str(server.port), "--state", fresh_state())
    assert code == 1 and told.count("\n") == 1, told
    assert f"127.0.0.1 port {server.port}: Address already in use" in told, told
    # Before a model is read, which can take minutes.
    code, told = refused("-m", __file__, "--port", str(server.port), "--state", fresh_state())
    assert code == 1 and "Address already in use" in told, told
    assert server.end() == 0


@test
def others_are_not_let_in_without_keys():
    for host in ("0.0.0.0", "::", "192.0.2.1"):
        code, told = refused("-m", MODEL, "--host", host, "--port", "0", "--state", fresh_state())
        assert code == 1 and told.count("\n") == 1, told
        assert "there are no keys" in told and host in told, told
    config = write("public.yaml", "listen: {host: 0.0.0.0, insecure_public: true}\n")
    assert refused("--config", config, "--check-config") == (0, "")


@test
def what_cannot_be_served_ends_the_start():
    bad = write("bad.gguf", "GGUF and then nothing of use")
    empty = write("bad.wasm", "no module")
    for args, words in (
            (("-m", bad), f"serve: {bad}: "),
            (("-m", path("absent.gguf")), f"serve: {path('absent.gguf')}: no such file\n"),
            (("-m", FOLDER), f"serve: {FOLDER}: a folder, not a file\n"),
            # A bare name is a file's where one has it, and there is no folder of models.
            (("-m", "bad.wasm"), "serve: ./bad.wasm: no GGUF file"),
            (("-m", "bad.wasm", "--models", FOLDER), "no model is named bad.wasm"),
            (("-m", "absent"), "no model is named absent"),
            (("-m", MODEL, "--guest", empty), "bad.wasm"),
            (("-m", MODEL, "--guest", path("absent.wasm")), "absent.wasm"),
            (("--config", path("absent.yaml")), "absent.yaml"),
            (("--config", write("bad.yaml", "log:\n  levl: info\n")),
             "bad.yaml:2: log.levl: there is no such key; did you mean log.level?"),
            (("--config", write("tls.yaml", "tls: {cert: /absent.pem, key: /absent.pem}\n")),
             "/absent.pem"),
            (("--config", write("alias.yaml",
                                f"models: {{dir: {FOLDER}, aliases: {{a: nothing}}}}\n")),
             "alias a stands for nothing"),
            (("--state", "/dev/null/x"), "/dev/null/x")):
        code, told = refused("--port", "0", *(() if "--state" in args else
                                              ("--state", fresh_state())), *args)
        assert code == 1 and told.startswith("realm serve: "), (args, told)
        assert words in told and told.count("\n") == 1, (args, told)


@test
def wrong_usage_is_told():
    for args in (("--colour",), ("--port", "70000"), ("--compat", "x"), ("model.gguf",)):
        code, told = refused(*args)
        assert code == 2 and told.count("\n") == 1, (args, told)


@test
def the_printed_configuration_is_its_own():
    config = write("some.yaml", "models: {dir: /m, aliases: {a: b}}\nlog: {format: json}\n"
                                "limits: {body_bytes: 1MiB}\n")
    printed = subprocess.run([REALM, "serve", "--config", config, "--port", "7", "--print-config"],
                             capture_output=True, text=True, check=True).stdout
    assert "  port: 7\n" in printed and "  body_bytes: 1MiB\n" in printed, printed
    again = subprocess.run([REALM, "serve", "--config", write("printed.yaml", printed),
                            "--print-config"], capture_output=True, text=True, check=True).stdout
    assert again == printed


@test
def the_examples_are_sound():
    deploy = os.path.join(os.path.dirname(__file__), "..", "..", "deploy")
    for name in ("realm.yaml", "container.yaml"):
        assert refused("--config", os.path.join(deploy, name), "--check-config") == (0, "")


@test
def files_may_be_as_many_as_the_system_allows():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]

    def few():
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    server = Server("-m", MODEL, before=few)
    with open(f"/proc/{server.process.pid}/limits", encoding="utf-8") as limits:
        line = next(line for line in limits if line.startswith("Max open files"))
    assert line.split()[3] == line.split()[4], line
    assert server.end() == 0


@test
def metrics_have_a_port_of_their_own():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = write("metrics.yaml", f"listen: {{metrics_port: {port}}}\n")
    server = Server("-m", MODEL, "--config", config)
    status, text = server.get("/metrics", port)
    assert status == 200 and "# TYPE" in text
    assert server.get("/v1/models", port)[0] == 404
    assert server.end() == 0


@test
def a_model_whose_disk_went_away_is_served_on():
    """X08: what is loaded is; what is not fails as if it had never been there."""
    models = path("lost-models")
    os.mkdir(models)
    for name in ("one", "two"):
        shutil.copy(MODEL, os.path.join(models, name + ".gguf"))
    server = Server("--models", models)

    def ask(model):
        one = server.stream(3, model=model)
        one.join(60)
        return one
    assert ask("one").finished()
    for name in ("one", "two"):
        os.remove(os.path.join(models, name + ".gguf"))
    for _ in range(3):
        assert ask("one").finished()
    lost, never = ask("two"), ask("three")
    assert lost.status == never.status == 404, (lost.error, never.error)
    assert lost.error.replace("two", "three").split("request_id")[0] == \
        never.error.split("request_id")[0]
    assert json.loads(server.get("/v1/models")[1])["data"] == []
    assert server.end() == 0


# --------------------------------------------------------------- reload


@test
def a_broken_configuration_changes_nothing():
    models = path("reload-models")
    os.mkdir(models)
    shutil.copy(MODEL, os.path.join(models, "one.gguf"))
    config = write("reload.yaml", f"models: {{dir: {models}, aliases: {{first: one}}}}\n")
    server = Server("--config", config)
    assert '"first"' in server.get("/v1/models")[1]
    for broken, words in (("models: [", "reload.yaml:"),
                          ("listen: {port: 99999}\n", "listen.port"),
                          (f"models: {{dir: {models}, aliases: {{second: nothing}}}}\n",
                           "alias second stands for nothing")):
        write("reload.yaml", broken)
        before = server.log().count("the old configuration stays")
        server.kill(signal.SIGHUP)
        assert until(lambda: server.log().count("the old configuration stays") > before)
        assert words in server.log().splitlines()[-1], server.log()
        assert '"first"' in server.get("/v1/models")[1]
    one = server.stream(900, model="first")
    assert one.began.wait(60)
    write("reload.yaml", f"models: {{dir: {models}, aliases: {{third: one}}, pin: [one]}}\n"
                         "log: {format: json}\nlisten: {port: 1}\nguest: {file: x}\n")
    server.kill(signal.SIGHUP)
    server.wait_log("the configuration is taken over")
    listed = server.get("/v1/models")[1]
    assert '"third"' in listed and '"first"' not in listed, listed
    # --port stands on the command line, so the file's is no change.
    assert "a new start is needed for guest.file" in server.log(), server.log()
    assert json.loads(server.log().splitlines()[-1])["level"] == "info"
    one.join(60)
    assert one.finished(), one.error
    assert server.end() == 0


def certificate(name):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", path("key.pem"), "-out",
                    path("cert.pem"), "-days", "2", "-subj", f"/CN={name}", "-addext",
                    "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)


@test
def certificates_are_renewed_by_a_reload():
    if not shutil.which("openssl"):
        raise Skip("no openssl program")
    certificate("first")
    config = write("https.yaml", f"tls: {{cert: {path('cert.pem')}, key: {path('key.pem')}}}\n")
    server = Server("-m", MODEL, "--config", config)
    assert server.scheme == "https"

    def shown():
        return ssl.get_server_certificate((server.host, server.port))
    first = shown()
    context = ssl.create_default_context(cafile=path("cert.pem"))
    with urllib.request.urlopen(f"https://127.0.0.1:{server.port}/health", context=context,
                                timeout=20) as answer:
        assert answer.status == 200
    with open(path("cert.pem"), "w", encoding="utf-8") as out:
        out.write("no certificate")
    server.kill(signal.SIGHUP)
    server.wait_log("the old configuration stays")
    assert shown() == first
    certificate("second")
    server.kill(signal.SIGHUP)
    server.wait_log("the configuration is taken over")
    assert shown() != first
    assert server.end() == 0


# ----------------------------------------------------------------- stop


@test
def what_runs_is_finished_before_the_end():
    server = Server("-m", MODEL, env={"REALM_LOG": "debug"})
    some = streams(server, 8)
    server.kill(signal.SIGTERM)
    server.wait_log("no new requests")
    try:
        with socket.create_connection((server.host, server.port), timeout=5) as s:
            s.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert s.recv(100) == b""
    except OSError:
        pass
    for one in some:
        one.join(60)
        assert one.finished(), (one.error, one.lines[-2:])
    assert server.process.wait(60) == 0
    assert "debug 0 allocations are left" in server.log(), server.log()


def tried(attempt):
    """With more and more streams: a fast machine is through with a few before anyone signals."""
    assert any(attempt(n) for n in (16, 64, 200)), "all was over too soon"


@test
def what_runs_too_long_ends_with_an_event():
    config = write("short.yaml", "api: {drain_s: 0}\n")

    def attempt(n):
        server = Server("-m", MODEL, "--config", config, env={"REALM_LOG": "debug"})
        some = streams(server, n)
        assert server.end(seconds=25) == 0
        cut = 0
        for one in some:
            one.join(60)
            assert one.error is None, one.error
            if not one.finished():
                cut += 1
                assert '"shutdown"' in "".join(one.lines[-2:]), one.lines[-2:]
        assert "debug 0 allocations are left" in server.log(), server.log()
        return cut > 0
    tried(attempt)


@test
def a_second_signal_does_not_wait():
    def attempt(n):
        server = Server("-m", MODEL, env={"REALM_LOG": "debug"})
        streams(server, n)
        server.kill(signal.SIGTERM)
        server.wait_log("no new requests")
        assert server.end(seconds=25) == 0
        assert "debug 0 allocations are left" in server.log(), server.log()
        return "what still runs is given up" in server.log()
    tried(attempt)


# ------------------------------------------------------------- watchdog


@test
def a_stopped_process_has_not_stood_still():
    server = Server("-m", MODEL)
    some = streams(server, 8)
    server.kill(signal.SIGSTOP)
    time.sleep(16)  # past the time for 503 and for the end
    server.kill(signal.SIGCONT)
    assert server.get("/health")[0] == 200
    for one in some:
        one.join(60)
        assert one.finished(), one.error
    assert "stands still" not in server.log(), server.log()
    assert server.end() == 0


def thread_named(pid, name):
    for tid in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{tid}/comm", encoding="utf-8") as comm:
            if comm.read().strip() == name:
                return int(tid)
    raise AssertionError(f"no thread {name}")


PTRACE_ATTACH, PTRACE_DETACH, WALL = 16, 17, 0x40000000


def stop_between_locks(libc, server, tid):
    """Stops a thread where it holds no lock that the server needs for an answer; the time then."""
    for _ in range(20):
        if libc.ptrace(PTRACE_ATTACH, tid, None, None):
            raise Skip("threads cannot be stopped here: " + os.strerror(ctypes.get_errno()))
        began = time.monotonic()
        os.waitpid(tid, WALL)
        try:
            assert server.get("/health", seconds=1)[0] == 200
            return began
        except TimeoutError:
            libc.ptrace(PTRACE_DETACH, tid, None, None)
            time.sleep(0.1)
    raise AssertionError("the server does not answer")


@test
def an_engine_that_stands_still_is_given_up():
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    server = Server("-m", MODEL)
    some = streams(server, 8)
    tid = thread_named(server.process.pid, "realm-sched")
    began = stop_between_locks(libc, server, tid)
    some += [server.stream() for _ in range(4)]  # there is work, however fast the others were
    try:
        while server.get("/health")[0] == 200:
            assert time.monotonic() - began < 11  # and then it would end
            time.sleep(0.1)
        assert time.monotonic() - began > 1.9
        assert server.get("/ready")[0] == 503
    finally:
        # It moves again: all is well.
        libc.ptrace(PTRACE_DETACH, tid, None, None)
    assert until(lambda: server.get("/health")[0] == 200)
    for one in some:
        one.join(60)
        assert one.finished(), one.error
    # It does not: the process ends.
    some = streams(server, 8)
    began = time.monotonic()
    assert libc.ptrace(PTRACE_ATTACH, tid, None, None) == 0
    os.waitpid(tid, WALL)
    some += [server.stream() for _ in range(4)]
    # Its end comes to the one who traces, too, before the process is gone.
    assert until(lambda: os.waitpid(tid, WALL | os.WNOHANG)[0] != 0), server.log()
    assert server.process.wait(60) == 70
    assert 11 < time.monotonic() - began < 60
    assert "the process ends with status 70" in server.log(), server.log()


def main():
    wanted = sys.argv[3:]
    tests = [t for t in TESTS if not wanted or t.__name__ in wanted]
    print(f"1..{len(tests)}", flush=True)
    failed = 0
    for i, one in enumerate(tests, 1):
        name = one.__name__.replace("_", " ")
        try:
            one()
            print(f"ok {i} - {name}", flush=True)
        except Skip as why:
            print(f"ok {i} - {name} # SKIP {why}", flush=True)
        except Exception as error:  # each test tells of its own
            failed += 1
            print(f"not ok {i} - {name}", flush=True)
            at = traceback.extract_tb(error.__traceback__)[1].lineno
            for line in f"line {at}: {type(error).__name__}: {error}".splitlines():
                print(f"# {line}", flush=True)
        for process in running:
            if process.poll() is None:
                process.kill()
                process.wait()
        running.clear()
    shutil.rmtree(FOLDER, ignore_errors=True)
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
