#!/usr/bin/env bash
# scripts/setup refuses what does not have the pinned hash, and is quick when nothing is missing.
# In a tree of its own with a false npm: no network, and nothing of the machine is changed.
set -u
root=$(cd "$(dirname "$0")/../.." && pwd)
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
mkdir -p "$tree/scripts" "$tree/bin"
cp "$root/scripts/setup" "$tree/scripts/"

verdict() { # name, status of the check, what was seen
    if [ "$2" -eq 0 ]; then echo "ok $1"; else echo "not ok $1 - $3"; fi
}

# An npm that "downloads" what nobody pinned.
cat >"$tree/bin/npm" <<'END'
#!/bin/sh
while [ $# -gt 0 ]; do [ "$1" = --pack-destination ] && to=$2; shift; done
echo 'not the real thing' | gzip >"$to/x-1.0.0.tgz"
END
chmod +x "$tree/bin/npm"

out=$(PATH=$tree/bin:$PATH "$tree/scripts/setup" 2>&1)
st=$?
[ $st -eq 1 ] && [[ $out == *"REFUSED duckdb@"*"SHA-512"* ]]
verdict setup__wrong_hash__is_refused $? "exit $st: $out"
[ -z "$(find "$tree/.deps" -name '*.tgz' -o -name '*.stamp' -o -name '*.h')" ]
verdict setup__wrong_hash__leaves_nothing_of_it $? "$(find "$tree/.deps" -type f)"

printf '#!/bin/sh\necho no network >&2\nexit 1\n' >"$tree/bin/npm"
out=$(PATH=$tree/bin:$PATH "$tree/scripts/setup" 2>&1)
st=$?
[ $st -eq 1 ] && [[ $out == *"no network"*"npm pack duckdb@"*"failed"* ]]
verdict setup__no_network__says_so $? "exit $st: $out"

out=$("$tree/scripts/setup" --check 2>&1)
st=$?
[ $st -eq 1 ] && [[ $out == *"missing in .deps/: header engine"* ]]
verdict setup__check__names_what_is_missing $? "exit $st: $out"

printf '#!/bin/sh\ncase $1 in -m) echo riscv64;; *) echo Linux;; esac\n' >"$tree/bin/uname"
chmod +x "$tree/bin/uname"
out=$(PATH=$tree/bin:$PATH "$tree/scripts/setup" 2>&1)
st=$?
rm "$tree/bin/uname"
[ $st -eq 1 ] && [[ $out == *"riscv64: only x86_64"* ]]
verdict setup__other_machine__is_refused $? "exit $st: $out"

# The real tree has all of it by now.
began=$(date +%s%N)
out=$("$root/scripts/setup" 2>&1)
st=$?
took_ms=$((($(date +%s%N) - began) / 1000000))
[ $st -eq 0 ] && [[ $out == *"nothing is missing"* ]] && [ $took_ms -lt 1000 ]
verdict setup__nothing_missing__is_quick $? "exit $st after $took_ms ms: $out"
