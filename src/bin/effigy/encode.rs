//! `effigy encode`: clip -> crops -> identity -> parameters -> stream.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use effigy::bitstream::{
    FrameRecord, Identity, PacketOptions, ResidualRecord, StreamHeader, StreamIdentity, StreamInfo, StreamReader, StreamWriter,
};
use effigy::encode::{
    draw_enrolled, residuals, worth_enrolling, AlignedFrame, EncodeOptions, LiveResidual, Preset, Searcher, Track, SEGMENT,
};
#[cfg(feature = "encode")]
use effigy::encode::{LiveEncoder, LiveOptions};
use effigy::frame::Frame;
use effigy::limits::{MAX_IDENTITY_BYTES, MAX_PLATE_BYTES, MAX_SOUND_BYTES};
use effigy::media::{extract_sound, AudioSource, SoundCoding};
use effigy::pack::Pack;
use effigy::params::FrameParams;
use effigy::progress::{check as check_stop, Progress};
use effigy::residual::ResidualOptions;
use effigy::scene::{compress, Matter, PlateMaker};
use effigy::{Error, Result};

use crate::clip::{self, Aligned, Camera, ClipArgs, CropFile};
use crate::coding::CodingArgs;
use crate::common::{read_file, short, side, size, DeviceArgs, FitArgs, PackArgs, PresetArg};
use crate::detail;
use crate::output::{check_writable, distinct, Staged};
use crate::progress::{duration, Reporter};
use crate::unfinished::{belongs, Enrolled, UnfinishedRun};

const EXAMPLES: &str = "\
Examples:
  effigy encode call.mp4 -o call.effigy
  effigy encode call.mp4 -o call.effigy --preset best --start 2.5 --frames 250
  effigy encode today.mp4 -o today.effigy --identity me.identity     tunes nothing: much faster
  effigy encode today.mp4 -o today.effigy --identity me.identity --preset live     as a call codes
  effigy encode crops.mkv --aligned-input -o crops.effigy
  effigy encode call.mp4 -o call.effigy --plate                      with the background, for `decode --camera`

Units: times in seconds of the clip, sizes in bytes (1 kB = 1000). The stream keeps the clip's exact time stamps,\nand its sound.";

/// Encode a clip of one face as an identity and 35 numbers per frame
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Video of one person (anything ffmpeg reads), a folder of PNG or a picture
    pub clip: PathBuf,
    /// Stream to write
    #[arg(short, long, value_name = "OUT.effigy")]
    output: PathBuf,
    /// Use this identity instead of tuning a new one
    #[arg(long, value_name = "FILE", conflicts_with_all = ["tuning", "tune_steps", "name", "maps", "identity_bytes", "save_identity"])]
    identity: Option<PathBuf>,
    /// Also write the identity to a file of its own
    #[arg(long, value_name = "FILE")]
    save_identity: Option<PathBuf>,
    /// Leave the identity out of the stream and name it by its hash; the receiver needs the file
    #[arg(long)]
    detached: bool,
    /// Also write the aligned crops: the reference for `effigy evaluate`
    #[arg(long, value_name = "OUT.mkv")]
    pub aligned: Option<PathBuf>,
    /// The clip's sound: as it is, coded anew at 32 kbit/s, or none. It counts apart from the bytes per frame
    #[arg(long, value_enum, value_name = "SOUND", default_value = "copy")]
    sound: SoundArg,
    /// Also send one picture of the background in at most so many bytes [default: 40000], for `effigy decode --camera`; the camera must stand still.
    /// Implies --head-only
    #[arg(long, value_name = "BYTES", num_args = 0..=1, require_equals = true, default_missing_value = "40000", conflicts_with = "aligned_input")]
    #[arg(value_parser = clap::value_parser!(u64).range(1000..=MAX_PLATE_BYTES))]
    plate: Option<u64>,
    /// Go on where an interrupted run with the same arguments stopped; what it had done is in OUT.effigy.unfinished
    #[arg(long)]
    resume: bool,
    #[command(flatten)]
    coding: CodingArgs,
    #[command(flatten)]
    pub clip_args: ClipArgs,
    #[command(flatten)]
    pub fit: FitArgs,
    #[command(flatten)]
    pack: PackArgs,
    #[command(flatten)]
    pub device: DeviceArgs,
}

/// Share of a background that may change before a picture of it is no longer one.
const RESTLESS: f64 = 0.2;

