//! Adaptive binary range coder, and the model that codes signed levels with it.
//!
//! In: bits with a [`Bit`] model each, or signed integers with a [`LevelModel`]. Out: bytes, and back.
//! Integers only: encoder and decoder agree on every machine. [`BitCoder`] is the one direction-neutral interface; writing,
//! reading and counting run the same model code. Source: G. N. N. Martin, "Range encoding", 1979, in its byte-wise form with
//! carry propagation; estimator of Krichevsky and Trofimov with a bounded memory. docs/bitstream.md, "Range coder".

use crate::error::{Error, Result};

/// Probabilities have this many bits inside a model.
const PRECISION: u32 = 24;
/// Observations after which a model's memory stops growing: it then follows the last few hundred bits.
const MEMORY: u8 = 254;
/// A coded probability keeps this distance from 0 and 1, in 1/65536: the cheapest bit costs 0.0007 bit.
const FLOOR: u32 = 32;
/// The range is renewed byte by byte when it falls below this.
const RENEW: u32 = 1 << 24;
/// Bytes a decoder may take past the end: the encoder leaves out trailing zeros of its last four bytes.
const TAIL: usize = 4;

/// Reciprocals 65536 / (n + 2) of the estimator's rate after n observations.
const RATES: [u32; MEMORY as usize + 1] = {
    let mut rates = [0; MEMORY as usize + 1];
    let mut n = 0;
    while n < rates.len() {
        rates[n] = 65_536 / (n as u32 + 2);
        n += 1;
    }
    rates
};

/// Adaptive estimate of the probability that a bit is true.
#[derive(Clone, Copy, Debug)]
pub struct Bit {
    /// Probability of true in 2^-24.
    chance: u32,
    /// Observations so far, up to [`MEMORY`].
    seen: u8,
}

impl Default for Bit {
    fn default() -> Self {
        Bit { chance: 1 << (PRECISION - 1), seen: 0 }
    }
}

impl Bit {
    /// A model that begins with `chance` of true in 1/65536, worth `seen` observations (at most 254).
    pub(super) fn expecting(chance: u32, seen: u8) -> Self {
        Bit { chance: chance.min(65_535) << (PRECISION - 16), seen: seen.min(MEMORY) }
    }

    pub(super) fn chance16(&self) -> u32 {
        (self.chance >> (PRECISION - 16)).clamp(FLOOR, (1 << 16) - FLOOR)
    }

    pub(super) fn learn(&mut self, bit: bool) {
        let target = if bit { 1i64 << PRECISION } else { 0 };
        let now = i64::from(self.chance);
        let step = ((target - now) * i64::from(RATES[self.seen as usize])) >> 16;
        self.chance = (now + step) as u32;
        self.seen = (self.seen + 1).min(MEMORY);
    }
}

/// One direction of binary coding. An encoder codes the given bit and returns it; a decoder ignores it and returns the coded one.
pub trait BitCoder {
    /// One bit under an adaptive model, which learns from it.
    fn bit(&mut self, model: &mut Bit, bit: bool) -> bool;
    /// One bit whose probability of true is `chance` in 1/65536, which must be 1 to 65535.
    fn chance(&mut self, chance: u32, bit: bool) -> bool;
    /// The `bits` low bits of `value`, high bit first, each with probability one half.
    fn direct(&mut self, value: u32, bits: u32) -> u32;
}

/// Writes bits to bytes.
pub struct RangeEncoder {
    low: u64,
    range: u32,
    /// Last byte not yet written, because a carry may still reach it; none before the first.
    held: Option<u8>,
    /// Bytes 0xff after the held one, which a carry would turn to 0.
    run: u64,
    out: Vec<u8>,
}

impl Default for RangeEncoder {
    fn default() -> Self {
        RangeEncoder { low: 0, range: u32::MAX, held: None, run: 0, out: Vec::new() }
    }
}

impl RangeEncoder {
    fn split(&mut self, bound: u32, bit: bool) {
        if bit {
            self.range = bound;
        } else {
            self.low += u64::from(bound);
            self.range -= bound;
        }
        while self.range < RENEW {
            self.range <<= 8;
            self.shift();
        }
    }

