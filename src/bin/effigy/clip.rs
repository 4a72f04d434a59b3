//! From a clip to aligned crops.
//!
//! Input: a camera clip, or with `--aligned-input` a clip that already is the crop. Output: [`Track`]s of all frames, and [`AlignedFrame`]s of the pack's
//! resolution, which are cut when they are asked for: a long clip is read more than once, and never in memory as a whole.

use std::path::{Path, PathBuf};

#[cfg(feature = "encode")]
use effigy::bitstream::FrameRecord;
#[cfg(feature = "encode")]
use effigy::encode::align::{cut_again, AlignOptions, AlignSummary, Aligner, FaceChoice, Shift};
use effigy::encode::{AlignedFrame, Track};
#[cfg(feature = "encode")]
use effigy::encode::{LiveEncoder, LiveFrame};
use effigy::frame::{Frame, TimeBase, TimedFrame};
use effigy::media::{ClipReader, ClipWriter, ReadOptions, WriteOptions};
#[cfg(feature = "encode")]
use effigy::params::{FrameParams, Placement};
use effigy::progress::{check, Progress};
use effigy::residual::detail_side;
use effigy::scene::cover;
use effigy::{Error, Result};
use sha2::{Digest, Sha256};

/// Which part of a clip, and what it shows.
#[derive(clap::Args, Clone, Copy, Default)]
pub struct ClipArgs {
    /// Leave out what comes before this time
    #[arg(long, value_name = "SECONDS", default_value_t = 0.0)]
    pub start: f64,
    /// Take at most this many frames
    #[arg(long, value_name = "N")]
    pub frames: Option<u64>,
    #[command(flatten)]
    pub face: FaceArgs,
    /// The clip already is the aligned crop, of the pack's resolution (as `effigy align` writes it) or twice that
    #[arg(long, conflicts_with = "face")]
    pub aligned_input: bool,
}

/// Which face.
#[derive(clap::Args, Clone, Copy, Default)]
pub struct FaceArgs {
    /// Which face to follow if several are in sight at first: largest, or its number from the left (1, 2, ...) [default: the enrolled person with
    /// --identity, else the largest]
    #[arg(long, value_name = "FACE", value_parser = parse_face)]
    face: Option<Face>,
}

#[cfg(feature = "encode")]
impl FaceArgs {
    fn choice(self) -> FaceChoice {
        match self.face {
            None => FaceChoice::Known,
            Some(Face::Largest) => FaceChoice::Largest,
            Some(Face::Number(n)) => FaceChoice::Number(n),
        }
    }
}

/// A chosen face: the largest, or its number.
#[derive(Clone, Copy)]
enum Face {
    Largest,
    // Reason: builds without alignment only refuse it.
    #[cfg_attr(not(feature = "encode"), allow(dead_code))]
    Number(usize),
}

fn parse_face(text: &str) -> std::result::Result<Face, String> {
    match (text, text.parse()) {
        ("largest", _) => Ok(Face::Largest),
        (_, Ok(n)) if n > 0 => Ok(Face::Number(n)),
        _ => Err("a face is largest or its number from the left, from 1".into()),
    }
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
    /// Where the crop of each frame sits, at least one.
    pub tracks: Vec<Track>,
    path: PathBuf,
    reading: ReadOptions,
    frames: Frames,
    /// Hash of all crops as they were first cut.
    pub seen: [u8; 32],
}

/// How many times the pack's side crops must have in the camera's frames for a detail to be learned from them.
const MORE: f64 = 1.25;

/// What a clip's frames are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Frames {
    /// The camera's: crops of this side are cut out of them.
    Camera(u32),
    /// The crops, of the pack's side.
    Crops,
    /// The crops, of twice the pack's side, which is this one.
    Larger(u32),
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
}

impl Crops<'_> {
    /// Of somebody of whom nothing is known.
    pub fn of_side(side: u32) -> Self {
        Crops { side, saved: None, references: Vec::new() }
    }
}

