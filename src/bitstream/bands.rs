//! Model of the levels of a residual picture, or of a field of displacements: wavelet coefficients, nearly all of them zero.
//!
//! In: levels of three colour planes in pyramid order, and those of the picture before. Out: bits through a [`BitCoder`], coarse bands first.
//! Small contexts (neighbours, the coarser band, the picture before, the planes before) guess at each bit, a mixer weighs the guesses. Source: docs/bitstream.md, "Residual".

use super::mixer::Mixer;
use super::range::{below_leading, check_levels, Bit, BitCoder, RangeDecoder, RangeEncoder};
use crate::error::Result;

/// Colour planes of a picture.
pub(crate) const PLANES: usize = 3;
/// Largest side of a plane.
pub(crate) const MAX_SIDE: usize = 256;
/// Sides up to this are not split further.
const COARSEST: usize = 8;
/// Guesses at a bit, and the contexts of each.
const GUESSES: usize = 4;
const CONTEXTS: usize = 256;
/// Bits of a magnitude's length that are mixed; the others have one model each.
const MIXED: usize = 2;
/// Most bits of a magnitude.
const LENGTHS: usize = 15;
/// Scales that are told apart: of more, the coarsest share their models.
const SCALES: usize = 6;
/// Sets of models: per scale, luma and chroma.
const SETS: usize = 2 * SCALES;

/// A rectangle of the pyramid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Band {
    x: usize,
    y: usize,
    width: usize,
    height: usize,
    /// 0: smooth. 1, 2, 3: detail across, down and both.
    kind: usize,
    /// How often the sides were halved.
    level: usize,
}

/// How often planes of this side are split.
pub(crate) fn depth(side: usize) -> usize {
    let (mut side, mut depth) = (side, 0);
    while side > COARSEST {
        (side, depth) = (side.div_ceil(2), depth + 1);
    }
    depth
}

/// Number of bands of planes of this side.
pub(crate) fn band_count(side: usize) -> usize {
    1 + 3 * depth(side)
}

/// The bands, coarse ones first.
fn bands(side: usize) -> Vec<Band> {
    let depth = depth(side);
    let size = |level: usize| (0..level).fold(side, |n, _| n.div_ceil(2));
    let low = size(depth);
    let mut out = vec![Band { x: 0, y: 0, width: low, height: low, kind: 0, level: depth }];
    for level in (1..=depth).rev() {
        let (low, high) = (size(level), size(level - 1) - size(level));
        out.push(Band { x: low, y: 0, width: high, height: low, kind: 1, level });
        out.push(Band { x: 0, y: low, width: low, height: high, kind: 2, level });
        out.push(Band { x: low, y: low, width: high, height: high, kind: 3, level });
    }
    out
}

/// The adaptive state, which lives on from picture to picture.
#[derive(Clone)]
pub(crate) struct BandModel {
    guesses: Vec<[Bit; GUESSES * CONTEXTS]>,
    mixers: Vec<Mixer<GUESSES>>,
    long: [Bit; LENGTHS],
    mantissa: [[Bit; 4]; LENGTHS + 1],
    sign: [Bit; 36],
}

impl Default for BandModel {
    fn default() -> Self {
        // Chance of a level that is not zero, fine scales first, and of one beyond 1: a first guess, soon forgotten.
        let scarce = [300, 1000, 3000, 8000, 14_000, 20_000];
        let sets = (0..MIXED).flat_map(|length| scarce.map(|chance| if length == 0 { chance } else { 16_000 }));
        let guesses = sets.flat_map(|chance| [[Bit::expecting(chance, 4); GUESSES * CONTEXTS]; 2]).collect();
        BandModel {
            guesses,
            mixers: vec![Mixer::default(); MIXED * SETS],
            long: Default::default(),
            mantissa: Default::default(),
            sign: [Bit::default(); 36],
        }
    }
}

/// Levels on their way through a coder, and those of the picture before.
struct Sheet<'a> {
    side: usize,
    levels: &'a mut [i32],
    before: &'a [i32],
}

impl Sheet<'_> {
    fn place(&self, plane: usize, x: usize, y: usize) -> usize {
        (plane * self.side + y) * self.side + x
    }
}

/// What the guesses look at.
struct View {
    contexts: [usize; GUESSES],
    signs: usize,
}

fn size(value: i32) -> usize {
    value.unsigned_abs().min(1 << 15) as usize
}

/// Class of a weighed sum of magnitudes, 0 to 7.
fn class(sum: usize) -> usize {
    match sum {
        0..=4 => sum,
        5..=7 => 5,
        8..=12 => 6,
        _ => 7,
    }
}