/// What becomes of the sound.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum SoundArg {
    Copy,
    Opus,
    None,
}

/// An encoded clip, not yet written.
struct Encoded {
    identity: Identity,
    params: Vec<FrameParams>,
    /// As a call codes it: in which frames the person was seen.
    seen: Option<Vec<bool>>,
}

pub fn run(args: &Args, reporter: &Reporter) -> Result<()> {
    check(args)?;
    let staged = Staged::create(&args.output)?;
    let saved = args.save_identity.as_deref().map(Staged::create).transpose()?;
    // On a call there is little to lose.
    let live = args.fit.preset == Some(PresetArg::Live);
    let work = if live { None } else { Some(UnfinishedRun::open(&args.output, args.resume)?) };
    let pack = args.pack.load()?;
    args.fit.check_maps(&pack);
    let known = args.identity.as_deref().map(|path| load_identity(path, &pack)).transpose()?;
    let mut options = args.fit.options(&args.device, (PresetArg::Medium, true));
    options.head_only |= args.plate.is_some();
    let begun = Instant::now();
    let (clip, encoded) = match (known, live && !args.clip_args.aligned_input) {
        #[cfg(feature = "encode")]
        (Some(identity), true) => call(args, &pack, identity, &options, reporter)?,
        (known, _) => whole(args, &pack, known, &options, work.as_ref(), reporter)?,
    };
    let sound = sound(args, &clip)?;
    let plate = args.plate.map(|bytes| plate(args, &pack, &clip, bytes as usize, reporter)).transpose()?;
    let bytes = encoded.identity.to_bytes()?;
    let mut header = header(&pack, &clip.camera, &clip.tracks, &encoded.identity);
    let records = records(&clip.tracks, &encoded.params);
    let (packets, residual) =
        code_frames(&args.coding, &mut header, (&encoded.identity, &records), plate.is_some(), |written, bytes_per_frame| {
            written.residual(&pack, || clip.crops(), (bytes_per_frame, encoded.seen.as_deref()), &args.device, reporter)
        })?;
    let reference = StreamIdentity::inline(bytes.clone());
    let reference = if args.detached { StreamIdentity::by_hash(reference.hash) } else { reference };
    header.metadata.extend(sound.iter().map(|(_, codec)| ("sound".to_string(), codec.clone())));
    let sound = sound.map(|(file, _)| file);
    let beside = Beside { sound: sound.as_ref().map(Staged::temporary), plate: plate.as_deref(), residual: &residual };
    let spent = begun.elapsed();
    let (staged, info) = write_stream(staged, header, &reference, &records, packets, &beside)?;
    // Named only when both are complete.
    if let Some(saved) = saved {
        saved.write(&bytes)?;
    }
    staged.commit()?;
    work.map_or(Ok(()), UnfinishedRun::finish)?;
    let frames = info.frames;
    let sent = if args.detached { "travels apart" } else { "sent once" };
    reporter.say(&format!(
        "{}: {frames} frames, {:.1} bytes per frame; identity {}, {sent}; {}{}{:.2} s per frame ({})",
        args.output.display(),
        info.bytes_per_frame(),
        size(bytes.len() as u64),
        if info.plate_bytes > 0 { format!("background {}; ", size(info.plate_bytes)) } else { String::new() },
        if info.sound_bytes > 0 { format!("sound {}; ", size(info.sound_bytes)) } else { String::new() },
        spent.as_secs_f64() / frames.max(1) as f64,
        duration(spent),
    ));
    Ok(())
}

/// The sound of the coded range in a file of its own, which goes when it is dropped, and its codec.
fn sound(args: &Args, clip: &Aligned) -> Result<Option<(Staged, String)>> {
    let coding = match args.sound {
        SoundArg::Copy => SoundCoding::Copy,
        SoundArg::Opus => SoundCoding::Opus,
        SoundArg::None => return Ok(None),
    };
    let (Some(first), Some(last)) = (clip.tracks.first(), clip.tracks.last()) else { return Ok(None) };
    if args.clip.is_dir() {
        return Ok(None);
    }
    let base = clip.camera.time_base;
    let tick = f64::from(base.num) / f64::from(base.den);
    let length = last.pts - first.pts + i64::from(usual_ticks(&clip.tracks));
    let (start, duration) = (first.pts as f64 * tick, Some(length as f64 * tick));
    let source = AudioSource { path: args.clip.clone(), start, duration, matroska: false };
    let file = Staged::create(&args.output.with_extension("sound"))?;
    let Some(codec) = extract_sound(&source, coding, file.temporary())? else { return Ok(None) };
    let bytes = std::fs::metadata(file.temporary()).map_err(|e| Error::io("read", file.temporary(), e))?.len();
    if bytes > MAX_SOUND_BYTES {
        return Err(Error::Limit(format!("{bytes} bytes of sound, at most {MAX_SOUND_BYTES} allowed; try --sound opus")));
    }
    Ok(Some((file, codec)))
}

