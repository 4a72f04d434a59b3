//! Frames of a clip, in presentation order, each exactly once, with its exact time stamp.
//!
//! Input: a clip, a picture or a folder of PNG. Output: 8-bit RGB frames, rotation applied, stamps in ticks of the clip's time base.
//! ffmpeg decodes to a raw pipe; its `showinfo` filter tells the stamp of the same frame, so that frames reordered or cut by an edit
//! list cannot get out of step with their stamps.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Stdio};
use std::sync::mpsc::{channel, Receiver};

use super::child::{ffmpeg, file_url, input_guard, reason, Process};
use super::image::read_png_timed;
use super::probe::{forced_format, probe, ClipInfo};
use crate::error::{Error, Result};
use crate::frame::{Frame, TimeBase, TimedFrame};

/// Which part of a clip is read.
#[derive(Clone, Debug)]
pub struct ReadOptions {
    /// Leave out frames before this time, seconds from the clip's beginning.
    pub start: f64,
    /// Leave out this many frames (after `start`).
    pub start_frame: u64,
    /// Read at most this many frames.
    pub frames: Option<u64>,
    /// Frames per second given to a folder of PNG that carries no time stamps, as a fraction.
    pub folder_rate: (u32, u32),
}

impl Default for ReadOptions {
    fn default() -> Self {
        ReadOptions { start: 0.0, start_frame: 0, frames: None, folder_rate: (25, 1) }
    }
}

/// An iterator over the frames of a clip. It holds one frame; dropping it ends ffmpeg.
pub struct ClipReader {
    info: ClipInfo,
    source: Source,
    left: u64,
    last_pts: Option<i64>,
    done: bool,
}

enum Source {
    Child(Box<Pipe>),
    Pictures { paths: std::vec::IntoIter<PathBuf>, next: i64 },
}

/// ffmpeg at work on one clip.
struct Pipe {
    path: PathBuf,
    process: Process,
    frames: ChildStdout,
    stamps: Receiver<Stamp>,
    time_base: TimeBase,
    read: u64,
}

/// What `showinfo` says: the time base once, then one stamp per frame (None: the file has none for this frame).
#[derive(Debug, PartialEq)]
enum Stamp {
    TimeBase(TimeBase),
    Frame(Option<i64>),
}

impl ClipReader {
    /// Opens a clip, a picture (PNG or JPEG) or a folder of PNG (in the order of the numbers in their names).
    ///
    /// # Errors
    /// As [`probe`]; `Misuse` for a negative start; `NoContent` for a folder without PNG. Damage further in shows up while reading.
    pub fn open(path: impl AsRef<Path>, options: &ReadOptions) -> Result<Self> {
        let path = path.as_ref();
        if !options.start.is_finite() || options.start < 0.0 {
            return Err(Error::Misuse(format!("start of {} s: it must be 0 or later", options.start)));
        }
        if path.is_dir() {
            return open_folder(path, options);
        }
        let info = probe(path)?;
        let pipe = Pipe::start(path, &info, options)?;
        let left = options.frames.unwrap_or(u64::MAX);
        Ok(ClipReader { info, source: Source::Child(Box::new(pipe)), left, last_pts: None, done: false })
    }

    /// Size, time base and so on of the clip.
    pub fn info(&self) -> &ClipInfo {
        &self.info
    }

    fn read_next(&mut self) -> Result<Option<TimedFrame>> {
        let nominal = nominal_ticks(&self.info);
        let after_last = self.last_pts.map_or(0, |last| last.saturating_add(nominal));
        let Some((stamp, frame)) = (match &mut self.source {
            Source::Child(pipe) => pipe.next(&self.info)?,
            Source::Pictures { paths, next } => next_picture(paths, next, &self.info)?,
        }) else {
            return Ok(None);
        };
        let mut pts = stamp.unwrap_or(after_last);
        if let Some(last) = self.last_pts.filter(|last| pts <= *last) {
            log::warn!("time stamp {pts} after {last}: stamps must rise, {} is used", last.saturating_add(1));
            pts = last.saturating_add(1);
        }
        self.last_pts = Some(pts);
        Ok(Some(TimedFrame { pts, frame }))
    }
}

impl Iterator for ClipReader {
    type Item = Result<TimedFrame>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done || self.left == 0 {
            return None;
        }
        let item = self.read_next().transpose();
        self.left -= 1;
        self.done = !matches!(item, Some(Ok(_)));
        item
    }
}

