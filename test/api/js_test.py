#!/usr/bin/env python3
"""Runs js/openai_test.js against the real server.   usage: js_test.py REALM MODULES

MODULES: a node_modules folder with what js/package.json names.
"""
import os
import shutil
import subprocess
import sys
import tempfile

import server


def main():
    realm, modules = sys.argv[1:3]
    if not shutil.which("node") or not os.path.isdir(os.path.join(modules, "openai")):
        print("1..0 # SKIP node or its modules are missing: run scripts/setup --test")
        return 0
    here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "js")
    s = server.Server(realm, config=server.SMALL)
    # node looks for modules beside the script.
    with tempfile.TemporaryDirectory() as folder:
        for name in ("package.json", "openai_test.js"):
            shutil.copy(os.path.join(here, name), folder)
        os.symlink(os.path.abspath(modules), os.path.join(folder, "node_modules"))
        status = subprocess.run(["node", os.path.join(folder, "openai_test.js"), s.url],
                                timeout=300, check=False).returncode
    return 1 if s.stop() or status else 0


if __name__ == "__main__":
    sys.exit(main())
