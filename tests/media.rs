//! Clips through files and back: pixels, time stamps, sound, marks, and what bad input is told.
#![cfg(feature = "decode")]

use std::path::{Path, PathBuf};
use std::process::Command;

use effigy::frame::{Frame, TimeBase, TimedFrame};
use effigy::media::{probe, read_png, write_png, AudioSource, ClipReader, ClipWriter, ReadOptions, WriteOptions};
use effigy::Error;

/// A folder for one test, removed at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("effigy-media-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> =
            std::fs::read_dir(&self.0).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Frame `n`: noise of a linear congruential generator, so that a wrong byte anywhere shows.
fn noise(width: u32, height: u32, n: u32) -> Frame {
    let mut state = n.wrapping_mul(2_654_435_761).wrapping_add(12345);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    Frame::new(width, height, (0..3 * width * height).map(|_| next()).collect()).unwrap()
}

/// Frame `n`: smooth colour ramps that lossy coding keeps, and that differ from frame to frame.
fn smooth(width: u32, height: u32, n: u32) -> Frame {
    let mut data = Vec::new();
    for y in 0..height {
        for x in 0..width {
            data.extend_from_slice(&[(40 + 2 * x + 8 * (n % 8)) as u8, (60 + 2 * y) as u8, (220 - x - y) as u8]);
        }
    }
    Frame::new(width, height, data).unwrap()
}

fn write(path: &Path, base: TimeBase, stamps: &[i64], make: fn(u32, u32, u32) -> Frame, options: &WriteOptions) {
    let mut writer = ClipWriter::create(path, 64, 48, base, options).unwrap();
    for (n, &pts) in stamps.iter().enumerate() {
        writer.write(pts, &make(64, 48, n as u32)).unwrap();
    }
    writer.finish().unwrap();
}

fn read(path: &Path, options: &ReadOptions) -> (TimeBase, Vec<TimedFrame>) {
    let reader = ClipReader::open(path, options).unwrap();
    (reader.info().time_base, reader.map(|f| f.unwrap()).collect())
}

/// Stamps must agree as exact fractions of a second.
fn assert_same_times(name: &str, wrote: (TimeBase, &[i64]), read: (TimeBase, &[TimedFrame])) {
    assert_eq!(wrote.1.len(), read.1.len(), "{name}: number of frames");
    for (a, b) in wrote.1.iter().zip(read.1) {
        let left = i128::from(*a) * i128::from(wrote.0.num) * i128::from(read.0.den);
        let right = i128::from(b.pts) * i128::from(read.0.num) * i128::from(wrote.0.den);
        assert_eq!(left, right, "{name}: stamp {a} of {:?} came back as {} of {:?}", wrote.0, b.pts, read.0);
    }
}

/// Time bases and stamps of the hard cases: plain, NTSC both ways round, irregular at 90 kHz, not beginning at zero.
fn time_lines() -> Vec<(&'static str, TimeBase, Vec<i64>)> {
    let base = |num, den| TimeBase { num, den };
    vec![
        ("25 fps", base(1, 25), (0..8).collect()),
        ("30000/1001 by frame", base(1001, 30000), (0..40).collect()),
        ("30000/1001 by tick", base(1, 30000), (0..40).map(|n| 1001 * n).collect()),
        ("irregular", base(1, 90_000), vec![0, 1, 3003, 3100, 7777, 95_000, 95_001, 400_123]),
        ("irregular 12800", base(1, 12_800), vec![0, 511, 1025, 1536, 9000]),
        ("late", base(1, 30_000), vec![1001, 2002, 3003, 9009, 10_011]),
    ]
}

#[test]
fn lossless_clips_give_back_every_byte_and_every_stamp() {
    let dir = Scratch::new("ffv1");
    for (name, base, stamps) in time_lines() {
        let path = dir.path("a.mkv");
        write(&path, base, &stamps, noise, &WriteOptions::default());
        let (read_base, frames) = read(&path, &ReadOptions::default());
        assert_same_times(name, (base, &stamps), (read_base, &frames));
        for (n, f) in frames.iter().enumerate() {
            assert!(f.frame == noise(64, 48, n as u32), "{name}: frame {n} changed");
        }
    }
}

