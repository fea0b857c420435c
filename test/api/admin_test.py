#!/usr/bin/env python3
"""The calls under /admin of a running server.

usage: admin_test.py REALM GUEST.wasm

Prints TAP.  Needs Python's standard library.
"""
import hashlib
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time

from admin_calls import (ADMIN_KEY, SEEN, bad, call, complete, good, holds, make, make_key, raw,
                         state)
from server import PATIENCE_S, Server, main, test, until

REALM, GUEST = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])


def module():
    with open(GUEST, "rb") as file:
        return file.read()


def audits(s, limit=1000):
    return good(s, "GET", f"/admin/audits?limit={limit}")["rows"]


# ---- tenants ----

FULL = {"weight": 7, "models": ["tiny-q8_0"], "defaults": {"temperature": 0.25},
        "limits": {"requests_per_min": 60, "tokens_per_min": 9000, "parallel": 3,
                   "budget_tokens": 500000, "budget_window": "day", "max_tokens": 300,
                   "kv_bytes_max": 1 << 30}}


@test
def tenants_live(s):
    plain = make(s, "plain")
    assert plain["id"] == "plain" and plain["weight"] == 1, plain
    full = make(s, "full", **FULL)
    holds(full, FULL)
    assert good(s, "GET", "/admin/tenants/full") == full
    shown = {t["id"]: t for t in good(s, "GET", "/admin/tenants")["tenants"]}
    assert shown["full"] == full and shown["plain"] == plain, shown
    changed = good(s, "PATCH", "/admin/tenants/full", {"weight": 2, "limits": {"parallel": 4}})
    holds(changed, {**FULL, "weight": 2, "limits": {**FULL["limits"], "parallel": 4}})
    lifted = good(s, "PATCH", "/admin/tenants/full",
                  {"models": None, "limits": {"requests_per_min": None}})
    assert lifted.get("models") is None, lifted
    assert lifted["limits"].get("requests_per_min") is None, lifted
    assert lifted["limits"]["parallel"] == 4, lifted
    good(s, "PATCH", "/admin/tenants/full", {"limits": {"budget_window": "month"}})
    assert good(s, "PATCH", "/admin/tenants/full", {"limits": None})["limits"] == {}
    holds(good(s, "PATCH", "/admin/tenants/full", {"limits": {"budget_tokens": 5}}),
          {"limits": {"budget_tokens": 5, "budget_window": "day"}})
    assert good(s, "DELETE", "/admin/tenants/full") == {"id": "full", "removed": True}
    for method in ("GET", "PATCH", "DELETE"):
        bad(s, method, "/admin/tenants/full", {} if method == "PATCH" else None, 404,
            code="not_found")
    assert "full" not in [t["id"] for t in good(s, "GET", "/admin/tenants")["tenants"]]


@test
def an_id_is_taken_once(s):
    make(s, "once")
    bad(s, "POST", "/admin/tenants", {"id": "once"}, param="id")


@test
def head_is_a_get_without_a_body(s):
    status, headers, text = raw(s, "HEAD", "/admin/tenants")
    assert status == 200 and text == "" and int(headers["Content-Length"]) > 0


# Every member with what it must not be.
NUMBERS = ["1", True, [], {}, 1.5, -1, 1e30]
WRONG = {
    "weight": NUMBERS + [0, 1001],
    "models": ["tiny", 1, {}, True, [1], [None], [""], ["x" * 300]],
    "defaults": ["x", 1, [], True, {"temperature": "hot"}, {"temperature": -1},
                 {"top_p": [1]}, {"top_k": 1.5}, {"stop": "x"}, {"colour": 1}, {"top_p": None}],
    "limits": ["x", 1, [], True, {"colour": 1}],
    "colour": [1, None],
    "limits.requests_per_min": NUMBERS,
    "limits.tokens_per_min": NUMBERS,
    "limits.parallel": NUMBERS,
    "limits.budget_tokens": NUMBERS,
    "limits.budget_window": ["week", "", 1, [], True],
    "limits.max_tokens": NUMBERS,
    "limits.kv_bytes_max": NUMBERS,
}


