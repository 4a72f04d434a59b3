#!/usr/bin/env bash
# Installs what effigy needs to build and run: system packages, libtorch, and the cargo setting that points at it.
# Safe to run again: what is there already is left alone. Debian and Ubuntu on x86-64.
#
#   setup.sh            what building and running need
#   setup.sh tests      also what only tests need; where that cannot be had, they are skipped
#
#   LIBTORCH            use this libtorch (2.11.0) and fetch none
#   EFFIGY_CACHE        where libtorch is kept; default ${XDG_CACHE_HOME:-~/.cache}/effigy
#   EFFIGY_TORCH        cpu or cuda; default: cuda if an NVIDIA driver answers, else cpu
#   EFFIGY_KEEP_WHEELS  1 keeps the downloaded wheels in $EFFIGY_CACHE/wheels
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${EFFIGY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/effigy}
wheels=$cache/wheels
torch_version=2.11.0   # the version tch 0.24 is made for
rust_minimum=1.88      # what the crates in Cargo.lock ask for (opencv, time)
# The wheel's Python tag only names a file: no Python code of it is used, so the system's Python may be any version.
# Asked for one platform, pip takes no older one, so each is named.
wheel_tags=(--only-binary=:all: --python-version 3.11 --implementation cp --platform manylinux2014_x86_64)
for minor in $(seq 28 -1 17); do wheel_tags+=(--platform "manylinux_2_${minor}_x86_64"); done

say() { printf 'setup: %s\n' "$*"; }
die() { printf 'setup: %s\n' "$*" >&2; exit 1; }

# at_least FOUND WANTED: true if version FOUND is not older than WANTED.
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "needs root for: $* (run as root, or install sudo)"
    fi
}

apt_install() {
    say "installing system packages: $*"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update -q
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@"
}

# not_installed NAME...: prints those packages that are not installed.
not_installed() {
    local name
    for name in "$@"; do
        dpkg-query -W -f='${Status}' "$name" 2>/dev/null | grep -q 'ok installed' || printf '%s\n' "$name"
    done
}

