//! Parametric heads rendered ahead: pictures, half-size labels and the numbers behind them, served as shuffled batches.

use super::heads::{self, Camera, Framing, Head, Rng, IDENTITY};
use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::net::ops::{channels_last, from_vec, Calc};
use crate::params::EXPRESSIONS;
use crate::progress::{check, Progress};
use rayon::prelude::*;
use tch::{Device, Kind, Tensor};

/// Numbers of z that mean something: the identity, then where the face sits in the crop (dx, dy, scale, roll).
pub const CONDITION: usize = IDENTITY + 4;

/// Spread of the crop's jitter in the training heads; dividing by it gives numbers of unit variance.
const JITTER: [f32; 4] = [0.01, 0.01, 0.02, 1.5];

/// Rendered heads.
#[derive(Debug)]
pub struct HeadSet {
    /// Side of the pictures.
    pub side: i64,
    images: Tensor,
    labels: Tensor,
    condition: Tensor,
    angles: Tensor,
    expression: Tensor,
}

/// One batch on the training device.
#[derive(Debug)]
pub struct Batch {
    /// `[B, 3, R, R]` in [-1, 1].
    pub images: Tensor,
    /// `[B, R/2, R/2]` region classes (int64).
    pub labels: Tensor,
    /// `[B, CONDITION]`, about unit variance.
    pub condition: Tensor,
    /// `[B, 2]` yaw and pitch, degrees.
    pub angles: Tensor,
    /// `[B, 32]`.
    pub expression: Tensor,
}

/// The numbers of z behind a head.
pub fn condition(head: &Head) -> [f32; CONDITION] {
    let mut out = [0f32; CONDITION];
    out[..IDENTITY].copy_from_slice(&head.identity);
    if let Framing::Aligned { dx, dy, scale, roll_degrees } = head.framing {
        let jitter = [dx, dy, scale - 1.0, roll_degrees];
        for i in 0..4 {
            out[IDENTITY + i] = jitter[i] / JITTER[i];
        }
    }
    out
}

impl HeadSet {
    /// Renders `count` heads from `seed` on at `side` pixels.
    pub fn render(count: usize, side: i64, seed: u64, progress: &dyn Progress) -> Result<Self> {
        progress.begin("render parametric heads", count as u64);
        let half = (side / 2) as usize;
        let (mut images, mut labels, mut numbers) = (Vec::new(), Vec::new(), Vec::new());
        let chunk = 256;
        for start in (0..count).step_by(chunk) {
            check(progress)?;
            let made: Vec<_> = (start..(start + chunk).min(count))
                .into_par_iter()
                .map(|i| {
                    let head = heads::sample(seed.wrapping_add(i as u64));
                    let picture = heads::render(&head, side as u32);
                    (head, picture.frame.data, shrink_labels(&picture.labels, half))
                })
                .collect();
            for (head, image, label) in made {
                images.extend_from_slice(&image);
                labels.extend_from_slice(&label);
                numbers.push(head);
            }
            progress.advance(numbers.len() as u64, "");
        }
        progress.end();
        let n = count as i64;
        let flat = |f: &dyn Fn(&Head) -> Vec<f32>| -> Vec<f32> { numbers.iter().flat_map(f).collect() };
        Ok(HeadSet {
            side,
            images: Tensor::f_from_slice(&images)?.f_view([n, side, side, 3])?,
            labels: Tensor::f_from_slice(&labels)?.f_view([n, half as i64, half as i64])?,
            condition: from_vec(&flat(&|h| condition(h).to_vec()), &[n, CONDITION as i64], Device::Cpu)?,
            angles: from_vec(&flat(&|h| vec![h.yaw, h.pitch]), &[n, 2], Device::Cpu)?,
            expression: from_vec(&flat(&|h| h.expression.to_vec()), &[n, EXPRESSIONS as i64], Device::Cpu)?,
        })
    }

