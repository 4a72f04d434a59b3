//! Parametric heads rendered ahead: pictures, half-size labels and the numbers behind them, served as shuffled batches.
//!
//! Heads come in pairs of one person that differ in pose and expression alone (`heads::pair`): what a network reads from the first
//! about the person must serve to draw the second. `store` keeps the pictures between runs.

use super::heads::{self, Camera, Framing, Head, Rng, IDENTITY};
use super::store::Store;
use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::net::ops::{channels_last, from_vec, Calc};
use crate::params::EXPRESSIONS;
use crate::progress::{check, Progress};
use rayon::prelude::*;
use std::path::Path;
use tch::{Device, Kind, Tensor};

/// Numbers of z that mean something: the identity, then where the face sits in the crop (dx, dy, scale, roll).
pub const CONDITION: usize = IDENTITY + 4;

/// Spread of the crop's jitter in the training heads; dividing by it gives numbers of unit variance.
const JITTER: [f32; 4] = [0.01, 0.01, 0.02, 1.5];

/// Heads rendered between two looks at whether the user wants to stop.
const CHUNK: usize = 64;

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
    /// `[B, 3, S, S]` in [-1, 1].
    pub images: Tensor,
    /// `[B, L, L]` region classes (int64): L is S, or half the set's side if that is less.
    pub labels: Tensor,
    /// `[B, CONDITION]`, about unit variance.
    pub condition: Tensor,
    /// `[B, 2]` yaw and pitch, degrees.
    pub angles: Tensor,
    /// `[B, 32]`.
    pub expression: Tensor,
}

impl Batch {
    /// Other angles and expressions `[B, 34]` for the same pictures.
    pub(super) fn renumber(&mut self, table: &Tensor) -> Result<()> {
        (self.angles, self.expression) = columns(table)?;
        Ok(())
    }
}

