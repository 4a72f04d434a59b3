//! Model packs: all networks of one domain, the channel table V and their description in one safetensors file.
//!
//! Input: the bytes of a pack. Output: checked networks on a device. The SHA-256 of the file is the pack's identity: streams and
//! identities name it, and a decoder refuses any other. Source: design of the project's formats, `docs/pack.md`.

pub mod config;
#[doc(hidden)]
pub mod fixture;
mod load;
mod save;
mod search;

pub use config::{AnalysisConfig, Framing, PackConfig, FORMAT, TUNING_RATE};

#[cfg(feature = "analysis")]
use crate::error::Error;
use crate::error::Result;
#[cfg(feature = "analysis")]
use crate::net::Analysis;
use crate::net::{Generator, PoseFlow, Weights};
use tch::Device;

/// Key of the file's metadata under which the configuration stands, as JSON.
const CONFIG_KEY: &str = "effigy";
/// Prefixes of the tensor names, one per network.
const GENERATOR: &str = "generator.";
const FLOW: &str = "flow.";
const ANALYSIS: &str = "analysis.";

/// A loaded pack: every name, shape and number in it was checked. Its tensors stay on the CPU in single precision.
#[derive(Debug)]
pub struct Pack {
    config: PackConfig,
    weights: Weights,
    hash: [u8; 32],
}

impl Pack {
    /// What the pack says of itself.
    pub fn config(&self) -> &PackConfig {
        &self.config
    }

    /// SHA-256 of the file.
    pub fn hash(&self) -> [u8; 32] {
        self.hash
    }

    /// The first 8 hexadecimal digits of the hash, as messages show it.
    pub fn short_hash(&self) -> String {
        short(&self.hash)
    }

    /// The generator on `device`. On the CPU it shares the pack's memory: [`Generator::duplicate`] it before changing weights.
    ///
    /// # Errors
    /// Device, when the device has no room or does not exist.
    pub fn generator(&self, device: Device) -> Result<Generator> {
        Generator::new(self.config.generator.clone(), self.part(GENERATOR, device)?)
    }

    /// The pose flow on `device`; memory as with [`Pack::generator`].
    ///
    /// # Errors
    /// As [`Pack::generator`].
    pub fn flow(&self, device: Device) -> Result<PoseFlow> {
        PoseFlow::new(self.config.flow.clone(), self.part(FLOW, device)?)
    }

    /// The networks that analyse on `device`; memory as with [`Pack::generator`].
    ///
    /// # Errors
    /// Unsupported for a pack that can only decode; device as [`Pack::generator`].
    #[cfg(feature = "analysis")]
    pub fn analysis(&self, device: Device) -> Result<Analysis> {
        let Some(config) = &self.config.analysis else {
            return Err(Error::Unsupported(format!(
                "pack {}: it has no networks to analyse pictures with, so it can only decode",
                self.config.name
            )));
        };
        Analysis::new(config.clone(), self.part(ANALYSIS, device)?)
    }

    /// The tensors under `prefix` on `device`.
    fn part(&self, prefix: &str, device: Device) -> Result<Weights> {
        let shared = self.weights.under(prefix)?;
        if device == Device::Cpu {
            Ok(shared)
        } else {
            shared.copy_to(device)
        }
    }
}

/// The first 8 hexadecimal digits of a hash.
pub(crate) fn short(hash: &[u8; 32]) -> String {
    hash[..4].iter().map(|b| format!("{b:02x}")).collect()
}
