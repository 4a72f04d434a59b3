//! The sender of residuals.
//!
//! In: each frame's crop and what a receiver draws of it, in order. Out: a record per key, every so many frames. Between two keys the receiver goes
//! straight, so a key is what fits the differences of the frames on both sides best, in least squares, given the key before as it was sent and as if
//! none would follow; the frames behind it count the less the nearer they are to the next one.

use super::{wavelet, Chain};
use crate::bitstream::bands::BandModel;
use crate::bitstream::{
    residual_halvings, residual_side, residual_step, ResidualRecord, MAX_FADE, MAX_RECORD_BYTES, MAX_RESIDUAL_STEP,
};
use crate::error::{Error, Result};
use crate::frame::Frame;

/// Bytes of a record around its levels, at most.
const RECORD_BYTES: f64 = 20.0;
/// What is not spent on a key may be spent later, up to so many keys' bytes. The first one may borrow as much, but no more than this share of what the
/// rest of the clip will have; of what comes in, this share goes into paying it back.
const SAVINGS: f64 = 3.0;
const BORROWED: f64 = 0.6;
const REPAID: f64 = 0.75;
/// From this share of a step on a coefficient is rounded up: most of those below cost more than they give.
const ROUND_UP: f32 = 0.85;
/// Shares of the residual before, in eighths, that are tried to go on with: what has passed must not stay for want of bytes.
const KEPT: [u8; 4] = [8, 6, 4, 0];
/// How much larger a whole residual's error may be than that of a change.
const NEARLY: f64 = 1.05;
/// Share of the differences' power around a place that a key must explain to be sent there at all, and in full: what comes and goes, as lips do, is for the
/// numbers, and would leave ghosts.
const PASSING: f32 = 0.2;
const STEADY: f32 = 0.5;
/// How much the crop's own motion counts as such a difference.
const MOTION: f32 = 1.0;
/// Half the side of such a place, pixels.
const AROUND: usize = 3;
/// How much less the last frame before the next key counts than the first one behind this.
const TRUST_LOST: f32 = 0.5;
/// Finest step: code of two grey levels.
const FINEST: u8 = 24;

/// How much is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ResidualOptions {
    /// Most bytes a frame on average, records' heads included.
    pub bytes_per_frame: f64,
    /// Frames from one key to the next, 1 to [`MAX_FADE`].
    pub every: u32,
    /// Frames from a record that needs no other to when the next is sent if it does nearly as well; after twice as many it is sent in any case.
    pub intra: u64,
    /// Frames of the clip, if they are known: a short one then keeps to its bytes as well.
    pub frames: Option<u64>,
}

impl ResidualOptions {
    /// The usual: a key every 32 frames, whole ones every 500.
    pub fn of(bytes_per_frame: f64) -> Self {
        ResidualOptions { bytes_per_frame, every: 32, intra: 500, frames: None }
    }
}

/// Weighed sums over the frames between two keys.
struct Stretch {
    /// Of the differences, by their share of the key behind them and of the one before.
    rising: Vec<f32>,
    falling: Vec<f32>,
    /// Of the shares' products: of the later key with itself, of both.
    own: f32,
    both: f32,
    /// Of the squares of the differences.
    squares: Vec<f32>,
    energy: f64,
    /// Of the crops, and of their squares.
    seen: [Vec<f32>; 2],
    frames: u32,
}

impl Stretch {
    fn new(count: usize) -> Self {
        Stretch {
            rising: vec![0.0; count],
            falling: vec![0.0; count],
            squares: vec![0.0; count],
            own: 0.0,
            both: 0.0,
            energy: 0.0,
            seen: [vec![0.0; count], vec![0.0; count]],
            frames: 0,
        }
    }

    fn add(&mut self, crop: &[f32], difference: &[f32], share: f32) {
        let [sum, squares] = &mut self.seen;
        sum.iter_mut().zip(crop).for_each(|(sum, v)| *sum += v);
        squares.iter_mut().zip(crop).for_each(|(sum, v)| *sum += v * v);
        for ((rising, falling), d) in self.rising.iter_mut().zip(&mut self.falling).zip(difference) {
            *rising += share * d;
            *falling += (1.0 - share) * d;
        }
        self.squares.iter_mut().zip(difference).for_each(|(sum, d)| *sum += d * d);
        self.own += share * share;
        self.both += share * (1.0 - share);
        self.energy += difference.iter().map(|d| f64::from(d * d)).sum::<f64>();
        self.frames += 1;
    }

