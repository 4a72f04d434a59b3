//! `effigy train`: parametric heads as pictures and clips, and the making of packs.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use effigy::frame::{Frame, TimeBase};
use effigy::media::{sheet, write_png, ClipWriter, WriteOptions};
use effigy::progress::{check, Progress};
use effigy::train::heads::{head_at, render, render_camera, sample, Camera, ClipSpec, Framing, Head, EXPRESSION_NAMES};
use effigy::train::{train_pack, train_parser, train_personal, TrainOptions};
use effigy::{Error, Result};

use crate::clip::{self, ClipArgs};
use crate::output::{check_writable, Staged};
use crate::progress::Reporter;

const HEADS_EXAMPLES: &str = "\
Examples:
  effigy train heads -o sheet.png --rows 4 --columns 8 --size 128
  effigy train heads -o heads/ --rows 10 --columns 10            single pictures, 000000.png and so on
  effigy train heads --clip head.mkv --frames 250 --seed 7 --truth head.csv
  effigy train heads --clip camera.mp4 --camera 640x360          a head that moves before a fixed camera
  effigy train heads -o webcams.png --film 1                     as webcams of all kinds would show them

The heads are drawn from numbers alone; nobody in them exists. The truth table has one line per frame: yaw, pitch and roll in degrees,
shift and scale as fractions of the picture, and the expression channels (0 to 1; signed ones -1 to 1).";

/// Packs and training material
#[derive(Subcommand)]
pub enum Command {
    Heads(HeadsArgs),
    Pack(PackArgs),
    Parser(ParserArgs),
    Personal(PersonalArgs),
}

/// Draw parametric heads: a sheet, single pictures or a clip with ground truth
#[derive(clap::Args)]
#[command(after_help = HEADS_EXAMPLES)]
pub struct HeadsArgs {
    /// Sheet (.png) or folder (ending in /) of heads drawn at random
    #[arg(short, long, value_name = "OUT", required_unless_present = "clip")]
    output: Option<PathBuf>,
    /// Clip of one head that turns, speaks, blinks and looks around
    #[arg(long, value_name = "OUT.mkv")]
    clip: Option<PathBuf>,
    /// Ground truth of the clip's frames as CSV
    #[arg(long, value_name = "FILE.csv", requires = "clip")]
    truth: Option<PathBuf>,
    /// First seed: the same seed draws the same heads
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(..1 << 46))]
    seed: u64,
    /// Side of a head's picture, pixels
    #[arg(long, value_name = "PIXELS", default_value_t = 256, value_parser = clap::value_parser!(u32).range(16..=1024))]
    size: u32,
    /// Rows of the sheet
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=100))]
    rows: u64,
    /// Columns of the sheet
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u64).range(1..=100))]
    columns: u64,
    /// Frames of the clip
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    frames: u64,
    /// Frames per second of the clip: a number or a fraction such as 30000/1001
    #[arg(long, value_name = "RATE", default_value = "25", value_parser = parse_rate)]
    rate: (u32, u32),
    /// Film the clip with a fixed camera of this size, pixels, instead of the aligned crop
    #[arg(long, value_name = "WIDTHxHEIGHT", value_parser = parse_size)]
    camera: Option<(u32, u32)>,
    /// Faults of a random webcam (noise, blur, colour, compression): 0 none, 1 all
    #[arg(long, value_name = "0..1", default_value_t = 0.0, value_parser = parse_share)]
    film: f32,
}

fn parse_rate(text: &str) -> std::result::Result<(u32, u32), String> {
    let (num, den) = text.split_once('/').unwrap_or((text, "1"));
    match (num.parse(), den.parse()) {
        (Ok(num @ 1..), Ok(den @ 1..)) => Ok((num, den)),
        _ => Err("a rate is a whole number or a fraction of two".into()),
    }
}

fn parse_minutes(text: &str) -> std::result::Result<f64, String> {
    match text.parse() {
        Ok(minutes) if minutes > 0.0 && minutes <= 525_600.0 => Ok(minutes),
        _ => Err("a number of minutes above 0, at most a year".into()),
    }
}

fn parse_share(text: &str) -> std::result::Result<f32, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("a number from 0 to 1".into()),
    }
}

fn parse_size(text: &str) -> std::result::Result<(u32, u32), String> {
    let sides = text.split_once('x').and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?)));
    match sides {
        Some((w @ 16..=4096, h @ 16..=4096)) => Ok((w, h)),
        _ => Err("a size is WIDTHxHEIGHT, each from 16 to 4096 pixels".into()),
    }
}

