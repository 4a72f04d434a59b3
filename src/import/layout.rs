//! Whether a checkpoint is the one that is wanted: containers of the published files, names and shapes.
//!
//! Input: a checkpoint and the names and shapes that a network has. Output: exactly those tensors, or one error that says what is
//! missing, unexpected or of another shape, and which published file this looks like instead.
//! Containers and names: as the published code writes them, see `docs/checkpoints.md`.

use super::checkpoint::Checkpoint;
use super::tensor::{TensorData, TensorRef};
use crate::error::{Error, Result};
use std::collections::BTreeMap;

/// Messages name at most this many tensors of a kind.
const NAMED: usize = 8;

/// A tensor that a network has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Its name.
    pub key: String,
    /// Lengths of its sides.
    pub shape: Vec<usize>,
    /// Whether it may be missing.
    pub optional: bool,
}

/// Picks the tensors of a network out of what was found.
///
/// `ignored` names those that may be there and are not wanted; a name that is expected is never ignored.
///
/// # Errors
/// Malformed, once, with all that does not fit: how many, and the first eight names each.
pub fn compare(
    expected: &[Expected],
    ignored: fn(&str) -> bool,
    found: &BTreeMap<String, TensorRef>,
) -> Result<BTreeMap<String, TensorRef>> {
    let mut out = BTreeMap::new();
    let (mut missing, mut other) = (Vec::new(), Vec::new());
    for Expected { key, shape, optional } in expected {
        match found.get(key) {
            Some(tensor) if tensor.shape() == shape => drop(out.insert(key.clone(), tensor.clone())),
            Some(tensor) => other.push(format!("{key} is {:?}, expected {shape:?}", tensor.shape())),
            None if *optional => (),
            None => missing.push(key.clone()),
        }
    }
    let known: std::collections::HashSet<&str> = expected.iter().map(|e| e.key.as_str()).collect();
    let extra: Vec<String> = found.keys().filter(|k| !known.contains(k.as_str()) && !ignored(k)).cloned().collect();
    let mut parts = Vec::new();
    for (list, what) in [(&missing, "missing"), (&extra, "unexpected"), (&other, "of another shape")] {
        if !list.is_empty() {
            let more = if list.len() > NAMED { ", ..." } else { "" };
            parts.push(format!("{} {what} ({}{more})", list.len(), list[..list.len().min(NAMED)].join(", ")));
        }
    }
    if parts.is_empty() {
        return Ok(out);
    }
    parts.extend(hint(expected, found));
    Err(Error::Malformed(format!("set of tensors: {}", parts.join("; "))))
}

fn hint(expected: &[Expected], found: &BTreeMap<String, TensorRef>) -> Option<String> {
    let (wanted, have) = (kind(expected.iter().map(|e| e.key.as_str())), kind(found.keys().map(String::as_str))?);
    let looks = format!("this looks like {}: it has {}", have.name, have.sign);
    match wanted {
        Some(wanted) if wanted.name == have.name => None,
        // Signs are told apart by their order: a VGG has AlexNet's as well.
        Some(wanted) if !found.contains_key(wanted.sign) => Some(format!("{looks} but not {}'s {}", wanted.name, wanted.sign)),
        _ => Some(looks),
    }
}

struct Kind {
    name: &'static str,
    /// A tensor that only this file has, among those of the table.
    sign: &'static str,
}

/// Published files by their signs. A file with two signs is the earlier one: e4e's checkpoint holds a generator as well.
const KINDS: [Kind; 11] = [
    Kind { name: "an e4e encoder", sign: "styles.0.linear.weight" },
    Kind { name: "a StyleGAN2 generator in rosinality's layout", sign: "to_rgb1.conv.weight" },
    Kind { name: "a StyleGAN2 generator in NVIDIA's layout", sign: "synthesis.b4.const" },
    Kind { name: "an ArcFace file", sign: "output_layer.3.weight" },
    Kind { name: "a BiSeNet file", sign: "cp.resnet.conv1.weight" },
    Kind { name: "a StyleFlow file", sign: "chain.0.running_mean" },
    Kind { name: "a file of LPIPS heads", sign: "lin0.model.1.weight" },
    Kind { name: "a torchvision SqueezeNet", sign: "features.3.squeeze.weight" },
    Kind { name: "a torchvision VGG-16", sign: "features.28.weight" },
    Kind { name: "a torchvision AlexNet", sign: "features.10.weight" },
    Kind { name: "a torchvision ResNet", sign: "layer1.0.conv1.weight" },
];

