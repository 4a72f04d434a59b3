//! Published files to networks: which tensors each file must hold, and the shape of the network that they make.
//!
//! Input: open checkpoints. Output: configuration and weights by the names of the published code. Layouts: `docs/checkpoints.md`.

use super::checkpoint::Checkpoint;
use super::layout::{compare, identify, latent_rows, state_of, Expected, Part};
use super::tensor::TensorRef;
use crate::error::{Error, Result};
use crate::net::arcface::ArcFaceConfig;
use crate::net::bisenet::BiSeNetConfig;
use crate::net::e4e::E4eConfig;
use crate::net::lpips::{LpipsConfig, LpipsNet};
use crate::net::ops::from_vec;
use crate::net::styleflow::StyleFlowConfig;
use crate::net::{GeneratorConfig, Weights};
use std::collections::BTreeMap;
use tch::Device;

type Found = BTreeMap<String, TensorRef>;

/// The blur that the generator knows, per side: its sum over both is 4.
const BLUR: [f32; 4] = [0.25, 0.75, 0.75, 0.25];

/// A generator out of a rosinality or an e4e file, with the mean latent as W+ `[rows, dim]`, flat, if the file has one.
pub(super) struct ImportedGenerator {
    pub config: GeneratorConfig,
    pub weights: Weights,
    pub average: Option<Vec<f32>>,
}

/// Shapes as libtorch counts them.
fn sides(tensor: &TensorRef) -> Vec<i64> {
    tensor.shape().iter().map(|d| i64::try_from(*d).unwrap_or(i64::MAX)).collect()
}

/// Names and shapes of a network, all of which must be there.
fn needed(list: Vec<(String, Vec<i64>)>, optional: bool) -> Vec<Expected> {
    let plain = |shape: Vec<i64>| shape.into_iter().map(|d| usize::try_from(d).unwrap_or(usize::MAX)).collect();
    list.into_iter().map(|(key, shape)| Expected { key, shape: plain(shape), optional }).collect()
}

/// Counters that no computation uses.
fn counters(name: &str) -> bool {
    name.ends_with("num_batches_tracked")
}

/// Reads tensors; numbers that are not finite are refused here, where the file can be named.
fn load(checkpoint: &Checkpoint, tensors: &Found) -> Result<Weights> {
    let mut out = Weights::new();
    for (name, tensor) in tensors {
        out.insert(name.clone(), from_vec(&finite(checkpoint, name, tensor)?, &sides(tensor), Device::Cpu)?);
    }
    Ok(out)
}

fn finite(checkpoint: &Checkpoint, name: &str, tensor: &TensorRef) -> Result<Vec<f32>> {
    let path = checkpoint.path().display();
    let values =
        checkpoint.load(tensor)?.to_f32().map_err(|e| Error::Malformed(format!("checkpoint {path}: tensor {name}: {e}")))?;
    match values.iter().position(|v| !v.is_finite()) {
        Some(i) => Err(Error::Malformed(format!("checkpoint {path}: tensor {name}: number {i} is {}", values[i]))),
        None => Ok(values),
    }
}

/// Puts the file's name before what does not fit in it.
fn about<T>(checkpoint: &Checkpoint, result: Result<T>) -> Result<T> {
    let path = checkpoint.path().display();
    result.map_err(|e| match e {
        Error::Malformed(what) => Error::Malformed(format!("checkpoint {path}: {what}")),
        Error::Unsupported(what) => Error::Unsupported(format!("checkpoint {path}: {what}")),
        other => other,
    })
}

/// The generator, of whatever resolution and channel plan the file has.
pub(super) fn generator(checkpoint: &Checkpoint) -> Result<ImportedGenerator> {
    let state = state_of(checkpoint, Part::Generator)?;
    if identify(&state.tensors) == Some("an e4e encoder") {
        let what = "an e4e file without its decoder: give the generator's own file beside it";
        return about(checkpoint, Err(Error::Malformed(what.into())));
    }
    let config = generator_config(&state.tensors);
    about(checkpoint, config.check())?;
    let mut expected = needed(config.tensors(), false);
    let mut noise = Vec::new();
    for (i, layer) in config.layers().iter().filter(|l| !l.to_rgb).enumerate() {
        noise.push((format!("{}.noise.weight", layer.name), vec![1]));
        noise.push((format!("noises.noise_{i}"), vec![1, 1, layer.side, layer.side]));
    }
    expected.extend(needed(noise, true));
    let kernels = |name: &str| name.ends_with(".blur.kernel") || name.ends_with(".upsample.kernel");
    let picked = about(checkpoint, compare(&expected, kernels, &state.tensors))?;
    for (name, kernel) in state.tensors.iter().filter(|(name, _)| kernels(name)) {
        let same = |(i, v): (usize, &f32)| (v - BLUR[i / 4] * BLUR[i % 4]).abs() < 1e-5;
        if kernel.shape() != [4, 4] || !finite(checkpoint, name, kernel)?.iter().enumerate().all(same) {
            let what = format!("tensor {name}: only generators with the blur kernel 1 3 3 1 are supported");
            return about(checkpoint, Err(Error::Unsupported(what)));
        }
    }
    let average = match &state.latent_avg {
        Some(found) => Some(mean_latent(checkpoint, found, config.rows() as usize, config.style_dim as usize)?),
        None => None,
    };
    Ok(ImportedGenerator { weights: load(checkpoint, &picked)?, config, average })
}

