//! Records of a stream (packet, index, end) and the syntax of packets.
//!
//! In: frames (time stamps in ticks, parameters, placement in camera pixels). Out: self-contained records with their own
//! check, and back. A record is found, checked and decoded from its own bytes and the stream's header alone.
//! Source: docs/bitstream.md, "Records" and "Packets".

use super::coded::{self, Opening, MAX_REDUNDANCY, MAX_SHIFT};
use super::header::{Coding, StreamHeader};
use super::quant::{placement_from_steps, placement_to_steps, raw16_read, raw16_write, RAW16_BYTES};
use super::residual::ResidualRecord;
use super::wire::{Put, Take, Wire};
use crate::error::{Error, Result};
use crate::limits::{MAX_FRAMES, MAX_PACKET_BYTES};
use crate::params::{FrameParams, Placement};

/// Most frames in one packet.
pub const MAX_PACKET_FRAMES: usize = 64;
/// Largest body of any record, bytes: the most a parser holds back while it waits for the rest of a record.
pub const MAX_RECORD_BYTES: usize = 16 << 10;
const _: () = assert!(MAX_RECORD_BYTES <= MAX_PACKET_BYTES);
/// Time stamps stay within plus and minus this, ticks, so that their differences cannot overflow.
pub const MAX_PTS: i64 = 1 << 60;

/// First byte of a packet.
pub(super) const PACKET: u8 = 0xf1;
/// First byte of a stretch of the seek index.
pub(super) const INDEX: u8 = 0xf2;
/// First byte of the end record.
pub(super) const END: u8 = 0xf3;
/// First byte of a piece of the sound.
pub(super) const SOUND: u8 = 0xf4;
/// First byte of a piece of the plate.
pub(super) const PLATE: u8 = 0xf5;
/// First byte of a residual that is added.
pub(super) const RESIDUAL: u8 = 0xf6;
/// First byte of a residual that displaces.
pub(super) const MOTION: u8 = 0xf7;
/// Bytes of a check value after a record's body.
const CRC_BYTES: usize = 4;

const INTRA: u8 = 0x01;
const REDUNDANT: u8 = 0x02;
const SEVERAL: u8 = 0x80;

/// One frame as the stream carries it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FrameRecord {
    /// Presentation time stamp, ticks of the stream's time base; rises from frame to frame.
    pub pts: i64,
    /// The 35 numbers.
    pub params: FrameParams,
    /// Where the crop sits; present exactly if the header announces the track.
    pub placement: Option<Placement>,
}

/// A received packet.
#[derive(Clone, Debug, PartialEq)]
pub struct Packet {
    /// Number of its first frame, from 0: counts frames, so a gap tells how many are missing.
    pub sequence: u32,
    /// True if it can be decoded without any other packet.
    pub intra: bool,
    /// How many frames back its prediction reaches; 0 for intra packets.
    pub depends: u32,
    /// Frames missing between the packet delivered before and this one.
    pub lost_before: u32,
    /// Position of its first byte in the stream.
    pub offset: u64,
    /// Bytes of the coded frames alone.
    pub payload_bytes: u32,
    /// Coarse repetition of the frames just before `sequence`, for the case that they were lost; empty in raw16.
    pub repeated: Vec<FrameRecord>,
    /// Its frames, 1 to [`MAX_PACKET_FRAMES`].
    pub frames: Vec<FrameRecord>,
    /// Residuals that came between the packet before and this one, where [`StreamReader::next_packet`](super::StreamReader::next_packet) reads.
    pub residuals: Vec<ResidualRecord>,
}

impl Packet {
    /// Number of the first of `shown` frames that end with this packet's last one.
    pub fn first_of(&self, shown: usize) -> u64 {
        (u64::from(self.sequence) + self.frames.len() as u64).saturating_sub(shown as u64)
    }
}

