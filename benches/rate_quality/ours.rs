//! Our own streams: rendered with the pack, their bytes counted.
//!
//! Input: `.effigy` streams of a clip's crops, identity inside. Output: a row; header and identity stand apart from what comes per frame.

use std::path::{Path, PathBuf};
use std::process::Command;

use effigy::bitstream::{
    set_quality, Coding, PacketOptions, ResidualRecord, StreamHeader, StreamIdentity, StreamReader, StreamWriter,
};
use effigy::decode::{DecodeOptions, Decoder};
use effigy::encode::residuals;
use effigy::evaluate::Cost;
use effigy::frame::Frame;
use effigy::media::{ClipReader, ReadOptions};
use effigy::pack::Pack;
use effigy::params::FrameParams;
use effigy::progress::Silent;
use effigy::residual::{Residual, ResidualOptions};
use effigy::scene::cover;
use effigy::{Error, Result};
use sha2::{Digest, Sha256};

use crate::clip::{Clip, Request};
use crate::rows::{Key, Row};
use crate::source::Source;
use crate::Args;

/// Name of our rows in tables.
pub const NAME: &str = "effigy";

/// The streams of a clip. With `--encode` one more is made, and every raw16 stream is coded again at the qualities of `--recode`, unless
/// these are there from an earlier run.
pub fn streams(request: &Request, args: &Args) -> Result<Vec<PathBuf>> {
    let mut out = request.streams.clone();
    if let Some(preset) = &args.encode {
        let path = args.output.join(format!("{}-{preset}.effigy", request.name));
        if !path.is_file() {
            encode(request, args, preset, &path)?;
        }
        out.push(path);
    }
    for stream in out.clone() {
        if Cost::read(&stream)?.coding != "raw16" {
            continue;
        }
        for (quality, residual) in args.recode.iter().flat_map(|q| args.residual.iter().map(move |r| (*q, *r))) {
            let (name, stem) = (&request.name, stream.file_stem().unwrap_or_default().to_string_lossy());
            let path = args.output.join(format!("{name}-{stem}-q{quality}-r{residual}.effigy"));
            recode(&stream, quality, (residual, request, args), &path)?;
            out.push(path);
        }
    }
    Ok(out)
}

/// The numbers of a raw16 stream, quantised and entropy-coded as the command does it by default, with a residual of so many bytes a frame.
fn recode(stream: &Path, quality: f32, (residual, request, args): (f64, &Request, &Args), path: &Path) -> Result<()> {
    let source = Source::read(stream)?;
    let side = source.header.resolution;
    let mut header = StreamHeader { coding: Coding::Coded, ..source.header };
    set_quality(&mut header, quality, &source.identity, &source.records)?;
    header.metadata.insert("quality".into(), quality.to_string());
    let options = PacketOptions::of(Coding::Coded);
    let identity = StreamIdentity::inline(source.identity_bytes);
    let mut write = |residuals: &[ResidualRecord]| -> Result<Vec<u8>> {
        if !residuals.is_empty() {
            header.metadata.insert("residual".into(), residual.to_string());
        }
        let mut writer = StreamWriter::with_options(Vec::new(), header.clone(), &identity, options)?;
        residuals.iter().try_for_each(|residual| writer.write_residual(residual))?;
        source.records.iter().try_for_each(|record| writer.write_frame(record))?;
        Ok(writer.finish()?.0)
    };
    let mut bytes = write(&[])?;
    if residual > 0.0 {
        let (mut reader, mut params) = (StreamReader::open(&bytes[..])?, Vec::new());
        while let Some(packet) = reader.next_packet()? {
            params.extend(packet.frames.iter().map(|record| record.params));
        }
        let crops = ClipReader::open(&request.crops, &ReadOptions::default())?.map(|timed| cover(&timed?.frame, side, side));
        let pack = Pack::load(Pack::find(args.pack.as_deref(), std::env::var_os("EFFIGY_PACK"))?)?;
        let decoding = DecodeOptions { threads: Some(1), ..DecodeOptions::default() };
        let options = (&ResidualOptions::of(residual), &decoding);
        bytes = write(&residuals(&pack, &source.identity, &params, crops, options, &Silent)?)?;
    }
    std::fs::write(path, bytes).map_err(|e| Error::io("write", path, e))
}

