//! Detail on pictures of a generator: they are enlarged to twice their side, and what is fine there is added where the numbers displace it to.
//!
//! In: pictures `[B, 3, R, R]`, a detail `[1, 3, 2R, 2R]`, displacements of the nodes `[B, 2, 16, 16]` if there are any. Out: `[B, 3, 2R, 2R]`. Source: ours.

use super::ops::{from_vec, Calc};
use super::warp::Places;
use crate::error::Result;
use tch::{Device, Kind, Tensor};

/// Taps of the pixels to the left of a pixel, by distance, for the left one of the two that it becomes. Those to the right are their negatives, and for the right one it is the
/// other way round: so the mean of both is the pixel. Near the least squares of rows of real crops (0.21, -0.06, 0.015) and of rendered heads (0.19, -0.045, 0.012).
const TAPS: [f32; 3] = [0.2, -0.055, 0.012];

/// Doubles the side of pictures: the same taps along rows and along columns, which as two products of matrices take half the time of libtorch's own.
#[derive(Debug)]
pub(crate) struct Enlarger {
    /// `[2R, R]`
    taps: Tensor,
}

impl Enlarger {
    /// For pictures of `side` on `device` that a detail is to be added to: bicubic. It brings what is fine itself, and then this comes nearer.
    ///
    /// # Errors
    /// Device.
    pub(crate) fn bicubic(side: i64, device: Device) -> Result<Enlarger> {
        let each = Tensor::f_eye(side, (Kind::Float, device))?.f_view([1, 1, side, side])?;
        Ok(Enlarger { taps: each.f_upsample_bicubic2d([2 * side, side], false, None, None)?.f_view([2 * side, side])? })
    }

    /// For pictures that stand alone: sharper. Each cell of four pixels has the mean that the picture had there.
    ///
    /// # Errors
    /// Device.
    pub(crate) fn sharp(side: i64, device: Device) -> Result<Enlarger> {
        let width = side as usize;
        let mut taps = vec![0f32; 2 * width * width];
        for (at, row) in taps.chunks_exact_mut(width).enumerate() {
            let (pixel, sign) = (at / 2, if at % 2 == 0 { 1.0 } else { -1.0 });
            row[pixel] = 1.0;
            for (distance, tap) in (1..).zip(TAPS) {
                // Beyond the border is the border.
                row[pixel.saturating_sub(distance)] += sign * tap;
                row[(pixel + distance).min(width - 1)] -= sign * tap;
            }
        }
        Ok(Enlarger { taps: from_vec(&taps, &[2 * side, side], device)? })
    }

    /// The same taps, for another thread.
    pub(crate) fn shared(&self) -> Enlarger {
        Enlarger { taps: self.taps.shallow_clone() }
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
    use crate::net::ops::to_vec;

    #[test]
    fn the_bicubic_one_is_that_of_libtorch() {
        let values: Vec<f32> = (0..2 * 3 * 8 * 8).map(|i| ((i * i) % 29) as f32).collect();
        let pictures = from_vec(&values, &[2, 3, 8, 8], Device::Cpu).unwrap();
        let ours = Enlarger::bicubic(8, Device::Cpu).unwrap().enlarged(&pictures).unwrap();
        let theirs = pictures.upsample_bicubic2d([16; 2], false, None, None);
        assert_eq!(ours.size(), [2, 3, 16, 16]);
        for (a, b) in to_vec(&ours).unwrap().iter().zip(to_vec(&theirs).unwrap()) {
            assert!((a - b).abs() < 1e-3, "{a} {b}");
        }
    }

    #[test]
    fn what_is_enlarged_and_shrunk_again_is_as_before_and_ramps_go_on() {
        let enlarger = Enlarger::sharp(16, Device::Cpu).unwrap();
        let values: Vec<f32> = (0..2 * 3 * 16 * 16).map(|i| ((i * i) % 29) as f32).collect();
        let pictures = from_vec(&values, &[2, 3, 16, 16], Device::Cpu).unwrap();
        let large = enlarger.enlarged(&pictures).unwrap();
        assert_eq!(large.size(), [2, 3, 32, 32]);
        let again = to_vec(&large.adaptive_avg_pool2d([16; 2])).unwrap();
        assert!(again.iter().zip(&values).all(|(a, b)| (a - b).abs() < 1e-4));
        // A ramp along rows and one along columns: of a cell of one pixel the pixels are a quarter off, nearly, and beyond the border is the border.
        for along in [1, 16] {
            let ramp: Vec<f32> = (0..16 * 16).map(|i| (i / along % 16) as f32).collect();
            let large = to_vec(&enlarger.enlarged(&from_vec(&ramp, &[1, 1, 16, 16], Device::Cpu).unwrap()).unwrap()).unwrap();
            let at = |place: usize| if along == 1 { large[32 * 11 + place] } else { large[32 * place + 11] };
            for (place, want) in (14..18).zip([6.75, 7.25, 7.75, 8.25]) {
                assert!((at(place) - want).abs() < 0.01, "{}", at(place));
            }
            let edge = 0.2 - 2.0 * 0.055 + 3.0 * 0.012;
            assert!((at(0) + edge).abs() < 1e-5 && (at(1) - edge).abs() < 1e-5 && (at(31) - 15.0 - edge).abs() < 1e-5);
        }
    }
}
