//! Decoding for a C caller who has packets. Input: the bytes of a stream's front, then datagrams of a packet each, with what belongs to it, or the news that one
//! is lost. Output: RGB pictures, each with its time stamp, where it comes from and where it belongs in the camera picture.
//!
//! Two ways to keep time. *By packets*: each packet, or lost packet, makes its frames due, and [`Player::next`] hands them out. *By a
//! clock*: [`Player::play`] gives the frame that is due now, whatever has come.

use super::picture::copy;
use crate::bitstream::{
    identity_hash, Event, FrameRecord, Identity, Origin, Parser, Receiver, ReceiverInfo, ShownFrame, StreamHeader, MAX_AHEAD,
    MAX_RECORD_BYTES,
};
use crate::decode::{retarget, DecodeOptions, Decoder};
use crate::frame::Frame;
use crate::limits::MAX_IDENTITY_BYTES;
use crate::pack::Pack;
use crate::params::FrameParams;
use crate::residual::Residual;
use crate::{Error, Result};

/// A person as C callers hold them: the identity and the hash that streams name it by.
pub struct Person {
    /// The identity.
    pub identity: Identity,
    /// Its file, as it was read or would be written.
    pub bytes: Vec<u8>,
    hash: [u8; 32],
}

impl Person {
    /// From the bytes of an identity file.
    ///
    /// # Errors
    /// Malformed, unsupported or over a limit; device without memory.
    pub fn from_bytes(bytes: &[u8]) -> Result<Person> {
        if bytes.len() > MAX_IDENTITY_BYTES {
            return Err(Error::Limit(format!("identity of {} bytes, at most {MAX_IDENTITY_BYTES} are read", bytes.len())));
        }
        Ok(Person { identity: Identity::from_bytes(bytes)?, bytes: copy(bytes)?, hash: identity_hash(bytes) })
    }
}

/// What a call for a frame gives.
pub enum Next {
    /// A frame, and its picture unless none was wanted.
    Frame(Box<ShownFrame>, Option<Frame>),
    /// None yet.
    Again,
    /// None any more.
    End,
}

/// A decoder fed with packets.
pub struct Player {
    decoder: Decoder,
    pack: [u8; 32],
    ranges: Vec<[f32; 2]>,
    /// Hash and calm face of the identity the stream was made with.
    own: ([u8; 32], FrameParams),
    /// Calm face of another person who is shown in its place.
    puppet: Option<FrameParams>,
    /// Side of the pictures.
    side: u32,
    link: Option<Link>,
}

/// A stream that has begun.
struct Link {
    header: StreamHeader,
    receiver: Receiver,
    residual: Residual,
    /// Frames before this number are due.
    owed: u64,
    closed: bool,
}

impl Player {
    /// A decoder for streams of `person`. `detail`: pictures are twice as large, with the detail of whoever is shown if there is one, unless the pack's are too large.
    ///
    /// # Errors
    /// As [`Decoder::new`].
    pub fn new(pack: &Pack, person: &Person, options: &DecodeOptions, detail: bool) -> Result<Player> {
        let decoder = Decoder::new(pack, &person.identity, options)?;
        Ok(Player {
            side: shown_side(&decoder, detail),
            decoder,
            pack: pack.hash(),
            ranges: pack.config().ranges.clone(),
            own: (person.hash, person.identity.rest),
            puppet: None,
            link: None,
        })
    }

    /// Begins the stream with this front: header and identity reference, whole.
    ///
    /// # Errors
    /// Malformed, unsupported or over a limit in the front; misuse for a stream of another pack or person.
    pub fn open(&mut self, front: &[u8]) -> Result<()> {
        let mut parser = Parser::new();
        parser.push(front);
        let incomplete = || Error::Malformed(format!("stream header: {} bytes are not the whole of it", front.len()));
        let Some(Event::Header(header)) = parser.poll()? else { return Err(incomplete()) };
        let Some(Event::Identity(identity)) = parser.poll()? else { return Err(incomplete()) };
        if header.pack != self.pack {
            return Err(Error::Misuse("the stream was made with another pack than this decoder has".into()));
        }
        if identity.hash != self.own.0 {
            return Err(Error::Misuse("the stream was made for another identity than this decoder was given".into()));
        }
        if header.resolution != self.decoder.resolution() {
            let (stream, own) = (header.resolution, self.decoder.resolution());
            return Err(Error::Malformed(format!("stream: resolution {stream}, but its identity has {own}")));
        }
        self.begin(*header);
        Ok(())
    }

