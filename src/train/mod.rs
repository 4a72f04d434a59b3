//! Training: parametric heads with exact ground truth, and the trainer that makes the built-in pack from them.
//!
//! Order: [`heads`] (the renderer) -> [`data`] (pictures rendered ahead) -> [`analysis`] (analysis network) -> [`generator`]
//! (generator and pose flow) -> [`inversion`] (encoder head) -> [`channels`] (sensitivities) -> [`pack`] (all of it, resumable).

pub mod analysis;
pub mod channels;
pub mod data;
pub mod generator;
pub mod heads;
pub mod init;
pub mod inversion;
pub mod pack;
mod state;

pub use pack::{train_pack, TrainOptions};
