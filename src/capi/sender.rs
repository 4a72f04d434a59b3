//! Live encoding for a C caller. Input: camera pictures of one enrolled person. Output: the front of a stream, then packets, each one
//! record, with the residual records before it. Builds without the feature `analysis` refuse; without `encode` they take aligned crops alone.

use super::player::Person;
use crate::decode::DecodeOptions;
use crate::frame::TimedFrame;
use crate::pack::Pack;
use crate::Result;
use std::time::Duration;

/// What a caller chooses.
#[derive(Clone, Debug)]
pub struct SendOptions {
    /// Camera picture, pixels; for aligned crops 0 x 0 stands for the identity's own side.
    pub camera: (u32, u32),
    /// Time stamp of the first frame, if it is known: near the grid that it begins, time stamps cost least.
    pub start_pts: i64,
    /// A tick in seconds, numerator and denominator.
    pub time_base: (u32, u32),
    /// Usual distance of two frames, ticks.
    pub frame_ticks: u32,
    /// 0 to 100.
    pub quality: f32,
    /// Frames repeated in each packet.
    pub redundancy: u32,
    /// Frames in a packet.
    pub frames_per_packet: u32,
    /// Most frames from one intra packet to the next.
    pub intra: u32,
    /// Whether pictures are aligned crops already.
    pub aligned: bool,
    /// Whether the front carries the identity.
    pub inline_identity: bool,
    /// Share of the last frame that is kept.
    pub smoothing: f32,
    /// Most steps of the search per frame, unless there is time for more.
    pub steps: u32,
    /// What a frame should take in all, if further steps are wanted; else zero.
    pub budget: Duration,
    /// Bytes a frame of the residual; 0: none.
    pub residual: f32,
    /// Where to compute.
    pub computing: DecodeOptions,
}

#[cfg(not(feature = "analysis"))]
pub use absent::Sender;
#[cfg(feature = "analysis")]
pub use present::Sender;

/// Most bytes a frame of the residual, and most of what a caller's room for a packet may be taken up by it.
#[cfg(feature = "analysis")]
const MOST_RESIDUAL: f32 = 200.0;
#[cfg(feature = "analysis")]
const HALF_PACKET: f32 = 8192.0;
/// Packets that may wait to be fetched.
#[cfg(feature = "analysis")]
const MOST_WAITING: usize = 1024;

#[cfg(feature = "analysis")]
mod present {
    use super::*;
    use crate::bitstream::{set_quality, PacketOptions, StreamHeader, StreamIdentity, StreamWriter};
    use crate::encode::{AlignedFrame, LiveFrame, LiveOptions, LiveReader, LiveResidual};
    use crate::frame::TimeBase;
    use crate::pace::Longest;
    use crate::progress::Progress;
    use crate::Error;
    use std::collections::VecDeque;
    use std::io::Write;
    use std::sync::{Arc, Mutex};
    use std::time::Instant;

    /// What reads the numbers.
    enum Eye {
        Crops(Box<LiveReader>),
        #[cfg(feature = "encode")]
        Camera(Box<crate::encode::LiveEncoder>),
    }

    /// An encoder that turns pictures into packets.
    pub struct Sender {
        eye: Eye,
        residual: Option<LiveResidual>,
        /// How long frames take once their numbers are known, and those that the residual looks at.
        after: [Longest; 2],
        /// Frames written.
        frames: u64,
        writer: StreamWriter<Outbox>,
        outbox: Outbox,
        header: Vec<u8>,
        camera: (u32, u32),
        /// Time stamp of the first frame of the packet that is being filled.
        first: Option<i64>,
        last: Option<i64>,
        packets: VecDeque<(i64, Vec<u8>)>,
    }