    fn shift(&mut self) {
        let carry = (self.low >> 32) as u8;
        let top = (self.low >> 24) as u8;
        if carry == 0 && top == 0xff && self.held.is_some() {
            self.run += 1;
        } else {
            if let Some(held) = self.held {
                // The code value stays below 1, so a carry never leaves the first byte.
                self.out.push(held.wrapping_add(carry));
            }
            let filler = 0xffu8.wrapping_add(carry);
            self.out.extend((0..self.run).map(|_| filler));
            self.run = 0;
            self.held = Some(top);
        }
        self.low = (self.low & 0x00ff_ffff) << 8;
    }

    /// The bytes. Of the values that end the last interval the one with most trailing zeros is taken, and zeros among
    /// the last four bytes are left out.
    pub fn finish(mut self) -> Vec<u8> {
        let last = self.low + u64::from(self.range) - 1;
        let fits = |k: u32| (last >> k) << k;
        let zeros = (0..=32).rev().find(|&k| fits(k) >= self.low).unwrap_or(0);
        self.low = fits(zeros);
        for _ in 0..=TAIL {
            self.shift();
        }
        let least = self.out.len() - TAIL;
        while self.out.len() > least && self.out.last() == Some(&0) {
            self.out.pop();
        }
        self.out
    }
}

impl BitCoder for RangeEncoder {
    fn bit(&mut self, model: &mut Bit, bit: bool) -> bool {
        self.chance(model.chance16(), bit);
        model.learn(bit);
        bit
    }

    fn chance(&mut self, chance: u32, bit: bool) -> bool {
        self.split((self.range >> 16) * chance, bit);
        bit
    }

    fn direct(&mut self, value: u32, bits: u32) -> u32 {
        for i in (0..bits).rev() {
            self.split(self.range >> 1, value >> i & 1 == 1);
        }
        value
    }
}

/// Reads bits from bytes. Past the end it sees zeros; [`RangeDecoder::check`] and [`RangeDecoder::finish`] tell.
pub struct RangeDecoder<'a> {
    bytes: &'a [u8],
    taken: usize,
    code: u32,
    range: u32,
}

impl<'a> RangeDecoder<'a> {
    /// Starts at the first of `bytes`, which end with the coded data.
    pub fn new(bytes: &'a [u8]) -> Self {
        let mut decoder = RangeDecoder { bytes, taken: 0, code: 0, range: u32::MAX };
        for _ in 0..4 {
            decoder.code = decoder.code << 8 | decoder.next();
        }
        if decoder.code == u32::MAX {
            // No encoder comes there: the code lies within the range. As good as too short.
            decoder.taken = bytes.len() + TAIL + 1;
        }
        decoder
    }

    fn next(&mut self) -> u32 {
        let byte = self.bytes.get(self.taken).copied().unwrap_or(0);
        self.taken += 1;
        u32::from(byte)
    }

    fn split(&mut self, bound: u32) -> bool {
        let bit = self.code < bound;
        if bit {
            self.range = bound;
        } else {
            self.code -= bound;
            self.range -= bound;
        }
        while self.range < RENEW {
            self.range <<= 8;
            self.code = self.code << 8 | self.next();
        }
        bit
    }

    /// Malformed if more bytes were needed than there are. Callers ask now and then, so that work stays in proportion to input.
    pub fn check(&self) -> Result<()> {
        if self.taken > self.bytes.len() + TAIL {
            return Err(Error::Malformed(format!("coded numbers: {} bytes end too early", self.bytes.len())));
        }
        Ok(())
    }

    /// After the last symbol: malformed if bytes are missing or left over.
    pub fn finish(self) -> Result<()> {
        self.check()?;
        if self.taken < self.bytes.len() {
            return Err(Error::Malformed(format!("coded numbers: {} bytes, only {} used", self.bytes.len(), self.taken)));
        }
        Ok(())
    }
}

impl BitCoder for RangeDecoder<'_> {
    fn bit(&mut self, model: &mut Bit, _bit: bool) -> bool {
        let bit = self.chance(model.chance16(), false);
        model.learn(bit);
        bit
    }

    fn chance(&mut self, chance: u32, _bit: bool) -> bool {
        self.split((self.range >> 16) * chance)
    }

    fn direct(&mut self, _value: u32, bits: u32) -> u32 {
        (0..bits).fold(0, |value, _| value << 1 | u32::from(self.split(self.range >> 1)))
    }
}

