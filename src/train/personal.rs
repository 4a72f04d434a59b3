//! Goes on with a pack's training on footage of one or many people.
//!
//! Input: a pack that [`super::train_pack`] made and, per clip, the aligned crops of one person. Output: a pack of the same shape that knows
//! these people. Half of every batch stays parametric heads, so that the 35 numbers keep their meaning; the other half is footage,
//! whose numbers nobody knows: the pack's predictor guesses them and the training corrects them along with the weights. The encoder
//! reads a person from one frame and the generator draws another frame of the same clip, as it does with pairs of heads. Then
//! the predictor learns the corrected numbers.

use super::analysis::{self, Course};
use super::augment::{blemish, Tint};
use super::critic::Critic;
use super::data::{Batch, HeadSet};
use super::generator::{self, Example, Model};
use super::heads::Rng;
use super::pack::{check_options, claim, mean_latent, write, Run, TrainOptions};
use super::state::{restore, schedule, Pace, StageState};
use super::{channels, init};
use crate::encode::rows::RowAdam;
use crate::encode::tune::{calm, column_rates, ALPHA_RATE, ANGLE_RATE};
use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::limits::MAX_FRAMES_TRAINED;
use crate::net::facenet::FaceNet;
use crate::net::ops::{channels_last, to_vec, Calc};
use crate::net::{Analysis, PoseFlow, Weights};
use crate::pack::{Pack, PackConfig};
use crate::progress::{check, Progress};
use sha2::{Digest, Sha256};
use tch::{no_grad, Kind, Tensor};

/// Parts of the time limit.
const GENERATOR_TIME: f64 = 0.8;
const PREDICTOR_TIME: f64 = 0.2;
/// Rate at the start: a quarter of that of a new pack, since this one only moves.
const RATE: f64 = 1e-3;
const PREDICTOR_RATE: f64 = 5e-4;
/// Strength of the colour casts, as in the training on heads.
const TINT: f64 = 0.5;
/// Parser and predictor look at so many crops at a time.
const LOOK: usize = 32;

/// The footage: all clips' crops in one set, with the places where each clip begins and ends.
struct Footage {
    set: HeadSet,
    clips: Vec<std::ops::Range<i64>>,
}

/// Trains a pack on `clips` (per clip the crops of one person, of the pack's resolution) and writes it to `options.out`. `options.init` names
/// the pack to start from; `options.images` heads are rendered beside; a run that was stopped goes on from `options.state`.
///
/// # Errors
/// `NoContent` without footage, `Misuse` for crops of another size, `Unsupported` for packs that the trainer did not make; cancelled;
/// input/output; device.
pub fn train_personal(options: &TrainOptions, clips: &[Vec<Frame>], progress: &dyn Progress) -> Result<()> {
    check_options(options)?;
    let path = options.init.as_ref().ok_or_else(|| Error::Misuse("personal training needs a pack to start from".into()))?;
    let pack = Pack::load(path)?;
    let device = options.device;
    let (PoseFlow::Rows(flow), Analysis::Built(net)) = (pack.flow(device)?, pack.analysis(device)?) else {
        return Err(Error::Unsupported(format!("pack {}: training goes on only from packs that it made", pack.config().name)));
    };
    let generator = pack.generator(device)?;
    if generator.config().resolution != options.size {
        let side = generator.config().resolution;
        return Err(Error::Misuse(format!("training at {0} x {0} from a pack of {side} x {side}", options.size)));
    }
    std::fs::create_dir_all(&options.state).map_err(|e| Error::io("create", &options.state, e))?;
    let count: usize = clips.iter().map(Vec::len).sum();
    claim(options, &format!(" clips {} frames {} pack {}", clips.len(), footage_key(clips), pack.short_hash()))?;
    tch::manual_seed(options.seed as i64);
    let run = Run::new(options, progress);
    let footage = Footage::new(clips, &net, &run)?;
    let heads = HeadSet::render(options.images, options.size, options.seed << 32, Some(&options.state), progress)?;
    let mut table = pack.config().channels.clone();
    init::silence(generator.config(), &table, generator.weights())?;
    let model = Model { generator: &generator, flow: &flow, net: &net, channels: &table.clone() };
    let numbers = fit(&model, &heads, &footage, &run)?;
    let footage = footage.set.renumbered(&numbers)?;
    let predictor = Course {
        name: "predictor",
        // What other networks read from the trunk stays as it is.
        moves: match net.config().top_down.is_empty() {
            true => |name| ["hidden.", "pose.", "expression."].iter().any(|part| name.starts_with(part)),
            false => |name| ["numbers.", "pose.", "expression."].iter().any(|part| name.starts_with(part)),
        },
        rate: PREDICTOR_RATE,
        part: PREDICTOR_TIME,
        footage: Some(&footage),
        ..analysis::FROM_NOTHING
    };
    analysis::train(&net, &heads, &predictor, &run)?;
    let mean = mean_latent(&model, &heads, &run)?;
    channels::measure(&mut table, &model, &heads, &run)?;
    let config = PackConfig {
        name: format!("{}, personal", pack.config().name),
        channels: table,
        latent_mean: to_vec(&mean)?,
        provenance: format!("{}; then trained on {count} frames of footage in {} clips", pack.config().provenance, clips.len()),
        licence: "private: shows real people, who must agree to every use".into(),
        command: options.command.clone(),
        ..pack.config().clone()
    };
    write(options, &config, &model)
}

