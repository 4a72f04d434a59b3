//! The sender of fields of a clip: where the places of its crops are in what a receiver draws.
//!
//! In: each frame's crop and what a receiver draws of it, in order. Out: a record per key, every so many frames, and the drawings as they are with it. Between two keys the receiver
//! goes straight, so a key is fitted to the frames on both sides, given the key before as it was sent and as if the next one were the same: Gauss-Newton on the differences of the
//! pictures (Lucas and Kanade 1981), coarse pictures first, with nodes that hold on to their neighbours and, weakly, to where they were.

use super::between;
use super::key::{shrunk, Keys, ResidualOptions, Spot, RECORD_BYTES};
use super::motion::{Motion, UNIT};
use super::Worth;
use crate::bitstream::{ResidualKind, ResidualRecord};
use crate::error::Result;
use crate::frame::Frame;

/// Sides of the pictures that are compared, and how often at each: coarse ones reach far.
const SIGHTS: [(usize, usize); 3] = [(32, 3), (64, 2), (128, 2)];
/// Displacements are solved for in pixels of pictures of this side.
const SIDE: f64 = 128.0;
/// Differences beyond so many grey levels count less: mouths open, hands come.
const FAR: f32 = 40.0;
/// How much less the last frame before the next key counts than the first one behind this.
const TRUST_LOST: f64 = 0.5;
/// Price of the squared difference of two neighbours, and of what a node moves, squared pixels against squared grey levels, for each frame.
const STIFF: f64 = 300.0;
const HOLD: f64 = 30.0;
/// Most that a node moves in one iteration, pixels.
const STRIDE: f64 = 4.0;

impl ResidualOptions {
    /// As fields need it: heads move faster than light.
    pub fn of_motion(bytes_per_frame: f64) -> Self {
        ResidualOptions { every: 16, ..ResidualOptions::of(bytes_per_frame) }
    }
}

/// Frames that no later record changes.
#[derive(Clone, Debug, Default)]
pub struct Settled {
    /// The record that belongs before the first of them.
    pub record: Option<ResidualRecord>,
    /// Each crop, and what a receiver makes of its drawing.
    pub frames: Vec<(Frame, Frame)>,
}

/// A frame, and its pictures at [`SIGHTS`].
struct Look {
    crop: Frame,
    drawn: Frame,
    /// Share of the key behind its stretch.
    share: f32,
    sights: Vec<[Vec<f32>; 2]>,
}

/// A frame as a key sees it.
struct View<'a> {
    look: &'a Look,
    /// Shares of the key and of the one before, and what the frame counts.
    own: f64,
    before: f64,
    weight: f64,
}

/// Makes the fields of a clip.
pub struct MotionMaker {
    keys: Keys,
    /// The stretch whose later key waits for the one behind it, and the latter.
    done: Vec<Look>,
    open: Vec<Look>,
    frames: u64,
    /// First frame of the next key's fade.
    next: u64,
    worth: Worth,
}

impl MotionMaker {
    /// For crops of `resolution` pixels.
    ///
    /// # Errors
    /// Misuse for options out of range.
    pub fn new(resolution: u32, options: ResidualOptions) -> Result<Self> {
        let keys = Keys::new(resolution, options, ResidualKind::Motion)?;
        Ok(MotionMaker { keys, done: Vec::new(), open: Vec::new(), frames: 0, next: 0, worth: Worth::default() })
    }

    /// The next frame: its crop, and the crop that a receiver draws without residual. It is settled up to twice [`ResidualOptions::every`] frames later.
    ///
    /// # Errors
    /// Misuse for frames of another size.
    pub fn push(&mut self, crop: Frame, drawn: Frame) -> Result<Settled> {
        self.keys.check([&crop, &drawn])?;
        let every = self.keys.options.every;
        let sides = sides(drawn.width as usize);
        let sights = sides.into_iter().map(|(side, _)| [shrunk(&crop, side), shrunk(&drawn, side)]).collect();
        let first = self.frames == 0;
        let share = if first { 1.0 } else { (self.open.len() + 1) as f32 / every as f32 };
        let look = Look { crop, drawn, share, sights };
        // The first key is there at once: its own frame is a stretch of its own.
        if first { &mut self.done } else { &mut self.open }.push(look);
        self.frames += 1;
        if self.open.len() < every as usize {
            return Ok(Settled::default());
        }
        self.key()
    }

    /// The frames that are left, and what all records are worth.
    ///
    /// # Errors
    /// As [`MotionMaker::push`].
    pub fn finish(mut self) -> Result<(Vec<Settled>, Worth)> {
        let mut out = Vec::new();
        while !self.done.is_empty() {
            out.push(self.key()?);
        }
        Ok((out, self.worth))
    }

