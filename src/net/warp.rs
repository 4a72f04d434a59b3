//! Features and pictures displaced along a grid of nodes. Source: the deformation of active appearance models (Cootes et al. 2001) in a differentiable form,
//! the sampler of spatial transformers (Jaderberg et al. 2015).
//!
//! In: pictures `[B, C, S, S]` and, per frame, what each of [`NODES`] x [`NODES`] nodes is displaced by, `[B, 2, NODES, NODES]`, x then y. Out: pictures of the same shape.

use super::ops::{channels_last, Calc};
use crate::error::Result;
use tch::{Kind, Tensor};

/// Nodes along a side.
pub const NODES: i64 = 16;
/// What a displacement of 1 is worth, in units of half a side. Tuning moves all tensors at one rate, and this makes it fit.
const UNIT: f64 = 0.1;
/// Nothing comes from further away than half a side.
const FARTHEST: f64 = 1.0;

/// `pictures`, one for the whole batch or as many as `by` has, with each place taken from where the nodes around it point; beyond the border is the border.
///
/// # Errors
/// Device, when libtorch fails.
pub(super) fn warped(pictures: &Tensor, by: &Tensor) -> Result<Tensor> {
    let (kind, side, batch) = (pictures.kind(), pictures.size()[2], by.size()[0]);
    let by = by.f_upsample_bilinear2d([side; 2], false, None, None)?.scale(UNIT)?;
    let by = by.f_nan_to_num(0.0, FARTHEST, -FARTHEST)?.f_clamp(-FARTHEST, FARTHEST)?;
    let line = Tensor::f_arange(side, (Kind::Float, by.device()))?.scale(2.0 / side as f64)?.shift(1.0 / side as f64 - 1.0)?;
    let x = line.f_view([1, 1, side])?.f_expand([1, side, side], false)?;
    let y = line.f_view([1, side, 1])?.f_expand([1, side, side], false)?;
    let places = Tensor::f_stack(&[x, y], 1)?.plus(&by)?.f_permute([0, 2, 3, 1])?;
    let pictures = pictures.f_to_kind(Kind::Float)?.f_contiguous()?.f_expand([batch, -1, -1, -1], false)?;
    // Bilinear; border; the centres of the outer pixels lie within the picture.
    channels_last(&pictures.f_grid_sampler(&places, 0, 1, false)?.f_to_kind(kind)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::ops::{from_vec, to_vec};
    use tch::Device;

    fn moved(by: &[f32]) -> Vec<f32> {
        let ramp: Vec<f32> = (0..32 * 32).map(|i| (i % 32) as f32 + 100.0 * (i / 32) as f32).collect();
        let nodes = (NODES * NODES) as usize;
        let by: Vec<f32> = by.iter().flat_map(|v| std::iter::repeat_n(*v, nodes)).collect();
        let by = from_vec(&by, &[1, 2, NODES, NODES], Device::Cpu).unwrap();
        to_vec(&warped(&from_vec(&ramp, &[1, 1, 32, 32], Device::Cpu).unwrap(), &by).unwrap()).unwrap()
    }

    #[test]
    fn nothing_moves_by_nothing_and_places_are_taken_from_where_the_nodes_point() {
        let at = |picture: &[f32], x: usize, y: usize| picture[32 * y + x];
        let close = |a: f32, b: f32| (a - b).abs() < 0.02;
        let still = moved(&[0.0, 0.0]);
        assert!(close(at(&still, 9, 5), 509.0) && close(at(&still, 31, 31), 3131.0));
        // Half a side is 16 pixels, and a unit a tenth of that.
        let right = moved(&[1.25, 0.0]);
        assert!(close(at(&right, 9, 5), 511.0), "{}", at(&right, 9, 5));
        assert!(close(at(&right, 31, 5), 531.0), "beyond the border");
        let down = moved(&[0.0, 0.625]);
        assert!(close(at(&down, 9, 5), 609.0), "{}", at(&down, 9, 5));
    }

    #[test]
    fn what_is_no_number_or_too_large_leaves_pictures_that_are_numbers() {
        for wild in [f32::NAN, f32::INFINITY, -1e30] {
            let picture = moved(&[wild, 0.0]);
            assert!(picture.iter().all(|v| (0.0..=3131.0).contains(v)), "{wild}");
        }
    }
}
