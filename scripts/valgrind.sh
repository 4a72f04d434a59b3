#!/usr/bin/env bash
# Runs the C programs (decode_ppm, loopback and those of tests/abi) under valgrind's memcheck and fails on bad accesses, unset values that decide
# something, and memory that is lost for certain. Minutes. Arguments go to cargo, such as a feature set.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
command -v valgrind >/dev/null || { echo 'valgrind is not installed (Debian: apt install valgrind)' >&2; exit 1; }
[ $# -gt 0 ] || set -- --no-default-features -F capi,analysis
exec cargo test --release "$@" --test abi -- --ignored --nocapture --test-threads 1 memcheck
