//! What the tests share: a pack and identities as C holds them, packets, pictures in memory of their own.

use std::ffi::{c_char, CStr, CString};
use std::io::Write;
use std::mem::size_of;
use std::ptr::null_mut;
use std::sync::{Arc, Mutex};

use effigy::bitstream::{set_quality, FrameRecord, Identity, PacketOptions, StreamHeader, StreamIdentity, StreamWriter};
use effigy::capi::entry::*;
use effigy::capi::status::Status;
use effigy::frame::TimeBase;
use effigy::pack::{fixture, Pack};
use effigy::params::{FrameParams, Placement};

/// Side of the fixture's pictures, pixels.
pub const SIDE: usize = 32;
/// Distance of two frames, ticks.
pub const TICKS: i64 = 3600;

/// A pack and two identities of it, as C holds them.
pub struct Room {
    pub pack: *mut PackHandle,
    pub person: *mut IdentityHandle,
    pub other: *mut IdentityHandle,
}

pub fn own_pack() -> Pack {
    fixture::tiny(1).unwrap()
}

pub fn own_identity(seed: u64) -> Identity {
    fixture::identity(&own_pack(), seed).unwrap()
}

pub fn identity_handle(bytes: &[u8]) -> *mut IdentityHandle {
    let mut handle = null_mut();
    ok(unsafe { effigy_identity_load_memory(bytes.as_ptr(), bytes.len(), &mut handle) });
    handle
}

impl Room {
    pub fn new(name: &str) -> Room {
        let path = std::env::temp_dir().join(format!("effigy-packets-{}-{name}", std::process::id()));
        fixture::write_tiny(&path, 1).unwrap();
        let text = CString::new(path.to_str().unwrap()).unwrap();
        let mut pack = null_mut();
        ok(unsafe { effigy_pack_load(text.as_ptr(), &mut pack) });
        std::fs::remove_file(&path).unwrap();
        let [person, other] = [1, 2].map(|seed| identity_handle(&own_identity(seed).to_bytes().unwrap()));
        Room { pack, person, other }
    }

    pub fn decoder(&self) -> *mut DecoderHandle {
        // The processor in single precision on one thread: the same everywhere.
        let settings = DecoderSettings { device: 1, precision: 1, threads: 1, ..usual() };
        let mut decoder = null_mut();
        ok(unsafe { effigy_decoder_new(self.pack, self.person, &settings, &mut decoder) });
        decoder
    }

    pub fn open(&self, header: &[u8]) -> *mut DecoderHandle {
        let decoder = self.decoder();
        ok(unsafe { effigy_decoder_open(decoder, header.as_ptr(), header.len()) });
        decoder
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        unsafe {
            effigy_pack_free(self.pack);
            effigy_identity_free(self.person);
            effigy_identity_free(self.other);
        }
    }
}

pub fn usual() -> DecoderSettings {
    let mut settings = DecoderSettings { size: 0, device: 7, precision: 7, threads: 7, reserved: 7, detail: 7, more_reserved: 7 };
    ok(unsafe { effigy_decoder_settings_init(&mut settings, size_of::<DecoderSettings>()) });
    settings
}

pub fn last_error() -> String {
    let mut text = vec![0 as c_char; 1000];
    unsafe {
        effigy_last_error(text.as_mut_ptr(), text.len());
        CStr::from_ptr(text.as_ptr()).to_str().unwrap().to_owned()
    }
}

#[track_caller]
pub fn ok(status: Status) {
    assert_eq!(status, Status::Ok, "{}", last_error());
}

#[derive(Clone, Default)]
struct Records(Arc<Mutex<Vec<Vec<u8>>>>);