impl Pipe {
    fn start(path: &Path, info: &ClipInfo, options: &ReadOptions) -> Result<Self> {
        let mut command = ffmpeg();
        command.arg("-copyts").args(input_guard()).args(forced_format(path));
        if options.start > 0.0 {
            command.arg("-ss").arg(format!("{:.6}", options.start));
        }
        command.arg("-i").arg(file_url(path)).args(["-map", "0:V:0", "-fps_mode", "passthrough"]);
        let skip = match options.start_frame {
            0 => String::new(),
            n => format!("select='gte(n\\,{n})',"),
        };
        let scale = format!("scale={}:{}:flags=bicubic+accurate_rnd+full_chroma_int+full_chroma_inp", info.width, info.height);
        command.arg("-vf").arg(format!("{skip}showinfo=checksum=0,{scale},format=rgb24"));
        if let Some(n) = options.frames {
            command.arg("-frames:v").arg(n.to_string());
        }
        command.args(["-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:1"]).stdin(Stdio::null()).stdout(Stdio::piped());
        // Not bounded: at most one small entry per frame inside ffmpeg's own queues.
        let (send, stamps) = channel();
        let mut process = Process::start(&mut command, move |line| {
            if let Some(stamp) = parse_showinfo(line) {
                // The reader may have stopped listening.
                let _ = send.send(stamp);
            }
        })?;
        let frames = process.child().stdout.take().expect("stdout was requested as a pipe just above");
        Ok(Pipe { path: path.to_path_buf(), process, frames, stamps, time_base: info.stored_time_base, read: 0 })
    }

    fn next(&mut self, info: &ClipInfo) -> Result<Option<(Option<i64>, Frame)>> {
        let mut data = vec![0u8; 3 * info.width as usize * info.height as usize];
        let got = fill(&mut self.frames, &mut data).map_err(|e| Error::io("read", &self.path, e))?;
        if got < data.len() {
            return self.finish(got).map(|()| None);
        }
        let stamp = loop {
            match self.stamps.recv() {
                Ok(Stamp::TimeBase(time_base)) => self.time_base = time_base,
                Ok(Stamp::Frame(stamp)) => break stamp,
                Err(_) => return Err(Error::Device(format!("ffmpeg gave frame {} no time stamp", self.read))),
            }
        };
        self.read += 1;
        let pts = stamp.map(|s| convert(s, self.time_base, info.time_base));
        Ok(Some((pts, Frame::new(info.width, info.height, data)?)))
    }

    /// The pipe ended: was that the clip's end?
    fn finish(&mut self, partial: usize) -> Result<()> {
        let (success, message) = self.process.wait()?;
        let path = self.path.display();
        let why = if message.is_empty() { "no reason given" } else { reason(&message) };
        if partial > 0 || !success {
            return Err(Error::Malformed(format!("{path}: decoding stopped after {} frames ({why})", self.read)));
        }
        if self.read == 0 && message.is_empty() {
            return Err(Error::NoContent(format!("{path}: no frames in the part that was asked for")));
        }
        if self.read == 0 {
            return Err(Error::Malformed(format!("{path}: no frame can be decoded ({why})")));
        }
        if !message.is_empty() {
            log::warn!("{path}: {message}");
        }
        Ok(())
    }
}

