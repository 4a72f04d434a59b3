//! Curves as SVG: panels side by side, one legend, a style of its own that follows the reader's light or dark setting.
//!
//! Input: [`Panel`]s of [`Series`]. Output: one `<svg>` element that needs nothing from outside, for a file or inside a page.
//! Colours are those of Okabe and Ito, which people with colour blindness can tell apart.

use std::fmt::Write;

use super::html::escape;

/// How the horizontal axis is divided.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Axis {
    /// Evenly.
    #[default]
    Linear,
    /// By factors: values at or under 0 are left out.
    Log,
}

/// How the points of a series are joined.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Stroke {
    /// A solid line.
    #[default]
    Solid,
    /// A dashed line.
    Dashed,
    /// A dotted line.
    Dotted,
    /// Not at all.
    None,
}

/// Points of one kind.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// In the legend; several series of one name, colour and stroke share an entry.
    pub name: String,
    /// Which of the [`COLOURS`] colours; larger numbers begin anew.
    pub colour: usize,
    /// How points are joined.
    pub stroke: Stroke,
    /// Whether each point has a mark.
    pub marks: bool,
    /// Points; those that are not finite are left out.
    pub points: Vec<(f64, f64)>,
}

/// Colours that series can have.
pub const COLOURS: usize = 7;

/// One diagram.
#[derive(Clone, Debug, Default)]
pub struct Panel {
    /// Above it.
    pub title: String,
    /// Name and unit of the horizontal axis.
    pub across: String,
    /// How it is divided.
    pub axis: Axis,
    /// Smallest and largest value of the vertical axis; without it, what the points need.
    pub range: Option<(f64, f64)>,
    /// What is drawn.
    pub series: Vec<Series>,
}

/// Size of a panel with its labels, and of the parts of it that labels take, units of the picture.
const WIDTH: f64 = 320.0;
const HEIGHT: f64 = 210.0;
const LEFT: f64 = 46.0;
const RIGHT: f64 = 10.0;
const TOP: f64 = 26.0;
const BOTTOM: f64 = 38.0;
/// Height of a line of the legend, and width of an entry.
const LEGEND: f64 = 18.0;
const ENTRY: f64 = 200.0;

/// Room at both ends of an axis, share of its length.
const ROOM: f64 = 0.03;

