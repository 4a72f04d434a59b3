//! Damaged, cut and invented input: errors or clean partial results, never a panic, a hang or unbounded memory.

use effigy::bitstream::*;
use effigy::params::{FrameParams, Placement, WPlus};
use effigy::Error;

fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

const FRAMES: usize = 6;

fn small_identity() -> Identity {
    let values: Vec<f32> = (0..24).map(|i| (i as f32 - 11.5) * 0.01).collect();
    Identity {
        pack: [3; 32],
        name: "Ada".into(),
        resolution: 64,
        latent: WPlus { rows: 2, dim: 8, data: (0..16).map(|i| i as f32 / 3.0 - 2.0).collect() },
        tuned: vec![TunedTensor::quantise("conv.weight", &[4, 6], &values, StepRule::Channel(0.2)).unwrap()],
        sensitivity: [0.5; 32],
        rest: FrameParams::default(),
        anchors: vec![FrameParams { yaw: 12.5, ..FrameParams::default() }; 2],
        thumbnail: Some(vec![1, 2, 3]),
        metadata: [("tuning".to_string(), "joint".to_string())].into(),
    }
}

/// A stream with one frame per packet, and where each packet begins (then where the index begins).
fn small_stream() -> (Vec<u8>, Vec<usize>) {
    let header = StreamHeader { placement: true, ..StreamHeader::default() };
    let mut writer = StreamWriter::new(Vec::new(), header, &StreamIdentity::inline(vec![9; 20])).unwrap();
    let mut starts = Vec::new();
    for i in 0..FRAMES {
        starts.push(writer.info().total_bytes() as usize);
        let mut params = FrameParams { yaw: i as f32, ..FrameParams::default() };
        params.alpha[5] = 0.25 * i as f32;
        let placement = Some(Placement { x: 100.0 + i as f32, y: 90.0, side: 128.0 });
        writer.write_frame(&FrameRecord { pts: i as i64, params, placement }).unwrap();
    }
    starts.push(writer.info().total_bytes() as usize);
    (writer.finish().unwrap().0, starts)
}

struct Read {
    packets: Vec<Packet>,
    damage: Vec<Damage>,
    ending: Option<Ending>,
    info: StreamInfo,
}

/// Everything a push parser finds in `bytes`, pushed whole.
fn read(bytes: &[u8]) -> Result<Read, Error> {
    let mut parser = Parser::new();
    parser.push(bytes);
    parser.close();
    let mut found = Read { packets: Vec::new(), damage: Vec::new(), ending: None, info: StreamInfo::default() };
    while let Some(event) = parser.poll()? {
        match event {
            Event::Packet(packet) => found.packets.push(packet),
            Event::Damaged(damage) => found.damage.push(damage),
            Event::End(ending) => found.ending = Some(ending),
            _ => {}
        }
    }
    found.info = parser.info();
    assert!(found.ending.is_some(), "every stream comes to an end");
    Ok(found)
}

#[test]
fn a_stream_cut_at_any_byte_keeps_every_complete_packet() {
    let (bytes, starts) = small_stream();
    for len in 0..bytes.len() {
        let result = read(&bytes[..len]);
        if len < starts[0] {
            assert!(matches!(result, Err(Error::Malformed(_))), "cut at {len}");
            continue;
        }
        let found = result.unwrap();
        let complete = starts[1..].iter().filter(|&&end| end <= len).count();
        assert_eq!(found.packets.len(), complete, "cut at {len}");
        assert_eq!(found.ending, Some(Ending::Truncated));
        assert!(found.damage.is_empty(), "cut at {len}: a cut is not damage: {:?}", found.damage);
        let mut reader = StreamReader::open(&bytes[..len]).unwrap();
        for packet in &found.packets {
            assert_eq!(reader.next_packet().unwrap().as_ref(), Some(packet));
        }
        assert!(reader.next_packet().unwrap().is_none());
        assert_eq!(reader.ending(), Some(Ending::Truncated));
    }
    assert_eq!(read(&bytes).unwrap().ending, Some(Ending::Complete));
}

