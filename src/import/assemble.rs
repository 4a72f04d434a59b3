//! Published checkpoints to a pack: reads every file, checks it, chooses the expression channels, writes the pack.
//!
//! Input: paths of the users' own files. Output: a pack for `--pack`. What is absent and optional is left out, and the pack says
//! what it cannot do then ([`PackConfig::lacks`](crate::pack::PackConfig::lacks)).

use super::channels::{find, ranges, FindOptions};
use super::checkpoint::{read, Checkpoint};
use super::networks::{self, ImportedGenerator, PARSER_LABELS};
use crate::decode::{DeviceChoice, Precision};
use crate::error::{Error, Result};
use crate::net::analysis::{ARCFACE, BISENET, E4E, LATENT_AVG, LPIPS};
use crate::net::ops::{from_vec, to_vec};
use crate::net::{Analysis, AnalysisConfig, FlowConfig, Generator, PublishedConfig, Weights};
use crate::pack::{Framing, PackConfig, FORMAT};
use crate::progress::{check, Progress};
use sha2::{Digest, Sha256};
use std::io::Read;
use std::path::{Path, PathBuf};
use tch::{no_grad, Device, Kind, Tensor};

/// Adam's rate when a published generator is tuned: that of PTI (Roich et al. 2021).
const TUNING_RATE: f64 = 3e-4;
/// Draws of w whose mean stands in for an absent `latent_avg`.
const MEAN_DRAWS: i64 = 4096;

/// The users' files.
#[derive(Clone, Debug, Default)]
pub struct Checkpoints {
    /// Generator in rosinality's layout; may be left out if `e4e` holds one.
    pub stylegan2: Option<PathBuf>,
    /// e4e.
    pub e4e: Option<PathBuf>,
    /// StyleFlow.
    pub styleflow: Option<PathBuf>,
    /// VGG-16, AlexNet or SqueezeNet of torchvision.
    pub lpips_backbone: PathBuf,
    /// The linear heads of LPIPS for that backbone.
    pub lpips_heads: PathBuf,
    /// ArcFace IR-SE50.
    pub arcface: Option<PathBuf>,
    /// BiSeNet for faces, 19 classes.
    pub parsing: Option<PathBuf>,
}

/// How to import.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// The files.
    pub files: Checkpoints,
    /// Name of the pack.
    pub name: String,
    /// Faces that the choice of channels averages over, and where its state is kept; the number format is `precision`'s.
    pub find: FindOptions,
    /// Whether tuning with the pack learns directions for each person: [`PackConfig::directions`]. Without them the channels move alone, as in the paper.
    pub directions: bool,
    /// Where the search for channels runs.
    pub device: DeviceChoice,
    /// Number format of its convolutions.
    pub precision: Precision,
    /// The command, for the pack to remember.
    pub command: String,
}

/// Everything that goes into the pack, while it is gathered.
struct Parts {
    weights: Weights,
    analysis: PublishedConfig,
    flow: FlowConfig,
    provenance: Vec<String>,
}

/// Imports checkpoints and returns configuration and weights, ready for [`Pack::save`](crate::pack::Pack::save).
///
/// # Errors
/// Misuse when there is no generator among the files; input/output; malformed, unsupported or limit for what is wrong with a file; cancelled; device.
pub fn import(options: &ImportOptions, progress: &dyn Progress) -> Result<(PackConfig, Weights)> {
    let device = options.device.resolve()?;
    // Half as many bits would do for pictures, not for telling channels that change next to nothing from rounding.
    let kind = match options.precision {
        Precision::Auto => Kind::Float,
        chosen => chosen.resolve(device)?,
    };
    let files = &options.files;
    progress.begin("read the checkpoints", 0);
    let (generator, mut parts) = gather(files, progress)?;
    progress.end();
    let dim = generator.config.style_dim;
    if parts.flow.style_dim() != dim {
        return Err(Error::Malformed(format!(
            "StyleFlow is for latents of {}, the generator's have {dim}",
            parts.flow.style_dim()
        )));
    }
    let mean = mean_latent(&generator, options.find.seed)?;
    parts.weights.merge("generator.", &generator.weights)?;
    let labels: Vec<String> = match parts.analysis.bisenet {
        Some(_) => PARSER_LABELS.map(String::from).to_vec(),
        None => Vec::new(),
    };
    let analysis = AnalysisConfig::Published(parts.analysis.clone());
    analysis.check(dim, generator.config.rows(), labels.len())?;
    let channels = {
        let on = |prefix: &str| -> Result<Weights> {
            let shared = parts.weights.under(prefix)?;
            // A gigabyte of weights is not copied without need.
            if device == Device::Cpu {
                Ok(shared)
            } else {
                shared.copy_to(device)
            }
        };
        let model = Generator::new(generator.config.clone(), on("generator.")?)?;
        // Inversion and identity have no part in the search.
        let seeing = PublishedConfig { e4e: None, arcface: None, ..parts.analysis.clone() };
        let eyes = Analysis::new(AnalysisConfig::Published(seeing), on("analysis.")?)?;
        let tag = format!("{} on {device:?}", parts.provenance.join("; "));
        let find_options = FindOptions { kind, tag, ..options.find.clone() };
        find(&model, &eyes, &labels, &from_vec(&mean, &[dim], device)?, &find_options, progress)?
    };
    let config = PackConfig {
        format: FORMAT,
        name: options.name.clone(),
        generator: generator.config,
        flow: parts.flow,
        analysis: Some(analysis),
        channels,
        ranges: ranges(),
        latent_mean: mean,
        labels,
        framing: Framing::default(),
        tuning_rate: TUNING_RATE,
        directions: options.directions,
        provenance: parts.provenance.join("; "),
        licence: licence(files),
        command: options.command.clone(),
    };
    config.check()?;
    Ok((config, parts.weights))
}

