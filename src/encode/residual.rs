//! What the numbers miss: they are drawn as a receiver will, and what is displaced or of another colour becomes residual records. [`residuals`] for a clip, [`LiveResidual`] for a call.
//!
//! In: the numbers, of a clip as they come out of the stream, and each frame's crop. Out: records for [`StreamWriter::write_residual`](crate::bitstream::StreamWriter::write_residual). Source: ours.

use crate::bitstream::{Identity, ResidualRecord};
use crate::decode::{DecodeOptions, Decoder};
use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::pack::Pack;
use crate::params::FrameParams;
use crate::progress::{check, Progress};
use crate::residual::{CallResidual, MotionMaker, ResidualMaker, ResidualOptions, Settled, Worth};

/// Least gain, dB, for each byte a frame that a residual takes; beyond so many bytes it need not be more. The numbers' own last bytes give two or three times as much.
const WORTH: f64 = 0.05;
const WORTH_BYTES: f64 = 6.0;
/// Crops drawn together.
const BATCH: usize = 16;
/// A call looks at every so many frames: to draw them all would cost as much as to find their numbers.
const LOOK: u64 = 4;
/// Looks without the person after which what was sent is let go of: a hand may pass.
const GONE: u32 = 3;

/// Of the bytes so much is for the motion, where there is any, the rest for colours.
const MOTION_SHARE: f64 = 0.5;

/// The records of a clip, none if they would gain too little for their bytes: `params` as a receiver has them, `crops` of the pack's resolution, as many. Holds a few dozen
/// frames at a time. Colours alone, the same in fewer bytes, and motion with colours on it are all made, and what comes
/// nearest of those that are worth their bytes is sent. [`ResidualOptions::every`] is for the colours.
///
/// # Errors
/// Misuse for crops of another size or options out of range; whatever `crops` fails with; device; cancelled.
pub fn residuals(
    pack: &Pack,
    identity: &Identity,
    params: &[FrameParams],
    crops: impl IntoIterator<Item = Result<Frame>>,
    options: (&ResidualOptions, &DecodeOptions),
    progress: &dyn Progress,
) -> Result<Vec<ResidualRecord>> {
    let mut decoder = Decoder::new(pack, identity, options.1)?;
    let (side, bytes, frames) = (decoder.resolution(), options.0.bytes_per_frame, params.len());
    let known = |options, bytes_per_frame| ResidualOptions { frames: Some(frames as u64), bytes_per_frame, ..options };
    let mut motion = MotionMaker::new(
        side,
        known(ResidualOptions { intra: options.0.intra, ..ResidualOptions::of_motion(bytes) }, MOTION_SHARE * bytes),
    )?;
    let colours = |share: f64| Colours::new(side, known(*options.0, share * bytes));
    let (mut alone, mut fewer, mut upon) = (colours(1.0)?, colours(1.0 - MOTION_SHARE)?, colours(1.0 - MOTION_SHARE)?);
    let (mut moves, mut crops, mut done) = (Vec::new(), crops.into_iter(), 0);
    let mut settle = |settled: Settled| -> Result<()> {
        moves.extend(settled.record);
        settled.frames.iter().try_for_each(|(crop, shown)| upon.push(crop, shown))
    };
    progress.begin("residual", frames as u64);
    for part in params.chunks(BATCH) {
        check(progress)?;
        for drawn in decoder.render_batch(part)? {
            let crop = crops.next().ok_or_else(|| Error::Misuse("residual: fewer crops than frames".into()))??;
            alone.push(&crop, &drawn)?;
            fewer.push(&crop, &drawn)?;
            settle(motion.push(crop, drawn)?)?;
        }
        done += part.len() as u64;
        progress.advance(done, "");
    }
    let (rest, moved) = motion.finish()?;
    rest.into_iter().try_for_each(&mut settle)?;
    progress.end();
    let (alone, fewer, mut upon) = (alone.finish()?, fewer.finish()?, upon.finish()?);
    upon.worth.plain = alone.worth.plain;
    upon.worth.bytes += moved.bytes;
    upon.records.extend(moves);
    Ok(best([("colours", alone), ("fewer colours", fewer), ("motion and colours", upon)], frames))
}

/// Of several ways to spend bytes on a clip of so many frames the records of the one that comes nearest, if any is worth its bytes.
fn best(ways: [(&str, Way); 3], frames: usize) -> Vec<ResidualRecord> {
    let (mut most, mut best) = (0.0, Vec::new());
    for (name, way) in ways {
        let (gain, bytes) = (way.worth.decibels(), way.worth.bytes / frames.max(1) as f64);
        log::info!("a residual of {name}: {gain:.2} dB for {bytes:.1} bytes a frame");
        if !way.records.is_empty() && worthwhile(gain, bytes) && gain > most {
            (most, best) = (gain, way.records);
        }
    }
    log::info!("{}", if best.is_empty() { "none is sent".into() } else { format!("what gains {most:.2} dB is sent") });
    best
}

/// Records, and what they are worth.
struct Way {
    records: Vec<ResidualRecord>,
    worth: Worth,
}

/// A maker of colours and its records so far.
struct Colours {
    maker: ResidualMaker,
    records: Vec<ResidualRecord>,
}

impl Colours {
    fn new(resolution: u32, options: ResidualOptions) -> Result<Self> {
        Ok(Colours { maker: ResidualMaker::new(resolution, options)?, records: Vec::new() })
    }

    fn push(&mut self, crop: &Frame, drawn: &Frame) -> Result<()> {
        self.records.extend(self.maker.push(crop, drawn)?);
        Ok(())
    }

