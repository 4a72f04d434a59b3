//! Trains the encoder head: from the analysis network's hidden layer to w of the mapping network, for disturbed pictures too.

use super::analysis::disturb;
use super::data::HeadSet;
use super::generator::Model;
use super::pack::Run;
use super::state::schedule;
use crate::error::Result;
use crate::net::adam::Adam;
use crate::net::facenet::FaceNet;
use crate::net::ops::Calc;
use crate::progress::check;
use tch::{no_grad, Kind, Tensor};

/// Trains `encoder.*` while all else stands still; returns the mean and the spread of w, `[dim]` each.
pub(super) fn train(model: &Model, net: &FaceNet, heads: &HeadSet, run: &Run) -> Result<(Tensor, Tensor)> {
    let (mean, spread) = no_grad(|| statistics(model, heads, run))?;
    let mut adam = Adam::new(0.9, 0.99);
    for (_, tensor) in net.weights().require_grad(|name| name.starts_with("encoder."))? {
        adam.add_scalar(&tensor, 1.0)?;
    }
    let steps = run.options.inversion_steps;
    run.progress.begin("train the encoder", steps);
    for step in 0..steps {
        check(run.progress)?;
        // Half of the pictures come as cameras deliver them, the others clean.
        let film = if step % 2 == 0 { run.options.film } else { 0.0 };
        let batch = heads.filmed(step, run.options.seed ^ 0x1417, 32, film, run.device)?;
        let (features, w) = no_grad(|| -> Result<_> {
            let seen = if step % 2 == 0 { disturb(&batch.images)? } else { batch.images.shallow_clone() };
            Ok((net.features(&seen, run.kind)?, model.w(&batch.condition)?))
        })?;
        let loss = net.encode(&features)?.minus(&w)?.over(&spread)?.f_square()?.average()?;
        adam.step(&loss, 2e-3 * schedule(step, steps))?;
        if step % 20 == 0 {
            run.progress.advance(step, &format!("unexplained variance of w {:.3}", loss.value()?));
        }
    }
    run.progress.end();
    let _ = net.weights().require_grad(|_| false)?;
    Ok((mean, spread))
}

/// Mean and spread of w over 1024 heads.
fn statistics(model: &Model, heads: &HeadSet, run: &Run) -> Result<(Tensor, Tensor)> {
    let w = model.w(&heads.batch(0, run.options.seed ^ 0x57A7, 1024, run.device)?.condition)?;
    let mean = w.f_mean_dim([0i64].as_slice(), false, Kind::Float)?;
    let spread = w.minus(&mean)?.f_square()?.f_mean_dim([0i64].as_slice(), false, Kind::Float)?.f_sqrt()?.shift(1e-3)?;
    Ok((mean, spread))
}
