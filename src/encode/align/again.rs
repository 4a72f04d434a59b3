//! Crops cut anew where the face really sits.
//!
//! Input: placed crops and the similarity that they are off by, as [`Searcher::misplaced`](crate::encode::Searcher::misplaced) tells. Output: crops. `refer` places a face as
//! it is on a few pictures of other moments, which is right to a few hundredths of its size: a decibel or two for a generator whose
//! weights stand still.

use super::geometry::{CropPose, Similarity};
use super::warp;
use super::AlignedFrame;
use crate::encode::{Misplaced, Track};
use crate::error::Result;
use crate::frame::TimedFrame;

/// Largest believable shift, crop units.
const MOST: f64 = 0.15;

/// By how much crops are to be moved.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shift(pub(super) Similarity);

impl Default for Shift {
    fn default() -> Self {
        Shift(Similarity::IDENTITY)
    }
}

impl Shift {
    /// What moves crops to where they belong; `None` if it is farther than can be believed.
    pub fn new(found: &Misplaced) -> Option<Shift> {
        let shift = Shift(Similarity { scale: found.scale, angle: found.angle, shift: found.shift });
        (shift.size() < MOST).then_some(shift)
    }

    /// The mean of some shifts, at least one, with these weights.
    pub fn mean(shifts: &[(Shift, f64)]) -> Shift {
        let total: f64 = shifts.iter().map(|(_, weight)| weight).sum();
        let mean =
            |pick: fn(&Similarity) -> f64| shifts.iter().map(|(shift, weight)| weight * pick(&shift.0)).sum::<f64>() / total;
        let shift = (mean(|s| s.shift.0), mean(|s| s.shift.1));
        Shift(Similarity { scale: mean(|s| s.scale.ln()).exp(), angle: mean(|s| s.angle), shift })
    }

    /// The same kind of shift, `share` as large.
    pub fn part(&self, share: f64) -> Shift {
        Shift(self.0.part(share))
    }

    /// This shift, then `next` of the crops that it gave; this shift alone if both lead farther than can be believed.
    pub fn then(&self, next: &Shift) -> Shift {
        let both = Shift(self.0.after(&next.0));
        if both.size() < MOST {
            both
        } else {
            *self
        }
    }

    /// Where a crop sits after this shift.
    pub fn moved(&self, track: &Track) -> Track {
        let (placement, roll) = CropPose::placed(&track.placement, track.roll).moved(&self.0).placement();
        Track { roll, placement, ..*track }
    }

    /// Largest movement of a point of the face, share of the crop's side.
    pub fn size(&self) -> f64 {
        self.0.size()
    }
}

/// The crop of `timed`, `side` pixels square, where [`super::Aligner`] placed it, moved by `shift`.
///
/// # Errors
/// `Device` from OpenCV.
pub fn cut_again(timed: &TimedFrame, track: &Track, side: u32, shift: &Shift, blur_outside: bool) -> Result<AlignedFrame> {
    let track = shift.moved(track);
    let frame = warp::cut(&timed.frame, &CropPose::placed(&track.placement, track.roll), side, blur_outside)?;
    Ok(track.with(frame))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Frame;
    use crate::params::Placement;

    /// A picture with detail at all sizes.
    fn scene(side: u32) -> Frame {
        let mut data = Vec::new();
        for y in 0..side {
            for x in 0..side {
                let (u, v) = (x as f32 / side as f32 * 40.0, y as f32 / side as f32 * 40.0);
                let value =
                    128.0 + 40.0 * (u + 0.3 * v).sin() * (0.7 * v).cos() + 40.0 * (0.31 * u).sin() * (0.23 * v + 1.0).sin();
                data.extend([value as u8; 3]);
            }
        }
        Frame::new(side, side, data).unwrap()
    }

    #[test]
    fn a_crop_that_is_off_and_moved_back_is_the_crop() {
        let camera = TimedFrame { pts: 3, frame: scene(300) };
        let right = CropPose { x: 150.0, y: 140.0, side: 128.0, roll: 0.1 };
        let off = Similarity { scale: 1.03, angle: 0.02, shift: (0.015, -0.02) };
        let (placement, roll) = right.moved(&off).placement();
        let frame = warp::cut(&camera.frame, &right.moved(&off), 128, false).unwrap();
        let placed = AlignedFrame { pts: 3, frame, roll, placement, key: true, shot: 0, confidence: 1.0 };
        let Similarity { scale, angle, shift } = off.inverse();
        let back = Shift::new(&Misplaced { shift, scale, angle, error: 0.0 }).unwrap();
        let once = cut_again(&camera, &placed.track(), 128, &back, false).unwrap();
        let Placement { x, y, side } = once.placement;
        assert!((x - 150.0).abs() < 0.01 && (y - 140.0).abs() < 0.01 && (side - 128.0).abs() < 0.01, "{:?}", once.placement);
        assert!((once.roll - 0.1f32.to_degrees()).abs() < 0.01 && once.pts == 3);
        assert_eq!(Shift::new(&Misplaced { shift: (0.2, 0.0), scale: 1.0, angle: 0.0, error: 0.0 }), None, "too far");
    }

    #[test]
    fn the_mean_of_shifts_counts_them_by_their_weights() {
        let shift = |x: f64, scale: f64, angle: f64| Shift(Similarity { scale, angle, shift: (x, 0.5 * x) });
        let mean = Shift::mean(&[(shift(0.02, 1.0, 0.0), 3.0), (shift(0.06, 1.1, 0.04), 1.0)]).0;
        assert!((mean.shift.0 - 0.03).abs() < 1e-12 && (mean.shift.1 - 0.015).abs() < 1e-12 && (mean.angle - 0.01).abs() < 1e-12);
        assert!((mean.scale.ln() - 0.25 * 1.1f64.ln()).abs() < 1e-12);
    }
}
