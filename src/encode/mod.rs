//! Encoder: aligned crops to an identity and 35 numbers per frame.
//!
//! Order of the stages: `align` (the only one with OpenCV) -> `invert` -> `identity` (selection) -> `tune` -> `channels`
//! (sensitivities) -> `start` (first guess) -> `sequence` and `newton` (all numbers together) -> `expression` (the last bit of likeness). `differences`
//! (the weights that `tune` moves), `album`, `crops`, `loss`, `model`, `rows` and `strange` serve them. `camera`, `live` and `follower` take the short way of a call:
//! `align` -> `start` -> `newton`. `place` looks a second time at where an enrolled person's face sits.
//!
//! `residual` looks at what the numbers missed, once they are coded, and `detail` at what is finer than the generator draws.
//!
//! Closed loop: the identity is quantised before the numbers are searched, and they are searched with the dequantised generator.

mod album;
#[cfg(feature = "encode")]
pub mod align;
#[cfg(feature = "encode")]
mod camera;
mod channels;
mod crops;
mod detail;
mod differences;
mod expression;
mod follower;
mod identity;
mod invert;
mod live;
mod loss;
mod model;
mod newton;
mod place;
mod residual;
pub(crate) mod rows;
mod search;
mod sequence;
mod start;
mod strange;
pub(crate) mod tune;
mod unfinished;

use crate::bitstream::Identity;
use crate::decode::{DeviceChoice, GridOptions, Precision, Renderer};
use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::limits::MAX_IDENTITY_BYTES;
use crate::net::ops::from_vec;
use crate::net::{Analysis, Generator};
use crate::pack::Pack;
use crate::params::{FrameParams, Placement, EXPRESSIONS};
use crate::progress::Progress;
use crate::random::Rng;
#[cfg(feature = "encode")]
pub use camera::LiveEncoder;
use crops::Crops;
pub use detail::{learn_detail, DETAIL_CROPS};
use differences::Differences;
pub use live::{draw_enrolled, LiveFrame, LiveOptions, LiveReader, LIVE_SMOOTHING, LIVE_STEPS};
use loss::Judge;
use model::{from_table, latent_plain, Model};
use newton::Effort;
pub use place::Misplaced;
pub use residual::{residuals, LiveResidual};
use search::UNSURE;
pub use search::{search, Searcher, SEGMENT};
use std::collections::BTreeMap;
use std::path::PathBuf;
use tch::{Device, Kind, Tensor};
use tune::Fitted;
use unfinished::Unfinished;

/// An upright crop of a camera frame.
#[derive(Clone, Debug)]
pub struct AlignedFrame {
    /// Presentation time in ticks of the clip's time base.
    pub pts: i64,
    /// The crop, R x R.
    pub frame: Frame,
    /// R_t: rotation of the crop in the camera frame, degrees clockwise.
    pub roll: f32,
    /// Where the crop sits in the camera frame.
    pub placement: Placement,
    /// Whether the registration started anew at this frame.
    pub key: bool,
    /// How often the face had been placed anew, without regard to where it sat in the crop before: after a cut, or when it was lost.
    pub shot: u32,
    /// 1: face surely followed; 0: face lost, last placement held.
    pub confidence: f32,
}

/// Where the crop of one frame sits: an [`AlignedFrame`] without its picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Track {
    /// Presentation time in ticks of the clip's time base.
    pub pts: i64,
    /// Rotation of the crop in the camera frame, degrees clockwise.
    pub roll: f32,
    /// Where the crop sits in the camera frame.
    pub placement: Placement,
    /// Whether the registration started anew at this frame.
    pub key: bool,
    /// How often the face had been placed anew, without regard to where it sat in the crop before: after a cut, or when it was lost.
    pub shot: u32,
    /// 1: face surely followed; 0: face lost, last placement held.
    pub confidence: f32,
}

impl Track {
    /// The frame whose crop has this picture.
    pub fn with(self, frame: Frame) -> AlignedFrame {
        let Track { pts, roll, placement, key, shot, confidence } = self;
        AlignedFrame { pts, frame, roll, placement, key, shot, confidence }
    }
}

impl AlignedFrame {
    /// Where the crop sits.
    pub fn track(&self) -> Track {
        let AlignedFrame { pts, roll, placement, key, shot, confidence, .. } = *self;
        Track { pts, roll, placement, key, shot, confidence }
    }

