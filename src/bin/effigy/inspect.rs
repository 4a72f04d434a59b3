//! `effigy inspect`: what a stream, an identity or a pack holds.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use effigy::bitstream::{Coding, Ending, Identity, StreamReader, DETAIL, IDENTITY_MAGIC, STREAM_MAGIC};
use effigy::limits::MAX_IDENTITY_BYTES;
use effigy::pack::Pack;
use effigy::params::EXPRESSIONS;
use effigy::residual::detail_side;
use effigy::{Error, Result};
use serde_json::{json, Map, Value};

use crate::common::{hex, read_file};
use crate::encode::name_file;
use crate::output::{print, Staged};

const EXAMPLES: &str = "\
Examples:
  effigy inspect call.effigy
  effigy inspect call.effigy --json | jq .parameter_bytes_per_frame
  effigy inspect me.identity
  effigy inspect call.effigy --params numbers.csv         the 35 numbers of every frame

Units: bytes and pixels; time base in seconds. parameter_bytes is all of a stream but header, identity and sound: packet heads,
checks, time stamps, placement and the index count. Exit code 4 if nothing in the file can be used.";

/// Show what a stream, an identity or a pack holds
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// A .effigy stream, an .identity or a pack (.safetensors); told apart by content
    file: PathBuf,
    /// One JSON object on standard output
    #[arg(long)]
    json: bool,
    /// Also write the stream's numbers as CSV: frame, pts, yaw, pitch, roll (degrees), the 32 alphas, crop centre and side (camera pixels)
    #[arg(long, value_name = "FILE.csv")]
    params: Option<PathBuf>,
}

pub fn run(args: &Args) -> Result<()> {
    let facts = inspect(&args.file)?;
    if let Some(path) = &args.params {
        Staged::create(path)?.write(parameter_table(&args.file)?.as_bytes())?;
    }
    if args.json {
        return print(&Value::Object(facts).to_string());
    }
    let width = facts.keys().map(String::len).max().unwrap_or(0);
    let lines: Vec<String> = facts.iter().map(|(key, value)| format!("{key:width$}  {}", plain(value))).collect();
    print(&lines.join("\n"))
}

/// A value without JSON's quotes; lists and objects stay JSON.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_string)
}

fn inspect(path: &Path) -> Result<Map<String, Value>> {
    let mut magic = [0u8; 16];
    let mut file = File::open(path).map_err(|e| Error::io("open", path, e))?;
    let mut have = 0;
    while have < magic.len() {
        match file.read(&mut magic[have..]).map_err(|e| Error::io("read", path, e))? {
            0 => break,
            n => have += n,
        }
    }
    let start = &magic[..have];
    let facts = if start.starts_with(&STREAM_MAGIC) {
        stream(path)
    } else if start.starts_with(&IDENTITY_MAGIC) {
        read_file(path, MAX_IDENTITY_BYTES as u64).and_then(|bytes| identity(&bytes))
    } else if start.get(8) == Some(&b'{') {
        // safetensors: the length of a JSON object, then the object.
        pack(path)
    } else {
        Err(Error::Malformed("neither a stream nor an identity nor a pack".into()))
    };
    facts.map_err(|e| name_file(e, path))
}

