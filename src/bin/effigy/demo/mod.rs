//! `effigy demo`: the whole codec on one clip, and a page that shows what came out.
//!
//! Without a clip it films a parametric head that no pack was trained on. The identity is tuned on the first part of the clip
//! only, so that the page can show figures of frames that the tuning never saw.

mod page;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use effigy::bitstream::{Identity, StreamIdentity, StreamInfo, StreamReader};
use effigy::decode::Decoder;
use effigy::encode::{enroll, search, AlignedFrame, EncodeOptions, Track, Tuning};
use effigy::evaluate::html::Tile;
use effigy::evaluate::{still_candidates, Evaluator, Report};
use effigy::frame::{Frame, TimeBase};
use effigy::media::{ClipWriter, WriteOptions};
use effigy::pack::Pack;
use effigy::params::FrameParams;
use effigy::progress::{check, Progress};
use effigy::residual::Residual;
use effigy::train::heads::{head_at, render, ClipSpec};
use effigy::{Error, Result};

use crate::clip::{self, Camera, ClipArgs};
use crate::coding::CodingArgs;
use crate::common::{side, size, DeviceArgs, FitArgs, PackArgs, PresetArg};
use crate::decode::Mapping;
use crate::encode::{code_frames, header, records, write_stream, Beside};
use crate::output::{print, Staged};
use crate::progress::{duration, Reporter};
use page::{Page, Player};

const EXAMPLES: &str = "\
Examples:
  effigy demo                          a synthetic clip of 40 frames
  effigy demo face.mp4 -o out          your clip: its first 100 frames
  effigy demo face.mp4 --frames 250 --preset medium

The last line on standard output is the path of the page. Open it in a browser; it needs no network.";

/// Frames of the synthetic clip.
const SYNTHETIC_FRAMES: u64 = 40;
/// Most frames taken from a clip unless told otherwise.
const CLIP_FRAMES: u64 = 100;
/// Share of the clip that the identity is tuned on.
const TUNED_SHARE: f64 = 0.6;
/// Seed of the synthetic clip, and of the face that is driven.
const CLIP_SEED: u64 = 5;
const PUPPET_SEED: u64 = 11;
/// Frames the driven face is enrolled from.
const PUPPET_FRAMES: u64 = 6;
/// A demo should not take long.
const PRESET: PresetArg = PresetArg::Fast;
/// Frames per second of synthetic clips.
const RATE: u32 = 25;
/// Frames rendered at a time.
const BATCH: usize = 8;

/// Encode, decode and measure a clip, and show it on a page
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Video of one person [default: a synthetic head]
    clip: Option<PathBuf>,
    /// Folder for the page, the stream and the decoded clip
    #[arg(short, long, value_name = "DIR", default_value = "demo-out")]
    output: PathBuf,
    /// Leave the face of a second person out
    #[arg(long)]
    no_puppet: bool,
    #[command(flatten)]
    coding: CodingArgs,
    #[command(flatten)]
    clip_args: ClipArgs,
    #[command(flatten)]
    fit: FitArgs,
    #[command(flatten)]
    pack: PackArgs,
    #[command(flatten)]
    device: DeviceArgs,
}

/// The clip, aligned.
struct Crops {
    camera: Camera,
    frames: Vec<AlignedFrame>,
}

/// All that the stages found.
struct Outcome {
    identity_bytes: usize,
    info: StreamInfo,
    params: Vec<FrameParams>,
    decoded: Vec<Frame>,
    puppet: Vec<Frame>,
    seen: usize,
    all: Report,
    unseen: Option<Report>,
    tuning: Duration,
    searching: Duration,
    decoding: Duration,
}

pub fn run(args: &Args, reporter: &Reporter) -> Result<()> {
    args.coding.check()?;
    args.fit.check_known(false)?;
    std::fs::create_dir_all(&args.output).map_err(|e| Error::io("create", &args.output, e))?;
    let page_path = args.output.join("index.html");
    let staged = Staged::create(&page_path)?;
    let pack = args.pack.load()?;
    let clip = source(args, &pack, reporter)?;
    let frames: Vec<Frame> = clip.frames.iter().map(|f| f.frame.clone()).collect();
    let outcome = code(args, &pack, &clip, reporter)?;
    write_clip(&args.output.join("source.mp4"), &clip, &frames, args.clip.is_none())?;
    write_clip(&args.output.join("decoded.mp4"), &clip, &outcome.decoded, true)?;
    let html = lay_out(args, &pack, &clip, &frames, &outcome).to_html()?;
    staged.write(html.as_bytes())?;
    let shown = std::fs::canonicalize(&page_path).unwrap_or(page_path);
    print(&format!("{}\n{}", summary(&outcome), shown.display()))
}

