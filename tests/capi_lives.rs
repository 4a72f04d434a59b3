//! Many lives of handles leave nothing behind. A process of its own: other tests' memory would count too.
#![cfg(all(feature = "capi", target_os = "linux"))]
// Reason: raw pointers are what is tested.
#![allow(unsafe_code)]

// Reason: the other tests use the rest of it.
#[allow(dead_code)]
#[path = "capi_packets/room.rs"]
mod room;

use std::ptr::null_mut;
use std::sync::{Mutex, PoisonError};

use effigy::capi::entry::*;

use room::*;

/// Cycles; EFFIGY_LIVES sets more for a long run by hand.
fn lives() -> usize {
    std::env::var("EFFIGY_LIVES").ok().and_then(|text| text.parse().ok()).unwrap_or(20)
}

/// Resident memory of the process, bytes.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    4096 * text.split(' ').nth(1).unwrap().parse::<u64>().unwrap()
}

static ALONE: Mutex<()> = Mutex::new(());

/// The least that `cycles` lives leave behind, of four stretches after a first one that is not counted, bytes. The allocator and its
/// threads take memory in their own time: what a life leaves behind it leaves in every stretch.
fn left_behind(cycles: usize, life: impl Fn()) -> u64 {
    // The other test of this process must not have its memory counted here.
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    (0..cycles.min(10)).for_each(|_| life());
    let stretch = || {
        let before = resident();
        (0..cycles).for_each(|_| life());
        resident().saturating_sub(before)
    };
    let all = [stretch(), stretch(), stretch(), stretch()];
    println!("{cycles} lives and again, four times: {all:?} bytes more");
    all.into_iter().min().unwrap()
}

#[test]
fn handles_that_are_made_and_ended_again_and_again_leave_nothing() {
    let (header, packets) = packets(2, 0);
    let least = left_behind(lives(), || {
        let room = Room::new("lives");
        let decoder = room.open(&header);
        for packet in &packets {
            let mut canvas = Canvas::new(0);
            ok(send(decoder, packet));
            ok(unsafe { effigy_decoder_receive(decoder, &mut canvas.picture, null_mut()) });
        }
        unsafe { effigy_decoder_free(decoder) };
    });
    // One life's pack and decoder hold more than 200 kB: 20 of them that stay would show.
    assert!(least < 2 << 20, "at least {least} bytes more after each {} lives", lives());
}

/// Half as many, since an encoder learns its person first.
#[cfg(feature = "analysis")]
#[test]
fn encoders_that_are_made_and_ended_again_and_again_leave_nothing() {
    let cycles = lives().div_ceil(2);
    let room = Room::new("encoder-lives");
    // SAFETY: a structure of numbers.
    let mut settings: EncoderSettings = unsafe { std::mem::zeroed() };
    ok(unsafe { effigy_encoder_settings_init(&mut settings, std::mem::size_of::<EncoderSettings>()) });
    let settings = EncoderSettings { aligned: 1, device: 1, precision: 1, threads: 1, ..settings };
    let least = left_behind(cycles, || {
        let (canvas, mut encoder) = (Canvas::new(0), null_mut());
        unsafe {
            ok(effigy_encoder_new(room.pack, room.person, &settings, None, null_mut(), &mut encoder));
            ok(effigy_encoder_send(encoder, &canvas.picture, null_mut()));
            effigy_encoder_free(encoder);
        }
    });
    // Encoders share most of a pack's weights; what is their own is more than 200 kB too.
    assert!(least < 1 << 19, "at least {least} bytes more after each {cycles} lives");
}
