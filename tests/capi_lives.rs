//! Many lives of handles leave nothing behind. A process of its own: other tests' memory would count too.
#![cfg(all(feature = "capi", target_os = "linux"))]
// Reason: raw pointers are what is tested.
#![allow(unsafe_code)]

// Reason: the other tests use the rest of it.
#[allow(dead_code)]
#[path = "capi_packets/room.rs"]
mod room;

use std::ptr::null_mut;

use effigy::capi::entry::*;

use room::*;

/// Cycles; EFFIGY_LIVES sets more for a long run by hand.
fn lives() -> usize {
    std::env::var("EFFIGY_LIVES").ok().and_then(|text| text.parse().ok()).unwrap_or(40)
}

/// Resident memory of the process, bytes.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    4096 * text.split(' ').nth(1).unwrap().parse::<u64>().unwrap()
}

#[test]
fn handles_that_are_made_and_ended_again_and_again_leave_nothing() {
    let (header, packets) = packets(2, 0);
    let life = || {
        let room = Room::new("lives");
        let decoder = room.open(&header);
        for packet in &packets {
            let mut canvas = Canvas::new(0);
            ok(send(decoder, packet));
            ok(unsafe { effigy_decoder_receive(decoder, &mut canvas.picture, null_mut()) });
        }
        unsafe { effigy_decoder_free(decoder) };
    };
    (0..10).for_each(|_| life());
    // The allocator and its threads take memory in their own time: what a life leaves behind it leaves in every stretch.
    let mut least = u64::MAX;
    for _ in 0..4 {
        let before = resident();
        (0..lives()).for_each(|_| life());
        least = least.min(resident().saturating_sub(before));
    }
    // One life's pack and decoder hold more than 200 kB: 40 of them that stay would show.
    assert!(least < 4 << 20, "at least {least} bytes more after each {} lives", lives());
}
