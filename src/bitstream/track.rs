//! Prediction and context model of the coded parameters: integers only, so that every machine predicts the same.
//!
//! In: one level (value over its step) per track and frame. Out: bits through a [`BitCoder`], and back. A track is one of the 35
//! parameters or of the 3 numbers of the placement. Levels stay within [`MAX_CODED_LEVEL`] either way.
//! Source: docs/bitstream.md, "Coded payload". The predictor is chosen by what it would have cost so far (backward adaptation),
//! the usual way of lossless audio coders; the contexts are expected magnitudes, as in [`super::range::LevelModel`].

use std::sync::OnceLock;

use super::range::{scale_class, Bit, BitCoder, SCALES};

/// Largest magnitude of a coded level: exact in f32, and every placement fits at 1/16 pixel.
pub const MAX_CODED_LEVEL: i32 = 1 << 20;
/// Most tracks: 35 parameters and 3 numbers of the placement.
pub const MAX_TRACKS: usize = crate::params::PARAMS + 3;
/// Largest class of an expected magnitude.
pub const MAX_CLASS: u8 = SCALES as u8 - 1;

/// Bits of the largest residual, 2^21.
const LENGTHS: usize = 22;
/// Lengths whose bits below the leading one are modelled; longer residuals are rare.
const MODELLED: usize = 8;
/// Magnitudes count at most so much in averages, which keeps those below 2^23.
const MOST: u32 = 1 << 14;
/// Observations that the initial chances of the models are worth.
const TRUST: u8 = 24;
/// Weight of "as expected" in the activity of a frame, in 1/256 levels.
const CALM: u32 = 2048;

/// Predictions, in order of preference: the last level, both orders of extrapolation, the running mean.
const PREDICTORS: usize = 4;

/// What is known of one track.
#[derive(Clone, Copy, Debug)]
struct Track {
    /// Levels of the frame before and the one before that.
    last: [i32; 2],
    /// Running mean of the level in 1/256.
    mean: i32,
    /// Running mean magnitude of each predictor's error, in 1/256.
    errors: [u32; PREDICTORS],
    /// Sign of the last residual.
    sign: i32,
}

impl Track {
    fn predictions(&self) -> [i32; PREDICTORS] {
        let ([a, b], mean) = (self.last, (self.mean + 128) >> 8);
        let within = |v: i32| v.clamp(-MAX_CODED_LEVEL, MAX_CODED_LEVEL);
        [a, within(2 * a - b), within(a + ((a - b) >> 1)), mean]
    }

    fn learn(&mut self, predictions: &[i32; PREDICTORS], level: i32) {
        for (error, p) in self.errors.iter_mut().zip(predictions) {
            let miss = (level - p).unsigned_abs().min(MOST) << 8;
            *error = (*error * 15 + miss + 8) >> 4;
        }
        self.mean += ((level << 8) - self.mean) >> 4;
        self.last = [level, self.last[0]];
    }
}

/// Models of residuals, by class of the expected magnitude.
#[derive(Clone)]
struct Models {
    length: [[Bit; LENGTHS]; SCALES],
    mantissa: [[[Bit; 4]; MODELLED]; SCALES],
    sign: [Bit; 3],
}

/// The middle of a class of expected magnitudes, in 1/256 levels: inverse of `scale_class`.
pub(super) fn class_middle(class: usize) -> u32 {
    match class {
        0..=1 => 0,
        2..=3 => 1,
        // Two classes per octave, 1 to 1.5 and 1.5 to 2 times a power of two: 5/4 and 7/4 of it.
        _ => ((5 + 2 * (class as u32 & 1)) << (class as u32 / 2 - 1)) >> 2,
    }
}

/// Chances under a two-sided geometric distribution with the mean magnitude of the class.
///
/// With M the mean in 1/256 and t = (sqrt(256^2 + M^2) - 256) / M: P(0) = (1 - t) / (1 + t), and each further step of the magnitude has
/// chance t.
fn ratio(class: usize) -> u64 {
    // At least a sixteenth of a level: a lower mean says little before it has been confirmed.
    let m = u64::from(class_middle(class).clamp(16, MOST << 8));
    (((65_536 + m * m) << 16).isqrt() - (256 << 8)) * 256 / m
}

