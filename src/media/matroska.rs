//! Exact time stamps through Matroska, both ways past ffmpeg, whose own Matroska writer rounds to milliseconds.
//!
//! Input of [`RawStream`]: RGB frames; output: an uncompressed Matroska stream for ffmpeg's stdin, stamps in nanoseconds.
//! Input of [`retime`]: a Matroska file written by ffmpeg and the stamps of its pictures; output: the same packets, each picture at
//! its exact stamp. Source: RFC 9559 (Matroska) and RFC 8794 (EBML).

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};

use crate::frame::{Frame, TimeBase};

const EBML: u32 = 0x1A45_DFA3;
const SEGMENT: u32 = 0x1853_8067;
const SEEK_HEAD: u32 = 0x114D_9B74;
const INFO: u32 = 0x1549_A966;
const TIMESTAMP_SCALE: u32 = 0x2A_D7B1;
const DURATION: u32 = 0x4489;
const TRACKS: u32 = 0x1654_AE6B;
const TRACK_ENTRY: u32 = 0xAE;
const TRACK_NUMBER: u32 = 0xD7;
const TRACK_TYPE: u32 = 0x83;
const TAGS: u32 = 0x1254_C367;
const CHAPTERS: u32 = 0x1043_A770;
const ATTACHMENTS: u32 = 0x1941_A469;
const CLUSTER: u32 = 0x1F43_B675;
const CLUSTER_TIME: u32 = 0xE7;
const SIMPLE_BLOCK: u32 = 0xA3;
const BLOCK_GROUP: u32 = 0xA0;
const BLOCK: u32 = 0xA1;
const BLOCK_DURATION: u32 = 0x9B;
const CUES: u32 = 0x1C53_BB6B;
const CRC: u32 = 0xBF;

/// ffmpeg's tick in Matroska, nanoseconds.
const FFMPEG_TICK: i128 = 1_000_000;
/// Distance between entries of the seek index, nanoseconds.
const CUE_DISTANCE: i128 = 500_000_000;

/// `pts` ticks of `base` in units of `unit` nanoseconds, rounded to the nearest.
fn in_units(pts: i64, base: TimeBase, unit: i128) -> i128 {
    let num = i128::from(pts) * i128::from(base.num) * 1_000_000_000;
    let den = i128::from(base.den) * unit;
    (2 * num + den).div_euclid(2 * den)
}

fn push_id(out: &mut Vec<u8>, id: u32) {
    let bytes = id.to_be_bytes();
    out.extend_from_slice(&bytes[id.leading_zeros() as usize / 8..]);
}

/// An element with its size in eight bytes, which every reader accepts.
fn push_element(out: &mut Vec<u8>, id: u32, body: &[u8]) {
    push_id(out, id);
    push_size(out, body.len() as u64);
    out.extend_from_slice(body);
}

fn push_size(out: &mut Vec<u8>, size: u64) {
    out.extend_from_slice(&(size | 1 << 56).to_be_bytes());
}

fn push_uint(out: &mut Vec<u8>, id: u32, value: u64) {
    push_element(out, id, &value.to_be_bytes());
}

/// Header and packets of an uncompressed RGB stream.
pub(super) struct RawStream {
    time_base: TimeBase,
}