    /// Sum of the shares of the later key.
    fn risen(&self) -> f32 {
        self.own + self.both
    }

    /// Squared error of the frames, summed, between two keys.
    fn error(&self, from: &[f32], to: &[f32]) -> f64 {
        let fallen = self.frames as f32 - self.own - 2.0 * self.both;
        let keys = self.rising.iter().zip(&self.falling).zip(from.iter().zip(to));
        let saved = |((rising, falling), (from, to)): ((&f32, &f32), (&f32, &f32))| {
            2.0 * (from * falling + to * rising) - from * from * fallen - 2.0 * from * to * self.both - to * to * self.own
        };
        self.energy - keys.map(|key| f64::from(saved(key))).sum::<f64>()
    }
}

/// Squared errors of a clip, summed over frames, pixels and colours at the residual's size.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Worth {
    /// Without the residual.
    pub plain: f64,
    /// With it.
    pub better: f64,
}

impl Worth {
    /// What the residual gains, dB.
    pub fn decibels(&self) -> f64 {
        if self.plain > 0.0 {
            10.0 * (self.plain / self.better.max(1e-9 * self.plain)).log10()
        } else {
            0.0
        }
    }
}

/// Makes records.
pub struct ResidualMaker {
    options: ResidualOptions,
    resolution: u32,
    chain: Chain,
    /// The key before, as a picture.
    sent: Vec<f32>,
    /// The stretch whose later key waits for the one behind it, and the latter.
    done: Option<Stretch>,
    open: Stretch,
    /// Frames taken.
    frames: u64,
    /// First frame of the next key's fade, and of the last intra record.
    next: u64,
    intra: Option<u64>,
    number: u64,
    /// Bytes that may be spent, and how many of them are borrowed.
    credit: f64,
    debt: f64,
    worth: Worth,
}

impl ResidualMaker {
    /// For crops of `resolution` pixels.
    ///
    /// # Errors
    /// Misuse for options out of range.
    pub fn new(resolution: u32, options: ResidualOptions) -> Result<Self> {
        let sane = options.bytes_per_frame.is_finite() && options.bytes_per_frame > 0.0;
        if !sane || options.every == 0 || options.every > MAX_FADE || resolution == 0 {
            return Err(Error::Misuse(format!("{options:?} for crops of {resolution} pixels")));
        }
        let chain = Chain::new(residual_side(resolution, residual_halvings(resolution)));
        let count = chain.coefficients.len();
        let bytes = options.bytes_per_frame;
        let later = options.frames.map_or(f64::INFINITY, |frames| frames.saturating_sub(1) as f64 * bytes);
        let debt = (SAVINGS * bytes * f64::from(options.every)).min(BORROWED * later);
        Ok(ResidualMaker {
            options,
            resolution,
            sent: vec![0.0; count],
            chain,
            done: None,
            open: Stretch::new(count),
            frames: 0,
            next: 0,
            intra: None,
            number: 0,
            credit: debt,
            debt,
            worth: Worth::default(),
        })
    }

    /// The next frame: its crop, and the crop that a receiver draws without residual. A record belongs before the frame that it names, and comes up to twice
    /// [`ResidualOptions::every`] frames after it: streams are written when the clip is over.
    ///
    /// # Errors
    /// Misuse for frames of another size.
    pub fn push(&mut self, crop: &Frame, drawn: &Frame) -> Result<Option<ResidualRecord>> {
        if [crop, drawn].iter().any(|f| f.width != self.resolution || f.height != self.resolution) {
            return Err(Error::Misuse(format!("residual: a frame that is not {0} x {0}", self.resolution)));
        }
        let side = self.chain.side;
        let seen = shrunk(crop, side);
        let difference: Vec<f32> = seen.iter().zip(shrunk(drawn, side)).map(|(seen, drawn)| seen - drawn).collect();
        if self.frames == 0 {
            // The first key is there at once: its own frame is a stretch of its own.
            let mut first = Stretch::new(difference.len());
            first.add(&seen, &difference, 1.0);
            self.done = Some(first);
        } else {
            let share = (self.open.frames + 1) as f32 / self.options.every as f32;
            self.open.add(&seen, &difference, share);
        }
        self.frames += 1;
        if self.open.frames < self.options.every {
            return Ok(None);
        }
        self.key()
    }

