//! Detail on pictures of a generator: they are enlarged to twice their side, and what is fine there is added where the numbers displace it to.
//!
//! In: pictures `[B, 3, R, R]`, a detail `[1, 3, 2R, 2R]`, displacements of the nodes `[B, 2, 16, 16]` if there are any. Out: `[B, 3, 2R, 2R]`. Source: ours.

use super::ops::Calc;
use super::warp::Places;
use crate::error::Result;
use tch::Tensor;

/// Pictures at twice their side, bicubic.
///
/// # Errors
/// Device.
pub(crate) fn enlarged(pictures: &Tensor) -> Result<Tensor> {
    Ok(pictures.f_upsample_bicubic2d([2 * pictures.size()[2]; 2], false, None, None)?)
}

/// The detail where the displacements take it to, one for each of them; as it is without.
///
/// # Errors
/// Device.
pub(crate) fn displaced(detail: &Tensor, warp: Option<&Tensor>) -> Result<Tensor> {
    match warp {
        Some(warp) => Places::new(warp, detail.size()[2])?.of(detail),
        None => Ok(detail.shallow_clone()),
    }
}

/// What of a picture of twice the generator's side is fine: what goes beyond half the generator's side. The rest the generator draws.
///
/// # Errors
/// Device.
#[cfg(feature = "analysis")]
pub(crate) fn fine(picture: &Tensor) -> Result<Tensor> {
    let side = picture.size()[2];
    let coarse = picture.f_adaptive_avg_pool2d([side / 4; 2])?;
    picture.minus(&coarse.f_upsample_bicubic2d([side; 2], false, None, None)?)
}

/// Pictures at twice their side with the detail on them.
///
/// # Errors
/// Device.
pub(crate) fn detailed(pictures: &Tensor, detail: &Tensor, warp: Option<&Tensor>) -> Result<Tensor> {
    enlarged(pictures)?.plus(&displaced(detail, warp)?)
}