    fn begin(&mut self, header: StreamHeader) {
        let receiver = Receiver::new(header.clone(), &self.own.1);
        self.link = Some(Link { header, receiver, residual: Residual::new(), owed: 0, closed: false });
    }

    fn link(&mut self) -> Result<&mut Link> {
        self.link.as_mut().ok_or_else(|| Error::Misuse("the decoder has no stream yet: open it with the stream's header".into()))
    }

    /// Takes a packet.
    ///
    /// # Errors
    /// As [`Receiver::push`]; the decoder goes on as before. Misuse before [`Player::open`]; limit while too many frames are due.
    pub fn send(&mut self, datagram: &[u8]) -> Result<()> {
        let link = self.link()?;
        if datagram.len() > MAX_RECORD_BYTES {
            return Err(Error::Limit(format!("packet of {} bytes, at most {MAX_RECORD_BYTES} allowed", datagram.len())));
        }
        link.room()?;
        link.receiver.push(datagram)?;
        link.receiver.take_residuals().into_iter().for_each(|record| link.residual.push(record));
        link.closed = false;
        link.owed = link.owed.max(link.receiver.known_until().unwrap_or(0));
        Ok(())
    }

    /// A packet is lost and nothing will be waited for: so many frames as the last one had are made up.
    ///
    /// # Errors
    /// Misuse before [`Player::open`]; limit while too many frames are due.
    pub fn conceal(&mut self) -> Result<()> {
        let link = self.link()?;
        link.room()?;
        if let Some(next) = link.receiver.next_frame() {
            link.owed = link.owed.max(next) + link.receiver.packet_frames();
        }
        Ok(())
    }

    /// No packet will follow for now: once the frames that are due are out, [`Player::next`] says so.
    ///
    /// # Errors
    /// Misuse before [`Player::open`].
    pub fn flush(&mut self) -> Result<()> {
        self.link()?.closed = true;
        Ok(())
    }

    /// Forgets all packets and starts the same stream anew, at whatever packet comes next.
    ///
    /// # Errors
    /// Misuse before [`Player::open`].
    pub fn reset(&mut self) -> Result<()> {
        let header = self.link()?.header.clone();
        self.begin(header);
        Ok(())
    }

    /// The next frame that packets have made due.
    ///
    /// # Errors
    /// Misuse before [`Player::open`]; device: the frame is gone, the next call goes on behind it.
    pub fn next(&mut self, picture: bool) -> Result<Next> {
        let link = self.link()?;
        match link.receiver.next_frame() {
            Some(next) if next < link.owed => self.play(picture),
            _ if link.closed => Ok(Next::End),
            _ => Ok(Next::Again),
        }
    }

    /// The frame that is due now by the caller's clock; none before the first packet.
    ///
    /// # Errors
    /// As [`Player::next`].
    pub fn play(&mut self, picture: bool) -> Result<Next> {
        let link = self.link()?;
        let number = link.receiver.next_frame().unwrap_or(0);
        let Some(shown) = link.receiver.play() else { return Ok(Next::Again) };
        let frame = picture.then(|| self.render(&shown.frame, number)).transpose()?;
        Ok(Next::Frame(Box::new(shown), frame))
    }

