//! `effigy pack channels`: a sheet of what each number does to a face, and a table of where it acts.

use std::path::PathBuf;

use effigy::bitstream::Identity;
use effigy::decode::Decoder;
use effigy::frame::Frame;
use effigy::media::{draw_text, sheet, write_png};
use effigy::pack::Pack;
use effigy::params::{FrameParams, WPlus, EXPRESSIONS};
use effigy::progress::{check, Progress};
use effigy::Result;

use crate::common::{short, DeviceArgs};
use crate::encode::load_identity;
use crate::output::{check_writable, distinct, print};
use crate::progress::Reporter;

const EXAMPLES: &str = "\
Examples:
  effigy pack channels assets/builtin.safetensors -o channels.png
  effigy pack channels assets/builtin.safetensors --identity me.identity -o me.png

Each cell: the least value of the pack's range, the greatest, and twice the difference. The first two cells are yaw and pitch.";

/// Draw what each of the 35 numbers (but roll) does to a face, and list where it acts
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Pack to look at
    pack: PathBuf,
    /// The face of this person, from its rest, instead of the pack's mean face
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
    /// Sheet to write
    #[arg(short, long, value_name = "OUT.png")]
    output: PathBuf,
    #[command(flatten)]
    device: DeviceArgs,
}

/// Cells side by side.
const COLUMNS: usize = 4;
/// Space for a cell's name, pixels.
const LABEL: u32 = 11;

pub fn run(args: &Args, reporter: &Reporter) -> Result<()> {
    let inputs: Vec<_> = std::iter::once(args.pack.as_path()).chain(args.identity.as_deref()).collect();
    distinct(&args.output, &inputs)?;
    check_writable(&args.output)?;
    let pack = Pack::load(&args.pack)?;
    let identity = match &args.identity {
        Some(path) => load_identity(path, &pack)?,
        None => mean_face(&pack),
    };
    let mut decoder = Decoder::new(&pack, &identity, &args.device.decoding())?;
    let names = numbers(&pack);
    let mut cells = Vec::with_capacity(names.len());
    reporter.begin("draw", names.len() as u64);
    for (name, column) in names {
        check(reporter)?;
        let at = |value: f32| {
            let mut numbers = identity.rest.to_array();
            numbers[column] = value;
            FrameParams::from_array(&numbers)
        };
        let [low, high] = pack.config().ranges[column];
        cells.push(cell(&name, &decoder.render_batch(&[at(low), at(high)])?)?);
        reporter.advance(cells.len() as u64, &name);
    }
    reporter.end();
    let rows: Vec<Vec<&Frame>> = cells.chunks(COLUMNS).map(|row| row.iter().collect()).collect();
    write_png(&args.output, &sheet(&rows, 6)?, true)?;
    print(&table(&pack, args.identity.is_some().then_some(&identity)))?;
    reporter.say(&format!("{}: {} of {}", args.output.display(), cells.len(), short(&pack.hash())));
    Ok(())
}

/// Name and place among the 35 of every number that the upright picture depends on.
fn numbers(pack: &Pack) -> Vec<(String, usize)> {
    let angles = [("yaw".to_string(), 0), ("pitch".to_string(), 1)];
    let channels = pack.config().channels.iter().take(EXPRESSIONS).enumerate();
    angles.into_iter().chain(channels.map(|(i, channel)| (format!("{} {}", i, channel.feature), 3 + i))).collect()
}

/// The pack's mean face as if it were a person.
fn mean_face(pack: &Pack) -> Identity {
    let config = pack.config();
    let rows = config.generator.rows() as usize;
    Identity {
        pack: pack.hash(),
        name: String::new(),
        resolution: config.generator.resolution as u32,
        latent: WPlus { rows, dim: config.latent_mean.len(), data: config.latent_mean.repeat(rows) },
        tuned: Vec::new(),
        sensitivity: [0.0; EXPRESSIONS],
        rest: FrameParams::default(),
        anchors: Vec::new(),
        thumbnail: None,
        metadata: Default::default(),
    }
}

/// Both ends of a number's range and twice their difference, under its name.
fn cell(name: &str, ends: &[Frame]) -> Result<Frame> {
    let (low, high) = (&ends[0], &ends[1]);
    let apart = low.data.iter().zip(&high.data).map(|(a, b)| a.abs_diff(*b).saturating_mul(2)).collect();
    let apart = Frame::new(low.width, low.height, apart)?;
    let mut label = Frame::filled(3 * low.width, LABEL, [32; 3])?;
    draw_text(&mut label, 2, 2, 1, name, [230; 3]);
    sheet(&[vec![&label], vec![low, high, &apart]], 1)
}

fn table(pack: &Pack, person: Option<&Identity>) -> String {
    let config = pack.config();
    let layers = config.generator.layers();
    let own = if person.is_some() { " of this person |" } else { "" };
    let mut out =
        format!("| alpha | moves | region | layer | channel | range | sensitivity |{own}\n|---|---|---|---|---|---|---|");
    out.push_str(if person.is_some() { "---|" } else { "" });
    for (i, channel) in config.channels.iter().take(EXPRESSIONS).enumerate() {
        let layer = layers.get(channel.layer).map_or("", |layer| layer.name.as_str());
        let [low, high] = config.ranges[3 + i];
        out.push_str(&format!(
            "\n| {i} | {} | {} | {layer} | {} | {low} to {high} | {:.3} |",
            channel.feature, channel.region, channel.channel, channel.sensitivity
        ));
        if let Some(person) = person {
            out.push_str(&format!(" {:.3} |", person.sensitivity[i]));
        }
    }
    out
}
