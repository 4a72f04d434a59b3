//! The stream as a whole: counts, and the writer.
//!
//! In: header, identity, frames in order. Out: bytes to any `Write`, never seeking back, one write per packet, so that a
//! stream cut anywhere still holds every packet before the cut. Source: docs/bitstream.md, "Stream".

use std::collections::VecDeque;
use std::io::Write;

use super::coded::{Encoder, Opening, MAX_REDUNDANCY, MAX_SHIFT};
use super::header::{Coding, StreamHeader, StreamIdentity};
use super::index::{write_index, EndFields, IndexEntry, INDEX_SPACING};
use super::packet::{check_frames, write_coded, write_packet, FrameRecord, MAX_PACKET_FRAMES};
use super::piece::Carried;
use super::quant::RAW16_BYTES;
use super::residual::ResidualRecord;
use crate::error::{Error, Result};
use crate::limits::MAX_FRAMES;

/// What a stream is made of, so far. The first five add up to its length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamInfo {
    /// Bytes of header and identity reference.
    pub header_bytes: u64,
    /// Bytes of the identity inside the stream; 0 when it travels apart.
    pub identity_bytes: u64,
    /// Bytes of the sound, with the heads and checks of its records.
    pub sound_bytes: u64,
    /// Bytes of the plate, likewise.
    pub plate_bytes: u64,
    /// All other bytes: payload, residual, packet heads, checks, time stamps, placement, index, end, and damage.
    pub parameter_bytes: u64,
    /// Of these, the coded frames alone: 70 bytes per frame in raw16.
    pub payload_bytes: u64,
    /// Of the parameter bytes, the residual records.
    pub residual_bytes: u64,
    /// Packets written or delivered.
    pub packets: u64,
    /// Frames written or delivered.
    pub frames: u64,
    /// Reading: frames known to be missing, from gaps in the numbering.
    pub lost_frames: u64,
    /// Reading: of these, frames that a later packet repeats.
    pub repeated_frames: u64,
    /// Reading: packets that could not be decoded, because one before them was missing. Their frames count as lost.
    pub orphan_packets: u64,
    /// Reading: packets dropped because a later one came first.
    pub late_packets: u64,
    /// Reading: damaged stretches skipped.
    pub damaged: u64,
    /// Reading: bytes in them.
    pub damaged_bytes: u64,
}

impl StreamInfo {
    /// Length of the stream, bytes.
    pub fn total_bytes(&self) -> u64 {
        self.header_bytes + self.identity_bytes + self.sound_bytes + self.plate_bytes + self.parameter_bytes
    }

    /// Mean cost of a frame without header, identity, sound and plate, bytes; 0 without frames.
    pub fn bytes_per_frame(&self) -> f64 {
        if self.frames == 0 {
            0.0
        } else {
            self.parameter_bytes as f64 / self.frames as f64
        }
    }
}

/// How frames become packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketOptions {
    /// Frames in a packet, 1 to [`MAX_PACKET_FRAMES`]: more of them cost less and are lost or late together.
    pub frames_per_packet: usize,
    /// Coded mode: most frames from one intra packet to the next. Seeking and recovery begin at intra packets.
    pub intra: u64,
    /// Coded mode: so many frames before each packet are repeated in it, coarsely; at most [`MAX_REDUNDANCY`]. Packets are then all intra:
    /// what has been repeated is what they predict from.
    pub redundancy: usize,
    /// Bits by which repeated frames are coarser, at most [`MAX_SHIFT`].
    pub coarseness: u8,
}

impl PacketOptions {
    /// What suits files: a packet of one frame in raw16, of about a second in the coded mode.
    pub fn of(coding: Coding) -> Self {
        let frames_per_packet = match coding {
            Coding::Raw16 => 1,
            Coding::Coded => 25,
        };
        PacketOptions { frames_per_packet, intra: 100, redundancy: 0, coarseness: 3 }
    }

