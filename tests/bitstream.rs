//! Round trips of streams and identities through the public interface.
//! Random cases come from splitmix64 with the seed shown in each test.

use std::collections::BTreeMap;
use std::io::Cursor;

use effigy::bitstream::quant::{code_from_step, f16_to_f32, f32_to_f16};
use effigy::bitstream::*;
use effigy::frame::TimeBase;
use effigy::params::{FrameParams, Placement, WPlus};
use effigy::Error;

mod common;

use common::{example, hex, Random};

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
fn a_plate_comes_before_the_frames_and_misses_nothing_in_its_middle() {
    let identity = StreamIdentity::by_hash([4; 32]);
    let mut random = Random(9);
    let plate: Vec<u8> = (0..20_000).map(|_| random.next() as u8).collect();
    let mut writer = StreamWriter::new(Vec::new(), StreamHeader::default(), &identity).unwrap();
    writer.write_plate(&plate).unwrap();
    for pts in 0..5 {
        writer.write_frame(&FrameRecord { pts, params: FrameParams::default(), placement: None }).unwrap();
    }
    let (bytes, info) = writer.finish().unwrap();
    assert_eq!(info.total_bytes(), bytes.len() as u64);
    assert!((20_000..20_100).contains(&info.plate_bytes));
    let found = |bytes: &[u8]| {
        let (events, info) = events(bytes, || usize::MAX);
        let mut file = Assembly::default();
        for event in &events {
            match event {
                // Twice: what comes again changes nothing.
                Event::Plate(piece) => [(); 2].iter().for_each(|_| file.add(piece)),
                Event::Packet(_) => break,
                _ => {}
            }
        }
        (file.finish(), info)
    };
    assert_eq!(found(&bytes), (Some(plate.clone()), info));
    let mut damaged = bytes.clone();
    let at = damaged.windows(64).position(|w| w == &plate[9000..9064]).unwrap();
    damaged[at] ^= 1;
    let (file, info) = found(&damaged);
    assert_eq!((file, info.frames, info.damaged), (None, 5, 1));
    let mut writer = StreamWriter::new(Vec::new(), StreamHeader::default(), &identity).unwrap();
    assert!(writer.write_plate(&vec![0; 5 << 20]).is_err(), "more than a plate may have");
    writer.write_frame(&FrameRecord { pts: 0, params: FrameParams::default(), placement: None }).unwrap();
    assert!(matches!(writer.write_plate(&[1]), Err(Error::Misuse(_))), "behind the first packet");
}

#[test]
fn sound_travels_beside_the_frames_and_is_counted_apart() {
    let header = StreamHeader { frame_ticks: 3, ..StreamHeader::default() };
    let identity = StreamIdentity::by_hash([4; 32]);
    let frames: Vec<FrameRecord> =
        (0..600).map(|i| FrameRecord { pts: 3 * i, params: FrameParams::default(), placement: None }).collect();
    let (silent, without) = write(&header, &identity, &frames.chunks(1).collect::<Vec<_>>());
    let mut random = Random(8);
    let sound: Vec<u8> = (0..50_000).map(|_| random.next() as u8).collect();
    let mut writer = StreamWriter::new(Vec::new(), header, &identity).unwrap();
    for (frame, piece) in frames.iter().zip(sound.chunks(20_000).map(Some).chain(std::iter::repeat(None))) {
        writer.write_sound(piece.unwrap_or_default()).unwrap();
        writer.write_frame(frame).unwrap();
    }
    let (bytes, info) = writer.finish().unwrap();
    assert_eq!(info.total_bytes(), bytes.len() as u64);
    // Only the index's positions can be longer.
    assert!((without.parameter_bytes..without.parameter_bytes + 8).contains(&info.parameter_bytes), "{info:?}");
    assert!((50_000..51_000).contains(&info.sound_bytes) && without.sound_bytes == 0);

    let whole = events(&bytes, || usize::MAX);
    assert_eq!((events(&bytes, || 1 + random.below(3000) as usize), whole.1), (whole.clone(), info));
    let heard = |bytes: &[u8]| {
        let mut heard = vec![0; sound.len()];
        for event in events(bytes, || usize::MAX).0 {
            if let Event::Sound(Piece { position, bytes }) = event {
                heard[position as usize..][..bytes.len()].copy_from_slice(&bytes);
            }
        }
        heard
    };
    assert_eq!(heard(&bytes), sound);
    let packets = |bytes: &[u8]| events(bytes, || usize::MAX).0.iter().filter(|e| matches!(e, Event::Packet(_))).count();
    assert_eq!((packets(&bytes), packets(&silent)), (600, 600));

    // A piece that is damaged is missing, and nothing else; the index still leads to packets.
    let mut damaged = bytes.clone();
    let at = damaged.windows(64).position(|w| w == &sound[9000..9064]).unwrap();
    damaged[at] ^= 1;
    let left = heard(&damaged);
    let wrong: Vec<usize> = (0..sound.len()).filter(|i| left[*i] != sound[*i]).collect();
    assert!(wrong[0] >= 8192 && wrong[wrong.len() - 1] < 2 * 8192 && packets(&damaged) == 600);
    let mut reader = StreamReader::open(Cursor::new(&damaged)).unwrap();
    reader.seek(3 * 555).unwrap();
    assert_eq!(reader.next_packet().unwrap().unwrap().sequence, 500);
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
