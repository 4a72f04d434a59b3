//! The demo's page: one HTML file that needs nothing else, with its pictures inside.
//!
//! Input: source, decoded and driven frames (R x R) and the figures. Output: HTML. The layout is `page.html`; here its `{{fields}}` are
//! filled.

use effigy::evaluate::html::{data_url, escape, fill, paired_strip, spread, strip_row, Tile, STRIP, STYLE};
use effigy::frame::Frame;
use effigy::media::sheet;
use effigy::params::{FrameParams, PARAMS};
use effigy::{Error, Result};

const LAYOUT: &str = include_str!("page.html");
/// Columns of the pictures that hold all frames of a player.
const COLUMNS: usize = 10;
/// Most pixels in a player, so that a page stays small enough to mail.
const MAX_PIXELS: usize = 3 << 20;
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
            ("style", STYLE.to_string()),
            ("lead", escape(&self.lead)),
            ("faces", self.faces(step)?),
            ("tiles", self.tiles.iter().map(Tile::to_html).collect()),
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
        Ok(fill(LAYOUT, &fields))
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

    /// Rows of stills: the first two players with their difference, then the others.
    fn strip(&self) -> Result<String> {
        let rows: Vec<Vec<&Frame>> = self.players.iter().map(|player| stills(player.frames)).collect();
        let mut out = String::new();
        if let [first, second, ..] = rows.as_slice() {
            let pairs: Vec<(&Frame, &Frame)> = first.iter().copied().zip(second.iter().copied()).collect();
            out.push_str(&paired_strip([self.players[0].name, self.players[1].name], &pairs)?);
        }
        for (player, row) in self.players.iter().zip(&rows).skip(2) {
            out.push_str(&strip_row(player.name, row)?);
        }
        Ok(out)
    }
}

/// Frames spread evenly, the first and the last among them.
fn stills(frames: &[Frame]) -> Vec<&Frame> {
    spread(frames.len(), STRIP).into_iter().map(|i| &frames[i]).collect()
}

/// Frames in rows of [`COLUMNS`], without gaps.
fn contact(frames: &[&Frame]) -> Result<Frame> {
    let rows: Vec<Vec<&Frame>> = frames.chunks(COLUMNS).map(<[&Frame]>::to_vec).collect();
    sheet(&rows, 0)
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

#[cfg(test)]
mod tests {
    use super::*;

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
