//! Trains generator, pose flow and encoder together: one picture of a person in, another picture of the same person out.
//!
//! The encoder reads w from the first picture of a pair, disturbed; the second picture's true angles and expression are given; the
//! generator must draw it. So w holds what both pictures share, the person, and whatever the numbers of the heads do not name
//! (the fall of the hair, the room). Every second head's w is the mapping network's of the numbers behind it instead, and the encoder is
//! drawn to these w: the generator shall not have to wait for an encoder that sees glasses. Expression enters only through the 32
//! reserved StyleSpace channels, the angles only through the pose flow. Losses: absolute difference weighed by region, the perceptual distance of the analysis network, and
//! the strength of fine texture. The first part of the stage draws at `COARSE_SIDE`, the rest at full size and against an adversary.

use super::augment::{blemish, Tint};
use super::critic::Critic;
use super::data::{film, region_weights, Batch, HeadSet, CONDITION};
use super::init::silence;
use super::pack::Run;
use super::state::{restore, schedule, Pace, StageState};
use crate::error::{Error, Result};
use crate::net::adam::Adam;
use crate::net::facenet::FaceNet;
use crate::net::ops::{to_frames, Calc};
use crate::net::{Channel, Generator, RowFlow, Weights};
use std::collections::HashSet;
use tch::{Kind, Tensor};

/// Weight of the perceptual distance: about as much as the pixels once both have fallen. The analysis network disregards colour, so
/// more of it lets colours drift.
const PERCEPTUAL: f64 = 0.04;
/// Weight of the texture's strength. Absolute differences alone make an average of all hair that could be there.
const TEXTURE: f64 = 1.0;
/// Weight of the distance between the encoder's w and the mapping network's: the former is drawn to the latter.
const NAMED: f64 = 0.1;
/// Rate at the start of the stage.
const RATE: f64 = 4e-3;
/// Extra rate of the mapping layers, whose multiplier is 0.01.
const MAPPING_RATE: f64 = 20.0;
/// Rate of the encoder, whose weights are not equalised, and of the pose flow.
const ENCODER_RATE: f64 = 0.2;
const FLOW_RATE: f64 = 0.5;
/// Strength of the colours that both pictures of a pair get.
const TINT: f64 = 0.5;
/// Side at which the first part draws, and how large a share of the stage that is: steps cost a quarter there.
const COARSE_SIDE: i64 = 128;
const COARSE_SHARE: f64 = 0.5;

/// What is trained here, with what it needs.
#[derive(Debug)]
pub(super) struct Model<'a> {
    pub generator: &'a Generator,
    pub flow: &'a RowFlow,
    pub net: &'a FaceNet,
    pub channels: &'a [Channel],
}

/// One step's material.
pub(super) struct Example {
    /// The first pictures of the pairs, as footage would show them.
    pub sources: Tensor,
    /// The second pictures, clean but for the colours, with their numbers.
    pub targets: Batch,
    /// The first so many are parametric heads, of which `targets.condition` is known.
    pub heads: i64,
    /// 0 or 1: whether the first head is named by its numbers, or the second; both get their turn, also where a step has one head.
    pub turn: i64,
}

