//! Named tensors of a network.

use crate::error::{Error, Result};
use std::collections::BTreeMap;
use tch::{Device, Kind, Tensor};

/// The tensors of one or several networks by name, always in single precision.
#[derive(Debug, Default)]
pub struct Weights {
    tensors: BTreeMap<String, Tensor>,
}

impl Weights {
    /// No tensors.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds or replaces a tensor.
    pub fn insert(&mut self, name: impl Into<String>, tensor: Tensor) {
        self.tensors.insert(name.into(), tensor);
    }

    /// The tensor `name`; its absence is malformed input, since names come from files.
    pub fn get(&self, name: &str) -> Result<&Tensor> {
        self.tensors.get(name).ok_or_else(|| Error::Malformed(format!("weights: tensor {name} is missing")))
    }

    /// The tensor `name`, checked to have `shape`.
    pub fn shaped(&self, name: &str, shape: &[i64]) -> Result<&Tensor> {
        let tensor = self.get(name)?;
        if tensor.size() != shape {
            return Err(Error::Malformed(format!("weights: tensor {name} has shape {:?}, expected {shape:?}", tensor.size())));
        }
        Ok(tensor)
    }

    /// Whether there is a tensor `name`.
    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// All tensors in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Tensor)> {
        self.tensors.iter()
    }

    /// The tensors whose names begin with `prefix`, the prefix removed; they share memory with `self`.
    pub fn under(&self, prefix: &str) -> Result<Weights> {
        let mut out = Weights::new();
        for (name, tensor) in &self.tensors {
            if let Some(rest) = name.strip_prefix(prefix) {
                out.insert(rest, tensor.f_detach()?);
            }
        }
        Ok(out)
    }

    /// Adds all tensors of `other`, each name preceded by `prefix`.
    pub fn merge(&mut self, prefix: &str, other: &Weights) -> Result<()> {
        for (name, tensor) in &other.tensors {
            self.insert(format!("{prefix}{name}"), tensor.f_detach()?);
        }
        Ok(())
    }

    /// A deep copy on `device`.
    pub fn copy_to(&self, device: Device) -> Result<Weights> {
        let mut out = Weights::new();
        for (name, tensor) in &self.tensors {
            let fresh = tensor.f_detach()?.f_to_kind(Kind::Float)?.f_to_device(device)?;
            let fresh = if tensor.device() == device && tensor.kind() == Kind::Float { fresh.copy() } else { fresh };
            out.insert(name.clone(), fresh);
        }
        Ok(out)
    }

    /// Makes the tensors that `wanted` names require gradients, all others not; returns the chosen ones (sharing memory).
    pub fn require_grad(&self, wanted: impl Fn(&str) -> bool) -> Result<Vec<(String, Tensor)>> {
        let mut chosen = Vec::new();
        for (name, tensor) in &self.tensors {
            let on = wanted(name);
            let _ = tensor.f_set_requires_grad(on)?;
            if on {
                chosen.push((name.clone(), tensor.shallow_clone()));
            }
        }
        Ok(chosen)
    }
}
