//! `effigy enroll`: clips or photographs of one person -> identity.

use std::path::{Path, PathBuf};

use effigy::encode::{worth_enrolling, EncodeOptions, Track};
use effigy::Result;

use crate::clip::{self, ClipArgs};
use crate::common::{side, size, DeviceArgs, FitArgs, PackArgs, PresetArg};
use crate::detail;
use crate::output::{distinct, Staged};
use crate::progress::Reporter;
use crate::unfinished::UnfinishedRun;

const EXAMPLES: &str = "\
Examples:
  effigy enroll me.mp4 -o me.identity --name Ada
  effigy enroll photo.jpg -o me.identity --preset fast
  effigy enroll smile.mp4 talk.mp4 -o me.identity --frames 150     at most 150 frames of each

Use the result with `effigy encode --identity`, which then tunes nothing, or with `effigy decode --identity` to drive this
face with somebody else's stream. Ask the person first.";

/// Learn one person's identity from clips or photographs
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Clips or pictures of one person
    #[arg(required = true)]
    input: Vec<PathBuf>,
    /// Identity to write
    #[arg(short, long, value_name = "ME.identity")]
    output: PathBuf,
    /// Go on where an interrupted run with the same arguments stopped; what it had done is in ME.identity.unfinished
    #[arg(long)]
    resume: bool,
    #[command(flatten)]
    clip_args: ClipArgs,
    #[command(flatten)]
    fit: FitArgs,
    #[command(flatten)]
    pack: PackArgs,
    #[command(flatten)]
    device: DeviceArgs,
}

pub fn run(args: &Args, reporter: &Reporter) -> Result<()> {
    clip::check_build(&args.clip_args)?;
    args.fit.check_known(false)?;
    let inputs: Vec<&Path> = args.input.iter().map(PathBuf::as_path).collect();
    distinct(&args.output, &inputs)?;
    let staged = Staged::create(&args.output)?;
    let work = UnfinishedRun::open(&args.output, args.resume)?;
    let pack = args.pack.load()?;
    args.fit.check_maps(&pack);
    let mut clips = Vec::new();
    for input in inputs {
        clips.push(clip::load(input, &args.clip_args, clip::Crops::of_side(side(&pack)), reporter)?);
    }
    let tracks: Vec<Track> = clips.iter().flat_map(|clip| clip.tracks.iter().copied()).collect();
    let picks = worth_enrolling(&tracks);
    let (mut frames, mut first) = (Vec::with_capacity(picks.len()), 0);
    for clip in &clips {
        let last = first + clip.tracks.len();
        let own: Vec<usize> = picks.iter().filter(|i| (first..last).contains(i)).map(|i| i - first).collect();
        frames.extend(clip.pick(&own, reporter)?);
        first = last;
    }
    let options = args.fit.options(&args.device, (PresetArg::Medium, false));
    let options = EncodeOptions { unfinished: Some(work.tuning()), ..options };
    let count = frames.len();
    let (identity, _) = detail::enrolled(&pack, (&clips, &picks, frames), &options, reporter)?;
    let bytes = identity.to_bytes()?;
    staged.write(&bytes)?;
    work.finish()?;
    reporter.say(&format!("{}: identity from {} frames, {}", args.output.display(), count, size(bytes.len() as u64)));
    Ok(())
}