/// The background of the clip as a JPEG file of at most `bytes`: what the camera sees where the head is not.
fn plate(args: &Args, pack: &Pack, clip: &Aligned, bytes: usize, reporter: &Reporter) -> Result<Vec<u8>> {
    let (width, height) = (clip.camera.width, clip.camera.height);
    let mut sure = clip.sure();
    if sure.is_empty() {
        sure = (0..clip.tracks.len()).collect();
    }
    let step = sure.len().div_ceil(PlateMaker::capacity(width, height)).max(1);
    let looks: Vec<usize> = sure.into_iter().step_by(step).collect();
    reporter.begin("look at the background", looks.len() as u64);
    let cameras = clip.cameras(&looks, reporter)?;
    let crops: Vec<Frame> = clip.pick(&looks, reporter)?.into_iter().map(|crop| crop.frame).collect();
    let mattes = match Matter::new(pack, args.device.device, args.device.precision.into())? {
        Some(matter) => matter.mattes(&crops)?,
        None => {
            log::warn!("this pack has no parser that tells head from background: under the crop only what it leaves is seen");
            Vec::new()
        }
    };
    let mut maker = PlateMaker::new(width, height);
    for (i, (camera, look)) in cameras.into_iter().zip(&looks).enumerate() {
        let track = &clip.tracks[*look];
        maker.add(camera.frame, mattes.get(i), track.roll, &track.placement)?;
        reporter.advance(i as u64 + 1, "");
    }
    let found = maker.finish()?;
    reporter.end();
    let share = |part: f64| format!("{:.0} %", 100.0 * part);
    match found.unrest.map(|unrest| (unrest > RESTLESS, share(unrest))) {
        Some((true, unrest)) => {
            log::warn!("{unrest} of the background change: one picture of it will stand still where the clip does not")
        }
        Some((false, unrest)) => log::info!("{unrest} of the background change"),
        None => log::info!("too few frames to tell whether the background stands still"),
    }
    log::info!("background: {} of it seen in {} frames", share(found.seen), looks.len());
    compress(&found.plate, bytes)
}

/// What can be known to fail before any work.
fn check(args: &Args) -> Result<()> {
    clip::check_build(&args.clip_args)?;
    args.coding.check()?;
    args.fit.check_known(args.identity.is_some())?;
    let inputs: Vec<&Path> = std::iter::once(args.clip.as_path()).chain(args.identity.as_deref()).collect();
    for output in [Some(&args.output), args.save_identity.as_ref(), args.aligned.as_ref()].into_iter().flatten() {
        distinct(output, &inputs)?;
    }
    args.aligned.as_deref().map_or(Ok(()), check_writable)
}

/// Reads an identity and checks that it belongs to the pack.
pub fn load_identity(path: &Path, pack: &Pack) -> Result<Identity> {
    let bytes = read_file(path, MAX_IDENTITY_BYTES as u64)?;
    let identity = Identity::from_bytes(&bytes).map_err(|e| name_file(e, path))?;
    if identity.pack != pack.hash() {
        let (own, given) = (short(&identity.pack), short(&pack.hash()));
        return Err(Error::Misuse(format!("{}: identity of pack {own}, but the pack in use is {given}", path.display())));
    }
    Ok(identity)
}

/// Puts the file's name before what is wrong with its content.
pub fn name_file(error: Error, path: &Path) -> Error {
    match error {
        Error::Malformed(what) => Error::Malformed(format!("{}: {what}", path.display())),
        Error::Unsupported(what) => Error::Unsupported(format!("{}: {what}", path.display())),
        Error::Limit(what) => Error::Limit(format!("{}: {what}", path.display())),
        other => other,
    }
}

