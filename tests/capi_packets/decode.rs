//! Decoding packets: order, loss, clocks, formats, other people.

use std::mem::size_of;
use std::ptr::{null, null_mut};

use effigy::capi::entry::*;
use effigy::capi::status::Status;

use crate::room::*;

#[test]
fn packets_become_frames_and_the_rest_is_known_beside_them() {
    let room = Room::new("frames");
    let (header, packets) = packets(3, 0);
    let decoder = room.open(&header);
    let mut about = StreamHeaderInfo {
        size: size_of::<StreamHeaderInfo>(),
        resolution: 0,
        camera_width: 0,
        camera_height: 0,
        frame_ticks: 0,
        time_base_num: 0,
        time_base_den: 0,
    };
    ok(unsafe { effigy_decoder_info(decoder, &mut about) });
    assert_eq!((about.resolution, about.camera_width, about.camera_height), (32, 640, 480));
    assert_eq!((about.frame_ticks, about.time_base_num, about.time_base_den), (3600, 1, 90_000));
    let (mut canvas, mut info) = (Canvas::new(0), blank_info());
    let mut receive = |decoder| unsafe { effigy_decoder_receive(decoder, &mut canvas.picture, &mut info) };
    assert_eq!(receive(decoder), Status::Again);
    for packet in &packets {
        ok(send(decoder, packet));
        ok(receive(decoder));
        assert_eq!(receive(decoder), Status::Again);
    }
    ok(unsafe { effigy_decoder_flush(decoder) });
    assert_eq!(receive(decoder), Status::End);
    assert_eq!((info.pts, info.origin, info.has_placement), (2 * TICKS, 0, 1));
    // Steps of the placement are 1/16 of a pixel and more; a tenth of the side is far beyond them.
    assert!((info.x - 320.0).abs() < 20.0 && (info.side - 200.0).abs() < 20.0, "{info:?}");
    assert!((info.yaw - params(2).yaw).abs() < 0.5 && (info.roll - 2.0).abs() < 0.5, "{info:?}");
    assert_eq!(canvas.picture.pts, 2 * TICKS);
    assert!(canvas.planes[0].iter().any(|byte| *byte != 0));
    let counts = statistics(decoder);
    assert_eq!((counts.packets, counts.received, counts.concealed, counts.waiting), (3, 3, 0, 0));
    unsafe { effigy_decoder_free(decoder) };
}

#[test]
fn lost_packets_are_concealed_until_an_intra_packet_comes() {
    let room = Room::new("loss");
    let (header, packets) = packets(24, 0);
    let decoder = room.open(&header);
    for packet in &packets[..10] {
        ok(send(decoder, packet));
    }
    assert_eq!(due(decoder).len(), 10);
    assert!(!wants_intra(decoder));
    // Packet 10 is lost and said to be; 11 to 19 need it; 20 needs none.
    ok(unsafe { effigy_decoder_send(decoder, null(), 0) });
    assert_eq!(due(decoder), [(10, 2)]);
    assert!(wants_intra(decoder));
    for (number, packet) in packets.iter().enumerate().take(20).skip(11) {
        ok(send(decoder, packet));
        assert_eq!(due(decoder), [(number as i64, 2)]);
    }
    assert!(wants_intra(decoder));
    ok(send(decoder, &packets[20]));
    assert_eq!(due(decoder), [(20, 0)]);
    assert!(!wants_intra(decoder));
    assert_eq!(statistics(decoder).recoveries, 1);
    unsafe { effigy_decoder_free(decoder) };
}

#[test]
fn redundant_packets_repeat_what_is_missing_and_want_no_intra() {
    let room = Room::new("redundancy");
    let (header, packets) = packets(6, 2);
    let decoder = room.open(&header);
    for packet in [&packets[0], &packets[1], &packets[4]] {
        ok(send(decoder, packet));
    }
    assert_eq!(due(decoder), [(0, 0), (1, 0), (2, 1), (3, 1), (4, 0)]);
    assert!(!wants_intra(decoder));
    unsafe { effigy_decoder_free(decoder) };
}