def body_with(member, value):
    outer, _, inner = member.partition(".")
    if not inner:
        return {outer: value}
    more = {"budget_tokens": 5} if inner == "budget_window" else {}
    return {outer: {inner: value, **more}}


@test
def wrong_members_are_named(s):
    before, told = make(s, "strict", **FULL), len(audits(s))
    for member, values in WRONG.items():
        for value in values:
            body = body_with(member, value)
            bad(s, "PATCH", "/admin/tenants/strict", body, param=member)
            bad(s, "POST", "/admin/tenants", {"id": "never", **body}, param=member)
    assert good(s, "GET", "/admin/tenants/strict") == before
    bad(s, "GET", "/admin/tenants/never", status=404)
    assert len(audits(s)) == told, "what was refused was audited as done"


@test
def wrong_ids_are_refused(s):
    for name in ("", "A", "a b", "../x", "-a", ".a", "_a", "a/b", "é", "x" * 65, 1, None, [], {},
                 True, "a\u0000b", "a\n"):
        bad(s, "POST", "/admin/tenants", {"id": name}, param="id")
    bad(s, "POST", "/admin/tenants", {}, param="id")
    make(s, "x" * 64)
    make(s, "0.a_b-c")


@test
def bodies_that_are_no_object(s):
    for body in (b"[]", b"1", b"{", b'{"id":"a","id":"b"}', b"\xff", b'"a"',
                 b'{"id":' + b"[" * 100 + b"]" * 100 + b"}"):
        bad(s, "POST", "/admin/tenants", body)
        bad(s, "PATCH", "/admin/tenants/plain", body)
        bad(s, "POST", "/admin/tenants/plain/keys", body)


# ---- keys ----

@test
def keys_live(s):
    make(s, "keyed")
    end = int(time.time()) + 3600
    key = make_key(s, "keyed", name="web", expires_at=end)
    match = re.fullmatch(r"rlm_([0-9A-Za-z]{8})_[0-9A-Za-z]+", key["key"])
    assert match and match[1] == key["id"], "the id is in the key"
    plain = make_key(s, "keyed")
    status, _, text = raw(s, "POST", "/admin/tenants/keyed/keys", b"", seen=False)
    assert status == 200 and json.loads(text)["key"] != plain["key"], text
    keys = {k["id"]: k for k in good(s, "GET", "/admin/tenants/keyed/keys")["keys"]}
    assert len(keys) == 3 and "key" not in keys[key["id"]], keys
    shown = keys[key["id"]]
    assert (shown["name"], shown["expires_at"], shown["disabled"]) == ("web", end, False), shown
    changed = good(s, "PATCH", f"/admin/keys/{key['id']}", {"disabled": True})
    assert changed["disabled"] is True and changed["id"] == key["id"], changed
    assert good(s, "PATCH", f"/admin/keys/{key['id']}", {"disabled": False})["disabled"] is False
    assert good(s, "DELETE", f"/admin/keys/{key['id']}") == {"id": key["id"], "removed": True}
    bad(s, "DELETE", f"/admin/keys/{key['id']}", status=404, code="not_found")
    assert len(good(s, "GET", "/admin/tenants/keyed/keys")["keys"]) == 2


WRONG_KEY = {
    "name": [1, [], {}, True, "x" * 1000],
    "expires_at": ["soon", [], {}, True, 1.5, -1],
    "disabled": ["yes", 1, [], {}],
}


@test
def wrong_members_of_keys_are_named(s):
    make(s, "strict-keys")
    key = make_key(s, "strict-keys")["id"]
    before = good(s, "GET", "/admin/tenants/strict-keys/keys")
    for member, values in WRONG_KEY.items():
        for value in values:
            bad(s, "PATCH", f"/admin/keys/{key}", {member: value}, param=member)
            if member != "disabled":
                bad(s, "POST", "/admin/tenants/strict-keys/keys", {member: value}, param=member)
    assert good(s, "GET", "/admin/tenants/strict-keys/keys") == before


