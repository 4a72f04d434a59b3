//! The sender of residuals in a call, which knows no later frame.
//!
//! In: now and then a frame's crop and what a receiver draws of it. Out: records, each to be sent before the next frame. An average of the differences that forgets
//! takes the place of a clip's least squares; where what was sent has come to do harm, as when a head has moved on, the next record comes at once.

use super::key::{leave_face, Keys, ResidualOptions, Spot};
use crate::bitstream::{ResidualKind, ResidualRecord};
use crate::error::{Error, Result};
use crate::frame::Frame;

/// Frames after which a difference counts by 1/e.
const MEMORY: f32 = 6.0;
/// Least share of the error that a record must take away.
const WORTH: f64 = 0.04;

/// Makes the records of a call.
pub struct CallResidual {
    keys: Keys,
    /// Average of the differences, and how much has gone into it, 0 to 1.
    mean: Vec<f32>,
    known: f32,
    /// Number behind the last frame taken, and behind the last one before a record was thought of.
    last: u64,
    asked: u64,
}

impl ResidualOptions {
    /// As calls need it: what was true half a second ago may not be any more, and what is lost must come again.
    pub fn of_call(bytes_per_frame: f64) -> Self {
        ResidualOptions { every: 8, intra: 250, ..ResidualOptions::of(bytes_per_frame) }
    }
}

impl CallResidual {
    /// For crops of `resolution` pixels.
    ///
    /// # Errors
    /// Misuse for options out of range.
    pub fn new(resolution: u32, options: ResidualOptions) -> Result<Self> {
        let keys = Keys::new(resolution, options, ResidualKind::Colours)?;
        Ok(CallResidual { mean: vec![0.0; keys.sent.len()], keys, known: 0.0, last: 0, asked: 0 })
    }

    /// The frame of this number: its crop, and the crop that a receiver draws without residual. Numbers rise; every fourth frame is enough. A record belongs before
    /// the next frame.
    ///
    /// # Errors
    /// Misuse for frames of another size and a number that does not rise.
    pub fn push(&mut self, number: u64, crop: &Frame, drawn: &Frame) -> Result<Option<ResidualRecord>> {
        let difference = self.keys.difference(crop, drawn)?;
        let next = self.rise(number)?;
        let energy = |values: &mut dyn Iterator<Item = f32>| values.map(|v| f64::from(v * v)).sum::<f64>();
        let plain = energy(&mut difference.iter().copied());
        let harmful = energy(&mut difference.iter().zip(&self.keys.sent).map(|(d, sent)| d - sent)) > plain;
        self.known = if harmful { 0.0 } else { self.known };
        let share = 1.0 - (-(next.saturating_sub(self.last) as f32) / MEMORY).exp();
        self.known += share * (1.0 - self.known);
        let share = share / self.known;
        self.mean.iter_mut().zip(&difference).for_each(|(mean, d)| *mean += share * (d - *mean));
        self.last = next;
        let every = u64::from(self.keys.options.every);
        if !harmful && next < self.asked + every {
            return Ok(None);
        }
        let mut wanted = self.mean.clone();
        leave_face(&mut wanted, self.keys.side());
        self.send(next, &wanted, (WORTH * plain, harmful))
    }

    /// In the frame of this number the person is no longer seen: what the drawing misses there is nobody's business, and what was sent before is let go of.
    ///
    /// # Errors
    /// Misuse for a number that does not rise.
    pub fn nobody(&mut self, number: u64) -> Result<Option<ResidualRecord>> {
        let next = self.rise(number)?;
        (self.known, self.last) = (0.0, next);
        let unseen = self.keys.sent.iter().all(|v| *v == 0.0);
        if unseen && !self.keys.asked_for(next) {
            return Ok(None);
        }
        self.keys.let_go(self.spot(next, (0.0, true))).map(Some)
    }

    /// The number behind this one.
    fn rise(&self, number: u64) -> Result<u64> {
        match number >= self.last {
            true => Ok(number + 1),
            false => Err(Error::Misuse(format!("residual: frame {number} behind frame {}", self.last))),
        }
    }

    fn spot(&self, first: u64, (least_gain, harmful): (f64, bool)) -> Spot {
        Spot { first, fade: (self.keys.options.every / 2).max(1), least_gain, harmful }
    }

    fn send(&mut self, next: u64, wanted: &[f32], how: (f64, bool)) -> Result<Option<ResidualRecord>> {
        // Pauses earn nothing.
        let most = 2 * u64::from(self.keys.options.every);
        self.keys.earn(self.asked, next.saturating_sub(self.asked).min(most) as u32);
        self.asked = next;
        self.keys.send(wanted, self.spot(next, how))
    }

    /// A record that needs no other is to come: a receiver joins, or has lost one.
    pub fn want_intra(&mut self) {
        self.keys.want_intra();
    }
}

#[cfg(test)]
mod tests {
    use super::super::Residual;
    use super::*;

    const SIDE: u32 = 32;

    /// A grey drawing, and the crop of it in which a square at the left edge is brighter by so much.
    fn pair(more: u8) -> (Frame, Frame) {
        let drawn = Frame::filled(SIDE, SIDE, [90, 100, 110]).unwrap();
        let mut crop = drawn.clone();
        (0..8).flat_map(|x| (4..20).map(move |y| 3 * (y * SIDE + x) as usize)).for_each(|at| crop.data[at] += more);
        (crop, drawn)
    }

