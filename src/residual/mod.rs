//! The residual: what the 35 numbers cannot say, as a field that displaces what they draw and a picture that is added to it, both of which change slowly.
//!
//! Sender: [`MotionMaker`] and [`ResidualMaker`], in calls [`CallResidual`], take each frame's crop and what a receiver draws of it, and make a [`ResidualRecord`] now and then. Receiver: [`Residual`]
//! takes the records and changes its frames. Reading order: `wavelet` (the transform), this file (the receiver), `motion` (the field), `key`, `make`, `follow`
//! and `call` (the senders: keys, pictures and fields of a clip, pictures of a call); `bitstream::bands` codes the levels. `detail` is what never changes, sent once with the identity. A scalable layer, as enhancement layers of video codecs are, but in time a piecewise
//! linear one. Source: ours; docs/bitstream.md, "Residual".

mod call;
#[cfg(feature = "decode")]
mod detail;
mod follow;
mod key;
mod make;
mod motion;
mod wavelet;

pub use call::CallResidual;
#[cfg(feature = "decode")]
pub(crate) use detail::detail_picture;
#[cfg(feature = "analysis")]
pub(crate) use detail::detail_tensor;
#[cfg(feature = "decode")]
pub use detail::{detail_side, MAX_DETAIL_SIDE};
pub use follow::{MotionMaker, Settled};
pub use key::ResidualOptions;
pub use make::{ResidualMaker, Worth};
pub use motion::Motion;

use crate::bitstream::bands::{band_count, BandModel, MAX_SIDE, PLANES};
use crate::bitstream::{residual_side, residual_step, ResidualKind, ResidualRecord, MAX_NODES};
use crate::error::{Error, Result};
use crate::frame::Frame;
use std::collections::BTreeMap;

/// Most bytes of records that are kept until their frame is shown.
const MAX_WAITING: usize = 4 << 20;
/// Most records that are begun with one frame, so that a stranger's stream takes no more time than it has frames.
const MAX_BEGUN: usize = 4;
/// What a record takes beside its levels, bytes, about.
const RECORD: usize = 64;

/// The level of so many steps: the fraction is rounded up from `up` on, since the smaller of two levels costs less.
fn level_of(steps: f32, up: f32) -> i32 {
    (steps.abs() + 1.0 - up) as i32 * if steps < 0.0 { -1 } else { 1 }
}

/// The coder's state from record to record: what the residual will be once all of them are shown.
#[derive(Clone)]
struct Chain {
    kind: ResidualKind,
    /// Number of the record that it stands behind.
    number: u64,
    side: usize,
    model: BandModel,
    levels: Vec<i32>,
    coefficients: Vec<f32>,
}

impl Chain {
    fn new(kind: ResidualKind, side: usize) -> Self {
        let count = PLANES * side * side;
        Chain { kind, number: 0, side, model: BandModel::default(), levels: vec![0; count], coefficients: vec![0.0; count] }
    }

    /// One of its kind and side at its beginning.
    fn nothing(&self) -> Self {
        Chain::new(self.kind, self.side)
    }

    /// The coefficients of what it is to become.
    fn transformed(&self, wanted: &[f32]) -> Vec<f32> {
        match self.kind {
            ResidualKind::Colours => wavelet::forward(wanted, self.side),
            ResidualKind::Motion => wavelet::forward_planes(wanted, self.side),
        }
    }

    /// Takes levels as they are sent.
    fn add(&mut self, number: u64, levels: Vec<i32>, step: f32) {
        self.coefficients.iter_mut().zip(&levels).for_each(|(c, level)| *c += step * *level as f32);
        (self.number, self.levels) = (number, levels);
    }

    /// Lets go of all but so many eighths.
    fn keep(&mut self, eighths: u8) {
        self.coefficients.iter_mut().for_each(|c| *c *= f32::from(eighths) / 8.0);
    }

    /// Squared distance from other coefficients.
    fn far(&self, target: &[f32]) -> f64 {
        self.coefficients.iter().zip(target).map(|(c, t)| f64::from((c - t).powi(2))).sum()
    }

