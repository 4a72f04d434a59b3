//! Live encoder of camera frames: alignment, then [`LiveReader`]. Input: camera frames of an enrolled person, in order. Output: as [`LiveFrame`] says.
//! Source: ours.

use super::align::{AlignOptions, AlignSummary, Aligner, FaceChoice, Shift};
use super::live::{draw_enrolled, LiveFrame, LiveOptions, LiveReader};
use crate::bitstream::{FrameRecord, Identity};
use crate::decode::DecodeOptions;
use crate::error::Result;
use crate::frame::TimedFrame;
use crate::pack::Pack;
use crate::progress::Progress;
use std::time::{Duration, Instant};

/// Confidence of the alignment from which on a crop is moved by what the reader finds, and the share of it that is made good at once.
const SURE: f32 = 0.5;
const PLACE_GAIN: f64 = 0.5;

/// Codes the camera frames of one enrolled person.
pub struct LiveEncoder {
    aligner: Aligner,
    reader: LiveReader,
}

impl LiveEncoder {
    /// Draws the enrolled face for the aligner and learns to read it; seconds.
    ///
    /// # Errors
    /// As [`LiveReader::new`]; device when OpenCV's cascade files are missing.
    pub fn new(pack: &Pack, identity: &Identity, options: &LiveOptions, progress: &dyn Progress) -> Result<Self> {
        let decoding = DecodeOptions {
            device: options.device,
            precision: options.precision,
            threads: options.threads,
            ..DecodeOptions::default()
        };
        let align = AlignOptions {
            resolution: identity.resolution,
            lookahead: 1,
            quick: true,
            references: draw_enrolled(pack, identity, &decoding, progress)?,
            ..AlignOptions::default()
        };
        let reader = LiveReader::new(pack, identity, options, progress)?.placing();
        Ok(LiveEncoder { aligner: Aligner::new(&align)?, reader })
    }

    /// Chooses among several faces; before the first frame.
    pub fn choose(&mut self, face: FaceChoice) {
        self.aligner.choose_face(face);
    }

    /// What became of the frames so far.
    pub fn summary(&self) -> AlignSummary {
        self.aligner.summary()
    }

    /// Leaves so much of a frame's time, [`LiveOptions::budget`], to what the caller does afterwards.
    pub fn reserve(&mut self, time: Duration) {
        self.reader.reserve(time);
    }

    /// The numbers and the placement of the next frame.
    ///
    /// # Errors
    /// No content while no face has been seen yet: go on with the next frame. A face lost later holds its last placement. Device.
    pub fn push(&mut self, frame: &TimedFrame) -> Result<LiveFrame> {
        let begun = Instant::now();
        let crop = self.aligner.push(frame)?;
        let params = self.reader.read_since(&crop, begun)?;
        // The face moves on with the crop: half of what is off is made good for the next frame.
        let off = self.reader.beside().filter(|_| crop.confidence > SURE);
        if let Some(shift) = off.and_then(|off| Shift::new(&off)) {
            self.aligner.nudge(&shift.part(PLACE_GAIN));
        }
        let record = FrameRecord { pts: frame.pts, params, placement: Some(crop.placement) };
        Ok(LiveFrame { record, confidence: crop.confidence, seen: self.reader.seen(), crop: crop.frame })
    }
}
