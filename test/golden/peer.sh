#!/bin/sh
# Runs peer_test.py with the Python that has llama.cpp, or says why it is skipped.
#   peer.sh REALM MODEL TEXT
here=$(dirname "$(realpath "$0")")
python=${REALM_PEER:-$(realpath "$here/../..")/build-peer/bin/python}
if [ ! -x "$python" ]; then
    echo "1..0 # SKIP llama.cpp is not there: run scripts/setup --peer"
    exit 0
fi
PYTHONDONTWRITEBYTECODE=1 exec "$python" "$here/peer_test.py" "$@"
