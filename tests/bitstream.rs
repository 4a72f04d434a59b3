//! Round trips of streams and identities through the public interface.
//! Random cases come from splitmix64 with the seed shown in each test.

use std::collections::BTreeMap;
use std::io::Cursor;

use effigy::bitstream::quant::{code_from_step, f16_to_f32, f32_to_f16};
use effigy::bitstream::*;
use effigy::frame::TimeBase;
use effigy::params::{FrameParams, Placement, WPlus, PARAMS};
use effigy::Error;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// Uniform in [-1, 1).
    fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    fn text(&mut self, most: u64) -> String {
        (0..self.below(most)).map(|_| ['a', 'Z', '0', ' ', 'é', '漢', '😀'][self.below(7) as usize]).collect()
    }

    fn header(&mut self) -> StreamHeader {
        StreamHeader {
            pack: std::array::from_fn(|_| self.next() as u8),
            resolution: 1 + self.below(1024) as u32,
            time_base: TimeBase { num: 1 + self.below(2000) as u32, den: 1 + self.below(90_000) as u32 },
            start_pts: self.next() as i64 >> (4 + self.below(60)),
            frame_ticks: self.below(5000) as u32,
            camera_width: 1 + self.below(16_384) as u32,
            camera_height: 1 + self.below(16_384) as u32,
            coding: Coding::Raw16,
            placement: self.below(2) == 1,
            synthetic: self.below(2) == 1,
            quantiser: Vec::new(),
            starts: Vec::new(),
            metadata: (0..self.below(5)).map(|_| (self.text(12), self.text(40))).collect(),
        }
    }

    /// `count` frames with rising, irregular time stamps, already rounded to what the wire holds.
    fn frames(&mut self, header: &StreamHeader, count: u64) -> Vec<FrameRecord> {
        // Time for every frame is left between the start and the largest time stamp.
        let mut pts = header.start_pts.min(MAX_PTS - 1_000_000) + self.below(100) as i64;
        (0..count)
            .map(|_| {
                pts += 1 + self.below(2 * u64::from(header.frame_ticks) + 1) as i64;
                let mut place = || self.below(1 << 20) as f32 / 64.0;
                let placement = Placement { x: place(), y: -place(), side: place() + 1.0 };
                let scale = 10f32.powi(self.below(9) as i32 - 4);
                let values: [f32; PARAMS] = std::array::from_fn(|_| self.unit() * scale);
                let params = raw16_round(&FrameParams::from_array(&values)).unwrap();
                FrameRecord { pts, params, placement: header.placement.then_some(placement) }
            })
            .collect()
    }

    /// Parameters as f16 holds them.
    fn anchor(&mut self) -> FrameParams {
        FrameParams::from_array(&std::array::from_fn(|_| f16_to_f32(f32_to_f16(self.unit() * 30.0))))
    }

    fn identity(&mut self, rows: usize, dim: usize) -> Identity {
        let shapes: [&[usize]; 5] = [&[6, 4, 3, 3], &[5], &[1, 7], &[3, 1, 2], &[2, 2, 2, 2, 2]];
        let rules = [StepRule::Fixed(0.01), StepRule::Tensor(0.5), StepRule::Channel(0.3)];
        let tuned = (0..self.below(6))
            .map(|i| {
                let shape = shapes[self.below(5) as usize];
                let values: Vec<f32> = (0..shape.iter().product()).map(|_| self.unit().powi(5) * 4.0).collect();
                TunedTensor::quantise(&format!("layer.{i}"), shape, &values, rules[self.below(3) as usize]).unwrap()
            })
            .collect();
        let scale = 2f32.powi(self.below(40) as i32 - 20);
        Identity {
            pack: std::array::from_fn(|_| self.next() as u8),
            name: self.text(60),
            resolution: 1 << self.below(11),
            latent: WPlus { rows, dim, data: (0..rows * dim).map(|_| self.unit() * scale).collect() },
            tuned,
            sensitivity: std::array::from_fn(|_| self.unit().abs()),
            rest: FrameParams::from_array(&std::array::from_fn(|_| self.unit() * 5.0)),
            anchors: (0..self.below(4)).map(|_| self.anchor()).collect(),
            thumbnail: (self.below(2) == 1).then(|| (0..1 + self.below(50)).map(|_| self.next() as u8).collect()),
            metadata: (0..self.below(4)).map(|_| (self.text(8), self.text(30))).collect(),
        }
    }
}

