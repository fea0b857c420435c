#!/bin/sh
# Runs golden_test.py with the project's Python, or says why it is skipped.
#   golden.sh LOGITS [REALM]
here=$(dirname "$(realpath "$0")")
root=$(realpath "$here/../..")
data=${REALM_TEST_DATA:-$root/../shared/data}
python=$root/build-venv/bin/python
if [ ! -x "$python" ]; then
    echo "1..0 # SKIP build-venv/ is not there: run scripts/setup"
    exit 0
fi
if [ ! -f "$data/llama2c/stories260K.bin" ]; then
    echo "1..0 # SKIP no test data: set REALM_TEST_DATA"
    exit 0
fi
PYTHONDONTWRITEBYTECODE=1 exec "$python" "$here/golden_test.py" "$1" "$data" ${2:+"$2"}
