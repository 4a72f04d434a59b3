//! Index sensitivity (paper 3.4, equation 5): how much a picture changes per unit of each expression channel, on this person.
//! It sets the learning rates (equation 8) and, when streams are quantised, the steps.

use super::loss::Judge;
use super::model::{Model, COLUMNS};
use crate::error::Result;
use crate::net::ops::Calc;
use crate::params::EXPRESSIONS;
use tch::{no_grad, Tensor};

/// Gamma per channel around `centre` `[34]`, by forward differences over rising offsets.
pub(super) fn sensitivity(model: &Model, judge: &Judge, latent: &Tensor, centre: &Tensor) -> Result<[f32; EXPRESSIONS]> {
    let offsets = [0.0f64, 0.15, 0.3];
    let mut out = [0f32; EXPRESSIONS];
    no_grad(|| -> Result<()> {
        for (i, gamma) in out.iter_mut().enumerate() {
            let rows = centre.f_view([1, COLUMNS])?.f_repeat([offsets.len() as i64, 1])?;
            for (k, offset) in offsets.iter().enumerate() {
                let mut cell = rows.f_select(0, k as i64)?.f_select(0, 2 + i as i64)?;
                let _ = cell.f_add_scalar_(*offset)?;
            }
            let renders = model.render(latent, &rows)?;
            let n = offsets.len() as i64;
            let before = judge.net.view(&renders.f_slice(0, 0, n - 1, 1)?, judge.kind)?;
            let after = judge.net.view(&renders.f_slice(0, 1, n, 1)?, judge.kind)?;
            let change = judge.net.distance(&before, &after, None)?.f_sqrt()?.f_sum(tch::Kind::Float)?.value()?;
            *gamma = (change / offsets[offsets.len() - 1]) as f32;
        }
        Ok(())
    })?;
    Ok(out)
}

/// eta = exp(-1.5 Gamma / max Gamma), equation 8: channels that change much move slowly.
pub(super) fn rates(sensitivity: &[f32; EXPRESSIONS]) -> [f32; EXPRESSIONS] {
    let most = sensitivity.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
    sensitivity.map(|g| (-1.5 * g / most).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sensitive_channels_move_slowly() {
        let mut sensitivity = [0.0; EXPRESSIONS];
        (sensitivity[1], sensitivity[2]) = (0.5, 1.0);
        let rates = rates(&sensitivity);
        // Equation 8 at 0, half and all of the largest Gamma.
        for (i, expected) in [1.0, (-0.75f32).exp(), (-1.5f32).exp()].into_iter().enumerate() {
            assert!((rates[i] - expected).abs() < 1e-6, "channel {i}: {}", rates[i]);
        }
        assert!(super::rates(&[0.0; EXPRESSIONS]).iter().all(|r| *r == 1.0), "no sensitivities, no slowing down");
    }
}