#[test]
fn any_single_flipped_bit_is_noticed_and_costs_at_most_one_packet() {
    let (bytes, starts) = small_stream();
    let whole = read(&bytes).unwrap().packets;
    for bit in 0..8 * bytes.len() {
        let mut broken = bytes.clone();
        broken[bit / 8] ^= 1 << (bit % 8);
        let at = bit / 8;
        let result = read(&broken);
        if at < starts[0] {
            assert!(result.is_err(), "bit {bit} of header or identity went unnoticed");
            continue;
        }
        let found = result.unwrap();
        let hit = starts.iter().rposition(|&s| s <= at).unwrap();
        let expected: Vec<_> = whole.iter().enumerate().filter(|(i, _)| *i != hit).map(|(_, p)| &p.frames).collect();
        assert_eq!(found.packets.iter().map(|p| &p.frames).collect::<Vec<_>>(), expected, "bit {bit}");
        if hit < FRAMES {
            assert_eq!((found.damage.len(), found.damage[0].offset), (1, starts[hit] as u64), "bit {bit}");
            assert_eq!((found.info.lost_frames, found.info.damaged), (1, 1), "bit {bit}");
            assert_eq!(found.damage[0].bytes, (starts[hit + 1] - starts[hit]) as u64, "bit {bit}");
            let after = found.packets.iter().find(|p| p.sequence as usize == hit + 1);
            assert!(after.is_none_or(|p| p.lost_before == 1));
        } else {
            assert!(found.ending == Some(Ending::Truncated) || found.info.damaged == 1, "bit {bit}");
        }
    }
}

#[test]
fn lost_repeated_and_swapped_packets_are_told_apart() {
    let (bytes, s) = small_stream();
    let packet = |i: usize| &bytes[s[i]..s[i + 1]];
    let arrange = |order: &[usize]| {
        let mut out = bytes[..s[0]].to_vec();
        order.iter().for_each(|&i| out.extend_from_slice(packet(i)));
        out.extend_from_slice(&bytes[s[FRAMES]..]);
        let found = read(&out).unwrap();
        let got: Vec<(u32, u32)> = found.packets.iter().map(|p| (p.sequence, p.lost_before)).collect();
        (got, found.info.lost_frames, found.info.late_packets)
    };
    assert_eq!(arrange(&[0, 3, 4, 5]), (vec![(0, 0), (3, 2), (4, 0), (5, 0)], 2, 0));
    assert_eq!(arrange(&[0, 0, 1, 2, 3, 4, 5]).2, 1);
    assert_eq!(arrange(&[0, 2, 1, 3, 4, 5]), (vec![(0, 0), (2, 1), (3, 0), (4, 0), (5, 0)], 1, 1));
    assert_eq!(arrange(&[0, 1, 2]), (vec![(0, 0), (1, 0), (2, 0)], 3, 0));
}

#[test]
fn noise_between_packets_is_skipped() {
    let (bytes, s) = small_stream();
    let mut state = 1;
    for _ in 0..200 {
        let mut out = bytes[..s[0]].to_vec();
        for i in 0..FRAMES {
            out.extend((0..splitmix(&mut state) % 300).map(|_| splitmix(&mut state) as u8 | if i % 2 == 0 { 0xf0 } else { 0 }));
            out.extend_from_slice(&bytes[s[i]..s[i + 1]]);
        }
        out.extend_from_slice(&bytes[s[FRAMES]..]);
        let found = read(&out).unwrap();
        assert_eq!((found.packets.len(), found.info.lost_frames), (FRAMES, 0));
        assert_eq!(found.info.total_bytes(), out.len() as u64);
    }
}

/// A coded stream of two chains of three packets, and where each packet begins (then where the end record begins).
fn coded_stream(redundancy: usize) -> (Vec<u8>, Vec<usize>) {
    let frames: Vec<FrameRecord> = (0..36)
        .map(|i| {
            let mut params = FrameParams { yaw: (i as f32 * 0.3).sin() * 9.0, ..FrameParams::default() };
            params.alpha.iter_mut().enumerate().for_each(|(k, alpha)| *alpha = (i as f32 * 0.2 + k as f32).sin() * 0.3);
            let placement = Some(Placement { x: 100.0 + i as f32, y: 90.0, side: 128.0 });
            FrameRecord { pts: i, params, placement }
        })
        .collect();
    let mut header = StreamHeader { placement: true, ..StreamHeader::default() };
    set_quality(&mut header, 50.0, &small_identity(), &frames).unwrap();
    let options = PacketOptions { frames_per_packet: 6, intra: 18, redundancy, coarseness: 2 };
    let mut writer = StreamWriter::with_options(Vec::new(), header, &StreamIdentity::by_hash([9; 32]), options).unwrap();
    let mut starts = Vec::new();
    for packet in frames.chunks(6) {
        starts.push(writer.info().total_bytes() as usize);
        packet.iter().for_each(|frame| writer.write_frame(frame).unwrap());
    }
    starts.push(writer.info().total_bytes() as usize);
    (writer.finish().unwrap().0, starts)
}

