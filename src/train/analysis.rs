//! Trains the analysis network: region parser, predictor of the 34 numbers, identity embedding; its trunk becomes the perceptual
//! distance. Real footage is noisier than rendered heads, so pictures are disturbed in colour, sharpness and completeness.

use super::data::{Batch, HeadSet};
use super::heads::IDENTITY;
use super::pack::Run;
use super::state::{restore, schedule, StageState};
use crate::error::{Error, Result};
use crate::net::adam::Adam;
use crate::net::facenet::FaceNet;
use crate::net::flow::{PITCH_UNIT, YAW_UNIT};
use crate::net::ops::{channels_last, from_vec, Calc};
use tch::{Kind, Tensor};

/// Colour gain and offset, gamma-like contrast, blur and noise per picture, and one grey rectangle in half of them.
pub(super) fn disturb(images: &Tensor) -> Result<Tensor> {
    let size = images.size();
    let (b, side) = (size[0], size[2]);
    let options = (Kind::Float, images.device());
    let random = |shape: &[i64], spread: f64| -> Result<Tensor> { Tensor::f_randn(shape, options)?.scale(spread) };
    let mut x = images.times(&random(&[b, 3, 1, 1], 0.08)?.shift(1.0)?)?.plus(&random(&[b, 3, 1, 1], 0.06)?)?;
    x = x.times(&random(&[b, 1, 1, 1], 0.2)?.shift(1.0)?)?.plus(&random(&[b, 1, 1, 1], 0.15)?)?;
    let soft = x.f_avg_pool2d([3, 3], [1, 1], [1, 1], false, false, None)?;
    let soft = soft.f_avg_pool2d([3, 3], [1, 1], [1, 1], false, false, None)?;
    let share = Tensor::f_rand([b, 1, 1, 1], options)?.scale(1.6)?.f_clamp(0.0, 1.0)?;
    x = x.plus(&soft.minus(&x)?.times(&share)?)?;
    let level = Tensor::f_rand([b, 1, 1, 1], options)?.scale(0.08)?;
    x = x.plus(&random(&[b, 3, side, side], 1.0)?.times(&level)?)?;
    for i in (0..b).step_by(2) {
        let pick = super::super::net::ops::to_vec(&Tensor::f_rand([5], options)?)?;
        let at = |v: f32| (v * 0.85 * side as f32) as i64;
        let (h, w) = (side / 12 + at(pick[2]) / 5, side / 12 + at(pick[3]) / 5);
        let mut hole = x.f_select(0, i)?.f_slice(1, at(pick[0]), (at(pick[0]) + h).min(side), 1)?;
        hole = hole.f_slice(2, at(pick[1]), (at(pick[1]) + w).min(side), 1)?;
        let _ = hole.f_fill_(f64::from(pick[4]) * 2.0 - 1.0)?;
    }
    channels_last(&x.f_clamp(-1.0, 1.0)?)
}

/// Losses of one batch: total and the parts for the log (pose, expression, identity, regions).
fn losses(net: &FaceNet, batch: &Batch, kind: Kind) -> Result<(Tensor, [f64; 4])> {
    let features = net.features(&disturb(&batch.images)?, kind)?;
    let (angles, expression) = net.predict(&features)?;
    let units = from_vec(&[1.0 / YAW_UNIT as f32, 1.0 / PITCH_UNIT as f32], &[1, 2], angles.device())?;
    let pose = angles.minus(&batch.angles)?.times(&units)?.f_square()?.average()?;
    let expression = expression.minus(&batch.expression)?.f_square()?.average()?;
    let truth = batch.condition.f_slice(1, 0, IDENTITY as i64, 1)?;
    let identity = net.identity(&features)?.minus(&truth)?.f_square()?.average()?;
    let weights = Tensor::f_from_slice(&[0.5f32, 0.7, 0.8, 1.0, 2.5, 2.5, 4.0, 2.5, 3.0, 0.7, 0.6, 1.5])?;
    let weights = weights.f_to_device(angles.device())?;
    let regions = net.parse(&features)?.f_cross_entropy_loss(&batch.labels, Some(&weights), tch::Reduction::Mean, -100, 0.0)?;
    let total = pose.scale(6.0)?.plus(&expression.scale(12.0)?)?.plus(&identity)?.plus(&regions)?;
    let parts = [pose.value()?, expression.value()?, identity.value()?, regions.value()?];
    Ok((total, parts))
}

/// Runs the stage from its saved state to the end.
pub(super) fn train(net: &FaceNet, heads: &HeadSet, run: &Run) -> Result<()> {
    let state = StageState::new(&run.options.state, "analysis");
    let steps = run.options.analysis_steps;
    let tensors = net.weights().require_grad(|name| !name.starts_with("encoder."))?;
    let mut adam = Adam::new(0.9, 0.99);
    for (_, tensor) in &tensors {
        adam.add_scalar(tensor, 1.0)?;
    }
    let mut step = 0;
    if let Some((saved, weights, optimiser)) = state.load()? {
        restore(net.weights(), &weights)?;
        adam.restore(&optimiser)?;
        step = saved;
    }
    run.progress.begin("train the analysis network", steps);
    while step < steps {
        if run.progress.cancelled() {
            state.save(step, net.weights(), &adam)?;
            return Err(Error::Cancelled);
        }
        // The disturbances of a step depend on nothing but the step, so that a resumed run goes on as if it never stopped.
        tch::manual_seed((run.options.seed ^ step.wrapping_mul(0x9E37_79B9_7F4A_7C15)) as i64);
        let batch = heads.filmed(step, run.options.seed ^ 0xA11, 32, run.options.film, run.device)?;
        let (loss, parts) = losses(net, &batch, run.kind)?;
        adam.step(&loss, 2e-3 * schedule(step, steps))?;
        step += 1;
        if step % 20 == 0 {
            run.progress.advance(
                step,
                &format!("pose {:.4} expression {:.4} identity {:.3} regions {:.3}", parts[0], parts[1], parts[2], parts[3]),
            );
            state.log("pose,expression,identity,regions", step, &parts)?;
        }
        if step % 500 == 0 || step == steps {
            state.save(step, net.weights(), &adam)?;
        }
    }
    run.progress.end();
    let _ = net.weights().require_grad(|_| false)?;
    Ok(())
}