#[test]
fn other_players_see_lossless_clips_at_the_right_times_too() {
    let dir = Scratch::new("players");
    let path = dir.path("a.mkv");
    let stamps: Vec<i64> = (0..30).collect();
    let options = WriteOptions { frame_rate: Some((30000, 1001)), ..WriteOptions::default() };
    write(&path, TimeBase { num: 1001, den: 30000 }, &stamps, noise, &options);
    let out = Command::new("ffprobe")
        .args(["-v", "warning", "-show_entries", "packet=pts_time", "-of", "csv=p=0"])
        .arg(&path)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&out.stderr), "");
    for (n, line) in String::from_utf8_lossy(&out.stdout).lines().enumerate() {
        let seconds: f64 = line.trim_end_matches(',').parse().unwrap();
        assert!((seconds - n as f64 * 1001.0 / 30000.0).abs() < 2e-6, "frame {n} at {seconds}");
    }
}

#[test]
fn h264_clips_keep_stamps_and_colours() {
    let dir = Scratch::new("h264");
    for (name, base, stamps) in time_lines() {
        let path = dir.path("a.mp4");
        write(&path, base, &stamps, smooth, &WriteOptions::default());
        let (read_base, frames) = read(&path, &ReadOptions::default());
        assert_same_times(name, (base, &stamps), (read_base, &frames));
        for (n, f) in frames.iter().enumerate() {
            let want = smooth(64, 48, n as u32);
            let worst: f64 = (0..3)
                .map(|c| {
                    let sum: i64 =
                        want.data.iter().zip(&f.frame.data).skip(c).step_by(3).map(|(a, b)| i64::from(*a) - i64::from(*b)).sum();
                    (sum as f64 / (64.0 * 48.0)).abs()
                })
                .fold(0.0, f64::max);
            // BT.601 taken for BT.709 moves the mean of green by 5 on these ramps.
            assert!(worst < 3.0, "{name}: frame {n}: a channel's mean is off by {worst}");
        }
    }
}

#[test]
fn h264_clips_are_tagged_bt709() {
    let dir = Scratch::new("tags");
    let path = dir.path("a.mp4");
    write(&path, TimeBase { num: 1, den: 25 }, &[0, 1], smooth, &WriteOptions::default());
    let entries = "stream=pix_fmt,color_range,color_space,color_transfer,color_primaries";
    let out =
        Command::new("ffprobe").args(["-v", "error", "-show_entries", entries, "-of", "csv=p=0"]).arg(&path).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&out.stdout).trim(), "yuv420p,tv,bt709,bt709,bt709");
}

#[test]
fn odd_sides_are_padded_in_h264_and_kept_in_ffv1() {
    let dir = Scratch::new("odd");
    for (name, want) in [("a.mp4", (34, 18)), ("a.mkv", (33, 17))] {
        let path = dir.path(name);
        let mut writer = ClipWriter::create(&path, 33, 17, TimeBase { num: 1, den: 25 }, &WriteOptions::default()).unwrap();
        writer.write(0, &smooth(33, 17, 0)).unwrap();
        writer.finish().unwrap();
        let info = probe(&path).unwrap();
        assert_eq!((info.width, info.height), want, "{name}");
    }
}

#[test]
fn folders_of_pictures_give_back_every_byte_and_stamp() {
    let dir = Scratch::new("folder");
    let (base, stamps) = (TimeBase { num: 1, den: 30000 }, [0, 1001, 2002, 9000]);
    let new = PathBuf::from(format!("{}/", dir.path("new").display()));
    std::fs::create_dir(dir.path("old")).unwrap();
    for path in [new, dir.path("old")] {
        write(&path, base, &stamps, noise, &WriteOptions::default());
        let (read_base, frames) = read(&path, &ReadOptions::default());
        assert_same_times("folder", (base, &stamps), (read_base, &frames));
        assert!(frames.iter().enumerate().all(|(n, f)| f.frame == noise(64, 48, n as u32)));
        assert_eq!(std::fs::read_dir(&path).unwrap().count(), stamps.len(), "nothing but the pictures is left");
    }
}

