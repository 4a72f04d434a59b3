//! Row flow: the identity latent W+ `[rows, dim]` and head angles `[B, 2]` (yaw, pitch in degrees) to posed latents `[B, rows, dim]`.
//!
//! The pose flow of our own packs. Their poses are known while they are trained, so that no ODE is needed: each row gets a small
//! network of the row itself and the angles. Zero angles give the identity latent back.

use super::flow::{PITCH_UNIT, POSED_ROWS, YAW_UNIT};
use super::ops::{leaky_from_scaled, Calc, LEAKY_SCALE};
use super::weights::Weights;
use crate::error::Result;
use serde::{Deserialize, Serialize};
use tch::Tensor;

/// Shape of a row flow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowFlowConfig {
    /// Width of a W+ row.
    pub style_dim: i64,
    /// Hidden units per row.
    pub hidden: i64,
}

impl RowFlowConfig {
    /// Every tensor that the weights must hold, with its shape.
    pub fn tensors(&self) -> Vec<(String, Vec<i64>)> {
        let mut out = Vec::new();
        for row in 0..POSED_ROWS {
            out.push((format!("{row}.latent.weight"), vec![self.hidden, self.style_dim]));
            out.push((format!("{row}.angles.weight"), vec![self.hidden, 5]));
            out.push((format!("{row}.bias"), vec![self.hidden]));
            out.push((format!("{row}.out.weight"), vec![self.style_dim, self.hidden]));
        }
        out
    }
}

/// The row flow with its weights.
#[derive(Debug)]
pub struct RowFlow {
    cfg: RowFlowConfig,
    weights: Weights,
}

impl RowFlow {
    /// Takes the weights; missing or misshapen tensors are reported by name.
    pub fn new(cfg: RowFlowConfig, weights: Weights) -> Result<Self> {
        for (name, shape) in cfg.tensors() {
            weights.shaped(&name, &shape)?;
        }
        Ok(RowFlow { cfg, weights })
    }

    /// Its shape.
    pub fn config(&self) -> &RowFlowConfig {
        &self.cfg
    }

    /// Its tensors.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// LH_t: `w_plus` `[B or 1, rows, dim]` turned to `angles` `[B, 2]` (yaw, pitch in degrees).
    pub fn posed(&self, w_plus: &Tensor, angles: &Tensor) -> Result<Tensor> {
        let batch = angles.size()[0];
        let features = Self::features(angles)?;
        let neutral = features.f_zeros_like()?;
        let mut rows = Vec::with_capacity(POSED_ROWS as usize + 1);
        for row in 0..POSED_ROWS {
            let w = w_plus.f_select(1, row)?;
            let delta = self.turn(row, &w, &features)?.minus(&self.turn(row, &w, &neutral)?)?;
            rows.push(w.plus(&delta)?.f_unsqueeze(1)?);
        }
        let rest = w_plus.f_slice(1, POSED_ROWS, None, 1)?;
        let size = rest.size();
        rows.push(rest.f_expand([batch, size[1], size[2]], false)?);
        Ok(Tensor::f_cat(&rows, 1)?)
    }

    /// Angles in units, their squares and product: enough for a smooth surface.
    fn features(angles: &Tensor) -> Result<Tensor> {
        let yaw = angles.f_slice(1, 0, 1, 1)?.scale(1.0 / YAW_UNIT)?;
        let pitch = angles.f_slice(1, 1, 2, 1)?.scale(1.0 / PITCH_UNIT)?;
        let all = [yaw.shallow_clone(), pitch.shallow_clone(), yaw.f_square()?, pitch.f_square()?, yaw.times(&pitch)?];
        Ok(Tensor::f_cat(&all, 1)?)
    }

    fn turn(&self, row: i64, w: &Tensor, features: &Tensor) -> Result<Tensor> {
        let get = |part: &str| self.weights.get(&format!("{row}.{part}"));
        let hidden = w.f_linear(get("latent.weight")?, Some(get("bias")?))?;
        let hidden = hidden.plus(&features.f_linear(get("angles.weight")?, None::<&Tensor>)?)?;
        Ok(leaky_from_scaled(&hidden.scale(LEAKY_SCALE)?)?.f_linear(get("out.weight")?, None::<&Tensor>)?)
    }
}