    /// The key between the two stretches that are held.
    fn key(&mut self) -> Result<Settled> {
        let behind = std::mem::take(&mut self.open);
        let stretch = std::mem::replace(&mut self.done, behind);
        let nodes = self.keys.side();
        let wanted = self.fitted(&stretch, &self.done, nodes);
        let (from, fade) = (self.keys.sent.clone(), if self.next == 0 { 1 } else { self.keys.options.every });
        self.keys.earn(self.next, stretch.len() as u32);
        let spot = Spot { first: self.next, fade, least_gain: 0.0, harmful: false };
        self.next += stretch.len() as u64;
        let record = self.keys.send(&wanted, spot)?;
        self.worth.bytes += record.iter().map(|record| record.levels.len() as f64 + RECORD_BYTES).sum::<f64>();
        let mut frames = Vec::with_capacity(stretch.len());
        for Look { crop, drawn, share, .. } in stretch {
            let field = from.iter().zip(&self.keys.sent).map(|(from, to)| from + share * (to - from)).collect();
            let mut shown = drawn.clone();
            Motion::new(field, nodes).displace(&mut shown);
            self.worth.plain += apart(&crop, &drawn);
            self.worth.better += apart(&crop, &shown);
            frames.push((crop, shown));
        }
        Ok(Settled { record, frames })
    }

    /// The field that explains the frames of the stretch before it and of the one behind it best, three planes in [`UNIT`]s.
    fn fitted(&self, stretch: &[Look], behind: &[Look], nodes: usize) -> Vec<f32> {
        let rising = stretch.iter().map(|look| {
            let own = f64::from(look.share);
            View { look, own, before: 1.0 - own, weight: 1.0 }
        });
        let falling = behind.iter().map(|look| {
            let weight = 1.0 - TRUST_LOST * f64::from(look.share);
            View { look, own: 1.0, before: 0.0, weight }
        });
        let views: Vec<View> = rising.chain(falling).collect();
        let pixels = f64::from(UNIT) * SIDE;
        let planes = 2 * nodes * nodes;
        let before: Vec<f64> = self.keys.sent[..planes].iter().map(|by| f64::from(*by) * pixels).collect();
        let mut field = before.clone();
        let width = stretch.first().map_or(0, |look| look.drawn.width as usize);
        for (level, (_, times)) in sides(width).into_iter().enumerate() {
            for _ in 0..times {
                let mut sums = Sums::new(nodes);
                views.iter().for_each(|view| sums.look(view, level, (&field, &before)));
                let Some(step) = sums.solved(&field, &before) else { break };
                field.iter_mut().zip(step).for_each(|(by, step)| *by += step.clamp(-STRIDE, STRIDE));
            }
        }
        let mut wanted: Vec<f32> = field.iter().map(|by| (by / pixels) as f32).collect();
        wanted.resize(3 * nodes * nodes, 0.0);
        wanted
    }
}

/// Sides at which pictures of `width` are compared, and how often.
fn sides(width: usize) -> Vec<(usize, usize)> {
    let mut out: Vec<_> = SIGHTS.into_iter().filter(|(side, _)| *side <= width).collect();
    if out.is_empty() {
        out.push((width, SIGHTS[0].1));
    }
    out
}

/// Squared difference of two pictures, summed.
fn apart(a: &Frame, b: &Frame) -> f64 {
    a.data.iter().zip(&b.data).map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2)).sum()
}

/// Normal equations of a field.
struct Sums {
    nodes: usize,
    /// What each pair of nodes has in common, of x with x, x with y, y with y.
    pairs: [Vec<f64>; 3],
    /// Towards which displacement the differences pull, x then y.
    pull: Vec<f64>,
    weight: f64,
}

impl Sums {
    fn new(nodes: usize) -> Self {
        let count = nodes * nodes;
        let pairs = [0; 3].map(|_| vec![0.0; count * count]);
        Sums { nodes, pairs, pull: vec![0.0; 2 * count], weight: 0.0 }
    }

    /// Adds a frame, at this of [`SIGHTS`], displaced by the field and the one before.
    fn look(&mut self, view: &View, level: usize, (field, before): (&[f64], &[f64])) {
        let [crop, drawn] = &view.look.sights[level];
        let side = ((crop.len() / 3) as f64).sqrt().round() as usize;
        let (nodes, count, scale) = (self.nodes, self.nodes * self.nodes, side as f64 / SIDE);
        let mixed: Vec<f32> =
            field.iter().zip(before).map(|(own, before)| ((view.own * own + view.before * before) * scale) as f32).collect();
        let columns: Vec<_> = (0..side).map(|x| between(x, side, nodes)).collect();
        for y in 0..side {
            let (top, bottom, down) = between(y, side, nodes);
            for (x, &(left, right, across)) in columns.iter().enumerate() {
                let at = [top * nodes + left, top * nodes + right, bottom * nodes + left, bottom * nodes + right];
                let shares =
                    [(1.0 - across) * (1.0 - down), across * (1.0 - down), (1.0 - across) * down, across * down];
                let by = |plane: usize| at.iter().zip(shares).map(|(i, share)| share * mixed[plane * count + i]).sum::<f32>();
                let seen = Seen::new(drawn, side, (x as f32 + by(0), y as f32 + by(1)), &crop[3 * (y * side + x)..][..3]);
                let weight = view.weight * f64::from(seen.weight);
                // Coarse pictures have fewer pixels, and their pixels are larger.
                let (square, pull) = (weight * view.own * view.own, weight * view.own / scale);
                let shares = shares.map(f64::from);
                for (k, (i, share)) in at.into_iter().zip(shares).enumerate() {
                    self.pull[i] += pull * share * seen.pull[0];
                    self.pull[count + i] += pull * share * seen.pull[1];
                    for (j, other) in at.into_iter().zip(shares).take(k + 1) {
                        let (a, b) = if i > j { (i, j) } else { (j, i) };
                        for (pairs, common) in self.pairs.iter_mut().zip(seen.common) {
                            pairs[a * count + b] += square * share * other * common;
                        }
                    }
                }
            }
        }
        self.weight += view.weight;
    }

