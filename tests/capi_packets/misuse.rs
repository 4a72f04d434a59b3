//! Arguments that make no sense, in every function: errors, never aborts.

use std::ffi::c_char;
use std::mem::size_of;
use std::ptr::{dangling_mut, null, null_mut};

use effigy::capi::entry::*;
use effigy::capi::status::Status;
use effigy::pack::fixture::splitmix;

use crate::room::*;

#[test]
fn null_is_refused_everywhere_and_allowed_in_free() {
    let room = Room::new("null");
    let decoder = room.decoder();
    let (p, i) = (room.pack, room.person);
    let mut text = [0 as c_char; 4];
    unsafe {
        let all = [
            effigy_identity_load(null(), null_mut()),
            effigy_identity_load(c"x".as_ptr(), null_mut()),
            effigy_identity_load_memory(null(), 5, &mut dangling_mut()),
            effigy_identity_bytes(null_mut(), null_mut(), 0, null_mut()),
            effigy_identity_bytes(i, null_mut(), 0, null_mut()),
            effigy_identity_bytes(i, null_mut(), 5, &mut 0),
            effigy_decoder_settings_init(null_mut(), 100),
            effigy_encoder_settings_init(null_mut(), 100),
            effigy_enroller_settings_init(null_mut(), 100),
            effigy_decoder_new(null_mut(), i, null(), &mut dangling_mut()),
            effigy_decoder_new(p, null_mut(), null(), &mut dangling_mut()),
            effigy_decoder_new(p, i, null(), null_mut()),
            effigy_decoder_open(null_mut(), null(), 0),
            effigy_decoder_open(decoder, null(), 0),
            effigy_decoder_info(null_mut(), null_mut()),
            effigy_decoder_send(null_mut(), null(), 0),
            effigy_decoder_send(decoder, null(), 9),
            effigy_decoder_receive(null_mut(), null_mut(), null_mut()),
            effigy_decoder_play(null_mut(), null_mut(), null_mut()),
            effigy_decoder_flush(null_mut()),
            effigy_decoder_reset(null_mut()),
            effigy_decoder_swap_identity(null_mut(), p, i),
            effigy_decoder_swap_identity(decoder, null_mut(), i),
            effigy_decoder_swap_identity(decoder, p, null_mut()),
            effigy_decoder_get_statistics(null_mut(), null_mut()),
            effigy_decoder_get_statistics(decoder, null_mut()),
            effigy_decoder_needs_intra(null_mut(), &mut 0),
            effigy_decoder_needs_intra(decoder, null_mut()),
            effigy_encoder_new(p, i, null(), None, null_mut(), &mut dangling_mut()),
            effigy_encoder_new(null_mut(), null_mut(), null(), None, null_mut(), null_mut()),
            effigy_encoder_header(null_mut(), null_mut(), 0, null_mut()),
            effigy_encoder_send(null_mut(), null(), null_mut()),
            effigy_encoder_receive(null_mut(), null_mut(), 0, null_mut(), null_mut()),
            effigy_encoder_request_intra(null_mut()),
            effigy_encoder_flush(null_mut()),
            effigy_enroller_new(null_mut(), null(), null_mut()),
            effigy_enroller_add(null_mut(), null()),
            effigy_enroller_run(null_mut(), p, None, null_mut(), null_mut()),
            effigy_stream_next_picture(null_mut(), null_mut()),
        ];
        for (number, status) in all.iter().enumerate() {
            assert_eq!(*status, Status::Null, "call {number}");
        }
        assert_eq!(effigy_decoder_last_error(null_mut(), text.as_mut_ptr(), 4), 0);
        assert_eq!(effigy_encoder_last_error(null_mut(), null_mut(), 0), 0);
        assert_eq!(effigy_enroller_last_error(null_mut(), null_mut(), 0), 0);
        assert_eq!(effigy_stream_last_error(null_mut(), null_mut(), 0), 0);
        effigy_decoder_free(null_mut());
        effigy_encoder_free(null_mut());
        effigy_enroller_free(null_mut());
        effigy_identity_free(null_mut());
        effigy_decoder_free(decoder);
    }
}

#[test]
fn the_wrong_order_is_misuse_and_the_handle_keeps_its_words() {
    let room = Room::new("order");
    let decoder = room.decoder();
    let packet = [0u8; 9];
    unsafe {
        let all = [
            effigy_decoder_send(decoder, packet.as_ptr(), 9),
            effigy_decoder_send(decoder, null(), 0),
            effigy_decoder_receive(decoder, null_mut(), null_mut()),
            effigy_decoder_play(decoder, null_mut(), null_mut()),
            effigy_decoder_flush(decoder),
            effigy_decoder_reset(decoder),
        ];
        assert_eq!(all, [Status::Misuse; 6]);
        // Another failure of this thread, on no handle.
        effigy_identity_load(null(), null_mut());
        let mut text = vec![0 as c_char; 200];
        let length = effigy_decoder_last_error(decoder, text.as_mut_ptr(), text.len());
        let words: Vec<u8> = text[..length].iter().map(|c| *c as u8).collect();
        assert!(String::from_utf8(words).unwrap().contains("no stream yet"));
        effigy_decoder_free(decoder);
    }
}