/// Reads a clip and follows the face in it.
pub fn load(path: &Path, args: &ClipArgs, crops: Crops, progress: &dyn Progress) -> Result<Aligned> {
    let side = crops.side;
    let reader = ClipReader::open(path, &args.reading())?;
    let (camera, total) = look_ahead(&reader, args);
    let mut saved = CropFile::new(crops.saved, camera);
    let (mut tracks, mut seen) = (Vec::new(), Sha256::new());
    let stage = if args.aligned_input { "reading crops" } else { "aligning" };
    progress.begin(stage, total);
    let keep = &mut |frame: AlignedFrame| -> Result<()> {
        check(progress)?;
        saved.write(&frame)?;
        seen.update(&frame.frame.data);
        tracks.push(frame.track());
        progress.advance(tracks.len() as u64, "");
        Ok(())
    };
    let frames = match (args.aligned_input, detail_side(side)) {
        (false, _) => Frames::Camera(side),
        (true, Some(twice)) if reader.info().width == twice => Frames::Larger(side),
        (true, _) => Frames::Crops,
    };
    match frames {
        Frames::Camera(_) => align(reader, args.face, crops, keep)?,
        Frames::Crops => read_crops(reader, (side, 1), keep)?,
        Frames::Larger(_) => read_crops(reader, (side, 2), keep)?,
    }
    progress.end();
    not_empty(path, &tracks)?;
    saved.finish()?;
    let seen = seen.finalize().into();
    Ok(Aligned { camera, tracks, path: path.to_path_buf(), reading: args.reading(), frames, seen })
}

/// The camera, and how many frames will come (0: not known).
fn look_ahead(reader: &ClipReader, args: &ClipArgs) -> (Camera, u64) {
    let info = reader.info();
    let camera = Camera { width: info.width, height: info.height, time_base: info.time_base, frame_rate: info.frame_rate };
    (camera, args.frames.or(info.frames).unwrap_or(0))
}

fn not_empty(path: &Path, tracks: &[Track]) -> Result<()> {
    match tracks.is_empty() {
        true => Err(Error::NoContent(format!("{}: no frames in the chosen part", path.display()))),
        false => Ok(()),
    }
}

/// As [`load`], with the numbers as well, and whether the person was seen: all as a call makes them, each frame as it comes.
#[cfg(feature = "encode")]
pub fn follow_live(
    path: &Path,
    args: &ClipArgs,
    side: u32,
    encoder: &mut LiveEncoder,
    progress: &dyn Progress,
) -> Result<(Aligned, Vec<FrameParams>, Vec<bool>)> {
    let reader = ClipReader::open(path, &args.reading())?;
    let (camera, total) = look_ahead(&reader, args);
    encoder.choose(args.face.choice());
    progress.begin("encode live", total);
    let (mut tracks, mut params, mut sights) = (Vec::new(), Vec::new(), Vec::new());
    for timed in reader {
        check(progress)?;
        let LiveFrame { record, confidence, seen, .. } = encoder.push(&timed?)?;
        let FrameRecord { pts, params: numbers, placement } = record;
        let whole = Placement { x: side as f32 / 2.0, y: side as f32 / 2.0, side: side as f32 };
        let placement = placement.unwrap_or(whole);
        tracks.push(Track { pts, roll: numbers.roll, placement, key: false, shot: 0, confidence });
        params.push(numbers);
        sights.push(seen);
        progress.advance(tracks.len() as u64, "");
    }
    progress.end();
    not_empty(path, &tracks)?;
    warn(&encoder.summary());
    let aligned = Aligned {
        camera,
        tracks,
        path: path.to_path_buf(),
        reading: args.reading(),
        frames: Frames::Camera(side),
        seen: [0; 32],
    };
    Ok((aligned, params, sights))
}

/// Writes the crops of a clip that a stream of it has, at another size than the stream's if one is given; returns how many, and their side.
pub fn cut_like(
    path: &Path,
    stream: &Path,
    side: Option<u32>,
    output: &PathBuf,
    progress: &dyn Progress,
) -> Result<(usize, u32)> {
    let mut reader = crate::decode::open(stream)?;
    let (header, mut records) = (reader.header().clone(), Vec::new());
    while let Some(packet) = reader.next_packet()? {
        check(progress)?;
        records.extend(packet.frames);
    }
    if !header.placement {
        return Err(crate::decode::no_placement());
    }
    let clip = ClipReader::open(path, &ReadOptions::default())?;
    crate::decode::check_camera(&header, clip.info(), path)?;
    if records.is_empty() {
        return Err(Error::NoContent(format!("{}: no frame of it can be decoded", stream.display())));
    }
    let side = side.unwrap_or(header.resolution);
    let (camera, _) = look_ahead(&clip, &ClipArgs::default());
    let mut crops = CropFile::new(Some(output), camera);
    let mut next = records.iter().peekable();
    progress.begin("cutting", records.len() as u64);
    for timed in clip {
        check(progress)?;
        let timed = timed?;
        let Some(record) = next.next_if(|record| record.pts == timed.pts) else { continue };
        let Some(placement) = record.placement else { return Err(crate::decode::no_placement()) };
        let track = Track { pts: record.pts, roll: record.params.roll, placement, key: false, shot: 0, confidence: 1.0 };
        crops.write(&cut_crop(&timed, &track, side, &Default::default())?)?;
        progress.advance((records.len() - next.len()) as u64, "");
        if next.peek().is_none() {
            break;
        }
    }
    progress.end();
    if let Some(record) = next.peek() {
        let (clip, stream) = (path.display(), stream.display());
        return Err(Error::Misuse(format!("{clip} has no frame at time stamp {}: {stream} was not encoded from it", record.pts)));
    }
    crops.finish()?;
    Ok((records.len(), side))
}

