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