/// The aligned crops of the given clip, or of the synthetic one.
fn source(args: &Args, pack: &Pack, progress: &dyn Progress) -> Result<Crops> {
    let part = &args.clip_args;
    match &args.clip {
        Some(path) => {
            clip::check_build(part)?;
            let frames = Some(part.frames.unwrap_or(CLIP_FRAMES));
            let chosen = ClipArgs { frames, ..*part };
            let aligned = clip::load(path, &chosen, clip::Crops::of_side(side(pack)), progress)?;
            Ok(Crops { camera: aligned.camera, frames: aligned.all(progress)? })
        }
        None => {
            let frames = part.frames.unwrap_or(SYNTHETIC_FRAMES).clamp(1, 100_000);
            synthetic(CLIP_SEED, frames, side(pack), progress)
        }
    }
}

/// A head that no training saw, as its own aligned crop.
fn synthetic(seed: u64, frames: u64, side: u32, progress: &dyn Progress) -> Result<Crops> {
    let spec = ClipSpec { seed, frames, fps: (RATE, 1), camera: None };
    progress.begin("drawing a head", frames);
    let mut crops = Vec::new();
    for i in 0..frames {
        check(progress)?;
        crops.push(AlignedFrame::whole(i as i64, render(&head_at(&spec, i), side).frame, i == 0));
        progress.advance(i + 1, "");
    }
    progress.end();
    let time_base = TimeBase { num: 1, den: RATE };
    let camera = Camera { width: side, height: side, time_base, frame_rate: Some((RATE, 1)) };
    Ok(Crops { camera, frames: crops })
}

/// Enrol, search, write the stream, read it back, render, measure.
fn code(args: &Args, pack: &Pack, clip: &Crops, reporter: &Reporter) -> Result<Outcome> {
    let options = args.fit.options(&args.device, (PRESET, false));
    let total = clip.frames.len();
    let seen = ((total as f64 * TUNED_SHARE).ceil() as usize).clamp(1, total);
    let begun = Instant::now();
    let identity = enroll(pack, &clip.frames[..seen], &options, reporter)?.identity;
    let tuning = begun.elapsed();
    let begun = Instant::now();
    let params = search(pack, &identity, &clip.frames, &[], &options, reporter)?;
    let searching = begun.elapsed();
    let bytes = identity.to_bytes()?;
    let path = args.output.join("demo.effigy");
    let reference = StreamIdentity::inline(bytes.clone());
    let tracks: Vec<Track> = clip.frames.iter().map(AlignedFrame::track).collect();
    let mut header = header(pack, &clip.camera, &tracks, &identity);
    let records = records(&tracks, &params);
    let crops = || Ok(clip.frames.iter().cloned().map(Ok));
    let (packets, residual) =
        code_frames(&args.coding, &mut header, (&identity, &records), false, |written, bytes_per_frame| {
            written.residual(pack, crops, (bytes_per_frame, None), &args.device, reporter)
        })?;
    let beside = Beside { residual: &residual, ..Beside::default() };
    let (staged, info) = write_stream(Staged::create(&path)?, header, &reference, &records, packets, &beside)?;
    staged.commit()?;
    let (identity, params, mut residual) = read_back(&path)?;
    let begun = Instant::now();
    let mut decoded = show(pack, &identity, &params, args, ("rendering", reporter))?;
    (0..).zip(&mut decoded).for_each(|(number, frame)| drop(residual.apply(number, frame)));
    let decoding = begun.elapsed();
    let puppet = if args.no_puppet { Vec::new() } else { drive(pack, &identity, &params, args, reporter)? };
    Ok(Outcome {
        identity_bytes: bytes.len(),
        info,
        all: measure(&clip.frames, &decoded, 0)?,
        unseen: if seen < total { Some(measure(&clip.frames, &decoded, seen)?) } else { None },
        params,
        decoded,
        puppet,
        seen,
        tuning,
        searching,
        decoding,
    })
}

