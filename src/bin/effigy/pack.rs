//! `effigy pack`: published checkpoints -> model pack; checking a pack.

use std::path::{Path, PathBuf};

use clap::Args;
use effigy::import::{import, verify, Checkpoints, FindOptions, ImportOptions};
use effigy::pack::Pack;
use effigy::{Error, Result};

use crate::common::{short, size, DeviceArgs};
use crate::output::{check_writable, distinct, print};
use crate::progress::Reporter;

/// Make a model pack from published checkpoints, or check one
#[derive(clap::Subcommand)]
pub enum Command {
    Import(Box<ImportArgs>),
    Verify(VerifyArgs),
    Measure(MeasureArgs),
    Channels(crate::channels::Args),
    Regions(crate::regions::Args),
}

const IMPORT_EXAMPLES: &str = "\
Examples:
  effigy pack import --stylegan2 stylegan2-ffhq-config-f.pt --e4e e4e_ffhq_encode.pt --styleflow modellarge10k.pt \\
      --lpips-backbone vgg16.pth --lpips-heads vgg.pth --arcface model_ir_se50.pth --parsing 79999_iter.pth \\
      -o ffhq.safetensors
  effigy pack import --e4e e4e_ffhq_encode.pt --lpips-backbone alexnet.pth --lpips-heads alex.pth -o small.safetensors

Nothing in a checkpoint is executed. Where the files come from and what their licences allow: docs/checkpoints.md. The
choice of the 32 expression channels takes hours on a CPU at 1024; it can be stopped and started again with the same
arguments, and goes on from the state file.";

/// Make a model pack from published checkpoints
#[derive(Args)]
#[command(after_help = IMPORT_EXAMPLES)]
pub struct ImportArgs {
    /// StyleGAN2 generator in rosinality's layout; may be left out if the e4e file holds one
    #[arg(long, value_name = "FILE", required_unless_present = "e4e")]
    stylegan2: Option<PathBuf>,
    /// e4e encoder; without it tuning starts from the mean face
    #[arg(long, value_name = "FILE")]
    e4e: Option<PathBuf>,
    /// StyleFlow; without it yaw and pitch cannot be sent
    #[arg(long, value_name = "FILE")]
    styleflow: Option<PathBuf>,
    /// Backbone of LPIPS: torchvision's VGG-16, AlexNet or SqueezeNet
    #[arg(long, value_name = "FILE")]
    lpips_backbone: PathBuf,
    /// Linear heads of LPIPS v0.1 for that backbone
    #[arg(long, value_name = "FILE")]
    lpips_heads: PathBuf,
    /// ArcFace IR-SE50; without it the identity frame is a middle one
    #[arg(long, value_name = "FILE")]
    arcface: Option<PathBuf>,
    /// BiSeNet face parser with 19 classes; without it regions are fixed windows
    #[arg(long, value_name = "FILE")]
    parsing: Option<PathBuf>,
    /// Pack to write
    #[arg(short, long, value_name = "PACK")]
    output: PathBuf,
    /// Name of the pack [default: the name of its file]
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// Faces that the choice of expression channels averages over
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    samples: u16,
    /// Let tuning learn, for each person, what every number adds to all styles, and not to the paper's single channels alone
    #[arg(long)]
    directions: bool,
    /// Start of all randomness
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// File of the state from which an interrupted import goes on [default: the pack's name with .state.json]
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    #[command(flatten)]
    device: DeviceArgs,
}

/// Load a pack, check all its tensors, render its mean face
#[derive(Args)]
pub struct VerifyArgs {
    /// Pack to check
    pack: PathBuf,
}

/// Measure a trained pack on parametric heads that no training draws
#[derive(Args)]
pub struct MeasureArgs {
    /// Pack to measure
    pack: PathBuf,
    /// People drawn, two pictures each [default: 200; with --enroll 50]
    #[arg(long, value_name = "N")]
    persons: Option<usize>,
    /// Enroll them on 12 frames each in so many steps of tuning (two or three a second on one core, a minute or two per person beside), and
    /// measure how near they come and whether they are told from those of a crowd of at least 50, instead of the pack's networks
    #[arg(long, value_name = "STEPS", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    enroll: Option<u64>,
    /// With --enroll: number of the first of these people, so that a long measurement can be made in parts: `--persons 10`, then `--from 10 --persons 10`
    #[arg(long, value_name = "N", default_value_t = 0, requires = "enroll")]
    from: usize,
    /// Processor threads [default: all cores]
    #[arg(long, value_name = "N")]
    threads: Option<std::num::NonZeroU16>,
}

pub fn run(command: &Command, reporter: &Reporter) -> Result<()> {
    match command {
        Command::Import(args) => run_import(args, reporter),
        Command::Verify(args) => run_verify(args, reporter),
        Command::Measure(args) => run_measure(args, reporter),
        Command::Channels(args) => crate::channels::run(args, reporter),
        Command::Regions(args) => crate::regions::run(args, reporter),
    }
}

