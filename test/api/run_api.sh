#!/bin/sh
# Runs a test of test/api with its Python, or says why it is skipped.
#   run_api.sh PYTHON SCRIPT ARGS...
if ! command -v "$1" >/dev/null; then
    echo "1..0 # SKIP $1 is not there: run scripts/setup --test"
    exit 0
fi
PYTHONDONTWRITEBYTECODE=1 exec "$@"
