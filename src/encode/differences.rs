//! Weights while they are tuned, as what will be sent: differences to the pack, rounded to steps, few of them not zero.
//!
//! In: gradients of the loss in the generator's weights. Out: [`TunedTensor`]s within a number of bytes. At first the differences
//! move freely. From [`Differences::round`] on the generator is shown the rounded ones, while gradients move the exact ones (Bengio et
//! al. 2013, "straight-through"), and each bit has a price in units of the loss, which is steered until the bytes are met.

use super::tune::tunable;
use crate::bitstream::quant::{code_from_step, step_from_code};
use crate::bitstream::range::MAX_LEVEL;
use crate::bitstream::{tuned_bytes, TunedTensor};
use crate::error::Result;
use crate::net::ops::{to_vec, Calc};
use crate::net::{Generator, Weights};
use tch::{no_grad, Kind, Tensor};

/// Decay of the gradients' running mean and of their running square.
const BETA: (f64, f64) = (0.9, 0.99);
/// A tensor's step is proportional to its gradients' root mean square to the power of minus this. 1 would spread the error evenly if
/// errors of single weights did not add up; 0 leaves the gradients out. Between them the tuned picture suffers least.
const EVENNESS: f64 = 0.5;
/// Bytes that rounding may begin with, as a share of those allowed: the price brings them down.
const BEGIN: f64 = 1.3;
/// Levels are rounded up from this fraction on: the smaller of two costs less.
const UP: f64 = 0.6;
/// Loss that a bit is worth, to begin with, in units of step^2 x slope / rate, so that it scales with pack and loss. Too little is made
/// good soon; what too much has made zero hardly comes back.
const PRICE: f64 = 5e-4;
/// Magnitudes cost like log2(1 + |d| / (this x step)).
const KNEE: f64 = 0.5;

/// One tuned tensor.
#[derive(Debug)]
struct Slot {
    name: String,
    /// The pack's weight.
    base: Tensor,
    /// The exact difference.
    exact: Tensor,
    /// The generator's weight, where gradients arrive.
    shown: Tensor,
    mean: Tensor,
    power: Tensor,
    /// Steps along gradients so far.
    steps: i32,
    /// Whether only some of the tuning's steps draw far enough to reach it.
    beyond: bool,
    /// Code of its step.
    code: i16,
}

/// The generator's tunable weights and their optimiser (Adam with a price on bits).
#[derive(Debug)]
pub(super) struct Differences {
    slots: Vec<Slot>,
    rate: f64,
    /// Whether the generator is shown rounded differences.
    rounded: bool,
    price: f64,
    /// Magnitudes below so many steps are sent as zero.
    dead: f64,
}

impl Differences {
    /// For the tunable weights of `tuned`; `original` has the pack's. `rate` multiplies the rate of each step. Layers beyond the side `sight` are
    /// reached by whole steps alone.
    pub(super) fn new(tuned: &Generator, original: &Generator, rate: f64, sight: i64) -> Result<Self> {
        let late: Vec<String> = tuned.layers().iter().filter(|l| l.side > sight).map(|l| format!("{}.", l.name)).collect();
        let mut slots = Vec::new();
        for (name, shown) in tuned.weights().iter().filter(|(name, _)| tunable(name)) {
            let base = original.weights().get(name)?.f_detach()?;
            let exact = shown.f_detach()?.minus(&base)?;
            let mean = exact.f_zeros_like()?;
            let (name, shown) = (name.clone(), shown.shallow_clone());
            let beyond = late.iter().any(|layer| name.starts_with(layer));
            slots.push(Slot { power: mean.f_zeros_like()?, mean, base, exact, shown, name, steps: 0, beyond, code: 0 });
        }
        Ok(Differences { slots, rate, rounded: false, price: 0.0, dead: UP })
    }

    /// Whether backward passes reach the weights.
    pub(super) fn listen(&mut self, on: bool) -> Result<()> {
        self.slots.iter_mut().try_for_each(|slot| Ok(slot.shown.f_set_requires_grad(on).map(drop)?))
    }

    /// Forgets the gradients of the step before.
    pub(super) fn clear(&mut self) {
        self.slots.iter_mut().for_each(|slot| slot.shown.zero_grad());
    }