fn encode(request: &Request, args: &Args, preset: &str, path: &Path) -> Result<()> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_effigy"));
    command.arg("encode").arg(&request.crops).args(["--aligned-input", "--coding", "raw16", "--preset", preset]);
    command.arg("--frames").arg(args.frames.to_string()).arg("-o").arg(path);
    if let Some(pack) = &args.pack {
        command.arg("--pack").arg(pack);
    }
    let status = command.status().map_err(|e| Error::Device(format!("cannot start effigy: {e}")))?;
    match status.success() {
        true => Ok(()),
        false => Err(Error::Device(format!("effigy encode failed on {}", request.crops.display()))),
    }
}

/// What the stream's row is known by: coding, quality if it has one, and hash of its bytes.
pub fn key(clip: &Clip, stream: &Path) -> Result<Key> {
    let bytes = std::fs::read(stream).map_err(|e| Error::io("read", stream, e))?;
    let digest: String = Sha256::digest(&bytes)[..4].iter().map(|b| format!("{b:02x}")).collect();
    let header = StreamReader::open(bytes.as_slice())?.header().clone();
    let coding = match (header.coding, header.metadata.get("quality")) {
        (Coding::Raw16, _) => "raw16".to_string(),
        (Coding::Coded, Some(quality)) => match header.metadata.get("residual") {
            Some(residual) => format!("coded q{quality} r{residual}"),
            None => format!("coded q{quality}"),
        },
        (Coding::Coded, None) => "coded".to_string(),
    };
    // Scaled up to the crops, as `decode --size` does.
    let scale = (clip.size().0 / header.resolution).max(1);
    Ok(Key::new(clip, NAME, scale, format!("{coding} {digest}")))
}

/// Renders the stream and compares.
pub fn measure(key: Key, clip: &Clip, stream: &Path, pack: Option<&Path>) -> Result<Row> {
    let cost = Cost::read(stream)?;
    if cost.frames != clip.frames.len() as u64 {
        let (path, frames) = (stream.display(), cost.frames);
        return Err(Error::Misuse(format!("{path} has {frames} frames, its crops {}: not of this clip", clip.frames.len())));
    }
    let (width, height) = clip.size();
    let decoded = render(stream, (width, height), &Pack::load(Pack::find(pack, std::env::var_os("EFFIGY_PACK"))?)?)?;
    let decoded = decoded.iter().map(|frame| cover(frame, width, height)).collect::<Result<Vec<_>>>()?;
    let mut row = Row::new(key, clip, &decoded)?;
    row.bytes = cost.parameter_bytes;
    row.first_bytes = cost.per_frame.first().map_or(0, |b| b.round() as u64);
    row.payload_bytes = cost.payload_bytes;
    row.identity_bytes = cost.header_bytes + cost.identity_bytes;
    Ok(row)
}

/// The stream's pictures, at twice the pack's side where crops are as large.
fn render(stream: &Path, (width, height): (u32, u32), pack: &Pack) -> Result<Vec<Frame>> {
    let source = Source::read(stream)?;
    if width != height || !width.is_multiple_of(source.header.resolution) {
        return Err(Error::Misuse(format!("{}: crops of {width} x {height} are no multiple of its pictures", stream.display())));
    }
    let mut decoder = Decoder::new(pack, &source.identity, &DecodeOptions { threads: Some(1), ..DecodeOptions::default() })?;
    let params: Vec<FrameParams> = source.records.iter().map(|record| record.params).collect();
    let mut out = decoder.render_batch(&params)?;
    let mut residual = Residual::new();
    source.residuals.into_iter().for_each(|record| residual.push(record));
    let motions: Vec<_> = (0..).zip(&mut out).map(|(number, frame)| residual.apply(number, frame)).collect();
    match decoder.detailed_side().is_some_and(|side| width >= side) {
        true => decoder.detailed(&out, &params, &motions),
        false => Ok(out),
    }
}
