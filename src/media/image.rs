//! Single pictures: PNG in and out, and sheets of many frames for looking at.
//!
//! Input and output: [`Frame`]s, 8-bit RGB. Other depths and palettes are converted when read, transparency is dropped.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::Path;

use super::font::{glyph, GLYPH_HEIGHT, GLYPH_WIDTH};
use crate::error::{Error, Result};
use crate::frame::{Frame, TimeBase};
use crate::limits::MAX_FRAME_SIDE;

/// IPTC's term for pictures made by a trained model, as an address that other programs know.
pub(super) const SYNTHETIC_TERM: &str = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia";
/// The mark in words, for containers with a comment field.
pub(super) const SYNTHETIC_NOTE: &str = "Synthetic media: faces rendered by a generative codec (effigy)";
/// PNG text keyword of a frame's time: `pts num/den`.
const STAMP_KEY: &str = "effigy:pts";

/// Writes a PNG; `synthetic` marks it as made by a model (comment, and the IPTC digital source type as XMP).
///
/// # Errors
/// `Io` if the file cannot be written.
pub fn write_png(path: impl AsRef<Path>, frame: &Frame, synthetic: bool) -> Result<()> {
    write_png_timed(path.as_ref(), frame, synthetic, None)
}

/// As [`write_png`], with the frame's time stamp in a text chunk.
pub(super) fn write_png_timed(path: &Path, frame: &Frame, synthetic: bool, stamp: Option<(i64, TimeBase)>) -> Result<()> {
    let io = |e| Error::io("write", path, e);
    let failed = |e: png::EncodingError| match e {
        png::EncodingError::IoError(e) => Error::io("write", path, e),
        other => Error::Misuse(format!("{}: {other}", path.display())),
    };
    let mut out = BufWriter::new(File::create(path).map_err(io)?);
    let mut encoder = png::Encoder::new(&mut out, frame.width, frame.height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Fast);
    if synthetic {
        encoder.add_text_chunk("Comment".into(), SYNTHETIC_NOTE.into()).map_err(failed)?;
        encoder.add_itxt_chunk("XML:com.adobe.xmp".into(), synthetic_xmp()).map_err(failed)?;
    }
    if let Some((pts, base)) = stamp {
        encoder.add_text_chunk(STAMP_KEY.into(), format!("{pts} {}/{}", base.num, base.den)).map_err(failed)?;
    }
    let mut writer = encoder.write_header().map_err(failed)?;
    writer.write_image_data(&frame.data).map_err(failed)?;
    writer.finish().map_err(failed)?;
    out.flush().map_err(io)
}

fn synthetic_xmp() -> String {
    format!(
        "<x:xmpmeta xmlns:x=\"adobe:ns:meta/\"><rdf:RDF xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\">\
         <rdf:Description rdf:about=\"\" xmlns:Iptc4xmpExt=\"http://iptc.org/std/Iptc4xmpExt/2008-02-29/\" \
         Iptc4xmpExt:DigitalSourceType=\"{SYNTHETIC_TERM}\"/></rdf:RDF></x:xmpmeta>"
    )
}

/// Reads a PNG of any colour type.
///
/// # Errors
/// `Io` if it cannot be opened, `Malformed` if it is no PNG or damaged, `Limit` if it is too large.
pub fn read_png(path: impl AsRef<Path>) -> Result<Frame> {
    Ok(read_png_timed(path.as_ref())?.0)
}

/// As [`read_png`], with the time stamp that [`write_png_timed`] left in it.
pub(super) fn read_png_timed(path: &Path) -> Result<(Frame, Option<(i64, TimeBase)>)> {
    let file = File::open(path).map_err(|e| Error::io("open", path, e))?;
    let bad = |e: png::DecodingError| match e {
        png::DecodingError::IoError(e) => Error::Malformed(format!("PNG {}: {e}", path.display())),
        png::DecodingError::LimitsExceeded => Error::Limit(format!("PNG {}: larger than this program takes", path.display())),
        other => Error::Malformed(format!("PNG {}: {other}", path.display())),
    };
    let limits = png::Limits { bytes: 8 * MAX_FRAME_SIDE as usize * 1024 };
    let mut decoder = png::Decoder::new_with_limits(BufReader::new(file), limits);
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().map_err(bad)?;
    let (width, height) = (reader.info().width, reader.info().height);
    if width > MAX_FRAME_SIDE || height > MAX_FRAME_SIDE {
        return Err(Error::Limit(format!("PNG {}: {width} x {height}, sides at most {MAX_FRAME_SIDE}", path.display())));
    }
    let size = reader.output_buffer_size().ok_or_else(|| Error::Limit(format!("PNG {}: {width} x {height}", path.display())))?;
    let mut data = vec![0; size];
    let info = reader.next_frame(&mut data).map_err(bad)?;
    data.truncate(info.buffer_size());
    let stamp = reader.info().uncompressed_latin1_text.iter().find(|t| t.keyword == STAMP_KEY).and_then(|t| parse_stamp(&t.text));
    Ok((Frame::new(width, height, to_rgb(data, info.color_type))?, stamp))
}