fn write(header: &StreamHeader, identity: &StreamIdentity, packets: &[&[FrameRecord]]) -> (Vec<u8>, StreamInfo) {
    let mut writer = StreamWriter::new(Vec::new(), header.clone(), identity).unwrap();
    packets.iter().for_each(|p| writer.write_packet(p).unwrap());
    writer.finish().unwrap()
}

/// All events of a stream that is pushed in pieces of the sizes `cut` gives.
fn events(bytes: &[u8], mut cut: impl FnMut() -> usize) -> (Vec<Event>, StreamInfo) {
    let (mut parser, mut events, mut rest) = (Parser::new(), Vec::new(), bytes);
    loop {
        while let Some(event) = parser.poll().unwrap() {
            events.push(event);
        }
        if rest.is_empty() {
            break;
        }
        let (piece, tail) = rest.split_at(cut().clamp(1, rest.len()));
        parser.push(piece);
        rest = tail;
    }
    parser.close();
    while let Some(event) = parser.poll().unwrap() {
        events.push(event);
    }
    (events, parser.info())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The bytes of an example in the format text, as hex digits. Its lines are: offset, colon, bytes, and a remark behind two
/// blanks; `00*32` stands for 32 times 00.
fn example(name: &str) -> String {
    let text = include_str!("../docs/bitstream.md");
    let block = text.split(&format!("<!-- example: {name} -->")).nth(1).and_then(|t| t.split("```").nth(1));
    let lines = block.expect("the text has the example").lines().filter_map(|line| line.split_once(": "));
    let words = lines.flat_map(|(_, line)| line.split("  ").next().unwrap_or_default().split_whitespace());
    words
        .map(|word| match word.split_once('*') {
            Some((byte, times)) => byte.repeat(times.parse().expect("a count")),
            None => word.to_string(),
        })
        .collect()
}

#[test]
fn random_streams_come_back_with_every_number_and_time_stamp() {
    let mut random = Random(1);
    for case in 0..400 {
        let header = random.header();
        let inline = (0..1 + random.below(300)).map(|_| random.next() as u8).collect();
        let identity = if case % 2 == 0 { StreamIdentity::inline(inline) } else { StreamIdentity::by_hash([case as u8; 32]) };
        let count = random.below(40);
        let frames = random.frames(&header, count);
        let size = 1 + random.below(8) as usize;
        let (bytes, info) = write(&header, &identity, &frames.chunks(size).collect::<Vec<_>>());
        let mut reader = StreamReader::open(&bytes[..]).unwrap();
        assert_eq!((reader.header(), reader.identity()), (&header, &identity), "case {case}");
        let mut back = Vec::new();
        while let Some(packet) = reader.next_packet().unwrap() {
            assert_eq!((u64::from(packet.sequence), packet.lost_before), (back.len() as u64, 0));
            back.extend(packet.frames);
        }
        assert_eq!(back, frames, "case {case}");
        assert_eq!(reader.ending(), Some(Ending::Complete));
        assert_eq!(reader.info(), info);
        assert_eq!(info.total_bytes(), bytes.len() as u64);
        assert_eq!(info.payload_bytes, 70 * count);
        assert_eq!(info.identity_bytes, identity.bytes.as_ref().map_or(0, |b| b.len() as u64));
    }
}

#[test]
fn the_worked_example_of_the_format_text_is_byte_for_byte_stable() {
    let metadata = BTreeMap::from([("tuning".to_string(), "none".to_string())]);
    let time_base = TimeBase { num: 1001, den: 30_000 };
    let header = StreamHeader {
        pack: [0xaa; 32],
        time_base,
        camera_width: 640,
        camera_height: 480,
        placement: true,
        metadata,
        ..StreamHeader::default()
    };
    let mut params = FrameParams { yaw: 12.5, pitch: -3.0, roll: 0.25, ..FrameParams::default() };
    params.alpha[31] = 1.0;
    let place = |x| Some(Placement { x, y: 240.0, side: 200.5 });
    let mut writer = StreamWriter::new(Vec::new(), header, &StreamIdentity::by_hash([0xbb; 32])).unwrap();
    writer.write_frame(&FrameRecord { pts: 0, params, placement: place(320.0) }).unwrap();
    let two = [FrameRecord { pts: 1, params, placement: place(320.5) }, FrameRecord { pts: 3, params, placement: place(320.0) }];
    writer.write_packet(&two).unwrap();
    let (bytes, info) = writer.finish().unwrap();
    assert_eq!(hex(&bytes), example("stream"));
    assert_eq!((info.frames, info.packets, info.payload_bytes), (3, 2, 210));
}

/// A header of the coded mode with any valid steps and starts.
fn coded_header(random: &mut Random) -> StreamHeader {
    let mut header = StreamHeader { coding: Coding::Coded, ..random.header() };
    let tracks = if header.placement { MAX_TRACKS } else { PARAMS };
    // Levels up to 40 with these steps: a crop of 15 x 9 pixels or more.
    header.quantiser = (0..tracks).map(|i| if i < PARAMS { 2f32.powi(random.below(20) as i32 - 18) } else { 0.375 }).collect();
    let class = |random: &mut Random| random.below(u64::from(MAX_CLASS) + 1) as u8;
    header.starts = (0..tracks)
        .map(|_| TrackStart { rest: random.below(41) as i32 - 20, spread: class(random), motion: class(random) })
        .collect();
    header
}

/// `count` frames of exact levels with rising, irregular time stamps: still, noisy or walking tracks.
fn coded_frames(random: &mut Random, header: &StreamHeader, count: u64) -> Vec<FrameRecord> {
    let mut pts = header.start_pts.min(MAX_PTS - 1_000_000) + random.below(100) as i64;
    let regular = random.below(2) == 1;
    let pace: Vec<u64> = header.starts.iter().map(|_| [1, 1, 3, 9, 3000][random.below(5) as usize]).collect();
    let mut levels: Vec<i32> = header.starts.iter().map(|start| start.rest).collect();
    (0..count)
        .map(|_| {
            pts += if regular { i64::from(header.frame_ticks).max(1) } else { 1 + random.below(9000) as i64 };
            for (level, pace) in levels.iter_mut().zip(&pace) {
                *level = (*level + random.below(*pace) as i32 - *pace as i32 / 2).clamp(-100_000, 100_000);
            }
            let value = |i: usize| levels[i] as f32 * header.quantiser[i];
            let params = FrameParams::from_array(&std::array::from_fn(value));
            let side = |i: usize| levels[i].unsigned_abs().max(1) as f32 * 0.375;
            let placement =
                header.placement.then(|| Placement { x: value(PARAMS), y: value(PARAMS + 1), side: side(PARAMS + 2) });
            FrameRecord { pts, params, placement }
        })
        .collect()
}

#[test]
fn coded_streams_of_exact_levels_come_back_with_every_number_and_time_stamp() {
    let mut random = Random(21);
    for case in 0..300 {
        let header = coded_header(&mut random);
        let count = random.below(150);
        let frames = coded_frames(&mut random, &header, count);
        let options = PacketOptions {
            frames_per_packet: 1 + random.below(30) as usize,
            intra: 1 + random.below(100),
            redundancy: random.below(2) as usize * random.below(17) as usize,
            coarseness: random.below(9) as u8,
        };
        let identity = StreamIdentity::by_hash([case as u8; 32]);
        let mut writer = StreamWriter::with_options(Vec::new(), header.clone(), &identity, options).unwrap();
        frames.iter().for_each(|frame| writer.write_frame(frame).unwrap());
        let (bytes, info) = writer.finish().unwrap();
        let mut reader = StreamReader::open(&bytes[..]).unwrap();
        assert_eq!(reader.header(), &header);
        let mut back: Vec<FrameRecord> = Vec::new();
        while let Some(packet) = reader.next_packet().unwrap() {
            // Repetitions are those of the frames just before, off by half a coarse step, or by what the choice of levels adds to that.
            let before = &back[back.len() - packet.repeated.len()..];
            for (again, frame) in packet.repeated.iter().zip(before) {
                assert_eq!(again.pts, frame.pts);
                let off = |i: usize| (again.params.to_array()[i] - frame.params.to_array()[i]).abs() / header.quantiser[i];
                assert!((0..PARAMS).all(|i| off(i) <= 0.9 * f32::from(1u16 << options.coarseness)), "case {case}");
            }
            assert_eq!(packet.intra, packet.depends == 0);
            back.extend(packet.frames);
        }
        assert_eq!(back, frames, "case {case}");
        assert_eq!((reader.info(), reader.ending()), (info, Some(Ending::Complete)));
        assert_eq!(info.total_bytes(), bytes.len() as u64);
    }
}

#[test]
fn coded_numbers_are_off_by_less_than_a_step_at_every_quality() {
    let mut random = Random(22);
    let identity = random.identity(1, 4);
    let raw = StreamHeader { placement: true, ..StreamHeader::default() };
    let frames: Vec<FrameRecord> = (0..300)
        .map(|t| {
            let values = std::array::from_fn(|i| {
                (t as f32 * 0.1 + i as f32).sin() * if i < 3 { 20.0 } else { 0.5 } + 0.02 * random.unit()
            });
            let placement = Some(Placement { x: 300.0 + random.unit(), y: 200.0, side: 150.0 });
            FrameRecord { pts: t, params: FrameParams::from_array(&values), placement }
        })
        .collect();
    let mut costs = Vec::new();
    for quality in [0.0, 25.0, 50.0, 75.0, 100.0] {
        let mut header = raw.clone();
        set_quality(&mut header, quality, &identity, &frames).unwrap();
        let mut writer = StreamWriter::new(Vec::new(), header, &StreamIdentity::by_hash([0; 32])).unwrap();
        frames.iter().for_each(|frame| writer.write_frame(frame).unwrap());
        let header = writer.header().clone();
        let (bytes, info) = writer.finish().unwrap();
        let mut reader = StreamReader::open(&bytes[..]).unwrap();
        let mut at = 0;
        while let Some(packet) = reader.next_packet().unwrap() {
            for frame in packet.frames {
                let (a, b) = (frame.params.to_array(), frames[at].params.to_array());
                assert!((0..PARAMS).all(|i| (a[i] - b[i]).abs() < 0.91 * header.quantiser[i]), "frame {at}");
                let (a, b) = (frame.placement.unwrap(), frames[at].placement.unwrap());
                assert!(
                    (a.x - b.x).abs() < 0.91 * header.quantiser[PARAMS]
                        && (a.side - b.side).abs() < 0.91 * header.quantiser[PARAMS + 2]
                );
                at += 1;
            }
        }
        assert_eq!(at, 300);
        println!("quality {quality}: {:.2} bytes per frame", info.bytes_per_frame());
        costs.push(info.bytes_per_frame());
    }
    assert!(costs.windows(2).all(|pair| pair[0] < pair[1]), "{costs:?}");
}

#[test]
fn a_bit_rate_is_kept_and_nearly_used() {
    let mut random = Random(23);
    let identity = random.identity(1, 4);
    let header = StreamHeader::default();
    let frames: Vec<FrameRecord> = (0..250)
        .map(|t| {
            let values = std::array::from_fn(|_| 0.1 * random.unit());
            FrameRecord { pts: t, params: FrameParams::from_array(&values), placement: None }
        })
        .collect();
    // 10 seconds at 25 frames per second.
    for kilobits in [1.0, 2.0, 4.0] {
        let mut header = header.clone();
        let options = PacketOptions::of(Coding::Coded);
        let quality = fit_bitrate(&mut header, kilobits * 1000.0, &identity, &frames, options).unwrap();
        let mut writer = StreamWriter::with_options(Vec::new(), header, &StreamIdentity::by_hash([0; 32]), options).unwrap();
        frames.iter().for_each(|frame| writer.write_frame(frame).unwrap());
        let used = writer.finish().unwrap().1.parameter_bytes as f64 * 8.0 / 10_000.0;
        println!("{kilobits} kbit/s: quality {quality}, {used:.3} kbit/s");
        assert!(used <= kilobits && used > 0.9 * kilobits, "{kilobits}: {used} at quality {quality}");
    }
}

#[test]
fn the_coded_example_of_the_format_text_is_byte_for_byte_stable() {
    let step = f32::from_bits(0x3d3d_3d3d);
    let header = StreamHeader {
        pack: [0xaa; 32],
        coding: Coding::Coded,
        quantiser: vec![step; PARAMS],
        starts: vec![TrackStart { rest: 9, spread: 18, motion: 18 }; PARAMS],
        ..StreamHeader::default()
    };
    let frame = |pts: i64, yaw: i32, alpha: i32| {
        let mut params = FrameParams::from_array(&[9.0 * step; PARAMS]);
        (params.yaw, params.alpha[3]) = (yaw as f32 * step, alpha as f32 * step);
        FrameRecord { pts, params, placement: None }
    };
    let mut writer = StreamWriter::new(Vec::new(), header, &StreamIdentity::by_hash([0xbb; 32])).unwrap();
    let frames = [frame(0, 12, 9), frame(1, 13, 7), frame(3, 13, 40)];
    writer.write_packet(&frames[..2]).unwrap();
    writer.write_packet(&frames[2..]).unwrap();
    let (bytes, info) = writer.finish().unwrap();
    assert_eq!(hex(&bytes), example("coded"));
    assert_eq!((info.frames, info.packets), (3, 2));
    let mut reader = StreamReader::open(&bytes[..]).unwrap();
    let mut back = Vec::new();
    while let Some(packet) = reader.next_packet().unwrap() {
        back.extend(packet.frames);
    }
    assert_eq!(back, frames);
}

#[test]
fn the_coded_writer_refuses_what_levels_cannot_hold_and_stays_usable() {
    let mut header = StreamHeader::default();
    set_quality(&mut header, 75.0, &Random(24).identity(1, 1), &[]).unwrap();
    let mut writer = StreamWriter::new(Vec::new(), header.clone(), &StreamIdentity::by_hash([0; 32])).unwrap();
    let good = FrameRecord { pts: 5, params: FrameParams::default(), placement: None };
    for yaw in [f32::NAN, f32::INFINITY, 1e30] {
        let bad = FrameRecord { params: FrameParams { yaw, ..good.params }, ..good };
        assert!(matches!(writer.write_frame(&bad), Err(Error::Misuse(_))), "{yaw}");
    }
    let placed = FrameRecord { placement: Some(Placement { x: 1.0, y: 1.0, side: 1.0 }), ..good };
    assert!(matches!(writer.write_frame(&placed), Err(Error::Misuse(_))));
    writer.write_frame(&good).unwrap();
    assert!(matches!(writer.write_frame(&good), Err(Error::Misuse(_))), "time must rise");
    assert_eq!(writer.finish().unwrap().1.frames, 1);
    let count = header.quantiser.len();
    for bad in [
        StreamHeader { quantiser: vec![1.0; count - 1], ..header.clone() },
        StreamHeader { quantiser: vec![0.0; count], ..header.clone() },
        StreamHeader { quantiser: vec![f32::NAN; count], ..header.clone() },
        StreamHeader { quantiser: vec![1e9; count], ..header.clone() },
        StreamHeader { starts: vec![TrackStart { rest: i32::MAX, spread: 0, motion: 0 }; count], ..header.clone() },
        StreamHeader { starts: vec![TrackStart { rest: 0, spread: 48, motion: 0 }; count], ..header.clone() },
    ] {
        assert!(StreamWriter::new(Vec::new(), bad, &StreamIdentity::by_hash([0; 32])).is_err());
    }
    for (frames_per_packet, intra, redundancy) in [(0, 1, 0), (65, 1, 0), (1, 0, 0), (1, 1, 17)] {
        let options = PacketOptions { frames_per_packet, intra, redundancy, coarseness: 2 };
        assert!(StreamWriter::with_options(Vec::new(), header.clone(), &StreamIdentity::by_hash([0; 32]), options).is_err());
    }
    assert!(set_quality(&mut header, 101.0, &Random(24).identity(1, 1), &[]).is_err());
}

#[test]
fn the_identity_of_the_format_text_is_byte_for_byte_stable() {
    let tuned = TunedTensor { name: "b".into(), shape: vec![2, 2], steps: vec![-40, -32], values: vec![0, 1, -2, 5] };
    let mut anchor = FrameParams { yaw: 12.5, pitch: -3.0, ..FrameParams::default() };
    anchor.alpha[31] = 1.0;
    let identity = Identity {
        pack: [0xaa; 32],
        name: "Ada".into(),
        resolution: 256,
        latent: WPlus { rows: 1, dim: 3, data: vec![1.0, -0.5, 0.0] },
        tuned: vec![tuned],
        sensitivity: [0.0; 32],
        rest: FrameParams::default(),
        anchors: vec![anchor],
        thumbnail: None,
        metadata: BTreeMap::from([("k".to_string(), "v".to_string())]),
    };
    assert_eq!(hex(&identity.to_bytes().unwrap()), example("identity"));
}

#[test]
fn a_raw16_frame_costs_80_to_82_bytes_and_less_when_packets_are_shared() {
    let header = StreamHeader::default();
    let frames: Vec<FrameRecord> =
        (0..1000).map(|pts| FrameRecord { pts, params: FrameParams::default(), placement: None }).collect();
    let identity = StreamIdentity::by_hash([0; 32]);
    // Marker, length (1, or 2 from 128), its check, sequence (1, or 2 from 128), flags, time stamp, 70, CRC 4: 80 or 81; index and end add 0.05.
    let (_, single) = write(&header, &identity, &frames.chunks(1).collect::<Vec<_>>());
    assert!((80.5..81.1).contains(&single.bytes_per_frame()), "{}", single.bytes_per_frame());
    let (_, grouped) = write(&header, &identity, &frames.chunks(25).collect::<Vec<_>>());
    assert!(grouped.bytes_per_frame() < 71.6, "{}", grouped.bytes_per_frame());
}

#[test]
fn chunks_of_any_size_give_the_same_events() {
    let mut random = Random(2);
    for case in 0..60 {
        let header = random.header();
        let frames = random.frames(&header, 30);
        let identity = StreamIdentity::inline(vec![case; 500]);
        let (mut bytes, _) = write(&header, &identity, &frames.chunks(1 + case as usize % 4).collect::<Vec<_>>());
        // Half of the cases are damaged or cut behind the identity: those must not depend on chunks either.
        let front = bytes.len() - 1500;
        if case % 2 == 1 {
            for _ in 0..4 {
                let at = front + random.below(1500) as usize;
                bytes[at] ^= 1 << random.below(8);
            }
            bytes.truncate(front + random.below(1500) as usize);
        }
        let whole = events(&bytes, || usize::MAX);
        assert_eq!(events(&bytes, || 1), whole, "case {case}: byte by byte");
        for _ in 0..4 {
            let most = 1 + random.below(400);
            assert_eq!(events(&bytes, || 1 + random.below(most) as usize), whole, "case {case}: up to {most}");
        }
    }
}

#[test]
fn ntsc_and_variable_time_stamps_survive_exactly() {
    let header = StreamHeader {
        time_base: TimeBase { num: 1, den: 30_000 },
        frame_ticks: 1001,
        start_pts: -5000,
        ..StreamHeader::default()
    };
    let mut frames: Vec<FrameRecord> =
        (0..300).map(|i| FrameRecord { pts: -5000 + 1001 * i, params: FrameParams::default(), placement: None }).collect();
    frames[299].pts += 1_000_000_000_000;
    let (bytes, _) = write(&header, &StreamIdentity::by_hash([0; 32]), &frames.chunks(1).collect::<Vec<_>>());
    let mut reader = StreamReader::open(&bytes[..]).unwrap();
    for frame in &frames {
        assert_eq!(reader.next_packet().unwrap().unwrap().frames[0].pts, frame.pts);
    }
}

#[test]
fn seeking_lands_at_or_before_the_frame_and_needs_no_index_to_work() {
    let header = StreamHeader { frame_ticks: 3, ..StreamHeader::default() };
    let frames: Vec<FrameRecord> =
        (0..2000).map(|i| FrameRecord { pts: 3 * i, params: FrameParams::default(), placement: None }).collect();
    let (bytes, _) = write(&header, &StreamIdentity::inline(vec![1; 99]), &frames.chunks(2).collect::<Vec<_>>());
    let mut reader = StreamReader::open(Cursor::new(&bytes)).unwrap();
    reader.next_packet().unwrap();
    assert_eq!(reader.index().unwrap().unwrap().len(), 2000 / INDEX_SPACING as usize);
    assert_eq!(reader.next_packet().unwrap().unwrap().sequence, 2);
    for (target, lands) in [(3 * 1999, 1750), (3 * 250, 250), (3 * 250 - 1, 0), (-7, 0), (i64::MAX, 1750)] {
        reader.seek(target).unwrap();
        let packet = reader.next_packet().unwrap().unwrap();
        assert_eq!((u64::from(packet.sequence), packet.lost_before), (lands, 0), "seek to {target}");
    }
    while reader.next_packet().unwrap().is_some() {}
    assert_eq!(reader.ending(), Some(Ending::Complete));
    assert_eq!(reader.info().lost_frames, 0);
    let mut cut = StreamReader::open(Cursor::new(&bytes[..bytes.len() - 1])).unwrap();
    assert_eq!(cut.index().unwrap(), None);
    cut.seek(3 * 1999).unwrap();
    assert_eq!(cut.next_packet().unwrap().unwrap().sequence, 0);
}

#[test]
fn packets_on_their_own_decode_with_a_known_header() {
    let mut random = Random(3);
    let header = StreamHeader { placement: true, ..StreamHeader::default() };
    let frames = random.frames(&header, 6);
    let (bytes, _) = write(&header, &StreamIdentity::by_hash([0; 32]), &frames.chunks(2).collect::<Vec<_>>());
    let (all, _) = events(&bytes, || usize::MAX);
    let packets: Vec<&Packet> = all.iter().filter_map(|e| if let Event::Packet(p) = e { Some(p) } else { None }).collect();
    // The second packet alone, as a datagram would bring it.
    let mut parser = Parser::at_records(header, packets[1].offset);
    parser.push(&bytes[packets[1].offset as usize..packets[2].offset as usize]);
    assert_eq!(parser.poll().unwrap(), Some(Event::Packet(packets[1].clone())));
    assert_eq!(parser.poll().unwrap(), None);
}

#[test]
fn the_writer_refuses_what_the_format_cannot_hold_and_stays_usable() {
    let header = StreamHeader::default();
    let mut writer = StreamWriter::new(Vec::new(), header.clone(), &StreamIdentity::by_hash([0; 32])).unwrap();
    let good = FrameRecord { pts: 5, params: FrameParams::default(), placement: None };
    let with_yaw = |yaw: f32| {
        let mut frame = good;
        frame.params.yaw = yaw;
        frame
    };
    for yaw in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 65_520.0, 1e30] {
        assert!(matches!(writer.write_frame(&with_yaw(yaw)), Err(Error::Misuse(_))), "{yaw}");
    }
    assert!(matches!(writer.write_packet(&[]), Err(Error::Misuse(_))));
    assert!(matches!(writer.write_packet(&vec![good; 65]), Err(Error::Misuse(_))));
    assert!(matches!(writer.write_packet(&[good, good]), Err(Error::Misuse(_))));
    let placed = FrameRecord { placement: Some(Placement { x: 1.0, y: 1.0, side: 1.0 }), ..good };
    assert!(matches!(writer.write_frame(&placed), Err(Error::Misuse(_))));
    writer.write_frame(&with_yaw(65_519.0)).unwrap();
    assert!(matches!(writer.write_frame(&good), Err(Error::Misuse(_))), "time must rise");
    let (bytes, _) = writer.finish().unwrap();
    assert_eq!(StreamReader::open(&bytes[..]).unwrap().next_packet().unwrap().unwrap().frames[0].params.yaw, 65_504.0);
    for bad in [
        StreamHeader { resolution: 0, ..header.clone() },
        StreamHeader { resolution: 70_000, ..header.clone() },
        StreamHeader { camera_width: 20_000, ..header.clone() },
        StreamHeader { time_base: TimeBase { num: 1, den: 0 }, ..header.clone() },
        StreamHeader { quantiser: vec![1.0; 35], ..header.clone() },
        StreamHeader { start_pts: i64::MAX, ..header.clone() },
        StreamHeader { metadata: BTreeMap::from([("k".into(), "v".repeat(70_000))]), ..header.clone() },
    ] {
        assert!(StreamWriter::new(Vec::new(), bad, &StreamIdentity::by_hash([0; 32])).is_err());
    }
}

