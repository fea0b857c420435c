"""What tests of tenants ask the server."""
import json

import server

MODEL = "tiny-q8_0"
STORY = "Once upon a time"


def ask(s, key, path, body=None, headers=None, expect=200):
    """The answer's JSON, head and status."""
    status, text, head = s.ask(path, body, key, headers)
    assert expect is None or status == expect, (status, text)
    return json.loads(text), head, status


def chat(s, key, text=STORY, expect=200, **more):
    body = {"model": MODEL, "messages": [{"role": "user", "content": text}], "max_tokens": 8,
            "temperature": 0, **more}
    return ask(s, key, "/v1/chat/completions", body, expect=expect)


def rows(s, tenant):
    return s.admin("GET", f"/admin/requests?tenant={tenant}&limit=1000")["rows"]


def used(s, tenant):
    """Requests, prompt and completion tokens of a tenant in the ledger."""
    found = s.admin("GET", f"/admin/usage?tenant={tenant}&group_by=tenant")["rows"]
    if not found:
        return (0, 0, 0)
    return tuple(found[0][k] for k in ("requests", "prompt_tokens", "completion_tokens"))


def settled(s, tenant, n):
    """Waits until n rows of the tenant are in the ledger."""
    assert server.until(lambda: used(s, tenant)[0] >= n), (used(s, tenant), n)
    return rows(s, tenant)
