#!/usr/bin/env python3
"""`realm tenants`, `keys`, `guests`, `models` and `usage` against a running server.

usage: admin_commands_test.py REALM GUEST.wasm

Prints TAP.  Needs Python's standard library.
"""
import csv
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import time

from admin_calls import ADMIN_KEY, complete, good, holds, make, make_key, raw, state
from server import Server, main, test

REALM, GUEST = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])


def realm(s, *args, status=0, env=None):
    """Standard output and error of a command that ends with the status."""
    at = () if "--state" in args or "--url" in args else ("--state", state(s))
    done = subprocess.run([REALM, *args, *at], capture_output=True, text=True, timeout=60,
                          check=False, env={**os.environ, **(env or {})})
    assert done.returncode == status, (args, done)
    if status:
        assert done.stdout == "" and done.stderr.count("\n") == 1, (args, done)
    return done.stdout, done.stderr


def table(text):
    """Rows by the titles; every cell begins or ends where its title does."""
    lines = text.splitlines()
    titles = re.split(r" {2,}", lines[0].strip())
    rows = []
    for line in lines[1:]:
        cells = re.split(r" {2,}", line.strip())
        assert len(cells) == len(titles), (line, titles)
        at = 0
        for title, value in zip(titles, cells):
            begin, start = lines[0].index(title, at and at - 1), line.index(value, at)
            assert begin == start or begin + len(title) == start + len(value), (text, value)
            at = start + len(value)
        rows.append(dict(zip(titles, cells)))
    return rows


@test
def command_tenants(s):
    make(s, "plain")
    _, told = realm(s, "tenants", "create", "shop", "--weight", "3", "--models",
                    "tiny-q8_0,other", "--requests-per-min", "60", "--tokens-per-min", "1000",
                    "--parallel", "2", "--budget", "5000/day", "--kv", "1GiB", "--max-tokens",
                    "100", "--default", "temperature=0.2,top_p=0.9")
    assert "realm keys create shop" in told, told
    holds(good(s, "GET", "/admin/tenants/shop"), {
        "weight": 3, "models": ["tiny-q8_0", "other"],
        "defaults": {"temperature": 0.2, "top_p": 0.9},
        "limits": {"requests_per_min": 60, "tokens_per_min": 1000, "parallel": 2,
                   "budget_tokens": 5000, "budget_window": "day", "kv_bytes_max": 1 << 30,
                   "max_tokens": 100}})
    for args in (("tenants",), ("tenants", "list"), ("tenants", "ls")):
        rows = {r["TENANT"]: r for r in table(realm(s, *args)[0])}
        assert rows["shop"]["WEIGHT"] == "3" and rows["shop"]["PARALLEL"] == "2", rows
        assert rows["shop"]["KV"] == "1 GiB" and rows["plain"]["BUDGET"] == "-", rows
        assert set(rows) == {t["id"] for t in good(s, "GET", "/admin/tenants")["tenants"]}
    assert json.loads(realm(s, "tenants", "--json")[0]) == good(s, "GET", "/admin/tenants")
    shown = json.loads(realm(s, "tenants", "set", "shop", "--budget", "none", "--models", "all",
                             "--json")[0])
    assert shown["limits"].get("budget_tokens") is None and shown.get("models") is None, shown
    assert '"temperature":0.2,' in raw(s, "GET", "/admin/tenants/shop")[2]
    told = realm(s, "tenants", "show", "shop")[0]
    assert '"temperature":0.2,' in told and re.search(r"^MODELS +all$", told, re.M), told
    realm(s, "tenants", "remove", "shop")
    assert "shop" in realm(s, "tenants", "show", "shop", status=1)[1]
    assert '"temperature":0.2,' in realm(s, "tenants", "audits")[0]
    told = realm(s, "tenants", "audits", "--limit", "1")[0].splitlines()
    assert len(told) == 2 and "shop" in told[1] and "socket" in told[1], told


