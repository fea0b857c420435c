"""A hub of models on 127.0.0.1, which does wrong what it is told to do wrong.

The repository o/m holds `files`; `asked` is what was asked, with headers.
"""

import hashlib
import json
import re
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "hf_secretsecret"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, code, body=b"", headers=()):
        self.send_response(code)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        hub = self.server.hub
        at = urlsplit(self.path)
        with hub.lock:
            hub.asked.append((at.path, dict(self.headers.items())))
            code = hub.refuse.pop(0) if hub.refuse else None
        if code:
            code, headers = code if isinstance(code, tuple) else (code, [])
            return self.answer(code, b"no", headers)
        if hub.gated and self.headers.get("Authorization") != "Bearer " + TOKEN:
            return self.answer(401, b'{"error":"who are you"}')
        try:
            if m := re.fullmatch(r"/api/models/o/m/tree/([^/]+)", at.path):
                return self.tree(parse_qs(at.query), unquote(m[1]))
            if m := re.fullmatch(r"/o/m/resolve/([^/]+)/(.+)", at.path):
                return self.file(unquote(m[2]))
            self.answer(404)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def tree(self, query, revision):
        hub = self.server.hub
        if hub.tree_body is not None:
            return self.answer(200, hub.tree_body)
        if revision != hub.revision or query.get("recursive") != ["true"]:
            return self.answer(404)
        entries = [{"type": "directory", "path": "x", "size": 0, "oid": "0"},
                   {"type": "file", "path": "README.md", "size": 3, "oid": "1"}]
        for path, data in hub.files.items():
            size = len(data) + hub.lie_size
            oid = hub.lie_sha or hashlib.sha256(data).hexdigest()
            entry = {"type": "file", "path": path, "size": size, "oid": "a" * 40}
            if hub.git:
                entry["oid"] = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
            else:
                entry["lfs"] = {"oid": oid, "size": size, "pointerSize": 130}
            entries.append(entry)
        page = int(query.get("page", ["0"])[0])
        n = hub.page_entries or len(entries)
        headers = []
        if (page + 1) * n < len(entries):
            where = hub.next_host or hub.url
            link = f"{where}/api/models/o/m/tree/main?recursive=true&page={page + 1}"
            headers = [("Link", f'<{where}/first>; rel="first", <{link}>; rel="next"')]
        self.answer(200, json.dumps(entries[page * n:(page + 1) * n]).encode(), headers)

    def file(self, path):
        hub = self.server.hub
        if hub.redirect:
            return self.answer(302, b"", [("Location", hub.redirect + self.path)])
        data = hub.sent.get(path, hub.files.get(path))
        if data is None:
            return self.answer(404)
        start, code, headers = 0, 200, [("ETag", hub.etag)]
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        fresh = self.headers.get("If-Range", hub.etag) == hub.etag
        if wanted and not hub.ignore_range and fresh:
            start, code = int(wanted[1]), 206
            if start >= len(data):
                return self.answer(416)
            shown = start + hub.lie_range
            headers.append(("Content-Range", f"bytes {shown}-{len(data) - 1}/{len(data)}"))
        self.send_response(code)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        end = len(data)
        with hub.lock:
            if hub.cuts:
                end = min(end, start + hub.cuts.pop(0))
        for at in range(start, end, 64 << 10):
            if hub.held_at is not None and at >= hub.held_at:
                hub.go.wait(60)
            self.wfile.write(data[at:min(at + (64 << 10), end)])
            time.sleep(hub.pause)
        if end < len(data):
            self.close_connection = True


class Server(ThreadingHTTPServer):
    daemon_threads = True
    context = None

    def get_request(self):
        connection, address = super().get_request()
        if self.context:
            connection = self.context.wrap_socket(connection, server_side=True)
        return connection, address

    def handle_error(self, *_):
        if not isinstance(sys.exc_info()[1], OSError):  # clients that were killed are meant to be
            super().handle_error(*_)


class Hub:
    def __init__(self, files, context=None):
        self.files = files
        self.context = context
        self.sent = {}  # other bytes than the listing is of
        self.asked, self.refuse, self.cuts = [], [], []
        self.lock = threading.Lock()
        self.held_at, self.go = None, threading.Event()  # where files wait until they go on
        self.gated = self.git = self.ignore_range = False
        self.tree_body = self.next_host = self.redirect = self.lie_sha = None
        self.lie_size = self.lie_range = self.page_entries = self.pause = 0
        self.etag, self.revision = '"v1"', "main"

    def __enter__(self):
        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.hub, self.server.context = self, self.context
        self.url = f"{'https' if self.context else 'http'}://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.go.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def ranges(self):
        return [h.get("Range") for path, h in self.asked if "/resolve/" in path]

    def tokens(self):
        return [h.get("Authorization") for _, h in self.asked]
