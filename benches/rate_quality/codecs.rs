//! The conventional codecs, through ffmpeg.
//!
//! Input: a clip's frames (8-bit RGB) through a pipe. Output: bytes of the elementary stream and the frames decoded from it, scaled
//! back up. yuv420p, BT.709, limited range; Lanczos both ways.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use clap::ValueEnum;
use effigy::frame::Frame;
use effigy::{Error, Result};

use crate::clip::Clip;
use crate::rows::{Key, Row};

/// A codec that ffmpeg can drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Codec {
    /// libx264, veryslow
    X264,
    /// libx265, veryslow
    X265,
    /// libsvtav1, preset 4
    Svt,
    /// libaom-av1, cpu-used 4
    Aom,
}

/// Qualities from the lowest rate up: H.264 and HEVC end at 51, AV1 at 63.
const CRF_X26: [u32; 6] = [51, 45, 38, 32, 27, 23];
const CRF_AV1: [u32; 6] = [63, 57, 49, 41, 33, 26];
/// What both directions of the colour conversion use.
const SWSCALE: &str = "flags=lanczos+accurate_rnd+full_chroma_int+full_chroma_inp";
/// A second key frame is never asked for.
const KEY_DISTANCE: &str = "9999";

impl Codec {
    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Codec::X264 => "x264",
            Codec::X265 => "x265",
            Codec::Svt => "svt",
            Codec::Aom => "aom",
        }
    }

    /// What ffmpeg calls it.
    fn encoder(self) -> &'static str {
        match self {
            Codec::X264 => "libx264",
            Codec::X265 => "libx265",
            Codec::Svt => "libsvtav1",
            Codec::Aom => "libaom-av1",
        }
    }

    /// Smallest side that the encoder takes.
    fn least_side(self) -> u32 {
        match self {
            Codec::Svt => 64,
            _ => 16,
        }
    }

    /// A raw stream where the format has one with its own frame borders. AV1 goes into Matroska, whose packets hold all of it but
    /// the two bytes per frame that only mark where the next one begins.
    fn extension(self) -> &'static str {
        match self {
            Codec::X264 => "h264",
            Codec::X265 => "hevc",
            Codec::Svt | Codec::Aom => "mkv",
        }
    }

    fn arguments(self, crf: u32) -> Vec<String> {
        let crf = crf.to_string();
        let list: Vec<&str> = match self {
            // Type 6 is supplemental information: x264 writes its own settings there, 600 bytes that no decoder needs.
            Codec::X264 => vec!["-preset", "veryslow", "-crf", &crf, "-bsf:v", "filter_units=remove_types=6"],
            Codec::X265 => {
                let quiet = "log-level=error:info=0:keyint=-1:pools=none:frame-threads=1";
                vec!["-preset", "veryslow", "-crf", &crf, "-x265-params", quiet]
            }
            Codec::Svt => vec!["-preset", "4", "-crf", &crf, "-svtav1-params", "lp=1"],
            Codec::Aom => vec!["-cpu-used", "4", "-crf", &crf, "-b:v", "0", "-row-mt", "0"],
        };
        list.into_iter().map(String::from).collect()
    }

    /// What is tried on `clip`; sizes that the encoder does not take are left out.
    pub fn ladder(self, scales: &[u32], points: u8, clip: &Clip) -> Vec<Setting> {
        let crf = match self {
            Codec::X264 | Codec::X265 => CRF_X26,
            Codec::Svt | Codec::Aom => CRF_AV1,
        };
        let fits = |scale: &&u32| {
            let (width, height) = reduced(clip.size(), **scale);
            width.min(height) >= self.least_side()
        };
        let each = |scale: &u32| {
            crf.into_iter().take(points.into()).map(|crf| Setting { codec: self, scale: *scale, crf }).collect::<Vec<_>>()
        };
        scales.iter().filter(fits).flat_map(each).collect()
    }
}

/// Sides divided by `scale`, even, as 4:2:0 needs them.
fn reduced((width, height): (u32, u32), scale: u32) -> (u32, u32) {
    let side = |n: u32| (n / (2 * scale)).max(1) * 2;
    (side(width), side(height))
}

/// One coding to try.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    codec: Codec,
    scale: u32,
    crf: u32,
}

impl Setting {
    /// What its row is known by.
    pub fn key(&self, clip: &Clip) -> Key {
        Key::new(clip, self.codec.name(), self.scale, format!("crf {}", self.crf))
    }

    /// Encodes, counts, decodes, compares; the coded file stays in `folder`/work only while it is needed.
    pub fn measure(&self, clip: &Clip, folder: &Path) -> Result<Row> {
        let work = folder.join("work");
        std::fs::create_dir_all(&work).map_err(|e| Error::io("create", &work, e))?;
        let name = format!("{}-{}-{}-{}.{}", clip.hash, self.codec.name(), self.scale, self.crf, self.codec.extension());
        let path = work.join(name);
        self.encode(clip, &path)?;
        let packets = packet_sizes(&path)?;
        let decoded = decode(&path, clip.size(), clip.frames.len())?;
        std::fs::remove_file(&path).map_err(|e| Error::io("remove", &path, e))?;
        let mut row = Row::new(self.key(clip), clip, &decoded)?;
        row.bytes = packets.iter().sum();
        row.first_bytes = packets.first().copied().unwrap_or(0);
        Ok(row)
    }

    fn encode(&self, clip: &Clip, path: &Path) -> Result<()> {
        let (width, height) = reduced(clip.size(), self.scale);
        let mut command = reading_frames(clip);
        command.arg("-vf").arg(to_yuv(width, height)).args(["-c:v", self.codec.encoder(), "-g", KEY_DISTANCE, "-threads", "1"]);
        command.args(self.codec.arguments(self.crf)).args(TAGS).arg("-y").arg(path);
        feed(command, clip)?;
        Ok(())
    }
}

