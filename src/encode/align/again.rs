//! A second look at where a known face sits: crops against the pictures that its generator draws with the crops' own numbers.
//!
//! Input: crops of an enrolled person and their renders. Output: the similarity that all crops are off by; and crops cut anew. `refer` places a face as
//! it is on a few pictures of other moments, which is right to a few hundredths of its size: a decibel or two for a generator whose
//! weights stand still. The renders show the very pose and expression of the crop, so what differs is the place.

use super::geometry::{CropPose, Similarity};
use super::refer::middle;
use super::register::Register;
use super::warp;
use super::AlignedFrame;
use crate::error::{Error, Result};
use crate::frame::{Frame, TimedFrame};

/// Share of the face that must agree with its render for a pair to count.
const AGREES: f64 = 0.4;
/// Largest believable shift, crop units.
const MOST: f64 = 0.15;

/// By how much crops are to be moved, all alike.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shift(Similarity);

impl Default for Shift {
    fn default() -> Self {
        Shift(Similarity::IDENTITY)
    }
}

impl Shift {
    /// This shift, then `next` of the crops that it gave.
    pub fn then(&self, next: &Shift) -> Shift {
        Shift(self.0.after(&next.0))
    }

    /// Largest movement of a point of the face, share of the crop's side.
    pub fn size(&self) -> f64 {
        self.0.size()
    }
}

/// What moves `crops` to where the face lies on their `renders`; `None` if too few of them agree with theirs.
///
/// # Errors
/// `Misuse` for unequal numbers of pictures; `Device` from OpenCV.
pub fn shift(crops: &[Frame], renders: &[Frame]) -> Result<Option<Shift>> {
    if crops.len() != renders.len() {
        return Err(Error::Misuse(format!("{} crops, {} renders", crops.len(), renders.len())));
    }
    let mut register = Register::new(false)?;
    let mut found = Vec::new();
    for (crop, render) in crops.iter().zip(renders) {
        let side = f64::from(crop.width.min(crop.height));
        let whole = CropPose { x: side / 2.0, y: side / 2.0, side, roll: 0.0 };
        let key = register.key(&warp::grey(render)?, &whole)?;
        let fit = register.follow(&key, &warp::grey(crop)?, whole)?;
        let motion = whole.motion_to(&fit.pose);
        if fit.inliers >= AGREES && motion.size() < MOST {
            found.push((motion, fit.inliers));
        }
    }
    log::info!("second look: {} of {} crops agree with their renders", found.len(), crops.len());
    if 4 * found.len() < crops.len() {
        return Ok(None);
    }
    Ok(middle(found).map(Shift))
}

/// The crop of `timed` that [`super::Aligner`] placed as `aligned`, cut anew after `shift`.
///
/// # Errors
/// `Device` from OpenCV.
pub fn cut_again(timed: &TimedFrame, aligned: &AlignedFrame, shift: &Shift, blur_outside: bool) -> Result<AlignedFrame> {
    let place = &aligned.placement;
    let pose = CropPose {
        x: f64::from(place.x),
        y: f64::from(place.y),
        side: f64::from(place.side),
        roll: f64::from(aligned.roll).to_radians(),
    };
    let pose = pose.moved(&shift.0);
    let frame = warp::cut(&timed.frame, &pose, aligned.frame.width, blur_outside)?;
    let (placement, roll) = pose.placement();
    Ok(AlignedFrame { pts: aligned.pts, frame, roll, placement, key: aligned.key, confidence: aligned.confidence })
}

#[cfg(test)]
mod tests {
    use super::*;
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
    fn crops_that_sit_beside_their_renders_are_moved_onto_them() {
        let camera = TimedFrame { pts: 3, frame: scene(300) };
        let right = CropPose { x: 150.0, y: 140.0, side: 128.0, roll: 0.1 };
        let off = Similarity { scale: 1.03, angle: 0.02, shift: (0.015, -0.02) };
        let at = |pose: &CropPose| {
            let (placement, roll) = pose.placement();
            let frame = warp::cut(&camera.frame, pose, 128, false).unwrap();
            AlignedFrame { pts: 3, frame, roll, placement, key: true, confidence: 1.0 }
        };
        let (wanted, mut now) = (at(&right), at(&right.moved(&off)));
        let mut total = Shift::default();
        for _ in 0..2 {
            let step = shift(std::slice::from_ref(&now.frame), std::slice::from_ref(&wanted.frame)).unwrap().unwrap();
            total = total.then(&step);
            now = cut_again(&camera, &at(&right.moved(&off)), &total, false).unwrap();
        }
        let Placement { x, y, side } = now.placement;
        assert!((x - 150.0).abs() < 0.1 && (y - 140.0).abs() < 0.1 && (side - 128.0).abs() < 0.2, "{:?}", now.placement);
        assert!((now.roll - 0.1f32.to_degrees()).abs() < 0.1 && now.pts == 3);
        let noise = Frame::filled(128, 128, [90; 3]).unwrap();
        assert_eq!(shift(&[wanted.frame], &[noise]).unwrap(), None);
    }
}
