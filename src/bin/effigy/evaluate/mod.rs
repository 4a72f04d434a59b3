//! `effigy evaluate`: two clips -> figures, a table of frames, a picture, a page.

mod page;

use std::path::{Path, PathBuf};

use effigy::evaluate::html::{spread, STRIP};
use effigy::evaluate::{still_candidates, Cost, Evaluator, Reader, Readings, Report};
use effigy::frame::Frame;
use effigy::media::{sheet, write_png, ClipReader, ReadOptions};
use effigy::pack::Pack;
use effigy::progress::{check, Progress};
use effigy::{Error, Result};

use crate::common::{DeviceArgs, PackArgs};
use crate::encode::name_file;
use crate::output::{check_writable, distinct, print, Staged};
use crate::progress::Reporter;
use page::{Page, Pair};

const EXAMPLES: &str = "\
Examples:
  effigy encode call.mp4 -o call.effigy --aligned crops.mkv
  effigy decode call.effigy -o decoded.mkv
  effigy evaluate crops.mkv decoded.mkv --sheet look.png
  effigy evaluate crops.mkv decoded.mkv --json --frames-csv frames.csv
  effigy evaluate crops.mkv decoded.mkv --report out.html --stream call.effigy

Figures: PSNR over R, G and B in dB, mean of the frames, at most 99; SSIM of luma, 11 x 11 Gaussian window; SSIMULACRA2, 100 for equal
pictures; L1, flicker (error of the change between two frames) and unrest (change between two decoded frames less that of the reference)
in grey levels, 0 to 255. static_psnr is what the best single frame of the reference scores when it is held for the whole clip: a codec of
motion must beat it, and gain_db says by how much. slideshow_psnr shows, for each frame, the nearest of the crops that the identity was
tuned on. With --report or --pack the pack's networks also compare likeness, pose and expression.";

/// How many of the worst frames the page shows.
const WORST: usize = STRIP;
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
    /// Write a page with frames, curves and tables; it needs no network
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// The stream that was decoded, to count its bytes
    #[arg(long, value_name = "FILE.effigy")]
    stream: Option<PathBuf>,
    #[command(flatten)]
    pack: PackArgs,
    #[command(flatten)]
    device: DeviceArgs,
}

/// What one pass over both clips gives.
struct Compared {
    report: Report,
    readings: Option<Readings>,
    strip: Vec<Pair>,
    worst: Vec<Pair>,
}

pub fn run(args: &Args, reporter: &Reporter) -> Result<()> {
    let inputs: Vec<&Path> =
        [&args.reference, &args.decoded].into_iter().chain(&args.enrolled).chain(&args.stream).map(PathBuf::as_path).collect();
    for output in args.frames_csv.iter().chain(&args.sheet).chain(&args.report) {
        distinct(output, &inputs)?;
        check_writable(output)?;
    }
    let cost = args.stream.as_ref().map(|path| Cost::read(path).map_err(|e| name_file(e, path))).transpose()?;
    let (reader, no_readings) = networks(args)?;
    let compared = compare(args, reader, reporter)?;
    if let Some(cost) = cost.as_ref().filter(|c| c.frames != compared.report.frames && args.frames.is_none()) {
        log::warn!("the stream has {} frames, the clips {}: is it theirs?", cost.frames, compared.report.frames);
    }
    if let Some(path) = &args.frames_csv {
        Staged::create(path)?.write(compared.report.frames_csv().as_bytes())?;
    }
    if let Some(path) = &args.sheet {
        write_png(path, &paired_sheet(&compared.strip)?, true)?;
    }
    if let Some(path) = &args.report {
        let page = Page {
            names: [file_name(&args.reference), file_name(&args.decoded)],
            report: &compared.report,
            readings: compared.readings.as_ref(),
            no_readings,
            cost: cost.as_ref(),
            strip: &compared.strip,
            worst: &compared.worst,
        };
        Staged::create(path)?.write(page.to_html()?.as_bytes())?;
    }
    print(&if args.json { to_json(&compared, cost.as_ref())? } else { to_text(&compared, cost.as_ref()) })
}

