//! Model of the levels of tuned weights: mostly zeros, unevenly spread over outputs, inputs and taps of a kernel.
//!
//! In: levels of a tensor, row-major, seen as outputs x inputs x taps. Out: bits through a [`BitCoder`]. Small contexts guess at
//! each bit, a mixer weighs the guesses. Source: docs/bitstream.md, "Identity: tuned weights".

use super::mixer::Mixer;
use super::range::{below_leading, check_levels, in_stretches, scale_class, Bit, BitCoder, RangeDecoder, RangeEncoder};
use crate::error::Result;
use std::collections::VecDeque;

/// Guesses at a bit.
const GUESSES: usize = 6;
/// Classes of a mean magnitude, half octaves from 1/64 on.
const CLASSES: usize = 24;
/// Contexts of the guess that has most.
const CONTEXTS: usize = CLASSES * CLASSES;
/// Bits of a magnitude's length that are mixed; the others have one model each.
const MIXED: usize = 3;
/// Most bits of a magnitude: those of [`MAX_LEVEL`].
const LENGTHS: usize = 15;

/// A tensor's shape as the model sees it: dimensions of size 1 in front are passed over, then come outputs, inputs and the
/// taps of a kernel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Grid {
    /// Size of the first dimension.
    pub outputs: usize,
    inputs: usize,
    taps: usize,
    /// Taps in a row of the kernel.
    width: usize,
}

impl Grid {
    /// Of a shape without zeros whose product is within the limits.
    pub(super) fn new(shape: &[usize]) -> Grid {
        let ones = shape.iter().take_while(|d| **d == 1).count();
        let rest = &shape[ones..];
        let size = |from: usize| rest.get(from..).map_or(1, |d| d.iter().product());
        let first = |from: usize| rest.get(from).copied().unwrap_or(1);
        Grid { outputs: first(0), inputs: first(1), taps: size(2), width: size(3) }
    }
}

/// Half-octave class of a mean in 1/256.
fn class(mean: u32) -> usize {
    scale_class(mean).saturating_sub(5).min(CLASSES - 1)
}

/// Where in a tensor the coder stands, and what the levels so far say. Means are in 1/256; all grow with what was coded.
struct Place {
    grid: Grid,
    output: usize,
    input: usize,
    tap: usize,
    /// Sum of the magnitudes of this kernel so far.
    sum: u32,
    /// Sums of the kernels before, the latest first, as many as there are inputs.
    sums: VecDeque<u32>,
    /// Running mean of each input over the outputs before.
    columns: Vec<u32>,
    /// Running mean along the output.
    row: u32,
}

/// What the guesses look at.
struct View {
    contexts: [usize; GUESSES],
    /// Class of the expected magnitude: selects the mixer.
    expected: usize,
    /// Context of the sign.
    signs: usize,
}

impl Place {
    fn new(grid: Grid) -> Place {
        Place { grid, output: 0, input: 0, tap: 0, sum: 0, sums: VecDeque::new(), columns: Vec::new(), row: 0 }
    }

    fn view(&mut self, values: &[i32], at: usize) -> View {
        let Grid { inputs, taps, width, .. } = self.grid;
        if self.columns.len() <= self.input {
            self.columns.push(0);
        }
        let level = |there: bool, distance: usize| if there { values[at - distance] } else { 0 };
        let left = level(!self.tap.is_multiple_of(width), 1);
        let up = level(self.tap >= width, width);
        let before = level(self.input > 0, taps);
        let above = level(self.output > 0, taps.saturating_mul(inputs));
        let sums = |there: bool, distance: usize| if there { self.sums[distance - 1] } else { 0 };
        let per_tap = |sum: u32| class((u64::from(sum) * 256 / taps as u64) as u32);
        let few = |v: i32| v.unsigned_abs().min(3);
        let near = few(left) + few(up) + few(before) + few(above);
        let here = (u64::from(self.sum) * 256 / self.tap.max(1) as u64) as u32;
        let (column, row) = (self.columns[self.input], self.row);
        let expected = class((2 * column + 2 * row + 2 * here + 256 * (few(before) + few(above))) / 8);
        let contexts = [
            class(column) * CLASSES + class(row),
            (few(left) * 4 + few(up)) as usize * CLASSES + class(here),
            (few(before) as usize * 2 + self.tap % 2) * CLASSES + per_tap(sums(self.input > 0, 1)),
            few(above) as usize * CLASSES + per_tap(sums(self.output > 0, inputs)),
            class(row) * 16 + self.tap.min(15),
            expected * 13 + near as usize,
        ];
        let sign = |v: i32| (v.signum() + 1) as usize;
        View { contexts, expected, signs: (sign(left) * 3 + sign(before)) * 3 + sign(above) }
    }

