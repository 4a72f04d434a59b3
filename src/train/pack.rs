//! Makes a pack from nothing or from an earlier one: renders heads, trains every network, measures the channels, writes the file.
//! Resumable at any point.

use super::data::{HeadSet, CONDITION};
use super::generator::Model;
use super::heads::{EXPRESSION_NAMES, IDENTITY, LABEL_NAMES};
use super::{analysis, channels, generator, init};
use crate::error::{Error, Result};
use crate::net::facenet::{FaceNet, FaceNetConfig};
use crate::net::ops::{from_vec, to_vec};
use crate::net::{
    Analysis, AnalysisConfig, Channel, FlowConfig, Generator, GeneratorConfig, PoseFlow, RowFlow, RowFlowConfig, Weights,
};
use crate::pack::{Pack, PackConfig};
use crate::params::PARAMS;
use crate::progress::Progress;
use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;
use tch::{no_grad, Device, Kind, Tensor};

/// How to train a pack.
#[derive(Clone, Debug)]
pub struct TrainOptions {
    /// The pack to write.
    pub out: PathBuf,
    /// Folder of resumable state, loss logs and the preview sheet.
    pub state: PathBuf,
    /// A pack to start from: tensors of the same name and shape are taken over, all others begin anew.
    pub init: Option<PathBuf>,
    /// Train only the generator's layers that `init` lacks: stopped at the former size it draws what it drew.
    pub grow: bool,
    /// Side of the pictures: a power of two.
    pub size: i64,
    /// Heads rendered ahead.
    pub images: usize,
    /// Start of all randomness.
    pub seed: u64,
    /// Pictures per step of the generator; half as many above 128 pixels.
    pub batch: i64,
    /// Steps of the analysis network, 32 pictures each; of its parser alone, 16 each.
    pub analysis_steps: u64,
    /// Steps of generator, pose flow and encoder.
    pub generator_steps: u64,
    /// Minutes that the training stages may take together, rendering aside; a stage ends by its steps or by its part of the time.
    /// Runs with a limit depend on the machine's speed.
    pub minutes: Option<f64>,
    /// How much worse than clean the pictures are that the analysis network and the encoder see: 0 clean, 1 the whole range of
    /// webcams. The generator always learns clean ones.
    pub film: f32,
    /// Where to train.
    pub device: Device,
    /// Number format of the convolutions.
    pub kind: Kind,
    /// The command line, recorded in the pack.
    pub command: String,
}

impl Default for TrainOptions {
    fn default() -> Self {
        TrainOptions {
            out: "pack.safetensors".into(),
            state: "pack.state".into(),
            init: None,
            grow: false,
            size: 128,
            images: 16_384,
            seed: 1,
            batch: 16,
            analysis_steps: 3_000,
            generator_steps: 8_000,
            minutes: None,
            film: 1.0,
            device: Device::Cpu,
            kind: Kind::BFloat16,
            command: String::new(),
        }
    }
}

/// A training run: what all stages share.
pub(super) struct Run<'a> {
    pub options: &'a TrainOptions,
    pub device: Device,
    pub kind: Kind,
    pub progress: &'a dyn Progress,
}

/// Parts of the time limit. The analysis network comes first and pays twice: as predictor, and as what the generator is judged by.
pub(super) const ANALYSIS_TIME: f64 = 0.4;
/// See [`ANALYSIS_TIME`].
pub(super) const GENERATOR_TIME: f64 = 0.6;
/// Longest time limit, a year of minutes.
const MAX_MINUTES: f64 = 525_600.0;

impl<'a> Run<'a> {
    pub(super) fn new(options: &'a TrainOptions, progress: &'a dyn Progress) -> Self {
        // Gradients overflow half precision; brain floats keep the range of singles.
        let kind = if options.kind == Kind::Half { Kind::BFloat16 } else { options.kind };
        Run { options, device: options.device, kind, progress }
    }

    /// The time that a stage may take which gets `part` of the whole.
    pub(super) fn limit(&self, part: f64) -> Option<Duration> {
        self.options.minutes.map(|minutes| Duration::from_secs_f64(minutes.clamp(0.0, MAX_MINUTES) * 60.0 * part))
    }
}