const STYLE: &str = "\
.plot { --pi: #1d2126; --ps: #5b6570; --pp: #fff; --pg: #e4e2dc; font: 11px system-ui, sans-serif; }
.plot .paper { fill: var(--pp); } .plot text { fill: var(--ps); } .plot .title { fill: var(--pi); font-weight: 600; }
.plot .grid { stroke: var(--pg); } .plot polyline { fill: none; stroke-width: 1.6; stroke-linejoin: round; }
.plot .c0 { --c: #0072b2; } .plot .c1 { --c: #d55e00; } .plot .c2 { --c: #009e73; } .plot .c3 { --c: #cc79a7; }
.plot .c4 { --c: #e69f00; } .plot .c5 { --c: #56b4e9; } .plot .c6 { --c: #8a8f96; }
.plot polyline { stroke: var(--c); } .plot circle { fill: var(--c); }
@media (prefers-color-scheme: dark) { .plot { --pi: #ecebe8; --ps: #a2a8ae; --pp: #202327; --pg: #3a3e43; } .plot .c0 { --c: #4aa3df; } }
";

/// The panels, `columns` in a row.
pub fn svg(panels: &[Panel], columns: usize) -> String {
    let columns = columns.clamp(1, panels.len().max(1));
    let rows = panels.len().div_ceil(columns);
    let width = columns as f64 * WIDTH;
    let entries = legend_entries(panels);
    let per_line = ((width - LEFT) / ENTRY).floor().max(1.0) as usize;
    let top = entries.len().div_ceil(per_line) as f64 * LEGEND + 8.0;
    let height = top + rows as f64 * HEIGHT;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"plot\" viewBox=\"0 0 {width} {height}\" role=\"img\">\
         <style>{STYLE}</style><rect class=\"paper\" width=\"{width}\" height=\"{height}\" rx=\"8\"/>"
    );
    for (i, entry) in entries.iter().enumerate() {
        legend(&mut out, entry, LEFT + (i % per_line) as f64 * ENTRY, 16.0 + (i / per_line) as f64 * LEGEND);
    }
    for (i, panel) in panels.iter().enumerate() {
        let (x, y) = ((i % columns) as f64 * WIDTH, top + (i / columns) as f64 * HEIGHT);
        put(&mut out, format_args!("<g transform=\"translate({x} {y})\">"));
        draw(&mut out, panel);
        out.push_str("</g>");
    }
    out.push_str("</svg>\n");
    out
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing into a string cannot fail");
}

/// One series of each look, in order.
fn legend_entries(panels: &[Panel]) -> Vec<&Series> {
    let mut out: Vec<&Series> = Vec::new();
    for series in panels.iter().flat_map(|p| &p.series).filter(|s| !s.name.is_empty()) {
        let known = |s: &&Series| (&s.name, s.colour, s.stroke) == (&series.name, series.colour, series.stroke);
        if !out.iter().any(known) {
            out.push(series);
        }
    }
    out
}

fn legend(out: &mut String, series: &Series, x: f64, y: f64) {
    line(out, series, &[(x, y - 4.0), (x + 22.0, y - 4.0)]);
    if series.marks {
        mark(out, series, (x + 11.0, y - 4.0));
    }
    put(out, format_args!("<text x=\"{:.0}\" y=\"{y:.0}\">{}</text>", x + 28.0, escape(&series.name)));
}

fn line(out: &mut String, series: &Series, points: &[(f64, f64)]) {
    let dashes = match series.stroke {
        Stroke::None => return,
        Stroke::Solid => "",
        Stroke::Dashed => " stroke-dasharray=\"6 3\"",
        Stroke::Dotted => " stroke-dasharray=\"1.5 3\"",
    };
    let list: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    put(out, format_args!("<polyline class=\"c{}\"{dashes} points=\"{}\"/>", series.colour % COLOURS, list.join(" ")));
}

fn mark(out: &mut String, series: &Series, (x, y): (f64, f64)) {
    put(out, format_args!("<circle class=\"c{}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.6\"/>", series.colour % COLOURS));
}

/// A linear map from values to places in the picture.
struct Span {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Span {
    /// `None` without a finite value. There is a little room at both ends, so that no curve lies on the edge.
    fn of(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Option<Span> {
        let fold = |(low, high): (f64, f64), v: f64| (low.min(v), high.max(v));
        let (low, high) = values.filter(|v| v.is_finite()).fold((f64::INFINITY, f64::NEG_INFINITY), fold);
        if low > high {
            return None;
        }
        let room = if high - low > 1e-9 { ROOM * (high - low) } else { 0.5 };
        Some(Span { low: low - room, high: high + room, from, to })
    }

    fn at(&self, value: f64) -> f64 {
        self.from + (value - self.low) / (self.high - self.low) * (self.to - self.from)
    }
}

fn draw(out: &mut String, panel: &Panel) {
    put(out, format_args!("<text class=\"title\" x=\"{LEFT}\" y=\"16\">{}</text>", escape(&panel.title)));
    let log = panel.axis == Axis::Log;
    let place = |x: f64| if log { x.log10() } else { x };
    let seen = || panel.series.iter().flat_map(|s| &s.points).filter(|p| place(p.0).is_finite() && p.1.is_finite());
    let across = Span::of(seen().map(|p| place(p.0)), LEFT, WIDTH - RIGHT);
    let wanted = panel.range.map(|(low, high)| vec![low, high]);
    let heights = wanted.unwrap_or_else(|| seen().map(|p| p.1).collect());
    let up = Span::of(heights.into_iter(), HEIGHT - BOTTOM, TOP);
    let (Some(across), Some(up)) = (across, up) else {
        put(out, format_args!("<text x=\"{LEFT}\" y=\"{}\">no figures</text>", HEIGHT / 2.0));
        return;
    };
    for value in steps(up.low, up.high) {
        let y = up.at(value);
        let (right, text) = (WIDTH - RIGHT, number(value));
        put(out, format_args!("<path class=\"grid\" d=\"M{LEFT} {y:.1}H{right}\"/>"));
        put(out, format_args!("<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>", LEFT - 6.0, y + 4.0));
    }
    let ticks = if log { decades(across.low, across.high) } else { steps(across.low, across.high) };
    for value in ticks {
        let (x, base) = (across.at(place(value)), HEIGHT - BOTTOM);
        put(out, format_args!("<path class=\"grid\" d=\"M{x:.1} {TOP}V{base}\"/>"));
        put(out, format_args!("<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>", base + 14.0, number(value)));
    }
    let middle = (LEFT + WIDTH - RIGHT) / 2.0;
    put(out, format_args!("<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{}</text>", HEIGHT - 8.0, escape(&panel.across)));
    for series in &panel.series {
        let inside = series.points.iter().filter(|p| place(p.0).is_finite() && p.1.is_finite());
        let points: Vec<(f64, f64)> =
            inside.map(|p| (across.at(place(p.0)), up.at(p.1.clamp(up.low.min(up.high), up.high.max(up.low))))).collect();
        line(out, series, &points);
        if series.marks {
            points.iter().for_each(|p| mark(out, series, *p));
        }
    }
}

/// Round values between two others, three to six of them.
fn steps(low: f64, high: f64) -> Vec<f64> {
    let rough = (high - low) / 5.0;
    let unit = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * unit).find(|s| *s >= rough).unwrap_or(10.0 * unit);
    let (first, last) = ((low / step - 1e-9).ceil() as i64, (high / step + 1e-9).floor() as i64);
    (first..=last.min(first + 20)).map(|i| i as f64 * step).collect()
}

/// 1, 2 and 5 times the powers of ten between two logarithms; over long stretches the powers alone.
fn decades(low: f64, high: f64) -> Vec<f64> {
    let parts: &[f64] = if high - low > 2.5 { &[1.0] } else { &[1.0, 2.0, 5.0] };
    let powers = (low.floor() as i32)..=(high.ceil() as i32);
    let all = powers.flat_map(|p| parts.iter().map(move |m| m * 10f64.powi(p)));
    all.filter(|v| (low - 1e-9..=high + 1e-9).contains(&v.log10())).collect()
}

/// As few digits as a round value needs.
fn number(value: f64) -> String {
    if value.abs() >= 1000.0 && value % 100.0 == 0.0 {
        return format!("{}k", value / 1000.0);
    }
    let text = format!("{value:.3}");
    match text.trim_end_matches('0').trim_end_matches('.') {
        "-0" => "0".into(),
        short => short.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(points: &[(f64, f64)]) -> Series {
        Series { name: "a < b".into(), marks: true, points: points.to_vec(), ..Series::default() }
    }

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(steps(0.0, 10.0), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(steps(-1.0, 1.0), [-1.0, -0.5, 0.0, 0.5, 1.0]);
        assert_eq!(decades(1.0, 2.0).iter().map(|v| v.round()).collect::<Vec<_>>(), [10.0, 20.0, 50.0, 100.0]);
        assert_eq!([number(0.5), number(2000.0), number(-0.0), number(30.0)], ["0.5", "2k", "0", "30"]);
    }

    #[test]
    fn a_logarithmic_axis_gives_equal_factors_equal_room() {
        let panel =
            Panel { axis: Axis::Log, series: vec![series(&[(10.0, 0.0), (100.0, 1.0), (1000.0, 2.0)])], ..Panel::default() };
        let drawn = svg(&[panel], 1);
        let list = drawn.rsplit("points=\"").next().unwrap().split('"').next().unwrap();
        let x: Vec<f64> = list.split(' ').map(|p| p.split(',').next().unwrap().parse().unwrap()).collect();
        assert!((x[1] - x[0] - (x[2] - x[1])).abs() < 0.2, "{list}");
    }

    #[test]
    fn points_without_a_place_are_left_out() {
        let bad = series(&[(0.0, 1.0), (f64::NAN, 2.0), (10.0, f64::INFINITY), (10.0, 3.0)]);
        let drawn = svg(&[Panel { axis: Axis::Log, series: vec![bad], ..Panel::default() }], 1);
        // One point, and the mark of the legend.
        assert_eq!(drawn.matches("<circle").count(), 2);
        assert!(!drawn.contains("NaN") && !drawn.contains("inf"), "{drawn}");
        assert!(svg(&[Panel::default()], 3).contains("no figures"));
    }

    #[test]
    fn looks_that_repeat_share_an_entry_and_names_are_escaped() {
        let panel = Panel { series: vec![series(&[(0.0, 1.0), (1.0, 2.0)])], ..Panel::default() };
        let drawn = svg(&[panel.clone(), panel], 2);
        assert_eq!(drawn.matches("a &lt; b").count(), 1);
    }
}
