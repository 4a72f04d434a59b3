//! Inversion (paper 3.1) and first guess: aligned crops to W+ codes, and the predictor's first guess of the 34 numbers.
//!
//! Feed-forward only; what it misses is the business of the stages behind it.

use super::crops::Crops;
use super::loss::Judge;
use super::model::COLUMNS;
use crate::error::Result;
use crate::net::ops::Calc;
use crate::progress::{check, Progress};
use tch::{no_grad, Kind, Tensor};

/// Yaw, pitch and alpha of all frames `[frames, 34]`, and whether a predictor gave them; without one they are zero.
pub(super) fn predict(crops: &Crops, judge: &Judge, progress: &dyn Progress) -> Result<(Tensor, bool)> {
    if !judge.net.predicts() {
        return Ok((Tensor::f_zeros([crops.len() as i64, COLUMNS], (Kind::Float, crops.device()))?, false));
    }
    progress.begin("predict", crops.len() as u64);
    let mut table = Vec::new();
    for rows in crops.chunks(16) {
        check(progress)?;
        let guess = no_grad(|| -> Result<_> { judge.net.predict(&judge.net.view(&crops.pick(&rows)?, judge.kind)?) })?;
        let Some((angles, alpha)) = guess else { continue };
        table.push(Tensor::f_cat(&[angles, alpha.f_clamp(-1.0, 1.0)?], 1)?);
        progress.advance(rows.last().map_or(0, |r| *r as u64 + 1), "");
    }
    progress.end();
    Ok((Tensor::f_cat(&table, 0)?, true))
}

/// W+ codes `[picks, 1 or rows, dim]` of the chosen frames; `mean` `[dim]` stands in for packs without an encoder.
pub(super) fn codes(crops: &Crops, picks: &[i64], judge: &Judge, mean: &Tensor) -> Result<Tensor> {
    let codes = no_grad(|| judge.net.invert(&judge.net.view(&crops.pick(picks)?, judge.kind)?))?;
    match codes {
        Some(codes) => Ok(codes),
        None => Ok(mean.f_view([1, 1, -1])?.f_repeat([picks.len() as i64, 1, 1])?),
    }
}

/// Codes `[1 or rows, dim]` as a latent `[1, rows, dim]`.
pub(super) fn in_every_row(codes: &Tensor, rows: i64) -> Result<Tensor> {
    let (found, dim) = codes.size2()?;
    Ok(codes.f_unsqueeze(0)?.f_repeat([1, rows / found, 1])?.f_view([1, rows, dim])?)
}

/// `mean + psi (w - mean)`: inversions of faces outside the pack's domain run to its edge, from where tuning starts badly.
pub(super) fn truncate(w: &Tensor, mean: &Tensor, psi: f64) -> Result<Tensor> {
    mean.plus(&w.minus(mean)?.scale(psi)?)
}
