#!/usr/bin/env bash
# Runs every check that a change must pass and ends with a summary; fails if one of them fails.
# Run scripts/setup.sh first, or both with `make test`. Arguments choose checks: scripts/check.sh format header
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

chosen=("$@")
results=()
failures=0

# wanted NAME: true if the check is to run.
wanted() {
    local name
    [ ${#chosen[@]} -eq 0 ] && return 0
    for name in "${chosen[@]}"; do [ "$name" = "$1" ] && return 0; done
    return 1
}

# check NAME COMMAND...: runs the command and notes how it went. Status 77 means skipped.
check() {
    local name=$1 begun=$SECONDS status=0 word
    shift
    wanted "$name" || return 0
    printf '\n=== %s: %s\n' "$name" "$*"
    "$@" || status=$?
    case $status in
        0) word=ok ;;
        77) word=skipped ;;
        *) word=FAILED; failures=$((failures + 1)) ;;
    esac
    results+=("$(printf '%-8s %5d s  %s' "$word" $((SECONDS - begun)) "$name")")
}

# Tests run side by side, one per core: threads of libtorch within them would only get into each other's way.
export OMP_NUM_THREADS=1

# No incremental files on a first build: most machines that check make no second one, which would build this crate anew.
[ -d "${CARGO_TARGET_DIR:-target}/debug" ] || export CARGO_INCREMENTAL=0

missing() { printf '%s is not installed: skipped\n' "$1"; return 77; }

# Feature sets from the lowest layer up; each must build alone.
features() {
    case $1 in
        none) echo --no-default-features ;;
        default) ;;
        *) echo --no-default-features --features "$1" ;;
    esac
}

lint() {
    local set args
    for set in none decode capi analysis default; do
        read -ra args < <(features "$set"; echo)
        printf 'clippy: features %s\n' "$set"
        cargo clippy --all-targets "${args[@]}" -- -D warnings || return 1
    done
}

# All tests are run in the sets `none` and default; in `decode` and `analysis` the library's own, and those of what is otherwise there.
tests() {
    local args
    read -ra args < <(features "$1"; echo)
    case $1 in
        none | default) ;;
        decode) args+=(--lib --test decode --test media --test hostile) ;;
        *) args+=(--lib) ;;
    esac
    cargo test --no-fail-fast "${args[@]}"
}

# What is shipped as a library that only decodes.
capi_tests() { cargo test --no-fail-fast --no-default-features --features capi --test abi --test capi --test capi_packets; }

documentation() { RUSTDOCFLAGS='-D warnings' cargo doc --no-deps; }

# The public header must compile alone, in the oldest dialects it promises.
header() {
    local strict=(-Wall -Wextra -pedantic -Werror -fsyntax-only -I include)
    echo '#include "effigy.h"' | cc -std=c99 "${strict[@]}" -x c - || return 1
    echo '#include "effigy.h"' | c++ -std=c++11 "${strict[@]}" -x c++ -
}

# The C and C++ programs must build without warnings, the C++ header also without exceptions, and start with an empty environment. What
# they do is tested by tests/capi.rs, tests/capi_programs.rs and tests/abi, with the Python binding where there is numpy.
c_programs() {
    local target program out
    # Together with a test the library is built from the same dependencies as for the tests, and is there already.
    cargo build --lib --bins --test header || return 1
    target=${CARGO_TARGET_DIR:-target}/debug
    out=$(mktemp -d) || return 1
    for program in bindings/c/*.c; do
        cc -std=c99 -Wall -Wextra -pedantic -Werror -I include "$program" -o "$out/$(basename "$program" .c)" \
            -L "$target" -leffigy -Wl,-rpath,"$(realpath "$target")" || return 1
    done
    for program in bindings/cpp/*.cpp; do
        c++ -std=c++11 -Wall -Wextra -pedantic -Werror -I include -I bindings/cpp "$program" \
            -o "$out/$(basename "$program" .cpp)" -L "$target" -leffigy -Wl,-rpath,"$(realpath "$target")" || return 1
    done
    echo '#include "effigy.hpp"' | c++ -std=c++11 -Wall -Wextra -pedantic -Werror -fsyntax-only -I include -I bindings/cpp \
        -DEFFIGY_NO_EXCEPTIONS -fno-exceptions -x c++ - || return 1
    env -i "$out/decode_ppm" --version || return 1
    if env -i "$out/decode_ppm" no-such.safetensors no-such.effigy "$out"; then
        echo 'decode_ppm: expected a failure for a missing pack'
        return 1
    fi
    env -i "$target/effigy" --version || return 1
    rm -rf "$out"
}

# The GStreamer plugin must build without warnings, and its elements do what they say.
gstreamer() {
    pkg-config --exists 'gstreamer-check-1.0 >= 1.20' 'gstreamer-video-1.0 >= 1.20' 2>/dev/null || { missing 'GStreamer 1.20 (development files)'; return; }
    command -v gst-launch-1.0 >/dev/null || { missing gst-launch-1.0; return; }
    cargo test --test gstreamer -- --ignored
}

# The advisory database cannot be fetched everywhere, so advisories are not part of this.
dependencies() {
    command -v cargo-deny >/dev/null || { missing cargo-deny; return; }
    cargo deny check bans licenses sources
}

shell_scripts() {
    command -v shellcheck >/dev/null || { missing shellcheck; return; }
    shellcheck scripts/*.sh .ci/run
}

check format cargo fmt --check
check shell shell_scripts
check dependencies dependencies
check header header
check lint lint
check test-none tests none
check test-decode tests decode
check test-capi capi_tests
check test-analysis tests analysis
check test-default tests default
check documentation documentation
check c c_programs
check gstreamer gstreamer

printf '\n=== summary (%d s)\n' "$SECONDS"
[ ${#results[@]} -gt 0 ] || { echo "no check is called: ${chosen[*]}"; exit 1; }
printf '%s\n' "${results[@]}"
if [ "$failures" -gt 0 ]; then
    printf '%d of %d checks failed\n' "$failures" ${#results[@]}
    exit 1
fi
echo 'all checks passed'
