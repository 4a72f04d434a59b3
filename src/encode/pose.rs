//! Pose search (paper 3.3, equation 2): yaw and pitch of each frame by gradient descent through flow and generator, judged by the
//! face without eyes, brows and mouth.

use super::crops::Crops;
use super::loss::{Judge, Region};
use super::model::Model;
use super::rows::{Best, RowAdam};
use super::tune::column_rates;
use crate::error::Result;
use crate::net::ops::to_vec;
use crate::progress::{check, Progress};
use tch::Tensor;

/// Degrees per step at the start.
const ANGLE_RATE: f64 = 0.8;

/// Improves the angles in `table` `[frames, 34]`; alpha stays.
pub(super) fn search(
    model: &Model,
    judge: &Judge,
    crops: &Crops,
    latent: &Tensor,
    table: &Tensor,
    steps: u64,
    progress: &dyn Progress,
) -> Result<Tensor> {
    let mut rows = RowAdam::new(table, &column_rates(0.0, ANGLE_RATE, model.device())?)?;
    let mut found = Vec::new();
    progress.begin("search the pose", crops.len() as u64);
    for picks in crops.chunks(super::batch(model.generator.config().resolution)) {
        let target = judge.target(&crops.pick(&picks)?, Region::Rigid)?;
        let mut best = Best::new(picks.len());
        for step in 0..=steps {
            check(progress)?;
            let batch = rows.take(&picks)?;
            let losses = judge.loss(&model.render(latent, &batch.leaf)?, &target)?;
            best.see(&to_vec(&losses)?, &batch.leaf)?;
            if step < steps {
                losses.f_sum(tch::Kind::Float)?.f_backward()?;
                rows.apply(&batch, 1.0 - 0.8 * step as f64 / steps as f64, None)?;
            }
        }
        found.push(best.rows()?);
        progress.advance(picks.last().map_or(0, |p| *p as u64 + 1), "");
    }
    progress.end();
    Ok(Tensor::f_cat(&found, 0)?)
}
