//! Talking-head video codec.

mod error;
pub mod frame;
pub mod limits;
pub mod params;
pub mod progress;

pub use error::{Error, Result};
