"""Calls under /admin, for tests: over the server's socket, or with a key over its port.

Standard library only."""
import http.client
import json
import os
import socket

ADMIN_KEY = "the-operators-own-key"


class Unix(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=60)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(self.path)


def state(s):
    return os.path.join(s.folder.name, "state")


SEEN = []  # every answer's text, but those that make a key


def raw(s, method, path, body=None, key=None, seen=True):
    """Status, headers and text; over the socket, or with a key over the port."""
    c = http.client.HTTPConnection(s.host, s.port, timeout=60) if key else \
        Unix(os.path.join(state(s), "admin.sock"))
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    c.request(method, path, body, headers)
    answer = c.getresponse()
    text = answer.read().decode()
    c.close()
    if seen:
        SEEN.append(text)
    return answer.status, answer.headers, text


def call(s, method, path, body=None, **more):
    """Status and JSON."""
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
    status, _, text = raw(s, method, path, body, **more)
    return status, json.loads(text)


def good(s, method, path, body=None, **more):
    status, answer = call(s, method, path, body, **more)
    assert status == 200, (method, path, body, status, answer)
    return answer


def bad(s, method, path, body=None, status=400, param=None, code=None):
    got, answer = call(s, method, path, body)
    assert got == status, (method, path, body, got, answer)
    error = answer["error"]
    assert error["message"] and error["type"] and error["request_id"], answer
    if param:
        assert (error["param"] or "").startswith(param), (method, path, body, answer)
    if code:
        assert error["code"] == code, (method, path, body, answer)
    return error


def make(s, name, **settings):
    return good(s, "POST", "/admin/tenants", {"id": name, **settings})


def make_key(s, tenant, **settings):
    return good(s, "POST", f"/admin/tenants/{tenant}/keys", settings, seen=False)


def holds(tenant, settings):
    for name, value in settings.items():
        if name == "limits":
            holds(tenant["limits"], value)
        else:
            assert tenant[name] == value, (name, tenant)


def complete(s, key):
    """The status of a completion of five tokens, and its usage."""
    c = http.client.HTTPConnection(s.host, s.port, timeout=60)
    c.request("POST", "/v1/completions",
              json.dumps({"prompt": "Once upon a time", "max_tokens": 5, "ignore_eos": True}),
              {"Authorization": f"Bearer {key}"})
    answer = c.getresponse()
    body = json.loads(answer.read())
    c.close()
    return answer.status, body.get("usage")