/// Hexadecimal digits that other footage does not have.
fn footage_key(clips: &[Vec<Frame>]) -> String {
    let mut hash = Sha256::new();
    for clip in clips {
        hash.update((clip.len() as u64).to_le_bytes());
        clip.iter().for_each(|frame| hash.update(&frame.data));
    }
    hash.finalize()[..8].iter().map(|b| format!("{b:02x}")).collect()
}

impl Footage {
    /// Lets the parser and the predictor look at every crop.
    fn new(clips: &[Vec<Frame>], net: &FaceNet, run: &Run) -> Result<Self> {
        let side = run.options.size;
        let count: usize = clips.iter().map(Vec::len).sum();
        if count == 0 || clips.iter().any(|clip| clip.len() < 2) {
            return Err(Error::NoContent("personal training needs clips of at least two frames each".into()));
        }
        if count > MAX_FRAMES_TRAINED {
            return Err(Error::Limit(format!("{count} frames of footage: at most {MAX_FRAMES_TRAINED}")));
        }
        let mut ranges = Vec::new();
        let mut next = 0;
        for clip in clips {
            ranges.push(next..next + clip.len() as i64);
            next += clip.len() as i64;
        }
        let frames: Vec<&Frame> = clips.iter().flatten().collect();
        let (mut bytes, mut labels, mut table) = (Vec::new(), Vec::new(), Vec::new());
        run.progress.begin("look at the footage", count as u64);
        for (n, frames) in frames.chunks(LOOK).enumerate() {
            check(run.progress)?;
            for frame in frames {
                if (i64::from(frame.width), i64::from(frame.height)) != (side, side) {
                    let (w, h) = (frame.width, frame.height);
                    return Err(Error::Misuse(format!("a crop of {w} x {h}, the pack needs {side} x {side}")));
                }
                bytes.push(Tensor::f_from_slice(&frame.data)?.f_view([side, side, 3])?);
            }
            let (regions, rows) = no_grad(|| look(net, frames, side, run))?;
            labels.push(regions);
            table.push(rows);
            run.progress.advance((n * LOOK + frames.len()) as u64, "");
        }
        run.progress.end();
        let [labels, table] = [labels, table].map(|parts| Tensor::f_cat(&parts, 0));
        Ok(Footage { set: HeadSet::of_footage(side, Tensor::f_stack(&bytes, 0)?, labels?, &table?)?, clips: ranges })
    }

