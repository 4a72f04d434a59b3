//! Mutation fuzzing of everything that reads bytes from others: streams, packets from a network, identities, packs.
//!
//! Each target runs a fixed number of cases with every `cargo test`; `make fuzz` (or the ignored test with `EFFIGY_FUZZ_SECONDS`) runs
//! each for a time. Cases start from `tests/corpus`, are changed at random, and mostly get their checks repaired, so that the code behind
//! the checks is reached. What breaks is printed as hex: add it to the corpus.

mod common;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use effigy::bitstream::*;
use effigy::frame::Frame;
use effigy::params::FrameParams;
use effigy::residual::{Residual, ResidualMaker, ResidualOptions};

use common::Random;

trait Pick {
    /// A place among `n`.
    fn place(&mut self, n: usize) -> usize;
}

impl Pick for Random {
    fn place(&mut self, n: usize) -> usize {
        self.below(n.max(1) as u64) as usize
    }
}

fn corpus(ending: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == ending));
    paths.sort();
    assert!(!paths.is_empty(), "no .{ending} in the corpus");
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// One to eight changes: bits, bytes, runs left out, repeated or taken from another case.
fn mutate(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = seeds[random.place(seeds.len())].clone();
    for _ in 0..1 + random.place(8) {
        if bytes.is_empty() {
            break;
        }
        let at = random.place(bytes.len());
        let run = (1 + random.place(24)).min(bytes.len() - at);
        match random.place(7) {
            0 => bytes[at] ^= 1 << random.place(8),
            1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff, 0xf1, 0xf4][random.place(7)],
            2 => bytes[at] = random.next() as u8,
            3 => drop(bytes.drain(at..at + run)),
            4 => {
                let again = bytes[at..at + run].to_vec();
                bytes.splice(at..at, again);
            }
            5 => {
                let other = &seeds[random.place(seeds.len())];
                let from = random.place(other.len());
                bytes.splice(at..at + run, other[from..(from + run).min(other.len())].iter().copied());
            }
            _ => bytes.truncate(at),
        }
    }
    bytes
}

/// Makes the checks right wherever lengths allow it: header, identity reference, records.
fn repair(bytes: &mut [u8]) {
    let seal = |bytes: &mut [u8], from: usize, to: usize| {
        let crc = crc32fast::hash(&bytes[from..to]);
        bytes[to..to + 4].copy_from_slice(&crc.to_le_bytes());
    };
    let Some(length) = bytes.get(10..14) else { return };
    let end = 14 + u32::from_le_bytes(length.try_into().unwrap()) as usize;
    if end + 44 > bytes.len() {
        return;
    }
    seal(bytes, 0, end);
    let reference = end + 4;
    let length = u32::from_le_bytes(bytes[reference + 32..reference + 36].try_into().unwrap()) as usize;
    let mut at = reference + 40 + length;
    if at > bytes.len() {
        return;
    }
    if length > 0 {
        let hash = identity_hash(&bytes[at - length..at]);
        bytes[reference..reference + 32].copy_from_slice(&hash);
    }
    seal(bytes, reference, reference + 36);
    while at + 2 < bytes.len() {
        at += seal_record(&mut bytes[at..]).unwrap_or(1);
    }
}

/// Length of the record at the start of `bytes`, now with good checks; none if there is no room for one.
fn seal_record(bytes: &mut [u8]) -> Option<usize> {
    if bytes[0] < 0xf1 {
        return None;
    }
    let head = if bytes[1] < 0x80 { 2 } else { 3 };
    let length = usize::from(bytes[1] & 0x7f) | if head == 3 { usize::from(bytes[2] & 0x7f) << 7 } else { 0 };
    let end = head + 1 + length;
    if end + 4 > bytes.len() {
        return None;
    }
    bytes[head] = crc32fast::hash(&bytes[..head]) as u8;
    let crc = crc32fast::hash(&bytes[..end]);
    bytes[end..end + 4].copy_from_slice(&crc.to_le_bytes());
    Some(end + 4)
}

/// Events of a stream in pieces of at most `most` bytes; none when header or identity are refused.
fn events(bytes: &[u8], most: usize) -> Option<(Vec<Event>, StreamInfo)> {
    let (mut parser, mut events) = (Parser::new(), Vec::new());
    for piece in bytes.chunks(most) {
        parser.push(piece);
        while let Some(event) = parser.poll().ok()? {
            events.push(event);
        }
    }
    parser.close();
    while let Some(event) = parser.poll().ok()? {
        events.push(event);
    }
    Some((events, parser.info()))
}

