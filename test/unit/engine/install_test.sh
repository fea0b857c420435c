#!/bin/sh
# What gets installed is what a C programmer needs: realm_* alone is exported, and
# examples/generate.c builds against the installed headers with pkg-config's flags.
#   install_test.sh SOURCE_ROOT BUILD_ROOT LIBRARY MODEL
set -eu
source=$1 build=$2 library=$3 model=$4
prefix=$(mktemp -d)
trap 'rm -rf "$prefix"' EXIT

echo 1..6
strangers=$(nm -D --defined-only "$library" | awk '$3 !~ /^realm_/ { print $3 }')
[ -z "$strangers" ] && echo "ok 1 - exports realm_* alone" ||
    echo "not ok 1 - exports $strangers"

missing=
for name in $(sed -n 's/^REALM_API .*[ *]\(realm_[a-z_]*\)(.*/\1/p' "$source"/include/realm/*.h); do
    nm -D --defined-only "$library" | grep -q " T $name\$" || missing="$missing $name"
done
[ -z "$missing" ] && echo "ok 2 - exports what the headers declare" ||
    echo "not ok 2 - does not export$missing"

DESTDIR=$prefix meson install -C "$build" --no-rebuild --quiet >"$prefix/log" 2>&1 ||
    { cat "$prefix/log"; exit 1; }
pc=$(find "$prefix" -name realm.pc)
export PKG_CONFIG_PATH="${pc%/*}" PKG_CONFIG_SYSROOT_DIR="$prefix"
libdir=$prefix$(pkg-config --variable=libdir realm | sed "s|^$prefix||")
# shellcheck disable=SC2046
cc -Wall -Wextra -Werror -std=c11 "$source/examples/generate.c" -o "$prefix/generate" \
    $(pkg-config --cflags --libs realm) && echo "ok 3 - the example builds" ||
    echo "not ok 3 - the example does not build"

answer=$(LD_LIBRARY_PATH=$libdir "$prefix/generate" "$model" "Once upon a time" 2>"$prefix/said")
[ -n "$answer" ] && echo "ok 4 - the example answers" ||
    { sed 's/^/# /' "$prefix/said"; echo "not ok 4 - the example says nothing"; }

page=$(sed -n 's|^Documentation=file:.*/||p' "$source/deploy/realm.service")
[ -n "$page" ] && [ -n "$(find "$prefix" -path "*/doc/realm/$page")" ] &&
    echo "ok 5 - the page that the service names is there" ||
    echo "not ok 5 - deploy/realm.service names $page, which is not installed"

# systemd's @resources, which the service takes away.
taken='ioprio_set|mbind|migrate_pages|move_pages|nice|sched_set(affinity|attr|param|scheduler)'
taken="$taken|set_mempolicy(_home_node)?|setpriority|setrlimit"
given=$(sed -n 's/^SystemCallFilter=\([^@~]*\)$/\1/p' "$source/deploy/realm.service")
missing=
called=$(nm -D --undefined-only "$build/realm" | sed 's/.* //; s/@.*//' | grep -xE "$taken")
for name in $called; do
    case " $given " in *" $name "*) ;; *) missing="$missing $name" ;; esac
done
[ -z "$missing" ] && echo "ok 6 - the service may call what the program calls" ||
    echo "not ok 6 - deploy/realm.service takes away$missing"
