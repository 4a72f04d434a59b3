//! `include/effigy.h` is generated from `src/capi` and committed; this test keeps the two the same.
#![cfg(feature = "capi")]

use std::path::Path;

/// The header that belongs to the present sources.
fn generate() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(root.join("cbindgen.toml")).expect("cbindgen.toml is well-formed");
    // Starting at the module instead of the crate keeps cbindgen from asking cargo about the whole dependency tree.
    let builder = cbindgen::Builder::new().with_config(config).with_src(root.join("src/capi/mod.rs"));
    let mut text = Vec::new();
    builder.generate().expect("src/capi holds only what C can see").write(&mut text);
    String::from_utf8(text).expect("the header is UTF-8")
}

#[test]
fn the_committed_header_is_what_the_sources_give() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("include/effigy.h");
    let generated = generate();
    if std::env::var_os("EFFIGY_UPDATE_HEADER").is_some() {
        std::fs::write(&path, &generated).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = committed.lines().zip(generated.lines()).position(|(a, b)| a != b);
    assert!(
        committed == generated,
        "include/effigy.h is out of date from line {}: run EFFIGY_UPDATE_HEADER=1 cargo test --test header",
        differs.unwrap_or(committed.lines().count().min(generated.lines().count())) + 1
    );
}

#[test]
fn installed_files_have_the_version_of_the_interface() {
    let manifest = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    let (_, capi) = manifest.split_once("[package.metadata.capi]").unwrap();
    let version = format!("version = \"{}.{}.0\"\n", effigy::capi::ABI_VERSION / 1000, effigy::capi::ABI_VERSION % 1000);
    // The library's and that of the pkg-config file.
    assert_eq!(capi.matches(&version).count(), 2, "{capi}");
}
