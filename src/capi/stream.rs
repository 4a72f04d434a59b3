//! One stream being decoded for a C caller. Input: a pack and the bytes of a stream that carries its identity. Output: RGB
//! pictures with time stamps in ticks of the stream's time base, in order.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;

use super::entry::StreamProperties;
use super::player::shown_side;
use crate::bitstream::{Concealer, Identity, Origin, ShownFrame, StreamReader};
use crate::decode::{DecodeOptions, Decoder};
use crate::frame::{Frame, TimedFrame};
use crate::pack::Pack;
use crate::params::FrameParams;
use crate::residual::{Motion, Residual};
use crate::{Error, Result};

/// Frames that are read and drawn at once, at most.
const MOST_AT_ONCE: usize = 16;

/// A stream and the decoder of its identity. It holds what it needs of the pack.
pub struct Stream {
    reader: StreamReader<Box<dyn Read + Send>>,
    decoder: Decoder,
    /// Side of the pictures.
    side: u32,
    /// Frames that are read and not rendered yet, by number: as many as are drawn at once, or some more.
    waiting: VecDeque<(u64, ShownFrame)>,
    /// Pictures that are not handed out yet, as they will be: several are drawn at once.
    drawn: VecDeque<Drawn>,
    residual: Residual,
    concealer: Concealer,
    /// What reading failed with behind the frames that wait.
    failed: Option<Error>,
    decoded: u64,
    concealed: u64,
}

/// A picture, and what displaced it.
struct Drawn {
    shown: ShownFrame,
    frame: Frame,
    motion: Option<Motion>,
}

impl Stream {
    /// Opens the stream in a file.
    ///
    /// # Errors
    /// As [`Stream::open_memory`], and when the file cannot be read.
    pub fn open_file(pack: &Pack, path: &Path) -> Result<Stream> {
        let file = File::open(path).map_err(|source| Error::io("open", path, source))?;
        Stream::open(pack, Box::new(file))
    }

    /// Opens a stream over its bytes.
    ///
    /// # Errors
    /// Malformed, unsupported or over a limit in header or identity; unsupported without an identity inside; misuse for a
    /// stream of another pack; device.
    pub fn open_memory(pack: &Pack, bytes: Vec<u8>) -> Result<Stream> {
        Stream::open(pack, Box::new(Cursor::new(bytes)))
    }

    fn open(pack: &Pack, source: Box<dyn Read + Send>) -> Result<Stream> {
        let reader = StreamReader::open(source)?;
        let Some(bytes) = &reader.identity().bytes else {
            return Err(Error::Unsupported("stream: its identity travels apart; this call needs it inside".into()));
        };
        let identity = Identity::from_bytes(bytes)?;
        if identity.resolution != reader.header().resolution {
            let (stream, own) = (reader.header().resolution, identity.resolution);
            return Err(Error::Malformed(format!("stream: resolution {stream}, but its identity has {own}")));
        }
        let decoder = Decoder::new(pack, &identity, &DecodeOptions::default())?;
        let concealer = Concealer::new(reader.header(), &identity.rest);
        let side = decoder.resolution();
        Ok(Stream {
            reader,
            decoder,
            side,
            waiting: VecDeque::new(),
            drawn: VecDeque::new(),
            residual: Residual::new(),
            concealer,
            failed: None,
            decoded: 0,
            concealed: 0,
        })
    }

    /// From here on pictures are twice as large, with the identity's detail if it has one, unless the pack's are too large.
    ///
    /// # Errors
    /// Device: then they stay as they were.
    pub fn show_detail(&mut self) -> Result<()> {
        let side = shown_side(&self.decoder, true);
        if side != self.side {
            let frames: Vec<Frame> = self.drawn.iter().map(|drawn| drawn.frame.clone()).collect();
            let params: Vec<FrameParams> = self.drawn.iter().map(|drawn| drawn.shown.frame.params).collect();
            let motions: Vec<_> = self.drawn.iter().map(|drawn| drawn.motion.clone()).collect();
            let large = self.decoder.detailed(&frames, &params, &motions)?;
            self.drawn.iter_mut().zip(large).for_each(|(drawn, large)| drawn.frame = large);
            self.side = side;
        }
        Ok(())
    }

