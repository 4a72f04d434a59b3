//! The GStreamer elements of `bindings/gstreamer` on a small pack: single buffers and events by tests/gstreamer/elements.c, and pipelines of
//! `gst-launch-1.0`. They need GStreamer, so they run when asked for: `scripts/check.sh gstreamer`.
#![cfg(feature = "analysis")]
#![cfg(feature = "capi")]

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use effigy::bitstream::StreamReader;
use effigy::decode::{DecodeOptions, Decoder, DeviceChoice, Precision};
use effigy::pack::{fixture, Pack};
use effigy::params::FrameParams;

/// Frames of the clip.
const FRAMES: usize = 12;
/// Side of the fixture's pictures, pixels.
const SIDE: usize = 32;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs a command that must succeed.
fn made(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    // Cargo names the library the same for every feature set, and does not notice when another set replaced it.
    let hint = "if functions of effigy are missing, the library is of another feature set: touch src/lib.rs";
    assert!(output.status.success(), "{hint}\n{command:?}\n{}", String::from_utf8_lossy(&output.stderr));
    output
}

/// A folder with the plugin, the program of cases, `pack`, `identity`, `other`, and `clip`, raw RGB. Made once.
fn room() -> &'static Path {
    static ROOM: OnceLock<PathBuf> = OnceLock::new();
    ROOM.get_or_init(|| {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("gstreamer");
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        fixture::write_tiny(folder.join("pack"), 1).unwrap();
        let pack = Pack::load(folder.join("pack")).unwrap();
        for (name, seed) in [("identity", 1), ("other", 2)] {
            std::fs::write(folder.join(name), fixture::identity(&pack, seed).unwrap().to_bytes().unwrap()).unwrap();
        }
        let options = DecodeOptions { device: DeviceChoice::Cpu, precision: Precision::Single, ..DecodeOptions::default() };
        let mut decoder = Decoder::new(&pack, &fixture::identity(&pack, 1).unwrap(), &options).unwrap();
        let turned = |number: usize| FrameParams { yaw: 2.0 * number as f32, pitch: -2.5, ..FrameParams::default() };
        let clip: Vec<u8> = (0..FRAMES).flat_map(|number| decoder.render(&turned(number)).unwrap().data).collect();
        std::fs::write(folder.join("clip"), clip).unwrap();
        build(&folder);
        folder
    })
}

fn build(folder: &Path) {
    // A copy of the library under test, which lies beside the test's own program: a build of another feature set may replace it meanwhile.
    let library = std::env::current_exe().unwrap().with_file_name("libeffigy.so");
    std::fs::copy(library, folder.join("libeffigy.so")).unwrap();
    // From a shell in the folder, which a relative EFFIGY_LIB is seen from.
    let call = r#"cd "$1" && exec make -C "$0" STRICT=1 EFFIGY_LIB=. BUILD="$1""#;
    made(Command::new("sh").args(["-c", call]).arg(root().join("bindings/gstreamer")).arg(folder));
    let flags = made(Command::new("pkg-config").args(["--cflags", "--libs", "gstreamer-check-1.0", "gstreamer-video-1.0"]));
    let sources = [root().join("tests/gstreamer/elements.c"), root().join("bindings/c/loopback.c")];
    for (source, program) in sources.iter().zip(["elements", "loopback"]) {
        made(
            Command::new("cc")
                .args(["-std=c99", "-g", "-Wall", "-Wextra", "-Werror", "-I"])
                .arg(root().join("include"))
                .arg(source)
                .arg("-o")
                .arg(folder.join(program))
                .arg("-L")
                .arg(folder)
                .args(["-leffigy", &format!("-Wl,-rpath,{}", folder.display())])
                .args(String::from_utf8_lossy(&flags.stdout).split_whitespace()),
        );
    }
}

/// A program in the room, ended if it hangs: after 300 seconds, of which a case takes few.
fn limited(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("timeout");
    command.args(["-k", "10", "300"]).arg(program).current_dir(room());
    command
}

/// As `limited`; it finds the plugin, and has a registry of its own.
fn with_plugin(program: impl AsRef<OsStr>) -> Command {
    let mut command = limited(program);
    command.env("GST_PLUGIN_PATH", room()).env("GST_REGISTRY", room().join("registry")).env("LC_ALL", "C");
    command
}

