//! The command `effigy`: talking-head video as one identity and 35 numbers per frame.
//!
//! Input: arguments. Output: files, results on standard output, progress and one-line errors on standard error, an exit code.
//! One file per subcommand; `docs/command.md` is the reference.

#[cfg(feature = "encode")]
mod again;
mod align;
mod channels;
mod clip;
mod coding;
mod common;
mod decode;
mod demo;
mod detail;
mod encode;
mod enroll;
mod evaluate;
mod exit;
mod inspect;
mod join;
mod output;
mod pack;
mod progress;
mod regions;
mod train;
mod unfinished;

use std::io::Write;
use std::panic;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use effigy::{Error, Result};
use progress::Reporter;

const LONG_ABOUT: &str = "\
A talking-head video codec. An encoder learns who is in the picture once (the identity: one latent of a \
StyleGAN2 generator, optionally with tuned weights) and then sends 35 numbers per frame: yaw, pitch, roll \
and 32 expression offsets. The decoder renders the face from them.

What it renders is synthetic media and is marked so. Use it on people who agreed to it.";

const EXAMPLES: &str = "\
Examples:
  effigy demo                                         see it work on a synthetic clip
  effigy encode call.mp4 -o call.effigy               find, align, tune, encode
  effigy decode call.effigy -o call.mp4               render
  effigy enroll me.mp4 -o me.identity                 tune once ...
  effigy encode today.mp4 --identity me.identity -o today.effigy   ... encode many
  effigy decode call.effigy --identity other.identity -o puppet.mp4
";

#[derive(Parser)]
#[command(name = "effigy", version, about = "Talking-head video as one identity and 35 numbers per frame")]
#[command(long_about = LONG_ABOUT, after_help = EXAMPLES, after_long_help = format!("{EXAMPLES}\n{}", exit::HELP), max_term_width = 100)]
struct Cli {
    /// Say nothing but errors and results
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Say more: details of each stage
    #[arg(short, long, global = true, conflicts_with = "quiet")]
    verbose: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Encode(encode::Args),
    Enroll(enroll::Args),
    Decode(decode::Args),
    Inspect(inspect::Args),
    Join(join::Args),
    Align(align::Args),
    Evaluate(evaluate::Args),
    Demo(demo::Args),
    #[command(subcommand)]
    Pack(pack::Command),
    #[command(subcommand)]
    Train(train::Command),
}

fn run(cli: Cli) -> Result<()> {
    progress::catch_interrupts()?;
    let reporter = Reporter::new(cli.quiet);
    let result = match cli.command {
        Command::Encode(args) => encode::run(&args, &reporter),
        Command::Enroll(args) => enroll::run(&args, &reporter),
        Command::Decode(args) => decode::run(&args, &reporter),
        Command::Inspect(args) => inspect::run(&args),
        Command::Join(args) => join::run(&args, &reporter),
        Command::Align(args) => align::run(&args, &reporter),
        Command::Evaluate(args) => evaluate::run(&args, &reporter),
        Command::Demo(args) => demo::run(&args, &reporter),
        Command::Pack(command) => pack::run(&command, &reporter),
        Command::Train(command) => train::run(&command, &reporter),
    };
    // Ctrl-C on a terminal also ends the ffmpeg that runs beside us; its failure is not the news.
    if result.is_err() && progress::cancelled() {
        return Err(Error::Cancelled);
    }
    result
}

/// Warnings of the library as lines like our own.
fn start_log(cli: &Cli) {
    let level = match (cli.quiet, cli.verbose) {
        (true, _) => log::LevelFilter::Error,
        (_, true) => log::LevelFilter::Info,
        _ => log::LevelFilter::Warn,
    };
    let line = |out: &mut env_logger::fmt::Formatter, record: &log::Record<'_>| {
        writeln!(out, "effigy: {}: {}", record.level().as_str().to_lowercase(), record.args())
    };
    env_logger::Builder::new().filter_level(log::LevelFilter::Error).filter_module("effigy", level).format(line).init();
}

/// A panic is our mistake; say so in one line instead of a back trace.
fn report_panics() {
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(|l| format!(" ({}:{})", l.file(), l.line())).unwrap_or_default();
        let payload = info.payload();
        let text = payload.downcast_ref::<&str>().copied().or(payload.downcast_ref::<String>().map(String::as_str));
        eprintln!("effigy: unexpected, please report it: {}{place}", text.unwrap_or("no message"));
    }));
}

/// Starts this program anew with settings that libgomp and the C library read only at the start of a process, unless the user
/// chose some: idle threads stop spinning soon (on a busy machine they would eat the time that the working thread needs), and
/// freed tensors stay with the process (returning each to the system costs a fifth of the time on the CPU).
#[cfg(target_os = "linux")]
fn prepare_process() {
    use std::os::unix::process::CommandExt;
    let settings = [
        ("GOMP_SPINCOUNT", "5000"),
        ("MALLOC_MMAP_THRESHOLD_", "33554432"),
        ("MALLOC_TRIM_THRESHOLD_", "4294967296"),
        ("MALLOC_TOP_PAD_", "67108864"),
    ];
    let chosen = |name: &str| std::env::var_os(name).is_some();
    if settings.iter().any(|(name, _)| chosen(name)) || chosen("OMP_WAIT_POLICY") {
        return;
    }
    let Ok(own) = std::env::current_exe() else { return };
    // Only a failure returns: then the program runs on as it is.
    let error = std::process::Command::new(own).args(std::env::args_os().skip(1)).envs(settings).exec();
    log::debug!("cannot start anew with thread and memory settings: {error}");
}

#[cfg(not(target_os = "linux"))]
fn prepare_process() {}

fn main() -> ExitCode {
    prepare_process();
    let cli = Cli::parse();
    start_log(&cli);
    report_panics();
    match panic::catch_unwind(|| run(cli)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            // One line, whatever the library and the systems below it wrote.
            let text = error.to_string();
            eprintln!("effigy: {}", text.split_whitespace().collect::<Vec<_>>().join(" "));
            ExitCode::from(exit::code(&error))
        }
        Err(_) => ExitCode::from(exit::UNEXPECTED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_exit_code_is_in_the_help() {
        for code in [0, 1, 2, 3, 4, 5, 6, 7, 8, 130] {
            assert!(exit::HELP.lines().any(|line| line.trim_start().starts_with(&format!("{code} "))), "{code}");
        }
    }
}