    /// A crop that is its own camera frame: upright, filling it, surely placed. `key`: nothing came before it.
    pub fn whole(pts: i64, frame: Frame, key: bool) -> Self {
        let side = frame.width as f32;
        let placement = Placement { x: side / 2.0, y: side / 2.0, side };
        AlignedFrame { pts, frame, roll: 0.0, placement, key, shot: 0, confidence: 1.0 }
    }
}

/// How much work the encoder may do. Steps of tuning do not grow with the clip.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preset {
    /// What a call allows: a few steps from where the last frame ended, as by [`LiveReader`]. Not for [`enroll`].
    Live,
    /// A preview: two fifths of the tuning steps of `medium`, and a search that takes half the time.
    Fast,
    /// The default.
    #[default]
    Medium,
    /// Six times the tuning steps of `medium`, nearly four times those of the search's last part.
    Best,
}

/// What of the generator is fitted to the person.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tuning {
    /// Nothing: the pack's generator as it is.
    None,
    /// Weights only, around a first fit of latent and numbers (after PTI).
    Pivotal,
    /// Weights, identity latent and the frames' numbers together.
    #[default]
    Joint,
}

/// Settings of the encoder.
#[derive(Clone, Debug, Default)]
pub struct EncodeOptions {
    /// Amount of work.
    pub preset: Preset,
    /// What is tuned; only for [`enroll`].
    pub tuning: Tuning,
    /// Steps of the tuning instead of the preset's; the rate falls over as many. The first fit of the latent takes no more steps either.
    pub tune_steps: Option<u64>,
    /// Where to compute.
    pub device: DeviceChoice,
    /// Number format of the convolutions.
    pub precision: Precision,
    /// CPU threads; all cores if not given.
    pub threads: Option<usize>,
    /// Start of all randomness.
    pub seed: u64,
    /// Name stored in the identity.
    pub name: String,
    /// Whether tuning also learns maps, pictures that are added inside the generator, and displacements, by which the numbers take them along: frames that are
    /// tuned on come out much better, others worse if they are unlike those. Without effect where the pack's tuning learns no directions. Only for [`enroll`].
    pub maps: bool,
    /// Whether the background of the crops hardly counts, where the pack's parser finds it: for receivers that lay the head over a background of
    /// their own.
    pub head_only: bool,
    /// Most bytes of the identity, [`MIN_IDENTITY_BYTES`] or more; [`IDENTITY_BYTES`] if not given. Only for [`enroll`] and [`learn_detail`].
    pub identity_bytes: Option<usize>,
    /// File of an unfinished tuning, only for [`enroll`]: written about once a minute and when the work is cancelled. If there is one, it is gone on
    /// with, and on the same machine the result is what it would have been. It stays: whoever named it removes it.
    pub unfinished: Option<PathBuf>,
}

/// Steps of each stage.
#[derive(Clone, Debug)]
struct Plan {
    fit_steps: u64,
    tune_steps: u64,
    /// Of these, steps before the weights are rounded to what will be sent.
    free_steps: u64,
    newton: Effort,
    expression_steps: u64,
    tuning: Tuning,
    seed: u64,
}

impl EncodeOptions {
    /// Most bytes of the identity.
    fn bytes(&self) -> Result<usize> {
        let bytes = self.identity_bytes.unwrap_or(IDENTITY_BYTES);
        if !(MIN_IDENTITY_BYTES..=MAX_IDENTITY_BYTES).contains(&bytes) {
            return Err(Error::Misuse(format!(
                "an identity of {bytes} bytes was asked for, {MIN_IDENTITY_BYTES} to {MAX_IDENTITY_BYTES} can be"
            )));
        }
        Ok(bytes)
    }

    /// Side of the crops from which [`learn_detail`] learns after an [`enroll`] with these settings; None where it is to learn nothing: a detail belongs to the maps.
    pub fn detail_side(&self, pack: &Pack) -> Option<u32> {
        let maps = self.maps && pack.config().directions && self.tuning != Tuning::None;
        crate::residual::detail_side(pack.config().generator.resolution as u32).filter(|_| maps)
    }

    /// The same for an [`enroll`] that is followed by [`learn_detail`] with these here: a twenty-fifth of the identity's bytes is left for it.
    ///
    /// # Errors
    /// Misuse for a number of bytes that no identity can be asked to have.
    pub fn leaving_detail(&self) -> Result<EncodeOptions> {
        let bytes = self.bytes()?;
        let left = (bytes - bytes / DETAIL_SHARE).max(MIN_IDENTITY_BYTES);
        Ok(EncodeOptions { identity_bytes: Some(left), ..self.clone() })
    }

