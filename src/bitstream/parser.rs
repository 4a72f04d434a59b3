//! Push parser: bytes in chunks of any size, events out.
//!
//! In: the bytes of a stream as a file or a network brings them. Out: header, identity, packets, damage, end; the same
//! events however the bytes were cut. Holds at most one unfinished record (or the unfinished front) besides what was pushed.
//! Source: docs/bitstream.md, "Reading, damage and truncation".

use super::coded::Decoder;
use super::container::StreamInfo;
use super::header::{StreamHeader, StreamIdentity, STREAM_MAGIC};
use super::index::{read_index_body, EndFields, IndexEntry};
use super::packet::{
    find_record, read_fields, read_packet, Fields, Framing, Packet, END, INDEX, MOTION, PACKET, PLATE, RESIDUAL, SOUND,
};
use super::piece::{Carried, Piece};
use super::residual::ResidualRecord;
use crate::error::{Error, Result};

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With its end record.
    Complete,
    /// Without one: cut short, or its end was damaged. All packets before the cut were delivered.
    Truncated,
}

/// A stretch of bytes that held no valid record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Its first byte, from the start of the stream.
    pub offset: u64,
    /// Its length, bytes.
    pub bytes: u64,
    /// What was wrong at its start.
    pub reason: String,
}

/// What a parser found.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The stream's header: first of all.
    Header(Box<StreamHeader>),
    /// The stream's identity: second.
    Identity(StreamIdentity),
    /// Frames.
    Packet(Packet),
    /// A piece of the sound.
    Sound(Piece),
    /// A piece of the plate.
    Plate(Piece),
    /// What the frames from one on look different.
    Residual(ResidualRecord),
    /// Bytes were skipped; parsing goes on behind them.
    Damaged(Damage),
    /// A part of the seek index.
    Index(Vec<IndexEntry>),
    /// The end: last of all.
    End(Ending),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Header,
    Identity,
    Records,
    Ended,
}

/// Turns pushed bytes into events.
pub struct Parser {
    buffer: Vec<u8>,
    /// Consumed bytes at the front of `buffer`.
    start: usize,
    /// Position in the stream of the first byte not consumed.
    offset: u64,
    stage: Stage,
    /// No more bytes will come.
    closed: bool,
    header: StreamHeader,
    /// Number of the frame that should come next; not known after a jump.
    next_frame: Option<u64>,
    /// Bytes being skipped, and whether they began as the start of a record that the input's end cut off.
    skipped: Option<(Damage, bool)>,
    info: StreamInfo,
    /// Levels and models that coded packets go on with.
    decoder: Decoder,
}

impl Default for Parser {
    fn default() -> Self {
        Parser {
            buffer: Vec::new(),
            start: 0,
            offset: 0,
            stage: Stage::Header,
            closed: false,
            header: StreamHeader::default(),
            next_frame: Some(0),
            skipped: None,
            info: StreamInfo::default(),
            decoder: Decoder::default(),
        }
    }
}

impl Parser {
    /// A parser at the start of a stream.
    pub fn new() -> Self {
        Parser::default()
    }

    /// A parser that knows the header already and starts at a record: for packets on their own, or in the middle of a
    /// stream. `offset` is the position of the first byte that will be pushed.
    pub fn at_records(header: StreamHeader, offset: u64) -> Self {
        Parser { stage: Stage::Records, header, offset, next_frame: None, ..Parser::default() }
    }

    /// Continues at the record at `offset` instead: unread bytes are dropped, counts stay.
    pub(super) fn jump(&mut self, offset: u64) {
        let (header, info) = (std::mem::take(&mut self.header), self.info);
        *self = Parser { info, ..Parser::at_records(header, offset) };
    }

    /// More bytes of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// No more bytes will come: the events that are left follow.
    pub fn close(&mut self) {
        self.closed = true;
    }

    /// Counts so far.
    pub fn info(&self) -> StreamInfo {
        self.info
    }

    /// The next event, or nothing until more bytes are pushed or the parser is closed (after the end: for ever).
    ///
    /// # Errors
    /// Only for header and identity: malformed, unsupported, or over a limit; the same error again on further calls.
    /// Nothing after them is an error: damage is an event.
    pub fn poll(&mut self) -> Result<Option<Event>> {
        match self.stage {
            Stage::Header => self.header_event(),
            Stage::Identity => self.identity_event(),
            Stage::Records => Ok(self.record_event()),
            Stage::Ended => {
                // Bytes behind the end belong to nothing.
                let rest = self.buffer.len() - self.start;
                self.info.damaged_bytes += rest as u64;
                self.consume(rest);
                Ok(None)
            }
        }
    }

    /// Takes bytes off the front and books them.
    fn consume(&mut self, bytes: usize) {
        self.start += bytes;
        self.offset += bytes as u64;
        self.info.parameter_bytes += bytes as u64;
    }

    fn cut_off<T>(&self, what: &str) -> Result<Option<T>> {
        match self.closed {
            true => Err(Error::Malformed(format!("stream: ends in its {what}, after {} bytes", self.buffer.len() - self.start))),
            false => Ok(None),
        }
    }