    /// All that a state file needs: name, tensor.
    pub(super) fn state(&self) -> Result<Vec<(String, Tensor)>> {
        let numbers = [f64::from(u8::from(self.rounded)), self.price, self.dead];
        let codes: Vec<f32> = self.slots.iter().map(|slot| f32::from(slot.code)).collect();
        let steps: Vec<f32> = self.slots.iter().map(|slot| slot.steps as f32).collect();
        let mut out = vec![
            ("numbers".to_string(), Tensor::f_from_slice(&numbers)?),
            ("codes".to_string(), Tensor::f_from_slice(&codes)?),
            ("steps".to_string(), Tensor::f_from_slice(&steps)?),
        ];
        for (i, slot) in self.slots.iter().enumerate() {
            for (name, tensor) in [("exact", &slot.exact), ("mean", &slot.mean), ("power", &slot.power)] {
                out.push((format!("{i}.{name}"), tensor.copy()));
            }
        }
        Ok(out)
    }

    /// Restores what [`Differences::state`] gave, for the same weights of the same pack.
    pub(super) fn restore(&mut self, state: &Weights) -> Result<()> {
        let numbers: Vec<f64> = Vec::try_from(state.shaped("numbers", &[3])?)?;
        (self.rounded, self.price, self.dead) = (numbers[0] > 0.0, numbers[1], numbers[2]);
        let codes = to_vec(state.shaped("codes", &[self.slots.len() as i64])?)?;
        let steps = to_vec(state.shaped("steps", &[self.slots.len() as i64])?)?;
        for (i, (slot, (code, steps))) in self.slots.iter_mut().zip(codes.into_iter().zip(steps)).enumerate() {
            (slot.code, slot.steps) = (code as i16, steps as i32);
            for (name, tensor) in [("exact", &mut slot.exact), ("mean", &mut slot.mean), ("power", &mut slot.power)] {
                let (shape, device) = (tensor.size(), tensor.device());
                *tensor = state.shaped(&format!("{i}.{name}"), &shape)?.f_to_device(device)?.copy();
            }
        }
        self.show()
    }

    /// One step of size `rate` along the gradients that a backward pass left; `whole`: it went through all layers.
    pub(super) fn step(&mut self, rate: f64, whole: bool) -> Result<()> {
        let rate = rate * self.rate;
        no_grad(|| {
            for slot in &mut self.slots {
                let gradient = slot.shown.f_grad()?;
                // What is left of an earlier step's gradient is no gradient of this one.
                if !gradient.defined() || (slot.beyond && !whole) {
                    continue;
                }
                slot.steps += 1;
                let unbias = (1.0 - BETA.0.powi(slot.steps), (1.0 - BETA.1.powi(slot.steps)).sqrt());
                let _ = slot.mean.f_lerp_(&gradient, 1.0 - BETA.0)?;
                let _ = slot.power.f_lerp_(&gradient.f_square()?, 1.0 - BETA.1)?;
                let mut scale = slot.power.f_sqrt()?;
                // The rate is divided by, so that a step is one pass through memory.
                let slow = unbias.0 / rate;
                let _ = scale.f_mul_scalar_(-slow / unbias.1)?.f_add_scalar_(-slow * 1e-8)?;
                let _ = slot.exact.f_addcdiv_(&slot.mean, &scale)?;
                if self.price > 0.0 {
                    slot.shrink(&scale, unbias.0 * self.price)?;
                }
            }
            Ok::<(), crate::Error>(())
        })?;
        self.show()
    }

    /// Begins to round, so coarsely that about `bytes` will do. The gradients' squares must have gathered.
    pub(super) fn round(&mut self, bytes: usize) -> Result<()> {
        let mut slopes = Vec::with_capacity(self.slots.len());
        let (mut middle, mut weights) = (0.0, 0.0);
        for slot in &self.slots {
            // A tensor without gradients has no differences: any step serves its zeros.
            let unbias = 1.0 - BETA.1.powi(slot.steps.max(1));
            let slope = (slot.power.average()?.value()? / unbias).sqrt().max(1e-12);
            let weight = slot.exact.numel() as f64;
            middle += weight * slot.exact.f_square()?.average()?.value()?.sqrt() * slope.powf(EVENNESS);
            weights += weight;
            slopes.push(slope);
        }
        let middle = f64::max(middle / f64::max(weights, 1.0), 1e-12);
        // The factor that makes a tensor's step its differences' root mean square lies, on average, here.
        let (mut low, mut high) = (middle / 16.0, middle * 64.0);
        // Bytes fall as steps grow. Seven halvings of ten octaves come within the eighth of an octave between two step codes.
        for _ in 0..7 {
            let factor = (low * high).sqrt();
            self.coarsen(factor, &slopes);
            if tuned_bytes(&self.tensors()?)? as f64 > BEGIN * bytes as f64 {
                low = factor;
            } else {
                high = factor;
            }
        }
        self.coarsen(high, &slopes);
        (self.rounded, self.price) = (true, PRICE * high * high / self.rate);
        self.show()
    }