    fn step(&mut self, magnitude: u32) {
        let Grid { inputs, taps, .. } = self.grid;
        self.sum = self.sum.saturating_add(magnitude);
        self.row = (self.row * 63 + magnitude * 256 + 32) >> 6;
        self.tap += 1;
        if self.tap < taps {
            return;
        }
        let mean = (u64::from(self.sum) * 256 / taps as u64) as u32;
        let column = &mut self.columns[self.input];
        *column = (*column * 15 + mean + 8) >> 4;
        self.sums.truncate(inputs - 1);
        self.sums.push_front(self.sum);
        (self.sum, self.tap, self.input) = (0, 0, self.input + 1);
        if self.input == inputs {
            (self.input, self.output) = (0, self.output + 1);
            let all: u64 = self.columns.iter().map(|c| u64::from(*c)).sum();
            self.row = ((u64::from(self.row) + all / inputs as u64) / 2) as u32;
        }
    }
}

/// The adaptive state, which lives on from tensor to tensor.
pub(super) struct SparseModel {
    guesses: [Vec<Bit>; GUESSES],
    mixers: Vec<Mixer<GUESSES>>,
    long: [Bit; LENGTHS],
    mantissa: [[Bit; 4]; LENGTHS + 1],
    sign: [Bit; 27],
}

impl Default for SparseModel {
    fn default() -> Self {
        SparseModel {
            guesses: std::array::from_fn(|_| vec![Bit::default(); MIXED * CONTEXTS]),
            mixers: vec![Mixer::default(); MIXED * CLASSES],
            long: Default::default(),
            mantissa: Default::default(),
            sign: [Bit::default(); 27],
        }
    }
}

impl SparseModel {
    /// Codes `values[at]`, which a decoder stores there.
    fn code<C: BitCoder>(&mut self, coder: &mut C, values: &mut [i32], at: usize, place: &mut Place) {
        let view = place.view(values, at);
        let value = values[at];
        let magnitude = self.magnitude(coder, &view, value.unsigned_abs());
        let negative = magnitude > 0 && coder.bit(&mut self.sign[view.signs], value < 0);
        values[at] = if negative { -(magnitude as i32) } else { magnitude as i32 };
        place.step(magnitude);
    }

    fn magnitude<C: BitCoder>(&mut self, coder: &mut C, view: &View, magnitude: u32) -> u32 {
        let wanted = (u32::BITS - magnitude.leading_zeros()) as usize;
        let mut length = 0;
        while length < LENGTHS {
            let longer = if length < MIXED {
                let mut contexts = view.contexts.iter();
                let guesses = self.guesses.each_mut().map(|bits| {
                    let context = contexts.next().expect("as many contexts as guesses");
                    &mut bits[length * CONTEXTS + context]
                });
                self.mixers[length * CLASSES + view.expected].code(coder, guesses, wanted > length)
            } else {
                coder.bit(&mut self.long[length], wanted > length)
            };
            if !longer {
                break;
            }
            length += 1;
        }
        below_leading(coder, &mut self.mantissa[length], length, magnitude)
    }

    /// All levels of a tensor.
    ///
    /// # Errors
    /// Misuse for magnitudes over [`MAX_LEVEL`].
    pub(super) fn encode(&mut self, coder: &mut RangeEncoder, values: &[i32], grid: Grid) -> Result<()> {
        check_levels(values)?;
        let (mut values, mut place) = (values.to_vec(), Place::new(grid));
        for at in 0..values.len() {
            self.code(coder, &mut values, at, &mut place);
        }
        Ok(())
    }

    /// `count` levels, which must have been compared with their limit.
    ///
    /// # Errors
    /// Malformed if the bytes end too early.
    pub(super) fn decode(&mut self, coder: &mut RangeDecoder<'_>, count: usize, grid: Grid) -> Result<Vec<i32>> {
        let mut place = Place::new(grid);
        in_stretches(coder, count, |coder, values, at| self.code(coder, values, at, &mut place))
    }
}

#[cfg(test)]
mod tests {
    use super::super::range::tests::splitmix;
    use super::super::range::MAX_LEVEL;
    use super::*;

    fn coded(tensors: &[(Vec<usize>, Vec<i32>)]) -> usize {
        let (mut coder, mut model) = (RangeEncoder::default(), SparseModel::default());
        for (shape, values) in tensors {
            model.encode(&mut coder, values, Grid::new(shape)).unwrap();
        }
        let bytes = coder.finish();
        let (mut coder, mut model) = (RangeDecoder::new(&bytes), SparseModel::default());
        for (shape, values) in tensors {
            assert_eq!(model.decode(&mut coder, values.len(), Grid::new(shape)).unwrap(), *values, "{shape:?}");
        }
        coder.finish().unwrap();
        bytes.len()
    }