    /// Number of heads.
    pub fn len(&self) -> i64 {
        self.images.size()[0]
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `count` heads drawn by `step` and `seed`: the same call gives the same batch, so that a resumed run continues as if it never stopped.
    pub fn batch(&self, step: u64, seed: u64, count: i64, device: Device) -> Result<Batch> {
        if self.is_empty() {
            return Err(Error::Misuse("a training set without heads".into()));
        }
        let mut rng = heads::Rng::new(seed ^ step.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let picks: Vec<i64> = (0..count).map(|_| (rng.bits() % self.len() as u64) as i64).collect();
        self.pick(&picks, device)
    }

    /// As [`HeadSet::batch`], the pictures as cameras of random quality deliver them: `strength` 0 leaves them clean, 1 is the
    /// whole range of [`heads::Camera::sample`]. For networks that will see real footage; ground truth stays as it is.
    pub fn filmed(&self, step: u64, seed: u64, count: i64, strength: f32, device: Device) -> Result<Batch> {
        let mut batch = self.batch(step, seed, count, device)?;
        if strength <= 0.0 {
            return Ok(batch);
        }
        let side = self.side as u32;
        let clean = batch.images.f_permute([0, 2, 3, 1])?.shift(1.0)?.scale(127.5)?.f_round()?.f_to_kind(Kind::Uint8)?;
        let clean = clean.f_to_device(Device::Cpu)?.f_contiguous()?;
        let mut bytes = vec![0u8; clean.numel()];
        let length = bytes.len();
        clean.f_copy_data(&mut bytes, length)?;
        let first = Rng::new(seed ^ step.wrapping_mul(0xA24B_AED4_963E_E407)).bits();
        let filmed: Vec<Vec<u8>> = bytes
            .par_chunks(3 * (side * side) as usize)
            .enumerate()
            .map(|(i, data)| {
                let frame = Frame::new(side, side, data.to_vec())?;
                Ok(Camera::sample(first.wrapping_add(i as u64), strength).film(&frame).data)
            })
            .collect::<Result<_>>()?;
        let images = Tensor::f_from_slice(&filmed.concat())?.f_view([count, self.side, self.side, 3])?.f_to_device(device)?;
        let images = images.f_permute([0, 3, 1, 2])?.f_to_kind(Kind::Float)?.scale(1.0 / 127.5)?.shift(-1.0)?;
        batch.images = channels_last(&images)?;
        Ok(batch)
    }

    /// The heads with the given indices.
    pub fn pick(&self, picks: &[i64], device: Device) -> Result<Batch> {
        let index = Tensor::f_from_slice(picks)?;
        let take = |t: &Tensor| -> Result<Tensor> { Ok(t.f_index_select(0, &index)?.f_to_device(device)?) };
        let images = take(&self.images)?.f_permute([0, 3, 1, 2])?.f_to_kind(Kind::Float)?.scale(1.0 / 127.5)?.shift(-1.0)?;
        Ok(Batch {
            images: channels_last(&images)?,
            labels: take(&self.labels)?.f_to_kind(Kind::Int64)?,
            condition: take(&self.condition)?,
            angles: take(&self.angles)?,
            expression: take(&self.expression)?,
        })
    }
}

/// Every second label of every second row: labels are classes and cannot be averaged.
fn shrink_labels(labels: &[u8], half: usize) -> Vec<u8> {
    let side = 2 * half;
    (0..half * half).map(|i| labels[(i / half) * 2 * side + (i % half) * 2]).collect()
}

/// Per-pixel loss weights `[B, 1, R/2, R/2]`, mean 1: small regions that carry the expression count more than hair and background.
pub fn region_weights(labels: &Tensor) -> Result<Tensor> {
    // Classes in the order of heads::LABEL_NAMES.
    let table: [f32; 12] = [0.35, 1.2, 1.2, 1.5, 3.0, 5.0, 6.0, 4.0, 4.0, 0.7, 0.4, 1.5];
    let table = Tensor::f_from_slice(&table)?.f_to_device(labels.device())?;
    let size = labels.size();
    let weights = table.f_index_select(0, &labels.f_view([-1])?)?.f_view([size[0], 1, size[1], size[2]])?;
    let mean = weights.f_mean_dim([1i64, 2, 3].as_slice(), true, Kind::Float)?;
    weights.over(&mean)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::ops::to_vec;
    use crate::progress::Silent;

    #[test]
    fn region_weights_have_mean_one_and_favour_small_regions() {
        let set = HeadSet::render(2, 32, 5, &Silent).unwrap();
        let batch = set.pick(&[0, 1], Device::Cpu).unwrap();
        let weights = region_weights(&batch.labels).unwrap();
        assert_eq!(weights.size(), [2, 1, 16, 16]);
        for mean in to_vec(&weights.f_mean_dim([1i64, 2, 3].as_slice(), false, Kind::Float).unwrap()).unwrap() {
            assert!((mean - 1.0).abs() < 1e-5, "{mean}");
        }
        let labels = to_vec(&batch.labels.f_to_kind(Kind::Float).unwrap()).unwrap();
        let weights = to_vec(&weights).unwrap();
        let most = |class: u8| labels.iter().zip(&weights).find(|(l, _)| **l == f32::from(class)).map_or(0.0, |(_, w)| *w);
        assert!(most(heads::label::LIPS) > most(heads::label::SKIN), "lips against skin");
    }

    #[test]
    fn a_batch_depends_on_its_step_and_seed_alone() {
        let set = HeadSet::render(24, 32, 9, &Silent).unwrap();
        let angles = |step, seed| to_vec(&set.batch(step, seed, 8, Device::Cpu).unwrap().angles).unwrap();
        assert_eq!(angles(3, 1), angles(3, 1));
        assert_ne!(angles(3, 1), angles(4, 1));
        assert_ne!(angles(3, 1), angles(3, 2));
    }

    #[test]
    fn filmed_batches_keep_their_ground_truth_and_strength_zero_keeps_their_pictures() {
        let set = HeadSet::render(4, 32, 11, &Silent).unwrap();
        let values = |b: &Batch| to_vec(&b.images.f_contiguous().unwrap()).unwrap();
        let (clean, off) = (set.batch(2, 7, 3, Device::Cpu).unwrap(), set.filmed(2, 7, 3, 0.0, Device::Cpu).unwrap());
        let (filmed, again) = (set.filmed(2, 7, 3, 1.0, Device::Cpu).unwrap(), set.filmed(2, 7, 3, 1.0, Device::Cpu).unwrap());
        assert_eq!(values(&clean), values(&off));
        assert_eq!(values(&filmed), values(&again));
        assert_ne!(values(&clean), values(&filmed));
        assert_eq!(to_vec(&clean.angles).unwrap(), to_vec(&filmed.angles).unwrap());
    }

    #[test]
    fn half_size_labels_are_every_second_one() {
        // 4 x 4 labels that say where they stand.
        let labels: Vec<u8> = (0..16).collect();
        assert_eq!(shrink_labels(&labels, 2), [0, 2, 8, 10]);
    }
}