/// Width of z and w of a trained pack.
const STYLE_DIM: i64 = 128;

/// Channels from 4 x 4 up: wide where shape is decided, narrow where only skin texture is drawn.
fn plan(size: i64) -> Vec<i64> {
    let all = [192, 192, 160, 112, 64, 32, 32, 16, 16];
    all[..(size.ilog2() as usize - 1)].to_vec()
}

fn configs(size: i64) -> (GeneratorConfig, RowFlowConfig, FaceNetConfig) {
    let generator = GeneratorConfig { resolution: size, style_dim: STYLE_DIM, mapping_layers: 4, channels: plan(size) };
    let flow = RowFlowConfig { style_dim: STYLE_DIM, hidden: 96 };
    // Down to 4 x 4.
    let levels = size.min(128).ilog2() as usize - 1;
    let analysis = FaceNetConfig {
        input: size.min(128),
        widths: [16, 32, 64, 96, 128, 160][..levels].to_vec(),
        hidden: 256,
        style_dim: STYLE_DIM,
        identity_dim: IDENTITY as i64,
        classes: LABEL_NAMES.len() as i64,
        parser_width: 0,
        top_down: [16, 32, 48, 64, 96, 128][..levels].to_vec(),
        parser_down: Vec::new(),
        encoder_sees_trunk: true,
    };
    (generator, flow, FaceNetConfig { parser_down: parser_path(&analysis), ..analysis })
}

/// Least channels of the finest level of the parser's own path: edges are found there.
const FINEST: i64 = 24;

/// Channels of a path that the parser of such a network has for itself.
pub(super) fn parser_path(net: &FaceNetConfig) -> Vec<i64> {
    let mut widths = net.top_down.clone();
    widths.iter_mut().take(1).for_each(|finest| *finest = FINEST.max(*finest));
    widths
}

/// Trains and writes a pack; continues from `options.state` if it holds an unfinished run with the same options.
pub fn train_pack(options: &TrainOptions, progress: &dyn Progress) -> Result<()> {
    check_options(options)?;
    std::fs::create_dir_all(&options.state).map_err(|e| Error::io("create", &options.state, e))?;
    tch::manual_seed(options.seed as i64);
    let run = Run::new(options, progress);
    let Begin { generator, flow, net, mut table, kept } = begin(options)?;
    // Layers are grown on top of one pack and no other.
    claim(options, &kept.as_ref().map_or(String::new(), |kept| format!(" grown {}", kept.hash)))?;
    let heads = HeadSet::render(options.images, options.size, options.seed << 32, Some(&options.state), progress)?;
    if kept.is_none() {
        analysis::train(&net, &heads, &analysis::FROM_NOTHING, &run)?;
    }
    let model = Model { generator: &generator, flow: &flow, net: &net, channels: &table.clone() };
    generator::train(&model, &heads, kept.as_ref().map(|kept| &kept.tensors), &run)?;
    if let Some(Kept { config, .. }) = kept {
        let (before, after) = (config.generator.resolution, options.size);
        let config = PackConfig {
            name: format!("{}, grown to {after}", config.name),
            generator: generator.config().clone(),
            provenance: format!("{}; then grown from {before} to {after} pixels on parametric heads", config.provenance),
            command: options.command.clone(),
            ..config
        };
        return write(options, &config, &model);
    }
    let mean = mean_latent(&model, &heads, &run)?;
    channels::measure(&mut table, &model, &heads, &run)?;
    let config = PackConfig {
        format: crate::pack::FORMAT,
        name: format!("parametric heads {}", options.size),
        generator: generator.config().clone(),
        flow: FlowConfig::Rows(flow.config().clone()),
        analysis: Some(AnalysisConfig::Built(net.config().clone())),
        channels: table,
        ranges: ranges(),
        latent_mean: to_vec(&mean)?,
        labels: LABEL_NAMES.iter().map(|s| s.to_string()).collect(),
        framing: Default::default(),
        tuning_rate: crate::pack::TUNING_RATE,
        directions: true,
        provenance: "trained on parametric heads rendered by effigy; no photographs, no outside weights".into(),
        licence: "MIT OR Apache-2.0".into(),
        command: options.command.clone(),
    };
    write(options, &config, &model)
}

