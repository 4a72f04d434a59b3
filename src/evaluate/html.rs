//! Pieces of HTML pages that need nothing but themselves: pictures as data, strips of frames, tiles, tables, a style sheet.
//!
//! Input: [`Frame`]s (8-bit RGB), figures, texts. Output: HTML in which every text is escaped. A layout is a page with `{{fields}}`.

use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::media::sheet;

/// Style of the pages; follows the reader's light or dark setting.
pub const STYLE: &str = include_str!("page.css");
/// Frames shown beside each other in a strip.
pub const STRIP: usize = 6;
/// Factor that makes small errors visible.
const DIFFERENCE: u8 = 4;

/// A figure for the reader.
pub struct Tile {
    /// The number with its unit.
    pub value: String,
    /// What it is.
    pub name: &'static str,
    /// What to compare it with.
    pub note: String,
}

impl Tile {
    /// The tile, for a grid of class `tiles`.
    pub fn to_html(&self) -> String {
        let (value, name, note) = (escape(&self.value), escape(self.name), escape(&self.note));
        format!("<div class=\"tile\"><b>{value}</b><span>{name}</span><small>{note}</small></div>")
    }
}

/// A layout with its fields filled in.
pub fn fill(layout: &str, fields: &[(&str, String)]) -> String {
    let mut html = layout.to_string();
    for (name, value) in fields {
        html = html.replace(&format!("{{{{{name}}}}}"), value);
    }
    html
}

/// A table; `heads` and each of `rows` have the same number of cells.
pub fn table(heads: &[&str], rows: &[Vec<String>]) -> String {
    let cells = |tag: &str, texts: Vec<String>| -> String {
        texts.iter().map(|text| format!("<{tag}>{}</{tag}>", escape(text))).collect()
    };
    let head = cells("th", heads.iter().map(|h| h.to_string()).collect());
    let body: String = rows.iter().map(|row| format!("<tr>{}</tr>", cells("td", row.clone()))).collect();
    format!("<div class=\"wide\"><table><tr>{head}</tr>{body}</table></div>")
}

/// Two rows of a strip and the magnified difference between them, one column per pair; for a grid of class `strip`.
///
/// # Errors
/// Misuse without a pair or for pairs of different size; limit for sheets that become too large.
pub fn paired_strip(names: [&str; 2], pairs: &[(&Frame, &Frame)]) -> Result<String> {
    let (above, below): (Vec<&Frame>, Vec<&Frame>) = pairs.iter().copied().unzip();
    let errors = pairs.iter().map(|(a, b)| difference(a, b)).collect::<Result<Vec<Frame>>>()?;
    let mut out = strip_row(names[0], &above)?;
    out.push_str(&strip_row(names[1], &below)?);
    out.push_str(&strip_row(&format!("error x {DIFFERENCE}"), &errors.iter().collect::<Vec<_>>())?);
    Ok(out)
}

/// One row of a strip with its name.
///
/// # Errors
/// As [`paired_strip`].
pub fn strip_row(name: &str, frames: &[&Frame]) -> Result<String> {
    let picture = data_url(&sheet(&[frames.to_vec()], 0)?)?;
    Ok(format!("<span>{0}</span><img alt=\"{0}\" src=\"{picture}\">", escape(name)))
}

/// Numbers of `count` frames spread evenly over a clip of `frames`, the first and the last among them.
pub fn spread(frames: usize, count: usize) -> Vec<usize> {
    let count = count.min(frames);
    (0..count).map(|i| i * (frames - 1) / (count - 1).max(1)).collect()
}

/// Magnified absolute error.
fn difference(a: &Frame, b: &Frame) -> Result<Frame> {
    super::metrics::same_size(a, b)?;
    let data = a.data.iter().zip(&b.data).map(|(x, y)| x.abs_diff(*y).saturating_mul(DIFFERENCE)).collect();
    Frame::new(a.width, a.height, data)
}

/// Text with the signs of HTML replaced.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A frame as a PNG inside a URL.
///
/// # Errors
/// Misuse if the frame's bytes do not fit its size.
pub fn data_url(frame: &Frame) -> Result<String> {
    Ok(format!("data:image/png;base64,{}", base64(&png_bytes(frame)?)))
}

fn png_bytes(frame: &Frame) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, frame.width, frame.height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let written = encoder.write_header().and_then(|mut writer| writer.write_image_data(&frame.data));
    written.map_err(|e| Error::Misuse(format!("picture of {} x {}: {e}", frame.width, frame.height)))?;
    Ok(bytes)
}

/// RFC 4648 with padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let word = group.iter().fold(0u32, |w, b| w << 8 | u32::from(*b)) << (8 * (3 - group.len()));
        for i in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * i)) as usize & 63];
            out.push(if i <= group.len() { digit as char } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_follows_the_vectors_of_its_rfc() {
        let cases = [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE=")];
        for (plain, coded) in cases {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }

    #[test]
    fn a_strip_spans_the_clip_from_its_first_frame_to_its_last() {
        assert_eq!(spread(100, 4), [0, 33, 66, 99]);
        assert_eq!(spread(2, 6), [0, 1]);
        assert_eq!((spread(1, 6), spread(0, 6)), (vec![0], vec![]));
    }

    #[test]
    fn cells_and_fields_arrive_where_they_belong() {
        let html = table(&["a", "b"], &[vec!["x < y".into(), "1".into()]]);
        assert!(html.contains("<th>b</th>") && html.contains("<td>x &lt; y</td>"), "{html}");
        assert_eq!(fill("{{a}}-{{b}}-{{a}}", &[("a", "1".into()), ("b", "2".into())]), "1-2-1");
    }
}
