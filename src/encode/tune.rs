//! Tuning: the identity latent, the generator's weights and the frames' numbers, fitted together (`joint`) or one after the other
//! (`pivotal`, after PTI: Roich et al. 2021).
//!
//! Affine and mapping layers stay frozen, so that the channels keep their meaning from person to person; what is the person's own (directions, maps, displacements) begins at zero.

use super::crops::Crops;
use super::differences::Differences;
use super::loss::{Judge, Known, KNOWN_BYTES};
use super::model::{Model, COLUMNS};
use super::rows::RowAdam;
use super::unfinished::Unfinished;
use super::{Plan, Tuning};
use crate::error::Result;
use crate::net::adam::Adam;
use crate::net::ops::{from_vec, Calc};
use crate::net::Weights;
use crate::progress::{check, Progress};
use crate::random::Rng;
use tch::{no_grad, Device, Tensor};

/// Rate of alpha; angles move in degrees and need more.
pub(crate) const ALPHA_RATE: f64 = 0.02;
pub(crate) const ANGLE_RATE: f64 = 0.6;
/// Rate of the latent's numbers.
const LATENT_RATE: f64 = 0.01;

/// Where the frames stand: what the tuning starts from and what it ends with.
#[derive(Debug)]
pub(super) struct Fitted {
    /// L_ID `[1, rows, dim]`.
    pub latent: Tensor,
    /// `[frames, 34]`.
    pub table: Tensor,
}

/// Rates per column of the table.
pub(crate) fn column_rates(alpha: f64, angle: f64, device: Device) -> Result<Tensor> {
    let mut rates = vec![alpha as f32; COLUMNS as usize];
    rates[..2].fill(angle as f32);
    from_vec(&rates, &[COLUMNS], device)
}

/// Whether tuning may change the generator's tensor: all but mapping and affine layers.
pub(super) fn tunable(name: &str) -> bool {
    !name.starts_with("style.") && !name.contains(".modulation.") && !name.contains("noise") && !name.contains("kernel")
}

/// Keeps the deck's sequence apart from those of the steps.
const DECK: u64 = 0x6465_636B;

/// Draws frames so that each comes once before any comes again.
pub(super) struct Deck {
    order: Vec<i64>,
    next: usize,
    rng: Rng,
}

impl Deck {
    pub(super) fn new(frames: usize, seed: u64) -> Self {
        Deck { order: (0..frames as i64).collect(), next: frames, rng: Rng::new(seed ^ DECK) }
    }

    pub(super) fn draw(&mut self, count: usize) -> Vec<i64> {
        let mut out = Vec::with_capacity(count);
        while out.len() < count.min(self.order.len()) {
            if self.next == self.order.len() {
                self.shuffle();
            }
            let pick = self.order[self.next];
            self.next += 1;
            // At the seam of two rounds a frame can come twice in a batch; its row must not.
            if !out.contains(&pick) {
                out.push(pick);
            }
        }
        out
    }

    fn shuffle(&mut self) {
        for i in (1..self.order.len()).rev() {
            self.order.swap(i, self.rng.index(i + 1));
        }
        self.next = 0;
    }
}

/// What is moved, and for how long.
struct Course<'a> {
    stage: &'a str,
    /// Latent and table; the weights move if there are [`Differences`].
    inputs: bool,
    /// Steps before the weights are rounded.
    free: u64,
    steps: u64,
    seed: u64,
}

/// One step in so many draws at full size, where the generator goes on beyond what the search looks at. The layers before are tuned as if
/// it did not; those beyond learn in these steps alone.
const FINE_EVERY: u64 = 4;
/// How often, once the weights are rounded, their bytes are counted.
const COUNTS: u64 = 40;
/// Share of the tuning after which the price of a bit stays.
const SETTLED: f64 = 0.95;