fn launched(pipeline: &str) -> String {
    let done = made(with_plugin("gst-launch-1.0").arg("-v").args(pipeline.split_whitespace()));
    String::from_utf8_lossy(&done.stdout).into_owned()
}

fn read(name: &str) -> Vec<u8> {
    std::fs::read(room().join(name)).unwrap()
}

// Processor and single precision, as in `by_c`: another precision is chosen by a trial, and need not be the same in two processes.
const SOURCE: &str = "filesrc location=clip ! rawvideoparse format=rgb width=32 height=32 framerate=25/1 ! \
                      effigyenc aligned=true device=1 precision=single threads=1 pack=pack identity=identity";
const SINK: &str = "effigydec device=1 precision=single threads=1 pack=pack identity=identity";

/// Runs a case of tests/gstreamer/elements.c, with complaints of GLib as failures. What is left: objects of GStreamer that outlive it.
fn left_by(name: &str) -> Vec<String> {
    let mut command = with_plugin(room().join("elements"));
    command.args([name, "pack", "identity", "other"]).env("G_DEBUG", "fatal-criticals");
    command.env("GST_TRACERS", "leaks").env("GST_DEBUG", "GST_TRACER:7").env("GST_DEBUG_NO_COLOR", "1");
    let done = command.output().unwrap();
    let told = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{name}: {told}");
    told.lines().filter(|line| line.contains("object-alive, type-name=(string)Gst")).map(str::to_owned).collect()
}

fn case(name: &str) {
    let left = left_by(name);
    assert!(left.is_empty(), "{name}: {left:#?}");
}

/// What the C interface gives for the clip: pictures in 4:2:0.
fn by_c() -> Vec<u8> {
    let done = made(
        limited(room().join("loopback"))
            .args(["--aligned", "--device", "1", "--precision", "1", "--threads", "1", "--rgb", "32x32", "pack", "identity"])
            .stdin(std::fs::File::open(room().join("clip")).unwrap()),
    );
    let start = done.stdout.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    done.stdout[start..].chunks_exact(6 + SIDE * SIDE * 3 / 2).flat_map(|frame| frame[6..].to_vec()).collect()
}

#[test]
#[ignore = "needs GStreamer: scripts/check.sh gstreamer"]
fn both_elements_are_listed_with_their_properties() {
    for (element, properties) in [
        (
            "effigyenc",
            &[
                "pack",
                "identity",
                "aligned",
                "quality",
                "redundancy",
                "frames-per-packet",
                "intra-interval",
                "smoothing",
                "search-steps",
                "frame-budget",
                "inline-identity",
                "repeat-header",
                "device",
                "precision",
                "threads",
                "stats",
            ][..],
        ),
        ("effigydec", &["pack", "identity", "conceal-gaps", "detail", "device", "precision", "threads", "stats"][..]),
    ] {
        let listed = made(with_plugin("gst-inspect-1.0").arg(element));
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        for property in properties {
            assert!(listed.lines().any(|line| line.trim_start().starts_with(&format!("{property} "))), "{property}\n{listed}");
        }
        assert!(listed.contains("video/x-effigy") && listed.contains("video/x-raw"), "{listed}");
    }
}

#[test]
#[ignore = "needs GStreamer: scripts/check.sh gstreamer"]
fn a_pipeline_gives_the_bytes_that_the_c_interface_gives() {
    let told = launched(&format!("{SOURCE} ! {SINK} ! video/x-raw,format=I420 ! filesink location=round"));
    let (shown, direct) = (read("round"), by_c());
    assert_eq!(shown.len(), FRAMES * SIDE * SIDE * 3 / 2);
    assert!(shown == direct);
    assert!(told.contains("video/x-effigy") && told.contains("codec_data=(buffer)"), "{told}");
}