#[test]
fn part_of_a_clip_is_exactly_the_frames_asked_for() {
    let dir = Scratch::new("part");
    for name in ["a.mkv", "a.mp4", "a/"] {
        let path = dir.path(name);
        write(&path, TimeBase { num: 1, den: 25 }, &(0..30).collect::<Vec<_>>(), smooth, &WriteOptions::default());
        let times = |options: ReadOptions| -> Vec<i64> {
            let (base, frames) = read(&path, &options);
            frames.iter().map(|f| f.pts * 25 * i64::from(base.num) / i64::from(base.den)).collect()
        };
        let all = ReadOptions::default();
        assert_eq!(times(ReadOptions { start_frame: 7, frames: Some(3), ..all.clone() }), [7, 8, 9], "{name}");
        assert_eq!(times(ReadOptions { start: 0.4, frames: Some(2), ..all.clone() }), [10, 11], "{name}");
        assert_eq!(times(ReadOptions { start_frame: 28, ..all.clone() }), [28, 29], "{name}");
    }
}

#[test]
fn a_rotated_clip_is_read_upright() {
    let dir = Scratch::new("rotate");
    let (path, turned) = (dir.path("a.mp4"), dir.path("b.mp4"));
    write(&path, TimeBase { num: 1, den: 25 }, &[0, 1], smooth, &WriteOptions::default());
    let ok = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(&path)
        .args(["-c", "copy", "-metadata:s:v", "rotate=90"])
        .arg(&turned)
        .status();
    assert!(ok.unwrap().success());
    let info = probe(&turned).unwrap();
    assert_eq!((info.width, info.height), (48, 64));
    let (_, frames) = read(&turned, &ReadOptions::default());
    let (_, plain) = read(&path, &ReadOptions::default());
    assert_eq!((frames[0].frame.width, frames[0].frame.height), (48, 64));
    // Clockwise by 90 degrees, or the other way: the file's tag and ffmpeg's reading of it must agree with what we say.
    let (x, y) = if info.rotation == 90 { (47 - 10, 20) } else { (10, 63 - 20) };
    let (a, b) = (frames[0].frame.pixel(x, y), plain[0].frame.pixel(20, 10));
    assert!(a.iter().zip(b).all(|(a, b)| a.abs_diff(b) < 6), "{a:?} {b:?} at rotation {}", info.rotation);
}

/// A clip of one second of tone with pictures, made by ffmpeg.
fn clip_with_sound(path: &Path, audio: &[&str]) {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-f", "lavfi", "-i", "testsrc=s=64x48:r=25:d=2", "-f", "lavfi", "-i", "sine=f=440:d=2"]);
    assert!(command.args(["-pix_fmt", "yuv420p"]).args(audio).arg(path).status().unwrap().success());
}

#[test]
fn sound_comes_along_trimmed_to_the_coded_range() {
    let dir = Scratch::new("sound");
    for (source, codec) in [("aac.mp4", "aac"), ("pcm.mov", "pcm_s16le")] {
        let source = dir.path(source);
        clip_with_sound(&source, &["-c:a", codec]);
        for (name, start) in [("a.mkv", 0.0), ("a.mp4", 0.0), ("b.mkv", 1.0), ("b.mp4", 1.0)] {
            let path = dir.path(name);
            let audio = Some(AudioSource { path: source.clone(), start, duration: Some(0.8), matroska: false });
            write(
                &path,
                TimeBase { num: 1, den: 25 },
                &(0..20).collect::<Vec<_>>(),
                smooth,
                &WriteOptions { audio, ..WriteOptions::default() },
            );
            let info = probe(&path).unwrap();
            assert!(info.has_audio, "{name}: no sound");
            let (first, last) = audio_span(&path);
            assert!(first.abs() < 0.05, "{codec} {name}: sound begins at {first}");
            assert!((last - 0.8).abs() < 0.08, "{codec} {name}: sound ends at {last}");
        }
    }
}