/// Fits the latent and the numbers to the crops with the pack's own generator, then tunes as `plan` says. `weights` are the
/// generator's, to be sent in about so many bytes.
pub(super) fn tune(
    (model, judge, crops): (&Model, &Judge, &Crops),
    start: Fitted,
    plan: &Plan,
    (weights, keep): (Option<(&mut Differences, usize)>, Option<&mut Unfinished>),
    progress: &dyn Progress,
) -> Result<Fitted> {
    let known = Known::new(judge, crops, KNOWN_BYTES, progress)?;
    let bench = (model, judge, crops, known.as_ref());
    if plan.tuning == Tuning::None {
        return fit(bench, &start, plan, progress);
    }
    let inputs = plan.tuning == Tuning::Joint;
    let (free, steps, seed) = (plan.free_steps, plan.tune_steps, plan.seed ^ 1);
    let course = Course { stage: "tune the generator", inputs, free, steps, seed };
    let saved = keep.as_ref().map_or(Ok(None), |keep| keep.load())?;
    let start = match saved {
        // What was saved takes the place of the start.
        Some(_) => start,
        None => fit(bench, &start, plan, progress)?,
    };
    descend(&course, bench, &start, weights, (saved, keep), progress)
}

/// Model, judge, crops, and what the latter are compared with where that is known.
type Given<'a> = (&'a Model, &'a Judge<'a>, &'a Crops, Option<&'a Known>);

/// Fits latent and numbers with the pack's own weights.
fn fit(bench: Given<'_>, start: &Fitted, plan: &Plan, progress: &dyn Progress) -> Result<Fitted> {
    let course = Course { stage: "fit the latent", inputs: true, free: 0, steps: plan.fit_steps, seed: plan.seed };
    descend(&course, bench, start, None, (None, None), progress)
}

/// Rounds the weights after `free` of `steps`, and steers their bytes from then on. Returns what to say.
fn press(weights: &mut Differences, bytes: usize, step: u64, (free, steps): (u64, u64)) -> Result<Option<String>> {
    let every = ((steps - free) / COUNTS).max(1);
    if step == free {
        weights.round(bytes)?;
    } else if step > free && (step - free).is_multiple_of(every) && (step as f64) < SETTLED * steps as f64 {
        return Ok(Some(format!(", {:.1} kB", weights.steer(bytes)? as f64 / 1e3)));
    }
    Ok(None)
}

/// What a step changes.
struct Moving<'a> {
    latent: Tensor,
    rows: RowAdam,
    adam: Adam,
    deck: Deck,
    weights: Option<(&'a mut Differences, usize)>,
}

impl<'a> Moving<'a> {
    fn new(course: &Course<'_>, start: &Fitted, weights: Option<(&'a mut Differences, usize)>, device: Device) -> Result<Self> {
        let latent = start.latent.f_detach()?.copy().f_set_requires_grad(course.inputs)?;
        let rows = RowAdam::new(&start.table, &column_rates(ALPHA_RATE, ANGLE_RATE, device)?)?;
        let mut adam = Adam::new(0.9, 0.99);
        if course.inputs {
            adam.add_scalar(&latent, LATENT_RATE)?;
        }
        let deck = Deck::new(start.table.size()[0] as usize, course.seed);
        Ok(Moving { latent, rows, adam, deck, weights })
    }

    /// All that the step `step` depends on, for a state file.
    fn state(&self, step: u64) -> Result<Vec<(String, Tensor)>> {
        let deck = &self.deck;
        let mut out = vec![
            ("step".to_string(), Tensor::f_from_slice(&[step as i64])?),
            ("latent".to_string(), self.latent.f_detach()?.copy()),
            ("deck.order".to_string(), Tensor::f_from_slice(&deck.order)?),
            ("deck.place".to_string(), Tensor::f_from_slice(&[deck.next as i64, deck.rng.state() as i64])?),
        ];
        let rows = self.rows.state().into_iter().map(|(name, tensor)| (format!("rows.{name}"), tensor));
        out.extend(rows);
        out.extend(self.adam.state()?.into_iter().map(|(name, tensor)| (format!("adam.{name}"), tensor)));
        if let Some((weights, _)) = &self.weights {
            out.extend(weights.state()?.into_iter().map(|(name, tensor)| (format!("weights.{name}"), tensor)));
        }
        for (_, tensor) in &mut out {
            *tensor = tensor.f_to_device(Device::Cpu)?.f_contiguous()?;
        }
        Ok(out)
    }

    /// Restores what [`Moving::state`] gave. Returns the step.
    fn restore(&mut self, state: &Weights) -> Result<u64> {
        let whole = |name: &str, count: usize| -> Result<Vec<i64>> { Ok(Vec::try_from(state.shaped(name, &[count as i64])?)?) };
        let latent = state.shaped("latent", &self.latent.size())?;
        no_grad(|| self.latent.f_copy_(latent))?;
        let place = whole("deck.place", 2)?;
        self.deck.order = whole("deck.order", self.deck.order.len())?;
        (self.deck.next, self.deck.rng) = (place[0].clamp(0, self.deck.order.len() as i64) as usize, Rng::new(place[1] as u64));
        self.rows.restore(&state.under("rows.")?)?;
        self.adam.restore(&state.under("adam.")?)?;
        if let Some((weights, _)) = &mut self.weights {
            weights.restore(&state.under("weights.")?)?;
        }
        Ok(whole("step", 1)?[0].max(0) as u64)
    }
}

