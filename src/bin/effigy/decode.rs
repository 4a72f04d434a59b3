//! `effigy decode`: stream -> pictures -> clip.
//!
//! With another identity than the stream's own, that identity is driven: puppeteering.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use effigy::bitstream::{
    Assembly, Concealer, Ending, Event, FrameRecord, Identity, Piece, StreamHeader, StreamInfo, StreamReader,
};
use effigy::decode::{paste, retarget, Decoder, Matte, FEATHER};
use effigy::frame::Frame;
use effigy::limits::MAX_IDENTITY_BYTES;
use effigy::media::{
    has_sound, names_folder, names_picture, probe, AudioSource, ClipReader, ClipWriter, ReadOptions, WriteOptions,
};
use effigy::pack::Pack;
use effigy::params::FrameParams;
use effigy::progress::{check, Progress};
use effigy::residual::Residual;
use effigy::scene::{cover, decompress, Matter};
use effigy::{Error, Result};

use crate::common::{read_file, short, DeviceArgs, PackArgs};
use crate::encode::name_file;
use crate::output::{check_writable, distinct, Staged};
use crate::progress::Reporter;

const EXAMPLES: &str = "\
Examples:
  effigy decode call.effigy -o call.mp4
  effigy decode call.effigy -o frames/                              a folder of PNG
  effigy decode call.effigy -o large.mp4 --size 512                  scaled up
  effigy decode call.effigy -o pasted.mkv --paste call-source.mp4    back into the camera picture
  effigy decode call.effigy -o room.mp4 --camera                     the camera picture from the stream alone
  effigy decode call.effigy -o beach.mp4 --paste beach.jpg           the head in front of a picture
  effigy decode call.effigy --identity other.identity -o puppet.mp4  drive another face

Output: .mkv is lossless (FFV1), .mp4 is H.264 for players, a name ending in / is a folder. Frames keep their exact time stamps. The
files are marked as synthetic. A stream that is cut short or damaged is decoded as far as it goes, with a warning; then the exit
code is still 0 unless nothing could be decoded.";

/// Frames rendered at a time.
const BATCH: usize = 8;

/// Most bytes of sound that may be missing, all places together.
const MAX_MISSING: u64 = 16 << 20;

/// Render a stream as video
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Stream to decode
    input: PathBuf,
    /// Clip to write: .mp4, .mkv or a folder of PNG ending in /
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,
    /// Identity file: the stream's own if it travelled apart, or another face to drive
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
    /// With another identity: use the stream's numbers as they are, instead of the movement away from the driver's rest
    #[arg(long, requires = "identity")]
    absolute: bool,
    /// Paste the face back into this camera clip (the one that was encoded); its sound comes along. A picture is a new background: the head is laid
    /// over it, without the body below the crop
    #[arg(long, value_name = "CLIP|PICTURE")]
    paste: Option<PathBuf>,
    /// Side of the pictures, pixels: those of the pack are scaled up or down to it. From twice the pack's side on they have the identity's detail, or are enlarged
    /// more sharply if there is none
    /// [default: the pack's]
    #[arg(long, value_name = "PIXELS", conflicts_with_all = ["paste", "camera"], value_parser = clap::value_parser!(u32).range(16..=4096))]
    size: Option<u32>,
    /// Render the whole camera picture: the head over the background that the stream carries (`encode --plate`), which stands
    /// still, shoulders and hands with it
    #[arg(long, conflicts_with = "paste")]
    camera: bool,
    /// Take the sound from this clip, not from the stream
    #[arg(long, value_name = "CLIP")]
    sound: Option<PathBuf>,
    /// Leave the sound out
    #[arg(long, conflicts_with_all = ["sound"])]
    mute: bool,
    #[command(flatten)]
    pack: PackArgs,
    #[command(flatten)]
    device: DeviceArgs,
}

impl Args {
    /// The camera clip to paste into, if it is one and not a picture.
    fn clip(&self) -> Option<&PathBuf> {
        self.paste.as_ref().filter(|path| !names_picture(path))
    }
}

/// How the stream's numbers become the numbers that are rendered.
pub struct Mapping {
    /// Rest states of driver and target; none leaves the numbers as they are.
    rests: Option<(FrameParams, FrameParams)>,
}

