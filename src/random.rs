//! The source of randomness of encoders, and of what the trainer draws its heads and clips by: each has a sequence of its own, so that what it gives depends on its seed
//! and not on what else the process computes. libtorch has one sequence for all threads.

use crate::error::Result;
use crate::net::ops::from_vec;
use tch::{Device, Tensor};

/// SplitMix64.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// A generator that depends on `seed` only. Seeds that differ by a few times 9E3779B97F4A7C15 hex, its step, give the same sequence, shifted.
    pub fn new(seed: u64) -> Self {
        Rng(seed)
    }

    /// The seed of a generator that goes on as this one does.
    pub fn state(&self) -> u64 {
        self.0
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Uniform in 0..1.
    pub fn unit(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / 16_777_216.0
    }

    /// Uniform in `0..below`, which is not 0.
    pub fn index(&mut self, below: usize) -> usize {
        (self.bits() >> 32) as usize % below
    }

    /// Uniform in `low..high`.
    #[cfg(feature = "train")]
    pub fn range(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// Normal, mean 0 and deviation 1 (sum of twelve uniform numbers).
    pub fn normal(&mut self) -> f32 {
        (0..12).map(|_| self.unit()).sum::<f32>() - 6.0
    }

    /// [`Rng::unit`] for each element of `shape`.
    pub(crate) fn units(&mut self, shape: &[i64], device: Device) -> Result<Tensor> {
        self.tensor(shape, device, Rng::unit)
    }

    /// [`Rng::normal`] for each element of `shape`.
    pub(crate) fn normals(&mut self, shape: &[i64], device: Device) -> Result<Tensor> {
        self.tensor(shape, device, Rng::normal)
    }

    fn tensor(&mut self, shape: &[i64], device: Device, draw: fn(&mut Rng) -> f32) -> Result<Tensor> {
        let values: Vec<f32> = (0..shape.iter().product()).map(|_: i64| draw(self)).collect();
        from_vec(&values, shape, device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::ops::to_vec;

    #[test]
    fn tensors_are_spread_as_they_say_and_equal_for_equal_seeds() {
        let mut rng = Rng::new(7);
        let (units, normals) = (rng.units(&[50, 40], Device::Cpu).unwrap(), rng.normals(&[50, 40], Device::Cpu).unwrap());
        assert_eq!(to_vec(&units).unwrap(), to_vec(&Rng::new(7).units(&[50, 40], Device::Cpu).unwrap()).unwrap());
        assert_eq!(normals.size(), [50, 40]);
        for (tensor, mean, deviation) in [(units, 0.5, 1.0 / 12f32.sqrt()), (normals, 0.0, 1.0)] {
            let values = to_vec(&tensor).unwrap();
            let average = values.iter().sum::<f32>() / 2000.0;
            let variance = values.iter().map(|v| (v - average).powi(2)).sum::<f32>() / 2000.0;
            assert!((average - mean).abs() < 0.08 * deviation, "{average}");
            assert!((variance.sqrt() / deviation - 1.0).abs() < 0.06, "{variance}");
        }
    }

    #[test]
    fn an_index_is_below_its_bound_and_takes_all_places() {
        let mut rng = Rng::new(1);
        let mut taken = [0; 5];
        (0..500).for_each(|_| taken[rng.index(5)] += 1);
        assert!(taken.iter().all(|n| (60..140).contains(n)), "{taken:?}");
    }
}
