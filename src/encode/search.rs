//! The search: frames of an identity whose weights stand still to their numbers, a segment at a time, so that no clip is too long.
//!
//! Input: aligned crops in order. Output: one [`FrameParams`] per frame. Each segment goes through `start`, `sequence` (with `newton`) and `expression`, and begins
//! where the last frame of the one before ended: cut elsewhere, or begun again there, a clip has no seam. Where the face is lost
//! there is nothing to search for: the numbers stay.

use super::crops::Crops;
use super::live::{LiveReader, LIVE_SMOOTHING, LIVE_STEPS};
use super::loss::Prior;
use super::model::{from_table, latent_tensor, to_table, Model};
use super::newton::Newton;
use super::place::{self, Misplaced};
use super::sequence;
use super::start::{self, Start};
use super::strange::{Recognition, STRANGE};
use super::{channels, expression, invert, AlignedFrame, Bench, EncodeOptions, Plan, Preset};
use crate::bitstream::Identity;
use crate::decode::tuned_generator;
use crate::error::{Error, Result};
use crate::pack::Pack;
use crate::params::FrameParams;
use crate::progress::{check, Progress};
use crate::random::Rng;
use tch::Tensor;

/// Frames that are searched together by [`search`], and that a caller of [`Searcher`] best gives at once: few enough for memory, and a
/// multiple of the groups that are drawn together.
pub const SEGMENT: usize = 64;
/// Confidence of the alignment below which the face is not where the crop is.
pub(super) const UNSURE: f32 = 0.35;

/// Finds the numbers of frames, segment after segment.
#[derive(Debug)]
pub struct Searcher<'a> {
    way: Way<'a>,
    progress: Stage,
}

#[derive(Debug)]
enum Way<'a> {
    Live(Box<LiveReader>),
    Full(Box<Full<'a>>),
}

/// How far the search has come, for the reader.
#[derive(Debug)]
struct Stage {
    total: u64,
    done: u64,
    shown: bool,
}

/// The search of all presets but `live`.
#[derive(Debug)]
struct Full<'a> {
    pack: &'a Pack,
    identity: &'a Identity,
    bench: Bench,
    plan: Plan,
    model: Model,
    latent: Tensor,
    newton: Newton,
    start: Option<Start>,
    last: Option<FrameParams>,
    /// A frame was held because it showed nothing like the person.
    strange: bool,
}

impl<'a> Searcher<'a> {
    /// Loads the networks. `total`: frames that will come, for the progress; 0 if not known.
    ///
    /// # Errors
    /// Misuse for an identity of another pack; unsupported for a pack without analysis networks; cancelled; device.
    pub fn new(
        pack: &'a Pack,
        identity: &'a Identity,
        options: &EncodeOptions,
        total: u64,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let way = match options.preset {
            Preset::Live => {
                Way::Live(Box::new(LiveReader::learn(pack, identity, options, (LIVE_SMOOTHING, LIVE_STEPS), progress)?))
            }
            _ => Way::Full(Box::new(Full::new(pack, identity, options)?)),
        };
        Ok(Searcher { way, progress: Stage { total, done: 0, shown: false } })
    }

    /// Goes on after `done` frames that were searched before, the last of which had the numbers `last`. Not for the preset `live`, which
    /// carries more than numbers from frame to frame.
    ///
    /// # Errors
    /// Misuse for the preset `live`.
    pub fn go_on_after(&mut self, done: u64, last: FrameParams) -> Result<()> {
        match &mut self.way {
            Way::Live(_) => return Err(Error::Misuse("the preset live cannot be begun in the middle".into())),
            Way::Full(full) => full.last = Some(last),
        }
        self.progress.done = done;
        Ok(())
    }

