//! The coded payload: time stamps, placement and parameters of a packet's frames in one range-coded block.
//!
//! In: frames (degrees, offsets, camera pixels, ticks). Out: a block of bytes, and back. Packets form chains: an intra packet
//! begins one, and each following packet goes on with the levels and models the one before has left.
//! Source: docs/bitstream.md, "Coded payload".

use std::collections::VecDeque;

use super::header::StreamHeader;
use super::packet::{FrameRecord, MAX_PTS};
use super::quant::{placement_within, MAX_PLACEMENT};
use super::range::{Bit, BitCoder, RangeDecoder, RangeEncoder};
use super::track::{class_middle, Place, Tracks, MAX_CODED_LEVEL};
use crate::error::{Error, Result};
use crate::params::{FrameParams, Placement, PARAMS};

/// Most earlier frames that a packet repeats.
pub const MAX_REDUNDANCY: usize = 16;
/// Most bits by which repeated frames may be coarser.
pub const MAX_SHIFT: u8 = 8;
/// Number of the track of the placement's side, which is at least one level.
const SIDE: usize = PARAMS + 2;
/// Bits of an offset of a time stamp: differences within +-2^61.
const TIME_BITS: usize = 62;
/// Rate against distortion where levels are chosen: a bit is worth so many squared steps. At high rate a bit halves the step, which
/// takes 3/4 of step^2 / 12 away per bit of each number; the slope there is 2 ln 2 / 12, and half of it moves the threshold.
const DEAD_ZONE: f64 = std::f64::consts::LN_2 / 12.0;

/// Models of time stamps.
#[derive(Clone)]
struct Times {
    on_grid: Bit,
    early: Bit,
    length: [Bit; TIME_BITS],
}

impl Default for Times {
    fn default() -> Self {
        let (often, even) = (Bit::expecting(64_000, 24), Bit::default());
        Times { on_grid: often, early: even, length: [even; TIME_BITS] }
    }
}

impl Times {
    /// An offset from the expected time stamp.
    fn code<C: BitCoder>(&mut self, coder: &mut C, offset: i64) -> i64 {
        if coder.bit(&mut self.on_grid, offset == 0) {
            return 0;
        }
        let early = coder.bit(&mut self.early, offset < 0);
        // At least 1; its bits below the leading one follow their number.
        let magnitude = offset.unsigned_abs();
        let wanted = magnitude.checked_ilog2().unwrap_or(0) as usize;
        let mut length = 0;
        while length < TIME_BITS - 1 && coder.bit(&mut self.length[length], wanted > length) {
            length += 1;
        }
        let (low, high) = (length.min(30) as u32, length.saturating_sub(30) as u32);
        let top = coder.direct((magnitude >> low) as u32 & ((1u64 << high) - 1) as u32, high);
        let rest = coder.direct(magnitude as u32 & ((1 << low) - 1), low);
        let magnitude = (1i64 << length) | i64::from(top) << low | i64::from(rest);
        if early {
            -magnitude
        } else {
            magnitude
        }
    }
}

/// A frame as integers.
#[derive(Clone, Debug)]
struct Integers {
    pts: i64,
    levels: Vec<i32>,
}

/// What one packet of a chain leaves for the next.
#[derive(Clone)]
struct Chain {
    /// First frame of the intra packet that began it.
    start: u64,
    /// Number of the frame that goes on.
    next: u64,
    /// Time stamp of the next frame on the grid, and of the last one.
    due: i64,
    last_pts: Option<i64>,
    tracks: Tracks,
    times: Times,
    /// None of its own frames has been coded yet.
    fresh: bool,
}

/// How a packet begins.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Opening {
    /// Number of its first frame.
    pub sequence: u64,
    /// How far back its chain begins; 0 for intra.
    pub depends: u64,
    /// Frames before it that it repeats.
    pub repeats: u64,
    /// Bits by which those are coarser.
    pub shift: u8,
}

