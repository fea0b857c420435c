#!/usr/bin/env python3
"""curl, promtool and llama-server's calls against the real server.   usage: wire_test.py REALM"""
import json
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import server
from server import test

ANSWER = "The capital of France is Paris."
CHAT = {"messages": [{"role": "user", "content": "What is the capital of France?"}],
        "temperature": 0}


def post(s, path, body, expect=200):
    request = urllib.request.Request(s.url + path, json.dumps(body).encode(),
                                     {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert answer.status == expect
            return json.load(answer)
    except urllib.error.HTTPError as e:
        assert e.code == expect, (e.code, e.read())
        return json.load(e)


def get(s, path):
    with urllib.request.urlopen(s.url + path, timeout=60) as answer:
        return json.load(answer)


def curl(*args, data=None):
    return subprocess.run(["curl", "-sS", "-m", "60", *args], input=data, capture_output=True,
                          check=True).stdout.decode()


@test
def curl_streams(s):
    out = curl("-N", s.url + "/v1/chat/completions", "-d", json.dumps({**CHAT, "stream": True}))
    events = [line[6:] for line in out.split("\n") if line.startswith("data: ")]
    assert events[-1] == "[DONE]" and out.endswith("data: [DONE]\n\n")
    chunks = [json.loads(e) for e in events[:-1]]
    assert "".join(c["choices"][0]["delta"].get("content", "") for c in chunks) == ANSWER


@test
def curl_uploads_in_chunks(s):
    body = json.dumps(CHAT).encode()
    for more in (["-H", "Transfer-Encoding: chunked"], ["-H", "Expect: 100-continue"], ["-0"]):
        out = curl(s.url + "/v1/chat/completions", "--data-binary", "@-", *more, data=body)
        assert json.loads(out)["choices"][0]["message"]["content"] == ANSWER


@test
def request_ids(s):
    out = curl("-i", "-H", "X-Request-Id: mine.1", s.url + "/health")
    assert "x-request-id: mine.1\r\n" in out
    assert "x-request-id: req_" in curl("-i", "-H", "X-Request-Id: a b", s.url + "/health")
    out = curl("-i", "-H", "X-Request-Id: mine.2", s.url + "/v1/nothing")
    assert json.loads(out.split("\r\n\r\n")[1])["error"]["request_id"] == "mine.2"


@test
def methods_and_paths(s):
    for method, path, status in (("GET", "/v1/chat/completions", 405), ("GET", "/none", 404),
                                 ("DELETE", "/v1/models", 405), ("GET", "/v1/%2e%2e/x", 400),
                                 ("GET", "//v1/models", 400), ("HEAD", "/health", 200),
                                 ("GET", "/admin/cache", 404), ("TRACE", "/", 405),
                                 ("POST", "/v1/models/tiny", 405), ("GET", "/v1/messages", 405)):
        more = ["-I"] if method == "HEAD" else ["-X", method]
        out = curl("-o", "/dev/null", "-w", "%{http_code}", "--path-as-is", *more, s.url + path)
        assert out == str(status), (method, path, out)
    assert json.loads(curl(s.url + "/v1/messages"))["type"] == "error"  # as its clients read it
    told = [json.loads(curl(s.url + path))["error"] for path in ("/", "/none", "/admin/keys")]
    for error in told:  # the same for what is not there and for what is not to be known of
        assert error["code"] == "not_found" and "`/v1/models`" in error["message"], error
        assert error["message"] == told[0]["message"], error


@test
def another_sites_page_is_refused(s):
    out = curl("-o", "/dev/null", "-w", "%{http_code}", "-H", "Host: evil.example",
               s.url + "/health")
    assert out == "403"
    assert "listen.allowed_hosts" in curl("-H", "Host: evil.example", s.url + "/health")
    other = server.Server(sys.argv[1], config="listen:\n  allowed_hosts: [models.example]\n")
    try:
        assert '"ok"' in curl("-H", "Host: models.example", other.url + "/health")
        assert '"ok"' in curl("-H", "Origin: https://models.example", other.url + "/health")
    finally:
        other.stop()


@test
def promtool_finds_nothing(s):
    promtool = shutil.which("promtool")
    assert promtool, "promtool is missing: run scripts/setup --test"
    text = curl(s.url + "/metrics")
    found = subprocess.run([promtool, "check", "metrics"], input=text.encode(), capture_output=True,
                           check=False)
    assert found.returncode == 0 and not found.stderr, found.stderr
    for name in ("realm_requests_running", "realm_requests_waiting", "realm_kv_used_ratio",
                 "realm_time_to_first_token_seconds_count", "realm_inter_token_seconds_count",
                 "realm_queue_seconds_count", "realm_request_seconds_count"):
        assert f"\n{name} " in text, name


@test
def llama_completion(s):
    out = post(s, "/completion", {"prompt": "The capital of France is", "n_predict": 3,
                                  "temperature": 0, "n_probs": 2, "return_tokens": True})
    assert out["content"] == " Paris." and out["stop"] is True and out["stop_type"] == "limit"
    assert len(out["tokens"]) == out["tokens_predicted"] == 3
    assert len(out["completion_probabilities"][0]["top_logprobs"]) == 2
    t = out["timings"]
    assert t["prompt_n"] + t["cache_n"] == out["tokens_evaluated"] and t["predicted_n"] == 3
    assert t["prompt_ms"] > 0 and t["predicted_per_second"] > 0
    many = post(s, "/completion", {"prompt": ["a", "b"], "n_predict": 2})
    assert [m["index"] for m in many] == [0, 1]
    word = post(s, "/completion", {"prompt": "The capital of France is", "temperature": 0,
                                   "stop": ["ris"]})
    assert (word["stop_type"], word["stopping_word"], word["content"]) == ("word", "ris", " Pa")
    refused = post(s, "/completion", {"prompt": "x", "mirostat": 2}, 400)
    assert refused["error"]["param"] == "mirostat"


@test
def llama_streams(s):
    out = curl("-N", s.url + "/completion", "-d", json.dumps(
        {"prompt": "The capital of France is", "n_predict": 4, "temperature": 0, "stream": True}))
    events = [json.loads(line[6:]) for line in out.split("\n") if line.startswith("data: ")]
    assert "".join(e["content"] for e in events) == " Paris."
    assert [e["stop"] for e in events] == [False] * (len(events) - 1) + [True]


@test
def streams_are_whole_characters(s):
    """U01: whatever bytes a model draws."""
    body = {"prompt": "\u00e9\U0001F600", "n_predict": 400, "temperature": 100, "top_k": 0,
            "top_p": 1, "min_p": 0, "seed": 3, "ignore_eos": True}
    whole = post(s, "/completion", body)
    raw = subprocess.run(["curl", "-sSN", "-m", "60", s.url + "/completion", "-d",
                          json.dumps({**body, "stream": True})], capture_output=True,
                         check=True).stdout
    # Each line is UTF-8 by itself, and has half of no character.
    events = [json.loads(line[6:].decode()) for line in raw.split(b"\n") if line]
    text = "".join(e["content"] for e in events)
    assert text == whole["content"] and "\ufffd" in text and text.encode()
    assert events[-1]["tokens_predicted"] == whole["tokens_predicted"] == 400


@test
def texts_forge_no_events(s):
    """U02: what a text says is the text's, whoever reads the stream."""
    trick = "a\n\ndata: [DONE]\n\nevent: error\r\ndata: {}\r\n\r\n: \u2028\u2029</script>\0"
    for path, prompt in (("/v1/completions", {"prompt": trick, "echo": True}),
                         ("/v1/completions", {"prompt": [trick], "echo": True, "logprobs": 1})):
        out = curl("-N", s.url + path, "-d", json.dumps(
            {**prompt, "max_tokens": 2, "stream": True}))
        *events, done, end = out.split("\n\n")
        assert (done, end) == ("data: [DONE]", "") and "\u2028" not in out and "\r" not in out
        assert all(e.startswith("data: {") and "\n" not in e for e in events), events
        text = "".join(json.loads(e[6:])["choices"][0]["text"] for e in events)
        assert text.startswith(trick), text


def send(s, path, data):
    """Status, error and seconds of a body that is sent as it is."""
    start = time.monotonic()
    try:
        with urllib.request.urlopen(s.url + path, data, timeout=60) as answer:
            return answer.status, None, time.monotonic() - start
    except urllib.error.HTTPError as e:
        return e.code, json.load(e)["error"], time.monotonic() - start


@test
def bodies_that_nobody_means_well_with(s):
    """J01: as much as a body holds, or more."""
    messages = b'{"messages":[' + b"{}," * 1000000 + b"{}]}"
    keys = b"{" + b",".join(b'"%d":0' % i for i in range(300000)) + b"}"
    for data, status, code in ((b"[" * 100000, 400, "json_too_deep"),
                               (b'{"a":' * 800000, 400, "json_too_deep"),
                               (keys, 400, "json_too_deep"), (messages, 400, "json_too_deep"),
                               (b" " * 4000000, 400, "invalid_json"),
                               (b" " * 10000000, 413, "body_too_large")):
        got, error, took = send(s, "/v1/chat/completions", data)
        assert (got, error["code"]) == (status, code), (data[:20], got, error)
        assert took < 50, (data[:20], took)


@test
def bodies_are_as_large_as_the_operator_says(_):
    other = server.Server(sys.argv[1], config="limits:\n  body_bytes: 8MiB\n")
    try:
        for filling, want in ((5 << 20, 200), (9 << 20, 413)):
            got, error, _ = send(other, "/tokenize", b'{"content":"x"' + b" " * filling + b"}")
            assert got == want, (filling, got, error)
    finally:
        other.stop()


@test
def prompts_far_too_long(s):
    """J09: are told so, with both numbers, in a time that grows with their length alone."""
    for text in ("a" * 4000000, "\U0001F600" * 1000000, "word " * 800000,
                 "supercalifragilistic" * 50000):
        for path, body in (("/v1/completions", {"prompt": text}),
                           ("/v1/chat/completions",
                            {"messages": [{"role": "user", "content": text}]}),
                           ("/completion", {"prompt": text})):
            got, error, took = send(s, path, json.dumps(body, ensure_ascii=False).encode())
            assert (got, error["code"]) == (400, "context_length_exceeded"), (got, error)
            assert len(re.findall(r"[0-9]+", error["message"])) >= 2, error
            assert took < 50, (text[:20], path, took)


@test
def llama_tokens(s):
    text = "Hello \u00e9\U0001F600 <|im_end|>"
    ids = post(s, "/tokenize", {"content": text, "parse_special": False})["tokens"]
    assert post(s, "/detokenize", {"tokens": ids})["content"] == text
    pieces = post(s, "/tokenize", {"content": text, "with_pieces": True})["tokens"]
    raw = b"".join(p["piece"].encode() if isinstance(p["piece"], str) else bytes(p["piece"])
                   for p in pieces)
    assert raw.decode() == text
    assert pieces[-1]["piece"] == "<|im_end|>"
    assert post(s, "/tokenize", {"content": 5}, 400)["error"]["param"] == "content"
    assert post(s, "/detokenize", {"tokens": [1 << 40]}, 400)["error"]["param"] == "tokens"


@test
def llama_template_and_props(s):
    out = post(s, "/apply-template", CHAT)["prompt"]
    assert out.endswith("<|im_start|>assistant\n") and "capital of France" in out
    props = get(s, "/props")
    assert props["default_generation_settings"]["n_ctx"] > 100 and props["chat_template"]
    assert "/" not in props["model_path"]


@test
def keep_alive_and_pipelines(s):
    with socket.create_connection((s.host, s.port)) as c:
        one = b"GET /ready HTTP/1.1\r\nHost: localhost\r\n\r\n"
        c.sendall(one * 50 + b"GET /none HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        data = b""
        while chunk := c.recv(65536):
            data += chunk
    assert data.count(b"HTTP/1.1 200") == 50 and data.count(b"HTTP/1.1 404") == 1
    assert data.rfind(b"HTTP/1.1 404") > data.rfind(b"HTTP/1.1 200")


@test
def who_leaves_is_noticed(s):
    body = json.dumps({"messages": [{"role": "user", "content": "Tell me a story."}],
                       "max_tokens": 900, "ignore_eos": True}).encode()
    request = (b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
               b"Content-Length: %d\r\n\r\n" % len(body)) + body
    def leave(wait):
        with socket.create_connection((s.host, s.port)) as c:
            c.sendall(request)
            time.sleep(wait)
        left = time.monotonic()
        for name, value in (("realm_http_exchanges", 1),  # /metrics itself
                            ("realm_kv_pages_used", 0)):
            assert s.wait_for(name, value, server.PATIENCE_S) is not None, name
        return time.monotonic() - left < 0.5

    for wait in (0, 0.02, 0.1):
        assert any(leave(wait) for _ in range(20)), wait


@test
def who_ends_his_side_gets_the_answer(s):
    body = json.dumps(CHAT).encode()
    with socket.create_connection((s.host, s.port)) as c:
        c.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d"
                  b"\r\n\r\n" % len(body) + body)
        c.shutdown(socket.SHUT_WR)
        data = b""
        while chunk := c.recv(65536):
            data += chunk
    assert ANSWER.encode() in data and b"HTTP/1.1 200 OK" in data


@test
def overload_tells_when_to_come_again(s):
    """More than the queue holds: some are refused, with a time, and nobody is lost."""
    body = json.dumps({"prompt": ["Once upon"], "n": 16, "max_tokens": 400}).encode()
    request = (b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
               b"Content-Length: %d\r\n\r\n" % len(body)) + body
    clients = []
    for _ in range(120):
        c = socket.create_connection((s.host, s.port))
        c.sendall(request)
        c.settimeout(120)
        clients.append(c)
    heads = [c.recv(4096) for c in clients[-30:]]
    for c in clients:
        c.close()
    refused = [h for h in heads if h.startswith(b"HTTP/1.1 503")]
    assert all(h.startswith((b"HTTP/1.1 503", b"HTTP/1.1 200")) for h in heads)
    assert refused, "the queue took them all"
    assert b"Retry-After: 1" in refused[0] and b"retry-after-ms: 1000" in refused[0]
    assert s.wait_for("realm_kv_pages_used", 0, server.PATIENCE_S) is not None
    assert post(s, "/v1/chat/completions", CHAT)["choices"][0]["message"]["content"] == ANSWER


if __name__ == "__main__":
    server.main(server.Server(sys.argv[1]))