impl RawStream {
    /// The stream's beginning, to be written before the first packet. `frame_rate` helps players, it moves no stamp.
    pub(super) fn new(width: u32, height: u32, time_base: TimeBase, frame_rate: Option<(u32, u32)>) -> (Self, Vec<u8>) {
        let mut head = Vec::new();
        push_element(&mut head, 0x4282, b"matroska");
        let mut out = Vec::new();
        push_element(&mut out, EBML, &head);
        push_id(&mut out, SEGMENT);
        // All ones: the length is not known, the stream ends with the pipe.
        out.extend_from_slice(&[0x01, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]);
        let mut info = Vec::new();
        push_uint(&mut info, TIMESTAMP_SCALE, 1);
        push_element(&mut out, INFO, &info);
        let mut video = Vec::new();
        push_uint(&mut video, 0xB0, width.into());
        push_uint(&mut video, 0xBA, height.into());
        push_element(&mut video, 0x2E_B524, b"RGB\x18");
        let mut track = Vec::new();
        push_uint(&mut track, TRACK_NUMBER, 1);
        push_uint(&mut track, 0x73C5, 1);
        push_uint(&mut track, TRACK_TYPE, 1);
        push_element(&mut track, 0x86, b"V_UNCOMPRESSED");
        if let Some((num, den)) = frame_rate.filter(|(num, _)| *num > 0) {
            push_uint(&mut track, 0x23_E383, 1_000_000_000 * u64::from(den) / u64::from(num));
        }
        push_element(&mut track, 0xE0, &video);
        let mut tracks = Vec::new();
        push_element(&mut tracks, TRACK_ENTRY, &track);
        push_element(&mut out, TRACKS, &tracks);
        (RawStream { time_base }, out)
    }

    /// The bytes that precede the picture's own `3 * width * height` bytes. `pts` must not be negative.
    pub(super) fn packet_head(&self, pts: i64, frame: &Frame) -> Vec<u8> {
        let mut time = Vec::new();
        push_uint(&mut time, CLUSTER_TIME, in_units(pts, self.time_base, 1).clamp(0, i64::MAX.into()) as u64);
        // Track 1, at the cluster's own time, a key frame.
        let block_head = [0x81, 0, 0, 0x80];
        let block_size = (block_head.len() + frame.data.len()) as u64;
        let mut out = Vec::new();
        push_id(&mut out, CLUSTER);
        push_size(&mut out, time.len() as u64 + 1 + 8 + block_size);
        out.extend_from_slice(&time);
        push_id(&mut out, SIMPLE_BLOCK);
        push_size(&mut out, block_size);
        out.extend_from_slice(&block_head);
        out
    }
}

/// Tick of the final file, nanoseconds: the time base itself where it is a whole number, else a microsecond or finer.
fn file_tick(base: TimeBase) -> i128 {
    let (num, den) = (i128::from(base.num) * 1_000_000_000, i128::from(base.den));
    if num % den == 0 && num / den <= FFMPEG_TICK {
        num / den
    } else {
        (num / den / 4).clamp(1, 1000)
    }
}

/// Rewrites ffmpeg's Matroska file `input` with the n-th picture at `stamps[n]`; sound keeps its millisecond stamps.
///
/// # Errors
/// Those of the files; `InvalidData` if the number of pictures differs from the number of stamps.
pub(super) fn retime(input: File, output: File, stamps: &[i64], base: TimeBase) -> io::Result<()> {
    let mut reader = Elements { length: input.metadata()?.len(), input: BufReader::with_capacity(1 << 18, input), at: 0 };
    let mut writer = Rewriter::new(output, base);
    let mut cluster_time = 0i128;
    let mut pictures = 0usize;
    while let Some((id, size)) = reader.header()? {
        match id {
            // Entered: their children follow in the same loop.
            CLUSTER => {}
            SEGMENT => writer.open_segment()?,
            EBML => writer.plain(EBML, &reader.body(size)?)?,
            INFO => writer.info(&reader.body(size)?)?,
            TRACKS => writer.tracks(&reader.body(size)?)?,
            TAGS | CHAPTERS | ATTACHMENTS => writer.plain(id, &reader.body(size)?)?,
            CLUSTER_TIME => cluster_time = uint(&reader.body(size)?).into(),
            SIMPLE_BLOCK | BLOCK_GROUP => {
                let exact = |n: usize| stamps.get(n).map(|&s| in_units(s, base, writer.tick));
                let next = exact(pictures);
                pictures += usize::from(writer.block(id, reader.body(size)?, cluster_time, next)?);
            }
            _ => reader.skip(size)?,
        }
    }
    if pictures != stamps.len() {
        return Err(damaged(&format!("{pictures} pictures were encoded, {} were sent", stamps.len())));
    }
    writer.finish()
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn uint(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).fold(0, |n, &b| n << 8 | u64::from(b))
}