    fn check(&self) -> Result<()> {
        let fits = (1..=MAX_PACKET_FRAMES).contains(&self.frames_per_packet) && self.intra > 0;
        if !fits || self.redundancy > MAX_REDUNDANCY || self.coarseness > MAX_SHIFT {
            return Err(Error::Misuse(format!(
                "{self:?}: 1 to {MAX_PACKET_FRAMES} frames per packet, an intra interval of 1 or more, redundancy up to \
                 {MAX_REDUNDANCY} and coarseness up to {MAX_SHIFT} are allowed"
            )));
        }
        Ok(())
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
    options: PacketOptions,
    /// Frames that wait for their packet to fill.
    pending: Vec<FrameRecord>,
    coder: Encoder,
    intra_wanted: bool,
    /// Bytes of the sound's file written so far.
    sound: u64,
    /// Bytes of the plate's.
    plate: u64,
    /// Residual records that wait for their frame.
    residuals: VecDeque<(u64, Vec<u8>)>,
}

impl<W: Write> StreamWriter<W> {
    /// Writes header and identity. A header out of its limits is refused before anything is written.
    pub fn new(sink: W, header: StreamHeader, identity: &StreamIdentity) -> Result<Self> {
        let options = PacketOptions::of(header.coding);
        StreamWriter::with_options(sink, header, identity, options)
    }