#[test]
fn random_identities_come_back_and_encode_to_the_same_bytes() {
    let mut random = Random(4);
    for case in 0..300 {
        // The three sizes of levels: up to 4096, up to 5632, above.
        let (rows, dim) = [(14, 64), (12, 400), (18, 512), (1, 1), (3, 7)][case % 5];
        let identity = random.identity(rows, dim);
        let bytes = identity.to_bytes().unwrap();
        let back = Identity::from_bytes(&bytes).unwrap();
        assert_eq!(back.to_bytes().unwrap(), bytes, "case {case}");
        assert_eq!(Identity::from_bytes(&back.to_bytes().unwrap()).unwrap(), back);
        assert_eq!(back.latent, latent_as_sent(&identity.latent).unwrap());
        assert_eq!(back, Identity { latent: back.latent.clone(), ..identity });
        assert_eq!(StreamIdentity::inline(bytes.clone()).hash, identity_hash(&bytes));
    }
}

#[test]
fn anchors_are_rounded_to_f16_and_refused_beyond_it() {
    let mut identity = Random(8).identity(2, 8);
    identity.anchors = vec![FrameParams { yaw: 1.0 / 3.0, ..FrameParams::default() }; 64];
    let back = Identity::from_bytes(&identity.to_bytes().unwrap()).unwrap();
    assert_eq!(back.anchors.len(), 64);
    // The f16 next to 1/3.
    assert!(back.anchors.iter().all(|a| a.yaw == 0.333_251_95));
    identity.anchors.push(FrameParams::default());
    assert!(matches!(identity.to_bytes(), Err(Error::Limit(_))), "65 anchors");
    for yaw in [f32::NAN, 65_520.0] {
        identity.anchors = vec![FrameParams { yaw, ..FrameParams::default() }];
        assert!(matches!(identity.to_bytes(), Err(Error::Misuse(_))), "yaw {yaw}");
    }
}

