#!/usr/bin/env bash
# Runs the C programs (decode_ppm, loopback and those of tests/abi) under valgrind's memcheck and fails on bad accesses, unset values that decide
# something, and memory that is lost for certain. Minutes. Status 77 where valgrind is missing. Arguments go to cargo, such as a feature set.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
command -v valgrind >/dev/null || { echo 'valgrind is not installed: skipped'; exit 77; }
[ $# -gt 0 ] || set -- --no-default-features -F capi,analysis
exec cargo test --release "$@" --test abi -- --ignored --nocapture --test-threads 1 memcheck
