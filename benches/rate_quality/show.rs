//! Plot and tables of all rows.
//!
//! Input: the rows. Output: `plot.svg`, `table.md` and `page.html`. No pictures of clips: what is written may be published.

use std::fs;
use std::path::Path;

use effigy::evaluate::cost::CALLS;
use effigy::evaluate::html;
use effigy::evaluate::plot::{svg, Axis, Panel, Series, Stroke};
use effigy::evaluate::rate::{best_at, fewest_for, Curve, Reach};
use effigy::{Error, Result};

use crate::measure::Figures;
use crate::ours::NAME;
use crate::rows::{Row, Table};

/// A figure that is plotted: title, value.
type Metric = (&'static str, fn(&Figures) -> f64);

const METRICS: [Metric; 4] =
    [("PSNR, dB", |f| f.psnr), ("SSIM", |f| f.ssim), ("SSIMULACRA2", |f| f.ssimulacra2), ("flicker, grey levels", |f| f.flicker)];
/// Rates at which the best codec is told, bytes per frame.
const RATES: [f64; 4] = [20.0, 35.0, 70.0, 200.0];

const PAGE: &str = "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>Rate against quality</title>\n\
<style>\n{{style}}main { max-width: 1400px; }\n</style>\n<main>\n<h1>Rate against quality</h1>\n{{body}}</main>\n</html>\n";

/// A table with a title.
struct Section {
    title: String,
    heads: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

/// Writes all three files into `folder`.
pub fn write(folder: &Path, table: &Table) -> Result<()> {
    let plot = svg(&panels(&table.rows), METRICS.len());
    let sections = [ours(&table.rows), best(&table.rows), everything(&table.rows)];
    let markdown: String = sections.iter().map(Section::to_markdown).collect();
    let body: String = std::iter::once(plot.clone()).chain(sections.iter().map(Section::to_html)).collect();
    let page = html::fill(PAGE, &[("style", html::STYLE.to_string()), ("body", body)]);
    for (name, text) in [("plot.svg", plot), ("table.md", markdown), ("page.html", page)] {
        let path = folder.join(name);
        fs::write(&path, text).map_err(|e| Error::io("write", &path, e))?;
    }
    Ok(())
}

impl Section {
    fn to_markdown(&self) -> String {
        let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        let mut out = format!("## {}\n\n", self.title);
        out.push_str(&line(self.heads.iter().map(|h| h.to_string()).collect()));
        out.push_str(&line(vec!["---".into(); self.heads.len()]));
        self.rows.iter().for_each(|row| out.push_str(&line(row.clone())));
        out.push('\n');
        out
    }

    fn to_html(&self) -> String {
        format!("<h2>{}</h2>{}", html::escape(&self.title), html::table(&self.heads, &self.rows))
    }
}

/// Names of the clips with their crops, in the order of the rows: the same name with other crops is another clip.
fn clips(rows: &[Row]) -> Vec<(&str, &str)> {
    let mut out: Vec<(&str, &str)> = Vec::new();
    for row in rows {
        let clip = (row.key.clip.as_str(), row.key.crops.as_str());
        if !out.contains(&clip) {
            out.push(clip);
        }
    }
    out
}

fn of<'a>(rows: &'a [Row], (name, crops): (&str, &str)) -> Vec<&'a Row> {
    rows.iter().filter(|row| row.key.clip == name && row.key.crops == crops).collect()
}

/// Whether a row is of a conventional codec.
fn conventional(row: &Row) -> bool {
    row.bytes > 0 && row.key.codec != NAME
}

/// Conventional codecs at one size each, with their rows by rising bytes.
fn groups<'a>(rows: &[&'a Row]) -> Vec<(String, Vec<&'a Row>)> {
    let mut out: Vec<(String, Vec<&Row>)> = Vec::new();
    for row in rows.iter().filter(|row| conventional(row)) {
        let name = group_name(row);
        match out.iter_mut().find(|(other, _)| *other == name) {
            Some((_, list)) => list.push(row),
            None => out.push((name, vec![row])),
        }
    }
    out.iter_mut().for_each(|(_, list)| list.sort_by_key(|row| row.bytes));
    out
}

fn group_name(row: &Row) -> String {
    match row.key.scale {
        1 => row.key.codec.clone(),
        scale => format!("{} 1/{scale}", row.key.codec),
    }
}

