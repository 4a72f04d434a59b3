//! Live reader: one aligned crop in, its numbers out, at once.
//!
//! Input: aligned crops of an enrolled person, in order. Output: yaw, pitch, roll in degrees, and
//! alpha. One or a few steps of `newton` from where the last frame ended, more in the first; one
//! pass of the analysis network and the linear map of `start` say where to begin, at first and when the face is lost, and so does the nearest of
//! the renders that the map was learned from where it is nearer than the last frame's. No frame waits for another. Source: ours.

use super::crops::Crops;
use super::follower::{Follower, MOST_STEPS};
use super::model::from_table;
use super::newton::{self, Newton};
use super::place::Misplaced;
use super::search::UNSURE;
use super::start::{self, Start};
use super::{AlignedFrame, Bench, EncodeOptions};
use crate::bitstream::{FrameRecord, Identity};
use crate::decode::{DecodeOptions, Decoder, DeviceChoice, Precision, Renderer};
use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::net::Analysis;
use crate::pace::Longest;
use crate::pack::Pack;
use crate::params::FrameParams;
use crate::progress::{check, Progress};
use crate::random::Rng;
use std::time::{Duration, Instant};
use tch::{Device, Kind, Tensor};

/// Share of the last frame's numbers that the smoother keeps, unless said otherwise.
pub const LIVE_SMOOTHING: f32 = 0.15;
/// Most steps of the search per frame, unless said otherwise.
pub const LIVE_STEPS: u32 = 1;

/// Nobody waits longer for a frame.
const MOST_BUDGET: Duration = Duration::from_secs(3600);

/// Settings of the live encoder.
#[derive(Clone, Debug)]
pub struct LiveOptions {
    /// Share of the last frame's yaw, pitch and alpha that is kept, 0 (none) to less than 1: it calms noise and delays motion by
    /// `smoothing / (1 - smoothing)` frames. Roll and placement come smooth from the alignment.
    pub smoothing: f32,
    /// Most steps of the search per frame, 0 to 16, unless there is time for more (`budget`): each draws the face four times. A second one, which only frames that are far off make, helps lively faces. The first frame that
    /// shows the person takes up to eight more, whatever the budget, and draws the face up to 66 times more, once. 0: the numbers are read by a network alone, which costs a few milliseconds and is far less like the person.
    pub steps: u32,
    /// Time that a frame should take. What is left of it after `steps` steps is spent on more of them, up to 16, whatever they gain: on a fast machine
    /// faces come nearer, and what is found depends on how fast it is. Zero, or `steps` 0: no more.
    pub budget: Duration,
    /// Where to compute.
    pub device: DeviceChoice,
    /// Number format of the convolutions.
    pub precision: Precision,
    /// CPU threads of the process; its setting stays if not given.
    pub threads: Option<usize>,
    /// Start of all randomness.
    pub seed: u64,
}

impl Default for LiveOptions {
    fn default() -> Self {
        LiveOptions {
            smoothing: LIVE_SMOOTHING,
            steps: LIVE_STEPS,
            budget: Duration::ZERO,
            device: DeviceChoice::default(),
            precision: Precision::default(),
            threads: None,
            seed: 0,
        }
    }
}

/// What was read from one camera frame.
#[derive(Clone, Debug)]
pub struct LiveFrame {
    /// As a stream takes it.
    pub record: FrameRecord,
    /// 1: face surely followed; 0: face lost, last placement held.
    pub confidence: f32,
    /// Whether the person was seen where they are drawn: what else the crop shows then belongs to them.
    pub seen: bool,
    /// The crop that was read.
    pub crop: Frame,
}

/// Reads the numbers of aligned crops of one person.
#[derive(Debug)]
pub struct LiveReader {
    net: Analysis,
    start: Start,
    follower: Option<Follower>,
    device: Device,
    kind: Kind,
    /// Of the crops, and of the pictures that are compared.
    sides: (i64, i64),
    smoothing: f32,
    rest: FrameParams,
    last: Option<FrameParams>,
    seen: bool,
    budget: Duration,
    /// What a frame takes once its search is over, here and at the caller's.
    after: Longest,
    reserved: Duration,
}