/// Reads element after element.
struct Elements {
    input: BufReader<File>,
    length: u64,
    at: u64,
}

impl Elements {
    /// Id and size of the next element, None at the end of the file.
    fn header(&mut self) -> io::Result<Option<(u32, u64)>> {
        if self.at >= self.length {
            return Ok(None);
        }
        let (id, _) = self.number(4, true)?;
        let (size, unknown) = self.number(8, false)?;
        // Only a segment or cluster that is entered may leave its size open.
        Ok(Some((id as u32, if unknown { self.length - self.at } else { size })))
    }

    /// A variable-length number of at most `longest` bytes, and whether all its bits are ones.
    fn number(&mut self, longest: u32, keep_marker: bool) -> io::Result<(u64, bool)> {
        let mut byte = [0u8];
        self.input.read_exact(&mut byte)?;
        let length = byte[0].leading_zeros() + 1;
        if length > longest {
            return Err(damaged("a Matroska element's length is damaged"));
        }
        let mut value = u64::from(byte[0]);
        for _ in 1..length {
            self.input.read_exact(&mut byte)?;
            value = value << 8 | u64::from(byte[0]);
        }
        self.at += u64::from(length);
        let mask = (1u64 << (7 * length)) - 1;
        Ok((if keep_marker { value } else { value & mask }, value & mask == mask))
    }

    fn body(&mut self, size: u64) -> io::Result<Vec<u8>> {
        if size > self.length - self.at {
            return Err(damaged("a Matroska element is longer than its file"));
        }
        let mut out = vec![0; size as usize];
        self.input.read_exact(&mut out)?;
        self.at += size;
        Ok(out)
    }

    fn skip(&mut self, size: u64) -> io::Result<()> {
        self.at = self.at.saturating_add(size);
        self.input.seek_relative(i64::try_from(size).map_err(|_| damaged("a Matroska element's length is damaged"))?)
    }
}

/// Splits an element's body into its children; stops at the first damaged one.
fn children(mut body: &[u8]) -> Vec<(u32, &[u8])> {
    fn number(body: &mut &[u8], keep_marker: bool) -> Option<u64> {
        let length = body.first()?.leading_zeros() as usize + 1;
        let bytes = body.get(..length).filter(|_| length <= 8)?;
        *body = &body[length..];
        let value = uint(bytes);
        Some(if keep_marker { value } else { value & ((1u64 << (7 * length)) - 1) })
    }
    let mut out = Vec::new();
    while let (Some(id), Some(size)) = (number(&mut body, true), number(&mut body, false)) {
        let Some(child) = usize::try_from(size).ok().and_then(|n| body.get(..n)) else { break };
        out.push((id as u32, child));
        body = &body[child.len()..];
    }
    out
}

/// The file under construction.
struct Rewriter {
    out: BufWriter<File>,
    at: u64,
    tick: i128,
    video_track: u8,
    segment_start: u64,
    /// Positions of the top elements in the segment, for the seek head.
    places: Vec<(u32, u64)>,
    cluster: Vec<u8>,
    cluster_time: i128,
    cues: Vec<u8>,
    last_cue: Option<i128>,
}

/// Top elements that the seek head lists, so that players find them without reading the whole file.
const LISTED: [u32; 3] = [INFO, TRACKS, CUES];
/// Bytes of the seek head: its own header, and per entry header (10), id (14) and position (18).
const SEEK_HEAD_SIZE: usize = 12 + LISTED.len() * (10 + 14 + 18);