    #[test]
    fn a_grid_passes_over_leading_ones() {
        let grid = |outputs, inputs, taps, width| Grid { outputs, inputs, taps, width };
        assert_eq!(Grid::new(&[1, 64, 32, 3, 3]), grid(64, 32, 9, 3));
        assert_eq!(Grid::new(&[64, 32, 3, 3]), grid(64, 32, 9, 3));
        assert_eq!(Grid::new(&[1, 3, 32, 1, 1]), grid(3, 32, 1, 1));
        assert_eq!(Grid::new(&[7]), grid(7, 1, 1, 1));
        assert_eq!(Grid::new(&[1, 1]), grid(1, 1, 1, 1));
    }

    #[test]
    fn tensors_of_any_shape_and_magnitude_round_trip_one_after_the_other() {
        let shapes: [&[usize]; 8] =
            [&[1], &[5], &[1, 7], &[3, 1, 2], &[6, 4, 3, 3], &[1, 9, 5, 3, 3], &[2, 3, 4, 5], &[2, 1, 1, 70]];
        let mut state = 3;
        for case in 0..100 {
            let tensors: Vec<(Vec<usize>, Vec<i32>)> = (0..4)
                .map(|_| {
                    let shape = shapes[splitmix(&mut state) as usize % shapes.len()].to_vec();
                    let shift = (case + splitmix(&mut state) as usize % 3) % 17;
                    let count: usize = shape.iter().product();
                    let level = |state: &mut u64| {
                        let size = (splitmix(state) as i32 & MAX_LEVEL) >> shift.min(15);
                        if splitmix(state) & 1 == 0 {
                            size
                        } else {
                            -size
                        }
                    };
                    (shape, (0..count).map(|_| level(&mut state)).collect())
                })
                .collect();
            coded(&tensors);
        }
        let too_large = SparseModel::default().encode(&mut RangeEncoder::default(), &[MAX_LEVEL + 1], Grid::new(&[1]));
        assert!(matches!(too_large, Err(crate::Error::Misuse(_))));
    }

    #[test]
    fn zeros_that_keep_to_inputs_outputs_and_kernels_cost_less_than_their_entropy() {
        // A level is not zero with a chance that is the product of its input's and its output's.
        let (outputs, inputs, mut state) = (64, 64, 5);
        let mut unit = || (splitmix(&mut state) >> 40) as f64 / (1u64 << 24) as f64;
        let columns: Vec<f64> = (0..inputs).map(|_| 0.7 * unit().powi(3)).collect();
        let mut values: Vec<i32> = Vec::new();
        let mut exact = 0.0;
        for _ in 0..outputs {
            let row = unit();
            for column in &columns {
                for _ in 0..9 {
                    let chance = column * row;
                    let alive = unit() < chance;
                    // The sign costs one bit more.
                    exact -= if alive { chance.log2() - 1.0 } else { (1.0 - chance).log2() };
                    values.push(if !alive {
                        0
                    } else if unit() < 0.5 {
                        1
                    } else {
                        -1
                    });
                }
            }
        }
        let count = |v: i32| values.iter().filter(|x| x.signum() == v).count() as f64;
        let flat: f64 = [-1, 0, 1].iter().map(|v| -count(*v) * (count(*v) / values.len() as f64).log2()).sum();
        let bits = 8.0 * coded(&[(vec![outputs, inputs, 3, 3], values)]) as f64;
        println!("{bits} bits, without contexts {flat}, knowing all chances {exact}");
        assert!(bits < 0.93 * flat && bits < 1.12 * exact);
    }

    #[test]
    fn a_still_tensor_of_a_million_zeros_costs_next_to_nothing() {
        assert!(coded(&[(vec![1000, 100, 10], vec![0; 1_000_000])]) < 150);
    }

    #[test]
    fn a_claim_of_many_levels_over_few_bytes_ends_early() {
        for bytes in [&[][..], &[0xff; 16], &[0x00; 16], &[0x80; 16]] {
            for shape in [&[1 << 40][..], &[1, 1 << 40], &[1, 1, 1 << 40], &[1 << 20, 1 << 10, 1 << 10]] {
                let mut coder = RangeDecoder::new(bytes);
                // 2^40 levels would need terabytes if the claim were believed.
                assert!(SparseModel::default().decode(&mut coder, 1 << 40, Grid::new(shape)).is_err());
            }
        }
    }
}