fn kind<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Option<&'static Kind> {
    let ends = |name: &str, sign: &str| name.strip_suffix(sign).is_some_and(|front| front.is_empty() || front.ends_with('.'));
    KINDS.iter().find(|kind| names.clone().any(|name| ends(name, kind.sign)))
}

/// Which published file has tensors of these names, in words ("an ArcFace file"); none for others.
pub fn identify(found: &BTreeMap<String, TensorRef>) -> Option<&'static str> {
    kind(found.keys().map(String::as_str)).map(|kind| kind.name)
}

/// Which network is wanted from a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The generator: `g_ema` of rosinality's files, `decoder.` of e4e's, or a bare state dict.
    Generator,
    /// e4e's encoder: `encoder.` of its files, or a bare state dict.
    Encoder,
    /// Everything: `state_dict`, or a bare state dict.
    Whole,
}

impl Part {
    /// Where the part may be, likeliest first. The last is a bare state dict.
    fn prefixes(self) -> &'static [&'static str] {
        match self {
            Part::Generator => &["g_ema.", "state_dict.decoder.", "decoder.", "state_dict.", ""],
            Part::Encoder => &["state_dict.encoder.", "encoder.", "state_dict.", ""],
            Part::Whole => &["state_dict.", ""],
        }
    }
}

/// A network's tensors out of their container.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// By their names in the network.
    pub tensors: BTreeMap<String, TensorRef>,
    /// The mean latent that the file has beside them, if any: `[dim]` or `[rows, dim]`.
    pub latent_avg: Option<TensorRef>,
}

/// Takes a network out of the container that its published file has. Works on names, so a converted flat file will do too.
///
/// # Errors
/// Malformed if the file holds no tensors or two of the same name.
pub fn state_of(checkpoint: &Checkpoint, part: Part) -> Result<State> {
    let mut all = checkpoint.tensors()?;
    let average = all.remove("latent_avg");
    let begins = |prefix: &str| all.keys().any(|name| name.starts_with(prefix));
    let Some(prefix) = part.prefixes().iter().find(|prefix| begins(prefix)) else {
        return Err(Error::Malformed(format!("checkpoint {} holds no tensors", checkpoint.path().display())));
    };
    // What training in parallel puts before every name.
    let parallel = format!("{prefix}module.");
    let wrapped = all.keys().filter(|name| name.starts_with(prefix)).all(|name| name.starts_with(&parallel));
    let prefix = if wrapped { &parallel } else { *prefix };
    let tensors = all.iter().filter_map(|(name, t)| Some((name.strip_prefix(prefix)?.to_string(), t.clone()))).collect();
    Ok(State { tensors, latent_avg: average })
}

/// The mean latent as W+, `rows` x `dim`: rosinality's files have one row for all, e4e's have each.
///
/// # Errors
/// Malformed for another shape or numbers that are not finite.
pub fn latent_rows(average: &TensorData, rows: usize, dim: usize) -> Result<Vec<f32>> {
    let values = average.to_f32()?;
    let repeat = match average.shape[..] {
        [d] if d == dim => rows,
        [1, d] if d == dim => rows,
        [r, d] if (r, d) == (rows, dim) => 1,
        _ => {
            let what = format!("latent_avg is {:?}, expected [{dim}] or [{rows}, {dim}]", average.shape);
            return Err(Error::Malformed(what));
        }
    };
    match values.iter().position(|v| !v.is_finite()) {
        Some(i) => Err(Error::Malformed(format!("latent_avg: number {i} is {}", values[i]))),
        None => Ok(values.repeat(repeat)),
    }
}
