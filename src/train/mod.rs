//! Training: parametric heads with exact ground truth, and the trainer that makes the built-in pack from them.
//!
//! Order: [`heads`] (the renderer) -> [`data`] (pictures rendered ahead, kept by `store`) -> [`analysis`] (analysis network, on pictures
//! made worse by `augment`) -> [`generator`] (generator, pose flow and encoder, with `critic` as adversary) -> [`channels`]
//! (sensitivities) -> [`pack`] (all of it, resumable). `parser` goes on with the region parser alone, `personal` with footage of real people,
//! [`card`] measures a pack, [`enrolled`] what people come to that are enrolled with it.

pub mod analysis;
mod augment;
pub mod card;
pub mod channels;
mod critic;
pub mod data;
pub mod enrolled;
pub mod generator;
pub mod heads;
pub mod init;
pub mod pack;
mod parser;
mod personal;
mod state;
mod store;

pub use pack::{train_pack, TrainOptions};
pub use parser::train_parser;
pub use personal::train_personal;
