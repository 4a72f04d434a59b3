//! The start of a stream: its header and its identity.
//!
//! In: the settings that all packets share. Out: bytes, and back; every value is checked in both directions.
//! Units: ticks of the time base, pixels. Source: docs/bitstream.md, "Header" and "Identity reference".

use std::collections::BTreeMap;

use super::identity::identity_hash;
use super::packet::MAX_PTS;
use super::track::{MAX_CLASS, MAX_CODED_LEVEL, MAX_TRACKS};
use super::wire::{Put, Take, Wire};
use crate::error::{Error, Result};
use crate::frame::TimeBase;
use crate::limits::{MAX_FRAME_SIDE, MAX_IDENTITY_BYTES, MAX_METADATA_BYTES, MAX_NAME_BYTES, MAX_RESOLUTION};
use crate::params::PARAMS;

/// First bytes of a stream. The high bit, the line ends and the control character show transfers that change bytes.
pub const STREAM_MAGIC: [u8; 8] = *b"\x89EFGY\r\n\x1a";
/// Version of the stream format, major and minor. A reader refuses another major and accepts any minor. Streams name the
/// lowest version that has what they use: raw16 is 1.0.
pub const STREAM_VERSION: (u8, u8) = (1, 1);
/// Magic, version, length of the body.
const FRONT_BYTES: usize = 14;
/// Room for the header's fields besides metadata.
const FIELD_BYTES: usize = 1024;
/// Largest header body.
const MAX_HEADER_BYTES: usize = MAX_METADATA_BYTES + FIELD_BYTES;
/// Most pairs of metadata.
const MAX_METADATA_PAIRS: u64 = 1024;
/// Hash, length and CRC of the identity reference.
const REFERENCE_BYTES: usize = 40;

const PLACEMENT: u8 = 0x01;
const SYNTHETIC: u8 = 0x02;
/// Smallest and largest step of a coded track. A step of the placement stays a step inside the camera picture even where it is coarsest.
pub(super) const CODED_STEPS: std::ops::RangeInclusive<f32> = 1.0 / (1 << 20) as f32..=256.0;

/// How packets carry the parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// 35 half floats per frame, every packet intra.
    Raw16,
    /// Quantised, predicted and range-coded levels.
    Coded,
}

/// What coders may expect of a track of levels before they have seen any: coded streams name it once for all packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrackStart {
    /// Level at rest: where intra packets begin, and where concealment ends.
    pub rest: i32,
    /// Class of the mean distance from rest, 0 to [`MAX_CLASS`]: two per octave of 1/256 levels.
    pub spread: u8,
    /// Class of the mean change from frame to frame, alike.
    pub motion: u8,
}

impl Coding {
    fn to_wire(self) -> u8 {
        match self {
            Coding::Raw16 => 0,
            Coding::Coded => 1,
        }
    }

    fn from_wire(code: u8) -> Result<Self> {
        match code {
            0 => Ok(Coding::Raw16),
            1 => Ok(Coding::Coded),
            other => Err(Error::Unsupported(format!("coding {other} of a stream; this version knows 0 (raw16) and 1 (coded)"))),
        }
    }
}

/// What all packets of a stream share.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamHeader {
    /// SHA-256 of the model pack that renders the stream.
    pub pack: [u8; 32],
    /// Side of the rendered crop, pixels.
    pub resolution: u32,
    /// Duration of a tick.
    pub time_base: TimeBase,
    /// Time stamp of frame 0 on the regular grid, ticks.
    pub start_pts: i64,
    /// Usual distance of two frames, ticks; time stamps near the grid it spans cost one byte, others stay exact too.
    pub frame_ticks: u32,
    /// Width of the camera picture, pixels.
    pub camera_width: u32,
    /// Height of the camera picture, pixels.
    pub camera_height: u32,
    /// How parameters are coded.
    pub coding: Coding,
    /// True if every frame has a placement.
    pub placement: bool,
    /// Declares that what this stream renders is synthetic media.
    pub synthetic: bool,
    /// Quantiser steps of the 35 parameters and, with the placement track, of x, y and side in pixels; empty for raw16.
    pub quantiser: Vec<f32>,
    /// What to expect of each of them; empty for raw16.
    pub starts: Vec<TrackStart>,
    /// Encoder settings and origin: `tuning`, `target`, `sound` and others, sorted by key.
    pub metadata: BTreeMap<String, String>,
}