impl LiveReader {
    /// Learns how this person looks: renders some hundred mixtures of the identity's anchors, which takes seconds.
    ///
    /// # Errors
    /// Misuse for an identity of another pack or a smoothing out of range; unsupported for a pack without analysis networks;
    /// cancelled; device.
    pub fn new(pack: &Pack, identity: &Identity, options: &LiveOptions, progress: &dyn Progress) -> Result<Self> {
        let encoding = EncodeOptions {
            device: options.device,
            precision: options.precision,
            threads: options.threads,
            seed: options.seed,
            ..EncodeOptions::default()
        };
        let reader = LiveReader::learn(pack, identity, &encoding, (options.smoothing, options.steps), progress)?;
        Ok(LiveReader { budget: options.budget, ..reader })
    }

    pub(super) fn learn(
        pack: &Pack,
        identity: &Identity,
        options: &EncodeOptions,
        (smoothing, steps): (f32, u32),
        progress: &dyn Progress,
    ) -> Result<Self> {
        if steps > MOST_STEPS {
            return Err(Error::Misuse(format!("{steps} steps per frame: 0 to {MOST_STEPS} allowed")));
        }
        if !(0.0..1.0).contains(&smoothing) {
            return Err(Error::Misuse(format!("smoothing {smoothing}: 0 to less than 1 allowed")));
        }
        let bench = Bench::new(pack, options)?;
        let mut renderer = bench.renderer(pack, identity)?;
        let mut rng = Rng::new(options.seed);
        let anchors = start::known(identity, pack, bench.device, &mut rng)?;
        let sight = bench.sight(pack);
        let draw = &mut |rows: &Tensor| newton::drawn(&mut renderer, sight, rows);
        let start = Start::learn(draw, sight, (&bench.net, bench.kind), &anchors, &mut rng, progress)?;
        LiveReader::assemble(pack, identity, (bench, renderer), start, (smoothing, steps))
    }

    /// From what was learned already.
    pub(super) fn assemble(
        pack: &Pack,
        identity: &Identity,
        (bench, renderer): (Bench, Renderer),
        start: Start,
        (smoothing, steps): (f32, u32),
    ) -> Result<Self> {
        let sight = bench.sight(pack);
        let follower = match steps {
            0 => None,
            steps => {
                let (low, high) = start.bounds()?;
                let newton = Newton::new(renderer, sight, start.centre())?.bounded(&low, &high);
                Some(Follower::new(newton, sight, (steps, identity.is_tuned()), bench.device)?)
            }
        };
        Ok(LiveReader {
            start,
            follower,
            device: bench.device,
            kind: bench.kind,
            net: bench.net,
            sides: (pack.config().generator.resolution, sight),
            smoothing,
            rest: identity.rest,
            last: None,
            seen: false,
            budget: Duration::ZERO,
            after: Longest::default(),
            reserved: Duration::ZERO,
        })
    }

    /// The numbers of the next crop, R x R.
    ///
    /// # Errors
    /// Misuse for a crop of another size; device.
    pub fn read(&mut self, crop: &AlignedFrame) -> Result<FrameParams> {
        self.read_since(crop, Instant::now())
    }

    /// Leaves so much of a frame's time, [`LiveOptions::budget`], to what the caller does afterwards.
    pub fn reserve(&mut self, time: Duration) {
        self.reserved = time;
    }

    /// The same for a crop whose frame's time began when its alignment did.
    pub(super) fn read_since(&mut self, crop: &AlignedFrame, begun: Instant) -> Result<FrameParams> {
        let params = self.read_until(crop, begun)?;
        if let Some(ended) = self.follower.as_mut().and_then(|follower| follower.ended.take()) {
            self.after.hear(ended.elapsed());
        }
        Ok(params)
    }

