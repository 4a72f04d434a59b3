//! Reader of streams from files and pipes, on top of the push parser.
//!
//! In: any `Read`, in one pass; with `Seek`, also jumps. Out: header, identity, packets in order.
//! Source: docs/bitstream.md, "Reading, damage and truncation".

use std::io::{ErrorKind, Read, Seek, SeekFrom};

use super::container::StreamInfo;
use super::header::{StreamHeader, StreamIdentity};
use super::index::{load, IndexEntry};
use super::packet::Packet;
use super::parser::{Ending, Event, Parser};
use crate::error::{Error, Result};

/// Bytes asked of the source at a time.
const CHUNK: usize = 32 << 10;
/// Most residuals that are handed over with a packet.
const MAX_RESIDUALS: usize = 256;

/// Reads a stream packet by packet.
pub struct StreamReader<R: Read> {
    source: R,
    parser: Parser,
    header: StreamHeader,
    identity: StreamIdentity,
    chunk: Vec<u8>,
    ending: Option<Ending>,
    /// First byte of the records.
    records: u64,
}

impl<R: Read> StreamReader<R> {
    /// Reads header and identity.
    ///
    /// # Errors
    /// Input/output; malformed, unsupported or over a limit in the header or the identity.
    pub fn open(source: R) -> Result<Self> {
        let mut reader = StreamReader {
            source,
            parser: Parser::new(),
            header: StreamHeader::default(),
            identity: StreamIdentity::by_hash([0; 32]),
            chunk: vec![0; CHUNK],
            ending: None,
            records: 0,
        };
        loop {
            match reader.event()? {
                Event::Header(header) => reader.header = *header,
                Event::Identity(identity) => {
                    let info = reader.parser.info();
                    reader.records = info.header_bytes + info.identity_bytes;
                    reader.identity = identity;
                    return Ok(reader);
                }
                // The parser's order of events: nothing else comes before the identity.
                _ => return Err(Error::Malformed("stream: records before its identity".into())),
            }
        }
    }

    fn event(&mut self) -> Result<Event> {
        loop {
            if let Some(event) = self.parser.poll()? {
                return Ok(event);
            }
            match self.source.read(&mut self.chunk) {
                Ok(0) => self.parser.close(),
                Ok(n) => self.parser.push(&self.chunk[..n]),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(source) => return Err(Error::Io { what: "cannot read the stream".into(), source }),
            }
        }
    }

    /// The header.
    pub fn header(&self) -> &StreamHeader {
        &self.header
    }

    /// The identity: its hash, and its bytes if the stream carries them.
    pub fn identity(&self) -> &StreamIdentity {
        &self.identity
    }

    /// Counts so far, with losses and damage.
    pub fn info(&self) -> StreamInfo {
        self.parser.info()
    }

    /// How the stream ended; nothing before [`StreamReader::next_packet`] has returned nothing.
    pub fn ending(&self) -> Option<Ending> {
        self.ending
    }

    /// The next event behind the identity, nothing after the end.
    ///
    /// # Errors
    /// Input/output only.
    pub fn next_event(&mut self) -> Result<Option<Event>> {
        if self.ending.is_some() {
            return Ok(None);
        }
        let event = self.event()?;
        if let Event::End(ending) = &event {
            self.ending = Some(*ending);
        }
        Ok(Some(event))
    }

    /// The next packet with the residuals before it, nothing at the end. Damaged packets are skipped and show in `lost_before` of the next one and
    /// in [`StreamReader::info`].
    ///
    /// # Errors
    /// Input/output only.
    pub fn next_packet(&mut self) -> Result<Option<Packet>> {
        let mut residuals = Vec::new();
        while let Some(event) = self.next_event()? {
            match event {
                // Of a stream without packets no more are kept than any can use.
                Event::Residual(record) if residuals.len() < MAX_RESIDUALS => residuals.push(record),
                Event::Packet(packet) => return Ok(Some(Packet { residuals, ..packet })),
                _ => {}
            }
        }
        Ok(None)
    }
}

impl<R: Read + Seek> StreamReader<R> {
    /// The seek index, which lies at the end of the file; nothing if the file was cut short. Reading goes on
    /// where it was.
    ///
    /// # Errors
    /// Input/output.
    pub fn index(&mut self) -> Result<Option<Vec<IndexEntry>>> {
        let at = |source| Error::Io { what: "cannot seek in the stream".into(), source };
        let here = self.source.stream_position().map_err(at)?;
        let index = load(&mut self.source).map_err(at)?;
        self.source.seek(SeekFrom::Start(here)).map_err(at)?;
        Ok(index)
    }

    /// Moves to the packet from which the frame shown at `pts` can be reached: the last indexed intra packet that starts no
    /// later, or the first packet of all. Read on from there and drop frames before `pts`. The stream must start at
    /// position 0 of the source.
    ///
    /// # Errors
    /// Input/output.
    pub fn seek(&mut self, pts: i64) -> Result<()> {
        let index = self.index()?.unwrap_or_default();
        let before = index.partition_point(|entry| entry.pts <= pts);
        let offset = before.checked_sub(1).map_or(self.records, |i| index[i].offset).max(self.records);
        self.source
            .seek(SeekFrom::Start(offset))
            .map_err(|source| Error::Io { what: "cannot seek in the stream".into(), source })?;
        self.parser.jump(offset);
        self.ending = None;
        Ok(())
    }
}
