//! A face that cannot be followed on: after a cut, behind a hand, turned too fast, out of the picture, or known and not yet recognised.

use opencv::core::Mat;

use super::detect::{Eyes, FaceBox};
use super::geometry::{CropPose, Similarity};
use super::register::Fit;
use super::{face_box_of, largest, pose_from_votes, refer, shifted, Aligner, Step, MOST_MOTION};
use crate::error::Result;

/// A face that is detected where it was, but does not match its keys, has turned fast if this share of it goes on from frame to frame, not farther from
/// where the detector sees it than this (crop units), for so many frames. It is followed from there.
const GLIMPSED_SHARE: f64 = 0.5;
const MOST_BESIDE: f64 = 0.1;
const GLIMPSES: u32 = 2;
/// Confidence of a frame in which the face is but detected.
const GLIMPSED: f32 = 0.3;
/// Any other face there is taken anew from the detector after this many frames: most hands go away sooner.
const PATIENCE: u32 = 12;
/// A face that is detected elsewhere, but resembles no key, is taken after this many frames: somebody else may be in sight.
const LONG_PATIENCE: u32 = 25;
/// Motion within which a face that is recognised may have moved in one shot, crop units.
const NEAR_BY: f64 = 0.5 * MOST_MOTION;
/// On calls the keys are tried in every so many frames.
const RECOGNISE_EVERY: u32 = 4;
/// Faces that are compared with the keys.
const MOST_FACES: usize = 4;

impl Aligner {
    /// The face in a frame that has little in common with the one before. Recognised close to where it was it may only have moved fast, and no cut is
    /// told of: whoever is seen is the same person.
    pub(super) fn begin_shot(&mut self, grey: &Mat) -> Result<Step> {
        let (last, shot) = (self.track.expect("push has started the track"), self.shot);
        self.velocity = Similarity::IDENTITY;
        let mut step = self.find_again(grey, true)?;
        let near = self.track.is_some_and(|track| last.motion_to(&track).size() < NEAR_BY);
        if self.shot != shot || step.confidence <= 0.0 || !near {
            self.summary.cuts += 1;
            log::info!("a new shot begins at frame {}", self.summary.frames);
        }
        self.cut_unseen = step.confidence <= 0.0;
        step.key = true;
        Ok(step)
    }

    /// Registration failed (blur, a hand, a cut): asks the detector. A face that resembles a key is placed as it is there. One near by that
    /// does not moves the crop as its box moves; it becomes a key once it goes on like a face, and after some patience it is taken anew. One
    /// elsewhere is taken after more, or at once after a cut. Without any the crop is held.
    pub(super) fn find_again(&mut self, grey: &Mat, cut: bool) -> Result<Step> {
        let cut = cut || self.cut_unseen;
        let last = self.track.expect("push has started the track");
        self.misses += 1;
        let expected = face_box_of(&last);
        let mut faces = self.detector.faces(grey)?;
        faces.sort_by(|a, b| b.overlap(&expected).total_cmp(&a.overlap(&expected)));
        // On a call there is no time to compare in every frame.
        if cut || !self.options.quick || self.misses % RECOGNISE_EVERY == 1 {
            if let Some(step) = self.recognise(grey, &faces)? {
                return Ok(step);
            }
        }
        let Some(face) = faces.first() else { return Ok(self.hold()) };
        let near = face.overlap(&expected) > 0.3;
        if !cut && self.misses < if near { PATIENCE } else { LONG_PATIENCE } {
            if !near {
                return Ok(self.hold());
            }
            return self.glimpse(grey, shifted(&last, face));
        }
        let mut known = None;
        if !self.references.is_empty() {
            for face in faces.iter().take(MOST_FACES) {
                let pose = self.guess(grey, face)?;
                let found = self.references.place(&mut self.register, &[(grey, pose)])?;
                known = known.or(found.map(|found| pose.moved(&found.motion)));
            }
        }
        let face = if cut { largest(&faces) } else { *face };
        let pose = self.guess(grey, &face)?;
        self.unsure = known.is_none() && !self.references.is_empty();
        if known.is_none() {
            self.summary.strange += 1;
            let frame = self.summary.frames;
            log::warn!("the face at frame {frame} does not resemble the one before: it is taken for the same person");
        }
        // Whoever may be somebody else is not remembered.
        let seen = self.seen.len();
        self.restart(grey, known.unwrap_or(pose))?;
        if known.is_none() {
            self.seen.truncate(seen);
        }
        self.shot += 1;
        Ok(Step { key: true, confidence: 0.5 })
    }