    /// The records that are left, and what all of them are worth.
    ///
    /// # Errors
    /// As [`ResidualMaker::push`].
    pub fn finish(mut self) -> Result<(Vec<ResidualRecord>, Worth)> {
        let mut out = Vec::new();
        while self.done.is_some() {
            out.extend(self.key()?);
        }
        Ok((out, self.worth))
    }

    /// The key between the two stretches that are held.
    fn key(&mut self) -> Result<Option<ResidualRecord>> {
        let count = self.sent.len();
        let behind = std::mem::replace(&mut self.open, Stretch::new(count));
        let Some(before) = self.done.take() else { return Ok(None) };
        // With no key before it, `sent` is nothing, and weighs nothing.
        let trusted = behind.frames as f32 - TRUST_LOST * behind.risen();
        let weight = before.own + trusted;
        let sums = before.rising.iter().zip(&self.sent).zip(behind.falling.iter().zip(&behind.rising));
        let wanted = |((rising, sent), (near, far)): ((&f32, &f32), (&f32, &f32))| {
            (rising - before.both * sent + near + (1.0 - TRUST_LOST) * far) / weight
        };
        let mut wanted: Vec<f32> = sums.map(wanted).collect();
        steady(&mut wanted, &power(&before, &behind), self.chain.side);
        // The last stretch may be cut short; its key is then never reached, as its shares say.
        let (first, fade) = (self.next, if self.next == 0 { 1 } else { self.options.every });
        self.next += u64::from(before.frames);
        let (bytes, key) = (self.options.bytes_per_frame, f64::from(self.options.every) * self.options.bytes_per_frame);
        let income = f64::from(before.frames) * bytes;
        let repaid = self.debt.min(if first == 0 { 0.0 } else { REPAID * income });
        self.debt -= repaid;
        self.credit = (self.credit + income - repaid).min((1.0 + SAVINGS) * key);
        let last = self.sent.clone();
        let record = self.send(&wanted, first, fade)?;
        self.worth.plain += before.energy;
        self.worth.better += before.error(&last, &self.sent);
        self.done = (behind.frames > 0).then_some(behind);
        Ok(record)
    }

    /// A key in as many bytes as there are; nothing if what was sent before does as well.
    fn send(&mut self, wanted: &[f32], first: u64, fade: u32) -> Result<Option<ResidualRecord>> {
        let side = self.chain.side;
        let target = wavelet::forward(wanted, side);
        // Once it is time for a whole one it is sent if it does nearly as well, and a while later in any case.
        let since = self.intra.map_or(u64::MAX, |last| first - last);
        let (due, forced) = (since >= self.options.intra, since >= self.options.intra.saturating_mul(2));
        let room = (self.credit - RECORD_BYTES).min(MAX_RECORD_BYTES as f64 - RECORD_BYTES);
        let far = |chain: &Chain| chain.coefficients.iter().zip(&target).map(|(c, t)| f64::from((c - t).powi(2))).sum::<f64>();
        let mut least = if forced { far(&Chain::new(side)) } else { far(&self.chain) };
        let mut chosen = None;
        let changes = KEPT.iter().map(|kept| (*kept, false)).filter(|_| !forced);
        for (kept, intra) in changes.chain(due.then_some((0, true))) {
            let mut base = if intra { Chain::new(side) } else { self.chain.clone() };
            base.keep(kept);
            if let Some((step, coded)) = finest(&base, &target, room)? {
                let Coded { bytes, bands, model, levels } = coded;
                let mut chain = Chain { model, ..base };
                chain.add(self.number, levels, residual_step(step));
                let error = far(&chain) / if intra { NEARLY } else { 1.0 };
                if error < least {
                    least = error;
                    chosen = Some((chain, (kept, intra), step, bands, bytes));
                }
            }
        }
        let Some((chain, (kept, intra), step, bands, levels)) = chosen else { return Ok(None) };
        self.credit -= levels.len() as f64 + RECORD_BYTES;
        self.sent = chain.picture();
        self.chain = chain;
        let halvings = residual_halvings(self.resolution);
        let record =
            ResidualRecord { number: self.number, frame: first, fade, intra, kept, halvings, step, bands: bands as u8, levels };
        self.number += 1;
        if intra {
            self.intra = Some(first);
        }
        Ok(Some(record))
    }
}

