//! Coded streams over networks that lose, repeat, delay and swap packets. Tracks and networks come from splitmix64 with the seed
//! shown in each test; tracks have the statistics of searched clips: slow turns, quick mouth, noise on every number.

mod common;
#[path = "common/datagram.rs"]
mod datagram;

use common::Random;
use datagram::record;
use effigy::bitstream::*;
use effigy::params::{FrameParams, Placement, WPlus, PARAMS};

trait Draw {
    /// Uniform in [0, 1).
    fn share(&mut self) -> f32;

    /// About normal, variance 1.
    fn normal(&mut self) -> f32 {
        (0..12).map(|_| self.share()).sum::<f32>() - 6.0
    }
}

impl Draw for Random {
    fn share(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 24) as f32
    }
}

fn identity() -> Identity {
    Identity {
        pack: [3; 32],
        name: String::new(),
        resolution: 128,
        latent: WPlus { rows: 1, dim: 4, data: vec![1.0; 4] },
        tuned: Vec::new(),
        sensitivity: std::array::from_fn(|i| 0.35 + 0.02 * i as f32),
        rest: FrameParams::default(),
        anchors: Vec::new(),
        thumbnail: None,
        metadata: Default::default(),
    }
}

/// A clip of `count` frames.
fn clip(seed: u64, count: usize) -> Vec<FrameRecord> {
    let mut random = Random(seed);
    let phase: [f32; PARAMS] = std::array::from_fn(|_| random.share() * std::f32::consts::TAU);
    let rate: [f32; PARAMS] = std::array::from_fn(|_| 0.02 + 0.1 * random.share());
    (0..count)
        .map(|t| {
            let value = |i: usize, random: &mut Random| match i {
                0 | 1 => 6.0 * (rate[i] * t as f32 + phase[i]).sin() + 0.05 * random.normal(),
                2 => 0.0,
                _ => 0.25 * (rate[i] * t as f32 + phase[i]).sin() + 0.04 * random.normal(),
            };
            let params = FrameParams::from_array(&std::array::from_fn(|i| value(i, &mut random)));
            let placement = Some(Placement { x: 320.0 + 0.1 * random.normal(), y: 240.0, side: 200.0 });
            FrameRecord { pts: t as i64, params, placement }
        })
        .collect()
}

/// Header, and the stream's packets as datagrams.
fn datagrams(frames: &[FrameRecord], options: PacketOptions) -> (StreamHeader, Vec<Vec<u8>>, StreamInfo) {
    let mut header = StreamHeader { placement: true, camera_width: 640, camera_height: 480, ..StreamHeader::default() };
    set_quality(&mut header, DEFAULT_QUALITY, &identity(), frames).unwrap();
    let mut writer = StreamWriter::with_options(Vec::new(), header, &StreamIdentity::by_hash([0; 32]), options).unwrap();
    frames.iter().for_each(|frame| writer.write_frame(frame).unwrap());
    let header = writer.header().clone();
    let (bytes, info) = writer.finish().unwrap();
    let mut reader = StreamReader::open(&bytes[..]).unwrap();
    let mut packets = Vec::new();
    while let Some(packet) = reader.next_packet().unwrap() {
        packets.push(record(&bytes[packet.offset as usize..]).to_vec());
    }
    (header, packets, info)
}

/// Root of the mean squared difference in steps, over the numbers that are rendered.
fn distance(header: &StreamHeader, a: &FrameParams, b: &FrameParams) -> f64 {
    let (a, b) = (a.to_array(), b.to_array());
    let square = |i: usize| f64::from((a[i] - b[i]) / header.quantiser[i]).powi(2);
    ((0..PARAMS).filter(|i| *i != 2).map(square).sum::<f64>() / 34.0).sqrt()
}

/// The value below which 99 % lie.
fn percentile(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[(values.len() - 1) * 99 / 100]
}

fn changes(header: &StreamHeader, frames: &[FrameRecord]) -> Vec<f64> {
    frames.windows(2).map(|w| distance(header, &w[0].params, &w[1].params)).collect()
}

/// Live packets: one frame each.
fn live(redundancy: usize) -> PacketOptions {
    PacketOptions { frames_per_packet: 1, intra: 50, redundancy, ..PacketOptions::of(Coding::Coded) }
}

