//! Round trips, limits and the worked example of the coded mode through the public interface.
//! Random cases come from splitmix64 with the seed shown in each test.

mod common;

use common::{example, hex, Random};
use effigy::bitstream::*;
use effigy::params::{FrameParams, Placement, PARAMS};
use effigy::Error;

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