impl Rewriter {
    fn new(output: File, base: TimeBase) -> Self {
        Rewriter {
            out: BufWriter::with_capacity(1 << 18, output),
            at: 0,
            tick: file_tick(base),
            video_track: 1,
            segment_start: 0,
            places: Vec::new(),
            cluster: Vec::new(),
            cluster_time: 0,
            cues: Vec::new(),
            last_cue: None,
        }
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.at += bytes.len() as u64;
        self.out.write_all(bytes)
    }

    fn plain(&mut self, id: u32, body: &[u8]) -> io::Result<()> {
        self.flush_cluster()?;
        self.places.push((id, self.at - self.segment_start));
        let mut head = Vec::new();
        push_id(&mut head, id);
        push_size(&mut head, body.len() as u64);
        self.put(&head)?;
        self.put(body)
    }

    fn open_segment(&mut self) -> io::Result<()> {
        let mut head = Vec::new();
        push_id(&mut head, SEGMENT);
        push_size(&mut head, 0);
        self.put(&head)?;
        self.segment_start = self.at;
        self.put(&[0; SEEK_HEAD_SIZE])
    }

    fn info(&mut self, body: &[u8]) -> io::Result<()> {
        let mut out = Vec::new();
        push_uint(&mut out, TIMESTAMP_SCALE, self.tick as u64);
        for (id, child) in children(body) {
            match (id, <[u8; 8]>::try_from(child)) {
                (TIMESTAMP_SCALE | CRC, _) => {}
                (DURATION, Ok(bytes)) => {
                    let scaled = f64::from_be_bytes(bytes) * FFMPEG_TICK as f64 / self.tick as f64;
                    push_element(&mut out, DURATION, &scaled.to_be_bytes());
                }
                _ => push_element(&mut out, id, child),
            }
        }
        self.plain(INFO, &out)
    }

    fn tracks(&mut self, body: &[u8]) -> io::Result<()> {
        for (_, entry) in children(body).iter().filter(|(id, _)| *id == TRACK_ENTRY) {
            let fields = children(entry);
            let field = |id| fields.iter().find(|(f, _)| *f == id).map_or(0, |(_, value)| uint(value));
            if field(TRACK_TYPE) == 1 {
                self.video_track = u8::try_from(field(TRACK_NUMBER)).map_err(|_| damaged("more than 255 tracks"))?;
            }
        }
        self.plain(TRACKS, body)
    }

    /// Adds a block; pictures go to `exact` (ticks). True if it was a picture.
    fn block(&mut self, id: u32, mut body: Vec<u8>, cluster_time: i128, exact: Option<i128>) -> io::Result<bool> {
        let short = || damaged("a Matroska block is too short");
        let parts = if id == BLOCK_GROUP { children(&body) } else { vec![(BLOCK, &body[..])] };
        let block = parts.iter().find(|(id, _)| *id == BLOCK).map(|(_, b)| *b).filter(|b| b.len() >= 4).ok_or_else(short)?;
        // One byte of track number: this program's files have two tracks.
        let picture = block[0] & 0x7F == self.video_track;
        let old = cluster_time + i128::from(i16::from_be_bytes([block[1], block[2]]));
        let time = match exact {
            Some(time) if picture => time,
            _ if picture => return Err(damaged("more pictures were encoded than were sent")),
            _ => old * FFMPEG_TICK / self.tick,
        };
        let relative = self.place(time, picture)?.to_be_bytes();
        if id == SIMPLE_BLOCK {
            body[1..3].copy_from_slice(&relative);
        } else {
            body = self.regroup(&parts, relative);
        }
        push_element(&mut self.cluster, id, &body);
        Ok(picture)
    }