impl Mapping {
    /// The numbers as they are.
    pub fn same() -> Self {
        Mapping { rests: None }
    }

    /// The driver's distance from its rest, from the target's rest.
    pub fn relative(driver: &Identity, target: &Identity) -> Self {
        Mapping { rests: Some((driver.rest, target.rest)) }
    }

    /// The numbers to render.
    pub fn apply(&self, params: &FrameParams, pack: &Pack) -> FrameParams {
        match &self.rests {
            Some((driver, target)) => retarget(params, driver, target, &pack.config().ranges),
            None => *params,
        }
    }
}

/// What a first pass over the stream tells.
struct Survey {
    header: StreamHeader,
    first: i64,
    last: i64,
    info: StreamInfo,
    /// The stream's own sound.
    sound: Option<SoundFile>,
    /// Its plate, as a file.
    plate: Option<Vec<u8>>,
    /// Mean side of the crops in the camera's picture, pixels.
    side: f64,
}

pub fn run(args: &Args, reporter: &Reporter) -> Result<()> {
    let inputs: Vec<&Path> =
        std::iter::once(&args.input).chain(&args.identity).chain(&args.paste).chain(&args.sound).map(PathBuf::as_path).collect();
    distinct(&args.output, &inputs)?;
    check_writable(&args.output)?;
    if args.sound.is_some() && args.clip().is_some() {
        return Err(Error::Misuse("--sound with --paste CLIP: the clip's own sound comes along already".into()));
    }
    let survey = survey(args, reporter)?;
    let ground = ground(args, &survey)?;
    let pack = args.pack.load()?;
    let Chosen { identity, mapping, rest, own } = choose_identity(args)?;
    let mut decoder = Decoder::new(&pack, &identity, &args.device.decoding())?;
    // Where less is shown, what such pictures have too much would be seen as noise.
    let shown = match ground {
        Ground::None => args.size.map_or(0.0, f64::from),
        _ => survey.side,
    };
    let detailed = decoder.detailed_side().is_some_and(|side| shown >= f64::from(side));
    let mut sink = Sink::new(args, &survey, ground, &pack)?;
    // The clip's writer has taken what it needs of it.
    let survey = Survey { sound: None, plate: None, ..survey };
    let mut reader = open(&args.input)?;
    let begun = Instant::now();
    reporter.begin("rendering", survey.info.frames);
    let mut concealer = Concealer::new(&survey.header, &rest);
    let (mut waiting, mut done) = (VecDeque::new(), 0);
    let mut residual = Residual::new();
    loop {
        check(reporter)?;
        let packet = reader.next_packet()?;
        let over = packet.is_none();
        if let Some(packet) = packet {
            let shown = concealer.fill(&packet);
            waiting.extend((packet.first_of(shown.len())..).zip(shown));
            // Another person's pictures differ otherwise.
            packet.residuals.into_iter().filter(|_| own).for_each(|record| residual.push(record));
        }
        while waiting.len() >= BATCH || (over && !waiting.is_empty()) {
            let (numbers, batch): (Vec<u64>, Vec<FrameRecord>) =
                waiting.drain(..waiting.len().min(BATCH)).map(|(number, shown)| (number, shown.frame)).unzip();
            let params: Vec<FrameParams> = batch.iter().map(|record| mapping.apply(&record.params, &pack)).collect();
            let mut crops = decoder.render_batch(&params)?;
            let motions: Vec<_> =
                numbers.into_iter().zip(&mut crops).map(|(number, crop)| residual.apply(number, crop)).collect();
            let mattes = sink.mattes(&crops)?;
            let crops = if detailed { decoder.detailed(&crops, &params, &motions)? } else { crops };
            sink.put(&batch, &crops, &mattes)?;
            done += batch.len() as u64;
            reporter.advance(done, "");
        }
        if over {
            break;
        }
    }
    reporter.end();
    let rate = done as f64 / begun.elapsed().as_secs_f64().max(1e-9);
    sink.writer.finish()?;
    reporter.say(&format!("{}: {done} frames, {rate:.1} per second", args.output.display()));
    Ok(())
}

