#!/usr/bin/env bash
# Sets up, builds, and installs the C library (shared and static, header, pkg-config file), the command and the built-in pack under PREFIX.
# Run it as the user who builds: it asks for root where PREFIX needs it. The library is built by cargo-c, which is itself built once, into the cache.
# Installed programs go on using the libtorch they were built with: set LIBTORCH to one that all users can read where that matters.
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
staging=$(mktemp -d)
trap 'rm -rf "$staging"' EXIT
cargo_c_version=0.10.24   # the newest for Rust 1.95

say() { printf 'install: %s\n' "$*"; }
die() { printf 'install: %s\n' "$*" >&2; exit 1; }

cargo_c() {
    local rustc_version
    PATH=$cache/cargo-c/bin:$PATH
    if ! command -v cargo-cinstall >/dev/null; then
        rustc_version=$(rustc --version | cut -d ' ' -f 2)
        [ "$(printf '%s\n' 1.95 "$rustc_version" | sort -V | head -n 1)" = 1.95 ] ||
            die "Rust $rustc_version is too old for cargo-c $cargo_c_version (1.95): install a cargo-c that fits it, then run this again"
        say "building cargo-c $cargo_c_version into $cache/cargo-c (once; about ten minutes on two cores)"
        cargo install cargo-c --version "=$cargo_c_version" --locked --root "$cache/cargo-c" --target-dir "$cache/cargo-c/build"
        rm -rf "$cache/cargo-c/build"
    fi
}

# Copies what was built to its place.
put() {
    local target=$destination$prefix above
    above=$target
    while [ ! -e "$above" ]; do above=$(dirname "$above"); done
    local root=()
    if [ ! -w "$above" ]; then
        command -v sudo >/dev/null || die "$target is not yours to write: run as root with the same HOME, or choose another PREFIX"
        root=(sudo)
    fi
    "${root[@]}" mkdir -p "$target"
    "${root[@]}" cp -R "$staging$prefix/." "$target/"
    if [ -z "$destination" ] && { [ "$(id -u)" = 0 ] || [ ${#root[@]} -gt 0 ]; } && command -v ldconfig >/dev/null; then
        "${root[@]}" ldconfig
    fi
}

[[ $prefix == /* ]] || die "PREFIX=$prefix: expected an absolute path"
[ -z "${SUDO_USER:-}" ] || die "run it without sudo, as the user who builds: it asks for root where $prefix needs it"
scripts/setup.sh
cargo_c
options=(--release --prefix "$prefix" --libdir "$prefix/lib" --destdir "$staging")
[ "${DECODER_ONLY:-0}" = 1 ] && options+=(--no-default-features)
# The library looks for its pack below the prefix it was built for.
export PREFIX=$prefix
EFFIGY_INSTALL=1 cargo cinstall "${options[@]}"
install -D -m 644 assets/builtin.safetensors "$staging$prefix/share/effigy/builtin.safetensors"
if [ "${DECODER_ONLY:-0}" != 1 ]; then
    cargo build --release
    install -D -m 755 "${CARGO_TARGET_DIR:-target}/release/effigy" "$staging$prefix/bin/effigy"
fi
chmod -R go+rX "$staging"
put
say "done; programs find it with: pkg-config --cflags --libs effigy (PKG_CONFIG_PATH=$prefix/lib/pkgconfig where that is not a usual place)"