    /// Interleaved colours, grey levels; or a plane of displacements to the right, one downwards, and one without meaning, in 4096ths of a side.
    fn picture(&self) -> Vec<f32> {
        match self.kind {
            ResidualKind::Colours => wavelet::inverse(&self.coefficients, self.side),
            ResidualKind::Motion => wavelet::inverse_planes(&self.coefficients, self.side),
        }
    }
}

/// A residual that fades from one picture to the next.
#[derive(Clone, Default)]
struct Fade {
    side: usize,
    /// As [`Chain::picture`].
    from: Vec<f32>,
    to: Vec<f32>,
    first: u64,
    frames: u32,
}

impl Fade {
    /// Share of `to` at a frame.
    fn share(&self, number: u64) -> f32 {
        ((number + 1).saturating_sub(self.first) as f32 / self.frames.max(1) as f32).min(1.0)
    }

    fn at(&self, number: u64) -> Vec<f32> {
        let share = self.share(number);
        self.from.iter().zip(&self.to).map(|(from, to)| from + share * (to - from)).collect()
    }
}

/// The records of one kind on their way to the frames.
struct Layer {
    kind: ResidualKind,
    chain: Option<Chain>,
    /// By their numbers.
    waiting: BTreeMap<u64, ResidualRecord>,
    bytes: usize,
    /// Number behind the last record that was begun.
    next: u64,
    fade: Fade,
    /// Whether a record could not be decoded, and none since.
    broken: bool,
}

impl Layer {
    fn new(kind: ResidualKind) -> Self {
        let (chain, waiting, fade) = (None, BTreeMap::new(), Fade::default());
        Layer { kind, chain, waiting, bytes: 0, next: 0, fade, broken: false }
    }

    fn push(&mut self, record: ResidualRecord) {
        let size = record.levels.len() + RECORD;
        if record.number >= self.next && self.bytes + size <= MAX_WAITING && !self.waiting.contains_key(&record.number) {
            self.bytes += size;
            self.waiting.insert(record.number, record);
        }
    }

    /// Begins what is due with the frame of this number.
    fn advance(&mut self, number: u64, resolution: u32) {
        // Of those that are late only the last whole one and what builds on it matter.
        let whole = self.waiting.values().take_while(|record| record.frame <= number).filter(|record| record.intra).last();
        if let Some(whole) = whole.map(|record| record.number) {
            let kept = self.waiting.split_off(&whole);
            self.bytes -= self.waiting.values().map(|record| record.levels.len() + RECORD).sum::<usize>();
            self.waiting = kept;
        }
        for _ in 0..MAX_BEGUN {
            let Some(entry) = self.waiting.first_entry().filter(|entry| entry.get().frame <= number) else { break };
            let record = entry.remove();
            self.bytes -= record.levels.len() + RECORD;
            self.next = record.number + 1;
            let begun = self.begin(&record, resolution);
            self.broken = begun.is_err();
            if let Err(e) = begun {
                log::debug!("residual {} ({:?}) is left out: {e}", record.number, record.kind);
            }
        }
    }

    fn needs_intra(&self) -> bool {
        self.broken && !self.waiting.values().any(|record| record.intra)
    }

    /// Decodes a record and begins its fade.
    fn begin(&mut self, record: &ResidualRecord, resolution: u32) -> Result<()> {
        let side = residual_side(resolution, record.halvings);
        let most = if self.kind == ResidualKind::Motion { MAX_NODES } else { MAX_SIDE };
        if side == 0 || side > most || usize::from(record.bands) > band_count(side) {
            return Err(Error::Malformed(format!("side of {side}, {} bands", record.bands)));
        }
        let before = self.chain.take();
        let follows = |chain: &Chain| chain.number + 1 == record.number && chain.side == side;
        let mut chain = match (record.intra, before.filter(follows)) {
            (true, _) => Chain::new(self.kind, side),
            (false, Some(chain)) => chain,
            (false, None) => return Err(Error::Malformed("the one before it is missing".into())),
        };
        chain.keep(record.kept);
        let levels = chain.model.decode(&record.levels, usize::from(record.bands), &chain.levels, side)?;
        chain.add(record.number, levels, residual_step(record.step));
        let to = chain.picture();
        let shown = record.frame.checked_sub(1).filter(|_| self.fade.side == side).map(|last| self.fade.at(last));
        let from = shown.unwrap_or_else(|| vec![0.0; to.len()]);
        self.fade = Fade { side, from, to, first: record.frame, frames: record.fade };
        self.chain = Some(chain);
        Ok(())
    }
}