    fn finish(self) -> Result<Way> {
        let (rest, worth) = self.maker.finish()?;
        Ok(Way { records: [self.records, rest].concat(), worth })
    }
}

/// Whether a residual that takes so many bytes a frame gains enough, dB.
fn worthwhile(gain: f64, bytes: f64) -> bool {
    gain >= WORTH * bytes.min(WORTH_BYTES)
}

/// The records of a call, made frame by frame.
pub struct LiveResidual {
    decoder: Decoder,
    call: CallResidual,
    /// The next frame that is looked at.
    next: u64,
    /// Looks in a row in which the person was not seen.
    missed: u32,
}

impl LiveResidual {
    /// Of this person, in at most so many bytes a frame on average.
    ///
    /// # Errors
    /// Misuse for bytes out of range; as [`Decoder::new`].
    pub fn new(pack: &Pack, identity: &Identity, bytes_per_frame: f64, options: &DecodeOptions) -> Result<Self> {
        let decoder = Decoder::new(pack, identity, options)?;
        let call = CallResidual::new(decoder.resolution(), ResidualOptions::of_call(bytes_per_frame))?;
        Ok(LiveResidual { decoder, call, next: LOOK - 1, missed: 0 })
    }

    /// The frame of this number in the stream: its numbers, and its crop if it shows the person. Most frames cost nothing, others as much as to decode one. A record
    /// belongs before the next frame.
    ///
    /// # Errors
    /// Misuse for a crop of another size; device.
    pub fn push(&mut self, number: u64, params: &FrameParams, crop: Option<&Frame>) -> Result<Option<ResidualRecord>> {
        if !self.due(number) {
            return Ok(None);
        }
        self.next = number + LOOK;
        let Some(crop) = crop else {
            self.missed += 1;
            return if self.missed < GONE { Ok(None) } else { self.call.nobody(number) };
        };
        self.missed = 0;
        let drawn = self.decoder.render(params)?;
        self.call.push(number, crop, &drawn)
    }

    /// Whether the frame of this number will be looked at, which takes as long as to decode one.
    pub fn due(&self, number: u64) -> bool {
        number >= self.next
    }

    /// A record that needs no other is to come: a receiver joins, or has lost one.
    pub fn want_intra(&mut self) {
        self.call.want_intra();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bitstream::ResidualKind;
    use crate::pack::fixture;
    use crate::progress::Silent;
    use crate::residual::{Motion, Residual};

    #[test]
    fn a_residual_is_sent_where_it_gains_enough_for_its_bytes() {
        let pack = fixture::tiny(1).unwrap();
        let identity = fixture::identity(&pack, 1).unwrap();
        let decoding = DecodeOptions { threads: Some(1), ..DecodeOptions::default() };
        let params = vec![identity.rest; 40];
        let drawn = Decoder::new(&pack, &identity, &decoding).unwrap().render(&identity.rest).unwrap();
        // Noise that is another one in each frame, and a faint cast of colour above it.
        let records = |cast: i16| {
            let mut chance = 1u32;
            let mut noise = || {
                chance = chance.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (chance >> 28) as i16 - 8
            };
            let crops: Vec<_> = params
                .iter()
                .map(|_| {
                    let mut crop = drawn.clone();
                    crop.data.iter_mut().for_each(|byte| *byte = (i16::from(*byte) + noise() + cast).clamp(0, 255) as u8);
                    Ok(crop)
                })
                .collect();
            residuals(&pack, &identity, &params, crops, (&ResidualOptions::of(6.0), &decoding), &Silent).unwrap()
        };
        let judged =
            [(0.2, 5.5), (0.29, 30.0), (0.1, 1.9), (0.28, 5.5), (0.31, 30.0)].map(|(gain, bytes)| worthwhile(gain, bytes));
        assert_eq!(judged, [false, false, true, true, true]);
        assert_eq!(records(0), []);
        assert!(!records(6).is_empty());
    }

    #[test]
    fn what_is_drawn_beside_its_place_is_displaced() {
        let pack = fixture::tiny(1).unwrap();
        let identity = fixture::identity(&pack, 1).unwrap();
        let decoding = DecodeOptions { threads: Some(1), ..DecodeOptions::default() };
        let params = vec![identity.rest; 40];
        let drawn = Decoder::new(&pack, &identity, &decoding).unwrap().render(&identity.rest).unwrap();
        // Up to an eighth of a side to the right, and half as much down.
        let crop = |t: usize| {
            let far = 512.0 * t as f32 / params.len() as f32;
            let mut crop = drawn.clone();
            Motion::new([vec![far; 64], vec![far / 2.0; 64], vec![0.0; 64]].concat(), 8).displace(&mut crop);
            crop
        };
        let crops: Vec<Frame> = (0..params.len()).map(crop).collect();
        let options = (&ResidualOptions::of(10.0), &decoding);
        let records = residuals(&pack, &identity, &params, crops.iter().cloned().map(Ok), options, &Silent).unwrap();
        assert!(records.iter().any(|record| record.kind == ResidualKind::Motion));
        let mut residual = Residual::new();
        records.into_iter().for_each(|record| residual.push(record));
        let off = |a: &Frame, b: &Frame| a.data.iter().zip(&b.data).map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2)).sum::<f64>();
        let (mut plain, mut better) = (0.0, 0.0);
        for (number, crop) in (0..).zip(&crops) {
            let mut shown = drawn.clone();
            residual.apply(number, &mut shown);
            (plain, better) = (plain + off(crop, &drawn), better + off(crop, &shown));
        }
        assert!(better < 0.3 * plain, "{plain} -> {better}");
    }
}