/// What the start of some bytes holds.
pub(super) enum Framing {
    /// The bytes end before that can be told.
    Short,
    /// No record starts here.
    No(&'static str),
    /// A record with a good check: its kind, where its body lies, and its whole length.
    Record { kind: u8, body: std::ops::Range<usize>, total: usize },
}

/// The check byte behind a record's length: a length hit by damage is noticed before it is waited for.
fn head_check(head: &[u8]) -> u8 {
    crc32fast::hash(head) as u8
}

/// Wraps a body into a record.
pub(super) fn frame_record(kind: u8, body: &[u8]) -> Result<Vec<u8>> {
    if body.len() > MAX_RECORD_BYTES {
        return Err(Error::Limit(format!("record of {} bytes, at most {MAX_RECORD_BYTES} allowed", body.len())));
    }
    let mut put = Put { bytes: vec![kind] };
    put.varint(&mut (body.len() as u64), "record length")?;
    let check = head_check(&put.bytes);
    put.bytes.push(check);
    put.bytes.extend_from_slice(body);
    let crc = crc32fast::hash(&put.bytes);
    put.bytes.extend_from_slice(&crc.to_le_bytes());
    Ok(put.bytes)
}

/// Looks for a record at the start of `bytes`. The answer for given bytes never changes when more follow, except from `Short`.
pub(super) fn find_record(bytes: &[u8]) -> Framing {
    match bytes.first() {
        None => return Framing::Short,
        Some(0xf1..=0xff) => {}
        Some(_) => return Framing::No("no record marker"),
    }
    let mut length = 0usize;
    let mut at = 1;
    loop {
        let Some(&byte) = bytes.get(at) else { return Framing::Short };
        length |= usize::from(byte & 0x7f) << (7 * (at - 1));
        at += 1;
        if length > MAX_RECORD_BYTES {
            return Framing::No("record length over its limit");
        }
        match byte {
            0 if at > 2 => return Framing::No("record length not in its shortest form"),
            0..=0x7f => break,
            // Three groups hold every allowed length.
            _ if at == 4 => return Framing::No("record length over its limit"),
            _ => {}
        }
    }
    let Some(&check) = bytes.get(at) else { return Framing::Short };
    if check != head_check(&bytes[..at]) {
        return Framing::No("record length fails its check");
    }
    let body = at + 1..at + 1 + length;
    let total = body.end + CRC_BYTES;
    let Some(crc) = bytes.get(body.end..total) else { return Framing::Short };
    if crc != crc32fast::hash(&bytes[..body.end]).to_le_bytes() {
        return Framing::No("record fails its CRC");
    }
    Framing::Record { kind: bytes[0], body, total }
}

/// The fields of a packet as they lie on the wire.
#[derive(Default)]
pub(super) struct Fields {
    sequence: u64,
    flags: u8,
    count: u64,
    depends: u64,
    pts: Vec<i64>,
    places: Vec<[i32; 3]>,
    redundancy: Vec<u8>,
    repeats: u64,
    shift: u8,
    payload: Vec<u8>,
}

impl Fields {
    /// The packet syntax, for both directions.
    fn syntax<W: Wire>(&mut self, wire: &mut W, header: &StreamHeader) -> Result<()> {
        wire.bounded(&mut self.sequence, MAX_FRAMES - 1, "packet: sequence")?;
        wire.u8(&mut self.flags, "packet: flags")?;
        if self.flags & !(INTRA | REDUNDANT | SEVERAL) != 0 {
            return Err(Error::Unsupported(format!("packet flags {:#04x}", self.flags)));
        }
        if self.flags & SEVERAL == 0 {
            self.count = 1;
        } else {
            wire.bounded(&mut self.count, MAX_PACKET_FRAMES as u64, "packet: frames")?;
            if self.count < 2 {
                return Err(Error::Malformed(format!("packet: {} frames where several are announced", self.count)));
            }
        }
        if self.sequence + self.count > MAX_FRAMES {
            return Err(Error::Limit(format!("packet: frames past number {MAX_FRAMES}")));
        }
        if self.flags & INTRA == 0 {
            wire.bounded(&mut self.depends, self.sequence, "packet: depends")?;
            if self.depends == 0 || header.coding == Coding::Raw16 {
                return Err(Error::Malformed(format!("packet: {:?} packet depends on {} frames", header.coding, self.depends)));
            }
        }
        if header.coding == Coding::Coded {
            return self.coded(wire);
        }
        self.times(wire, header)?;
        if header.placement {
            self.placements(wire)?;
        }
        if self.flags & REDUNDANT != 0 {
            wire.blob(&mut self.redundancy, MAX_RECORD_BYTES, "packet: redundancy")?;
        }
        wire.sized(&mut self.payload, RAW16_BYTES * self.count as usize, "packet: raw16 payload")
    }