    /// A face that has changed at once, as by turning between two frames, and is seen at `pose`. If it goes on from there like a face, it
    /// is the same one and becomes a key; but nobody is to be recognised by it.
    fn glimpse(&mut self, grey: &Mat, mut pose: CropPose) -> Result<Step> {
        let mut followed = 0;
        if let Some((key, before)) = self.glimpsed.take() {
            let fit = self.register.follow(&key, grey, pose)?;
            if fit.inliers >= GLIMPSED_SHARE && pose.motion_to(&fit.pose).size() < MOST_BESIDE {
                if before + 1 == GLIMPSES {
                    let seen = self.seen.len();
                    self.add_key(grey, &fit.pose)?;
                    self.seen.truncate(seen);
                    // Known crops tell the place better than the detector.
                    self.unsure = !self.references.is_empty();
                    return Ok(self.accept(fit.pose, &fit, true));
                }
                (pose, followed) = (fit.pose, before + 1);
            }
        }
        self.glimpsed = Some((self.register.key(grey, &pose)?, followed));
        self.track = Some(pose);
        Ok(Step { key: false, confidence: GLIMPSED })
    }

    /// Where the detector sees a crop of this face.
    pub(super) fn guess(&mut self, grey: &Mat, face: &FaceBox) -> Result<CropPose> {
        let Eyes { left, right } = self.detector.eyes(grey, face)?;
        Ok(pose_from_votes(&[left.into_iter().collect(), right.into_iter().collect()], face))
    }

    /// Goes on with the face that resembles the keys most, wherever it is, in the same place of the crop.
    pub(super) fn recognise(&mut self, grey: &Mat, faces: &[FaceBox]) -> Result<Option<Step>> {
        let mut best: Option<(CropPose, f64)> = None;
        for face in faces.iter().take(MOST_FACES) {
            let guess = self.guess(grey, face)?;
            let Some(known) = refer::place(&self.seen, &mut self.register, &[(grey, guess)])? else {
                continue;
            };
            if best.is_none_or(|(_, share)| known.share > share) {
                best = Some((guess.moved(&known.motion), known.share));
            }
        }
        let Some((pose, share)) = best else { return Ok(None) };
        self.add_key(grey, &pose)?;
        let fit = Fit { pose, inliers: share, residual: 0.0 };
        let step = self.accept(pose, &fit, true);
        // It may have come from anywhere.
        self.velocity = Similarity::IDENTITY;
        Ok(Some(step))
    }

    pub(super) fn hold(&mut self) -> Step {
        if self.summary.lost == 0 {
            log::warn!("face lost at frame {}: the last placement is held until it is found again", self.summary.frames);
        }
        self.summary.lost += 1;
        self.glimpsed = None;
        Step { key: false, confidence: 0.0 }
    }

    /// Moves a crop that was placed by the eyes to where the known crops have the face, as soon as a frame resembles one of them: a jump
    /// once is better than a face beside its place for long.
    pub(super) fn settle(&mut self, grey: &Mat) -> Result<bool> {
        let pose = self.track.expect("push has started the track").moved(&self.drift);
        let turn = self.turn();
        let Some(motion) = self.references.find(&mut self.register, grey, &pose, turn)? else { return Ok(false) };
        log::info!("the face was recognised at frame {}: its crop is placed as enrolled", self.summary.frames);
        self.restart(grey, pose.moved(&motion))?;
        self.unsure = false;
        Ok(true)
    }
}
