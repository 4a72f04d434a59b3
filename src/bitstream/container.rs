//! The stream as a whole: counts, and the writer.
//!
//! In: header, identity, frames in order. Out: bytes to any `Write`, never seeking back, one write per packet, so that a
//! stream cut anywhere still holds every packet before the cut. Source: docs/bitstream.md, "Stream".

use std::io::Write;

use super::header::{StreamHeader, StreamIdentity};
use super::index::{write_index, EndFields, IndexEntry, INDEX_SPACING};
use super::packet::{write_packet, FrameRecord};
use super::quant::RAW16_BYTES;
use crate::error::{Error, Result};
use crate::limits::MAX_FRAMES;

/// What a stream is made of, so far. The first three add up to its length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamInfo {
    /// Bytes of header and identity reference.
    pub header_bytes: u64,
    /// Bytes of the identity inside the stream; 0 when it travels apart.
    pub identity_bytes: u64,
    /// All other bytes: payload, packet heads, checks, time stamps, placement, index, end, and damage.
    pub parameter_bytes: u64,
    /// Of these, the coded parameters alone: 70 per frame in raw16.
    pub payload_bytes: u64,
    /// Packets written or delivered.
    pub packets: u64,
    /// Frames written or delivered.
    pub frames: u64,
    /// Reading: frames known to be missing, from gaps in the numbering.
    pub lost_frames: u64,
    /// Reading: sound packets dropped because a later one came first.
    pub late_packets: u64,
    /// Reading: damaged stretches skipped.
    pub damaged: u64,
    /// Reading: bytes in them.
    pub damaged_bytes: u64,
}

impl StreamInfo {
    /// Length of the stream, bytes.
    pub fn total_bytes(&self) -> u64 {
        self.header_bytes + self.identity_bytes + self.parameter_bytes
    }

    /// Mean cost of a frame, bytes; 0 without frames.
    pub fn bytes_per_frame(&self) -> f64 {
        if self.frames == 0 {
            0.0
        } else {
            self.parameter_bytes as f64 / self.frames as f64
        }
    }
}

/// Writes a stream.
///
/// ```
/// use effigy::bitstream::{FrameRecord, StreamHeader, StreamIdentity, StreamReader, StreamWriter};
/// # fn main() -> effigy::Result<()> {
/// let identity = StreamIdentity::by_hash([7; 32]);
/// let mut writer = StreamWriter::new(Vec::new(), StreamHeader::default(), &identity)?;
/// writer.write_frame(&FrameRecord { pts: 0, params: Default::default(), placement: None })?;
/// let (bytes, info) = writer.finish()?;
/// assert_eq!((info.frames, info.payload_bytes), (1, 70));
///
/// let mut reader = StreamReader::open(&bytes[..])?;
/// let packet = reader.next_packet()?.expect("one was written");
/// assert_eq!(packet.frames[0].pts, 0);
/// # Ok(())
/// # }
/// ```
pub struct StreamWriter<W: Write> {
    sink: W,
    header: StreamHeader,
    info: StreamInfo,
    index: Vec<IndexEntry>,
    last_pts: Option<i64>,
}

impl<W: Write> StreamWriter<W> {
    /// Writes header and identity. A header out of its limits is refused before anything is written.
    pub fn new(sink: W, header: StreamHeader, identity: &StreamIdentity) -> Result<Self> {
        let front = header.to_bytes()?;
        let reference = identity.to_bytes()?;
        let inline = reference.len() - StreamIdentity::REFERENCE_BYTES;
        let info = StreamInfo {
            header_bytes: (front.len() + reference.len() - inline) as u64,
            identity_bytes: inline as u64,
            ..StreamInfo::default()
        };
        let mut writer = StreamWriter { sink, header, info, index: Vec::new(), last_pts: None };
        writer.put(&front)?;
        writer.put(&reference)?;
        Ok(writer)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.sink.write_all(bytes).map_err(|source| Error::Io { what: "cannot write the stream".into(), source })
    }

    /// The header as it was written.
    pub fn header(&self) -> &StreamHeader {
        &self.header
    }

    /// Counts so far; without index and end until [`StreamWriter::finish`].
    pub fn info(&self) -> StreamInfo {
        self.info
    }

    /// One frame in a packet of its own.
    pub fn write_frame(&mut self, frame: &FrameRecord) -> Result<()> {
        self.write_packet(std::slice::from_ref(frame))
    }

    /// Several frames in one packet, at most [`super::MAX_PACKET_FRAMES`]: fewer bytes per frame, more lost at once.
    ///
    /// Misuse, and nothing written, if a number does not fit a finite half float, time stamps do not rise, or placement
    /// is missing or not announced.
    pub fn write_packet(&mut self, frames: &[FrameRecord]) -> Result<()> {
        let record = write_packet(&self.header, self.info.frames, frames)?;
        let (first, last) = match (frames.first(), frames.last()) {
            (Some(first), Some(last)) => (first.pts, last.pts),
            _ => return Err(Error::Misuse("packet without frames".into())),
        };
        if self.last_pts.is_some_and(|before| before >= first) {
            return Err(Error::Misuse(format!("time stamp {first} does not follow {:?}", self.last_pts)));
        }
        if self.info.frames + frames.len() as u64 > MAX_FRAMES {
            return Err(Error::Limit(format!("stream of more than {MAX_FRAMES} frames")));
        }
        if self.index.last().is_none_or(|entry| self.info.frames - entry.frame >= INDEX_SPACING) {
            self.index.push(IndexEntry { frame: self.info.frames, pts: first, offset: self.info.total_bytes() });
        }
        self.put(&record)?;
        self.last_pts = Some(last);
        self.info.parameter_bytes += record.len() as u64;
        self.info.payload_bytes += (RAW16_BYTES * frames.len()) as u64;
        self.info.packets += 1;
        self.info.frames += frames.len() as u64;
        Ok(())
    }

    /// Hands everything written so far to whatever is below the sink's own buffer.
    pub fn flush(&mut self) -> Result<()> {
        self.sink.flush().map_err(|source| Error::Io { what: "cannot flush the stream".into(), source })
    }

    /// Writes index and end, and returns the sink with the final counts.
    pub fn finish(mut self) -> Result<(W, StreamInfo)> {
        let mut tail = write_index(&self.index)?;
        tail.extend(EndFields { frames: self.info.frames, index: self.info.total_bytes() }.to_record()?);
        self.put(&tail)?;
        self.info.parameter_bytes += tail.len() as u64;
        self.flush()?;
        Ok((self.sink, self.info))
    }
}
