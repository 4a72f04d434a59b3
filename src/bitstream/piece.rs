//! Files beside the frames: the sound (Matroska) and the plate (JPEG), in pieces.
//!
//! In: the bytes of such a file, in order. Out: records that say where in the file their bytes belong, and back. What the bytes mean is
//! no concern of this module. Source: docs/bitstream.md, "Sound" and "Plate".

use super::packet::{frame_record, PLATE, SOUND};
use super::wire::{Put, Take, Wire};
use crate::error::{Error, Result};
use crate::limits::{MAX_PLATE_BYTES, MAX_SOUND_BYTES};

/// Most bytes in a piece, as the writer makes them.
const PIECE: usize = 8 << 10;

/// The files that travel in pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carried {
    Sound,
    Plate,
}

/// Some bytes of such a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Piece {
    /// Where in the file they belong, bytes from its start.
    pub position: u64,
    /// The bytes, at least one.
    pub bytes: Vec<u8>,
}

impl Carried {
    /// First byte of its records.
    fn kind(self) -> u8 {
        match self {
            Carried::Sound => SOUND,
            Carried::Plate => PLATE,
        }
    }

    /// Name in errors, and most bytes of the file.
    fn limit(self) -> (&'static str, u64) {
        match self {
            Carried::Sound => ("sound", MAX_SOUND_BYTES),
            Carried::Plate => ("plate", MAX_PLATE_BYTES),
        }
    }

    /// The records of the next `bytes` of a file of which `written` are there already.
    pub(super) fn records(self, written: u64, bytes: &[u8]) -> impl Iterator<Item = Result<Vec<u8>>> + '_ {
        bytes.chunks(PIECE).enumerate().map(move |(i, bytes)| {
            let mut put = Put::default();
            Piece { position: written + (i * PIECE) as u64, bytes: bytes.to_vec() }.syntax(self, &mut put)?;
            frame_record(self.kind(), &put.bytes)
        })
    }

    /// The piece in a record's body.
    pub(super) fn read(self, body: &[u8]) -> Result<Piece> {
        let mut piece = Piece::default();
        piece.syntax(self, &mut Take { rest: body })?;
        Ok(piece)
    }
}

/// Puts a small file together from its pieces.
#[derive(Clone, Debug, Default)]
pub struct Assembly {
    bytes: Vec<u8>,
    broken: bool,
}

impl Assembly {
    /// The next piece.
    pub fn add(&mut self, piece: &Piece) {
        // A piece that comes twice changes nothing.
        let known = (self.bytes.len() as u64).checked_sub(piece.position);
        match known {
            Some(known) => self.bytes.extend(piece.bytes.iter().skip(known as usize)),
            None => self.broken = true,
        }
    }

    /// The file; nothing if a piece is missing in the middle, or all are.
    pub fn finish(self) -> Option<Vec<u8>> {
        (!self.broken && !self.bytes.is_empty()).then_some(self.bytes)
    }

    /// Whether a piece is missing in the middle.
    pub fn broken(&self) -> bool {
        self.broken
    }
}

impl Piece {
    fn syntax<W: Wire>(&mut self, file: Carried, wire: &mut W) -> Result<()> {
        let (name, most) = file.limit();
        wire.bounded(&mut self.position, most, &format!("{name}: position"))?;
        wire.rest(&mut self.bytes)?;
        if self.bytes.is_empty() {
            return Err(Error::Malformed(format!("{name}: a piece without bytes")));
        }
        if self.position + self.bytes.len() as u64 > most {
            return Err(Error::Limit(format!("{name}: more than {most} bytes")));
        }
        Ok(())
    }
}
