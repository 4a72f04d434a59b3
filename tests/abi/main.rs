//! The C interface as programs of earlier versions know it: they still build, run and mean the same. `README.md` beside this file says what the folders hold.
#![cfg(all(feature = "capi", target_os = "linux"))]
// Reason: what is shared with the other tests of the interface calls it with raw pointers.
#![allow(unsafe_code)]

// Reason: the other tests use the rest of them.
#[allow(dead_code)]
#[path = "../common/program.rs"]
mod program;
#[allow(dead_code)]
#[path = "../capi_packets/room.rs"]
mod room;
mod valgrind;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use effigy::bitstream::{FrameRecord, StreamHeader, StreamIdentity, StreamWriter};
use effigy::frame::TimeBase;
use effigy::pack::fixture;
use program::{compile_with, libraries};

/// Frames of the file that programs decode.
const FRAMES: usize = 8;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A version of the interface and its folder, oldest first.
fn versions() -> Vec<(u32, PathBuf)> {
    let entries = std::fs::read_dir(root().join("tests/abi")).unwrap();
    let mut found: Vec<(u32, PathBuf)> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let (major, minor) = name.split_once('.').unwrap();
            (1000 * major.parse::<u32>().unwrap() + minor.parse::<u32>().unwrap(), path)
        })
        .collect();
    found.sort();
    assert_eq!(found[..2].iter().map(|(version, _)| *version).collect::<Vec<_>>(), [1000, 1001]);
    found
}

/// A folder of a test's own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("effigy-abi-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    /// What the programs are given: pack, identity, stream, packets.
    fn arguments(&self) -> [PathBuf; 4] {
        let paths = ["pack", "identity", "stream", "packets"].map(|name| self.0.join(name));
        fixture::write_tiny(&paths[0], 1).unwrap();
        let (pack, identity) = (room::own_pack(), room::own_identity(1).to_bytes().unwrap());
        std::fs::write(&paths[1], &identity).unwrap();
        let header = StreamHeader {
            pack: pack.hash(),
            resolution: room::SIDE as u32,
            time_base: TimeBase { num: 1, den: 25 },
            ..StreamHeader::default()
        };
        let mut writer = StreamWriter::new(Vec::new(), header, &StreamIdentity::inline(identity)).unwrap();
        for number in 0..FRAMES {
            writer.write_frame(&FrameRecord { pts: number as i64, params: room::params(number), placement: None }).unwrap();
        }
        std::fs::write(&paths[2], writer.finish().unwrap().0).unwrap();
        let (front, packets) = room::packets(8, 0);
        let framed = std::iter::once(&front).chain(&packets).flat_map(|bytes| {
            let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
            [&length[..], bytes].concat()
        });
        std::fs::write(&paths[3], framed.collect::<Vec<u8>>()).unwrap();
        paths
    }

    /// Builds the program in `folder` with the header in `include`.
    fn build(&self, folder: &Path, include: &Path, flags: &[&str]) -> PathBuf {
        self.build_source(&self.copy_of(folder).join("program.c"), include, flags)
    }

    fn build_source(&self, source: &Path, include: &Path, flags: &[&str]) -> PathBuf {
        let program = self.0.join(source.file_stem().unwrap());
        compile_with(source, &[include], flags, &program);
        program
    }

    /// The program's sources without their header, so that no other than the one asked for is found.
    fn copy_of(&self, folder: &Path) -> PathBuf {
        let copy = self.0.join("source");
        std::fs::create_dir_all(&copy).unwrap();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().is_some_and(|name| name != "effigy.h") {
                std::fs::copy(&path, copy.join(path.file_name().unwrap())).unwrap();
            }
        }
        copy
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs a program with nothing in its environment but `environment`.
fn run(program: &Path, arguments: &[PathBuf], environment: &[(&str, &str)]) -> Output {
    Command::new(program).args(arguments).env_clear().envs(environment.iter().cloned()).output().unwrap()
}

/// What the programs say at their end. From version 1.1 on: six frames, two to a packet.
fn words(version: u32) -> &'static str {
    match (version, cfg!(feature = "analysis")) {
        (1000, _) => "1.0: 8 frames of a file and of memory\n",
        (1001, true) => "1.1: 8 frames of a file, 6 of packets, 3 packets made\n",
        (1001, false) => "1.1: 8 frames of a file, 6 of packets, 0 packets made\n",
        (1002, true) => "1.2: 8 frames of a file, 6 of packets, 3 packets made\n",
        (1002, false) => "1.2: 8 frames of a file, 6 of packets, 0 packets made\n",
        (1003, true) => "1.3: 8 frames of a file, 6 of packets, 3 packets made\n",
        (1003, false) => "1.3: 8 frames of a file, 6 of packets, 0 packets made\n",
        (1004, true) => "1.4: 8 frames of a file, 6 of packets, 3 packets made\n",
        (1004, false) => "1.4: 8 frames of a file, 6 of packets, 0 packets made\n",
        (1005, true) => "1.5: 8 frames of a file, 6 of packets, 3 packets made\n",
        (1005, false) => "1.5: 8 frames of a file, 6 of packets, 0 packets made\n",
        _ => panic!("version {version} has a folder: say here what its program says"),
    }
}