/// Angles and expression of a table `[N, 34]`.
fn columns(table: &Tensor) -> Result<(Tensor, Tensor)> {
    Ok((table.f_slice(1, 0, 2, 1)?, table.f_slice(1, 2, 2 + EXPRESSIONS as i64, 1)?))
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

/// Head `index` of the set that begins at `seed`: even ones are the first of a pair, odd ones the second.
pub(super) fn head(seed: u64, index: usize) -> Head {
    let (first, second) = heads::pair(seed.wrapping_add(index as u64 / 2));
    if index.is_multiple_of(2) {
        first
    } else {
        second
    }
}

impl HeadSet {
    /// Renders `count` heads, rounded up to whole pairs, from `seed` on at `side` pixels. With a folder, pictures that it already
    /// holds are taken from there and new ones are added.
    ///
    /// # Errors
    /// Cancelled; input/output; device.
    pub fn render(count: usize, side: i64, seed: u64, folder: Option<&Path>, progress: &dyn Progress) -> Result<Self> {
        let count = count.next_multiple_of(2);
        let mut store = Store::open(folder, side, seed)?;
        progress.begin("render parametric heads", count as u64);
        while store.len() < count {
            check(progress)?;
            let made: Vec<_> = (store.len()..(store.len() + CHUNK).min(count))
                .into_par_iter()
                .map(|i| {
                    let picture = heads::render(&head(seed, i), side as u32);
                    (picture.frame.data, shrink_labels(&picture.labels, (side / 2) as usize))
                })
                .collect();
            store.extend(&made)?;
            progress.advance(store.len() as u64, "");
        }
        progress.end();
        let (images, labels) = store.into_bytes(count);
        let numbers: Vec<Head> = (0..count).map(|i| head(seed, i)).collect();
        let n = count as i64;
        let flat = |f: &dyn Fn(&Head) -> Vec<f32>| -> Vec<f32> { numbers.iter().flat_map(f).collect() };
        Ok(HeadSet {
            side,
            images: Tensor::f_from_slice(&images)?.f_view([n, side, side, 3])?,
            labels: Tensor::f_from_slice(&labels)?.f_view([n, side / 2, side / 2])?,
            condition: from_vec(&flat(&|h| condition(h).to_vec()), &[n, CONDITION as i64], Device::Cpu)?,
            angles: from_vec(&flat(&|h| vec![h.yaw, h.pitch]), &[n, 2], Device::Cpu)?,
            expression: from_vec(&flat(&|h| h.expression.to_vec()), &[n, EXPRESSIONS as i64], Device::Cpu)?,
        })
    }

    /// Pictures that were not rendered: bytes `[N, side, side, 3]`, labels `[N, side/2, side/2]` and `table` `[N, 34]` of angles and
    /// expression. Their identity numbers are unknown.
    pub(super) fn of_footage(side: i64, images: Tensor, labels: Tensor, table: &Tensor) -> Result<Self> {
        let condition = Tensor::f_zeros([images.size()[0], CONDITION as i64], (Kind::Float, Device::Cpu))?;
        let (angles, expression) = columns(table)?;
        Ok(HeadSet { side, images, labels, condition, angles, expression })
    }

    /// Angles and expression `[N, 34]`.
    pub(super) fn numbers(&self) -> Result<Tensor> {
        Ok(Tensor::f_cat(&[&self.angles, &self.expression], 1)?)
    }

    /// Other angles and expressions `[N, 34]` for the same pictures.
    pub(super) fn renumbered(self, table: &Tensor) -> Result<Self> {
        Self::of_footage(self.side, self.images, self.labels, table)
    }

    /// Number of heads.
    pub fn len(&self) -> i64 {
        self.images.size()[0]
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The indices of `count` heads drawn by `step` and `seed`: the same call gives the same ones, so that a resumed run continues
    /// as if it never stopped.
    pub fn draw(&self, step: u64, seed: u64, count: i64) -> Result<Vec<i64>> {
        if self.is_empty() {
            return Err(Error::Misuse("a training set without heads".into()));
        }
        let mut rng = Rng::new(seed ^ step.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        Ok((0..count).map(|_| (rng.bits() % self.len() as u64) as i64).collect())
    }

    /// The heads with the given indices, brought to `side` pixels: at most that of the set, and a power of two below it.
    pub fn pick(&self, picks: &[i64], side: i64, device: Device) -> Result<Batch> {
        let index = Tensor::f_from_slice(picks)?;
        let take = |t: &Tensor| -> Result<Tensor> { Ok(t.f_index_select(0, &index)?.f_to_device(device)?) };
        let times = self.side / side;
        let images = take(&self.images)?.f_permute([0, 3, 1, 2])?.f_to_kind(Kind::Float)?.scale(1.0 / 127.5)?.shift(-1.0)?;
        let images = if times > 1 { images.f_adaptive_avg_pool2d([side, side])? } else { images };
        // Every so many labels: they are classes and cannot be averaged.
        let every = (self.side / 2 / side).max(1);
        let labels = take(&self.labels)?.f_slice(1, 0, None, every)?.f_slice(2, 0, None, every)?;
        Ok(Batch {
            images: channels_last(&images)?,
            labels: labels.f_to_kind(Kind::Int64)?,
            condition: take(&self.condition)?,
            angles: take(&self.angles)?,
            expression: take(&self.expression)?,
        })
    }
}

/// Pictures `[B, 3, S, S]` in [-1, 1] as cameras of random quality deliver them: `strength` 0 leaves them clean, 1 is the whole
/// range of [`heads::Camera::sample`]. For networks that will see real footage; nothing in the pictures moves.
pub fn film(images: &Tensor, seed: u64, strength: f32) -> Result<Tensor> {
    if strength <= 0.0 {
        return Ok(images.shallow_clone());
    }
    let frames = crate::net::ops::to_frames(images)?;
    let first = Rng::new(seed).bits();
    let filmed: Vec<Frame> = frames
        .par_iter()
        .enumerate()
        .map(|(i, frame)| Camera::sample(first.wrapping_add(i as u64), strength).film(frame))
        .collect();
    let filmed: Vec<&Frame> = filmed.iter().collect();
    channels_last(&crate::net::ops::to_tensor(&filmed, images.device())?)
}

/// Of each four neighbours the label that most of them have; between two that have two each the first in an order that turns round from
/// cell to cell, so that no region is moved or grows.
pub(super) fn shrink_labels(labels: &[u8], half: usize) -> Vec<u8> {
    let side = 2 * half;
    let vote = |i: usize| {
        let (y, x) = (i / half, i % half);
        let at = 2 * y * side + 2 * x;
        let mut four = [labels[at], labels[at + 1], labels[at + side + 1], labels[at + side]];
        four.rotate_left((x + 2 * y) % 4);
        let votes = |label: u8| four.iter().filter(|l| **l == label).count();
        // The last of equals would win.
        four.into_iter().rev().max_by_key(|label| votes(*label)).unwrap_or(four[0])
    };
    (0..half * half).map(vote).collect()
}

/// Loss weights `[B, 1, L, L]` of places, mean 1: small regions that carry the expression count more than hair and background.
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
        let set = HeadSet::render(2, 32, 5, None, &Silent).unwrap();
        let batch = set.pick(&[0, 1], 32, Device::Cpu).unwrap();
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
    fn the_heads_drawn_depend_on_step_and_seed_alone() {
        let set = HeadSet::render(24, 32, 9, None, &Silent).unwrap();
        let draw = |step, seed| set.draw(step, seed, 8).unwrap();
        assert_eq!(draw(3, 1), draw(3, 1));
        assert_ne!(draw(3, 1), draw(4, 1));
        assert_ne!(draw(3, 1), draw(3, 2));
        assert!(draw(3, 1).iter().all(|i| (0..24).contains(i)));
    }

    #[test]
    fn neighbours_are_one_person_in_one_framing_with_another_face() {
        let set = HeadSet::render(3, 32, 12, None, &Silent).unwrap();
        assert_eq!(set.len(), 4, "whole pairs");
        let rows = |t: &Tensor| -> Vec<Vec<f32>> { (0..4).map(|i| to_vec(&t.f_select(0, i).unwrap()).unwrap()).collect() };
        let (who, face) = (rows(&set.condition), rows(&set.expression));
        assert!(who[0] == who[1] && who[2] == who[3] && who[0] != who[2]);
        assert!(face[0] != face[1] || rows(&set.angles)[0] != rows(&set.angles)[1]);
    }

    #[test]
    fn smaller_batches_are_averages_with_labels_no_finer_than_their_pixels() {
        let set = HeadSet::render(2, 64, 3, None, &Silent).unwrap();
        let [full, half, quarter] = [64, 32, 16].map(|side| set.pick(&[1], side, Device::Cpu).unwrap());
        assert_eq!((half.images.size(), half.labels.size()), (vec![1, 3, 32, 32], vec![1, 32, 32]));
        assert_eq!((quarter.images.size(), quarter.labels.size()), (vec![1, 3, 16, 16], vec![1, 16, 16]));
        let mean = |b: &Batch| b.images.average().unwrap().value().unwrap();
        assert!((mean(&full) - mean(&half)).abs() < 1e-5, "averages keep the mean");
        assert_eq!(full.labels.int64_value(&[0, 8, 12]), half.labels.int64_value(&[0, 8, 12]));
        assert_eq!(full.labels.int64_value(&[0, 8, 12]), quarter.labels.int64_value(&[0, 4, 6]));
    }

    #[test]
    fn strength_zero_keeps_pictures_and_equal_seeds_film_equally() {
        let images = HeadSet::render(2, 32, 11, None, &Silent).unwrap().pick(&[0, 1], 32, Device::Cpu).unwrap().images;
        let values = |t: &Tensor| to_vec(t).unwrap();
        assert_eq!(values(&images), values(&film(&images, 7, 0.0).unwrap()));
        let filmed = film(&images, 7, 1.0).unwrap();
        assert_eq!(filmed.size(), images.size());
        assert_eq!(values(&filmed), values(&film(&images, 7, 1.0).unwrap()));
        assert_ne!(values(&filmed), values(&images));
    }

    #[test]
    fn half_size_labels_are_what_most_of_four_have_and_edges_stay_in_place() {
        assert_eq!(shrink_labels(&[1, 1, 2, 5, 1, 3, 2, 2, 7, 4, 6, 6, 4, 4, 6, 0], 2), [1, 2, 4, 6]);
        // Edges through the middle of cells go to either side equally often.
        let side = 32;
        for edge in [|x: usize, _: usize| x < 15, |x, _| x > 16, |_, y: usize| y < 15] {
            let labels: Vec<u8> = (0..side * side).map(|i| u8::from(edge(i % side, i / side))).collect();
            let share = |l: &[u8]| l.iter().map(|v| f64::from(*v)).sum::<f64>() / l.len() as f64;
            let (full, half) = (share(&labels), share(&shrink_labels(&labels, side / 2)));
            assert!((full - half).abs() < 0.004, "{full} {half}");
        }
    }
}