    /// Sets the steps of all tensors: `factor` over slope to the power of [`EVENNESS`].
    fn coarsen(&mut self, factor: f64, slopes: &[f64]) {
        for (slot, slope) in self.slots.iter_mut().zip(slopes) {
            slot.code = code_from_step((factor / slope.powf(EVENNESS)) as f32);
        }
    }

    /// Raises or lowers the price of a bit by how far the bytes are from those wanted. Returns the bytes.
    pub(super) fn steer(&mut self, bytes: usize) -> Result<usize> {
        let now = tuned_bytes(&self.tensors()?)?;
        self.price *= (now as f64 / bytes.max(1) as f64).powf(1.5).clamp(0.5, 1.5);
        Ok(now)
    }

    /// What will be sent: at most `bytes`, for which small levels become zero if they must. The generator is left with it.
    pub(super) fn finish(&mut self, bytes: usize) -> Result<Vec<TunedTensor>> {
        // Thresholds up to a few steps matter; the search ends within a thirtieth of one.
        let (mut low, mut high) = (UP, f64::from(MAX_LEVEL) + 1.0);
        if tuned_bytes(&self.tensors()?)? > bytes {
            for _ in 0..20 {
                self.dead = (low + high) / 2.0;
                if tuned_bytes(&self.tensors()?)? > bytes {
                    low = self.dead;
                } else {
                    high = self.dead;
                }
            }
            self.dead = high;
        }
        self.show()?;
        self.tensors()
    }

    /// The rounded differences that are not all zero.
    fn tensors(&self) -> Result<Vec<TunedTensor>> {
        let mut out = Vec::with_capacity(self.slots.len());
        for slot in &self.slots {
            let values: Vec<i32> = to_vec(&slot.levels(self.dead)?)?.into_iter().map(|v| v as i32).collect();
            if values.iter().any(|v| *v != 0) {
                let shape = slot.exact.size().iter().map(|s| *s as usize).collect();
                out.push(TunedTensor { name: slot.name.clone(), shape, steps: vec![slot.code], values });
            }
        }
        Ok(out)
    }

    /// Puts the differences into the generator.
    fn show(&mut self) -> Result<()> {
        no_grad(|| {
            for slot in &mut self.slots {
                let sent = match self.rounded {
                    true => slot.levels(self.dead)?.f_mul_scalar_(f64::from(step_from_code(slot.code)))?,
                    false => slot.exact.shallow_clone(),
                };
                let _ = slot.base.f_add_out(&slot.shown, &sent)?;
            }
            Ok(())
        })
    }
}

impl Slot {
    /// Levels. Magnitudes are rounded up from [`UP`] on; those below `dead` steps are zero.
    fn levels(&self, dead: f64) -> Result<Tensor> {
        let mut size = self.exact.f_abs()?.f_mul_scalar_(1.0 / f64::from(step_from_code(self.code)))?;
        if dead > UP {
            let alive = size.f_ge(dead)?;
            let _ = size.f_mul_(&alive)?;
        }
        Ok(size.f_add_scalar_(1.0 - UP)?.f_floor_()?.f_clamp_max_(f64::from(MAX_LEVEL))?.f_copysign_(&self.exact)?)
    }