impl Aligned {
    /// The camera's frames, each with its index and track.
    pub fn frames(&self) -> Result<impl Iterator<Item = Result<(usize, TimedFrame, Track)>> + '_> {
        let mut reader = ClipReader::open(&self.path, &self.reading)?;
        Ok(self.tracks.iter().enumerate().map(move |(i, track)| match reader.next() {
            Some(timed) => {
                let timed = timed?;
                if timed.pts == track.pts {
                    Ok((i, timed, *track))
                } else {
                    Err(self.changed())
                }
            }
            None => Err(self.changed()),
        }))
    }

    fn changed(&self) -> Error {
        Error::Malformed(format!("{}: read again it has other frames", self.path.display()))
    }

    /// The crop of a frame.
    pub fn cut(&self, timed: TimedFrame, track: &Track) -> Result<AlignedFrame> {
        match self.frames {
            Frames::Camera(side) => cut_crop(&timed, track, side, &Default::default()),
            Frames::Crops => Ok(track.with(timed.frame)),
            Frames::Larger(side) => Ok(track.with(cover(&timed.frame, side, side)?)),
        }
    }

    /// All crops in order, cut as they are asked for.
    pub fn crops(&self) -> Result<impl Iterator<Item = Result<AlignedFrame>> + '_> {
        Ok(self.frames()?.map(|found| found.and_then(|(_, timed, track)| self.cut(timed, &track))))
    }

    /// The crops of the frames with these indices, which rise.
    pub fn pick(&self, indices: &[usize], progress: &dyn Progress) -> Result<Vec<AlignedFrame>> {
        self.chosen(indices, progress, |timed, track| self.cut(timed, track))
    }

    /// Whether the frames have clearly more pixels of the crops than the pack draws.
    pub fn has_more_pixels(&self) -> bool {
        let mean = self.tracks.iter().map(|track| f64::from(track.placement.side)).sum::<f64>() / self.tracks.len().max(1) as f64;
        match self.frames {
            Frames::Camera(side) | Frames::Larger(side) => mean > MORE * f64::from(side),
            Frames::Crops => false,
        }
    }

    /// The crops of the frames with these indices, which rise, at twice the pack's side, which is `side`.
    pub fn pick_larger(&self, side: u32, indices: &[usize], progress: &dyn Progress) -> Result<Vec<AlignedFrame>> {
        self.chosen(indices, progress, |timed, track| match self.frames {
            Frames::Camera(_) => cut_crop(&timed, track, side, &Default::default()),
            Frames::Crops | Frames::Larger(_) => Ok(track.with(timed.frame)),
        })
    }

    /// All crops at once.
    pub fn all(&self, progress: &dyn Progress) -> Result<Vec<AlignedFrame>> {
        let mut out = Vec::with_capacity(self.tracks.len());
        for crop in self.crops()? {
            check(progress)?;
            out.push(crop?);
        }
        Ok(out)
    }

    /// The camera's frames with these indices, which rise.
    pub fn cameras(&self, indices: &[usize], progress: &dyn Progress) -> Result<Vec<TimedFrame>> {
        self.chosen(indices, progress, |timed, _| Ok(timed))
    }

    /// What `make` makes of the frames with these indices, one at a time.
    fn chosen<T>(
        &self,
        indices: &[usize],
        progress: &dyn Progress,
        make: impl Fn(TimedFrame, &Track) -> Result<T>,
    ) -> Result<Vec<T>> {
        let mut out = Vec::with_capacity(indices.len());
        for found in self.frames()? {
            if out.len() == indices.len() {
                break;
            }
            check(progress)?;
            let (i, timed, track) = found?;
            if indices[out.len()] == i {
                out.push(make(timed, &track)?);
            }
        }
        Ok(out)
    }

    /// Indices of the frames in which the face was surely followed.
    pub fn sure(&self) -> Vec<usize> {
        (0..self.tracks.len()).filter(|i| self.tracks[*i].confidence > 0.5).collect()
    }

    /// Puts the crops where they were before.
    #[cfg(feature = "encode")]
    pub fn put(&mut self, places: &[(Placement, f32)]) {
        for (track, (placement, roll)) in self.tracks.iter_mut().zip(places) {
            (track.placement, track.roll) = (*placement, *roll);
        }
    }

    /// Moves the crops of one shot.
    #[cfg(feature = "encode")]
    pub fn move_by(&mut self, shot: u32, shift: &Shift) {
        self.tracks.iter_mut().filter(|track| track.shot == shot).for_each(|track| *track = shift.moved(track));
    }
}

