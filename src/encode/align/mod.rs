//! Alignment (paper 3.2): camera frames to upright face crops that follow the head and nothing else.
//!
//! Input: camera frames. Output: [`AlignedFrame`]s, R x R, with the placement and roll of the crop. The only user of OpenCV.
//! Reading order: `geometry` (transforms), `detect` (where faces are), `face` (which of them), `register` (how it moves), `recover` (what if it cannot be followed), `refer` (crops of this
//! face that are known already), `shot` (cuts), `again` (the crop moved), `warp` (the crop).
//!
//! The crop is placed FFHQ-style once; from then on each frame is registered to a key frame. When the face no longer agrees with its
//! key (it has turned), an earlier key is tried, and else the frame becomes a key itself, at the pose found so far. One that has turned
//! too fast for that becomes a key where the detector sees it, once it goes on like a face. After a cut, or where the face was lost, all
//! faces in sight are compared with the keys, so that it sits in the crop as before. Eye detections only watch over slow drift.

mod again;
mod detect;
mod face;
mod geometry;
mod recover;
mod refer;
mod register;
mod shot;
mod warp;

pub use again::{cut_again, Shift};
pub use face::FaceChoice;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use opencv::core::Mat;

use super::AlignedFrame;
use crate::error::{Error, Result};
use crate::frame::{Frame, TimedFrame};
use crate::limits::MAX_RESOLUTION;
use detect::{median, median_point, Detector, Eyes, FaceBox, EYES_IN_BOX};
use face::{people, Person};
use geometry::{CropPose, Point, Similarity, EYE_DISTANCE};
use refer::{References, Turn};
use register::{Fit, Key, Register};
use shot::Shots;

/// At least this share of the face must move with a key frame for it to stay the key.
const KEY_INLIERS: f64 = 0.75;
/// Largest median residual under which a key frame stays the key, pixels at 256.
const KEY_RESIDUAL: f64 = 0.6;
/// Under this share, the face is not where the fit says.
const LOST_INLIERS: f64 = 0.35;
/// Largest believable motion between two frames, crop units.
const MOST_MOTION: f64 = 0.35;
/// Key frames that are remembered to follow by, the first and the latest, and those by which a face is recognised later.
const KEYS: usize = 4;
const MOST_SEEN: usize = 12;
/// Frames for which a crop that was moved from outside is not watched over.
const NUDGE_LASTS: u32 = 25;
/// Overlap of two boxes of a face at different times.
const SAME_FACE: f64 = 0.1;
/// Frames in which a known picture is looked for when the first ones resemble none, and the share of the face that must agree there.
const BACKWARD_LOOKS: usize = 12;
const BACKWARD_SHARE: f64 = 0.5;
/// Eyes are looked for in every n-th frame, to notice drift.
const WATCH_EVERY: u64 = 5;
/// Detections whose median tells the drift.
const WATCH_VOTES: usize = 15;
/// Drift is left alone within these bounds (crop units, log scale, radians): detections are no better than that, and eyes do move in
/// the crop when the head turns.
const FREE_SHIFT: f64 = 0.03;
const FREE_SCALE: f64 = 0.16;
const FREE_ANGLE: f64 = 0.07;
/// Fastest correction of drift, crop units per frame: 0.04 pixels at 256, too slow to be seen.
const CORRECTION: f64 = 0.04 / 256.0;
/// References that are looked at per frame of a call until the face is recognised.
const QUICK_LOOKS: usize = 4;
/// Share of the bounds that is left alone, and fastest correction, where known crops of the face tell the place.
const KNOWN_SHARE: f64 = 0.1;
const KNOWN_CORRECTION: f64 = 0.2 / 256.0;

/// How to align.
#[derive(Clone, Debug)]
pub struct AlignOptions {
    /// Side of the crops, pixels: the generator's resolution.
    pub resolution: u32,
    /// Frames that are searched for a face before giving up.
    pub lookahead: usize,
    /// Folder with OpenCV's cascade files; None: where the system keeps them.
    pub cascades: Option<PathBuf>,
    /// Blur what the crop shows beyond the camera frame's border (else the border's pixels are repeated).
    pub blur_outside: bool,
    /// Which face, if there are several.
    pub face: FaceChoice,
    /// Crops of this very face, such as pictures of an enrolled identity: the crop is placed as they are. Empty: FFHQ framing.
    pub references: Vec<Frame>,
    /// For calls: flow in coarser steps, and few of the references looked at per frame.
    pub quick: bool,
}