/// A stream with a plate, residuals, and sound between its packets.
fn with_files() -> Vec<u8> {
    let header = StreamHeader { resolution: 16, ..StreamHeader::default() };
    let mut writer = StreamWriter::new(Vec::new(), header, &StreamIdentity::by_hash([5; 32])).unwrap();
    writer.write_plate(&[77; 40]).unwrap();
    let [dark, light] = [40u8, 90].map(|grey| Frame::filled(16, 16, [grey, 60, grey / 2]).unwrap());
    let options = ResidualOptions { every: 2, ..ResidualOptions::of(60.0) };
    let mut maker = ResidualMaker::new(16, options).unwrap();
    let mut records = Vec::new();
    (0..4).for_each(|t| records.extend(maker.push(if t == 3 { &dark } else { &light }, &dark).unwrap()));
    records.extend(maker.finish().unwrap().0);
    let moved = |record: &ResidualRecord| ResidualRecord { kind: ResidualKind::Motion, ..record.clone() };
    records.iter().for_each(|record| writer.write_residual(record).unwrap());
    records.iter().for_each(|record| writer.write_residual(&moved(record)).unwrap());
    for pts in 0..4 {
        writer.write_sound(&[pts as u8; 30]).unwrap();
        writer.write_frame(&FrameRecord { pts, params: FrameParams::default(), placement: None }).unwrap();
    }
    writer.finish().unwrap().0
}

fn stream_target(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = mutate(random, seeds);
    if random.place(4) > 0 {
        repair(&mut bytes);
    }
    bytes
}

/// Parsing comes to an end, does not depend on pieces, and delivers numbers only; concealment, receiver and residual take what it delivers.
fn check_stream(bytes: &[u8], piece: usize) {
    let whole = events(bytes, usize::MAX);
    assert_eq!(events(bytes, piece), whole);
    let Some((found, info)) = whole else { return };
    assert!(matches!(found.last(), Some(Event::End(_))));
    assert_eq!(info.total_bytes(), bytes.len() as u64);
    let Event::Header(header) = &found[0] else { panic!("the header comes first") };
    let mut concealer = Concealer::new(header, &FrameParams::default());
    let mut receiver = Receiver::new((**header).clone(), &FrameParams::default());
    let (mut residual, mut number) = (Residual::new(), 0);
    for event in &found {
        if let Event::Residual(record) = event {
            residual.push(record.clone());
        }
        let Event::Packet(packet) = event else { continue };
        // Small pictures, whatever the stream says: residuals of 1024 pixels take their time.
        residual.apply(number, &mut Frame::filled(16, 16, [number as u8; 3]).unwrap());
        number += packet.frames.len() as u64;
        let frames = packet.frames.iter().chain(&packet.repeated);
        frames.for_each(|frame| assert!(frame.params.to_array().iter().all(|v| v.is_finite())));
        let shown = concealer.fill(packet);
        assert!(shown.len() <= packet.frames.len() + packet.repeated.len() + MAX_CONCEALED as usize);
        let rest = &bytes[packet.offset as usize..];
        // The record's length is not told; a receiver refuses all others.
        (12..rest.len().min(300)).for_each(|len| drop(receiver.push(&rest[..len])));
        receiver.play();
    }
}

fn identity_target(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = mutate(random, seeds);
    if let Some(inner) = bytes.len().checked_sub(32) {
        let hash = identity_hash(&bytes[..inner]);
        bytes[inner..].copy_from_slice(&hash);
    }
    bytes
}

/// Whatever is accepted can be sent on and means the same there.
fn check_identity(bytes: &[u8]) {
    if let Ok(identity) = Identity::from_bytes(bytes) {
        assert_eq!(Identity::from_bytes(&identity.to_bytes().unwrap()).unwrap(), identity);
    }
}

/// Runs a case and prints it if it panics.
fn guarded(bytes: &[u8], run: impl FnOnce() + std::panic::UnwindSafe) {
    if std::panic::catch_unwind(run).is_err() {
        let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        panic!("found by fuzzing, {} bytes: {hex}", bytes.len());
    }
}

