//! Receiver of packets from a network that loses, repeats, delays and swaps them.
//!
//! In: datagrams of whole records, a packet with what belongs to it, in any order; one call per frame that is due. Out: exactly one frame per call, in order.
//! Source: docs/bitstream.md, "Packets" and "Concealment". The caller keeps the clock: it calls [`Receiver::play`] once per frame, as
//! long after the first datagram as it is willing to wait for late ones.

use std::collections::BTreeMap;

use super::coded::Decoder;
use super::conceal::{Concealer, Origin, ShownFrame};
use super::header::StreamHeader;
use super::packet::{find_record, read_fields, read_packet, Fields, FrameRecord, Framing, MOTION, PACKET, RESIDUAL};
use super::residual::ResidualRecord;
use crate::error::{Error, Result};
use crate::params::FrameParams;

/// Most frames ahead of the one due that are kept: 40 seconds at 25 frames per second.
pub const MAX_AHEAD: u64 = 1000;
/// Most residuals that wait to be fetched.
const MAX_RESIDUALS: usize = 64;

/// What became of packets and frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReceiverInfo {
    /// Packets that were decoded.
    pub packets: u64,
    /// Packets that came after their frames were due.
    pub late: u64,
    /// Packets that came more than once.
    pub duplicates: u64,
    /// Valid packets that could not be decoded, because one before them was missing.
    pub orphans: u64,
    /// Datagrams that are no valid packet, or too far ahead.
    pub refused: u64,
    /// Frames shown as received.
    pub received: u64,
    /// Frames shown from a coarse repetition.
    pub repeated: u64,
    /// Frames made up.
    pub concealed: u64,
    /// Gaps that ended with a frame from a packet.
    pub recoveries: u64,
}

/// Plays a stream that arrives in datagrams.
pub struct Receiver {
    header: StreamHeader,
    decoder: Decoder,
    concealer: Concealer,
    /// Packets not decoded yet, by the number of their first frame.
    waiting: BTreeMap<u64, Fields>,
    /// Frames that can be shown, by number.
    ready: BTreeMap<u64, (FrameRecord, Origin)>,
    /// The frame that is due; none before the first.
    due: Option<u64>,
    concealing: bool,
    /// Whether a packet has come that needs others before it.
    chained: bool,
    /// Frames in the packet that came last.
    packet_frames: u64,
    /// Residuals that nobody has fetched yet.
    residuals: Vec<ResidualRecord>,
    info: ReceiverInfo,
}

impl Receiver {
    /// For a stream with this header, which travels by a safe way; `rest` is the identity's calm face.
    pub fn new(header: StreamHeader, rest: &FrameParams) -> Self {
        Receiver {
            concealer: Concealer::new(&header, rest),
            header,
            decoder: Decoder::default(),
            waiting: BTreeMap::new(),
            ready: BTreeMap::new(),
            due: None,
            concealing: false,
            chained: false,
            packet_frames: 1,
            residuals: Vec::new(),
            info: ReceiverInfo::default(),
        }
    }

    /// Counts so far.
    pub fn info(&self) -> ReceiverInfo {
        self.info
    }

    /// Number of the frame that [`Receiver::play`] gives next; nothing before the first packet.
    pub fn next_frame(&self) -> Option<u64> {
        self.due.or_else(|| self.waiting.keys().next().copied())
    }

    /// Number behind the last frame that has come in a packet and waits to be shown; nothing while none waits.
    pub fn known_until(&self) -> Option<u64> {
        let ready = self.ready.keys().next_back().map(|number| number + 1);
        let waiting = self.waiting.values().map(|fields| fields.place()).map(|(sequence, count)| sequence + count).max();
        ready.max(waiting)
    }

    /// Frames in the packet that came last; 1 before the first.
    pub fn packet_frames(&self) -> u64 {
        self.packet_frames
    }

    /// Whether frames are being made up that only an intra packet can end, and none has come: ask the sender for one.
    pub fn needs_intra(&self) -> bool {
        self.concealing && self.chained && !self.waiting.values().any(Fields::intra)
    }

    /// Takes a datagram: whole records. Those other than packets and residuals are passed over.
    ///
    /// # Errors
    /// Malformed, unsupported or limit for bytes that are no valid packet of this stream; the receiver goes on as before.
    pub fn push(&mut self, datagram: &[u8]) -> Result<()> {
        let taken = self.take(datagram);
        if taken.is_err() {
            self.info.refused += 1;
        }
        taken
    }

