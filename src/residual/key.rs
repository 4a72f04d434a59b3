//! Keys of a residual and the bytes they take: what both senders share.
//!
//! In: a picture or a field that the residual should become. Out: a record that brings it as near to it as the bytes saved so far allow. Also: what of a picture is
//! for a residual at all, and crops at its size.

use super::{level_of, Chain};
use crate::bitstream::bands::BandModel;
use crate::bitstream::{
    residual_halvings, residual_side, residual_step, ResidualKind, ResidualRecord, MAX_FADE, MAX_RECORD_BYTES, MAX_RESIDUAL_STEP,
};
use crate::error::{Error, Result};
use crate::frame::Frame;

/// Bytes of a record around its levels, at most.
pub(super) const RECORD_BYTES: f64 = ResidualRecord::HEAD as f64;
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
/// The face in a crop as alignment places it: centre and half axes, in sides; from this multiple of them on it has ended.
const FACE: [(f32, f32); 2] = [(0.5, 0.24), (0.56, 0.32)];
const FACE_ENDS: f32 = 1.2;
/// What is averaged there, twice, reaches as far as the residual's side over this.
const LIGHT: usize = 16;
/// Keys from an intra record to when the next is sent that somebody asks for, and keys' bytes that it waits for.
const AGAIN: u64 = 4;
const ANSWER: f64 = 2.0;
/// How much less the last frame before the next key counts than the first one behind this.
pub(super) const TRUST_LOST: f32 = 0.5;
/// Finest step: code of two grey levels, and of 1/512 of a side, a quarter of a pixel of 128.
const FINEST: u8 = 24;
const FINEST_MOTION: u8 = 40;

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

    fn sane(&self) -> bool {
        self.bytes_per_frame.is_finite() && self.bytes_per_frame > 0.0 && (1..=MAX_FADE).contains(&self.every)
    }
}

/// Where a key comes in the stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot {
    /// First frame of its fade, and its frames.
    pub first: u64,
    pub fade: u32,
    /// None is sent that lowers the error by less: squares of grey levels, summed.
    pub least_gain: f64,
    /// Whether what is shown does harm: to let go of all of it there are always bytes.
    pub harmful: bool,
}

/// Turns pictures into records.
pub(super) struct Keys {
    pub options: ResidualOptions,
    resolution: u32,
    chain: Chain,
    /// The last key, as a picture or a field.
    pub sent: Vec<f32>,
    /// First frame of the last intra record.
    intra: Option<u64>,
    /// Whether somebody waits for one.
    wanted: bool,
    number: u64,
    /// Bytes that may be spent, and how many of them are borrowed.
    credit: f64,
    debt: f64,
}

impl Keys {
    /// For crops of `resolution` pixels.
    ///
    /// # Errors
    /// Misuse for options out of range.
    pub fn new(resolution: u32, options: ResidualOptions, kind: ResidualKind) -> Result<Self> {
        if !options.sane() || resolution == 0 {
            return Err(Error::Misuse(format!("{options:?} for crops of {resolution} pixels")));
        }
        let chain = Chain::new(kind, residual_side(resolution, residual_halvings(kind, resolution)));
        let bytes = options.bytes_per_frame;
        let later = options.frames.map_or(f64::INFINITY, |frames| frames.saturating_sub(1) as f64 * bytes);
        let debt = (SAVINGS * bytes * f64::from(options.every)).min(BORROWED * later);
        let sent = vec![0.0; chain.coefficients.len()];
        Ok(Keys { options, resolution, chain, sent, intra: None, wanted: false, number: 0, credit: debt, debt })
    }

    /// Side of the residual, pixels.
    pub fn side(&self) -> usize {
        self.chain.side
    }

    /// What the crop has more than its drawing, at the residual's size.
    ///
    /// # Errors
    /// Misuse for frames of another size.
    pub fn difference(&self, crop: &Frame, drawn: &Frame) -> Result<Vec<f32>> {
        self.check([crop, drawn])?;
        let (crop, drawn) = (shrunk(crop, self.side()), shrunk(drawn, self.side()));
        Ok(crop.iter().zip(drawn).map(|(crop, drawn)| crop - drawn).collect())
    }

    /// Refuses frames of another size.
    pub fn check(&self, frames: [&Frame; 2]) -> Result<()> {
        if frames.iter().any(|f| f.width != self.resolution || f.height != self.resolution) {
            return Err(Error::Misuse(format!("residual: a frame that is not {0} x {0}", self.resolution)));
        }
        Ok(())
    }