fn descend(
    course: &Course<'_>,
    (model, judge, crops, known): Given<'_>,
    start: &Fitted,
    weights: Option<(&mut Differences, usize)>,
    (saved, mut keep): (Option<Weights>, Option<&mut Unfinished>),
    progress: &dyn Progress,
) -> Result<Fitted> {
    let steps = course.steps;
    let mut moving = Moving::new(course, start, weights, model.device())?;
    let first = saved.map_or(Ok(0), |saved| moving.restore(&saved))?;
    if let Some((weights, _)) = &mut moving.weights {
        weights.listen(true)?;
    }
    progress.begin(course.stage, steps);
    let (mut recent, mut size) = (0.0, String::new());
    for step in first..steps {
        let stopped = check(progress);
        if let Some(keep) = keep.as_mut().filter(|keep| keep.due() || stopped.is_err()) {
            keep.save(moving.state(step)?)?;
        }
        stopped?;
        if let Some((weights, bytes)) = &mut moving.weights {
            size = press(weights, *bytes, step, (course.free, steps))?.unwrap_or(size);
            weights.clear();
        }
        // A step draws the same numbers whatever was drawn before it.
        let mut rng = Rng::new(course.seed.wrapping_add(step << 8));
        let fine = model.goes_on() && step % FINE_EVERY == FINE_EVERY - 1;
        let side = if fine { model.generator.config().resolution } else { model.sight };
        let picks = moving.deck.draw(batch(side, model.device()));
        let rate = rate(step, steps);
        let batch = moving.rows.take(&picks)?;
        let whole = crops.whole(&picks)?;
        let smaller = crops.smaller(&whole)?;
        let target = match known {
            Some(known) => known.target(judge, &picks, &smaller)?,
            None => judge.target(&smaller)?,
        };
        let table = if course.inputs { shaken(&batch.leaf, 0.02 * rate, &mut rng)? } else { batch.leaf.f_detach()? };
        let mut loss = if fine {
            let (early, renders) = model.render_whole(&moving.latent, &table)?;
            judge.loss(&early, &target)?.plus(&judge.pixels(&renders, &whole, &target)?)?.average()?
        } else {
            judge.loss(&model.render(&moving.latent, &table)?, &target)?.average()?
        };
        if course.inputs {
            loss = loss.plus(&calm(&batch.leaf)?)?;
        }
        moving.adam.step(&loss, rate)?;
        if let Some((weights, _)) = &mut moving.weights {
            weights.step(rate, fine)?;
        }
        if course.inputs {
            moving.rows.apply(&batch, rate, None)?;
        }
        if step % 10 == 9 {
            let value = loss.value()?;
            recent = if recent == 0.0 { value } else { 0.8 * recent + 0.2 * value };
            progress.advance(step + 1, &format!("loss {recent:.4}{size}"));
        }
    }
    progress.end();
    if let Some((weights, _)) = &mut moving.weights {
        weights.listen(false)?;
    }
    Ok(Fitted { latent: moving.latent.f_detach()?, table: moving.rows.values()? })
}