system_packages() {
    # opencv-data holds the face cascades; clang and libclang are for the opencv crate's generator; python3-pip fetches wheels.
    local wanted=(g++ make pkg-config ffmpeg libopencv-dev opencv-data clang libclang-dev python3 python3-pip unzip ca-certificates)
    if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
        say "no apt here: see to it that these (Debian names) are installed: ${wanted[*]}"
        return
    fi
    local missing
    mapfile -t missing < <(not_installed "${wanted[@]}")
    if [ ${#missing[@]} -gt 0 ]; then
        apt_install "${missing[@]}"
    else
        say "system packages are installed"
    fi
}

# For the checks of bindings/gstreamer and bindings/python.
test_packages() {
    local wanted=(libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev gstreamer1.0-tools gstreamer1.0-plugins-base
        python3-numpy) missing
    command -v apt-get >/dev/null || return 0
    mapfile -t missing < <(not_installed "${wanted[@]}")
    [ ${#missing[@]} -eq 0 ] || (apt_install "${missing[@]}") || say "these could not be installed, their checks will be skipped: ${missing[*]}"
}

rust_version() { rustc --version 2>/dev/null | cut -d ' ' -f 2; }

rust_toolchain() {
    local have candidate
    have=$(rust_version || true)
    if [ -n "$have" ] && command -v cargo >/dev/null && at_least "$have" "$rust_minimum"; then
        say "Rust $have is installed"
        return
    fi
    say "Rust ${have:-(none)} found, $rust_minimum or newer is needed"
    if command -v rustup >/dev/null; then
        rustup toolchain install stable --profile minimal --component rustfmt --component clippy
        rustup default stable
        return
    fi
    candidate=$(apt-cache policy rustc 2>/dev/null | sed -n 's/^ *Candidate: *\([0-9][0-9.]*\).*/\1/p' || true)
    if [ -z "$have" ] && [ -n "$candidate" ] && at_least "$candidate" "$rust_minimum"; then
        apt_install cargo rustc rust-clippy rustfmt
    elif apt-cache show rustup >/dev/null 2>&1; then
        apt_install rustup
        rustup default stable
    else
        die "this system's packages hold no Rust $rust_minimum: install it with rustup (see rust-lang.org), then run this again"
    fi
}

# fetch FILE-PATTERN REQUIREMENT: prints the path of the wheel, downloading it unless the wheel folder has it.
fetch() {
    local found
    found=$(find "$wheels" -maxdepth 1 -name "$1" | sort -V | tail -n 1)
    if [ -z "$found" ]; then
        say "downloading $2 to $wheels" >&2
        python3 -m pip download --quiet --no-deps "${wheel_tags[@]}" --dest "$wheels" "$2" >&2
        found=$(find "$wheels" -maxdepth 1 -name "$1" | sort -V | tail -n 1)
    fi
    [ -n "$found" ] || die "no wheel like $1 after downloading $2"
    printf '%s\n' "$found"
}

# A processor-only libtorch: of the published wheel, only the half that runs without a graphics card. libtorch_cpu still
# names two small CUDA libraries, so these come along; the wheel's libtorch.so needs the other half and is replaced
# by an empty library that needs libtorch_cpu.
install_cpu() {
    local part=$1.partial torch runtime cupti
    mkdir -p "$wheels"
    torch=$(fetch "torch-$torch_version-*.whl" "torch==$torch_version")
    runtime=$(fetch 'nvidia_cuda_runtime-13.*.whl' 'nvidia-cuda-runtime==13.*')
    cupti=$(fetch 'nvidia_cuda_cupti-13.*.whl' 'nvidia-cuda-cupti==13.*')
    rm -rf "$part" "$1"
    mkdir -p "$part"
    unzip -q "$torch" 'torch/lib/libc10.so' 'torch/lib/libtorch_cpu.so' 'torch/lib/libgomp.so.1' 'torch/include/*' -d "$part"
    mv "$part/torch/lib" "$part/torch/include" "$part"
    rmdir "$part/torch"
    unzip -q -j "$runtime" '*/libcudart.so.13' -d "$part/lib"
    unzip -q -j "$cupti" '*/libcupti.so.13' -d "$part/lib"
    echo | cc -x c -shared -fPIC -Wl,-soname,libtorch.so -o "$part/lib/libtorch.so" - \
        -L"$part/lib" -Wl,--no-as-needed -ltorch_cpu -Wl,-rpath,"\$ORIGIN" -Wl,--allow-shlib-undefined
    echo "$torch_version+cpu" >"$part/build-version"
    mv "$part" "$1"
    if [ "${EFFIGY_KEEP_WHEELS:-0}" != 1 ]; then
        rm -f "$torch" "$runtime" "$cupti"
        rmdir "$wheels" 2>/dev/null || true
    fi
}

# The whole wheel and the CUDA libraries it asks for, in a folder of their own.
install_cuda() {
    rm -rf "$1.partial" "$1"
    mkdir -p "$1.partial" "$wheels"
    PIP_ROOT_USER_ACTION=ignore python3 -m pip install --quiet --find-links "$wheels" "${wheel_tags[@]}" --target "$1.partial" "torch==$torch_version"
    rm -rf "$1.partial/triton"   # compiles kernels for Python programs; 0.6 GB that nothing here loads
    echo "$torch_version+cuda" >"$1.partial/torch/build-version"
    mv "$1.partial" "$1"
}

# The dynamic linker must find everything in the set itself, since programs start in clean environments.
check_libraries() {
    local missing
    missing=$(env -i LC_ALL=C ldd "$1/lib/libtorch.so" "$1/lib/libtorch_cpu.so" | grep 'not found' | sort -u || true)
    [ -z "$missing" ] || die "libtorch in $1 lacks libraries: $missing"
}

libtorch() {
    local kind=${EFFIGY_TORCH:-} set
    if [ -n "${LIBTORCH:-}" ]; then
        if [ ! -d "$LIBTORCH/lib" ] || [ ! -d "$LIBTORCH/include" ]; then
            die "LIBTORCH=$LIBTORCH: expected folders lib and include in it"
        fi
        say "using your libtorch in $LIBTORCH"
        return
    fi
    [ "$(uname -s)-$(uname -m)" = Linux-x86_64 ] ||
        die "no libtorch recipe for $(uname -s) $(uname -m): set LIBTORCH to a libtorch $torch_version"
    if [ -z "$kind" ]; then
        if command -v nvidia-smi >/dev/null && nvidia-smi -L 2>/dev/null | grep -q GPU; then kind=cuda; else kind=cpu; fi
    fi
    set=$cache/libtorch-$torch_version-$kind
    case $kind in
        cpu) LIBTORCH=$set ;;
        cuda) LIBTORCH=$set/torch ;;
        *) die "EFFIGY_TORCH=$kind: expected cpu or cuda" ;;
    esac
    if [ -f "$set/.complete" ]; then
        say "libtorch $torch_version ($kind) is installed in $set"
        return
    fi
    say "installing libtorch $torch_version ($kind) into $set"
    "install_$kind" "$set"
    check_libraries "$LIBTORCH"
    touch "$set/.complete"
}

# Lets plain `cargo build` find libtorch; a LIBTORCH in the environment still wins over this file. The run path of everything
# else is set by build.rs, whose linker settings cargo does not pass on to documentation tests.
cargo_setting() {
    local file=$root/.cargo/config.toml mark='# Written by scripts/setup.sh; delete this line to keep your own changes.'
    if [ -f "$file" ] && ! grep -qxF "$mark" "$file"; then
        say "$file is yours and stays as it is; it needs: [env] LIBTORCH = \"$LIBTORCH\""
        return
    fi
    mkdir -p "$root/.cargo"
    cat >"$file.new" <<END
$mark
[env]
LIBTORCH = "$LIBTORCH"
[build]
rustdocflags = ["-C", "link-arg=-Wl,-rpath,$LIBTORCH/lib"]
END
    if cmp -s "$file.new" "$file"; then
        rm "$file.new"
    else
        mv "$file.new" "$file"
        say "wrote $file"
    fi
}

case ${1:-} in
    '' | tests) ;;
    *) die "argument $1: expected none, or tests" ;;
esac
system_packages
[ "${1:-}" != tests ] || test_packages
rust_toolchain
libtorch
cargo_setting
say "done: LIBTORCH=$LIBTORCH"
