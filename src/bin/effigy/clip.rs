//! From a clip to aligned crops in memory.
//!
//! Input: a camera clip, or with `--aligned-input` a clip that already is the crop. Output: [`AlignedFrame`]s of the pack's resolution.

use std::path::{Path, PathBuf};

#[cfg(feature = "encode")]
use effigy::encode::align::{AlignOptions, Aligner, Shift};
use effigy::encode::AlignedFrame;
use effigy::frame::{Frame, TimeBase, TimedFrame};
use effigy::media::{ClipReader, ClipWriter, ReadOptions, WriteOptions};
use effigy::progress::{check, Progress};
use effigy::{Error, Result};

/// Which part of a clip, and what it shows.
#[derive(clap::Args, Default)]
pub struct ClipArgs {
    /// Leave out what comes before this time
    #[arg(long, value_name = "SECONDS", default_value_t = 0.0)]
    pub start: f64,
    /// Take at most this many frames
    #[arg(long, value_name = "N")]
    pub frames: Option<u64>,
    /// The clip already is the aligned crop, of exactly the pack's resolution (as `effigy align` writes it)
    #[arg(long)]
    pub aligned_input: bool,
}

impl ClipArgs {
    fn reading(&self) -> ReadOptions {
        ReadOptions { start: self.start, frames: self.frames, ..ReadOptions::default() }
    }
}

/// What a stream says of the camera clip it was made from.
#[derive(Clone, Copy)]
pub struct Camera {
    /// Pixels per row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Duration of a tick.
    pub time_base: TimeBase,
    /// Nominal frames per second, a fraction: a hint.
    pub frame_rate: Option<(u32, u32)>,
}

/// A clip after alignment.
pub struct Aligned {
    /// The camera clip.
    pub camera: Camera,
    /// Its frames, at least one.
    pub frames: Vec<AlignedFrame>,
}

/// Frames in which an enrolled face is looked for at first, how many may be looked at, and the bytes that those beyond the first may
/// fill up.
#[cfg(feature = "encode")]
const KNOWN_LOOKAHEAD: usize = 32;
#[cfg(feature = "encode")]
const KNOWN_MOST: usize = 96;
#[cfg(feature = "encode")]
const KNOWN_BYTES: usize = 256 << 20;

/// How the crops shall be.
#[cfg_attr(not(feature = "encode"), allow(dead_code))]
pub struct Crops<'a> {
    /// Pixels of their side.
    pub side: u32,
    /// Where they are written too, as a lossless clip.
    pub saved: Option<&'a PathBuf>,
    /// Crops of the same face, to be placed as; may be empty.
    pub references: Vec<Frame>,
    /// Whether no frame may wait for a later one.
    pub live: bool,
}

/// Reads and aligns a clip.
pub fn load(path: &Path, args: &ClipArgs, crops: Crops, progress: &dyn Progress) -> Result<Aligned> {
    let side = crops.side;
    let reader = ClipReader::open(path, &args.reading())?;
    let info = reader.info();
    let total = args.frames.or(info.frames).unwrap_or(0);
    let camera = Camera { width: info.width, height: info.height, time_base: info.time_base, frame_rate: info.frame_rate };
    let mut saved = CropFile::new(crops.saved, camera);
    let mut frames = Vec::new();
    let stage = if args.aligned_input { "reading crops" } else { "aligning" };
    progress.begin(stage, total);
    let keep = &mut |frame: AlignedFrame| -> Result<()> {
        check(progress)?;
        saved.write(&frame)?;
        frames.push(frame);
        progress.advance(frames.len() as u64, "");
        Ok(())
    };
    if args.aligned_input {
        read_crops(reader, side, keep)?;
    } else {
        align(reader, crops, keep)?;
    }
    progress.end();
    if frames.is_empty() {
        return Err(Error::NoContent(format!("{}: no frames in the chosen part", path.display())));
    }
    saved.finish()?;
    Ok(Aligned { camera, frames })
}

/// The clip with every crop cut anew after `shift`.
#[cfg(feature = "encode")]
pub fn cut_again(
    path: &Path,
    args: &ClipArgs,
    saved: Option<&PathBuf>,
    clip: Aligned,
    shift: &Shift,
    progress: &dyn Progress,
) -> Result<Aligned> {
    let Aligned { camera, frames } = clip;
    let mut saved = CropFile::new(saved, camera);
    if *shift == Shift::default() {
        frames.iter().try_for_each(|frame| saved.write(frame))?;
        saved.finish()?;
        return Ok(Aligned { camera, frames });
    }
    let mut out = Vec::with_capacity(frames.len());
    progress.begin("cutting the crops again", frames.len() as u64);
    for (timed, aligned) in ClipReader::open(path, &args.reading())?.zip(&frames) {
        check(progress)?;
        let frame = cut_crop(&timed?, aligned, shift)?;
        saved.write(&frame)?;
        out.push(frame);
        progress.advance(out.len() as u64, "");
    }
    progress.end();
    if out.len() != frames.len() {
        return Err(Error::Malformed(format!("{}: read again it has other frames", path.display())));
    }
    saved.finish()?;
    Ok(Aligned { camera, frames: out })
}

