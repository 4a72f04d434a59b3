//! Adam for a table with a row per frame of which each step sees only a few: the others keep their value and their momentum.

use crate::error::{Error, Result};
use crate::net::ops::Calc;
use tch::{no_grad, Kind, Tensor};

/// A table `[frames, n]` and its optimiser.
#[derive(Debug)]
pub(crate) struct RowAdam {
    values: Tensor,
    mean: Tensor,
    power: Tensor,
    steps: Tensor,
    rate: Tensor,
}

/// The best rows seen during a search.
#[derive(Debug)]
pub(crate) struct Best {
    losses: Vec<f32>,
    rows: Vec<Tensor>,
}

impl Best {
    /// None of `n` rows was seen yet.
    pub(crate) fn new(n: usize) -> Self {
        Best { losses: vec![f32::MAX; n], rows: (0..n).map(|_| Tensor::new()).collect() }
    }

    /// Keeps those of `rows` `[n, columns]` whose losses are the lowest so far.
    pub(crate) fn see(&mut self, losses: &[f32], rows: &Tensor) -> Result<()> {
        for (i, loss) in losses.iter().enumerate() {
            if *loss < self.losses[i] {
                self.losses[i] = *loss;
                self.rows[i] = rows.f_detach()?.f_select(0, i as i64)?.copy();
            }
        }
        Ok(())
    }

    /// The best rows `[n, columns]`.
    ///
    /// # Errors
    /// Device, for a row whose loss was never a number.
    pub(crate) fn rows(&self) -> Result<Tensor> {
        if self.losses.contains(&f32::MAX) {
            return Err(Error::Device("the search diverged: a loss is not a number".into()));
        }
        Ok(Tensor::f_stack(&self.rows, 0)?)
    }
}

/// The rows of one step: a leaf to compute with.
#[derive(Debug)]
pub(crate) struct Rows {
    index: Tensor,
    /// `[rows, n]`, requires gradients.
    pub leaf: Tensor,
}

const BETA: (f64, f64) = (0.9, 0.98);

impl RowAdam {
    /// `rate` `[n]` multiplies the step's rate per column.
    pub(crate) fn new(values: &Tensor, rate: &Tensor) -> Result<Self> {
        let values = values.f_detach()?.copy();
        let steps = Tensor::f_zeros([values.size()[0], 1], (Kind::Float, values.device()))?;
        Ok(RowAdam { mean: values.f_zeros_like()?, power: values.f_zeros_like()?, steps, rate: rate.f_unsqueeze(0)?, values })
    }

    /// Table, running means, running squares and steps, for a state file.
    pub(crate) fn state(&self) -> [(&'static str, Tensor); 4] {
        [("values", &self.values), ("mean", &self.mean), ("power", &self.power), ("steps", &self.steps)]
            .map(|(name, tensor)| (name, tensor.copy()))
    }

    /// Restores what [`RowAdam::state`] gave, for a table of the same shape.
    pub(crate) fn restore(&mut self, state: &crate::net::Weights) -> Result<()> {
        for (name, tensor) in
            [("values", &mut self.values), ("mean", &mut self.mean), ("power", &mut self.power), ("steps", &mut self.steps)]
        {
            *tensor = state.shaped(name, &tensor.size())?.f_to_device(tensor.device())?.copy();
        }
        Ok(())
    }

    /// The table as it stands.
    pub(crate) fn values(&self) -> Result<Tensor> {
        Ok(self.values.f_detach()?.copy())
    }

    /// The given rows as a leaf.
    pub(crate) fn take(&self, rows: &[i64]) -> Result<Rows> {
        let index = Tensor::f_from_slice(rows)?.f_to_device(self.values.device())?;
        let leaf = self.values.f_index_select(0, &index)?.f_set_requires_grad(true)?;
        Ok(Rows { index, leaf })
    }

    /// Moves the rows along the gradient that a backward pass left in the leaf; `mask` `[rows, 1]`, if given, holds some still.
    pub(crate) fn apply(&mut self, rows: &Rows, rate: f64, mask: Option<&Tensor>) -> Result<()> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::ops::{from_vec, to_vec};
    use tch::Device;

    /// Five rows of two columns, all 1.
    fn table() -> Tensor {
        Tensor::ones([5, 2], (Kind::Float, Device::Cpu))
    }

    /// One step along the gradient of the sum of squares.
    fn step(adam: &mut RowAdam, picks: &[i64], rate: f64, mask: Option<&Tensor>) {
        let batch = adam.take(picks).unwrap();
        batch.leaf.f_square().unwrap().f_sum(Kind::Float).unwrap().f_backward().unwrap();
        adam.apply(&batch, rate, mask).unwrap();
    }

    #[test]
    fn a_step_moves_the_picked_rows_and_leaves_the_others_untouched() {
        let rate = from_vec(&[1.0, 0.1], &[2], Device::Cpu).unwrap();
        let mut adam = RowAdam::new(&table(), &rate).unwrap();
        step(&mut adam, &[1, 3], 0.01, None);
        // The first step of Adam has the size of the rate, whatever the gradient.
        let moved = [0.99, 0.999];
        for (row, values) in to_vec(&adam.values().unwrap()).unwrap().chunks(2).enumerate() {
            let expected = if row == 1 || row == 3 { moved } else { [1.0, 1.0] };
            assert!(values.iter().zip(expected).all(|(v, e)| (v - e).abs() < 1e-5), "row {row}: {values:?}");
        }
    }

    #[test]
    fn a_row_moves_the_same_whether_or_not_others_moved_in_between() {
        let rate = from_vec(&[1.0, 1.0], &[2], Device::Cpu).unwrap();
        let (mut alone, mut among) = (RowAdam::new(&table(), &rate).unwrap(), RowAdam::new(&table(), &rate).unwrap());
        for _ in 0..4 {
            step(&mut alone, &[2], 0.05, None);
            step(&mut among, &[2], 0.05, None);
            step(&mut among, &[0, 4], 0.05, None);
        }
        let row = |a: &RowAdam| to_vec(&a.values().unwrap().f_select(0, 2).unwrap()).unwrap();
        assert_eq!(row(&alone), row(&among));
        assert!(row(&alone)[0] < 0.9);
    }

    #[test]
    fn the_best_rows_are_kept_and_a_loss_that_is_no_number_is_an_error() {
        let row = |v: f32| from_vec(&[v, v], &[2, 1], Device::Cpu).unwrap();
        let mut best = Best::new(2);
        assert!(best.rows().is_err());
        best.see(&[3.0, f32::NAN], &row(1.0)).unwrap();
        assert!(best.rows().is_err());
        best.see(&[4.0, 1.0], &row(2.0)).unwrap();
        best.see(&[2.0, 1.5], &row(3.0)).unwrap();
        assert_eq!(to_vec(&best.rows().unwrap()).unwrap(), [3.0, 2.0]);
    }

    #[test]
    fn the_mask_holds_a_row_still() {
        let rate = from_vec(&[1.0, 1.0], &[2], Device::Cpu).unwrap();
        let mut adam = RowAdam::new(&table(), &rate).unwrap();
        let mask = from_vec(&[1.0, 0.0], &[2, 1], Device::Cpu).unwrap();
        step(&mut adam, &[0, 1], 0.1, Some(&mask));
        let values = to_vec(&adam.values().unwrap()).unwrap();
        assert!(values[0] < 0.95 && values[2..] == [1.0; 8], "{values:?}");
    }
}