impl Chain {
    fn new(header: &StreamHeader, opening: &Opening) -> Self {
        let first = opening.sequence - opening.repeats;
        let mut tracks = Tracks::new(header.starts.len());
        let rest: Vec<i32> = header.starts.iter().map(|start| start.rest).collect();
        tracks.begin_at(&rest, header.starts.iter().map(|start| class_middle(usize::from(start.spread))));
        Chain {
            start: opening.sequence,
            next: opening.sequence,
            due: grid(header, first),
            last_pts: None,
            tracks,
            times: Times::default(),
            fresh: true,
        }
    }

    /// The frames that are repeated, coarsely; the chain goes on from the last of them.
    fn repeated<C: BitCoder>(
        &mut self,
        coder: &mut C,
        header: &StreamHeader,
        opening: &Opening,
        source: &dyn Source<C>,
    ) -> Result<Vec<Integers>> {
        let (shift, half) = (opening.shift, (1 << opening.shift) >> 1);
        let expected = |class: u8| class_middle(usize::from(class)) >> shift;
        let rest: Vec<i32> = header.starts.iter().map(|start| (start.rest + half) >> shift).collect();
        let mut coarse = Tracks::new(rest.len());
        coarse.begin_at(&rest, header.starts.iter().map(|start| expected(start.spread)));
        let mut out = Vec::new();
        for i in 0..opening.repeats as usize {
            let pts = self.time(coder, header, source.pts(i))?;
            let levels = coarse.frame(coder, |place| source.level(i, place, shift)).ok_or_else(out_of_range)?;
            source.check(coder)?;
            if i == 0 {
                coarse.begin_at(&levels, header.starts.iter().map(|start| expected(start.motion)));
            }
            let levels: Vec<i32> = levels.into_iter().map(|level| level << shift).collect();
            if levels.iter().any(|level| level.unsigned_abs() > MAX_CODED_LEVEL as u32) {
                return Err(out_of_range());
            }
            out.push(Integers { pts, levels });
        }
        if let Some(last) = out.last() {
            // The last coarse frame is off by a quarter of its step on average.
            let expected = header.starts.iter().map(|start| class_middle(usize::from(start.motion)) + (64 << shift));
            self.tracks.begin_at(&last.levels, expected);
        }
        Ok(out)
    }

    /// One frame of the packet itself: number `i` of the source.
    fn frame<C: BitCoder>(&mut self, coder: &mut C, header: &StreamHeader, i: usize, source: &dyn Source<C>) -> Result<Integers> {
        let pts = self.time(coder, header, source.pts(i))?;
        let levels = self.tracks.frame(coder, |place| source.level(i, place, 0)).ok_or_else(out_of_range)?;
        source.check(coder)?;
        if self.fresh {
            self.tracks.begin_at(&levels, header.starts.iter().map(|start| class_middle(usize::from(start.motion))));
            self.fresh = false;
        }
        self.next += 1;
        Ok(Integers { pts, levels })
    }

    fn time<C: BitCoder>(&mut self, coder: &mut C, header: &StreamHeader, pts: i64) -> Result<i64> {
        // At most 2^60 + 2^56 and 2^62: no overflow.
        let pts = self.due + self.times.code(coder, pts - self.due);
        if !(-MAX_PTS..=MAX_PTS).contains(&pts) || self.last_pts.is_some_and(|last| last >= pts) {
            return Err(Error::Malformed(format!("packet: time stamp {pts}; they rise and stay within 2^60")));
        }
        (self.last_pts, self.due) = (Some(pts), pts + i64::from(header.frame_ticks));
        Ok(pts)
    }
}

/// Time stamp of the regular grid at a frame: at most 2^60 + 2^32 x 2^24 ticks.
fn grid(header: &StreamHeader, frame: u64) -> i64 {
    header.start_pts + i64::from(header.frame_ticks) * frame as i64
}

fn out_of_range() -> Error {
    Error::Malformed(format!("packet: a level beyond {MAX_CODED_LEVEL}"))
}