impl Default for AlignOptions {
    fn default() -> Self {
        AlignOptions {
            resolution: 256,
            lookahead: 10,
            cascades: None,
            blur_outside: true,
            face: FaceChoice::default(),
            references: Vec::new(),
            quick: false,
        }
    }
}

/// Counts over the frames aligned so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AlignSummary {
    /// Frames aligned.
    pub frames: u64,
    /// Frames at which the registration started anew.
    pub keys: u64,
    /// Frames in which the face was lost and the last placement was held.
    pub lost: u64,
    /// Frames with which a new shot begins.
    pub cuts: u64,
    /// Faces that were taken although they did not resemble the one before: another person, or another side of the same.
    pub strange: u64,
}

/// Follows one face through a clip. Memory does not grow with the clip.
pub struct Aligner {
    options: AlignOptions,
    detector: Detector,
    register: Register,
    references: References,
    /// The first key stays at index 0.
    keys: Vec<Arc<Key>>,
    /// Keys of all shots, the first ones: what the face may be recognised by.
    seen: Vec<Arc<Key>>,
    current: usize,
    /// Pose by registration alone; None before the face was found.
    track: Option<CropPose>,
    /// From the registered crop to the one that is output: slow corrections.
    drift: Similarity,
    /// Motion of the track in the last frame.
    velocity: Similarity,
    votes: VecDeque<Similarity>,
    shots: Shots,
    misses: u32,
    /// The face as it was seen last, since registration has failed, and for how many frames it has gone on like one.
    glimpsed: Option<(Key, u32)>,
    /// A shot has begun in which no face was seen yet.
    cut_unseen: bool,
    /// How often the face was placed anew.
    shot: u32,
    /// Frames for which the last [`Aligner::nudge`] still counts.
    nudged: u32,
    /// The crop was placed by the eyes although known crops tell the place better: none has resembled the face yet.
    unsure: bool,
    summary: AlignSummary,
}

/// What became of one frame.
struct Step {
    key: bool,
    confidence: f32,
}

impl Aligner {
    /// Loads the detector.
    ///
    /// # Errors
    /// `Device` when OpenCV's cascade files are missing, `Misuse` for a resolution that no generator has.
    pub fn new(options: &AlignOptions) -> Result<Self> {
        if options.resolution < 16 || options.resolution > MAX_RESOLUTION {
            return Err(Error::Misuse(format!(
                "crops of {0} x {0}: the side must be 16 to {MAX_RESOLUTION}",
                options.resolution
            )));
        }
        let register = Register::new(options.quick)?;
        Ok(Aligner {
            options: options.clone(),
            detector: Detector::load(options.cascades.as_deref())?,
            references: References::new(&register, &options.references)?,
            register,
            keys: Vec::new(),
            seen: Vec::new(),
            current: 0,
            track: None,
            drift: Similarity::IDENTITY,
            velocity: Similarity::IDENTITY,
            votes: VecDeque::new(),
            shots: Shots::default(),
            misses: 0,
            glimpsed: None,
            cut_unseen: false,
            shot: 0,
            nudged: 0,
            unsure: false,
            summary: AlignSummary::default(),
        })
    }

    /// Finds the face in the first frames of the clip; they must then be pushed like all others. Looks at [`AlignOptions::lookahead`]
    /// of them, and at the rest only if these resemble none of [`AlignOptions::references`].
    ///
    /// # Errors
    /// `NoContent` if none of them shows a face, or fewer than the number of the one that was chosen.
    pub fn start(&mut self, frames: &[TimedFrame]) -> Result<()> {
        let mut greys = Vec::new();
        let mut boxes = Vec::new();
        for timed in frames.iter().take(self.options.lookahead.max(1)) {
            let grey = warp::grey(&timed.frame)?;
            boxes.push(self.detector.faces(&grey)?);
            greys.push(grey);
        }
        let people = people(&boxes);
        let Person { first, face, .. } = self.choose(&people, &greys, &boxes)?;
        let pose = match self.place(&greys, &boxes, first, &face)? {
            Placed::Known(known, _) => known,
            Placed::ByEyes(pose) if self.references.is_empty() => pose,
            Placed::ByEyes(pose) => {
                for timed in frames.iter().skip(greys.len()) {
                    greys.push(warp::grey(&timed.frame)?);
                }
                match self.place_backwards(&greys, first, face)? {
                    Some(pose) => pose,
                    None => {
                        log::warn!("the face does not look like the enrolled one: its crop is placed by its eyes");
                        self.unsure = true;
                        pose
                    }
                }
            }
        };
        self.restart(&greys[first], pose)
    }

