//! Writing a pack: configuration and tensors to a safetensors file, all or nothing.

use super::load::expected;
use super::{Pack, PackConfig, CONFIG_KEY, FLOW};
use crate::error::{Error, Result};
use crate::net::ops::to_vec;
use crate::net::Weights;
use safetensors::tensor::TensorView;
use safetensors::Dtype;
use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};

impl Pack {
    /// Writes a pack; the file appears under its name only when it is complete. `half` stores kernels and matrices in half
    /// precision, where their numbers fit there, except those of the pose flow.
    ///
    /// # Errors
    /// Malformed for a configuration or weights that would not load; input/output.
    pub fn save(path: impl AsRef<Path>, config: &PackConfig, weights: &Weights, half: bool) -> Result<()> {
        let path = path.as_ref();
        let bytes = Pack::to_bytes(config, weights, half)?;
        let part = beside(path);
        let written = std::fs::File::create(&part).and_then(|mut file| {
            file.write_all(&bytes)?;
            file.sync_all()
        });
        let moved = written.and_then(|()| std::fs::rename(&part, path));
        moved.map_err(|e| {
            // The error that matters is the first; a part that cannot be removed either is left behind.
            let _ = std::fs::remove_file(&part);
            Error::io("write pack", path, e)
        })
    }

    /// The bytes of a pack file.
    ///
    /// # Errors
    /// Malformed for a configuration or weights that would not load.
    pub fn to_bytes(config: &PackConfig, weights: &Weights, half: bool) -> Result<Vec<u8>> {
        config.check()?;
        check_names(config, weights)?;
        let mut stored = Vec::new();
        for (name, tensor) in weights.iter() {
            let values = to_vec(tensor)?;
            if let Some(i) = values.iter().position(|v| !v.is_finite()) {
                return Err(Error::Malformed(format!("pack: tensor {name}: number {i} is {}", values[i])));
            }
            let shape: Vec<usize> = tensor.size().iter().map(|d| *d as usize).collect();
            // Biases and the statistics of batch norms are few and span many magnitudes; a flow's errors add up along its way.
            let harmless = half && shape.len() > 1 && !name.starts_with(FLOW);
            let (dtype, data) = encode(&values, harmless);
            stored.push((name.clone(), dtype, shape, data));
        }
        let text = serde_json::to_string(config).map_err(|e| Error::Malformed(format!("pack configuration: {e}")))?;
        let unusable = |e: safetensors::SafeTensorError| Error::Malformed(format!("pack: {e}"));
        let mut views = Vec::new();
        for (name, dtype, shape, data) in &stored {
            views.push((name.as_str(), TensorView::new(*dtype, shape.clone(), data).map_err(unusable)?));
        }
        safetensors::serialize(views, Some(HashMap::from([(CONFIG_KEY.to_string(), text)]))).map_err(unusable)
    }
}

/// Little-endian halves if wanted and if all numbers stay finite, otherwise single precision.
fn encode(values: &[f32], half: bool) -> (Dtype, Vec<u8>) {
    let small = values.iter().all(|v| half::f16::from_f32(*v).is_finite());
    if half && small {
        (Dtype::F16, values.iter().flat_map(|v| half::f16::from_f32(*v).to_le_bytes()).collect())
    } else {
        (Dtype::F32, values.iter().flat_map(|v| v.to_le_bytes()).collect())
    }
}

fn check_names(config: &PackConfig, weights: &Weights) -> Result<()> {
    let expected = expected(config);
    for (name, (shape, needed)) in &expected {
        if *needed || weights.has(name) {
            weights.shaped(name, shape)?;
        }
    }
    match weights.iter().find(|(name, _)| !expected.contains_key(*name)) {
        Some((name, _)) => Err(Error::Malformed(format!("pack: unexpected tensor {name}"))),
        None => Ok(()),
    }
}

/// A name in the same folder, so that the rename stays inside one file system; the process number keeps two writers apart.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.part", std::process::id()));
    path.with_file_name(name)
}