impl Default for StreamHeader {
    fn default() -> Self {
        StreamHeader {
            pack: [0; 32],
            resolution: 256,
            time_base: TimeBase { num: 1, den: 25 },
            start_pts: 0,
            frame_ticks: 1,
            camera_width: 256,
            camera_height: 256,
            coding: Coding::Raw16,
            placement: false,
            synthetic: true,
            quantiser: Vec::new(),
            starts: Vec::new(),
            metadata: BTreeMap::new(),
        }
    }
}

impl StreamHeader {
    /// The header's bytes: magic, version, length, fields, CRC.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>> {
        // Limits and ranges are the same in both directions, but here a violation is the caller's.
        let misuse = |e| match e {
            Error::Malformed(what) => Error::Misuse(what),
            other => other,
        };
        let mut body = Put::default();
        self.clone().syntax(&mut body).map_err(misuse)?;
        let mut bytes = STREAM_MAGIC.to_vec();
        let minor = match self.coding {
            Coding::Raw16 => 0,
            Coding::Coded => 1,
        };
        bytes.extend_from_slice(&[STREAM_VERSION.0, minor]);
        bytes.extend_from_slice(&(body.bytes.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&body.bytes);
        let crc = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        Ok(bytes)
    }

    /// The header at the start of `bytes` and its length; nothing while bytes are missing.
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Option<(Self, usize)>> {
        let Some(front) = bytes.get(..FRONT_BYTES) else { return Ok(None) };
        if front[..8] != STREAM_MAGIC {
            return Err(Error::Malformed("stream: does not start with the magic of .effigy".into()));
        }
        if front[8] != STREAM_VERSION.0 {
            let (major, minor) = STREAM_VERSION;
            let text = format!("stream format {}.{}; this build reads {major}.x, x up to {minor} in full", front[8], front[9]);
            return Err(Error::Unsupported(text));
        }
        let len = u32::from_le_bytes([front[10], front[11], front[12], front[13]]) as usize;
        if len > MAX_HEADER_BYTES {
            return Err(Error::Limit(format!("stream header of {len} bytes, at most {MAX_HEADER_BYTES} allowed")));
        }
        let (end, total) = (FRONT_BYTES + len, FRONT_BYTES + len + 4);
        let Some(crc) = bytes.get(end..total) else { return Ok(None) };
        if crc != crc32fast::hash(&bytes[..end]).to_le_bytes() {
            return Err(Error::Malformed("stream header: fails its CRC".into()));
        }
        let mut take = Take { rest: &bytes[FRONT_BYTES..end] };
        let mut header = StreamHeader::default();
        header.syntax(&mut take)?;
        // Later minor versions may append fields.
        if front[9] <= STREAM_VERSION.1 {
            take.end("stream header")?;
        }
        Ok(Some((header, total)))
    }

    /// The fields, for both directions.
    fn syntax<W: Wire>(&mut self, wire: &mut W) -> Result<()> {
        wire.fixed(&mut self.pack, "header: pack hash")?;
        let mut resolution = u16::try_from(self.resolution).unwrap_or(u16::MAX);
        wire.u16(&mut resolution, "header: resolution")?;
        self.resolution = u32::from(resolution);
        let mut params = PARAMS as u16;
        wire.u16(&mut params, "header: parameter count")?;
        if usize::from(params) != PARAMS {
            return Err(Error::Unsupported(format!("{params} parameters per frame; this version knows {PARAMS}")));
        }
        wire.u32(&mut self.time_base.num, "header: time base")?;
        wire.u32(&mut self.time_base.den, "header: time base")?;
        wire.i64(&mut self.start_pts, "header: start")?;
        wire.u32(&mut self.frame_ticks, "header: frame ticks")?;
        wire.u32(&mut self.camera_width, "header: camera width")?;
        wire.u32(&mut self.camera_height, "header: camera height")?;
        let mut coding = self.coding.to_wire();
        wire.u8(&mut coding, "header: coding")?;
        self.coding = Coding::from_wire(coding)?;
        let mut flags = if self.placement { PLACEMENT } else { 0 } | if self.synthetic { SYNTHETIC } else { 0 };
        wire.u8(&mut flags, "header: flags")?;
        if flags & !(PLACEMENT | SYNTHETIC) != 0 {
            return Err(Error::Unsupported(format!("stream flags {flags:#04x}")));
        }
        (self.placement, self.synthetic) = (flags & PLACEMENT != 0, flags & SYNTHETIC != 0);
        self.steps(wire)?;
        metadata(&mut self.metadata, wire)?;
        self.check()
    }

