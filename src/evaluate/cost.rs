//! What a stream costs, with nothing left out.
//!
//! Input: a `.effigy` stream. Output: bytes of the payload, of everything that comes per frame, and of what is sent once (header,
//! identity and background), spread over calls of several lengths. Source: `docs/bitstream.md`.
//!
//! An identity is sent once, so its share per frame depends on how long the call lasts: a figure without that length says nothing.

use std::fs::File;
use std::path::Path;

use serde::Serialize;

use crate::bitstream::{Coding, StreamHeader, StreamReader};
use crate::error::{Error, Result};

/// Lengths of calls over which an identity is spread, seconds, with their names.
pub const CALLS: [(f64, &str); 2] = [(60.0, "1 minute"), (600.0, "10 minutes")];

/// The bytes of one stream.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cost {
    /// `raw16` or `coded`.
    pub coding: &'static str,
    /// Frames that the stream carries.
    pub frames: u64,
    /// Frames per second.
    pub rate: f64,
    /// Bytes of the 35 numbers alone.
    pub payload_bytes: u64,
    /// Bytes of everything that comes with the frames: payload, packet heads, checks, time stamps, placement, index.
    pub parameter_bytes: u64,
    /// Bytes of the header.
    pub header_bytes: u64,
    /// Bytes of the identity in the stream; of its hash alone where the identity travels apart.
    pub identity_bytes: u64,
    /// Bytes of the background; 0 without one.
    pub plate_bytes: u64,
    /// Whether the identity is inside.
    pub identity_inline: bool,
    /// Whether the header marks the pictures as synthetic.
    pub synthetic: bool,
    /// SHA-256 of the pack.
    #[serde(skip)]
    pub pack: [u8; 32],
    /// Bytes of each frame: its packet's bytes, shared evenly by the packet's frames.
    #[serde(skip)]
    pub per_frame: Vec<f64>,
}

impl Cost {
    /// Counts the bytes of the stream at `path`.
    ///
    /// # Errors
    /// Input/output; malformed or unsupported streams; no content without a frame.
    pub fn read(path: impl AsRef<Path>) -> Result<Cost> {
        let path = path.as_ref();
        let file = File::open(path).map_err(|e| Error::io("open", path, e))?;
        let mut reader = StreamReader::open(file)?;
        let (mut places, mut residual) = (Vec::new(), 0);
        while let Some(packet) = reader.next_packet()? {
            // Sound and plate between two packets belong to neither; a residual to the frames behind it.
            let info = reader.info();
            let own = info.residual_bytes - std::mem::replace(&mut residual, info.residual_bytes);
            places.push(Place {
                begin: packet.offset - info.sound_bytes - info.plate_bytes - own,
                payload: packet.payload_bytes,
                frames: packet.frames.len() as u32,
                after_gap: packet.lost_before > 0,
            });
        }
        let (header, info) = (reader.header(), reader.info());
        if info.frames == 0 {
            return Err(Error::NoContent(format!("{}: no frame of it can be decoded", path.display())));
        }
        Ok(Cost {
            coding: match header.coding {
                Coding::Raw16 => "raw16",
                Coding::Coded => "coded",
            },
            frames: info.frames,
            rate: rate(header),
            payload_bytes: info.payload_bytes,
            parameter_bytes: info.parameter_bytes,
            header_bytes: info.header_bytes,
            identity_bytes: info.identity_bytes,
            plate_bytes: info.plate_bytes,
            identity_inline: reader.identity().bytes.is_some(),
            synthetic: header.synthetic,
            pack: header.pack,
            per_frame: shares(&places),
        })
    }

    /// Bytes of the 35 numbers per frame.
    pub fn payload(&self) -> f64 {
        self.payload_bytes as f64 / self.frames as f64
    }

    /// Bytes per frame without what is sent once.
    pub fn running(&self) -> f64 {
        self.parameter_bytes as f64 / self.frames as f64
    }

    /// Bytes per frame with header, identity and background spread over a call of `frames` frames.
    pub fn over_frames(&self, frames: f64) -> f64 {
        self.running() + (self.header_bytes + self.identity_bytes + self.plate_bytes) as f64 / frames.max(1.0)
    }

    /// Bytes per frame with header, identity and background spread over a call of `seconds`.
    pub fn over(&self, seconds: f64) -> f64 {
        self.over_frames(seconds * self.rate)
    }

    /// Bytes per frame with header, identity and background spread over this stream alone.
    pub fn over_clip(&self) -> f64 {
        self.over_frames(self.frames as f64)
    }

    /// Bytes per frame in kilobits per second.
    pub fn kilobits(&self, bytes_per_frame: f64) -> f64 {
        bytes_per_frame * self.rate * 8.0 / 1000.0
    }
}

/// Nominal frames per second.
fn rate(header: &StreamHeader) -> f64 {
    let ticks = f64::from(header.time_base.num) * f64::from(header.frame_ticks);
    if ticks > 0.0 {
        f64::from(header.time_base.den) / ticks
    } else {
        // The header need not name a frame's length; the usual rate then stands for it.
        25.0
    }
}

/// What the shares need of a packet.
#[derive(Clone, Copy, Debug)]
struct Place {
    begin: u64,
    payload: u32,
    frames: u32,
    after_gap: bool,
}

/// Each packet's bytes, shared by its frames. The end of the last packet is not told: its head is taken to be as large as the one before.
fn shares(packets: &[Place]) -> Vec<f64> {
    let mut out = Vec::new();
    let mut head = 0;
    for (i, packet) in packets.iter().enumerate() {
        let payload = u64::from(packet.payload);
        // Damaged places between two packets belong to neither.
        let whole = packets.get(i + 1).filter(|next| !next.after_gap).map(|next| next.begin.saturating_sub(packet.begin));
        head = whole.map_or(head, |bytes| bytes.saturating_sub(payload));
        let share = (payload + head) as f64 / f64::from(packet.frames.max(1));
        out.extend((0..packet.frames).map(|_| share));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost() -> Cost {
        Cost {
            coding: "raw16",
            frames: 100,
            rate: 25.0,
            payload_bytes: 7000,
            parameter_bytes: 9000,
            header_bytes: 500,
            identity_bytes: 119_500,
            plate_bytes: 30_000,
            identity_inline: true,
            synthetic: true,
            pack: [0; 32],
            per_frame: Vec::new(),
        }
    }

    #[test]
    fn an_identity_weighs_less_the_longer_the_call_is() {
        let cost = cost();
        assert_eq!((cost.payload(), cost.running()), (70.0, 90.0));
        // 150 000 bytes over 100, 1500 and 15 000 frames.
        assert_eq!([cost.over_clip(), cost.over(60.0), cost.over(600.0)], [1590.0, 190.0, 100.0]);
        assert_eq!(cost.kilobits(100.0), 20.0);
    }

    #[test]
    fn packets_share_their_bytes_among_their_frames() {
        let packet = |begin, payload, frames, after_gap| Place { begin, payload, frames, after_gap };
        // 30 bytes for 2 frames; then 10 bytes of head as before, since what was lost lies in between; then as before.
        let packets = [packet(0, 20, 2, false), packet(30, 40, 1, false), packet(500, 8, 1, true)];
        assert_eq!(shares(&packets), [15.0, 15.0, 50.0, 18.0]);
    }
}