    /// As many pairs as a step has heads: frames of footage to read the person from, and frames to draw.
    fn draw(&self, step: u64, run: &Run) -> [Vec<i64>; 2] {
        let mut rng = Rng::new(run.options.seed ^ 0xF007 ^ step.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut pairs: [Vec<i64>; 2] = Default::default();
        for _ in 0..generator::batch(run.options.size, run) {
            let target = (rng.bits() % self.set.len() as u64) as i64;
            let clip = self.clips.iter().find(|clip| clip.contains(&target)).cloned().unwrap_or(0..self.set.len());
            // A frame must not come twice in a step: its numbers would be moved once only.
            if !pairs[1].contains(&target) {
                pairs[0].push(clip.start + (rng.bits() % (clip.end - clip.start) as u64) as i64);
                pairs[1].push(target);
            }
        }
        pairs
    }

    /// The pictures of a step; `numbers` `[n, 34]` are those of the frames to draw.
    fn example(&self, [sources, targets]: &[Vec<i64>; 2], numbers: &Tensor, model: &Model, run: &Run) -> Result<Example> {
        let mut targets = self.set.pick(targets, run.options.size, run.device)?;
        let sources = self.set.pick(sources, model.net.config().input.min(self.set.side), run.device)?.images;
        let tint = Tint::draw(&sources, TINT)?;
        targets.images = tint.apply(&targets.images)?;
        targets.renumber(numbers)?;
        Ok(Example { sources: blemish(&tint.apply(&sources)?)?, targets, heads: 0, turn: 0 })
    }
}

/// Region labels `[n, side/2, side/2]` (bytes) and angles with expression `[n, 34]` of crops.
fn look(net: &FaceNet, frames: &[&Frame], side: i64, run: &Run) -> Result<(Tensor, Tensor)> {
    let images = channels_last(&crate::net::ops::to_tensor(frames, run.device)?)?;
    let features = net.features(&images, run.kind)?;
    let (angles, expression) = net.predict(&features)?;
    let logits = net.parse(&features)?.f_upsample_bilinear2d([side / 2; 2], false, None, None)?;
    let labels = logits.f_argmax(1, false)?.f_to_kind(Kind::Uint8)?.f_to_device(tch::Device::Cpu)?;
    Ok((labels, Tensor::f_cat(&[angles, expression], 1)?.f_to_device(tch::Device::Cpu)?))
}

/// Heads first, then footage.
fn join(heads: Example, footage: Example) -> Result<Example> {
    let both = |a: &Tensor, b: &Tensor| -> Result<Tensor> { Ok(Tensor::f_cat(&[a, b], 0)?) };
    let (a, b) = (&heads.targets, &footage.targets);
    Ok(Example {
        sources: both(&heads.sources, &footage.sources)?,
        targets: Batch {
            images: both(&a.images, &b.images)?,
            labels: both(&a.labels, &b.labels)?,
            condition: both(&a.condition, &b.condition)?,
            angles: both(&a.angles, &b.angles)?,
            expression: both(&a.expression, &b.expression)?,
        },
        heads: heads.heads,
        turn: heads.turn,
    })
}

/// Trains generator, pose flow and encoder on both; returns the footage's numbers `[frames, 34]`.
fn fit(model: &Model, heads: &HeadSet, footage: &Footage, run: &Run) -> Result<Tensor> {
    let state = StageState::new(&run.options.state, "personal");
    let steps = run.options.generator_steps;
    let mut adam = generator::optimiser(model, None)?;
    let start = footage.set.numbers()?.f_to_device(run.device)?;
    let mut rows = RowAdam::new(&start, &column_rates(ALPHA_RATE, ANGLE_RATE, run.device)?)?;
    let (mut step, mut before) = (0, Default::default());
    if let Some(saved) = state.load()? {
        for (part, weights) in
            [("generator.", model.generator.weights()), ("flow.", model.flow.weights()), ("net.", model.net.weights())]
        {
            restore(weights, &saved.weights.under(part)?)?;
        }
        rows.restore(&saved.weights.under("rows.")?)?;
        adam.restore(&saved.optimiser)?;
        (step, before) = (saved.step, saved.spent);
    }
    let mut critic = Critic::new(run)?;
    let pace = Pace::new(steps, run.limit(GENERATOR_TIME), before);
    let everything = |rows: &RowAdam| -> Result<Weights> {
        let mut all = model.weights()?;
        for (name, tensor) in rows.state() {
            all.insert(format!("rows.{name}"), tensor);
        }
        Ok(all)
    };
    run.progress.begin("train on the footage", steps);
    while step < steps && pace.share(step) < 1.0 {
        if run.progress.cancelled() {
            state.save(step, pace.spent(), &everything(&rows)?, &adam)?;
            critic.save()?;
            return Err(Error::Cancelled);
        }
        let rate = schedule(step, pace.share(step));
        let example = generator::example(model.net, heads, run.options.size, step, run)?;
        let picks = footage.draw(step, run);
        let batch = rows.take(&picks[1])?;
        let example = join(example, footage.example(&picks, &batch.leaf, model, run)?)?;
        let small = Some(calm(&batch.leaf)?);
        let (parts, told) = generator::descend(model, &mut adam, Some(&mut critic), &example, small, RATE * rate, run)?;
        rows.apply(&batch, rate, None)?;
        step += 1;
        if step % 20 == 0 {
            let [pixels, perceptual, texture] = [parts[0].value()?, parts[1].value()?, parts[2].value()?];
            run.progress.advance(step, &format!("pixels {pixels:.4} perceptual {perceptual:.4}"));
            state.log("pixels,perceptual,texture,critic", step, &[pixels, perceptual, texture, told])?;
        }
        if step % 100 == 0 {
            state.save(step, pace.spent(), &everything(&rows)?, &adam)?;
            critic.save()?;
        }
    }
    // A stage that ended by its time is over for good.
    state.save(steps, pace.spent(), &everything(&rows)?, &adam)?;
    run.progress.end();
    preview(model, footage, &rows.values()?, run)?;
    for weights in [model.generator.weights(), model.flow.weights(), model.net.weights()] {
        let _ = weights.require_grad(|_| false)?;
    }
    Ok(rows.values()?.f_to_device(tch::Device::Cpu)?)
}

/// `preview.png` in the state folder: frames of the footage over what the encoder and the generator make of the clip's first frame.
fn preview(model: &Model, footage: &Footage, numbers: &Tensor, run: &Run) -> Result<()> {
    let n = footage.set.len();
    let shown: Vec<i64> = (0..n.min(8)).map(|i| i * n / n.min(8)).collect();
    let first = |i: &i64| footage.clips.iter().find(|clip| clip.contains(i)).map_or(0, |clip| clip.start);
    let sources: Vec<i64> = shown.iter().map(first).collect();
    let side = run.options.size;
    let index = Tensor::f_from_slice(&shown)?.f_to_device(run.device)?;
    let mut targets = footage.set.pick(&shown, side, run.device)?;
    let numbers = numbers.f_index_select(0, &index)?;
    targets.angles = numbers.f_slice(1, 0, 2, 1)?;
    targets.expression = numbers.f_slice(1, 2, numbers.size()[1], 1)?;
    let fake = no_grad(|| -> Result<Tensor> {
        let w = model.w(&footage.set.pick(&sources, side, run.device)?.images, run.kind)?;
        model.render(&model.generator.broadcast(&w, None)?, &targets, side, run.kind)
    })?;
    let rows = [crate::net::ops::to_frames(&targets.images)?, crate::net::ops::to_frames(&fake)?];
    let rows: Vec<Vec<&Frame>> = rows.iter().map(|row| row.iter().collect()).collect();
    crate::media::write_png(run.options.state.join("preview.png"), &crate::media::sheet(&rows, 2)?, true)
}
