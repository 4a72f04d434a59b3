//! What was measured, one row per coding, in a CSV that grows.
//!
//! Input and output: `rows.csv`. A row is known by clip, hash of the crops, codec, scale and setting; what is there is not measured again.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use effigy::frame::Frame;
use effigy::{Error, Result};

use crate::clip::Clip;
use crate::measure::Figures;

const HEAD: &str =
    "clip,crops,codec,scale,setting,side,fps,frames,bytes,first_bytes,payload_bytes,identity_bytes,psnr,psnr_min,ssim,\
ssimulacra2,flicker,unrest";

/// What a row is known by.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    /// Name of the clip.
    pub clip: String,
    /// Hash of its crops.
    pub crops: String,
    /// Codec, `yuv420`, `still` or `effigy`.
    pub codec: String,
    /// Divisor of the sides.
    pub scale: u32,
    /// Its quality.
    pub setting: String,
}

impl Key {
    /// For a coding of `clip`.
    pub fn new(clip: &Clip, codec: &str, scale: u32, setting: String) -> Key {
        // Commas would end a cell.
        Key { clip: clip.name.replace(',', " "), crops: clip.hash.clone(), codec: codec.into(), scale, setting }
    }

    /// For people.
    pub fn describe(&self) -> String {
        let size = if self.scale == 1 { String::new() } else { format!(" 1/{}", self.scale) };
        format!("{}{size} {}", self.codec, self.setting)
    }
}

/// One coding.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Which.
    pub key: Key,
    /// Pixels per row.
    pub side: u32,
    /// Frames per second.
    pub rate: f64,
    /// Frames.
    pub frames: u64,
    /// Bytes of all frames; ours: all but header and identity.
    pub bytes: u64,
    /// Bytes of the first frame.
    pub first_bytes: u64,
    /// Ours: bytes of the 35 numbers alone.
    pub payload_bytes: u64,
    /// Ours: header and identity, sent once.
    pub identity_bytes: u64,
    /// How good.
    pub figures: Figures,
}

impl Row {
    /// Compares `decoded` with the clip; bytes are 0.
    pub fn new(key: Key, clip: &Clip, decoded: &[Frame]) -> Result<Row> {
        Ok(Row {
            key,
            side: clip.size().0,
            rate: f64::from(clip.rate.0) / f64::from(clip.rate.1),
            frames: clip.frames.len() as u64,
            bytes: 0,
            first_bytes: 0,
            payload_bytes: 0,
            identity_bytes: 0,
            figures: Figures::of(&clip.frames, decoded)?,
        })
    }

    /// Bytes per frame, identity apart.
    pub fn per_frame(&self) -> f64 {
        self.bytes as f64 / self.frames as f64
    }

    /// Bytes per frame with the identity spread over `frames` frames.
    pub fn spread_over(&self, frames: f64) -> f64 {
        self.per_frame() + self.identity_bytes as f64 / frames.max(1.0)
    }

    /// For people.
    pub fn describe(&self) -> String {
        let f = &self.figures;
        format!("{:.1} B/frame, {:.2} dB, SSIM {:.3}, SSIMULACRA2 {:.1}", self.per_frame(), f.psnr, f.ssim, f.ssimulacra2)
    }

    fn to_csv(&self) -> String {
        let (k, f) = (&self.key, &self.figures);
        format!(
            "{},{},{},{},{},{},{:.3},{},{},{},{},{},{:.4},{:.4},{:.5},{:.3},{:.4},{:.4}\n",
            k.clip,
            k.crops,
            k.codec,
            k.scale,
            k.setting,
            self.side,
            self.rate,
            self.frames,
            self.bytes,
            self.first_bytes,
            self.payload_bytes,
            self.identity_bytes,
            f.psnr,
            f.psnr_min,
            f.ssim,
            f.ssimulacra2,
            f.flicker,
            f.unrest
        )
    }

    fn from_csv(line: &str) -> Option<Row> {
        let cells: Vec<&str> = line.split(',').collect();
        if cells.len() != HEAD.split(',').count() {
            return None;
        }
        let number = |i: usize| cells[i].parse::<f64>().ok();
        let count = |i: usize| cells[i].parse::<u64>().ok();
        Some(Row {
            key: Key {
                clip: cells[0].into(),
                crops: cells[1].into(),
                codec: cells[2].into(),
                scale: cells[3].parse().ok()?,
                setting: cells[4].into(),
            },
            side: cells[5].parse().ok()?,
            rate: number(6)?,
            frames: count(7).filter(|n| *n > 0)?,
            bytes: count(8)?,
            first_bytes: count(9)?,
            payload_bytes: count(10)?,
            identity_bytes: count(11)?,
            figures: Figures {
                psnr: number(12)?,
                psnr_min: number(13)?,
                ssim: number(14)?,
                ssimulacra2: number(15)?,
                flicker: number(16)?,
                unrest: number(17)?,
            },
        })
    }
}

/// All rows, in memory and in the file.
pub struct Table {
    path: PathBuf,
    /// In the order they were measured.
    pub rows: Vec<Row>,
}

impl Table {
    /// Reads what an earlier run left. A last line that was cut off is dropped.
    pub fn open(path: &Path) -> Result<Table> {
        let text = if path.exists() { fs::read_to_string(path).map_err(|e| Error::io("read", path, e))? } else { String::new() };
        let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
        let mut rows = Vec::new();
        for (i, line) in whole.lines().enumerate() {
            match (i, Row::from_csv(line)) {
                (0, _) if line == HEAD => {}
                (i, Some(row)) if i > 0 => rows.push(row),
                _ => return Err(Error::Malformed(format!("{}: line {} is none of this program", path.display(), i + 1))),
            }
        }
        let mut start = format!("{HEAD}\n");
        rows.iter().for_each(|row| start.push_str(&row.to_csv()));
        fs::write(path, start).map_err(|e| Error::io("write", path, e))?;
        Ok(Table { path: path.to_path_buf(), rows })
    }

    /// Whether a row is there.
    pub fn has(&self, key: &Key) -> bool {
        self.rows.iter().any(|row| row.key == *key)
    }

    /// Adds a row, in the file at once.
    pub fn add(&mut self, row: Row) -> Result<()> {
        let io = |e| Error::io("write", &self.path, e);
        let mut file = OpenOptions::new().append(true).open(&self.path).map_err(io)?;
        file.write_all(row.to_csv().as_bytes()).map_err(io)?;
        self.rows.push(row);
        Ok(())
    }
}
