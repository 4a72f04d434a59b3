//! Linker settings. Input: `LIBTORCH` (a folder with `lib`), the same variable that torch-sys reads. Output: cargo directives
//! for the command, the C library, tests, examples and benches, which then start in an empty environment.

use std::env;
use std::path::{Path, PathBuf};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    println!("cargo:rerun-if-env-changed=LIBTORCH_LIB");
    let unix = env::var_os("CARGO_CFG_UNIX").is_some();
    if env::var_os("CARGO_FEATURE_DECODE").is_none() || !unix {
        return;
    }
    let linux = env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux");
    if linux {
        // The C functions of dependencies are for this library alone: exported, they would meet those of another library in a program.
        println!("cargo:rustc-cdylib-link-arg=-Wl,--exclude-libs,ALL");
    }
    // What is installed is named after its version (scripts/install.sh, by cargo-c).
    println!("cargo:rerun-if-env-changed=EFFIGY_INSTALL");
    if linux && env::var_os("EFFIGY_INSTALL").is_none() {
        // Without a soname a program linked by path would remember that path. It carries no version while the C interface
        // is young: programs ask effigy_abi_version() instead.
        println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libeffigy.so");
    }
    let Some(lib) = libtorch_lib() else { return };
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
    if linux && lib.join("libtorch_cuda.so").exists() {
        // Nothing refers to a symbol of the CUDA half: it registers itself when loaded, and linkers drop such libraries.
        println!("cargo:rustc-link-arg=-L{}", lib.display());
        println!("cargo:rustc-link-arg=-Wl,--push-state,--no-as-needed,-ltorch_cuda,--pop-state");
    }
}

/// The folder of libtorch's shared libraries, found in torch-sys's order of precedence.
fn libtorch_lib() -> Option<PathBuf> {
    let set = |name| env::var_os(name).map(PathBuf::from);
    if let Some(root) = set("LIBTORCH_LIB").or_else(|| set("LIBTORCH")) {
        return Some(root.join("lib"));
    }
    // A system-wide libtorch is on the dynamic linker's own path; saying so again does no harm.
    Path::new("/usr/lib/libtorch.so").exists().then(|| PathBuf::from("/usr/lib"))
}