    /// `finer`: how many times as many steps the tuning takes than with steps of many crops.
    fn plan(&self, finer: u64) -> Plan {
        let newton = |steps, columns| Effort { steps, columns, gain: 0.0 };
        let (fit_steps, tune_steps, newton, expression_steps) = match self.preset {
            Preset::Live => (0, 0, newton(0, 0), 0),
            // 5 % saves hardly more time and loses more (docs/encoder.md, "The search").
            Preset::Fast => (100, 400, Effort { gain: 0.02, ..newton(3, 6) }, 3),
            Preset::Medium => (150, 1000, Effort { gain: 0.01, ..newton(5, 4) }, 16),
            Preset::Best => (300, 6000, newton(3, 0), 60),
        };
        let usual = finer * if self.tuning == Tuning::Pivotal { tune_steps.min(350) } else { tune_steps };
        let tune_steps = self.tune_steps.unwrap_or(usual);
        Plan {
            fit_steps: (fit_steps * finer.div_ceil(2)).min(self.tune_steps.unwrap_or(u64::MAX)),
            tune_steps,
            free_steps: tune_steps / 2,
            newton,
            expression_steps,
            tuning: self.tuning,
            seed: self.seed,
        }
    }
}

/// A person enrolled, and the numbers of the frames that were used.
#[derive(Clone, Debug)]
pub struct Enrolled {
    /// Identity as decoders will see it: quantised and read back.
    pub identity: Identity,
    /// One per frame, before the closed-loop search; none for frames that were left out, as [`worth_enrolling`] says.
    pub params: Vec<Option<FrameParams>>,
    /// Index of the frame whose inversion the identity latent came from.
    pub identity_frame: usize,
}

/// Most frames that a person is enrolled from: more would hardly be seen by the tuning, and would fill the memory.
pub const MOST_ENROLLED: usize = 500;
/// Most frames in a row in which the face was but seen that a person is enrolled from.
const MOMENT: usize = 3;
/// Rows of the enrolled frames that the identity remembers.
const ANCHORS: usize = 16;
/// Truncation of our own encoder's codes: real people lie outside of what it was trained on. Published encoders need none.
const TRUNCATION: f64 = 0.7;
/// Bytes of an identity unless said otherwise: ten a frame in a call of ten minutes at 25 frames a second.
pub const IDENTITY_BYTES: usize = 150_000;
/// One in so many of an identity's bytes is left for its detail where it is to have one.
const DETAIL_SHARE: usize = 25;
/// Keeps what is drawn for nobody yet apart from what tuning draws.
const DRAWN: u64 = 0x6472_6177_6E00;
/// Fewest bytes an identity can be asked to have.
pub const MIN_IDENTITY_BYTES: usize = 16_000;

/// What both entry points compute with.
#[derive(Debug)]
struct Bench {
    device: Device,
    kind: Kind,
    /// Number format of what is drawn without gradients.
    drawing: Kind,
    net: Analysis,
    head_only: bool,
}

impl Bench {
    fn new(pack: &Pack, options: &EncodeOptions) -> Result<Self> {
        if let Some(n) = options.threads {
            tch::set_num_threads(n.clamp(1, 1024) as i32);
        }
        let device = options.device.resolve()?;
        let drawing = options.precision.resolve(device)?;
        // Gradients overflow half precision; brain floats keep the range of singles.
        let kind = if drawing == Kind::Half { Kind::BFloat16 } else { drawing };
        Ok(Bench { device, kind, drawing, net: pack.analysis(device)?, head_only: options.head_only })
    }

    fn model(&self, pack: &Pack, generator: Generator) -> Result<Model> {
        Ok(Model {
            generator,
            flow: pack.flow(self.device)?,
            channels: pack.config().channels.clone(),
            tuning_rate: pack.config().tuning_rate,
            kind: self.kind,
            sight: self.sight(pack),
        })
    }

    /// The same with networks of its own.
    fn again(&self, pack: &Pack) -> Result<Self> {
        Ok(Bench { net: pack.analysis(self.device)?, ..*self })
    }

