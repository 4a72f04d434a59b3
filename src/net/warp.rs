//! Features and pictures displaced along a grid of nodes. Source: the deformation of active appearance models (Cootes et al. 2001) in a differentiable form,
//! the sampler of spatial transformers (Jaderberg et al. 2015).
//!
//! In: pictures `[B, C, S, S]` and, per frame, what each of [`NODES`] x [`NODES`] nodes is displaced by, `[B, 2, NODES, NODES]`, x then y. Out: pictures of the same shape.

use super::ops::{laid_out_like, Calc};
use crate::error::Result;
use tch::{Device, Kind, Tensor};

/// Nodes along a side.
pub const NODES: i64 = 16;
/// What a displacement of 1 is worth, in units of half a side. Tuning moves all tensors at one rate, and this makes it fit.
const UNIT: f64 = 0.1;
/// The same in sides.
pub(crate) const SIDES_PER_UNIT: f32 = (UNIT / 2.0) as f32;
/// From so many channels on pictures are read as tables.
const DEEP: i64 = 8;
/// Nothing comes from further away than half a side.
const FARTHEST: f64 = 1.0;

/// Where the places of pictures of one side are taken from.
#[derive(Debug)]
pub(super) struct Places {
    /// `[B, S, S, 2]`, x and y from -1 to 1 between the outer edges.
    grid: Tensor,
}

impl Places {
    /// For pictures of `side`; `by` `[B, 2, NODES, NODES]`.
    ///
    /// # Errors
    /// Device, when libtorch fails.
    pub(super) fn new(by: &Tensor, side: i64) -> Result<Places> {
        let by = by.scale(UNIT)?.f_nan_to_num(0.0, FARTHEST, -FARTHEST)?.f_clamp(-FARTHEST, FARTHEST)?;
        let by = by.f_upsample_bilinear2d([side; 2], false, None, None)?;
        let line =
            Tensor::f_arange(side, (Kind::Float, by.device()))?.scale(2.0 / side as f64)?.shift(1.0 / side as f64 - 1.0)?;
        let x = line.f_view([1, 1, side])?.f_expand([1, side, side], false)?;
        let y = line.f_view([1, side, 1])?.f_expand([1, side, side], false)?;
        Ok(Places { grid: Tensor::f_stack(&[x, y], 1)?.plus(&by)?.f_permute([0, 2, 3, 1])? })
    }

    /// Pictures of that side, one for the whole batch or one for each of it, displaced; beyond the border is the border.
    ///
    /// # Errors
    /// Device, when libtorch fails.
    pub(super) fn of(&self, pictures: &Tensor) -> Result<Tensor> {
        let (kind, batch) = (pictures.kind(), self.grid.size()[0]);
        let plain = kind == Kind::Float && pictures.device() == Device::Cpu && pictures.size()[0] == batch;
        if plain
            && pictures.size()[1] >= DEEP
            && pictures.size()[2] > 1
            && !pictures.requires_grad()
            && !self.grid.requires_grad()
        {
            return self.of_features(pictures);
        }
        let plain = pictures.f_to_kind(Kind::Float)?.f_contiguous()?.f_expand([batch, -1, -1, -1], false)?;
        // Bilinear; border; the centres of the outer pixels lie within the picture.
        laid_out_like(&plain.f_grid_sampler(&self.grid, 0, 1, false)?.f_to_kind(kind)?, pictures)
    }