/// One line per frame of a stream.
fn parameter_table(path: &Path) -> Result<String> {
    let file = File::open(path).map_err(|e| Error::io("open", path, e))?;
    let mut reader = StreamReader::open(file).map_err(|e| name_file(e, path))?;
    let alphas: Vec<String> = (0..EXPRESSIONS).map(|i| format!("alpha{i}")).collect();
    let mut table = format!("frame,pts,yaw,pitch,roll,{},x,y,side\n", alphas.join(","));
    let mut count = 0u64;
    while let Some(packet) = reader.next_packet()? {
        for frame in &packet.frames {
            let numbers: Vec<String> = frame.params.to_array().iter().map(f32::to_string).collect();
            let place = frame.placement.map_or(",,".into(), |p| format!("{},{},{}", p.x, p.y, p.side));
            table.push_str(&format!("{count},{},{},{place}\n", frame.pts, numbers.join(",")));
            count += 1;
        }
    }
    Ok(table)
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// Two decimals are enough for a mean.
fn mean(total: u64, count: u64) -> f64 {
    if count == 0 {
        return 0.0;
    }
    (total as f64 / count as f64 * 100.0).round() / 100.0
}

fn stream(path: &Path) -> Result<Map<String, Value>> {
    let file = File::open(path).map_err(|e| Error::io("open", path, e))?;
    let mut reader = StreamReader::open(file)?;
    let (mut first, mut last) = (None, None);
    let (mut intra, mut redundancy) = (0u64, 0);
    while let Some(packet) = reader.next_packet()? {
        intra += u64::from(packet.intra);
        redundancy = redundancy.max(packet.repeated.len());
        for frame in &packet.frames {
            first.get_or_insert(frame.pts);
            last = Some(frame.pts);
        }
    }
    let (header, info) = (reader.header(), reader.info());
    let tick = f64::from(header.time_base.num) / f64::from(header.time_base.den);
    let ticks = last.zip(first).map_or(0, |(l, f)| l - f) + i64::from(header.frame_ticks);
    Ok(object(json!({
        "type": "stream",
        "frames": info.frames,
        "coding": match header.coding { Coding::Raw16 => "raw16", Coding::Coded => "coded" },
        "resolution": header.resolution,
        "pack": hex(&header.pack),
        "identity": hex(&reader.identity().hash),
        "identity_inline": reader.identity().bytes.is_some(),
        "camera": format!("{} x {}", header.camera_width, header.camera_height),
        "time_base": format!("{}/{}", header.time_base.num, header.time_base.den),
        "first_pts": first,
        "seconds": (ticks as f64 * tick * 1000.0).round() / 1000.0,
        "placement": header.placement,
        "synthetic": header.synthetic,
        "total_bytes": info.total_bytes(),
        "header_bytes": info.header_bytes,
        "identity_bytes": info.identity_bytes,
        "sound_bytes": info.sound_bytes,
        "plate_bytes": info.plate_bytes,
        "residual_bytes": info.residual_bytes,
        "parameter_bytes": info.parameter_bytes,
        "parameter_bytes_per_frame": mean(info.parameter_bytes, info.frames),
        "payload_bytes_per_frame": mean(info.payload_bytes, info.frames),
        "packets": info.packets,
        "intra_packets": intra,
        "redundancy": redundancy,
        "complete": reader.ending() == Some(Ending::Complete),
        "lost_frames": info.lost_frames,
        "repeated_frames": info.repeated_frames,
        "orphan_packets": info.orphan_packets,
        "damaged_places": info.damaged,
        "damaged_bytes": info.damaged_bytes,
        "metadata": header.metadata,
    })))
}

fn identity(bytes: &[u8]) -> Result<Map<String, Value>> {
    let identity = Identity::from_bytes(bytes)?;
    let weights: usize = identity.tuned.iter().map(|t| t.values.len()).sum();
    Ok(object(json!({
        "type": "identity",
        "name": identity.name,
        "hash": hex(&effigy::bitstream::identity_hash(bytes)),
        "pack": hex(&identity.pack),
        "resolution": identity.resolution,
        "total_bytes": bytes.len(),
        "latent": format!("{} x {}", identity.latent.rows, identity.latent.dim),
        "tuned_tensors": identity.tuned.len(),
        "tuned_weights": weights,
        "detail": detail_side(identity.resolution).filter(|_| identity.tuned.iter().any(|tensor| tensor.name == DETAIL)),
        "thumbnail": identity.thumbnail.is_some(),
        "metadata": identity.metadata,
    })))
}

fn pack(path: &Path) -> Result<Map<String, Value>> {
    let pack = Pack::load(path)?;
    let config = pack.config();
    let bytes = std::fs::metadata(path).map_err(|e| Error::io("open", path, e))?.len();
    let channels: Vec<&str> = config.channels.iter().map(|c| c.feature.as_str()).collect();
    Ok(object(json!({
        "type": "pack",
        "name": config.name,
        "hash": hex(&pack.hash()),
        "format": config.format,
        "resolution": config.generator.resolution,
        "total_bytes": bytes,
        "analysis": config.analysis.is_some(),
        "directions": config.directions,
        "lacks": config.lacks(),
        "channels": channels,
        "provenance": config.provenance,
        "licence": config.licence,
        "command": config.command,
    })))
}
