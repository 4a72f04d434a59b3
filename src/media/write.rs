//! Frames into a clip: `.mkv` (FFV1, lossless RGB), `.mp4` (H.264, BT.709) or a folder of PNG, each frame at its exact time stamp.
//!
//! Input: RGB frames with stamps in ticks of a time base, and the clip whose sound goes with them. Output: a file that appears under
//! its own name only when it is complete.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use super::child::{ffmpeg, file_url, input_guard, reason, Process};
use super::image::{write_png_timed, SYNTHETIC_NOTE, SYNTHETIC_TERM};
use super::matroska::{retime, RawStream};
use super::probe::TIME_BASE_KEY;
use super::sound::{extract_sound, AudioSource, SoundCoding};
use crate::error::{Error, Result};
use crate::frame::{Frame, TimeBase};
use crate::limits::{MAX_FRAMES, MAX_FRAME_SIDE};

/// Constant rate factor of H.264: visually close to lossless.
const H264_QUALITY: &str = "16";

/// How a clip is written.
#[derive(Clone, Debug, Default)]
pub struct WriteOptions {
    /// Sound track, copied without loss where the container can hold it.
    pub audio: Option<AudioSource>,
    /// Mark the clip as made by a model, in the file's metadata.
    pub synthetic: bool,
    /// Comment in the file's metadata.
    pub comment: Option<String>,
    /// The stamp that becomes time zero of the output, ticks.
    pub origin: i64,
    /// Nominal frames per second as a fraction: a hint for players; stamps do not depend on it.
    pub frame_rate: Option<(u32, u32)>,
}

/// Writes a clip frame by frame. Dropped without [`ClipWriter::finish`], it leaves nothing behind.
pub struct ClipWriter {
    path: PathBuf,
    part: PathBuf,
    size: (u32, u32),
    time_base: TimeBase,
    options: WriteOptions,
    last_pts: Option<i64>,
    sink: Option<Sink>,
}

enum Sink {
    /// A file by ffmpeg.
    Child { process: Process, input: ChildStdin, stream: RawStream, target: Target, stamps: Vec<i64> },
    /// Numbered pictures in the folder `part`.
    Folder { written: u64 },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Target {
    Ffv1,
    H264,
}

impl ClipWriter {
    /// Begins a clip of `width` x `height` frames. The name chooses the kind: `.mkv`, `.mp4`, an existing folder or a name that ends in `/`.
    /// H.264 needs even sides: an odd one is padded by repeating the last row or column.
    ///
    /// # Errors
    /// `Unsupported` for other names, `Limit` for the size, `Io` if the place cannot be written, `Device` without ffmpeg.
    pub fn create(path: impl AsRef<Path>, width: u32, height: u32, time_base: TimeBase, options: &WriteOptions) -> Result<Self> {
        let path = path.as_ref();
        if width == 0 || height == 0 || width > MAX_FRAME_SIDE || height > MAX_FRAME_SIDE {
            return Err(Error::Limit(format!("frame of {width} x {height}: sides must be 1 to {MAX_FRAME_SIDE}")));
        }
        if time_base.num == 0 || time_base.den == 0 || time_base.den > i32::MAX as u32 || time_base.num > i32::MAX as u32 {
            return Err(Error::Misuse(format!("time base {}/{}: both must be 1 to 2^31 - 1", time_base.num, time_base.den)));
        }
        let target = target(path)?;
        let part = part_name(path, target)?;
        let mut writer = ClipWriter {
            path: path.to_path_buf(),
            part,
            size: (width, height),
            time_base,
            options: options.clone(),
            last_pts: None,
            sink: None,
        };
        writer.sink = Some(match target {
            None => {
                fs::create_dir_all(&writer.part).map_err(|e| Error::io("create", &writer.part, e))?;
                Sink::Folder { written: 0 }
            }
            Some(target) => writer.start(target)?,
        });
        Ok(writer)
    }

