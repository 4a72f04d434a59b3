//! The format's text against its code: `reference/decoder.py` was written from docs/bitstream.md alone and must read what this library writes.

mod common;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use common::Random;
use effigy::bitstream::*;
use effigy::frame::Frame;
use effigy::params::FrameParams;
use effigy::residual::{MotionMaker, Residual, ResidualMaker, ResidualOptions};

/// A file of one test's own; removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, bytes: &[u8]) -> Scratch {
        let path = std::env::temp_dir().join(format!("effigy-reference-{}-{name}", std::process::id()));
        fs::write(&path, bytes).unwrap();
        Scratch(path)
    }

    /// What the second decoder prints; `None` without Python.
    fn read(&self, command: &str) -> Option<Vec<u8>> {
        self.read_with(command, &[])
    }

    fn read_with(&self, command: &str, more: &[String]) -> Option<Vec<u8>> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reference/decoder.py");
        let Ok(out) = Command::new("python3").args([script, command]).arg(&self.0).args(more).output() else {
            println!("skipped: no python3 here");
            return None;
        };
        assert!(out.status.success(), "{}: {}", self.0.display(), String::from_utf8_lossy(&out.stderr));
        Some(out.stdout)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// One line per frame, as the second decoder prints them; numbers as bits, because there is more than one way to write them.
fn table(frames: &[FrameRecord]) -> Vec<Vec<u64>> {
    let row = |(number, frame): (usize, &FrameRecord)| {
        let mut row = vec![number as u64, frame.pts as u64];
        row.extend(frame.params.to_array().iter().map(|v| u64::from(v.to_bits())));
        row.extend(frame.placement.iter().flat_map(|p| [p.x, p.y, p.side]).map(|v| u64::from(v.to_bits())));
        row
    };
    frames.iter().enumerate().map(row).collect()
}

fn parsed(csv: &[u8]) -> Vec<Vec<u64>> {
    let text = String::from_utf8(csv.to_vec()).unwrap();
    let cell = |(column, cell): (usize, &str)| match column {
        0 => cell.parse().unwrap(),
        1 => cell.parse::<i64>().unwrap() as u64,
        _ => u64::from(cell.parse::<f32>().unwrap().to_bits()),
    };
    let row = |line: &str| line.split(',').enumerate().filter(|(_, c)| !c.is_empty()).map(cell).collect();
    text.lines().skip(1).map(row).collect()
}

/// Time stamps and numbers are the same; how frames are counted where some are missing is the reader's own affair.
fn same(theirs: Vec<Vec<u64>>, ours: Vec<Vec<u64>>, what: &str) {
    for (i, (a, b)) in theirs.iter().zip(&ours).enumerate() {
        assert_eq!(a[1..], b[1..], "{what}: line {i}");
    }
    assert_eq!(theirs.len(), ours.len(), "{what}");
}

/// What this library reads, lost frames left out but for those that are repeated.
fn read(bytes: &[u8]) -> Vec<FrameRecord> {
    let mut reader = StreamReader::open(bytes).unwrap();
    let mut out = Vec::new();
    while let Some(packet) = reader.next_packet().unwrap() {
        let lost = packet.lost_before as usize;
        out.extend(&packet.repeated[packet.repeated.len().saturating_sub(lost)..]);
        out.extend(&packet.frames);
    }
    out
}

/// Smooth numbers with jumps, and an identity whose sensitivities set the steps.
fn clip(random: &mut Random, count: usize, placement: bool) -> (Identity, Vec<FrameRecord>) {
    let mut identity = random.identity(2, 8);
    identity.sensitivity = std::array::from_fn(|i| 0.3 + 0.05 * i as f32);
    identity.rest = FrameParams::default();
    let mut now = [0f32; 35];
    let mut pts = 50;
    let mut frames = Vec::new();
    for _ in 0..count {
        let leap = if random.below(15) == 0 { 6.0 } else { 0.15 };
        now.iter_mut().for_each(|v| *v = 0.9 * *v + leap * random.unit());
        pts += if random.below(9) == 0 { 1 + random.below(5000) as i64 } else { 1001 };
        let place =
            placement.then(|| effigy::params::Placement { x: 300.0 + 9.0 * random.unit(), y: 200.0, side: 150.0 + now[3] });
        frames.push(FrameRecord { pts, params: FrameParams::from_array(&now), placement: place });
    }
    (identity, frames)
}