#[test]
fn a_clock_may_drive_the_decoder_while_packets_come_in_any_order() {
    let room = Room::new("clock");
    let (header, packets) = packets(4, 0);
    let decoder = room.open(&header);
    let mut info = blank_info();
    let mut play = || {
        let status = unsafe { effigy_decoder_play(decoder, null_mut(), &mut info) };
        (status, info.pts / TICKS, info.origin)
    };
    assert_eq!(play().0, Status::Again);
    for number in [0, 2, 1] {
        ok(send(decoder, &packets[number]));
    }
    assert_eq!([play(), play(), play()], [0, 1, 2].map(|number| (Status::Ok, number, 0)));
    assert_eq!(play(), (Status::Ok, 3, 2), "the clock goes on without packets");
    ok(send(decoder, &packets[3]));
    assert_eq!(statistics(decoder).late, 1);
    unsafe { effigy_decoder_free(decoder) };
}

#[test]
fn reset_begins_anew_at_any_packet_that_needs_no_other() {
    let room = Room::new("reset");
    let (header, packets) = packets(23, 0);
    let decoder = room.open(&header);
    ok(send(decoder, &packets[0]));
    assert_eq!(due(decoder).len(), 1);
    ok(unsafe { effigy_decoder_reset(decoder) });
    assert_eq!(statistics(decoder).packets, 0);
    ok(send(decoder, &packets[20]));
    ok(send(decoder, &packets[21]));
    assert_eq!(due(decoder), [(20, 0), (21, 0)]);
    unsafe { effigy_decoder_free(decoder) };
}

#[test]
fn every_format_shows_the_same_frame() {
    let room = Room::new("formats");
    let (header, packets) = packets(1, 0);
    let mut seen = Vec::new();
    for format in 0..5 {
        let (decoder, mut canvas) = (room.open(&header), Canvas::new(format));
        ok(send(decoder, &packets[0]));
        ok(unsafe { effigy_decoder_receive(decoder, &mut canvas.picture, null_mut()) });
        seen.push(canvas.planes);
        unsafe { effigy_decoder_free(decoder) };
    }
    let rgb: Vec<[u8; 3]> = seen[0][0].chunks(3).map(|p| [p[0], p[1], p[2]]).collect();
    assert_eq!(seen[1][0], rgb.iter().flat_map(|p| [p[0], p[1], p[2], 255]).collect::<Vec<_>>());
    assert_eq!(seen[2][0], rgb.iter().flat_map(|p| [p[2], p[1], p[0], 255]).collect::<Vec<_>>());
    // BT.601: 219/255 of the weighted sum above 16.
    let luma = |p: &[u8; 3]| 16.5 + (0.299 * f32::from(p[0]) + 0.587 * f32::from(p[1]) + 0.114 * f32::from(p[2])) * 219.0 / 255.0;
    assert!(seen[3][0].iter().zip(&rgb).all(|(y, p)| (f32::from(*y) + 0.5 - luma(p)).abs() <= 0.51));
    assert_eq!(seen[4][0], seen[3][0]);
    let pairs: Vec<u8> = seen[3][1].iter().zip(&seen[3][2]).flat_map(|(u, v)| [*u, *v]).collect();
    assert_eq!(seen[4][1], pairs);
}

#[test]
fn another_person_can_be_shown_and_the_own_one_again() {
    let room = Room::new("swap");
    let (header, packets) = packets(3, 0);
    let decoder = room.open(&header);
    let mut pictures = Vec::new();
    for (packet, person) in packets.iter().zip([room.person, room.other, room.person]) {
        ok(unsafe { effigy_decoder_swap_identity(decoder, room.pack, person) });
        ok(send(decoder, packet));
        let mut canvas = Canvas::new(0);
        ok(unsafe { effigy_decoder_receive(decoder, &mut canvas.picture, null_mut()) });
        pictures.push(canvas.planes.concat());
    }
    let plain = room.open(&header);
    for (number, packet) in packets.iter().enumerate() {
        ok(send(plain, packet));
        let mut canvas = Canvas::new(0);
        ok(unsafe { effigy_decoder_receive(plain, &mut canvas.picture, null_mut()) });
        assert_eq!(canvas.planes[0] == pictures[number], number != 1, "frame {number}");
    }
    unsafe {
        effigy_decoder_free(plain);
        effigy_decoder_free(decoder);
    }
}
