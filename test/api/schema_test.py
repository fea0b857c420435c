#!/usr/bin/env python3
"""schemathesis on /openapi.json: no request that fits it, or does not, is answered with 5xx.

usage: schema_test.py REALM SCHEMATHESIS [EXAMPLES]
"""
import os
import subprocess
import sys
import tempfile

import server
from server import test

SCHEMATHESIS = os.path.abspath(sys.argv[2])
EXAMPLES = sys.argv[3] if len(sys.argv) > 3 else "20"


@test
def no_server_errors(s):
    with tempfile.TemporaryDirectory() as folder:  # it writes where it stands
        run = schemathesis(s, folder)
    print("".join(f"# {line}\n" for line in run.stdout.splitlines()[-60:]))
    assert run.returncode == 0, run.stderr
    assert "nresolvable" not in run.stdout, "parts of the schema cannot be used"


def schemathesis(s, folder):
    return subprocess.run(
        [SCHEMATHESIS, "run", s.url + "/openapi.json", "--checks", "not_a_server_error",
         "--max-examples", EXAMPLES, "--seed", "1", "--phases", "examples,fuzzing", "--mode", "all",
         "--no-color", "--request-timeout", "60", "--workers", "2",
         "--suppress-health-check", "all"],
        capture_output=True, text=True, check=False, timeout=900, cwd=folder)


if __name__ == "__main__":
    if not os.path.exists(SCHEMATHESIS):
        print("1..0 # SKIP schemathesis is missing: run scripts/setup --test")
        sys.exit(0)
    server.main(server.Server(sys.argv[1]))
