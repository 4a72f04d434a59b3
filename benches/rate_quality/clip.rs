//! A clip of aligned crops in memory.
//!
//! Input: `NAME=CROPS[,STREAM...]`. Output: its frames (8-bit RGB), rate, and a hash by which rows know whose they are.

use std::path::PathBuf;

use effigy::evaluate::metrics::{decibels, mse};
use effigy::evaluate::still_candidates;
use effigy::frame::Frame;
use effigy::media::{ClipReader, ReadOptions};
use effigy::{Error, Result};
use sha2::{Digest, Sha256};

/// What the user asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// Short name.
    pub name: String,
    /// Clip or folder of PNG.
    pub crops: PathBuf,
    /// Streams of these crops.
    pub streams: Vec<PathBuf>,
}

/// Reads `NAME=CROPS[,STREAM...]`.
pub fn parse(text: &str) -> std::result::Result<Request, String> {
    let wrong = || "a clip is NAME=CROPS or NAME=CROPS,STREAM,...".to_string();
    let (name, rest) = text.split_once('=').ok_or_else(wrong)?;
    let mut paths = rest.split(',').map(PathBuf::from);
    let crops = paths.next().filter(|p| !p.as_os_str().is_empty()).ok_or_else(wrong)?;
    // The name stands in a CSV and in names of files.
    if name.is_empty() || name.contains(['"', '\n', ',', '/']) {
        return Err(wrong());
    }
    Ok(Request { name: name.into(), crops, streams: paths.collect() })
}

/// Most bytes of frames held in memory.
const MAX_BYTES: usize = 2 << 30;
/// A frame compared with itself counts as this much, dB, so that short clips are not flattered.
const HELD_CEILING: f64 = 60.0;

/// Frames of one clip.
pub struct Clip {
    /// Short name.
    pub name: String,
    /// Square or not, all of one size.
    pub frames: Vec<Frame>,
    /// Frames per second as a fraction.
    pub rate: (u32, u32),
    /// First 8 hexadecimal digits of the SHA-256 of all samples.
    pub hash: String,
}

impl Clip {
    /// Reads the first `frames` frames.
    pub fn load(request: &Request, frames: u64) -> Result<Clip> {
        let reader = ClipReader::open(&request.crops, &ReadOptions { frames: Some(frames), ..ReadOptions::default() })?;
        let rate = reader.info().frame_rate.unwrap_or((25, 1));
        let (mut out, mut hash, mut bytes) = (Vec::new(), Sha256::new(), 0);
        for timed in reader {
            let frame = timed?.frame;
            bytes += frame.data.len();
            if bytes > MAX_BYTES {
                return Err(Error::Limit(format!("{}: over {} GiB of frames", request.crops.display(), MAX_BYTES >> 30)));
            }
            hash.update(&frame.data);
            out.push(frame);
        }
        if out.is_empty() {
            return Err(Error::NoContent(format!("{}: no frames", request.crops.display())));
        }
        let digest: String = hash.finalize()[..4].iter().map(|b| format!("{b:02x}")).collect();
        Ok(Clip { name: request.name.clone(), frames: out, rate, hash: digest })
    }

    /// Pixels per row and rows.
    pub fn size(&self) -> (u32, u32) {
        (self.frames[0].width, self.frames[0].height)
    }

    /// Number of the frame that scores best when it is held for the whole clip, and its mean PSNR, dB.
    pub fn best_still(&self) -> Result<(usize, f64)> {
        let mut best = (0, f64::NEG_INFINITY);
        for i in still_candidates(self.frames.len() as u64).map(|i| i as usize) {
            let mut sum = 0.0;
            for frame in &self.frames {
                sum += decibels(mse(frame, &self.frames[i])?).min(HELD_CEILING);
            }
            if sum > best.1 {
                best = (i, sum);
            }
        }
        Ok((best.0, best.1 / self.frames.len() as f64))
    }
}
