//! Frames per second of the decoder on the shapes of packs of 128 x 128 and of 256 x 256, rule-made weights.
//!
//! `cargo bench --no-default-features -F decode --bench decode`: a table of precision, threads and batch, then criterion's own
//! statistics of the usual case.

use criterion::{criterion_group, Criterion, Throughput};
use effigy::decode::{DecodeOptions, Decoder, DeviceChoice, Precision};
use effigy::pack::fixture;
use effigy::params::FrameParams;
use std::time::{Duration, Instant};

/// A head that turns and talks: 120 frames that touch many cells of the pose grid.
fn track() -> Vec<FrameParams> {
    let frame = |i: usize| {
        let t = i as f32 / 30.0;
        let mut p = FrameParams { yaw: 15.0 * t.sin(), pitch: 8.0 * (1.3 * t).cos(), ..FrameParams::default() };
        p.alpha.iter_mut().enumerate().for_each(|(k, a)| *a = 0.3 * (5.0 * t + k as f32).sin());
        p
    };
    (0..120).map(frame).collect()
}

fn decoder(shape: &fixture::Shape, precision: Precision, threads: usize, batch: usize) -> Decoder {
    let pack = fixture::pack(shape, 0).expect("the fixture is valid");
    let identity = fixture::identity(&pack, 0).expect("the fixture is valid");
    let options =
        DecodeOptions { device: DeviceChoice::Cpu, precision, threads: Some(threads), batch, ..DecodeOptions::default() };
    Decoder::new(&pack, &identity, &options).expect("the identity belongs to the pack")
}

/// Frames per second of the best stretch of 24 frames: other work on the machine only ever slows a stretch down.
fn speed(decoder: &mut Decoder, track: &[FrameParams]) -> f64 {
    decoder.render_batch(track).expect("finite parameters");
    let (begin, mut best) = (Instant::now(), 0f64);
    while begin.elapsed() < Duration::from_secs(2) {
        for stretch in track.chunks(24) {
            let start = Instant::now();
            decoder.render_batch(stretch).expect("finite parameters");
            best = best.max(stretch.len() as f64 / start.elapsed().as_secs_f64());
        }
    }
    best
}

fn table(shape: &fixture::Shape) {
    let track = track();
    let side = 2i64 << shape.channels.len();
    println!("{side} x {side}");
    println!("threads  batch   fp32 frames/s   bf16 frames/s   ratio");
    for threads in [1, 2] {
        for batch in [1, 4, 8] {
            let single = speed(&mut decoder(shape, Precision::Single, threads, batch), &track);
            let brief = speed(&mut decoder(shape, Precision::BFloat16, threads, batch), &track);
            println!("{threads:>7} {batch:>6} {single:>15.1} {brief:>15.1} {:>7.2}", brief / single);
        }
    }
    let mut chosen = decoder(shape, Precision::Auto, 2, 0);
    println!("automatic choice: {}, {:.1} frames/s", chosen.describe(), speed(&mut chosen, &track));
}

fn statistics(c: &mut Criterion) {
    let (track, mut chosen) = (track(), decoder(&fixture::Shape::full(), Precision::Auto, 2, 0));
    let mut group = c.benchmark_group("decode");
    group.sample_size(10).throughput(Throughput::Elements(track.len() as u64));
    group.bench_function("128 x 128, automatic", |b| b.iter(|| chosen.render_batch(&track).expect("finite parameters")));
    group.finish();
}

criterion_group!(benches, statistics);

fn main() {
    table(&fixture::Shape::full());
    table(&fixture::Shape::large());
    benches();
    Criterion::default().configure_from_args().final_summary();
}
