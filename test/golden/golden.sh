#!/bin/sh
# Runs a test of this folder with the project's Python, or says why it is skipped.
#   golden.sh SCRIPT ARG...
here=$(dirname "$(realpath "$0")")
root=$(realpath "$here/../..")
python=$root/build-venv/bin/python
script=$1
shift
if [ ! -x "$python" ]; then
    echo "1..0 # SKIP build-venv/ is not there: run scripts/setup"
    exit 0
fi
export REALM_TEST_DATA="${REALM_TEST_DATA:-$root/../shared/data}"
PYTHONDONTWRITEBYTECODE=1 exec "$python" "$here/$script" "$@"