/// The crop of one frame of the camera, moved by `shift`.
#[cfg(feature = "encode")]
pub fn cut_crop(timed: &TimedFrame, track: &Track, side: u32, shift: &Shift) -> Result<AlignedFrame> {
    cut_again(timed, track, side, shift, AlignOptions::default().blur_outside)
}

#[cfg(not(feature = "encode"))]
fn cut_crop(_: &TimedFrame, _: &Track, _: u32, (): &()) -> Result<AlignedFrame> {
    Err(no_alignment())
}

/// A lossless clip of crops that begins with the first of them; nothing without a path.
pub struct CropFile<'a> {
    path: Option<&'a PathBuf>,
    camera: Camera,
    writer: Option<ClipWriter>,
}

impl<'a> CropFile<'a> {
    pub fn new(path: Option<&'a PathBuf>, camera: Camera) -> Self {
        CropFile { path, camera, writer: None }
    }

    pub fn write(&mut self, crop: &AlignedFrame) -> Result<()> {
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

    pub fn finish(self) -> Result<()> {
        self.writer.map_or(Ok(()), ClipWriter::finish)
    }
}

/// Crops of `side` pixels out of frames that are so many times as large: upright, filling their own camera frame.
fn read_crops(reader: ClipReader, (side, times): (u32, u32), keep: &mut dyn FnMut(AlignedFrame) -> Result<()>) -> Result<()> {
    let wanted = side * times;
    for (i, timed) in reader.enumerate() {
        let TimedFrame { pts, frame } = timed?;
        if (frame.width, frame.height) != (wanted, wanted) {
            let (w, h) = (frame.width, frame.height);
            let or = detail_side(side).map_or(String::new(), |twice| format!(" or {twice} x {twice}"));
            return Err(Error::Misuse(format!("aligned input must be {side} x {side}{or} for this pack, not {w} x {h}")));
        }
        let crop = cover(&frame, side, side)?;
        keep(AlignedFrame { frame: crop, ..AlignedFrame::whole(pts, frame, i == 0) })?;
    }
    Ok(())
}

#[cfg(feature = "encode")]
fn align(mut reader: ClipReader, face: FaceArgs, crops: Crops, keep: &mut dyn FnMut(AlignedFrame) -> Result<()>) -> Result<()> {
    let mut options = AlignOptions { resolution: crops.side, references: crops.references, ..AlignOptions::default() };
    let mut most = options.lookahead;
    options.face = face.choice();
    if !options.references.is_empty() {
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
    warn(&aligner.summary());
    Ok(())
}

/// What a user should know of how the face was followed.
#[cfg(feature = "encode")]
fn warn(summary: &AlignSummary) {
    if summary.cuts > 0 {
        let cuts = if summary.cuts == 1 { "a cut".into() } else { format!("{} cuts", summary.cuts) };
        log::warn!("{cuts} in this clip: one and the same person is expected in all shots");
    }
    if summary.lost > 0 {
        log::warn!("the face was lost in {} of {} frames; there the crop stands still", summary.lost, summary.frames);
    }
}

#[cfg(not(feature = "encode"))]
fn align(_: ClipReader, _: FaceArgs, _: Crops, _: &mut dyn FnMut(AlignedFrame) -> Result<()>) -> Result<()> {
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