    fn read_until(&mut self, crop: &AlignedFrame, begun: Instant) -> Result<FrameParams> {
        let search = self.budget.min(MOST_BUDGET).saturating_sub(self.after.time().saturating_add(self.reserved));
        let end = (!search.is_zero()).then(|| begun + search);
        if let Some(follower) = &mut self.follower {
            follower.ended = None;
        }
        let crops = Crops::new(std::slice::from_ref(crop), self.sides, self.device)?;
        let image = crops.pick(&[0])?;
        let guess = || self.start.read(&self.net, self.kind, &image);
        let table = match &mut self.follower {
            // Where the face is not, or somebody else's is, there is nothing to find: the numbers stay.
            Some(follower) if crop.confidence < UNSURE => {
                follower.beside = None;
                None
            }
            Some(follower) => follower.follow(&image, guess, self.start.album(), end)?,
            None => Some(guess()?),
        };
        // A network alone takes anybody for the person.
        self.seen = table.is_some() && self.follower.as_ref().is_some_and(|follower| follower.clear);
        let Some(table) = table else {
            return Ok(FrameParams { roll: crop.roll, ..self.last.unwrap_or(self.rest) });
        };
        let read = from_table(&table, std::iter::once(crop.roll))?.remove(0);
        let params = match &self.last {
            Some(last) => smoothed(last, &read, self.smoothing),
            None => read,
        };
        self.last = Some(params);
        Ok(params)
    }

    /// Also finds by how much each crop sits beside the place where the person is drawn, at the cost of some milliseconds.
    pub fn placing(mut self) -> Self {
        if let Some(follower) = &mut self.follower {
            // An untuned face is not the person's, and nor is its place.
            follower.placing = follower.knows_the_person();
        }
        self
    }

    /// By how much the last crop sat beside its place, as far as the numbers cannot make up for it. None without [`LiveReader::placing`], without
    /// steps, for an identity without tuned weights, and where the person was not seen.
    pub fn beside(&self) -> Option<Misplaced> {
        self.follower.as_ref().and_then(|follower| follower.beside)
    }

    /// Whether the last crop showed the person where they are drawn; without steps nobody can tell, and it is never so.
    pub fn seen(&self) -> bool {
        self.seen
    }

    /// Forgets the frames so far: the next one is taken as it is.
    pub fn restart(&mut self) {
        self.last = None;
        if let Some(follower) = &mut self.follower {
            follower.restart();
        }
    }
}

/// One pole; roll is the crop's own and stays what it is.
fn smoothed(last: &FrameParams, read: &FrameParams, keep: f32) -> FrameParams {
    let (last, now) = (last.to_array(), read.to_array());
    let mixed = std::array::from_fn(|i| now[i] + keep * (last[i] - now[i]));
    FrameParams { roll: read.roll, ..FrameParams::from_array(&mixed) }
}

