//! The C interface, called as C calls it: from Rust for the corner cases, and from the C example in an empty environment.
#![cfg(feature = "capi")]
// Reason: raw pointers are what is tested.
#![allow(unsafe_code)]

#[path = "common/program.rs"]
mod program;

use std::ffi::{c_char, CStr, CString};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::ptr::{dangling_mut, null, null_mut};

use effigy::bitstream::{FrameRecord, Identity, StreamHeader, StreamIdentity, StreamReader, StreamWriter};
use effigy::capi::entry::*;
use effigy::capi::status::Status;
use effigy::decode::{DecodeOptions, Decoder};
use effigy::frame::{Frame, TimeBase};
use effigy::pack::{fixture, Pack};
use effigy::params::FrameParams;
use program::compile;

/// Frames of the test stream.
const FRAMES: usize = 3;

/// A folder of a test's own with a pack and a stream of it.
struct Fixture {
    folder: PathBuf,
    identity: Vec<u8>,
    stream: Vec<u8>,
}

impl Fixture {
    fn new(name: &str) -> Fixture {
        let folder = std::env::temp_dir().join(format!("effigy-capi-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        fixture::write_tiny(folder.join("pack"), 1).unwrap();
        let pack = Pack::load(folder.join("pack")).unwrap();
        let identity = fixture::identity(&pack, 1).unwrap().to_bytes().unwrap();
        let stream = stream(&pack, StreamIdentity::inline(identity.clone()));
        std::fs::write(folder.join("stream"), &stream).unwrap();
        Fixture { folder, identity, stream }
    }

    fn path(&self, name: &str) -> CString {
        CString::new(self.folder.join(name).to_str().unwrap()).unwrap()
    }

    fn pack(&self) -> *mut PackHandle {
        let mut pack = null_mut();
        assert_eq!(unsafe { effigy_pack_load(self.path("pack").as_ptr(), &mut pack) }, Status::Ok, "{}", last_error());
        pack
    }

    fn open(&self) -> *mut StreamHandle {
        let (pack, mut stream) = (self.pack(), null_mut());
        let status = unsafe { effigy_stream_open(pack, self.path("stream").as_ptr(), &mut stream) };
        assert_eq!(status, Status::Ok, "{}", last_error());
        unsafe { effigy_pack_free(pack) };
        stream
    }

    fn pictures(&self) -> Vec<Frame> {
        let pack = Pack::load(self.folder.join("pack")).unwrap();
        let identity = Identity::from_bytes(&self.identity).unwrap();
        let mut decoder = Decoder::new(&pack, &identity, &DecodeOptions::default()).unwrap();
        (0..FRAMES).map(|number| decoder.render(&params(number)).unwrap()).collect()
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Both interfaces choose the number format by a trial of their own, so one may round as bfloat16 does: 8 bits of each number, a few
/// steps of a picture.
fn assert_alike(have: &[u8], want: &[u8], number: usize) {
    assert_eq!(have.len(), want.len());
    let furthest = have.iter().zip(want).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
    assert!(furthest <= 8, "frame {number}: pictures differ by {furthest}");
}

/// Parameters of a frame: halves of small integers, so that half floats hold them exactly.
fn params(number: usize) -> FrameParams {
    let mut params = FrameParams { yaw: 5.0 * number as f32, pitch: -2.5, ..FrameParams::default() };
    params.alpha[number] = 0.5;
    params
}

fn stream(pack: &Pack, identity: StreamIdentity) -> Vec<u8> {
    let resolution = pack.config().generator.resolution as u32;
    let time_base = TimeBase { num: 1001, den: 30000 };
    let header = StreamHeader { pack: pack.hash(), resolution, time_base, ..StreamHeader::default() };
    let mut writer = StreamWriter::new(Vec::new(), header, &identity).unwrap();
    for number in 0..FRAMES {
        writer.write_frame(&FrameRecord { pts: 7 + 2 * number as i64, params: params(number), placement: None }).unwrap();
    }
    writer.finish().unwrap().0
}

fn last_error() -> String {
    let mut text = vec![0 as c_char; 1000];
    unsafe {
        effigy_last_error(text.as_mut_ptr(), text.len());
        CStr::from_ptr(text.as_ptr()).to_str().unwrap().to_owned()
    }
}

fn properties(stream: *mut StreamHandle) -> StreamProperties {
    let mut info = StreamProperties {
        size: std::mem::size_of::<StreamProperties>(),
        width: 0,
        height: 0,
        time_base_num: 0,
        time_base_den: 0,
        frames: 0,
        decoded: 0,
        damaged: 0,
        lost: 0,
        concealed: 0,
    };
    assert_eq!(unsafe { effigy_stream_info(stream, &mut info) }, Status::Ok, "{}", last_error());
    info
}

#[test]
fn versions_and_status_texts_are_there() {
    unsafe {
        assert_eq!(CStr::from_ptr(effigy_version()).to_str().unwrap(), env!("CARGO_PKG_VERSION"));
        assert_eq!(effigy_abi_version(), effigy::capi::ABI_VERSION);
        assert_eq!(CStr::from_ptr(effigy_status_text(1)).to_str().unwrap(), "end of stream");
        assert_eq!(CStr::from_ptr(effigy_status_text(-77)).to_str().unwrap(), "unknown status");
    }
}

#[test]
fn a_stream_decodes_to_the_pictures_and_times_of_the_rust_interface() {
    let fixture = Fixture::new("decode");
    let stream = fixture.open();
    let info = properties(stream);
    assert_eq!((info.width, info.height, info.time_base_num, info.time_base_den), (32, 32, 1001, 30000));
    assert_eq!((info.frames, info.decoded), (0, 0));
    // A stride wider than a row: what lies between rows must keep its value.
    let (row, stride) = (3 * 32, 100);
    let mut rgb = vec![0xaa; 31 * stride + row];
    for (number, picture) in fixture.pictures().iter().enumerate() {
        let mut pts = 0;
        let status = unsafe { effigy_stream_next(stream, rgb.as_mut_ptr(), stride, rgb.len(), &mut pts) };
        assert_eq!(status, Status::Ok, "{}", last_error());
        assert_eq!(pts, 7 + 2 * number as i64);
        for (have, want) in rgb.chunks(stride).zip(picture.data.chunks(row)) {
            assert_alike(&have[..row], want, number);
            assert!(have[row..].iter().all(|&byte| byte == 0xaa), "frame {number}: bytes between rows were written");
        }
    }
    rgb.fill(1);
    for _ in 0..2 {
        let status = unsafe { effigy_stream_next(stream, rgb.as_mut_ptr(), stride, rgb.len(), null_mut()) };
        assert_eq!(status, Status::End);
    }
    assert!(rgb.iter().all(|&byte| byte == 1), "the end writes nothing");
    let info = properties(stream);
    assert_eq!((info.frames, info.decoded, info.damaged, info.lost), (FRAMES as u64, FRAMES as u64, 0, 0));
    unsafe { effigy_stream_free(stream) };
}

#[test]
fn unfit_arguments_are_refused_and_take_no_frame() {
    let fixture = Fixture::new("arguments");
    let stream = fixture.open();
    let mut rgb = vec![0; 32 * 96];
    let mut next = |stride: usize, size: usize| unsafe { effigy_stream_next(stream, rgb.as_mut_ptr(), stride, size, null_mut()) };
    assert_eq!(next(95, 32 * 96), Status::Misuse);
    assert_eq!(last_error(), "plane 0: stride is 95, expected at least 96");
    assert_eq!(next(96, 32 * 96 - 1), Status::Misuse);
    assert_eq!(next(usize::MAX, 32 * 96), Status::Misuse);
    assert_eq!(unsafe { effigy_stream_next(stream, null_mut(), 96, 32 * 96, null_mut()) }, Status::Null);
    assert_eq!(unsafe { effigy_stream_next(null_mut(), null_mut(), 96, 32 * 96, null_mut()) }, Status::Null);
    assert_eq!(properties(stream).decoded, 0);
    let mut small = StreamProperties { size: 4, ..properties(stream) };
    assert_eq!(unsafe { effigy_stream_info(stream, &mut small) }, Status::Misuse);
    let mut later = StreamProperties { size: 4000, ..small };
    assert_eq!(unsafe { effigy_stream_info(stream, &mut later) }, Status::Ok);
    assert_eq!(later.size, std::mem::size_of::<StreamProperties>(), "a later, longer structure is filled as far as known");
    unsafe { effigy_stream_free(stream) };
}

#[test]
fn null_is_refused_where_something_is_needed_and_allowed_in_free() {
    let fixture = Fixture::new("null");
    let (path, mut pack, mut stream) = (fixture.path("pack"), null_mut(), null_mut());
    unsafe {
        assert_eq!(effigy_pack_load(null(), &mut pack), Status::Null);
        assert_eq!(effigy_pack_load(path.as_ptr(), null_mut()), Status::Null);
        assert_eq!(effigy_stream_open(null_mut(), path.as_ptr(), &mut stream), Status::Null);
        assert_eq!(effigy_stream_open_memory(null_mut(), null(), 0, &mut stream), Status::Null);
        assert_eq!(effigy_stream_info(null_mut(), null_mut()), Status::Null);
        effigy_pack_free(null_mut());
        effigy_stream_free(null_mut());
    }
}

#[test]
fn a_missing_pack_is_an_input_error_and_leaves_null() {
    let mut pack = dangling_mut();
    assert_eq!(unsafe { effigy_pack_load(c"no/such/pack".as_ptr(), &mut pack) }, Status::Io);
    assert!(pack.is_null());
    assert!(last_error().contains("no/such/pack"), "{}", last_error());
}

#[test]
fn the_last_error_is_cut_to_the_buffer_and_tells_its_length() {
    let mut pack = null_mut();
    unsafe { effigy_pack_load(c"no/such/pack".as_ptr(), &mut pack) };
    let whole = last_error();
    let mut text = [1 as c_char; 6];
    unsafe {
        assert_eq!(effigy_last_error(text.as_mut_ptr(), 6), whole.len());
        assert_eq!(CStr::from_ptr(text.as_ptr()).to_str().unwrap(), &whole[..5]);
        assert_eq!(effigy_last_error(null_mut(), 0), whole.len());
    }
}

#[test]
fn streams_that_cannot_be_decoded_say_why() {
    let fixture = Fixture::new("bad");
    let pack = fixture.pack();
    let open = |bytes: &[u8]| {
        let mut stream = dangling_mut();
        let status = unsafe { effigy_stream_open_memory(pack, bytes.as_ptr(), bytes.len(), &mut stream) };
        assert_eq!(stream.is_null(), status != Status::Ok);
        unsafe { effigy_stream_free(stream) };
        status
    };
    assert_eq!(open(&fixture.stream), Status::Ok);
    assert_eq!(open(&[]), Status::Malformed);
    assert_eq!(open(&fixture.stream[..100]), Status::Malformed);
    let mut flipped = fixture.stream.clone();
    flipped[20] ^= 1;
    assert_eq!(open(&flipped), Status::Malformed);
    let own = Pack::load(fixture.folder.join("pack")).unwrap();
    assert_eq!(open(&stream(&own, StreamIdentity::by_hash([3; 32]))), Status::Unsupported);
    let other = fixture::tiny(2).unwrap();
    let stranger = fixture::identity(&other, 1).unwrap().to_bytes().unwrap();
    assert_eq!(open(&stream(&other, StreamIdentity::inline(stranger))), Status::Misuse);
    unsafe { effigy_pack_free(pack) };
}

#[test]
fn a_damaged_packet_is_passed_over_counted_and_its_frame_made_up() {
    let fixture = Fixture::new("damage");
    let mut bytes = fixture.stream.clone();
    let second_packet = {
        let mut reader = StreamReader::open(&bytes[..]).unwrap();
        reader.next_packet().unwrap();
        reader.next_packet().unwrap().unwrap().offset as usize
    };
    // Inside its 70 bytes of parameters.
    bytes[second_packet + 20] ^= 0x40;
    let (pack, mut stream) = (fixture.pack(), null_mut());
    let mut rgb = vec![0; 32 * 96];
    let mut times = Vec::new();
    unsafe {
        assert_eq!(effigy_stream_open_memory(pack, bytes.as_ptr(), bytes.len(), &mut stream), Status::Ok);
        let mut pts = 0;
        while effigy_stream_next(stream, rgb.as_mut_ptr(), 96, rgb.len(), &mut pts) == Status::Ok {
            times.push(pts);
        }
    }
    assert_eq!(times, [7, 9, 11]);
    let info = properties(stream);
    assert_eq!((info.damaged, info.lost, info.decoded, info.concealed), (1, 1, 3, 1));
    unsafe {
        effigy_stream_free(stream);
        effigy_pack_free(pack);
    }
}

fn run(program: &Path, arguments: &[&Path]) -> Output {
    Command::new(program).args(arguments).env_clear().output().unwrap()
}

#[test]
fn the_c_example_writes_the_same_pictures_in_an_empty_environment() {
    let fixture = Fixture::new("example");
    let program = fixture.folder.join("decode_ppm");
    compile("bindings/c/decode_ppm.c", &program);
    let folder = &fixture.folder;
    let done = run(&program, &[&folder.join("pack"), &folder.join("stream"), folder]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let lines = String::from_utf8(done.stdout).unwrap();
    // 7 ticks of 1001/30000 s.
    assert!(lines.starts_with("frame 0 at 0.234 s\n"), "{lines}");
    for (number, picture) in fixture.pictures().iter().enumerate() {
        let file = std::fs::read(folder.join(format!("frame-{number:06}.ppm"))).unwrap();
        let head = b"P6\n32 32\n255\n";
        assert_eq!(&file[..head.len()], head);
        assert_alike(&file[head.len()..], &picture.data, number);
    }
    let large = run(&program, &[Path::new("--detail"), &folder.join("pack"), &folder.join("stream"), folder]);
    assert!(large.status.success(), "{}", String::from_utf8_lossy(&large.stderr));
    let file = std::fs::read(folder.join("frame-000000.ppm")).unwrap();
    assert!(file.starts_with(b"P6\n64 64\n255\n") && file.len() == 13 + 3 * 64 * 64);
    let failed = run(&program, &[Path::new("no-such-pack"), Path::new("x"), folder]);
    assert_eq!(failed.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&failed.stderr).contains("no-such-pack"));
}