    /// What is known so far; `size` is left to the caller. The number of frames is known once the last one is out.
    pub fn properties(&self) -> StreamProperties {
        let (header, counts) = (self.reader.header(), self.reader.info());
        let over = self.reader.ending().is_some();
        StreamProperties {
            size: 0,
            width: self.side,
            height: self.side,
            time_base_num: header.time_base.num,
            time_base_den: header.time_base.den,
            frames: if over { counts.frames } else { 0 },
            decoded: self.decoded,
            damaged: counts.damaged,
            lost: counts.lost_frames,
            concealed: self.concealed,
        }
    }

    /// The next frame, nothing at the end. Damaged packets are passed over, and what is missing between two others is
    /// made up.
    ///
    /// # Errors
    /// Input/output, once everything before is shown; device: the frames that were to be drawn together are gone, and the next call goes on behind them.
    pub fn next_frame(&mut self) -> Result<Option<TimedFrame>> {
        if self.drawn.is_empty() {
            self.read();
            match self.failed.take_if(|_| self.waiting.is_empty()) {
                Some(e) => return Err(e),
                None => self.draw()?,
            }
        }
        let Some(Drawn { shown: ShownFrame { frame: record, origin }, frame, .. }) = self.drawn.pop_front() else {
            return Ok(None);
        };
        self.decoded += 1;
        self.concealed += u64::from(origin != Origin::Received);
        Ok(Some(TimedFrame { pts: record.pts, frame }))
    }

    /// Frames that are drawn at once: the first call takes as long as all of them.
    fn at_once(&self) -> usize {
        self.decoder.batch().min(MOST_AT_ONCE)
    }

    /// Reads as many frames as are drawn at once, if there are so many.
    fn read(&mut self) {
        while self.failed.is_none() && self.waiting.len() < self.at_once() {
            match self.reader.next_packet() {
                Ok(Some(packet)) => {
                    let shown = self.concealer.fill(&packet);
                    self.waiting.extend((packet.first_of(shown.len())..).zip(shown));
                    packet.residuals.into_iter().for_each(|record| self.residual.push(record));
                }
                Ok(None) => break,
                Err(e) => self.failed = Some(e),
            }
        }
    }

    /// Draws as many of the frames that wait as are drawn fastest.
    fn draw(&mut self) -> Result<()> {
        let count = self.at_once().min(self.waiting.len());
        let next: Vec<(u64, ShownFrame)> = self.waiting.drain(..count).collect();
        let params: Vec<FrameParams> = next.iter().map(|(_, shown)| shown.frame.params).collect();
        let mut frames = self.decoder.render_batch(&params)?;
        let numbered = next.iter().zip(&mut frames);
        let motions: Vec<_> = numbered.map(|((number, _), frame)| self.residual.apply(*number, frame)).collect();
        if self.side != self.decoder.resolution() {
            frames = self.decoder.detailed(&frames, &params, &motions)?;
        }
        let all = next.into_iter().zip(frames).zip(motions);
        self.drawn.extend(all.map(|(((_, shown), frame), motion)| Drawn { shown, frame, motion }));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bitstream::{FrameRecord, PacketOptions, StreamHeader, StreamIdentity, StreamWriter, TunedTensor};
    use crate::pack::fixture;
    use crate::residual::{MotionMaker, ResidualMaker, ResidualOptions, Settled};

    #[test]
    fn a_stream_may_move_between_threads() {
        fn movable<T: Send>() {}
        movable::<super::Stream>();
    }

    #[test]
    fn the_detail_is_shown_from_the_next_frame_on_also_of_a_packet_that_was_begun() {
        let pack = fixture::tiny(1).unwrap();
        let mut identity = fixture::identity(&pack, 1).unwrap();
        let values = (0..64 * 64 * 3).map(|i| if i > 32 * 64 * 3 && i % 5 == 0 { 9 } else { 0 }).collect();
        identity.tuned.push(TunedTensor { name: "detail".into(), shape: vec![64, 64, 3], steps: vec![0], values });
        let header = StreamHeader { pack: pack.hash(), resolution: 32, ..StreamHeader::default() };
        let inside = StreamIdentity::inline(identity.to_bytes().unwrap());
        let options = PacketOptions { frames_per_packet: 5, ..PacketOptions::of(header.coding) };
        let mut writer = StreamWriter::with_options(Vec::new(), header, &inside, options).unwrap();
        for pts in 0..5 {
            let params = FrameParams { yaw: 3.0 * pts as f32, ..FrameParams::default() };
            writer.write_frame(&FrameRecord { pts, params, placement: None }).unwrap();
        }
        let bytes = writer.finish().unwrap().0;
        let all = |stream: &mut Stream| -> Vec<Frame> {
            std::iter::from_fn(|| stream.next_frame().unwrap()).map(|timed| timed.frame).collect()
        };
        let plain = all(&mut Stream::open_memory(&pack, bytes.clone()).unwrap());
        let mut stream = Stream::open_memory(&pack, bytes.clone()).unwrap();
        let first = stream.next_frame().unwrap().unwrap().frame;
        assert_eq!((&first, stream.properties().width, stream.properties().decoded), (&plain[0], 32, 1));
        stream.show_detail().unwrap();
        assert_eq!(stream.properties().width, 64);
        let large = all(&mut stream);
        assert_eq!((large.len(), stream.properties().decoded, stream.properties().frames), (4, 5, 5));
        let mut decoder = Decoder::new(&pack, &identity, &DecodeOptions::default()).unwrap();
        let mut reader = StreamReader::open(Cursor::new(bytes)).unwrap();
        let params: Vec<FrameParams> =
            std::iter::from_fn(|| reader.next_packet().unwrap()).flat_map(|packet| packet.frames).map(|f| f.params).collect();
        assert!(large == decoder.detailed(&plain[1..], &params[1..], &[]).unwrap());
        let mut without = Decoder::new(&pack, &fixture::identity(&pack, 1).unwrap(), &DecodeOptions::default()).unwrap();
        assert!(large != without.detailed(&plain[1..], &params[1..], &[]).unwrap());
    }

    /// Bytes of a stream, and a failure behind them, once.
    struct Breaking(Cursor<Vec<u8>>, bool);

    impl Read for Breaking {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            match self.0.read(buffer)? {
                0 if !std::mem::replace(&mut self.1, true) => Err(std::io::Error::other("unplugged")),
                read => Ok(read),
            }
        }
    }