/// Counts the ideal length instead of writing: for choosing between codings.
#[derive(Default)]
pub struct BitCounter {
    /// Length so far, bits.
    pub bits: f64,
}

impl BitCoder for BitCounter {
    fn bit(&mut self, model: &mut Bit, bit: bool) -> bool {
        self.chance(model.chance16(), bit);
        model.learn(bit);
        bit
    }

    fn chance(&mut self, chance: u32, bit: bool) -> bool {
        let chance = f64::from(chance) / 65_536.0;
        self.bits -= if bit { chance } else { 1.0 - chance }.log2();
        bit
    }

    fn direct(&mut self, value: u32, bits: u32) -> u32 {
        self.bits += f64::from(bits);
        value
    }
}

/// Most bits of a level's magnitude.
const LEVEL_BITS: usize = 15;
/// Largest magnitude a [`LevelModel`] codes.
pub const MAX_LEVEL: i32 = (1 << LEVEL_BITS) - 1;
/// Classes of the running mean magnitude: half octaves of 1/256.
pub(super) const SCALES: usize = 48;
/// Classes of the neighbours' magnitude against the running mean: smaller, alike, larger.
const NEARS: usize = 3;

/// Where the already coded neighbours of a level are.
#[derive(Clone, Copy, Debug)]
pub struct Strides {
    /// Distance to the same place in the previous inner block (kernel tap), at least 1.
    pub inner: usize,
    /// Distance to the same place in the previous row (output channel), at least 1.
    pub row: usize,
}

/// Adaptive model of signed levels up to [`MAX_LEVEL`]: length of the magnitude in unary, the two bits below its leading
/// bit adaptively, further bits directly, sign. Contexts come from the running mean and from neighbours.
pub struct LevelModel {
    length: Vec<[Bit; LEVEL_BITS]>,
    mantissa: Vec<[[Bit; 4]; LEVEL_BITS + 1]>,
    sign: [Bit; 9],
    /// Running mean magnitude in 1/256.
    mean: u32,
}

impl Default for LevelModel {
    fn default() -> Self {
        LevelModel {
            length: vec![Default::default(); SCALES * NEARS],
            mantissa: vec![Default::default(); SCALES],
            sign: Default::default(),
            mean: 0,
        }
    }
}

impl LevelModel {
    /// Codes `values[at]`; a decoder stores it there. `values[..at]` are the levels already coded.
    /// Magnitudes above [`MAX_LEVEL`] must have been refused before.
    pub fn code<C: BitCoder>(&mut self, coder: &mut C, values: &mut [i32], at: usize, strides: Strides) {
        let back = |distance: usize| at.checked_sub(distance).map_or(0, |i| values[i]);
        let (left, block, row) = (back(1), back(strides.inner), back(strides.row));
        let near = left.unsigned_abs() + block.unsigned_abs() + 2 * row.unsigned_abs();
        // `near` counts four neighbours: in units of the mean, 64 per one of them.
        let near = match near * 64 {
            n if 2 * n < self.mean => 0,
            n if n < 2 * self.mean => 1,
            _ => 2,
        };
        let scale = scale_class(self.mean);
        let value = values[at];
        let magnitude = self.magnitude(coder, scale, near, value.unsigned_abs());
        let negative = magnitude > 0 && {
            let context = (left.signum() + 1) * 3 + row.signum() + 1;
            coder.bit(&mut self.sign[context as usize], value < 0)
        };
        values[at] = if negative { -(magnitude as i32) } else { magnitude as i32 };
        self.mean = (self.mean * 15 + magnitude * 256 + 8) >> 4;
    }

    fn magnitude<C: BitCoder>(&mut self, coder: &mut C, scale: usize, near: usize, magnitude: u32) -> u32 {
        let wanted = (u32::BITS - magnitude.leading_zeros()) as usize;
        let models = &mut self.length[scale * NEARS + near];
        let mut length = 0;
        while length < LEVEL_BITS && coder.bit(&mut models[length], wanted > length) {
            length += 1;
        }
        below_leading(coder, &mut self.mantissa[scale][length], length, magnitude)
    }
}

