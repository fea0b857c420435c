#!/usr/bin/env python3
"""Heads, bodies and frames that nobody means well with, as raw bytes.

usage: rows_test.py REALM
"""
import base64
import json
import os
import re
import socket
import struct
import sys
import time

import server
from server import test

HOST = b"Host: localhost\r\n"


def raw(s, data, pieces=False, seconds=5, end=None):
    """What the server sends until it closes, stops for a while, or has said the end."""
    with socket.create_connection((s.host, s.port)) as c:
        c.settimeout(seconds)
        try:
            for part in ([data[i:i + 1] for i in range(len(data))] if pieces else [data]):
                c.sendall(part)
        except OSError:
            pass
        got = b""
        try:
            while chunk := c.recv(65536):
                got += chunk
                if end and got.endswith(end):
                    return got, False
        except TimeoutError:
            return got, False
        except ConnectionError:
            pass
        return got, True


def status(got):
    return int(got.split()[1]) if got.startswith(b"HTTP/1.1 ") else None


GET = b"GET /health HTTP/1.1\r\n"
POST = b"POST /tokenize HTTP/1.1\r\n" + HOST
BODY = b'{"content":"x"}'

# What comes -> the status, with the connection closed after it.
REFUSED = [
    ("both lengths", POST + b"Content-Length: 15\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    ("two lengths", POST + b"Content-Length: 15\r\nContent-Length: 15\r\n\r\n", 400),
    *((f"length {v!r}", POST + b"Content-Length: " + v + b"\r\n\r\n", 400)
      for v in (b"+5", b"5,5", b"0x5", b"-1", b"", b"1" * 30, b"5 5")),
    *((f"coding {v!r}", POST + b"Transfer-Encoding: " + v + b"\r\n\r\n", 400)
      for v in (b"chunked, identity", b"xchunked", b"gzip", b"")),
    ("space before colon", POST + b"Transfer-Encoding : chunked\r\n\r\n", 400),
    ("coding in HTTP/1.0", b"POST /tokenize HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    ("bare LF", b"GET /health HTTP/1.1\n" + HOST + b"\r\n", 400),
    ("bare LF in fields", GET + b"Host: localhost\n\r\n", 400),
    ("bare CR", GET + b"Host: local\rhost\r\n\r\n", 400),
    ("folded", GET + HOST + b"X: a\r\n b\r\n\r\n", 400),
    ("NUL", GET + HOST + b"X: a\0b\r\n\r\n", 400),
    ("control", GET + HOST + b"X: a\x01b\r\n\r\n", 400),
    ("no colon", GET + HOST + b"nothing\r\n\r\n", 400),
    ("no name", GET + HOST + b": x\r\n\r\n", 400),
    ("no host", GET + b"\r\n", 400),
    ("two hosts", GET + HOST + HOST + b"\r\n", 400),
    ("evil host", GET + b"Host: evil.example\r\n\r\n", 403),
    ("odd host", GET + b"Host: local host\r\n\r\n", 400),
    ("version 2", b"GET /health HTTP/2.0\r\n" + HOST + b"\r\n", 505),
    ("long line", b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414),
    ("long line without end", b"GET /" + b"a" * 70000, 414),
    ("long field", GET + HOST + b"X: " + b"a" * 9000 + b"\r\n\r\n", 431),
    ("many fields", GET + HOST + b"X: a\r\n" * 10000 + b"\r\n", 431),
    ("much field", GET + HOST + (b"X: " + b"a" * 7000 + b"\r\n") * 10 + b"\r\n", 431),
    ("large body", POST + b"Content-Length: 100000000\r\n\r\n", 413),
    ("large body expected",
     POST + b"Expect: 100-continue\r\nContent-Length: 100000000\r\n\r\n", 413),
    ("other expectation", POST + b"Expect: magic\r\nContent-Length: 1\r\n\r\n", 417),
    ("gzip body", POST + b"Content-Encoding: gzip\r\nContent-Length: 1\r\n\r\n", 415),
    ("asterisk", b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    ("connect", b"CONNECT localhost:80 HTTP/1.1\r\n" + HOST + b"\r\n", 405),
    ("trace", b"TRACE / HTTP/1.1\r\n" + HOST + b"\r\n", 405),
    ("other authority", b"GET http://other/health HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    *((f"path {p!r}", b"GET " + p + b" HTTP/1.1\r\n" + HOST + b"\r\n", 400)
      for p in (b"/%2e%2e/x", b"/a/../b", b"/./a", b"//v1", b"/%2f/../b", b"/%00", b"/%zz",
                b"/%c0%80", b"/a%", b"/%ed%a0%80", b"health")),
    ("chunk size", POST + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n", 400),
    ("chunk of 2^64", POST + b"Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n", 400),
    ("large chunk", POST + b"Transfer-Encoding: chunked\r\n\r\nfffffff\r\n", 413),
    ("chunk extension", POST + b"Transfer-Encoding: chunked\r\n\r\n1;ext=\n", 400),
    ("chunk's end", POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nab", 400),
    ("chunk's LF", POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\n", 400),
    ("trailer's LF", POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: y\n", 400),
    ("long trailer", POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: " + b"y" * 100000, 400),
    ("not HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    ("old", b"GET /health\r\n", 400),
    ("another site's page", POST + b"Origin: https://evil.example\r\nContent-Length: 15\r\n\r\n"
     + BODY, 403),
    ("a page of no site", GET + HOST + b"Origin: null\r\n\r\n", 403),
]
SLOWLY = {"both lengths", "bare LF", "folded", "chunk extension", "chunk's LF", "two hosts",
          "evil host", "path b'/%2f/../b'", "old"}

ACCEPTED = [
    ("own page", GET + HOST + b"Origin: http://localhost:3000\r\n\r\n", 200),
    ("plain", GET + HOST + b"\r\n", 200),
    ("absolute", b"GET http://localhost/health HTTP/1.1\r\n" + HOST + b"\r\n", 200),
    ("empty line before", b"\r\n" + GET + HOST + b"\r\n", 200),
    ("escaped", b"GET /%68ealth HTTP/1.1\r\n" + HOST + b"\r\n", 200),
    ("query", b"GET /health?a=%2f HTTP/1.1\r\n" + HOST + b"\r\n", 200),
    ("host's port", GET + b"Host: 127.0.0.1:8080\r\n\r\n", 200),
    ("body", POST + b"Content-Length: 15\r\n\r\n" + BODY, 200),
    ("chunks", POST + b"Transfer-Encoding: chunked\r\n\r\n5;a=b\r\n" + BODY[:5] + b"\r\nA\r\n"
     + BODY[5:] + b"\r\n0\r\nX: y\r\n\r\n", 200),
    ("identity", POST + b"Content-Encoding: identity\r\nContent-Length: 15\r\n\r\n" + BODY, 200),
]


@test
def heads_and_bodies_that_are_refused(s):
    for name, data, want in REFUSED:
        for pieces in ((False, True) if name in SLOWLY else (False,)):
            got, closed = raw(s, data + GET + HOST + b"\r\n", pieces)
            assert status(got) == want and closed, (name, pieces, got[:200], closed)
            assert len(re.findall(rb"HTTP/1.1 \d", got)) == 1, (name, got)
            head, _, body = got.partition(b"\r\n\r\n")
            assert b"Connection: close" in head, name
            assert b'"request_id":"req_' in body or b"TRACE" in data, (name, body)


@test
def heads_and_bodies_that_are_taken(s):
    for name, data, want in ACCEPTED:
        for pieces in (False, True):
            end = GET + HOST + b"Connection: close\r\n\r\n"
            got, closed = raw(s, data + end, pieces)
            assert got.count(b"HTTP/1.1 200 OK") == 2 and closed, (name, pieces, got)
            assert status(got) == want


def refusals(s, n, begin, part, least):
    """What n clients are told that send something large in part, those that are told something,
    and at least so many are."""
    open_ones, told = [], []
    try:
        for _ in range(n):
            c = socket.create_connection((s.host, s.port), timeout=10)
            open_ones.append(c)
            begin(c)
            try:
                c.sendall(part)
            except OSError:
                pass  # it was refused before all was sent
        waiting = set(open_ones)

        def look():
            for c in list(waiting):
                c.settimeout(0.02)
                try:
                    told.append(c.recv(4096))
                    waiting.remove(c)
                except TimeoutError:
                    pass
            return len(told) >= least

        server.until(look)
    finally:
        for c in open_ones:
            c.close()
    return told


@test
def bodies_have_a_limit_together(s):
    """Of 48 bodies of nearly 4 MiB that never end, one client's, 128 MiB are taken."""
    part = b" " * (4 << 20)
    head = POST + b"Content-Length: %d\r\n\r\n" % len(part)
    told = refusals(s, 48, lambda c: c.sendall(head), part[:-1], 12)
    assert 12 <= len(told) <= 20, len(told)
    assert all(status(got) == 503 and b'"overloaded"' in got for got in told), told
    got, _ = raw(s, POST + b"Content-Length: 15\r\nConnection: close\r\n\r\n" + BODY)
    assert status(got) == 200, got


@test
def head_answers_have_no_body(s):
    got, _ = raw(s, b"HEAD /health HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n")
    assert status(got) == 200 and got.endswith(b"\r\n\r\n") and b"Content-Length: " in got


@test
def the_second_of_two_requests_is_malformed(s):
    got, closed = raw(s, GET + HOST + b"\r\n" + b"GET /health HTTP/1.1\n\n" + GET + HOST + b"\r\n")
    assert closed and got.count(b"HTTP/1.1 200") == 1 and got.count(b"HTTP/1.1 400") == 1
    assert got.count(b"HTTP/1.1 ") == 2


# ---- WebSocket ----

UPGRADE = (b"GET /ws HTTP/1.1\r\n" + HOST + b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
           b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
           + base64.b64encode(b"0123456789abcdef") + b"\r\n")


@test
def handshakes(s):
    good = UPGRADE + b"\r\n"
    rows = [
        (good, 101),
        (UPGRADE + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n", 101),
        (UPGRADE + b"Origin: http://localhost:3000\r\n\r\n", 101),
        (UPGRADE + b"Origin: http://evil.example\r\n\r\n", 403),
        (UPGRADE + b"Origin: null\r\n\r\n", 403),
        (good.replace(b"Version: 13", b"Version: 12"), 426),
        (good.replace(b"Connection: Upgrade", b"Connection: close"), 400),
        (good.replace(b"GET", b"POST"), 400),
        (good.replace(b"HTTP/1.1", b"HTTP/1.0"), 400),
        (good.replace(b"MDEy", b"MDE"), 400),
        (good.replace(b"MDEyMzQ1Njc4OWFiY2RlZg==", b""), 400),
        (UPGRADE + b"Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n", 400),
    ]
    for data, want in rows:
        got, closed = raw(s, data, seconds=60, end=b"\r\n\r\n" if want == 101 else None)
        assert status(got) == want, (data, got)
        if want == 101:
            assert b"Sec-WebSocket-Accept: BACScCJPNqyz+UBoqMH89VmURoA=" in got, got
            assert b"xtensions" not in got
        else:
            assert closed
        if want == 426:
            assert b"Sec-WebSocket-Version: 13" in got


def frame(opcode, payload=b"", fin=True, masked=True, rsv=0, length=None):
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    n = len(payload)
    if length is not None:
        head += bytes([(0x80 if masked else 0) | length[0]]) + length[1]
    elif n < 126:
        head += bytes([(0x80 if masked else 0) | n])
    elif n < 65536:
        head += bytes([(0x80 if masked else 0) | 126]) + struct.pack(">H", n)
    else:
        head += bytes([(0x80 if masked else 0) | 127]) + struct.pack(">Q", n)
    if not masked:
        return head + payload
    mask = os.urandom(4)
    return head + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(payload))


def frames(data):
    """(opcode, payload) of what the server sent."""
    out = []
    while len(data) >= 2:
        n, at = data[1] & 0x7F, 2
        if n == 126:
            n, at = struct.unpack(">H", data[2:4])[0], 4
        elif n == 127:
            n, at = struct.unpack(">Q", data[2:10])[0], 10
        assert not data[1] & 0x80, "the server masks"
        out.append((data[0] & 0x0F, data[at:at + n]))
        data = data[at + n:]
    return out


def talk(s, data, seconds=5, pieces=False):
    got, closed = raw(s, UPGRADE + b"\r\n" + data if not pieces else UPGRADE + b"\r\n" + data,
                      pieces=pieces, seconds=seconds)
    head, _, rest = got.partition(b"\r\n\r\n")
    assert status(head) == 101, got
    return frames(rest), closed


CALL = b'{"id":"\xc3\xa9","function":"health"}'


def close_code(got):
    if not got or got[-1][0] != 8 or not got[-1][1]:
        return None
    return struct.unpack(">H", got[-1][1][:2])[0]


@test
def frames_that_break_the_rules(s):
    ping = frame(9, b"x")
    rows = [
        ("unmasked", frame(1, CALL, masked=False), 1002),
        *((f"rsv {r}", frame(1, CALL, rsv=r), 1002) for r in range(1, 8)),
        *((f"opcode {o}", frame(o, b"x"), 1002) for o in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)),
        ("126 not minimal", frame(1, b"x" * 5, length=(126, struct.pack(">H", 5))), 1002),
        ("127 not minimal", frame(1, b"x" * 5, length=(127, struct.pack(">Q", 5))), 1002),
        ("2^63", frame(1, b"", length=(127, struct.pack(">Q", 1 << 63))), 1002),
        ("too large", frame(1, b"x", length=(127, struct.pack(">Q", 1 << 40))), 1009),
        ("just too large", frame(1, b"x" * ((1 << 20) + 1)), 1009),
        ("fragmented ping", frame(9, b"x", fin=False), 1002),
        ("long ping", frame(9, b"x" * 126), 1002),
        ("continuation of nothing", frame(0, b"x"), 1002),
        ("a message within a message", frame(1, b"x", fin=False) + frame(1, b"y"), 1002),
        ("fragments without end",
         frame(1, b"x", fin=False) + frame(0, b"", fin=False) * 1100, 1009),
        ("invalid UTF-8", frame(1, b"a\xff"), 1007),
        ("invalid UTF-8 at once", frame(1, b"a\xed\xa0\x80", fin=False), 1007),
        ("UTF-8 cut off", frame(1, b"a\xe2\x82"), 1007),
        *((f"close {c}", frame(8, struct.pack(">H", c)), 1002)
          for c in (0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 65535)),
        ("close of one byte", frame(8, b"\x03"), 1002),
        ("close with bad text", frame(8, struct.pack(">H", 1000) + b"\xff"), 1007),
        *((f"close {c} is fine", frame(8, struct.pack(">H", c)), c)
          for c in (1000, 1001, 1003, 1007, 1011, 3000, 4999)),
        ("data after close", frame(8, struct.pack(">H", 1000)) + frame(1, CALL) + ping, 1000),
        ("ping flood", ping * 2000, 1008),
    ]
    for name, data, want in rows:
        got, closed = talk(s, data)
        assert close_code(got) == want and closed, (name, got[-3:], closed)
        assert not any(op == 1 for op, _ in got), (name, got)
    got, closed = talk(s, frame(8))
    assert got[-1][0] == 8 and closed


def upgrade(c):
    c.sendall(UPGRADE + b"\r\n")
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += c.recv(1)


@test
def messages_have_a_limit_together(s):
    """Of 160 messages of nearly 1 MiB that never end, one client's, 128 MiB are taken."""
    told = refusals(s, 160, upgrade, frame(1, b" " * (1 << 20))[:-1], 24)
    assert 24 <= len(told) <= 48, len(told)
    assert all(close_code(frames(got)) == 1013 for got in told), told
    got, _ = talk(s, frame(1, CALL) + frame(8, struct.pack(">H", 1000)))
    assert [op for op, _ in got] == [1, 8], got


@test
def frames_that_are_fine(s):
    whole = [
        frame(1, CALL),
        b"".join(frame(1 if i == 0 else 0, CALL[i:i + 1], fin=i == len(CALL) - 1)
                 for i in range(len(CALL))),
        frame(1, CALL[:9], fin=False) + frame(9, b"within") + frame(0, CALL[9:]),
        frame(1, b"", fin=False) + frame(0, CALL),
    ]
    for data in whole:
        for pieces in (False, True):
            got, _ = talk(s, data + frame(8, struct.pack(">H", 1000)), pieces=pieces)
            assert [op for op, _ in got if op in (1, 8)] == [1, 8], got
            assert "é".encode() in got[-2][1] and b'"complete"' in got[-2][1]
            assert (10, b"within") in got or b"within" not in data
    got, _ = talk(s, frame(9, b"p" * 125) + frame(10, b"unasked"), seconds=3)
    assert got == [(10, b"p" * 125)], got


@test
def nothing_is_left(s):
    assert s.wait_for("realm_http_websockets", 0, server.PATIENCE_S) is not None
    assert s.wait_for("realm_http_connections", 1, server.PATIENCE_S) is not None


@test
def refusals_have_the_form_of_the_paths_clients(s):
    """Of what never reaches a door, too: Anthropic's clients look for their type and request-id."""
    for path, theirs in ((b"/v1/messages", True), (b"/v1/messages/count_tokens?beta=true", True),
                         (b"/v1/completions", False)):
        for more, code, kind in ((b"Content-Length: 100000000\r\n", b"413", "request_too_large"),
                                 (b"Content-Length: x\r\n", b"400", "invalid_request_error")):
            got, closed = raw(s, b"POST " + path + b" HTTP/1.1\r\n" + HOST +
                              b"x-request-id: mine\r\n" + more + b"\r\n")
            head, body = got.split(b"\r\n\r\n")
            said = json.loads(body)
            assert closed and head.split()[1] == code, got
            assert (b"\r\nrequest-id: mine" in head) is theirs, head
            if theirs:
                assert said["type"] == "error" and said["error"]["type"] == kind, said
                assert said["request_id"] == "mine" and said["error"]["message"], said
            else:
                assert said["error"]["request_id"] == "mine" and said["error"]["code"], said


if __name__ == "__main__":
    server.main(server.Server(sys.argv[1]))
