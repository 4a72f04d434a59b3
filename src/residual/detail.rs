//! The detail of an identity: what its pictures have beyond the generator's, at twice its side, sent once as one more tensor of the identity.
//!
//! In: a picture of interleaved colours in grey levels that is added where the enlarged picture lies. Out: a [`TunedTensor`](crate::bitstream::TunedTensor) of its wavelet coefficients
//! `[side, side, 3]`, and back. It moves with the numbers as `net::warp` says. Source: ours; docs/bitstream.md, "Identity: detail".

use super::wavelet;
use crate::bitstream::bands::PLANES;
#[cfg(feature = "analysis")]
use crate::bitstream::range::MAX_LEVEL;
use crate::bitstream::Identity;
#[cfg(feature = "analysis")]
use crate::bitstream::{step_from_code, TunedTensor};
use crate::error::{Error, Result};

/// Name of the tensor.
pub const DETAIL: &str = "detail";
/// Largest side of a detail.
pub const MAX_DETAIL_SIDE: u32 = 512;
/// From this share of a step on a coefficient is rounded up: most of those below cost more than they give.
#[cfg(feature = "analysis")]
const ROUND_UP: f32 = 0.65;

/// Side of the detail for a generator of this resolution; None where it would be larger than any may be.
pub fn detail_side(resolution: u32) -> Option<u32> {
    resolution.checked_mul(2).filter(|side| (1..=MAX_DETAIL_SIDE).contains(side))
}

/// The tensor of a picture, with steps of [`step_from_code`]`(code)` grey levels.
///
/// # Errors
/// Misuse for steps so fine that levels do not fit, or for what is no number.
#[cfg(feature = "analysis")]
pub(crate) fn detail_tensor(picture: &[f32], side: usize, code: i16) -> Result<TunedTensor> {
    let (planes, step, count) = (wavelet::forward(picture, side), step_from_code(code), side * side);
    let mut values = Vec::with_capacity(planes.len());
    for at in 0..count {
        for plane in 0..PLANES {
            let share = planes[plane * count + at] / step;
            if !share.is_finite() || share.abs() >= MAX_LEVEL as f32 {
                return Err(Error::Misuse(format!("detail: {share} steps, at most {MAX_LEVEL} allowed")));
            }
            values.push((share.abs() + 1.0 - ROUND_UP).floor() as i32 * share.signum() as i32);
        }
    }
    Ok(TunedTensor { name: DETAIL.into(), shape: vec![side, side, PLANES], steps: vec![code], values })
}

/// The detail of an identity as a picture of interleaved colours in grey levels, and its side; None for an identity without.
///
/// # Errors
/// Malformed for a tensor that does not fit the identity, or twice.
pub(crate) fn detail_picture(identity: &Identity) -> Result<Option<(Vec<f32>, usize)>> {
    let mut found = identity.tuned.iter().filter(|tensor| tensor.name == DETAIL);
    let Some(tensor) = found.next() else { return Ok(None) };
    let side = detail_side(identity.resolution).map(|side| side as usize);
    let side = side.filter(|side| tensor.shape == [*side, *side, PLANES] && found.next().is_none());
    let side = side.ok_or_else(|| {
        let shape = &tensor.shape;
        Error::Malformed(format!("identity: a detail of shape {shape:?} beside a resolution of {}, or two", identity.resolution))
    })?;
    let levels = tensor.dequantise();
    let planes: Vec<f32> = (0..PLANES).flat_map(|plane| levels.iter().skip(plane).step_by(PLANES).copied()).collect();
    let picture = wavelet::inverse(&planes, side);
    match picture.iter().all(|v| v.is_finite()) {
        true => Ok(Some((picture, side))),
        false => Err(Error::Malformed("identity: its detail is not finite".into())),
    }
}
