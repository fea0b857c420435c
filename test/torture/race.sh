#!/bin/sh
# usage: race.sh PROGRAM ARGUMENTS...
# In TAP: that ThreadSanitizer reports the race which the program has planted, and
# that the program itself found nothing wrong.
echo 1..1
output=$("$@" 2>&1)
status=$?
reported=$(printf '%s\n' "$output" | grep -A 3 'WARNING: ThreadSanitizer: data race' |
    grep -c '#0 count_unguarded')
if [ "$status" -eq 66 ] && [ "$reported" -gt 0 ] &&
    printf '%s\n' "$output" | grep -q '^ok 1'; then
    echo "ok 1 - the planted race is reported"
else
    echo "not ok 1 - the planted race is reported"
    printf '# exit status %s\n' "$status"
    printf '%s\n' "$output" | sed 's/^/# /'
fi