@test
def ids_that_are_guessed(s):
    """A03: what follows an id that is known is nobody's, and keys of others do not show."""
    make(s, "mine")
    make(s, "theirs")
    key = make_key(s, "theirs")["id"]
    assert good(s, "GET", "/admin/tenants/mine/keys")["keys"] == []
    letters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    near = [key[:-1] + c for c in letters if c != key[-1]] + [key.swapcase(), key[:-1], key + "0"]
    for guess in near + ["0", "-1", "%00", "..", "a" * 4000]:
        for method in ("PATCH", "DELETE"):
            status, answer = call(s, method, f"/admin/keys/{guess}",
                                  {"disabled": True} if method == "PATCH" else None)
            assert status in (400, 404), (guess, status, answer)
            assert key not in json.dumps(answer).replace(guess, ""), answer
    assert [k["disabled"] for k in good(s, "GET", "/admin/tenants/theirs/keys")["keys"]] == [False]
    for path in ("", "/keys", "/guest"):
        bad(s, "GET", f"/admin/tenants/nobody{path}", status=404, code="not_found")
    bad(s, "POST", "/admin/tenants/nobody/keys", {}, 404, code="not_found")
    bad(s, "POST", "/admin/tenants/nobody/guest/rollback", None, 404, code="not_found")
    bad(s, "DELETE", "/admin/tenants/nobody/guest", None, 404, code="not_found")


# ---- programs ----


# (module (memory (export "memory") 1)
#   (func (export "generate") (param i32 i32 i32 i32) (result i32) unreachable))
TRAP = (b"\0asm\1\0\0\0" b"\1\x09\1\x60\4\x7f\x7f\x7f\x7f\1\x7f" b"\3\2\1\0" b"\5\3\1\0\1"
        b"\7\x15\2\6memory\2\0\x08generate\0\0" b"\x0a\5\1\3\0\0\x0b")


@test
def guests_live(s):
    make(s, "guested")
    wasm = module()
    other = wasm + b"\x00\x05\x04note"  # a custom section: another module that does the same
    first = good(s, "PUT", "/admin/tenants/guested/guest", wasm)
    assert first["sha256"] == hashlib.sha256(wasm).hexdigest(), first
    assert "memory" in first["exports"] and "generate" in first["exports"], first
    assert first["imports"] and all(i.startswith("env.realm_") for i in first["imports"]), first
    second = good(s, "PUT", "/admin/tenants/guested/guest", other)
    assert second["version"] > first["version"], (first, second)
    named = good(s, "PUT", "/admin/tenants/guested/guest?model=tiny-q8_0", wasm)
    listed = good(s, "GET", "/admin/tenants/guested/guest")["guests"]
    assert {g["version"] for g in listed} >= {second["version"], named["version"]}, listed
    back = good(s, "POST", "/admin/tenants/guested/guest/rollback")
    assert (back["version"], back["sha256"]) == (first["version"], first["sha256"]), back
    good(s, "DELETE", "/admin/tenants/guested/guest?model=tiny-q8_0")
    bad(s, "DELETE", "/admin/tenants/guested/guest?model=tiny-q8_0", status=404)
    good(s, "DELETE", "/admin/tenants/guested/guest")
    bad(s, "DELETE", "/admin/tenants/guested/guest", status=404)
    bad(s, "POST", "/admin/tenants/guested/guest/rollback", None, 404)


@test
def guests_are_heard(s):
    """How a program's requests went, and how they failed, is for those who look after it."""
    make(s, "loud")
    key = make_key(s, "loud")["key"]
    assert good(s, "GET", "/admin/tenants/loud/guest/log")["requests"] == 0
    good(s, "PUT", "/admin/tenants/loud/guest", module())
    assert complete(s, key)[0] == 200
    log = good(s, "GET", "/admin/tenants/loud/guest/log")
    assert (log["requests"], log["trapped"], log["running"]) == (1, 0, 0), log
    good(s, "PUT", "/admin/tenants/loud/guest", TRAP)
    assert complete(s, key)[0] == 502
    log = good(s, "GET", "/admin/tenants/loud/guest/log")
    assert (log["requests"], log["trapped"]) == (2, 1), log
    assert [line["from"] for line in log["lines"]] == ["host"] and log["lines"][0]["text"], log
    assert good(s, "GET", "/admin/tenants/plain/guest/log")["lines"] == []
    bad(s, "GET", "/admin/tenants/nobody/guest/log", status=404, code="not_found")


