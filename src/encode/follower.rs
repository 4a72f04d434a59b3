//! What follows a face from crop to crop in a call: some steps of `newton` from where the last crop was found, more in the first one, and from elsewhere where that is nearer.
//! Source: ours.

use super::album::Album;
use super::loss::Prior;
use super::newton::{Aim, Effort, Newton};
use super::place::Misplaced;
use super::strange::{Strange, STRANGE};
use crate::error::Result;
use crate::pace::Longest;
use std::time::Instant;
use tch::{Device, Tensor};

/// Most steps per frame: nothing is gained beyond.
pub(super) const MOST_STEPS: u32 = 16;
/// Derivatives that are measured anew with each step.
const COLUMNS: i64 = 3;
/// Further search in the first frame, where nothing tells of the derivatives or of where the face was. Not where the person is seen again after somebody else was: who
/// flickers between the two would cost as much each time.
const FIRST: Effort = Effort { steps: 8, columns: COLUMNS, gain: 0.02 };
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
    newton: Newton,
    weights: Tensor,
    /// The same for the question where the face sits.
    face: Tensor,
    /// By how much the last crop seemed to sit beside its place; asked only where `placing`.
    pub beside: Option<Misplaced>,
    pub placing: bool,
    /// Most steps per frame unless there is time for more, and how long one takes.
    steps: u64,
    pace: Longest,
    /// When the last search ended.
    pub ended: Option<Instant>,
    /// Whether the last crop showed the person where they are drawn.
    pub clear: bool,
    /// When a picture shows somebody else; None for an identity without tuned weights.
    strange: Option<Strange>,
    /// The least error of late.
    floor: f64,
    frames: u64,
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
            pace: Longest::default(),
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
        let (steps, enough) = (self.steps, NEAR * self.floor);
        let (error, made) = self.step(&aim, |done, error| done < steps && (done == 0 || error > enough))?;
        let face = Aim::new(image, &self.face)?;
        // Without tuned weights nobody is drawn as they are.
        let (mut left, mut off) = (error, self.unlike(&face)?);
        // Judged after as many steps as ever: with more of them strangers come nearer, too.
        let like = self.strange.is_none_or(|limit| !limit.is(error, off));
        if like && self.frames == 0 {
            self.newton.measure()?;
            left = self.newton.approach(&aim, &FIRST)?;
            off = self.unlike(&face)?;
        }
        if let Some(end) = end.filter(|_| like) {
            let pace = self.pace.time();
            let further = u64::from(MOST_STEPS).saturating_sub(made);
            let (error, made) = self.step(&aim, |done, _| done < further && Instant::now() + pace <= end)?;
            if made > 0 {
                (left, off) = (error, self.unlike(&face)?);
            }
        }
        self.ended = Some(Instant::now());
        self.clear = like && off < CLEAR;
        self.beside = match self.placing && like {
            true => Some(Misplaced::of(super::place::beside(&self.newton, &face)?, left)),
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

    fn unlike(&self, face: &Aim) -> Result<f64> {
        self.strange.map_or(Ok(0.0), |_| self.newton.unlike(face))
    }

    /// Steps while `more` wants them, told as in [`Newton::approach_while`]; hears how long they take. Returns the error that is left and how many there were.
    fn step(&mut self, aim: &Aim, mut more: impl FnMut(u64, f64) -> bool) -> Result<(f64, u64)> {
        let (pace, mut since, mut made) = (&mut self.pace, Instant::now(), 0);
        let error = self.newton.approach_while(aim, COLUMNS, |done, error| {
            if done > made {
                pace.hear(since.elapsed());
            }
            (since, made) = (Instant::now(), done);
            more(done, error)
        })?;
        Ok((error, made))
    }
}
