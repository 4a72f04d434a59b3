//! The seek index at the end of a stream, and the record that ends it.
//!
//! In: where intra packets begin. Out: index records, the end record of fixed length, and back.
//! Units: frames, ticks, bytes from the start of the stream. Source: docs/bitstream.md, "Index" and "End".

use std::io::{Read, Seek, SeekFrom};

use super::packet::{find_record, frame_record, Framing, END, INDEX, MAX_PTS, MAX_RECORD_BYTES};
use super::wire::{Put, Take, Wire};
use crate::error::{Error, Result};
use crate::limits::MAX_FRAMES;

/// Frames between two entries that a writer makes: at 25 frames per second one entry every ten seconds.
pub const INDEX_SPACING: u64 = 250;
/// Most entries in one index record.
const MAX_ENTRIES: usize = 512;
/// Bytes of the whole end record, so that it can be found from the end of the file.
pub(super) const END_BYTES: usize = 3 + 16 + 4;
/// Largest index a reader takes in, bytes: every entry at its longest, for [`MAX_FRAMES`] at the writer's spacing.
const MAX_INDEX_BYTES: u64 = 4 << 20;

/// Where decoding can begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IndexEntry {
    /// Number of the packet's first frame.
    pub frame: u64,
    /// Time stamp of that frame, ticks.
    pub pts: i64,
    /// First byte of the packet, from the start of the stream.
    pub offset: u64,
}

/// The end record's fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct EndFields {
    /// Frames the stream was written with.
    pub frames: u64,
    /// First byte of the index, or of the end record when there is none.
    pub index: u64,
}

impl EndFields {
    fn syntax<W: Wire>(&mut self, wire: &mut W) -> Result<()> {
        wire.u64(&mut self.frames, "end: frames")?;
        wire.u64(&mut self.index, "end: index position")?;
        if self.frames > MAX_FRAMES {
            return Err(Error::Limit(format!("end: {} frames, at most {MAX_FRAMES} allowed", self.frames)));
        }
        Ok(())
    }

    pub fn to_record(mut self) -> Result<Vec<u8>> {
        let mut put = Put::default();
        self.syntax(&mut put)?;
        frame_record(END, &put.bytes)
    }

    pub fn from_body(body: &[u8]) -> Result<Self> {
        let mut fields = EndFields::default();
        let mut take = Take { rest: body };
        fields.syntax(&mut take)?;
        take.end("end record")?;
        Ok(fields)
    }
}

/// The entries of one index record: each against the one before, the first against zeros.
fn syntax<W: Wire>(entries: &mut Vec<IndexEntry>, wire: &mut W) -> Result<()> {
    let mut count = entries.len() as u64;
    wire.bounded(&mut count, MAX_ENTRIES as u64, "index: entries")?;
    entries.resize(count as usize, IndexEntry::default());
    let mut last = IndexEntry::default();
    let mut first = true;
    for entry in entries {
        let mut frame = entry.frame.wrapping_sub(last.frame);
        let mut offset = entry.offset.wrapping_sub(last.offset);
        let mut pts = entry.pts.wrapping_sub(last.pts);
        wire.bounded(&mut frame, MAX_FRAMES, "index: frame")?;
        wire.zigzag(&mut pts, "index: time stamp")?;
        wire.varint(&mut offset, "index: offset")?;
        let wrong = || Error::Malformed("index: an entry is out of order or out of range".into());
        entry.frame = last.frame.checked_add(frame).filter(|&f| f < MAX_FRAMES).ok_or_else(wrong)?;
        entry.offset = last.offset.checked_add(offset).ok_or_else(wrong)?;
        entry.pts = last.pts.checked_add(pts).filter(|p| p.unsigned_abs() <= MAX_PTS as u64).ok_or_else(wrong)?;
        if !first && (frame == 0 || offset == 0 || pts <= 0) {
            return Err(wrong());
        }
        (last, first) = (*entry, false);
    }
    Ok(())
}

/// The index as records, none if it is empty.
pub(super) fn write_index(entries: &[IndexEntry]) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for part in entries.chunks(MAX_ENTRIES) {
        let mut put = Put::default();
        syntax(&mut part.to_vec(), &mut put)?;
        bytes.extend(frame_record(INDEX, &put.bytes)?);
    }
    Ok(bytes)
}

/// The entries in an index record's body.
pub(super) fn read_index_body(body: &[u8]) -> Result<Vec<IndexEntry>> {
    let mut entries = Vec::new();
    let mut take = Take { rest: body };
    syntax(&mut entries, &mut take)?;
    take.end("index")?;
    Ok(entries)
}

/// The index of a whole file, found from its end. Nothing if the file has no end record (it was cut short) or a bad index.
pub(super) fn load<R: Read + Seek>(source: &mut R) -> std::io::Result<Option<Vec<IndexEntry>>> {
    let len = source.seek(SeekFrom::End(0))?;
    let Some(end_at) = len.checked_sub(END_BYTES as u64) else { return Ok(None) };
    source.seek(SeekFrom::Start(end_at))?;
    let mut tail = [0; END_BYTES];
    source.read_exact(&mut tail)?;
    let Framing::Record { kind: END, body, .. } = find_record(&tail) else { return Ok(None) };
    let Ok(end) = EndFields::from_body(&tail[body]) else { return Ok(None) };
    let Some(len) = end_at.checked_sub(end.index).filter(|&len| len <= MAX_INDEX_BYTES) else { return Ok(None) };
    source.seek(SeekFrom::Start(end.index))?;
    let mut bytes = Vec::new();
    source.by_ref().take(len).read_to_end(&mut bytes)?;
    Ok(parse(&bytes))
}

fn parse(mut bytes: &[u8]) -> Option<Vec<IndexEntry>> {
    let mut entries: Vec<IndexEntry> = Vec::new();
    while !bytes.is_empty() {
        let Framing::Record { kind: INDEX, body, total } = find_record(bytes) else { return None };
        entries.extend(read_index_body(&bytes[body]).ok()?);
        bytes = &bytes[total..];
    }
    let rising = entries.windows(2).all(|w| w[0].frame < w[1].frame && w[0].pts < w[1].pts && w[0].offset < w[1].offset);
    rising.then_some(entries)
}

// An index record of the most entries, each of three ten-byte numbers at worst, fits a record.
const _: () = assert!(MAX_ENTRIES * 30 + 2 <= MAX_RECORD_BYTES);
