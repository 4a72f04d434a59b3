//! The sender of fields of a clip: where the places of its crops are in what a receiver draws.
//!
//! In: each frame's crop and what a receiver draws of it, in order. Out: a record per key, every so many frames, and the drawings as they are with it. Between two keys the receiver
//! goes straight, so a key is fitted to the frames on both sides, given the key before as it was sent and as if the next one were the same: Gauss-Newton on the differences of the
//! pictures (Lucas and Kanade 1981), coarse pictures first, with nodes that hold on to their neighbours and, weakly, to where they were.

use super::between;
use super::key::{shrunk, Keys, ResidualOptions, Spot, TRUST_LOST};
use super::motion::{Motion, UNIT};
use super::Worth;
use crate::bitstream::{ResidualKind, ResidualRecord};
use crate::error::Result;
use crate::frame::Frame;

/// Sides of the pictures that are compared, and how often at each: coarse ones reach far.
const LEVELS: [(usize, usize); 3] = [(32, 3), (64, 2), (128, 2)];
/// Displacements are solved for in pixels of pictures of this side.
const SIDE: f64 = 128.0;
/// Differences beyond so many grey levels count less: mouths open, hands come.
const FAR: f32 = 40.0;
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

/// A frame, and its pictures at [`LEVELS`].
struct Held {
    crop: Frame,
    drawn: Frame,
    /// Share of the key behind its stretch.
    share: f32,
    levels: Vec<[Vec<f32>; 2]>,
}

/// A frame as a key sees it.
struct Weighed<'a> {
    look: &'a Held,
    /// Shares of the key and of the one before, and what the frame counts.
    own: f64,
    before: f64,
    weight: f64,
}