/// Displaces frames and adds to them what the records say.
pub struct Residual {
    motion: Layer,
    colours: Layer,
}

impl Default for Residual {
    fn default() -> Self {
        Residual { motion: Layer::new(ResidualKind::Motion), colours: Layer::new(ResidualKind::Colours) }
    }
}

impl std::fmt::Debug for Residual {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Residual({} records waiting)", self.motion.waiting.len() + self.colours.waiting.len())
    }
}

impl Residual {
    /// None yet.
    pub fn new() -> Self {
        Residual::default()
    }

    /// Takes a record, in any order, before its frame or late. One behind a later one of its kind that is shown already is dropped, as is one more than any sender
    /// means; later also one that cannot be decoded, and those that need it.
    pub fn push(&mut self, record: ResidualRecord) {
        match record.kind {
            ResidualKind::Motion => self.motion.push(record),
            ResidualKind::Colours => self.colours.push(record),
        }
    }

    /// Displaces the frame of this number and adds what belongs to it; tells what displaced it, if anything did. Numbers rise from call to call: whoever seeks back
    /// begins with a new one, and shows none until the next record that needs no other.
    pub fn apply(&mut self, number: u64, frame: &mut Frame) -> Option<Motion> {
        self.motion.advance(number, frame.width);
        self.colours.advance(number, frame.width);
        if frame.width != frame.height {
            return None;
        }
        let fade = &self.motion.fade;
        let motion = (!fade.to.is_empty()).then(|| Motion::new(fade.at(number), fade.side)).filter(Motion::moves);
        if let Some(motion) = &motion {
            motion.displace(frame);
        }
        if !self.colours.fade.to.is_empty() {
            add(frame, &self.colours.fade.at(number), self.colours.fade.side);
        }
        motion
    }

    /// Whether records are missing that only one which needs no other can make good.
    pub fn needs_intra(&self) -> bool {
        self.motion.needs_intra() || self.colours.needs_intra()
    }
}

/// Adds a picture of `side` x `side` to a square frame, between whose pixels it is drawn straight.
fn add(frame: &mut Frame, picture: &[f32], side: usize) {
    let width = frame.width as usize;
    let put = |byte: &mut u8, more: f32| *byte = (f32::from(*byte) + more).round().clamp(0.0, 255.0) as u8;
    if side == width {
        frame.data.iter_mut().zip(picture).for_each(|(byte, more)| put(byte, *more));
        return;
    }
    let place = |i: usize| between(i, width, side);
    for (y, row) in frame.data.chunks_exact_mut(3 * width).enumerate() {
        let down = place(y);
        for (x, rgb) in row.chunks_exact_mut(3).enumerate() {
            let across = place(x);
            for (c, byte) in rgb.iter_mut().enumerate() {
                let sample = |x: usize, y: usize| picture[3 * (y * side + x) + c];
                put(byte, mixed(sample, across, down));
            }
        }
    }
}

/// Where pixel `i` of a line of `width` lies among `side` samples: the two beside it, and the share of the second.
fn between(i: usize, width: usize, side: usize) -> (usize, usize, f32) {
    let at = ((i as f32 + 0.5) * side as f32 / width as f32 - 0.5).clamp(0.0, (side - 1) as f32);
    (at as usize, (at as usize + 1).min(side - 1), at.fract())
}

/// The bilinear mean of four samples: columns and rows as [`between`] gives them.
fn mixed(
    sample: impl Fn(usize, usize) -> f32,
    (left, right, across): (usize, usize, f32),
    (top, bottom, down): (usize, usize, f32),
) -> f32 {
    let line = |y: usize| sample(left, y) * (1.0 - across) + sample(right, y) * across;
    line(top) * (1.0 - down) + line(bottom) * down
}
