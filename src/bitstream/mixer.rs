//! Several guesses at one bit, mixed in the logistic domain by weights that learn. Integers only.
//!
//! In: the chances of some [`Bit`] models. Out: one chance. Source: M. Mahoney, "Adaptive weighing of context models for lossless
//! data compression", 2005; docs/bitstream.md, "Mixed bits".

use super::range::{Bit, BitCoder};

/// Logits ln(p / (1 - p)), in 1/256, are kept within this either way.
const FAR: i32 = 2047;
/// Weight 1. Weights stay within four times this.
const ONE: i32 = 1 << 16;

/// 65536 / (1 + e^-x) for x = -8, -7.5, ..., 8, rounded.
const LOGISTIC: [i32; 33] = [
    22, 36, 60, 98, 162, 267, 439, 720, 1179, 1921, 3108, 4971, 7812, 11955, 17625, 24743, 32768, 40793, 47911, 53581, 57724,
    60565, 62428, 63615, 64357, 64816, 65097, 65269, 65374, 65438, 65476, 65500, 65514,
];

/// The chance in 1/65536 of a logit in 1/256: straight lines between the points of [`LOGISTIC`].
const fn squash(logit: i32) -> i32 {
    let logit = if logit > FAR {
        FAR
    } else if logit < -FAR {
        -FAR
    } else {
        logit
    };
    let place = logit + 2048;
    let (cell, part) = ((place >> 7) as usize, place & 127);
    LOGISTIC[cell] + (((LOGISTIC[cell + 1] - LOGISTIC[cell]) * part + 64) >> 7)
}

/// Inverse of [`squash`] by the upper 12 bits of a chance: the smallest logit that reaches the middle of the cell.
static LOGITS: [i16; 4096] = {
    let mut logits = [0; 4096];
    let (mut logit, mut cell) = (-FAR, 0);
    while cell < 4096 {
        let middle = cell as i32 * 16 + 8;
        while logit < FAR && squash(logit) < middle {
            logit += 1;
        }
        logits[cell] = logit as i16;
        cell += 1;
    }
    logits
};

/// Weights for `N` guesses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mixer<const N: usize>([i32; N]);

impl<const N: usize> Default for Mixer<N> {
    fn default() -> Self {
        // Together 2 for six guesses: several that agree are surer than one.
        Mixer([ONE / 3; N])
    }
}

impl<const N: usize> Mixer<N> {
    fn logits(guesses: &[&mut Bit; N]) -> [i32; N] {
        std::array::from_fn(|i| i32::from(LOGITS[(guesses[i].chance16() >> 4) as usize]))
    }

    fn mixed(&self, logits: &[i32; N]) -> i32 {
        let sum: i64 = self.0.iter().zip(logits).map(|(w, l)| i64::from(*w) * i64::from(*l)).sum();
        squash((sum >> 16).clamp(-i64::from(FAR), i64::from(FAR)) as i32)
    }

    /// One bit under the mixture; guesses and weights learn.
    pub(super) fn code<C: BitCoder>(&mut self, coder: &mut C, mut guesses: [&mut Bit; N], bit: bool) -> bool {
        let logits = Self::logits(&guesses);
        let mixed = self.mixed(&logits);
        let bit = coder.chance(mixed as u32, bit);
        let error = (i32::from(bit) << 16) - mixed;
        for (w, l) in self.0.iter_mut().zip(logits) {
            *w = (*w + ((l * (error >> 3) + (1 << 12)) >> 13)).clamp(-4 * ONE, 4 * ONE);
        }
        guesses.iter_mut().for_each(|g| g.learn(bit));
        bit
    }
}

#[cfg(test)]
mod tests {
    use super::super::range::{BitCounter, RangeDecoder, RangeEncoder};
    use super::*;

    #[test]
    fn the_logistic_curve_rises_and_its_inverse_is_the_first_logit_to_reach_a_chance() {
        for (i, value) in LOGISTIC.iter().enumerate() {
            let exact = 65_536.0 / (1.0 + (-(i as f64 - 16.0) / 2.0).exp());
            assert_eq!(*value, exact.round() as i32);
        }
        for logit in -FAR..FAR {
            assert!(squash(logit) <= squash(logit + 1) && squash(logit) >= 1 && squash(logit + 1) <= 65_535, "{logit}");
        }
        for (cell, logit) in LOGITS.iter().enumerate() {
            let (logit, middle) = (i32::from(*logit), cell as i32 * 16 + 8);
            assert!(logit == FAR || squash(logit) >= middle, "{cell}: {logit}");
            assert!(logit == -FAR || squash(logit - 1) < middle, "{cell}: {logit}");
        }
    }

    /// Bits that the first of two models knows all about and the second nothing.
    fn story() -> Vec<(usize, bool)> {
        let mut state = 1u64;
        let mut draw = || {
            state = state.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
            state >> 33
        };
        (0..20_000).map(|_| (draw() as usize % 2, draw())).map(|(c, noise)| (c, (noise % 50 == 0) ^ (c == 1))).collect()
    }

    fn told<C: BitCoder>(coder: &mut C, story: &[(usize, bool)]) -> Vec<bool> {
        let (mut knowing, mut blind, mut mixer) = ([Bit::default(); 2], Bit::default(), Mixer::<2>::default());
        story.iter().map(|(c, bit)| mixer.code(coder, [&mut knowing[*c], &mut blind], *bit)).collect()
    }

    #[test]
    fn a_mixture_learns_whom_to_trust_and_comes_back_bit_for_bit() {
        let story = story();
        let (mut counter, mut encoder) = (BitCounter::default(), RangeEncoder::default());
        told(&mut counter, &story);
        told(&mut encoder, &story);
        // 2 % of the bits are noise: 0.1414 bit each for who knows the context, 1 bit for who does not.
        assert!(counter.bits < 1.04 * 0.1414 * story.len() as f64, "{}", counter.bits);
        let bytes = encoder.finish();
        let blank: Vec<(usize, bool)> = story.iter().map(|(c, _)| (*c, false)).collect();
        let mut decoder = RangeDecoder::new(&bytes);
        let bits: Vec<bool> = story.iter().map(|(_, bit)| *bit).collect();
        assert_eq!(told(&mut decoder, &blank), bits);
        decoder.finish().unwrap();
    }
}