    /// Adds a frame shown from `pts` on, ticks. Stamps must rise, and not lie before [`WriteOptions::origin`].
    ///
    /// # Errors
    /// `Misuse` for a wrong size or stamp; `Io` or `Device` when writing fails (disk full, ffmpeg stopped).
    pub fn write(&mut self, pts: i64, frame: &Frame) -> Result<()> {
        if (frame.width, frame.height) != self.size {
            let (w, h) = self.size;
            return Err(Error::Misuse(format!("frame of {} x {} for a clip of {w} x {h}", frame.width, frame.height)));
        }
        let stamp = pts
            .checked_sub(self.options.origin)
            .filter(|s| *s >= 0)
            .ok_or_else(|| Error::Misuse(format!("time stamp {pts} lies before the clip's beginning {}", self.options.origin)))?;
        if let Some(last) = self.last_pts.filter(|last| pts <= *last) {
            return Err(Error::Misuse(format!("time stamp {pts} after {last}: stamps must rise")));
        }
        self.last_pts = Some(pts);
        match self.sink.as_mut() {
            Some(Sink::Folder { written }) => {
                *written += 1;
                let path = self.part.join(frame_name(*written));
                write_png_timed(&path, frame, self.options.synthetic, Some((stamp, self.time_base)))
            }
            Some(Sink::Child { input, stream, target, stamps, .. }) => {
                if stamps.len() as u64 >= MAX_FRAMES {
                    return Err(Error::Limit(format!("clip of more than {MAX_FRAMES} frames")));
                }
                stamps.push(stamp);
                let padded = (*target == Target::H264).then(|| pad_to_even(frame)).flatten();
                let frame = padded.as_ref().unwrap_or(frame);
                let sent = input.write_all(&stream.packet_head(stamp, frame)).and_then(|()| input.write_all(&frame.data));
                sent.map_err(|e| self.stopped(&e))
            }
            None => Err(Error::Misuse("this clip has failed before".into())),
        }
    }

    /// Completes the clip and gives it its name.
    ///
    /// # Errors
    /// `NoContent` if no frame was written; `Io` or `Device` when writing fails. The output does not appear then.
    pub fn finish(mut self) -> Result<()> {
        if self.last_pts.is_none() {
            return Err(Error::NoContent(format!("{}: no frame to write", self.path.display())));
        }
        match self.sink.take() {
            Some(Sink::Folder { written }) => self.publish_folder(written),
            Some(Sink::Child { mut process, input, target, stamps, .. }) => {
                drop(input);
                let (success, message) = process.wait()?;
                if !success {
                    return Err(self.failure(&message));
                }
                if target == Target::Ffv1 {
                    self.retime(&stamps)?;
                }
                fs::rename(&self.part, &self.path).map_err(|e| Error::io("write", &self.path, e))
            }
            None => Err(Error::Misuse("this clip has failed before".into())),
        }
    }

    fn start(&self, target: Target) -> Result<Sink> {
        let (width, height) = match target {
            Target::Ffv1 => self.size,
            Target::H264 => (self.size.0.next_multiple_of(2), self.size.1.next_multiple_of(2)),
        };
        let (stream, head) = RawStream::new(width, height, self.time_base, self.options.frame_rate);
        let mut command = ffmpeg();
        command.args(["-copyts", "-protocol_whitelist", "pipe", "-f", "matroska", "-i", "pipe:0"]);
        let sound = self.extract_sound(target)?;
        if let Some(sound) = &sound {
            command.args(input_guard()).arg("-i").arg(file_url(sound));
        }
        command.args(["-map", "0:v:0", "-fps_mode", "passthrough"]);
        command.arg("-enc_time_base").arg(format!("1:{}", self.time_base.den));
        command.args(video_options(target));
        if target == Target::H264 {
            let ticks = self.time_base.den.to_string();
            command.args(["-video_track_timescale", &ticks, "-movie_timescale", &ticks]);
        }
        if sound.is_some() {
            command.args(["-map", "1:a:0", "-c:a", "copy"]);
        }
        self.add_metadata(&mut command, target);
        let format = if target == Target::Ffv1 { "matroska" } else { "mp4" };
        command.args(["-f", format, "-y"]).arg(file_url(&self.part)).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut process = Process::start(&mut command, |_| ())?;
        let mut input = process.child().stdin.take().expect("stdin was requested as a pipe just above");
        if let Err(e) = input.write_all(&head) {
            let (_, message) = process.wait()?;
            return Err(if message.is_empty() { Error::io("write", &self.path, e) } else { self.failure(&message) });
        }
        Ok(Sink::Child { process, input, stream, target, stamps: Vec::new() })
    }

