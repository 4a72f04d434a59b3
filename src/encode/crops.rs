//! The aligned crops of a clip as tensors: bytes are kept, floats are made per batch, so that long clips fit into memory.

use super::AlignedFrame;
use crate::error::{Error, Result};
use crate::net::ops::{channels_last, Calc};
use tch::{Device, Kind, Tensor};

/// Crops of one side.
#[derive(Debug)]
pub(super) struct Crops {
    bytes: Tensor,
    /// Side that [`Crops::pick`] gives.
    sight: i64,
    device: Device,
}

impl Crops {
    /// Takes the frames' pictures; all must be `side` pixels square. They are searched in at `sight`.
    pub(super) fn new<'a>(
        frames: impl IntoIterator<Item = &'a AlignedFrame>,
        (side, sight): (i64, i64),
        device: Device,
    ) -> Result<Self> {
        let mut all = Vec::new();
        for (i, f) in frames.into_iter().enumerate() {
            if (f.frame.width as i64, f.frame.height as i64) != (side, side) {
                return Err(Error::Misuse(format!(
                    "crop {i} is {} x {}, the pack needs {side} x {side}",
                    f.frame.width, f.frame.height
                )));
            }
            all.push(Tensor::f_from_slice(&f.frame.data)?.f_view([side, side, 3])?);
        }
        if all.is_empty() {
            return Err(Error::NoContent("no frames to encode".into()));
        }
        Ok(Crops { bytes: Tensor::f_stack(&all, 0)?, sight, device })
    }

    /// Where the floats are made.
    pub(super) fn device(&self) -> Device {
        self.device
    }

    /// Number of crops.
    pub(super) fn len(&self) -> usize {
        self.bytes.size()[0] as usize
    }

    /// Consecutive indices in groups of `n`.
    pub(super) fn chunks(&self, n: usize) -> Vec<Vec<i64>> {
        let all: Vec<i64> = (0..self.len() as i64).collect();
        all.chunks(n).map(<[i64]>::to_vec).collect()
    }

    /// `[B, 3, sight, sight]` in [-1, 1].
    pub(super) fn pick(&self, rows: &[i64]) -> Result<Tensor> {
        self.smaller(&self.whole(rows)?)
    }

    /// Pictures `[B, 3, R, R]` as [`Crops::pick`] gives them.
    pub(super) fn smaller(&self, whole: &Tensor) -> Result<Tensor> {
        match self.sight < whole.size()[2] {
            true => channels_last(&whole.f_adaptive_avg_pool2d([self.sight; 2])?),
            false => Ok(whole.shallow_clone()),
        }
    }

    /// `[B, 3, R, R]` in [-1, 1].
    pub(super) fn whole(&self, rows: &[i64]) -> Result<Tensor> {
        let picked = self.bytes.f_index_select(0, &Tensor::f_from_slice(rows)?)?.f_to_device(self.device)?;
        channels_last(&picked.f_permute([0, 3, 1, 2])?.f_to_kind(Kind::Float)?.scale(1.0 / 127.5)?.shift(-1.0)?)
    }
}