fn view(sheet: &Sheet, band: &Band, coarser: Option<&Band>, plane: usize, x: usize, y: usize) -> View {
    let at = |dx: isize, dy: isize| {
        let (x, y) = (x.wrapping_add_signed(dx), y.wrapping_add_signed(dy));
        (x < band.width && y < band.height).then(|| sheet.place(plane, band.x + x, band.y + y))
    };
    let here = |dx, dy| at(dx, dy).map_or(0, |i| sheet.levels[i]);
    let then = |dx, dy| at(dx, dy).map_or(0, |i| size(sheet.before[i]));
    let (left, up) = (here(-1, 0), here(0, -1));
    let near = 2 * (size(left) + size(up)) + size(here(-1, -1)) + size(here(1, -1)) + size(here(-2, 0)) + size(here(0, -2));
    let before = 2 * then(0, 0) + then(-1, 0) + then(1, 0) + then(0, -1) + then(0, 1);
    let parent = coarser.filter(|c| c.width > 0 && c.height > 0).map_or(0, |c| {
        let (x, y) = ((x / 2).min(c.width - 1), (y / 2).min(c.height - 1));
        size(sheet.levels[sheet.place(plane, c.x + x, c.y + y)])
    });
    let centre = sheet.place(0, band.x + x, band.y + y);
    let luma = if plane > 0 { size(sheet.levels[centre]) } else { 0 };
    let other = if plane > 1 { size(sheet.levels[sheet.place(1, band.x + x, band.y + y)]) } else { 0 };
    let few = |n: usize, most: usize| n.min(most);
    let contexts = [
        (class(near) * 4 + band.kind) * 3 + plane,
        (few(parent, 3) * 4 + few(luma, 3)) * 4 + few(other, 3),
        (class(before) * 4 + band.kind) * 3 + plane,
        ((few(near, 3) * 3 + few(parent, 2)) * 4 + few(before, 3)) * 3 + few(luma + other, 2),
    ];
    let sign = |v: i32| (v.signum() + 1) as usize;
    View { contexts, signs: (sign(left) * 3 + sign(up)) * 4 + band.kind }
}

impl BandModel {
    fn code<C: BitCoder>(&mut self, coder: &mut C, sheet: &mut Sheet, band: &Band, view: &View, at: usize, luma: bool) {
        let View { contexts, signs } = view;
        let value = sheet.levels[at];
        let scale = (band.level + usize::from(band.kind == 0)).saturating_sub(1).min(SCALES - 1);
        let magnitude = self.magnitude(coder, 2 * scale + usize::from(!luma), contexts, value.unsigned_abs());
        let negative = magnitude > 0 && coder.bit(&mut self.sign[*signs], value < 0);
        sheet.levels[at] = if negative { -(magnitude as i32) } else { magnitude as i32 };
    }