impl Write for Records {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().push(bytes.to_vec());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

pub fn params(number: usize) -> FrameParams {
    FrameParams { yaw: (number as f32 * 0.7).sin() * 10.0, roll: 2.0, ..FrameParams::default() }
}

/// The front of a coded stream and its packets of one frame each.
pub fn packets(count: usize, redundancy: usize) -> (Vec<u8>, Vec<Vec<u8>>) {
    let (pack, identity) = (own_pack(), own_identity(1));
    let reference = StreamIdentity::by_hash(StreamIdentity::inline(identity.to_bytes().unwrap()).hash);
    let mut header = StreamHeader {
        pack: pack.hash(),
        resolution: SIDE as u32,
        time_base: TimeBase { num: 1, den: 90_000 },
        frame_ticks: TICKS as u32,
        camera_width: 640,
        camera_height: 480,
        placement: true,
        ..StreamHeader::default()
    };
    set_quality(&mut header, 75.0, &identity, &[]).unwrap();
    let options = PacketOptions { frames_per_packet: 1, redundancy, intra: 1000, ..PacketOptions::of(header.coding) };
    let records = Records::default();
    let mut writer = StreamWriter::with_options(records.clone(), header, &reference, options).unwrap();
    for number in 0..count {
        if number == 20 {
            writer.request_intra();
        }
        let placement = Some(Placement { x: 320.0, y: 240.0, side: 200.0 });
        writer.write_frame(&FrameRecord { pts: TICKS * number as i64, params: params(number), placement }).unwrap();
    }
    let mut all = std::mem::take(&mut *records.0.lock().unwrap());
    let front = all.drain(..2).collect::<Vec<_>>().concat();
    (front, all)
}

/// A picture in memory of its own.
pub struct Canvas {
    pub planes: Vec<Vec<u8>>,
    pub picture: Picture,
}

impl Canvas {
    pub fn new(format: i32) -> Canvas {
        let (half, quarter) = (SIDE / 2, SIDE * SIDE / 4);
        let layout = match format {
            0 => vec![(3 * SIDE, 3 * SIDE * SIDE)],
            1 | 2 => vec![(4 * SIDE, 4 * SIDE * SIDE)],
            3 => vec![(SIDE, SIDE * SIDE), (half, quarter), (half, quarter)],
            _ => vec![(SIDE, SIDE * SIDE), (SIDE, 2 * quarter)],
        };
        let mut planes: Vec<Vec<u8>> = layout.iter().map(|(_, size)| vec![0; *size]).collect();
        let mut picture = Picture {
            size: size_of::<Picture>(),
            format,
            colour: 0,
            width: SIDE as u32,
            height: SIDE as u32,
            planes: [null_mut(); 3],
            strides: [0; 3],
            sizes: [0; 3],
            pts: -1,
        };
        for (number, (plane, (stride, size))) in planes.iter_mut().zip(&layout).enumerate() {
            picture.planes[number] = plane.as_mut_ptr();
            (picture.strides[number], picture.sizes[number]) = (*stride, *size);
        }
        Canvas { planes, picture }
    }
}

pub fn blank_info() -> FrameInfo {
    let size = size_of::<FrameInfo>();
    FrameInfo { size, pts: 0, origin: -1, has_placement: -1, x: 0.0, y: 0.0, side: 0.0, roll: 0.0, yaw: 0.0, pitch: 0.0 }
}

pub fn statistics(decoder: *mut DecoderHandle) -> DecoderStatistics {
    // SAFETY: a structure of integers.
    let mut out: DecoderStatistics = unsafe { std::mem::zeroed() };
    out.size = size_of::<DecoderStatistics>();
    ok(unsafe { effigy_decoder_get_statistics(decoder, &mut out) });
    out
}

pub fn send(decoder: *mut DecoderHandle, packet: &[u8]) -> Status {
    unsafe { effigy_decoder_send(decoder, packet.as_ptr(), packet.len()) }
}

/// Fetches what is due, undrawn: time stamps and origins.
pub fn due(decoder: *mut DecoderHandle) -> Vec<(i64, i32)> {
    let (mut info, mut out) = (blank_info(), Vec::new());
    while unsafe { effigy_decoder_receive(decoder, null_mut(), &mut info) } == Status::Ok {
        out.push((info.pts / TICKS, info.origin));
    }
    out
}

pub fn wants_intra(decoder: *mut DecoderHandle) -> bool {
    let mut wanted = -1;
    ok(unsafe { effigy_decoder_needs_intra(decoder, &mut wanted) });
    wanted == 1
}
