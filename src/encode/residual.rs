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
use crate::residual::{CallResidual, MotionMaker, ResidualMaker, ResidualOptions, Worth};

/// Least gain, dB, for each byte a frame that a residual takes; beyond so many bytes it need not be more. The numbers' own last bytes give two or three times as much.
const WORTH: f64 = 0.05;
const WORTH_BYTES: f64 = 6.0;
/// Crops drawn together.
const BATCH: usize = 16;
/// A call looks at every so many frames: to draw them all would cost as much as to find their numbers.
const LOOK: u64 = 4;
/// Looks without the person after which what was sent is let go of: a hand may pass.
const GONE: u32 = 3;

/// Of the bytes so much is for the motion, the rest for colours.
const MOTION_SHARE: f64 = 0.5;

/// The records of a clip, none if they would gain too little for their bytes: `params` as a receiver has them, `crops` of the pack's resolution, as many. Holds a few dozen
/// frames at a time. Motion and colours are judged apart, and what the one leaves the other does not get.
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
    let bytes = options.0.bytes_per_frame;
    let known = |options| ResidualOptions { frames: Some(params.len() as u64), ..options };
    let still = known(ResidualOptions { bytes_per_frame: (1.0 - MOTION_SHARE) * bytes, ..*options.0 });
    let moving = known(ResidualOptions::of_motion(MOTION_SHARE * bytes));
    let mut motion = MotionMaker::new(decoder.resolution(), moving)?;
    // Colours of what is drawn, and of what is displaced: which of them will be sent is known at the end.
    let colours = || Colours::new(decoder.resolution(), still);
    let mut colours = [colours()?, colours()?];
    let (mut moves, mut crops, mut done) = (Vec::new(), crops.into_iter(), 0);
    progress.begin("residual", params.len() as u64);
    for part in params.chunks(BATCH) {
        check(progress)?;
        for drawn in decoder.render_batch(part)? {
            let crop = crops.next().ok_or_else(|| Error::Misuse("residual: fewer crops than frames".into()))??;
            colours[0].push(&crop, &drawn)?;
            let settled = motion.push(crop, drawn)?;
            moves.extend(settled.record);
            settled.frames.iter().try_for_each(|(crop, shown)| colours[1].push(crop, shown))?;
        }
        done += part.len() as u64;
        progress.advance(done, "");
    }
    let (settled, worth) = motion.finish()?;
    for settled in settled {
        moves.extend(settled.record);
        settled.frames.iter().try_for_each(|(crop, shown)| colours[1].push(crop, shown))?;
    }
    progress.end();
    let moved = worth_sending("motion", &moves, worth, params.len());
    let [plain, displaced] = colours;
    let (records, worth) = if moved { displaced.finish()? } else { plain.finish()? };
    let coloured = worth_sending("colours", &records, worth, params.len());
    let mut out: Vec<_> = moves.into_iter().filter(|_| moved).chain(records.into_iter().filter(|_| coloured)).collect();
    out.sort_by_key(|record| record.frame);
    Ok(out)
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

    fn finish(self) -> Result<(Vec<ResidualRecord>, Worth)> {
        let (rest, worth) = self.maker.finish()?;
        Ok((self.records.into_iter().chain(rest).collect(), worth))
    }
}

/// Whether records of a clip of so many frames gain enough for their bytes; tells what.
fn worth_sending(what: &str, records: &[ResidualRecord], worth: Worth, frames: usize) -> bool {
    let (gain, spent) = (worth.decibels(), worth.bytes / frames.max(1) as f64);
    let worth = !records.is_empty() && worthwhile(gain, spent);
    let verdict = if worth { "sent" } else { "not sent" };
    log::info!("residual, {what}: {gain:.2} dB for {spent:.1} bytes a frame, {verdict}");
    worth
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
    use crate::pack::fixture;
    use crate::progress::Silent;

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
}