/// Sends each datagram with `fate`'s delays in frames (none: lost; several: repeated), waits `patience` frames, plays all.
fn play(
    header: &StreamHeader,
    packets: &[Vec<u8>],
    patience: usize,
    mut fate: impl FnMut(usize) -> Vec<usize>,
) -> (Vec<ShownFrame>, ReceiverInfo) {
    let mut receiver = Receiver::new(header.clone(), &FrameParams::default());
    let mut arrivals: Vec<(usize, usize)> =
        (0..packets.len()).flat_map(|i| fate(i).into_iter().map(move |d| (i + d, i))).collect();
    arrivals.sort();
    let (mut shown, mut at) = (Vec::new(), 0);
    for now in 0..packets.len() + patience {
        while at < arrivals.len() && arrivals[at].0 <= now {
            receiver.push(&packets[arrivals[at].1]).unwrap();
            at += 1;
        }
        if now >= patience {
            shown.extend(receiver.play());
        }
    }
    (shown, receiver.info())
}

#[test]
fn a_perfect_network_shows_every_frame_as_it_was_sent_without_delay() {
    let frames = clip(1, 200);
    for redundancy in [0, 1, 2, 5] {
        let (header, packets, _) = datagrams(&frames, live(redundancy));
        let (shown, info) = play(&header, &packets, 0, |_| vec![0]);
        assert_eq!((shown.len(), info.received, info.concealed, info.repeated), (200, 200, 0, 0));
        for (shown, frame) in shown.iter().zip(&frames) {
            assert_eq!(shown.frame.pts, frame.pts);
            assert!(distance(&header, &shown.frame.params, &frame.params) < 0.5, "steps are rounded, not lost");
        }
    }
}

#[test]
fn swapped_repeated_and_delayed_packets_change_nothing_within_the_patience() {
    let frames = clip(2, 300);
    for redundancy in [0, 2] {
        let (header, packets, _) = datagrams(&frames, live(redundancy));
        let (whole, _) = play(&header, &packets, 8, |_| vec![0]);
        let mut random = Random(7);
        let (shown, info) = play(&header, &packets, 8, |_| {
            let delay = (random.next() % 8) as usize;
            if random.share() < 0.2 {
                vec![delay, delay / 2]
            } else {
                vec![delay]
            }
        });
        assert_eq!(shown, whole);
        assert!(info.duplicates > 20, "{info:?}");
        assert_eq!((info.late, info.concealed, info.orphans), (0, 0, 0));
    }
}

#[test]
fn random_and_bursty_loss_with_redundancy_costs_little_and_less_than_without() {
    let frames = clip(3, 1500);
    for redundancy in [0, 1, 2] {
        let (header, packets, sent) = datagrams(&frames, live(redundancy));
        for (loss, burst) in [(0.01, 1.0), (0.05, 1.0), (0.2, 1.0), (0.05, 4.0), (0.2, 4.0)] {
            let mut random = Random(11);
            // Two states, of Gilbert and Elliott: bursts of `burst` packets on average; independent losses if that is 1.
            let mut bad = false;
            let (shown, info) = play(&header, &packets, redundancy, |i| {
                let stay = if burst > 1.0 { 1.0 - 1.0 / burst } else { loss };
                let enter = if burst > 1.0 { loss / ((1.0 - loss) * burst) } else { loss };
                bad = random.share() < if bad { stay } else { enter };
                if bad && i > 0 {
                    vec![]
                } else {
                    vec![0]
                }
            });
            let error: f64 = shown.iter().zip(&frames).map(|(s, f)| distance(&header, &s.frame.params, &f.params).powi(2)).sum();
            let error = (error / frames.len() as f64).sqrt();
            let cost = sent.bytes_per_frame();
            println!(
                "redundancy {redundancy}, loss {loss} in bursts of {burst}: {cost:.1} B/frame, error {error:.2} steps RMS, {} repeated, {} concealed",
                info.repeated, info.concealed
            );
            assert_eq!(shown.len(), frames.len());
            // Single frames come back from the next packet: with two repetitions only three losses in a row are made up.
            if redundancy == 2 && burst == 1.0 {
                assert!((info.concealed as f32) < 0.02 * frames.len() as f32, "{info:?}");
                assert!(error < 2.0, "{error} steps: {info:?}");
            }
            assert!(info.concealed + info.repeated > 0);
        }
    }
}

#[test]
fn two_seconds_without_packets_fade_to_rest_and_back_without_a_jump() {
    let frames = clip(4, 400);
    for redundancy in [0, 2] {
        let (header, packets, _) = datagrams(&frames, live(redundancy));
        let usual = percentile(changes(&header, &frames));
        let (shown, info) = play(&header, &packets, 0, |i| if (200..250).contains(&i) { vec![] } else { vec![0] });
        let moved = changes(&header, &shown.iter().map(|s| s.frame).collect::<Vec<_>>());
        let most = moved[190..].iter().copied().fold(0.0, f64::max);
        println!("redundancy {redundancy}: {most:.2} steps at most, the clip's 99th percentile is {usual:.2}; {info:?}");
        assert!(most <= 1.5 * usual, "{most} against {usual}");
        let rest = FrameParams::default();
        assert!(distance(&header, &shown[249].frame.params, &rest) < 0.1 * distance(&header, &shown[199].frame.params, &rest));
        assert_eq!((info.concealed, info.recoveries), (50, 1));
        // Half a second later what is shown is what was sent.
        let sent = play(&header, &packets, 0, |_| vec![0]).0;
        assert_eq!(shown[275..], sent[275..]);
    }
}