/// One row of panels per clip.
fn panels(rows: &[Row]) -> Vec<Panel> {
    let mut out = Vec::new();
    for clip in clips(rows) {
        let rows = of(rows, clip);
        let side = rows[0].side;
        for (name, figure) in METRICS {
            out.push(Panel {
                title: format!("{}, {side} x {side}: {name}", clip.0),
                across: "bytes per frame".into(),
                axis: Axis::Log,
                range: None,
                series: series(&rows, figure),
            });
        }
    }
    out
}

fn series(rows: &[&Row], figure: fn(&Figures) -> f64) -> Vec<Series> {
    let mut out = Vec::new();
    for (name, list) in groups(rows) {
        let colour = ["x264", "x265", "svt", "aom"].iter().position(|c| *c == list[0].key.codec).map_or(6, |i| [0, 5, 2, 4][i]);
        let stroke = match list[0].key.scale {
            1 => Stroke::Solid,
            2 => Stroke::Dashed,
            _ => Stroke::Dotted,
        };
        let points = list.iter().map(|row| (row.per_frame(), figure(&row.figures))).collect();
        out.push(Series { name, colour, stroke, marks: false, points });
    }
    let widest = rows.iter().map(|row| row.per_frame()).fold(0.0, f64::max);
    if let Some(still) = rows.iter().find(|row| row.key.codec == "still") {
        let narrowest = rows.iter().filter(|row| row.bytes > 0).map(|row| row.per_frame()).fold(widest, f64::min);
        let level = figure(&still.figures);
        let points = vec![(narrowest, level), (widest, level)];
        out.push(Series { name: "best still".into(), colour: 6, stroke: Stroke::Dashed, marks: false, points });
    }
    // What comes per frame, with and without a residual, and the same with the identity spread over a call.
    let own = |bytes: Option<f64>| -> Vec<&Row> {
        rows.iter().copied().filter(|row| row.key.codec == NAME && residual(row) == bytes).collect()
    };
    let plain = own(None);
    let mut sizes: Vec<f64> = rows.iter().filter_map(|row| residual(row)).collect();
    sizes.sort_by(f64::total_cmp);
    sizes.dedup();
    let line = |rows: &[&Row], bytes: &dyn Fn(&Row) -> f64| {
        let mut points: Vec<(f64, f64)> = rows.iter().map(|row| (bytes(row), figure(&row.figures))).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        points
    };
    let mut ours = |name: String, colour, stroke, marks, points: Vec<(f64, f64)>| {
        if !points.is_empty() {
            out.push(Series { name, colour, stroke, marks, points });
        }
    };
    ours(NAME.into(), 1, Stroke::Solid, true, line(&plain, &Row::per_frame));
    for (bytes, stroke) in sizes.into_iter().zip([Stroke::Solid, Stroke::Dashed, Stroke::Dotted]) {
        ours(format!("{NAME}, residual of {bytes} B"), 3, stroke, true, line(&own(Some(bytes)), &Row::per_frame));
    }
    for ((seconds, call), stroke) in CALLS.iter().rev().zip([Stroke::Dashed, Stroke::Dotted]) {
        let points = line(&plain, &|row| row.spread_over(seconds * row.rate));
        ours(format!("{NAME} + identity / {call}"), 1, stroke, false, points);
    }
    out
}

/// Bytes a frame of the residual that the stream of one of our rows was asked to have.
fn residual(row: &Row) -> Option<f64> {
    coding(row).split(' ').find_map(|word| word.strip_prefix('r')?.parse().ok())
}

/// Coding and quality of one of our rows, without the hash that ends its setting.
fn coding(row: &Row) -> String {
    row.key.setting.rsplit_once(' ').map_or(row.key.setting.clone(), |(coding, _)| coding.to_string())
}

