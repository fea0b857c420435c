#!/usr/bin/env python3
"""A server that is killed under load: what its clients have had whole is in the ledger once, with
what they were told they used, and nothing is left open.   usage: kill_test.py REALM [TRIALS]

TRIALS are 12, or with REALM_E2E_FULL=1 (`make e2e`) 500."""
import http.client
import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

import server

CLIENTS = 8


class Trial:
    """One life of a server over a state folder, with clients until it is killed."""

    def __init__(self, realm, state, seed):
        self.rng = random.Random(seed)
        self.acknowledged = {}
        self.process = subprocess.Popen(
            [realm, "serve", "-m", server.TINY, "--port", "0", "--state", state],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        began = time.monotonic()
        line = self.process.stdout.readline()
        self.start_s = time.monotonic() - began
        self.url = re.fullmatch(r"listening on (http://\S+)\n", line).group(1)

    def ask(self, i):
        """One request after another; what came whole is acknowledged."""
        rng = random.Random(self.rng.random() + i)
        while True:
            stream = rng.random() < 0.5
            body = {"prompt": "Once upon a time", "stream": stream,
                    "max_tokens": rng.randint(1, 20),
                    "stream_options": {"include_usage": True} if stream else None}
            try:
                with urllib.request.urlopen(self.url + "/v1/completions",
                                            json.dumps(body).encode(), timeout=60) as answer:
                    text = answer.read().decode()
                    name = answer.headers["x-request-id"]
            except (OSError, http.client.HTTPException, ValueError):
                return  # it was killed in the middle
            if stream and "data: [DONE]" not in text:
                return
            blocks = [b[6:] for b in text.split("\n\n") if b.startswith("data: {")]
            usage = json.loads(blocks[-1] if stream else text)["usage"]
            self.acknowledged[name] = (usage["prompt_tokens"], usage["completion_tokens"])

    def run(self):
        threads = [threading.Thread(target=self.ask, args=(i,)) for i in range(CLIENTS)]
        for t in threads:
            t.start()
        time.sleep(self.rng.uniform(0.02, 0.5))
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        for t in threads:
            t.join()


def rows_of(realm, state, limit):
    """What the ledger says after a start, asked on the socket as administration does."""
    process = subprocess.Popen(
        [realm, "serve", "-m", server.TINY, "--port", "0", "--state", state],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    process.stdout.readline()
    try:
        out = subprocess.run([realm, "usage", "requests", "--state", state, "--limit", str(limit),
                              "--json"], check=True, stdout=subprocess.PIPE, text=True).stdout
        return json.loads(out)["rows"]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def left_open(state):
    """Reports have none of these, so that it is read in the database itself."""
    sql = sqlite3.connect(os.path.join(state, "realm.db"))
    try:
        return [name for name, in sql.execute("SELECT id FROM requests WHERE outcome = -1")]
    finally:
        sql.close()


def main():
    usual = 500 if os.environ.get("REALM_E2E_FULL") == "1" else 12
    realm, trials = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else usual
    total, slowest, wrong = 0, 0, []
    print("1..2")
    with tempfile.TemporaryDirectory() as folder:
        state = os.path.join(folder, "state")
        for seed in range(trials):
            trial = Trial(realm, state, seed)
            trial.run()
            slowest = max(slowest, trial.start_s)
            total += len(trial.acknowledged)
            rows = rows_of(realm, state, 1000)
            found = {}
            for row in rows:
                found.setdefault(row["request_id"], []).append(row)
            wrong += [f"seed {seed}: {name} is open" for name in left_open(state)]
            for name, used in trial.acknowledged.items():
                same = found.get(name, [])
                if len(same) != 1 or same[0]["outcome"] != "ok" or used != (
                        same[0]["prompt_tokens"], same[0]["completion_tokens"]):
                    wrong.append(f"seed {seed}: {name} {used}: {same}")
    for line in wrong[:20]:
        print("# " + line)
    print(f"# {trials} times killed, {total} answers acknowledged, {len(wrong)} wrong; the slowest "
          f"start {slowest:.2f} s")
    print(("ok" if not wrong else "not ok") + " 1 - what was acknowledged is in the ledger, once")
    print(("ok" if total > trials else "not ok") + " 2 - there was something to lose")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