const TAGS: [&str; 8] = ["-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709", "-color_range", "tv"];

fn to_yuv(width: u32, height: u32) -> String {
    format!("scale={width}:{height}:{SWSCALE}:out_color_matrix=bt709:out_range=tv,format=yuv420p")
}

fn to_rgb((width, height): (u32, u32)) -> String {
    format!("scale={width}:{height}:{SWSCALE}:in_color_matrix=bt709:in_range=tv:out_range=pc,format=rgb24")
}

fn ffmpeg() -> Command {
    let mut command = Command::new("ffmpeg");
    // SVT-AV1 talks past ffmpeg's log; 1 is errors only.
    command.args(["-v", "error", "-nostdin"]).env("SVT_LOG", "1").stderr(Stdio::piped());
    command
}

/// ffmpeg that reads the clip's frames from its standard input.
fn reading_frames(clip: &Clip) -> Command {
    let ((width, height), (num, den)) = (clip.size(), clip.rate);
    let mut command = ffmpeg();
    command.args(["-f", "rawvideo", "-pix_fmt", "rgb24", "-threads", "1"]);
    command.args(["-s", &format!("{width}x{height}"), "-r", &format!("{num}/{den}"), "-i", "pipe:0"]);
    command.stdin(Stdio::piped());
    command
}

fn start(command: &mut Command) -> Result<Child> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.spawn().map_err(|e| Error::Device(format!("cannot start {name}: {e}")))
}

/// Runs to the end; `Err` with the first line of what it said if it failed.
fn finish(child: Child) -> Result<Vec<u8>> {
    let out = child.wait_with_output().map_err(|e| Error::Device(format!("ffmpeg: {e}")))?;
    if out.status.success() {
        return Ok(out.stdout);
    }
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    Err(Error::Device(format!("ffmpeg failed: {}", said.lines().next().unwrap_or("no reason given"))))
}

/// Sends all frames and returns what came out on standard output, if it is a pipe.
fn feed(mut command: Command, clip: &Clip) -> Result<Vec<u8>> {
    let mut child = start(&mut command)?;
    let mut pipe = child.stdin.take().expect("standard input was asked for as a pipe");
    std::thread::scope(|scope| {
        // Apart from the reading of what comes out, lest both sides wait for each other.
        scope.spawn(move || {
            for frame in &clip.frames {
                // A child that gives up says why when it is waited for.
                if pipe.write_all(&frame.data).is_err() {
                    break;
                }
            }
        });
        finish(child)
    })
}

/// Bytes of each packet, in the order of the file.
fn packet_sizes(path: &Path) -> Result<Vec<u64>> {
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error", "-show_entries", "packet=size", "-of", "csv=p=0"]).arg(path);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let text = finish(start(&mut command)?)?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let sizes: Vec<u64> = text.lines().filter_map(|line| line.trim_end_matches(',').parse().ok()).collect();
    match sizes.is_empty() {
        true => Err(Error::Device(format!("ffprobe tells no packets of {}", path.display()))),
        false => Ok(sizes),
    }
}

/// The frames of a coded file at `size`; there must be `count` of them.
fn decode(path: &PathBuf, size: (u32, u32), count: usize) -> Result<Vec<Frame>> {
    let mut command = ffmpeg();
    command.args(["-threads", "1", "-i"]).arg(path).args(["-fps_mode", "passthrough", "-vf", &to_rgb(size)]);
    command.args(["-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:1"]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = start(&mut command)?;
    let mut pipe = child.stdout.take().expect("standard output was asked for as a pipe");
    let mut bytes = Vec::new();
    pipe.read_to_end(&mut bytes).map_err(|e| Error::io("read what was decoded of", path, e))?;
    finish(child)?;
    frames(&bytes, size, count)
}

fn frames(bytes: &[u8], (width, height): (u32, u32), count: usize) -> Result<Vec<Frame>> {
    let each = 3 * width as usize * height as usize;
    if bytes.len() != each * count {
        let found = bytes.len() as f64 / each as f64;
        return Err(Error::Device(format!("ffmpeg gave {found} frames of {width} x {height}, expected {count}")));
    }
    bytes.chunks_exact(each).map(|data| Frame::new(width, height, data.to_vec())).collect()
}

/// RGB to yuv420p and back with no codec in between.
pub fn round_trip(key: Key, clip: &Clip) -> Result<Row> {
    let (width, height) = clip.size();
    let mut command = reading_frames(clip);
    command.arg("-vf").arg(format!("{},{}", to_yuv(width, height), to_rgb(clip.size())));
    command.args(["-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:1"]).stdout(Stdio::piped());
    let bytes = feed(command, clip)?;
    Row::new(key, clip, &frames(&bytes, clip.size(), clip.frames.len())?)
}

/// `Err(Unsupported)` naming the encoders that this ffmpeg lacks.
pub fn check(codecs: &[Codec]) -> Result<()> {
    let mut command = Command::new("ffmpeg");
    command.args(["-hide_banner", "-encoders"]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let text = finish(start(&mut command)?)?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let has = |name: &str| text.lines().any(|line| line.split_whitespace().nth(1) == Some(name));
    let missing: Vec<&str> = codecs.iter().map(|c| c.encoder()).filter(|name| !has(name)).collect();
    match missing.is_empty() {
        true => Ok(()),
        false => Err(Error::Unsupported(format!("this ffmpeg has no {}; --codecs chooses others", missing.join(", ")))),
    }
}