/// Makes the fields of a clip.
pub struct MotionMaker {
    keys: Keys,
    /// The stretch whose later key waits for the one behind it, and the latter.
    done: Vec<Held>,
    open: Vec<Held>,
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
        let sides = levels(drawn.width as usize);
        let levels = sides.into_iter().map(|(side, _)| [shrunk(&crop, side), shrunk(&drawn, side)]).collect();
        let first = self.frames == 0;
        let share = if first { 1.0 } else { (self.open.len() + 1) as f32 / every as f32 };
        let look = Held { crop, drawn, share, levels };
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
        self.worth.bytes += record.iter().map(ResidualRecord::most_bytes).sum::<usize>() as f64;
        let mut frames = Vec::with_capacity(stretch.len());
        for Held { crop, drawn, share, .. } in stretch {
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
    fn fitted(&self, stretch: &[Held], behind: &[Held], nodes: usize) -> Vec<f32> {
        let rising = stretch.iter().map(|look| {
            let own = f64::from(look.share);
            Weighed { look, own, before: 1.0 - own, weight: 1.0 }
        });
        let falling = behind.iter().map(|look| {
            let weight = 1.0 - f64::from(TRUST_LOST * look.share);
            Weighed { look, own: 1.0, before: 0.0, weight }
        });
        let views: Vec<Weighed> = rising.chain(falling).collect();
        let pixels = f64::from(UNIT) * SIDE;
        let planes = 2 * nodes * nodes;
        let before: Vec<f64> = self.keys.sent[..planes].iter().map(|by| f64::from(*by) * pixels).collect();
        let mut field = before.clone();
        let width = stretch.first().map_or(0, |look| look.drawn.width as usize);
        for (level, (_, times)) in levels(width).into_iter().enumerate() {
            for _ in 0..times {
                let mut sums = Normal::new(nodes);
                views.iter().for_each(|view| sums.add(view, level, (&field, &before)));
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
fn levels(width: usize) -> Vec<(usize, usize)> {
    let mut out: Vec<_> = LEVELS.into_iter().filter(|(side, _)| *side <= width).collect();
    if out.is_empty() {
        out.push((width, LEVELS[0].1));
    }
    out
}

/// Squared difference of two pictures, summed.
fn apart(a: &Frame, b: &Frame) -> f64 {
    a.data.iter().zip(&b.data).map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2)).sum()
}

/// Normal equations of a field.
struct Normal {
    nodes: usize,
    /// What each pair of nodes has in common, of x with x, x with y, y with y.
    pairs: [Vec<f64>; 3],
    /// Towards which displacement the differences pull, x then y.
    pull: Vec<f64>,
    weight: f64,
}

impl Normal {
    fn new(nodes: usize) -> Self {
        let count = nodes * nodes;
        let pairs = [0; 3].map(|_| vec![0.0; count * count]);
        Normal { nodes, pairs, pull: vec![0.0; 2 * count], weight: 0.0 }
    }

    /// Adds a frame, at this of [`LEVELS`], displaced by the field and the one before.
    fn add(&mut self, view: &Weighed, level: usize, (field, before): (&[f64], &[f64])) {
        let [crop, drawn] = &view.look.levels[level];
        let side = ((crop.len() / 3) as f64).sqrt().round() as usize;
        let (nodes, count, scale) = (self.nodes, self.nodes * self.nodes, side as f64 / SIDE);
        let mixed: Vec<f32> =
            field.iter().zip(before).map(|(own, before)| ((view.own * own + view.before * before) * scale) as f32).collect();
        let columns: Vec<_> = (0..side).map(|x| between(x, side, nodes)).collect();
        for y in 0..side {
            let (top, bottom, down) = between(y, side, nodes);
            for (x, &(left, right, across)) in columns.iter().enumerate() {
                let at = [top * nodes + left, top * nodes + right, bottom * nodes + left, bottom * nodes + right];
                let shares = [(1.0 - across) * (1.0 - down), across * (1.0 - down), (1.0 - across) * down, across * down];
                let by = |plane: usize| at.iter().zip(shares).map(|(i, share)| share * mixed[plane * count + i]).sum::<f32>();
                let seen = Sample::new(drawn, side, (x as f32 + by(0), y as f32 + by(1)), &crop[3 * (y * side + x)..][..3]);
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
struct Sample {
    /// Products of the slopes, over the colours: x with x, x with y, y with y.
    common: [f64; 3],
    /// Of the slopes with the difference.
    pull: [f64; 2],
    weight: f32,
}

impl Sample {
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
        Sample { common: [xx, xy, yy].map(f64::from), pull: [px, py].map(f64::from), weight }
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

#[cfg(test)]
mod tests {
    use super::super::Residual;
    use super::*;
    use crate::error::Error;

    const WIDTH: u32 = 64;

    /// Soft blobs of several sizes and colours, seen from this far to the right, in the upper half, and downwards, in the lower one.
    fn blobs(right: f32, down: f32) -> Frame {
        let value = |i: u32| {
            let (x, y) = ((i % WIDTH) as f32, (i / WIDTH) as f32);
            let lower = ((y - 24.0) / 16.0).clamp(0.0, 1.0);
            let (x, y) = (x + right * (1.0 - lower), y + down * lower);
            let wave = |a: f32, b: f32, c: f32| 127.0 + 60.0 * (x * a + c).sin() * (y * b - c).cos();
            [wave(0.31, 0.27, 0.0), wave(0.19, 0.41, 1.0), wave(0.45, 0.23, 2.0)].map(|v| v as u8)
        };
        Frame::new(WIDTH, WIDTH, (0..WIDTH * WIDTH).flat_map(value).collect()).unwrap()
    }

    /// Crops that drift away from their drawing, by up to so many pixels, and back.
    fn clip(frames: u32, far: f32) -> Vec<(Frame, Frame)> {
        let at = |t: u32| far * (std::f32::consts::PI * t as f32 / frames as f32).sin();
        (0..frames).map(|t| (blobs(at(t), -0.5 * at(t)), blobs(0.0, 0.0))).collect()
    }

    fn records(clip: &[(Frame, Frame)], options: ResidualOptions) -> (Vec<ResidualRecord>, Vec<Frame>, Worth) {
        let mut maker = MotionMaker::new(WIDTH, options).unwrap();
        let mut settled = Vec::new();
        for (crop, drawn) in clip {
            settled.push(maker.push(crop.clone(), drawn.clone()).unwrap());
        }
        let (rest, worth) = maker.finish().unwrap();
        settled.extend(rest);
        let (mut records, mut shown) = (Vec::new(), Vec::new());
        for Settled { record, frames } in settled {
            assert!(record.iter().all(|record| record.frame == shown.len() as u64));
            records.extend(record);
            shown.extend(frames.into_iter().map(|(_, shown)| shown));
        }
        (records, shown, worth)
    }

    fn received(clip: &[(Frame, Frame)], records: &[ResidualRecord]) -> Vec<Frame> {
        let mut residual = Residual::new();
        records.iter().for_each(|record| residual.push(record.clone()));
        let show = |(t, (_, drawn)): (usize, &(Frame, Frame))| {
            let mut frame = drawn.clone();
            residual.apply(t as u64, &mut frame);
            frame
        };
        clip.iter().enumerate().map(show).collect()
    }

    fn error(clip: &[(Frame, Frame)], shown: &[Frame]) -> f64 {
        clip.iter().zip(shown).map(|((crop, _), shown)| apart(crop, shown)).sum()
    }

    #[test]
    fn what_drifts_is_followed_within_the_bytes_and_receivers_see_what_the_sender_sees() {
        for (frames, far, every) in [(60, 5.0, 16), (37, 2.0, 8), (20, 3.0, 1)] {
            let clip = clip(frames, far);
            let bytes = if every == 1 { 60.0 } else { 12.0 };
            let options = ResidualOptions { every, frames: Some(frames.into()), ..ResidualOptions::of_motion(bytes) };
            let (records, shown, worth) = records(&clip, options);
            assert_eq!((shown.len(), &received(&clip, &records)), (clip.len(), &shown));
            let spent: usize = records.iter().map(ResidualRecord::most_bytes).sum();
            assert!(spent as f64 <= bytes * f64::from(frames) && worth.bytes == spent as f64, "{spent} bytes");
            let plain = error(&clip, &clip.iter().map(|(_, drawn)| drawn.clone()).collect::<Vec<_>>());
            let better = error(&clip, &shown);
            assert!(better < 0.1 * plain, "every {every}: {plain} -> {better}");
            assert_eq!((worth.plain, worth.better), (plain, better));
        }
    }

    #[test]
    fn a_lost_record_costs_what_needs_it_until_the_next_whole_one() {
        let clip = clip(80, 4.0);
        let options = ResidualOptions { every: 8, intra: 15, ..ResidualOptions::of_motion(30.0) };
        let (all, shown, _) = records(&clip, options);
        assert!(all.iter().filter(|r| r.intra).count() > 2 && all.iter().any(|r| !r.intra));
        let without: Vec<_> = all.iter().filter(|r| r.number != 2).cloned().collect();
        let late = received(&clip, &without);
        let behind = all.iter().find(|r| r.number > 2 && r.intra).unwrap();
        let whole = (behind.frame + u64::from(behind.fade)) as usize;
        assert_ne!(late[all[2].frame as usize + 8], shown[all[2].frame as usize + 8]);
        assert_eq!(late[whole..], shown[whole..]);
        // Pictures of another shape, nonsense: nothing breaks.
        let mut residual = Residual::new();
        all.iter().rev().for_each(|r| residual.push(r.clone()));
        residual.push(ResidualRecord { number: 99, halvings: 0, bands: 1, levels: vec![255; 40], ..all[0].clone() });
        for number in 0..120 {
            residual.apply(number, &mut Frame::filled(if number % 2 == 0 { WIDTH } else { 7 }, WIDTH, [1, 2, 3]).unwrap());
        }
    }

    #[test]
    fn what_stays_costs_nothing_and_what_cannot_be_followed_does_no_harm() {
        let still: Vec<_> = clip(40, 0.0);
        assert_eq!(records(&still, ResidualOptions::of_motion(10.0)).0, []);
        let flat = Frame::filled(WIDTH, WIDTH, [128; 3]).unwrap();
        let gone: Vec<_> = still.iter().map(|(crop, _)| (crop.clone(), flat.clone())).collect();
        assert_eq!(records(&gone, ResidualOptions::of_motion(10.0)).0, []);
        // Noise has no places.
        let noise = |seed: u64| {
            let byte = |i: u64| (i + seed).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(23) as u8;
            Frame::new(WIDTH, WIDTH, (0..3 * u64::from(WIDTH * WIDTH)).map(byte).collect()).unwrap()
        };
        let noisy: Vec<_> = (0..20).map(|t| (noise(1000 * t), noise(7))).collect();
        let (_, shown, worth) = records(&noisy, ResidualOptions::of_motion(10.0));
        assert!(worth.better < 1.02 * worth.plain && shown.len() == 20, "{worth:?}");
        // Other sizes than those that are compared, and tiny ones.
        for side in [1, 2, 5, 40, 300] {
            let frame = |t: u32| Frame::filled(side, side, [t as u8; 3]).unwrap();
            let options = ResidualOptions { every: 2, ..ResidualOptions::of_motion(10.0) };
            let mut maker = MotionMaker::new(side, options).unwrap();
            let mut all: Vec<_> = (0..3).map(|t| maker.push(frame(t), frame(0)).unwrap()).collect();
            all.extend(maker.finish().unwrap().0);
            assert_eq!(all.iter().map(|settled| settled.frames.len()).sum::<usize>(), 3, "{side}");
        }
        let mut maker = MotionMaker::new(WIDTH, ResidualOptions::of_motion(10.0)).unwrap();
        let small = Frame::filled(9, 9, [0; 3]).unwrap();
        assert!(matches!(maker.push(small.clone(), small), Err(Error::Misuse(_))));
        assert!(matches!(MotionMaker::new(WIDTH, ResidualOptions::of_motion(f64::NAN)), Err(Error::Misuse(_))));
    }
}
