//! Expression search (paper 3.4, Algorithm 1): alpha of each frame by Adam with a rate per index, angles refined along with it.
//!
//! Frames are searched in groups of neighbours, from where each frame stands; the frame before has been tried as a start (equation 7) by the search that put
//! it there (`newton`). An inter-frame term ties neighbours together.

use super::crops::Crops;
use super::loss::{Judge, Target};
use super::model::{Model, COLUMNS};
use super::rows::{Best, RowAdam};
use crate::error::Result;
use crate::net::ops::{from_vec, to_vec, Calc};
use crate::params::EXPRESSIONS;
use crate::progress::{check, Progress};
use tch::{Kind, Tensor};

/// Base rate of alpha before eta.
const ALPHA_RATE: f32 = 0.05;
/// Degrees per step.
const ANGLE_RATE: f32 = 0.4;
/// Weight of the inter-frame term.
const FLICKER: f64 = 0.5;
/// Frames that descend together on a processor. The search takes most memory here: with four no more than the tuning.
const FEW: usize = 4;
/// A frame whose loss fell by less than this share over eight steps is done.
const STALL: f32 = 0.004;

/// Searches all frames from `table` `[frames, 34]`; `eta` are the rates per channel of equation 8.
pub(super) fn search(
    model: &Model,
    judge: &Judge,
    crops: &Crops,
    latent: &Tensor,
    table: &Tensor,
    (steps, eta): (u64, &[f32; EXPRESSIONS]),
    progress: &dyn Progress,
) -> Result<Tensor> {
    let mut rates = vec![ANGLE_RATE; 2];
    rates.extend(eta.iter().map(|e| ALPHA_RATE * e));
    let rates = from_vec(&rates, &[COLUMNS], model.device())?;
    let table = table.copy();
    for picks in crops.chunks(super::batch_on(model.device(), model.sight, FEW)) {
        let target = judge.target(&crops.pick(&picks)?)?;
        let (first, last) = (picks[0], picks[picks.len() - 1] + 1);
        let start = table.f_slice(0, first, last, 1)?;
        let found = group(model, judge, latent, &target, &start, (steps, &rates), progress)?;
        table.f_slice(0, first, last, 1)?.f_copy_(&found)?;
        progress.advance(last as u64, "");
    }
    Ok(table)
}

/// Descends on one group; keeps the best rows seen and holds frames still once their loss stalls.
fn group(
    model: &Model,
    judge: &Judge,
    latent: &Tensor,
    target: &Target,
    start: &Tensor,
    (steps, rates): (u64, &Tensor),
    progress: &dyn Progress,
) -> Result<Tensor> {
    let n = start.size()[0];
    let all: Vec<i64> = (0..n).collect();
    let mut rows = RowAdam::new(start, rates)?;
    let mut best = Best::new(n as usize);
    let mut history: Vec<Vec<f32>> = Vec::new();
    let mut active = vec![1f32; n as usize];
    for step in 0..=steps {
        check(progress)?;
        let batch = rows.take(&all)?;
        let renders = model.render(latent, &batch.leaf)?;
        let losses = judge.loss(&renders, target)?;
        let now = to_vec(&losses)?;
        best.see(&now, &batch.leaf)?;
        history.push(now);
        rest_stalled(&history, &mut active);
        if step == steps || active.iter().all(|a| *a == 0.0) {
            break;
        }
        let mut total = losses.f_sum(Kind::Float)?;
        if n > 1 {
            total = total.plus(&judge.flicker(&renders, target)?.scale(FLICKER * n as f64)?)?;
        }
        total = total.plus(&batch.leaf.f_slice(1, 2, COLUMNS, 1)?.f_square()?.average()?.scale(1e-3 * n as f64)?)?;
        total.f_backward()?;
        let mask = from_vec(&active, &[n, 1], start.device())?;
        rows.apply(&batch, 1.0 - 0.8 * step as f64 / steps as f64, Some(&mask))?;
    }
    best.rows()
}

/// Takes frames out of the search whose best loss has not fallen by [`STALL`] over the last eight steps.
fn rest_stalled(history: &[Vec<f32>], active: &mut [f32]) {
    const SPAN: usize = 8;
    if history.len() < 2 * SPAN {
        return;
    }
    let least = |part: &[Vec<f32>], i: usize| part.iter().map(|l| l[i]).fold(f32::MAX, f32::min);
    let (old, new) = history.split_at(history.len() - SPAN);
    for (i, a) in active.iter_mut().enumerate() {
        if least(new, i) > least(old, i) * (1.0 - STALL) {
            *a = 0.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_rests_once_its_loss_stalls_and_not_before_sixteen_steps() {
        // The first frame falls by 2 % each step, the second stands still.
        let history: Vec<Vec<f32>> = (0..16).map(|i| vec![0.98f32.powi(i), 1.0]).collect();
        let mut active = [1.0, 1.0];
        rest_stalled(&history[..15], &mut active);
        assert_eq!(active, [1.0, 1.0]);
        rest_stalled(&history, &mut active);
        assert_eq!(active, [1.0, 0.0]);
    }
}