#[test]
fn any_flipped_byte_of_a_coded_stream_costs_at_most_the_rest_of_its_chain() {
    for redundancy in [0, 2] {
        let (bytes, starts) = coded_stream(redundancy);
        let whole = read(&bytes).unwrap().packets;
        assert_eq!(whole.len(), 6);
        for at in starts[0]..bytes.len() {
            for mask in [0x01, 0x80, 0xff] {
                let mut broken = bytes.clone();
                broken[at] ^= mask;
                let found = read(&broken).unwrap();
                let hit = starts.iter().rposition(|&s| s <= at).unwrap();
                // A chain ends with the third packet; with redundancy each packet is one.
                let gone = |i: usize| hit < 6 && (i == hit || (redundancy == 0 && i > hit && i / 3 == hit / 3));
                let expected: Vec<_> = whole.iter().enumerate().filter(|(i, _)| !gone(*i)).map(|(_, p)| &p.frames).collect();
                assert_eq!(found.packets.iter().map(|p| &p.frames).collect::<Vec<_>>(), expected, "byte {at}");
                assert_eq!(found.info.lost_frames, 6 * (0..6).filter(|i| gone(*i)).count() as u64, "byte {at}");
            }
        }
        for len in starts[0]..bytes.len() {
            let complete = starts[1..].iter().filter(|&&end| end <= len).count();
            assert_eq!(read(&bytes[..len]).unwrap().packets.len(), complete, "cut at {len}");
        }
    }
}

