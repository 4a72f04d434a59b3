//! Sound beside the frames, as pieces of a Matroska file.
//!
//! In: the bytes of such a file, in order. Out: records that say where in the file their bytes belong, and back. What the bytes mean is
//! no concern of this module. Source: docs/bitstream.md, "Sound".

use super::packet::{frame_record, SOUND};
use super::wire::{Put, Take, Wire};
use crate::error::{Error, Result};
use crate::limits::MAX_SOUND_BYTES;

/// Most bytes in a piece, as the writer makes them.
pub(super) const PIECE: usize = 8 << 10;

/// Some bytes of the sound's file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SoundPiece {
    /// Where in the file they belong, bytes from its start.
    pub position: u64,
    /// The bytes, at least one.
    pub bytes: Vec<u8>,
}

impl SoundPiece {
    fn syntax<W: Wire>(&mut self, wire: &mut W) -> Result<()> {
        wire.bounded(&mut self.position, MAX_SOUND_BYTES, "sound: position")?;
        wire.rest(&mut self.bytes)?;
        if self.bytes.is_empty() {
            return Err(Error::Malformed("sound: a piece without bytes".into()));
        }
        if self.position + self.bytes.len() as u64 > MAX_SOUND_BYTES {
            return Err(Error::Limit(format!("sound: more than {MAX_SOUND_BYTES} bytes")));
        }
        Ok(())
    }

    pub(super) fn into_record(mut self) -> Result<Vec<u8>> {
        let mut put = Put::default();
        self.syntax(&mut put)?;
        frame_record(SOUND, &put.bytes)
    }

    pub(super) fn from_body(body: &[u8]) -> Result<Self> {
        let mut piece = SoundPiece::default();
        piece.syntax(&mut Take { rest: body })?;
        Ok(piece)
    }
}