/// What a receiver has: the identity, the numbers and what they miss, from the file.
fn read_back(path: &Path) -> Result<(Identity, Vec<FrameParams>, Residual)> {
    let file = std::fs::File::open(path).map_err(|e| Error::io("open", path, e))?;
    let mut reader = StreamReader::open(file)?;
    let bytes = reader.identity().bytes.clone().unwrap_or_default();
    let (mut params, mut residual) = (Vec::new(), Residual::new());
    while let Some(packet) = reader.next_packet()? {
        params.extend(packet.frames.iter().map(|frame| frame.params));
        packet.residuals.into_iter().for_each(|record| residual.push(record));
    }
    Ok((Identity::from_bytes(&bytes)?, params, residual))
}

/// Renders all frames; `stage`: its name and who hears of it.
fn show(pack: &Pack, identity: &Identity, params: &[FrameParams], args: &Args, stage: (&str, &Reporter)) -> Result<Vec<Frame>> {
    let mut decoder = Decoder::new(pack, identity, &args.device.decoding())?;
    let mut out = Vec::with_capacity(params.len());
    stage.1.begin(stage.0, params.len() as u64);
    for batch in params.chunks(BATCH) {
        check(stage.1)?;
        out.extend(decoder.render_batch(batch)?);
        stage.1.advance(out.len() as u64, "");
    }
    stage.1.end();
    Ok(out)
}

/// Another synthetic person, quickly enrolled, moved by the numbers of the stream.
fn drive(pack: &Pack, driver: &Identity, params: &[FrameParams], args: &Args, reporter: &Reporter) -> Result<Vec<Frame>> {
    let other = synthetic(PUPPET_SEED, PUPPET_FRAMES, side(pack), reporter)?;
    let options =
        EncodeOptions { tuning: Tuning::None, name: "synthetic".into(), ..args.fit.options(&args.device, (PRESET, false)) };
    let identity = enroll(pack, &other.frames, &options, reporter)?.identity;
    let mapping = Mapping::relative(driver, &identity);
    let moved: Vec<FrameParams> = params.iter().map(|p| mapping.apply(p, pack)).collect();
    show(pack, &identity, &moved, args, ("driving another face", reporter))
}

/// Figures of the frames from `from` on.
fn measure(source: &[AlignedFrame], decoded: &[Frame], from: usize) -> Result<Report> {
    let source = &source[from..];
    let stills = still_candidates(source.len() as u64).map(|i| source[i as usize].frame.clone()).collect();
    let mut evaluator = Evaluator::new(stills, Vec::new());
    for (reference, decoded) in source.iter().zip(&decoded[from..]) {
        evaluator.push(&reference.frame, decoded)?;
    }
    evaluator.finish()
}

fn write_clip(path: &Path, clip: &Crops, frames: &[Frame], synthetic: bool) -> Result<()> {
    let origin = clip.frames.first().map_or(0, |f| f.pts);
    let options = WriteOptions { synthetic, origin, frame_rate: clip.camera.frame_rate, ..WriteOptions::default() };
    let side = frames.first().map_or(1, |f| f.width);
    let mut writer = ClipWriter::create(path, side, side, clip.camera.time_base, &options)?;
    for (aligned, frame) in clip.frames.iter().zip(frames) {
        writer.write(aligned.pts, frame)?;
    }
    writer.finish()
}

/// The figures for a terminal.
fn summary(outcome: &Outcome) -> String {
    let mut out = format!(
        "{} frames, {:.1} bytes per frame, identity {}\n",
        outcome.info.frames,
        outcome.info.bytes_per_frame(),
        size(outcome.identity_bytes as u64)
    );
    out.push_str(&format!("all frames      {}\n", line(&outcome.all)));
    if let Some(unseen) = &outcome.unseen {
        out.push_str(&format!("untuned frames  {}\n", line(unseen)));
    }
    out.push_str(&format!(
        "tuning {}, search {:.2} s per frame, rendering {:.1} frames per second",
        duration(outcome.tuning),
        per_frame(outcome.searching, outcome),
        1.0 / per_frame(outcome.decoding, outcome).max(1e-9)
    ));
    out
}

fn line(report: &Report) -> String {
    format!(
        "PSNR {:.2} dB (best still {:.2}), SSIM {:.4}, flicker {:.2}",
        report.psnr, report.static_psnr, report.ssim, report.flicker
    )
}