    /// The crop's place on the frame `first`, followed back from the frame that resembles a known picture most; None if none does.
    fn place_backwards(&mut self, greys: &[Mat], first: usize, chosen: FaceBox) -> Result<Option<CropPose>> {
        let mut best: Option<(usize, CropPose, f64)> = None;
        let stride = (greys.len() - first).div_ceil(BACKWARD_LOOKS).max(1);
        for n in (first..greys.len()).step_by(stride) {
            let mut faces = self.detector.faces(&greys[n])?;
            // Only whoever was chosen, and nobody beside them.
            faces.retain(|found| found.overlap(&chosen) > SAME_FACE);
            if faces.is_empty() {
                continue;
            }
            let face = largest(&faces);
            let guess = self.guess(&greys[n], &face)?;
            let Some(known) = self.references.place(&mut self.register, &[(&greys[n], guess)])? else { continue };
            if known.share >= BACKWARD_SHARE && best.is_none_or(|(_, _, share)| known.share > share) {
                best = Some((n, guess.moved(&known.motion), known.share));
            }
        }
        let Some((n, pose, _)) = best else { return Ok(None) };
        self.restart(&greys[n], pose)?;
        for grey in greys[first..n].iter().rev() {
            if self.register_with_keys(grey)?.is_none() {
                return Ok(None);
            }
        }
        Ok(self.track.map(|track| track.moved(&self.drift)))
    }

    /// Aligns the next frame. Without [`Aligner::start`] the first frame must show the face.
    ///
    /// # Errors
    /// `NoContent` when there is no face in the first frame; later losses hold the last placement instead.
    pub fn push(&mut self, timed: &TimedFrame) -> Result<AlignedFrame> {
        if self.track.is_none() {
            self.start(std::slice::from_ref(timed))?;
        }
        let grey = warp::grey(&timed.frame)?;
        let cut = self.shots.cut(&grey)?;
        let mut step = if cut { self.begin_shot(&grey)? } else { self.follow(&grey)? };
        self.summary.frames += 1;
        let watch = step.confidence > 0.5 && self.summary.frames.is_multiple_of(self.watch_every());
        if self.unsure && watch {
            step.key |= self.settle(&grey)?;
        }
        self.summary.keys += u64::from(step.key);
        let track = self.track.expect("start above has either set it or failed");
        if watch && !self.unsure && self.nudged == 0 {
            self.watch(&grey, &track)?;
        }
        match self.nudged.checked_sub(1) {
            Some(left) => self.nudged = left,
            None => self.correct(),
        }
        let pose = track.moved(&self.drift);
        let (placement, roll) = pose.placement();
        // From the placement as it is given out: whoever cuts it again has the same crop.
        let said = CropPose::placed(&placement, roll);
        let frame = warp::cut(&timed.frame, &said, self.options.resolution, self.options.blur_outside)?;
        let Step { key, confidence } = step;
        Ok(AlignedFrame { pts: timed.pts, frame, roll, placement, key, shot: self.shot, confidence })
    }

    /// Moves the crops of all frames to come by `shift`, seen from the last one. Whoever does so knows better than the references and the eyes, which
    /// are left alone for the next 25 frames.
    pub fn nudge(&mut self, shift: &Shift) {
        self.drift = self.drift.after(&shift.0);
        self.nudged = NUDGE_LASTS;
    }

    /// Which face is looked for, once for all, before [`Aligner::start`] or the first frame.
    pub fn choose_face(&mut self, face: FaceChoice) {
        self.options.face = face;
    }

