//! Resumable state of a training stage: weights, optimiser and step in one safetensors file, and the loss log.

use crate::error::{Error, Result};
use crate::net::adam::Adam;
use crate::net::ops::Calc;
use crate::net::Weights;
use std::io::Write;
use std::path::{Path, PathBuf};
use tch::Tensor;

/// Files of one stage in the state folder.
#[derive(Debug)]
pub(super) struct StageState {
    file: PathBuf,
    log: PathBuf,
}

impl StageState {
    pub(super) fn new(folder: &Path, stage: &str) -> Self {
        StageState { file: folder.join(format!("{stage}.safetensors")), log: folder.join(format!("{stage}.csv")) }
    }

    /// Writes beside the old file, then replaces it: a stop in between loses nothing.
    pub(super) fn save(&self, step: u64, weights: &Weights, adam: &Adam) -> Result<()> {
        let mut all: Vec<(String, Tensor)> = vec![("step".into(), Tensor::f_from_slice(&[step as f64])?)];
        for (name, tensor) in weights.iter() {
            all.push((format!("weights.{name}"), tensor.f_detach()?.f_contiguous()?));
        }
        for (name, tensor) in adam.state()? {
            all.push((format!("adam.{name}"), tensor.f_contiguous()?));
        }
        let fresh = self.file.with_extension("new");
        Tensor::write_safetensors(&all, &fresh)?;
        std::fs::rename(&fresh, &self.file).map_err(|e| Error::io("write", &self.file, e))
    }

    /// The saved step and tensors, if there are any.
    pub(super) fn load(&self) -> Result<Option<(u64, Weights, Weights)>> {
        if !self.file.exists() {
            return Ok(None);
        }
        let mut all = Weights::new();
        for (name, tensor) in Tensor::read_safetensors(&self.file)? {
            all.insert(name, tensor);
        }
        let step = all.get("step")?.value()? as u64;
        Ok(Some((step, all.under("weights.")?, all.under("adam.")?)))
    }

    /// Appends a line `step,value,...`; the header is written once.
    pub(super) fn log(&self, header: &str, step: u64, values: &[f64]) -> Result<()> {
        let fresh = !self.log.exists();
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&self.log);
        let mut file = file.map_err(|e| Error::io("write", &self.log, e))?;
        let mut line = if fresh { format!("step,{header}\n{step}") } else { step.to_string() };
        for v in values {
            line.push_str(&format!(",{v:.5}"));
        }
        writeln!(file, "{line}").map_err(|e| Error::io("write", &self.log, e))
    }
}

/// Copies saved values into tensors that already exist and are referred to by an optimiser.
pub(super) fn restore(target: &Weights, saved: &Weights) -> Result<()> {
    for (name, tensor) in target.iter() {
        let value = saved.shaped(name, &tensor.size())?;
        tch::no_grad(|| tensor.shallow_clone().f_copy_(value))?;
    }
    Ok(())
}

/// Half a cosine from 1 to 0 after a short linear rise.
pub(super) fn schedule(step: u64, steps: u64) -> f64 {
    let warm = (step as f64 + 1.0) / 100.0;
    let left = 0.5 + 0.5 * (std::f64::consts::PI * step as f64 / steps.max(1) as f64).cos();
    warm.min(1.0) * left.max(0.01)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::ops::{from_vec, to_vec};
    use tch::Device;

    #[test]
    fn a_stage_comes_back_with_step_weights_and_optimiser() {
        let folder = std::env::temp_dir().join(format!("effigy-state-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let state = StageState::new(&folder, "stage");
        assert!(state.load().unwrap().is_none());
        let step = |weights: &Weights, adam: &mut Adam| {
            let loss = weights.get("a").unwrap().f_square().unwrap().average().unwrap();
            adam.step(&loss, 0.1).unwrap();
        };
        let fresh = || {
            let mut weights = Weights::new();
            weights.insert("a", from_vec(&[1.0, -2.0, 3.0], &[3], Device::Cpu).unwrap().f_set_requires_grad(true).unwrap());
            let mut adam = Adam::new(0.9, 0.99);
            adam.add_scalar(weights.get("a").unwrap(), 1.0).unwrap();
            (weights, adam)
        };
        let (weights, mut adam) = fresh();
        (0..3).for_each(|_| step(&weights, &mut adam));
        state.save(3, &weights, &adam).unwrap();
        (0..3).for_each(|_| step(&weights, &mut adam));
        let (again, mut resumed) = fresh();
        let (at, saved, optimiser) = state.load().unwrap().unwrap();
        assert_eq!(at, 3);
        restore(&again, &saved).unwrap();
        resumed.restore(&optimiser).unwrap();
        (0..3).for_each(|_| step(&again, &mut resumed));
        let numbers = |w: &Weights| to_vec(w.get("a").unwrap()).unwrap();
        assert_eq!(numbers(&again), numbers(&weights));
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn the_schedule_rises_over_a_hundred_steps_and_falls_to_a_hundredth() {
        assert!((schedule(0, 1000) - 0.01).abs() < 1e-9);
        assert!(schedule(99, 1000) > 0.97);
        assert!((schedule(1000, 1000) - 0.01).abs() < 1e-9);
        assert!((schedule(0, 0) - 0.01).abs() < 1e-9, "a stage without steps");
    }
}