/// Where frames come from while the one syntax runs in both directions.
trait Source<C> {
    /// Time stamp of frame `i`, repeated ones first; not looked at by decoders.
    fn pts(&self, i: usize) -> i64;
    /// Level of frame `i` at a place, `shift` bits coarser; not looked at by decoders.
    fn level(&self, i: usize, place: Place, shift: u8) -> i32;
    /// Whether the coder still has data.
    fn check(&self, coder: &C) -> Result<()>;
}

struct Nothing;

impl Source<RangeDecoder<'_>> for Nothing {
    fn pts(&self, _: usize) -> i64 {
        0
    }

    fn level(&self, _: usize, _: Place, _: u8) -> i32 {
        0
    }

    fn check(&self, coder: &RangeDecoder<'_>) -> Result<()> {
        coder.check()
    }
}

/// Frames in units of steps.
struct Wanted<'a> {
    frames: Vec<(i64, &'a [f64])>,
    /// Largest level of each track.
    most: Vec<i32>,
}

impl<C> Source<C> for Wanted<'_> {
    fn pts(&self, i: usize) -> i64 {
        self.frames[i].0
    }

    /// The nearest level, or the next one towards the prediction where that saves more bits than it costs.
    fn level(&self, i: usize, place: Place, shift: u8) -> i32 {
        let value = self.frames[i].1[place.track] / f64::from(1u32 << shift);
        let away = value - f64::from(place.prediction);
        // A step more of the magnitude costs about this many bits when the mean is `expected`.
        let bits = (1.0 + 256.0 / (f64::from(place.expected) + 8.0)).log2();
        let magnitude = (away.abs() + 0.5 - (DEAD_ZONE * bits).min(0.4)).floor().max(0.0);
        let level = place.prediction + (magnitude * away.signum()) as i32;
        let most = self.most[place.track] >> shift;
        level.clamp(if place.track == SIDE { 1 } else { -most }, most)
    }

    fn check(&self, _: &C) -> Result<()> {
        Ok(())
    }
}

/// The values of a frame in steps of the header's quantiser.
fn in_steps(header: &StreamHeader, frame: &FrameRecord) -> Result<Vec<f64>> {
    let mut values: Vec<f32> = frame.params.to_array().to_vec();
    if let Some(place) = frame.placement {
        if !placement_within(&place) {
            return Err(Error::Misuse(format!("frame at {}: placement {place:?} is out of range", frame.pts)));
        }
        values.extend([place.x, place.y, place.side]);
    }
    if values.len() != header.quantiser.len() {
        let (given, wanted) = (values.len(), header.quantiser.len());
        return Err(Error::Misuse(format!("frame at {}: {given} numbers, the stream has {wanted}", frame.pts)));
    }
    let steps: Vec<f64> = values.iter().zip(&header.quantiser).map(|(v, step)| f64::from(*v) / f64::from(*step)).collect();
    match steps.iter().position(|v| v.is_nan() || v.abs() > f64::from(MAX_CODED_LEVEL)) {
        Some(i) => {
            Err(Error::Misuse(format!("track {i}: {} is over {MAX_CODED_LEVEL} steps of {}", values[i], header.quantiser[i])))
        }
        None => Ok(steps),
    }
}

/// Largest level of a track.
fn most(track: usize, step: f32) -> i32 {
    // Steps are at most 256 pixels, so that even coarse levels reach 1.
    let inside = if track < PARAMS { i32::MAX } else { (MAX_PLACEMENT / step) as i32 };
    inside.min(MAX_CODED_LEVEL)
}

/// Levels times steps: one rounding of IEEE 754 each, the same on every machine.
fn record(header: &StreamHeader, integers: &Integers) -> Result<FrameRecord> {
    let value = |i: usize| integers.levels[i] as f32 * header.quantiser[i];
    let params = FrameParams::from_array(&std::array::from_fn(value));
    let placement = header.placement.then(|| Placement { x: value(PARAMS), y: value(PARAMS + 1), side: value(SIDE) });
    match placement {
        Some(place) if !placement_within(&place) => Err(Error::Malformed(format!("packet: placement {place:?}"))),
        placement => Ok(FrameRecord { pts: integers.pts, params, placement }),
    }
}