fn fuzz_streams(seed: u64, more: impl Fn(u64) -> bool) {
    let (mut seeds, mut random, mut cases) = (corpus("effigy"), Random(seed), 0);
    seeds.push(with_files());
    while more(cases) {
        let bytes = stream_target(&mut random, &seeds);
        let piece = 1 + random.place(100);
        guarded(&bytes, || check_stream(&bytes, piece));
        cases += 1;
    }
    println!("streams: {cases} cases");
}

fn fuzz_identities(seed: u64, more: impl Fn(u64) -> bool) {
    let (mut seeds, mut random, mut cases) = (corpus("identity"), Random(seed), 0);
    // Several tensors with kernels, which the small one of the corpus does not have.
    seeds.extend((0..8).map(|i| Random(i).identity(2, 8).to_bytes().unwrap()));
    while more(cases) {
        let bytes = identity_target(&mut random, &seeds);
        guarded(&bytes, || check_identity(&bytes));
        cases += 1;
    }
    println!("identities: {cases} cases");
}

/// Changes in a pack's header, where its names, shapes and settings stand, or, one time in eight, anywhere.
#[cfg(feature = "decode")]
fn pack_target(random: &mut Random, seed: &[u8]) -> Vec<u8> {
    let header = 8 + u64::from_le_bytes(seed[..8].try_into().unwrap()) as usize;
    if random.place(8) == 0 {
        return mutate(random, &[seed.to_vec()]);
    }
    let mut bytes = mutate(random, &[seed[8..header].to_vec()]);
    if random.place(2) == 0 {
        // Digits are what sizes are made of.
        let digits: Vec<usize> = (0..bytes.len()).filter(|i| bytes[*i].is_ascii_digit()).collect();
        if !digits.is_empty() {
            bytes[digits[random.place(digits.len())]] = b'0' + random.place(10) as u8;
        }
    }
    let mut whole = (bytes.len() as u64).to_le_bytes().to_vec();
    whole.extend(&bytes);
    whole.extend(&seed[header..]);
    whole
}

/// What is accepted can be built.
#[cfg(feature = "decode")]
fn check_pack(bytes: &[u8]) {
    if let Ok(pack) = effigy::pack::Pack::from_bytes(bytes) {
        let cpu = tch::Device::Cpu;
        let _ = (pack.generator(cpu).unwrap(), pack.flow(cpu).unwrap());
        #[cfg(feature = "analysis")]
        assert_eq!(pack.analysis(cpu).is_ok(), pack.config().analysis.is_some());
    }
}

#[cfg(feature = "decode")]
fn fuzz_packs(seed: u64, more: impl Fn(u64) -> bool) {
    use effigy::pack::fixture;
    let bytes = fixture::bytes(&fixture::Shape::tiny(), 1).unwrap();
    let (mut random, mut cases) = (Random(seed), 0);
    while more(cases) {
        let changed = pack_target(&mut random, &bytes);
        // The whole would fill the screen: the header says it all.
        let shown = changed.len().min(20_000);
        if std::panic::catch_unwind(|| check_pack(&changed)).is_err() {
            panic!("found by fuzzing, a pack that begins {:?}", String::from_utf8_lossy(&changed[..shown]));
        }
        cases += 1;
    }
    println!("packs: {cases} cases");
}

#[cfg(feature = "decode")]
#[test]
fn two_hundred_changed_packs_break_nothing() {
    fuzz_packs(3, |cases| cases < 200);
}

#[test]
fn the_corpus_itself_is_read_without_a_finding() {
    for bytes in corpus("effigy") {
        check_stream(&bytes, 7);
    }
    for bytes in corpus("identity") {
        check_identity(&bytes);
    }
}

#[test]
fn two_thousand_changed_streams_break_nothing() {
    fuzz_streams(1, |cases| cases < 2000);
}

#[test]
fn five_thousand_changed_identities_break_nothing() {
    fuzz_identities(2, |cases| cases < 5000);
}

#[test]
#[ignore = "runs for EFFIGY_FUZZ_SECONDS per target, with a seed from the clock: `make fuzz`"]
fn changed_input_breaks_nothing_for_as_long_as_asked() {
    let seconds = std::env::var("EFFIGY_FUZZ_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(60);
    let seed = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
    println!("seed {seed}");
    let until = || {
        let end = Instant::now() + Duration::from_secs(seconds);
        move |_| Instant::now() < end
    };
    fuzz_streams(seed, until());
    fuzz_identities(seed, until());
    #[cfg(feature = "decode")]
    fuzz_packs(seed, until());
}