    /// Tracks of the coded mode: the parameters and, if they are sent, the numbers of the placement.
    pub(super) fn tracks(&self) -> usize {
        match (self.coding, self.placement) {
            (Coding::Raw16, _) => 0,
            (Coding::Coded, false) => PARAMS,
            (Coding::Coded, true) => MAX_TRACKS,
        }
    }

    fn steps<W: Wire>(&mut self, wire: &mut W) -> Result<()> {
        let mut count = self.quantiser.len() as u64;
        wire.bounded(&mut count, MAX_TRACKS as u64, "header: quantiser table")?;
        let wanted = self.tracks();
        if count != wanted as u64 {
            return Err(Error::Malformed(format!("header: {count} quantiser steps, {:?} has {wanted} here", self.coding)));
        }
        self.quantiser.resize(wanted, 0.0);
        self.quantiser.iter_mut().try_for_each(|step| wire.f32(step, "header: quantiser step"))?;
        if let Some(step) = self.quantiser.iter().find(|step| !CODED_STEPS.contains(step)) {
            return Err(Error::Malformed(format!("header: quantiser step {step}, {CODED_STEPS:?} allowed")));
        }
        if self.starts.len() > wanted {
            return Err(Error::Malformed(format!("header: {} track starts for {wanted} tracks", self.starts.len())));
        }
        self.starts.resize(wanted, TrackStart::default());
        self.starts.iter_mut().try_for_each(|start| start.syntax(wire))
    }

    fn check(&self) -> Result<()> {
        let side = |value: u32, max: u32, what: &str| match value {
            v if (1..=max).contains(&v) => Ok(()),
            v => Err(Error::Limit(format!("header: {what} {v}, 1 to {max} allowed"))),
        };
        side(self.resolution, MAX_RESOLUTION, "resolution")?;
        side(self.camera_width, MAX_FRAME_SIDE, "camera width")?;
        side(self.camera_height, MAX_FRAME_SIDE, "camera height")?;
        let TimeBase { num, den } = self.time_base;
        if num == 0 || den == 0 {
            return Err(Error::Malformed(format!("header: time base {num}/{den}, neither may be 0")));
        }
        if !(-MAX_PTS..=MAX_PTS).contains(&self.start_pts) {
            return Err(Error::Limit(format!("header: start at {} ticks, within 2^60 allowed", self.start_pts)));
        }
        Ok(())
    }
}

impl TrackStart {
    fn syntax<W: Wire>(&mut self, wire: &mut W) -> Result<()> {
        let mut rest = i64::from(self.rest);
        wire.zigzag(&mut rest, "header: rest level")?;
        self.rest = i32::try_from(rest)
            .ok()
            .filter(|level| level.unsigned_abs() <= MAX_CODED_LEVEL as u32)
            .ok_or_else(|| Error::Malformed(format!("header: rest level {rest}, within {MAX_CODED_LEVEL} allowed")))?;
        for class in [&mut self.spread, &mut self.motion] {
            wire.u8(class, "header: class of a track")?;
            if *class > MAX_CLASS {
                return Err(Error::Malformed(format!("header: class {class} of a track, at most {MAX_CLASS} allowed")));
            }
        }
        Ok(())
    }
}