/// Writes the pack.
pub(super) fn write(options: &TrainOptions, config: &PackConfig, model: &Model) -> Result<()> {
    let mut weights = Weights::new();
    weights.merge("generator.", model.generator.weights())?;
    weights.merge("flow.", model.flow.weights())?;
    weights.merge("analysis.", model.net.weights())?;
    Pack::save(&options.out, config, &weights, true)
}

/// Refuses what cannot be trained.
pub(super) fn check_options(options: &TrainOptions) -> Result<()> {
    if !(32..=1024).contains(&options.size) || options.size & (options.size - 1) != 0 {
        return Err(Error::Misuse(format!("pack size {} must be a power of two from 32 to 1024", options.size)));
    }
    if options.batch < 1 || options.images < 1 {
        return Err(Error::Misuse(format!(
            "batches of {} pictures from {} heads: both must be above 0",
            options.batch, options.images
        )));
    }
    if !(0.0..=1.0).contains(&options.film) {
        return Err(Error::Misuse(format!("camera faults of strength {}: from 0 to 1", options.film)));
    }
    if options.grow && options.init.is_none() {
        return Err(Error::Misuse("only a pack to start from can be grown".into()));
    }
    if options.minutes.is_some_and(|m| !(m > 0.0 && m <= MAX_MINUTES)) {
        return Err(Error::Misuse(format!("a time limit of {:?} minutes: above 0, at most a year", options.minutes)));
    }
    Ok(())
}

/// Records the options and `more` in the state folder, and refuses to continue a run that was started with other ones.
pub(super) fn claim(options: &TrainOptions, more: &str) -> Result<()> {
    let file = options.state.join("options.txt");
    // Stages may take more or fewer steps or minutes than was planned at first; what the steps do must stay the same.
    let text = format!(
        "size {} images {} seed {} batch {} film {} condition {CONDITION}{more}\n",
        options.size, options.images, options.seed, options.batch, options.film
    );
    match std::fs::read_to_string(&file) {
        Ok(old) if old != text => Err(Error::Misuse(format!(
            "{} holds a run with other options ({}); give another state folder or remove it",
            options.state.display(),
            old.trim()
        ))),
        Ok(_) => Ok(()),
        Err(_) => std::fs::write(&file, text).map_err(|e| Error::io("write", &file, e)),
    }
}

/// Where a training begins.
struct Begin {
    generator: Generator,
    flow: RowFlow,
    net: FaceNet,
    table: Vec<Channel>,
    kept: Option<Kept>,
}

/// What a pack that is grown keeps of the one before.
struct Kept {
    /// Names of the generator's tensors.
    tensors: HashSet<String>,
    config: PackConfig,
    /// First hexadecimal digits of its hash.
    hash: String,
}

