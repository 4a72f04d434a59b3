//! Talking-head video codec.

mod error;
pub mod frame;
pub mod limits;
pub mod params;
pub mod progress;

#[cfg(feature = "decode")]
pub mod net;

pub use error::{Error, Result};
