//! Reading a pack: bytes of a safetensors file to checked tensors in single precision.
//!
//! Order of the checks: size, layout of the file, configuration, then every tensor by name, shape, number format and finiteness.
//! Nothing is allocated by a number that was not checked; all tensors together take at most twice the file's size.

use super::{Pack, PackConfig, ANALYSIS, CONFIG_KEY, FLOW, GENERATOR};
use crate::error::{Error, Result};
use crate::limits::MAX_PACK_BYTES;
use crate::net::ops::from_vec;
use crate::net::Weights;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use tch::Device;

/// Longest configuration, bytes of JSON.
const MAX_CONFIG_BYTES: usize = 1 << 20;

impl Pack {
    /// Reads and checks a pack file.
    ///
    /// # Errors
    /// Input/output; limit for a file over [`MAX_PACK_BYTES`]; malformed or unsupported as [`Pack::from_bytes`].
    pub fn load(path: impl AsRef<Path>) -> Result<Pack> {
        let path = path.as_ref();
        let file = std::fs::File::open(path).map_err(|e| Error::io("open pack", path, e))?;
        let mut bytes = Vec::new();
        file.take(MAX_PACK_BYTES + 1).read_to_end(&mut bytes).map_err(|e| Error::io("read pack", path, e))?;
        Pack::from_bytes(&bytes).map_err(|e| match e {
            Error::Malformed(what) => Error::Malformed(format!("pack {}: {what}", path.display())),
            Error::Unsupported(what) => Error::Unsupported(format!("pack {}: {what}", path.display())),
            Error::Limit(what) => Error::Limit(format!("pack {}: {what}", path.display())),
            other => other,
        })
    }

    /// Checks the bytes of a pack file.
    ///
    /// # Errors
    /// Limit, malformed (what is missing, unexpected or out of range) or unsupported (another format version).
    pub fn from_bytes(bytes: &[u8]) -> Result<Pack> {
        if bytes.len() as u64 > MAX_PACK_BYTES {
            return Err(Error::Limit(format!("larger than {MAX_PACK_BYTES} bytes")));
        }
        let malformed = |e: safetensors::SafeTensorError| Error::Malformed(format!("not a safetensors file: {e}"));
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(malformed)?;
        let text = header.metadata().as_ref().and_then(|m| m.get(CONFIG_KEY));
        let config = read_config(text.map(String::as_str))?;
        let file = SafeTensors::deserialize(bytes).map_err(malformed)?;
        let weights = read_tensors(&config, &file)?;
        Ok(Pack { config, weights, hash: Sha256::digest(bytes).into() })
    }
}

fn read_config(text: Option<&str>) -> Result<PackConfig> {
    let text =
        text.ok_or_else(|| Error::Malformed(format!("a safetensors file without \"{CONFIG_KEY}\" metadata is no pack")))?;
    if text.len() > MAX_CONFIG_BYTES {
        return Err(Error::Limit(format!("configuration of {} bytes, at most {MAX_CONFIG_BYTES}", text.len())));
    }
    // The version comes first: another version may have other fields.
    let value: serde_json::Value = serde_json::from_str(text).map_err(|e| Error::Malformed(format!("configuration: {e}")))?;
    match value.get("format").and_then(serde_json::Value::as_u64) {
        Some(v) if v == super::FORMAT as u64 => (),
        Some(v) => return Err(Error::Unsupported(format!("format {v}, this build reads format {}", super::FORMAT))),
        None => return Err(Error::Malformed("configuration without a format number".into())),
    }
    let config: PackConfig = serde_json::from_value(value).map_err(|e| Error::Malformed(format!("configuration: {e}")))?;
    config.check()?;
    Ok(config)
}

/// Names and shapes that a pack of this configuration has: the flag says whether the tensor must be there.
pub(super) fn expected(config: &PackConfig) -> BTreeMap<String, (Vec<i64>, bool)> {
    let mut out = BTreeMap::new();
    let mut add = |prefix: &str, list: Vec<(String, Vec<i64>)>, needed: bool| {
        out.extend(list.into_iter().map(|(name, shape)| (format!("{prefix}{name}"), (shape, needed))));
    };
    add(GENERATOR, config.generator.tensors(), true);
    // Published generators have fixed noise; ours do not.
    let mut noise = Vec::new();
    for (i, layer) in config.generator.layers().iter().filter(|l| !l.to_rgb).enumerate() {
        noise.push((format!("{}.noise.weight", layer.name), vec![1]));
        noise.push((format!("noises.noise_{i}"), vec![1, 1, layer.side, layer.side]));
    }
    add(GENERATOR, noise, false);
    add(FLOW, config.flow.tensors(), true);
    #[cfg(feature = "analysis")]
    if let Some(analysis) = &config.analysis {
        add(ANALYSIS, analysis.tensors(), true);
    }
    out
}

/// The messages below name at most this many tensors.
const NAMED: usize = 8;

fn read_tensors(config: &PackConfig, file: &SafeTensors) -> Result<Weights> {
    let expected = expected(config);
    let named: BTreeMap<&str, TensorView> = file.iter().collect();
    // A build without the analysis network cannot know its tensors: it passes over them.
    let ignored = |name: &str| cfg!(not(feature = "analysis")) && config.analysis.is_some() && name.starts_with(ANALYSIS);
    let extra: Vec<&str> = named.keys().copied().filter(|n| !expected.contains_key(*n) && !ignored(n)).collect();
    if !extra.is_empty() {
        return Err(Error::Malformed(format!("{} unexpected tensors: {}", extra.len(), list(&extra))));
    }
    let missing: Vec<&str> =
        expected.iter().filter(|(n, (_, needed))| *needed && !named.contains_key(n.as_str())).map(|(n, _)| n.as_str()).collect();
    if !missing.is_empty() {
        return Err(Error::Malformed(format!("{} tensors are missing: {}", missing.len(), list(&missing))));
    }
    let mut weights = Weights::new();
    for (name, (shape, _)) in &expected {
        if let Some(view) = named.get(name.as_str()) {
            let found: Vec<i64> = view.shape().iter().map(|d| i64::try_from(*d).unwrap_or(i64::MAX)).collect();
            if &found != shape {
                return Err(Error::Malformed(format!("tensor {name} has shape {found:?}, expected {shape:?}")));
            }
            weights.insert(name.clone(), from_vec(&values(name, view)?, shape, Device::Cpu)?);
        }
    }
    Ok(weights)
}

fn list(names: &[&str]) -> String {
    let more = if names.len() > NAMED { ", ..." } else { "" };
    format!("{}{more}", names[..names.len().min(NAMED)].join(", "))
}

/// The numbers of a tensor stored in single or half precision.
fn values(name: &str, view: &TensorView) -> Result<Vec<f32>> {
    let data = view.data();
    let out: Vec<f32> = match view.dtype() {
        Dtype::F32 => data.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
        Dtype::F16 => data.chunks_exact(2).map(|b| half::f16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
        other => return Err(Error::Malformed(format!("tensor {name} is stored as {other:?}, expected F32 or F16"))),
    };
    match out.iter().position(|v| !v.is_finite()) {
        Some(i) => Err(Error::Malformed(format!("tensor {name}: number {i} is {}", out[i]))),
        None => Ok(out),
    }
}