    /// What a receiver sees of a call that looks at every fourth frame: per frame the squared error that is left, as a share of that without; and the records.
    fn call(clip: &[(Frame, Frame)], bytes: f64, lost: Option<u64>) -> (Vec<f64>, Vec<ResidualRecord>) {
        let (mut sender, mut receiver) = (CallResidual::new(SIDE, ResidualOptions::of_call(bytes)).unwrap(), Residual::new());
        let off = |a: &Frame, b: &Frame| a.data.iter().zip(&b.data).map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2)).sum::<f64>();
        let (mut left, mut records) = (Vec::new(), Vec::new());
        for (number, (crop, drawn)) in (0..).zip(clip) {
            let mut shown = drawn.clone();
            receiver.apply(number, &mut shown);
            left.push(off(crop, &shown) / off(crop, drawn).max(1.0));
            if receiver.needs_intra() {
                sender.want_intra();
            }
            let record = if number % 4 == 3 { sender.push(number, crop, drawn).unwrap() } else { None };
            if let Some(record) = record {
                assert_eq!(record.frame, number + 1);
                if lost != Some(record.number) {
                    receiver.push(record.clone());
                }
                records.push(record);
            }
        }
        (left, records)
    }

    #[test]
    fn what_is_there_is_shown_soon_and_let_go_of_when_it_has_passed() {
        let clip: Vec<_> = (0..80).map(|t| pair(if t < 40 { 60 } else { 0 })).collect();
        let (left, records) = call(&clip, 6.0, None);
        assert!(left[20..40].iter().all(|left| *left < 0.1), "{left:?}");
        let spent: usize = records.iter().map(|record| record.levels.len() + 20).sum();
        assert!(spent <= 6 * 80, "{spent} bytes");
        // Nothing is off without it any more: what was sent does harm.
        assert!(left[40] > 1000.0 && left[52..].iter().all(|left| *left < 100.0), "{left:?}");
    }

    #[test]
    fn who_is_not_seen_has_no_residual() {
        let (mut sender, mut receiver) = (CallResidual::new(SIDE, ResidualOptions::of_call(6.0)).unwrap(), Residual::new());
        let (crop, drawn) = pair(60);
        for number in (3..40).step_by(4) {
            sender.push(number, &crop, &drawn).unwrap().into_iter().for_each(|record| receiver.push(record));
        }
        let mut shown = drawn.clone();
        receiver.apply(40, &mut shown);
        assert_ne!(shown, drawn);
        // What is let go of needs nothing before it: the receiver that lost something sees it all the same.
        let gone = sender.nobody(43).unwrap().unwrap();
        assert!(gone.intra);
        receiver.push(gone);
        assert_eq!(sender.nobody(47).unwrap(), None);
        assert!(sender.nobody(45).is_err() && sender.push(45, &crop, &drawn).is_err());
        sender.want_intra();
        assert_eq!(sender.nobody(50).unwrap(), None, "the last one was whole, and is hardly there yet");
        assert!(sender.nobody(90).unwrap().unwrap().intra);
        let mut shown = drawn.clone();
        receiver.apply(48, &mut shown);
        assert_eq!(shown, drawn);
    }

    #[test]
    fn a_lost_record_is_made_good_by_a_whole_one_that_the_receiver_asks_for() {
        let clip: Vec<_> = (0..120).map(|t| pair(40 + t)).collect();
        let (whole, all) = call(&clip, 12.0, None);
        assert!(all.iter().filter(|record| record.intra).count() == 1 && all.len() > 3, "{} records", all.len());
        let (left, records) = call(&clip, 12.0, Some(1));
        assert!(records[2..].iter().any(|record| record.intra));
        assert!(left[119] < 0.1 && whole[119] < 0.1, "{} {}", left[119], whole[119]);
    }

    #[test]
    fn a_call_of_minutes_still_changes_and_lets_go() {
        let clip: Vec<_> = (0..1300).map(|t| pair(if t % 600 < 500 { 60 } else { 0 })).collect();
        let (left, records) = call(&clip, 6.0, None);
        for (from, to) in [(480, 500), (1080, 1100)] {
            assert!(left[from..to].iter().all(|left| *left < 0.1), "{from}");
        }
        assert!(left[540..600].iter().chain(&left[1140..1200]).all(|left| *left < 100.0));
        assert!(records.iter().filter(|record| record.intra).count() >= 3);
    }

    #[test]
    fn drawings_that_need_nothing_get_nothing() {
        let clip: Vec<_> = (0..60).map(|_| pair(0)).collect();
        assert_eq!(call(&clip, 20.0, None).1, []);
        assert!(CallResidual::new(SIDE, ResidualOptions::of_call(0.0)).is_err());
        let mut sender = CallResidual::new(SIDE, ResidualOptions::of_call(9.0)).unwrap();
        // Whoever joins before anything was sent misses nothing.
        sender.want_intra();
        let (crop, drawn) = pair(0);
        assert_eq!(sender.push(8, &crop, &drawn).unwrap(), None);
    }
}
