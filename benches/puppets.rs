//! Puppeteering: everybody's numbers on everybody's face.
//!
//! Input: streams with their identities inside and the aligned crops they were made from. Output: a table in Markdown, one sheet per driver, and each
//! driven clip without loss. `cargo bench --bench puppets -- NAME=CROPS,STREAM ... -o OUT`; without arguments it does nothing.
//! Likeness and expressions are read by the pack's own networks, which steered the encoder: other eyes must look at the clips as well.

#[path = "common/source.rs"]
mod source;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

use clap::Parser;
use effigy::decode::{retarget, DecodeOptions, Decoder, DeviceChoice, Precision};
use effigy::evaluate::readings::{Reader, Readings};
use effigy::frame::Frame;
use effigy::media::{write_png, ClipReader, ClipWriter, ReadOptions, WriteOptions};
use effigy::pack::Pack;
use effigy::params::FrameParams;
use effigy::{Error, Result};

use source::Source;

/// Frames of a row of a sheet.
const ACROSS: usize = 10;
/// Frames that are rendered at a time.
const BATCH: usize = 8;

/// Drive every face with every stream
#[derive(Parser)]
#[command(name = "puppets")]
struct Args {
    /// Somebody: name, aligned crops, stream with the identity inside
    #[arg(value_name = "NAME=CROPS,STREAM", required = true, num_args = 2..)]
    people: Vec<Person>,
    /// Folder for sheets and clips
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// Most frames of each driver, spread over the stream
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(2..=10_000))]
    frames: u32,
    /// Model pack of the streams
    #[arg(long, default_value = "assets/builtin.safetensors")]
    pack: PathBuf,
    /// CPU threads
    #[arg(long)]
    threads: Option<usize>,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone)]
struct Person {
    name: String,
    crops: PathBuf,
    stream: PathBuf,
}

impl FromStr for Person {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let parts = text.split_once('=').and_then(|(name, files)| Some((name, files.split_once(',')?)));
        let (name, (crops, stream)) = parts.ok_or("expected NAME=CROPS,STREAM")?;
        Ok(Person { name: name.into(), crops: crops.into(), stream: stream.into() })
    }
}

/// A person with what was read of them.
struct Known {
    name: String,
    source: Source,
    crops: Vec<Frame>,
}