    #[test]
    fn what_was_read_before_a_failure_is_shown_before_it_is_told() {
        let pack = fixture::tiny(1).unwrap();
        let header = StreamHeader { pack: pack.hash(), resolution: 32, ..StreamHeader::default() };
        let inside = StreamIdentity::inline(fixture::identity(&pack, 1).unwrap().to_bytes().unwrap());
        // A packet for each frame: several are read before any is drawn.
        let options = PacketOptions { frames_per_packet: 1, ..PacketOptions::of(header.coding) };
        let mut writer = StreamWriter::with_options(Vec::new(), header, &inside, options).unwrap();
        for pts in 0..3 {
            writer.write_frame(&FrameRecord { pts, params: FrameParams::default(), placement: None }).unwrap();
        }
        let bytes = writer.finish().unwrap().0;
        // Within the last frame: what the writer adds at the end would be an end.
        let packets = |bytes: &[u8]| {
            let mut reader = StreamReader::open(Cursor::new(bytes.to_vec())).unwrap();
            std::iter::from_fn(|| reader.next_packet().unwrap()).count()
        };
        let cut = (0..bytes.len()).rev().find(|cut| packets(&bytes[..*cut]) == 2).unwrap();
        let mut stream = Stream::open(&pack, Box::new(Breaking(Cursor::new(bytes[..cut].to_vec()), false))).unwrap();
        assert!(stream.at_once() > 2);
        for pts in 0..2 {
            assert_eq!(stream.next_frame().unwrap().unwrap().pts, pts);
        }
        assert!(matches!(stream.next_frame(), Err(Error::Io { .. })));
        // The end of what is there.
        assert!(stream.next_frame().unwrap().is_none());
    }

    #[test]
    fn a_detail_is_displaced_with_the_picture() {
        let pack = fixture::tiny(1).unwrap();
        let mut identity = fixture::identity(&pack, 1).unwrap();
        let values = (0..64 * 64 * 3).map(|i| if i / 3 % 5 == 0 { 9 } else { 0 }).collect();
        identity.tuned.push(TunedTensor { name: "detail".into(), shape: vec![64, 64, 3], steps: vec![0], values });
        let mut decoder = Decoder::new(&pack, &identity, &DecodeOptions::default()).unwrap();
        let mut without = Decoder::new(&pack, &fixture::identity(&pack, 1).unwrap(), &DecodeOptions::default()).unwrap();
        let params = [FrameParams::default(); 3];
        let flat = vec![Frame::filled(32, 32, [128; 3]).unwrap(); 3];
        // An eighth of a side to the right, not at all, the same.
        let eighth = Motion::new([vec![512.0; 64], vec![0.0; 128]].concat(), 8);
        let motions = [Some(eighth.clone()), None, Some(eighth)];
        let large = decoder.detailed(&flat, &params, &motions).unwrap();
        assert_eq!(large[1..2], decoder.detailed(&flat[..1], &params[..1], &[]).unwrap());
        assert_eq!(large[0], large[2]);
        assert_ne!(large[0], large[1]);
        for (y, x) in (0..64).flat_map(|y| (0..56).map(move |x| (y, x))) {
            let [moved, still] = [(0, x), (1, x + 8)].map(|(k, x): (usize, usize)| large[k].data[3 * (64 * y + x)]);
            assert!(moved.abs_diff(still) <= 1, "{x} {y}: {moved} {still}");
        }
        assert_eq!(without.detailed(&flat, &params, &motions).unwrap(), without.detailed(&flat, &params, &[]).unwrap());
        assert!(matches!(decoder.detailed(&flat, &params, &motions[..2]), Err(Error::Misuse(_))));
    }

