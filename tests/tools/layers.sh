#!/usr/bin/env bash
# scripts/lint-layers finds each kind of trespass, planted in a tree of its own.
set -u
root=$(cd "$(dirname "$0")/../.." && pwd)
trap 'rm -rf "$tree"' EXIT

fresh_tree() {
    rm -rf "${tree:-}"
    tree=$(mktemp -d)
    mkdir -p "$tree"/src/{base,log,server} "$tree"/tests/{log,fuzz,support}
    echo 'set(RF_MODULES base log server)' >"$tree/CMakeLists.txt"
    local module
    for module in base log server; do
        echo "int rf_${module}_f(void);" >"$tree/src/$module/$module.h"
        printf '#include "%s/%s.h"\n' $module $module >"$tree/src/$module/$module.c"
    done
    echo 'int rfi_log_g(void);' >"$tree/src/log/log_int.h"
    printf '#include "log/log_int.h"\n' >>"$tree/src/log/log.c"
    printf '#include "base/base.h"\n#include <uv.h>\n' >>"$tree/src/server/server.c"
    printf '#include "log/log_int.h"\n' >"$tree/tests/log/test_log.c"
    printf '#include "log/log_int.h"\nint x(void) { return rfi_log_g(); }\n' >"$tree/tests/fuzz/fuzz_log.c"
}

expect() { # outcome name, words of the finding; the plant is on stdin as FILE: TEXT
    local name=$1 want=$2 file text out st
    fresh_tree
    while IFS='|' read -r file text; do
        mkdir -p "$(dirname "$tree/$file")"
        printf '%s\n' "$text" >>"$tree/$file"
    done
    out=$("$root/scripts/lint-layers" "$tree" 2>&1)
    st=$?
    if [ -z "$want" ] && [ $st -eq 0 ]; then
        echo "ok $name"
    elif [ -n "$want" ] && [ $st -eq 1 ] && [[ $out == *"$want"* ]]; then
        echo "ok $name"
    else
        echo "not ok $name - exit $st, said: $out"
    fi
}

expect layers__clean_tree__passes "" </dev/null
expect layers__upward_include__is_found "src/log/log.c:3: upward include: log must not know server" \
    <<<'src/log/log.c|#include "server/server.h"'
expect layers__upward_include_in_header__is_found "src/base/base.h:2: upward include" \
    <<<'src/base/base.h|#  include "log/log.h"'
expect layers__upward_include_in_test__is_found "tests/log/test_log.c:2: upward include" \
    <<<'tests/log/test_log.c|#include "server/server.h"'
expect layers__others_private_header__is_found "log/log_int.h is private to log" \
    <<<'src/server/server.c|#include "log/log_int.h"'
expect layers__private_header_in_support__is_found "log/log_int.h is private to log" \
    <<<'tests/support/s.c|#include "log/log_int.h"'
expect layers__others_private_name__is_found "rfi_log_g is private to log" \
    <<<'src/server/server.c|extern int rfi_log_g(void);'
expect layers__private_name_in_comment__passes "" \
    <<<'src/server/server.c|/* unlike rfi_log_g */'
expect layers__private_name_in_public_header__is_found "rfi_log_h in a public header" \
    <<<'src/log/log.h|int rfi_log_h(void);'
expect layers__second_public_header__is_found "a second public header" \
    <<<'src/log/segment.h|int rf_log_segment(void);'
expect layers__unknown_module__is_found "unknown module: add web" \
    <<<'src/web/web.h|int rf_web(void);'
expect layers__foreign_library__is_found "uv.h belongs to server" \
    <<<'src/log/log.c|#include <uv.h>'
expect layers__json_in_base__is_found "yyjson.h is not for base" \
    <<<'src/base/base.c|#include <yyjson.h>'
expect layers__bare_include__is_found 'write "log/log_int.h"' \
    <<<'src/log/log.c|#include "log_int.h"'