@test
def command_keys(s):
    make(s, "acme")
    key, told = realm(s, "keys", "create", "acme", "--name", "web", "--expires", "30d")
    assert re.fullmatch(r"rlm_[0-9A-Za-z]{8}_[0-9A-Za-z]+\n", key), "the key alone"
    assert "only time" in told and key.strip() not in told, told
    name = key.split("_")[1]
    shown = good(s, "GET", "/admin/tenants/acme/keys")["keys"][0]
    assert abs(shown["expires_at"] - time.time() - 30 * 86400) < 120, shown
    row = table(realm(s, "keys", "list", "acme")[0])[0]
    assert (row["KEY"], row["NAME"], row["DISABLED"]) == (name, "web", "no"), row
    realm(s, "keys", "disable", name)
    assert table(realm(s, "keys", "list", "acme")[0])[0]["DISABLED"] == "yes"
    realm(s, "keys", "enable", name)
    realm(s, "keys", "disable", key.strip())  # whole, as whoever finds a lost one has it
    assert table(realm(s, "keys", "list", "acme")[0])[0]["DISABLED"] == "yes"
    realm(s, "keys", "enable", key.strip())
    new = realm(s, "keys", "rotate", "acme", name, "--after", "2h")[0].strip().split("_")[1]
    end = shown["expires_at"]
    keys = {k["id"]: k for k in good(s, "GET", "/admin/tenants/acme/keys")["keys"]}
    assert abs(keys[name]["expires_at"] - time.time() - 7200) < 120, keys
    assert (keys[new]["name"], keys[new]["expires_at"]) == ("web", end), keys
    told = realm(s, "keys", "rotate", "acme", "aaaaaaaa", status=1)[1]
    assert "realm keys list acme" in told and len(keys) == 2, told
    realm(s, "keys", "remove", new)
    realm(s, "keys", "remove", new, status=1)
    good(s, "PATCH", f"/admin/keys/{name}", {"expires_at": 1})
    assert "--expires" in realm(s, "keys", "rotate", "acme", name, status=1)[1]
    realm(s, "keys", "rotate", "acme", name, "--expires", "2099-12-31")
    assert len(good(s, "GET", "/admin/tenants/acme/keys")["keys"]) == 2


@test
def command_guests(s):
    make(s, "programmed")
    with open(GUEST, "rb") as file:
        digest = hashlib.sha256(file.read()).hexdigest()
    first = realm(s, "guests", "put", "programmed", GUEST)[0]
    assert digest in first and "generate" in first, first
    realm(s, "guests", "put", "programmed", GUEST, "--model", "tiny-q8_0")
    realm(s, "guests", "put", "programmed", GUEST, "--model", "tiny-q8_0")

    def answering():
        rows = table(realm(s, "guests", "list", "programmed")[0])
        return len(rows), {r["MODEL"]: int(r["VERSION"]) for r in rows if r["ANSWERS"] == "yes"}

    n, newest = answering()
    assert n == 3 and set(newest) == {"tiny-q8_0", "all"}, (n, newest)
    assert "SHA256" in realm(s, "guests", "rollback", "programmed", "--model", "tiny-q8_0")[0]
    _, older = answering()
    assert older == {**newest, "tiny-q8_0": newest["tiny-q8_0"] - 1}, (older, newest)
    realm(s, "guests", "rollback", "programmed", "--model", "tiny-q8_0", status=1)
    assert realm(s, "guests", "log", "programmed") == \
        ("", "(0 requests, 0 trapped, 0 stopped at a limit)\n")
    assert json.loads(realm(s, "guests", "log", "programmed", "--json")[0])["lines"] == []
    realm(s, "guests", "remove", "programmed", "--model", "tiny-q8_0")
    assert len(table(realm(s, "guests", "list", "programmed")[0])) == 1
    assert "no WebAssembly" in realm(s, "guests", "put", "programmed", __file__, status=1)[1]
    assert "nowhere.wasm" in realm(s, "guests", "put", "programmed", "nowhere.wasm", status=1)[1]


