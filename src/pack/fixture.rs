//! Small packs with weights made by a rule, for tests and benchmarks: no training, no file, the same on every machine.
//!
//! The rule is that of the project's numeric fixtures: FNV-1a of the tensor's name seeds a splitmix64 sequence, whose upper 24
//! bits become uniform numbers with mean `offset` and standard deviation `scale`.

use super::{Framing, Pack, PackConfig, FORMAT};
use crate::bitstream::quant::code_from_step;
use crate::bitstream::{Identity, TunedTensor};
use crate::error::Result;
use crate::net::ops::{from_vec, to_vec};
use crate::net::{Channel, FlowConfig, GeneratorConfig, RowFlowConfig, Weights};
use crate::params::{FrameParams, WPlus, EXPRESSIONS, PARAMS};
use std::path::Path;
use tch::{no_grad, Device};

/// FNV-1a, 64 bit.
pub fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}

/// Number `index` of the splitmix64 sequence that starts at `seed`.
pub fn splitmix(seed: u64, index: u64) -> u64 {
    let z = seed.wrapping_add((index + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Number `index` of the tensor `key` (prefix included).
pub fn rule_value(key_hash: u64, index: u64, scale: f64, offset: f64) -> f32 {
    const SQRT3: f64 = 1.732_050_807_568_877_2;
    let u = (splitmix(key_hash, index) >> 40) as f64 / (1u64 << 24) as f64;
    ((((2.0 * u - 1.0) * SQRT3) * scale) + offset) as f32
}

/// `count` numbers of the tensor `key` (prefix included) by the rule.
pub fn rule(key: &str, count: usize, scale: f64, offset: f64) -> Vec<f32> {
    let hash = fnv1a(key);
    (0..count as u64).map(|i| rule_value(hash, i, scale, offset)).collect()
}

/// Shape of a fixture pack.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Width of w.
    pub style_dim: i64,
    /// Channels at 4, 8, 16 ...; their number sets the resolution.
    pub channels: Vec<i64>,
    /// Hidden units of the pose flow per row.
    pub flow_hidden: i64,
    /// Whether an analysis network is included (builds with the feature `analysis`).
    pub analysis: bool,
    /// Whether tuning learns directions.
    pub directions: bool,
}

impl Shape {
    /// 32 x 32 with few channels: milliseconds to make.
    pub fn tiny() -> Self {
        Shape { style_dim: 16, channels: vec![16, 16, 12, 8], flow_hidden: 8, analysis: true, directions: true }
    }

    /// 64 x 64, of which the analysis networks see no more than of [`Shape::tiny`].
    pub fn beyond() -> Self {
        Shape { channels: vec![16, 16, 12, 8, 8], ..Shape::tiny() }
    }

    /// 256 x 256 with the channels that the trainer plans for that side.
    pub fn large() -> Self {
        Shape {
            style_dim: 128,
            channels: vec![192, 192, 160, 112, 64, 32, 32],
            flow_hidden: 96,
            analysis: false,
            directions: true,
        }
    }

    /// 128 x 128 with the channels of the built-in pack.
    pub fn full() -> Self {
        Shape { style_dim: 128, channels: vec![192, 192, 160, 112, 64, 32], flow_hidden: 96, analysis: false, directions: true }
    }
}

/// A 32 x 32 pack; another `seed` gives other weights.
///
/// # Errors
/// Device, when libtorch fails.
pub fn tiny(seed: u64) -> Result<Pack> {
    pack(&Shape::tiny(), seed)
}

/// A pack of `shape`.
///
/// # Errors
/// Device, when libtorch fails.
pub fn pack(shape: &Shape, seed: u64) -> Result<Pack> {
    Pack::from_bytes(&bytes(shape, seed)?)
}

/// Writes [`tiny`] to a file.
///
/// # Errors
/// Input/output; device.
pub fn write_tiny(path: impl AsRef<Path>, seed: u64) -> Result<()> {
    let path = path.as_ref();
    std::fs::write(path, bytes(&Shape::tiny(), seed)?).map_err(|e| crate::Error::io("write", path, e))
}

/// The file of [`pack`].
///
/// # Errors
/// Device, when libtorch fails.
pub fn bytes(shape: &Shape, seed: u64) -> Result<Vec<u8>> {
    let config = config(shape, seed);
    let prefix = format!("seed{seed}/");
    let mut weights = Weights::new();
    let mut add = |part: &str, list: Vec<(String, Vec<i64>)>| -> Result<()> {
        for (name, dims) in list {
            let name = format!("{part}.{name}");
            let (scale, offset) = spread(&name, &dims);
            let values = rule(&format!("{prefix}{name}"), dims.iter().product::<i64>() as usize, scale, offset);
            weights.insert(name, from_vec(&values, &dims, Device::Cpu)?);
        }
        Ok(())
    };
    add("generator", config.generator.tensors())?;
    add("flow", config.flow.tensors())?;
    #[cfg(feature = "analysis")]
    if let Some(analysis) = &config.analysis {
        add("analysis", analysis.tensors())?;
    }
    Pack::to_bytes(&config, &weights, false)
}

/// Scale and offset that keep signals near unit variance and pictures inside [-1, 1].
fn spread(name: &str, dims: &[i64]) -> (f64, f64) {
    let fan: i64 = dims[1..].iter().product();
    let plain = 1.0 / (fan as f64).sqrt();
    match name {
        n if n.contains("to_rgb") && n.ends_with("conv.weight") => (0.4, 0.0),
        n if n.ends_with("modulation.bias") => (0.1, 1.0),
        n if n.ends_with("modulation.weight") => (0.3, 0.0),
        n if n.starts_with("generator.style.") => (if n.ends_with("bias") { 10.0 } else { 100.0 }, 0.0),
        n if n.ends_with("bias") => (0.1, 0.0),
        n if n.starts_with("generator.") => (1.0, 0.0),
        n if n.ends_with("out.weight") && n.starts_with("flow.") => (0.5 * plain, 0.0),
        n if n.ends_with("angles.weight") => (0.2, 0.0),
        _ => (plain, 0.0),
    }
}

/// Most that the analysis networks see.
const SEEN: i64 = 32;

fn config(shape: &Shape, seed: u64) -> PackConfig {
    let resolution = 2i64 << shape.channels.len();
    let generator =
        GeneratorConfig { resolution, style_dim: shape.style_dim, mapping_layers: 2, channels: shape.channels.clone() };
    let mut ranges = vec![[-1.0, 1.0]; PARAMS];
    ranges[..3].copy_from_slice(&[[-35.0, 35.0], [-25.0, 25.0], [-45.0, 45.0]]);
    PackConfig {
        format: FORMAT,
        name: format!("rule-made {resolution} seed {seed}"),
        channels: channels(&generator, if shape.analysis { SEEN } else { resolution }),
        flow: FlowConfig::Rows(RowFlowConfig { style_dim: shape.style_dim, hidden: shape.flow_hidden }),
        analysis: analysis(shape, resolution),
        ranges,
        latent_mean: rule(&format!("seed{seed}/latent_mean"), shape.style_dim as usize, 0.3, 0.0),
        labels: [
            "background",
            "skin",
            "forehead",
            "jaw",
            "brows",
            "lids",
            "iris",
            "lips",
            "inner_mouth",
            "hair",
            "clothes",
            "glasses",
        ]
        .map(String::from)
        .to_vec(),
        framing: Framing::default(),
        tuning_rate: super::TUNING_RATE,
        directions: shape.directions,
        provenance: "weights by a rule, for tests".into(),
        licence: "MIT OR Apache-2.0".into(),
        command: "effigy::pack::fixture".into(),
        generator,
    }
}

#[cfg(feature = "analysis")]
fn analysis(shape: &Shape, resolution: i64) -> Option<super::AnalysisConfig> {
    let net = crate::net::facenet::FaceNetConfig {
        input: resolution.min(SEEN),
        widths: vec![8, 12, 16, 16],
        hidden: 32,
        style_dim: shape.style_dim,
        identity_dim: 8,
        classes: 12,
        parser_width: 0,
        top_down: vec![6, 8, 8, 10],
        parser_down: Vec::new(),
        encoder_sees_trunk: false,
    };
    shape.analysis.then_some(super::AnalysisConfig::Built(net))
}

#[cfg(not(feature = "analysis"))]
fn analysis(_: &Shape, _: i64) -> Option<super::AnalysisConfig> {
    None
}

/// 32 channels spread over the convolutions from 8 x 8 up to `most`.
fn channels(generator: &GeneratorConfig, most: i64) -> Vec<Channel> {
    let layers = generator.layers();
    let usable: Vec<usize> = (2..layers.len()).filter(|i| !layers[*i].to_rgb && layers[*i].side <= most).collect();
    (0..EXPRESSIONS)
        .map(|i| Channel {
            layer: usable[i % usable.len()],
            channel: (i / usable.len()) as i64,
            gain: 2.0,
            feature: format!("feature_{i}"),
            region: ["mouth", "eyes", "brows", "pupils", "face"][i % 5].into(),
            sensitivity: 0.02 + 0.01 * (i % 4) as f32,
        })
        .collect()
}

/// One of the tensors that tuning adds to the pack's generator, in steps of `step`.
///
/// # Errors
/// As [`Pack::generator`]; malformed for a name that the generator has no place for.
pub fn own(pack: &Pack, name: &str, step: f32) -> Result<TunedTensor> {
    let generator = pack.generator(Device::Cpu)?.with_own(true)?;
    let shape: Vec<usize> = generator.weights().get(name)?.size().iter().map(|d| *d as usize).collect();
    let values = rule(name, shape.iter().product(), 8.0, 0.0).into_iter().map(|v| v as i32).collect();
    Ok(TunedTensor { name: name.into(), shape, steps: vec![code_from_step(step)], values })
}

/// An untuned identity of `pack`: the latent of a z made by the rule.
///
/// # Errors
/// Device, when libtorch fails.
pub fn identity(pack: &Pack, seed: u64) -> Result<Identity> {
    let cfg = &pack.config().generator;
    let z = rule(&format!("seed{seed}/z"), cfg.style_dim as usize, 1.0, 0.0);
    let generator = pack.generator(Device::Cpu)?;
    let latent = no_grad(|| generator.broadcast(&generator.map(&from_vec(&z, &[1, cfg.style_dim], Device::Cpu)?)?, None))?;
    let mut sensitivity = [0.0; EXPRESSIONS];
    for (s, c) in sensitivity.iter_mut().zip(&pack.config().channels) {
        *s = c.sensitivity;
    }
    Ok(Identity {
        pack: pack.hash(),
        name: format!("fixture {seed}"),
        resolution: cfg.resolution as u32,
        latent: WPlus { rows: cfg.rows() as usize, dim: cfg.style_dim as usize, data: to_vec(&latent)? },
        tuned: Vec::new(),
        sensitivity,
        rest: FrameParams::default(),
        anchors: Vec::new(),
        thumbnail: None,
        metadata: Default::default(),
    })
}