    #[test]
    fn what_displaces_and_what_is_added_come_from_one_stream_and_the_detail_goes_along() {
        let pack = fixture::tiny(1).unwrap();
        let mut identity = fixture::identity(&pack, 1).unwrap();
        let values = (0..64 * 64 * 3).map(|i| if i / 3 % 5 == 0 { 9 } else { 0 }).collect();
        identity.tuned.push(TunedTensor { name: "detail".into(), shape: vec![64, 64, 3], steps: vec![0], values });
        let identity = Identity::from_bytes(&identity.to_bytes().unwrap()).unwrap();
        let mut decoder = Decoder::new(&pack, &identity, &DecodeOptions::default()).unwrap();
        let params: Vec<_> = (0..6).map(|t| FrameParams { yaw: 3.0 * t as f32, ..FrameParams::default() }).collect();
        let drawn = decoder.render_batch(&params).unwrap();
        // Crops that sit an eighth of a side beside what is drawn, and are darker.
        let field = Motion::new([vec![512.0; 64], vec![0.0; 128]].concat(), 8);
        let options = ResidualOptions { every: 1, ..ResidualOptions::of_motion(60.0) };
        let mut motion = MotionMaker::new(32, options).unwrap();
        let mut settled = Vec::new();
        for frame in &drawn {
            let mut crop = frame.clone();
            field.displace(&mut crop);
            crop.data.iter_mut().for_each(|byte| *byte -= *byte / 4);
            settled.push(motion.push(crop, frame.clone()).unwrap());
        }
        settled.extend(motion.finish().unwrap().0);
        let mut colours = ResidualMaker::new(32, options).unwrap();
        let (mut moves, mut records) = (Vec::new(), Vec::new());
        for Settled { record, frames } in settled {
            moves.extend(record);
            frames.iter().for_each(|(crop, shown)| records.extend(colours.push(crop, shown).unwrap()));
        }
        records.extend(colours.finish().unwrap().0);
        assert!(!moves.is_empty() && !records.is_empty());
        let header = StreamHeader { pack: pack.hash(), resolution: 32, ..StreamHeader::default() };
        let inside = StreamIdentity::inline(identity.to_bytes().unwrap());
        let packets = PacketOptions { frames_per_packet: 6, ..PacketOptions::of(header.coding) };
        let mut writer = StreamWriter::with_options(Vec::new(), header, &inside, packets).unwrap();
        // One kind behind the other: the writer puts each record before its frame.
        records.iter().chain(&moves).for_each(|record| writer.write_residual(record).unwrap());
        for (pts, params) in (0..).zip(&params) {
            writer.write_frame(&FrameRecord { pts, params: *params, placement: None }).unwrap();
        }
        let bytes = writer.finish().unwrap().0;
        let mut residual = Residual::new();
        records.into_iter().chain(moves).for_each(|record| residual.push(record));
        let mut plain = drawn.clone();
        let motions: Vec<_> = (0..).zip(&mut plain).map(|(number, frame)| residual.apply(number, frame)).collect();
        let large = decoder.detailed(&plain, &params, &motions).unwrap();
        assert!(motions.iter().any(Option::is_some) && large != decoder.detailed(&plain, &params, &[]).unwrap());
        let mut stream = Stream::open_memory(&pack, bytes).unwrap();
        let mut shown = |count| -> Vec<Frame> { (0..count).map(|_| stream.next_frame().unwrap().unwrap().frame).collect() };
        assert_eq!(shown(2), plain[..2]);
        stream.show_detail().unwrap();
        let rest: Vec<Frame> = std::iter::from_fn(|| stream.next_frame().unwrap()).map(|timed| timed.frame).collect();
        assert_eq!(rest, large[2..]);
    }
}