/// Coder of outgoing packets.
#[derive(Default)]
pub(super) struct Encoder {
    chain: Option<Chain>,
    /// The last frames, for repetition: time stamp and values in steps.
    past: VecDeque<(i64, Vec<f64>)>,
}

impl Encoder {
    /// Whether `frame` can be sent.
    pub fn check(header: &StreamHeader, frame: &FrameRecord) -> Result<()> {
        in_steps(header, frame).map(|_| ())
    }

    /// First frame of the chain that a packet can go on with.
    pub fn chain_start(&self) -> Option<u64> {
        self.chain.as_ref().map(|chain| chain.start)
    }

    /// Frames that the next packet can repeat.
    pub fn past(&self) -> usize {
        self.past.len()
    }

    /// The block of a packet. On failure nothing has changed.
    pub fn encode(&mut self, header: &StreamHeader, opening: &Opening, frames: &[FrameRecord]) -> Result<Vec<u8>> {
        let given = frames.iter().map(|frame| Ok((frame.pts, in_steps(header, frame)?))).collect::<Result<Vec<_>>>()?;
        let repeats = opening.repeats as usize;
        let again = self.past.iter().skip(self.past.len().saturating_sub(repeats));
        let wanted = Wanted {
            frames: again.chain(&given).map(|(pts, values)| (*pts, values.as_slice())).collect(),
            most: header.quantiser.iter().enumerate().map(|(track, step)| most(track, *step)).collect(),
        };
        let mut chain = match (opening.depends, &self.chain) {
            (0, _) => Chain::new(header, opening),
            (_, Some(chain)) => chain.clone(),
            (_, None) => return Err(Error::Misuse("packet depends on frames that were not sent".into())),
        };
        let mut coder = RangeEncoder::default();
        chain.repeated(&mut coder, header, opening, &wanted)?;
        for i in repeats..wanted.frames.len() {
            chain.frame(&mut coder, header, i, &wanted)?;
        }
        self.chain = Some(chain);
        self.past.extend(given);
        self.past.drain(..self.past.len().saturating_sub(MAX_REDUNDANCY));
        Ok(coder.finish())
    }
}

/// The frames of a packet: those it repeats, and its own.
pub(super) struct Decoded {
    pub repeated: Vec<FrameRecord>,
    pub frames: Vec<FrameRecord>,
}

/// Decoder of incoming packets.
#[derive(Default)]
pub(super) struct Decoder {
    chain: Option<Chain>,
}

impl Decoder {
    /// Whether a packet can be decoded: it is intra, or goes on exactly where the last decoded one ended.
    pub fn follows(&self, opening: &Opening) -> bool {
        opening.depends == 0
            || self
                .chain
                .as_ref()
                .is_some_and(|chain| chain.next == opening.sequence && chain.start + opening.depends == opening.sequence)
    }

    /// The frames in a block. After a failure only an intra packet can follow.
    pub fn decode(&mut self, header: &StreamHeader, opening: &Opening, count: u64, block: &[u8]) -> Result<Decoded> {
        let mut chain = match (opening.depends, self.chain.take()) {
            (0, _) => Chain::new(header, opening),
            (_, Some(chain)) => chain,
            (_, None) => return Err(Error::Malformed("packet depends on frames that are missing".into())),
        };
        let mut coder = RangeDecoder::new(block);
        let all = |integers: Vec<Integers>| integers.iter().map(|i| record(header, i)).collect::<Result<Vec<_>>>();
        let repeated = all(chain.repeated(&mut coder, header, opening, &Nothing)?)?;
        let frames = (0..count).map(|_| chain.frame(&mut coder, header, 0, &Nothing)).collect::<Result<Vec<_>>>()?;
        coder.finish()?;
        let frames = all(frames)?;
        self.chain = Some(chain);
        Ok(Decoded { repeated, frames })
    }
}