/// Our streams beside the best that conventional codecs do at the same rate.
fn ours(rows: &[Row]) -> Section {
    let mut out = Vec::new();
    for clip in clips(rows) {
        let rows = of(rows, clip);
        let groups = groups(&rows);
        for row in rows.iter().filter(|row| row.key.codec == NAME) {
            let [minute, ten] = CALLS.map(|(seconds, _)| format!("{:.0}", row.spread_over(seconds * row.rate)));
            let f = &row.figures;
            out.push(vec![
                clip.0.into(),
                row.side.to_string(),
                coding(row),
                format!("{:.1}", row.payload_bytes as f64 / row.frames as f64),
                format!("{:.1}", row.per_frame()),
                ten,
                minute,
                format!("{:.0}", row.spread_over(row.frames as f64)),
                format!("{:.2}", f.psnr),
                needed(&groups, |f| f.psnr, f.psnr),
                format!("{:.3}", f.ssim),
                needed(&groups, |f| f.ssim, f.ssim),
                format!("{:.1}", f.ssimulacra2),
                needed(&groups, |f| f.ssimulacra2, f.ssimulacra2),
                format!("{:.2}", f.flicker),
                format!("{:+.2}", f.unrest),
            ]);
        }
    }
    Section {
        title: "Ours, and the bytes per frame that the best conventional codec needs for the same".into(),
        heads: vec![
            "clip",
            "side",
            "coding",
            "payload B/frame",
            "all but identity",
            "with it, 10 min",
            "1 min",
            "this clip",
            "PSNR dB",
            "codec needs",
            "SSIM",
            "codec needs",
            "SSIMULACRA2",
            "codec needs",
            "flicker",
            "unrest",
        ],
        rows: out,
    }
}

fn curves(groups: &[(String, Vec<&Row>)], figure: fn(&Figures) -> f64) -> Vec<Curve> {
    groups.iter().map(|(_, rows)| Curve::new(rows.iter().map(|row| (row.per_frame(), figure(&row.figures))))).collect()
}

fn needed(groups: &[(String, Vec<&Row>)], figure: fn(&Figures) -> f64, quality: f64) -> String {
    match fewest_for(&curves(groups, figure), quality) {
        Some((i, Reach::At(bytes))) => format!("{bytes:.0} ({})", groups[i].0),
        Some((i, Reach::Below(bytes))) => format!("under {bytes:.0} ({})", groups[i].0),
        Some((_, Reach::Never)) | None => "more than tried".into(),
    }
}

/// The best conventional codec at some rates.
fn best(rows: &[Row]) -> Section {
    let mut out = Vec::new();
    for clip in clips(rows) {
        let rows = of(rows, clip);
        let groups = groups(&rows);
        let floor = groups.iter().filter_map(|(_, list)| Some(list.first()?.per_frame())).fold(f64::INFINITY, f64::min);
        let mut cells = vec![clip.0.to_string(), rows[0].side.to_string(), format!("{floor:.0}")];
        for bytes in RATES {
            let told = |figure: fn(&Figures) -> f64, digits: usize| {
                best_at(&curves(&groups, figure), bytes).map_or("-".into(), |(i, q)| format!("{q:.digits$} ({})", groups[i].0))
            };
            cells.push(told(|f| f.psnr, 1));
            cells.push(told(|f| f.ssimulacra2, 0));
        }
        out.push(cells);
    }
    Section {
        title: "The best conventional codec at 20, 35, 70 and 200 bytes per frame: PSNR in dB, SSIMULACRA2".into(),
        heads: vec![
            "clip",
            "side",
            "lowest rate",
            "20: PSNR",
            "20: S2",
            "35: PSNR",
            "35: S2",
            "70: PSNR",
            "70: S2",
            "200: PSNR",
            "200: S2",
        ],
        rows: out,
    }
}

/// Every row.
fn everything(rows: &[Row]) -> Section {
    let line = |row: &Row| {
        let f = &row.figures;
        vec![
            row.key.clip.clone(),
            row.side.to_string(),
            group_name(row),
            if row.key.codec == NAME { coding(row) } else { row.key.setting.clone() },
            format!("{:.1}", row.per_frame()),
            row.first_bytes.to_string(),
            format!("{:.2}", f.psnr),
            format!("{:.2}", f.psnr_min),
            format!("{:.4}", f.ssim),
            format!("{:.1}", f.ssimulacra2),
            format!("{:.3}", f.flicker),
            format!("{:+.3}", f.unrest),
        ]
    };
    Section {
        title: "All rows".into(),
        heads: vec![
            "clip",
            "side",
            "codec",
            "setting",
            "B/frame",
            "first frame B",
            "PSNR dB",
            "worst",
            "SSIM",
            "SSIMULACRA2",
            "flicker",
            "unrest",
        ],
        rows: rows.iter().map(line).collect(),
    }
}