    fn render(&mut self, record: &FrameRecord, number: u64) -> Result<Frame> {
        let params = match &self.puppet {
            Some(rest) => retarget(&record.params, &self.own.1, rest, &self.ranges),
            None => record.params,
        };
        let mut frame = self.decoder.render(&params)?;
        // The residual is the stream's own person's.
        let motion = match (&mut self.link, &self.puppet) {
            (Some(link), None) => link.residual.apply(number, &mut frame),
            _ => None,
        };
        if self.side == frame.width {
            return Ok(frame);
        }
        let large = self.decoder.detailed(&[frame], &[params], &[motion])?.pop();
        large.ok_or_else(|| Error::Device("libtorch: an empty picture".into()))
    }

    /// Shows another person from here on, moved by the stream's; or the stream's own again. On failure nothing changes.
    ///
    /// # Errors
    /// As [`Decoder::new`]; misuse for another pack.
    pub fn swap(&mut self, pack: &Pack, person: &Person) -> Result<()> {
        if pack.hash() != self.pack {
            return Err(Error::Misuse("this decoder was made with another pack".into()));
        }
        self.decoder.swap_identity(pack, &person.identity)?;
        self.puppet = (person.hash != self.own.0).then_some(person.identity.rest);
        Ok(())
    }

    /// Side of the pictures, pixels.
    pub fn side(&self) -> u32 {
        self.side
    }

    /// The header of the stream.
    ///
    /// # Errors
    /// Misuse before [`Player::open`].
    pub fn header(&self) -> Result<&StreamHeader> {
        self.link
            .as_ref()
            .map(|link| &link.header)
            .ok_or_else(|| Error::Misuse("the decoder has no stream yet: open it with the stream's header".into()))
    }

    /// Counts since the stream began or was reset, and frames that are due.
    pub fn counts(&self) -> (ReceiverInfo, u64) {
        let counts = |link: &Link| (link.receiver.info(), link.waiting());
        self.link.as_ref().map(counts).unwrap_or_default()
    }

    /// Whether the picture stays made up, or a residual is missing, until the sender sends an intra packet.
    pub fn needs_intra(&self) -> bool {
        let shown = self.puppet.is_none();
        self.link.as_ref().is_some_and(|link| link.receiver.needs_intra() || (shown && link.residual.needs_intra()))
    }
}

impl Link {
    fn waiting(&self) -> u64 {
        self.receiver.next_frame().map_or(0, |next| self.owed.saturating_sub(next))
    }

    /// Frames that nobody fetches must not pile up.
    fn room(&self) -> Result<()> {
        match self.waiting() {
            0..MAX_AHEAD => Ok(()),
            frames => Err(Error::Limit(format!("{frames} frames are due: receive them before the next packet"))),
        }
    }
}

/// Side of the pictures that a caller gets.
pub(super) fn shown_side(decoder: &Decoder, detail: bool) -> u32 {
    decoder.detailed_side().filter(|_| detail).unwrap_or(decoder.resolution())
}

/// Where a frame comes from, in numbers.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameOrigin {
    /// From its own packet.
    Received = 0,
    /// Its packet is lost; a later one repeats it coarsely.
    Repeated = 1,
    /// Made up.
    Concealed = 2,
}

impl From<Origin> for FrameOrigin {
    fn from(origin: Origin) -> Self {
        match origin {
            Origin::Received => FrameOrigin::Received,
            Origin::Repeated => FrameOrigin::Repeated,
            Origin::Concealed => FrameOrigin::Concealed,
        }
    }
}

