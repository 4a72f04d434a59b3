//! Many handles at once, handles that move between threads, and the log.

use std::ffi::{c_char, c_void, CStr};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use effigy::capi::entry::*;
use effigy::capi::status::Status;

use crate::room::*;

/// A handle on its way to another thread, which then is the only one to use it.
struct Moved(*mut DecoderHandle);

// SAFETY: the interface promises that handles may move between threads.
unsafe impl Send for Moved {}

impl Moved {
    fn get(self) -> *mut DecoderHandle {
        self.0
    }
}

fn pictures(decoder: *mut DecoderHandle, packets: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    for packet in packets {
        let mut canvas = Canvas::new(0);
        ok(send(decoder, packet));
        ok(unsafe { effigy_decoder_receive(decoder, &mut canvas.picture, null_mut()) });
        out.push(canvas.planes.remove(0));
    }
    out
}

#[test]
fn eight_decoders_work_at_once_and_give_what_one_gives() {
    let room = Room::new("eight");
    let (header, packets) = packets(6, 0);
    let alone = room.open(&header);
    let want = pictures(alone, &packets);
    unsafe { effigy_decoder_free(alone) };
    // Made here, used and ended there.
    let decoders: Vec<Moved> = (0..8).map(|_| Moved(room.open(&header))).collect();
    thread::scope(|scope| {
        for moved in decoders {
            let (packets, want) = (&packets, &want);
            scope.spawn(move || {
                let decoder = moved.get();
                assert!(pictures(decoder, packets) == *want);
                unsafe { effigy_decoder_free(decoder) };
            });
        }
    });
}

#[cfg(feature = "analysis")]
mod encoding {
    use super::*;
    use std::mem::size_of;

    /// An encoder of this person for crops.
    fn encoder(room: &Room) -> *mut EncoderHandle {
        // SAFETY: a structure of numbers.
        let mut settings: EncoderSettings = unsafe { std::mem::zeroed() };
        ok(unsafe { effigy_encoder_settings_init(&mut settings, size_of::<EncoderSettings>()) });
        let settings = EncoderSettings { aligned: 1, device: 1, precision: 1, threads: 1, ..settings };
        let mut encoder = null_mut();
        ok(unsafe { effigy_encoder_new(room.pack, room.person, &settings, None, null_mut(), &mut encoder) });
        encoder
    }

    /// Packets of these crops.
    fn coded(encoder: *mut EncoderHandle, crops: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        for (number, crop) in crops.iter().enumerate() {
            let mut canvas = Canvas::new(0);
            canvas.planes[0].copy_from_slice(crop);
            canvas.picture.pts = TICKS * number as i64;
            ok(unsafe { effigy_encoder_send(encoder, &canvas.picture, null_mut()) });
            let (mut data, mut size) = (vec![0; MAX_PACKET], 0);
            ok(unsafe { effigy_encoder_receive(encoder, data.as_mut_ptr(), data.len(), &mut size, null_mut()) });
            data.truncate(size);
            out.push(data);
        }
        out
    }

    struct MovedEncoder(*mut EncoderHandle);

    // SAFETY: the interface promises that handles may move between threads.
    unsafe impl Send for MovedEncoder {}

    impl MovedEncoder {
        fn get(self) -> *mut EncoderHandle {
            self.0
        }
    }

    #[test]
    fn eight_decoders_and_four_encoders_work_at_once_and_give_what_each_gives_alone() {
        let room = Room::new("twelve");
        let (header, packets) = packets(6, 0);
        let (alone, coder) = (room.open(&header), encoder(&room));
        let shown = pictures(alone, &packets);
        let sent = coded(coder, &shown);
        unsafe {
            effigy_decoder_free(alone);
            effigy_encoder_free(coder);
        }
        let decoders: Vec<Moved> = (0..8).map(|_| Moved(room.open(&header))).collect();
        let encoders: Vec<MovedEncoder> = (0..4).map(|_| MovedEncoder(encoder(&room))).collect();
        thread::scope(|scope| {
            let (packets, shown, sent) = (&packets, &shown, &sent);
            for moved in decoders {
                scope.spawn(move || {
                    let decoder = moved.get();
                    assert!(pictures(decoder, packets) == *shown);
                    unsafe { effigy_decoder_free(decoder) };
                });
            }
            for moved in encoders {
                scope.spawn(move || {
                    let encoder = moved.get();
                    assert!(coded(encoder, shown) == *sent);
                    unsafe { effigy_encoder_free(encoder) };
                });
            }
        });
    }
}

static HEARD: AtomicU64 = AtomicU64::new(0);

extern "C" fn hear(level: i32, text: *const c_char, user: *mut c_void) {
    assert!((1..=4).contains(&level) && user.is_null());
    let text = unsafe { CStr::from_ptr(text) }.to_bytes();
    // Other tests may have something to say meanwhile.
    HEARD.fetch_add(u64::from(text.starts_with(b"a test of the log")), Ordering::SeqCst);
}

#[test]
fn the_log_can_be_heard_and_unheard() {
    assert_eq!(effigy_set_log(Some(hear), null_mut(), 9), Status::Misuse);
    ok(effigy_set_log(Some(hear), null_mut(), 2));
    log::warn!("a test of the log");
    assert_eq!(HEARD.load(Ordering::SeqCst), 1);
    ok(effigy_set_log(None, null_mut(), 4));
    log::warn!("a test of the log that nobody hears");
    assert_eq!(HEARD.load(Ordering::SeqCst), 1);
}
