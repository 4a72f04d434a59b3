//! Builds the programs of bindings/ against the library that is under test.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Where cargo leaves the libraries of this build.
pub fn libraries() -> PathBuf {
    std::env::current_exe().unwrap().parent().unwrap().to_owned()
}

/// Compiles `source`, a path in the repository in C99 or C++11, to `program` without a warning.
pub fn compile(source: &str, program: &Path) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    compile_with(&root.join(source), &[&root.join("include"), &root.join("bindings/cpp")], &[], program);
}

/// [`compile`] with headers from these folders and more flags.
pub fn compile_with(source: &Path, headers: &[&Path], flags: &[&str], program: &Path) {
    let libraries = libraries();
    let (compiler, dialect) =
        if source.extension().is_some_and(|end| end == "cpp") { ("c++", "-std=c++11") } else { ("cc", "-std=c99") };
    let built = Command::new(compiler)
        .args([dialect, "-Wall", "-Wextra", "-pedantic", "-Werror"])
        .args(flags)
        .args(headers.iter().flat_map(|folder| [Path::new("-I"), folder]))
        .arg(source)
        .arg("-o")
        .arg(program)
        .arg("-L")
        .arg(&libraries)
        .arg("-leffigy")
        .arg(format!("-Wl,-rpath,{}", libraries.display()))
        .output()
        .expect("compilers are part of the set-up");
    // Cargo names this library the same for every feature set, and does not notice when another set replaced it.
    let hint = "if functions are missing, the library is of another feature set: touch src/lib.rs";
    assert!(built.status.success(), "{}: {hint}\n{}", source.display(), String::from_utf8_lossy(&built.stderr));
}