/// Changes as they would be sent.
struct Coded {
    bytes: Vec<u8>,
    bands: usize,
    model: BandModel,
    levels: Vec<i32>,
}

/// What leads from `base` to `target` in the finest steps that fit `room` bytes; nothing if not even the coarsest do.
fn finest(base: &Chain, target: &[f32], room: f64) -> Result<Option<(u8, Coded)>> {
    let coded = |step: u8| -> Result<Coded> {
        let size = residual_step(step);
        let level = |(t, c): (&f32, &f32)| {
            let change = (t - c) / size;
            (change.abs() + 1.0 - ROUND_UP) as i32 * if change < 0.0 { -1 } else { 1 }
        };
        let levels: Vec<i32> = target.iter().zip(&base.coefficients).map(level).collect();
        let mut model = base.model.clone();
        let (bytes, bands) = model.encode(&levels, &base.levels, base.side)?;
        Ok(Coded { bytes, bands, model, levels })
    };
    // `fits` is the finest known to fit, all below `low` are known not to.
    let (mut low, mut fits) = (FINEST, None);
    let mut high = MAX_RESIDUAL_STEP;
    while low <= high {
        let step = low + (high - low) / 2;
        let found = coded(step)?;
        if found.bytes.len() as f64 <= room {
            fits = Some((step, found));
            high = step - 1;
        } else {
            low = step + 1;
        }
    }
    Ok(fits)
}

/// Per sample what a key between two stretches is measured by: the mean square of the differences, and the variance of the crops.
fn power(before: &Stretch, behind: &Stretch) -> Vec<f32> {
    let frames = (before.frames + behind.frames) as f32;
    let mean = |a: &[f32], b: &[f32], at: usize| (a[at] + b[at]) / frames;
    let one = |at: usize| {
        let ([sum, squares], [more, more_squares]) = (&before.seen, &behind.seen);
        let variance = mean(squares, more_squares, at) - mean(sum, more, at).powi(2);
        mean(&before.squares, &behind.squares, at) + MOTION * variance.max(0.0)
    };
    (0..before.squares.len()).map(one).collect()
}

/// Takes back what is not steady in `wanted`, a picture of interleaved colours; `power`: as by [`power`].
fn steady(wanted: &mut [f32], power: &[f32], side: usize) {
    let sum = |rgb: &[f32]| rgb.iter().sum::<f32>();
    let steady: Vec<f32> = wanted.chunks_exact(3).map(|rgb| rgb.iter().map(|v| v * v).sum()).collect();
    let power: Vec<f32> = power.chunks_exact(3).map(sum).collect();
    let near = |plane: &[f32], x: usize, y: usize| {
        let rows = y.saturating_sub(AROUND)..(y + AROUND + 1).min(side);
        let columns = x.saturating_sub(AROUND)..(x + AROUND + 1).min(side);
        rows.map(|y| sum(&plane[y * side..][columns.clone()])).sum::<f32>()
    };
    for (at, rgb) in wanted.chunks_exact_mut(3).enumerate() {
        let (x, y) = (at % side, at / side);
        let share = near(&steady, x, y) / near(&power, x, y).max(1e-6);
        let kept = ((share - PASSING) / (STEADY - PASSING)).clamp(0.0, 1.0);
        rgb.iter_mut().for_each(|v| *v *= kept);
    }
}