impl Models {
    fn fresh() -> &'static Models {
        static FRESH: OnceLock<Box<Models>> = OnceLock::new();
        FRESH.get_or_init(|| {
            let blank = Bit::default();
            let mut models =
                Models { length: [[blank; LENGTHS]; SCALES], mantissa: [[[blank; 4]; MODELLED]; SCALES], sign: [blank; 3] };
            for class in 0..SCALES {
                models.start(class);
            }
            Box::new(models)
        })
    }

    fn start(&mut self, class: usize) {
        let t = ratio(class);
        self.length[class][0] = Bit::expecting((2 * t * 65_536 / (65_536 + t)) as u32, TRUST);
        // The chance that a magnitude of at least 2^(k-1) reaches 2^k: t^(2^(k-1)).
        let mut powers = [t; LENGTHS];
        for k in 2..LENGTHS {
            powers[k] = (powers[k - 1] * powers[k - 1]) >> 16;
        }
        for (model, power) in self.length[class].iter_mut().zip(powers).skip(1) {
            *model = Bit::expecting(power as u32, TRUST);
        }
        for length in 2..MODELLED {
            // The upper half of the magnitudes of this length is 2^(length-2) steps up; a quarter half as many.
            let (half, quarter) = (powers[length - 1], powers[(length - 2).max(1)]);
            let chance = |p: u64| Bit::expecting((p * 65_536 / (65_536 + p)) as u32, TRUST);
            self.mantissa[class][length][1] = chance(half);
            self.mantissa[class][length][2] = chance(quarter);
            self.mantissa[class][length][3] = chance(quarter);
        }
    }

    fn magnitude<C: BitCoder>(&mut self, coder: &mut C, class: usize, magnitude: u32) -> u32 {
        let wanted = (u32::BITS - magnitude.leading_zeros()) as usize;
        let models = &mut self.length[class];
        let mut length = 0;
        while length < LENGTHS && coder.bit(&mut models[length], wanted > length) {
            length += 1;
        }
        if length < 2 {
            return length as u32;
        }
        let mut rest = length as u32 - 1;
        let mut value = 1;
        if length < MODELLED {
            let models = &mut self.mantissa[class][length];
            while rest > 0 && value < 4 {
                rest -= 1;
                value = value << 1 | u32::from(coder.bit(&mut models[value as usize], magnitude >> rest & 1 == 1));
            }
        }
        value << rest | coder.direct(magnitude & ((1 << rest) - 1), rest)
    }
}

/// Where a residual is coded: what the encoder may look at when it chooses a level.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// Number of the track.
    pub track: usize,
    /// Predicted level.
    pub prediction: i32,
    /// Expected magnitude of the residual, in 1/256 levels.
    pub expected: u32,
}

/// All tracks of a chain of frames.
#[derive(Clone)]
pub(super) struct Tracks {
    tracks: Vec<Track>,
    models: Box<Models>,
}

impl Tracks {
    /// So many tracks at level 0.
    pub fn new(count: usize) -> Self {
        let still = Track { last: [0; 2], mean: 0, errors: [0; PREDICTORS], sign: 0 };
        Tracks { tracks: vec![still; count], models: Box::new(Models::fresh().clone()) }
    }

    /// Goes on from `levels` as if nothing had moved before; residuals of the magnitudes `expected` (1/256 levels) are to come.
    pub fn begin_at(&mut self, levels: &[i32], expected: impl Iterator<Item = u32>) {
        for ((track, &level), expected) in self.tracks.iter_mut().zip(levels).zip(expected) {
            *track = Track { last: [level; 2], mean: level << 8, errors: [expected; PREDICTORS], sign: track.sign };
        }
    }

    /// Codes the levels of one frame. `choose` gives the encoder's level; a decoder's choice is not looked at. `None` if a
    /// level leaves its range, which only damaged data can do.
    pub fn frame<C: BitCoder>(&mut self, coder: &mut C, mut choose: impl FnMut(Place) -> i32) -> Option<Vec<i32>> {
        // What the residuals of this frame came to, and what was expected of them, in 1/256.
        let (mut seen, mut usual) = (CALM, CALM);
        let mut levels = Vec::with_capacity(self.tracks.len());
        for (i, track) in self.tracks.iter_mut().enumerate() {
            let predictions = track.predictions();
            let best = (0..PREDICTORS).min_by_key(|&k| track.errors[k]).unwrap_or(0);
            let (prediction, own) = (predictions[best], track.errors[best]);
            let expected = (u64::from(own) * u64::from(seen) / u64::from(usual)).min(u64::from(MOST << 8)) as u32;
            let wanted = choose(Place { track: i, prediction, expected });
            let residual = self.models.residual(coder, expected, &mut track.sign, wanted - prediction);
            let level = prediction + residual;
            if !(-MAX_CODED_LEVEL..=MAX_CODED_LEVEL).contains(&level) {
                return None;
            }
            // No track says much more than any other about how lively the frame is.
            seen += ((residual.unsigned_abs().min(MOST) << 8).min(4 * own + 1024)).min(MOST << 8);
            usual += own.min(MOST << 8);
            track.learn(&predictions, level);
            levels.push(level);
        }
        Some(levels)
    }
}