#[test]
fn a_latent_row_keeps_its_precision_at_any_scale() {
    let mut random = Random(5);
    for (rows, dim, half) in [(14, 128, 1023.0), (10, 512, 127.0), (18, 512, 52.0f32)] {
        let mut data: Vec<f32> = (0..rows * dim).map(|_| random.unit()).collect();
        // Rows of very different size, one of them zero.
        data.chunks_exact_mut(dim).enumerate().for_each(|(r, row)| row.iter_mut().for_each(|v| *v *= 3f32.powi(r as i32 - 6)));
        data[dim..2 * dim].fill(0.0);
        let latent = WPlus { rows, dim, data };
        let sent = latent_as_sent(&latent).unwrap();
        for (a, b) in latent.data.chunks_exact(dim).zip(sent.data.chunks_exact(dim)) {
            let most = a.iter().fold(0f32, |m, v| m.max(v.abs()));
            // Half a step; the step is rounded up by at most 2^-13.
            assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 0.5001 * most / half));
        }
        assert_eq!(latent_as_sent(&sent).unwrap(), sent);
    }
}

#[test]
fn identities_without_tuning_stay_within_their_size_targets() {
    let mut random = Random(6);
    // 6 kB up to 14 rows, 8 kB for the 18 of 1024 pixels. Gaussian numbers, the shape of real latents.
    for (rows, dim, most) in [(12, 128, 6144), (14, 256, 6144), (12, 512, 6144), (14, 512, 6144), (18, 512, 8192)] {
        let mut identity = random.identity(rows, dim);
        (identity.tuned, identity.thumbnail, identity.metadata) = (Vec::new(), None, BTreeMap::new());
        // As many as the encoder keeps; 70 bytes each.
        identity.anchors = (0..16).map(|_| random.anchor()).collect();
        identity.latent.data.iter_mut().for_each(|v| *v = (0..12).map(|_| random.unit()).sum());
        let bytes = identity.to_bytes().unwrap().len();
        println!("{rows} x {dim}: {bytes} bytes");
        assert!(bytes <= most + 16 * 70, "{rows} x {dim}: {bytes} bytes");
    }
}