#[test]
fn unfit_pictures_and_structures_take_no_frame() {
    let room = Room::new("unfit-frames");
    let (header, packets) = packets(1, 0);
    let decoder = room.open(&header);
    ok(send(decoder, &packets[0]));
    let good = Canvas::new(3);
    let plane = good.picture.planes[0];
    let with = |change: &dyn Fn(&mut Picture)| {
        let mut picture = good.picture;
        change(&mut picture);
        unsafe { effigy_decoder_receive(decoder, &mut picture, null_mut()) }
    };
    assert_eq!(with(&|p| p.size = 4), Status::Misuse);
    assert_eq!(with(&|p| p.format = 5), Status::Misuse);
    assert_eq!(with(&|p| p.format = i32::MIN), Status::Misuse);
    assert_eq!(with(&|p| p.colour = 2), Status::Misuse);
    assert_eq!(with(&|p| p.width = 33), Status::Misuse);
    assert_eq!(with(&|p| (p.width, p.height) = (16, 16)), Status::Misuse);
    assert_eq!(with(&|p| p.height = 0), Status::Limit);
    assert_eq!(with(&|p| p.width = u32::MAX), Status::Limit);
    assert_eq!(with(&|p| p.planes[2] = null_mut()), Status::Null);
    assert_eq!(with(&|p| p.strides[1] = 15), Status::Misuse);
    assert_eq!(with(&|p| p.strides[0] = usize::MAX), Status::Misuse);
    assert_eq!(with(&|p| p.sizes[0] -= 1), Status::Misuse);
    assert_eq!(with(&|p| (p.sizes[0], p.planes[0]) = (usize::MAX, plane)), Status::Misuse);
    let mut info = FrameInfo { size: 3, ..blank_info() };
    assert_eq!(unsafe { effigy_decoder_receive(decoder, null_mut(), &mut info) }, Status::Misuse);
    assert_eq!(statistics(decoder).waiting, 1);
    assert_eq!(with(&|_| ()), Status::Ok);
    unsafe { effigy_decoder_free(decoder) };
}

#[test]
fn garbage_in_headers_identities_and_paths_is_refused() {
    let room = Room::new("garbage");
    let (header, _) = packets(1, 0);
    let decoder = room.decoder();
    let open = |bytes: &[u8]| unsafe { effigy_decoder_open(decoder, bytes.as_ptr(), bytes.len()) };
    assert_eq!(open(&header[..header.len() - 1]), Status::Malformed);
    for at in 0..header.len() {
        let mut bad = header.clone();
        bad[at] ^= 0x10;
        assert_ne!(open(&bad), Status::Ok, "byte {at}");
    }
    assert_eq!(open(&header), Status::Ok);
    let stranger = room.open(&header);
    let mut identity = null_mut();
    unsafe {
        assert_eq!(effigy_identity_load(c"\xff\xfe".as_ptr(), &mut identity), Status::Misuse);
        assert_eq!(effigy_identity_load(c"/no/such".as_ptr(), &mut identity), Status::Io);
        let bytes = [7u8; 300];
        assert_eq!(effigy_identity_load_memory(bytes.as_ptr(), 300, &mut identity), Status::Malformed);
        assert_eq!(effigy_identity_load_memory(bytes.as_ptr(), usize::MAX, &mut identity), Status::Misuse);
        effigy_decoder_free(stranger);
        effigy_decoder_free(decoder);
    }
    // A stream of one person for the decoder of another.
    let settings = DecoderSettings { size: size_of::<DecoderSettings>() + 64, ..usual() };
    let mut other = null_mut();
    ok(unsafe { effigy_decoder_new(room.pack, room.other, &settings, &mut other) });
    assert_eq!(unsafe { effigy_decoder_open(other, header.as_ptr(), header.len()) }, Status::Misuse);
    unsafe { effigy_decoder_free(other) };
}

#[test]
fn a_hundred_thousand_random_packets_do_no_harm() {
    let room = Room::new("random");
    let (header, packets) = packets(30, 0);
    let decoder = room.open(&header);
    let mut refused = 0;
    for round in 0..100_000u64 {
        let random = |index| splitmix(round, index);
        // Half of them noise, half of them packets with some bits changed; every bit changed must be noticed.
        let packet: Vec<u8> = match round % 2 {
            0 => (0..random(0) % 200).map(|i| random(1 + i) as u8).collect(),
            _ => {
                let mut packet = packets[(random(0) % 30) as usize].clone();
                for flip in 0..1 + random(1) % 4 {
                    let at = random(2 + flip) as usize % (8 * packet.len());
                    packet[at / 8] ^= 1 << (at % 8);
                }
                packet
            }
        };
        let status = unsafe { effigy_decoder_send(decoder, packet.as_ptr(), packet.len()) };
        assert!(!matches!(status, Status::Panic | Status::Device), "{round}: {}", last_error());
        refused += u64::from(status != Status::Ok);
        due(decoder);
    }
    assert!(refused > 90_000, "{refused}");
    assert!(statistics(decoder).waiting == 0);
    // And it still works.
    ok(unsafe { effigy_decoder_reset(decoder) });
    ok(send(decoder, &packets[0]));
    assert_eq!(due(decoder), [(0, 0)]);
    unsafe { effigy_decoder_free(decoder) };
}
