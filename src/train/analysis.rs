//! Trains the analysis network: region parser, predictor of the 34 numbers, identity embedding; its trunk becomes the perceptual
//! distance. Real footage is noisier than rendered heads, so pictures go through `augment` and a camera model.

use super::augment::{disturb, elsewhere, mirrored, shaken};
use super::data::{film, Batch, HeadSet};
use super::heads::{Rng, IDENTITY};
use super::pack::Run;
use super::state::{restore, schedule, Pace, StageState};
use crate::error::{Error, Result};
use crate::net::adam::Adam;
use crate::net::facenet::{self, FaceNet};
use crate::net::flow::{PITCH_UNIT, YAW_UNIT};
use crate::net::ops::{from_vec, Calc};
use tch::{Kind, Tensor};

/// Weights of the losses: pose, expression, identity, regions. Expressions have small squares, and they are what the encoder starts
/// from; the identity numbers can be seen only in part, and their loss must not drown the others.
const SHARES: [f64; 4] = [6.0, 30.0, 0.5, 1.0];
/// How much the parser's classes count while the trunk learns, in the order of `heads::LABEL_NAMES`: small ones more, but not by so much
/// that they spread over their neighbours.
const CLASSES: [f32; 12] = [0.7, 0.8, 0.9, 1.0, 1.5, 1.5, 2.0, 1.5, 1.8, 0.9, 0.8, 2.0];
/// How much the overlap of regions counts against the cross entropy of pixels.
const OVERLAP: f64 = 1.0;

/// What a stage of the analysis network trains, and on what.
pub(super) struct Course<'a> {
    /// Name of its files, and of the network to people.
    pub name: &'static str,
    /// Which tensors move.
    pub moves: fn(&str) -> bool,
    /// Rate at the start.
    pub rate: f64,
    /// Part of the time limit.
    pub part: f64,
    /// Pictures per step.
    pub batch: i64,
    /// How much each of the parser's classes counts.
    pub classes: &'a [f32],
    /// Whether regions are all that is judged.
    pub regions_alone: bool,
    /// Whether two of four batches are as they were drawn, but for the mirror.
    pub clean: bool,
    /// Footage of people whose identity numbers are unknown: every second batch, if there is any.
    pub footage: Option<&'a HeadSet>,
}

/// The whole network from the start.
pub(super) const FROM_NOTHING: Course = Course {
    name: "analysis",
    moves: |name| !name.starts_with("encoder."),
    rate: 2e-3,
    part: super::pack::ANALYSIS_TIME,
    batch: 32,
    classes: &CLASSES,
    regions_alone: false,
    clean: false,
    footage: None,
};

/// The parser's own path alone. All classes count the same by now: what counts more spreads over its neighbours.
pub(super) const PARSER: Course = Course {
    name: "parser",
    moves: |name| name.starts_with(facenet::OWN) || name.starts_with("regions."),
    rate: 2e-3,
    part: 1.0,
    batch: 16,
    classes: &[1.0; 12],
    regions_alone: true,
    clean: true,
    footage: None,
};

/// The batch of a step as footage would show it, and whether its identity numbers are still true.
fn seen(heads: &HeadSet, net: &FaceNet, (count, clean): (i64, bool), step: u64, run: &Run) -> Result<(Batch, bool)> {
    let seed = run.options.seed ^ step.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    // The disturbances of a step depend on nothing but the step, so that a resumed run goes on as if it never stopped.
    tch::manual_seed(seed as i64);
    let picks = heads.draw(step, run.options.seed ^ 0xA11, count)?;
    let mut batch = heads.pick(&picks, net.config().input.min(heads.side), run.device)?;
    let mirror = Rng::new(seed).bits().is_multiple_of(2);
    if mirror {
        batch = mirrored(batch)?;
    }
    if clean {
        return Ok((batch, !mirror));
    }
    batch = shaken(elsewhere(batch)?)?;
    // The camera model costs as much as the network's own step: every second batch goes through it.
    if step.is_multiple_of(2) {
        batch.images = film(&batch.images, seed, run.options.film)?;
    }
    batch.images = disturb(&batch.images)?;
    Ok((batch, !mirror))
}

/// Loss of region logits `[B, classes, h, h]` against labels `[B, L, L]`: weighed cross entropy, and one minus the soft Dice overlap averaged
/// over the classes that occur (Milletari et al. 2016, with Sudre et al. 2017's sums over the batch), which small regions move as
/// much as large ones.
fn parsing(logits: &Tensor, labels: &Tensor, weights: &[f32]) -> Result<Tensor> {
    let (classes, cells) = (logits.size()[1], labels.size()[1]);
    let logits = match logits.size()[2] > cells {
        true => logits.f_adaptive_avg_pool2d([cells; 2])?,
        false => logits.f_upsample_bilinear2d([cells; 2], false, None, None)?,
    }
    .f_contiguous()?;
    let weights = Tensor::f_from_slice(weights)?.f_to_device(logits.device())?;
    let entropy = logits.f_cross_entropy_loss(labels, Some(&weights), tch::Reduction::Mean, -100, 0.0)?;
    let found = logits.f_softmax(1, Kind::Float)?;
    let truth = labels.f_one_hot(classes)?.f_permute([0, 3, 1, 2])?.f_to_kind(Kind::Float)?.f_contiguous()?;
    let sum = |t: &Tensor| t.f_sum_dim_intlist([0i64, 2, 3].as_slice(), false, Kind::Float);
    let (both, size) = (sum(&found.times(&truth)?)?, sum(&truth)?);
    let dice = both.scale(2.0)?.shift(1.0)?.over(&sum(&found)?.plus(&size)?.shift(1.0)?)?;
    let occurs = size.f_gt(0.0)?.f_to_kind(Kind::Float)?;
    let overlap = dice.times(&occurs)?.f_sum(Kind::Float)?.over(&occurs.f_sum(Kind::Float)?)?;
    entropy.plus(&overlap.scale(-1.0)?.shift(1.0)?.scale(OVERLAP)?)
}

