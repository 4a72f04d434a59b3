//! `effigy join`: streams of one identity, one after the other, as one stream.
//!
//! The 35 numbers are taken over exactly: both sides round them to the same steps.

use std::path::{Path, PathBuf};

use effigy::bitstream::{
    Assembly, Coding, Ending, Event, FrameRecord, PacketOptions, StreamHeader, StreamIdentity, StreamWriter,
};
use effigy::params::PARAMS;
use effigy::progress::{check, Progress};
use effigy::{Error, Result};

use crate::decode::open;
use crate::output::{distinct, Staged};
use crate::progress::Reporter;

const EXAMPLES: &str = "\
Examples:
  effigy join morning.effigy noon.effigy -o day.effigy

All streams must have the same pack, identity, coding, quality, clock and camera size: parts of one clip (encode --identity --start), or clips of one
person before one camera. Time stamps that go on behind the stream before are kept; others are moved so that they follow it at once. Packets become as those of
the first stream. Sound is left out.";

/// Put streams of one identity one after the other
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Streams, in order
    #[arg(required = true, num_args = 2..)]
    input: Vec<PathBuf>,
    /// Stream to write
    #[arg(short, long, value_name = "OUT.effigy")]
    output: PathBuf,
}

pub fn run(args: &Args, reporter: &Reporter) -> Result<()> {
    let inputs: Vec<&Path> = args.input.iter().map(PathBuf::as_path).collect();
    distinct(&args.output, &inputs)?;
    let staged = Staged::create(&args.output)?;
    let first = open(inputs[0])?;
    let mut header = first.header().clone();
    // The codec of a sound that is not taken along.
    header.metadata.remove("sound");
    let mut identity = first.identity().clone();
    for path in &inputs[1..] {
        let other = open(path)?;
        compare(&header, &identity, other.header(), other.identity(), path)?;
        header.synthetic |= other.header().synthetic;
        if identity.bytes.is_none() {
            identity = other.identity().clone();
        }
    }
    let options = packets(inputs[0], header.coding)?;
    let mut out = Joined {
        last: None,
        ticks: i64::from(header.frame_ticks),
        writer: StreamWriter::with_options(staged, header, &identity, options)?,
    };
    if let Some(plate) = plate(inputs[0])? {
        out.writer.write_plate(&plate)?;
    }
    for path in &inputs {
        out.take(path, reporter)?;
    }
    let (staged, info) = out.writer.finish()?;
    staged.commit()?;
    let (frames, bytes) = (info.frames, info.bytes_per_frame());
    reporter.say(&format!("{}: {frames} frames of {} streams, {bytes:.1} bytes per frame", args.output.display(), inputs.len()));
    Ok(())
}

/// The background that the stream at `path` carries.
fn plate(path: &Path) -> Result<Option<Vec<u8>>> {
    let mut reader = open(path)?;
    let mut plate = Assembly::default();
    while let Some(event) = reader.next_event()? {
        match event {
            Event::Plate(piece) => plate.add(&piece),
            // It stands before the first of them.
            Event::Packet(_) => break,
            _ => {}
        }
    }
    if plate.broken() {
        log::warn!("{}: its background is damaged and left out", path.display());
    }
    Ok(plate.finish())
}

/// Packets as the stream at `path` has them: as many frames in each, and as many repeated.
fn packets(path: &Path, coding: Coding) -> Result<PacketOptions> {
    let mut reader = open(path)?;
    let mut options = PacketOptions { frames_per_packet: 1, ..PacketOptions::of(coding) };
    while let Some(packet) = reader.next_packet()? {
        options.frames_per_packet = options.frames_per_packet.max(packet.frames.len());
        options.redundancy = options.redundancy.max(packet.repeated.len());
    }
    Ok(options)
}

/// `Err`, with what differs, if the stream at `path` cannot follow one of `header` and `identity`.
fn compare(
    header: &StreamHeader,
    identity: &StreamIdentity,
    other: &StreamHeader,
    its: &StreamIdentity,
    path: &Path,
) -> Result<()> {
    let same = [
        ("pack", header.pack == other.pack),
        ("identity", identity.hash == its.hash),
        ("resolution", header.resolution == other.resolution),
        ("coding", header.coding == other.coding),
        ("quality", steps(header) == steps(other)),
        ("time base", header.time_base == other.time_base),
        ("camera size", (header.camera_width, header.camera_height) == (other.camera_width, other.camera_height)),
        ("placement track", header.placement == other.placement),
    ];
    match same.iter().find(|(_, same)| !same) {
        Some((what, _)) => Err(Error::Misuse(format!("{}: another {what} than the first stream has", path.display()))),
        None => Ok(()),
    }
}

/// Steps of the 35 numbers; those of the placement follow the size of the face in each clip.
fn steps(header: &StreamHeader) -> &[f32] {
    &header.quantiser[..header.quantiser.len().min(PARAMS)]
}

/// The stream that is made.
struct Joined {
    writer: StreamWriter<Staged>,
    last: Option<i64>,
    ticks: i64,
}

impl Joined {
    /// All frames of the stream at `path`.
    fn take(&mut self, path: &Path, progress: &dyn Progress) -> Result<()> {
        let mut reader = open(path)?;
        let mut moved = None;
        while let Some(packet) = reader.next_packet()? {
            check(progress)?;
            // Of lost frames, those that the packet repeats.
            let again = packet.repeated.len().min(packet.lost_before as usize);
            let repeated = packet.repeated[packet.repeated.len() - again..].iter().copied();
            for frame in repeated.chain(packet.frames) {
                let by = *moved.get_or_insert_with(|| match self.last {
                    Some(last) if frame.pts <= last => last + self.ticks - frame.pts,
                    _ => 0,
                });
                let pts = frame.pts + by;
                self.writer.write_frame(&FrameRecord { pts, ..frame })?;
                self.last = Some(pts);
            }
        }
        let info = reader.info();
        if reader.ending() != Some(Ending::Complete) || info.damaged > 0 || info.lost_frames > 0 {
            log::warn!("{}: damaged or cut short; the {} frames there are were taken", path.display(), info.frames);
        }
        if info.residual_bytes > 0 {
            log::warn!("{}: its residual is left out", path.display());
        }
        if info.sound_bytes > 0 {
            log::warn!("{}: its sound is left out", path.display());
        }
        Ok(())
    }
}
