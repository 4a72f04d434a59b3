//! What lost packets cost: PSNR and bytes per frame over simulated networks, and how calmly an interruption is bridged.
//!
//! Input: a stream with its identity inside and the aligned crops it was made from. Output: tables in Markdown.
//! `cargo bench --bench loss -- STREAM CROPS`; without arguments it does nothing. Packets hold one frame, as on a call. Lost packets are
//! drawn by splitmix64 (independent), or from the two states of Gilbert and Elliott (bursts).

#[path = "../tests/common/datagram.rs"]
mod datagram;
#[path = "common/source.rs"]
mod source;

use std::collections::HashMap;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use effigy::bitstream::*;
use effigy::decode::{DecodeOptions, Decoder};
use effigy::evaluate::metrics::psnr;
use effigy::frame::Frame;
use effigy::media::{ClipReader, ReadOptions};
use effigy::pack::Pack;
use effigy::params::{FrameParams, PARAMS};
use effigy::{Error, Result};

use datagram::record;
use source::Source;

/// Loss and mean burst length of the networks, and repetitions.
const NETWORKS: [(f64, f64); 5] = [(0.0, 1.0), (0.01, 1.0), (0.05, 1.0), (0.2, 1.0), (0.2, 4.0)];
const REPETITIONS: [usize; 3] = [0, 1, 2];
/// Runs of each network, with different random numbers.
const RUNS: u64 = 5;
/// Frames from one packet without predecessors to the next.
const INTRA: u64 = 50;
/// Frames that an interruption takes away: 2 s.
const INTERRUPTION: usize = 50;

/// Lose packets of a stream and measure what is shown
#[derive(Parser)]
#[command(name = "loss")]
struct Args {
    /// Stream with its identity inside
    stream: std::path::PathBuf,
    /// The aligned crops it was made from
    crops: std::path::PathBuf,
    /// Model pack of the stream
    #[arg(long, default_value = "assets/builtin.safetensors")]
    pack: std::path::PathBuf,
    /// Quality of the coded numbers
    #[arg(long, default_value_t = DEFAULT_QUALITY)]
    quality: f32,
    /// CPU threads
    #[arg(long)]
    threads: Option<usize>,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    if std::env::args().skip(1).all(|argument| argument == "--bench") {
        println!("loss: give a stream and its aligned crops: cargo bench --bench loss -- STREAM CROPS");
        return ExitCode::SUCCESS;
    }
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("loss: {e}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    let source = Source::read(&args.stream)?;
    let crops = crops(&args.crops, source.records.len())?;
    let pack = Pack::load(&args.pack)?;
    let decoding = DecodeOptions { threads: args.threads, ..DecodeOptions::default() };
    let mut view = View { decoder: Decoder::new(&pack, &source.identity, &decoding)?, drawn: HashMap::new(), crops };
    println!("{}: {} frames, quality {}\n", args.stream.display(), source.records.len(), args.quality);
    println!("| repetitions | network | B/frame | PSNR dB | repeated % | made up % |\n|---|---|---|---|---|---|");
    for repetitions in REPETITIONS {
        let sent = Sent::new(&source, args.quality, repetitions, INTRA)?;
        for (loss, burst) in NETWORKS {
            let runs = if loss > 0.0 { RUNS } else { 1 };
            let (mut quality, mut repeated, mut concealed) = (0.0, 0, 0);
            for run in 0..runs {
                let (shown, info) = sent.play(&source.identity.rest, repetitions, &lost(sent.packets.len(), loss, burst, run))?;
                quality += view.psnr(&shown)?;
                repeated += info.repeated;
                concealed += info.concealed;
            }
            let share = |n: u64| 100.0 * n as f64 / (runs as f64 * source.records.len() as f64);
            println!(
                "| {repetitions} | {} % in bursts of {burst} | {:.1} | {:.2} | {:.1} | {:.1} |",
                100.0 * loss,
                sent.bytes_per_frame,
                quality / runs as f64,
                share(repeated),
                share(concealed)
            );
        }
    }
    for repetitions in REPETITIONS {
        interruptions(&source, args.quality, repetitions)?;
    }
    Ok(())
}

/// The largest change from frame to frame on the way to rest and back, against the clip's own, for interruptions in several places.
fn interruptions(source: &Source, quality: f32, repetitions: usize) -> Result<()> {
    // An intra packet soon after it, as a sender is asked for one.
    let sent = Sent::new(source, quality, repetitions, 5)?;
    let count = sent.packets.len();
    let changes =
        |frames: &[FrameParams]| -> Vec<f64> { frames.windows(2).map(|w| distance(&sent.header, &w[0], &w[1])).collect() };
    let clip: Vec<FrameParams> = source.records.iter().map(|record| record.params).collect();
    let mut usual = changes(&clip);
    usual.sort_by(f64::total_cmp);
    let Some(last) = usual.len().checked_sub(1) else { return Ok(()) };
    let usual = usual[last * 99 / 100];
    let (mut worst, mut places) = (0.0f64, 0);
    for begin in (5..count.saturating_sub(INTERRUPTION + 20)).step_by(4) {
        let lost: Vec<bool> = (0..count).map(|i| (begin..begin + INTERRUPTION).contains(&i)).collect();
        let shown = sent.play(&source.identity.rest, 0, &lost)?.0;
        let shown: Vec<FrameParams> = shown.iter().map(|frame| frame.frame.params).collect();
        let most = changes(&shown[begin - 1..]).into_iter().fold(0.0, f64::max);
        worst = worst.max(most);
        places += 1;
    }
    println!("\n{INTERRUPTION} frames lost in a row in {places} places, {repetitions} repetitions: largest change {:.2} x the clip's 99th percentile ({usual:.2} steps)", worst / usual);
    Ok(())
}

/// A stream as datagrams.
struct Sent {
    header: StreamHeader,
    packets: Vec<Vec<u8>>,
    bytes_per_frame: f64,
}

impl Sent {
    fn new(source: &Source, quality: f32, redundancy: usize, intra: u64) -> Result<Sent> {
        let mut header = StreamHeader { coding: Coding::Coded, ..source.header.clone() };
        set_quality(&mut header, quality, &source.identity, &source.records)?;
        let options = PacketOptions { frames_per_packet: 1, intra, redundancy, ..PacketOptions::of(Coding::Coded) };
        let mut writer = StreamWriter::with_options(
            Vec::new(),
            header,
            &StreamIdentity::by_hash(identity_hash(&source.identity_bytes)),
            options,
        )?;
        source.records.iter().try_for_each(|record| writer.write_frame(record))?;
        let header = writer.header().clone();
        let (bytes, info) = writer.finish()?;
        let mut reader = StreamReader::open(&bytes[..])?;
        let mut packets = Vec::new();
        while let Some(packet) = reader.next_packet()? {
            packets.push(record(&bytes[packet.offset as usize..]).to_vec());
        }
        Ok(Sent { header, packets, bytes_per_frame: info.bytes_per_frame() })
    }

