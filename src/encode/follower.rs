//! What follows a face from crop to crop in a call: some steps of `newton` from where the last crop was found, and from elsewhere where that is nearer.
//! Source: ours.

use super::album::Album;
use super::loss::Prior;
use super::newton::{Aim, Effort, Newton};
use super::pace::Lasting;
use super::place::Misplaced;
use super::strange::{Strange, STRANGE};
use crate::error::Result;
use std::time::Instant;
use tch::{Device, Tensor};

/// Most steps per frame: nothing is gained beyond.
pub(super) const MOST_STEPS: u32 = 16;
/// Derivatives that are measured anew with each step.
const COLUMNS: i64 = 3;
/// A picture is near enough when its error is so many times the least of late.
const NEAR: f64 = 1.15;
/// Frames after which the linear map is asked again, whether or not the search has lost the face.
const ASK_AGAIN: u64 = 25;
/// A face that is less alike ([`Newton::unlike`]) is out of place, or nearly somebody else's: tuned people have up to 0.08, in much dimmer light 0.16.
const CLEAR: f64 = 0.2;
/// A picture is lost when its error is so many times the least of late; that floor rises by this share per frame.
const LOST: f64 = 2.0;
const FLOOR_RISE: f64 = 1.02;

/// What goes from frame to frame along with the face.
#[derive(Debug)]
pub(super) struct Follower {
    pub newton: Newton,
    weights: Tensor,
    /// The same for the question where the face sits.
    face: Tensor,
    /// By how much the last crop seemed to sit beside its place; asked only where `placing`.
    pub beside: Option<Misplaced>,
    pub placing: bool,
    /// Most steps per frame, and how long one takes.
    steps: u64,
    pace: Lasting,
    /// When the last search ended.
    pub ended: Option<Instant>,
    /// Whether the last crop showed the person where they are drawn.
    pub clear: bool,
    /// When a picture shows somebody else; None for an identity without tuned weights.
    strange: Option<Strange>,
    /// The least error of late.
    pub floor: f64,
    pub frames: u64,
}

impl Follower {
    /// Begins where `newton` stands, with crops whose side is searched at `sight`; at most `steps` steps per frame. `tuned`: the identity has weights of its own.
    pub(super) fn new(newton: Newton, sight: i64, (steps, tuned): (u32, bool), device: Device) -> Result<Self> {
        Ok(Follower {
            newton,
            weights: Prior::new(sight / 2, device)?.weights()?,
            face: Prior::face(sight / 2, device)?,
            beside: None,
            placing: false,
            steps: steps.into(),
            pace: Lasting::default(),
            ended: None,
            clear: false,
            strange: tuned.then_some(STRANGE.doubtful()),
            floor: 0.0,
            frames: 0,
        })
    }

    /// Whether it can be told that somebody else is shown: nobody is drawn as they are without tuned weights.
    pub(super) fn knows_the_person(&self) -> bool {
        self.strange.is_some()
    }

    /// Forgets the frames so far.
    pub(super) fn restart(&mut self) {
        self.newton.restart();
        (self.floor, self.frames) = (0.0, 0);
    }

    /// The row `[1, 34]` of a crop `[1, 3, R, R]`, if it shows the person; `guess` tells where to begin if that is asked for, and so does `album`. There may be
    /// further steps until the search is to end.
    pub(super) fn follow(
        &mut self,
        image: &Tensor,
        guess: impl FnOnce() -> Result<Tensor>,
        album: &Album,
        end: Option<Instant>,
    ) -> Result<Option<Tensor>> {
        let aim = Aim::new(image, &self.weights)?;
        if self.frames.is_multiple_of(ASK_AGAIN) || self.newton.error(&aim)? > LOST * self.floor {
            self.newton.consider(&aim, &guess()?)?;
        }
        self.newton.recall(&aim, album)?;
        let effort = Effort { steps: self.steps, columns: COLUMNS, enough: NEAR * self.floor };
        let begun = Instant::now();
        let mut error = self.newton.approach(&aim, &effort)?;
        self.pace.hear(begun.elapsed());
        if let Some(end) = end {
            error = self.go_on(&aim, end, error)?;
        }
        self.ended = Some(Instant::now());
        let face = Aim::new(image, &self.face)?;
        // Without tuned weights nobody is drawn as they are.
        let unlike = self.strange.map_or(Ok(0.0), |_| self.newton.unlike(&face))?;
        let like = self.strange.is_none_or(|limit| !limit.is(error, unlike));
        self.clear = like && unlike < CLEAR;
        self.beside = match self.placing && like {
            true => Some(Misplaced::of(super::place::beside(&self.newton, &face)?, error)),
            false => None,
        };
        if !like {
            // Nobody is to become somebody else bit by bit.
            self.newton.restart();
            return Ok(None);
        }
        self.floor = if self.frames == 0 { error } else { error.min(self.floor * FLOOR_RISE) };
        self.frames += 1;
        Ok(Some(self.newton.row().shallow_clone()))
    }

    /// Further steps, as many as should be over before `end`. Returns what is left of `error`.
    fn go_on(&mut self, aim: &Aim, end: Instant, mut error: f64) -> Result<f64> {
        for _ in self.steps..MOST_STEPS.into() {
            let begun = Instant::now();
            if begun + self.pace.time() > end {
                break;
            }
            error = self.newton.approach(aim, &Effort { steps: 1, columns: COLUMNS, enough: 0.0 })?;
            self.pace.hear(begun.elapsed());
        }
        Ok(error)
    }
}
