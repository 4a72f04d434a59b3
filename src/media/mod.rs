//! Video and pictures, in and out.
//!
//! Input: clips (whatever ffmpeg reads), folders of PNG, single pictures. Output: [`TimedFrame`](crate::frame::TimedFrame)s with exact
//! time stamps in ticks of the clip's time base; and back to `.mkv`, `.mp4` or a folder of PNG.
//! ffmpeg and ffprobe run as child processes over pipes: no foreign code in this process parses a stranger's file.

mod child;
mod font;
mod image;
mod matroska;
mod probe;
mod read;
mod sound;
mod write;

pub use image::{draw_text, read_png, sheet, write_png};
pub use probe::{names_picture, probe, ClipInfo};
pub use read::{ClipReader, ReadOptions};
pub use sound::{extract_sound, has_sound, AudioSource, SoundCoding};
pub use write::{names_folder, ClipWriter, WriteOptions};
