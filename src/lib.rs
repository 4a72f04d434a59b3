//! Talking-head video codec: one StyleGAN2 identity latent per person, 35 numbers per frame, pictures again on the receiver.
//!
//! ```text
//! encode:  video -> align -> invert -> pose -> expression -> 35 numbers -> packets
//! decode:  packets -> 35 numbers -> posed latent -> styles -> pixels -> (paste back) -> video
//! ```
//!
//! Modules by layer, lowest first; each uses only those above it. The Cargo feature that brings it stands in brackets.
//!
//! | module | what |
//! |---|---|
//! | [`Error`], [`limits`], [`frame`], [`params`], [`progress`] | plain types, caps for untrusted input |
//! | [`bitstream`] | streams and identities as bytes; no networks |
//! | [`residual`] | what the numbers cannot say, as displacements and a picture that change slowly; no networks |
//! | `media` (`decode`) | video in and out through ffmpeg |
//! | `net` (`decode`) | networks on libtorch; with `analysis` also the analysis network |
//! | `pack` (`decode`) | model packs: all networks of one domain in one file |
//! | `decode` (`decode`) | identity and parameters to frames; pasting back; puppeteering |
//! | `encode` (`analysis`; `encode::align` needs `encode` and OpenCV) | crops to identity and parameters |
//! | `scene` (`analysis`) | head and background: mattes, the plate |
//! | `evaluate` (`analysis`) | how good a decoded clip is |
//! | `import` (`import`) | published PyTorch checkpoints, read without executing anything in them |
//! | `train` (`train`) | parametric heads, the trainer of the built-in pack |
//! | `capi` (`capi`) | the C interface, `include/effigy.h` |

pub mod bitstream;
mod error;
pub mod frame;
pub mod limits;
#[cfg(feature = "analysis")]
mod pace;
pub mod params;
pub mod progress;
#[cfg(feature = "analysis")]
mod random;
pub mod residual;

#[cfg(feature = "capi")]
pub mod capi;
#[cfg(feature = "decode")]
pub mod decode;
#[cfg(feature = "analysis")]
pub mod encode;
#[cfg(feature = "analysis")]
pub mod evaluate;
#[cfg(feature = "import")]
pub mod import;
#[cfg(feature = "decode")]
pub mod media;
#[cfg(feature = "decode")]
pub mod net;
#[cfg(feature = "decode")]
pub mod pack;
#[cfg(feature = "analysis")]
pub mod scene;
#[cfg(feature = "train")]
pub mod train;

pub use error::{Error, Result};