/// A record with sound checks around any body of under 16,384 bytes.
fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![kind];
    match body.len() {
        len @ 0..=127 => out.push(len as u8),
        len => out.extend([len as u8 | 0x80, (len >> 7) as u8]),
    }
    out.push(crc32fast::hash(&out) as u8);
    out.extend_from_slice(body);
    let crc = crc32fast::hash(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

#[test]
fn coded_packets_changed_by_someone_who_can_compute_checks_are_damage_or_valid_numbers() {
    for redundancy in [0, 2] {
        let (bytes, starts) = coded_stream(redundancy);
        let mut state = 5;
        let mut accepted = 0;
        for _ in 0..6000 {
            let mut out = bytes[..starts[0]].to_vec();
            for pair in starts.windows(2) {
                let whole = &bytes[pair[0]..pair[1]];
                let head = if whole[1] < 0x80 { 3 } else { 4 };
                let mut body = whole[head..whole.len() - 4].to_vec();
                for _ in 0..splitmix(&mut state) % 3 {
                    // More often among the fields in front of the block than inside it.
                    let reach = if splitmix(&mut state) & 1 == 0 { 6 } else { body.len() };
                    let at = splitmix(&mut state) as usize % reach.min(body.len());
                    body[at] = splitmix(&mut state) as u8;
                }
                if splitmix(&mut state) & 7 == 0 {
                    body.truncate(splitmix(&mut state) as usize % body.len());
                }
                out.extend(record(0xf1, &body));
            }
            out.extend_from_slice(&bytes[starts[6]..]);
            let found = read(&out).unwrap();
            let mut receiver = Receiver::new(StreamReader::open(&bytes[..]).unwrap().header().clone(), &FrameParams::default());
            for packet in &found.packets {
                accepted += 1;
                assert!((1..=MAX_PACKET_FRAMES).contains(&packet.frames.len()));
                let frames = packet.frames.iter().chain(&packet.repeated);
                frames.for_each(|frame| {
                    assert!(frame.params.to_array().iter().all(|v| v.is_finite()) && frame.placement.is_some())
                });
                let end = packet.offset as usize;
                let len = found.packets.iter().map(|p| p.offset as usize).find(|o| *o > end).unwrap_or(out.len());
                let _ = receiver.push(&out[end..len]);
                let _ = receiver.play();
            }
        }
        assert!(accepted > 5_000, "many changes leave a valid packet: {accepted}");
    }
}

#[test]
fn time_stamps_at_the_ends_of_their_range_do_not_overflow() {
    let header = StreamHeader { start_pts: -MAX_PTS, frame_ticks: u32::MAX, ..StreamHeader::default() };
    for coding in [Coding::Raw16, Coding::Coded] {
        let mut header = header.clone();
        if coding == Coding::Coded {
            set_quality(&mut header, 75.0, &small_identity(), &[]).unwrap();
        }
        let mut writer = StreamWriter::new(Vec::new(), header, &StreamIdentity::by_hash([9; 32])).unwrap();
        for pts in [-MAX_PTS, 0, MAX_PTS - 1, MAX_PTS] {
            writer.write_frame(&FrameRecord { pts, params: FrameParams::default(), placement: None }).unwrap();
        }
        let past = FrameRecord { pts: MAX_PTS + 1, params: FrameParams::default(), placement: None };
        assert!(matches!(writer.write_frame(&past), Err(Error::Misuse(_))), "{coding:?}");
        let found = read(&writer.finish().unwrap().0).unwrap();
        let stamps: Vec<i64> = found.packets.iter().flat_map(|p| &p.frames).map(|f| f.pts).collect();
        assert_eq!(stamps, [-MAX_PTS, 0, MAX_PTS - 1, MAX_PTS]);
    }
}

/// The packet at the start of `record` with another byte at `at` of its body, and sound checks.
fn forge(record: &[u8], at: usize, value: u8) -> Vec<u8> {
    let mut out = record[..record.len() - 4].to_vec();
    out[3 + at] = value;
    let crc = crc32fast::hash(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

#[test]
fn packets_with_good_checks_and_bad_content_are_damage_not_errors() {
    let (bytes, s) = small_stream();
    let record = &bytes[s[0]..s[1]];
    let payload = record.len() - 3 - 4 - 70;
    // 0x7c00 is infinity, 0x7c01 and 0xfe00 are not numbers: high byte of parameter 2.
    for (at, value) in [(payload + 5, 0x7c), (payload + 5, 0xfe), (1, 0x00), (1, 0x41), (1, 0x81), (2, 0x80), (0, 0xff)] {
        let mut out = bytes[..s[0]].to_vec();
        out.extend(forge(record, at, value));
        out.extend_from_slice(&bytes[s[1]..]);
        let found = read(&out).unwrap();
        assert_eq!((found.packets.len(), found.info.damaged), (FRAMES - 1, 1), "byte {at} = {value:#x}");
    }
}

#[test]
fn records_of_kinds_from_later_versions_are_passed_over() {
    let (bytes, s) = small_stream();
    let mut extension = vec![0xf9, 5];
    extension.push(crc32fast::hash(&extension) as u8);
    extension.extend_from_slice(b"hello");
    let crc = crc32fast::hash(&extension);
    extension.extend_from_slice(&crc.to_le_bytes());
    let mut out = bytes[..s[2]].to_vec();
    out.extend(extension);
    out.extend_from_slice(&bytes[s[2]..]);
    let found = read(&out).unwrap();
    assert_eq!((found.packets.len(), found.damage.len(), found.ending), (FRAMES, 0, Some(Ending::Complete)));
}

#[test]
fn giant_lengths_are_refused_before_memory_is_taken() {
    let (bytes, _) = small_stream();
    let mut header = bytes.clone();
    header[10..14].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(matches!(read(&header), Err(Error::Limit(_))));
    // The identity reference: hash, length, CRC, right behind the header.
    let at = 14 + u32::from_le_bytes(bytes[10..14].try_into().unwrap()) as usize + 4;
    let mut reference = bytes.clone();
    reference[at + 32..at + 36].copy_from_slice(&u32::MAX.to_le_bytes());
    let crc = crc32fast::hash(&reference[at..at + 36]);
    reference[at + 36..at + 40].copy_from_slice(&crc.to_le_bytes());
    assert!(matches!(read(&reference), Err(Error::Limit(_))));
}

#[test]
fn other_versions_and_other_files_are_named_as_such() {
    let (mut bytes, _) = small_stream();
    bytes[8] = 2;
    assert!(matches!(read(&bytes), Err(Error::Unsupported(_))));
    assert!(matches!(read(b"RIFF....WEBPVP8 "), Err(Error::Malformed(_))));
    assert!(matches!(read(b""), Err(Error::Malformed(_))));
    let mut identity = small_identity().to_bytes().unwrap();
    for version in [0, 1, 3, 255] {
        identity[8] = version;
        assert!(matches!(Identity::from_bytes(&identity), Err(Error::Unsupported(_))));
    }
    assert!(matches!(Identity::from_bytes(b"RIFF....WEBPVP8 "), Err(Error::Malformed(_))));
}

#[test]
fn an_identity_cut_at_any_byte_or_with_any_bit_flipped_is_refused() {
    let bytes = small_identity().to_bytes().unwrap();
    assert!(Identity::from_bytes(&bytes).is_ok());
    for len in 0..bytes.len() {
        assert!(Identity::from_bytes(&bytes[..len]).is_err(), "cut at {len}");
    }
    for bit in 0..8 * bytes.len() {
        let mut broken = bytes.clone();
        broken[bit / 8] ^= 1 << (bit % 8);
        assert!(Identity::from_bytes(&broken).is_err(), "bit {bit}");
    }
}

/// `bytes` with the hash at their end made right again.
fn rehash(mut bytes: Vec<u8>) -> Vec<u8> {
    let inner = bytes.len() - 32;
    let hash = identity_hash(&bytes[..inner]);
    bytes[inner..].copy_from_slice(&hash);
    bytes
}

#[test]
fn identities_changed_by_someone_who_can_hash_never_panic_and_stay_canonical() {
    let bytes = small_identity().to_bytes().unwrap();
    let inner = bytes.len() - 32;
    let mut state = 7;
    let mut accepted = 0;
    let single = (0..8 * inner).map(|bit| vec![(bit / 8, 1u8 << (bit % 8))]);
    let mut several = Vec::new();
    for _ in 0..20_000 {
        let flips = 1 + splitmix(&mut state) % 6;
        several.push((0..flips).map(|_| (splitmix(&mut state) as usize % inner, splitmix(&mut state) as u8)).collect());
    }
    for change in single.chain(several) {
        let mut changed = bytes.clone();
        change.iter().for_each(|&(at, mask): &(usize, u8)| changed[at] ^= mask);
        if let Ok(identity) = Identity::from_bytes(&rehash(changed)) {
            accepted += 1;
            // Whatever is accepted can be sent on and means the same there.
            let again = identity.to_bytes().unwrap();
            assert_eq!(Identity::from_bytes(&again).unwrap(), identity);
        }
    }
    assert!(accepted > 1000, "names, numbers and levels have many valid neighbours: {accepted}");
}

#[test]
fn ten_thousand_random_strings_are_refused_or_skipped() {
    let (bytes, s) = small_stream();
    let identity = small_identity().to_bytes().unwrap();
    let mut state = 11;
    for case in 0..10_000 {
        let noise: Vec<u8> = (0..splitmix(&mut state) % 200).map(|_| splitmix(&mut state) as u8).collect();
        assert!(read(&noise).is_err());
        assert!(Identity::from_bytes(&noise).is_err());
        // The same noise where records belong, and where the identity's fields belong.
        let found = read(&[&bytes[..s[0]], &noise].concat()).unwrap();
        assert!(found.packets.is_empty(), "case {case}");
        let front = &identity[..10 + splitmix(&mut state) as usize % (identity.len() - 42)];
        let _ = Identity::from_bytes(&rehash([front, &noise, &[0; 32]].concat()));
    }
}

#[test]
fn a_tensor_of_forty_million_claimed_values_over_a_few_bytes_is_refused_at_once() {
    // One tensor whose shape allows the limit; its coded block stays as small as it was.
    let mut identity = small_identity();
    identity.tuned = vec![TunedTensor { name: "w".into(), shape: vec![1, 1], steps: vec![0], values: vec![0] }];
    let bytes = identity.to_bytes().unwrap();
    let head = [1, 1, b'w', 2, 1, 1, 0];
    let at = bytes.windows(head.len()).position(|w| w == head).expect("count, name, dimensions, kind of steps");
    // 40,000,000 as a varint.
    let mut claim = bytes[..at + 4].to_vec();
    claim.extend_from_slice(&[1, 0x80, 0xb4, 0x89, 0x13]);
    claim.extend_from_slice(&bytes[at + 6..]);
    let started = std::time::Instant::now();
    let error = Identity::from_bytes(&rehash(claim)).unwrap_err();
    assert!(error.to_string().contains("end too early"), "{error}");
    // Decoding forty million values takes longer than this, a few bytes do not even on a busy machine.
    assert!(started.elapsed().as_secs() < 5, "work must stay in proportion to the input");
}