/// A stream from a file, named in errors.
pub fn open(path: &Path) -> Result<StreamReader<File>> {
    let file = File::open(path).map_err(|e| Error::io("open", path, e))?;
    StreamReader::open(file).map_err(|e| name_file(e, path))
}

/// Reads the whole stream once, which is cheap, to know its length and to warn of damage before the work.
fn survey(args: &Args, progress: &dyn Progress) -> Result<Survey> {
    let path = args.input.as_path();
    let mut reader = open(path)?;
    let (mut first, mut last) = (None, 0);
    let (mut sides, mut placed) = (0.0, 0u64);
    let mut wanted = !args.mute && args.sound.is_none() && args.clip().is_none() && !names_folder(&args.output);
    let mut sound: Option<SoundFile> = None;
    let mut plate = Assembly::default();
    while let Some(event) = reader.next_event()? {
        check(progress)?;
        match event {
            Event::Packet(packet) => {
                for frame in &packet.frames {
                    first.get_or_insert(frame.pts);
                    last = frame.pts;
                    if let Some(placement) = frame.placement {
                        (sides, placed) = (sides + f64::from(placement.side), placed + 1);
                    }
                }
            }
            Event::Sound(piece) if wanted => {
                let file = match sound.take() {
                    Some(file) => file,
                    None => SoundFile::create(&args.output)?,
                };
                sound = file.put(&piece)?;
                wanted = sound.is_some();
            }
            Event::Plate(piece) => plate.add(&piece),
            _ => {}
        }
    }
    let info = reader.info();
    let Some(first) = first else {
        return Err(Error::NoContent(format!("{}: no frame of it can be decoded", path.display())));
    };
    if reader.ending() == Some(Ending::Truncated) {
        log::warn!("{}: the stream is cut short; decoding the {} frames there are", path.display(), info.frames);
    }
    if info.damaged > 0 || info.lost_frames > 0 {
        log::warn!(
            "{}: {} damaged places skipped, {} packets without what they depend on; {} frames lost, {} of them repeated coarsely; \
             gaps are filled",
            path.display(),
            info.damaged,
            info.orphan_packets,
            info.lost_frames,
            info.repeated_frames,
        );
    }
    // A damaged stream without a background may have had one.
    let plate = match (plate.broken(), plate.finish()) {
        (false, Some(file)) => Some(file),
        (broken, _) if args.camera && (broken || info.damaged > 0) => {
            return Err(Error::Malformed(format!("{}: its background is damaged; give a picture with --paste", path.display())));
        }
        _ => None,
    };
    Ok(Survey { header: reader.header().clone(), first, last, info, sound, plate, side: sides / placed.max(1) as f64 })
}

/// A stream's sound on its way into a clip: a temporary file beside the output.
struct SoundFile {
    file: Staged,
    length: u64,
    /// Bytes of it that never came.
    missing: u64,
}

impl SoundFile {
    fn create(output: &Path) -> Result<Self> {
        Ok(SoundFile { file: Staged::create(&output.with_extension("sound"))?, length: 0, missing: 0 })
    }

    /// Adds a piece. What is missing before it becomes zeros, which readers of Matroska pass over; what was there before is kept.
    /// `None` if too much is missing for the rest to be of use.
    fn put(mut self, piece: &Piece) -> Result<Option<Self>> {
        let missing = piece.position.saturating_sub(self.length);
        let known = (self.length.saturating_sub(piece.position) as usize).min(piece.bytes.len());
        self.missing += missing;
        if self.missing > MAX_MISSING {
            log::warn!("the stream's sound is left out: {} bytes of it are missing", self.missing);
            return Ok(None);
        }
        let written = std::io::copy(&mut std::io::repeat(0).take(missing), &mut self.file)
            .and_then(|_| self.file.write_all(&piece.bytes[known..]));
        written.map_err(|e| Error::io("write", self.file.temporary(), e))?;
        self.length += missing + (piece.bytes.len() - known) as u64;
        Ok(Some(self))
    }
}

/// The identity to render, how the stream's numbers map to it, and the calm face in the stream's numbers.
struct Chosen {
    identity: Identity,
    mapping: Mapping,
    rest: FrameParams,
    /// Whether it is the identity that the stream was made with.
    own: bool,
}