impl Model<'_> {
    /// w `[B, dim]` that the encoder reads from pictures. Only its own layers are ever trained here.
    pub(super) fn w(&self, images: &Tensor, kind: Kind) -> Result<Tensor> {
        let features = tch::no_grad(|| self.net.features(images, kind))?;
        self.net.encode(&features)
    }

    /// The picture of `w_plus` `[B, rows, dim]` with angles in degrees and expression, at `side`.
    pub(super) fn render(&self, w_plus: &Tensor, batch: &Batch, side: i64, kind: Kind) -> Result<Tensor> {
        let styles = self.generator.styles(&self.flow.posed(w_plus, &batch.angles)?)?;
        self.generator.synthesis_to(side, &self.generator.offset(&styles, &batch.expression, self.channels)?, None, kind)
    }

    /// The mapping network's w `[B, dim]` of the numbers of heads `[B, CONDITION]`, filled up with zeros.
    fn named(&self, condition: &Tensor) -> Result<Tensor> {
        let missing = self.generator.config().style_dim - CONDITION as i64;
        self.generator.map(&condition.f_constant_pad_nd([0, missing])?)
    }

    /// w `[B, dim]` to draw an example with, and how far the encoder is from the mapping network. Every second head is named by its numbers,
    /// all other pictures are read.
    fn inverted(&self, example: &Example, kind: Kind) -> Result<(Tensor, Tensor)> {
        let Example { sources, targets, heads, .. } = example;
        let read = self.w(sources, kind)?;
        if *heads == 0 {
            return Ok((read, Tensor::f_zeros([], (Kind::Float, sources.device()))?));
        }
        let named = self.named(&targets.condition.f_slice(0, 0, *heads, 1)?)?;
        let gap = read.f_slice(0, 0, *heads, 1)?.minus(&named.f_detach()?)?.f_square()?.average()?;
        let rows = (0..read.size()[0])
            .map(|i| if i < *heads && (i + example.turn) % 2 == 0 { named.f_get(i) } else { read.f_get(i) })
            .collect::<std::result::Result<Vec<_>, _>>()?;
        Ok((Tensor::f_stack(&rows, 0)?, gap))
    }

    pub(super) fn weights(&self) -> Result<Weights> {
        let mut all = Weights::new();
        all.merge("generator.", self.generator.weights())?;
        all.merge("flow.", self.flow.weights())?;
        all.merge("net.", self.net.weights())?;
        Ok(all)
    }
}

/// The material of a step, drawn at `side`; it depends on nothing but the step.
pub(super) fn example(net: &FaceNet, heads: &HeadSet, side: i64, step: u64, run: &Run) -> Result<Example> {
    let seed = run.options.seed ^ step.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    tch::manual_seed(seed as i64);
    let picks = heads.draw(step, run.options.seed ^ 0x6E4, batch(side, run))?;
    // The other picture of a pair has the neighbouring index.
    let others: Vec<i64> = picks.iter().map(|i| i ^ 1).collect();
    let mut targets = heads.pick(&picks, side, run.device)?;
    let sources = heads.pick(&others, net.config().input.min(heads.side), run.device)?.images;
    // A cast of the light is part of the person's picture; noise and blur are not.
    let tint = Tint::draw(&sources, TINT)?;
    targets.images = tint.apply(&targets.images)?;
    let sources = blemish(&film(&tint.apply(&sources)?, seed, 0.5 * run.options.film)?)?;
    Ok(Example { sources, targets, heads: picks.len() as i64, turn: (step % 2) as i64 })
}

/// Parametric heads in a step that draws at `side`.
pub(super) fn batch(side: i64, run: &Run) -> i64 {
    if side > COARSE_SIDE {
        (run.options.batch / 2).max(1)
    } else {
        run.options.batch
    }
}

/// The strength of texture: mean steps of brightness between neighbours, across and down, in windows of 8 x 8; two maps.
fn texture(images: &Tensor) -> Result<[Tensor; 2]> {
    let grey = images.f_mean_dim([1i64].as_slice(), true, Kind::Float)?;
    let strength = |dim: i64| -> Result<Tensor> {
        let n = grey.size()[dim as usize];
        let steps = grey.f_slice(dim, 1, n, 1)?.minus(&grey.f_slice(dim, 0, n - 1, 1)?)?.f_abs()?;
        Ok(steps.f_avg_pool2d([8, 8], [4, 4], [0, 0], false, false, None)?)
    };
    Ok([strength(2)?, strength(3)?])
}

/// The losses of a picture against its target: pixels, perceptual distance, texture.
fn losses(judge: &FaceNet, fake: &Tensor, batch: &Batch, kind: Kind) -> Result<[Tensor; 3]> {
    let weights = region_weights(&batch.labels)?;
    let side = fake.size()[2];
    let fine = weights.f_upsample_nearest2d([side, side], None, None)?;
    let pixels = fake.minus(&batch.images)?.f_abs()?.times(&fine)?.average()?;
    let real = tch::no_grad(|| judge.features(&batch.images, kind))?;
    let seen = judge.distance(&judge.features(fake, kind)?, &real, Some(&weights))?.average()?;
    let [across, down] = texture(&batch.images)?;
    let [fake_across, fake_down] = texture(fake)?;
    let texture = fake_across.minus(&across)?.f_abs()?.average()?.plus(&fake_down.minus(&down)?.f_abs()?.average()?)?;
    Ok([pixels, seen, texture])
}

