//! Adam for a table with a row per frame of which each step sees only a few: the others keep their value and their momentum.

use crate::error::Result;
use crate::net::ops::Calc;
use tch::{no_grad, Kind, Tensor};

/// A table `[frames, n]` and its optimiser.
#[derive(Debug)]
pub(super) struct RowAdam {
    values: Tensor,
    mean: Tensor,
    power: Tensor,
    steps: Tensor,
    rate: Tensor,
}

/// The rows of one step: a leaf to compute with.
#[derive(Debug)]
pub(super) struct Rows {
    index: Tensor,
    /// `[rows, n]`, requires gradients.
    pub leaf: Tensor,
}

const BETA: (f64, f64) = (0.9, 0.98);

impl RowAdam {
    /// `rate` `[n]` multiplies the step's rate per column.
    pub(super) fn new(values: &Tensor, rate: &Tensor) -> Result<Self> {
        let values = values.f_detach()?.copy();
        let steps = Tensor::f_zeros([values.size()[0], 1], (Kind::Float, values.device()))?;
        Ok(RowAdam { mean: values.f_zeros_like()?, power: values.f_zeros_like()?, steps, rate: rate.f_unsqueeze(0)?, values })
    }

    /// The table as it stands.
    pub(super) fn values(&self) -> Result<Tensor> {
        Ok(self.values.f_detach()?.copy())
    }

    /// The given rows as a leaf.
    pub(super) fn take(&self, rows: &[i64]) -> Result<Rows> {
        let index = Tensor::f_from_slice(rows)?.f_to_device(self.values.device())?;
        let leaf = self.values.f_index_select(0, &index)?.f_set_requires_grad(true)?;
        Ok(Rows { index, leaf })
    }

    /// Moves the rows along the gradient that a backward pass left in the leaf; `mask` `[rows, 1]`, if given, holds some still.
    pub(super) fn apply(&mut self, rows: &Rows, rate: f64, mask: Option<&Tensor>) -> Result<()> {
        no_grad(|| {
            let gradient = rows.leaf.f_grad()?;
            let at = |t: &Tensor| t.f_index_select(0, &rows.index);
            let steps = at(&self.steps)?.shift(1.0)?;
            let mean = at(&self.mean)?.f_lerp(&gradient, 1.0 - BETA.0)?;
            let power = at(&self.power)?.f_lerp(&gradient.f_square()?, 1.0 - BETA.1)?;
            let unbias = |b: f64| -> Result<Tensor> { steps.scale(b.ln())?.f_exp()?.scale(-1.0)?.shift(1.0) };
            let root = power.over(&unbias(BETA.1)?)?.f_sqrt()?.shift(1e-8)?;
            let mut change = mean.over(&unbias(BETA.0)?)?.over(&root)?.times(&self.rate)?.scale(-rate)?;
            if let Some(mask) = mask {
                change = change.times(mask)?;
            }
            let fresh = rows.leaf.f_detach()?.plus(&change)?;
            for (table, part) in
                [(&mut self.values, &fresh), (&mut self.mean, &mean), (&mut self.power, &power), (&mut self.steps, &steps)]
            {
                let _ = table.f_index_copy_(0, &rows.index, part)?;
            }
            Ok(())
        })
    }
}