pub fn run(command: &Command, reporter: &Reporter) -> Result<()> {
    match command {
        Command::Heads(args) => heads(args, reporter),
        Command::Pack(args) => pack(args, reporter),
        Command::Parser(args) => parser(args, reporter),
        Command::Personal(args) => personal(args, reporter),
    }
}

fn heads(args: &HeadsArgs, reporter: &Reporter) -> Result<()> {
    for output in args.output.iter().chain(&args.clip).chain(&args.truth) {
        check_writable(output)?;
    }
    if let Some(output) = &args.output {
        pictures(args, output, reporter)?;
    }
    if let Some(path) = &args.clip {
        clip(args, path, reporter)?;
    }
    Ok(())
}

fn pictures(args: &HeadsArgs, output: &Path, progress: &dyn Progress) -> Result<()> {
    let total = args.rows * args.columns;
    let mut frames = Vec::new();
    progress.begin("drawing heads", total);
    for i in 0..total {
        check(progress)?;
        let clean = render(&sample(args.seed + i), args.size).frame;
        let frame = if args.film > 0.0 { Camera::sample(args.seed + i, args.film).film(&clean) } else { clean };
        if output.is_dir() {
            write_png(output.join(format!("{i:06}.png")), &frame, true)?;
        } else {
            frames.push(frame);
        }
        progress.advance(i + 1, "");
    }
    progress.end();
    if output.is_dir() {
        return Ok(());
    }
    let rows: Vec<Vec<&Frame>> = frames.chunks(args.columns as usize).map(|row| row.iter().collect()).collect();
    write_png(output, &sheet(&rows, 2)?, true)
}

fn clip(args: &HeadsArgs, path: &Path, progress: &dyn Progress) -> Result<()> {
    let spec = ClipSpec { seed: args.seed, frames: args.frames, fps: args.rate, camera: args.camera };
    let (width, height) = args.camera.unwrap_or((args.size, args.size));
    let options = WriteOptions { synthetic: true, frame_rate: Some(args.rate), ..WriteOptions::default() };
    let time_base = TimeBase { num: args.rate.1, den: args.rate.0 };
    let mut writer = ClipWriter::create(path, width, height, time_base, &options)?;
    let mut truth = args.truth.as_deref().map(Staged::create).transpose()?;
    let mut lines = format!("frame,yaw,pitch,roll,x,y,scale,{}\n", EXPRESSION_NAMES.join(","));
    progress.begin("drawing the clip", args.frames);
    for i in 0..args.frames {
        check(progress)?;
        let head = head_at(&spec, i);
        let clean = render_camera(&head, width, height).frame;
        // One camera for the clip, new noise for every frame.
        let camera = Camera { seed: args.seed.wrapping_add(i), ..Camera::sample(args.seed, args.film) };
        writer.write(i as i64, &if args.film > 0.0 { camera.film(&clean) } else { clean })?;
        lines.push_str(&truth_line(i, &head));
        progress.advance(i + 1, "");
    }
    progress.end();
    writer.finish()?;
    if let (Some(mut staged), Some(path)) = (truth.take(), &args.truth) {
        staged.write_all(lines.as_bytes()).map_err(|e| Error::io("write", path, e))?;
        staged.commit()?;
    }
    Ok(())
}

fn truth_line(i: u64, head: &Head) -> String {
    let (x, y, scale, roll) = match head.framing {
        Framing::Aligned { dx, dy, scale, roll_degrees } => (dx, dy, scale, roll_degrees),
        Framing::Camera { x, y, scale, roll_degrees } => (x, y, scale, roll_degrees),
    };
    let expression: Vec<String> = head.expression.iter().map(|v| format!("{v:.5}")).collect();
    format!("{i},{:.4},{:.4},{roll:.4},{x:.5},{y:.5},{scale:.5},{}\n", head.yaw, head.pitch, expression.join(","))
}

const PACK_EXAMPLES: &str = "\
Examples:
  effigy train pack -o pack.safetensors                         a pack like the built-in one
  effigy train pack -o pack.safetensors --device cuda --images 60000 --generator-steps 40000
  effigy train pack -o pack256.safetensors --size 256 --init assets/builtin.safetensors --minutes 60
  effigy train pack -o grown256.safetensors --size 256 --init assets/builtin.safetensors --grow --generator-steps 2000
  effigy train pack -o tiny.safetensors --size 32 --images 256 --generator-steps 50 --analysis-steps 50

Training can be stopped and started again with the same arguments: it goes on from the state folder.";

