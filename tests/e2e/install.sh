#!/usr/bin/env bash
# `make install` gives a tree that works wherever it is put, built hardened.
set -u
cd "$(dirname "$0")/../.." || exit 1
unset MAKEFLAGS MAKELEVEL # those of the make that runs the tests
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT

ok() { echo "ok $1"; }
not_ok() { echo "not ok $1 - $2"; }

if ! make install DESTDIR="$stage" PREFIX=/opt/refold >"$stage/log" 2>&1; then
    cat "$stage/log"
    not_ok install__make_install__succeeds "see above"
    exit 1
fi
ok install__make_install__succeeds

# Away from where it was installed: nothing may depend on the path.
mv "$stage/opt/refold" "$stage/elsewhere"
program=$stage/elsewhere/bin/refold

version=$(sed -n 's/^project(refold VERSION \([0-9.]*\).*/\1/p' CMakeLists.txt)
said=$("$program" version 2>&1)
if [[ $said == *"$version"* ]]; then
    ok install__version__is_said
else
    not_ok install__version__is_said "wanted $version in: $said"
fi

for file in lib/refold/libduckdb.so share/refold/examples; do
    if [ -e "$stage/elsewhere/$file" ]; then
        ok "install__${file##*/}__is_there"
    else
        not_ok "install__${file##*/}__is_there" "$file is missing"
    fi
done

has() { # case, pattern, words for a failure
    if grep -q -- "$2" "$stage/elf"; then ok "$1"; else not_ok "$1" "$3"; fi
}
readelf -hdlW "$program" >"$stage/elf"
has install__program__is_position_independent 'Type: *DYN' "not a PIE"
has install__program__binds_at_start 'FLAGS.*NOW' "lazy binding: the GOT stays writable"
has install__program__has_relro GNU_RELRO "no RELRO segment"
has install__program__finds_its_library "RUNPATH.*\$ORIGIN/../lib/refold" "run path is not relative"
if grep -q 'NEEDED.*duckdb' "$stage/elf"; then
    not_ok install__program__does_not_load_duckdb_at_start "libduckdb.so is NEEDED: the write half would map it"
else
    ok install__program__does_not_load_duckdb_at_start
fi
