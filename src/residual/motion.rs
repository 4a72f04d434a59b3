//! Fields that displace pictures.
//!
//! In: displacements of `side` x `side` nodes, between which they go straight, and a square picture. Out: the picture, each pixel taken from where the field says. Source: ours;
//! docs/bitstream.md, "Motion".

use super::between;
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
    pub(super) fn new(mut planes: Vec<f32>, side: usize) -> Self {
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
        let ((left, right, across), (top, bottom, down)) = (between(x, width, self.side), between(y, width, self.side));
        [0, 1].map(|axis| {
            let node = |x: usize, y: usize| self.nodes[(axis * self.side + y) * self.side + x];
            let upper = node(left, top) * (1.0 - across) + node(right, top) * across;
            let lower = node(left, bottom) * (1.0 - across) + node(right, bottom) * across;
            UNIT * (upper * (1.0 - down) + lower * down)
        })
    }

    /// The same field on other nodes, `[2, nodes, nodes]`, in sides.
    pub(crate) fn on_nodes(&self, nodes: usize) -> Vec<f32> {
        let places = || (0..nodes * nodes).map(|i| self.at(i % nodes, i / nodes, nodes));
        [0, 1].into_iter().flat_map(|axis| places().map(move |by| by[axis])).collect()
    }

    /// Displaces a square picture; beyond the border is the border.
    pub fn displace(&self, frame: &mut Frame) {
        let width = frame.width as usize;
        let last = (width - 1) as f32;
        let source = frame.data.clone();
        for (i, rgb) in frame.data.chunks_exact_mut(3).enumerate() {
            let (x, y) = (i % width, i / width);
            let by = self.at(x, y, width).map(|by| by * width as f32);
            if by.iter().all(|by| by.abs() < LEAST) {
                continue;
            }
            let (across, down) = ((x as f32 + by[0]).clamp(0.0, last), (y as f32 + by[1]).clamp(0.0, last));
            let (left, top) = (across as usize, down as usize);
            let (right, bottom) = ((left + 1).min(width - 1), (top + 1).min(width - 1));
            let (across, down) = (across.fract(), down.fract());
            for (c, byte) in rgb.iter_mut().enumerate() {
                let sample = |x: usize, y: usize| f32::from(source[3 * (y * width + x) + c]);
                let upper = sample(left, top) * (1.0 - across) + sample(right, top) * across;
                let lower = sample(left, bottom) * (1.0 - across) + sample(right, bottom) * across;
                *byte = (upper * (1.0 - down) + lower * down).round() as u8;
            }
        }
    }
}
