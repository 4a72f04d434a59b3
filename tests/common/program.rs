//! Builds the programs of bindings/ against the library that is under test.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Where cargo leaves the libraries of this build.
pub fn libraries() -> PathBuf {
    std::env::current_exe().unwrap().parent().unwrap().to_owned()
}

/// Compiles `source`, a path in the repository in C99 or C++11, to `program` without a warning.
pub fn compile(source: &str, program: &Path) {
    let (root, libraries) = (Path::new(env!("CARGO_MANIFEST_DIR")), libraries());
    let (compiler, dialect) = if source.ends_with(".cpp") { ("c++", "-std=c++11") } else { ("cc", "-std=c99") };
    let built = Command::new(compiler)
        .args([dialect, "-Wall", "-Wextra", "-pedantic", "-Werror", "-I"])
        .arg(root.join("include"))
        .arg("-I")
        .arg(root.join("bindings/cpp"))
        .arg(root.join(source))
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
    assert!(built.status.success(), "{hint}\n{}", String::from_utf8_lossy(&built.stderr));
}