/// Time of the first sound packet and end of the last, seconds.
fn audio_span(path: &Path) -> (f64, f64) {
    let out = Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", "a", "-show_entries", "packet=pts_time,duration_time", "-of", "csv=p=0"])
        .arg(path)
        .output()
        .unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    let number = |line: &str, n: usize| line.split(',').nth(n).unwrap().parse::<f64>().unwrap();
    let (first, last) = (text.lines().next().unwrap(), text.lines().last().unwrap());
    (number(first, 0), number(last, 0) + number(last, 1))
}

#[test]
fn synthetic_clips_say_so() {
    let dir = Scratch::new("mark");
    let options = WriteOptions { synthetic: true, comment: Some("from a test".into()), ..WriteOptions::default() };
    for name in ["a.mkv", "a.mp4"] {
        let path = dir.path(name);
        write(&path, TimeBase { num: 1, den: 25 }, &[0, 1], smooth, &options);
        let out = Command::new("ffprobe").args(["-v", "error", "-show_format"]).arg(&path).output().unwrap();
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        assert!(text.contains("from a test; Synthetic media"), "{name}: {text}");
        assert!(text.contains("trainedAlgorithmicMedia"), "{name}: {text}");
    }
    let path = dir.path("a.png");
    write_png(&path, &noise(5, 4, 1), true).unwrap();
    assert!(String::from_utf8_lossy(&std::fs::read(&path).unwrap()).contains("trainedAlgorithmicMedia"));
    assert!(read_png(&path).unwrap() == noise(5, 4, 1));
}

#[test]
fn an_unfinished_clip_leaves_nothing_and_hurts_nothing() {
    let dir = Scratch::new("drop");
    for name in ["a.mkv", "a.mp4", "a/"] {
        let path = dir.path(name);
        let mut writer = ClipWriter::create(&path, 64, 48, TimeBase { num: 1, den: 25 }, &WriteOptions::default()).unwrap();
        writer.write(0, &noise(64, 48, 0)).unwrap();
        drop(writer);
        assert_eq!(dir.names(), Vec::<String>::new(), "{name}");
    }
    let empty = ClipWriter::create(dir.path("a.mkv"), 64, 48, TimeBase { num: 1, den: 25 }, &WriteOptions::default()).unwrap();
    assert!(matches!(empty.finish(), Err(Error::NoContent(_))));
    assert_eq!(dir.names(), Vec::<String>::new());
}

#[test]
fn stamps_must_rise_and_sizes_must_fit() {
    let dir = Scratch::new("misuse");
    let mut writer = ClipWriter::create(dir.path("a/"), 8, 8, TimeBase { num: 1, den: 25 }, &WriteOptions::default()).unwrap();
    writer.write(3, &noise(8, 8, 0)).unwrap();
    for (pts, side) in [(3, 8), (2, 8), (-1, 8), (4, 9)] {
        assert!(matches!(writer.write(pts, &noise(side, 8, 0)), Err(Error::Misuse(_))), "stamp {pts}, side {side}");
    }
}

#[test]
fn bad_input_is_named_in_one_line() {
    let dir = Scratch::new("bad");
    std::fs::write(dir.path("empty.mp4"), b"").unwrap();
    std::fs::write(dir.path("text.mp4"), b"this is not a video at all, only words").unwrap();
    std::fs::write(dir.path("bad.png"), b"\x89PNG\r\n\x1a\nxxxxxxxxxxxxxxxxx").unwrap();
    std::fs::create_dir(dir.path("nothing")).unwrap();
    let whole = dir.path("whole.mkv");
    write(&whole, TimeBase { num: 1, den: 25 }, &[0, 1], noise, &WriteOptions::default());
    let bytes = std::fs::read(&whole).unwrap();
    std::fs::write(dir.path("cut.mkv"), &bytes[..600]).unwrap();
    for (name, part) in [
        ("missing.mp4", "cannot open"),
        ("empty.mp4", "the file is empty"),
        ("text.mp4", "not a clip"),
        ("bad.png", ""),
        ("nothing", "no PNG files"),
        ("cut.mkv", ""),
    ] {
        let result: effigy::Result<()> =
            ClipReader::open(dir.path(name), &ReadOptions::default()).and_then(|mut r| match r.next() {
                Some(Err(e)) => Err(e),
                other => panic!("{name} was read: {:?}", other.map(|_| ())),
            });
        let text = result.err().unwrap().to_string();
        assert!(text.contains(part) && text.contains(name), "{name}: {text}");
        assert_eq!(text.lines().count(), 1, "{name}: {text}");
    }
}