    /// What follows in coded packets.
    fn coded<W: Wire>(&mut self, wire: &mut W) -> Result<()> {
        if self.flags & REDUNDANT != 0 {
            wire.bounded(&mut self.repeats, (MAX_REDUNDANCY as u64).min(self.sequence), "packet: repeated frames")?;
            wire.u8(&mut self.shift, "packet: coarseness")?;
            if self.repeats == 0 || self.shift > MAX_SHIFT || self.flags & INTRA == 0 {
                let (repeats, shift) = (self.repeats, self.shift);
                return Err(Error::Malformed(format!("packet: {repeats} frames repeated {shift} bits coarser, or not intra")));
            }
        }
        wire.rest(&mut self.payload)
    }

    fn into_record(mut self, header: &StreamHeader) -> Result<Vec<u8>> {
        let mut put = Put::default();
        self.syntax(&mut put, header)?;
        frame_record(PACKET, &put.bytes)
    }

    /// Frames, and where they come in the stream.
    pub fn place(&self) -> (u64, u64) {
        (self.sequence, self.count)
    }

    /// Whether it can be decoded without any other packet.
    pub fn intra(&self) -> bool {
        self.flags & INTRA != 0
    }

    fn opening(&self) -> Opening {
        Opening { sequence: self.sequence, depends: self.depends, repeats: self.repeats, shift: self.shift }
    }

    /// Time stamps: the first against the regular grid, the others against their predecessor.
    fn times<W: Wire>(&mut self, wire: &mut W, header: &StreamHeader) -> Result<()> {
        // Bounds of the three terms: 2^60, 2^32 and 2^24, so nothing here overflows.
        let ticks = i64::from(header.frame_ticks);
        let mut expected = header.start_pts + ticks * self.sequence as i64;
        self.pts.resize(self.count as usize, 0);
        let mut last = -MAX_PTS - 1;
        for pts in &mut self.pts {
            let mut off = *pts - expected;
            wire.zigzag(&mut off, "packet: time stamp")?;
            *pts = expected.checked_add(off).unwrap_or(i64::MAX);
            if !(-MAX_PTS..=MAX_PTS).contains(pts) || *pts <= last {
                return Err(Error::Malformed(format!("packet: time stamp {pts} after {last}; they rise and stay within 2^60")));
            }
            last = *pts;
            expected = last + ticks;
        }
        Ok(())
    }

