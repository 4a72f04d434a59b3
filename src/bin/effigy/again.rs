//! Where a known face sits, looked at a second time: its renders of some frames tell by how much the crops are off.

use effigy::bitstream::Identity;
use effigy::encode::align::Shift;
use effigy::encode::{misplaced, AlignedFrame, EncodeOptions};
use effigy::pack::Pack;
use effigy::params::FrameParams;
use effigy::progress::Progress;
use effigy::Result;

use crate::clip::{self, Aligned};
use crate::encode::Args;
use crate::progress::{Muted, Reporter};

/// Frames whose renders are compared, how often at most, and the movement at which the crops sit well enough (0.3 pixels at 128).
const LOOKS: usize = 12;
const ROUNDS: u64 = 5;
const ENOUGH: f64 = 0.0025;

/// The crops moved to where the identity draws the face: its renders of some frames tell by how much they are off.
pub fn look(
    args: &Args,
    pack: &Pack,
    identity: &Identity,
    clip: Aligned,
    options: &EncodeOptions,
    reporter: &Reporter,
) -> Result<Aligned> {
    let sure: Vec<&AlignedFrame> = clip.frames.iter().filter(|f| f.confidence > 0.5).collect();
    let looks: Vec<&AlignedFrame> = sure.iter().step_by(sure.len().div_ceil(LOOKS).max(1)).copied().collect();
    let total = if looks.is_empty() { Shift::default() } else { compare(args, pack, identity, &looks, options, reporter)? };
    clip::cut_again(&args.clip, &args.clip_args, args.aligned.as_ref(), clip, &total, reporter)
}

/// By how much all crops are off, as `looks` tell, at least one frame in which the face was surely followed.
fn compare(
    args: &Args,
    pack: &Pack,
    identity: &Identity,
    looks: &[&AlignedFrame],
    options: &EncodeOptions,
    reporter: &Reporter,
) -> Result<Shift> {
    let cameras = clip::camera_frames(&args.clip, &args.clip_args, looks, reporter)?;
    let (mut total, mut found) = (Shift::default(), None::<Vec<FrameParams>>);
    let (mut before, mut error) = (total, f64::INFINITY);
    reporter.begin("compare with the enrolled face", ROUNDS);
    for round in 0..ROUNDS {
        let pairs = cameras.iter().zip(looks);
        let crops: Vec<AlignedFrame> = pairs.map(|(timed, look)| clip::cut_crop(timed, look, &total)).collect::<Result<_>>()?;
        // What was found for a crop is a good start for the same crop a little to the side.
        let (off, params) = misplaced(pack, identity, &crops, found.as_deref(), options, &Muted(reporter))?;
        found = Some(params);
        // A move that does not bring crops and renders together was none for the better.
        if off.error > error {
            total = before;
            break;
        }
        (before, error) = (total, off.error);
        let Some(step) = Shift::new(&off) else {
            log::info!("the face seems to be far beside its renders: it is moved no farther");
            break;
        };
        if round + 1 == ROUNDS || step.size() < ENOUGH {
            break;
        }
        total = total.then(&step);
        reporter.advance(round + 1, &format!("moved by {:.1} % of the crop", 100.0 * step.size()));
    }
    reporter.end();
    Ok(total)
}