fn choose_identity(args: &Args) -> Result<Chosen> {
    let reader = open(&args.input)?;
    let own = reader.identity();
    let driver = own.bytes.as_deref().map(Identity::from_bytes).transpose().map_err(|e| name_file(e, &args.input))?;
    let Some(path) = &args.identity else {
        let missing = || Error::Misuse(format!("{}: its identity travels apart; give it with --identity", args.input.display()));
        let identity = driver.ok_or_else(missing)?;
        return Ok(Chosen { rest: identity.rest, identity, mapping: Mapping::same(), own: true });
    };
    let bytes = read_file(path, MAX_IDENTITY_BYTES as u64)?;
    let identity = Identity::from_bytes(&bytes).map_err(|e| name_file(e, path))?;
    let same = effigy::bitstream::identity_hash(&bytes) == own.hash;
    if same || args.absolute {
        let rest = driver.map_or(identity.rest, |driver| driver.rest);
        return Ok(Chosen { rest, identity, mapping: Mapping::same(), own: same });
    }
    match driver {
        Some(driver) => {
            let mapping = Mapping::relative(&driver, &identity);
            Ok(Chosen { rest: driver.rest, identity, mapping, own: false })
        }
        None => Err(Error::Misuse(format!(
            "{} belongs to identity {} and does not carry it, so the driver's rest is not known; use --absolute",
            args.input.display(),
            short(&own.hash)
        ))),
    }
}

/// Where rendered frames go: straight into the clip, or over something first.
struct Sink {
    writer: ClipWriter,
    ground: Ground,
    /// Tells heads from background.
    matter: Option<Matter>,
    /// Side to which crops are scaled.
    size: Option<u32>,
}

/// What the crops are laid over.
enum Ground {
    /// Nothing: the crops are the pictures.
    None,
    /// The camera's own frames.
    Clip(Box<ClipReader>),
    /// One picture.
    Still(Frame),
}

impl Sink {
    fn new(args: &Args, survey: &Survey, ground: Ground, pack: &Pack) -> Result<Self> {
        let header = &survey.header;
        let matter = match ground {
            Ground::Still(_) => matter(args, pack)?,
            _ => None,
        };
        let (width, height) = match ground {
            Ground::None => [args.size.unwrap_or(header.resolution); 2].into(),
            _ => (header.camera_width, header.camera_height),
        };
        let audio = match (args.mute, args.clip().or(args.sound.as_ref()), &survey.sound) {
            (true, ..) => None,
            (_, Some(clip), _) => Some(sound(clip, 0, survey)),
            (_, None, Some(own)) => own_sound(own, survey),
            (_, None, None) => None,
        };
        let options = WriteOptions {
            audio,
            synthetic: true,
            origin: survey.first,
            frame_rate: frame_rate(header),
            ..WriteOptions::default()
        };
        Ok(Sink {
            writer: ClipWriter::create(&args.output, width, height, header.time_base, &options)?,
            ground,
            matter,
            size: args.size,
        })
    }

    /// Where the heads are in crops of the pack's size; none where that does not matter.
    fn mattes(&self, crops: &[Frame]) -> Result<Vec<Matte>> {
        self.matter.as_ref().map_or(Ok(Vec::new()), |matter| matter.mattes(crops))
    }

    fn put(&mut self, records: &[FrameRecord], crops: &[Frame], mattes: &[Matte]) -> Result<()> {
        for (i, (record, crop)) in records.iter().zip(crops).enumerate() {
            let (roll, pts) = (record.params.roll, record.pts);
            match (&mut self.ground, record.placement) {
                (Ground::None, _) => match self.size {
                    Some(side) => self.writer.write(pts, &cover(crop, side, side)?)?,
                    None => self.writer.write(pts, crop)?,
                },
                (Ground::Still(still), Some(placement)) => {
                    let mut shown = still.clone();
                    paste(&mut shown, crop, mattes.get(i), roll, &placement, FEATHER)?;
                    self.writer.write(pts, &shown)?;
                }
                (Ground::Clip(clip), Some(placement)) => {
                    let mut shown = frame_at(clip, pts)?;
                    paste(&mut shown, crop, None, roll, &placement, FEATHER)?;
                    self.writer.write(pts, &shown)?;
                }
                (_, None) => return Err(no_placement()),
            }
        }
        Ok(())
    }
}