    /// The same for pictures of many channels that lie beside each other: a place's values are the weighed sum of four rows of a table.
    fn of_features(&self, pictures: &Tensor) -> Result<Tensor> {
        let size = pictures.size();
        let (batch, channels, side) = (size[0], size[1], size[2]);
        let table = pictures.f_permute([0, 2, 3, 1])?.f_reshape([-1, channels])?;
        // Pixels, from the centre of the first; at the border of two neighbours one counts alone.
        let half = side as f64 / 2.0;
        let at = self.grid.scale(half)?.shift(half - 0.5)?.f_clamp(0.0, (side - 1) as f64)?;
        let first = at.f_floor()?.f_clamp(0.0, (side - 2) as f64)?;
        let after = at.minus(&first)?;
        let before = after.f_neg()?.shift(1.0)?;
        let [before_x, before_y] = [before.f_select(3, 0)?, before.f_select(3, 1)?];
        let [after_x, after_y] = [after.f_select(3, 0)?, after.f_select(3, 1)?];
        let corners = [(&before_x, &before_y), (&after_x, &before_y), (&before_x, &after_y), (&after_x, &after_y)];
        let weights = corners.into_iter().map(|(x, y)| x.times(y)).collect::<Result<Vec<_>>>()?;
        let first = first.f_to_kind(Kind::Int)?;
        let picture = Tensor::f_arange_start_step(0, batch * side * side, side * side, (Kind::Int, Device::Cpu))?;
        let row = first.f_select(3, 1)?.f_mul_scalar(side)?.plus(&first.f_select(3, 0)?)?.plus(&picture.f_view([-1, 1, 1])?)?;
        let rows =
            [0, 1, side, side + 1].map(|by| row.f_add_scalar(by)).into_iter().collect::<std::result::Result<Vec<_>, _>>()?;
        let flat = |parts: &[Tensor]| Tensor::f_stack(parts, 3)?.f_flatten(0, -1);
        let bags = Tensor::f_arange_start_step(0, 4 * batch * side * side, 4, (Kind::Int, Device::Cpu))?;
        let sums = Tensor::f_embedding_bag(&table, &flat(&rows)?, &bags, false, 0, false, Some(&flat(&weights)?), false)?.0;
        laid_out_like(&sums.f_view([batch, side, side, channels])?.f_permute([0, 3, 1, 2])?, pictures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::ops::{channels_last, from_vec, to_vec};

    const COUNT: usize = (NODES * NODES) as usize;

    /// A ramp of 32 x 32 whose values tell x and y apart, displaced.
    fn moved(by: &[f32]) -> Vec<f32> {
        let ramp: Vec<f32> = (0..32 * 32).map(|i| (i % 32) as f32 + 100.0 * (i / 32) as f32).collect();
        let ramp = from_vec(&ramp, &[1, 1, 32, 32], Device::Cpu).unwrap();
        let by = from_vec(by, &[1, 2, NODES, NODES], Device::Cpu).unwrap();
        to_vec(&Places::new(&by, 32).unwrap().of(&ramp).unwrap()).unwrap()
    }

    fn everywhere(x: f32, y: f32) -> Vec<f32> {
        [vec![x; COUNT], vec![y; COUNT]].concat()
    }

    fn at(picture: &[f32], x: usize, y: usize) -> f32 {
        picture[32 * y + x]
    }

    fn close(a: f32, b: f32) -> bool {
        (a - b).abs() < 0.02
    }

    #[test]
    fn nothing_moves_by_nothing_and_places_are_taken_from_where_the_nodes_point() {
        let still = moved(&everywhere(0.0, 0.0));
        assert!(close(at(&still, 9, 5), 509.0) && close(at(&still, 31, 31), 3131.0));
        // Half a side is 16 pixels, and a unit a tenth of that.
        let right = moved(&everywhere(1.25, 0.0));
        assert!(close(at(&right, 9, 5), 511.0), "{}", at(&right, 9, 5));
        assert!(close(at(&right, 31, 5), 531.0), "beyond the border");
        let down = moved(&everywhere(0.0, 0.625));
        assert!(close(at(&down, 9, 5), 609.0), "{}", at(&down, 9, 5));
    }

    #[test]
    fn a_node_moves_the_places_around_it_and_the_nearer_the_more() {
        // The node in column 4 of row 7, by 2 pixels to the right: its middle lies at pixel 8.5, 14.5.
        let mut by = everywhere(0.0, 0.0);
        by[7 * NODES as usize + 4] = 1.25;
        let picture = moved(&by);
        for (x, y, share) in
            [(8, 14, 0.75 * 0.75), (9, 15, 0.75 * 0.75), (8, 13, 0.75 * 0.25), (10, 14, 0.25 * 0.75), (8, 17, 0.0)]
        {
            let want = x as f32 + 100.0 * y as f32 + 2.0 * share;
            assert!(close(at(&picture, x, y), want), "{x}, {y}: {} and not {want}", at(&picture, x, y));
        }
    }

    #[test]
    fn features_are_read_where_pictures_are() {
        let by: Vec<f32> = (0..2 * 2 * COUNT).map(|i| 4.0 * ((i * i) as f32).sin()).collect();
        let by = from_vec(&by, &[2, 2, NODES, NODES], Device::Cpu).unwrap();
        let values: Vec<f32> = (0..2 * 24 * 32 * 32).map(|i| ((i * 7) as f32).sin()).collect();
        let features = from_vec(&values, &[2, 24, 32, 32], Device::Cpu).unwrap();
        let places = Places::new(&by, 32).unwrap();
        let parts: Vec<Tensor> = (0..6).map(|i| places.of(&features.narrow(1, 4 * i, 4)).unwrap()).collect();
        let want = to_vec(&Tensor::cat(&parts, 1)).unwrap();
        for features in [features.shallow_clone(), channels_last(&features).unwrap()] {
            let given = places.of(&features).unwrap();
            assert_eq!((given.size(), given.stride()), (features.size(), features.stride()));
            let given = to_vec(&given).unwrap();
            assert!(given.iter().zip(&want).all(|(a, b)| (a - b).abs() < 1e-5));
        }
    }

    #[test]
    fn what_is_no_number_moves_nothing_and_what_is_too_large_half_a_side() {
        assert_eq!(moved(&everywhere(f32::NAN, 0.0)), moved(&everywhere(0.0, 0.0)));
        for wild in [f32::INFINITY, 1e30] {
            assert_eq!(moved(&everywhere(wild, -wild)), moved(&everywhere(10.0, -10.0)));
        }
    }
}