/// Everything that is trained here, with its rate; with tensors of the generator that are `kept`, its others alone.
pub(super) fn optimiser(model: &Model, kept: Option<&HashSet<String>>) -> Result<Adam> {
    let mut adam = Adam::new(0.9, 0.99);
    if let Some(kept) = kept {
        for (_, tensor) in model.generator.weights().require_grad(|name| !kept.contains(name))? {
            adam.add_scalar(&tensor, 1.0)?;
        }
        return Ok(adam);
    }
    for (name, tensor) in model.generator.weights().require_grad(|_| true)? {
        adam.add_scalar(&tensor, if name.starts_with("style.") { MAPPING_RATE } else { 1.0 })?;
    }
    for (_, tensor) in model.flow.weights().require_grad(|_| true)? {
        adam.add_scalar(&tensor, FLOW_RATE)?;
    }
    for (_, tensor) in model.net.weights().require_grad(|name| name.starts_with("encoder."))? {
        adam.add_scalar(&tensor, ENCODER_RATE)?;
    }
    Ok(adam)
}

/// Runs the stage from its saved state to the end; tensors of the generator that are `kept` stay, and with them all other networks.
pub(super) fn train(model: &Model, heads: &HeadSet, kept: Option<&HashSet<String>>, run: &Run) -> Result<()> {
    let state = StageState::new(&run.options.state, "generator");
    let steps = run.options.generator_steps;
    let mut adam = optimiser(model, kept)?;
    let (mut step, mut before) = (0, Default::default());
    if let Some(saved) = state.load()? {
        restore(model.generator.weights(), &saved.weights.under("generator.")?)?;
        restore(model.flow.weights(), &saved.weights.under("flow.")?)?;
        restore(model.net.weights(), &saved.weights.under("net.")?)?;
        adam.restore(&saved.optimiser)?;
        (step, before) = (saved.step, saved.spent);
    }
    let part = if kept.is_some() { 1.0 } else { super::pack::GENERATOR_TIME };
    let pace = Pace::new(steps, run.limit(part), before);
    let mut critic = Critic::new(run)?;
    run.progress.begin("train the generator", steps);
    while step < steps && pace.share(step) < 1.0 {
        if run.progress.cancelled() {
            state.save(step, pace.spent(), &model.weights()?, &adam)?;
            critic.save()?;
            return Err(Error::Cancelled);
        }
        let share = pace.share(step);
        let coarse = share < COARSE_SHARE && kept.is_none();
        let side = if coarse { run.options.size.min(COARSE_SIDE) } else { run.options.size };
        let adversary = (share >= COARSE_SHARE).then_some(&mut critic);
        let example = example(model.net, heads, side, step, run)?;
        let (parts, told) = descend(model, &mut adam, adversary, &example, None, RATE * schedule(step, share), run)?;
        step += 1;
        if step % 20 == 0 {
            let [pixels, perceptual, texture] = [parts[0].value()?, parts[1].value()?, parts[2].value()?];
            run.progress
                .advance(step, &format!("pixels {pixels:.4} perceptual {perceptual:.4} texture {texture:.4} critic {told:.4}"));
            state.log("pixels,perceptual,texture,critic,side", step, &[pixels, perceptual, texture, told, side as f64])?;
        }
        if step % 100 == 0 {
            state.save(step, pace.spent(), &model.weights()?, &adam)?;
            critic.save()?;
            preview(model, heads, side, run)?;
        }
    }
    // A stage that ended by its time is over for good.
    state.save(steps, pace.spent(), &model.weights()?, &adam)?;
    preview(model, heads, run.options.size, run)?;
    run.progress.end();
    for weights in [model.generator.weights(), model.flow.weights(), model.net.weights()] {
        let _ = weights.require_grad(|_| false)?;
    }
    Ok(())
}

