//! The report's page: one HTML file that needs nothing else, with pictures and curves inside.
//!
//! Input: what the comparison, the pack's networks and the stream's bytes gave, and some frame pairs (8-bit RGB). Output: HTML. The
//! layout is `page.html`; here its `{{fields}}` are filled.

use effigy::evaluate::cost::CALLS;
use effigy::evaluate::html::{escape, fill, paired_strip, table, Tile, STYLE};
use effigy::evaluate::plot::{svg, Panel, Series, Stroke};
use effigy::evaluate::{Cost, FrameScore, Readings, Report};
use effigy::frame::Frame;
use effigy::Result;

use crate::common::{short, size};

const LAYOUT: &str = include_str!("page.html");
/// Curves in a row.
const COLUMNS: usize = 3;

const FORMULAS: &str = "\
PSNR: over R, G and B. SSIM: luma, Gaussian window of 11 x 11, sigma 1.5. SSIMULACRA2: 100 equal, 90 not to be told apart, 70 high, 50 \
medium, 30 low quality, no lower end. L1, flicker and unrest: grey levels, 0 to 255. Flicker: mean of |(d(t) - d(t-1)) - (s(t) - s(t-1))| \
over all samples, s the source and d the decoded clip: the error of the change. Unrest: mean of |d(t) - d(t-1)| less mean of \
|s(t) - s(t-1)|: above zero the decoded clip trembles, below it smears or freezes.";

/// A frame of both clips.
pub struct Pair {
    /// Its number, counted from 0.
    pub frame: u64,
    /// The source's picture.
    pub reference: Frame,
    /// The decoded one.
    pub decoded: Frame,
}

/// All that the page says.
pub struct Page<'a> {
    /// File names of source and decoded clip.
    pub names: [String; 2],
    /// The figures.
    pub report: &'a Report,
    /// What the pack's networks saw.
    pub readings: Option<&'a Readings>,
    /// Why they saw nothing.
    pub no_readings: String,
    /// The stream's bytes, if it was given.
    pub cost: Option<&'a Cost>,
    /// Evenly spread.
    pub strip: &'a [Pair],
    /// The lowest PSNR, worst first.
    pub worst: &'a [Pair],
}

