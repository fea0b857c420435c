#!/bin/sh
# Runs templates_test.py with the project's Python, or says why it is skipped.
#   templates.sh RENDER_TEMPLATE
here=$(dirname "$(realpath "$0")")
root=$(realpath "$here/../..")
python=$root/build-venv/bin/python
if [ ! -x "$python" ]; then
    echo "1..0 # SKIP build-venv/ is not there: run scripts/setup --test"
    exit 0
fi
PYTHONDONTWRITEBYTECODE=1 exec "$python" "$here/templates_test.py" "$1" \
    "${REALM_TEST_DATA:-$root/../shared/data}/templates"