/// The pack's networks, or why there are none. A pack that was named must be there; otherwise it is only looked for.
fn networks(args: &Args) -> Result<(Option<Reader>, String)> {
    if args.report.is_none() && args.pack.pack.is_none() {
        return Ok((None, String::new()));
    }
    if args.pack.pack.is_none() {
        if let Err(e) = Pack::find(None, std::env::var_os("EFFIGY_PACK")) {
            return Ok((None, format!("Not measured: {e}.")));
        }
    }
    let pack = args.pack.load()?;
    if pack.config().analysis.is_none() && args.pack.pack.is_none() {
        return Ok((None, format!("Not measured: the pack {} only decodes.", pack.config().name)));
    }
    if let Some(threads) = args.device.threads {
        tch::set_num_threads(i32::from(threads));
    }
    let reader = Reader::new(&pack, args.device.device, args.device.precision.into())?;
    Ok((Some(reader), String::new()))
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// The figures as one JSON object; `readings` and `stream` are objects in it.
fn to_json(compared: &Compared, cost: Option<&Cost>) -> Result<String> {
    let mut value = compared.report.to_json();
    let failed = |e: serde_json::Error| Error::Misuse(format!("a figure has no JSON form: {e}"));
    if let Some(readings) = &compared.readings {
        value["readings"] = serde_json::to_value(readings).map_err(failed)?;
    }
    if let Some(cost) = cost {
        value["stream"] = serde_json::to_value(cost).map_err(failed)?;
    }
    Ok(value.to_string())
}

fn to_text(compared: &Compared, cost: Option<&Cost>) -> String {
    let mut out = compared.report.to_string();
    if let Some(readings) = &compared.readings {
        out.push_str(&format!("\nperceptual distance {:.4} by {}", readings.distance, readings.distance_by));
        if let Some(psnr) = readings.person_psnr {
            out.push_str(&format!("\nPSNR where the person is {psnr:.2} dB"));
        }
        if let Some(similarity) = readings.similarity {
            out.push_str(&format!("\nidentity similarity {similarity:.4}"));
        }
        for f in &readings.following {
            let figure = f.correlation.map_or("holds still".into(), |c| format!("correlation {c:.3}"));
            out.push_str(&format!("\n{:9} {figure}", f.name));
        }
    }
    if let Some(cost) = cost {
        out.push_str(&format!(
            "\nbytes     {:.1} a frame, with {} over this clip {:.1}",
            cost.running(),
            if cost.identity_inline { "header and identity" } else { "the header (the identity travels apart)" },
            cost.over_clip()
        ));
    }
    out
}

/// Reference frames above decoded ones.
fn paired_sheet(pairs: &[Pair]) -> Result<Frame> {
    let above = pairs.iter().map(|pair| &pair.reference).collect();
    let below = pairs.iter().map(|pair| &pair.decoded).collect();
    sheet(&[above, below], 2)
}

/// One pass over the reference to count and to pick stills, one over both: memory does not grow with the clip.
fn compare(args: &Args, mut reader: Option<Reader>, progress: &dyn Progress) -> Result<Compared> {
    let options = ReadOptions { frames: args.frames, ..ReadOptions::default() };
    let open = |path: &Path| ClipReader::open(path, &options);
    let count = count_frames(open(&args.reference)?, progress)?;
    let wanted: Vec<u64> = still_candidates(count).collect();
    let stills = pick(open(&args.reference)?, &wanted)?;
    let enrolled = match &args.enrolled {
        Some(path) => all_frames(ClipReader::open(path, &ReadOptions::default())?, path)?,
        None => Vec::new(),
    };
    let columns = spread(count as usize, STRIP);
    let (mut evaluator, mut strip, mut worst) = (Evaluator::new(stills, enrolled), Vec::new(), Worst::default());
    let (mut reference, mut decoded) = (open(&args.reference)?, open(&args.decoded)?);
    progress.begin("comparing", count);
    for i in 0.. {
        check(progress)?;
        match (reference.next().transpose()?, decoded.next().transpose()?) {
            (None, None) => break,
            (Some(r), Some(d)) => {
                let score = evaluator.push(&r.frame, &d.frame)?;
                if let Some(reader) = &mut reader {
                    reader.push(&r.frame, &d.frame)?;
                }
                let pair = || Pair { frame: i, reference: r.frame.clone(), decoded: d.frame.clone() };
                if columns.contains(&(i as usize)) {
                    strip.push(pair());
                }
                worst.see(score.psnr, pair);
            }
            (r, _) => {
                let (long, short) = if r.is_some() { ("reference", "decoded") } else { ("decoded", "reference") };
                return Err(Error::Misuse(format!("the {short} clip ends after {i} frames, the {long} goes on")));
            }
        }
        progress.advance(i + 1, "");
    }
    progress.end();
    let worst = worst.0.into_iter().map(|(_, pair)| pair).collect();
    Ok(Compared { report: evaluator.finish()?, readings: reader.map(Reader::finish), strip, worst })
}

/// The pairs of lowest PSNR so far, worst first.
#[derive(Default)]
struct Worst(Vec<(f64, Pair)>);

impl Worst {
    fn see(&mut self, psnr: f64, pair: impl FnOnce() -> Pair) {
        let place = self.0.partition_point(|(other, _)| *other <= psnr);
        if place < WORST {
            self.0.insert(place, (psnr, pair()));
            self.0.truncate(WORST);
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_frames_are_kept_worst_first() {
        let blank = Frame::filled(8, 8, [0; 3]).unwrap();
        let mut worst = Worst::default();
        for (i, psnr) in [30.0, 20.0, 25.0, 40.0, 10.0, 35.0, 22.0, 50.0].into_iter().enumerate() {
            worst.see(psnr, || Pair { frame: i as u64, reference: blank.clone(), decoded: blank.clone() });
        }
        assert_eq!(worst.0.iter().map(|(_, pair)| pair.frame).collect::<Vec<_>>(), [4, 1, 6, 2, 0, 5]);
    }
}
