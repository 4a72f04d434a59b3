//! `effigy align`: clip -> lossless clip of the aligned crops.

use std::path::{Path, PathBuf};

use effigy::Result;

use crate::clip::{self, ClipArgs, Crops, FaceArgs};
use crate::common::{side, PackArgs};
use crate::output::{check_writable, distinct};
use crate::progress::Reporter;

const EXAMPLES: &str = "\
Examples:
  effigy align call.mp4 -o crops.mkv
  effigy align call.mp4 -o crops.mkv --size 512 --frames 100
  effigy align call.mp4 -o crops.mkv --size 512 --like call.effigy     where a stream of this clip has its crops

The result holds the crops alone, not where they sat in the camera frame: a stream made from it with
`effigy encode --aligned-input` cannot be pasted back. Encode the camera clip itself for that.";

/// Write the stabilised face crops of a clip, without loss
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Video of one person
    clip: PathBuf,
    /// Clip to write: .mkv (lossless), .mp4 or a folder of PNG ending in /
    #[arg(short, long, value_name = "OUT.mkv")]
    output: PathBuf,
    /// Side of the crop, pixels [default: the pack's, with --like the stream's]
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u32).range(32..=1024))]
    size: Option<u32>,
    /// Cut where this stream, which was encoded from the clip, has its crops; nothing is followed. Frames that the stream has not are left out
    #[arg(long, value_name = "STREAM", conflicts_with_all = ["start", "frames", "face"])]
    like: Option<PathBuf>,
    /// Leave out what comes before this time
    #[arg(long, value_name = "SECONDS", default_value_t = 0.0)]
    start: f64,
    /// Take at most this many frames
    #[arg(long, value_name = "N")]
    frames: Option<u64>,
    #[command(flatten)]
    face: FaceArgs,
    #[command(flatten)]
    pack: PackArgs,
}

pub fn run(args: &Args, reporter: &Reporter) -> Result<()> {
    let part = ClipArgs { start: args.start, frames: args.frames, face: args.face, aligned_input: false };
    clip::check_build(&part)?;
    let inputs: Vec<&Path> = std::iter::once(&args.clip).chain(&args.like).map(PathBuf::as_path).collect();
    distinct(&args.output, &inputs)?;
    check_writable(&args.output)?;
    if let Some(stream) = &args.like {
        let (count, side) = clip::cut_like(&args.clip, stream, args.size, &args.output, reporter)?;
        reporter.say(&format!("{}: {count} crops of {side} x {side}", args.output.display()));
        return Ok(());
    }
    let side = match args.size {
        Some(side) => side,
        None => side(&args.pack.load()?),
    };
    let clip = clip::load(&args.clip, &part, Crops { saved: Some(&args.output), ..Crops::of_side(side) }, reporter)?;
    let keys = clip.tracks.iter().filter(|f| f.key).count();
    let lost = clip.tracks.iter().filter(|f| f.confidence <= 0.0).count();
    let count = clip.tracks.len();
    reporter.say(&format!("{}: {count} crops of {side} x {side}, {keys} key frames, face lost in {lost}", args.output.display()));
    Ok(())
}