    /// As [`StreamWriter::new`], with other packets.
    ///
    /// # Errors
    /// Misuse or limit if header or options are out of range; input/output.
    pub fn with_options(sink: W, header: StreamHeader, identity: &StreamIdentity, options: PacketOptions) -> Result<Self> {
        options.check()?;
        let front = header.to_bytes()?;
        let reference = identity.to_bytes()?;
        let inline = reference.len() - StreamIdentity::REFERENCE_BYTES;
        let info = StreamInfo {
            header_bytes: (front.len() + reference.len() - inline) as u64,
            identity_bytes: inline as u64,
            ..StreamInfo::default()
        };
        let mut writer = StreamWriter {
            sink,
            header,
            info,
            index: Vec::new(),
            last_pts: None,
            options,
            pending: Vec::new(),
            coder: Encoder::default(),
            intra_wanted: false,
            sound: 0,
            plate: 0,
            residuals: VecDeque::new(),
        };
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

    /// The next packet will be intra: a receiver has lost one, or joins.
    pub fn request_intra(&mut self) {
        self.intra_wanted = true;
    }

    /// The next bytes of a Matroska file of the sound, whose time 0 is the header's `start_pts`. Players want them no later than the frames that
    /// they are heard with.
    ///
    /// # Errors
    /// Input/output; limit for more than [`crate::limits::MAX_SOUND_BYTES`].
    pub fn write_sound(&mut self, bytes: &[u8]) -> Result<()> {
        for record in Carried::Sound.records(self.sound, bytes) {
            let record = record?;
            self.put(&record)?;
            self.info.sound_bytes += record.len() as u64;
        }
        self.sound += bytes.len() as u64;
        Ok(())
    }

    /// The next bytes of the plate: a JPEG file of the background in camera coordinates, all of it before the first packet.
    ///
    /// # Errors
    /// Misuse behind the first packet; limit for more than [`crate::limits::MAX_PLATE_BYTES`]; input/output.
    pub fn write_plate(&mut self, bytes: &[u8]) -> Result<()> {
        if self.info.packets > 0 {
            return Err(Error::Misuse("the plate belongs before the first packet".into()));
        }
        for record in Carried::Plate.records(self.plate, bytes) {
            let record = record?;
            self.put(&record)?;
            self.info.plate_bytes += record.len() as u64;
        }
        self.plate += bytes.len() as u64;
        Ok(())
    }

    /// A residual record, those of a kind in the order of their numbers, any time before the first frame that shows it: it is written with that frame's packet.
    ///
    /// # Errors
    /// Misuse once that frame is in a packet; limit or malformed for fields out of range; input/output.
    pub fn write_residual(&mut self, residual: &ResidualRecord) -> Result<()> {
        if residual.frame < self.info.frames {
            return Err(Error::Misuse(format!("residual for frame {}, {} are written", residual.frame, self.info.frames)));
        }
        let behind = self.residuals.partition_point(|(frame, _)| *frame <= residual.frame);
        self.residuals.insert(behind, (residual.frame, residual.to_record()?));
        Ok(())
    }

    /// Writes the residuals that show in the next `frames` frames.
    fn put_residuals(&mut self, frames: usize) -> Result<()> {
        let end = self.info.frames + frames as u64;
        while self.residuals.front().is_some_and(|(frame, _)| *frame < end) {
            let Some((_, record)) = self.residuals.pop_front() else { break };
            self.put(&record)?;
            self.info.parameter_bytes += record.len() as u64;
            self.info.residual_bytes += record.len() as u64;
        }
        Ok(())
    }

    /// One frame. It is written once [`PacketOptions::frames_per_packet`] are together, at [`StreamWriter::end_packet`] or at the end.
    ///
    /// # Errors
    /// As [`StreamWriter::write_packet`]; the frame is then not taken.
    pub fn write_frame(&mut self, frame: &FrameRecord) -> Result<()> {
        if self.options.frames_per_packet == 1 {
            return self.put_packet(std::slice::from_ref(frame));
        }
        let last = self.pending.last().map(|frame| frame.pts).or(self.last_pts);
        self.check_frame(last, frame)?;
        self.pending.push(*frame);
        if self.pending.len() < self.options.frames_per_packet {
            return Ok(());
        }
        self.end_packet()
    }

    /// Sends the frames that wait, as a packet of fewer frames than usual.
    ///
    /// # Errors
    /// Input/output; limit for a stream of too many frames.
    pub fn end_packet(&mut self) -> Result<()> {
        let frames = std::mem::take(&mut self.pending);
        if frames.is_empty() {
            return Ok(());
        }
        self.put_packet(&frames)
    }

    /// Several frames in one packet, at most [`MAX_PACKET_FRAMES`]: fewer bytes per frame, more lost at once.
    ///
    /// Misuse, and nothing written, if a number does not fit (a finite half float in raw16, a level in the coded mode), time stamps do not
    /// rise, or placement is missing or not announced.
    pub fn write_packet(&mut self, frames: &[FrameRecord]) -> Result<()> {
        self.end_packet()?;
        self.put_packet(frames)
    }

    fn check_frame(&self, last: Option<i64>, frame: &FrameRecord) -> Result<()> {
        if last.is_some_and(|before| before >= frame.pts) {
            return Err(Error::Misuse(format!("time stamp {} does not follow {last:?}", frame.pts)));
        }
        match self.header.coding {
            // Writing is the check; what it writes goes nowhere.
            Coding::Raw16 => write_packet(&self.header, 0, std::slice::from_ref(frame)).map(|_| ()),
            Coding::Coded => {
                check_frames(&self.header, std::slice::from_ref(frame))?;
                Encoder::check(&self.header, frame)
            }
        }
    }

    fn put_packet(&mut self, frames: &[FrameRecord]) -> Result<()> {
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
        let (record, payload, intra) = self.packet(frames)?;
        self.put_residuals(frames.len())?;
        if intra && self.index.last().is_none_or(|entry| self.info.frames - entry.frame >= INDEX_SPACING) {
            self.index.push(IndexEntry { frame: self.info.frames, pts: first, offset: self.info.total_bytes() });
        }
        self.put(&record)?;
        self.last_pts = Some(last);
        self.info.parameter_bytes += record.len() as u64;
        self.info.payload_bytes += payload as u64;
        self.info.packets += 1;
        self.info.frames += frames.len() as u64;
        Ok(())
    }

    /// A record, the bytes of its frames, and whether it is intra.
    fn packet(&mut self, frames: &[FrameRecord]) -> Result<(Vec<u8>, usize, bool)> {
        let sequence = self.info.frames;
        if self.header.coding == Coding::Raw16 {
            return Ok((write_packet(&self.header, sequence, frames)?, RAW16_BYTES * frames.len(), true));
        }
        let options = self.options;
        let repeats = options.redundancy.min(self.coder.past()) as u64;
        let depends = match self.coder.chain_start() {
            Some(start) if options.redundancy == 0 && !self.intra_wanted => sequence - start,
            _ => 0,
        };
        // The interval ends with the last packet that lies in it as a whole.
        let depends = if depends + frames.len() as u64 > options.intra { 0 } else { depends };
        let opening = Opening { sequence, depends, repeats, shift: options.coarseness };
        let (record, payload) = write_coded(&self.header, &opening, &mut self.coder, frames)?;
        self.intra_wanted = false;
        Ok((record, payload, depends == 0))
    }

    /// Hands everything written so far to whatever is below the sink's own buffer.
    pub fn flush(&mut self) -> Result<()> {
        self.sink.flush().map_err(|source| Error::Io { what: "cannot flush the stream".into(), source })
    }

    /// Writes index and end, and returns the sink with the final counts.
    pub fn finish(mut self) -> Result<(W, StreamInfo)> {
        self.end_packet()?;
        // A lone entry would only name the first packet, which is found without it.
        let index = if self.index.len() > 1 { self.index.as_slice() } else { &[] };
        let mut tail = write_index(index)?;
        tail.extend(EndFields { frames: self.info.frames, index: self.info.total_bytes() }.to_record()?);
        self.put(&tail)?;
        self.info.parameter_bytes += tail.len() as u64;
        self.flush()?;
        Ok((self.sink, self.info))
    }
}
