//! Placing a face as it was placed before: the crop of later footage must show an enrolled person where the tuned generator draws
//! them.
//!
//! Input: pictures of the identity (its crops, or what its generator renders) and first guesses by the detector. Output: the
//! similarity from the guess to the place at which the face lies on those pictures, found by the registration that follows
//! faces. Eyes alone place a face to a tenth of its size, which a generator with frozen weights cannot make up for.

use std::sync::Arc;

use super::detect::median;
use super::geometry::{CropPose, Similarity};
use super::register::{Care, Key, Register};
use super::warp;
use crate::error::Result;
use crate::frame::Frame;
use opencv::core::Mat;

/// Share of the face that must agree with a reference in the first look, and in the second, which begins where the first has led.
const SEEN: f64 = 0.25;
const AGREES: f64 = 0.4;
/// Share of the face that must agree for a place to count while the face is followed.
const SURE: f64 = 0.6;
/// Share of the face that must agree for a crop placed by the eyes to be moved.
const FOUND: f64 = 0.5;
/// Largest believable error of the detector, crop units, and the sizes that are tried: eyes cast down or a frown make its boxes larger.
const MOST_ERROR: f64 = 0.3;
const SCALES: [f64; 3] = [1.0, 1.15, 0.87];
/// Frames that are looked at, spread over those at hand.
const LOOKS: usize = 8;

/// Where known crops put a face.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    /// From the guess to the place.
    pub motion: Similarity,
    /// Share of the face that agrees with the reference, in the surest look.
    pub share: f64,
}

/// A look at the references while the face is followed: at most so many of them, the next ones with each number.
#[derive(Clone, Copy)]
pub(super) struct Turn {
    pub number: usize,
    pub most: usize,
}

/// Known crops of a face, ready to be compared with.
pub(super) struct References {
    keys: Vec<Arc<Key>>,
}

impl References {
    pub(super) fn new(register: &Register, crops: &[Frame]) -> Result<Self> {
        let mut keys = Vec::with_capacity(crops.len());
        for crop in crops {
            let side = f64::from(crop.width.min(crop.height));
            let whole = CropPose { x: side / 2.0, y: side / 2.0, side, roll: 0.0 };
            keys.push(Arc::new(register.key(&warp::grey(crop)?, &whole)?));
        }
        Ok(References { keys })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// As [`place`] on the references.
    pub(super) fn place(&self, register: &mut Register, guesses: &[(&Mat, CropPose)]) -> Result<Option<Known>> {
        place(&self.keys, register, guesses)
    }

    /// As [`References::place`] for one frame while it is followed: one size a time, another with each round.
    pub(super) fn find(&self, register: &mut Register, grey: &Mat, pose: &CropPose, turn: Turn) -> Result<Option<Similarity>> {
        let (keys, round) = self.chosen(turn);
        let start = pose.moved(&Similarity { scale: SCALES[round % SCALES.len()], ..Similarity::IDENTITY });
        let Some((rough, _)) = best(keys, (register, Care::Rough), grey, &start, SEEN)? else { return Ok(None) };
        Ok(best(keys, (register, Care::Full), grey, &rough, FOUND)?.map(|(found, _)| pose.motion_to(&found)))
    }

    /// Motion from `pose` to where the face lies on the references, if it surely is like one of them.
    pub(super) fn watch(&self, register: &mut Register, grey: &Mat, pose: &CropPose, turn: Turn) -> Result<Option<Similarity>> {
        Ok(best(self.chosen(turn).0, (register, Care::Full), grey, pose, SURE)?.map(|(found, _)| pose.motion_to(&found)))
    }

    /// The references to look at, and how often all of them have been looked at before.
    fn chosen(&self, turn: Turn) -> (&[Arc<Key>], usize) {
        let most = turn.most.clamp(1, self.keys.len().max(1));
        let looks = self.keys.len().div_ceil(most).max(1);
        let begin = turn.number % looks * most;
        (&self.keys[begin..(begin + most).min(self.keys.len())], turn.number / looks)
    }
}

/// One motion from all guesses `(frame, pose)` to where the face lies on `keys`; None if it is like none of them.
pub(super) fn place(keys: &[Arc<Key>], register: &mut Register, guesses: &[(&Mat, CropPose)]) -> Result<Option<Known>> {
    let stride = guesses.len().div_ceil(LOOKS).max(1);
    let looks: Vec<_> = guesses.iter().step_by(stride).collect();
    let mut rough = Vec::new();
    for (grey, guess) in &looks {
        for scale in SCALES {
            let start = guess.moved(&Similarity { scale, ..Similarity::IDENTITY });
            let found = best(keys, (register, Care::Rough), grey, &start, SEEN)?;
            rough.extend(found.map(|(pose, sure)| (guess.motion_to(&pose), sure)));
        }
    }
    let Some(rough) = middle(rough) else { return Ok(None) };
    let mut fine = Vec::new();
    for (grey, guess) in &looks {
        let found = best(keys, (register, Care::Full), grey, &guess.moved(&rough), AGREES)?;
        fine.extend(found.map(|(pose, sure)| (guess.motion_to(&pose), sure)));
    }
    let share = fine.iter().map(|(_, sure)| *sure).fold(0.0, f64::max);
    Ok(middle(fine).map(|motion| Known { motion, share }))
}

/// Where the face lies on the one of `keys` that it is most like, if at least `share` of it agrees, and how much does.
fn best(
    keys: &[Arc<Key>],
    (register, care): (&mut Register, Care),
    grey: &Mat,
    start: &CropPose,
    share: f64,
) -> Result<Option<(CropPose, f64)>> {
    let mut best: Option<(CropPose, f64)> = None;
    for key in keys {
        let fit = register.find(key, grey, *start, care)?;
        let near = start.motion_to(&fit.pose).size() < MOST_ERROR;
        if fit.inliers >= share && near && best.is_none_or(|(_, sure)| fit.inliers > sure) {
            best = Some((fit.pose, fit.inliers));
        }
    }
    Ok(best)
}

/// The median of the surest third of some motions.
pub(super) fn middle(mut all: Vec<(Similarity, f64)>) -> Option<Similarity> {
    all.sort_by(|a, b| b.1.total_cmp(&a.1));
    all.truncate(all.len().div_ceil(3));
    let part = |pick: fn(&Similarity) -> f64| median(all.iter().map(|(s, _)| pick(s)).collect());
    let shift = (part(|s| s.shift.0)?, part(|s| s.shift.1)?);
    Some(Similarity { shift, scale: part(|s| s.scale.ln())?.exp(), angle: part(|s| s.angle)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_motions_leaves_unsure_ones_out() {
        let at = |x: f64| Similarity { shift: (x, 0.0), ..Similarity::IDENTITY };
        assert!(middle(Vec::new()).is_none());
        let found = middle(vec![(at(0.02), 0.9), (at(0.3), 0.41), (at(0.3), 0.5), (at(-0.3), 0.42), (at(0.02), 0.85)]).unwrap();
        assert!((found.shift.0 - 0.02).abs() < 1e-12 && (found.scale - 1.0).abs() < 1e-12, "{found:?}");
    }
}