    /// Counts so far.
    pub fn summary(&self) -> AlignSummary {
        self.summary
    }

    /// The face to follow, of those in the first frames.
    fn choose(&mut self, people: &[Person], greys: &[Mat], boxes: &[Vec<FaceBox>]) -> Result<Person> {
        let largest = self.options.face.of(people, greys.len())?;
        if people.len() == 1 || matches!(self.options.face, FaceChoice::Number(_)) {
            return Ok(largest);
        }
        let mut known: Option<(f64, Person)> = None;
        if !self.references.is_empty() && self.options.face == FaceChoice::Known {
            for person in people {
                match self.place(greys, boxes, person.first, &person.face)? {
                    Placed::Known(_, share) if known.is_none_or(|(most, _)| share > most) => known = Some((share, *person)),
                    _ => {}
                }
            }
        }
        let (chosen, why) = known.map_or((largest, "largest"), |(_, person)| (person, "enrolled"));
        let (x, y) = chosen.face.at((0.5, 0.5));
        log::warn!(
            "{} faces are in sight: the {why} one is followed, at x {x:.0}, y {y:.0} (another can be chosen)",
            people.len()
        );
        Ok(chosen)
    }

    /// The crop's place on the first frame: as on the known crops, or medians of the eyes over the lookahead, all seen from the frame
    /// `first`.
    fn place(&mut self, greys: &[Mat], boxes: &[Vec<FaceBox>], first: usize, face: &FaceBox) -> Result<Placed> {
        let rough = CropPose::from_eyes(face.at(EYES_IN_BOX.0), face.at(EYES_IN_BOX.1));
        let key = self.register.key(&greys[first], &rough)?;
        let mut seen: [Vec<Point>; 2] = Default::default();
        let mut followed = Vec::new();
        let mut last = rough;
        for (n, grey) in greys.iter().enumerate().skip(first) {
            let fit = self.register.follow(&key, grey, last)?;
            let place = face_box_of(&fit.pose);
            let Some(found) = boxes[n].iter().find(|b| b.overlap(&place) > 0.3) else { continue };
            if fit.inliers < LOST_INLIERS {
                continue;
            }
            last = fit.pose;
            followed.push((grey, fit.pose));
            let Eyes { left, right } = self.detector.eyes(grey, found)?;
            for (list, eye) in seen.iter_mut().zip([left, right]) {
                list.extend(eye.map(|p| rough.to_camera(fit.pose.to_crop(p))));
            }
        }
        if !self.references.is_empty() {
            if let Some(known) = self.references.place(&mut self.register, &followed)? {
                return Ok(Placed::Known(rough.moved(&known.motion), known.share));
            }
        }
        Ok(Placed::ByEyes(pose_from_votes(&seen, face)))
    }

    /// Forgets all keys and begins at `pose`.
    fn restart(&mut self, grey: &Mat, pose: CropPose) -> Result<()> {
        self.keys.clear();
        self.add_key(grey, &pose)?;
        self.track = Some(pose);
        self.drift = Similarity::IDENTITY;
        self.velocity = Similarity::IDENTITY;
        self.votes.clear();
        self.nudged = 0;
        self.misses = 0;
        self.glimpsed = None;
        self.cut_unseen = false;
        Ok(())
    }

    /// Moves the track to the face's pose in this frame.
    fn follow(&mut self, grey: &Mat) -> Result<Step> {
        match self.register_with_keys(grey)? {
            Some(step) => Ok(step),
            None => self.find_again(grey, false),
        }
    }

    /// As [`Aligner::follow`]; None if the face does not go on from where it was.
    fn register_with_keys(&mut self, grey: &Mat) -> Result<Option<Step>> {
        let last = self.track.expect("push has started the track");
        let mut fit = self.register.follow(&self.keys[self.current], grey, last)?;
        if !believable(&fit, &last) {
            fit = self.search(grey, &last, fit)?;
        }
        let fits = believable(&fit, &last);
        if fits && agrees(&fit) {
            return Ok(Some(self.accept(fit.pose, &fit, self.summary.frames == 0)));
        }
        let guess = if fits { fit.pose } else { last };
        if let Some((n, other)) = self.best_other_key(grey, guess)? {
            // The keys' poses differ by what the registration has drifted in between: hide the step, let it out slowly.
            if fits {
                self.drift = other.pose.motion_to(&fit.pose.moved(&self.drift));
            }
            self.current = n;
            return Ok(Some(self.accept(other.pose, &other, true)));
        }
        if fits {
            self.add_key(grey, &fit.pose)?;
            return Ok(Some(self.accept(fit.pose, &fit, true)));
        }
        Ok(None)
    }

