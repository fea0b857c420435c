#!/usr/bin/env python3
"""Autobahn's cases 1 to 7 against a server of src/http that echoes.

usage: autobahn_test.py WS_ECHO RUNNER

RUNNER is Autobahn's own wstest, which Python 2.7 runs, or kosoku, which runs the same cases.
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile

GROUPS = [f"{group}.*" for group in range(1, 8)]
CASES = 246
GOOD = ("OK", "NON-STRICT", "INFORMATIONAL")
SECONDS_MAX = 240


def wstest(runner, folder, url):
    spec = os.path.join(folder, "spec.json")
    with open(spec, "w", encoding="utf-8") as out:
        json.dump({"outdir": os.path.join(folder, "reports"), "cases": GROUPS,
                   "exclude-cases": [], "exclude-agent-cases": {},
                   "servers": [{"agent": "realm", "url": url}]}, out)
    # Its packages lie where Python 2 looks for a user's.
    env = {**os.environ, "PYTHONUSERBASE": os.path.dirname(os.path.dirname(runner))}
    return [runner, "-m", "fuzzingclient", "-s", spec], env


def kosoku(runner, folder, url):
    cases = [word for group in GROUPS for word in ("-i", group)]
    address = url.removeprefix("ws://")
    return [runner, *cases, "-o", os.path.join(folder, "reports"), address], None


def run(echo, runner):
    """{case: result}"""
    how = {"wstest": wstest, "kosoku": kosoku}[os.path.basename(runner)]
    server = subprocess.Popen([echo], stdout=subprocess.PIPE, text=True)
    try:
        url = server.stdout.readline().removeprefix("listening on ").strip()
        with tempfile.TemporaryDirectory() as folder:
            command, env = how(runner, folder, url)
            done = subprocess.run(command, env=env, cwd=folder, text=True, timeout=SECONDS_MAX,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
            try:
                with open(os.path.join(folder, "reports", "index.json"), encoding="utf-8") as f:
                    return next(iter(json.load(f).values()))
            except OSError:
                sys.exit(f"{runner} wrote no report:\n{done.stdout[-3000:]}")
    finally:
        server.terminate()
        server.wait(10)


def main():
    echo, runner = sys.argv[1:]
    if not shutil.which(runner):
        print(f"1..0 # SKIP {runner} is not there: scripts/setup --test makes it, if it can")
        return
    results = run(echo, os.path.realpath(runner))
    print(f"1..{len(results) + 1}")
    for at, (case, result) in enumerate(sorted(results.items()), 1):
        said = result["behavior"], result["behaviorClose"]
        good = all(word in GOOD for word in said)
        print(f"{'ok' if good else 'not ok'} {at} - {case} {' '.join(said)}")
    whole = len(results) == CASES
    print(f"{'ok' if whole else 'not ok'} {len(results) + 1} - {len(results)} of {CASES} cases")


if __name__ == "__main__":
    main()