/// Where and how to compute, from the numbers of a C caller: device 0 any, 1 the processor, 2 and up CUDA 0 and up; precision 0 the
/// fastest, 1 single, 2 bfloat16, 3 half; threads 0: as they are.
///
/// # Errors
/// Misuse for other numbers.
pub fn computing(device: i32, precision: i32, threads: u32) -> Result<DecodeOptions> {
    use crate::decode::{DeviceChoice, Precision};
    let device = match device {
        0 => DeviceChoice::Auto,
        1 => DeviceChoice::Cpu,
        n @ 2.. => DeviceChoice::Cuda(n as usize - 2),
        n => return Err(Error::Misuse(format!("device {n}: 0 or more allowed"))),
    };
    let precision = match precision {
        0 => Precision::Auto,
        1 => Precision::Single,
        2 => Precision::BFloat16,
        3 => Precision::Half,
        n => return Err(Error::Misuse(format!("precision {n}: 0 to 3 are known"))),
    };
    if threads > 1024 {
        return Err(Error::Misuse(format!("{threads} threads: at most 1024 allowed")));
    }
    let threads = (threads > 0).then_some(threads as usize);
    Ok(DecodeOptions { device, precision, threads, ..DecodeOptions::default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bitstream::{ResidualRecord, StreamIdentity, StreamWriter};
    use crate::pack::fixture;
    use crate::residual::{ResidualMaker, ResidualOptions};

    #[test]
    fn a_player_may_move_between_threads() {
        fn movable<T: Send>() {}
        movable::<super::Player>();
    }

    /// Each write by itself: front, identity reference, then a record each.
    #[derive(Default)]
    struct Pieces(Vec<Vec<u8>>);

    impl std::io::Write for Pieces {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.push(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn pictures_with_a_detail_are_as_large_for_those_who_have_none() {
        let pack = fixture::tiny(1).unwrap();
        let mut with = fixture::identity(&pack, 1).unwrap();
        let stripes: Vec<i32> = (0..64 * 64 * 3).map(|i| [0, 9][usize::from(i > 32 * 64 * 3 && i % 5 == 0)]).collect();
        with.tuned.push(crate::bitstream::TunedTensor {
            name: "detail".into(),
            shape: vec![64, 64, 3],
            steps: vec![0],
            values: stripes,
        });
        let person = |identity: &Identity| Person::from_bytes(&identity.to_bytes().unwrap()).unwrap();
        let (own, other) = (person(&with), person(&fixture::identity(&pack, 2).unwrap()));
        let options = DecodeOptions { precision: crate::decode::Precision::Single, ..DecodeOptions::default() };
        let header = StreamHeader { pack: pack.hash(), resolution: 32, ..StreamHeader::default() };
        let mut writer = StreamWriter::new(Pieces::default(), header, &StreamIdentity::by_hash(own.hash)).unwrap();
        for pts in 0..3 {
            let params = FrameParams { yaw: 5.0, ..FrameParams::default() };
            writer.write_frame(&FrameRecord { pts, params, placement: None }).unwrap();
        }
        let pieces = writer.finish().unwrap().0 .0;
        let shown = |detail: bool| {
            let mut player = Player::new(&pack, &own, &options, detail).unwrap();
            player.open(&pieces[..2].concat()).unwrap();
            let mut out = Vec::new();
            for (number, piece) in pieces[2..5].iter().enumerate() {
                player.send(piece).unwrap();
                if number == 1 {
                    player.swap(&pack, &other).unwrap();
                } else if number == 2 {
                    player.swap(&pack, &own).unwrap();
                }
                let Next::Frame(_, Some(frame)) = player.next(true).unwrap() else { panic!("a frame is due") };
                assert_eq!(frame.width, player.side());
                out.push(frame);
            }
            out
        };
        let (plain, large) = (shown(false), shown(true));
        let mut decoder = Decoder::new(&pack, &own.identity, &options).unwrap();
        let params = FrameParams { yaw: 5.0, ..FrameParams::default() };
        assert_eq!(large[..1], decoder.detailed(&plain[..1], &[params], &[]).unwrap());
        assert_eq!((&large[0], large[1].width), (&large[2], 64));
        let mut without = Decoder::new(&pack, &other.identity, &options).unwrap();
        assert_eq!(large[1..2], without.detailed(&plain[1..2], &[params], &[]).unwrap());
        assert_ne!(large[..1], without.detailed(&plain[..1], &[params], &[]).unwrap());
    }

    #[test]
    fn residuals_are_shown_whenever_they_come_and_not_on_a_puppet() {
        let pack = fixture::tiny(1).unwrap();
        let person = |seed: u64| Person::from_bytes(&fixture::identity(&pack, seed).unwrap().to_bytes().unwrap()).unwrap();
        let (own, other) = (person(1), person(2));
        let options = DecodeOptions { precision: crate::decode::Precision::Single, ..DecodeOptions::default() };
        let mut decoder = Decoder::new(&pack, &own.identity, &options).unwrap();
        let plain = decoder.render(&FrameParams::default()).unwrap();
        let mut crop = plain.clone();
        crop.data.chunks_exact_mut(3).take(300).for_each(|rgb| rgb[0] ^= 0x40);
        let mut maker = ResidualMaker::new(plain.width, ResidualOptions::of(400.0)).unwrap();
        (0..3).for_each(|_| assert!(maker.push(&crop, &plain).unwrap().is_none()));
        let record = maker.finish().unwrap().0.remove(0);
        let written = |residuals: &[ResidualRecord]| {
            let header = StreamHeader { pack: pack.hash(), resolution: plain.width, ..StreamHeader::default() };
            let mut writer = StreamWriter::new(Pieces::default(), header, &StreamIdentity::by_hash(own.hash)).unwrap();
            residuals.iter().for_each(|record| writer.write_residual(record).unwrap());
            for pts in 0..3 {
                writer.write_frame(&FrameRecord { pts, params: FrameParams::default(), placement: None }).unwrap();
            }
            writer.finish().unwrap().0 .0
        };
        let pieces = written(std::slice::from_ref(&record));
        let (front, records) = (pieces[..2].concat(), &pieces[2..6]);
        // What needs a record that is lost is asked for anew, until a whole one comes.
        let orphan = ResidualRecord { number: 1, intra: false, ..record.clone() };
        let whole = ResidualRecord { number: 2, frame: 2, ..record.clone() };
        let mut player = Player::new(&pack, &own, &options, false).unwrap();
        player.open(&front).unwrap();
        let mut asked = Vec::new();
        for piece in &written(&[orphan, whole])[2..7] {
            player.send(piece).unwrap();
            while let Next::Frame(..) = player.next(true).unwrap() {}
            asked.push(player.needs_intra());
        }
        assert_eq!(asked, [false, true, true, false, false]);
        let off = |frame: &Frame| frame.data.iter().zip(&crop.data).map(|(a, b)| u64::from(a.abs_diff(*b)).pow(2)).sum::<u64>();
        // In time, and behind the first frame.
        for order in [[0, 1, 2, 3], [1, 0, 2, 3]] {
            let mut player = Player::new(&pack, &own, &options, false).unwrap();
            player.open(&front).unwrap();
            let mut shown = Vec::new();
            for at in order {
                player.send(&records[at]).unwrap();
                while let Next::Frame(_, Some(frame)) = player.next(true).unwrap() {
                    shown.push(off(&frame));
                }
            }
            let (worst, late) = (off(&plain) / 4, order[0] != 0);
            assert_eq!(shown.iter().map(|off| *off < worst).collect::<Vec<_>>(), [!late, true, true], "{shown:?} {worst}");
            // A datagram of both, whole and cut.
            player.reset().unwrap();
            let both = records[..2].concat();
            assert!(matches!(player.send(&both[..both.len() - 1]), Err(Error::Malformed(_))));
            assert!(matches!(player.next(true).unwrap(), Next::Again));
            player.send(&both).unwrap();
            let Next::Frame(_, Some(frame)) = player.next(true).unwrap() else { panic!("a frame is due") };
            assert!(off(&frame) < worst && !player.needs_intra());
            player.reset().unwrap();
            player.swap(&pack, &other).unwrap();
            let mut puppet = Decoder::new(&pack, &other.identity, &options).unwrap();
            let rest = retarget(&FrameParams::default(), &own.identity.rest, &other.identity.rest, &pack.config().ranges);
            records[..2].iter().for_each(|record| player.send(record).unwrap());
            let Next::Frame(_, Some(frame)) = player.next(true).unwrap() else { panic!("a frame is due") };
            assert_eq!(frame, puppet.render(&rest).unwrap());
        }
    }
}
