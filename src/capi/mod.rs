//! The C interface: packs in, decoded pictures out; camera pictures in, packets out. `include/effigy.h` is generated from this module.
//!
//! Input: paths, bytes and buffers of a C caller. Output: status numbers, pictures in several formats, packets, time stamps in ticks.
//!
//! - [`entry`] holds every function that C sees and all `unsafe` code of the crate: it turns pointers into Rust values and back.
//! - `guard` runs the body of a function: it stops panics, turns results into status numbers and keeps the last message.
//! - [`status`] lists the status numbers; `report` brings progress and log to the caller.
//! - [`picture`] converts between formats of pictures.
//! - [`stream`] (files), [`player`] and [`sender`] (packets) and [`enroller`] are the work itself, safe code over the public Rust interface.

pub mod enroller;
pub mod entry;
mod guard;
pub mod picture;
pub mod player;
mod report;
pub mod sender;
pub mod status;
pub mod stream;

/// Version of the C interface. It grows when a function is added and its first part when one changes: `major * 1000 + minor`.
pub const ABI_VERSION: u32 = 1005;