    /// So many frames from `first` on have passed: their bytes may be spent, but for what pays back what was borrowed.
    pub fn earn(&mut self, first: u64, frames: u32) {
        let income = f64::from(frames) * self.options.bytes_per_frame;
        let repaid = self.debt.min(if first == 0 || self.wanted { 0.0 } else { REPAID * income });
        self.debt -= repaid;
        self.credit = (self.credit + income - repaid).min((1.0 + SAVINGS) * self.key_bytes());
    }

    /// A record that needs no other is to come: soon, but not so soon after the last that it answers the same loss twice, and once there are bytes for it.
    pub fn want_intra(&mut self) {
        self.wanted = self.number > 0;
    }

    /// Whether somebody waits for an intra record, and the last one was no answer.
    pub fn asked_for(&self, first: u64) -> bool {
        self.wanted && self.intra.is_none_or(|last| first.saturating_sub(last) >= AGAIN * u64::from(self.options.every))
    }

    /// A key in as many bytes as there are; nothing if what was sent before does as well.
    pub fn send(&mut self, wanted: &[f32], spot: Spot) -> Result<Option<ResidualRecord>> {
        let target = self.chain.transformed(wanted);
        // Once it is time for a whole one it is sent if it does nearly as well, and a while later, or when somebody waits for it, in any case.
        let since = self.intra.map_or(u64::MAX, |last| spot.first.saturating_sub(last));
        let asked = self.asked_for(spot.first);
        let forced = asked || since >= self.options.intra.saturating_mul(2);
        let enough = (ANSWER * self.key_bytes()).max(RECORD_BYTES + self.key_bytes()).min(SAVINGS * self.key_bytes());
        let poor = asked && self.credit < enough;
        let (nothing, shown) = (self.chain.nothing().far(&target), self.chain.far(&target));
        let bar = match self.number {
            0 => nothing - spot.least_gain,
            _ if forced => f64::INFINITY,
            _ if spot.harmful => shown,
            _ => shown - spot.least_gain,
        };
        let due = since >= self.options.intra || forced;
        let chosen = if poor { None } else { self.best(&target, (due, forced), bar)? };
        match chosen {
            Some(key) => Ok(Some(self.commit(key, spot))),
            None if self.number > 0 && ((asked && !poor) || (spot.harmful && nothing < shown)) => self.let_go(spot).map(Some),
            None => Ok(None),
        }
    }

    /// Of all ways that cost no more than there is the one that comes nearest to the target; nothing if none is below `bar`.
    fn best(&self, target: &[f32], (due, forced): (bool, bool), bar: f64) -> Result<Option<Key>> {
        let room = (self.credit - RECORD_BYTES).min(MAX_RECORD_BYTES as f64 - RECORD_BYTES);
        let (mut least, mut chosen) = (bar, None);
        let changes = KEPT.iter().map(|kept| (*kept, false)).filter(|_| !forced);
        for (kept, intra) in changes.chain(due.then_some((0, true))) {
            let mut base = if intra { self.chain.nothing() } else { self.chain.clone() };
            base.keep(kept);
            let Some((step, Coded { bytes, bands, model, levels })) = finest(&base, target, room)? else { continue };
            let mut chain = Chain { model, ..base };
            chain.add(self.number, levels, residual_step(step));
            let error = chain.far(target) / if intra { NEARLY } else { 1.0 };
            if error < least {
                least = error;
                chosen = Some(Key { chain, kept, intra, step, bands, bytes });
            }
        }
        Ok(chosen)
    }

    /// An intra record of nothing, for which there are always bytes.
    pub fn let_go(&mut self, spot: Spot) -> Result<ResidualRecord> {
        let mut chain = self.chain.nothing();
        let levels = vec![0; chain.levels.len()];
        let (bytes, bands) = chain.model.encode(&levels, &chain.levels, chain.side)?;
        chain.number = self.number;
        Ok(self.commit(Key { chain, kept: 0, intra: true, step: MAX_RESIDUAL_STEP, bands, bytes }, spot))
    }

    fn key_bytes(&self) -> f64 {
        f64::from(self.options.every) * self.options.bytes_per_frame
    }

