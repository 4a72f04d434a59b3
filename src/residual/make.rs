//! The sender of residuals of a clip.
//!
//! In: each frame's crop and what a receiver draws of it, in order. Out: a record per key, every so many frames. Between two keys the receiver goes
//! straight, so a key is what fits the differences of the frames on both sides best, in least squares, given the key before as it was sent and as if
//! none would follow; the frames behind it count the less the nearer they are to the next one.

use super::key::{leave_face, Keys, ResidualOptions, Spot, TRUST_LOST};
use crate::bitstream::{ResidualKind, ResidualRecord};
use crate::error::Result;
use crate::frame::Frame;

/// Weighed sums over the frames between two keys.
struct Stretch {
    /// Of the differences, by their share of the key behind them and of the one before.
    rising: Vec<f32>,
    falling: Vec<f32>,
    /// Of the shares' products: of the later key with itself, of both.
    own: f32,
    both: f32,
    /// Of the squares of the differences.
    energy: f64,
    frames: u32,
}

impl Stretch {
    fn new(count: usize) -> Self {
        Stretch { rising: vec![0.0; count], falling: vec![0.0; count], own: 0.0, both: 0.0, energy: 0.0, frames: 0 }
    }

    fn add(&mut self, difference: &[f32], share: f32) {
        for ((rising, falling), d) in self.rising.iter_mut().zip(&mut self.falling).zip(difference) {
            *rising += share * d;
            *falling += (1.0 - share) * d;
        }
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

/// Squared errors of a clip, summed over frames, pixels and colours at the residual's size, and what it costs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Worth {
    /// Without the residual.
    pub plain: f64,
    /// With it.
    pub better: f64,
    /// Bytes of its records, at most.
    pub bytes: f64,
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

/// Makes the records of a clip.
pub struct ResidualMaker {
    keys: Keys,
    /// The stretch whose later key waits for the one behind it, and the latter.
    done: Option<Stretch>,
    open: Stretch,
    /// Frames taken.
    frames: u64,
    /// First frame of the next key's fade.
    next: u64,
    worth: Worth,
}

impl ResidualMaker {
    /// For crops of `resolution` pixels.
    ///
    /// # Errors
    /// Misuse for options out of range.
    pub fn new(resolution: u32, options: ResidualOptions) -> Result<Self> {
        let keys = Keys::new(resolution, options, ResidualKind::Colours)?;
        let open = Stretch::new(keys.sent.len());
        Ok(ResidualMaker { keys, done: None, open, frames: 0, next: 0, worth: Worth::default() })
    }

    /// The next frame: its crop, and the crop that a receiver draws without residual. A record belongs before the frame that it names, and comes up to twice
    /// [`ResidualOptions::every`] frames after it: streams are written when the clip is over.
    ///
    /// # Errors
    /// Misuse for frames of another size.
    pub fn push(&mut self, crop: &Frame, drawn: &Frame) -> Result<Option<ResidualRecord>> {
        let difference = self.keys.difference(crop, drawn)?;
        let every = self.keys.options.every;
        if self.frames == 0 {
            // The first key is there at once: its own frame is a stretch of its own.
            let mut first = Stretch::new(difference.len());
            first.add(&difference, 1.0);
            self.done = Some(first);
        } else {
            let share = (self.open.frames + 1) as f32 / every as f32;
            self.open.add(&difference, share);
        }
        self.frames += 1;
        if self.open.frames < every {
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
        let count = self.keys.sent.len();
        let behind = std::mem::replace(&mut self.open, Stretch::new(count));
        let Some(before) = self.done.take() else { return Ok(None) };
        // With no key before it, `sent` is nothing, and weighs nothing.
        let trusted = behind.frames as f32 - TRUST_LOST * behind.risen();
        let weight = before.own + trusted;
        let sums = before.rising.iter().zip(&self.keys.sent).zip(behind.falling.iter().zip(&behind.rising));
        let wanted = |((rising, sent), (near, far)): ((&f32, &f32), (&f32, &f32))| {
            (rising - before.both * sent + near + (1.0 - TRUST_LOST) * far) / weight
        };
        let mut wanted: Vec<f32> = sums.map(wanted).collect();
        leave_face(&mut wanted, self.keys.side());
        // The last stretch may be cut short; its key is then never reached, as its shares say.
        let fade = if self.next == 0 { 1 } else { self.keys.options.every };
        let spot = Spot { first: self.next, fade, least_gain: 0.0, harmful: false };
        self.keys.earn(self.next, before.frames);
        self.next += u64::from(before.frames);
        let last = self.keys.sent.clone();
        let record = self.keys.send(&wanted, spot)?;
        self.worth.bytes += record.iter().map(ResidualRecord::most_bytes).sum::<usize>() as f64;
        self.worth.plain += before.energy;
        self.worth.better += before.error(&last, &self.keys.sent);
        self.done = (behind.frames > 0).then_some(behind);
        Ok(record)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Residual;
    use super::*;
    use crate::bitstream::MAX_RECORD_BYTES;
    use crate::error::Error;

    const SIDE: u32 = 32;

    /// Grey crops with a bright spot beside the face that comes slowly, and their drawing without one.
    fn clip(frames: u32) -> Vec<(Frame, Frame)> {
        let drawn = Frame::filled(SIDE, SIDE, [90, 100, 110]).unwrap();
        let crop = |t: u32| {
            let mut crop = drawn.clone();
            for (x, y) in (0..6).flat_map(|x| (10..16).map(move |y| (x, y))) {
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
            let spent: usize = records.iter().map(ResidualRecord::most_bytes).sum();
            assert!(spent as f64 <= bytes * 50.0 && worth.bytes == spent as f64, "{spent} bytes");
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
