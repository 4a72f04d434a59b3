//! Fields that displace pictures.
//!
//! In: displacements of `side` x `side` nodes, between which they go straight, and a square picture. Out: the picture, each pixel taken from where the field says. Source: ours;
//! docs/bitstream.md, "Motion".

use super::{between, mixed};
use crate::frame::Frame;

/// Displacements are in this part of a picture's side.
pub(super) const UNIT: f32 = 1.0 / 4096.0;
/// Those below this share of a pixel change nothing.
const LEAST: f32 = 1.0 / 64.0;
/// Nothing comes from further away than so many sides.
const FARTHEST: f32 = 0.5;

/// By how much the places of a picture are displaced.
#[derive(Clone, Debug, PartialEq)]
pub struct Motion {
    side: usize,
    /// To the right, then downwards, row by row, in [`UNIT`]s.
    nodes: Vec<f32>,
}

impl Motion {
    /// From planes of `side` x `side` nodes, of which the first two count.
    pub(crate) fn new(mut planes: Vec<f32>, side: usize) -> Self {
        planes.truncate(2 * side * side);
        let most = FARTHEST / UNIT;
        planes.iter_mut().for_each(|by| *by = if by.is_finite() { by.clamp(-most, most) } else { 0.0 });
        Motion { side, nodes: planes }
    }

    /// Whether it displaces anything.
    pub(super) fn moves(&self) -> bool {
        self.nodes.iter().any(|by| *by != 0.0)
    }

    /// By how much the pixel in this column and row of a picture of `width` is displaced, to the right and downwards, in sides.
    fn at(&self, x: usize, y: usize, width: usize) -> [f32; 2] {
        let (across, down) = (between(x, width, self.side), between(y, width, self.side));
        [0, 1].map(|axis| {
            let node = |x: usize, y: usize| self.nodes[(axis * self.side + y) * self.side + x];
            UNIT * mixed(node, across, down)
        })
    }

    /// The same field on other nodes, `[2, nodes, nodes]`, in sides.
    #[cfg(any(test, feature = "decode"))]
    pub(crate) fn on_nodes(&self, nodes: usize) -> Vec<f32> {
        let places = || (0..nodes * nodes).map(|i| self.at(i % nodes, i / nodes, nodes));
        [0, 1].into_iter().flat_map(|axis| places().map(move |by| by[axis])).collect()
    }

    /// Displaces a square picture; beyond the border is the border. Others stay as they are.
    pub fn displace(&self, frame: &mut Frame) {
        let width = frame.width as usize;
        if width == 0 || frame.width != frame.height {
            return;
        }
        let last = (width - 1) as f32;
        let source = frame.data.clone();
        for (i, rgb) in frame.data.chunks_exact_mut(3).enumerate() {
            let (x, y) = (i % width, i / width);
            let by = self.at(x, y, width).map(|by| by * width as f32);
            if by.iter().all(|by| by.abs() < LEAST) {
                continue;
            }
            let (across, down) = ((x as f32 + by[0]).clamp(0.0, last), (y as f32 + by[1]).clamp(0.0, last));
            let beside = |at: f32| (at as usize, (at as usize + 1).min(width - 1), at.fract());
            for (c, byte) in rgb.iter_mut().enumerate() {
                let sample = |x: usize, y: usize| f32::from(source[3 * (y * width + x) + c]);
                *byte = mixed(sample, beside(across), beside(down)).round() as u8;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIDE: u32 = 32;

    /// Red tells columns, green rows.
    fn ramps() -> Frame {
        let pixel = |i: u32| [(7 * (i % SIDE)) as u8, (7 * (i / SIDE)) as u8, 99];
        Frame::new(SIDE, SIDE, (0..SIDE * SIDE).flat_map(pixel).collect()).unwrap()
    }

    fn pixel(frame: &Frame, x: usize, y: usize) -> [u8; 3] {
        frame.data[3 * (y * SIDE as usize + x)..][..3].try_into().unwrap()
    }

    /// A field of 4 x 4 nodes, in pixels of the ramps.
    fn field(by: impl Fn(usize, usize) -> [f32; 2]) -> Motion {
        let unit = 1.0 / (UNIT * SIDE as f32);
        let planes = [0, 1, 0].map(|axis| (0..16).map(|i| by(i % 4, i / 4)[axis] * unit).collect::<Vec<_>>());
        Motion::new(planes.concat(), 4)
    }

    #[test]
    fn places_are_taken_from_where_the_field_points() {
        let shown = |motion: Motion| {
            let mut frame = ramps();
            motion.displace(&mut frame);
            frame
        };
        let far = shown(field(|_, _| [2.0, -3.0]));
        assert_eq!([pixel(&far, 10, 10), pixel(&far, 31, 0)], [[84, 49, 99], [217, 0, 99]], "beyond the border is the border");
        let half = shown(field(|_, _| [0.5, 0.0]));
        assert_eq!(pixel(&half, 10, 10), [74, 70, 99], "halves round away from 0");
        // The second node of the third row, whose middle is between pixels 11 and 12, and 19 and 20; others are 8 pixels off.
        let one = shown(field(|x, y| if (x, y) == (1, 2) { [4.0, 0.0] } else { [0.0; 2] }));
        let share = 7.5f32 / 8.0;
        assert_eq!(pixel(&one, 11, 19)[0], (7.0 * (11.0 + 4.0 * share * share)).round() as u8);
        assert_eq!(pixel(&one, 20, 20), pixel(&ramps(), 20, 20));
        for still in [field(|_, _| [0.0; 2]), field(|_, _| [0.01, -0.015]), Motion::new(vec![f32::NAN; 48], 4)] {
            assert_eq!(shown(still), ramps());
        }
        let wild = Motion::new(vec![f32::MAX; 48], 4);
        assert_eq!(pixel(&shown(wild), 2, 3), [7 * 18, 7 * 19, 99], "half a side at most");
        let mut wide = Frame::filled(9, 4, [1, 2, 3]).unwrap();
        field(|_, _| [3.0; 2]).displace(&mut wide);
        assert_eq!(wide, Frame::filled(9, 4, [1, 2, 3]).unwrap(), "no crop");
        assert!(!field(|_, _| [0.0; 2]).moves() && field(|_, _| [0.01, 0.0]).moves());
    }

    #[test]
    fn a_field_is_the_same_on_other_nodes() {
        let ramp = field(|x, y| [x as f32, 2.0 * y as f32]);
        let same = ramp.on_nodes(4);
        assert!((0..16).all(|i| (same[i] * SIDE as f32 - (i % 4) as f32).abs() < 1e-4));
        assert!((0..16).all(|i| (same[16 + i] * SIDE as f32 - 2.0 * (i / 4) as f32).abs() < 1e-4));
        let fine = ramp.on_nodes(8);
        // Nodes of 8 x 8 lie a quarter beside the middle between those of 4 x 4; those at the border keep what the last one has.
        for (x, want) in [(0, 0.0), (1, 0.25), (2, 0.75), (3, 1.25), (7, 3.0)] {
            assert!((fine[8 * 5 + x] * SIDE as f32 - want).abs() < 1e-4, "{x}: {}", fine[8 * 5 + x]);
            assert!((fine[64 + 8 * x + 5] * SIDE as f32 - 2.0 * want).abs() < 1e-4);
        }
    }
}
