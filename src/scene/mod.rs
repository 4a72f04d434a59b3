//! Head and background: who stands where in the camera's picture, and what is behind.
//!
//! A crop follows the face, so the background moves in it, and 35 numbers cannot say how. Where the camera stands still, one picture of the
//! background, the plate, is sent once, and the receiver lays the head over it.
//!
//! `regions` (which part of the face a pixel belongs to, by the pack's parser), `matte` (which part of a crop is the person), `estimate`
//! (the plate, from a clip and its crops), `still` (the plate as bytes and back). Laying over: [`crate::decode::paste()`].

mod estimate;
mod matte;
mod regions;
mod still;

pub use estimate::{Estimate, PlateMaker};
pub use matte::Matter;
pub use regions::Parser;
pub use still::{compress, cover, decompress};
