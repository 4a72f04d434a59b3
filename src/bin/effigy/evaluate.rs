//! `effigy evaluate`: two clips -> figures, a table of frames, a picture.

use std::path::{Path, PathBuf};

use effigy::evaluate::{still_candidates, Evaluator, Report};
use effigy::frame::Frame;
use effigy::media::{sheet, write_png, ClipReader, ReadOptions};
use effigy::progress::{check, Progress};
use effigy::{Error, Result};

use crate::output::{check_writable, distinct, print, Staged};
use crate::progress::Reporter;

const EXAMPLES: &str = "\
Examples:
  effigy encode call.mp4 -o call.effigy --aligned crops.mkv
  effigy decode call.effigy -o decoded.mkv
  effigy evaluate crops.mkv decoded.mkv --sheet look.png
  effigy evaluate crops.mkv decoded.mkv --json --frames-csv frames.csv

Figures: PSNR over R, G and B in dB, mean of the frames, at most 99; SSIM of luma, 11 x 11 Gaussian window; L1 and flicker (error of
the change between two frames) in grey levels, 0 to 255. static_psnr is what the best single frame of the reference scores
when it is held for the whole clip: a codec of motion must beat it, and gain_db says by how much. slideshow_psnr shows, for each
frame, the nearest of the crops that the identity was tuned on.";

/// How many columns a sheet has.
const COLUMNS: u64 = 6;
/// Most enrolled crops held in memory, bytes.
const MAX_ENROLLED: usize = 2 << 30;

/// Measure how near a decoded clip is to its reference
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The aligned crops that were encoded
    reference: PathBuf,
    /// What came out; same size, same number of frames
    decoded: PathBuf,
    /// One JSON object on standard output
    #[arg(long)]
    json: bool,
    /// Compare at most this many frames
    #[arg(long, value_name = "N")]
    frames: Option<u64>,
    /// Write the figures of each frame as CSV
    #[arg(long, value_name = "FILE.csv")]
    frames_csv: Option<PathBuf>,
    /// Write a picture: reference above decoded, six frames
    #[arg(long, value_name = "FILE.png")]
    sheet: Option<PathBuf>,
    /// The aligned crops that the identity was tuned on, for the slideshow figure
    #[arg(long, value_name = "CROPS")]
    enrolled: Option<PathBuf>,
}

pub fn run(args: &Args, reporter: &Reporter) -> Result<()> {
    let inputs: Vec<&Path> = [&args.reference, &args.decoded].into_iter().chain(&args.enrolled).map(PathBuf::as_path).collect();
    for output in args.frames_csv.iter().chain(&args.sheet) {
        distinct(output, &inputs)?;
        check_writable(output)?;
    }
    let (report, pairs) = compare(args, reporter)?;
    if let Some(path) = &args.frames_csv {
        Staged::create(path)?.write(report.frames_csv().as_bytes())?;
    }
    if let Some(path) = &args.sheet {
        write_png(path, &paired_sheet(&pairs)?, true)?;
    }
    print(&if args.json { report.to_json().to_string() } else { report.to_string() })
}

/// Reference frames above decoded ones.
fn paired_sheet(pairs: &[(Frame, Frame)]) -> Result<Frame> {
    let above = pairs.iter().map(|(reference, _)| reference).collect();
    let below = pairs.iter().map(|(_, decoded)| decoded).collect();
    sheet(&[above, below], 2)
}

/// One pass over the reference to count and to pick stills, one over both: memory does not grow with the clip.
fn compare(args: &Args, progress: &dyn Progress) -> Result<(Report, Vec<(Frame, Frame)>)> {
    let options = ReadOptions { frames: args.frames, ..ReadOptions::default() };
    let open = |path: &Path| ClipReader::open(path, &options);
    let count = count_frames(open(&args.reference)?, progress)?;
    let wanted: Vec<u64> = still_candidates(count).collect();
    let stills = pick(open(&args.reference)?, &wanted)?;
    let enrolled = match &args.enrolled {
        Some(path) => all_frames(ClipReader::open(path, &ReadOptions::default())?, path)?,
        None => Vec::new(),
    };
    let columns: Vec<u64> = (0..COLUMNS).map(|i| i * count.saturating_sub(1) / (COLUMNS - 1)).collect();
    let (mut evaluator, mut pairs) = (Evaluator::new(stills, enrolled), Vec::new());
    let (mut reference, mut decoded) = (open(&args.reference)?, open(&args.decoded)?);
    progress.begin("comparing", count);
    for i in 0.. {
        check(progress)?;
        match (reference.next().transpose()?, decoded.next().transpose()?) {
            (None, None) => break,
            (Some(r), Some(d)) => {
                evaluator.push(&r.frame, &d.frame)?;
                if args.sheet.is_some() && columns.contains(&i) {
                    pairs.push((r.frame, d.frame));
                }
            }
            (r, _) => {
                let (long, short) = if r.is_some() { ("reference", "decoded") } else { ("decoded", "reference") };
                return Err(Error::Misuse(format!("the {short} clip ends after {i} frames, the {long} goes on")));
            }
        }
        progress.advance(i + 1, "");
    }
    progress.end();
    Ok((evaluator.finish()?, pairs))
}

fn count_frames(reader: ClipReader, progress: &dyn Progress) -> Result<u64> {
    let mut count = 0;
    for frame in reader {
        check(progress)?;
        frame?;
        count += 1;
    }
    Ok(count)
}

/// The frames with these numbers, which rise.
fn pick(reader: ClipReader, wanted: &[u64]) -> Result<Vec<Frame>> {
    let mut out = Vec::with_capacity(wanted.len());
    for (i, timed) in (0u64..).zip(reader) {
        let timed = timed?;
        match wanted.get(out.len()) {
            Some(next) if *next == i => out.push(timed.frame),
            Some(_) => {}
            None => break,
        }
    }
    Ok(out)
}

fn all_frames(reader: ClipReader, path: &Path) -> Result<Vec<Frame>> {
    let (mut out, mut bytes): (Vec<Frame>, usize) = (Vec::new(), 0);
    for timed in reader {
        let frame = timed?.frame;
        bytes += frame.data.len();
        if bytes > MAX_ENROLLED {
            return Err(Error::Limit(format!("{}: enrolled crops of over {} GiB", path.display(), MAX_ENROLLED >> 30)));
        }
        out.push(frame);
    }
    Ok(out)
}
