//! The figures of one coding.
//!
//! Input: source and decoded frames, 8-bit RGB. Output: means over the clip; units as in `effigy::evaluate`.

use effigy::evaluate::metrics::{flicker, motion, psnr, ssim, ssimulacra2};
use effigy::frame::Frame;
use effigy::{Error, Result};

/// SSIMULACRA2 is slow: every fifth frame is measured.
const EVERY: usize = 5;

/// Means over a clip.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figures {
    /// dB.
    pub psnr: f64,
    /// PSNR of the worst frame, dB.
    pub psnr_min: f64,
    /// At most 1.
    pub ssim: f64,
    /// At most 100.
    pub ssimulacra2: f64,
    /// Grey levels.
    pub flicker: f64,
    /// Grey levels, signed.
    pub unrest: f64,
}

impl Figures {
    /// Compares two clips.
    pub fn of(source: &[Frame], decoded: &[Frame]) -> Result<Figures> {
        if source.len() != decoded.len() || source.is_empty() {
            return Err(Error::Misuse(format!("{} frames went in, {} came out", source.len(), decoded.len())));
        }
        let count = source.len();
        let pairs = || source.iter().zip(decoded);
        let each = pairs().map(|(a, b)| psnr(a, b)).collect::<Result<Vec<f64>>>()?;
        let alike = pairs().map(|(a, b)| ssim(a, b)).sum::<Result<f64>>()?;
        let seen = pairs().step_by(EVERY).map(|(a, b)| ssimulacra2(a, b)).collect::<Result<Vec<f64>>>()?;
        let (mut wrong, mut restless) = (0.0, 0.0);
        for (a, b) in source.windows(2).zip(decoded.windows(2)) {
            wrong += flicker(&a[0], &a[1], &b[0], &b[1])?;
            restless += motion(&b[0], &b[1])? - motion(&a[0], &a[1])?;
        }
        let changes = (count - 1).max(1) as f64;
        Ok(Figures {
            psnr: each.iter().sum::<f64>() / count as f64,
            psnr_min: each.iter().copied().fold(f64::INFINITY, f64::min),
            ssim: alike / count as f64,
            ssimulacra2: seen.iter().sum::<f64>() / seen.len() as f64,
            flicker: wrong / changes,
            unrest: restless / changes,
        })
    }
}
