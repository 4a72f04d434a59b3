//! Networks on libtorch: generator, pose flow, and the analysis network of the built-in pack.

#[cfg(feature = "analysis")]
pub mod adam;
#[cfg(feature = "analysis")]
pub mod facenet;
pub mod flow;
pub mod frozen;
mod mapping;
pub mod ops;
pub mod synthesis;
pub mod weights;

pub use flow::{FlowConfig, PoseFlow};
pub use frozen::Frozen;
pub use synthesis::{Channel, Generator, GeneratorConfig, Layer};
pub use weights::Weights;