    impl Sender {
        /// Learns how the person looks: seconds.
        ///
        /// # Errors
        /// Misuse for settings out of range or an identity of another pack; unsupported by the pack or this build; cancelled; device.
        pub fn new(pack: &Pack, person: &Person, options: &SendOptions, progress: &dyn Progress) -> Result<Sender> {
            let side = person.identity.resolution;
            let camera = if options.aligned && options.camera == (0, 0) { (side, side) } else { options.camera };
            if options.aligned && camera != (side, side) {
                let (w, h) = camera;
                return Err(Error::Misuse(format!("aligned crops of {w} x {h}: this identity has {side} x {side}")));
            }
            if camera.0 == 0 || camera.1 == 0 {
                let (w, h) = camera;
                return Err(Error::Misuse(format!("camera of {w} x {h}: set camera_width and camera_height")));
            }
            // Everything cheap that can fail comes before seconds of work.
            let mut header = header(pack, options, camera);
            set_quality(&mut header, options.quality, &person.identity, &[])?;
            let residual = residual_bytes(options)?;
            let packets = PacketOptions {
                frames_per_packet: options.frames_per_packet as usize,
                redundancy: options.redundancy as usize,
                intra: u64::from(options.intra),
                ..PacketOptions::of(header.coding)
            };
            let reference = StreamIdentity::inline(person.bytes.clone());
            let reference = if options.inline_identity { reference } else { StreamIdentity::by_hash(reference.hash) };
            let outbox = Outbox::default();
            let writer = StreamWriter::with_options(outbox.clone(), header, &reference, packets)?;
            let front = outbox.take().concat();
            let eye = Eye::open(pack, person, options, progress)?;
            let residual =
                residual.map(|bytes| LiveResidual::new(pack, &person.identity, bytes, &options.computing)).transpose()?;
            let (header, packets) = (front, VecDeque::new());
            Ok(Sender {
                eye,
                residual,
                after: Default::default(),
                frames: 0,
                writer,
                outbox,
                header,
                camera,
                first: None,
                last: None,
                packets,
            })
        }

        /// The front of the stream: what a receiver needs once, by a safe way.
        pub fn header(&self) -> &[u8] {
            &self.header
        }

        /// Whether pictures of this size are what the encoder was made for.
        ///
        /// # Errors
        /// Misuse.
        pub fn check_size(&self, (width, height): (u32, u32)) -> Result<()> {
            let (w, h) = self.camera;
            match (width, height) == (w, h) {
                true => Ok(()),
                false => Err(Error::Misuse(format!("picture of {width} x {height}: the encoder was made for {w} x {h}"))),
            }
        }

        /// Codes a picture; time stamps rise. Gives how surely the face was followed, 0 to 1.
        ///
        /// # Errors
        /// Misuse for another size or a time stamp that does not rise; no content while no face was seen; limit while too many
        /// packets wait; device. The frame is then not taken.
        pub fn send(&mut self, timed: TimedFrame) -> Result<f32> {
            self.check_size((timed.frame.width, timed.frame.height))?;
            if self.last.is_some_and(|last| last >= timed.pts) {
                return Err(Error::Misuse(format!("time stamp {} does not follow {:?}", timed.pts, self.last)));
            }
            if self.packets.len() >= MOST_WAITING {
                return Err(Error::Limit(format!("{MOST_WAITING} packets wait: receive them before the next frame")));
            }
            let looked = usize::from(self.residual.as_ref().is_some_and(|residual| residual.due(self.frames)));
            let seen = self.eye.read(timed, self.after[looked].time())?;
            let read = Instant::now();
            self.writer.write_frame(&seen.record)?;
            self.last = Some(seen.record.pts);
            let first = *self.first.get_or_insert(seen.record.pts);
            self.collect(first);
            self.frames += 1;
            if let Err(e) = self.look(&seen) {
                // The frame is on its way.
                log::warn!("no residual for frame {}: {e}", self.frames - 1);
            }
            self.after[looked].hear(read.elapsed());
            Ok(seen.confidence)
        }

        /// What the numbers miss goes with the next frame.
        fn look(&mut self, seen: &LiveFrame) -> Result<()> {
            let Some(residual) = &mut self.residual else { return Ok(()) };
            let record = residual.push(self.frames - 1, &seen.record.params, seen.seen.then_some(&seen.crop))?;
            record.map_or(Ok(()), |record| self.writer.write_residual(&record))
        }

        /// A packet, and the residuals that belong before it.
        fn collect(&mut self, first: i64) {
            let records = self.outbox.take();
            if !records.is_empty() {
                self.packets.push_back((first, records.concat()));
                self.first = None;
            }
        }

        /// The next packet and the time stamp of its first frame.
        pub fn packet(&self) -> Option<&(i64, Vec<u8>)> {
            self.packets.front()
        }

        /// Drops the packet that [`Sender::packet`] shows.
        pub fn taken(&mut self) {
            self.packets.pop_front();
        }

        /// The next packet will need no other.
        pub fn request_intra(&mut self) {
            self.writer.request_intra();
            self.residual.iter_mut().for_each(LiveResidual::want_intra);
        }

        /// Sends what waits for its packet to fill.
        ///
        /// # Errors
        /// Limit for a stream of too many frames.
        pub fn flush(&mut self) -> Result<()> {
            self.writer.end_packet()?;
            if let Some(first) = self.first {
                self.collect(first);
            }
            Ok(())
        }
    }