    /// By how much some crops of the identity's person sit beside the place where it draws the face, and the crops' numbers. `start`: what an
    /// earlier look at nearly the same crops gave.
    ///
    /// # Errors
    /// Misuse for crops of another size, another number of starting points or the preset `live`, which looks at nothing twice; no content without crops;
    /// cancelled; device.
    pub fn misplaced(
        &mut self,
        frames: &[AlignedFrame],
        start: &[Option<FrameParams>],
        progress: &dyn Progress,
    ) -> Result<(Misplaced, Vec<FrameParams>)> {
        check_start(start, frames)?;
        match &mut self.way {
            Way::Live(_) => Err(Error::Misuse("the preset live looks at nothing twice".into())),
            Way::Full(full) => full.misplaced(frames, start, progress),
        }
    }

    /// A reader of the same person that goes through a clip frame by frame, as on a call but without smoothing, and knows what was learned here.
    ///
    /// # Errors
    /// Misuse for the preset `live`, which is one itself; cancelled; device.
    pub fn reader(&mut self, progress: &dyn Progress) -> Result<LiveReader> {
        match &mut self.way {
            Way::Live(_) => Err(Error::Misuse("the preset live is a reader itself".into())),
            Way::Full(full) => full.reader(progress),
        }
    }

    /// The numbers of the next frames. `start`: where [`enroll`](super::enroll) left these very frames, as far as it has seen them; may be empty.
    ///
    /// # Errors
    /// Misuse for crops of another size or another number of starting points; cancelled; device.
    pub fn search(
        &mut self,
        frames: &[AlignedFrame],
        start: &[Option<FrameParams>],
        progress: &dyn Progress,
    ) -> Result<Vec<FrameParams>> {
        check_start(start, frames)?;
        let found = match &mut self.way {
            Way::Live(reader) => self.progress.read(reader, frames, progress)?,
            Way::Full(full) => full.search(frames, start, &mut self.progress, progress)?,
        };
        self.progress.done += frames.len() as u64;
        progress.advance(self.progress.done, "");
        if self.progress.done == self.progress.total {
            progress.end();
            self.progress.shown = false;
        }
        Ok(found)
    }
}

/// All numbers of some frames in one go: [`Searcher`] in segments of [`SEGMENT`]. `start` as there.
///
/// # Errors
/// As [`Searcher::new`] and [`Searcher::search`]; no content without frames.
pub fn search(
    pack: &Pack,
    identity: &Identity,
    frames: &[AlignedFrame],
    start: &[Option<FrameParams>],
    options: &EncodeOptions,
    progress: &dyn Progress,
) -> Result<Vec<FrameParams>> {
    if frames.is_empty() {
        return Err(Error::NoContent("no frames to encode".into()));
    }
    check_start(start, frames)?;
    let mut searcher = Searcher::new(pack, identity, options, frames.len() as u64, progress)?;
    let mut out = Vec::with_capacity(frames.len());
    for (i, segment) in frames.chunks(SEGMENT).enumerate() {
        let start = start.chunks(SEGMENT).nth(i).unwrap_or_default();
        out.extend(searcher.search(segment, start, progress)?);
    }
    Ok(out)
}

fn check_start(start: &[Option<FrameParams>], frames: &[AlignedFrame]) -> Result<()> {
    match start.is_empty() || start.len() == frames.len() {
        true => Ok(()),
        false => Err(Error::Misuse(format!("{} starting points for {} frames", start.len(), frames.len()))),
    }
}

impl Stage {
    /// Shows the stage if another was shown in between.
    fn show(&mut self, progress: &dyn Progress) {
        if !self.shown {
            progress.begin("search the numbers", self.total);
            progress.advance(self.done, "");
            self.shown = true;
        }
    }

    fn read(&mut self, reader: &mut LiveReader, frames: &[AlignedFrame], progress: &dyn Progress) -> Result<Vec<FrameParams>> {
        self.show(progress);
        let mut out = Vec::with_capacity(frames.len());
        for frame in frames {
            check(progress)?;
            out.push(reader.read(frame)?);
            progress.advance(self.done + out.len() as u64, "");
        }
        Ok(out)
    }
}

/// The progress of one of the two searches of a segment: half of its frames.
struct Half<'a> {
    inner: &'a dyn Progress,
    before: u64,
}