    /// Placements in 1/64 pixel: the first in full, the others against their predecessor.
    fn placements<W: Wire>(&mut self, wire: &mut W) -> Result<()> {
        self.places.resize(self.count as usize, [0; 3]);
        let mut last = [0i32; 3];
        for place in &mut self.places {
            for (value, last) in place.iter_mut().zip(last) {
                let mut off = i64::from(*value) - i64::from(last);
                wire.zigzag(&mut off, "packet: placement")?;
                let sum = i64::from(last).checked_add(off).and_then(|v| i32::try_from(v).ok());
                *value = sum.ok_or_else(|| Error::Malformed("packet: placement step over 32 bits".into()))?;
            }
            last = *place;
        }
        Ok(())
    }
}

/// The record of one raw16 packet.
pub(super) fn write_packet(header: &StreamHeader, sequence: u64, frames: &[FrameRecord]) -> Result<Vec<u8>> {
    check_frames(header, frames)?;
    let several = if frames.len() > 1 { SEVERAL } else { 0 };
    let mut fields = Fields { sequence, flags: INTRA | several, count: frames.len() as u64, ..Fields::default() };
    for frame in frames {
        fields.pts.push(frame.pts);
        if let Some(placement) = &frame.placement {
            fields.places.push(placement_to_steps(placement)?);
        }
        raw16_write(&frame.params, &mut fields.payload)?;
    }
    fields.into_record(header)
}

/// The record of one coded packet, and the bytes of its block.
pub(super) fn write_coded(
    header: &StreamHeader,
    opening: &Opening,
    coder: &mut coded::Encoder,
    frames: &[FrameRecord],
) -> Result<(Vec<u8>, usize)> {
    check_frames(header, frames)?;
    let several = if frames.len() > 1 { SEVERAL } else { 0 };
    let redundant = if opening.repeats > 0 { REDUNDANT } else { 0 };
    let intra = if opening.depends == 0 { INTRA } else { 0 };
    let &Opening { sequence, depends, repeats, shift } = opening;
    let (flags, count) = (intra | redundant | several, frames.len() as u64);
    let payload = coder.encode(header, opening, frames)?;
    let bytes = payload.len();
    let fields = Fields { sequence, flags, count, depends, repeats, shift, payload, ..Fields::default() };
    Ok((fields.into_record(header)?, bytes))
}

/// Whether one packet can hold these frames, whatever their numbers are.
pub(super) fn check_frames(header: &StreamHeader, frames: &[FrameRecord]) -> Result<()> {
    if frames.is_empty() || frames.len() > MAX_PACKET_FRAMES {
        return Err(Error::Misuse(format!("packet of {} frames: 1 to {MAX_PACKET_FRAMES} allowed", frames.len())));
    }
    let mut last = -MAX_PTS - 1;
    for frame in frames {
        if !(-MAX_PTS..=MAX_PTS).contains(&frame.pts) || frame.pts <= last {
            return Err(Error::Misuse(format!("time stamp {} after {last}: they rise and stay within 2^60", frame.pts)));
        }
        last = frame.pts;
        if frame.placement.is_some() != header.placement {
            let (at, track) = (frame.pts, header.placement);
            let given = if track { "missing" } else { "given" };
            return Err(Error::Misuse(format!("frame at {at}: placement {given}, but the header's placement track is {track}")));
        }
    }
    Ok(())
}

/// The fields in a record's body.
pub(super) fn read_fields(header: &StreamHeader, body: &[u8]) -> Result<Fields> {
    let mut fields = Fields::default();
    let mut take = Take { rest: body };
    fields.syntax(&mut take, header)?;
    take.end("packet")?;
    Ok(fields)
}

/// The packet with these fields, nothing if it cannot be decoded without others. `lost_before` and `offset` are the caller's to fill in.
pub(super) fn read_packet(header: &StreamHeader, fields: &Fields, decoder: &mut coded::Decoder) -> Result<Option<Packet>> {
    let (repeated, frames) = match header.coding {
        Coding::Raw16 => (Vec::new(), raw16_frames(fields)?),
        Coding::Coded if decoder.follows(&fields.opening()) => {
            let decoded = decoder.decode(header, &fields.opening(), fields.count, &fields.payload)?;
            (decoded.repeated, decoded.frames)
        }
        Coding::Coded => return Ok(None),
    };
    Ok(Some(Packet {
        sequence: fields.sequence as u32,
        intra: fields.intra(),
        depends: fields.depends as u32,
        lost_before: 0,
        offset: 0,
        payload_bytes: fields.payload.len() as u32,
        repeated,
        frames,
        residuals: Vec::new(),
    }))
}

fn raw16_frames(fields: &Fields) -> Result<Vec<FrameRecord>> {
    let mut frames = Vec::with_capacity(fields.pts.len());
    for (i, (&pts, bytes)) in fields.pts.iter().zip(fields.payload.chunks_exact(RAW16_BYTES)).enumerate() {
        let placement = fields.places.get(i).map(placement_from_steps).transpose()?;
        frames.push(FrameRecord { pts, params: raw16_read(bytes)?, placement });
    }
    Ok(frames)
}