/// Reads until `data` is full or the pipe ends; returns how much was read.
fn fill(pipe: &mut impl Read, data: &mut [u8]) -> std::io::Result<usize> {
    let mut got = 0;
    while got < data.len() {
        match pipe.read(&mut data[got..]) {
            Ok(0) => break,
            Ok(n) => got += n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(got)
}

/// Reads a line such as `[Parsed_showinfo_0 @ 0x5] [info] n:   1 pts:    512 pts_time:0.04 ...`.
fn parse_showinfo(line: &str) -> Option<Stamp> {
    let text = line.strip_prefix("[Parsed_showinfo")?.split_once("[info] ")?.1;
    if let Some(rest) = text.strip_prefix("config in time_base: ") {
        let (num, den) = rest.split(',').next()?.split_once('/')?;
        let (num, den) = (num.trim().parse().ok()?, den.trim().parse().ok()?);
        return (num > 0 && den > 0).then_some(Stamp::TimeBase(TimeBase { num, den }));
    }
    let after = text.strip_prefix("n:")?.split_once("pts:")?.1;
    Some(Stamp::Frame(after.split_whitespace().next()?.parse().ok()))
}

/// A stamp in ticks of another time base, rounded to the nearest tick.
fn convert(pts: i64, from: TimeBase, to: TimeBase) -> i64 {
    if from == to {
        return pts;
    }
    let num = i128::from(pts) * i128::from(from.num) * i128::from(to.den);
    let den = i128::from(from.den) * i128::from(to.num);
    let rounded = (2 * num + den).div_euclid(2 * den);
    rounded.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
}

/// Ticks between frames at the clip's frame rate, for files without stamps.
fn nominal_ticks(info: &ClipInfo) -> i64 {
    let (num, den) = info.frame_rate.unwrap_or((25, 1));
    convert(1, TimeBase { num: den, den: num }, info.time_base).max(1)
}

fn open_folder(path: &Path, options: &ReadOptions) -> Result<ClipReader> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(path).map_err(|e| Error::io("list", path, e))? {
        let file = entry.map_err(|e| Error::io("list", path, e))?.path();
        if file.extension().is_some_and(|e| e.eq_ignore_ascii_case("png")) {
            paths.push(file);
        }
    }
    paths.sort_by_cached_key(|p| natural_key(p));
    let first = paths.first().ok_or_else(|| Error::NoContent(format!("{}: no PNG files in this folder", path.display())))?;
    let (frame, stamp) = read_png_timed(first)?;
    let (num, den) = options.folder_rate;
    if num == 0 || den == 0 {
        return Err(Error::Misuse(format!("frame rate {num}/{den} of a folder: both must be above zero")));
    }
    let time_base = stamp.map_or(TimeBase { num: den, den: num }, |(_, time_base)| time_base);
    let total = paths.len() as u64;
    let seconds = options.start * f64::from(num) / f64::from(den);
    let skip = (seconds.ceil() as u64).saturating_add(options.start_frame).min(total) as usize;
    let info = ClipInfo {
        width: frame.width,
        height: frame.height,
        time_base,
        frame_rate: stamp.is_none().then_some((num, den)),
        frames: Some(total),
        duration: stamp.is_none().then_some(total as f64 * f64::from(den) / f64::from(num)),
        has_audio: false,
        audio_codec: None,
        rotation: 0,
        stored_time_base: time_base,
    };
    let source = Source::Pictures { paths: paths.split_off(skip).into_iter(), next: skip as i64 };
    Ok(ClipReader { info, source, left: options.frames.unwrap_or(u64::MAX), last_pts: None, done: false })
}

/// Sorts `frame2` before `frame10`: runs of digits compare as numbers.
fn natural_key(path: &Path) -> Vec<(u64, String)> {
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let mut key = vec![(0, String::new())];
    let mut digits = String::new();
    for c in name.chars().chain(std::iter::once('\0')) {
        if c.is_ascii_digit() {
            digits.push(c);
            continue;
        }
        if !digits.is_empty() {
            key.push((digits.parse().unwrap_or(u64::MAX), String::new()));
            digits.clear();
        }
        if let Some(last) = key.last_mut() {
            last.1.push(c);
        }
    }
    key
}

fn next_picture(
    paths: &mut std::vec::IntoIter<PathBuf>,
    next: &mut i64,
    info: &ClipInfo,
) -> Result<Option<(Option<i64>, Frame)>> {
    let Some(path) = paths.next() else { return Ok(None) };
    let (frame, stamp) = read_png_timed(&path)?;
    if (frame.width, frame.height) != (info.width, info.height) {
        return Err(Error::Unsupported(format!(
            "{} is {} x {}, the first picture of the folder {} x {}",
            path.display(),
            frame.width,
            frame.height,
            info.width,
            info.height
        )));
    }
    let pts = stamp.map_or(*next, |(pts, time_base)| convert(pts, time_base, info.time_base));
    *next += 1;
    Ok(Some((Some(pts), frame)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn showinfo_lines_give_stamps() {
        let line = "[Parsed_showinfo_0 @ 0x5] [info] n:   1 pts:    512 pts_time:0.04    pos: 1 fmt:yuv420p";
        assert_eq!(parse_showinfo(line), Some(Stamp::Frame(Some(512))));
        assert_eq!(parse_showinfo(&line.replace("   512", "NOPTS")), Some(Stamp::Frame(None)));
        let line = "[Parsed_showinfo_1 @ 0x5] [info] config in time_base: 1001/30000, frame_rate: 25/1";
        assert_eq!(parse_showinfo(line), Some(Stamp::TimeBase(TimeBase { num: 1001, den: 30000 })));
        assert_eq!(parse_showinfo("[info] n: 1 pts: 5"), None);
    }

    #[test]
    fn stamps_convert_to_the_nearest_tick() {
        let (ns, ntsc) = (TimeBase { num: 1, den: 1_000_000_000 }, TimeBase { num: 1001, den: 30000 });
        for n in [-7, 0, 1, 2, 99_999, 10_000_000] {
            assert_eq!(convert(convert(n, ntsc, ns), ns, ntsc), n);
        }
    }

    #[test]
    fn picture_names_sort_by_their_numbers() {
        let mut names: Vec<PathBuf> = ["f10.png", "f9.png", "f010b.png", "a.png"].iter().map(PathBuf::from).collect();
        names.sort_by_cached_key(|p| natural_key(p));
        let names: Vec<_> = names.iter().map(|p| p.to_str().unwrap()).collect();
        assert_eq!(names, ["a.png", "f9.png", "f10.png", "f010b.png"]);
    }
}