/// A magnitude of `length` bits, which are known: those below the leading one, high first, two of them with models.
pub(super) fn below_leading<C: BitCoder>(coder: &mut C, models: &mut [Bit; 4], length: usize, magnitude: u32) -> u32 {
    if length < 2 {
        return length as u32;
    }
    let mut rest = length as u32 - 1;
    let mut value = 1;
    while rest > 0 && value < 4 {
        rest -= 1;
        value = value << 1 | u32::from(coder.bit(&mut models[value as usize], magnitude >> rest & 1 == 1));
    }
    value << rest | coder.direct(magnitude & ((1 << rest) - 1), rest)
}

/// Half-octave class of a running mean (at most 2^23): twice the bit length, plus the bit below the leading one.
pub(super) fn scale_class(mean: u32) -> usize {
    let length = u32::BITS - mean.leading_zeros();
    let half = if length >= 2 { mean >> (length - 2) & 1 } else { 0 };
    ((2 * length + half) as usize).min(SCALES - 1)
}

/// All of `values` through one model; a decoder fills them in. Decoders check as they go.
pub(super) fn encode_levels(coder: &mut RangeEncoder, model: &mut LevelModel, values: &[i32], strides: Strides) -> Result<()> {
    check_levels(values)?;
    let mut values = values.to_vec();
    for at in 0..values.len() {
        model.code(coder, &mut values, at, strides);
    }
    Ok(())
}

/// Misuse for magnitudes over [`MAX_LEVEL`].
pub(super) fn check_levels(values: &[i32]) -> Result<()> {
    match values.iter().find(|v| v.unsigned_abs() > MAX_LEVEL as u32) {
        Some(v) => Err(Error::Misuse(format!("level {v}: magnitudes up to {MAX_LEVEL} can be coded"))),
        None => Ok(()),
    }
}

