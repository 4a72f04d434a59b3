//! The demo's page: one HTML file that needs nothing else, with its pictures inside.
//!
//! Input: source, decoded and driven frames (R x R) and the figures. Output: HTML. The layout is `page.html`; here its `{{fields}}` are
//! filled.

use effigy::frame::Frame;
use effigy::media::sheet;
use effigy::params::{FrameParams, PARAMS};
use effigy::{Error, Result};

const LAYOUT: &str = include_str!("page.html");
/// Columns of the pictures that hold all frames of a player.
const COLUMNS: usize = 10;
/// Most pixels in a player, so that a page stays small enough to mail.
const MAX_PIXELS: usize = 3 << 20;
/// Frames shown beneath each other.
const STRIP: usize = 6;
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

/// One of the clips that play together.
pub struct Player<'a> {
    /// Short name, for the strip.
    pub name: &'static str,
    /// What is seen.
    pub caption: String,
    /// Frames, all of one size; the same number in each player.
    pub frames: &'a [Frame],
}

/// All that the page says.
pub struct Page<'a> {
    /// First paragraph.
    pub lead: String,
    /// Source, decoded, and possibly a driven face.
    pub players: Vec<Player<'a>>,
    /// Figures.
    pub tiles: Vec<Tile>,
    /// Text above the strip.
    pub strip_note: String,
    /// What was sent.
    pub params: &'a [FrameParams],
    /// Frames per second.
    pub rate: f64,
    /// How to do the same by hand.
    pub commands: String,
}

impl Page<'_> {
    /// The page as HTML. `Misuse` without frames.
    pub fn to_html(&self) -> Result<String> {
        let Some(first) = self.players.first().and_then(|p| p.frames.first()) else {
            return Err(Error::Misuse("a page without frames".into()));
        };
        let total = self.players[0].frames.len();
        let fitting = (MAX_PIXELS / (first.width as usize * first.height as usize)).max(1);
        let step = total.div_ceil(fitting);
        let count = total.div_ceil(step);
        let fields = [
            ("lead", escape(&self.lead)),
            ("faces", self.faces(step)?),
            ("tiles", self.tiles.iter().map(tile).collect()),
            ("strip_note", escape(&self.strip_note)),
            ("strip", self.strip()?),
            ("heat", data_url(&heat_map(self.params)?)?),
            ("commands", escape(&self.commands)),
            ("last", (count - 1).to_string()),
            ("count", count.to_string()),
            ("side", first.width.to_string()),
            ("columns", COLUMNS.min(count).to_string()),
            ("rate", format!("{:.3}", self.rate / step as f64)),
        ];
        let mut html = LAYOUT.to_string();
        for (name, value) in fields {
            html = html.replace(&format!("{{{{{name}}}}}"), &value);
        }
        Ok(html)
    }

    /// The canvases; each carries every `step`th frame in one picture.
    fn faces(&self, step: usize) -> Result<String> {
        let mut out = String::new();
        for player in &self.players {
            let shown: Vec<&Frame> = player.frames.iter().step_by(step).collect();
            let side = shown[0].width;
            let picture = data_url(&contact(&shown)?)?;
            out.push_str(&format!(
                "<figure><canvas width=\"{side}\" height=\"{side}\" data-src=\"{picture}\"></canvas>\
                 <figcaption><b>{}.</b> {}</figcaption></figure>",
                escape(player.name),
                escape(&player.caption)
            ));
        }
        Ok(out)
    }

    /// Rows of stills: each player, and after the second the difference of the first two.
    fn strip(&self) -> Result<String> {
        let mut out = String::new();
        for (i, player) in self.players.iter().enumerate() {
            let row = stills(player.frames);
            out.push_str(&strip_row(player.name, &row)?);
            if i == 1 {
                let source = stills(self.players[0].frames);
                let errors: Vec<Frame> = source.iter().zip(&row).map(|(a, b)| difference(a, b)).collect();
                out.push_str(&strip_row(&format!("error x {DIFFERENCE}"), &errors.iter().collect::<Vec<_>>())?);
            }
        }
        Ok(out)
    }
}