    /// By how much the field should move; nothing if nothing can be told.
    fn solved(mut self, field: &[f64], before: &[f64]) -> Option<Vec<f64>> {
        let (nodes, count) = (self.nodes, self.nodes * self.nodes);
        let (stiff, hold) = (STIFF * self.weight, HOLD * self.weight);
        let size = 2 * count;
        let mut matrix = vec![0.0; size * size];
        for a in 0..count {
            for b in 0..=a {
                let [xx, xy, yy] = [0, 1, 2].map(|k| self.pairs[k][a * count + b]);
                matrix[a * size + b] += xx;
                matrix[(count + a) * size + count + b] += yy;
                matrix[(count + a) * size + b] += xy;
                if a != b {
                    matrix[(count + b) * size + a] += xy;
                }
            }
        }
        for plane in 0..2 {
            for i in 0..count {
                let at = plane * count + i;
                matrix[at * size + at] += hold;
                self.pull[at] -= hold * (field[at] - before[at]);
                let (right, below) = ((i % nodes + 1 < nodes).then_some(at + 1), (i / nodes + 1 < nodes).then_some(at + nodes));
                for other in right.into_iter().chain(below) {
                    matrix[at * size + at] += stiff;
                    matrix[other * size + other] += stiff;
                    matrix[other * size + at] -= stiff;
                    let apart = stiff * (field[at] - field[other]);
                    self.pull[at] -= apart;
                    self.pull[other] += apart;
                }
            }
        }
        cholesky(matrix, self.pull)
    }
}

/// A pixel of the drawing where the field takes it from, and what of the crop's it explains.
struct Seen {
    /// Products of the slopes, over the colours: x with x, x with y, y with y.
    common: [f64; 3],
    /// Of the slopes with the difference.
    pull: [f64; 2],
    weight: f32,
}

impl Seen {
    fn new(drawn: &[f32], side: usize, (x, y): (f32, f32), crop: &[f32]) -> Self {
        let last = (side - 1) as f32;
        let (x, y) = (x.clamp(0.0, last), y.clamp(0.0, last));
        let (left, top) = ((x as usize).min(side.saturating_sub(2)), (y as usize).min(side.saturating_sub(2)));
        let (across, down) = (x - left as f32, y - top as f32);
        let (right, bottom) = ((left + 1).min(side - 1), (top + 1).min(side - 1));
        let [mut xx, mut xy, mut yy, mut px, mut py, mut far] = [0.0f32; 6];
        for c in 0..3 {
            let sample = |x: usize, y: usize| drawn[3 * (y * side + x) + c];
            let [a, b, d, e] = [sample(left, top), sample(right, top), sample(left, bottom), sample(right, bottom)];
            let (upper, lower) = (a + across * (b - a), d + across * (e - d));
            let slope = [(1.0 - down) * (b - a) + down * (e - d), lower - upper];
            let off = crop[c] - (upper + down * (lower - upper));
            xx += slope[0] * slope[0];
            xy += slope[0] * slope[1];
            yy += slope[1] * slope[1];
            px += slope[0] * off;
            py += slope[1] * off;
            far += off * off;
        }
        let weight = (FAR / (far / 3.0).sqrt().max(FAR)).min(1.0);
        Seen { common: [xx, xy, yy].map(f64::from), pull: [px, py].map(f64::from), weight }
    }
}

/// The solution of a symmetric positive system, of whose matrix the lower half is given.
fn cholesky(mut matrix: Vec<f64>, mut right: Vec<f64>) -> Option<Vec<f64>> {
    let size = right.len();
    for i in 0..size {
        for j in 0..=i {
            let (a, b) = (&matrix[i * size..][..j], &matrix[j * size..][..j]);
            let rest = matrix[i * size + j] - a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            if i == j {
                if rest.is_nan() || rest <= 0.0 {
                    return None;
                }
                matrix[i * size + i] = rest.sqrt();
            } else {
                matrix[i * size + j] = rest / matrix[j * size + j];
            }
        }
        let known: f64 = matrix[i * size..][..i].iter().zip(&right).map(|(m, v)| m * v).sum();
        right[i] = (right[i] - known) / matrix[i * size + i];
    }
    for i in (0..size).rev() {
        let known: f64 = (i + 1..size).map(|k| matrix[k * size + i] * right[k]).sum();
        right[i] = (right[i] - known) / matrix[i * size + i];
    }
    right.iter().all(|v| v.is_finite()).then_some(right)
}
