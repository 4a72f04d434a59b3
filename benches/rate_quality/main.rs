//! Rate against quality: our streams beside x264, x265, SVT-AV1 and libaom on the same aligned crops.
//!
//! Input: clips of aligned crops (as `effigy align` or `effigy encode --aligned` write them) and streams of them. Output, in one folder:
//! `rows.csv` (one line per coding, grows as they are measured, so that an interrupted run goes on), `plot.svg`, `table.md`, `page.html`.
//! `cargo bench --bench rate_quality -- --help` shows the arguments. Needs ffmpeg and ffprobe.

mod clip;
mod codecs;
mod measure;
mod ours;
mod rows;
mod show;
#[path = "../common/source.rs"]
mod source;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use effigy::{Error, Result};

use clip::Clip;
use codecs::{Codec, Setting};
use rows::{Key, Row, Table};

const NOTES: &str = "\
Examples:
  effigy encode call.mp4 -o call.effigy --coding raw16 --frames 100 --aligned crops.mkv
  cargo bench --bench rate_quality -- --clip call=crops.mkv,call.effigy -o out
  cargo bench --bench rate_quality -- --clip call=crops.mkv --codecs x264,aom --points 2 -o out

How it is counted and measured:
  bytes     sizes of all packets by ffprobe, no container; text that x264 and x265 put in about themselves is left out
  presets   x264 and x265 veryslow, SVT-AV1 preset 4, libaom cpu-used 4; constant quality, one key frame, one thread, no limit on delay
  sizes     full, half, quarter; Lanczos both ways
  colours   8-bit RGB to yuv420p (BT.709, limited range) and back; the row yuv420 is that round trip alone, the ceiling of all codecs
  ours      raw16 as given, and the same numbers coded again; everything but header and identity; these come once and are shown spread over the clip, 1 minute and 10 minutes
  figures   PSNR over R, G and B; SSIM of luma; SSIMULACRA2 of every fifth frame; flicker and unrest as in `effigy evaluate`";

/// Compare our streams with conventional codecs on the same aligned crops
#[derive(Parser)]
#[command(name = "rate_quality", after_help = NOTES, max_term_width = 110)]
struct Args {
    /// A name, the aligned crops, and streams that were made of them; may be repeated
    #[arg(long = "clip", value_name = "NAME=CROPS[,STREAM...]", value_parser = clip::parse)]
    clips: Vec<clip::Request>,
    /// Folder for the results
    #[arg(short, long, value_name = "DIR", default_value = "rate-quality")]
    output: PathBuf,
    /// Which codecs
    #[arg(long, value_name = "LIST", value_enum, value_delimiter = ',', default_value = "x264,x265,svt,aom")]
    codecs: Vec<Codec>,
    /// Divisors of the picture's sides
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "1,2,4", value_parser = clap::value_parser!(u32).range(1..=8))]
    scales: Vec<u32>,
    /// Qualities per codec and size, from the lowest rate up
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=6))]
    points: u8,
    /// Take at most this many frames of each clip
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=1000))]
    frames: u64,
    /// Also encode each clip with the pack: tune on it, raw16 (minutes per clip)
    #[arg(long, value_name = "PRESET")]
    encode: Option<String>,
    /// Code the numbers of raw16 streams again at these qualities, 0 to 100
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "90,75,50")]
    recode: Vec<f32>,
    /// ... each with a residual of so many bytes a frame
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "0,6")]
    residual: Vec<f64>,
    /// Model pack of the streams [default: as for the command]
    #[arg(long, value_name = "FILE")]
    pack: Option<PathBuf>,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if args.clips.is_empty() {
        // `cargo bench` runs every benchmark; this one needs clips.
        eprintln!("rate_quality: no --clip, nothing to do (cargo bench --bench rate_quality -- --help)");
        return ExitCode::SUCCESS;
    }
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("rate_quality: {e}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    codecs::check(&args.codecs)?;
    std::fs::create_dir_all(&args.output).map_err(|e| Error::io("create", &args.output, e))?;
    let mut table = Table::open(&args.output.join("rows.csv"))?;
    for request in &args.clips {
        let clip = Clip::load(request, args.frames)?;
        plain_rows(&clip, &mut table)?;
        let settings: Vec<Setting> = args.codecs.iter().flat_map(|c| c.ladder(&args.scales, args.points, &clip)).collect();
        for (i, setting) in settings.iter().enumerate() {
            let place = format!("{}/{}", i + 1, settings.len());
            add(&clip, setting.key(&clip), &place, &mut table, || setting.measure(&clip, &args.output))?;
        }
        for stream in ours::streams(request, args)? {
            let key = ours::key(&clip, &stream)?;
            add(&clip, key.clone(), "ours", &mut table, || ours::measure(key, &clip, &stream, args.pack.as_deref()))?;
        }
        // The tables of what there is, so that a long run can be looked at.
        show::write(&args.output, &table)?;
    }
    println!("{}", args.output.join("table.md").display());
    Ok(())
}

/// The ceiling of all codecs and the floor of all motion.
fn plain_rows(clip: &Clip, table: &mut Table) -> Result<()> {
    let key = |codec: &str| Key::new(clip, codec, 1, String::new());
    add(clip, key("yuv420"), "ceiling", table, || codecs::round_trip(key("yuv420"), clip))?;
    add(clip, key("still"), "floor", table, || {
        let (best, psnr) = clip.best_still()?;
        let mut row = Row::new(key("still"), clip, &vec![clip.frames[best].clone(); clip.frames.len()])?;
        // The one comparison of the frame with itself must not lift the mean.
        row.figures.psnr = psnr;
        Ok(row)
    })
}

/// Measures unless the table has the row.
fn add(clip: &Clip, key: Key, place: &str, table: &mut Table, measure: impl FnOnce() -> Result<Row>) -> Result<()> {
    if table.has(&key) {
        return Ok(());
    }
    let begun = Instant::now();
    let row = measure()?;
    let seconds = begun.elapsed().as_secs_f64();
    eprintln!("{} {place} {}: {} ({seconds:.0} s)", clip.name, key.describe(), row.describe());
    table.add(row)
}