/// Train a model pack from parametric heads
#[derive(clap::Args)]
#[command(after_help = PACK_EXAMPLES)]
pub struct PackArgs {
    /// Pack to write
    #[arg(short, long, value_name = "PACK")]
    output: PathBuf,
    /// Folder of resumable state, loss logs and previews [default: the pack's name with .state]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Start from this pack: tensors of the same name and shape are taken over, the others begin anew
    #[arg(long, value_name = "PACK")]
    init: Option<PathBuf>,
    /// Train only the generator's layers that the pack to start from lacks: at its size the new pack draws what that one draws
    #[arg(long, requires = "init")]
    grow: bool,
    /// Side of the pictures, pixels: a power of two
    #[arg(long, value_name = "PIXELS", default_value_t = TrainOptions::default().size)]
    size: i64,
    /// Heads rendered ahead
    #[arg(long, value_name = "N", default_value_t = TrainOptions::default().images)]
    images: usize,
    /// Start of all randomness
    #[arg(long, value_name = "N", default_value_t = TrainOptions::default().seed, value_parser = clap::value_parser!(u64).range(..1 << 15))]
    seed: u64,
    /// Pictures per step of the generator; half as many above 128 pixels
    #[arg(long, value_name = "N", default_value_t = TrainOptions::default().batch)]
    batch: i64,
    /// Steps of the analysis network
    #[arg(long, value_name = "N", default_value_t = TrainOptions::default().analysis_steps, conflicts_with = "grow")]
    analysis_steps: u64,
    /// Steps of generator, pose flow and encoder
    #[arg(long, value_name = "N", default_value_t = TrainOptions::default().generator_steps)]
    generator_steps: u64,
    /// Minutes for all steps together; stages then end early and their rates fall in time [default: no limit]
    #[arg(long, value_name = "MINUTES", value_parser = parse_minutes)]
    minutes: Option<f64>,
    /// Faults of cameras (noise, blur, colour, compression) in the pictures for analysis network and encoder: 0 none, 1 all
    #[arg(long, value_name = "0..1", default_value_t = TrainOptions::default().film, value_parser = parse_share)]
    film: f32,
    #[command(flatten)]
    device: crate::common::DeviceArgs,
}

/// An argument of the command line as a pack records it: folders stay private, for a pack may be passed on.
fn bare(arg: &str) -> String {
    let path = Path::new(arg);
    match path.file_name() {
        Some(name) if path.components().count() > 1 => name.to_string_lossy().into_owned(),
        _ => arg.to_string(),
    }
}

/// What all trainings have in common.
fn common(output: &Path, state: Option<&PathBuf>, device: &crate::common::DeviceArgs) -> Result<TrainOptions> {
    check_writable(output)?;
    if let Some(n) = device.threads {
        tch::set_num_threads(i32::from(n));
    }
    let place = device.device.resolve()?;
    let precision: effigy::decode::Precision = device.precision.into();
    let command = std::env::args().skip(1).map(|arg| bare(&arg)).collect::<Vec<_>>().join(" ");
    Ok(TrainOptions {
        out: output.into(),
        state: state.cloned().unwrap_or_else(|| output.with_extension("state")),
        device: place,
        kind: precision.resolve(place)?,
        command: format!("effigy {command}"),
        ..TrainOptions::default()
    })
}

fn pack(args: &PackArgs, reporter: &Reporter) -> Result<()> {
    let options = TrainOptions {
        init: args.init.clone(),
        grow: args.grow,
        size: args.size,
        images: args.images,
        seed: args.seed,
        batch: args.batch,
        analysis_steps: args.analysis_steps,
        generator_steps: args.generator_steps,
        minutes: args.minutes,
        film: args.film,
        ..common(&args.output, args.state.as_ref(), &args.device)?
    };
    train_pack(&options, reporter)?;
    reporter.say(&format!("{}: done", args.output.display()));
    Ok(())
}

const PARSER_EXAMPLES: &str = "\
Examples:
  effigy train parser --init pack.safetensors -o sharper.safetensors
  effigy train parser --init pack.safetensors -o sharper.safetensors --images 12288 --steps 10000

Training can be stopped and started again with the same arguments: it goes on from the state folder.";

