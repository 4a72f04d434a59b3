//! How near a decoded clip is to its reference.
//!
//! Input: two clips of the same crop, frame by frame ([`Frame`], 8-bit RGB). Output: a [`Report`].
//! Fidelity alone flatters a codec of faces: in a calm clip one still picture scores well. So the report also states what the best
//! held frame scores (`static_psnr`) and, given the crops an identity was tuned on, what a slideshow of those crops scores.
//!
//! Reading order: [`metrics`] (pictures), [`report`] (a clip), [`readings`] (what a pack's networks see), [`cost`] (bytes), [`rate`] (bytes against quality), [`plot`] and
//! [`html`] (showing it all).
//!
//! ```
//! use effigy::evaluate::Evaluator;
//! use effigy::frame::Frame;
//!
//! # fn main() -> effigy::Result<()> {
//! let source = Frame::filled(16, 16, [100, 100, 100])?;
//! let decoded = Frame::filled(16, 16, [110, 110, 110])?;
//! let mut evaluator = Evaluator::new(vec![source.clone()], Vec::new());
//! evaluator.push(&source, &decoded)?;
//! assert_eq!(evaluator.finish()?.l1, 10.0);
//! # Ok(())
//! # }
//! ```

pub mod cost;
pub mod html;
pub mod metrics;
pub mod plot;
pub mod rate;
pub mod readings;
pub mod report;

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::frame::Frame;
pub use cost::Cost;
use metrics::{decibels, flicker, l1, motion, mse, psnr, ssim, ssimulacra2};
pub use readings::{Reader, Readings};
pub use report::{FrameScore, Report};

/// A held frame equals itself once; that one comparison counts as this much, dB, so that short clips are not flattered.
const HELD_CEILING: f64 = 60.0;
/// About how many frames are tried as the best still.
const STILLS: u64 = 25;

/// Which frames of a clip of `frames` to try as the best still: about 25, evenly spaced, the first among them.
pub fn still_candidates(frames: u64) -> impl Iterator<Item = u64> {
    (0..frames).step_by((frames / STILLS).max(1) as usize)
}

/// Compares frame pairs as they come; memory does not grow with the clip, apart from the scores.
pub struct Evaluator {
    stills: Vec<Frame>,
    still_sums: Vec<f64>,
    enrolled: Vec<Frame>,
    slideshow_sum: f64,
    size: (u32, u32),
    previous: Option<(Frame, Frame)>,
    scores: Vec<FrameScore>,
}

impl Evaluator {
    /// `stills`: frames of the reference to try as the best still (see [`still_candidates`]). `enrolled`: the aligned crops that
    /// the identity was tuned on; empty leaves the slideshow out of the report.
    pub fn new(stills: Vec<Frame>, enrolled: Vec<Frame>) -> Self {
        let still_sums = vec![0.0; stills.len()];
        Evaluator { stills, still_sums, enrolled, slideshow_sum: 0.0, size: (0, 0), previous: None, scores: Vec::new() }
    }

    /// Takes the next frame of the reference and of the decoded clip and returns its scores.
    ///
    /// # Errors
    /// [`Error::Misuse`] when sizes differ between the clips, or from the stills or the enrolled crops, or for pictures under 8 x 8.
    pub fn push(&mut self, reference: &Frame, decoded: &Frame) -> Result<FrameScore> {
        let (change, unrest) = match &self.previous {
            Some((reference0, decoded0)) => {
                (flicker(reference0, reference, decoded0, decoded)?, motion(decoded0, decoded)? - motion(reference0, reference)?)
            }
            None => (0.0, 0.0),
        };
        let score = FrameScore {
            psnr: psnr(reference, decoded)?,
            ssim: ssim(reference, decoded)?,
            l1: l1(reference, decoded)?,
            ssimulacra2: ssimulacra2(reference, decoded)?,
            flicker: change,
            unrest,
        };
        let held = errors(reference, &self.stills)?;
        self.still_sums.iter_mut().zip(held).for_each(|(sum, error)| *sum += decibels(error).min(HELD_CEILING));
        if let Some(nearest) = errors(reference, &self.enrolled)?.into_iter().reduce(f64::min) {
            self.slideshow_sum += decibels(nearest);
        }
        self.size = (reference.width, reference.height);
        self.previous = Some((reference.clone(), decoded.clone()));
        self.scores.push(score);
        Ok(score)
    }