fn per_frame(time: Duration, outcome: &Outcome) -> f64 {
    time.as_secs_f64() / outcome.params.len().max(1) as f64
}

fn lay_out<'a>(args: &Args, pack: &Pack, clip: &Crops, frames: &'a [Frame], outcome: &'a Outcome) -> Page<'a> {
    let side = side(pack);
    let what = if args.clip.is_some() { "The face of a clip" } else { "A synthetic head that no training saw" };
    let total = frames.len();
    let mut players = vec![
        Player { name: "source", caption: "The aligned crop that was encoded.".into(), frames },
        Player { name: "decoded", caption: "Drawn from identity and numbers alone.".into(), frames: &outcome.decoded },
    ];
    if !outcome.puppet.is_empty() {
        let caption = "The same numbers, another identity.".into();
        players.push(Player { name: "driven", caption, frames: &outcome.puppet });
    }
    Page {
        lead: format!(
            "{what}, {total} frames of {side} x {side} pixels. The identity was tuned on the first {} frames.",
            outcome.seen
        ),
        players,
        tiles: tiles(outcome),
        strip_note: format!("From left to right through the clip; the tuning saw frames 1 to {}.", outcome.seen),
        params: &outcome.params,
        rate: clip.camera.frame_rate.map_or(25.0, |(num, den)| f64::from(num) / f64::from(den)),
        commands: commands(args, side, total, outcome.seen),
    }
}

/// The same steps by hand: enrol on the first part, then encode all of it with the weights frozen.
fn commands(args: &Args, side: u32, total: usize, seen: usize) -> String {
    let mut out = String::new();
    let (name, mut part) = match &args.clip {
        Some(path) => (path.display().to_string(), String::new()),
        None => {
            out.push_str(&format!("effigy train heads --clip head.mkv --size {side} --seed {CLIP_SEED} --frames {total}\n"));
            ("head.mkv".to_string(), " --aligned-input".to_string())
        }
    };
    if args.clip_args.aligned_input && part.is_empty() {
        part.push_str(" --aligned-input");
    }
    if args.clip_args.start > 0.0 {
        part.push_str(&format!(" --start {}", args.clip_args.start));
    }
    let (preset, tuning) = (args.fit.preset.unwrap_or(PRESET).name(), args.fit.tuning.name());
    out.push_str(&format!(
        "effigy enroll {name}{part} --frames {seen} --preset {preset} --tuning {tuning} -o face.identity\n\
         effigy encode {name}{part} --frames {total} --preset {preset} --identity face.identity -o demo.effigy --aligned crops.mkv\n\
         effigy decode demo.effigy -o decoded.mkv\n\
         effigy evaluate crops.mkv decoded.mkv"
    ));
    out
}

fn tiles(outcome: &Outcome) -> Vec<Tile> {
    let judged = outcome.unseen.as_ref().unwrap_or(&outcome.all);
    let frames = if outcome.unseen.is_some() { "frames the tuning never saw" } else { "all frames" };
    let payload = outcome.info.payload_bytes as f64 / outcome.info.frames.max(1) as f64;
    let tile = |value: String, name, note: String| Tile { value, name, note };
    vec![
        tile(
            format!("{:.1} B", outcome.info.bytes_per_frame()),
            "per frame",
            format!("{payload:.0} B of them are the 35 numbers"),
        ),
        tile(size(outcome.identity_bytes as u64), "identity", "sent once".into()),
        tile(format!("{:.2} dB", judged.psnr), "PSNR", format!("{frames}; all frames {:.2} dB", outcome.all.psnr)),
        tile(
            format!("{:+.2} dB", judged.gain_db),
            "against one still",
            format!("the best held frame has {:.2} dB", judged.static_psnr),
        ),
        tile(format!("{:.3}", judged.ssim), "SSIM", format!("{frames}; worst {:.3}", judged.ssim_min)),
        tile(duration(outcome.tuning), "tuning", "once per person".into()),
        tile(
            format!("{:.2} s", per_frame(outcome.searching, outcome)),
            "search per frame",
            "encoding with a known identity".into(),
        ),
        tile(format!("{:.0}", 1.0 / per_frame(outcome.decoding, outcome).max(1e-9)), "frames per second", "rendering".into()),
    ]
}