    /// What a receiver shows that waits `patience` frames for packets.
    fn play(&self, rest: &FrameParams, patience: usize, lost: &[bool]) -> Result<(Vec<ShownFrame>, ReceiverInfo)> {
        let mut receiver = Receiver::new(self.header.clone(), rest);
        let mut shown = Vec::new();
        for now in 0..self.packets.len() + patience {
            if let (Some(packet), Some(false)) = (self.packets.get(now), lost.get(now)) {
                receiver.push(packet)?;
            }
            if now >= patience {
                shown.extend(receiver.play());
            }
        }
        Ok((shown, receiver.info()))
    }
}

/// Pictures of shown numbers against the crops; most numbers are shown in more than one run.
struct View {
    decoder: Decoder,
    drawn: HashMap<(usize, [u32; PARAMS]), f64>,
    crops: Vec<Frame>,
}

impl View {
    /// Mean over the frames.
    fn psnr(&mut self, shown: &[ShownFrame]) -> Result<f64> {
        let mut sum = 0.0;
        for (number, (frame, crop)) in shown.iter().zip(&self.crops).enumerate() {
            let key = (number, frame.frame.params.to_array().map(f32::to_bits));
            let value = match self.drawn.get(&key) {
                Some(value) => *value,
                None => psnr(&self.decoder.render(&frame.frame.params)?, crop)?,
            };
            self.drawn.insert(key, value);
            sum += value;
        }
        Ok(sum / shown.len().max(1) as f64)
    }
}

fn crops(path: &Path, count: usize) -> Result<Vec<Frame>> {
    let crops: Vec<Frame> = ClipReader::open(path, &ReadOptions::default())?
        .take(count)
        .map(|timed| timed.map(|timed| timed.frame))
        .collect::<Result<_>>()?;
    if crops.len() < count {
        return Err(Error::Misuse(format!("{}: {} crops for {count} frames", path.display(), crops.len())));
    }
    Ok(crops)
}

/// Which of `count` packets are lost; the first never is.
fn lost(count: usize, loss: f64, burst: f64, run: u64) -> Vec<bool> {
    let mut state = 0x10_55 + run;
    let mut random = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    };
    let (enter, stay) = if burst > 1.0 { (loss / ((1.0 - loss) * burst), 1.0 - 1.0 / burst) } else { (loss, loss) };
    let mut bad = false;
    (0..count)
        .map(|i| {
            bad = random() < if bad { stay } else { enter };
            bad && i > 0
        })
        .collect()
}

/// Root of the mean squared difference in steps, over the numbers that are rendered: all but roll.
fn distance(header: &StreamHeader, a: &FrameParams, b: &FrameParams) -> f64 {
    let (a, b) = (a.to_array(), b.to_array());
    let square = |i: usize| f64::from((a[i] - b[i]) / header.quantiser[i]).powi(2);
    ((0..PARAMS).filter(|i| *i != 2).map(square).sum::<f64>() / (PARAMS - 1) as f64).sqrt()
}