    /// Side of the pictures that are searched with: the generator's first that shows all that the networks look at and all that the channels change.
    fn sight(&self, pack: &Pack) -> i64 {
        let layers = pack.config().generator.layers();
        let finest = pack.config().channels.iter().filter_map(|c| layers.get(c.layer)).map(|layer| layer.side).max();
        let least = self.net.sight().max(finest.unwrap_or(0));
        layers.iter().map(|layer| layer.side).find(|side| *side >= least).unwrap_or(pack.config().generator.resolution)
    }

    fn crops<'f>(&self, pack: &Pack, frames: impl IntoIterator<Item = &'f AlignedFrame>) -> Result<Crops> {
        Crops::new(frames, (pack.config().generator.resolution, self.sight(pack)), self.device)
    }

    /// Pictures as the decoder will draw them.
    fn renderer(&self, pack: &Pack, identity: &Identity) -> Result<Renderer> {
        Renderer::new(pack, identity, self.device, self.drawing, &GridOptions::default())
    }

    fn judge(&self, pack: &Pack) -> Result<Judge<'_>> {
        let labels = &pack.config().labels;
        if self.head_only && !labels.iter().any(|label| label == "background") {
            log::warn!("this pack knows no background: all of the crop counts");
        }
        Ok(Judge::new(&self.net, labels, self.sight(pack), self.kind, self.device)?.only_head(self.head_only))
    }
}

/// Indices of the frames that a person is best enrolled from: those in which the face was followed, and up to three in a row between them in which it was
/// but seen, as when it turns fast; at most [`MOST_ENROLLED`], spread evenly. Without any, all are as good.
pub fn worth_enrolling(tracks: &[Track]) -> Vec<usize> {
    let sure = |track: &Track| track.confidence >= UNSURE;
    let mut picks = Vec::new();
    let mut first = 0;
    for run in tracks.chunk_by(|a, b| sure(a) == sure(b) && a.shot == b.shot) {
        let end = first + run.len();
        let followed = |beside: Option<&Track>| beside.is_some_and(|track| sure(track) && track.shot == run[0].shot);
        let around = followed(first.checked_sub(1).map(|before| &tracks[before])) && followed(tracks.get(end));
        let glimpsed = run.len() <= MOMENT && run.iter().all(|track| track.confidence > 0.0);
        if sure(&run[0]) || around && glimpsed {
            picks.extend(first..end);
        }
        first = end;
    }
    if picks.is_empty() {
        picks = (0..tracks.len()).collect();
    }
    spread(picks.len(), MOST_ENROLLED).map(|k| picks[k]).collect()
}

/// At most so many indices below `count`, spread evenly.
fn spread(count: usize, most: usize) -> impl Iterator<Item = usize> {
    let kept = count.min(most);
    (0..kept).map(move |k| k * count / kept)
}