#[test]
fn a_decoder_written_from_the_text_reads_every_number_of_coded_and_raw_streams() {
    let mut random = Random(21);
    let mut lost = 0;
    for case in 0..8u64 {
        let placement = case % 2 == 0;
        let (identity, frames) = clip(&mut random, 300 + 40 * case as usize, placement);
        let mut header = StreamHeader { placement, frame_ticks: 1001, start_pts: 50, ..StreamHeader::default() };
        if case < 6 {
            set_quality(&mut header, 40.0 + 10.0 * case as f32, &identity, &frames).unwrap();
        }
        let redundancy = [0, 3, 0, 2, 0, 1, 0, 0][case as usize];
        let options =
            PacketOptions { redundancy, frames_per_packet: 1 + case as usize * 3, intra: 70, coarseness: case as u8 / 2 };
        let reference = StreamIdentity::inline(identity.to_bytes().unwrap());
        let mut writer = StreamWriter::with_options(Vec::new(), header, &reference, options).unwrap();
        writer.write_plate(&[case as u8 + 100; 9000]).unwrap();
        for frame in &frames {
            writer.write_sound(&[case as u8; 11]).unwrap();
            writer.write_frame(frame).unwrap();
        }
        let (bytes, _) = writer.finish().unwrap();
        let whole = Scratch::new(&format!("{case}.effigy"), &bytes);
        let Some(csv) = whole.read("params") else { return };
        same(parsed(&csv), table(&read(&bytes)), &format!("case {case}"));
        assert_eq!(whole.read("sound").unwrap(), vec![case as u8; 11 * frames.len()]);
        assert_eq!(whole.read("plate").unwrap(), vec![case as u8 + 100; 9000]);
        // Ten places are damaged: packets that are left, and what they repeat, must come out alike.
        let mut damaged = bytes.clone();
        let front = bytes.len() / 3;
        for _ in 0..10 {
            damaged[front + random.below((bytes.len() - front) as u64 - 30) as usize] ^= 1;
        }
        let mut reader = StreamReader::open(&damaged[..]).unwrap();
        while reader.next_packet().unwrap().is_some() {}
        assert!(reader.info().damaged > 0, "case {case}");
        lost += reader.info().lost_frames;
        let csv = Scratch::new(&format!("{case}-damaged.effigy"), &damaged).read("params").unwrap();
        same(parsed(&csv), table(&read(&damaged)), &format!("case {case}, damaged"));
    }
    assert!(lost > 100, "{lost} frames lost in all cases");
}

#[test]
fn a_decoder_written_from_the_text_reads_every_weight_of_identities() {
    let mut random = Random(22);
    for case in 0..6 {
        let identity = random.identity(3, 16);
        let file = Scratch::new(&format!("{case}.identity"), &identity.to_bytes().unwrap());
        let Some(text) = file.read("identity") else { return };
        let text = String::from_utf8(text).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].ends_with(&format!("resolution {}", identity.resolution)), "{text}");
        let rest: Vec<u32> = lines[1].split(' ').skip(1).map(|v| v.parse::<f32>().unwrap().to_bits()).collect();
        assert_eq!(rest, identity.rest.to_array().map(f32::to_bits));
        assert_eq!(lines[2], format!("anchors {}", identity.anchors.len()));
        let latent = &Identity::from_bytes(&fs::read(&file.0).unwrap()).unwrap().latent;
        let sum: f64 = latent.data.iter().map(|v| f64::from(*v)).sum();
        let (size, theirs) = lines[3].split_once(" sum ").unwrap();
        assert_eq!(size, format!("latent {} x {}", latent.rows, latent.dim));
        assert!((theirs.parse::<f64>().unwrap() - sum).abs() < 1e-6 * sum.abs().max(1.0), "{theirs}, {sum}");
        for (line, tensor) in lines[4..].iter().zip(&identity.tuned) {
            let weighed = |(i, v): (usize, &i32)| (i64::from(*v) as u64).wrapping_mul(i as u64 % 1_000_003 + 1);
            let check = tensor.values.iter().enumerate().map(weighed).fold(0u64, u64::wrapping_add);
            let sum: u64 = tensor.values.iter().map(|v| u64::from(v.unsigned_abs())).sum();
            let (shape, steps) = (&tensor.shape, &tensor.steps);
            assert_eq!(*line, format!("{} {shape:?} steps {steps:?} sum of magnitudes {sum} check {check}", tensor.name));
        }
        assert_eq!(lines.len(), 4 + identity.tuned.len());
    }
}

/// Mid grey crops, and what a sender saw: blobs that come, stay and go.
fn blobs(side: u32, frames: u32) -> (Frame, Vec<Frame>) {
    let grey = Frame::filled(side, side, [128; 3]).unwrap();
    let seen = |t: u32| {
        let mut frame = grey.clone();
        let blobs = [(0.3, 0.4, 70.0, t), (0.7, 0.3, -90.0, frames - t), (0.5, 0.8, 40.0, frames)];
        for (i, byte) in frame.data.iter_mut().enumerate() {
            let (x, y) = ((i / 3) as u32 % side, (i / 3) as u32 / side);
            for (k, (cx, cy, height, weight)) in blobs.into_iter().enumerate() {
                let (dx, dy) = (x as f32 / side as f32 - cx, y as f32 / side as f32 - cy);
                let bump = height * (-60.0 * (dx * dx + dy * dy)).exp() * weight as f32 / frames as f32;
                *byte = (f32::from(*byte) + bump * [1.0, 0.6, 0.3][(i + k) % 3]).round().clamp(0.0, 255.0) as u8;
            }
        }
        frame
    };
    let seen = (0..frames).map(seen).collect();
    (grey, seen)
}

