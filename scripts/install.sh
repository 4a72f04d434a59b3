#!/usr/bin/env bash
# Installs the C library (shared and static, header, pkg-config file), the command and the built-in pack under PREFIX.
# Run scripts/setup.sh first, or both with `make install`. The library is built by cargo-c, which is itself built once, into the cache.
#
#   PREFIX        where to; default /usr/local
#   DESTDIR       put in front of every path, for packages
#   DECODER_ONLY  1: a library that decodes only (no OpenCV, no encoder), and no command
#   EFFIGY_CACHE  where cargo-c is kept; default ${XDG_CACHE_HOME:-~/.cache}/effigy
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

prefix=${PREFIX:-/usr/local}
destination=${DESTDIR:-}
cache=${EFFIGY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/effigy}
cargo_c_version=0.10.24   # the newest for Rust 1.95

say() { printf 'install: %s\n' "$*"; }

cargo_c() {
    PATH=$cache/cargo-c/bin:$PATH
    if ! command -v cargo-cinstall >/dev/null; then
        rustc_version=$(rustc --version | cut -d ' ' -f 2)
        if [ "$(printf '%s\n' 1.95 "$rustc_version" | sort -V | head -n 1)" != 1.95 ]; then
            say "Rust $rustc_version is too old for cargo-c $cargo_c_version (1.95): install one that fits it, then run this again" >&2
            exit 1
        fi
        say "building cargo-c $cargo_c_version into $cache/cargo-c (once; about ten minutes on two cores)"
        cargo install cargo-c --version "=$cargo_c_version" --locked --root "$cache/cargo-c" --target-dir "$cache/cargo-c/build"
        rm -rf "$cache/cargo-c/build"
    fi
}

options=(--release --prefix "$prefix" --libdir "$prefix/lib")
[ -n "$destination" ] && options+=(--destdir "$destination")
[ "${DECODER_ONLY:-0}" = 1 ] && options+=(--no-default-features)

cargo_c
# The library looks for its pack below the prefix it was built for.
export PREFIX=$prefix
EFFIGY_INSTALL=1 cargo cinstall "${options[@]}"
install -D -m 644 assets/builtin.safetensors "$destination$prefix/share/effigy/builtin.safetensors"
if [ "${DECODER_ONLY:-0}" != 1 ]; then
    cargo build --release
    install -D -m 755 "${CARGO_TARGET_DIR:-target}/release/effigy" "$destination$prefix/bin/effigy"
fi
say "done; programs find it with: pkg-config --cflags --libs effigy (PKG_CONFIG_PATH=$prefix/lib/pkgconfig where that is not a usual place)"