    fn magnitude<C: BitCoder>(&mut self, coder: &mut C, set: usize, contexts: &[usize; GUESSES], magnitude: u32) -> u32 {
        let wanted = (u32::BITS - magnitude.leading_zeros()) as usize;
        let mut length = 0;
        while length < LENGTHS {
            let longer = if length < MIXED {
                let set = length * SETS + set;
                let [a, b, c, d] = contexts;
                let (first, second) = self.guesses[set].split_at_mut(2 * CONTEXTS);
                let (one, two) = first.split_at_mut(CONTEXTS);
                let (three, four) = second.split_at_mut(CONTEXTS);
                self.mixers[set].code(coder, [&mut one[*a], &mut two[*b], &mut three[*c], &mut four[*d]], wanted > length)
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

    /// Codes the first `count` bands of all planes; the others are zero.
    fn pass<C: BitCoder>(
        &mut self,
        coder: &mut C,
        sheet: &mut Sheet,
        count: usize,
        check: impl Fn(&C) -> Result<()>,
    ) -> Result<()> {
        let bands = bands(sheet.side);
        for (i, band) in bands.iter().enumerate().take(count) {
            let coarser = i.checked_sub(3).filter(|coarser| *coarser > 0).map(|coarser| &bands[coarser]);
            for plane in 0..PLANES {
                for y in 0..band.height {
                    for x in 0..band.width {
                        let view = view(sheet, band, coarser, plane, x, y);
                        let at = sheet.place(plane, band.x + x, band.y + y);
                        self.code(coder, sheet, band, &view, at, plane == 0);
                    }
                    check(coder)?;
                }
            }
        }
        Ok(())
    }

    /// The bytes of a picture's levels, and how many bands they hold. `levels` and `before`: `PLANES` planes of `side` rows each.
    ///
    /// # Errors
    /// Misuse for magnitudes over the coder's limit.
    pub(crate) fn encode(&mut self, levels: &[i32], before: &[i32], side: usize) -> Result<(Vec<u8>, usize)> {
        check_levels(levels)?;
        let mut levels = levels.to_vec();
        let mut sheet = Sheet { side, levels: &mut levels, before };
        let alive = |band: &Band| {
            let rows = (0..PLANES).flat_map(|plane| (0..band.height).map(move |y| (plane, y)));
            rows.map(|(plane, y)| sheet.place(plane, band.x, band.y + y))
                .any(|at| sheet.levels[at..at + band.width].iter().any(|v| *v != 0))
        };
        let count = bands(side).iter().rposition(alive).map_or(0, |last| last + 1);
        let mut coder = RangeEncoder::default();
        self.pass(&mut coder, &mut sheet, count, |_| Ok(()))?;
        Ok((coder.finish(), count))
    }

    /// The levels in `bytes`. `side` must be within [`MAX_SIDE`].
    ///
    /// # Errors
    /// Malformed if bytes are missing or left over.
    pub(crate) fn decode(&mut self, bytes: &[u8], count: usize, before: &[i32], side: usize) -> Result<Vec<i32>> {
        let mut levels = vec![0; before.len()];
        let mut coder = RangeDecoder::new(bytes);
        self.pass(&mut coder, &mut Sheet { side, levels: &mut levels, before }, count, RangeDecoder::check)?;
        coder.finish()?;
        Ok(levels)
    }
}

#[cfg(test)]
mod tests {
    use super::super::range::tests::splitmix;
    use super::*;

    #[test]
    fn bands_cover_the_plane_once() {
        for side in [1, 2, 7, 8, 9, 16, 33, 128, 255, 256] {
            let bands = bands(side);
            assert_eq!(bands.len(), band_count(side));
            let mut seen = vec![0; side * side];
            for band in &bands {
                for y in band.y..band.y + band.height {
                    seen[y * side + band.x..y * side + band.x + band.width].iter_mut().for_each(|n| *n += 1);
                }
            }
            assert!(seen.iter().all(|n| *n == 1), "side {side}");
        }
    }

    /// Pictures that change little, with levels up to `most`.
    fn pictures(side: usize, most: u64, state: &mut u64) -> Vec<Vec<i32>> {
        let count = PLANES * side * side;
        let mut level = |odds: u64| match splitmix(state) % odds {
            0 => (splitmix(state) % (2 * most + 1)) as i32 - most as i32,
            _ => 0,
        };
        (0..3).map(|_| (0..count).map(|_| level(9)).collect()).collect()
    }

    #[test]
    fn pictures_of_any_side_come_back_one_after_the_other() {
        let mut state = 7;
        for (side, most) in [(1, 5), (2, 1), (7, 3), (9, 30_000), (16, 2), (40, 300), (64, 1)] {
            let (mut writing, mut reading) = (BandModel::default(), BandModel::default());
            let mut before = vec![0; PLANES * side * side];
            for levels in pictures(side, most, &mut state) {
                let (bytes, count) = writing.encode(&levels, &before, side).unwrap();
                assert_eq!(reading.decode(&bytes, count, &before, side).unwrap(), levels, "side {side}");
                before = levels;
            }
        }
    }

    #[test]
    fn what_is_still_costs_next_to_nothing_and_coarse_detail_little() {
        let side = 128;
        let nothing = vec![0; PLANES * side * side];
        let (bytes, count) = BandModel::default().encode(&nothing, &nothing, side).unwrap();
        assert_eq!((bytes.len(), count), (0, 0));
        // Forty levels of one in the coarsest band alone.
        let mut state = 3;
        let mut levels = nothing.clone();
        (0..40).for_each(|_| levels[(splitmix(&mut state) % 8) as usize * side + (splitmix(&mut state) % 8) as usize] = 1);
        let (bytes, count) = BandModel::default().encode(&levels, &nothing, side).unwrap();
        assert!(count == 1 && bytes.len() < 45, "{count} bands, {} bytes", bytes.len());
    }

    #[test]
    fn bytes_of_a_stranger_give_levels_or_an_error() {
        let mut state = 11;
        let before = vec![0; PLANES * 64 * 64];
        for len in [0, 1, 7, 60, 900] {
            let bytes: Vec<u8> = (0..len).map(|_| splitmix(&mut state) as u8).collect();
            for count in 0..=band_count(64) {
                let _ = BandModel::default().decode(&bytes, count, &before, 64);
            }
        }
        let (mut longer, count) = BandModel::default().encode(&vec![1; before.len()], &before, 64).unwrap();
        longer.extend([1; 6]);
        assert!(BandModel::default().decode(&longer, count, &before, 64).is_err());
        assert!(BandModel::default().decode(&longer[..longer.len() / 2], count, &before, 64).is_err());
        let too_large = BandModel::default().encode(&[1 << 15, 0, 0], &[0; 3], 1);
        assert!(matches!(too_large, Err(crate::Error::Misuse(_))));
    }
}
