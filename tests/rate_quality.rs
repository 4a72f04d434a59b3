//! The benchmark of rate against quality, on a small clip.
#![cfg(feature = "cli")]
// The benchmark's own files; it has no harness that could test them, and uses more of them than these tests do.
#![allow(dead_code)]

#[path = "../benches/rate_quality/clip.rs"]
mod clip;
#[path = "../benches/rate_quality/codecs.rs"]
mod codecs;
#[path = "../benches/rate_quality/measure.rs"]
mod measure;
#[path = "../benches/rate_quality/rows.rs"]
mod rows;

use std::fs;
use std::path::PathBuf;

use clip::Clip;
use codecs::Codec;
use effigy::frame::Frame;
use effigy::train::heads::{head_at, render, ClipSpec};
use rows::{Key, Row, Table};

/// A folder of one test's own, removed at the end.
struct Room(PathBuf);

impl Room {
    fn new(name: &str) -> Room {
        let folder = std::env::temp_dir().join(format!("effigy-rate-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Room(folder)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn heads(side: u32, frames: u64) -> Clip {
    let spec = ClipSpec { seed: 3, frames, fps: (25, 1), camera: None };
    let frames = (0..frames).map(|i| render(&head_at(&spec, i), side).frame).collect();
    Clip { name: "head".into(), frames, rate: (25, 1), hash: "00000000".into() }
}

#[test]
fn a_lower_quality_costs_fewer_bytes_and_the_yuv_round_trip_is_better_than_any() {
    let (room, clip) = (Room::new("ladder"), heads(64, 6));
    let rows: Vec<Row> =
        Codec::X264.ladder(&[1], 6, &clip).iter().map(|setting| setting.measure(&clip, &room.0).unwrap()).collect();
    assert_eq!(rows.len(), 6);
    assert!(rows.windows(2).all(|pair| pair[0].bytes < pair[1].bytes), "{rows:?}");
    let (worst, best) = (&rows[0], &rows[5]);
    assert!(worst.first_bytes > 0 && worst.first_bytes < worst.bytes && worst.figures.psnr < best.figures.psnr);
    let ceiling = codecs::round_trip(Key::new(&clip, "yuv420", 1, String::new()), &clip).unwrap();
    assert!(ceiling.figures.psnr > best.figures.psnr && ceiling.bytes == 0);
    assert!(fs::read_dir(room.0.join("work")).unwrap().next().is_none(), "coded files are removed");
}

#[test]
fn a_size_that_an_encoder_refuses_is_left_out() {
    let clip = heads(128, 1);
    // SVT-AV1 takes 64 and more: 128 and 64 remain of 128, 64 and 32.
    assert_eq!(Codec::Svt.ladder(&[1, 2, 4], 2, &clip).len(), 4);
    assert_eq!(Codec::X264.ladder(&[1, 2, 4], 2, &clip).len(), 6);
}

#[test]
fn rows_are_found_again_and_a_cut_line_is_measured_anew() {
    let (room, clip) = (Room::new("rows"), heads(16, 3));
    let path = room.0.join("rows.csv");
    let still: Vec<Frame> = vec![clip.frames[0].clone(); 3];
    let key = |setting: &str| Key::new(&clip, "x264", 2, setting.into());
    let mut table = Table::open(&path).unwrap();
    for setting in ["crf 51", "crf 46"] {
        table.add(Row::new(key(setting), &clip, &still).unwrap()).unwrap();
    }
    let whole = fs::read_to_string(&path).unwrap();
    let table = Table::open(&path).unwrap();
    assert!(table.has(&key("crf 51")) && table.has(&key("crf 46")) && !table.has(&key("crf 41")));
    assert_eq!(fs::read_to_string(&path).unwrap(), whole);

    fs::write(&path, &whole[..whole.len() - 5]).unwrap();
    let table = Table::open(&path).unwrap();
    assert!(table.has(&key("crf 51")) && !table.has(&key("crf 46")));
    fs::write(&path, "something else\n").unwrap();
    assert!(Table::open(&path).is_err());
}

#[test]
fn other_crops_under_the_same_name_are_another_clip() {
    let clip = heads(16, 1);
    let other = Clip { hash: "11111111".into(), ..heads(16, 1) };
    assert_ne!(Key::new(&clip, "still", 1, String::new()), Key::new(&other, "still", 1, String::new()));
}

#[test]
fn the_best_still_is_no_better_for_being_compared_with_itself() {
    let grey = |level| Frame::filled(16, 16, [level; 3]).unwrap();
    let clip = Clip { name: "grey".into(), frames: [100, 110, 120].map(grey).into(), rate: (25, 1), hash: String::new() };
    // 60 dB for itself, 20 log10(255/10) for each neighbour.
    let (which, psnr) = clip.best_still().unwrap();
    assert!(which == 1 && (psnr - (60.0 + 40.0 * 25.5f64.log10()) / 3.0).abs() < 1e-9, "{which} {psnr}");
}

#[test]
fn a_clip_needs_a_name_and_crops() {
    let request = clip::parse("a=crops.mkv,one.effigy,two.effigy").unwrap();
    assert_eq!((request.name.as_str(), request.streams.len()), ("a", 2));
    assert!(clip::parse("crops.mkv").is_err() && clip::parse("a=").is_err() && clip::parse("=b").is_err());
}
