//! A tuning that was stopped, in a file, so that it can go on as if it had not been.
//!
//! One safetensors file: step, latent, weights, the frames' numbers, optimisers, the order of the frames, and a hash of what it belongs to. The
//! encoder's own state: nobody else's files are read as one.

use super::{AlignedFrame, EncodeOptions, Plan};
use crate::error::{Error, Result};
use crate::net::ops::to_vec;
use crate::net::Weights;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tch::Tensor;

/// Time between two savings, and how much longer than saving itself it is at least.
const EVERY: Duration = Duration::from_secs(60);
const RARELY: u32 = 50;
/// Largest state file that is read: three times the largest generator in single precision.
const LARGEST: u64 = 4 << 30;

/// The file, and what it must belong to.
#[derive(Debug)]
pub(super) struct Unfinished {
    path: PathBuf,
    belongs: Vec<f32>,
    saved: Instant,
    every: Duration,
}

impl Unfinished {
    /// For a tuning of `frames` that goes as `plan` says.
    pub(super) fn new<'a>(
        path: &Path,
        pack: &[u8; 32],
        frames: impl Iterator<Item = &'a AlignedFrame>,
        plan: &Plan,
        options: &EncodeOptions,
    ) -> Self {
        let mut hash = Sha256::new();
        hash.update(pack);
        let EncodeOptions { device, precision, threads, maps, head_only, identity_bytes, .. } = options;
        // The number after the version rises when a state of before cannot be gone on with.
        hash.update(concat!(env!("CARGO_PKG_VERSION"), " 4"));
        hash.update(format!("{plan:?} {device:?} {precision:?} {threads:?} {maps} {head_only} {identity_bytes:?}"));
        frames.for_each(|frame| hash.update(&frame.frame.data));
        let belongs = hash.finalize().iter().map(|byte| f32::from(*byte)).collect();
        Unfinished { path: path.to_path_buf(), belongs, saved: Instant::now(), every: EVERY }
    }

    /// Whether it is time to save.
    pub(super) fn due(&self) -> bool {
        self.saved.elapsed() >= self.every
    }

    /// Writes the state beside the old file, then replaces it: a stop in between loses nothing.
    pub(super) fn save(&mut self, mut state: Vec<(String, Tensor)>) -> Result<()> {
        let begun = Instant::now();
        state.push(("belongs".into(), Tensor::f_from_slice(&self.belongs)?));
        let fresh = self.path.with_extension("new");
        Tensor::write_safetensors(&state, &fresh)?;
        std::fs::rename(&fresh, &self.path).map_err(|e| Error::io("write", &self.path, e))?;
        self.saved = Instant::now();
        self.every = EVERY.max(begun.elapsed() * RARELY);
        Ok(())
    }

    /// What was saved, if anything was.
    pub(super) fn load(&self) -> Result<Option<Weights>> {
        let length = match std::fs::metadata(&self.path) {
            Ok(meta) => meta.len(),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io("open", &self.path, e)),
        };
        if length > LARGEST {
            return Err(Error::Limit(format!("{} has {length} bytes, at most {LARGEST} are read", self.path.display())));
        }
        let mut all = Weights::new();
        let read = Tensor::read_safetensors(&self.path);
        for (name, tensor) in read.map_err(|e| Error::Malformed(format!("{}: {e}", self.path.display())))? {
            all.insert(name, tensor);
        }
        if to_vec(all.shaped("belongs", &[self.belongs.len() as i64])?)? != self.belongs {
            let path = self.path.display();
            return Err(Error::Misuse(format!("{path} is an unfinished tuning of other frames, another pack or other settings")));
        }
        Ok(Some(all))
    }
}
