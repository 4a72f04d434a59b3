//! Inversion (paper 3.1): aligned crops to w, and the predictor's first guess of the 34 numbers.
//!
//! Feed-forward only; what it misses is the business of the stages behind it.

use super::crops::Crops;
use super::loss::Judge;
use crate::error::Result;
use crate::net::ops::Calc;
use crate::progress::{check, Progress};
use tch::{no_grad, Tensor};

/// First guesses for all frames.
#[derive(Debug)]
pub(super) struct Inversion {
    /// `[frames, dim]`, the same for every row of W+.
    pub w: Tensor,
    /// `[frames, 34]`: yaw, pitch, alpha.
    pub table: Tensor,
}

/// Runs encoder and predictor over all crops.
pub(super) fn invert(crops: &Crops, judge: &Judge, progress: &dyn Progress) -> Result<Inversion> {
    progress.begin("invert", crops.len() as u64);
    let (mut w, mut table) = (Vec::new(), Vec::new());
    for rows in crops.chunks(16) {
        check(progress)?;
        no_grad(|| -> Result<()> {
            let features = judge.net.features(&crops.pick(&rows)?, judge.kind)?;
            let (angles, alpha) = judge.net.predict(&features)?;
            w.push(judge.net.encode(&features)?);
            table.push(Tensor::f_cat(&[angles, alpha.f_clamp(-1.0, 1.0)?], 1)?);
            Ok(())
        })?;
        progress.advance(rows.last().map_or(0, |r| *r as u64 + 1), "");
    }
    progress.end();
    Ok(Inversion { w: Tensor::f_cat(&w, 0)?, table: Tensor::f_cat(&table, 0)? })
}

/// w repeated into `[1, rows, dim]`.
pub(super) fn in_every_row(w: &Tensor, rows: i64) -> Result<Tensor> {
    Ok(w.f_view([1, 1, -1])?.f_repeat([1, rows, 1])?)
}

/// `mean + psi (w - mean)`: inversions of faces outside the pack's domain run to its edge, from where tuning starts badly.
pub(super) fn truncate(w: &Tensor, mean: &Tensor, psi: f64) -> Result<Tensor> {
    mean.plus(&w.minus(mean)?.scale(psi)?)
}