/// `latent_avg` as W+, flat; its size is looked at before its numbers are read.
fn mean_latent(checkpoint: &Checkpoint, found: &TensorRef, rows: usize, dim: usize) -> Result<Vec<f32>> {
    if found.count() > rows.saturating_mul(dim) {
        let what = format!("latent_avg is {:?}, expected [{dim}] or [{rows}, {dim}]", found.shape());
        return about(checkpoint, Err(Error::Malformed(what)));
    }
    about(checkpoint, latent_rows(&checkpoint.load(found)?, rows, dim))
}

/// What the shapes of the tensors say; a file that is no generator gives the published plan, against which it then fails by name.
fn generator_config(tensors: &Found) -> GeneratorConfig {
    let shape = |name: &str| tensors.get(name).map(sides).unwrap_or_default();
    let blocks = (0..).take_while(|b| tensors.contains_key(&format!("convs.{}.conv.weight", 2 * b + 1))).take(16).count();
    let first = shape("input.input").get(1).copied();
    let (Some(first), 1..=15) = (first, blocks) else { return GeneratorConfig::published(1024, 512, 8, 2) };
    let mut channels = vec![first];
    for b in 0..blocks {
        channels.push(shape(&format!("convs.{}.conv.weight", 2 * b + 1)).get(1).copied().unwrap_or(0));
    }
    let mapping_layers = (1..).take_while(|i| tensors.contains_key(&format!("style.{i}.weight"))).take(17).count() as i64;
    let style_dim = shape("style.1.weight").first().copied().unwrap_or(0);
    GeneratorConfig { resolution: 4i64 << blocks, style_dim, mapping_layers, channels }
}

/// e4e's encoder for a generator of `resolution`, and its `latent_avg` `[rows, 512]`, flat.
pub(super) fn e4e(checkpoint: &Checkpoint, resolution: i64) -> Result<(E4eConfig, Weights, Vec<f32>)> {
    let config = E4eConfig::published(resolution);
    let state = state_of(checkpoint, Part::Encoder)?;
    let picked = about(checkpoint, compare(&needed(config.tensors(), false), counters, &state.tensors))?;
    let Some(average) = &state.latent_avg else {
        return about(checkpoint, Err(Error::Malformed("latent_avg is missing: the encoder's codes are relative to it".into())));
    };
    let average = mean_latent(checkpoint, average, config.rows as usize, 512)?;
    Ok((config, load(checkpoint, &picked)?, average))
}

/// StyleFlow. Its batch norms count steps, its ODE evaluations.
pub(super) fn styleflow(checkpoint: &Checkpoint) -> Result<(StyleFlowConfig, Weights)> {
    let config = StyleFlowConfig::default();
    let buffers = |name: &str| name.ends_with(".step") || name.ends_with("._num_evals");
    whole(checkpoint, needed(config.tensors(), false), buffers).map(|weights| (config, weights))
}

/// LPIPS from a torchvision backbone and the linear heads.
pub(super) fn lpips(backbone: &Checkpoint, heads: &Checkpoint) -> Result<(LpipsConfig, Weights)> {
    let features = state_of(backbone, Part::Whole)?.tensors;
    let net = match () {
        () if features.keys().any(|k| k.contains(".squeeze.")) => LpipsNet::Squeeze,
        () if features.contains_key("features.28.weight") => LpipsNet::Vgg,
        () if features.contains_key("features.10.weight") && features.len() < 20 => LpipsNet::Alex,
        () => LpipsNet::Vgg,
    };
    let config = LpipsConfig { net };
    let (front, back): (Vec<_>, Vec<_>) = config.tensors().into_iter().partition(|(name, _)| name.starts_with("features."));
    let classifier = |name: &str| name.starts_with("classifier.");
    let mut weights = whole(backbone, needed(front, false), classifier)?;
    weights.merge("", &whole(heads, needed(back, false), |_| false)?)?;
    Ok((config, weights))
}

/// ArcFace.
pub(super) fn arcface(checkpoint: &Checkpoint) -> Result<(ArcFaceConfig, Weights)> {
    let config = ArcFaceConfig::default();
    whole(checkpoint, needed(config.tensors(), false), counters).map(|weights| (config, weights))
}

/// BiSeNet; the auxiliary heads, which only its training needs, stay behind.
pub(super) fn bisenet(checkpoint: &Checkpoint) -> Result<(BiSeNetConfig, Weights)> {
    let config = BiSeNetConfig { n_classes: 19 };
    let unused = |name: &str| counters(name) || name.starts_with("conv_out16.") || name.starts_with("conv_out32.");
    whole(checkpoint, needed(config.tensors(), false), unused).map(|weights| (config, weights))
}

fn whole(checkpoint: &Checkpoint, expected: Vec<Expected>, ignored: fn(&str) -> bool) -> Result<Weights> {
    let state = state_of(checkpoint, Part::Whole)?;
    load(checkpoint, &about(checkpoint, compare(&expected, ignored, &state.tensors))?)
}

/// The parser's classes by the names that this codec's losses know; the rest under the data set's names.
pub(super) const PARSER_LABELS: [&str; 19] = [
    "background",
    "skin",
    "brows",
    "brows",
    "eyes",
    "eyes",
    "glasses",
    "ears",
    "ears",
    "ear_ring",
    "nose",
    "inner_mouth",
    "lips",
    "lips",
    "neck",
    "necklace",
    "clothes",
    "hair",
    "hat",
];