    /// Draws differences to zero by what their bits cost, where the loss is flat (`scale`, here negative, is small) the most: a proximal step in the
    /// optimiser's own metric.
    fn shrink(&mut self, scale: &Tensor, price: f64) -> Result<()> {
        let mut size = self.exact.f_abs()?;
        let mut slope = size.shift(KNEE * f64::from(step_from_code(self.code)))?;
        let price = Tensor::f_full([1], price, (Kind::Float, size.device()))?;
        let _ = size.f_addcdiv_(&price, &slope.f_mul_(scale)?)?.f_relu_()?.f_copysign_(&self.exact)?;
        self.exact = size;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::adam::Adam;
    use crate::net::ops::from_vec;
    use crate::pack::{fixture, Pack, TUNING_RATE};
    use std::collections::BTreeMap;
    use tch::Device;

    /// How far each weight is to be moved: by rule, most of them little.
    fn goals(generator: &Generator) -> BTreeMap<String, Tensor> {
        let weights = generator.weights().iter().filter(|(name, _)| tunable(name));
        weights
            .map(|(name, weight)| {
                let noise = fixture::rule(name, weight.numel(), 1.0, 0.0);
                let noise = from_vec(&noise, &weight.size(), Device::Cpu).unwrap();
                let move_by = noise.f_pow_tensor_scalar(3).unwrap().scale(0.05).unwrap();
                (name.clone(), weight.plus(&move_by).unwrap().detach())
            })
            .collect()
    }

    /// Mean squared distance from the goals.
    fn distance(generator: &Generator, goals: &BTreeMap<String, Tensor>) -> Tensor {
        let parts: Vec<Tensor> = goals
            .iter()
            .map(|(name, goal)| generator.weights().get(name).unwrap().minus(goal).unwrap().square().sum(Kind::Float))
            .collect();
        let count: usize = goals.values().map(Tensor::numel).sum();
        Tensor::stack(&parts, 0).sum(Kind::Float).scale(1.0 / count as f64).unwrap()
    }

    fn bench() -> (Pack, Generator) {
        let pack = fixture::tiny(1).unwrap();
        let tuned = pack.generator(Device::Cpu).unwrap().duplicate(Device::Cpu).unwrap();
        (pack, tuned)
    }

    /// 60 steps, the last 40 of them rounded to `bytes`; then the tensors and the distance they leave.
    fn run(bytes: usize) -> (Vec<TunedTensor>, f64) {
        let (pack, tuned) = bench();
        let original = pack.generator(Device::Cpu).unwrap();
        let goals = goals(&original);
        let mut weights = Differences::new(&tuned, &original, TUNING_RATE, 32).unwrap();
        weights.listen(true).unwrap();
        for step in 0..60 {
            if step == 20 {
                weights.round(bytes).unwrap();
            } else if step > 20 && step % 4 == 0 {
                weights.steer(bytes).unwrap();
            }
            weights.clear();
            distance(&tuned, &goals).f_backward().unwrap();
            weights.step(1.0 - step as f64 / 64.0, true).unwrap();
        }
        weights.listen(false).unwrap();
        let tensors = weights.finish(bytes).unwrap();
        // The generator must be left with what decoders will have.
        for (name, weight) in tuned.weights().iter().filter(|(name, _)| tunable(name)) {
            let base = original.weights().get(name).unwrap();
            let sent = match tensors.iter().find(|t| t.name == *name) {
                Some(t) => from_vec(&t.dequantise(), &weight.size(), Device::Cpu).unwrap(),
                None => base.zeros_like(),
            };
            assert_eq!(to_vec(&base.plus(&sent).unwrap()).unwrap(), to_vec(weight).unwrap(), "{name}");
        }
        (tensors, distance(&tuned, &goals).value().unwrap())
    }

    #[test]
    fn what_is_sent_keeps_to_the_bytes_and_is_what_the_generator_is_left_with() {
        let mut last = 0.0;
        for bytes in [20_000, 3000, 800] {
            let (tensors, distance) = run(bytes);
            let size = tuned_bytes(&tensors).unwrap();
            assert!(size <= bytes && distance > last);
            last = distance;
        }
        let (none, _) = run(1);
        assert!(none.is_empty(), "all zeros are not sent at all");
    }

    #[test]
    fn before_rounding_the_weights_move_as_the_plain_optimiser_moves_them() {
        let (pack, tuned) = bench();
        let original = pack.generator(Device::Cpu).unwrap();
        let other = original.duplicate(Device::Cpu).unwrap();
        let goals = goals(&original);
        let mut weights = Differences::new(&tuned, &original, 2e-3, 32).unwrap();
        weights.listen(true).unwrap();
        let mut adam = Adam::new(BETA.0, BETA.1);
        for (_, leaf) in other.weights().require_grad(tunable).unwrap() {
            adam.add_scalar(&leaf, 2e-3).unwrap();
        }
        for _ in 0..10 {
            weights.clear();
            distance(&tuned, &goals).f_backward().unwrap();
            weights.step(0.5, true).unwrap();
            adam.step(&distance(&other, &goals), 0.5).unwrap();
        }
        for (name, goal) in &goals {
            let (a, b) = (tuned.weights().get(name).unwrap(), other.weights().get(name).unwrap());
            let most = a.minus(b).unwrap().abs().max().value().unwrap();
            assert!(most < 1e-6, "{name}: {most}");
            let moved = a.minus(original.weights().get(name).unwrap()).unwrap().abs().max().value().unwrap();
            assert!(moved > 1e-3, "{name} of {} values: {moved}", goal.numel());
        }
    }
}
