//! Residual records: a picture that is added to what the 35 numbers draw, or a field that displaces it, faded in from a frame on.
//!
//! In: number, frame, fade and the bytes of a picture or a field. Out: the record's body, and back. What the bytes mean is told in
//! `bands` and in `crate::residual`. Source: docs/bitstream.md, "Residual".

use super::bands::MAX_SIDE;
use super::packet::{frame_record, MOTION, RESIDUAL};
use super::wire::{Put, Take, Wire};
use crate::error::{Error, Result};
use crate::limits::MAX_FRAMES;

/// Most frames that a residual takes to fade in.
pub const MAX_FADE: u32 = 1024;
/// Largest code of a step: 2^(code / 8 - 2) grey levels.
pub const MAX_RESIDUAL_STEP: u8 = 80;
/// Most often the side may be halved: 1024 to 1.
const MAX_HALVINGS: u8 = 10;
const INTRA: u8 = 1;

/// Most nodes of a field along a side.
pub(crate) const MAX_NODES: usize = 64;
/// Nodes of the fields that are sent.
const NODES: usize = 8;

/// What a residual record brings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResidualKind {
    /// A picture that is added.
    #[default]
    Colours,
    /// Where the places of the picture are taken from.
    Motion,
}

/// A residual picture, or a field of displacements, on the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResidualRecord {
    /// What it brings.
    pub kind: ResidualKind,
    /// Counts residual records of this kind over the stream, from 0.
    pub number: u64,
    /// First frame that it shows in.
    pub frame: u64,
    /// Frames until it is there in full, 1 to [`MAX_FADE`]; 1: at once.
    pub fade: u32,
    /// Whether it needs no other; else the one before goes on with it.
    pub intra: bool,
    /// Eighths of the residual before that are kept, 0 to 8: to them the levels add.
    pub kept: u8,
    /// How often the crop's side is halved to give the residual's: pixels, or nodes along a side.
    pub halvings: u8,
    /// Code of the quantiser's step, see [`residual_step`].
    pub step: u8,
    /// Bands that are coded, coarse ones first.
    pub bands: u8,
    /// The coded levels.
    pub levels: Vec<u8>,
}

/// Step of a code, of an orthonormal transform: grey levels; of a field 4096ths of the crop's side.
pub fn residual_step(code: u8) -> f32 {
    (f32::from(code) / 8.0 - 2.0).exp2()
}

/// Side of the residual of crops of `resolution` pixels, halved so often.
pub fn residual_side(resolution: u32, halvings: u8) -> usize {
    (0..halvings).fold(resolution, |side, _| side.div_ceil(2)) as usize
}

/// How often crops of `resolution` pixels are halved for a residual of this kind: until it is allowed, a field until it has 8 x 8 nodes at most.
pub fn residual_halvings(kind: ResidualKind, resolution: u32) -> u8 {
    let most = match kind {
        ResidualKind::Colours => MAX_SIDE,
        ResidualKind::Motion => NODES,
    };
    (0..=MAX_HALVINGS).find(|n| residual_side(resolution, *n) <= most).unwrap_or(MAX_HALVINGS)
}

impl ResidualRecord {
    /// Bytes that it takes in a stream, at most: [`ResidualRecord::HEAD`] and its levels.
    pub fn most_bytes(&self) -> usize {
        Self::HEAD + self.levels.len()
    }

    /// Bytes around its levels, at most.
    pub const HEAD: usize = 20;

    /// The whole record.
    pub(super) fn to_record(&self) -> Result<Vec<u8>> {
        let mut put = Put::default();
        self.clone().syntax(&mut put)?;
        let kind = match self.kind {
            ResidualKind::Colours => RESIDUAL,
            ResidualKind::Motion => MOTION,
        };
        frame_record(kind, &put.bytes)
    }

    /// From the body of a record that begins with this byte.
    pub(super) fn from_body(first: u8, body: &[u8]) -> Result<Self> {
        let kind = if first == MOTION { ResidualKind::Motion } else { ResidualKind::Colours };
        let mut record = ResidualRecord { kind, ..ResidualRecord::default() };
        record.syntax(&mut Take { rest: body })?;
        Ok(record)
    }

    fn syntax<W: Wire>(&mut self, wire: &mut W) -> Result<()> {
        wire.bounded(&mut self.number, MAX_FRAMES, "residual: number")?;
        wire.bounded(&mut self.frame, MAX_FRAMES, "residual: frame")?;
        let mut fade = u64::from(self.fade);
        wire.bounded(&mut fade, u64::from(MAX_FADE), "residual: fade")?;
        self.fade = fade as u32;
        let mut flags = self.kept << 1 | u8::from(self.intra);
        wire.u8(&mut flags, "residual: flags")?;
        (self.intra, self.kept) = (flags & INTRA != 0, flags >> 1);
        wire.u8(&mut self.halvings, "residual: halvings")?;
        wire.u8(&mut self.step, "residual: step")?;
        wire.u8(&mut self.bands, "residual: bands")?;
        wire.rest(&mut self.levels)?;
        let wrong = match () {
            _ if self.kept > if self.intra { 0 } else { 8 } => "more is kept than there is",
            _ if self.fade == 0 => "a fade of no frames",
            _ if self.halvings > MAX_HALVINGS => "too many halvings",
            _ if self.step > MAX_RESIDUAL_STEP => "step over its limit",
            _ => return Ok(()),
        };
        Err(Error::Malformed(format!("residual: {wrong}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_and_wrong_ones_are_refused() {
        let good = ResidualRecord {
            kind: ResidualKind::Colours,
            number: 3,
            frame: 77,
            fade: 16,
            intra: true,
            kept: 0,
            halvings: 1,
            step: 24,
            bands: 13,
            levels: vec![1, 2, 3],
        };
        let mut put = Put::default();
        good.clone().syntax(&mut put).unwrap();
        assert_eq!(ResidualRecord::from_body(RESIDUAL, &put.bytes).unwrap(), good);
        let motion = ResidualRecord { kind: ResidualKind::Motion, ..good.clone() };
        assert_eq!(ResidualRecord::from_body(MOTION, &put.bytes).unwrap(), motion);
        assert_eq!([&good, &motion].map(|record| record.to_record().unwrap()[0]), [RESIDUAL, MOTION]);
        // number, frame, fade, flags, halvings, step, bands
        for (at, wrong) in [(2, 0), (3, 3), (3, 18), (4, 11), (5, 81)] {
            let mut body = put.bytes.clone();
            body[at] = wrong;
            assert!(ResidualRecord::from_body(RESIDUAL, &body).is_err(), "byte {at}");
        }
        for cut in 0..7 {
            assert!(ResidualRecord::from_body(RESIDUAL, &put.bytes[..cut]).is_err(), "{cut} bytes");
        }
        assert!(ResidualRecord { fade: MAX_FADE + 1, ..good }.to_record().is_err());
    }

    #[test]
    fn sides_are_halved_until_they_fit() {
        let side = |kind| move |resolution| residual_side(resolution, residual_halvings(kind, resolution));
        let resolutions = [1, 128, 256, 257, 512, 1024];
        assert_eq!(resolutions.map(side(ResidualKind::Colours)), [1, 128, 256, 129, 256, 256]);
        assert_eq!(resolutions.map(side(ResidualKind::Motion)), [1, 8, 8, 5, 8, 8]);
    }
}