    /// Puts the coded range's sound into a file of its own; returns its name, None when there is no sound.
    fn extract_sound(&self, target: Target) -> Result<Option<PathBuf>> {
        let Some(source) = self.options.audio.as_ref().filter(|s| !s.path.is_dir()) else { return Ok(None) };
        let coding = match target {
            Target::Ffv1 => SoundCoding::Copy,
            Target::H264 => SoundCoding::ForMp4,
        };
        let sound = self.sound_part();
        Ok(extract_sound(source, coding, &sound)?.map(|_| sound))
    }

    fn sound_part(&self) -> PathBuf {
        self.part.with_extension("sound")
    }

    fn add_metadata(&self, command: &mut std::process::Command, target: Target) {
        let mut comment = self.options.comment.clone().unwrap_or_default();
        if self.options.synthetic {
            let separator = if comment.is_empty() { "" } else { "; " };
            comment = format!("{comment}{separator}{SYNTHETIC_NOTE}; {SYNTHETIC_TERM}");
        }
        command.args(["-map_metadata", "-1", "-map_chapters", "-1"]);
        if !comment.is_empty() {
            command.arg("-metadata").arg(format!("comment={comment}"));
        }
        if target == Target::Ffv1 {
            let base = format!("{TIME_BASE_KEY}={}/{}", self.time_base.num, self.time_base.den);
            command.arg("-metadata").arg(base);
            if self.options.synthetic {
                command.args(["-metadata", "synthetic=1"]).arg("-metadata").arg(format!("digital_source_type={SYNTHETIC_TERM}"));
            }
        }
    }

    /// Gives the pictures of ffmpeg's file their exact stamps.
    fn retime(&self, stamps: &[i64]) -> Result<()> {
        let exact = self.part.with_extension("exact");
        let result = File::open(&self.part)
            .and_then(|input| retime(input, File::create(&exact)?, stamps, self.time_base))
            .and_then(|()| fs::rename(&exact, &self.part));
        if result.is_err() {
            // It may not exist; the reason to report is the first error.
            let _ = fs::remove_file(&exact);
        }
        result.map_err(|e| Error::io("write", &self.path, e))
    }

    fn publish_folder(&self, written: u64) -> Result<()> {
        let io = |e| Error::io("write", &self.path, e);
        if !self.path.is_dir() {
            return fs::rename(&self.part, &self.path).map_err(io);
        }
        for n in 1..=written {
            fs::rename(self.part.join(frame_name(n)), self.path.join(frame_name(n))).map_err(io)?;
        }
        fs::remove_dir(&self.part).map_err(io)
    }

    /// The pipe broke: ffmpeg's own words say why.
    fn stopped(&mut self, e: &std::io::Error) -> Error {
        let Some(Sink::Child { mut process, input, .. }) = self.sink.take() else {
            return Error::Misuse("this clip has failed before".into());
        };
        drop(input);
        match process.wait() {
            Ok((_, message)) if !message.is_empty() => self.failure(&message),
            _ => Error::Device(format!("{}: ffmpeg stopped ({e})", self.path.display())),
        }
    }