#[test]
fn a_playlist_cannot_open_other_files() {
    let dir = Scratch::new("playlist");
    write(&dir.path("secret.mp4"), TimeBase { num: 1, den: 25 }, &[0, 1], smooth, &WriteOptions::default());
    let secret = dir.path("secret.mp4");
    let hls = format!("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n", secret.display());
    let concat = format!("ffconcat version 1.0\nfile '{}'\n", secret.display());
    for (name, text) in [("a.mp4", &hls), ("a.m3u8", &hls), ("b.mp4", &concat), ("b.ffconcat", &concat)] {
        std::fs::write(dir.path(name), text).unwrap();
        assert!(matches!(probe(dir.path(name)), Err(Error::Malformed(_))), "{name} was opened");
        assert!(ClipReader::open(dir.path(name), &ReadOptions::default()).is_err(), "{name} was opened");
    }
}

#[test]
fn strange_names_are_only_names() {
    let dir = Scratch::new("names");
    for name in ["-i.mkv", "a b'c.mkv", "http:x.mkv", "%03d.mkv"] {
        let path = dir.path(name);
        write(&path, TimeBase { num: 1, den: 25 }, &[0, 1], noise, &WriteOptions::default());
        assert_eq!(read(&path, &ReadOptions::default()).1.len(), 2, "{name}");
    }
    for n in 0..3 {
        write_png(dir.path(&format!("x{n}.png")), &noise(8, 8, n), false).unwrap();
    }
    write_png(dir.path("x%d.png"), &noise(8, 8, 9), false).unwrap();
    let (_, frames) = read(&dir.path("x%d.png"), &ReadOptions::default());
    assert_eq!(frames.len(), 1);
    assert!(frames[0].frame == noise(8, 8, 9), "a pattern was expanded");
}

#[test]
fn a_reader_dropped_early_ends_at_once() {
    let dir = Scratch::new("early");
    let path = dir.path("a.mkv");
    write(&path, TimeBase { num: 1, den: 25 }, &(0..50).collect::<Vec<_>>(), noise, &WriteOptions::default());
    let mut reader = ClipReader::open(&path, &ReadOptions::default()).unwrap();
    assert_eq!(reader.next().unwrap().unwrap().pts, 0);
    let begin = std::time::Instant::now();
    drop(reader);
    assert!(begin.elapsed().as_secs() < 5);
}

/// Telephones store a picture as the sensor saw it, and beside it how it was held.
#[cfg(feature = "analysis")]
#[test]
fn a_photograph_is_turned_as_it_was_held() {
    let scratch = Scratch::new("held");
    // Wide, white on the left; turned by a quarter to the right the white is above.
    let pixels: Vec<u8> = (0..64 * 32).flat_map(|i| if i % 64 < 32 { [255; 3] } else { [0; 3] }).collect();
    let mut file = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut file, 95);
    let orientation = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
    encoder.add_app_segment(1, orientation.to_vec()).unwrap();
    encoder.encode(&pixels, 64, 32, jpeg_encoder::ColorType::Rgb).unwrap();
    let path = scratch.path("held.jpg");
    std::fs::write(&path, file).unwrap();
    let info = probe(&path).unwrap();
    assert_eq!((info.width, info.height, info.rotation), (32, 64, 90));
    let frame = ClipReader::open(&path, &ReadOptions::default()).unwrap().next().unwrap().unwrap().frame;
    assert_eq!((frame.width, frame.height), (32, 64));
    assert!(frame.pixel(16, 8)[0] > 240 && frame.pixel(16, 56)[0] < 15, "{:?}", frame.pixel(16, 8));
}