/// Sorted pairs of text: keys rise, so equal maps have equal bytes.
pub(super) fn metadata<W: Wire>(map: &mut BTreeMap<String, String>, wire: &mut W) -> Result<()> {
    let mut count = map.len() as u64;
    wire.bounded(&mut count, MAX_METADATA_PAIRS, "metadata: pairs")?;
    let mut given = std::mem::take(map).into_iter();
    let mut room = MAX_METADATA_BYTES;
    for _ in 0..count {
        let (mut key, mut value) = given.next().unwrap_or_default();
        wire.string(&mut key, MAX_NAME_BYTES, "metadata: key")?;
        wire.string(&mut value, room, "metadata: value")?;
        if map.last_key_value().is_some_and(|(last, _)| *last >= key) {
            return Err(Error::Malformed(format!("metadata: key {key:?} not in rising order")));
        }
        room = room
            .checked_sub(key.len() + value.len())
            .ok_or_else(|| Error::Limit(format!("metadata: over {MAX_METADATA_BYTES} bytes in all")))?;
        map.insert(key, value);
    }
    Ok(())
}

/// The identity of a stream: always named by its hash, possibly carried along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamIdentity {
    /// SHA-256 of the identity file.
    pub hash: [u8; 32],
    /// The identity file, if the stream carries it.
    pub bytes: Option<Vec<u8>>,
}

impl StreamIdentity {
    /// An identity that travels inside the stream.
    pub fn inline(bytes: Vec<u8>) -> Self {
        StreamIdentity { hash: identity_hash(&bytes), bytes: Some(bytes) }
    }

    /// An identity that the receiver has or finds elsewhere.
    pub fn by_hash(hash: [u8; 32]) -> Self {
        StreamIdentity { hash, bytes: None }
    }

    /// Bytes of the reference alone; they count as header.
    pub(super) const REFERENCE_BYTES: usize = REFERENCE_BYTES;

    pub(super) fn to_bytes(&self) -> Result<Vec<u8>> {
        let inline = self.bytes.as_deref().unwrap_or_default();
        if inline.len() > MAX_IDENTITY_BYTES {
            return Err(Error::Limit(format!("identity of {} bytes, at most {MAX_IDENTITY_BYTES} allowed", inline.len())));
        }
        if self.bytes.is_some() && identity_hash(inline) != self.hash {
            return Err(Error::Misuse("identity: its hash does not match its bytes".into()));
        }
        if self.bytes.is_some() && inline.is_empty() {
            return Err(Error::Misuse("identity: carried in the stream but empty".into()));
        }
        let mut bytes = self.hash.to_vec();
        bytes.extend_from_slice(&(inline.len() as u32).to_le_bytes());
        let crc = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes.extend_from_slice(inline);
        Ok(bytes)
    }

    /// The identity at the start of `bytes` and its length; nothing while bytes are missing.
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Option<(Self, usize)>> {
        let Some(front) = bytes.get(..REFERENCE_BYTES) else { return Ok(None) };
        let crc = crc32fast::hash(&front[..REFERENCE_BYTES - 4]);
        let mut take = Take { rest: front };
        let (mut hash, mut len, mut stored) = ([0; 32], 0, 0);
        take.fixed(&mut hash, "identity reference: hash")?;
        take.u32(&mut len, "identity reference: length")?;
        take.u32(&mut stored, "identity reference: CRC")?;
        if crc != stored {
            return Err(Error::Malformed("identity reference: fails its CRC".into()));
        }
        let len = len as usize;
        if len > MAX_IDENTITY_BYTES {
            return Err(Error::Limit(format!("identity of {len} bytes, at most {MAX_IDENTITY_BYTES} allowed")));
        }
        if len == 0 {
            return Ok(Some((StreamIdentity::by_hash(hash), REFERENCE_BYTES)));
        }
        let Some(inline) = bytes.get(REFERENCE_BYTES..REFERENCE_BYTES + len) else { return Ok(None) };
        if identity_hash(inline) != hash {
            return Err(Error::Malformed("identity in the stream: does not match its SHA-256".into()));
        }
        Ok(Some((StreamIdentity { hash, bytes: Some(inline.to_vec()) }, REFERENCE_BYTES + len)))
    }
}