/// An enrolled person at rest and in the anchors' states, as their own generator draws them: where it expects the face. For
/// `AlignOptions::references`.
///
/// # Errors
/// As [`Decoder::new`]; cancelled.
pub fn draw_enrolled(pack: &Pack, identity: &Identity, options: &DecodeOptions, progress: &dyn Progress) -> Result<Vec<Frame>> {
    let mut decoder = Decoder::new(pack, identity, options)?;
    progress.begin("draw the enrolled face", 1 + identity.anchors.len() as u64);
    let mut out = Vec::new();
    for state in std::iter::once(&identity.rest).chain(&identity.anchors) {
        check(progress)?;
        out.push(decoder.render(state)?);
        progress.advance(out.len() as u64, "");
    }
    progress.end();
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::album::Album;
    use crate::pack::fixture;
    use crate::params::{Placement, EXPRESSIONS};
    use crate::progress::Silent;

    fn crop(pts: i64, frame: Frame) -> AlignedFrame {
        let placement = Placement { x: 16.0, y: 16.0, side: 32.0 };
        AlignedFrame { pts, frame, roll: 1.5, placement, key: pts == 0, shot: 0, confidence: 1.0 }
    }

    fn reader(smoothing: f32, steps: u32, progress: &dyn Progress) -> (LiveReader, Decoder) {
        let pack = fixture::tiny(1).unwrap();
        let identity = fixture::identity(&pack, 1).unwrap();
        let options =
            LiveOptions { smoothing, steps, device: DeviceChoice::Cpu, precision: Precision::Single, ..LiveOptions::default() };
        let decoding = DecodeOptions { device: DeviceChoice::Cpu, precision: Precision::Single, ..DecodeOptions::default() };
        let reader = LiveReader::new(&pack, &identity, &options, progress).unwrap();
        (reader, Decoder::new(&pack, &identity, &decoding).unwrap())
    }

    #[test]
    fn the_smoother_keeps_its_share_of_the_past_and_the_roll_of_the_present() {
        let last = FrameParams { yaw: 10.0, roll: 5.0, ..FrameParams::default() };
        let read = FrameParams { yaw: 20.0, roll: -5.0, ..FrameParams::default() };
        let mixed = smoothed(&last, &read, 0.25);
        assert_eq!((mixed.yaw, mixed.roll), (17.5, -5.0));
        assert_eq!(smoothed(&last, &read, 0.0), read);
    }

    #[test]
    fn without_steps_a_frame_is_read_the_same_whatever_came_before_unless_it_is_smoothed() {
        let (mut reader, mut decoder) = reader(0.0, 0, &Silent);
        let turned = decoder.render(&FrameParams { yaw: 15.0, ..FrameParams::default() }).unwrap();
        let rest = decoder.render(&FrameParams::default()).unwrap();
        let alone = reader.read(&crop(0, turned.clone())).unwrap();
        reader.read(&crop(1, rest)).unwrap();
        assert_eq!(reader.read(&crop(2, turned.clone())).unwrap(), alone);
        assert_eq!(alone.roll, 1.5);
        reader.smoothing = 0.5;
        reader.last = Some(FrameParams::default());
        assert_eq!(reader.read(&crop(3, turned.clone())).unwrap().yaw, 0.5 * alone.yaw);
        reader.restart();
        assert_eq!(reader.read(&crop(4, turned)).unwrap(), alone);
    }

    /// Mean absolute difference, grey levels.
    fn difference(a: &Frame, b: &Frame) -> f64 {
        a.data.iter().zip(&b.data).map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / a.data.len() as f64
    }

    #[test]
    fn a_face_that_is_suddenly_elsewhere_is_found_in_the_album_and_the_first_one_by_more_steps() {
        let (mut reader, mut decoder) = reader(0.0, 1, &Silent);
        let centre = reader.start.centre().copy();
        let states = [-1.0, 1.0].map(|k| FrameParams { yaw: 20.0 * k, alpha: [0.8 * k; EXPRESSIONS], ..FrameParams::default() });
        let [here, there] = states.map(|state| decoder.render(&state).unwrap());
        let sides = reader.sides;
        let image = |frame: &Frame| Crops::new(&[crop(0, frame.clone())], sides, Device::Cpu).unwrap().pick(&[0]).unwrap();
        let follower = reader.follower.as_mut().unwrap();
        let rows = crate::encode::model::to_table(&states, Device::Cpu).unwrap();
        let pages = [&here, &there].map(|frame| Album::page(&image(frame)).unwrap());
        // The guess tells nothing, and neither does an album of one picture, of where the face was.
        let mut off = |frames: &[&Frame], pictures: i64| {
            follower.restart();
            let album = Album::new(rows.slice(0, 0, pictures, 1), &pages[..pictures as usize]).unwrap();
            let mut follow = |frame: &Frame| follower.follow(&image(frame), || Ok(centre.copy()), &album, None).unwrap().unwrap();
            let row = frames.iter().map(|frame| follow(frame)).last().unwrap();
            let params = from_table(&row, std::iter::once(0.0)).unwrap().remove(0);
            difference(&decoder.render(&params).unwrap(), &there)
        };
        let (lost, found, first) = (off(&[&here, &there], 1), off(&[&here, &there], 2), off(&[&there], 1));
        println!("lost {lost:.2}, found {found:.2}, first {first:.2}");
        assert!(found < 0.5 * lost && first < 0.3 * lost);
    }

    #[test]
    fn steps_bring_the_picture_much_nearer_than_reading_alone_and_a_restart_forgets() {
        // A nod that comes and goes while the first channels move.
        let state = |t: usize| {
            let phase = t as f32 * 0.4;
            let mut params = FrameParams { pitch: 8.0 * phase.sin(), yaw: 3.0, ..FrameParams::default() };
            params.alpha[..4].iter_mut().enumerate().for_each(|(i, a)| *a = 0.4 * (phase + i as f32).cos());
            params
        };
        let run = |steps: u32| {
            let (mut reader, mut decoder) = reader(0.0, steps, &Silent);
            let mut off = 0.0;
            let frames: Vec<Frame> = (0..8).map(|t| decoder.render(&state(t)).unwrap()).collect();
            let mut first = Vec::new();
            for (t, frame) in frames.iter().enumerate() {
                let read = reader.read(&crop(t as i64, frame.clone())).unwrap();
                off += difference(&decoder.render(&read).unwrap(), frame) / frames.len() as f64;
                first.push(read);
            }
            reader.restart();
            let again: Vec<FrameParams> = frames.iter().map(|f| reader.read(&crop(0, f.clone())).unwrap()).collect();
            assert_eq!(again, first, "{steps} steps");
            off
        };
        let (read, found) = (run(0), run(3));
        assert!(found < 0.3 * read, "{found} grey levels after steps, {read} read alone");
    }

    #[test]
    fn time_that_is_left_is_spent_on_further_steps_and_what_the_caller_needs_is_left() {
        let state = |t: usize| {
            let phase = 1.9 * t as f32;
            let mut params = FrameParams { pitch: 9.0 * phase.sin(), yaw: 14.0 * phase.cos(), ..FrameParams::default() };
            params.alpha[..12].iter_mut().enumerate().for_each(|(i, a)| *a = 0.5 * (phase + i as f32).cos());
            params
        };
        let run = |budget: Duration, reserved: Duration| {
            let (reader, mut decoder) = reader(0.0, 1, &Silent);
            let mut reader = LiveReader { budget, ..reader };
            reader.reserve(reserved);
            let read = |t: usize| {
                let frame = decoder.render(&state(t)).unwrap();
                let read = reader.read(&crop(t as i64, frame.clone())).unwrap();
                (difference(&decoder.render(&read).unwrap(), &frame), read)
            };
            let (off, read): (Vec<f64>, Vec<FrameParams>) = (0..5).map(read).unzip();
            (off.iter().sum::<f64>(), read)
        };
        let hour = Duration::from_secs(3600);
        let (plain, all) = (run(Duration::ZERO, Duration::ZERO), run(hour, Duration::ZERO));
        assert!(all.0 < 0.5 * plain.0, "{} of {}", all.0, plain.0);
        assert_eq!(run(hour, hour).1, plain.1, "all of it is needed elsewhere");
    }

    #[test]
    fn what_others_draw_of_libtorch_meanwhile_changes_nothing() {
        struct Neighbour;
        impl Progress for Neighbour {
            fn begin(&self, _: &str, _: u64) {
                let _ = Tensor::rand([8], (Kind::Float, Device::Cpu));
            }
        }
        let (alone, mut decoder) = reader(0.0, 0, &Silent);
        let (beside, _) = reader(0.0, 0, &Neighbour);
        let frame = decoder.render(&FrameParams { yaw: 5.0, ..FrameParams::default() }).unwrap();
        let read = |mut reader: LiveReader| reader.read(&crop(0, frame.clone())).unwrap();
        assert_eq!(read(alone), read(beside));
    }

    #[test]
    fn a_face_that_is_not_there_leaves_the_numbers_as_they_are() {
        let (mut reader, mut decoder) = reader(0.0, 2, &Silent);
        let face = decoder.render(&FrameParams { yaw: 5.0, ..FrameParams::default() }).unwrap();
        let seen = reader.read(&crop(0, face)).unwrap();
        let hand = Frame::filled(32, 32, [200, 150, 130]).unwrap();
        let lost = AlignedFrame { confidence: 0.0, ..crop(1, hand.clone()) };
        assert_eq!(reader.read(&lost).unwrap(), seen);
        assert!(!reader.seen());
        assert_ne!(reader.read(&crop(2, hand)).unwrap(), seen, "a crop that is surely placed is searched, whatever it shows");
    }

    #[test]
    fn settings_and_crops_that_do_not_fit_are_refused() {
        let pack = fixture::tiny(1).unwrap();
        let identity = fixture::identity(&pack, 1).unwrap();
        for smoothing in [1.0, -0.1, f32::NAN] {
            let options = LiveOptions { smoothing, ..LiveOptions::default() };
            assert!(matches!(LiveReader::new(&pack, &identity, &options, &Silent), Err(Error::Misuse(_))), "{smoothing}");
        }
        let options = LiveOptions { steps: MOST_STEPS + 1, ..LiveOptions::default() };
        assert!(matches!(LiveReader::new(&pack, &identity, &options, &Silent), Err(Error::Misuse(_))));
        let (mut reader, _) = reader(0.0, 0, &Silent);
        let small = Frame::filled(16, 16, [0; 3]).unwrap();
        assert!(matches!(reader.read(&crop(0, small)), Err(Error::Misuse(_))));
    }

    #[test]
    fn a_reader_that_is_asked_tells_by_how_much_crops_sit_beside_their_place() {
        let pack = fixture::tiny(1).unwrap();
        let identity = fixture::identity(&pack, 1).unwrap();
        let options = LiveOptions {
            smoothing: 0.0,
            device: DeviceChoice::Cpu,
            precision: Precision::Single,
            steps: 3,
            ..LiveOptions::default()
        };
        let (_, mut decoder) = reader(0.0, 1, &Silent);
        let at = |t: i64| FrameParams { yaw: t as f32, pitch: 1.0, ..FrameParams::default() };
        // Every crop has moved to the right by half a pixel of 32.
        let moved = |frame: Frame| -> Frame {
            let row = 3 * frame.width as usize;
            let half = |line: &[u8], i: usize| line[i].midpoint(line[i.saturating_sub(3).max(i % 3)]);
            let data = frame.data.chunks(row).flat_map(|line| (0..row).map(move |i| half(line, i))).collect();
            Frame::new(frame.width, frame.height, data).unwrap()
        };
        let beside = |shift: bool, decoder: &mut Decoder| {
            let mut reader = LiveReader::new(&pack, &identity, &options, &Silent).unwrap();
            reader.follower.as_mut().unwrap().placing = true;
            let mut found = Vec::new();
            for t in 0..6 {
                let frame = decoder.render(&at(t)).unwrap();
                reader.read(&crop(t, if shift { moved(frame) } else { frame })).unwrap();
                found.push(reader.beside().unwrap().shift.0);
            }
            found[5]
        };
        let (none, right) = (beside(false, &mut decoder), beside(true, &mut decoder));
        println!("beside by {none:.4} and {right:.4}");
        assert!(none.abs() < 0.006 && (0.008..0.03).contains(&right), "{none} {right}");
        // Nobody's weights, nobody's place.
        let mut untuned = LiveReader::new(&pack, &identity, &options, &Silent).unwrap().placing();
        untuned.read(&crop(0, decoder.render(&at(0)).unwrap())).unwrap();
        assert!(untuned.beside().is_none());
    }
}