@test
def command_models(s):
    assert "tiny-q8_0" in [r["MODEL"] for r in table(realm(s, "models")[0])]
    realm(s, "models", "pin", "tiny-q8_0")
    assert table(realm(s, "models")[0])[0]["PINNED"] == "yes"
    realm(s, "models", "unpin", "tiny-q8_0")
    assert "none" in realm(s, "models", "load", "none", status=1)[1]


@test
def command_usage(s):
    make(s, "spender")
    assert complete(s, make_key(s, "spender")["key"])[0] == 200
    answer = good(s, "GET", "/admin/usage?group_by=tenant,model,day")
    args = ("usage", "--by", "tenant,model,day", "--from", "3650d")
    assert json.loads(realm(s, *args, "--json")[0]) == answer
    rows = table(realm(s, *args)[0])
    spent = [r for r in rows if r["TENANT"] == "spender"]
    assert [(r["REQUESTS"], r["COMPLETION"]) for r in spent] == [("1", "5")], rows
    assert len(rows) == len(answer["rows"]), (rows, answer)
    read = list(csv.DictReader(io.StringIO(realm(s, *args, "--csv")[0])))
    names = ["day", "tenant", "model", "requests", "prompt_tokens", "cached_tokens",
             "completion_tokens"]
    assert [[r[n] for n in names] for r in read] == \
        [[str(r[n]) for n in names] for r in answer["rows"]], (read, answer)
    assert realm(s, *args, "--csv")[0].splitlines()[0].split(",") == names
    assert json.loads(realm(s, "usage", "requests", "--limit", "5", "--json")[0])["rows"] == \
        good(s, "GET", "/admin/requests?limit=5")["rows"]
    for option in ("--from", "--to"):
        assert "7d" in realm(s, "usage", option, "never", status=2)[1]


@test
def commands_say_what_to_do(s):
    for name in ("tenants", "keys", "guests", "models", "usage"):
        text = realm(s, name, "--help")[0]
        assert "examples:" in text and f"realm {name}" in text, text
    for args in (("tenants", "frob"), ("tenants", "show"), ("tenants", "set", "plain"),
                 ("tenants", "list", "--weight", "2"), ("tenants", "create", "x", "--weight", "y"),
                 ("tenants", "create", "x", "--budget", "5"), ("keys",), ("guests",),
                 ("tenants", "create", "x", "--kv", "much"), ("models", "load"),
                 ("tenants", "create", "x", "--default", "a=1", "--default", "b=2"),
                 ("tenants", "create", "x", "--default", "nothing"), ("usage", "--json", "--csv"),
                 ("keys", "list", "plain", "--name", "x"), ("usage", "--limit", "3"),
                 ("keys", "create", "plain", "--expires", "tomorrow"),
                 ("keys", "create", "plain", "--expires", "2027-02-31"),
                 ("keys", "create", "plain", "--expires", "2020-01-01"),
                 ("keys", "create", "plain", "--expires", "30")):
        realm(s, *args, status=2)
    for option in ("--parallel", "--kv", "--budget"):
        told = realm(s, "tenants", "set", "plain", option, "0/day" if option == "--budget" else "0",
                     status=2)[1]
        assert "none" in told and "null" not in told, told
    told = realm(s, "tenants", "--state", "/nonexistent", status=1)[1]
    assert "/nonexistent/admin.sock" in told and "realm serve" in told, told
    realm(s, "tenants", "--state", state(s), "--url", s.url, status=2)
    realm(s, "tenants", "--url", s.url, status=2, env={"REALM_ADMIN_KEY": ""})
    told = realm(s, "tenants", "--url", s.url, status=1, env={"REALM_ADMIN_KEY": "wrong"})[1]
    assert "REALM_ADMIN_KEY" in told and "wrong" not in told, told
    out, _ = realm(s, "tenants", "--url", s.url + "/", env={"REALM_ADMIN_KEY": ADMIN_KEY})
    assert "plain" in out

if __name__ == "__main__":
    main(Server(REALM, env={"REALM_ADMIN_KEY": ADMIN_KEY}))
