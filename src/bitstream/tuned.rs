//! Tuned weights of an identity: differences to the pack's weights, quantised and entropy coded.
//!
//! In: named tensors of differences (weight units) and a rule for the step. Out: integers with steps of 2^(code/8), and one
//! coded block for all tensors. Source: docs/bitstream.md, "Identity: tuned weights".

use std::collections::BTreeSet;

use super::quant::{code_from_step, step_from_code, STEP_CODES};
use super::range::{decode_levels, encode_levels, LevelModel, RangeDecoder, RangeEncoder, Strides, MAX_LEVEL};
use super::sparse::{Grid, SparseModel};
use super::wire::{Put, Take, Wire};
use crate::error::{Error, Result};
use crate::limits::{MAX_IDENTITY_BYTES, MAX_NAME_BYTES, MAX_TUNED_TENSORS, MAX_TUNED_VALUES};

/// Name of the tensor that is no weight but a picture, the identity's detail.
pub const DETAIL: &str = "detail";
/// Most dimensions of a tensor.
const MAX_DIMS: u64 = 8;

/// How [`TunedTensor::quantise`] chooses steps. All are rounded down to the next step code (at most an eighth of an octave).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum StepRule {
    /// This step for all values, in weight units.
    Fixed(f32),
    /// One step for the tensor: this factor times the root mean square of its differences.
    Tensor(f32),
    /// One step per output channel (first dimension over 1): this factor times the root mean square of the channel's differences.
    Channel(f32),
}

/// One tensor of quantised weight differences: `difference = value * step`.
#[derive(Clone, Debug, PartialEq)]
pub struct TunedTensor {
    /// Name of the weight in the pack.
    pub name: String,
    /// Its shape; the first dimension over 1 is the output channel.
    pub shape: Vec<usize>,
    /// Step codes ([`step_from_code`]): one for all values, or one per output channel.
    pub steps: Vec<i16>,
    /// Row-major levels, magnitudes up to [`MAX_LEVEL`].
    pub values: Vec<i32>,
}

impl TunedTensor {
    /// Quantises `difference` to the nearest levels.
    ///
    /// # Errors
    /// Misuse if the sizes do not match, a value or the step is not finite and positive where it must be, or a level
    /// exceeds [`MAX_LEVEL`] (the step is too small); limit if the tensor is too large.
    pub fn quantise(name: &str, shape: &[usize], difference: &[f32], rule: StepRule) -> Result<Self> {
        let count = volume(name, shape)?;
        if difference.len() != count {
            return Err(Error::Misuse(format!(
                "tensor {name} of shape {shape:?}: {count} values needed, {} given",
                difference.len()
            )));
        }
        if let Some(v) = difference.iter().find(|v| !v.is_finite()) {
            return Err(Error::Misuse(format!("tensor {name}: difference {v} is not finite")));
        }
        let groups = match rule {
            StepRule::Channel(_) => Grid::new(shape).outputs,
            _ => 1,
        };
        let (mut steps, mut values) = (Vec::with_capacity(groups), Vec::with_capacity(count));
        for group in difference.chunks_exact(count / groups) {
            let code = step_code(name, group, rule)?;
            let step = step_from_code(code);
            for v in group {
                let level = (v / step).round_ties_even();
                if level.abs() > MAX_LEVEL as f32 {
                    return Err(Error::Misuse(format!("tensor {name}: {v} needs more than {MAX_LEVEL} steps of {step}")));
                }
                values.push(level as i32);
            }
            steps.push(code);
        }
        Ok(TunedTensor { name: name.into(), shape: shape.to_vec(), steps, values })
    }

    /// The differences as every decoder will add them, row-major, weight units.
    pub fn dequantise(&self) -> Vec<f32> {
        let group = (self.values.len() / self.steps.len().max(1)).max(1);
        let step = |i: usize| self.steps.get(i / group).map_or(0.0, |&code| step_from_code(code));
        self.values.iter().enumerate().map(|(i, &v)| v as f32 * step(i)).collect()
    }