fn parse_stamp(text: &str) -> Option<(i64, TimeBase)> {
    let (pts, base) = text.split_once(' ')?;
    let (num, den) = base.split_once('/')?;
    let (num, den) = (num.parse().ok()?, den.parse().ok()?);
    (num > 0 && den > 0).then_some((pts.parse().ok()?, TimeBase { num, den }))
}

fn to_rgb(data: Vec<u8>, color: png::ColorType) -> Vec<u8> {
    match color {
        png::ColorType::Grayscale => data.iter().flat_map(|&v| [v; 3]).collect(),
        png::ColorType::GrayscaleAlpha => data.chunks_exact(2).flat_map(|p| [p[0]; 3]).collect(),
        png::ColorType::Rgba => data.chunks_exact(4).flat_map(|p| [p[0], p[1], p[2]]).collect(),
        // Palettes were expanded to RGB by the decoder.
        png::ColorType::Rgb | png::ColorType::Indexed => data,
    }
}

/// Lays frames out in rows on a dark ground, `gap` pixels apart; frames may differ in size.
///
/// # Errors
/// `Limit` if the sheet's sides exceed [`MAX_FRAME_SIDE`]; `Misuse` if there are no frames.
pub fn sheet(rows: &[Vec<&Frame>], gap: u32) -> Result<Frame> {
    let gap64 = u64::from(gap);
    let row_height = |row: &Vec<&Frame>| row.iter().map(|f| u64::from(f.height)).max().unwrap_or(0);
    let row_width = |row: &Vec<&Frame>| row.iter().map(|f| u64::from(f.width) + gap64).sum::<u64>() + gap64;
    let width = rows.iter().map(row_width).max().unwrap_or(0);
    let height = rows.iter().map(|r| row_height(r) + gap64).sum::<u64>() + gap64;
    if rows.iter().all(Vec::is_empty) {
        return Err(Error::Misuse("a picture sheet needs at least one frame".into()));
    }
    let side = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
    let mut out = Frame::filled(side(width), side(height), [32; 3])?;
    let mut y = gap;
    for row in rows {
        let mut x = gap;
        for frame in row {
            blit(&mut out, frame, x, y);
            x += frame.width + gap;
        }
        y += row_height(row) as u32 + gap;
    }
    Ok(out)
}

/// Copies `frame` into `out` at column `x`, row `y`; it fits by the sheet's own measure.
fn blit(out: &mut Frame, frame: &Frame, x: u32, y: u32) {
    let line = 3 * frame.width as usize;
    for (n, source) in frame.data.chunks_exact(line).enumerate() {
        let at = 3 * ((y as usize + n) * out.width as usize + x as usize);
        out.data[at..at + line].copy_from_slice(source);
    }
}

/// Writes `text` (digits, letters, some signs) with the upper left corner at `x`, `y`; `scale` pixels per dot; cut off at the borders.
pub fn draw_text(frame: &mut Frame, x: u32, y: u32, scale: u32, text: &str, rgb: [u8; 3]) {
    let scale = scale.max(1);
    for (n, c) in text.chars().enumerate() {
        let left = x.saturating_add((n as u32).saturating_mul((GLYPH_WIDTH + 1) * scale));
        for (row, bits) in glyph(c).iter().enumerate() {
            for column in (0..GLYPH_WIDTH).filter(|c| bits >> (GLYPH_WIDTH - 1 - c) & 1 == 1) {
                dot(frame, left.saturating_add(column * scale), y.saturating_add(row as u32 * scale), scale, rgb);
            }
        }
    }
    debug_assert!(glyph('A').len() == GLYPH_HEIGHT);
}

fn dot(frame: &mut Frame, x: u32, y: u32, scale: u32, rgb: [u8; 3]) {
    for row in y..y.saturating_add(scale).min(frame.height) {
        for column in x..x.saturating_add(scale).min(frame.width) {
            let at = 3 * (row as usize * frame.width as usize + column as usize);
            frame.data[at..at + 3].copy_from_slice(&rgb);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_marks_pixels_and_is_cut_at_the_border() {
        let mut frame = Frame::filled(10, 7, [0; 3]).unwrap();
        draw_text(&mut frame, 0, 0, 1, "1x-overlong", [255; 3]);
        assert!(frame.data.contains(&255));
        assert_eq!(frame.data.len(), 3 * 10 * 7);
    }

    #[test]
    fn a_sheet_keeps_every_pixel_of_its_frames() {
        let (a, b) = (Frame::filled(2, 3, [1; 3]).unwrap(), Frame::filled(4, 1, [2; 3]).unwrap());
        let out = sheet(&[vec![&a, &b], vec![&b]], 1).unwrap();
        assert_eq!((out.width, out.height), (1 + 2 + 1 + 4 + 1, 1 + 3 + 1 + 1 + 1));
        assert_eq!(out.data.iter().filter(|&&v| v == 1).count(), a.data.len());
        assert_eq!(out.data.iter().filter(|&&v| v == 2).count(), 2 * b.data.len());
        assert!(sheet(&[vec![]], 1).is_err());
    }
}