    impl Eye {
        fn open(pack: &Pack, person: &Person, options: &SendOptions, progress: &dyn Progress) -> Result<Eye> {
            let live = LiveOptions {
                smoothing: options.smoothing,
                steps: options.steps,
                budget: options.budget,
                device: options.computing.device,
                precision: options.computing.precision,
                threads: options.computing.threads,
                seed: 0,
            };
            if options.aligned {
                return Ok(Eye::Crops(Box::new(LiveReader::new(pack, &person.identity, &live, progress)?)));
            }
            #[cfg(feature = "encode")]
            return Ok(Eye::Camera(Box::new(crate::encode::LiveEncoder::new(pack, &person.identity, &live, progress)?)));
            #[cfg(not(feature = "encode"))]
            Err(Error::Unsupported("this build has no alignment (feature encode): give aligned crops".into()))
        }

        /// Reads a frame whose handling takes so long after that.
        fn read(&mut self, timed: TimedFrame, after: Duration) -> Result<LiveFrame> {
            match self {
                Eye::Crops(reader) => {
                    reader.reserve(after);
                    let crop = AlignedFrame::whole(timed.pts, timed.frame, false);
                    let params = reader.read(&crop)?;
                    let record = crate::bitstream::FrameRecord { pts: crop.pts, params, placement: Some(crop.placement) };
                    Ok(LiveFrame { record, confidence: 1.0, seen: reader.seen(), crop: crop.frame })
                }
                #[cfg(feature = "encode")]
                Eye::Camera(encoder) => {
                    encoder.reserve(after);
                    encoder.push(&timed)
                }
            }
        }
    }

    /// Bytes a frame of the residual; none without steps, since the person is then not told from others.
    fn residual_bytes(options: &SendOptions) -> Result<Option<f64>> {
        // Of the frames of a packet, and what may have been saved before.
        let most = MOST_RESIDUAL.min(HALF_PACKET / (32.0 + options.frames_per_packet as f32));
        match options.residual {
            bytes if !(0.0..=most).contains(&bytes) => {
                Err(Error::Misuse(format!("residual of {bytes} bytes a frame: 0 to {most:.0} allowed")))
            }
            bytes => Ok(Some(f64::from(bytes)).filter(|bytes| *bytes > 0.0 && options.steps > 0)),
        }
    }

    fn header(pack: &Pack, options: &SendOptions, camera: (u32, u32)) -> StreamHeader {
        let metadata = [("encoder", format!("effigy {}", env!("CARGO_PKG_VERSION"))), ("preset", "live".into())];
        StreamHeader {
            pack: pack.hash(),
            resolution: pack.config().generator.resolution as u32,
            time_base: TimeBase { num: options.time_base.0, den: options.time_base.1 },
            frame_ticks: options.frame_ticks,
            start_pts: options.start_pts,
            camera_width: camera.0,
            camera_height: camera.1,
            placement: true,
            synthetic: true,
            metadata: metadata.into_iter().map(|(key, value)| (key.to_string(), value)).collect(),
            ..StreamHeader::default()
        }
    }

    /// Keeps what is written to it, write by write: the writer of streams writes a record at a time.
    #[derive(Clone, Default)]
    struct Outbox(Arc<Mutex<Vec<Vec<u8>>>>);

    impl Outbox {
        fn take(&self) -> Vec<Vec<u8>> {
            std::mem::take(&mut *self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
        }
    }

    impl Write for Outbox {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[cfg(test)]
    mod tests {
        #[test]
        fn a_sender_may_move_between_threads() {
            fn movable<T: Send>() {}
            movable::<super::Sender>();
        }
    }
}

#[cfg(not(feature = "analysis"))]
mod absent {
    use super::*;
    use crate::progress::Progress;
    use crate::Error;

    /// There is none in this build.
    pub enum Sender {}

    // Reason for the allowance: the same functions as in builds that have an encoder, of a value that cannot exist.
    #[allow(missing_docs, clippy::missing_errors_doc)]
    impl Sender {
        pub fn new(_: &Pack, _: &Person, _: &SendOptions, _: &dyn Progress) -> Result<Sender> {
            Err(Error::Unsupported("this build has no encoder (feature encode)".into()))
        }

        pub fn header(&self) -> &[u8] {
            match *self {}
        }

        pub fn check_size(&self, _: (u32, u32)) -> Result<()> {
            match *self {}
        }

        pub fn send(&mut self, _: TimedFrame) -> Result<f32> {
            match *self {}
        }

        pub fn packet(&self) -> Option<&(i64, Vec<u8>)> {
            match *self {}
        }

        pub fn taken(&mut self) {
            match *self {}
        }

        pub fn request_intra(&mut self) {
            match *self {}
        }

        pub fn flush(&mut self) -> Result<()> {
            match *self {}
        }
    }
}