#[test]
#[ignore = "needs GStreamer: scripts/check.sh gstreamer"]
fn pictures_may_have_twice_the_side() {
    launched(&format!("{SOURCE} ! {SINK} ! video/x-raw,format=RGB ! filesink location=small"));
    let told = launched(&format!("{SOURCE} ! {SINK} detail=true ! video/x-raw,format=RGB ! filesink location=large"));
    assert!(told.contains("width=(int)64"), "{told}");
    let (small, large) = (read("small"), read("large"));
    assert_eq!(large.len(), 4 * small.len());
    let mean = |bytes: &[u8]| bytes.iter().map(|b| f64::from(*b)).sum::<f64>() / bytes.len() as f64;
    assert!((mean(&large) - mean(&small)).abs() < 1.0);
}

#[test]
#[ignore = "needs GStreamer: scripts/check.sh gstreamer"]
fn a_file_with_the_identity_inside_is_a_stream_that_the_library_reads() {
    launched(&format!("{SOURCE} inline-identity=true frames-per-packet=5 ! filesink location=call.effigy"));
    let mut reader = StreamReader::open(std::io::Cursor::new(read("call.effigy"))).unwrap();
    let mut times = Vec::new();
    while let Some(packet) = reader.next_packet().unwrap() {
        times.extend(packet.frames.iter().map(|frame| frame.pts));
    }
    // 90 kHz, 25 frames per second.
    assert_eq!(times, (0..FRAMES as i64).map(|number| 3600 * number).collect::<Vec<_>>());
    assert_eq!(reader.identity().bytes.clone().unwrap(), read("identity"));
}

#[test]
#[ignore = "needs GStreamer: scripts/check.sh gstreamer"]
fn wrong_files_and_sizes_end_in_words_and_not_in_a_crash() {
    let small = "videotestsrc num-buffers=2 ! video/x-raw,width=16,height=16 ! effigyenc aligned=true pack=pack identity=identity ! fakesink";
    for (pipeline, words) in [
        ("videotestsrc num-buffers=1 ! effigyenc pack=no-such-pack identity=identity ! fakesink", "no-such-pack"),
        ("videotestsrc num-buffers=1 ! effigyenc pack=identity identity=identity ! fakesink", "pack: "),
        ("videotestsrc num-buffers=1 ! effigyenc pack=pack ! fakesink", "property identity is not set"),
        ("fakesrc num-buffers=1 ! video/x-effigy ! effigydec pack=pack identity=no-such-identity ! fakesink", "no-such-identity"),
        (small, "aligned crops of 16 x 16: this identity has 32 x 32"),
        (&format!("{SOURCE} ! effigydec pack=pack identity=other ! fakesink"), "another identity"),
    ] {
        let done = made(with_plugin(room().join("elements")).args(["fails", pipeline]).env("G_DEBUG", "fatal-criticals"));
        let told = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(told.contains(words), "{pipeline}\n{told}");
    }
}

#[test]
#[ignore = "needs GStreamer: scripts/check.sh gstreamer"]
fn what_outlives_a_case_is_noticed() {
    let left = left_by("forgets");
    assert!(left.iter().any(|line| line.contains("(string)GstEffigyDec")), "{left:#?}");
}

macro_rules! cases {
    ($($sentence:ident: $name:literal,)*) => {$(
        #[test]
        #[ignore = "needs GStreamer: scripts/check.sh gstreamer"]
        fn $sentence() {
            case($name);
        }
    )*};
}

cases! {
    key_packets_come_by_interval_and_on_request_and_are_marked: "keys",
    several_frames_in_a_packet_keep_their_times: "several",
    losses_are_made_up_and_key_packets_are_asked_for: "losses",
    frames_that_a_later_packet_repeats_are_waited_for: "repeats",
    a_pipeline_outlives_a_network_that_drops_packets: "drops",
    another_person_is_shown_while_the_element_plays: "swaps",
    a_seek_begins_anew_with_a_key_packet: "flushes",
    pictures_are_read_with_any_stride_and_colorimetry: "layouts",
    pictures_of_every_format_are_those_of_the_c_interface: "formats",
    headers_may_travel_among_the_packets: "headers",
    a_sender_that_starts_again_is_followed: "restarts",
    a_sender_that_starts_again_with_other_steps_is_followed_by_its_header_alone: "changes",
    a_log_of_the_program_stays_until_somebody_reads_it_as_that_of_gstreamer: "logs",
    packets_that_were_not_taken_are_announced_again_when_they_are: "refusals",
    an_element_that_is_stopped_and_started_is_as_new: "again",
}
