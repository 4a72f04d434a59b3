//! Frames per second of the coded mode on one core: entropy coding and decoding, without pictures.
//!
//! `cargo bench --no-default-features --bench bitstream`: criterion's statistics for packets of 25 frames and for live packets of one frame
//! with two repetitions.

use criterion::{criterion_group, criterion_main, Criterion, Throughput};
use effigy::bitstream::{set_quality, Coding, FrameRecord, Identity, PacketOptions, StreamHeader, StreamIdentity};
use effigy::bitstream::{StreamReader, StreamWriter, DEFAULT_QUALITY};
use effigy::params::{FrameParams, Placement, WPlus};
use std::hint::black_box;

const FRAMES: usize = 2000;

/// A head that turns and talks, with noise on every number as searches leave it.
fn track() -> Vec<FrameRecord> {
    let mut state = 1u64;
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..FRAMES)
        .map(|i| {
            let t = i as f32 / 30.0;
            let (yaw, pitch) = (15.0 * t.sin() + 0.1 * noise(), 8.0 * (1.3 * t).cos() + 0.1 * noise());
            let mut params = FrameParams { yaw, pitch, ..FrameParams::default() };
            params.alpha.iter_mut().enumerate().for_each(|(k, a)| *a = 0.3 * (5.0 * t + k as f32).sin() + 0.06 * noise());
            let placement = Some(Placement { x: 320.0 + noise(), y: 240.0 + noise(), side: 220.0 });
            FrameRecord { pts: i as i64, params, placement }
        })
        .collect()
}

fn identity() -> Identity {
    Identity {
        pack: [0; 32],
        name: String::new(),
        resolution: 128,
        latent: WPlus { rows: 1, dim: 1, data: vec![1.0] },
        tuned: Vec::new(),
        sensitivity: [0.5; 32],
        rest: FrameParams::default(),
        anchors: Vec::new(),
        thumbnail: None,
        metadata: Default::default(),
    }
}

fn write(header: &StreamHeader, options: PacketOptions, frames: &[FrameRecord]) -> Vec<u8> {
    let reference = StreamIdentity::by_hash([0; 32]);
    let mut writer =
        StreamWriter::with_options(Vec::new(), header.clone(), &reference, options).expect("header and options are in range");
    frames.iter().for_each(|frame| writer.write_frame(frame).expect("numbers are in range"));
    writer.finish().expect("a vector takes all bytes").0
}

fn read(bytes: &[u8]) -> usize {
    let mut reader = StreamReader::open(bytes).expect("just written");
    let mut frames = 0;
    while let Some(packet) = reader.next_packet().expect("memory can be read") {
        frames += packet.frames.len();
    }
    frames
}

fn coding(c: &mut Criterion) {
    let frames = track();
    let mut header = StreamHeader { placement: true, ..StreamHeader::default() };
    set_quality(&mut header, DEFAULT_QUALITY, &identity(), &frames).expect("the quality is in range");
    let file = PacketOptions::of(Coding::Coded);
    let live = PacketOptions { frames_per_packet: 1, redundancy: 2, ..file };
    let mut group = c.benchmark_group("coded");
    group.throughput(Throughput::Elements(FRAMES as u64)).sample_size(20);
    for (name, options) in [("25 frames per packet", file), ("1 frame, 2 repeated", live)] {
        let bytes = write(&header, options, &frames);
        assert_eq!(read(&bytes), FRAMES);
        println!("{name}: {:.1} bytes per frame", bytes.len() as f64 / FRAMES as f64);
        group.bench_function(format!("write, {name}"), |b| b.iter(|| write(black_box(&header), options, black_box(&frames))));
        group.bench_function(format!("read, {name}"), |b| b.iter(|| read(black_box(&bytes))));
    }
    group.finish();
}

criterion_group!(benches, coding);
criterion_main!(benches);