/// Writes a stream with these records beside so many frames, whole and with one of them lost, and compares what both decoders make of the picture.
fn compare(command: &str, name: &str, picture: &Frame, records: &[ResidualRecord], frames: usize) {
    let header = StreamHeader { resolution: picture.width, placement: false, ..StreamHeader::default() };
    for lost in [None, Some(1)] {
        let mut writer = StreamWriter::new(Vec::new(), header.clone(), &StreamIdentity::by_hash([1; 32])).unwrap();
        let kept = records.iter().filter(|record| Some(record.number) != lost);
        kept.for_each(|record| writer.write_residual(record).unwrap());
        for i in 0..frames {
            writer.write_frame(&FrameRecord { pts: i as i64, params: FrameParams::default(), placement: None }).unwrap();
        }
        let (bytes, _) = writer.finish().unwrap();
        let (mut reader, mut residual, mut ours) = (StreamReader::open(&bytes[..]).unwrap(), Residual::new(), Vec::new());
        while let Some(packet) = reader.next_packet().unwrap() {
            packet.residuals.into_iter().for_each(|record| residual.push(record));
            for number in u64::from(packet.sequence)..u64::from(packet.sequence) + packet.frames.len() as u64 {
                let mut frame = picture.clone();
                residual.apply(number, &mut frame);
                ours.push(frame);
            }
        }
        let looks = [0u64, 12, 35];
        let more: Vec<String> = looks.iter().map(u64::to_string).collect();
        let file = Scratch::new(&format!("{name}-{lost:?}.effigy"), &bytes);
        let Some(theirs) = file.read_with(command, &more) else { return };
        assert_eq!(theirs.len(), looks.len() * picture.data.len());
        for (look, theirs) in looks.iter().zip(theirs.chunks_exact(picture.data.len())) {
            let ours = &ours[*look as usize];
            assert_ne!(ours, picture, "there is something to see at {look}");
            // Sums in another order may round the other way.
            let off = ours.data.iter().zip(theirs).map(|(a, b)| a.abs_diff(*b)).max();
            assert!(off <= Some(1), "{name}, lost {lost:?}, frame {look}: {off:?}");
        }
    }
}

/// The residual records of these crops, some of which need no other and some of which do.
fn residual_records(grey: &Frame, seen: &[Frame], options: ResidualOptions) -> Vec<ResidualRecord> {
    let mut maker = ResidualMaker::new(grey.width, options).unwrap();
    let mut records = Vec::new();
    for crop in seen {
        records.extend(maker.push(crop, grey).unwrap());
    }
    records.extend(maker.finish().unwrap().0);
    assert!(records.iter().filter(|record| record.intra).count() > 1 && records.iter().any(|record| !record.intra));
    records
}

#[test]
fn a_decoder_written_from_the_text_shows_every_residual() {
    // The last one is larger than a residual may be.
    for (side, every, bytes_per_frame) in [(40, 10, 60.0), (33, 7, 200.0), (300, 18, 90.0)] {
        let (grey, seen) = blobs(side, 36);
        let options = ResidualOptions { every, intra: 15, ..ResidualOptions::of(bytes_per_frame) };
        let records = residual_records(&grey, &seen, options);
        compare("residual", &format!("residual-{side}"), &grey, &records, seen.len());
    }
}

#[test]
fn a_decoder_written_from_the_text_shows_every_motion() {
    for (side, every) in [(40, 10), (33, 7), (300, 18)] {
        let pixel = |i: u32, right: u32| {
            let (x, y) = ((i % side + right).min(side - 1), i / side);
            [255 * x / side, 255 * y / side, (x * x + 3 * x * y + 5 * y) % 256].map(|v| v as u8)
        };
        let picture = |right: u32| Frame::new(side, side, (0..side * side).flat_map(|i| pixel(i, right)).collect()).unwrap();
        let drawn = picture(0);
        let options = ResidualOptions { every, intra: 15, ..ResidualOptions::of_motion(60.0) };
        let mut maker = MotionMaker::new(side, options).unwrap();
        let mut settled: Vec<_> = (0..36).map(|t| maker.push(picture(2 + side * t / 400), drawn.clone()).unwrap()).collect();
        settled.extend(maker.finish().unwrap().0);
        let records: Vec<_> = settled.into_iter().filter_map(|settled| settled.record).collect();
        assert!(records.iter().any(|record| record.intra) && records.iter().any(|record| !record.intra));
        compare("motion", &format!("motion-{side}"), &drawn, &records, 36);
        // A finer field than any that is fitted, and a wild one: a residual's levels, taken for one.
        if side <= 64 {
            let (grey, seen) = blobs(side, 36);
            let options = ResidualOptions { every, intra: 15, ..ResidualOptions::of(60.0) };
            let taken = |record| ResidualRecord { kind: ResidualKind::Motion, ..record };
            let records: Vec<_> = residual_records(&grey, &seen, options).into_iter().map(taken).collect();
            compare("motion", &format!("wild-{side}"), &drawn, &records, 36);
        }
    }
}