    fn without_values(&self) -> TunedTensor {
        TunedTensor { name: self.name.clone(), shape: self.shape.clone(), steps: self.steps.clone(), values: Vec::new() }
    }

    fn check(&self) -> Result<()> {
        let count = volume(&self.name, &self.shape)?;
        let steps = self.steps.len();
        if self.values.len() != count || (steps != 1 && steps != Grid::new(&self.shape).outputs) {
            return Err(Error::Misuse(format!(
                "tensor {} of shape {:?}: {} values and {steps} steps do not fit it",
                self.name,
                self.shape,
                self.values.len()
            )));
        }
        match self.steps.iter().find(|code| !STEP_CODES.contains(code)) {
            Some(code) => Err(Error::Misuse(format!("tensor {}: step code {code} outside {STEP_CODES:?}", self.name))),
            None => Ok(()),
        }
    }

    /// Name, shape and kind of steps, for both directions. Returns the number of steps.
    fn head<W: Wire>(&mut self, wire: &mut W) -> Result<usize> {
        wire.string(&mut self.name, MAX_NAME_BYTES, "tuned tensor: name")?;
        let mut dims = self.shape.len() as u64;
        wire.bounded(&mut dims, MAX_DIMS, "tuned tensor: dimensions")?;
        self.shape.resize(dims as usize, 0);
        for dim in &mut self.shape {
            let mut size = *dim as u64;
            wire.bounded(&mut size, MAX_TUNED_VALUES as u64, "tuned tensor: dimension")?;
            *dim = size as usize;
        }
        volume(&self.name, &self.shape)?;
        // A lone channel has one step in either reading; it is written as the first.
        let mut per_channel = u8::from(self.steps.len() > 1);
        wire.u8(&mut per_channel, "tuned tensor: kind of steps")?;
        let groups = match per_channel {
            0 => 1,
            1 if Grid::new(&self.shape).outputs > 1 => Grid::new(&self.shape).outputs,
            other => return Err(Error::Malformed(format!("tuned tensor {}: kind of steps {other}", self.name))),
        };
        Ok(groups)
    }
}

/// Number of values of a shape, within the limits.
fn volume(name: &str, shape: &[usize]) -> Result<usize> {
    if shape.is_empty() || shape.len() > MAX_DIMS as usize || shape.contains(&0) {
        return Err(Error::Misuse(format!("tensor {name}: shape {shape:?} needs 1 to {MAX_DIMS} dimensions, none 0")));
    }
    shape
        .iter()
        .try_fold(1usize, |n, &d| n.checked_mul(d))
        .filter(|&n| n <= MAX_TUNED_VALUES)
        .ok_or_else(|| Error::Limit(format!("tensor {name} of shape {shape:?}: at most {MAX_TUNED_VALUES} values allowed")))
}

fn step_code(name: &str, group: &[f32], rule: StepRule) -> Result<i16> {
    let rms = || (group.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / group.len() as f64).sqrt();
    let (factor, step) = match rule {
        StepRule::Fixed(step) => (step, step),
        StepRule::Tensor(factor) | StepRule::Channel(factor) => (factor, (f64::from(factor) * rms()) as f32),
    };
    if !factor.is_finite() || factor <= 0.0 {
        return Err(Error::Misuse(format!("tensor {name}: step rule {rule:?} is not a positive number")));
    }
    // A group without differences has no scale of its own; any step serves its zeros.
    Ok(if step == 0.0 { 0 } else { code_from_step(step) })
}

