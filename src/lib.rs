//! Talking-head video codec.

pub mod bitstream;
mod error;
pub mod frame;
pub mod limits;
pub mod params;
pub mod progress;

#[cfg(feature = "decode")]
pub mod decode;
#[cfg(feature = "decode")]
pub mod net;
#[cfg(feature = "decode")]
pub mod pack;

pub use error::{Error, Result};
