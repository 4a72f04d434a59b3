//! What a clip is, without decoding it.
//!
//! Input: a path. Output: [`ClipInfo`]: picture size after rotation, time base, frame rate, length. Source: `ffprobe -of json`.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::child::{error_text, file_url, input_guard, not_started, reason};
use crate::error::{Error, Result};
use crate::frame::TimeBase;
use crate::limits::MAX_FRAME_SIDE;

/// Metadata key of our Matroska files: the exact time base that their nanosecond stamps stand for.
pub(super) const TIME_BASE_KEY: &str = "EFFIGY_TIME_BASE";

/// What is known about a clip before it is decoded.
#[derive(Clone, Debug, PartialEq)]
pub struct ClipInfo {
    /// Pixels per row, rotation applied.
    pub width: u32,
    /// Rows, rotation applied.
    pub height: u32,
    /// Duration of one tick of the frames' time stamps.
    pub time_base: TimeBase,
    /// Average frames per second as an exact fraction, if the container says so.
    pub frame_rate: Option<(u32, u32)>,
    /// Number of frames, if the container says so (a hint: counting needs decoding).
    pub frames: Option<u64>,
    /// Length, seconds, if the container says so.
    pub duration: Option<f64>,
    /// Whether there is sound.
    pub has_audio: bool,
    /// Codec of the first sound track as ffmpeg calls it.
    pub audio_codec: Option<String>,
    /// Rotation that the file asks for and that reading applies, degrees clockwise: 0, 90, 180 or 270.
    pub rotation: u32,
    /// Time base of the stamps inside the file; differs from `time_base` for Matroska files that name their exact time base.
    pub(super) stored_time_base: TimeBase,
}

/// Describes the clip or picture at `path`. A folder is not a clip for `probe`: open it with [`super::ClipReader`].
///
/// # Errors
/// `Io` if the file cannot be opened, `Malformed` if it is no media file, `NoContent` if it has no video, `Device` without ffprobe.
pub fn probe(path: impl AsRef<Path>) -> Result<ClipInfo> {
    let path = path.as_ref();
    check_file(path)?;
    // Cameras write how a picture was held into the picture, not beside it.
    let first: &[&str] = if names_picture(path) { &["-show_frames", "-read_intervals", "%+#1"] } else { &[] };
    describe(path, &run_ffprobe(path, &[forced_format(path), &["-show_streams", "-show_format"], first].concat())?)
}

/// Codec of the first sound track of the clip or sound file at `path`, if there is one.
///
/// # Errors
/// As [`probe`], but nothing is asked of the video. `format`: arguments that name the container, if it is known.
pub(super) fn sound_codec(path: &Path, format: &[&str]) -> Result<Option<String>> {
    check_file(path)?;
    let json = run_ffprobe(path, &[format, &["-show_streams", "-show_format"]].concat())?;
    Ok(audio(&json).and_then(codec))
}

/// Whether the Matroska file at `path` has any packet of sound.
pub(super) fn has_packet(path: &Path) -> Result<bool> {
    let first = ["-f", "matroska", "-select_streams", "a:0", "-show_packets", "-read_intervals", "%+#1"];
    Ok(run_ffprobe(path, &first)?["packets"].as_array().is_some_and(|packets| !packets.is_empty()))
}

/// The first sound track.
fn audio(json: &Value) -> Option<&Value> {
    json["streams"].as_array()?.iter().find(|s| s["codec_type"] == "audio")
}

fn codec(track: &Value) -> Option<String> {
    track["codec_name"].as_str().map(str::to_string)
}

/// Errors that the file system can tell, in its own words.
fn check_file(path: &Path) -> Result<()> {
    let file = std::fs::File::open(path).map_err(|e| Error::io("open", path, e))?;
    let meta = file.metadata().map_err(|e| Error::io("open", path, e))?;
    if meta.is_dir() {
        return Err(Error::Misuse(format!("{} is a folder, not a clip", path.display())));
    }
    if meta.is_file() && meta.len() == 0 {
        return Err(Error::Malformed(format!("{}: the file is empty", path.display())));
    }
    Ok(())
}

/// Whether the name is that of a still picture.
pub fn names_picture(path: impl AsRef<Path>) -> bool {
    !forced_format(path.as_ref()).is_empty()
}

/// Pictures are read by content: by default a name with `%03d` in it would stand for a whole row of files.
pub(super) fn forced_format(path: &Path) -> &'static [&'static str] {
    let extension = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    match extension.as_str() {
        "jpg" | "jpeg" => &["-f", "jpeg_pipe"],
        "png" => &["-f", "png_pipe"],
        "webp" => &["-f", "webp_pipe"],
        "bmp" => &["-f", "bmp_pipe"],
        "tif" | "tiff" => &["-f", "tiff_pipe"],
        _ => &[],
    }
}