    /// The face has left the reach of the flow: begins again from where it was heading, and from where the detector sees it.
    fn search(&mut self, grey: &Mat, last: &CropPose, mut best: Fit) -> Result<Fit> {
        let mut guesses = vec![last.moved(&self.velocity)];
        guesses.extend(self.nearest_face(grey, last)?.map(|face| shifted(last, &face)));
        for guess in guesses {
            let fit = self.register.follow(&self.keys[self.current], grey, guess)?;
            if believable(&fit, last) && fit.inliers > best.inliers {
                best = fit;
            }
        }
        Ok(best)
    }

    fn accept(&mut self, pose: CropPose, fit: &Fit, key: bool) -> Step {
        self.velocity = self.track.map_or(Similarity::IDENTITY, |last| last.motion_to(&pose));
        self.track = Some(pose);
        self.misses = 0;
        self.glimpsed = None;
        self.cut_unseen = false;
        Step { key, confidence: (fit.inliers / KEY_INLIERS).min(1.0) as f32 }
    }

    /// The remembered key that the face agrees with best, if it does.
    fn best_other_key(&mut self, grey: &Mat, guess: CropPose) -> Result<Option<(usize, Fit)>> {
        let mut best: Option<(usize, Fit)> = None;
        for n in (0..self.keys.len()).filter(|n| *n != self.current) {
            let fit = self.register.follow(&self.keys[n], grey, guess)?;
            if agrees(&fit) && believable(&fit, &guess) && best.as_ref().is_none_or(|(_, b)| fit.inliers > b.inliers) {
                best = Some((n, fit));
            }
        }
        Ok(best)
    }

    /// Makes the face at `pose` the current key; the latest take the place of the earlier ones, but the first stays.
    fn add_key(&mut self, grey: &Mat, pose: &CropPose) -> Result<()> {
        if self.keys.len() >= KEYS {
            self.keys.remove(1);
        }
        let key = Arc::new(self.register.key(grey, pose)?);
        if self.seen.len() < MOST_SEEN {
            self.seen.push(key.clone());
        }
        self.keys.push(key);
        self.current = self.keys.len() - 1;
        Ok(())
    }

    /// The detected face that overlaps most with where it was.
    fn nearest_face(&mut self, grey: &Mat, last: &CropPose) -> Result<Option<FaceBox>> {
        let expected = face_box_of(last);
        let faces = self.detector.faces(grey)?;
        Ok(faces.into_iter().max_by(|a, b| a.overlap(&expected).total_cmp(&b.overlap(&expected))))
    }

    /// Which look at the references this is: on calls a few of them in every frame.
    fn turn(&self) -> Turn {
        let number = self.summary.frames as usize;
        match (self.options.quick, self.unsure) {
            (true, true) => Turn { number, most: QUICK_LOOKS },
            (true, false) => Turn { number, most: 1 },
            (false, _) => Turn { number: number / WATCH_EVERY as usize, most: usize::MAX },
        }
    }

    /// Frames from one look at the crop's place to the next: each look at one of several references says little and costs little.
    fn watch_every(&self) -> u64 {
        match self.options.quick && !self.references.is_empty() {
            true => 1,
            false => WATCH_EVERY,
        }
    }

    /// Votes that are kept: those of the same time, however often a look is taken.
    fn most_votes(&self) -> usize {
        WATCH_VOTES * (WATCH_EVERY / self.watch_every()) as usize
    }