fn run_import(args: &ImportArgs, reporter: &Reporter) -> Result<()> {
    let optional = [&args.stylegan2, &args.e4e, &args.styleflow, &args.arcface, &args.parsing];
    let mut inputs: Vec<&Path> = optional.into_iter().flatten().map(PathBuf::as_path).collect();
    inputs.extend([args.lpips_backbone.as_path(), args.lpips_heads.as_path()]);
    distinct(&args.output, &inputs)?;
    check_writable(&args.output)?;
    if let Some(n) = args.device.threads {
        tch::set_num_threads(i32::from(n));
    }
    let state = args.state.clone().unwrap_or_else(|| args.output.with_extension("state.json"));
    distinct(&state, &inputs)?;
    if state == args.output {
        return Err(Error::Misuse(format!("{} cannot be both pack and state", state.display())));
    }
    check_writable(&state)?;
    let stem = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let options = ImportOptions {
        files: Checkpoints {
            stylegan2: args.stylegan2.clone(),
            e4e: args.e4e.clone(),
            styleflow: args.styleflow.clone(),
            lpips_backbone: args.lpips_backbone.clone(),
            lpips_heads: args.lpips_heads.clone(),
            arcface: args.arcface.clone(),
            parsing: args.parsing.clone(),
        },
        name: args.name.clone().unwrap_or_else(|| stem(&args.output)),
        find: FindOptions {
            samples: usize::from(args.samples),
            seed: args.seed,
            state: Some(state.clone()),
            ..FindOptions::default()
        },
        directions: args.directions,
        device: args.device.device,
        precision: args.device.precision.into(),
        // Paths stay private: a pack may be passed on.
        command: format!("effigy pack import, {} samples, seed {}", args.samples, args.seed),
    };
    let (config, weights) = import(&options, reporter)?;
    Pack::save(&args.output, &config, &weights, true)?;
    // What could be gone on from is done; a file that cannot be removed does no harm.
    let _ = std::fs::remove_file(&state);
    let bytes = std::fs::metadata(&args.output).map_or(0, |m| m.len());
    let side = config.generator.resolution;
    reporter.say(&format!("{}: pack of {side} x {side}, {}", args.output.display(), size(bytes)));
    for what in config.lacks() {
        reporter.say(&format!("  it cannot: {what}"));
    }
    Ok(())
}

fn run_verify(args: &VerifyArgs, reporter: &Reporter) -> Result<()> {
    let pack = Pack::load(&args.pack)?;
    let mut text = format!("{}: pack {}, {}\n", args.pack.display(), pack.config().name, short(&pack.hash()));
    for line in verify(&pack, reporter)? {
        text.push_str(&format!("  {line}\n"));
    }
    print(text.trim_end())
}

fn print_enrolled(args: &MeasureArgs, pack: &Pack, steps: u64, reporter: &Reporter) -> Result<()> {
    let people = args.from..args.from.saturating_add(args.persons.unwrap_or(50));
    let e = effigy::train::enrolled::measure_enrolled(pack, people, steps, reporter)?;
    let mut text = format!(
        "{}: pack {}, {}, {} people, {steps} steps each; {:.0} % of them are told from the {} others\n\n\
         | compared at | tuned frames dB | the worst person's | other frames dB |\n|---|---|---|---|",
        args.pack.display(),
        pack.config().name,
        short(&pack.hash()),
        e.persons,
        100.0 * e.found,
        e.crowd - 1,
    );
    for (k, side) in e.sides.iter().enumerate().filter(|(k, side)| *k == 0 || **side != e.sides[0]) {
        let (tuned, worst, others) = (e.tuned[k], e.worst[k], e.others[k]);
        text.push_str(&format!("\n| {side} x {side} | {tuned:.2} | {worst:.2} | {others:.2} |"));
    }
    print(&text)
}

fn run_measure(args: &MeasureArgs, reporter: &Reporter) -> Result<()> {
    if let Some(n) = args.threads {
        tch::set_num_threads(i32::from(n.get()));
    }
    let pack = Pack::load(&args.pack)?;
    if let Some(steps) = args.enroll {
        return print_enrolled(args, &pack, steps, reporter);
    }
    let card = effigy::train::card::measure(&pack, args.persons.unwrap_or(200), reporter)?;
    let mut text =
        format!("{}: pack {}, {}, {} people\n\n", args.pack.display(), pack.config().name, short(&pack.hash()), card.persons);
    text.push_str("| people | number | mean IoU | untuned PSNR dB | found among up to 50 |\n|---|---|---|---|---|\n");
    for g in &card.groups {
        text.push_str(&format!("| {} | {} | {:.3} | {:.2} | {:.0} % |\n", g.name, g.persons, g.iou, g.psnr, 100.0 * g.found));
    }
    text.push_str("\n| region | IoU |\n|---|---|\n");
    card.regions.iter().for_each(|(name, iou)| text.push_str(&format!("| {name} | {iou:.3} |\n")));
    text.push_str("\n| number | correlation, rendered head | drawn head |\n|---|---|---|\n");
    for (name, (correlation, degrees)) in ["yaw", "pitch"].iter().zip(card.angles) {
        text.push_str(&format!("| {name} | {correlation:.3} ({degrees:.1} degrees RMS) | |\n"));
    }
    card.expressions.iter().for_each(|(name, a, b)| text.push_str(&format!("| {name} | {a:.3} | {b:.3} |\n")));
    let n = card.expressions.len().max(1) as f64;
    let [a, b] = [0, 1].map(|k| card.expressions.iter().map(|e| if k == 0 { e.1 } else { e.2 }).sum::<f64>() / n);
    text.push_str(&format!("| mean of the expressions | {a:.3} | {b:.3} |"));
    print(&text)
}