/// Go on with a pack's region parser alone: all other networks stay as they are
#[derive(clap::Args)]
#[command(after_help = PARSER_EXAMPLES)]
pub struct ParserArgs {
    /// Pack to start from
    #[arg(long, value_name = "PACK")]
    init: PathBuf,
    /// Pack to write
    #[arg(short, long, value_name = "PACK")]
    output: PathBuf,
    /// Folder of resumable state and loss log [default: the pack's name with .state]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Heads rendered ahead, at twice the side that the parser looks at
    #[arg(long, value_name = "N", default_value_t = 6144)]
    images: usize,
    /// Start of all randomness
    #[arg(long, value_name = "N", default_value_t = TrainOptions::default().seed, value_parser = clap::value_parser!(u64).range(..1 << 15))]
    seed: u64,
    /// Steps, 16 pictures each
    #[arg(long, value_name = "N", default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(1..))]
    steps: u64,
    /// Minutes for the steps; the rate then falls in time [default: no limit]
    #[arg(long, value_name = "MINUTES", value_parser = parse_minutes)]
    minutes: Option<f64>,
    /// Faults of cameras in a quarter of the pictures: 0 none, 1 all
    #[arg(long, value_name = "0..1", default_value_t = TrainOptions::default().film, value_parser = parse_share)]
    film: f32,
    #[command(flatten)]
    device: crate::common::DeviceArgs,
}

fn parser(args: &ParserArgs, reporter: &Reporter) -> Result<()> {
    let options = TrainOptions {
        init: Some(args.init.clone()),
        images: args.images,
        seed: args.seed,
        analysis_steps: args.steps,
        minutes: args.minutes,
        film: args.film,
        ..common(&args.output, args.state.as_ref(), &args.device)?
    };
    train_parser(&options, reporter)?;
    reporter.say(&format!("{}: done", args.output.display()));
    Ok(())
}

const PERSONAL_EXAMPLES: &str = "\
Examples:
  effigy train personal call1.mp4 call2.mp4 -o me.safetensors --minutes 30
  effigy train personal ada.mp4 bob.mp4 eve.mp4 -o team.safetensors --frames 500
  effigy encode today.mp4 --pack me.safetensors -o today.effigy

Each clip shows one person; several clips may show the same one or different ones. Sender and receiver need the new pack. It can draw these
people: ask them first, and keep it from others. Training can be stopped and started again with the same arguments.";

/// Go on with a pack's training on your own footage
#[derive(clap::Args)]
#[command(after_help = PERSONAL_EXAMPLES)]
pub struct PersonalArgs {
    /// Clips of one person each
    #[arg(required = true)]
    input: Vec<PathBuf>,
    /// Pack to write
    #[arg(short, long, value_name = "PACK")]
    output: PathBuf,
    /// Folder of resumable state, loss logs and the preview [default: the pack's name with .state]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    #[command(flatten)]
    clip_args: ClipArgs,
    /// Heads rendered beside the footage, so that the 35 numbers keep their meaning
    #[arg(long, value_name = "N", default_value_t = 512)]
    images: usize,
    /// Start of all randomness
    #[arg(long, value_name = "N", default_value_t = TrainOptions::default().seed, value_parser = clap::value_parser!(u64).range(..1 << 15))]
    seed: u64,
    /// Heads per step, and as many frames; half as many above 128 pixels
    #[arg(long, value_name = "N", default_value_t = 8)]
    batch: i64,
    /// Steps of generator, pose flow and encoder
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    generator_steps: u64,
    /// Steps of the predictor
    #[arg(long, value_name = "N", default_value_t = 500)]
    predictor_steps: u64,
    /// Minutes for all steps together [default: no limit]
    #[arg(long, value_name = "MINUTES", value_parser = parse_minutes)]
    minutes: Option<f64>,
    #[command(flatten)]
    pack: crate::common::PackArgs,
    #[command(flatten)]
    device: crate::common::DeviceArgs,
}

fn personal(args: &PersonalArgs, reporter: &Reporter) -> Result<()> {
    clip::check_build(&args.clip_args)?;
    let shared = common(&args.output, args.state.as_ref(), &args.device)?;
    let path = args.pack.path()?;
    let side = crate::common::side(&effigy::pack::Pack::load(&path)?);
    let mut clips = Vec::new();
    for input in &args.input {
        let aligned = clip::load(input, &args.clip_args, clip::Crops::of_side(side), reporter)?;
        clips.push(aligned.all(reporter)?.into_iter().map(|f| f.frame).collect());
    }
    let options = TrainOptions {
        init: Some(path),
        size: i64::from(side),
        images: args.images,
        seed: args.seed,
        batch: args.batch,
        analysis_steps: args.predictor_steps,
        generator_steps: args.generator_steps,
        minutes: args.minutes,
        ..shared
    };
    train_personal(&options, &clips, reporter)?;
    reporter.say(&format!("{}: done; encode and decode with --pack {0}", args.output.display()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::bare;

    #[test]
    fn a_pack_names_files_and_not_the_folders_they_were_in() {
        let recorded = ["train", "pack", "-o", "private/runs/me.safetensors", "--state", "../runs/1", "--size", "64"];
        assert_eq!(recorded.map(bare).join(" "), "train pack -o me.safetensors --state 1 --size 64");
    }
}