/// A square frame at `side` pixels: means of squares, interleaved colours.
fn shrunk(frame: &Frame, side: usize) -> Vec<f32> {
    let width = frame.width as usize;
    let sample = |i: usize| f32::from(frame.data[i]);
    if side == width {
        return (0..frame.data.len()).map(sample).collect();
    }
    let (mut sums, mut counts) = (vec![0.0; 3 * side * side], vec![0.0f32; side * side]);
    for y in 0..width {
        for x in 0..width {
            let at = y * side / width * side + x * side / width;
            counts[at] += 1.0;
            (0..3).for_each(|c| sums[3 * at + c] += sample(3 * (y * width + x) + c));
        }
    }
    sums.chunks_exact_mut(3).zip(counts).for_each(|(rgb, n)| rgb.iter_mut().for_each(|v| *v /= n.max(1.0)));
    sums
}

#[cfg(test)]
mod tests {
    use super::super::Residual;
    use super::*;

    const SIDE: u32 = 32;

    /// Grey crops with a bright spot that comes slowly, beside its drawing without one.
    fn clip(frames: u32) -> Vec<(Frame, Frame)> {
        let drawn = Frame::filled(SIDE, SIDE, [90, 100, 110]).unwrap();
        let crop = |t: u32| {
            let mut crop = drawn.clone();
            for (x, y) in (8..16).flat_map(|x| (10..14).map(move |y| (x, y))) {
                let at = 3 * (y * SIDE + x) as usize;
                crop.data[at] += (40 + 60 * t / frames) as u8;
            }
            crop
        };
        (0..frames).map(|t| (crop(t), drawn.clone())).collect()
    }