/// Fits a person to some footage: identity latent, tuned weights, sensitivities, rest state. Of the frames, those are used that are
/// [`worth_enrolling`].
pub fn enroll(pack: &Pack, frames: &[AlignedFrame], options: &EncodeOptions, progress: &dyn Progress) -> Result<Enrolled> {
    if options.preset == Preset::Live {
        return Err(Error::Misuse("the preset live fits nothing: it needs a person who is enrolled already".into()));
    }
    let bytes = options.bytes()?;
    let bench = Bench::new(pack, options)?;
    let plan = options.plan(tune::finer(bench.sight(pack), bench.device));
    let picks = worth_enrolling(&frames.iter().map(AlignedFrame::track).collect::<Vec<_>>());
    let crops = bench.crops(pack, picks.iter().map(|i| &frames[*i]))?;
    let judge = bench.judge(pack)?;
    let directions = pack.config().directions && plan.tuning != Tuning::None;
    let original = match directions {
        true => pack.generator(bench.device)?.with_own(options.maps)?,
        false => pack.generator(bench.device)?,
    };
    let model = bench.model(pack, original.duplicate(bench.device)?)?;
    let mean = from_vec(&pack.config().latent_mean, &[model.generator.config().style_dim], bench.device)?;
    let (table, predicted) = invert::predict(&crops, &judge, progress)?;
    let chosen = identity::select(&crops, &table, &mean, &model, &judge, progress)?;
    let psi = if predicted { TRUNCATION } else { 1.0 };
    let codes = invert::truncate(&chosen.codes, &mean, psi)?;
    let latent = invert::in_every_row(&codes, model.generator.config().rows())?;
    let table = match predicted {
        true => table,
        false => {
            let mut rng = Rng::new(options.seed ^ DRAWN);
            let anchors = start::drawn(&pack.config().ranges, bench.device, &mut rng)?;
            start::guess(&model, &judge, &crops, &latent, &anchors, &mut rng, progress)?
        }
    };
    let start = Fitted { latent, table };
    let mut weights = match plan.tuning {
        Tuning::None => None,
        _ => Some(Differences::new(&model.generator, &original, model.tuning_rate, model.sight)?),
    };
    let maps = directions && options.maps;
    let mut identity = blank(pack, (options, maps), &plan, crops.len(), &start.latent)?;
    // What latent, anchors and the like leave of the bytes.
    let room = |identity: &Identity| Ok::<_, Error>(bytes.saturating_sub(identity.to_bytes()?.len()));
    let expected = room(&identity)?;
    let mut keep = options.unfinished.as_deref().map(|path| {
        let frames = picks.iter().map(|i| &frames[*i]);
        Unfinished::new(path, &pack.hash(), frames, &plan, options)
    });
    let pressed = weights.as_mut().map(|w| (w, expected));
    let fitted = tune::tune((&model, &judge, &crops), start, &plan, (pressed, keep.as_mut()), progress)?;
    let anchors = start::anchors(&fitted.table, ANCHORS)?;
    let index = Tensor::f_from_slice(&anchors)?.f_to_device(bench.device)?;
    identity.latent = latent_plain(&fitted.latent)?;
    identity.anchors = from_table(&fitted.table.f_index_select(0, &index)?, std::iter::repeat(0.0))?;
    let calm = identity::calm(&crops, &fitted.table, &judge, progress)? as i64;
    identity.rest = from_table(&fitted.table.f_slice(0, calm, calm + 1, 1)?, std::iter::once(0.0))?[0];
    if let Some(weights) = &mut weights {
        identity.tuned = weights.finish(room(&identity)?)?;
    }
    // With the weights as they are sent.
    let centre = fitted.table.f_median_dim(0, false)?.0;
    identity.sensitivity = channels::sensitivity(&model, &judge, &fitted.latent, &centre)?;
    let identity = Identity::from_bytes(&identity.to_bytes()?)?;
    let mut params = vec![None; frames.len()];
    for (i, found) in picks.iter().zip(from_table(&fitted.table, picks.iter().map(|i| frames[*i].roll))?) {
        params[*i] = Some(found);
    }
    Ok(Enrolled { identity, params, identity_frame: picks[chosen.frame] })
}

/// What is known of an identity before anything is fitted; what is not has the size that it will have.
fn blank(pack: &Pack, (options, maps): (&EncodeOptions, bool), plan: &Plan, frames: usize, latent: &Tensor) -> Result<Identity> {
    Ok(Identity {
        pack: pack.hash(),
        name: options.name.clone(),
        resolution: pack.config().generator.resolution as u32,
        latent: latent_plain(latent)?,
        tuned: Vec::new(),
        sensitivity: [0.0; EXPRESSIONS],
        rest: FrameParams::default(),
        anchors: vec![FrameParams::default(); ANCHORS.min(frames)],
        thumbnail: None,
        metadata: settings((options, maps), plan, frames),
    })
}

/// Pictures that are rendered with gradients at once: what 8 GB hold.
fn batch(side: i64) -> usize {
    match side {
        ..=256 => 8,
        257..=512 => 4,
        _ => 2,
    }
}

/// The same, at most `few` on a processor.
fn batch_on(device: Device, side: i64, few: usize) -> usize {
    match device {
        Device::Cpu => batch(side).min(few),
        _ => batch(side),
    }
}

/// Settings for people to read.
fn settings((options, maps): (&EncodeOptions, bool), plan: &Plan, frames: usize) -> BTreeMap<String, String> {
    let entries = [
        ("tuning", format!("{:?}", plan.tuning).to_lowercase()),
        ("preset", format!("{:?}", options.preset).to_lowercase()),
        ("tune_steps", plan.tune_steps.to_string()),
        ("frames", frames.to_string()),
        ("target", "camera".into()),
        ("maps", if maps { "yes" } else { "no" }.into()),
        ("weighed", if options.head_only { "head" } else { "whole crop" }.into()),
    ];
    entries.into_iter().map(|(k, v)| (k.to_string(), v)).collect()
}
