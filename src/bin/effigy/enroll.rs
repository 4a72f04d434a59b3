//! `effigy enroll`: clips or photographs of one person -> identity.

use std::path::{Path, PathBuf};

use effigy::encode::enroll;
use effigy::Result;

use crate::clip::{self, ClipArgs};
use crate::common::{side, size, DeviceArgs, FitArgs, PackArgs, PresetArg};
use crate::output::{distinct, Staged};
use crate::progress::Reporter;

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
    let pack = args.pack.load()?;
    let mut frames = Vec::new();
    for input in inputs {
        let crops = clip::Crops { side: side(&pack), saved: None, references: Vec::new(), live: false };
        frames.extend(clip::load(input, &args.clip_args, crops, reporter)?.frames);
    }
    let enrolled = enroll(&pack, &frames, &args.fit.options(&args.device, PresetArg::Medium), reporter)?;
    let bytes = enrolled.identity.to_bytes()?;
    staged.write(&bytes)?;
    reporter.say(&format!("{}: identity from {} frames, {}", args.output.display(), frames.len(), size(bytes.len() as u64)));
    Ok(())
}
