//! Where a known face sits, looked at a second time: its renders of some frames tell by how much the crops are off.

use effigy::encode::align::Shift;
use effigy::encode::{AlignedFrame, Searcher};
use effigy::params::FrameParams;
use effigy::progress::Progress;
use effigy::Result;

use crate::clip::{self, Aligned};
use crate::progress::{Muted, Reporter};

/// Frames whose renders are compared, how often at most, and the movement at which the crops sit well enough (0.3 pixels at 128).
const LOOKS: usize = 12;
const ROUNDS: u64 = 5;
const ENOUGH: f64 = 0.0025;

/// Moves the crops, `side` pixels square, to where the identity draws the face: its renders of some frames tell by how much they are off.
/// Each shot by itself.
pub fn look(searcher: &mut Searcher, clip: &mut Aligned, side: u32, reporter: &Reporter) -> Result<()> {
    for shot in 0..=clip.tracks.last().map_or(0, |track| track.shot) {
        let sure: Vec<usize> = clip.sure().into_iter().filter(|i| clip.tracks[*i].shot == shot).collect();
        let looks: Vec<usize> = sure.iter().step_by(sure.len().div_ceil(LOOKS).max(1)).copied().collect();
        if !looks.is_empty() {
            let shift = compare(searcher, clip, &looks, side, reporter)?;
            clip.move_by(shot, &shift);
        }
    }
    Ok(())
}

/// By how much all crops of a shot are off, as `looks` tell, at least one frame in which the face was surely followed.
fn compare(searcher: &mut Searcher, clip: &Aligned, looks: &[usize], side: u32, reporter: &Reporter) -> Result<Shift> {
    let cameras = clip.cameras(looks, reporter)?;
    let (mut total, mut found) = (Shift::default(), Vec::<Option<FrameParams>>::new());
    let (mut before, mut error) = (total, f64::INFINITY);
    reporter.begin("compare with the enrolled face", ROUNDS);
    for round in 0..ROUNDS {
        let pairs = cameras.iter().zip(looks);
        let cut = pairs.map(|(timed, i)| clip::cut_crop(timed, &clip.tracks[*i], side, &total));
        let crops: Vec<AlignedFrame> = cut.collect::<Result<_>>()?;
        // What was found for a crop is a good start for the same crop a little to the side.
        let (off, params) = searcher.misplaced(&crops, &found, &Muted(reporter))?;
        found = params.into_iter().map(Some).collect();
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
