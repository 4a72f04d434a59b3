//! `effigy pack regions`: a sheet of what the pack's parser finds in crops.

use std::path::{Path, PathBuf};

use effigy::frame::Frame;
use effigy::media::{draw_text, sheet, write_png, ClipReader, ReadOptions};
use effigy::pack::Pack;
use effigy::progress::{check, Progress};
use effigy::scene::Parser;
use effigy::{Error, Result};

use crate::common::DeviceArgs;
use crate::output::{check_writable, distinct};
use crate::progress::Reporter;

const EXAMPLES: &str = "\
Examples:
  effigy align call.mp4 -o crops.mkv
  effigy pack regions assets/builtin.safetensors crops.mkv -o regions.png

For each clip: frames spread over it, and below them the regions that are found, in colours over the picture in grey; the last row names the colours.";

/// Draw the regions that a pack's parser finds in aligned crops
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Pack to look with
    pack: PathBuf,
    /// Aligned crops, as `effigy align` writes them: clips, folders of PNG or pictures
    #[arg(required = true)]
    crops: Vec<PathBuf>,
    /// Sheet to write
    #[arg(short, long, value_name = "OUT.png")]
    output: PathBuf,
    /// Frames of each clip
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u64).range(1..=32))]
    columns: u64,
    #[command(flatten)]
    device: DeviceArgs,
}

/// Height of the row that names the colours, pixels.
const LEGEND: u32 = 13;
/// Opacity of a region's colour, of 256.
const OPACITY: u32 = 140;

pub fn run(args: &Args, reporter: &Reporter) -> Result<()> {
    let inputs: Vec<&Path> = std::iter::once(&args.pack).chain(&args.crops).map(PathBuf::as_path).collect();
    distinct(&args.output, &inputs)?;
    check_writable(&args.output)?;
    if let Some(n) = args.device.threads {
        tch::set_num_threads(i32::from(n));
    }
    let pack = Pack::load(&args.pack)?;
    let parser = Parser::new(&pack, args.device.device, args.device.precision.into())?;
    let mut rows: Vec<Vec<Frame>> = Vec::new();
    reporter.begin("find regions", args.crops.len() as u64);
    for (i, path) in args.crops.iter().enumerate() {
        let crops = spread(path, args.columns, reporter)?;
        let found = parser.regions(&crops)?;
        let coloured = crops.iter().zip(&found).map(|(crop, classes)| coloured(crop, classes)).collect::<Result<_>>()?;
        rows.extend([crops, coloured]);
        reporter.advance(i as u64 + 1, "");
    }
    reporter.end();
    let tiles: Vec<Vec<&Frame>> = rows.iter().map(|row| row.iter().collect()).collect();
    let faces = sheet(&tiles, 2)?;
    let legend = legend(&pack.config().labels, faces.width)?;
    write_png(&args.output, &sheet(&[vec![&faces], vec![&legend]], 0)?, false)?;
    reporter.say(&format!("{}: {} regions of {} clips", args.output.display(), pack.config().labels.len(), args.crops.len()));
    Ok(())
}

/// `count` frames spread over the clip, or all of a shorter one; never holds more than thrice as many.
fn spread(path: &Path, count: u64, progress: &dyn Progress) -> Result<Vec<Frame>> {
    let count = count as usize;
    let (mut kept, mut every): (Vec<Frame>, usize) = (Vec::new(), 1);
    for (i, timed) in ClipReader::open(path, &ReadOptions::default())?.enumerate() {
        check(progress)?;
        let frame = timed?.frame;
        if frame.width != frame.height {
            let what = format!("{} x {}: aligned crops are square (`effigy align` makes them)", frame.width, frame.height);
            return Err(Error::Misuse(format!("{}: {what}", path.display())));
        }
        if i % every == 0 {
            kept.push(frame);
        }
        if kept.len() == 3 * count {
            // Every second one is enough from here on.
            every *= 2;
            kept = kept.into_iter().step_by(2).collect();
        }
    }
    let last = kept.len().checked_sub(1).ok_or_else(|| Error::NoContent(format!("{}: no frames", path.display())))?;
    let mut at: Vec<usize> = (0..count).map(|i| i * last / (count - 1).max(1)).collect();
    at.dedup();
    Ok(at.into_iter().map(|i| kept[i].clone()).collect())
}

/// A colour for each class, far from its neighbours'; the first one, mostly the background, is dark.
fn colour(class: u8) -> [u8; 3] {
    const COLOURS: [[u8; 3]; 12] = [
        [20, 20, 40],
        [230, 180, 140],
        [240, 220, 130],
        [200, 120, 90],
        [120, 60, 200],
        [60, 200, 220],
        [30, 60, 255],
        [255, 50, 90],
        [255, 255, 255],
        [110, 70, 30],
        [40, 150, 70],
        [255, 140, 0],
    ];
    let [r, g, b] = COLOURS[usize::from(class) % COLOURS.len()];
    // Packs with more classes repeat the colours, darker.
    let less = 1 + class / COLOURS.len() as u8;
    [r / less, g / less, b / less]
}

fn coloured(crop: &Frame, classes: &[u8]) -> Result<Frame> {
    let pixel = |(rgb, class): (&[u8], &u8)| {
        let grey = (u32::from(rgb[0]) + 2 * u32::from(rgb[1]) + u32::from(rgb[2])) / 4;
        colour(*class).map(|c| ((u32::from(c) * OPACITY + grey * (256 - OPACITY)) / 256) as u8)
    };
    Frame::new(crop.width, crop.height, crop.data.chunks_exact(3).zip(classes).flat_map(pixel).collect())
}

/// The labels, each in its colour, in as many lines as they need.
fn legend(labels: &[String], width: u32) -> Result<Frame> {
    let (mut places, mut x, mut line) = (Vec::new(), 2, 0);
    for label in labels {
        let wide = 6 * label.chars().count() as u32 + 20;
        if x + wide > width && x > 2 {
            (x, line) = (2, line + 1);
        }
        places.push((x, line * LEGEND));
        x += wide;
    }
    let mut out = Frame::filled(width, (line + 1) * LEGEND, [48; 3])?;
    for (class, (label, (x, y))) in labels.iter().zip(places).enumerate() {
        // A square of the class's colour.
        for (dx, dy) in (0..8).flat_map(|dy| (0..8).map(move |dx| (dx, dy))) {
            if x + dx < width {
                let at = 3 * ((y + 2 + dy) * width + x + dx) as usize;
                out.data[at..at + 3].copy_from_slice(&colour(class as u8));
            }
        }
        draw_text(&mut out, x + 11, y + 3, 1, label, [230; 3]);
    }
    Ok(out)
}