/// The networks before the first step.
fn begin(options: &TrainOptions) -> Result<Begin> {
    let device = options.device;
    let (cfg, flow_cfg, mut net_cfg) = configs(options.size);
    let Some(path) = &options.init else {
        let table = channels::reserve(&cfg);
        let mut net = init::facenet(&net_cfg, device)?;
        init::calm_encoder(&mut net, &Tensor::f_zeros([cfg.style_dim], (Kind::Float, device))?)?;
        let (generator, flow) = (init::generator(&cfg, &table, device)?, init::flow(&flow_cfg, device)?);
        return assemble((cfg, generator), (flow_cfg, flow), (net_cfg, net), table);
    };
    let pack = Pack::load(path)?;
    let config = pack.config();
    let (PoseFlow::Rows(old_flow), Analysis::Built(old_net)) = (pack.flow(device)?, pack.analysis(device)?) else {
        return Err(Error::Unsupported(format!("pack {}: training goes on only from packs that it made", config.name)));
    };
    let old = pack.generator(device)?;
    if old_net.config().parser_down.is_empty() {
        // Its parser is worth more than a path for it alone that begins at random; `parser` adds one later.
        net_cfg.parser_down.clear();
    }
    if options.grow {
        return grown(options, &pack, &old, old_flow, old_net);
    }
    let table = channels::reserve(&cfg);
    let mut generator = init::generator(&cfg, &table, device)?;
    let (mut flow, mut net) = (init::flow(&flow_cfg, device)?, init::facenet(&net_cfg, device)?);
    let taken = init::adopt(&mut generator, old.weights(), device)?
        + init::adopt(&mut flow, old_flow.weights(), device)?
        + init::adopt(&mut net, old_net.weights(), device)?;
    let all = generator.iter().count() + flow.iter().count() + net.iter().count();
    log::info!("{taken} of {all} tensors from {}", path.display());
    init::silence(&cfg, &table, &generator)?;
    let mean = match config.latent_mean.len() as i64 == cfg.style_dim {
        true => from_vec(&config.latent_mean, &[cfg.style_dim], device)?,
        false => Tensor::f_zeros([cfg.style_dim], (Kind::Float, device))?,
    };
    init::calm_encoder(&mut net, &mean)?;
    assemble((cfg, generator), (flow_cfg, flow), (net_cfg, net), table)
}

/// The networks of `pack`, whose generator gets more layers.
fn grown(options: &TrainOptions, pack: &Pack, old: &Generator, flow: RowFlow, net: FaceNet) -> Result<Begin> {
    let before = old.config();
    if options.size <= before.resolution {
        return Err(Error::Misuse(format!("a pack of {} pixels cannot grow to {}", before.resolution, options.size)));
    }
    let mut channels = before.channels.clone();
    channels.extend(&plan(options.size)[channels.len()..]);
    let cfg = GeneratorConfig { resolution: options.size, channels, ..before.clone() };
    let table = pack.config().channels.clone();
    let mut weights = init::generator(&cfg, &table, options.device)?;
    init::adopt(&mut weights, old.weights(), options.device)?;
    let tensors = old.weights().iter().map(|(name, _)| name.clone()).collect();
    let hash = pack.hash()[..8].iter().map(|b| format!("{b:02x}")).collect();
    let kept = Kept { tensors, config: pack.config().clone(), hash };
    Ok(Begin { generator: Generator::new(cfg, weights)?, flow, net, table, kept: Some(kept) })
}

fn assemble(
    (cfg, generator): (GeneratorConfig, Weights),
    (flow_cfg, flow): (RowFlowConfig, Weights),
    (net_cfg, net): (FaceNetConfig, Weights),
    table: Vec<Channel>,
) -> Result<Begin> {
    let (generator, flow) = (Generator::new(cfg, generator)?, RowFlow::new(flow_cfg, flow)?);
    Ok(Begin { generator, flow, net: FaceNet::new(net_cfg, net)?, table, kept: None })
}

/// Mean of the encoder's w over up to 512 heads.
pub(super) fn mean_latent(model: &Model, heads: &HeadSet, run: &Run) -> Result<Tensor> {
    let picks: Vec<i64> = (0..heads.len().min(512)).collect();
    let mut all = Vec::new();
    for rows in picks.chunks(32) {
        let images = heads.pick(rows, model.net.config().input.min(heads.side), run.device)?.images;
        all.push(no_grad(|| model.w(&images, run.kind))?);
    }
    Ok(Tensor::f_cat(&all, 0)?.f_mean_dim([0i64].as_slice(), false, Kind::Float)?)
}

/// Plausible range of each of the 35 numbers: the parametric heads' own, signed where they are.
fn ranges() -> Vec<[f32; 2]> {
    let mut out = vec![[-35.0, 35.0], [-25.0, 25.0], [-45.0, 45.0]];
    for name in EXPRESSION_NAMES {
        let signed = matches!(name, "jaw_side" | "mouth_side" | "gaze_x" | "gaze_y");
        out.push(if signed { [-1.0, 1.0] } else { [0.0, 1.0] });
    }
    debug_assert_eq!(out.len(), PARAMS);
    out
}
