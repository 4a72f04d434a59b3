//! Detail on pictures of a generator: they are enlarged to twice their side, and what is fine there is added where the numbers displace it to.
//!
//! In: pictures `[B, 3, R, R]`, a detail `[1, 3, 2R, 2R]`, displacements of the nodes `[B, 2, 16, 16]` if there are any. Out: `[B, 3, 2R, 2R]`. Source: ours.

use super::ops::Calc;
use super::warp::Places;
use crate::error::Result;
use tch::{Device, Kind, Tensor};

/// Doubles the side of pictures, bicubic: the same few taps along rows and along columns, which as two products of matrices take half the time of libtorch's own.
#[derive(Debug)]
pub(crate) struct Enlarger {
    /// `[2R, R]`
    taps: Tensor,
}

impl Enlarger {
    /// For pictures of `side` on `device`.
    ///
    /// # Errors
    /// Device.
    pub(crate) fn new(side: i64, device: Device) -> Result<Enlarger> {
        let each = Tensor::f_eye(side, (Kind::Float, device))?.f_view([1, 1, side, side])?;
        Ok(Enlarger { taps: each.f_upsample_bicubic2d([2 * side, side], false, None, None)?.f_view([2 * side, side])? })
    }

    /// Pictures at twice their side.
    ///
    /// # Errors
    /// Device.
    pub(crate) fn enlarged(&self, pictures: &Tensor) -> Result<Tensor> {
        Ok(self.taps.f_matmul(&pictures.f_contiguous()?.f_matmul(&self.taps.f_transpose(0, 1)?)?)?)
    }

    /// Pictures at twice their side with the detail on them.
    ///
    /// # Errors
    /// Device.
    pub(crate) fn detailed(&self, pictures: &Tensor, detail: &Tensor, warp: Option<&Tensor>) -> Result<Tensor> {
        self.enlarged(pictures)?.plus(&displaced(detail, warp)?)
    }
}

/// The detail where the displacements take it to, one for each of them; as it is without.
///
/// # Errors
/// Device.
fn displaced(detail: &Tensor, warp: Option<&Tensor>) -> Result<Tensor> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::ops::{from_vec, to_vec};

    #[test]
    fn pictures_are_enlarged_as_libtorch_does() {
        let values: Vec<f32> = (0..2 * 3 * 8 * 8).map(|i| ((i * i) % 29) as f32).collect();
        let pictures = from_vec(&values, &[2, 3, 8, 8], Device::Cpu).unwrap();
        let ours = Enlarger::new(8, Device::Cpu).unwrap().enlarged(&pictures).unwrap();
        let theirs = pictures.upsample_bicubic2d([16; 2], false, None, None);
        assert_eq!(ours.size(), [2, 3, 16, 16]);
        for (a, b) in to_vec(&ours).unwrap().iter().zip(to_vec(&theirs).unwrap()) {
            assert!((a - b).abs() < 1e-3, "{a} {b}");
        }
    }
}
