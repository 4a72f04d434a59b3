//! The sound of a clip, apart from its pictures.
//!
//! In: a clip and a range of it. Out: a Matroska file of the sound alone whose time 0 is the range's beginning. Copied without loss where the
//! container it is meant for can hold the codec.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::child::{ffmpeg, file_url, input_guard, reason, Process};
use super::probe::{has_packet, sound_codec};
use crate::error::{Error, Result};

/// Bits per second of sound that is coded anew: wideband speech without audible loss.
const OPUS_RATE: &str = "32k";

/// Sound for a clip that is written.
#[derive(Clone, Debug, Default)]
pub struct AudioSource {
    /// The clip that has the sound; if it has none, the output has none either.
    pub path: PathBuf,
    /// Where in that clip the coded range begins, seconds by the clip's own clock: heard at the output's time zero.
    pub start: f64,
    /// Length of the coded range, seconds; None: to the end.
    pub duration: Option<f64>,
    /// The file is Matroska: no other reader shall be tried on it. For sound that came with a stream.
    pub matroska: bool,
}

impl AudioSource {
    fn format(&self) -> &'static [&'static str] {
        if self.matroska {
            &["-f", "matroska"]
        } else {
            &[]
        }
    }
}

/// How sound is taken from a clip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SoundCoding {
    /// As it is where Matroska holds the codec, else as FLAC.
    Copy,
    /// As it is where players expect the codec in MP4, else as AAC.
    ForMp4,
    /// Opus at 32 kbit/s.
    Opus,
}

impl SoundCoding {
    fn arguments(self, codec: &str) -> &'static [&'static str] {
        const COPY: &[&str] = &["copy"];
        let usual = matches!(codec, "aac" | "mp3" | "ac3" | "eac3" | "opus" | "alac");
        match self {
            SoundCoding::Opus => &["libopus", "-b:a", OPUS_RATE, "-ac", "2"],
            SoundCoding::ForMp4 if usual => COPY,
            SoundCoding::ForMp4 => &["aac"],
            SoundCoding::Copy if usual || matches!(codec, "vorbis" | "flac" | "dts") => COPY,
            SoundCoding::Copy if matches!(codec, "pcm_s16le" | "pcm_s24le" | "pcm_f32le") => COPY,
            SoundCoding::Copy => &["flac"],
        }
    }
}

/// Whether there is sound in the source's file.
///
/// # Errors
/// `Io` if it cannot be opened, `Malformed` if it is no media file, `Device` without ffprobe.
pub fn has_sound(source: &AudioSource) -> Result<bool> {
    Ok(sound_codec(&source.path, source.format())?.is_some())
}

/// Writes the sound of `source` to the Matroska file `output`; returns the codec it has there, `None` where there is no sound in the range.
///
/// The clip's own clock is kept (`-copyts`): tracks that begin later than the pictures stay late, and clips need not begin at zero. The range is cut while writing: seeking the source would land on a picture's key frame, seconds before it.
///
/// # Errors
/// `Io`, `Malformed` for the source; `Device` when ffmpeg cannot copy or code it.
pub fn extract_sound(source: &AudioSource, coding: SoundCoding, output: &Path) -> Result<Option<String>> {
    let Some(codec) = sound_codec(&source.path, source.format())? else { return Ok(None) };
    let arguments = coding.arguments(&codec);
    let mut command = ffmpeg();
    command.args(input_guard()).args(["-copyts", "-vn"]).args(source.format()).arg("-i").arg(file_url(&source.path));
    command.args(["-map", "0:a:0", "-c:a"]).args(arguments).arg("-ss").arg(format!("{:.6}", source.start));
    if let Some(duration) = source.duration {
        command.arg("-t").arg(format!("{duration:.6}"));
    }
    // Bytes that depend on nothing but the sound.
    command.args(["-map_metadata", "-1", "-flags", "+bitexact", "-fflags", "+bitexact"]);
    command.args(["-f", "matroska", "-y"]).arg(file_url(output)).stdin(Stdio::null());
    let (success, message) = Process::start(&mut command, |_| ())?.wait()?;
    if !success {
        let why = reason(&message);
        return Err(Error::Device(format!("{}: its sound cannot be copied ({why})", source.path.display())));
    }
    if !has_packet(output)? {
        return Ok(None);
    }
    Ok(Some(match arguments[0] {
        "copy" => codec,
        "libopus" => "opus".into(),
        other => other.into(),
    }))
}