/// The camera's frame at a time stamp that is not before the last one asked for.
fn frame_at(clip: &mut ClipReader, pts: i64) -> Result<Frame> {
    for timed in clip {
        let timed = timed?;
        if timed.pts >= pts {
            if timed.pts == pts {
                return Ok(timed.frame);
            }
            break;
        }
    }
    Err(Error::Misuse(format!("the clip to paste into has no frame at time stamp {pts}: it is not the encoded one")))
}

pub fn no_placement() -> Error {
    Error::Misuse("the stream does not say where the face was in the camera's picture".into())
}

/// What to lay the crops over; fails before the work where it cannot be.
fn ground(args: &Args, survey: &Survey) -> Result<Ground> {
    let header = &survey.header;
    if !args.camera && args.paste.is_none() {
        return Ok(Ground::None);
    }
    if !header.placement {
        return Err(no_placement());
    }
    let (width, height) = (header.camera_width, header.camera_height);
    let still = match &args.paste {
        Some(path) if names_picture(path) => {
            let first = ClipReader::open(path, &ReadOptions::default())?.next();
            cover(&first.ok_or_else(|| Error::NoContent(format!("{}: no picture in it", path.display())))??.frame, width, height)?
        }
        Some(path) => {
            check_camera(header, &probe(path)?, path)?;
            return Ok(Ground::Clip(Box::new(ClipReader::open(path, &ReadOptions::default())?)));
        }
        None => {
            let missing = "the stream carries no background for --camera: encode the camera's clip with --plate, or give a picture with --paste";
            let file = survey.plate.as_ref().ok_or_else(|| Error::Misuse(missing.into()))?;
            decompress(file, width, height).map_err(|e| name_file(e, &args.input))?
        }
    };
    Ok(Ground::Still(still))
}

fn matter(args: &Args, pack: &Pack) -> Result<Option<Matter>> {
    let matter = Matter::new(pack, args.device.device, args.device.precision.into())?;
    if matter.is_none() {
        log::warn!("this pack has no parser that tells head from background: the whole crop is laid over the picture");
    }
    Ok(matter)
}

/// `Err` if the camera clip cannot be the one that was encoded.
/// Whether the stream was made from a clip of this size and clock.
pub fn check_camera(header: &StreamHeader, info: &effigy::media::ClipInfo, path: &Path) -> Result<()> {
    let coded = (header.camera_width, header.camera_height, header.time_base);
    if coded == (info.width, info.height, info.time_base) {
        return Ok(());
    }
    let (w, h) = (header.camera_width, header.camera_height);
    Err(Error::Misuse(format!(
        "{}: {} x {}, but the stream was made from {w} x {h} with another clock: it is not the encoded clip (pictures: .jpg, .png, .webp, .bmp, .tif)",
        path.display(),
        info.width,
        info.height
    )))
}

/// The sound of the coded range, from a file whose time 0 is the time stamp `zero`.
fn sound(path: &Path, zero: i64, survey: &Survey) -> AudioSource {
    let tick = f64::from(survey.header.time_base.num) / f64::from(survey.header.time_base.den);
    let length = survey.last - survey.first + i64::from(survey.header.frame_ticks);
    let start = (survey.first - zero) as f64 * tick;
    AudioSource { path: path.to_path_buf(), start, duration: Some(length as f64 * tick), matroska: false }
}

/// The stream's own sound, if it can be used: pictures without it are better than none.
fn own_sound(own: &SoundFile, survey: &Survey) -> Option<AudioSource> {
    let source = AudioSource { matroska: true, ..sound(own.file.temporary(), survey.header.start_pts, survey) };
    match has_sound(&source) {
        Ok(true) => Some(source),
        Ok(false) => None,
        Err(e) => {
            log::warn!("the stream's sound cannot be used and is left out: {e}");
            None
        }
    }
}

/// Nominal frames per second: a hint for players.
fn frame_rate(header: &StreamHeader) -> Option<(u32, u32)> {
    let ticks = header.time_base.num.checked_mul(header.frame_ticks)?;
    (ticks > 0).then_some((header.time_base.den, ticks))
}