@test
def what_is_no_guest(s):
    """W05, W08: what is no module is refused with its reason."""
    make(s, "careful")
    wasm, told = module(), len(audits(s))
    bodies = [b"", b"\0asm", wasm[:len(wasm) // 2], b"\0asm\2\0\0\0" + wasm[8:],
              b"\0asm\x0d\0\1\0" + wasm[8:], b"\x7fELF" + bytes(4096), b"(module)",
              b"\0asm\1\0\0\0", os.urandom(4096)]
    for body in bodies:
        bad(s, "PUT", "/admin/tenants/careful/guest", body, 422, code="guest_invalid")
    bad(s, "PUT", "/admin/tenants/careful/guest?model=none", wasm, 404, param="model")
    bad(s, "PUT", "/admin/tenants/nobody/guest", wasm, 404, code="not_found")
    bad(s, "PUT", "/admin/tenants/careful/guest?model=%ff", wasm, param="model")
    assert good(s, "GET", "/admin/tenants/careful/guest")["guests"] == []
    assert len(audits(s)) == told


# ---- reports ----

@test
def reports_take_what_they_say(s):
    for query in ("", "?group_by=tenant", "?group_by=tenant,key,model,day", "?from=0&to=9999999999",
                  "?from=2026-02-28&to=2026-03-01T00:00:00Z", "?tenant=none&key=aaaaaaaa&model=x"):
        assert isinstance(good(s, "GET", "/admin/usage" + query)["rows"], list), query
    assert good(s, "GET", "/admin/usage?tenant=none&group_by=tenant")["rows"] == []
    for name, values in {
            "from": ["x", "-1", "2026-02-30", "2026-13-01", "2026-1-1", "1.5", "99999999999999",
                     "2026-02-01T25:00:00Z", "2026-02-01T00:00:00", "%ff"],
            "to": ["yesterday", "2026-00-10"],
            "group_by": ["hour", "tenant,", ",", "tenant,,key", "x" * 100],
            "tenant": ["x" * 65, "%00"], "key": ["x" * 9], "model": ["x" * 257]}.items():
        for value in values:
            bad(s, "GET", f"/admin/usage?{name}={value}", param=name)
    for path in ("/admin/requests", "/admin/audits"):
        assert len(good(s, "GET", f"{path}?limit=1")["rows"]) <= 1
        for value in ("0", "1001", "-1", "x", "1.5", "1e3", "99999999", "2026-01-01"):
            bad(s, "GET", f"{path}?limit={value}", param="limit")


@test
def old_requests_are_added_up(_):
    """By a reload that says so; reports stay as they are, but for what would part a day."""
    config = "tenants:\n  keep_days: %d\n"
    s = Server(REALM, config=config % 0)
    try:
        sql = sqlite3.connect(os.path.join(state(s), "realm.db"), timeout=30)
        day = int(time.time()) // 86400 * 86400 - 500 * 86400
        for i in range(300):
            sql.execute("INSERT INTO requests VALUES (NULL, ?, 'old', ?, 'chat', ?, 0, NULL, 'm',"
                        " '', ?, 0, 1, 0, 0, 0, NULL)", (f"req_{i}", f"k{i % 3}", day + i * 600, i))
        sql.commit()
        sql.close()
        next_day = day + 86400
        paths = [f"/admin/usage?group_by={groups}{more}"
                 for groups in ("tenant", "key,day", "model")
                 for more in ("", f"&from={next_day}", f"&to={next_day}&tenant=old")]
        before = [good(s, "GET", path) for path in paths]
        with open(os.path.join(s.folder.name, "realm.yaml"), "w", encoding="utf-8") as out:
            out.write(config % 400)
        s.process.send_signal(signal.SIGHUP)
        assert s.wait_for("realm_ledger_folded_rows_total", 300, PATIENCE_S) is not None
        done = until(lambda: [(a["who"], a["action"])
                              for a in good(s, "GET", "/admin/audits")["rows"]])
        assert done == [("signal", "config.reload")], done
        assert [good(s, "GET", path) for path in paths] == before
        assert good(s, "GET", "/admin/requests?tenant=old")["rows"] == []
        for name in ("from", "to"):
            bad(s, "GET", f"/admin/usage?{name}={day + 600}", param=name)
        out = subprocess.run([REALM, "usage", "--from", "600d", "--by", "tenant", "--csv",
                              "--state", state(s)], check=True, stdout=subprocess.PIPE, text=True)
        assert out.stdout.splitlines()[1].startswith("old,300,"), out.stdout
    finally:
        s.stop()


@test
def everything_is_audited(s):
    make(s, "watched")
    good(s, "PATCH", "/admin/tenants/watched", {"weight": 3}, key=ADMIN_KEY)
    key = make_key(s, "watched")["id"]
    good(s, "PATCH", f"/admin/keys/{key}", {"disabled": True})
    good(s, "DELETE", f"/admin/keys/{key}")
    good(s, "PUT", "/admin/tenants/watched/guest", module())
    good(s, "DELETE", "/admin/tenants/watched/guest")
    good(s, "DELETE", "/admin/tenants/watched", key=ADMIN_KEY)
    rows = audits(s, 8)
    assert [r["who"] for r in rows] == ["key"] + ["socket"] * 5 + ["key", "socket"], rows
    assert len({r["action"] for r in rows}) == 8, rows
    assert all(abs(r["at"] - time.time()) < 60 for r in rows), rows
    assert all("watched" in json.dumps(r) or key in json.dumps(r) for r in rows), rows


@test
def what_is_done_to_models_is_audited(s):
    for what in ("pin", "unpin", "unload", "load"):
        good(s, "POST", f"/admin/models/tiny-q8_0/{what}", key=ADMIN_KEY)
    good(s, "POST", "/admin/cache/clear")
    bad(s, "POST", "/admin/models/none/load", None, 404, code="model_not_found")
    rows = audits(s, 5)
    assert [(r["action"], r["who"]) for r in rows] == [
        ("cache.clear", "socket"), ("model.load", "key"), ("model.unload", "key"),
        ("model.unpin", "key"), ("model.pin", "key")], rows
    assert {r["subject"] for r in rows[1:]} == {"tiny-q8_0"}, rows


# ---- the door ----

@test
def methods(s):
    for method, path, allow in (("PUT", "/admin/tenants", "GET, POST"),
                                ("POST", "/admin/tenants/plain", "GET, PATCH, DELETE"),
                                ("PATCH", "/admin/tenants/plain/keys", "GET, POST"),
                                ("GET", "/admin/keys/aaaaaaaa", "PATCH, DELETE"),
                                ("POST", "/admin/tenants/plain/guest", "GET, PUT, DELETE"),
                                ("GET", "/admin/tenants/plain/guest/rollback", "POST"),
                                ("DELETE", "/admin/usage", "GET"),
                                ("GET", "/admin/models/tiny-q8_0/pin", "POST")):
        status, headers, text = raw(s, method, path, b"{}")
        assert (status, headers["Allow"]) == (405, allow), (method, path, status, text)
    for path in ("/admin/", "/admin/tenants/", "/admin/tenants/a/b",
                 "/admin/keys/", "/admin/nothing", "/admin/tenants/plain/guest/"):
        bad(s, "GET", path, status=404, code="not_found")


@test
def who_may(s):
    """A04: keys of tenants, and wrong ones, find nothing under /admin."""
    tenant_key = make_key(s, "plain")["key"]
    assert good(s, "GET", "/admin/tenants/plain", key=ADMIN_KEY)["id"] == "plain"
    for key in (tenant_key, ADMIN_KEY + "x", ADMIN_KEY[:-1], ""):
        for method, path in (("GET", "/admin/tenants"), ("POST", "/admin/tenants"),
                             ("DELETE", "/admin/tenants/plain"), ("GET", "/admin/nothing")):
            status, answer = call(s, method, path, {"id": "sneaked"}, key=key or " ")
            assert status in (401, 404), (key, method, path, status, answer)
    assert "sneaked" not in json.dumps(good(s, "GET", "/admin/tenants"))


@test
def models_are_loaded_and_pinned(s):
    def shown():
        return {m["id"]: m for m in good(s, "GET", "/admin/models")["data"]}["tiny-q8_0"]

    good(s, "POST", "/admin/models/tiny-q8_0/pin")
    assert shown()["pinned"] is True and shown()["state"] == "loaded"
    assert good(s, "POST", "/admin/models/tiny-q8_0/unpin")["pinned"] is False
    assert shown()["pinned"] is False
    good(s, "POST", "/admin/models/tiny-q8_0/unload")
    good(s, "POST", "/admin/models/tiny-q8_0/load")
    assert shown()["state"] == "loaded"
    for name in ("none", "a%2Fb", "a/b"):
        bad(s, "POST", f"/admin/models/{name}/load", None, 404, code="model_not_found")


@test
def usage_is_what_was_answered(s):
    make(s, "user")
    keys = [make_key(s, "user") for _ in range(2)]
    used = [complete(s, keys[i]["key"]) for i in (0, 1, 1)]
    assert [status for status, _ in used] == [200] * 3, used
    rows = good(s, "GET", "/admin/usage?tenant=user&group_by=key,model")["rows"]
    by_key = {r["key"]: r for r in rows}
    assert len(rows) == 2 and {r["model"] for r in rows} == {"tiny-q8_0"}, rows
    for key, answers in ((keys[0], used[:1]), (keys[1], used[1:])):
        row = by_key[key["id"]]
        assert row["requests"] == len(answers), rows
        for name in ("prompt_tokens", "completion_tokens"):
            assert row[name] == sum(usage[name] for _, usage in answers), (row, answers)
    listed = good(s, "GET", "/admin/requests?tenant=user&limit=2")["rows"]
    assert [r["key"] for r in listed] == [keys[1]["id"]] * 2, listed
    assert all(r["outcome"] == "ok" and r["completion_tokens"] == 5 for r in listed), listed
    today = good(s, "GET", f"/admin/usage?tenant=user&from={int(time.time()) + 60}")["rows"]
    assert sum(r["requests"] for r in today) == 0, today


@test
def a_key_ends_at_once(s):
    make(s, "ending")
    key = make_key(s, "ending")
    assert complete(s, key["key"])[0] == 200
    good(s, "PATCH", f"/admin/keys/{key['id']}", {"disabled": True})
    assert complete(s, key["key"])[0] == 401
    good(s, "PATCH", f"/admin/keys/{key['id']}", {"disabled": False})
    assert complete(s, key["key"])[0] == 200
    good(s, "DELETE", "/admin/tenants/ending")
    assert complete(s, key["key"])[0] == 401


@test
def a_key_is_shown_once(s):
    """Neither it nor its secret is in the state folder, the log or any answer."""
    made = [make_key(s, "plain", name="secret")["key"] for _ in range(3)]
    for path in ("/admin/tenants/plain/keys", "/admin/audits?limit=1000", "/admin/requests",
                 "/admin/tenants", "/admin/usage?group_by=key"):
        good(s, "GET", path)
    call(s, "GET", "/admin/tenants", key=made[0])
    files = [os.path.join(folder, name) for folder, _, names in os.walk(state(s)) for name in names
             if not name.endswith(".sock")]
    assert any(name.endswith("realm.db") for name in files), files
    held = {"answers": "\n".join(SEEN).encode(), "log": s.text().encode()}
    for name in files:
        with open(name, "rb") as file:
            held[name] = file.read()
    for key in made:
        secret = key.split("_")[2]
        for place, text in held.items():
            assert key.encode() not in text, f"a key is in {place}"
            assert secret[:32].encode() not in text, f"a secret is in {place}"
            assert ADMIN_KEY.encode() not in text, f"the operator's key is in {place}"

if __name__ == "__main__":
    main(Server(REALM, env={"REALM_ADMIN_KEY": ADMIN_KEY}))
