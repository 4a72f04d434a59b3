//! Enrolment for a C caller. Input: camera pictures of one person, in order. Output: their identity, after minutes of work that reports
//! its progress and can be stopped. Builds without the feature `analysis` refuse; without `encode` they take aligned crops alone.

use super::player::Person;
use crate::decode::DecodeOptions;
use crate::frame::Frame;
use crate::pack::Pack;
use crate::progress::Progress;
use crate::{Error, Result};

/// What a caller chooses.
#[derive(Clone, Debug)]
pub struct EnrollOptions {
    /// 0 fast, 1 medium, 2 best.
    pub preset: i32,
    /// Steps of the tuning; 0: the preset's.
    pub tune_steps: u64,
    /// Most bytes of the identity; 0: the usual.
    pub identity_bytes: usize,
    /// Start of all randomness.
    pub seed: u64,
    /// Whether pictures are aligned crops already.
    pub aligned: bool,
    /// Stored in the identity.
    pub name: String,
    /// Where to compute.
    pub computing: DecodeOptions,
}

#[cfg(not(feature = "analysis"))]
pub use absent::Enroller;
#[cfg(feature = "analysis")]
pub use present::Enroller;

#[cfg(feature = "analysis")]
mod present {
    use super::*;
    use crate::encode::{enroll, AlignedFrame, EncodeOptions, Preset};
    use crate::limits::MAX_FRAMES_TRAINED;

    /// Pictures gathered for an identity.
    pub struct Enroller {
        frames: Vec<AlignedFrame>,
        options: EnrollOptions,
        side: u32,
        #[cfg(feature = "encode")]
        aligner: crate::encode::align::Aligner,
    }

    impl Enroller {
        /// With no pictures yet.
        ///
        /// # Errors
        /// Misuse for a preset that there is not; unsupported for camera pictures in a build without alignment; device.
        pub fn new(pack: &Pack, options: EnrollOptions) -> Result<Enroller> {
            preset(options.preset)?;
            if !options.aligned && !cfg!(feature = "encode") {
                return Err(Error::Unsupported("this build has no alignment (feature encode): give aligned crops".into()));
            }
            let side = pack.config().generator.resolution as u32;
            #[cfg(feature = "encode")]
            let align = crate::encode::align::AlignOptions { resolution: side, lookahead: 1, ..Default::default() };
            Ok(Enroller {
                frames: Vec::new(),
                options,
                side,
                #[cfg(feature = "encode")]
                aligner: crate::encode::align::Aligner::new(&align)?,
            })
        }

        /// Adds the next picture.
        ///
        /// # Errors
        /// No content while no face was seen; misuse for a crop of another size; limit; device. The picture is then not taken.
        pub fn add(&mut self, frame: Frame) -> Result<()> {
            if self.frames.len() >= MAX_FRAMES_TRAINED {
                return Err(Error::Limit(format!("{MAX_FRAMES_TRAINED} pictures are enough for an identity")));
            }
            let pts = self.frames.len() as i64;
            let aligned = match self.options.aligned {
                true => self.crop(pts, frame)?,
                false => self.align(pts, frame)?,
            };
            self.frames.push(aligned);
            Ok(())
        }

        fn crop(&self, pts: i64, frame: Frame) -> Result<AlignedFrame> {
            let side = self.side;
            if (frame.width, frame.height) != (side, side) {
                let (w, h) = (frame.width, frame.height);
                return Err(Error::Misuse(format!("aligned crop of {w} x {h}: this pack has {side} x {side}")));
            }
            Ok(AlignedFrame::whole(pts, frame, pts == 0))
        }

        #[cfg(feature = "encode")]
        fn align(&mut self, pts: i64, frame: Frame) -> Result<AlignedFrame> {
            self.aligner.push(&crate::frame::TimedFrame { pts, frame })
        }

        #[cfg(not(feature = "encode"))]
        fn align(&mut self, _: i64, _: Frame) -> Result<AlignedFrame> {
            Err(Error::Unsupported("this build has no alignment (feature encode)".into()))
        }

        /// Fits the identity to the pictures so far.
        ///
        /// # Errors
        /// No content without pictures; misuse for settings out of range; cancelled; device.
        pub fn run(&mut self, pack: &Pack, progress: &dyn Progress) -> Result<Person> {
            let chosen = &self.options;
            let options = EncodeOptions {
                preset: preset(chosen.preset)?,
                tune_steps: (chosen.tune_steps > 0).then_some(chosen.tune_steps),
                identity_bytes: (chosen.identity_bytes > 0).then_some(chosen.identity_bytes),
                seed: chosen.seed,
                name: chosen.name.clone(),
                device: chosen.computing.device,
                precision: chosen.computing.precision,
                threads: chosen.computing.threads,
                ..EncodeOptions::default()
            };
            let enrolled = enroll(pack, &self.frames, &options, progress)?;
            Person::from_bytes(&enrolled.identity.to_bytes()?)
        }
    }

    fn preset(number: i32) -> Result<Preset> {
        match number {
            0 => Ok(Preset::Fast),
            1 => Ok(Preset::Medium),
            2 => Ok(Preset::Best),
            n => Err(Error::Misuse(format!("preset {n}: 0 to 2 are known"))),
        }
    }
}

#[cfg(not(feature = "analysis"))]
mod absent {
    use super::*;

    /// There is none in this build.
    pub enum Enroller {}

    // Reason for the allowance: the same functions as in builds that can enrol, of a value that cannot exist.
    #[allow(missing_docs, clippy::missing_errors_doc)]
    impl Enroller {
        pub fn new(_: &Pack, _: EnrollOptions) -> Result<Enroller> {
            Err(Error::Unsupported("this build cannot enrol (feature encode)".into()))
        }

        pub fn add(&mut self, _: Frame) -> Result<()> {
            match *self {}
        }

        pub fn run(&mut self, _: &Pack, _: &dyn Progress) -> Result<Person> {
            match *self {}
        }
    }
}