    /// The report on all frames so far.
    ///
    /// # Errors
    /// [`Error::NoContent`] when there were none.
    pub fn finish(self) -> Result<Report> {
        let count = self.scores.len();
        if count == 0 {
            return Err(Error::NoContent("no frames to compare".into()));
        }
        let mean = |figure: fn(&FrameScore) -> f64, over: usize| self.scores.iter().map(figure).sum::<f64>() / over.max(1) as f64;
        let worst = (0..count).min_by(|&a, &b| self.scores[a].psnr.total_cmp(&self.scores[b].psnr)).unwrap_or(0);
        let psnr = mean(|s| s.psnr, count);
        let static_psnr = self.still_sums.iter().fold(0.0, |best: f64, sum| best.max(sum / count as f64));
        let slideshow = (!self.enrolled.is_empty()).then(|| self.slideshow_sum / count as f64);
        Ok(Report {
            frames: count as u64,
            width: self.size.0,
            height: self.size.1,
            psnr,
            psnr_min: self.scores[worst].psnr,
            psnr_min_frame: worst as u64,
            ssim: mean(|s| s.ssim, count),
            ssim_min: self.scores.iter().map(|s| s.ssim).fold(f64::INFINITY, f64::min),
            l1: mean(|s| s.l1, count),
            ssimulacra2: mean(|s| s.ssimulacra2, count),
            ssimulacra2_min: self.scores.iter().map(|s| s.ssimulacra2).fold(f64::INFINITY, f64::min),
            // The first frame has no change before it.
            flicker: mean(|s| s.flicker, count - 1),
            unrest: mean(|s| s.unrest, count - 1),
            static_psnr,
            gain_db: psnr - static_psnr,
            slideshow_psnr: slideshow,
            slideshow_gain_db: slideshow.map(|s| psnr - s),
            per_frame: self.scores,
        })
    }
}

/// Mean squared error of each candidate against the reference.
fn errors(reference: &Frame, candidates: &[Frame]) -> Result<Vec<f64>> {
    candidates.par_iter().map(|candidate| mse(reference, candidate)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grey(level: u8) -> Frame {
        Frame::filled(16, 16, [level; 3]).unwrap()
    }

    #[test]
    fn the_best_still_is_the_one_in_the_middle_of_the_motion() {
        let clip: Vec<Frame> = [100, 110, 120].into_iter().map(grey).collect();
        let mut evaluator = Evaluator::new(clip.clone(), Vec::new());
        for frame in &clip {
            evaluator.push(frame, frame).unwrap();
        }
        let report = evaluator.finish().unwrap();
        // Held: 60 dB for itself, 20 log10(255/10) for each neighbour.
        let expected = (60.0 + 2.0 * 20.0 * 25.5f64.log10()) / 3.0;
        assert!((report.static_psnr - expected).abs() < 1e-9, "{}", report.static_psnr);
        assert_eq!(report.psnr, metrics::PSNR_EQUAL);
        assert_eq!(report.slideshow_psnr, None);
    }

    #[test]
    fn the_slideshow_takes_the_nearest_enrolled_crop_for_each_frame() {
        let mut evaluator = Evaluator::new(vec![grey(0)], vec![grey(90), grey(130)]);
        for level in [100, 120] {
            evaluator.push(&grey(level), &grey(level + 1)).unwrap();
        }
        let report = evaluator.finish().unwrap();
        assert!((report.slideshow_psnr.unwrap() - 20.0 * 25.5f64.log10()).abs() < 1e-9);
        assert!(report.slideshow_gain_db.unwrap() > 15.0);
    }

    #[test]
    fn the_worst_frame_is_named() {
        let mut evaluator = Evaluator::new(Vec::new(), Vec::new());
        for error in [1, 9, 3] {
            evaluator.push(&grey(100), &grey(100 + error)).unwrap();
        }
        let report = evaluator.finish().unwrap();
        assert_eq!(report.psnr_min_frame, 1);
        // Changes of the error: +8 and -6.
        assert_eq!(report.flicker, 7.0);
        // The decoded clip moves, its reference does not.
        assert_eq!(report.unrest, 7.0);
        assert_eq!(report.frames_csv().lines().count(), 4);
        assert_eq!(report.to_json()["psnr_min_frame"], 1);
        assert!(report.to_json().get("slideshow_psnr").is_none());
    }

    #[test]
    fn nothing_to_compare_is_an_error() {
        assert!(matches!(Evaluator::new(Vec::new(), Vec::new()).finish(), Err(Error::NoContent(_))));
    }

    #[test]
    fn candidates_are_few_and_begin_with_the_first_frame() {
        assert_eq!(still_candidates(3).collect::<Vec<_>>(), [0, 1, 2]);
        assert!(still_candidates(1000).count() == 25 && still_candidates(49).count() == 49);
        assert_eq!(still_candidates(0).count(), 0);
    }
}