    fn take(&mut self, datagram: &[u8]) -> Result<()> {
        let (mut packets, mut residuals, mut rest) = (Vec::new(), Vec::new(), datagram);
        // All is looked at before any of it is taken.
        loop {
            let (kind, body, total) = match find_record(rest) {
                Framing::Record { kind, body, total } => (kind, body, total),
                Framing::No(reason) => return Err(Error::Malformed(format!("datagram: {reason}"))),
                Framing::Short => return Err(Error::Malformed("datagram: not whole records".into())),
            };
            match kind {
                PACKET => packets.push(read_fields(&self.header, &rest[body])?),
                RESIDUAL | MOTION => residuals.push(ResidualRecord::from_body(kind, &rest[body])),
                _ => {}
            }
            rest = &rest[total..];
            if rest.is_empty() {
                break;
            }
        }
        // A residual of a kind that this version does not know takes no packet along.
        let alone = packets.is_empty();
        packets.into_iter().try_for_each(|fields| self.take_packet(fields))?;
        for residual in residuals {
            match residual {
                Ok(residual) if self.residuals.len() < MAX_RESIDUALS => self.residuals.push(residual),
                Err(e) if alone => return Err(e),
                _ => {}
            }
        }
        Ok(())
    }

    fn take_packet(&mut self, fields: Fields) -> Result<()> {
        let (sequence, count) = fields.place();
        (self.chained, self.packet_frames) = (self.chained || !fields.intra(), count);
        let first = self.due.or_else(|| self.waiting.keys().next().copied()).unwrap_or(sequence);
        if self.due.is_some_and(|due| sequence + count <= due) {
            self.info.late += 1;
        } else if sequence > first.saturating_add(MAX_AHEAD) || self.waiting.len() as u64 > MAX_AHEAD {
            return Err(Error::Limit(format!("datagram: frame {sequence}, over {MAX_AHEAD} ahead of {first}")));
        } else if self.waiting.contains_key(&sequence) || self.decoded(sequence + count - 1) {
            self.info.duplicates += 1;
        } else {
            self.waiting.insert(sequence, fields);
        }
        Ok(())
    }

    /// The residuals that have come since the last call, in no order.
    pub fn take_residuals(&mut self) -> Vec<ResidualRecord> {
        std::mem::take(&mut self.residuals)
    }

    /// Whether a frame has come out of its own packet and waits to be shown.
    fn decoded(&self, number: u64) -> bool {
        matches!(self.ready.get(&number), Some((_, Origin::Received)))
    }

    /// The frame that is due now; nothing before the first packet. From then on one per call, received, repeated or made up.
    pub fn play(&mut self) -> Option<ShownFrame> {
        let due = match self.due {
            Some(due) => due,
            None => *self.waiting.keys().next()?,
        };
        self.decode_until(due);
        if !self.ready.contains_key(&due) {
            self.look_ahead(due);
        }
        self.ready = self.ready.split_off(&due);
        self.due = Some(due + 1);
        let shown = match self.ready.remove(&due) {
            Some((frame, origin)) => {
                self.info.recoveries += u64::from(std::mem::take(&mut self.concealing));
                self.concealer.arrived(&frame, origin)
            }
            None => {
                self.concealing = true;
                let next = self.ready.iter().next().map(|(number, (frame, _))| (frame, (number - due) as u32));
                self.concealer.missing(None, next)
            }
        };
        *match shown.origin {
            Origin::Received => &mut self.info.received,
            Origin::Repeated => &mut self.info.repeated,
            Origin::Concealed => &mut self.info.concealed,
        } += 1;
        Some(shown)
    }

    /// Decodes what has begun by now, in order. What is missing before it is given up.
    fn decode_until(&mut self, due: u64) {
        while let Some(entry) = self.waiting.first_entry().filter(|entry| *entry.key() <= due) {
            let (sequence, fields) = entry.remove_entry();
            match read_packet(&self.header, &fields, &mut self.decoder) {
                Ok(Some(packet)) => {
                    self.info.packets += 1;
                    self.keep(sequence, &packet.frames, Origin::Received);
                }
                Ok(None) => self.info.orphans += 1,
                Err(_) => self.info.refused += 1,
            }
        }
    }

    /// The next packet that needs no other shows where a gap ends, and may repeat what is missing. It is decoded again when it is due: decoding
    /// it for good now would lose the packets of the chain before it that may still come.
    fn look_ahead(&mut self, due: u64) {
        let intra = self.waiting.iter().find(|(_, fields)| fields.intra());
        let Some((&sequence, fields)) = intra else { return };
        if let Ok(Some(packet)) = read_packet(&self.header, fields, &mut Decoder::default()) {
            let first = sequence - packet.repeated.len() as u64;
            let (frames, repeated) = (packet.frames, packet.repeated);
            for (number, frame) in (first..).zip(&repeated).filter(|(number, _)| *number >= due) {
                self.ready.entry(number).or_insert((*frame, Origin::Repeated));
            }
            // Kept as the far end of the gap alone; its own packet is still to be counted.
            if let Some(frame) = frames.first() {
                self.ready.entry(sequence).or_insert((*frame, Origin::Received));
            }
        }
    }

    fn keep(&mut self, first: u64, frames: &[FrameRecord], origin: Origin) {
        let due = self.due.unwrap_or(first);
        for (number, frame) in (first..).zip(frames).filter(|(number, _)| *number >= due) {
            self.ready.insert(number, (*frame, origin));
        }
    }
}
