//! The programs of `bindings` on a small pack: they build without warnings and do what they say, in an empty environment.
#![cfg(feature = "analysis")]
#![cfg(feature = "capi")]

#[path = "common/program.rs"]
mod program;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use effigy::bitstream::{FrameRecord, StreamHeader, StreamIdentity, StreamReader, StreamWriter};
use effigy::decode::{DecodeOptions, Decoder};
use effigy::frame::{Frame, TimeBase};
use effigy::pack::{fixture, Pack};
use effigy::params::FrameParams;
use program::{compile, libraries};

/// Frames of the test stream.
const FRAMES: usize = 12;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A folder of a test's own with `pack`, `identity` and `stream`.
struct Room(PathBuf);

impl Room {
    fn new(name: &str) -> Room {
        let folder = std::env::temp_dir().join(format!("effigy-programs-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        fixture::write_tiny(folder.join("pack"), 1).unwrap();
        let pack = Pack::load(folder.join("pack")).unwrap();
        let identity = fixture::identity(&pack, 1).unwrap().to_bytes().unwrap();
        std::fs::write(folder.join("identity"), &identity).unwrap();
        let header = StreamHeader {
            pack: pack.hash(),
            resolution: 32,
            time_base: TimeBase { num: 1, den: 25 },
            ..StreamHeader::default()
        };
        let mut writer = StreamWriter::new(Vec::new(), header, &StreamIdentity::inline(identity)).unwrap();
        for number in 0..FRAMES {
            let record = FrameRecord { pts: number as i64, params: params(number), placement: None };
            writer.write_frame(&record).unwrap();
        }
        std::fs::write(folder.join("stream"), writer.finish().unwrap().0).unwrap();
        Room(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// What the stream shows.
    fn crops(&self) -> Vec<Frame> {
        let pack = Pack::load(self.path("pack")).unwrap();
        let mut decoder = Decoder::new(&pack, &fixture::identity(&pack, 1).unwrap(), &DecodeOptions::default()).unwrap();
        (0..FRAMES).map(|number| decoder.render(&params(number)).unwrap()).collect()
    }

    /// Builds a program against the library under test, which lies beside the test's own program.
    fn build(&self, source: &str) -> PathBuf {
        let program = self.path("program");
        compile(source, &program);
        program
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn params(number: usize) -> FrameParams {
    FrameParams { yaw: 2.0 * number as f32, pitch: -2.5, ..FrameParams::default() }
}

/// Runs a program in an empty environment with `input` on its standard input.
fn run(program: &Path, arguments: &[&str], files: &[PathBuf], input: Vec<u8>) -> Output {
    let mut child = Command::new(program)
        .args(arguments)
        .args(files)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let feed = std::thread::spawn(move || {
        // A program that fails early does not read all of it.
        let _ = pipe.write_all(&input);
    });
    let output = child.wait_with_output().unwrap();
    feed.join().unwrap();
    output
}

/// Grey pictures with a step in the middle, as Y4M.
fn grey_clip() -> Vec<u8> {
    let mut clip = b"YUV4MPEG2 W32 H32 F25:1 Ip A1:1 C420\n".to_vec();
    for number in 0..FRAMES {
        clip.extend(b"FRAME\n");
        clip.extend((0..32 * 32).map(|i| if i % 32 < 16 { 60 + number as u8 } else { 180 }));
        clip.extend([128; 2 * 16 * 16]);
    }
    clip
}

/// Pictures of a Y4M file with 4:2:0.
fn y4m_pictures(bytes: &[u8], side: usize) -> Vec<&[u8]> {
    let start = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    bytes[start..].chunks_exact(6 + side * side * 3 / 2).map(|frame| &frame[6..]).collect()
}

#[test]
fn loopback_codes_crops_through_a_network_that_loses_packets() {
    let room = Room::new("loopback");
    let program = room.build("bindings/c/loopback.c");
    let raw: Vec<u8> = room.crops().iter().flat_map(|frame| frame.data.clone()).collect();
    let files = [room.path("pack"), room.path("identity")];
    for extra in [&[][..], &["--loss", "30", "--redundancy", "2"], &["--loss", "30"]] {
        let arguments =
            [&["--aligned", "--device", "1", "--precision", "1", "--threads", "1", "--rgb", "32x32"][..], extra].concat();
        let done = run(&program, &arguments, &files, raw.clone());
        let words = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.success(), "{words}");
        assert!(done.stdout.starts_with(b"YUV4MPEG2 W32 H32 F25:1 "));
        let shown = y4m_pictures(&done.stdout, 32).len();
        match extra.is_empty() {
            true => assert!(shown == FRAMES && words.contains("12 received, 0 repeated, 0 made up"), "{words}"),
            // Losses at the very end leave nothing that would show them.
            false => assert!(shown + 3 >= FRAMES && !words.contains(" 0 lost"), "{words}"),
        }
        assert!(words.contains(&format!("{FRAMES} frames (0 without a face)")), "{words}");
    }
    let failed = run(&program, &["--rgb", "32x32"], &[PathBuf::from("no-such-pack"), files[1].clone()], Vec::new());
    assert_eq!(failed.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&failed.stderr).contains("no-such-pack"));
    let failed = run(&program, &["--aligned", "--rgb", "32x32", "--precision", "9"], &files, Vec::new());
    assert!(String::from_utf8_lossy(&failed.stderr).contains("precision 9"), "{failed:?}");
    assert_eq!(run(&program, &["--what"], &[], Vec::new()).status.code(), Some(2));
}

/// The whole way from a camera: two pictures without anybody, then a drawn head before a fixed camera.
#[cfg(all(feature = "encode", feature = "train"))]
#[test]
fn loopback_finds_the_face_in_camera_pictures_and_codes_it() {
    use effigy::train::heads::{head_at, render_camera, ClipSpec};
    let room = Room::new("camera");
    let program = room.build("bindings/c/loopback.c");
    let (width, height) = (320, 240);
    let spec = ClipSpec { seed: 3, frames: 6, fps: (25, 1), camera: Some((width, height)) };
    let mut raw = vec![0x80; 2 * 3 * width as usize * height as usize];
    raw.extend((0..spec.frames).flat_map(|number| render_camera(&head_at(&spec, number), width, height).frame.data));
    let arguments = ["--threads", "1", "--rgb", "320x240", "--timing"];
    let done = run(&program, &arguments, &[room.path("pack"), room.path("identity")], raw);
    let words = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{words}");
    assert!(words.contains("8 frames (2 without a face), 6 packets of"), "{words}");
    assert!(words.contains("6 frames shown: 6 received, 0 repeated, 0 made up"), "{words}");
    let pictures = y4m_pictures(&done.stdout, 32);
    assert_eq!(pictures.len(), 6);
    assert!(words.contains("picture to numbers and packet"), "one frame is left when the first are left out: {words}");
}

#[test]
fn a_call_ends_well_and_shows_another_person_at_the_press_of_a_key() {
    let room = Room::new("call");
    let program = room.build("bindings/c/call.c");
    let pack = Pack::load(room.path("pack")).unwrap();
    std::fs::write(room.path("other"), fixture::identity(&pack, 2).unwrap().to_bytes().unwrap()).unwrap();
    std::fs::write(room.path("clip"), grey_clip()).unwrap();
    let other = room.path("other");
    let arguments = ["--aligned", "--loss", "20", "--other", other.to_str().unwrap()];
    let files = [room.path("pack"), room.path("identity"), room.path("clip")];
    let done = run(&program, &arguments, &files, b"s, and back: s".to_vec());
    let words = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{words}");
    // How many frames a busy machine shows in time is not said here.
    for part in ["the other person is shown", "the caller is shown", "receiver: in all:", &format!("sender: {FRAMES} frames")] {
        assert!(words.contains(part), "{part}: {words}");
    }
    assert!(done.stdout.starts_with(b"YUV4MPEG2 W32 H32 F25:1 "));
}

#[test]
fn the_encoding_example_writes_a_file_that_can_be_decoded() {
    let room = Room::new("encode");
    let program = room.build("bindings/c/encode.c");
    let files = [room.path("pack"), room.path("identity"), room.path("out.effigy")];
    let done = run(&program, &["--aligned"], &files, grey_clip());
    let words = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success() && words.contains(&format!("{FRAMES} frames (0 without a face)")), "{words}");
    let mut reader = StreamReader::open(std::fs::File::open(&files[2]).unwrap()).unwrap();
    assert!(reader.identity().bytes.is_some());
    let mut stamps = Vec::new();
    while let Some(packet) = reader.next_packet().unwrap() {
        stamps.extend(packet.frames.iter().map(|frame| frame.pts));
    }
    assert_eq!(stamps, (0..FRAMES as i64).collect::<Vec<_>>());
    let failed = run(&program, &[], &files, b"no Y4M".to_vec());
    assert_eq!(failed.status.code(), Some(1));
    assert_eq!(run(&program, &["--what"], &files, Vec::new()).status.code(), Some(2));
}

#[test]
fn the_c_plus_plus_example_codes_a_stream_again() {
    let room = Room::new("cpp");
    let program = room.build("bindings/cpp/loop.cpp");
    let done = run(&program, &[], &[room.path("pack"), room.path("identity"), room.path("stream")], Vec::new());
    let words = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    // Packets 4, 8 and 12 are lost; nothing comes behind the last.
    assert_eq!(words, "11 frames: 9 received, 2 repeated, 0 made up\n");
    let failed = run(&program, &[], &[PathBuf::from("x"), PathBuf::from("y"), PathBuf::from("z")], Vec::new());
    assert_eq!(failed.status.code(), Some(1));
}

#[test]
fn the_python_binding_passes_its_own_tests_where_there_is_numpy() {
    let numpy = Command::new("python3").args(["-c", "import numpy"]).output();
    if !numpy.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: no python3 with numpy");
        return;
    }
    let room = Room::new("python");
    let done = Command::new("python3")
        .args(["-W", "error", "-m", "unittest", "discover", "-s"])
        .arg(root().join("bindings/python/tests"))
        .env("PYTHONPATH", root().join("bindings/python"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("EFFIGY_LIBRARY", libraries().join("libeffigy.so"))
        .env("EFFIGY_TEST_FOLDER", &room.0)
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}