/// As a call codes it: each frame is placed and read before the next one is looked at.
#[cfg(feature = "encode")]
fn call(
    args: &Args,
    pack: &Pack,
    identity: Identity,
    options: &EncodeOptions,
    reporter: &Reporter,
) -> Result<(Aligned, Encoded)> {
    let EncodeOptions { device, precision, threads, seed, .. } = *options;
    let live = LiveOptions { device, precision, threads, seed, ..LiveOptions::default() };
    let mut encoder = LiveEncoder::new(pack, &identity, &live, reporter)?;
    let (clip, params, seen) = clip::follow_live(&args.clip, &args.clip_args, side(pack), &mut encoder, reporter)?;
    if args.aligned.is_some() {
        let mut saved = CropFile::new(args.aligned.as_ref(), clip.camera);
        for crop in clip.crops()? {
            check_stop(reporter)?;
            saved.write(&crop?)?;
        }
        saved.finish()?;
    }
    Ok((clip, Encoded { identity, params, seen: Some(seen) }))
}

/// With time: the face is followed through the whole clip, then the person is enrolled unless they are known, then the numbers are
/// searched.
fn whole(
    args: &Args,
    pack: &Pack,
    known: Option<Identity>,
    options: &EncodeOptions,
    work: Option<&UnfinishedRun>,
    reporter: &Reporter,
) -> Result<(Aligned, Encoded)> {
    let references = match &known {
        Some(identity) if !args.clip_args.aligned_input => draw_enrolled(pack, identity, &args.device.decoding(), reporter)?,
        _ => Vec::new(),
    };
    let crops = clip::Crops { references, ..clip::Crops::of_side(side(pack)) };
    let mut clip = clip::load(&args.clip, &args.clip_args, crops, reporter)?;
    let encoded = encode(args, pack, known, &mut clip, (options, work), reporter)?;
    Ok((clip, encoded))
}

/// Tunes unless the identity is known, whose place is then looked at again, and searches the parameters of every frame with the weights
/// frozen.
fn encode(
    args: &Args,
    pack: &Pack,
    known: Option<Identity>,
    clip: &mut Aligned,
    (options, work): (&EncodeOptions, Option<&UnfinishedRun>),
    reporter: &Reporter,
) -> Result<Encoded> {
    let (identity, start) = match known {
        Some(identity) => (identity, Vec::new()),
        None => tune(pack, clip, options, work, reporter)?,
    };
    let total = clip.tracks.len();
    let mut searcher = Searcher::new(pack, &identity, options, total as u64, reporter)?;
    let belongs = belongs(&pack.hash(), clip, options, Some(&identity.to_bytes()?));
    #[cfg(feature = "encode")]
    if args.identity.is_some() && !args.clip_args.aligned_input {
        match work.map(|work| work.places(&belongs)).transpose()?.flatten() {
            Some(places) => clip.put(&places),
            None => {
                crate::again::place(&mut searcher, clip, side(pack), reporter)?;
                work.map_or(Ok(()), |work| work.keep_places(&belongs, &clip.tracks))?;
            }
        }
    }
    let mut saved = CropFile::new(args.aligned.as_ref(), clip.camera);
    let (mut params, mut kept) = match work.map(|work| work.numbers(&belongs)).transpose()? {
        Some((found, kept)) => (found, Some(kept)),
        None => (Vec::new(), None),
    };
    if let Some(last) = params.last() {
        log::info!("{} of {total} frames were searched before", params.len());
        searcher.go_on_after(params.len() as u64, *last)?;
    }
    let mut frames = clip.frames()?;
    for first in (0..total).step_by(SEGMENT) {
        let mut segment = Vec::with_capacity(SEGMENT);
        for found in frames.by_ref().take(SEGMENT) {
            check_stop(reporter)?;
            let (_, timed, track) = found?;
            if first >= params.len() || args.aligned.is_some() {
                let crop = clip.cut(timed, &track)?;
                saved.write(&crop)?;
                segment.push(crop);
            }
        }
        if first < params.len() {
            continue;
        }
        let start = start.get(first..first + segment.len()).unwrap_or_default();
        let found = searcher.search(&segment, start, reporter)?;
        kept.as_mut().map_or(Ok(()), |kept| kept.keep(&found))?;
        params.extend(found);
    }
    drop(frames);
    saved.finish()?;
    // Of aligned crops nothing else is known.
    let seen = (options.preset == Preset::Live).then(|| vec![true; total]);
    Ok(Encoded { identity, params, seen })
}