/// Crops in a step. A processor takes as long for one step with eight as for three or four with two, which bring a person nearer (docs/encoder.md); a GPU
/// would wait for more.
fn batch(side: i64, device: Device) -> usize {
    super::batch_on(device, side, 2)
}

/// How many of such steps take as long as one with as many crops as fit.
pub(super) fn finer(side: i64, device: Device) -> u64 {
    (super::batch(side) / batch(side, device) * 3 / 4).max(1) as u64
}

/// A short rise, then half a cosine down to a twentieth.
fn rate(step: u64, steps: u64) -> f64 {
    let rise = ((step + 1) as f64 / 20.0).min(1.0);
    rise * (0.05 + 0.95 * (0.5 + 0.5 * (std::f64::consts::PI * step as f64 / steps as f64).cos()))
}

/// The rows with a little noise: neighbours of a frame's numbers must render well too, or unseen frames will not.
pub(crate) fn shaken(rows: &Tensor, spread: f64, rng: &mut Rng) -> Result<Tensor> {
    let noise = no_grad(|| -> Result<Tensor> {
        let units = column_rates(1.0, 20.0, rows.device())?;
        rng.normals(&rows.size(), rows.device())?.times(&units)?.scale(spread)
    })?;
    rows.plus(&noise)
}

/// Keeps alpha small where the pictures do not ask for more.
pub(crate) fn calm(rows: &Tensor) -> Result<Tensor> {
    rows.f_slice(1, 2, COLUMNS, 1)?.f_square()?.average()?.scale(2e-3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deck_draws_each_frame_once_per_round() {
        let mut deck = Deck::new(12, 7);
        for round in 0..5 {
            let mut drawn: Vec<i64> = (0..3).flat_map(|_| deck.draw(4)).collect();
            drawn.sort_unstable();
            assert_eq!(drawn, (0..12).collect::<Vec<_>>(), "round {round}");
        }
    }

    #[test]
    fn no_batch_holds_a_frame_twice_even_where_two_rounds_meet() {
        let mut deck = Deck::new(10, 3);
        for _ in 0..50 {
            let batch = deck.draw(8);
            let distinct: std::collections::BTreeSet<_> = batch.iter().collect();
            assert_eq!((batch.len(), distinct.len()), (8, 8), "{batch:?}");
        }
        assert_eq!(Deck::new(3, 1).draw(8).len(), 3, "a clip shorter than a batch");
    }

    #[test]
    fn equal_seeds_draw_equal_frames_and_others_do_not() {
        let draw = |seed| Deck::new(100, seed).draw(20);
        assert_eq!(draw(5), draw(5));
        assert_ne!(draw(5), draw(6));
    }

    #[test]
    fn mapping_and_affine_layers_are_never_tuned() {
        for name in ["style.1.weight", "conv1.conv.modulation.weight", "convs.0.conv.modulation.bias", "convs.0.noise.weight"] {
            assert!(!tunable(name), "{name}");
        }
        for name in [
            "input.input",
            "conv1.conv.weight",
            "convs.0.activate.bias",
            "to_rgbs.1.conv.weight",
            "conv1.directions",
            "conv1.map",
            "convs.6.warp",
        ] {
            assert!(tunable(name), "{name}");
        }
    }

    #[test]
    fn the_rate_rises_to_one_and_falls_to_a_twentieth() {
        assert!((rate(0, 400) - 0.05).abs() < 1e-6);
        assert!((rate(20, 400) - 1.0).abs() < 0.01);
        assert!((rate(399, 400) - 0.05).abs() < 1e-3);
    }
}