/// Losses of one batch: the total, and its parts by name.
fn losses(
    net: &FaceNet,
    batch: &Batch,
    known: bool,
    course: &Course,
    kind: Kind,
) -> Result<(Tensor, Vec<(&'static str, Tensor)>)> {
    let features = net.features(&batch.images, kind)?;
    let regions = parsing(&net.parse(&features)?, &batch.labels, course.classes)?;
    if course.regions_alone {
        return Ok((regions.shallow_clone(), vec![("regions", regions)]));
    }
    let (angles, expression) = net.predict(&features)?;
    let units = from_vec(&[1.0 / YAW_UNIT as f32, 1.0 / PITCH_UNIT as f32], &[1, 2], angles.device())?;
    let pose = angles.minus(&batch.angles)?.times(&units)?.f_square()?.average()?;
    let expression = expression.minus(&batch.expression)?.f_square()?.average()?;
    let truth = batch.condition.f_slice(1, 0, IDENTITY as i64, 1)?;
    let identity = net.identity(&features)?.minus(&truth)?.f_square()?.average()?;
    let total = pose.scale(SHARES[0])?.plus(&expression.scale(SHARES[1])?)?.plus(&regions.scale(SHARES[3])?)?;
    let total = if known { total.plus(&identity.scale(SHARES[2])?)? } else { total };
    Ok((total, vec![("pose", pose), ("expression", expression), ("identity", identity), ("regions", regions)]))
}

/// Runs the stage from its saved state to the end.
pub(super) fn train(net: &FaceNet, heads: &HeadSet, course: &Course, run: &Run) -> Result<()> {
    let state = StageState::new(&run.options.state, course.name);
    let steps = run.options.analysis_steps;
    let tensors = net.weights().require_grad(course.moves)?;
    let mut adam = Adam::new(0.9, 0.99);
    for (_, tensor) in &tensors {
        adam.add_scalar(tensor, 1.0)?;
    }
    let (mut step, mut before) = (0, Default::default());
    if let Some(saved) = state.load()? {
        restore(net.weights(), &saved.weights)?;
        adam.restore(&saved.optimiser)?;
        (step, before) = (saved.step, saved.spent);
    }
    let pace = Pace::new(steps, run.limit(course.part), before);
    run.progress.begin(&format!("train the {} network", course.name), steps);
    while step < steps && pace.share(step) < 1.0 {
        if run.progress.cancelled() {
            state.save(step, pace.spent(), net.weights(), &adam)?;
            return Err(Error::Cancelled);
        }
        // Two steps on each set in turn: of both, one goes through the camera model.
        let (batch, known) = match course.footage {
            Some(footage) if step & 2 != 0 => (seen(footage, net, (course.batch, false), step, run)?.0, false),
            _ => seen(heads, net, (course.batch, course.clean && step & 2 != 0), step, run)?,
        };
        let (loss, parts) = losses(net, &batch, known, course, run.kind)?;
        adam.step(&loss, course.rate * schedule(step, pace.share(step)))?;
        step += 1;
        if step % 20 == 0 {
            let values: Vec<f64> = parts.iter().map(|(_, part)| part.value()).collect::<Result<_>>()?;
            let names: Vec<&str> = parts.iter().map(|(name, _)| *name).collect();
            let said: Vec<String> = names.iter().zip(&values).map(|(name, value)| format!("{name} {value:.4}")).collect();
            run.progress.advance(step, &said.join(" "));
            state.log(&names.join(","), step, &values)?;
        }
        if step % 100 == 0 {
            state.save(step, pace.spent(), net.weights(), &adam)?;
        }
    }
    // A stage that ended by its time is over for good.
    state.save(steps, pace.spent(), net.weights(), &adam)?;
    run.progress.end();
    let _ = net.weights().require_grad(|_| false)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::ops::to_vec;

    #[test]
    fn a_missed_small_region_costs_more_than_a_slip_at_the_edge_of_a_large_one() {
        let truth: Vec<i64> = (0..64).map(|i| if i == 27 || i == 28 { 6 } else { i64::from(i % 8 > 3) }).collect();
        let labels = Tensor::f_from_slice(&truth).unwrap().f_view([1, 8, 8]).unwrap();
        let loss = |said: &[i64]| {
            let said = Tensor::f_from_slice(said).unwrap().f_view([1, 8, 8]).unwrap();
            let logits = said.f_one_hot(12).unwrap().f_permute([0, 3, 1, 2]).unwrap().f_to_kind(Kind::Float).unwrap();
            to_vec(&parsing(&logits.scale(8.0).unwrap(), &labels, &CLASSES).unwrap()).unwrap()[0]
        };
        let (mut blind, mut sloppy) = (truth.clone(), truth.clone());
        (blind[27], blind[28]) = (0, 1);
        (sloppy[3], sloppy[59]) = (1, 1);
        let (right, blind, sloppy) = (loss(&truth), loss(&blind), loss(&sloppy));
        assert!(right < 0.05 && right < sloppy && 2.0 * sloppy < blind, "{right} {sloppy} {blind}");
        // Logits twice as fine are averaged.
        let fine =
            labels.f_one_hot(12).unwrap().f_permute([0, 3, 1, 2]).unwrap().f_to_kind(Kind::Float).unwrap().scale(8.0).unwrap();
        let fine = fine.f_upsample_nearest2d([16, 16], None, None).unwrap();
        assert!((parsing(&fine, &labels, &CLASSES).unwrap().value().unwrap() - f64::from(right)).abs() < 1e-6);
    }
}