impl Page<'_> {
    /// The page as HTML. `Misuse` without frames.
    pub fn to_html(&self) -> Result<String> {
        let report = self.report;
        let [source, decoded] = &self.names;
        let lead =
            format!("{decoded} against {source}: {} frames of {} x {} pixels.", report.frames, report.width, report.height);
        let sections = [self.networks(), self.bytes()].concat();
        let fields = [
            ("style", STYLE.to_string()),
            ("title", "How near the decoded clip is".to_string()),
            ("lead", escape(&lead)),
            ("tiles", self.tiles().iter().map(Tile::to_html).collect()),
            ("strip_note", escape(&format!("Frames {}, counted from 0. Errors are magnified.", numbers(self.strip)))),
            ("strip", strip(self.strip)?),
            ("worst_note", escape(&self.worst_note())),
            ("worst", strip(self.worst)?),
            ("curves", svg(&self.panels(), COLUMNS)),
            ("figures", self.figures()),
            ("formulas", escape(FORMULAS)),
            ("sections", sections),
            ("mark", escape(&self.mark())),
        ];
        Ok(fill(LAYOUT, &fields))
    }

    fn tiles(&self) -> Vec<Tile> {
        let r = self.report;
        let tile = |value: String, name, note: String| Tile { value, name, note };
        let mut out = vec![
            tile(format!("{:.2} dB", r.psnr), "PSNR", format!("worst {:.2} dB, frame {}", r.psnr_min, r.psnr_min_frame)),
            tile(
                format!("{:+.2} dB", r.gain_db),
                "against one still",
                format!("the best held frame has {:.2} dB", r.static_psnr),
            ),
            tile(format!("{:.3}", r.ssim), "SSIM", format!("worst {:.3}", r.ssim_min)),
            tile(format!("{:.1}", r.ssimulacra2), "SSIMULACRA2", format!("worst {:.1}", r.ssimulacra2_min)),
            tile(format!("{:.2}", r.flicker), "flicker", format!("grey levels; unrest {:+.2}", r.unrest)),
        ];
        if let Some(psnr) = self.readings.and_then(|n| n.person_psnr) {
            out.push(tile(
                format!("{psnr:.2} dB"),
                "PSNR of the person",
                "inside the matte of the source, by the pack's parser".into(),
            ));
        }
        if let Some(similarity) = self.readings.and_then(|n| n.similarity) {
            let worst = self.readings.and_then(|n| n.similarity_min).unwrap_or(similarity);
            out.push(tile(
                format!("{similarity:.3}"),
                "identity similarity",
                format!("worst {worst:.3}; by the pack's own network"),
            ));
        }
        if let Some(cost) = self.cost {
            out.push(tile(
                format!("{:.1} B", cost.running()),
                "per frame",
                format!("{:.1} B of them are the 35 numbers", cost.payload()),
            ));
            let note = format!("{:.0} B per frame over this clip", cost.over_clip() - cost.running());
            out.push(match cost.identity_inline {
                true => tile(size(cost.identity_bytes), "identity", note),
                false => tile("apart".into(), "identity", "it is not in the stream and not counted".into()),
            });
        }
        out
    }

    fn worst_note(&self) -> String {
        let each: Vec<String> =
            self.worst.iter().map(|p| format!("{} ({:.2} dB)", p.frame, self.report.per_frame[p.frame as usize].psnr)).collect();
        format!("The lowest PSNR, worst first: frames {}.", each.join(", "))
    }

    /// One diagram per quantity; frames run across.
    fn panels(&self) -> Vec<Panel> {
        let scores = &self.report.per_frame;
        let scored = |figure: fn(&FrameScore) -> f64| -> Vec<f64> { scores.iter().map(figure).collect() };
        // The first frame has no change before it: its place in the diagram stays empty.
        let changes = |figure: fn(&FrameScore) -> f64| [vec![f64::NAN], scores[1..].iter().map(figure).collect()].concat();
        let mut out = vec![
            panel("PSNR, dB", vec![curve("decoded", 1, scored(|s| s.psnr))]),
            panel("SSIM", vec![curve("decoded", 1, scored(|s| s.ssim))]),
            panel("SSIMULACRA2", vec![curve("decoded", 1, scored(|s| s.ssimulacra2))]),
            panel("flicker, grey levels", vec![curve("decoded", 1, changes(|s| s.flicker))]),
            panel("unrest, grey levels", vec![curve("decoded", 1, changes(|s| s.unrest))]),
        ];
        if let Some(cost) = self.cost {
            out.push(panel("bytes per frame, without identity", vec![curve("decoded", 1, cost.per_frame.clone())]));
        }
        if let Some(readings) = self.readings {
            out.push(panel("perceptual distance", vec![curve("decoded", 1, readings.distances.clone())]));
            if !readings.similarities.is_empty() {
                out.push(panel("identity similarity", vec![curve("decoded", 1, readings.similarities.clone())]));
            }
            for (what, [source, decoded]) in readings.following.iter().zip(&readings.curves) {
                let title = format!("{} ({}), as read", what.name, what.unit);
                out.push(panel(&title, vec![curve("source", 0, source.clone()), curve("decoded", 1, decoded.clone())]));
            }
        }
        out
    }

    fn figures(&self) -> String {
        let r = self.report;
        let mut rows = vec![
            row("PSNR, dB", format!("{:.2}", r.psnr), format!("{:.2}", r.psnr_min)),
            row("SSIM", format!("{:.4}", r.ssim), format!("{:.4}", r.ssim_min)),
            row("SSIMULACRA2", format!("{:.2}", r.ssimulacra2), format!("{:.2}", r.ssimulacra2_min)),
            row("L1", format!("{:.2}", r.l1), String::new()),
            row("flicker", format!("{:.3}", r.flicker), String::new()),
            row("unrest", format!("{:+.3}", r.unrest), String::new()),
            row("best single frame of the source, held: PSNR, dB", format!("{:.2}", r.static_psnr), String::new()),
        ];
        if let Some(slides) = r.slideshow_psnr {
            rows.push(row("nearest enrolled crop for each frame: PSNR, dB", format!("{slides:.2}"), String::new()));
        }
        table(&["figure", "mean", "worst frame"], &rows)
    }

    /// What the pack's networks saw, and which networks these are.
    fn networks(&self) -> String {
        let Some(n) = self.readings else {
            return format!("<h2>Likeness and motion</h2><p class=\"soft\">{}</p>", escape(&self.no_readings));
        };
        let mut out = format!(
            "<h2>Likeness and motion</h2><p class=\"soft\">Read by the networks of the pack {} on source and decoded frames. \
             The encoder steers by the same networks, so these figures flatter it.</p>",
            escape(&n.pack)
        );
        let mut rows = vec![vec!["perceptual distance".to_string(), format!("{:.4}", n.distance), n.distance_by.to_string()]];
        if let Some(psnr) = n.person_psnr {
            rows.push(vec![
                "PSNR of the person".into(),
                format!("{psnr:.2} dB"),
                "where the parser sees them in the source".into(),
            ]);
        }
        if let (Some(mean), Some(worst)) = (n.similarity, n.similarity_min) {
            let by = format!("cosine of the identity embeddings; worst frame {worst:.4}");
            rows.push(vec!["identity similarity".into(), format!("{mean:.4}"), by]);
        }
        out.push_str(&table(&["figure", "mean", "what it is"], &rows));
        if n.following.is_empty() {
            out.push_str("<p class=\"soft\">This pack has no network that reads pose and expression.</p>");
            return out;
        }
        let rows: Vec<Vec<String>> = n
            .following
            .iter()
            .map(|f| {
                let correlation = f.correlation.map_or("holds still".into(), |c| format!("{c:.3}"));
                vec![f.name.into(), f.unit.into(), correlation, format!("{:.3}", f.error), format!("{:.3}", f.spread)]
            })
            .collect();
        out.push_str(&table(&["motion", "read as", "correlation", "RMS difference", "spread in the source"], &rows));
        out
    }

    /// The stream's bytes, with nothing left out.
    fn bytes(&self) -> String {
        let Some(cost) = self.cost else {
            return "<h2>Bytes</h2><p class=\"soft\">No stream was given (--stream).</p>".into();
        };
        let line = |name: &str, bytes: f64| vec![name.to_string(), format!("{bytes:.1}"), format!("{:.1}", cost.kilobits(bytes))];
        let once = if cost.identity_inline { "header and identity" } else { "header without an identity" };
        let once = if cost.plate_bytes > 0 { format!("{once}, and the background") } else { once.to_string() };
        let mut rows = vec![
            line("the 35 numbers alone", cost.payload()),
            line("and residual, packet heads, checks, time stamps, placement, index", cost.running()),
            line(&format!("and {once}, spread over this clip"), cost.over_clip()),
        ];
        for (seconds, name) in CALLS {
            rows.push(line(&format!("the same, spread over a call of {name}"), cost.over(seconds)));
        }
        let identity = match cost.identity_inline {
            true => format!("identity {} bytes, inside the stream", cost.identity_bytes),
            false => "the identity travels apart and is not counted".to_string(),
        };
        let plate = if cost.plate_bytes > 0 { format!(", background {} bytes", cost.plate_bytes) } else { String::new() };
        let lead = format!(
            "Stream {}: {} frames at {:.2} per second, header {} bytes, {identity}{plate}. Pack {}.",
            cost.coding,
            cost.frames,
            cost.rate,
            cost.header_bytes,
            short(&cost.pack)
        );
        format!("<h2>Bytes</h2><p class=\"soft\">{}</p>{}", escape(&lead), table(&["what", "bytes per frame", "kbit/s"], &rows))
    }

    fn mark(&self) -> String {
        let stream = match self.cost {
            Some(cost) if cost.synthetic => " The stream's header says so.",
            Some(_) => " The stream's header lacks the mark.",
            None => "",
        };
        format!("Decoded faces are synthetic: a network drew them.{stream} Encode and drive only people who agreed to it.")
    }
}

fn row(name: &str, mean: String, worst: String) -> Vec<String> {
    vec![name.to_string(), mean, worst]
}

fn panel(title: &str, series: Vec<Series>) -> Panel {
    Panel { title: title.to_string(), across: "frame".into(), series, ..Panel::default() }
}

fn curve(name: &str, colour: usize, values: Vec<f64>) -> Series {
    let points = values.into_iter().enumerate().map(|(i, v)| (i as f64, v)).collect();
    Series { name: name.into(), colour, stroke: Stroke::Solid, marks: false, points }
}

fn numbers(pairs: &[Pair]) -> String {
    pairs.iter().map(|p| p.frame.to_string()).collect::<Vec<_>>().join(", ")
}

fn strip(pairs: &[Pair]) -> Result<String> {
    let pairs: Vec<(&Frame, &Frame)> = pairs.iter().map(|p| (&p.reference, &p.decoded)).collect();
    paired_strip(["source", "decoded"], &pairs)
}