fn run_ffprobe(path: &Path, arguments: &[&str]) -> Result<Value> {
    let mut command = Command::new("ffprobe");
    command.args(["-hide_banner", "-loglevel", "repeat+level+error"]).args(input_guard());
    command.args(["-of", "json"]).args(arguments).arg(file_url(path)).stdin(Stdio::null());
    let out = command.output().map_err(|e| not_started(&command, &e))?;
    if !out.status.success() {
        let messages = String::from_utf8_lossy(&out.stderr);
        let last = messages.lines().rev().find_map(error_text).unwrap_or_default();
        return Err(Error::Malformed(format!(
            "{}: not a clip or picture that ffmpeg can read ({})",
            path.display(),
            reason(&last)
        )));
    }
    serde_json::from_slice(&out.stdout).map_err(|e| Error::Malformed(format!("answer of ffprobe about {}: {e}", path.display())))
}

fn describe(path: &Path, json: &Value) -> Result<ClipInfo> {
    let none = Vec::new();
    let streams = json["streams"].as_array().unwrap_or(&none);
    let video = streams
        .iter()
        .find(|s| s["codec_type"] == "video" && s["disposition"]["attached_pic"] != 1)
        .ok_or_else(|| Error::NoContent(format!("{}: there is no video in it", path.display())))?;
    let audio = audio(json);
    let rotation = match rotation(video) {
        0 => rotation(&json["frames"][0]),
        turned => turned,
    };
    let (w, h) = (side(path, &video["width"])?, side(path, &video["height"])?);
    let (width, height) = if rotation % 180 == 90 { (h, w) } else { (w, h) };
    let stored = fraction(&video["time_base"]).ok_or_else(|| {
        Error::Malformed(format!("{}: time base {} is not a fraction above zero", path.display(), video["time_base"]))
    })?;
    let stored_time_base = TimeBase { num: stored.0, den: stored.1 };
    let named = tag(&json["format"]["tags"], TIME_BASE_KEY).and_then(fraction).map(|(num, den)| TimeBase { num, den });
    let seconds = |v: &Value| v.as_str().and_then(|s| s.parse::<f64>().ok()).filter(|s| s.is_finite() && *s > 0.0);
    Ok(ClipInfo {
        width,
        height,
        time_base: named.unwrap_or(stored_time_base),
        frame_rate: fraction(&video["avg_frame_rate"]).or_else(|| fraction(&video["r_frame_rate"])),
        frames: video["nb_frames"].as_str().and_then(|s| s.parse().ok()),
        duration: seconds(&video["duration"]).or_else(|| seconds(&json["format"]["duration"])),
        has_audio: audio.is_some(),
        audio_codec: audio.and_then(codec),
        rotation,
        stored_time_base,
    })
}

fn side(path: &Path, value: &Value) -> Result<u32> {
    match value.as_u64() {
        Some(n @ 1..) if n <= u64::from(MAX_FRAME_SIDE) => Ok(n as u32),
        Some(n @ 1..) => Err(Error::Limit(format!("{}: picture side {n}, at most {MAX_FRAME_SIDE}", path.display()))),
        _ => Err(Error::Malformed(format!("{}: the video has no picture size", path.display()))),
    }
}

/// A fraction above zero, written `30000/1001`.
fn fraction(value: &Value) -> Option<(u32, u32)> {
    let (num, den) = value.as_str()?.split_once('/')?;
    let (num, den) = (num.parse::<u32>().ok()?, den.parse::<u32>().ok()?);
    (num > 0 && den > 0).then_some((num, den))
}

/// A metadata value by name; containers change the case of names.
fn tag<'a>(tags: &'a Value, name: &str) -> Option<&'a Value> {
    tags.as_object()?.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// Rotation to the clockwise for display. The display matrix counts counter-clockwise, the older `rotate` tag clockwise.
fn rotation(video: &Value) -> u32 {
    let matrix = video["side_data_list"].as_array().and_then(|l| l.iter().find_map(|d| d["rotation"].as_f64()));
    let old_tag = tag(&video["tags"], "rotate").and_then(|v| v.as_str()).and_then(|s| s.parse::<f64>().ok());
    let clockwise = matrix.map(|r| -r).or(old_tag).unwrap_or(0.0);
    ((clockwise / 90.0).round() as i64).rem_euclid(4) as u32 * 90
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_display_matrix_swaps_the_sides() {
        let json = serde_json::json!({"streams": [{"codec_type": "video", "width": 64, "height": 32, "time_base": "1/90000",
            "avg_frame_rate": "30000/1001", "side_data_list": [{"rotation": -90}]}]});
        let info = describe(Path::new("x"), &json).unwrap();
        assert_eq!((info.width, info.height, info.rotation), (32, 64, 90));
        assert_eq!(info.frame_rate, Some((30000, 1001)));
    }

    #[test]
    fn a_zero_time_base_is_malformed() {
        let json = serde_json::json!({"streams": [{"codec_type": "video", "width": 64, "height": 32, "time_base": "1/0"}]});
        assert!(matches!(describe(Path::new("x"), &json), Err(Error::Malformed(_))));
    }

    #[test]
    fn sound_alone_has_no_video() {
        let json = serde_json::json!({"streams": [{"codec_type": "audio"}]});
        assert!(matches!(describe(Path::new("x"), &json), Err(Error::NoContent(_))));
    }
}