fn tile(tile: &Tile) -> String {
    let (value, name, note) = (escape(&tile.value), escape(tile.name), escape(&tile.note));
    format!("<div class=\"tile\"><b>{value}</b><span>{name}</span><small>{note}</small></div>")
}

fn strip_row(name: &str, frames: &[&Frame]) -> Result<String> {
    let picture = data_url(&sheet(&[frames.to_vec()], 0)?)?;
    Ok(format!("<span>{0}</span><img alt=\"{0}\" src=\"{picture}\">", escape(name)))
}

/// Frames spread evenly, the first and the last among them.
fn stills(frames: &[Frame]) -> Vec<&Frame> {
    let count = STRIP.min(frames.len());
    (0..count).map(|i| &frames[i * (frames.len() - 1) / (count - 1).max(1)]).collect()
}

/// Frames in rows of [`COLUMNS`], without gaps.
fn contact(frames: &[&Frame]) -> Result<Frame> {
    let rows: Vec<Vec<&Frame>> = frames.chunks(COLUMNS).map(<[&Frame]>::to_vec).collect();
    sheet(&rows, 0)
}

/// Magnified absolute error; frames of one size.
fn difference(a: &Frame, b: &Frame) -> Frame {
    let data = a.data.iter().zip(&b.data).map(|(x, y)| x.abs_diff(*y).saturating_mul(DIFFERENCE)).collect();
    Frame { width: a.width, height: a.height, data }
}

/// One column per frame and one row per parameter, each row stretched to its own range.
pub fn heat_map(params: &[FrameParams]) -> Result<Frame> {
    let columns: Vec<[f32; PARAMS]> = params.iter().map(FrameParams::to_array).collect();
    let mut data = Vec::with_capacity(3 * PARAMS * columns.len());
    for row in 0..PARAMS {
        let (low, high) = columns.iter().fold((f32::MAX, f32::MIN), |(l, h), c| (l.min(c[row]), h.max(c[row])));
        let range = high - low;
        for column in &columns {
            let level = if range > 1e-6 { (column[row] - low) / range } else { 0.5 };
            data.extend(colour(level));
        }
    }
    Frame::new(columns.len() as u32, PARAMS as u32, data)
}

/// Dark blue over red to light yellow; 0 to 1.
fn colour(level: f32) -> [u8; 3] {
    const STOPS: [[f32; 3]; 4] = [[24.0, 26.0, 56.0], [124.0, 44.0, 92.0], [222.0, 110.0, 62.0], [252.0, 236.0, 178.0]];
    let at = level.clamp(0.0, 1.0) * (STOPS.len() - 1) as f32;
    let i = (at as usize).min(STOPS.len() - 2);
    std::array::from_fn(|c| (STOPS[i][c] + (STOPS[i + 1][c] - STOPS[i][c]) * (at - i as f32)) as u8)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A frame as a PNG inside a URL.
fn data_url(frame: &Frame) -> Result<String> {
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
    fn a_page_has_no_field_left_and_asks_for_nothing_from_outside() {
        let frames: Vec<Frame> = (0..23).map(|i| Frame::filled(16, 16, [i * 10, 0, 0]).unwrap()).collect();
        let player = |name| Player { name, caption: "a < b".into(), frames: &frames };
        let page = Page {
            lead: "lead".into(),
            players: vec![player("source"), player("decoded")],
            tiles: vec![Tile { value: "70 B".into(), name: "bytes", note: "note".into() }],
            strip_note: String::new(),
            params: &[FrameParams::default(); 23],
            rate: 25.0,
            commands: "effigy demo".into(),
        };
        let html = page.to_html().unwrap();
        assert!(!html.contains("{{") && html.contains("a &lt; b") && html.contains("count = 23"));
        assert!(!html.contains("http://") && !html.contains("https://") && !html.contains("src=\"/"));
    }

    #[test]
    fn a_flat_row_of_the_heat_map_is_in_the_middle_of_the_scale() {
        let map = heat_map(&[FrameParams::default(); 3]).unwrap();
        assert_eq!((map.width, map.height), (3, PARAMS as u32));
        assert_eq!(map.pixel(0, 0), colour(0.5));
    }
}