impl Progress for Half<'_> {
    fn advance(&self, done: u64, note: &str) {
        self.inner.advance(self.before + done / 2, note);
    }

    fn cancelled(&self) -> bool {
        self.inner.cancelled()
    }
}

impl<'a> Full<'a> {
    fn new(pack: &'a Pack, identity: &'a Identity, options: &EncodeOptions) -> Result<Self> {
        let bench = Bench::new(pack, options)?;
        let model = bench.model(pack, tuned_generator(pack, identity, bench.device)?)?;
        let latent = latent_tensor(&identity.latent, bench.device)?;
        let centre = match identity.anchors.len() {
            0 | 1 => to_table(std::slice::from_ref(&identity.rest), bench.device)?,
            _ => to_table(&identity.anchors, bench.device)?.f_median_dim(0, true)?.0,
        };
        let newton = Newton::new(bench.renderer(pack, identity)?, model.sight, &centre)?;
        Ok(Full { pack, identity, plan: options.plan(1), model, latent, newton, bench, start: None, last: None, strange: false })
    }

    fn crops<'f>(&self, frames: impl IntoIterator<Item = &'f AlignedFrame>) -> Result<Crops> {
        self.bench.crops(self.pack, frames)
    }

    /// Where the search of each crop begins, `[frames, 34]`: where `start` says, or what the person's renders or the pack's predictor tell.
    /// `shown` becomes false where that takes a stage of its own.
    fn begin(
        &mut self,
        crops: &Crops,
        start: &[Option<FrameParams>],
        shown: &mut bool,
        progress: &dyn Progress,
    ) -> Result<Tensor> {
        let known: Option<Vec<FrameParams>> = start.iter().copied().collect();
        match known {
            Some(known) if !known.is_empty() => to_table(&known, self.bench.device),
            _ => {
                let mut rows = from_table(&self.guess(crops, shown, progress)?, std::iter::repeat(0.0))?;
                rows.iter_mut().zip(start).for_each(|(row, known)| *row = known.unwrap_or(*row));
                to_table(&rows, self.bench.device)
            }
        }
    }

    fn guess(&mut self, crops: &Crops, shown: &mut bool, progress: &dyn Progress) -> Result<Tensor> {
        if self.identity.anchors.len() <= 1 && self.bench.net.predicts() {
            *shown = false;
            return Ok(invert::predict(crops, &self.bench.judge(self.pack)?, progress)?.0);
        }
        *shown &= self.start.is_some();
        self.learned(progress)?.read_all(&self.bench.judge(self.pack)?, crops)
    }

    /// What the person's renders tell of the numbers, learned once.
    fn learned(&mut self, progress: &dyn Progress) -> Result<Start> {
        if let Some(start) = &self.start {
            return Ok(start.again());
        }
        let mut rng = Rng::new(self.plan.seed);
        let anchors = start::known(self.identity, self.pack, self.bench.device, &mut rng)?;
        let draw = &mut |rows: &Tensor| self.newton.draw(rows);
        let start = Start::learn(draw, self.model.sight, (&self.bench.net, self.bench.kind), &anchors, &mut rng, progress)?;
        Ok(self.start.insert(start).again())
    }

    fn reader(&mut self, progress: &dyn Progress) -> Result<LiveReader> {
        let start = self.learned(progress)?;
        let renderer = self.bench.renderer(self.pack, self.identity)?;
        LiveReader::assemble(self.pack, self.identity, (self.bench.again(self.pack)?, renderer), start, (0.0, LIVE_STEPS))
    }

    fn misplaced(
        &mut self,
        frames: &[AlignedFrame],
        start: &[Option<FrameParams>],
        progress: &dyn Progress,
    ) -> Result<(Misplaced, Vec<FrameParams>)> {
        let crops = self.crops(frames)?;
        let table = self.begin(&crops, start, &mut true, progress)?;
        // The background moves with the crop, and the identity does not know how.
        let judge = self.bench.judge(self.pack)?.only_head(true);
        self.newton.restart();
        let near = !start.is_empty() && start.iter().all(Option::is_some);
        let (found, table) = place::misplaced(&mut self.newton, &judge, &crops, (&table, near), progress)?;
        self.newton.restart();
        Ok((found, from_table(&table, frames.iter().map(|f| f.roll))?))
    }

    fn search(
        &mut self,
        frames: &[AlignedFrame],
        start: &[Option<FrameParams>],
        stage: &mut Stage,
        progress: &dyn Progress,
    ) -> Result<Vec<FrameParams>> {
        // Where the face was lost it may be there all the same, if somebody can tell: without tuned weights nobody is drawn as they are.
        let sure = |i: &usize| frames[*i].confidence >= UNSURE;
        let tells = self.identity.is_tuned();
        let looks: Vec<usize> = (0..frames.len()).filter(|i| tells || sure(i)).collect();
        let mut found = vec![None; frames.len()];
        if !looks.is_empty() {
            let shown: Vec<&AlignedFrame> = looks.iter().map(|i| &frames[*i]).collect();
            let start: Vec<_> = if start.is_empty() { Vec::new() } else { looks.iter().map(|i| start[*i]).collect() };
            for (i, params) in looks.iter().zip(self.segment(&shown, &start, stage, progress)?) {
                if params.is_none() && sure(i) && !self.strange {
                    let frame = stage.done as usize + i;
                    log::warn!("frame {frame} shows nothing like this person: the numbers are held where that is so");
                    self.strange = true;
                }
                found[*i] = params;
            }
        }
        let mut out = Vec::with_capacity(frames.len());
        for (params, frame) in found.into_iter().zip(frames) {
            let params = FrameParams { roll: frame.roll, ..params.or(self.last).unwrap_or(self.identity.rest) };
            self.last = Some(params);
            out.push(params);
        }
        Ok(out)
    }

    /// The numbers of frames; none for those that show nothing like the person.
    fn segment(
        &mut self,
        frames: &[&AlignedFrame],
        start: &[Option<FrameParams>],
        stage: &mut Stage,
        progress: &dyn Progress,
    ) -> Result<Vec<Option<FrameParams>>> {
        let crops = self.crops(frames.iter().copied())?;
        let table = self.begin(&crops, start, &mut stage.shown, progress)?;
        stage.show(progress);
        if let Some(last) = self.last {
            self.newton.stand_at(&to_table(&[last], self.bench.device)?)?;
        }
        let judge = self.bench.judge(self.pack)?;
        let half = Half { inner: progress, before: stage.done };
        let face = Prior::face(self.model.sight / 2, self.bench.device)?;
        let unsure: Vec<bool> = frames.iter().map(|frame| frame.confidence < UNSURE).collect();
        let recognition = Recognition { limit: STRANGE, face: &face, unsure: &unsure };
        let recognition = self.identity.is_tuned().then_some(recognition);
        let (table, like) = sequence::search(&mut self.newton, &judge, (&crops, recognition), &table, &self.plan.newton, &half)?;
        let like: Vec<i64> = (0..frames.len() as i64).filter(|i| like[*i as usize]).collect();
        let mut out = vec![None; frames.len()];
        if like.is_empty() {
            return Ok(out);
        }
        let table = table.f_index_select(0, &Tensor::f_from_slice(&like)?.f_to_device(self.bench.device)?)?;
        let crops = if like.len() == frames.len() { crops } else { self.crops(like.iter().map(|i| frames[*i as usize]))? };
        let half = Half { before: stage.done + frames.len() as u64 / 2, ..half };
        let eta = channels::rates(&self.identity.sensitivity);
        let effort = (self.plan.expression_steps, &eta);
        let table = expression::search(&self.model, &judge, &crops, &self.latent, &table, effort, &half)?;
        let rolls = like.iter().map(|i| frames[*i as usize].roll);
        for (i, params) in like.iter().zip(from_table(&table, rolls)?) {
            out[*i as usize] = Some(params);
        }
        Ok(out)
    }
}
