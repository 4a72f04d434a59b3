//! The command, run as a user runs it: with a small pack made by rule and a clip of a parametric head.
#![cfg(feature = "cli")]

mod fitting;
mod pack;
mod residual;
mod resume;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use effigy::frame::{Frame, TimeBase};
use effigy::media::{ClipReader, ClipWriter, ReadOptions, WriteOptions};
use effigy::pack::fixture;
use effigy::train::heads::{head_at, render, ClipSpec};

/// Frames of the test clip; the pack's pictures are 32 x 32.
const FRAMES: u64 = 4;
const SIDE: u32 = 32;
/// Ticks per frame at 1/30000 s: 30000/1001 frames per second.
const TICKS: i64 = 1001;

/// A folder of one test's own, with `pack.safetensors` and `crops.mkv`; removed at the end.
struct Room(PathBuf);

impl Room {
    fn new(name: &str) -> Room {
        let folder = std::env::temp_dir().join(format!("effigy-cli-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let room = Room(folder);
        fixture::write_tiny(room.path("pack.safetensors"), 1).unwrap();
        room.clip("crops.mkv", SIDE, FRAMES);
        room
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn clip(&self, name: &str, side: u32, frames: u64) {
        let spec = ClipSpec { seed: 3, frames, fps: (30000, 1001), camera: None };
        let (base, options) = (TimeBase { num: 1, den: 30000 }, WriteOptions::default());
        let mut writer = ClipWriter::create(self.path(name), side, side, base, &options).unwrap();
        for i in 0..frames {
            writer.write(i as i64 * TICKS, &render(&head_at(&spec, i), side).frame).unwrap();
        }
        writer.finish().unwrap();
    }

    /// `head.mkv`: four frames of a head before a camera of 320 x 240.
    #[cfg(feature = "encode")]
    fn head(&self) {
        let camera = "--clip head.mkv --camera 320x240 --frames 4 --seed 5 --quiet";
        self.ok(&format!("train heads -o sheet.png --rows 1 --columns 1 --size 32 {camera}"));
    }

    /// The command line `args`, run inside the folder.
    fn command(&self, args: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_effigy"));
        command.args(args.split_whitespace()).current_dir(&self.0).env_remove("EFFIGY_PACK");
        command
    }

    fn run(&self, args: &str) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs, expects success, and returns standard output.
    fn ok(&self, args: &str) -> String {
        let out = self.run(args);
        assert!(out.status.success(), "effigy {args}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    }

    /// Runs, expects the exit code and one line of error that contains `text`; no output named `out` or begun may stay.
    fn fails(&self, args: &str, code: i32, text: &str) {
        let out = self.run(args);
        let errors = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.status.code(), Some(code), "effigy {args}: {errors}");
        let last = errors.lines().last().unwrap_or_default();
        assert!(last.starts_with("effigy: ") && last.contains(text), "effigy {args}: {errors}");
        self.assert_clean(args);
    }

    fn assert_clean(&self, what: &str) {
        for entry in fs::read_dir(&self.0).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(!name.contains(".part") && !name.starts_with("out"), "{what} left {name}");
        }
    }

    /// A stream of the test clip, untuned.
    fn encode(&self, extra: &str) {
        self.ok(&format!("encode crops.mkv --aligned-input --pack pack.safetensors {QUICK} {UNTUNED} {extra}"));
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// An identity of the pack's own generator, fitted no longer than it takes to have one.
const UNTUNED: &str = "--tuning none --tune-steps 4";

/// Little work, and the same numbers on every processor.
const QUICK: &str = "--preset fast --precision fp32 --device cpu --threads 1 --quiet";

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

fn clip(path: &Path) -> Vec<(i64, Frame)> {
    let frames = ClipReader::open(path, &ReadOptions::default()).unwrap();
    frames.map(|timed| timed.map(|t| (t.pts, t.frame)).unwrap()).collect()
}

#[test]
fn a_clip_survives_encoding_inspection_decoding_and_evaluation() {
    let room = Room::new("whole");
    room.encode("-o a.effigy --save-identity me.identity --aligned same.mkv");
    assert_eq!(clip(&room.path("same.mkv")), clip(&room.path("crops.mkv")));

    let facts = json(&room.ok("inspect a.effigy --json"));
    assert_eq!(facts["frames"], FRAMES);
    assert_eq!(facts["coding"], "coded");
    assert_eq!(facts["metadata"]["quality"], "75");
    assert_eq!(facts["resolution"], SIDE);
    assert!(facts["payload_bytes_per_frame"].as_f64().unwrap() < 40.0, "{facts}");
    assert_eq!(facts["complete"], true);
    let bytes = |name: &str| facts[name].as_u64().unwrap();
    let total = fs::metadata(room.path("a.effigy")).unwrap().len();
    assert_eq!(bytes("header_bytes") + bytes("identity_bytes") + bytes("parameter_bytes"), total);
    assert_eq!(bytes("identity_bytes"), fs::metadata(room.path("me.identity")).unwrap().len());
    assert_eq!(json(&room.ok("inspect me.identity --json"))["hash"], facts["identity"]);
    assert_eq!(json(&room.ok("inspect pack.safetensors --json"))["hash"], facts["pack"]);

    room.ok(&format!("decode a.effigy --pack pack.safetensors -o decoded.mkv {DECODE}"));
    let stamps: Vec<i64> = clip(&room.path("decoded.mkv")).iter().map(|(pts, _)| *pts).collect();
    assert_eq!(stamps, (0..FRAMES as i64).map(|i| i * TICKS).collect::<Vec<_>>());
    room.ok(&format!("decode a.effigy --pack pack.safetensors -o large.mkv --size 64 {DECODE}"));
    for ((_, large), (_, frame)) in clip(&room.path("large.mkv")).iter().zip(clip(&room.path("decoded.mkv"))) {
        assert_eq!((large.width, large.height), (64, 64));
        // Scaled back down it is the same picture, but for what bicubic scaling overshoots.
        let back = effigy::scene::cover(large, SIDE, SIDE).unwrap();
        let off: u64 = back.data.iter().zip(&frame.data).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
        assert!(off < 6 * frame.data.len() as u64, "{off}");
        // And it is smooth: no pixel is merely repeated.
        let steps = large.data.chunks_exact(6).filter(|pair| pair[..3] != pair[3..]).count();
        assert!(4 * steps > large.data.len() / 6, "{steps}");
    }

    let figures =
        json(&room.ok("evaluate crops.mkv decoded.mkv --json --frames-csv f.csv --sheet s.png --enrolled crops.mkv --quiet"));
    assert_eq!(figures["frames"], FRAMES);
    assert_eq!(figures["slideshow_psnr"], 99.0);
    assert_eq!(fs::read_to_string(room.path("f.csv")).unwrap().lines().count() as u64, FRAMES + 1);
    assert!(room.path("s.png").is_file());
    let perfect = json(&room.ok("evaluate crops.mkv same.mkv --json --quiet"));
    assert_eq!((&perfect["psnr"], &perfect["l1"]), (&99.0.into(), &0.0.into()));
}

/// Seconds from the beginning of the clip at `path` to the first sound, with the sound's own time stamps; `None` if it is silent.
fn first_sound(path: &Path) -> Option<f64> {
    const RATE: f64 = 48_000.0;
    let filter = "aresample=48000:async=1:first_pts=0";
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-i"]).arg(path).args(["-map", "0:a", "-af", filter, "-ac", "1", "-f", "s16le", "-"]);
    let samples = command.output().unwrap().stdout;
    let loud = samples.chunks_exact(2).position(|s| i16::from_le_bytes([s[0], s[1]]).unsigned_abs() > 3000)?;
    Some(loud as f64 / RATE)
}

#[test]
fn a_clip_keeps_its_sound_in_time_with_its_pictures() {
    let room = Room::new("sound");
    // 24 frames at 30000/1001; a tone that sets in at 0.45 s.
    room.clip("mute.mkv", SIDE, 24);
    let tone = "aevalsrc=exprs=if(gte(t\\,0.45)\\,0.8*sin(2*PI*700*t)\\,0):s=44100:d=0.8";
    // The last two: a clip whose clock begins at 3 s, and a sound track that begins a quarter of a second late.
    for (name, codec, late, clock) in [
        ("aac.mkv", "aac", "0", "0"),
        ("pcm.mkv", "pcm_s16le", "0", "0"),
        ("clock.mkv", "aac", "0", "3"),
        ("late.mkv", "aac", "0.25", "0"),
    ] {
        let mut command = Command::new("ffmpeg");
        command.args(["-v", "error", "-i", "mute.mkv", "-itsoffset", late, "-f", "lavfi", "-i", tone, "-map_metadata", "0"]);
        command.args(["-c:v", "copy", "-c:a", codec, "-output_ts_offset", clock]);
        assert!(command.arg(name).current_dir(&room.0).status().unwrap().success());
    }
    let frame = TICKS as f64 / 30_000.0;
    room.encode("-o first.effigy --save-identity me.identity");
    let quick = QUICK.replace("fast", "live");
    let encode = |clip: &str, rest: &str| {
        room.ok(&format!("encode {clip} --aligned-input --pack pack.safetensors --identity me.identity {quick} {rest}"));
    };
    // The second one begins with frame 6, at 0.2 s.
    for (clip, rest, begins) in [
        ("aac.mkv", "", 0.0),
        ("pcm.mkv", "--start 0.19 --sound copy", 6.0 * frame),
        ("pcm.mkv", "--sound opus", 0.0),
        ("clock.mkv", "", 0.0),
        ("late.mkv", "", 0.0),
    ] {
        encode(clip, &format!("-o a.effigy {rest}"));
        let facts = json(&room.ok("inspect a.effigy --json"));
        assert!(facts["sound_bytes"].as_u64().unwrap() > 2000, "{facts}");
        assert!(facts["parameter_bytes_per_frame"].as_f64().unwrap() < 40.0, "{facts}");
        for output in ["a.mkv", "a.mp4"] {
            room.ok(&format!("decode a.effigy --pack pack.safetensors -o {output} {DECODE}"));
            let heard = first_sound(&room.path(output)).unwrap();
            let late = if clip == "late.mkv" { 0.25 } else { 0.0 };
            assert!((heard - (0.45 + late - begins)).abs() < frame, "{clip} {rest} {output}: heard at {heard}");
        }
    }
    room.ok(&format!("decode a.effigy --pack pack.safetensors -o b.mp4 --mute {DECODE}"));
    assert_eq!(first_sound(&room.path("b.mp4")), None);
    room.ok(&format!("decode a.effigy --pack pack.safetensors -o frames/ {DECODE}"));
    encode("aac.mkv", "-o b.effigy --sound none");
    assert_eq!(json(&room.ok("inspect b.effigy --json"))["sound_bytes"], 0);
    room.assert_clean("sound");
}

#[test]
fn a_report_is_one_page_with_pictures_curves_networks_and_bytes() {
    let room = Room::new("report");
    room.encode("-o a.effigy");
    room.ok(&format!("decode a.effigy --pack pack.safetensors -o decoded.mkv {DECODE}"));
    let figures = json(&room.ok(&format!(
        "evaluate crops.mkv decoded.mkv --json --report r.html --stream a.effigy --pack pack.safetensors {DECODE}"
    )));
    let page = fs::read_to_string(room.path("r.html")).unwrap();
    assert!(!page.contains("{{") && page.contains("<svg") && page.contains("data:image/png;base64,"));
    // The name space of SVG is a name, not an address that is asked for.
    let outside = page.replace("http://www.w3.org/2000/svg", "");
    assert!(!outside.contains("http:") && !outside.contains("https:") && !outside.contains("<script"));
    assert!(page.contains("not LPIPS") && page.contains("10 minutes"));

    let facts = json(&room.ok("inspect a.effigy --json"));
    assert_eq!(figures["stream"]["identity_bytes"], facts["identity_bytes"]);
    assert_eq!(figures["stream"]["parameter_bytes"], facts["parameter_bytes"]);
    let likeness = figures["readings"]["similarity"].as_f64().unwrap();
    assert!((-1.0..=1.0).contains(&likeness), "{likeness}");
    // The networks are made by rule: whatever they take for the person, it is as far off as pictures can be.
    assert!((3.0..60.0).contains(&figures["readings"]["person_psnr"].as_f64().unwrap()));
    assert_eq!(figures["readings"]["following"][0]["name"], "yaw");

    room.fails("evaluate crops.mkv decoded.mkv --stream crops.mkv", 4, "crops.mkv");
    room.fails("evaluate crops.mkv decoded.mkv --report crops.mkv", 2, "also an input");
}

const DECODE: &str = "--precision fp32 --device cpu --threads 1 --quiet";

#[test]
fn an_identity_can_travel_apart_and_be_used_again() {
    let room = Room::new("apart");
    room.encode("-o inline.effigy --save-identity me.identity");
    room.encode("-o apart.effigy --detached");
    room.fails(&format!("decode apart.effigy --pack pack.safetensors -o out.mkv {DECODE}"), 2, "--identity");
    room.ok(&format!("decode apart.effigy --pack pack.safetensors --identity me.identity -o b.mkv {DECODE}"));
    room.ok(&format!("decode inline.effigy --pack pack.safetensors -o a.mkv {DECODE}"));
    assert_eq!(clip(&room.path("a.mkv")), clip(&room.path("b.mkv")));
    room.ok(&format!("encode crops.mkv --aligned-input --identity me.identity --pack pack.safetensors -o again.effigy {QUICK}"));
    let of = |name: &str| json(&room.ok(&format!("inspect {name} --json")))["identity"].clone();
    assert_eq!(of("again.effigy"), of("inline.effigy"));
}

#[test]
fn the_live_preset_reads_an_enrolled_person_and_nobody_else() {
    let room = Room::new("live");
    room.encode("-o first.effigy --save-identity me.identity");
    let live = "--aligned-input --pack pack.safetensors --preset live --precision fp32 --device cpu --threads 1 --quiet";
    room.ok(&format!("encode crops.mkv {live} --identity me.identity -o live.effigy"));
    assert_eq!(json(&room.ok("inspect live.effigy --json"))["frames"], FRAMES);
    room.fails(&format!("encode crops.mkv {live} -o out.effigy"), 2, "needs an enrolled person");
    room.fails(&format!("enroll crops.mkv {live} -o out.identity"), 2, "needs an enrolled person");
}

#[test]
fn streams_of_one_identity_are_joined_without_touching_a_number() {
    let room = Room::new("join");
    room.encode("-o a.effigy --save-identity me.identity");
    room.encode("-o stranger.effigy --name other");
    let known = format!("--aligned-input --identity me.identity --pack pack.safetensors --detached {QUICK}");
    room.ok(&format!("encode crops.mkv -o b.effigy --start 0.03 --frames 2 {known}"));
    room.ok(&format!("encode crops.mkv -o c.effigy --start 0.08 --quality 50 {known}"));
    room.ok("join a.effigy b.effigy -o ab.effigy");
    let rows = |name: &str| -> Vec<(i64, String)> {
        room.ok(&format!("inspect {name} --params rows.csv"));
        let text = fs::read_to_string(room.path("rows.csv")).unwrap();
        let row = |line: &str| {
            let fields: Vec<&str> = line.split(',').collect();
            (fields[1].parse().unwrap(), fields[2..37].join(","))
        };
        text.lines().skip(1).map(row).collect()
    };
    let (a, b, both) = (rows("a.effigy"), rows("b.effigy"), rows("ab.effigy"));
    assert_eq!((a.len(), b.len(), b[0].0), (4, 2, TICKS), "b begins with the second frame");
    // Stamps that would go back are moved behind the stream before.
    let expected: Vec<_> = a.iter().cloned().chain(b.iter().map(|(pts, row)| (pts + 3 * TICKS, row.clone()))).collect();
    assert_eq!(both, expected);
    assert_eq!(json(&room.ok("inspect ab.effigy --json"))["identity_inline"], true);
    room.fails("join a.effigy c.effigy -o out.effigy", 2, "another quality");
    room.fails("join a.effigy stranger.effigy -o out.effigy", 2, "another identity");
}

#[test]
fn another_identity_is_driven_by_the_stream() {
    let room = Room::new("driven");
    room.encode("-o a.effigy");
    room.ok(&format!(
        "enroll crops.mkv --aligned-input --frames 2 --name Ada --pack pack.safetensors -o ada.identity {UNTUNED} {QUICK}"
    ));
    assert_eq!(json(&room.ok("inspect ada.identity --json"))["name"], "Ada");
    for extra in ["", "--absolute"] {
        room.ok(&format!("decode a.effigy --pack pack.safetensors --identity ada.identity -o frames/ {extra} {DECODE}"));
        assert_eq!(clip(&room.path("frames")).len() as u64, FRAMES);
    }
}

#[test]
fn wrong_inputs_end_in_one_line_and_their_exit_code() {
    let room = Room::new("wrong");
    fs::write(room.path("empty.mp4"), "").unwrap();
    fs::write(room.path("text.mp4"), "this is no video, whatever its name says\n".repeat(20)).unwrap();
    room.clip("large.mkv", 48, 1);
    let encode = |clip: &str, out: &str| format!("encode {clip} --aligned-input --pack pack.safetensors -o {out} {QUICK}");
    room.fails(&encode("missing.mp4", "out.effigy"), 3, "missing.mp4");
    room.fails(&encode("empty.mp4", "out.effigy"), 4, "empty");
    room.fails(&encode("text.mp4", "out.effigy"), 4, "text.mp4");
    room.fails(&encode("large.mkv", "out.effigy"), 2, "32 x 32");
    room.fails(&encode("crops.mkv", "no/folder/out.effigy"), 3, "no/folder");
    room.fails(&encode("crops.mkv", "crops.mkv"), 2, "also an input");
    room.fails("encode crops.mkv --aligned-input --pack missing.safetensors -o out.effigy", 3, "missing.safetensors");
    room.fails("encode crops.mkv --aligned-input --pack text.mp4 -o out.effigy", 4, "text.mp4");
    room.fails("inspect text.mp4", 4, "neither");
    room.fails("inspect missing.effigy", 3, "missing.effigy");
    room.fails("evaluate crops.mkv large.mkv", 2, "48 x 48");
    room.fails("decode crops.mkv --pack pack.safetensors -o out.mkv", 4, "crops.mkv");
    assert_eq!(room.run("").status.code(), Some(2));
    assert_eq!(room.run("encode").status.code(), Some(2));
    assert_eq!(room.run("decode a.effigy -o a.mkv --device tpu").status.code(), Some(2));
}

#[cfg(feature = "encode")]
#[test]
fn a_clip_without_a_face_is_told_apart_from_a_failure() {
    let room = Room::new("faceless");
    let base = TimeBase { num: 1, den: 25 };
    let mut writer = ClipWriter::create(room.path("grey.mkv"), 320, 240, base, &WriteOptions::default()).unwrap();
    for i in 0..3 {
        writer.write(i, &Frame::filled(320, 240, [128; 3]).unwrap()).unwrap();
    }
    writer.finish().unwrap();
    room.fails(&format!("encode grey.mkv --pack pack.safetensors -o out.effigy {QUICK}"), 7, "no face");
}

/// The crops that are written are those of the stream's placements, also after a known face was looked at a second time.
#[cfg(feature = "encode")]
#[test]
fn a_known_face_in_a_camera_clip_is_placed_and_cut() {
    use effigy::bitstream::StreamReader;
    use effigy::encode::align::{cut_again, Shift};
    use effigy::encode::AlignedFrame;
    use effigy::frame::TimedFrame;

    let room = Room::new("known");
    room.head();
    room.ok(&format!("enroll head.mkv --frames 2 --pack pack.safetensors -o me.identity {UNTUNED} {QUICK}"));
    let known = "--identity me.identity --pack pack.safetensors -o a.effigy --aligned crops.mkv";
    room.ok(&format!("encode head.mkv {known} {QUICK}"));
    let mut stream = StreamReader::open(BufReader::new(fs::File::open(room.path("a.effigy")).unwrap())).unwrap();
    let mut records = Vec::new();
    while let Some(packet) = stream.next_packet().unwrap() {
        records.extend(packet.frames);
    }
    let (camera, crops) = (clip(&room.path("head.mkv")), clip(&room.path("crops.mkv")));
    // The same crops cut from what the stream says, and at another size.
    room.ok("align head.mkv --like a.effigy --size 32 -o again.mkv --quiet");
    for ((pts, crop), (other, again)) in crops.iter().zip(clip(&room.path("again.mkv"))) {
        let worst = crop.data.iter().zip(&again.data).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(*pts == other && worst < Some(8), "{worst:?}");
    }
    room.ok("align head.mkv --like a.effigy --size 64 -o large.mkv --quiet");
    let large = clip(&room.path("large.mkv"));
    assert!(large.len() == crops.len() && large[0].1.width == 64);
    room.clip("other.mkv", 64, 4);
    room.fails("align other.mkv --like a.effigy --size 32 -o out.mkv", 2, "not the encoded clip");
    assert_eq!((records.len(), crops.len()), (camera.len(), camera.len()));
    for ((record, (pts, frame)), (_, crop)) in records.iter().zip(camera).zip(crops) {
        let placement = record.placement.unwrap();
        let placed = AlignedFrame { roll: record.params.roll, placement, ..AlignedFrame::whole(pts, crop.clone(), false) };
        let cut = cut_again(&TimedFrame { pts, frame }, &placed.track(), crop.width, &Shift::default(), true).unwrap();
        let worst = cut.frame.data.iter().zip(&crop.data).map(|(a, b)| a.abs_diff(*b)).max();
        // The stream rounds placements to a 64th of a pixel.
        assert!(record.pts == pts && worst < Some(8), "{worst:?}");
    }
}

/// The background is sent once, and laid behind the head without the camera's clip; or another picture is.
#[cfg(feature = "encode")]
#[test]
fn whole_camera_pictures_come_from_the_stream_alone() {
    use effigy::bitstream::StreamReader;
    use effigy::decode::{paste, DeviceChoice, Precision, FEATHER};
    use effigy::pack::Pack;
    use effigy::scene::Matter;

    let room = Room::new("plate");
    room.head();
    room.ok(&format!("encode head.mkv --pack pack.safetensors -o a.effigy --plate=9000 --tune-steps 60 {QUICK}"));
    let facts = json(&room.ok("inspect a.effigy --json"));
    let bytes = facts["plate_bytes"].as_u64().unwrap();
    assert!((1000..9100).contains(&bytes), "{facts}");
    let total: u64 = ["header_bytes", "identity_bytes", "sound_bytes", "plate_bytes", "parameter_bytes"]
        .iter()
        .map(|key| facts[key].as_u64().unwrap())
        .sum();
    assert_eq!(total, fs::metadata(room.path("a.effigy")).unwrap().len());

    room.ok(&format!("decode a.effigy --pack pack.safetensors --camera -o room.mkv {DECODE}"));
    let (source, shown) = (clip(&room.path("head.mkv")), clip(&room.path("room.mkv")));
    assert_eq!(shown.len(), source.len());
    for ((pts, frame), (shown_pts, shown)) in source.iter().zip(&shown) {
        assert_eq!((pts, frame.width, frame.height), (shown_pts, shown.width, shown.height));
        // Far from the head.
        let off = [(8, 8), (310, 12)]
            .map(|(x, y)| frame.pixel(x, y).iter().zip(shown.pixel(x, y)).map(|(a, b)| a.abs_diff(b)).max().unwrap());
        assert!(off.iter().all(|off| *off < 24), "{off:?}");
    }

    let red = Frame::filled(200, 90, [200, 10, 10]).unwrap();
    effigy::media::write_png(room.path("red.png"), &red, false).unwrap();
    room.ok(&format!("decode a.effigy --pack pack.safetensors --paste red.png -o red.mkv {DECODE}"));
    let (_, first) = &clip(&room.path("red.mkv"))[0];
    assert_eq!((first.width, first.height, first.pixel(8, 8)), (320, 240, [200, 10, 10]));
    // Somebody is drawn, and as in the crop, with its detail: what of it is surely the person comes through as it is.
    room.ok(&format!("decode a.effigy --pack pack.safetensors -o crops.mkv {DECODE}"));
    room.ok(&format!("decode a.effigy --pack pack.safetensors --size {} -o large.mkv {DECODE}", 2 * SIDE));
    let [crop, large] = ["crops.mkv", "large.mkv"].map(|name| clip(&room.path(name)).remove(0).1);
    let matter = Matter::new(&Pack::load(room.path("pack.safetensors")).unwrap(), DeviceChoice::Cpu, Precision::Single);
    let matte = &matter.unwrap().unwrap().mattes(std::slice::from_ref(&crop)).unwrap()[0];
    let mut by_hand = Frame::filled(320, 240, [200, 10, 10]).unwrap();
    let mut stream = StreamReader::open(BufReader::new(fs::File::open(room.path("a.effigy")).unwrap())).unwrap();
    let record = stream.next_packet().unwrap().unwrap().frames[0];
    paste(&mut by_hand, &large, Some(matte), record.params.roll, &record.placement.unwrap(), FEATHER).unwrap();
    assert_eq!(first, &by_hand);
    let drawn = by_hand.data.chunks_exact(3).filter(|pixel| *pixel != [200, 10, 10]).count();
    assert!(drawn > 500, "{drawn} pixels of somebody");

    // A joined stream keeps the background of the first.
    room.ok("join a.effigy a.effigy -o both.effigy");
    assert_eq!(json(&room.ok("inspect both.effigy --json"))["plate_bytes"], bytes);

    // A record of the background is gone.
    let mut bytes = fs::read(room.path("a.effigy")).unwrap();
    let at = bytes.windows(4).position(|w| w == [0xff, 0xd8, 0xff, 0xe0]).unwrap();
    bytes[at + 50] ^= 1;
    fs::write(room.path("damaged.effigy"), bytes).unwrap();
    room.fails(&format!("decode damaged.effigy --pack pack.safetensors --camera -o no.mkv {DECODE}"), 4, "background");
    let clash = format!("decode a.effigy --pack pack.safetensors --paste head.mkv --sound head.mkv -o no.mkv {DECODE}");
    room.fails(&clash, 2, "--sound");

    room.encode("-o plain.effigy");
    room.fails(&format!("decode plain.effigy --pack pack.safetensors --camera -o no.mkv {DECODE}"), 2, "--plate");
    let out = room.run("encode crops.mkv --aligned-input --plate --pack pack.safetensors -o no.effigy");
    assert_eq!(out.status.code(), Some(2), "crops have no camera picture");
}

#[cfg(not(feature = "encode"))]
#[test]
fn a_build_without_alignment_says_so() {
    let room = Room::new("unaligned");
    room.fails(&format!("encode crops.mkv --pack pack.safetensors -o out.effigy {QUICK}"), 5, "--aligned-input");
}

#[test]
fn a_damaged_stream_is_decoded_as_far_as_it_goes() {
    let room = Room::new("damaged");
    // One packet per frame, all of one length.
    room.encode("-o a.effigy --coding raw16");
    let whole = fs::read(room.path("a.effigy")).unwrap();
    let facts = json(&room.ok("inspect a.effigy --json"));
    let front = (facts["header_bytes"].as_u64().unwrap() + facts["identity_bytes"].as_u64().unwrap()) as usize;

    // Cut inside the second packet: one frame is whole.
    let packet = (whole.len() - front) / (FRAMES as usize + 1);
    fs::write(room.path("cut.effigy"), &whole[..front + packet + packet / 2]).unwrap();
    let out = room.run("decode cut.effigy --pack pack.safetensors -o cut.mkv --device cpu");
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && errors.contains("cut short"), "{errors}");
    assert!(!clip(&room.path("cut.mkv")).is_empty());

    fs::write(room.path("front.effigy"), &whole[..front]).unwrap();
    room.fails("decode front.effigy --pack pack.safetensors -o out.mkv", 7, "no frame");
    fs::write(room.path("stump.effigy"), &whole[..20]).unwrap();
    room.fails("decode stump.effigy --pack pack.safetensors -o out.mkv", 4, "stump.effigy");

    for i in 0..8 {
        let mut bytes = whole.clone();
        let at = i * whole.len() / 8;
        bytes[at] ^= 1 << (i % 8);
        fs::write(room.path("flipped.effigy"), bytes).unwrap();
        let code = room.run("inspect flipped.effigy").status.code();
        assert!(matches!(code, Some(0 | 4 | 5 | 6)), "byte {at}: {code:?}");
    }
}

#[test]
fn a_stream_of_another_pack_is_refused_with_both_packs_named() {
    let room = Room::new("packs");
    room.encode("-o a.effigy --save-identity me.identity");
    fixture::write_tiny(room.path("other.safetensors"), 2).unwrap();
    let hash = |file: &str| json(&room.ok(&format!("inspect {file} --json")))["hash"].as_str().unwrap()[..8].to_string();
    let own = hash("pack.safetensors");
    room.fails(&format!("decode a.effigy --pack other.safetensors -o out.mkv {DECODE}"), 2, &own);
    let reuse = "encode crops.mkv --aligned-input --identity me.identity --pack other.safetensors -o out.effigy";
    room.fails(&format!("{reuse} {QUICK}"), 2, &hash("other.safetensors"));
}

#[test]
fn ctrl_c_leaves_nothing_half_written() {
    let room = Room::new("interrupt");
    let line =
        "encode crops.mkv --aligned-input --pack pack.safetensors -o out.effigy --preset best --precision fp32 --device cpu";
    let mut child = room.command(line).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    // The first stage is over: the encoder is at work.
    assert!(lines.any(|line| line.unwrap().starts_with("reading crops")));
    // The shell's own kill: the program of that name belongs to a package that a bare system lacks.
    let kill = Command::new("sh").args(["-c", &format!("kill -INT {}", child.id())]).status().unwrap();
    assert!(kill.success());
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{rest:?}");
    assert_eq!(rest.last().map(String::as_str), Some("effigy: cancelled"));
    room.assert_clean("Ctrl-C");
}

#[test]
fn it_starts_in_an_empty_environment() {
    let room = Room::new("bare");
    let out = room.command("inspect pack.safetensors --json").env_clear().output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let out = room.command("inspect pack.safetensors").env_clear().env("EFFIGY_PACK", "nowhere").output().unwrap();
    assert!(out.status.success());
}

#[test]
fn heads_are_drawn_with_their_ground_truth() {
    let room = Room::new("heads");
    room.ok("train heads -o sheet.png --rows 1 --columns 2 --size 32 --clip head.mkv --frames 3 --truth head.csv --quiet");
    assert!(room.path("sheet.png").is_file());
    assert_eq!(clip(&room.path("head.mkv")).len(), 3);
    let truth = fs::read_to_string(room.path("head.csv")).unwrap();
    assert!(truth.starts_with("frame,yaw,pitch,roll,x,y,scale,jaw_open"));
    let columns: Vec<usize> = truth.lines().map(|line| line.split(',').count()).collect();
    assert_eq!(columns, [39; 4]);
}

#[test]
fn the_demo_ends_with_the_path_of_a_page_that_holds_everything() {
    let room = Room::new("demo");
    let said = room.ok(&format!("demo -o page --frames 4 --pack pack.safetensors {UNTUNED} {QUICK}"));
    let page = PathBuf::from(said.lines().last().unwrap());
    let html = fs::read_to_string(page).unwrap();
    assert!(html.contains("data:image/png;base64,") && !html.contains("{{") && !html.contains("//www"));
    assert!(room.path("page/demo.effigy").is_file() && room.path("page/decoded.mp4").is_file());
}

#[test]
fn every_subcommand_teaches_by_example() {
    let room = Room::new("help");
    for name in [
        "encode",
        "enroll",
        "decode",
        "inspect",
        "join",
        "align",
        "evaluate",
        "demo",
        "train heads",
        "train pack",
        "train parser",
        "pack regions",
    ] {
        let help = room.ok(&format!("{name} --help"));
        assert!(help.contains("Examples:") && help.contains(&format!("effigy {name}")), "{name}: {help}");
    }
    assert!(room.ok("--help").contains("Exit codes:"));
}