#[track_caller]
fn assert_runs(version: u32, done: &Output) {
    let errors = String::from_utf8_lossy(&done.stderr);
    // Cargo names the library the same for every feature set, and does not notice when another set replaced it.
    let hint = "if the packets alone differ, the library is of another feature set: touch src/lib.rs";
    assert_eq!(String::from_utf8_lossy(&done.stdout), words(version), "{hint}\n{errors}");
    assert!(done.status.success(), "{:?}\n{errors}", done.status);
}

#[test]
fn programs_of_every_version_run_with_the_library_of_today() {
    for (version, folder) in versions() {
        let room = Folder::new("run");
        let program = room.build(&folder, &folder, &[]);
        assert_runs(version, &run(&program, &room.arguments(), &[]));
    }
}

#[test]
fn programs_of_every_version_build_with_the_header_of_today_and_find_members_and_constants_in_their_places() {
    for (version, folder) in versions() {
        let room = Folder::new("layout");
        let layout = |include: &Path| {
            let program = room.build(&folder, include, &[]);
            String::from_utf8(run(&program, &["--layout".into()], &[]).stdout).unwrap()
        };
        let then = layout(&folder);
        assert!(then.lines().count() > 15, "version {version}: {then}");
        assert_eq!(then, layout(&root().join("include")), "version {version}");
    }
}

/// A header without comments and line breaks, cut at semicolons.
fn declarations(header: &Path) -> BTreeSet<String> {
    let text = std::fs::read_to_string(header).unwrap();
    let mut code = String::new();
    for part in text.split("/*") {
        // The text before the first comment has no end of one.
        code.push_str(part.split_once("*/").map_or(part, |(_, after)| after));
        code.push(' ');
    }
    let lines = code.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join(" ");
    let joined = lines.split_whitespace().collect::<Vec<_>>().join(" ");
    joined.split(';').map(|part| part.trim().to_owned()).collect()
}

/// The functions among declarations: a name before its parenthesis.
fn functions(declarations: &BTreeSet<String>) -> BTreeSet<String> {
    let named = declarations.iter().filter(|text| !text.starts_with("typedef")).filter_map(|text| text.split_once('('));
    let last = named.filter_map(|(front, _)| front.rsplit([' ', '*']).next());
    last.filter(|name| name.starts_with("effigy_")).map(str::to_owned).collect()
}

#[test]
fn functions_of_every_version_are_declared_as_they_were() {
    let today = declarations(&root().join("include/effigy.h"));
    for (version, folder) in versions() {
        let then = declarations(&folder.join("effigy.h"));
        assert!(functions(&then).len() >= 11, "version {version}");
        for declaration in then.iter().filter(|text| text.ends_with(')') && !text.contains("typedef")) {
            // The first function stands behind the opening of extern "C".
            let plain = declaration.trim_start_matches("extern \"C\" { ");
            assert!(today.iter().any(|text| text.ends_with(plain)), "version {version} had: {plain}");
        }
        if version == effigy::capi::ABI_VERSION {
            let added: Vec<_> = today.difference(&then).collect();
            assert!(added.is_empty(), "version {version} is out: what is new needs the next number. New: {added:#?}");
        }
    }
}

#[test]
fn the_library_exports_what_the_header_declares_and_nothing_else() {
    let listed = Command::new("nm")
        .args(["-D", "--defined-only", "--format=just-symbols"])
        .arg(libraries().join("libeffigy.so"))
        .output()
        .expect("nm comes with the linker");
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let exported: BTreeSet<String> = String::from_utf8(listed.stdout).unwrap().lines().map(str::to_owned).collect();
    let declared = functions(&declarations(&root().join("include/effigy.h")));
    assert!(declared.len() >= 48, "{declared:?}");
    assert_eq!(exported, declared);
}

/// What AddressSanitizer looks for.
const SANITIZED: (&str, &str) = ("ASAN_OPTIONS", "detect_leaks=1:detect_stack_use_after_return=1");

/// Whether AddressSanitizer is there and works.
fn has_sanitizers(room: &Folder) -> bool {
    let (source, program) = (room.0.join("nothing.c"), room.0.join("nothing"));
    std::fs::write(&source, "int main(void) { return 0; }\n").unwrap();
    let built = Command::new("cc").arg("-fsanitize=address,undefined").arg(&source).arg("-o").arg(&program).output();
    // Some containers and kernels let it be built, but not run.
    built.is_ok_and(|output| output.status.success()) && run(&program, &[], &[SANITIZED]).status.success()
}

/// The program is instrumented, the library is not: seen are bytes outside buffers in the program and in what the library copies with
/// the C library's functions, use after free, ends that do not fit, and memory of either that nobody can reach at the end.
#[test]
fn address_sanitizer_finds_nothing_in_programs_of_every_version() {
    if !has_sanitizers(&Folder::new("sanitizers")) {
        eprintln!("skipped: AddressSanitizer is not there or does not work");
        return;
    }
    for (version, folder) in versions() {
        let room = Folder::new("sanitizer");
        let flags = ["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"];
        let program = room.build(&folder, &folder, &flags);
        assert_runs(version, &run(&program, &room.arguments(), &[SANITIZED, ("OMP_NUM_THREADS", "1")]));
    }
}
