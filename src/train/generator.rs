//! Trains generator and pose flow on parametric heads: z (identity and framing), angles and expression in, the picture out.
//!
//! The generator learns by regression, since everything about each picture is known: absolute difference weighed by region plus
//! the perceptual distance of the analysis network. Expression enters only through the 32 reserved StyleSpace channels, the
//! angles only through the pose flow.

use super::data::{region_weights, Batch, HeadSet, CONDITION};
use super::init::silence;
use super::pack::Run;
use super::state::{restore, schedule, StageState};
use crate::error::{Error, Result};
use crate::net::adam::Adam;
use crate::net::facenet::FaceNet;
use crate::net::ops::{to_frames, Calc};
use crate::net::{Channel, Generator, RowFlow, Weights};
use tch::{Kind, Tensor};

/// Weight of the perceptual distance: about as much as the pixels once both have fallen. The analysis network disregards colour, so
/// more of it lets colours drift.
const PERCEPTUAL: f64 = 0.04;
/// Extra rate of the mapping layers. Their multiplier of 0.01 steadies adversarial training; regression must tell identities apart soon.
const MAPPING_RATE: f64 = 20.0;

/// What is trained here, with what it needs.
#[derive(Debug)]
pub(super) struct Model<'a> {
    pub generator: &'a Generator,
    pub flow: &'a RowFlow,
    pub channels: &'a [Channel],
}

impl Model<'_> {
    /// w `[B, dim]` from the numbers behind a head, filled up with zeros.
    pub(super) fn w(&self, condition: &Tensor) -> Result<Tensor> {
        let missing = self.generator.config().style_dim - CONDITION as i64;
        self.generator.map(&condition.f_constant_pad_nd([0, missing])?)
    }

    /// The picture of `w_plus` `[B, rows, dim]` with angles in degrees and expression.
    pub(super) fn render(&self, w_plus: &Tensor, angles: &Tensor, expression: &Tensor, kind: Kind) -> Result<Tensor> {
        let styles = self.generator.styles(&self.flow.posed(w_plus, angles)?)?;
        self.generator.synthesis(&self.generator.offset(&styles, expression, self.channels)?, kind)
    }

    /// The picture that the model makes of a batch's numbers.
    pub(super) fn redraw(&self, batch: &Batch, kind: Kind) -> Result<Tensor> {
        let w_plus = self.generator.broadcast(&self.w(&batch.condition)?, None)?;
        self.render(&w_plus, &batch.angles, &batch.expression, kind)
    }

    fn weights(&self) -> Result<Weights> {
        let mut all = Weights::new();
        all.merge("generator.", self.generator.weights())?;
        all.merge("flow.", self.flow.weights())?;
        Ok(all)
    }
}

/// Absolute difference weighed by `weights` and the perceptual distance: both scalars.
fn losses(judge: &FaceNet, fake: &Tensor, batch: &Batch, kind: Kind) -> Result<(Tensor, Tensor)> {
    let weights = region_weights(&batch.labels)?;
    let side = fake.size()[2];
    let fine = weights.f_upsample_nearest2d([side, side], None, None)?;
    let pixels = fake.minus(&batch.images)?.f_abs()?.times(&fine)?.average()?;
    let real = tch::no_grad(|| judge.features(&batch.images, kind))?;
    let seen = judge.distance(&judge.features(fake, kind)?, &real, Some(&weights))?.average()?;
    Ok((pixels, seen))
}

/// Runs the stage from its saved state to the end.
pub(super) fn train(model: &Model, judge: &FaceNet, heads: &HeadSet, run: &Run) -> Result<()> {
    let state = StageState::new(&run.options.state, "generator");
    let steps = run.options.generator_steps;
    let mut adam = Adam::new(0.9, 0.99);
    for (name, tensor) in model.generator.weights().require_grad(|_| true)? {
        adam.add_scalar(&tensor, if name.starts_with("style.") { MAPPING_RATE } else { 1.0 })?;
    }
    for (_, tensor) in model.flow.weights().require_grad(|_| true)? {
        adam.add_scalar(&tensor, 0.5)?;
    }
    let mut step = 0;
    if let Some((saved, weights, optimiser)) = state.load()? {
        restore(model.generator.weights(), &weights.under("generator.")?)?;
        restore(model.flow.weights(), &weights.under("flow.")?)?;
        adam.restore(&optimiser)?;
        step = saved;
    }
    run.progress.begin("train the generator", steps);
    while step < steps {
        if run.progress.cancelled() {
            state.save(step, &model.weights()?, &adam)?;
            return Err(Error::Cancelled);
        }
        let batch = heads.batch(step, run.options.seed ^ 0x6E4, run.options.batch, run.device)?;
        let (pixels, seen) = losses(judge, &model.redraw(&batch, run.kind)?, &batch, run.kind)?;
        adam.step(&pixels.plus(&seen.scale(PERCEPTUAL)?)?, 4e-3 * schedule(step, steps))?;
        silence(model.generator.config(), model.channels, model.generator.weights())?;
        step += 1;
        if step % 20 == 0 {
            let parts = [pixels.value()?, seen.value()?];
            run.progress.advance(step, &format!("pixels {:.4} perceptual {:.4}", parts[0], parts[1]));
            state.log("pixels,perceptual", step, &parts)?;
        }
        if step % 250 == 0 || step == steps {
            state.save(step, &model.weights()?, &adam)?;
            preview(model, heads, run)?;
        }
    }
    run.progress.end();
    let _ = model.generator.weights().require_grad(|_| false)?;
    let _ = model.flow.weights().require_grad(|_| false)?;
    Ok(())
}

/// `preview.png` in the state folder: rendered heads over what the generator makes of their numbers.
fn preview(model: &Model, heads: &HeadSet, run: &Run) -> Result<()> {
    let batch = heads.pick(&(0..12.min(heads.len())).collect::<Vec<_>>(), run.device)?;
    let fake = tch::no_grad(|| model.redraw(&batch, run.kind))?;
    let (real, fake) = (to_frames(&batch.images)?, to_frames(&fake)?);
    let sheet = crate::media::sheet(&[real.iter().collect(), fake.iter().collect()], 2)?;
    crate::media::write_png(run.options.state.join("preview.png"), &sheet, true)
}