/// All tensors: heads, then one coded block with steps and levels.
pub(super) fn write_tuned<W: Wire>(tensors: &[TunedTensor], wire: &mut W) -> Result<()> {
    let total: usize = tensors.iter().map(|t| t.values.len()).sum();
    if tensors.len() > MAX_TUNED_TENSORS || total > MAX_TUNED_VALUES {
        return Err(Error::Limit(format!(
            "tuned weights: {} tensors of {total} values, at most {MAX_TUNED_TENSORS} and {MAX_TUNED_VALUES} allowed",
            tensors.len()
        )));
    }
    wire.varint(&mut (tensors.len() as u64), "tuned weights: tensors")?;
    let mut names = BTreeSet::new();
    for t in tensors {
        t.check()?;
        if !names.insert(&t.name) {
            return Err(Error::Misuse(format!("tuned weights: tensor {} twice", t.name)));
        }
        t.without_values().head(wire)?;
    }
    if tensors.is_empty() {
        return Ok(());
    }
    let mut coder = RangeEncoder::default();
    let (mut step_model, mut model) = (LevelModel::default(), SparseModel::default());
    for t in tensors {
        let mut last = 0;
        let rises: Vec<i32> =
            t.steps.iter().map(|&code| i32::from(code) - std::mem::replace(&mut last, i32::from(code))).collect();
        encode_levels(&mut coder, &mut step_model, &rises, Strides { inner: 1, row: 1 })?;
        model.encode(&mut coder, &t.values, Grid::new(&t.shape))?;
    }
    wire.blob(&mut coder.finish(), MAX_IDENTITY_BYTES, "tuned weights: coded block")
}

/// Bytes that `tensors` take in an identity.
///
/// # Errors
/// As writing them: misuse if a tensor does not fit together, limit if there are too many.
pub fn tuned_bytes(tensors: &[TunedTensor]) -> Result<usize> {
    let mut put = Put::default();
    write_tuned(tensors, &mut put)?;
    Ok(put.bytes.len())
}

/// Inverse of [`write_tuned`]. Memory grows with what is decoded, never with what a head claims.
pub(super) fn read_tuned(take: &mut Take<'_>) -> Result<Vec<TunedTensor>> {
    let mut count = 0;
    take.bounded(&mut count, MAX_TUNED_TENSORS as u64, "tuned weights: tensors")?;
    let mut tensors: Vec<TunedTensor> = Vec::new();
    let (mut names, mut total, mut groups) = (BTreeSet::new(), 0usize, Vec::new());
    for _ in 0..count {
        let mut t = TunedTensor { name: String::new(), shape: Vec::new(), steps: Vec::new(), values: Vec::new() };
        groups.push(t.head(take).map_err(|e| match e {
            Error::Misuse(what) => Error::Malformed(what),
            other => other,
        })?);
        total += volume(&t.name, &t.shape)?;
        if total > MAX_TUNED_VALUES {
            return Err(Error::Limit(format!("tuned weights: {total} values, at most {MAX_TUNED_VALUES} allowed")));
        }
        if !names.insert(t.name.clone()) {
            return Err(Error::Malformed(format!("tuned weights: tensor {} twice", t.name)));
        }
        tensors.push(t);
    }
    if tensors.is_empty() {
        return Ok(tensors);
    }
    let mut len = 0;
    take.bounded(&mut len, MAX_IDENTITY_BYTES as u64, "tuned weights: coded block")?;
    let mut coder = RangeDecoder::new(take.slice(len as usize, "tuned weights: coded block")?);
    let (mut step_model, mut model) = (LevelModel::default(), SparseModel::default());
    for (t, groups) in tensors.iter_mut().zip(groups) {
        let mut code = 0;
        for rise in decode_levels(&mut coder, &mut step_model, groups, Strides { inner: 1, row: 1 })? {
            code += rise;
            let fits = i16::try_from(code).ok().filter(|c| STEP_CODES.contains(c));
            t.steps.push(fits.ok_or_else(|| Error::Malformed(format!("tensor {}: step code {code}", t.name)))?);
        }
        t.values = model.decode(&mut coder, volume(&t.name, &t.shape)?, Grid::new(&t.shape))?;
    }
    coder.finish()?;
    Ok(tensors)
}
