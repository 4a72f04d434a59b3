//! Placing a face as it was placed before: the crop of later footage must show an enrolled person where the tuned generator draws
//! them.
//!
//! Input: pictures of the identity (its crops, or what its generator renders) and a first guess by the detector. Output: the
//! similarity from the guess to the place at which the face lies on those pictures, found by the registration that follows
//! faces. Eyes alone place a face to a few pixels, which a generator with frozen weights cannot make up for.

use super::detect::median;
use super::geometry::{CropPose, Similarity};
use super::register::{Key, Register};
use super::warp;
use crate::error::Result;
use crate::frame::Frame;
use opencv::core::Mat;

/// Share of the face that must agree with a reference.
const AGREES: f64 = 0.4;
/// Largest believable error of the detector, crop units.
const MOST_ERROR: f64 = 0.3;

/// Known crops of a face, ready to be compared with.
pub(super) struct References {
    keys: Vec<Key>,
}

impl References {
    pub(super) fn new(register: &Register, crops: &[Frame]) -> Result<Self> {
        let mut keys = Vec::with_capacity(crops.len());
        for crop in crops {
            let side = f64::from(crop.width.min(crop.height));
            let whole = CropPose { x: side / 2.0, y: side / 2.0, side, roll: 0.0 };
            keys.push(register.key(&warp::grey(crop)?, &whole)?);
        }
        Ok(References { keys })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Motion from `guess` to where the face lies on the reference that it is most like, and how surely; None if it is like none.
    pub(super) fn correction(&self, register: &mut Register, grey: &Mat, guess: &CropPose) -> Result<Option<(Similarity, f64)>> {
        let mut best: Option<(Similarity, f64)> = None;
        for key in &self.keys {
            let fit = register.follow(key, grey, *guess)?;
            let motion = guess.motion_to(&fit.pose);
            if fit.inliers >= AGREES && motion.size() < MOST_ERROR && best.is_none_or(|(_, sure)| fit.inliers > sure) {
                best = Some((motion, fit.inliers));
            }
        }
        Ok(best)
    }
}

/// The median of the surer half of some corrections.
pub(super) fn middle(mut all: Vec<(Similarity, f64)>) -> Option<Similarity> {
    all.sort_by(|a, b| b.1.total_cmp(&a.1));
    all.truncate(all.len().div_ceil(2));
    let part = |pick: fn(&Similarity) -> f64| median(all.iter().map(|(s, _)| pick(s)).collect());
    let shift = (part(|s| s.shift.0)?, part(|s| s.shift.1)?);
    Some(Similarity { shift, scale: part(|s| s.scale.ln())?.exp(), angle: part(|s| s.angle)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_corrections_leaves_unsure_ones_out() {
        let at = |x: f64| Similarity { shift: (x, 0.0), ..Similarity::IDENTITY };
        assert!(middle(Vec::new()).is_none());
        let found = middle(vec![(at(0.02), 0.9), (at(0.3), 0.41), (at(0.03), 0.8), (at(-0.3), 0.42), (at(0.02), 0.85)]).unwrap();
        assert!((found.shift.0 - 0.02).abs() < 1e-12 && (found.scale - 1.0).abs() < 1e-12, "{found:?}");
    }
}
