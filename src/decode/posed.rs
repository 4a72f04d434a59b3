//! Posed latents: yaw and pitch in degrees to the rows of LH_t that the pose moves, without solving the flow per frame.
//!
//! L_ID is fixed and two numbers vary, so the posed rows are a surface. It is computed on a grid, tile by tile where frames need
//! it, and interpolated with Catmull-Rom splines (Catmull & Rom 1974) in both directions. The nodes are exact: so is the rest pose.

use crate::error::{Error, Result};
use crate::net::flow::POSED_ROWS;
use crate::net::ops::{from_vec, to_vec};
use crate::net::PoseFlow;
use crate::params::FrameParams;
use std::collections::HashMap;
use tch::{no_grad, Tensor};

/// Grid of posed latents.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GridOptions {
    /// Distance of the nodes, degrees.
    pub step: f32,
}

/// Angles beyond these are rendered as these: no face is seen there, and the grid stays bounded.
pub(super) const MOST_DEGREES: f32 = 90.0;
/// Smallest distance of the nodes, degrees: the whole grid of 512-wide rows then takes 270 MB at most.
const SMALLEST_STEP: f32 = 1.0;
/// Nodes per side of a tile; one tile is one batch for the flow.
const TILE: i32 = 4;

impl Default for GridOptions {
    fn default() -> Self {
        GridOptions { step: 2.5 }
    }
}

/// The surface of one identity.
#[derive(Debug)]
pub struct PosedGrid {
    flow: PoseFlow,
    latent: Tensor,
    step: f32,
    /// Posed rows by tile; `TILE * TILE` nodes of `len` numbers each, pitch first.
    tiles: HashMap<(i32, i32), Vec<f32>>,
    /// `POSED_ROWS * dim`.
    len: usize,
}

impl PosedGrid {
    /// A grid without nodes yet, over L_ID `[1, rows, dim]`.
    ///
    /// # Errors
    /// Misuse for a step that is not from 1 to 30 degrees.
    pub fn new(flow: PoseFlow, latent: Tensor, options: &GridOptions) -> Result<PosedGrid> {
        if !(SMALLEST_STEP..=30.0).contains(&options.step) {
            return Err(Error::Misuse(format!("pose grid step {} degrees, expected {SMALLEST_STEP} to 30", options.step)));
        }
        let len = (POSED_ROWS * latent.size()[2]) as usize;
        Ok(PosedGrid { flow, latent, step: options.step, tiles: HashMap::new(), len })
    }

    /// Rows 0 to 3 of LH_t, `[B, 4, dim]`, for each frame's yaw and pitch.
    ///
    /// # Errors
    /// Misuse for angles that are not finite; device.
    pub fn rows(&mut self, params: &[FrameParams]) -> Result<Tensor> {
        let dim = self.len as i64 / POSED_ROWS;
        from_vec(&self.values(params)?, &[params.len() as i64, POSED_ROWS, dim], self.latent.device())
    }

    /// The same as numbers, frame by frame.
    pub(super) fn values(&mut self, params: &[FrameParams]) -> Result<Vec<f32>> {
        let mut all = vec![0f32; params.len() * self.len];
        for (out, p) in all.chunks_exact_mut(self.len).zip(params) {
            self.interpolate(p.yaw, p.pitch, out)?;
        }
        Ok(all)
    }

    fn interpolate(&mut self, yaw: f32, pitch: f32, out: &mut [f32]) -> Result<()> {
        if !yaw.is_finite() || !pitch.is_finite() {
            return Err(Error::Misuse(format!("yaw {yaw} and pitch {pitch} must be finite")));
        }
        let place = |v: f32| {
            let at = v.clamp(-MOST_DEGREES, MOST_DEGREES) / self.step;
            (at.floor() as i32, catmull_rom(at - at.floor()))
        };
        let ((x, wx), (y, wy)) = (place(yaw), place(pitch));
        for (j, wj) in wy.iter().enumerate().filter(|(_, w)| **w != 0.0) {
            for (i, wi) in wx.iter().enumerate().filter(|(_, w)| **w != 0.0) {
                let (weight, node) = (wi * wj, self.node(x + i as i32 - 1, y + j as i32 - 1)?);
                out.iter_mut().zip(node).for_each(|(o, n)| *o += weight * n);
            }
        }
        Ok(())
    }

    /// Posed rows at a node, from its tile.
    fn node(&mut self, x: i32, y: i32) -> Result<&[f32]> {
        let key = (x.div_euclid(TILE), y.div_euclid(TILE));
        if !self.tiles.contains_key(&key) {
            let tile = self.solve(key)?;
            self.tiles.insert(key, tile);
        }
        let at = (y.rem_euclid(TILE) * TILE + x.rem_euclid(TILE)) as usize * self.len;
        Ok(&self.tiles[&key][at..at + self.len])
    }

    /// The flow at all nodes of a tile.
    fn solve(&self, key: (i32, i32)) -> Result<Vec<f32>> {
        let mut angles = Vec::with_capacity((2 * TILE * TILE) as usize);
        for y in 0..TILE {
            for x in 0..TILE {
                angles.extend([(key.0 * TILE + x) as f32 * self.step, (key.1 * TILE + y) as f32 * self.step]);
            }
        }
        no_grad(|| {
            let angles = from_vec(&angles, &[i64::from(TILE * TILE), 2], self.latent.device())?;
            to_vec(&self.flow.posed(&self.latent, &angles)?.f_slice(1, 0, POSED_ROWS, 1)?)
        })
    }
}

/// Weights of the four nodes around a place `t` between the second and the third.
fn catmull_rom(t: f32) -> [f32; 4] {
    let (t2, t3) = (t * t, t * t * t);
    [0.5 * (2.0 * t2 - t - t3), 0.5 * (3.0 * t3 - 5.0 * t2 + 2.0), 0.5 * (4.0 * t2 + t - 3.0 * t3), 0.5 * (t3 - t2)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spline_meets_its_nodes_and_reproduces_parabolas() {
        assert_eq!(catmull_rom(0.0), [0.0, 1.0, 0.0, 0.0]);
        for i in 0..=10 {
            let t = i as f32 / 10.0;
            let w = catmull_rom(t);
            let at = |f: fn(f32) -> f32| (0..4).map(|k| w[k] * f(k as f32 - 1.0)).sum::<f32>();
            assert!((at(|_| 1.0) - 1.0).abs() < 1e-6);
            assert!((at(|x| x) - t).abs() < 1e-6);
            assert!((at(|x| x * x) - t * t).abs() < 1e-6);
        }
    }
}