/// `count` levels, which `code` stores at their index, one after the other. Memory is taken as they come, so that a block that ends too early
/// costs no more than it holds; a byte of zeros may stand for thousands of levels, so `count` must have been compared with its limit.
pub(super) fn in_stretches(
    coder: &mut RangeDecoder<'_>,
    count: usize,
    mut code: impl FnMut(&mut RangeDecoder<'_>, &mut [i32], usize),
) -> Result<Vec<i32>> {
    const STRETCH: usize = 4096;
    let mut values = Vec::new();
    while values.len() < count {
        let from = values.len();
        values.resize(count.min(from + STRETCH), 0);
        for at in from..values.len() {
            code(coder, &mut values, at);
        }
        coder.check()?;
    }
    Ok(values)
}

/// Inverse of [`encode_levels`]; see [`in_stretches`] for `count`.
pub(super) fn decode_levels(
    coder: &mut RangeDecoder<'_>,
    model: &mut LevelModel,
    count: usize,
    strides: Strides,
) -> Result<Vec<i32>> {
    in_stretches(coder, count, |coder, values, at| model.code(coder, values, at, strides))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::bitstream) fn splitmix(state: &mut u64) -> u64 {
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn unit(state: &mut u64) -> f64 {
        (splitmix(state) >> 11) as f64 / (1u64 << 53) as f64
    }

    fn entropy(values: &[i32]) -> f64 {
        let mut counts = std::collections::BTreeMap::new();
        values.iter().for_each(|v| *counts.entry(*v).or_insert(0.0) += 1.0);
        let n = values.len() as f64;
        counts.values().map(|c: &f64| -c * (c / n).log2()).sum::<f64>()
    }

    #[test]
    fn bits_of_any_skew_round_trip_and_the_counter_agrees() {
        let mut state = 1;
        for chance in [0.0, 0.001, 0.05, 0.5, 0.9, 1.0] {
            for n in [0, 1, 2, 7, 100, 5000] {
                let bits: Vec<bool> = (0..n).map(|_| unit(&mut state) < chance).collect();
                let (mut enc, mut count) = (RangeEncoder::default(), BitCounter::default());
                let (mut m, mut c) = (Bit::default(), Bit::default());
                for &b in &bits {
                    enc.bit(&mut m, b);
                    enc.direct(u32::from(b) * 5, 3);
                    count.bit(&mut c, b);
                    count.direct(0, 3);
                }
                let bytes = enc.finish();
                let slack = 8.0 * bytes.len() as f64 - count.bits;
                assert!((-1.0..=12.0 + count.bits * 0.002).contains(&slack), "{chance} {n}: {slack}");
                let mut dec = RangeDecoder::new(&bytes);
                let mut m = Bit::default();
                for &b in &bits {
                    assert_eq!(dec.bit(&mut m, false), b);
                    assert_eq!(dec.direct(0, 3), u32::from(b) * 5);
                }
                dec.finish().unwrap();
            }
        }
    }

    #[test]
    fn carries_run_through_held_bytes() {
        // Many seeds of direct bits near all ones: long runs of 0xff with carries behind them.
        for seed in 0..500 {
            let mut state = seed;
            let words: Vec<u32> = (0..60)
                .map(|_| if splitmix(&mut state).trailing_zeros() > 2 { splitmix(&mut state) as u32 } else { 0 })
                .collect();
            let mut enc = RangeEncoder::default();
            let mut models = [Bit::default(); 4];
            for w in &words {
                enc.bit(&mut models[(w & 3) as usize], w & 4 == 0);
                enc.direct(*w, 32);
            }
            let bytes = enc.finish();
            let mut dec = RangeDecoder::new(&bytes);
            let mut models = [Bit::default(); 4];
            for w in &words {
                assert_eq!(dec.bit(&mut models[(w & 3) as usize], false), w & 4 == 0);
                assert_eq!(dec.direct(0, 32), *w);
            }
            dec.finish().unwrap();
        }
    }

    #[test]
    fn skewed_levels_cost_at_most_three_per_cent_over_their_entropy() {
        let strides = Strides { inner: 9, row: 576 };
        for (seed, spread) in [(1u64, 0.3), (2, 0.6), (3, 2.0), (4, 12.0), (5, 60.0)] {
            let mut state = seed;
            // Two-sided exponential, the shape of weight differences.
            let values: Vec<i32> = (0..200_000)
                .map(|_| {
                    let sign = if unit(&mut state) < 0.5 { -1.0 } else { 1.0 };
                    (sign * -spread * (1.0 - unit(&mut state)).ln()).round() as i32
                })
                .collect();
            let mut enc = RangeEncoder::default();
            encode_levels(&mut enc, &mut LevelModel::default(), &values, strides).unwrap();
            let bytes = enc.finish();
            let ratio = 8.0 * bytes.len() as f64 / entropy(&values);
            println!("spread {spread}: {:.3} bits per level, {ratio:.4} of the entropy", 8.0 * bytes.len() as f64 / 2e5);
            assert!(ratio < 1.03, "{spread}: {ratio}");
            let mut dec = RangeDecoder::new(&bytes);
            assert_eq!(decode_levels(&mut dec, &mut LevelModel::default(), values.len(), strides).unwrap(), values);
            dec.finish().unwrap();
        }
    }

    #[test]
    fn extreme_levels_and_changing_scales_round_trip() {
        let mut state = 9;
        let strides = Strides { inner: 1, row: 7 };
        for _ in 0..200 {
            let n = splitmix(&mut state) % 300;
            let values: Vec<i32> = (0..n)
                .map(|_| {
                    let shift = splitmix(&mut state) % 16;
                    let m = (splitmix(&mut state) as i32 & MAX_LEVEL) >> shift;
                    if splitmix(&mut state) & 1 == 0 {
                        m
                    } else {
                        -m
                    }
                })
                .chain([MAX_LEVEL, -MAX_LEVEL, 0])
                .collect();
            let mut enc = RangeEncoder::default();
            encode_levels(&mut enc, &mut LevelModel::default(), &values, strides).unwrap();
            let bytes = enc.finish();
            let mut dec = RangeDecoder::new(&bytes);
            assert_eq!(decode_levels(&mut dec, &mut LevelModel::default(), values.len(), strides).unwrap(), values);
            dec.finish().unwrap();
        }
        assert!(encode_levels(&mut RangeEncoder::default(), &mut LevelModel::default(), &[MAX_LEVEL + 1], strides).is_err());
    }

    #[test]
    fn a_claim_of_many_levels_over_few_bytes_ends_early() {
        for bytes in [&[][..], &[0xff; 16], &[0x00; 16], &[0x80; 16]] {
            let mut dec = RangeDecoder::new(bytes);
            let strides = Strides { inner: 1, row: 1 };
            // 2^40 levels would need terabytes if the claim were believed.
            assert!(decode_levels(&mut dec, &mut LevelModel::default(), 1 << 40, strides).is_err());
        }
    }
}