/// Reads all files.
fn gather(files: &Checkpoints, progress: &dyn Progress) -> Result<(ImportedGenerator, Parts)> {
    let mut provenance = Vec::new();
    let mut open = |what: &str, path: &Path| -> Result<Checkpoint> {
        check(progress)?;
        progress.advance(provenance.len() as u64, what);
        let file = read(path)?;
        provenance.push(format!("{what} sha256 {}", hash(path, progress)?));
        Ok(file)
    };
    let backbone = open("LPIPS backbone", &files.lpips_backbone)?;
    let heads = open("LPIPS heads", &files.lpips_heads)?;
    let stylegan2 = files.stylegan2.as_deref().map(|path| open("StyleGAN2", path)).transpose()?;
    let e4e = files.e4e.as_deref().map(|path| open("e4e", path)).transpose()?;
    let styleflow = files.styleflow.as_deref().map(|path| open("StyleFlow", path)).transpose()?;
    let arcface = files.arcface.as_deref().map(|path| open("ArcFace", path)).transpose()?;
    let parsing = files.parsing.as_deref().map(|path| open("BiSeNet", path)).transpose()?;

    let Some(source) = stylegan2.as_ref().or(e4e.as_ref()) else {
        return Err(Error::Misuse("no generator: give a StyleGAN2 checkpoint or an e4e one that holds a decoder".into()));
    };
    let mut generator = networks::generator(source)?;
    let mut weights = Weights::new();
    let (lpips, tensors) = networks::lpips(&backbone, &heads)?;
    weights.merge(&format!("analysis.{LPIPS}"), &tensors)?;
    let mut analysis = PublishedConfig { lpips, e4e: None, arcface: None, bisenet: None };
    if let Some(file) = &e4e {
        let (config, tensors, average) = networks::e4e(file, generator.config.resolution)?;
        weights.merge(&format!("analysis.{E4E}"), &tensors)?;
        weights.insert(format!("analysis.{LATENT_AVG}"), from_vec(&average, &[config.rows, 512], Device::Cpu)?);
        generator.average.get_or_insert(average);
        analysis.e4e = Some(config);
    }
    let mut flow = FlowConfig::Still { still: generator.config.style_dim };
    if let Some(file) = &styleflow {
        let (config, tensors) = networks::styleflow(file)?;
        weights.merge("flow.", &tensors)?;
        flow = FlowConfig::Style(config);
    }
    if let Some(file) = &arcface {
        let (config, tensors) = networks::arcface(file)?;
        weights.merge(&format!("analysis.{ARCFACE}"), &tensors)?;
        analysis.arcface = Some(config);
    }
    if let Some(file) = &parsing {
        let (config, tensors) = networks::bisenet(file)?;
        weights.merge(&format!("analysis.{BISENET}"), &tensors)?;
        analysis.bisenet = Some(config);
    }
    Ok((generator, Parts { weights, analysis, flow, provenance }))
}

/// The mean of w: the file's, or that of many draws.
fn mean_latent(generator: &ImportedGenerator, seed: u64) -> Result<Vec<f32>> {
    let dim = generator.config.style_dim as usize;
    match &generator.average {
        // All rows are the same mean.
        Some(average) => Ok(average.iter().take(dim).copied().collect()),
        None => no_grad(|| {
            tch::manual_seed(seed as i64);
            let z = Tensor::f_randn([MEAN_DRAWS, dim as i64], (Kind::Float, Device::Cpu))?;
            let mut all = Weights::new();
            all.merge("", &generator.weights)?;
            let w = Generator::new(generator.config.clone(), all)?.map(&z)?;
            to_vec(&w.f_mean_dim([0i64].as_slice(), false, Kind::Float)?)
        }),
    }
}

/// SHA-256 of a file, hexadecimal.
fn hash(path: &Path, progress: &dyn Progress) -> Result<String> {
    let failed = |e| Error::io("read checkpoint", path, e);
    let mut file = std::fs::File::open(path).map_err(failed)?;
    let (mut digest, mut buffer) = (Sha256::new(), vec![0u8; 1 << 20]);
    loop {
        check(progress)?;
        match file.read(&mut buffer).map_err(failed)? {
            0 => return Ok(digest.finalize().iter().map(|b| format!("{b:02x}")).collect()),
            n => digest.update(&buffer[..n]),
        }
    }
}

/// What the published files' terms say, for the files that are in. Whoever passes a pack on has to heed all of them.
fn licence(files: &Checkpoints) -> String {
    let mut out = vec!["Made from published checkpoints, whose terms apply; not for commercial use"];
    out.push("StyleGAN2 FFHQ: NVIDIA Source Code License-NC; FFHQ images: CC BY-NC-SA 4.0");
    out.push("LPIPS heads: BSD-2-Clause; torchvision backbone: BSD-3-Clause, trained on ImageNet (non-commercial research)");
    let mut add = |file: &Option<PathBuf>, text| out.extend(file.as_ref().map(|_| text));
    add(&files.e4e, "e4e: MIT, trained with the generator above");
    add(&files.styleflow, "StyleFlow: CC BY-NC-SA 4.0, academic use");
    add(&files.arcface, "ArcFace IR-SE50: MIT, trained on faces collected for research");
    add(&files.parsing, "BiSeNet: MIT, trained on CelebAMask-HQ (non-commercial research)");
    out.join("; ")
}
