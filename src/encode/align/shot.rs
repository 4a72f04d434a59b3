//! Shot cuts: frames that have next to nothing in common with the one before.
//!
//! Input: grey camera frames in order. Thumbnails are compared without their mean, so that lights and exposure may change.

use std::collections::VecDeque;

use opencv::core::{Mat, Size};
use opencv::imgproc;
use opencv::prelude::*;

use super::detect::median;
use super::warp::cv;
use crate::error::Result;

/// Side of the thumbnails, pixels.
const SIDE: i32 = 32;
/// Mean difference of two thumbnails at a cut: at least so many grey levels, and so many times what was usual in the frames before.
const LEAST: f64 = 14.0;
const TIMES: f64 = 5.0;
/// Frames that tell what is usual.
const MEMORY: usize = 12;

/// What was seen last, and how much it changed of late.
#[derive(Default)]
pub(super) struct Shots {
    last: Vec<f64>,
    changes: VecDeque<f64>,
}

impl Shots {
    /// Whether a new shot begins with this frame.
    pub(super) fn cut(&mut self, grey: &Mat) -> Result<bool> {
        let mut small = Mat::default();
        cv(imgproc::resize(grey, &mut small, Size::new(SIDE, SIDE), 0.0, 0.0, imgproc::INTER_AREA))?;
        let pixels: Vec<f64> = cv(small.data_bytes())?.iter().map(|v| f64::from(*v)).collect();
        let mean = pixels.iter().sum::<f64>() / pixels.len() as f64;
        let pixels: Vec<f64> = pixels.iter().map(|v| v - mean).collect();
        let last = std::mem::replace(&mut self.last, pixels);
        if last.is_empty() {
            return Ok(false);
        }
        let change = self.last.iter().zip(&last).map(|(a, b)| (a - b).abs()).sum::<f64>() / last.len() as f64;
        let usual = median(self.changes.iter().copied().collect()).unwrap_or(0.0);
        let cut = change > LEAST.max(TIMES * usual);
        if cut {
            self.changes.clear();
        } else {
            self.changes.push_back(change);
            if self.changes.len() > MEMORY {
                self.changes.pop_front();
            }
        }
        Ok(cut)
    }
}

#[cfg(test)]
mod tests {
    use super::super::warp;
    use super::*;
    use crate::frame::Frame;

    /// Stripes of some direction that have moved by `shift`, of which `light` comes back.
    fn picture((u, v): (f64, f64), shift: f64, light: f64) -> Mat {
        let value =
            |x: usize, y: usize| 128.0 + light * 90.0 * (u * (x as f64 - shift) + v * y as f64).sin() - (1.0 - light) * 100.0;
        let data = (0..64 * 64).flat_map(|i| [value(i % 64, i / 64).clamp(0.0, 255.0) as u8; 3]).collect();
        warp::grey(&Frame::new(64, 64, data).unwrap()).unwrap()
    }

    #[test]
    fn another_scene_is_a_cut_and_motion_or_another_light_is_none() {
        let (here, there) = ((0.1, 0.03), (0.02, 0.13));
        let mut shots = Shots::default();
        let mut cut = |scene, shift, light| shots.cut(&picture(scene, shift, light)).unwrap();
        assert!((0..20).all(|n| !cut(here, f64::from(n), 1.0)), "moving on");
        assert!(!cut(here, 20.0, 0.9) && !cut(here, 21.0, 1.0), "a flicker of the light");
        assert!(cut(there, 0.0, 1.0));
        assert!((0..5).all(|n| !cut(there, f64::from(n), 1.0)));
        assert!(cut(here, 0.0, 1.0));
    }
}
