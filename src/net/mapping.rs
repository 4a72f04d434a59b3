//! Mapping network: z `[B, dim]` to w `[B, dim]`.
//! Source: StyleGAN2 (Karras et al. 2020), key layout of the published PyTorch port.

use super::ops::{equal_linear, Calc};
use super::synthesis::GeneratorConfig;
use super::weights::Weights;
use crate::error::Result;
use tch::{Kind, Tensor};

/// Learning-rate multiplier of the mapping layers; checkpoints store weights divided by it.
pub(super) const LR_MUL: f64 = 0.01;

/// w = f(z): normalisation to unit mean square, then `layers` equalised linear layers.
pub(super) fn mapping(cfg: &GeneratorConfig, weights: &Weights, z: &Tensor) -> Result<Tensor> {
    let power = z.f_square()?.f_mean_dim([1i64].as_slice(), true, Kind::Float)?.shift(1e-8)?;
    let mut x = z.times(&power.f_rsqrt()?)?;
    let dim = cfg.style_dim;
    for layer in 1..=cfg.mapping_layers {
        let weight = weights.shaped(&format!("style.{layer}.weight"), &[dim, dim])?;
        let bias = weights.shaped(&format!("style.{layer}.bias"), &[dim])?;
        x = equal_linear(&x, weight, bias, LR_MUL, true)?;
    }
    Ok(x)
}