    /// A block group with a new relative time and its duration in the file's ticks.
    fn regroup(&self, parts: &[(u32, &[u8])], relative: [u8; 2]) -> Vec<u8> {
        let mut out = Vec::new();
        for (id, part) in parts {
            match *id {
                BLOCK => {
                    let mut block = part.to_vec();
                    block[1..3].copy_from_slice(&relative);
                    push_element(&mut out, BLOCK, &block);
                }
                BLOCK_DURATION => {
                    push_uint(&mut out, BLOCK_DURATION, (i128::from(uint(part)) * FFMPEG_TICK / self.tick) as u64);
                }
                _ => push_element(&mut out, *id, part),
            }
        }
        out
    }

    /// Opens a new cluster where needed and returns the block's time within it.
    fn place(&mut self, time: i128, picture: bool) -> io::Result<i16> {
        if !picture && !self.cluster.is_empty() {
            if let Ok(relative) = i16::try_from(time - self.cluster_time) {
                return Ok(relative);
            }
        }
        self.flush_cluster()?;
        self.cluster_time = time.max(0);
        push_uint(&mut self.cluster, CLUSTER_TIME, self.cluster_time as u64);
        if picture && self.last_cue.is_none_or(|last| (time - last) * self.tick >= CUE_DISTANCE) {
            self.last_cue = Some(time);
            let mut position = Vec::new();
            push_uint(&mut position, 0xF7, self.video_track.into());
            push_uint(&mut position, 0xF1, self.at - self.segment_start);
            let mut point = Vec::new();
            push_uint(&mut point, 0xB3, self.cluster_time as u64);
            push_element(&mut point, 0xB7, &position);
            push_element(&mut self.cues, 0xBB, &point);
        }
        i16::try_from(time - self.cluster_time).map_err(|_| damaged("sound before the beginning"))
    }

    fn flush_cluster(&mut self) -> io::Result<()> {
        if self.cluster.is_empty() {
            return Ok(());
        }
        let body = std::mem::take(&mut self.cluster);
        let mut head = Vec::new();
        push_id(&mut head, CLUSTER);
        push_size(&mut head, body.len() as u64);
        self.put(&head)?;
        self.put(&body)
    }

    fn finish(mut self) -> io::Result<()> {
        let cues = std::mem::take(&mut self.cues);
        self.plain(CUES, &cues)?;
        let mut entries = Vec::new();
        for id in LISTED {
            let place = self.places.iter().find(|(p, _)| *p == id).map_or(0, |(_, at)| *at);
            let mut entry = Vec::new();
            push_element(&mut entry, 0x53AB, &id.to_be_bytes());
            push_uint(&mut entry, 0x53AC, place);
            push_element(&mut entries, 0x4DBB, &entry);
        }
        let mut seek_head = Vec::new();
        push_element(&mut seek_head, SEEK_HEAD, &entries);
        debug_assert_eq!(seek_head.len(), SEEK_HEAD_SIZE);
        let mut size = Vec::new();
        push_size(&mut size, self.at - self.segment_start);
        self.out.seek(SeekFrom::Start(self.segment_start - 8))?;
        self.out.write_all(&size)?;
        self.out.write_all(&seek_head)?;
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_tick_divides_whole_time_bases_exactly() {
        let tick = |num, den| file_tick(TimeBase { num, den });
        assert_eq!(tick(1, 12800), 78_125);
        assert_eq!(tick(1, 1000), 1_000_000);
        assert_eq!(tick(1001, 30000), 1000);
        assert_eq!(tick(1, 90_000), 1000);
        assert_eq!(tick(1, 4_000_000_000), 1);
    }

    #[test]
    fn elements_come_apart_as_they_were_put_together() {
        let mut out = Vec::new();
        push_uint(&mut out, TIMESTAMP_SCALE, 77);
        push_element(&mut out, CRC, b"abc");
        let parts = children(&out);
        assert_eq!(parts.len(), 2);
        assert_eq!((parts[0].0, uint(parts[0].1)), (TIMESTAMP_SCALE, 77));
        assert_eq!(parts[1], (CRC, &b"abc"[..]));
        assert_eq!(children(&out[..out.len() - 1]).len(), 1, "a cut element is not a child");
    }
}