    fn commit(&mut self, key: Key, spot: Spot) -> ResidualRecord {
        // Letting go may cost more than there is, but not so often that nothing else is paid for.
        self.credit = (self.credit - key.bytes.len() as f64 - RECORD_BYTES).max(-self.key_bytes());
        self.sent = key.chain.picture();
        self.chain = key.chain;
        let Key { kept, intra, step, bytes: levels, .. } = key;
        let Spot { first: frame, fade, .. } = spot;
        let kind = self.chain.kind;
        let (number, halvings, bands) = (self.number, residual_halvings(kind, self.resolution), key.bands as u8);
        self.number += 1;
        if intra {
            (self.intra, self.wanted) = (Some(frame), false);
        }
        ResidualRecord { kind, number, frame, fade, intra, kept, halvings, step, bands, levels }
    }
}

/// A record that may be sent, and the coder's state behind it.
struct Key {
    chain: Chain,
    kept: u8,
    intra: bool,
    step: u8,
    bands: usize,
    bytes: Vec<u8>,
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
        let level = |(t, c): (&f32, &f32)| level_of((t - c) / size, ROUND_UP);
        let levels: Vec<i32> = target.iter().zip(&base.coefficients).map(level).collect();
        let mut model = base.model.clone();
        let (bytes, bands) = model.encode(&levels, &base.levels, base.side)?;
        Ok(Coded { bytes, bands, model, levels })
    };
    // `fits` is the finest known to fit, all below `low` are known not to.
    let finest = if base.kind == ResidualKind::Motion { FINEST_MOTION } else { FINEST };
    let (mut low, mut fits) = (finest, None);
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

/// Means over squares of `2 reach + 1` pixels, cut at the edges, of interleaved colours.
fn blurred(picture: &[f32], side: usize, reach: usize) -> Vec<f32> {
    let along = |picture: &[f32], step: usize, line: usize| {
        let mut out = vec![0.0; picture.len()];
        for l in 0..side {
            for c in 0..3 {
                let at = |i: usize| 3 * (l * line + i * step) + c;
                for i in 0..side {
                    let (from, to) = (i.saturating_sub(reach), (i + reach + 1).min(side));
                    out[at(i)] = (from..to).map(|i| picture[at(i)]).sum::<f32>() / (to - from) as f32;
                }
            }
        }
        out
    };
    along(&along(picture, 1, side), side, 1)
}

/// Leaves of the face in `wanted`, a picture of interleaved colours, nothing but its light: lips and lids come and go and are for the numbers, and whatever of
/// them was sent would stay as a ghost.
pub(super) fn leave_face(wanted: &mut [f32], side: usize) {
    let reach = side / LIGHT;
    let light = blurred(&blurred(wanted, side, reach), side, reach);
    let [across, down] = FACE;
    let off = |i: usize, (centre, half): (f32, f32)| ((i as f32 + 0.5) / side as f32 - centre) / half;
    for (at, (rgb, light)) in wanted.chunks_exact_mut(3).zip(light.chunks_exact(3)).enumerate() {
        let away = off(at % side, across).hypot(off(at / side, down));
        let inside = ((FACE_ENDS - away) / (FACE_ENDS - 1.0)).clamp(0.0, 1.0);
        rgb.iter_mut().zip(light).for_each(|(v, light)| *v += inside * (light - *v));
    }
}

/// A square frame at `side` pixels: means of squares, interleaved colours.
pub(super) fn shrunk(frame: &Frame, side: usize) -> Vec<f32> {
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
    use super::*;

    #[test]
    fn of_a_face_only_its_light_is_sent() {
        let side = 64;
        // Stripes of 40 grey levels on a red cast of 10.
        let mut wanted: Vec<f32> = (0..3 * side * side)
            .map(|i| if i % 3 == 0 { 10.0 } else { 0.0 } + if i / 3 % 2 == 0 { 20.0 } else { -20.0 })
            .collect();
        let before = wanted.clone();
        leave_face(&mut wanted, side);
        let at = |x: usize, y: usize| 3 * (y * side + x);
        for (x, y) in [(32, 36), (24, 28), (40, 46)] {
            let rgb = &wanted[at(x, y)..][..3];
            assert!((rgb[0] - rgb[1] - 10.0).abs() < 0.01 && rgb[1].abs() < 5.0, "{rgb:?}");
        }
        for (x, y) in [(2, 2), (60, 40), (32, 62), (32, 4)] {
            assert_eq!(wanted[at(x, y)..][..3], before[at(x, y)..][..3], "{x} {y}");
        }
    }
}