    fn failure(&self, message: &str) -> Error {
        let why = if message.is_empty() { "no reason given" } else { reason(message) };
        Error::Device(format!("{}: ffmpeg could not write it ({why})", self.path.display()))
    }
}

impl Drop for ClipWriter {
    fn drop(&mut self) {
        // Ends ffmpeg before its files are removed; what does not exist (any more) needs no removal.
        self.sink = None;
        let _ = fs::remove_file(&self.part);
        let _ = fs::remove_file(self.sound_part());
        let _ = fs::remove_dir_all(&self.part);
    }
}

/// The kind of output a name asks for; None: a folder of PNG.
fn target(path: &Path) -> Result<Option<Target>> {
    if path.is_dir() || path.to_string_lossy().ends_with('/') {
        return Ok(None);
    }
    let extension = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    match extension.as_str() {
        "mkv" => Ok(Some(Target::Ffv1)),
        "mp4" => Ok(Some(Target::H264)),
        _ => {
            Err(Error::Unsupported(format!("output {}: the name must end in .mkv, .mp4 or / (a folder of PNG)", path.display())))
        }
    }
}

/// A name for the unfinished output, in the same file system as the final one and unique in this process.
fn part_name(path: &Path, target: Option<Target>) -> Result<PathBuf> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = path.file_name().ok_or_else(|| Error::Misuse(format!("output {} has no name", path.display())));
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if target.is_none() && path.is_dir() {
        return Ok(path.join(format!(".{}-{number}.part", std::process::id())));
    }
    if target.is_none() {
        fs::create_dir_all(parent).map_err(|e| Error::io("create", parent, e))?;
    } else if !parent.is_dir() {
        let missing = std::io::Error::from(std::io::ErrorKind::NotFound);
        return Err(Error::io("write into the folder", parent, missing));
    }
    Ok(parent.join(format!(".{}.{}-{number}.part", name?.to_string_lossy(), std::process::id())))
}

fn frame_name(number: u64) -> String {
    format!("frame-{number:06}.png")
}

fn video_options(target: Target) -> &'static [&'static str] {
    match target {
        Target::Ffv1 => &["-c:v", "ffv1", "-level", "3", "-g", "1", "-slicecrc", "1", "-pix_fmt", "bgr0"],
        Target::H264 => &[
            "-vf",
            "scale=out_color_matrix=bt709:out_range=tv:flags=bicubic+accurate_rnd+full_chroma_int+full_chroma_inp,format=yuv420p",
            "-c:v",
            "libx264",
            "-preset",
            "medium",
            "-crf",
            H264_QUALITY,
            "-colorspace",
            "bt709",
            "-color_primaries",
            "bt709",
            "-color_trc",
            "bt709",
            "-color_range",
            "tv",
            "-movflags",
            "+faststart",
        ],
    }
}

/// Whether [`ClipWriter`] makes a folder of pictures of this name: no sound goes there.
pub fn names_folder(path: &Path) -> bool {
    matches!(target(path), Ok(None))
}

/// The frame with even sides, None if it has them already.
fn pad_to_even(frame: &Frame) -> Option<Frame> {
    let (width, height) = (frame.width.next_multiple_of(2), frame.height.next_multiple_of(2));
    if (width, height) == (frame.width, frame.height) {
        return None;
    }
    let mut data = Vec::with_capacity(3 * width as usize * height as usize);
    for y in 0..height {
        for x in 0..width {
            data.extend_from_slice(&frame.pixel(x.min(frame.width - 1), y.min(frame.height - 1)));
        }
    }
    Frame::new(width, height, data).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_sides_are_padded_by_their_last_pixels() {
        let frame = Frame::new(1, 1, vec![1, 2, 3]).unwrap();
        let padded = pad_to_even(&frame).unwrap();
        assert_eq!((padded.width, padded.height), (2, 2));
        assert_eq!(padded.data, [1, 2, 3].repeat(4));
    }

    #[test]
    fn an_unknown_extension_is_named() {
        let e = target(Path::new("/nowhere/out.avi")).err().unwrap();
        assert!(e.to_string().contains("out.avi"), "{e}");
    }
}