#[test]
fn tuned_weights_keep_half_a_step_and_cost_less_than_their_entropy_bound() {
    let mut random = Random(7);
    let shape = [64, 32, 3, 3];
    // Channels of different strength, most differences small: what tuning leaves.
    let values: Vec<f32> = (0..64 * 32 * 9)
        .map(|i| {
            let strength = 0.001 * 1.05f32.powi(i / 288);
            strength * (random.unit() + random.unit() + random.unit()) * random.unit()
        })
        .collect();
    let rules = [StepRule::Fixed(0.003), StepRule::Tensor(1.0), StepRule::Channel(1.0)];
    for rule in rules {
        let tensor = TunedTensor::quantise("conv", &shape, &values, rule).unwrap();
        let group = values.len() / tensor.steps.len();
        for (i, (a, b)) in values.iter().zip(tensor.dequantise()).enumerate() {
            assert!((a - b).abs() <= 0.50001 * step_from_code(tensor.steps[i / group]), "{rule:?} {i}");
        }
        let mut counts = BTreeMap::new();
        tensor.values.iter().for_each(|v| *counts.entry(*v).or_insert(0f64) += 1.0);
        let n = values.len() as f64;
        let entropy: f64 = counts.values().map(|c| -c * (c / n).log2()).sum::<f64>() / 8.0;
        let mut identity = random.identity(1, 1);
        identity.tuned.clear();
        let without = identity.to_bytes().unwrap().len();
        identity.tuned.push(tensor);
        let cost = identity.to_bytes().unwrap().len() - without;
        println!("{rule:?}: {cost} bytes, order-0 entropy {entropy:.0}");
        // 100 bytes for name, shape and steps.
        assert!((cost as f64) < 1.03 * entropy + 100.0, "{rule:?}: {cost} bytes, entropy {entropy}");
    }
    assert!(matches!(TunedTensor::quantise("t", &[2], &[1.0, f32::NAN], StepRule::Fixed(1.0)), Err(Error::Misuse(_))));
    assert!(matches!(TunedTensor::quantise("t", &[2], &[1.0], StepRule::Fixed(1.0)), Err(Error::Misuse(_))));
    assert!(matches!(TunedTensor::quantise("t", &[1], &[1.0], StepRule::Fixed(0.0)), Err(Error::Misuse(_))));
    assert!(matches!(TunedTensor::quantise("t", &[1], &[1.0], StepRule::Fixed(1e-9)), Err(Error::Misuse(_))));
    assert!(step_from_code(code_from_step(0.01)) <= 0.01);
}

#[test]
fn half_floats_round_trip_through_the_public_names() {
    assert_eq!(f16_to_f32(f32_to_f16(1.0 / 3.0)), 0.333_251_95);
}
