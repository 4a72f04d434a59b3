//! Networks on libtorch: generator, pose flow, the analysis network of the built-in pack, and the published networks that users bring.

#[cfg(feature = "analysis")]
pub mod adam;
#[cfg(feature = "analysis")]
pub mod arcface;
#[cfg(feature = "analysis")]
pub mod bisenet;
#[cfg(feature = "analysis")]
mod conv;
#[cfg(feature = "analysis")]
pub mod e4e;
#[cfg(feature = "analysis")]
pub mod facenet;
pub mod flow;
pub mod frozen;
#[cfg(feature = "analysis")]
pub mod irse;
#[cfg(feature = "analysis")]
pub mod lpips;
mod mapping;
mod ode;
pub mod ops;
pub mod styleflow;
pub mod synthesis;
pub mod weights;

pub use flow::{FlowConfig, PoseFlow};
pub use frozen::Frozen;
pub use synthesis::{Channel, Generator, GeneratorConfig, Layer};
pub use weights::Weights;
