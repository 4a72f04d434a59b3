//! Resumable state of a training stage: weights, optimiser and step in one safetensors file, and the loss log.

use crate::error::{Error, Result};
use crate::net::adam::Adam;
use crate::net::ops::Calc;
use crate::net::Weights;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tch::Tensor;

/// How far a stage has come: by its steps, or by the time it may take, whichever is further.
#[derive(Debug)]
pub(super) struct Pace {
    steps: u64,
    limit: Option<Duration>,
    /// What earlier runs of the stage took.
    before: Duration,
    since: Instant,
}

impl Pace {
    pub(super) fn new(steps: u64, limit: Option<Duration>, before: Duration) -> Self {
        Pace { steps, limit, before, since: Instant::now() }
    }

    /// Time spent in the stage, earlier runs included.
    pub(super) fn spent(&self) -> Duration {
        self.before + self.since.elapsed()
    }

    /// The share of the stage that `step` steps are: 1 when it is over.
    pub(super) fn share(&self, step: u64) -> f64 {
        let steps = step as f64 / self.steps.max(1) as f64;
        let time = self.limit.map_or(0.0, |limit| self.spent().as_secs_f64() / limit.as_secs_f64().max(1e-3));
        steps.max(time).min(1.0)
    }
}

/// What a stage left behind when it was last saved.
#[derive(Debug)]
pub(super) struct Saved {
    pub step: u64,
    pub spent: Duration,
    pub weights: Weights,
    pub optimiser: Weights,
}

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
    pub(super) fn save(&self, step: u64, spent: Duration, weights: &Weights, adam: &Adam) -> Result<()> {
        let mut all: Vec<(String, Tensor)> = vec![
            ("step".into(), Tensor::f_from_slice(&[step as f64])?),
            ("seconds".into(), Tensor::f_from_slice(&[spent.as_secs_f64()])?),
        ];
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

    /// What was saved, if anything was.
    pub(super) fn load(&self) -> Result<Option<Saved>> {
        if !self.file.exists() {
            return Ok(None);
        }
        let mut all = Weights::new();
        for (name, tensor) in Tensor::read_safetensors(&self.file)? {
            all.insert(name, tensor);
        }
        let step = all.get("step")?.value()? as u64;
        let seconds = all.get("seconds")?.value()?;
        let spent = Duration::try_from_secs_f64(seconds)
            .map_err(|_| Error::Malformed(format!("{}: {seconds} seconds spent", self.file.display())))?;
        Ok(Some(Saved { step, spent, weights: all.under("weights.")?, optimiser: all.under("adam.")? }))
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

/// The rate's factor at `step`, when `share` of the stage is done: half a cosine from 1 to 0 after a short linear rise.
pub(super) fn schedule(step: u64, share: f64) -> f64 {
    let warm = (step as f64 + 1.0) / 100.0;
    let left = 0.5 + 0.5 * (std::f64::consts::PI * share).cos();
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
        state.save(3, Duration::from_secs(7), &weights, &adam).unwrap();
        (0..3).for_each(|_| step(&weights, &mut adam));
        let (again, mut resumed) = fresh();
        let saved = state.load().unwrap().unwrap();
        assert_eq!((saved.step, saved.spent), (3, Duration::from_secs(7)));
        restore(&again, &saved.weights).unwrap();
        resumed.restore(&saved.optimiser).unwrap();
        (0..3).for_each(|_| step(&again, &mut resumed));
        let numbers = |w: &Weights| to_vec(w.get("a").unwrap()).unwrap();
        assert_eq!(numbers(&again), numbers(&weights));
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn the_schedule_rises_over_a_hundred_steps_and_falls_to_a_hundredth() {
        assert!((schedule(0, 0.0) - 0.01).abs() < 1e-9);
        assert!(schedule(99, 0.1) > 0.97);
        assert!((schedule(1000, 1.0) - 0.01).abs() < 1e-9);
    }

    #[test]
    fn a_stage_ends_by_its_steps_or_by_its_time() {
        let free = Pace::new(10, None, Duration::from_secs(1000));
        assert_eq!((free.share(0), free.share(5), free.share(10)), (0.0, 0.5, 1.0));
        // Half of the time was spent in earlier runs: whatever this one has taken, it is at least half done.
        let tight = Pace::new(10, Some(Duration::from_secs(2000)), Duration::from_secs(1000));
        assert!((0.5..0.6).contains(&tight.share(0)));
        assert!((tight.share(9) - 0.9).abs() < 1e-9);
        assert_eq!(Pace::new(10, Some(Duration::from_secs(1)), Duration::from_secs(2)).share(0), 1.0);
        assert_eq!(Pace::new(0, None, Duration::ZERO).share(0), 0.0, "a stage without steps is over by its loop");
    }
}
