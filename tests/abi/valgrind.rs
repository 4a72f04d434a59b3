//! C programs under valgrind's memcheck, by hand: `scripts/valgrind.sh`. Unlike AddressSanitizer it sees every access of the library and
//! of libtorch, and the use of bytes that nobody has written.

use std::fs::File;
use std::process::Stdio;

use super::*;
use effigy::decode::{DecodeOptions, Decoder};
use effigy::pack::Pack;

/// What a program ends with if memcheck has found something, which none of them uses.
const FOUND: i32 = 99;

/// Crops for `loopback`, raw RGB.
fn crops(pack: &Path) -> Vec<u8> {
    let pack = Pack::load(pack).unwrap();
    let mut decoder = Decoder::new(&pack, &room::own_identity(1), &DecodeOptions::default()).unwrap();
    (0..FRAMES).flat_map(|number| decoder.render(&room::params(number)).unwrap().data).collect()
}

fn check(program: &Path, arguments: &[PathBuf], input: &Path) {
    let done = Command::new("valgrind")
        .args([
            "--quiet",
            "--leak-check=full",
            "--show-leak-kinds=definite",
            "--errors-for-leak-kinds=definite",
            "--num-callers=40",
        ])
        .arg(format!("--error-exitcode={FOUND}"))
        .arg(format!("--suppressions={}", root().join("tests/valgrind.supp").display()))
        .arg(program)
        .args(arguments)
        .env("OMP_NUM_THREADS", "1")
        .stdin(File::open(input).unwrap())
        .stdout(Stdio::null())
        .output()
        .expect("valgrind is installed: scripts/valgrind.sh asks for it");
    let words = String::from_utf8_lossy(&done.stderr);
    println!("{}: {}\n{words}", program.display(), done.status);
    assert_ne!(done.status.code(), Some(FOUND), "memcheck has found something");
    assert!(done.status.success());
}

#[test]
#[ignore = "minutes: scripts/valgrind.sh"]
fn memcheck_finds_nothing_in_decode_ppm() {
    let room = Folder::new("valgrind-decode");
    let [pack, _, stream, _] = room.arguments();
    let program = room.build_source(&root().join("bindings/c/decode_ppm.c"), &root().join("include"), &["-g"]);
    check(&program, &[pack, stream.clone(), room.0.clone()], &stream);
}

#[test]
#[ignore = "minutes: scripts/valgrind.sh"]
fn memcheck_finds_nothing_in_loopback() {
    if !cfg!(feature = "analysis") {
        return;
    }
    let room = Folder::new("valgrind-loopback");
    let [pack, identity, ..] = room.arguments();
    let raw = room.0.join("crops.rgb");
    std::fs::write(&raw, crops(&pack)).unwrap();
    let program = room.build_source(&root().join("bindings/c/loopback.c"), &root().join("include"), &["-g"]);
    let words = "--aligned --threads 1 --rgb 32x32 --loss 30 --redundancy 2 --timing";
    let mut arguments: Vec<PathBuf> = words.split(' ').map(PathBuf::from).collect();
    arguments.extend([pack, identity]);
    check(&program, &arguments, &raw);
}

#[test]
#[ignore = "minutes: scripts/valgrind.sh"]
fn memcheck_finds_nothing_in_programs_of_every_version() {
    for (_, folder) in versions() {
        let room = Folder::new("valgrind-abi");
        let program = room.build(&folder, &folder, &["-g"]);
        let arguments = room.arguments();
        check(&program, &arguments, &arguments[2]);
    }
}