    fn header_event(&mut self) -> Result<Option<Event>> {
        let bytes = &self.buffer[self.start..];
        if bytes.len() >= STREAM_MAGIC.len() && bytes[..STREAM_MAGIC.len()] != STREAM_MAGIC {
            return Err(Error::Malformed("stream: does not start with the magic of .effigy".into()));
        }
        let Some((header, len)) = StreamHeader::from_bytes(bytes)? else { return self.cut_off("header") };
        (self.start, self.offset) = (self.start + len, self.offset + len as u64);
        self.info.header_bytes += len as u64;
        self.stage = Stage::Identity;
        self.header = header.clone();
        Ok(Some(Event::Header(Box::new(header))))
    }

    fn identity_event(&mut self) -> Result<Option<Event>> {
        let Some((identity, len)) = StreamIdentity::from_bytes(&self.buffer[self.start..])? else {
            return self.cut_off("identity");
        };
        (self.start, self.offset) = (self.start + len, self.offset + len as u64);
        self.info.header_bytes += StreamIdentity::REFERENCE_BYTES as u64;
        self.info.identity_bytes += (len - StreamIdentity::REFERENCE_BYTES) as u64;
        self.stage = Stage::Records;
        Ok(Some(Event::Identity(identity)))
    }

    fn record_event(&mut self) -> Option<Event> {
        loop {
            match find_record(&self.buffer[self.start..]) {
                Framing::Short if !self.closed => return None,
                Framing::Short if self.start == self.buffer.len() => return Some(self.cut_end()),
                // A record whose length was damaged may hide valid ones behind it: look for them before giving up.
                Framing::Short => self.skip(1, "record cut off", true),
                Framing::No(reason) => self.skip(1, reason, false),
                Framing::Record { kind, body, total } => {
                    if let Some((damage, _)) = self.skipped.take() {
                        return Some(self.damaged(damage));
                    }
                    if let Some(event) = self.valid_record(kind, self.start + body.start..self.start + body.end, total) {
                        return Some(event);
                    }
                }
            }
        }
    }

    /// A record whose check holds; nothing if it has no event of its own.
    fn valid_record(&mut self, kind: u8, body: std::ops::Range<usize>, total: usize) -> Option<Event> {
        let body = &self.buffer[body];
        let event = match kind {
            PACKET => read_fields(&self.header, body).and_then(|fields| self.packet(&fields)),
            INDEX => read_index_body(body).map(|entries| Some(Event::Index(entries))),
            END => EndFields::from_body(body).map(|end| Some(self.end(end))),
            SOUND => Carried::Sound.read(body).map(|piece| Some(Event::Sound(piece))),
            PLATE => Carried::Plate.read(body).map(|piece| Some(Event::Plate(piece))),
            RESIDUAL | MOTION => ResidualRecord::from_body(kind, body).map(|residual| Some(Event::Residual(residual))),
            // Kinds of later versions carry a good check and are nothing to worry about.
            _ => Ok(None),
        };
        match event {
            Ok(event) => {
                self.consume(total);
                let files = match &event {
                    Some(Event::Residual(_)) => {
                        self.info.residual_bytes += total as u64;
                        return event;
                    }
                    Some(Event::Sound(_)) => &mut self.info.sound_bytes,
                    Some(Event::Plate(_)) => &mut self.info.plate_bytes,
                    _ => return event,
                };
                *files += total as u64;
                self.info.parameter_bytes -= total as u64;
                event
            }
            Err(e) => {
                self.skip(total, &e.to_string(), false);
                None
            }
        }
    }

    /// A packet with good fields; nothing if it comes too late or depends on one that is missing.
    fn packet(&mut self, fields: &Fields) -> Result<Option<Event>> {
        let (sequence, frames) = fields.place();
        let expected = self.next_frame.unwrap_or(sequence);
        let Some(gap) = sequence.checked_sub(expected) else {
            self.info.late_packets += 1;
            return Ok(None);
        };
        let Some(mut packet) = read_packet(&self.header, fields, &mut self.decoder)? else {
            self.info.orphan_packets += 1;
            return Ok(None);
        };
        self.next_frame = Some(sequence + frames);
        self.info.lost_frames += gap;
        self.info.repeated_frames += gap.min(packet.repeated.len() as u64);
        self.info.packets += 1;
        self.info.frames += frames;
        self.info.payload_bytes += u64::from(packet.payload_bytes);
        // Frame numbers stay below MAX_FRAMES, far inside 32 bits.
        packet.lost_before = gap as u32;
        packet.offset = self.offset;
        Ok(Some(Event::Packet(packet)))
    }

    fn end(&mut self, end: EndFields) -> Event {
        self.info.lost_frames += end.frames.saturating_sub(self.next_frame.unwrap_or(end.frames));
        self.stage = Stage::Ended;
        Event::End(Ending::Complete)
    }

    fn skip(&mut self, bytes: usize, reason: &str, cut: bool) {
        let offset = self.offset;
        let (damage, _) = self.skipped.get_or_insert_with(|| (Damage { offset, bytes: 0, reason: reason.into() }, cut));
        damage.bytes += bytes as u64;
        self.consume(bytes);
    }

    fn damaged(&mut self, damage: Damage) -> Event {
        self.info.damaged += 1;
        self.info.damaged_bytes += damage.bytes;
        Event::Damaged(damage)
    }

    /// The input ended without an end record.
    fn cut_end(&mut self) -> Event {
        match self.skipped.take() {
            // A last record that was cut off is what truncation is; no need to call it damage as well.
            Some((damage, false)) => self.damaged(damage),
            _ => {
                self.stage = Stage::Ended;
                Event::End(Ending::Truncated)
            }
        }
    }
}