#[test]
fn an_interruption_before_anything_is_known_of_the_face_is_bridged_calmly_too() {
    let frames = clip(4, 150);
    let (header, packets, _) = datagrams(&frames, live(2));
    let usual = percentile(changes(&header, &frames));
    for begin in [1, 3, 5, 8, 12] {
        let (shown, _) = play(&header, &packets, 0, |i| if (begin..begin + 50).contains(&i) { vec![] } else { vec![0] });
        let moved = changes(&header, &shown.iter().map(|s| s.frame).collect::<Vec<_>>());
        let most = moved[begin - 1..].iter().copied().fold(0.0, f64::max);
        assert!(most <= 1.5 * usual, "from frame {begin}: {most} against {usual}");
    }
}

#[test]
fn a_lost_packet_of_a_chain_costs_the_frames_up_to_the_next_intra_packet() {
    let frames = clip(5, 120);
    let (header, packets, _) = datagrams(&frames, live(0));
    let (_, info) = play(&header, &packets, 0, |i| if i == 60 { vec![] } else { vec![0] });
    // Packets 61 to 99 go on from 60; 100 is intra.
    assert_eq!((info.orphans, info.concealed, info.received), (39, 40, 80));
}

#[test]
fn an_intra_packet_on_request_ends_a_gap_early() {
    let frames = clip(6, 60);
    let mut header = StreamHeader { placement: true, ..StreamHeader::default() };
    set_quality(&mut header, 75.0, &identity(), &[]).unwrap();
    let mut writer = StreamWriter::with_options(Vec::new(), header, &StreamIdentity::by_hash([0; 32]), live(0)).unwrap();
    for (i, frame) in frames.iter().enumerate() {
        if i == 30 {
            writer.request_intra();
        }
        writer.write_frame(frame).unwrap();
    }
    let (bytes, _) = writer.finish().unwrap();
    let mut reader = StreamReader::open(&bytes[..]).unwrap();
    let mut intra = Vec::new();
    while let Some(packet) = reader.next_packet().unwrap() {
        assert_eq!(packet.depends, if packet.sequence < 30 { packet.sequence } else { packet.sequence - 30 });
        intra.extend(packet.intra.then_some(packet.sequence));
    }
    assert_eq!(intra, [0, 30]);
}

#[test]
fn damaged_foreign_and_far_away_datagrams_are_refused_and_the_stream_plays_on() {
    let frames = clip(7, 100);
    let (header, packets, _) = datagrams(&frames, live(2));
    let mut receiver = Receiver::new(header, &FrameParams::default());
    assert_eq!(receiver.play(), None);
    for (i, packet) in packets.iter().enumerate() {
        let mut broken = packet.clone();
        let at = i % broken.len();
        broken[at] ^= 0x10;
        assert!(receiver.push(&broken).is_err(), "byte {at}");
        assert!(receiver.push(&packet[..packet.len() - 1]).is_err());
        receiver.push(packet).unwrap();
        assert_eq!(receiver.play().unwrap().origin, Origin::Received);
    }
    assert_eq!((receiver.info().refused, receiver.info().received), (200, 100));
}

#[test]
fn files_with_lost_packets_fill_their_gaps_when_the_far_end_is_known() {
    let frames = clip(8, 300);
    let (header, packets, _) = datagrams(&frames, PacketOptions { frames_per_packet: 5, ..live(2) });
    let mut parser = Parser::at_records(header.clone(), 0);
    packets.iter().enumerate().filter(|(i, _)| i % 7 != 4).for_each(|(_, packet)| parser.push(packet));
    parser.close();
    let mut concealer = Concealer::new(&header, &FrameParams::default());
    let mut shown = Vec::new();
    while let Some(event) = parser.poll().unwrap() {
        if let Event::Packet(packet) = event {
            shown.extend(concealer.fill(&packet));
        }
    }
    assert_eq!(shown.iter().map(|s| s.frame.pts).collect::<Vec<_>>(), (0..300).collect::<Vec<_>>());
    let of = |origin| shown.iter().filter(|s| s.origin == origin).count();
    // Eight of the 60 packets are lost; of their five frames the last two are repeated.
    assert_eq!((of(Origin::Received), of(Origin::Repeated), of(Origin::Concealed)), (260, 16, 24));
    assert_eq!((parser.info().lost_frames, parser.info().repeated_frames), (40, 16));
}
