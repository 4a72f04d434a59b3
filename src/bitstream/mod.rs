//! Streams and identities as bytes. No networks, no pictures: integers, floats and checks only.
//!
//! Reading order: [`quant`] (numbers of the wire), `wire` (byte syntax for both directions), [`range`] (adaptive binary
//! range coder), `track` (prediction and contexts of the coded mode), `coded` (its payload), `quality` (its steps), `packet`, `header`,
//! `index`, `piece` (sound and plate), `bands` and `residual` (pictures and fields of what the numbers miss), `container` (writer and counts), `parser` (push), `reader` (pull), `conceal` and `receiver` (lossy networks), `mixer`, `sparse`,
//! `tuned` and `identity`. The normative text is `docs/bitstream.md`.

pub(crate) mod bands;
mod coded;
mod conceal;
mod container;
mod header;
mod identity;
mod index;
mod mixer;
mod packet;
mod parser;
mod piece;
mod quality;
pub mod quant;
pub mod range;
mod reader;
mod receiver;
mod residual;
mod sparse;
mod track;
mod tuned;
mod wire;

pub use coded::{MAX_REDUNDANCY, MAX_SHIFT};
pub use conceal::{Concealer, Origin, ShownFrame, MAX_CONCEALED};
pub use container::{PacketOptions, StreamInfo, StreamWriter};
pub use header::{Coding, StreamHeader, StreamIdentity, TrackStart, STREAM_MAGIC, STREAM_VERSION};
pub use identity::{identity_hash, latent_as_sent, Identity, IDENTITY_MAGIC, IDENTITY_VERSION};
pub use index::{IndexEntry, INDEX_SPACING};
pub use packet::{FrameRecord, Packet, MAX_PACKET_FRAMES, MAX_PTS, MAX_RECORD_BYTES};
pub use parser::{Damage, Ending, Event, Parser};
pub use piece::{Assembly, Piece};
pub use quality::{fit_bitrate, set_quality, DEFAULT_QUALITY};
pub use quant::{raw16_round, step_from_code, RAW16_BYTES};
pub use reader::StreamReader;
pub use receiver::{Receiver, ReceiverInfo, MAX_AHEAD};
pub(crate) use residual::MAX_NODES;
pub use residual::{residual_halvings, residual_side, residual_step, ResidualKind, ResidualRecord, MAX_FADE, MAX_RESIDUAL_STEP};
pub use track::{MAX_CLASS, MAX_CODED_LEVEL, MAX_TRACKS};
pub use tuned::{tuned_bytes, StepRule, TunedTensor, DETAIL};
