//! Networks on libtorch: generator and pose flow for the decoder, the networks that analyse pictures for the encoder.

#[cfg(feature = "analysis")]
pub mod adam;
#[cfg(feature = "analysis")]
pub mod analysis;
#[cfg(feature = "analysis")]
pub mod arcface;
#[cfg(feature = "analysis")]
pub mod bisenet;
#[cfg(feature = "analysis")]
mod conv;
pub(crate) mod detail;
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
pub mod rowflow;
pub mod styleflow;
pub mod synthesis;
pub(crate) mod warp;
pub mod weights;

#[cfg(feature = "analysis")]
pub use analysis::{Analysis, AnalysisConfig, PublishedConfig};
pub use flow::{FlowConfig, PoseFlow};
pub use frozen::{Frozen, Upsampling};
pub use rowflow::{RowFlow, RowFlowConfig};
pub use synthesis::{Channel, Generator, GeneratorConfig, Layer, Moved, DIRECTION_DEGREES, NUMBERS};
pub use weights::Weights;