fn main() -> ExitCode {
    if std::env::args().skip(1).all(|argument| argument == "--bench") {
        println!("puppets: give some people: cargo bench --bench puppets -- NAME=CROPS,STREAM ... -o OUT");
        return ExitCode::SUCCESS;
    }
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("puppets: {e}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    std::fs::create_dir_all(&args.output).map_err(|e| Error::io("create", &args.output, e))?;
    let pack = Pack::load(&args.pack)?;
    let known: Vec<Known> = args.people.iter().map(Known::read).collect::<Result<_>>()?;
    println!("| driver | puppet | likeness to puppet | to driver | yaw | pitch | mouth | smile | eyes | brows |");
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for driver in &known {
        let picks = driver.picks(args.frames as usize);
        let crops: Vec<&Frame> = picks.iter().map(|i| &driver.crops[*i]).collect();
        let mut rows = vec![row(&crops)];
        for puppet in known.iter().filter(|other| other.name != driver.name) {
            let drawn = drive(&pack, driver, puppet, &picks, args)?;
            let to_driver = read(&pack, crops.iter().copied(), &drawn)?;
            let to_puppet = read(&pack, puppet.crops.iter().cycle(), &drawn)?;
            println!("{}", line(&driver.name, &puppet.name, &to_puppet, &to_driver));
            rows.push(row(&drawn.iter().collect::<Vec<_>>()));
            write_clip(&args.output.join(format!("{}-drives-{}.mkv", driver.name, puppet.name)), driver, &picks, &drawn)?;
        }
        write_png(args.output.join(format!("{}-drives.png", driver.name)), &stacked(&rows)?, true)?;
    }
    Ok(())
}

impl Known {
    fn read(person: &Person) -> Result<Known> {
        let source = Source::read(&person.stream)?;
        let frames = ClipReader::open(&person.crops, &ReadOptions::default())?;
        let crops: Vec<Frame> = frames.map(|timed| timed.map(|t| t.frame)).collect::<Result<_>>()?;
        match crops.len() == source.records.len() && !crops.is_empty() {
            true => Ok(Known { name: person.name.clone(), source, crops }),
            false => {
                let (a, b) = (crops.len(), source.records.len());
                Err(Error::Misuse(format!("{}: {a} crops for {b} frames of the stream", person.name)))
            }
        }
    }

    /// At most `most` frames, spread over the stream.
    fn picks(&self, most: usize) -> Vec<usize> {
        let (count, kept) = (self.crops.len(), self.crops.len().min(most));
        (0..kept).map(|k| k * count / kept).collect()
    }
}

/// The puppet, moved by the driver's distance from rest.
fn drive(pack: &Pack, driver: &Known, puppet: &Known, picks: &[usize], args: &Args) -> Result<Vec<Frame>> {
    let decoding = DecodeOptions { threads: args.threads, ..DecodeOptions::default() };
    let mut decoder = Decoder::new(pack, &puppet.source.identity, &decoding)?;
    let (from, to) = (&driver.source.identity.rest, &puppet.source.identity.rest);
    let moved = |i: &usize| retarget(&driver.source.records[*i].params, from, to, &pack.config().ranges);
    let params: Vec<FrameParams> = picks.iter().map(moved).collect();
    let mut out = Vec::with_capacity(params.len());
    for batch in params.chunks(BATCH) {
        out.extend(decoder.render_batch(batch)?);
    }
    Ok(out)
}

fn read<'a>(pack: &Pack, crops: impl Iterator<Item = &'a Frame>, drawn: &[Frame]) -> Result<Readings> {
    let mut reader = Reader::new(pack, DeviceChoice::default(), Precision::Auto)?;
    crops.zip(drawn).try_for_each(|(crop, drawn)| reader.push(crop, drawn))?;
    Ok(reader.finish())
}

fn line(driver: &str, puppet: &str, to_puppet: &Readings, to_driver: &Readings) -> String {
    let number = |value: Option<f64>| value.map_or("-".to_string(), |v| format!("{v:.2}"));
    let mut cells = vec![driver.to_string(), puppet.to_string(), number(to_puppet.similarity), number(to_driver.similarity)];
    for name in ["yaw", "pitch", "mouth", "smile", "eyes", "brows"] {
        let found = to_driver.following.iter().find(|followed| followed.name == name);
        cells.push(number(found.and_then(|followed| followed.correlation)));
    }
    format!("| {} |", cells.join(" | "))
}

/// Some of the frames side by side.
fn row(frames: &[&Frame]) -> Vec<Frame> {
    let kept = frames.len().min(ACROSS);
    (0..kept).map(|k| frames[k * frames.len() / kept].clone()).collect()
}

/// Rows of equally many pictures of one size as one picture.
fn stacked(rows: &[Vec<Frame>]) -> Result<Frame> {
    let mut data = Vec::new();
    for row in rows {
        for y in 0..row[0].height as usize {
            for frame in row {
                let line = 3 * frame.width as usize;
                data.extend_from_slice(&frame.data[y * line..(y + 1) * line]);
            }
        }
    }
    Frame::new(rows[0].iter().map(|f| f.width).sum(), rows.iter().map(|row| row[0].height).sum(), data)
}

fn write_clip(path: &Path, driver: &Known, picks: &[usize], drawn: &[Frame]) -> Result<()> {
    let base = driver.source.header.time_base;
    let options = WriteOptions { synthetic: true, origin: driver.source.records[picks[0]].pts, ..WriteOptions::default() };
    let mut writer = ClipWriter::create(path, drawn[0].width, drawn[0].height, base, &options)?;
    for (i, frame) in picks.iter().zip(drawn) {
        writer.write(driver.source.records[*i].pts, frame)?;
    }
    writer.finish()
}