/// The identity of the person in the clip, and where its frames stood when they were enrolled.
fn tune(
    pack: &Pack,
    clip: &Aligned,
    options: &EncodeOptions,
    work: Option<&UnfinishedRun>,
    reporter: &Reporter,
) -> Result<(Identity, Vec<Option<FrameParams>>)> {
    let belongs = belongs(&pack.hash(), clip, options, None);
    if let Some(before) = work.map(|work| work.enrolled(&belongs)).transpose()?.flatten() {
        log::info!("the identity was tuned before");
        return Ok((Identity::from_bytes(&before.identity)?, before.params));
    }
    let picks = worth_enrolling(&clip.tracks);
    let crops = clip.pick(&picks, reporter)?;
    let options = EncodeOptions { unfinished: work.map(UnfinishedRun::tuning), ..options.clone() };
    let (identity, params) = detail::enrolled(pack, (std::slice::from_ref(clip), &picks, crops), &options, reporter)?;
    if let Some(work) = work {
        let kept = Enrolled { identity: identity.to_bytes()?, params: params.clone() };
        work.keep_enrolled(&belongs, &kept)?;
    }
    Ok((identity, params))
}

/// The stream's header for a clip, in raw16; the grid of time stamps is the most frequent distance of two frames.
pub fn header(pack: &Pack, camera: &Camera, tracks: &[Track], identity: &Identity) -> StreamHeader {
    let mut metadata = identity.metadata.clone();
    metadata.insert("encoder".into(), format!("effigy {}", env!("CARGO_PKG_VERSION")));
    StreamHeader {
        pack: pack.hash(),
        resolution: side(pack),
        time_base: camera.time_base,
        start_pts: tracks.first().map_or(0, |f| f.pts),
        frame_ticks: usual_ticks(tracks),
        camera_width: camera.width,
        camera_height: camera.height,
        placement: true,
        synthetic: true,
        metadata,
        ..StreamHeader::default()
    }
}

/// The most frequent distance of two frames, ticks.
fn usual_ticks(tracks: &[Track]) -> u32 {
    let mut counts = BTreeMap::new();
    for pair in tracks.windows(2) {
        *counts.entry(pair[1].pts.saturating_sub(pair[0].pts)).or_insert(0u64) += 1;
    }
    let usual = counts.into_iter().max_by_key(|(_, n)| *n).map_or(1, |(ticks, _)| ticks);
    u32::try_from(usual).unwrap_or(1).max(1)
}

/// The frames as the stream takes them.
pub fn records(tracks: &[Track], params: &[FrameParams]) -> Vec<FrameRecord> {
    let pairs = tracks.iter().zip(params);
    pairs.map(|(track, params)| FrameRecord { pts: track.pts, params: *params, placement: Some(track.placement) }).collect()
}

/// Prepares the header for these frames and makes their residual by `residual`, which is told its bytes a frame; where none is worth sending, the numbers get its share of a bit
/// rate. `none`: where none is sent unless it is asked for.
pub fn code_frames(
    coding: &CodingArgs,
    header: &mut StreamHeader,
    (identity, records): (&Identity, &[FrameRecord]),
    none: bool,
    residual: impl FnOnce(Written, f64) -> Result<Vec<ResidualRecord>>,
) -> Result<(PacketOptions, Vec<ResidualRecord>)> {
    let kept = coding.residual(none, header);
    let mut packets = coding.prepare(header, identity, records, kept)?;
    let residual = residual(Written { header, identity, records, packets }, kept)?;
    if kept > 0.0 && residual.is_empty() && coding.has_bitrate() {
        packets = coding.prepare(header, identity, records, 0.0)?;
    }
    coding.tell(header);
    Ok((packets, residual))
}

/// What a stream will say of its frames.
pub struct Written<'a> {
    pub header: &'a StreamHeader,
    pub identity: &'a Identity,
    pub records: &'a [FrameRecord],
    pub packets: PacketOptions,
}