/// The camera frames at the time stamps of `frames`, which rise.
pub fn camera_frames(path: &Path, args: &ClipArgs, frames: &[&AlignedFrame], progress: &dyn Progress) -> Result<Vec<TimedFrame>> {
    let mut out = Vec::with_capacity(frames.len());
    if frames.is_empty() {
        return Ok(out);
    }
    for timed in ClipReader::open(path, &args.reading())? {
        check(progress)?;
        let timed = timed?;
        if frames.get(out.len()).is_some_and(|frame| frame.pts == timed.pts) {
            out.push(timed);
        }
        if out.len() == frames.len() {
            return Ok(out);
        }
    }
    Err(Error::Malformed(format!("{}: read again it has other frames", path.display())))
}

/// As [`cut_again`], for one frame of the camera.
#[cfg(feature = "encode")]
pub fn cut_crop(timed: &TimedFrame, aligned: &AlignedFrame, shift: &Shift) -> Result<AlignedFrame> {
    effigy::encode::align::cut_again(timed, aligned, shift, AlignOptions::default().blur_outside)
}

/// A lossless clip of crops that begins with the first of them; nothing without a path.
struct CropFile<'a> {
    path: Option<&'a PathBuf>,
    camera: Camera,
    writer: Option<ClipWriter>,
}

impl<'a> CropFile<'a> {
    fn new(path: Option<&'a PathBuf>, camera: Camera) -> Self {
        CropFile { path, camera, writer: None }
    }

    fn write(&mut self, crop: &AlignedFrame) -> Result<()> {
        let Some(path) = self.path else { return Ok(()) };
        let writer = match &mut self.writer {
            Some(writer) => writer,
            empty => {
                let (width, height, time_base) = (crop.frame.width, crop.frame.height, self.camera.time_base);
                let options = WriteOptions { origin: crop.pts, frame_rate: self.camera.frame_rate, ..WriteOptions::default() };
                empty.insert(ClipWriter::create(path, width, height, time_base, &options)?)
            }
        };
        writer.write(crop.pts, &crop.frame)
    }

    fn finish(self) -> Result<()> {
        self.writer.map_or(Ok(()), ClipWriter::finish)
    }
}

/// Crops as they are: upright, filling their own camera frame.
fn read_crops(reader: ClipReader, side: u32, keep: &mut dyn FnMut(AlignedFrame) -> Result<()>) -> Result<()> {
    for (i, timed) in reader.enumerate() {
        let TimedFrame { pts, frame } = timed?;
        if (frame.width, frame.height) != (side, side) {
            let (w, h) = (frame.width, frame.height);
            return Err(Error::Misuse(format!("aligned input must be {side} x {side} for this pack, not {w} x {h}")));
        }
        keep(AlignedFrame::whole(pts, frame, i == 0))?;
    }
    Ok(())
}

#[cfg(feature = "encode")]
fn align(mut reader: ClipReader, crops: Crops, keep: &mut dyn FnMut(AlignedFrame) -> Result<()>) -> Result<()> {
    let mut options = AlignOptions { resolution: crops.side, references: crops.references, ..AlignOptions::default() };
    let mut most = options.lookahead;
    if crops.live {
        (options.lookahead, options.quick, most) = (1, true, 1);
    } else if !options.references.is_empty() {
        // Somebody who is known is found by any frame that resembles what is known of them.
        options.lookahead = KNOWN_LOOKAHEAD;
        let (width, height) = (reader.info().width, reader.info().height);
        most = (KNOWN_BYTES / (3 * width as usize * height as usize).max(1)).clamp(KNOWN_LOOKAHEAD, KNOWN_MOST);
    }
    let mut aligner = Aligner::new(&options)?;
    let ahead: Vec<TimedFrame> = reader.by_ref().take(most).collect::<Result<_>>()?;
    if ahead.is_empty() {
        return Ok(());
    }
    aligner.start(&ahead)?;
    for timed in ahead.into_iter().map(Ok).chain(reader) {
        keep(aligner.push(&timed?)?)?;
    }
    let summary = aligner.summary();
    if summary.lost > 0 {
        log::warn!("the face was lost in {} of {} frames; there the crop stands still", summary.lost, summary.frames);
    }
    Ok(())
}

#[cfg(not(feature = "encode"))]
fn align(_: ClipReader, _: Crops, _: &mut dyn FnMut(AlignedFrame) -> Result<()>) -> Result<()> {
    Err(no_alignment())
}

fn no_alignment() -> Error {
    Error::Unsupported("this build has no alignment (feature encode): give aligned crops with --aligned-input".into())
}

/// `Err` at once where [`load`] would fail for want of alignment, before other work.
pub fn check_build(args: &ClipArgs) -> Result<()> {
    if cfg!(feature = "encode") || args.aligned_input {
        return Ok(());
    }
    Err(no_alignment())
}
