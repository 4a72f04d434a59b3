//! Adam (Kingma & Ba 2015) over named groups, each with its own rate: the encoder needs a rate per parameter index.

use super::ops::Calc;
use crate::error::Result;
use tch::{no_grad, Kind, Tensor};

/// A tensor to be optimised with its rate.
#[derive(Debug)]
struct Slot {
    value: Tensor,
    /// Multiplies the step's rate; broadcasts over `value`.
    rate: Tensor,
    mean: Tensor,
    power: Tensor,
    steps: i32,
}

/// The optimiser; tensors are changed in place.
#[derive(Debug)]
pub struct Adam {
    slots: Vec<Slot>,
    beta: (f64, f64),
}

impl Adam {
    /// Decay rates of the running mean and of the running square.
    pub fn new(beta1: f64, beta2: f64) -> Self {
        Adam { slots: Vec::new(), beta: (beta1, beta2) }
    }

    /// Adds a leaf tensor that requires gradients; `rate` (a scalar or broadcastable) multiplies the rate of each step.
    pub fn add(&mut self, value: &Tensor, rate: &Tensor) -> Result<()> {
        let mean = value.f_detach()?.f_zeros_like()?;
        let power = mean.f_zeros_like()?;
        self.slots.push(Slot { value: value.shallow_clone(), rate: rate.f_to_kind(Kind::Float)?, mean, power, steps: 0 });
        Ok(())
    }

    /// Adds a leaf tensor with one rate for all of it.
    pub fn add_scalar(&mut self, value: &Tensor, rate: f64) -> Result<()> {
        let rate = Tensor::f_from_slice(&[rate as f32])?.f_to_device(value.device())?;
        self.add(value, &rate)
    }

    /// Computes gradients of `loss`, makes one step of size `rate`, and clears the gradients. Tensors without a gradient stay.
    pub fn step(&mut self, loss: &Tensor, rate: f64) -> Result<()> {
        for slot in &mut self.slots {
            slot.value.zero_grad();
        }
        loss.f_backward()?;
        no_grad(|| self.apply(rate))
    }

    fn apply(&mut self, rate: f64) -> Result<()> {
        let (b1, b2) = self.beta;
        for slot in &mut self.slots {
            let gradient = slot.value.f_grad()?;
            if !gradient.defined() {
                continue;
            }
            slot.steps += 1;
            let _ = slot.mean.f_lerp_(&gradient, 1.0 - b1)?;
            let _ = slot.power.f_lerp_(&gradient.f_square()?, 1.0 - b2)?;
            let correction = (1.0 - b1.powi(slot.steps), (1.0 - b2.powi(slot.steps)).sqrt());
            let scaled = slot.power.f_sqrt()?.scale(1.0 / correction.1)?.shift(1e-8)?;
            let change = slot.mean.over(&scaled)?.times(&slot.rate)?.scale(-rate / correction.0)?;
            let _ = slot.value.f_add_(&change)?;
        }
        Ok(())
    }

    /// Running means and squares, for a state file: name, tensor.
    pub fn state(&self) -> Result<Vec<(String, Tensor)>> {
        let mut out = Vec::new();
        for (i, slot) in self.slots.iter().enumerate() {
            out.push((format!("{i}.mean"), slot.mean.copy()));
            out.push((format!("{i}.power"), slot.power.copy()));
            out.push((format!("{i}.steps"), Tensor::f_from_slice(&[slot.steps as f32])?));
        }
        Ok(out)
    }

    /// Restores what [`Adam::state`] gave, for the same tensors in the same order.
    pub fn restore(&mut self, state: &super::Weights) -> Result<()> {
        for (i, slot) in self.slots.iter_mut().enumerate() {
            // State files are read into main memory, whatever the tensors live on.
            let (shape, device) = (slot.value.size(), slot.value.device());
            slot.mean = state.shaped(&format!("{i}.mean"), &shape)?.f_to_device(device)?.copy();
            slot.power = state.shaped(&format!("{i}.power"), &shape)?.f_to_device(device)?.copy();
            slot.steps = state.shaped(&format!("{i}.steps"), &[1])?.value()? as i32;
        }
        Ok(())
    }
}