impl Written<'_> {
    /// What the numbers miss of the crops, in so many bytes a frame on average; with `seen`, which tells the frames that show the person, as a call sends it, which
    /// knows no later frame.
    pub fn residual<C: IntoIterator<Item = Result<AlignedFrame>>>(
        &self,
        pack: &Pack,
        crops: impl FnOnce() -> Result<C>,
        (bytes_per_frame, seen): (f64, Option<&[bool]>),
        device: &DeviceArgs,
        reporter: &Reporter,
    ) -> Result<Vec<ResidualRecord>> {
        if bytes_per_frame <= 0.0 {
            return Ok(Vec::new());
        }
        // The numbers after their way through the stream.
        let reference = StreamIdentity::by_hash([0; 32]);
        let (bytes, _) =
            write_stream(Vec::new(), self.header.clone(), &reference, self.records, self.packets, &Beside::default())?;
        let mut reader = StreamReader::open(&bytes[..])?;
        let mut params = Vec::with_capacity(self.records.len());
        while let Some(packet) = reader.next_packet()? {
            params.extend(packet.frames.iter().map(|frame| frame.params));
        }
        let decoding = device.decoding();
        if let Some(seen) = seen {
            let mut maker = LiveResidual::new(pack, self.identity, bytes_per_frame, &decoding)?;
            return live_residuals(&mut maker, (&params, seen), crops()?, reporter);
        }
        let crops = crops()?.into_iter().map(|crop| crop.map(|crop| crop.frame));
        residuals(pack, self.identity, &params, crops, (&ResidualOptions::of(bytes_per_frame), &decoding), reporter)
    }
}

/// The records of a call.
fn live_residuals(
    maker: &mut LiveResidual,
    (params, seen): (&[FrameParams], &[bool]),
    crops: impl IntoIterator<Item = Result<AlignedFrame>>,
    reporter: &Reporter,
) -> Result<Vec<ResidualRecord>> {
    let mut out = Vec::new();
    reporter.begin("residual", params.len() as u64);
    for ((number, (params, seen)), crop) in (0..).zip(params.iter().zip(seen)).zip(crops) {
        check_stop(reporter)?;
        let crop = crop?;
        out.extend(maker.push(number, params, seen.then_some(&crop.frame))?);
        reporter.advance(number + 1, "");
    }
    reporter.end();
    Ok(out)
}

/// Bytes of sound that are written together.
const SOUND_PIECE: usize = 8 << 10;

/// What a stream carries beside header, identity and frames.
#[derive(Default)]
pub struct Beside<'a> {
    /// A Matroska file of the sound.
    pub sound: Option<&'a Path>,
    /// A JPEG file of the background.
    pub plate: Option<&'a [u8]>,
    /// What the numbers miss.
    pub residual: &'a [ResidualRecord],
}

/// Writes the whole stream; of the sound each part before the frames that it is heard with.
pub fn write_stream<W: Write>(
    sink: W,
    header: StreamHeader,
    identity: &StreamIdentity,
    records: &[FrameRecord],
    packets: PacketOptions,
    beside: &Beside,
) -> Result<(W, StreamInfo)> {
    let mut writer = StreamWriter::with_options(sink, header, identity, packets)?;
    writer.write_plate(beside.plate.unwrap_or_default())?;
    let mut sound = beside.sound.map(Sound::open).transpose()?;
    beside.residual.iter().try_for_each(|residual| writer.write_residual(residual))?;
    for (i, record) in records.iter().enumerate() {
        if let Some(sound) = &mut sound {
            sound.write_up_to(&mut writer, (i + 1) as f64 / records.len() as f64)?;
        }
        writer.write_frame(record)?;
    }
    writer.finish()
}

/// A file of sound on its way into a stream.
struct Sound {
    path: PathBuf,
    file: File,
    length: u64,
    written: u64,
}

impl Sound {
    fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|e| Error::io("read", path, e))?;
        let length = file.metadata().map_err(|e| Error::io("read", path, e))?.len();
        Ok(Sound { path: path.to_path_buf(), file, length, written: 0 })
    }

    /// Writes whole pieces until the first `share` of the file is written.
    fn write_up_to<W: Write>(&mut self, writer: &mut StreamWriter<W>, share: f64) -> Result<()> {
        let due = if share < 1.0 { (self.length as f64 * share) as u64 } else { self.length };
        while self.written < due {
            let mut piece = vec![0; SOUND_PIECE.min((self.length - self.written) as usize)];
            self.file.read_exact(&mut piece).map_err(|e| Error::io("read", &self.path, e))?;
            writer.write_sound(&piece)?;
            self.written += piece.len() as u64;
        }
        Ok(())
    }
}