    fn off(a: &Frame, b: &Frame) -> f64 {
        a.data.iter().zip(&b.data).map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2)).sum::<f64>() / a.data.len() as f64
    }

    fn records(clip: &[(Frame, Frame)], options: ResidualOptions) -> (Vec<ResidualRecord>, Worth) {
        let mut maker = ResidualMaker::new(clip[0].0.width, options).unwrap();
        let mut out = Vec::new();
        for (t, (crop, drawn)) in clip.iter().enumerate() {
            let record = maker.push(crop, drawn).unwrap();
            assert!(record.iter().all(|r| r.frame <= t as u64));
            out.extend(record);
        }
        let (rest, worth) = maker.finish().unwrap();
        out.extend(rest);
        (out, worth)
    }

    /// Errors without the residual and with it.
    fn shown(clip: &[(Frame, Frame)], records: &[ResidualRecord]) -> (f64, f64) {
        let mut residual = Residual::new();
        records.iter().for_each(|r| residual.push(r.clone()));
        let (mut plain, mut better) = (0.0, 0.0);
        for (t, (crop, drawn)) in clip.iter().enumerate() {
            let mut frame = drawn.clone();
            residual.apply(t as u64, &mut frame);
            plain += off(crop, drawn);
            better += off(crop, &frame);
        }
        (plain, better)
    }

    #[test]
    fn what_comes_slowly_is_shown_within_the_bytes() {
        let clip = clip(50);
        for (every, bytes) in [(1, 40.0), (16, 12.0), (200, 8.0)] {
            let options = ResidualOptions { bytes_per_frame: bytes, every, intra: 500, frames: Some(50) };
            let (records, worth) = records(&clip, options);
            let spent: usize = records.iter().map(|r| r.levels.len() + RECORD_BYTES as usize).sum();
            assert!(spent as f64 <= bytes * 50.0, "{spent} bytes");
            let (plain, better) = shown(&clip, &records);
            assert!(better < 0.1 * plain, "every {every}: {plain} -> {better}");
            // What the maker thinks it is: the sums here are means over pixels, of rounded pictures.
            let told = [worth.plain, worth.better].map(|sum| sum / f64::from(3 * SIDE * SIDE));
            assert!((told[0] - plain).abs() < 1e-3 * plain && (told[1] - better).abs() < 0.05 * plain, "{told:?} {better}");
            assert!(worth.decibels() > 9.0);
        }
    }

    #[test]
    fn large_crops_get_a_residual_of_half_the_side() {
        let (mut crop, drawn) = (Frame::filled(400, 400, [9, 9, 9]).unwrap(), Frame::filled(400, 400, [9, 9, 9]).unwrap());
        crop.data.iter_mut().step_by(3).for_each(|red| *red = 200);
        let clip = vec![(crop, drawn); 3];
        let (records, _) = records(&clip, ResidualOptions::of(200.0));
        assert_eq!(records[0].halvings, 1);
        let (plain, better) = shown(&clip, &records);
        assert!(better < 1e-3 * plain, "{plain} {better}");
    }

    #[test]
    fn a_lost_record_costs_what_needs_it_until_the_next_whole_one() {
        let clip = clip(60);
        let options = ResidualOptions { every: 10, intra: 15, ..ResidualOptions::of(40.0) };
        let (all, _) = records(&clip, options);
        assert!(all[0].intra && all.iter().filter(|r| r.intra).count() > 1 && all.iter().any(|r| !r.intra));
        let without = |lost: u64| all.iter().filter(|r| r.number != lost).cloned().collect::<Vec<_>>();
        let (plain, whole) = shown(&clip, &all);
        for lost in 0..all.len() as u64 {
            let (_, better) = shown(&clip, &without(lost));
            assert!(whole <= better && better < plain, "{lost}: {whole} {better} {plain}");
        }
        // Out of order, twice, for another size, nonsense: nothing breaks.
        let mut residual = Residual::new();
        all.iter().rev().chain(&all).for_each(|r| residual.push(r.clone()));
        residual.push(ResidualRecord { number: 99, frame: 61, fade: 1, intra: true, bands: 200, ..ResidualRecord::default() });
        residual.push(ResidualRecord {
            number: 100,
            frame: 61,
            fade: 1,
            intra: true,
            bands: 1,
            levels: vec![255; 9],
            ..all[0].clone()
        });
        for number in 0..80 {
            residual.apply(number, &mut Frame::filled(if number % 2 == 0 { SIDE } else { 7 }, SIDE, [1, 2, 3]).unwrap());
        }
    }

    #[test]
    fn whole_ones_come_in_time_and_cost_no_more_than_there_is() {
        // A still picture of noise, for which there are never bytes enough.
        let noise = |i: usize| (i as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(23) as u8;
        let drawn = Frame::filled(SIDE, SIDE, [128; 3]).unwrap();
        let crop = Frame::new(SIDE, SIDE, (0..3 * (SIDE * SIDE) as usize).map(noise).collect()).unwrap();
        let clip = vec![(crop, drawn); 400];
        let options = ResidualOptions { every: 8, intra: 40, ..ResidualOptions::of(8.0) };
        let (all, worth) = records(&clip, options);
        let whole: Vec<u64> = all.iter().filter(|r| r.intra).map(|r| r.frame).collect();
        assert!(whole.len() >= 5 && whole.windows(2).all(|pair| pair[1] - pair[0] <= 88), "{whole:?}");
        assert!(all.len() > 30 && worth.better < 0.9 * worth.plain, "{} records, {worth:?}", all.len());
        // However much may be spent, a record is never larger than the stream takes.
        let large = Frame::new(256, 256, (0..3 << 16).map(noise).collect()).unwrap();
        let flat = Frame::filled(256, 256, [128; 3]).unwrap();
        let (all, _) = records(&vec![(large, flat); 3], ResidualOptions::of(1e6));
        assert!(all[0].levels.len() > 12_000 && all.iter().all(|r| r.levels.len() + 20 <= MAX_RECORD_BYTES));
    }

    #[test]
    fn crops_that_are_drawn_well_cost_nothing() {
        let clip: Vec<_> = clip(40).into_iter().map(|(_, drawn)| (drawn.clone(), drawn)).collect();
        assert_eq!(records(&clip, ResidualOptions::of(10.0)).0, []);
        let nan = ResidualOptions { bytes_per_frame: f64::NAN, ..ResidualOptions::of(1.0) };
        for wrong in [nan, ResidualOptions::of(0.0), ResidualOptions { every: 0, ..ResidualOptions::of(1.0) }] {
            assert!(matches!(ResidualMaker::new(SIDE, wrong), Err(Error::Misuse(_))));
        }
    }
}