/// One step on an example; returns its losses, and that of the adversary (0 without one). `more` is added to the loss.
pub(super) fn descend(
    model: &Model,
    adam: &mut Adam,
    adversary: Option<&mut Critic>,
    example: &Example,
    more: Option<Tensor>,
    rate: f64,
    run: &Run,
) -> Result<([Tensor; 3], f64)> {
    let targets = &example.targets;
    let (w, gap) = model.inverted(example, run.kind)?;
    let fake = model.render(&model.generator.broadcast(&w, None)?, targets, targets.images.size()[2], run.kind)?;
    // The gradient on the pictures first: the adversary's share is measured against it.
    let picture = fake.f_detach()?.set_requires_grad(true);
    let parts = losses(model.net, &picture, targets, run.kind)?;
    let total = parts[0].plus(&parts[1].scale(PERCEPTUAL)?)?.plus(&parts[2].scale(TEXTURE)?)?;
    let mut pull = Tensor::f_run_backward(&[total], &[&picture], false, false)?.remove(0);
    let mut told = 0.0;
    if let Some(critic) = adversary {
        let (extra, loss) = critic.judge(&targets.images, &picture, &pull, run.options.seed)?;
        pull = pull.plus(&extra)?;
        told = loss;
    }
    // Its gradient on the pictures is `pull`.
    let carrier = fake.times(&pull)?.f_sum(Kind::Float)?;
    let mut total = carrier.plus(&gap.scale(NAMED)?)?;
    if let Some(more) = more {
        total = total.plus(&more)?;
    }
    adam.step(&total, rate)?;
    silence(model.generator.config(), model.channels, model.generator.weights())?;
    Ok((parts.map(|part| part.detach()), told))
}

/// `preview.png` in the state folder: what the encoder saw, over what was to be drawn, over what was drawn from that, over what was drawn
/// from the heads' own numbers.
fn preview(model: &Model, heads: &HeadSet, side: i64, run: &Run) -> Result<()> {
    let picks: Vec<i64> = (0..8.min(heads.len() / 2)).map(|i| 2 * i).collect();
    let others: Vec<i64> = picks.iter().map(|i| i + 1).collect();
    let sources = heads.pick(&others, side, run.device)?.images;
    let targets = heads.pick(&picks, side, run.device)?;
    let draw = |w: &Tensor| model.render(&model.generator.broadcast(w, None)?, &targets, side, run.kind);
    let (read, named) = tch::no_grad(|| -> Result<(Tensor, Tensor)> {
        Ok((draw(&model.w(&sources, run.kind)?)?, draw(&model.named(&targets.condition)?)?))
    })?;
    let rows = [to_frames(&sources)?, to_frames(&targets.images)?, to_frames(&read)?, to_frames(&named)?];
    let rows: Vec<Vec<&crate::frame::Frame>> = rows.iter().map(|row| row.iter().collect()).collect();
    let sheet = crate::media::sheet(&rows, 2)?;
    crate::media::write_png(run.options.state.join("preview.png"), &sheet, true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::ops::{from_vec, to_vec};
    use tch::Device;

    #[test]
    fn texture_measures_stripes_by_their_contrast_and_not_by_their_place() {
        let stripes = |phase: i64, height: f32| {
            let values: Vec<f32> = (0..3 * 16 * 16).map(|i| if (i % 16 + phase) % 4 < 2 { height } else { -height }).collect();
            texture(&from_vec(&values, &[1, 3, 16, 16], Device::Cpu).unwrap()).unwrap().map(|t| to_vec(&t).unwrap())
        };
        let [down, across] = stripes(0, 0.5);
        assert!(down.iter().all(|v| *v == 0.0), "stripes do not change downwards");
        // Every second step is one of 1.0.
        assert!(across.iter().all(|v| (v - 0.5).abs() < 0.1), "{across:?}");
        let moved = &stripes(2, 0.5)[1];
        assert!(across.iter().zip(moved).all(|(a, b)| (a - b).abs() < 0.15));
        assert!(stripes(0, 0.1)[1].iter().all(|v| *v < 0.15), "fainter stripes");
    }
}