    /// Notes where the face should be in the crop: as on the known crops, or with the eyes where the detector expects them.
    fn watch(&mut self, grey: &Mat, track: &CropPose) -> Result<()> {
        let (pose, turn) = (track.moved(&self.drift), self.turn());
        let wanted = if self.references.is_empty() {
            match self.detector.eyes(grey, &face_box_of(&pose))? {
                Eyes { left: Some(left), right: Some(right) } => Some(pose.motion_to(&CropPose::from_eyes(left, right))),
                _ => None,
            }
        } else {
            self.references.watch(&mut self.register, grey, &pose, turn)?
        };
        let Some(wanted) = wanted else { return Ok(()) };
        self.votes.push_back(wanted);
        if self.votes.len() > self.most_votes() {
            self.votes.pop_front();
        }
        Ok(())
    }

    /// Lets the crop creep back to FFHQ framing when it has drifted out of it.
    fn correct(&mut self) {
        if self.votes.len() < self.most_votes() / 2 {
            return;
        }
        let middle = |pick: fn(&Similarity) -> f64| median(self.votes.iter().map(pick).collect()).unwrap_or(0.0);
        // Known crops tell the place far better than detected eyes do.
        let (share, most) = if self.references.is_empty() { (1.0, CORRECTION) } else { (KNOWN_SHARE, KNOWN_CORRECTION) };
        let beyond = |v: f64, free: f64| v - v.clamp(-share * free, share * free);
        let wanted = Similarity {
            shift: (beyond(middle(|v| v.shift.0), FREE_SHIFT), beyond(middle(|v| v.shift.1), FREE_SHIFT)),
            scale: beyond(middle(|v| v.scale.ln()), FREE_SCALE).exp(),
            angle: beyond(middle(|v| v.angle), FREE_ANGLE),
        };
        if wanted.size() > 0.0 {
            let step = wanted.part((most / wanted.size()).min(0.02));
            self.drift = self.drift.after(&step);
            // The votes are seen from the crop, which has just moved.
            for vote in &mut self.votes {
                *vote = step.inverse().after(vote);
            }
        }
    }
}

/// A first place, and what it rests on: known crops, of which the one it is most like agrees in a share of the face, or eyes.
enum Placed {
    Known(CropPose, f64),
    ByEyes(CropPose),
}

/// Whether the face still agrees with its key.
fn agrees(fit: &Fit) -> bool {
    fit.inliers >= KEY_INLIERS && fit.residual <= KEY_RESIDUAL
}

/// Whether a face can have moved like this between two frames.
fn believable(fit: &Fit, last: &CropPose) -> bool {
    fit.inliers >= LOST_INLIERS && last.motion_to(&fit.pose).size() < MOST_MOTION
}

/// The detector's box of a face that fills a crop in the usual way.
fn face_box_of(pose: &CropPose) -> FaceBox {
    let side = pose.side * EYE_DISTANCE / (EYES_IN_BOX.1 .0 - EYES_IN_BOX.0 .0);
    let (x, y) = pose.to_camera(geometry::EYE_LINE);
    FaceBox { x: x - 0.5 * side, y: y - EYES_IN_BOX.0 .1 * side, side }
}

/// The largest of some faces, at least one.
fn largest(faces: &[FaceBox]) -> FaceBox {
    faces.iter().copied().fold(faces[0], |most, face| if face.side > most.side { face } else { most })
}

/// The pose moved, but neither turned nor scaled, to where the detector sees the face.
fn shifted(last: &CropPose, face: &FaceBox) -> CropPose {
    let (there, here) = (face.at((0.5, 0.5)), face_box_of(last).at((0.5, 0.5)));
    CropPose { x: last.x + there.0 - here.0, y: last.y + there.1 - here.1, ..*last }
}

/// The pose by the eyes that were seen; an unseen eye is put where it usually is in the box, or opposite the other one.
fn pose_from_votes(seen: &[Vec<Point>; 2], face: &FaceBox) -> CropPose {
    let usual = [face.at(EYES_IN_BOX.0), face.at(EYES_IN_BOX.1)];
    let (dx, dy) = (usual[1].0 - usual[0].0, usual[1].1 - usual[0].1);
    let [left, right] = match (median_point(&seen[0]), median_point(&seen[1])) {
        (Some(l), Some(r)) => [l, r],
        (Some(l), None) => [l, (l.0 + dx, l.1 + dy)],
        (None, Some(r)) => [(r.0 - dx, r.1 - dy), r],
        (None, None) => usual,
    };
    CropPose::from_eyes(left, right)
}