impl Models {
    fn residual<C: BitCoder>(&mut self, coder: &mut C, expected: u32, last: &mut i32, residual: i32) -> i32 {
        let magnitude = self.magnitude(coder, scale_class(expected), residual.unsigned_abs()) as i32;
        let negative = magnitude > 0 && coder.bit(&mut self.sign[(*last + 1) as usize], residual < 0);
        let residual = if negative { -magnitude } else { magnitude };
        *last = residual.signum();
        residual
    }
}

#[cfg(test)]
mod tests {
    use super::super::range::{BitCounter, RangeDecoder, RangeEncoder};
    use super::*;

    /// Levels of `frames` frames, by `level(frame, track)`, through encoder and decoder; their length in bytes.
    fn round_trip(frames: i32, level: impl Fn(i32, usize) -> i32) -> usize {
        let mut tracks = Tracks::new(MAX_TRACKS);
        let mut coder = RangeEncoder::default();
        for frame in 0..frames {
            tracks.frame(&mut coder, |place| level(frame, place.track)).unwrap();
        }
        let bytes = coder.finish();
        let mut tracks = Tracks::new(MAX_TRACKS);
        let mut coder = RangeDecoder::new(&bytes);
        for frame in 0..frames {
            let got = tracks.frame(&mut coder, |_| 0).unwrap();
            assert_eq!(got, (0..MAX_TRACKS).map(|i| level(frame, i)).collect::<Vec<_>>(), "frame {frame}");
        }
        coder.finish().unwrap();
        bytes.len()
    }

    #[test]
    fn a_still_face_costs_next_to_nothing() {
        // After the first frame 999 frames of 38 unchanged levels.
        let bytes = round_trip(1000, |_, i| i as i32 * 7 - 100) - round_trip(1, |_, i| i as i32 * 7 - 100);
        assert!(bytes < 90, "{bytes} bytes for 999 frames");
    }

    #[test]
    fn steady_movement_is_predicted() {
        let bytes = round_trip(500, |t, i| t * (i as i32 - 19));
        assert!(bytes < 500, "{bytes} bytes for 500 frames of 38 straight lines");
    }

    #[test]
    fn levels_jump_over_the_whole_range_and_come_back() {
        let most = MAX_CODED_LEVEL;
        round_trip(40, |t, i| [0, most, -most, 1, -1, most / 3][(t as usize * 5 + i * (i + 1)) % 6]);
    }

    #[test]
    fn damaged_bits_never_leave_the_range_of_levels() {
        let mut state = 1u64;
        for _ in 0..300 {
            let noise: Vec<u8> = (0..200)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    (state >> 56) as u8 | if state & 1 << 40 == 0 { 0 } else { 0xf0 }
                })
                .collect();
            let (mut tracks, mut coder) = (Tracks::new(MAX_TRACKS), RangeDecoder::new(&noise));
            for _ in 0..64 {
                let Some(levels) = tracks.frame(&mut coder, |_| 0) else { break };
                assert!(levels.iter().all(|level| level.unsigned_abs() <= MAX_CODED_LEVEL as u32));
            }
        }
    }

    #[test]
    fn classes_and_their_middles_agree() {
        for class in (4..SCALES).chain([0, 2]) {
            assert_eq!(scale_class(class_middle(class)), class);
        }
    }

    #[test]
    fn initial_chances_fit_geometric_residuals() {
        // Mean magnitudes of 1/4, 1, 4 and 16 levels: the entropy of the distribution against the fresh models, without learning.
        for (class, most) in [(14, 60), (18, 60), (22, 200), (26, 800)] {
            let mean: f64 = f64::from(class_middle(class)) / 256.0;
            let t: f64 = ((1.0 + mean * mean).sqrt() - 1.0) / mean;
            let (mut entropy, mut cost) = (0.0, 0.0);
            for value in -most..=most {
                let chance = (1.0 - t) / (1.0 + t) * t.powi(i32::abs(value));
                let mut counter = BitCounter::default();
                Models::fresh().clone().residual(&mut counter, class_middle(class), &mut 0, value);
                entropy -= chance * chance.log2();
                cost += chance * counter.bits;
            }
            assert!(cost < 1.01 * entropy + 0.02, "class {class}: {cost} bits, entropy {entropy}");
        }
    }
}
