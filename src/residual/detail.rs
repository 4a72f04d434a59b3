//! The detail of an identity: what its pictures have beyond the generator's, at twice its side, sent once as one more tensor of the identity.
//!
//! In: a picture of interleaved colours in grey levels that is added where the enlarged picture lies. Out: a [`TunedTensor`](crate::bitstream::TunedTensor) of its wavelet coefficients
//! `[side, side, 3]`, and back. It moves with the numbers as `net::warp` says. Source: ours; docs/bitstream.md, "Identity: tuned weights".

#[cfg(feature = "analysis")]
use super::level_of;
use super::wavelet;
use crate::bitstream::bands::PLANES;
#[cfg(feature = "analysis")]
use crate::bitstream::range::MAX_LEVEL;
#[cfg(feature = "analysis")]
use crate::bitstream::{step_from_code, TunedTensor};
use crate::bitstream::{Identity, DETAIL};
use crate::error::{Error, Result};

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
            values.push(level_of(share, ROUND_UP));
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
    // Levels and steps are bounded, so that sums of them are finite.
    Ok(Some((wavelet::inverse(&planes, side), side)))
}

#[cfg(all(test, feature = "analysis"))]
mod tests {
    use super::*;
    use crate::pack::fixture;

    fn identity(tensors: Vec<TunedTensor>) -> Identity {
        let mut identity = fixture::identity(&fixture::tiny(1).unwrap(), 1).unwrap();
        identity.tuned.extend(tensors);
        identity
    }

    #[test]
    fn a_picture_comes_back_within_half_a_step_of_each_coefficient() {
        let picture: Vec<f32> = fixture::rule("detail", 64 * 64 * 3, 40.0, 0.0);
        let tensor = detail_tensor(&picture, 64, -24).unwrap();
        let bytes = identity(vec![tensor.clone()]).to_bytes().unwrap();
        let (back, side) = detail_picture(&Identity::from_bytes(&bytes).unwrap()).unwrap().unwrap();
        let off = picture.iter().zip(&back).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(side == 64 && off < 4.0 * step_from_code(-24), "{off}");
        // Rows, then columns, then planes: a coefficient of the third plane, one row down, one column to the right.
        let mut one = TunedTensor { values: vec![0; 64 * 64 * 3], ..tensor };
        one.values[3 * (64 + 1) + 2] = 1000;
        let (shown, _) = detail_picture(&identity(vec![one])).unwrap().unwrap();
        let mut planes = vec![0.0; 64 * 64 * 3];
        planes[2 * 64 * 64 + 64 + 1] = 1000.0 * step_from_code(-24);
        assert_eq!(shown, wavelet::inverse(&planes, 64));
    }

    #[test]
    fn details_that_do_not_fit_are_malformed_and_wild_ones_finite() {
        let tensor = |shape: &[usize], step: i16, level: i32| {
            let values = vec![level; shape.iter().product()];
            TunedTensor { name: DETAIL.into(), shape: shape.to_vec(), steps: vec![step], values }
        };
        for shape in [&[32, 32, 3][..], &[64, 64], &[3, 64, 64], &[64, 64, 3, 1]] {
            assert!(matches!(detail_picture(&identity(vec![tensor(shape, 0, 1)])), Err(Error::Malformed(_))), "{shape:?}");
        }
        let good = tensor(&[64, 64, 3], 0, 1);
        assert!(matches!(detail_picture(&identity(vec![good.clone(), good.clone()])), Err(Error::Malformed(_))));
        let large = Identity { resolution: 512, ..identity(vec![tensor(&[1024, 1024, 3], 0, 1)]) };
        assert!(matches!(detail_picture(&large), Err(Error::Malformed(_))));
        let wild = identity(vec![tensor(&[64, 64, 3], 160, MAX_LEVEL)]);
        let (picture, _) = detail_picture(&Identity::from_bytes(&wild.to_bytes().unwrap()).unwrap()).unwrap().unwrap();
        assert!(picture.iter().all(|v| v.is_finite()));
        assert!(detail_picture(&identity(Vec::new())).unwrap().is_none());
        assert!(!identity(vec![good]).is_tuned());
    }
}
