//! Encoding live, and enrolment; and that builds without them say so.

use std::mem::size_of;
use std::ptr::null_mut;

use effigy::capi::entry::*;
use effigy::capi::status::Status;

use crate::room::*;

fn usual_encoder() -> EncoderSettings {
    // SAFETY: a structure of numbers.
    let mut settings: EncoderSettings = unsafe { std::mem::zeroed() };
    ok(unsafe { effigy_encoder_settings_init(&mut settings, size_of::<EncoderSettings>()) });
    EncoderSettings { aligned: 1, device: 1, precision: 1, threads: 1, ..settings }
}

fn usual_enroller() -> EnrollerSettings {
    // SAFETY: a structure of numbers and a pointer, for which NULL is allowed.
    let mut settings: EnrollerSettings = unsafe { std::mem::zeroed() };
    ok(unsafe { effigy_enroller_settings_init(&mut settings, size_of::<EnrollerSettings>()) });
    EnrollerSettings { aligned: 1, device: 1, precision: 1, threads: 1, preset: 0, tune_steps: 4, ..settings }
}

#[test]
fn the_features_are_those_of_the_build() {
    let have = effigy_features();
    assert_eq!(have & Feature::Encode as u32 != 0, cfg!(feature = "analysis"));
    assert_eq!(have & Feature::Align as u32 != 0, cfg!(feature = "encode"));
}

#[cfg(not(feature = "analysis"))]
#[test]
fn builds_without_an_encoder_say_unsupported() {
    let room = Room::new("unsupported");
    let (mut encoder, mut enroller) = (null_mut(), null_mut());
    let settings = usual_encoder();
    unsafe {
        let status = effigy_encoder_new(room.pack, room.person, &settings, None, null_mut(), &mut encoder);
        assert_eq!((status, encoder), (Status::Unsupported, null_mut()));
        let status = effigy_enroller_new(room.pack, &usual_enroller(), &mut enroller);
        assert_eq!((status, enroller), (Status::Unsupported, null_mut()));
    }
}

#[cfg(feature = "analysis")]
mod present {
    use std::ffi::{c_char, c_void, CStr};
    use std::ptr::null;

    use super::*;
    use effigy::decode::{DecodeOptions, Decoder};
    use effigy::frame::Frame;
    use effigy::params::FrameParams;

    /// Counts how often it is told something, and wants to stop after as many calls as `user` says (0: never).
    extern "C" fn count(stage: *const c_char, done: u64, total: u64, user: *mut c_void) -> i32 {
        assert!(!unsafe { CStr::from_ptr(stage) }.to_bytes().is_empty());
        assert!(total == 0 || done <= total);
        let calls = unsafe { &mut *user.cast::<[u64; 2]>() };
        calls[0] += 1;
        i32::from(calls[1] > 0 && calls[0] >= calls[1])
    }

    /// Crops of the person, as their own generator draws them.
    fn crops(room: &Room, count: usize) -> Vec<Frame> {
        let (header, packets) = packets(count, 0);
        let decoder = room.open(&header);
        let draw = |packet: &Vec<u8>| {
            let mut canvas = Canvas::new(0);
            ok(send(decoder, packet));
            ok(unsafe { effigy_decoder_receive(decoder, &mut canvas.picture, null_mut()) });
            Frame::new(SIDE as u32, SIDE as u32, canvas.planes.remove(0)).unwrap()
        };
        let out = packets.iter().map(draw).collect();
        unsafe { effigy_decoder_free(decoder) };
        out
    }

    fn encoder(room: &Room, settings: &EncoderSettings) -> *mut EncoderHandle {
        let mut encoder = null_mut();
        ok(unsafe { effigy_encoder_new(room.pack, room.person, settings, None, null_mut(), &mut encoder) });
        encoder
    }

    fn push(encoder: *mut EncoderHandle, frame: &Frame, number: usize) -> Status {
        let mut canvas = Canvas::new(0);
        // The canvas's own plane: its place must not change.
        canvas.planes[0].copy_from_slice(&frame.data);
        canvas.picture.pts = TICKS * number as i64;
        let mut sure = -1.0;
        let status = unsafe { effigy_encoder_send(encoder, &canvas.picture, &mut sure) };
        assert!(status != Status::Ok || sure == 1.0, "{sure}");
        status
    }

    fn fetch(encoder: *mut EncoderHandle) -> Option<(i64, Vec<u8>)> {
        let (mut data, mut size, mut pts) = (vec![0; MAX_PACKET], 0, 0);
        match unsafe { effigy_encoder_receive(encoder, data.as_mut_ptr(), data.len(), &mut size, &mut pts) } {
            Status::Ok => Some((pts / TICKS, data[..size].to_vec())),
            status => {
                assert_eq!(status, Status::Again);
                None
            }
        }
    }

    fn header(encoder: *mut EncoderHandle) -> Vec<u8> {
        let mut length = 0;
        ok(unsafe { effigy_encoder_header(encoder, null_mut(), 0, &mut length) });
        let mut bytes = vec![0; length];
        ok(unsafe { effigy_encoder_header(encoder, bytes.as_mut_ptr(), length, &mut length) });
        bytes
    }

    #[test]
    fn what_is_encoded_is_decoded_by_the_other_side() {
        let room = Room::new("loop");
        let crops = crops(&room, 5);
        let encoder = encoder(&room, &usual_encoder());
        let decoder = room.open(&header(encoder));
        for (number, crop) in crops.iter().enumerate() {
            assert_eq!(fetch(encoder), None);
            ok(push(encoder, crop, number));
            let (pts, packet) = fetch(encoder).unwrap();
            assert_eq!(pts, number as i64);
            ok(send(decoder, &packet));
        }
        assert_eq!(due(decoder), [(0, 0), (1, 0), (2, 0), (3, 0), (4, 0)]);
        unsafe {
            effigy_decoder_free(decoder);
            effigy_encoder_free(encoder);
        }
    }

    /// Bytes of all packets of a call, and the squared error of the last picture that the other side sees.
    fn talk(room: &Room, crops: &[Frame], settings: &EncoderSettings) -> (usize, f64) {
        let encoder = encoder(room, settings);
        let decoder = room.open(&header(encoder));
        let (mut bytes, mut left) = (0, f64::NAN);
        for (number, crop) in crops.iter().enumerate() {
            ok(push(encoder, crop, number));
            let (_, packet) = fetch(encoder).unwrap();
            assert_eq!(fetch(encoder), None, "a packet a frame, whatever else is sent");
            bytes += packet.len();
            ok(send(decoder, &packet));
            let mut canvas = Canvas::new(0);
            ok(unsafe { effigy_decoder_receive(decoder, &mut canvas.picture, null_mut()) });
            let pairs = canvas.planes[0].iter().zip(&crop.data);
            left = pairs.map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2)).sum();
        }
        unsafe {
            effigy_decoder_free(decoder);
            effigy_encoder_free(encoder);
        }
        (bytes, left)
    }

    #[test]
    fn what_the_numbers_miss_travels_with_the_packets_unless_the_program_is_older() {
        let room = Room::new("residual");
        let mut crops = crops(&room, 24);
        for crop in &mut crops {
            (0..6).flat_map(|x| (0..SIDE).map(move |y| 3 * (y * SIDE + x))).for_each(|at| crop.data[at] ^= 0x60);
        }
        let usual = usual_encoder();
        assert_eq!(usual.residual_bytes, 6.0);
        let plain = talk(&room, &crops, &EncoderSettings { residual_bytes: 0.0, ..usual });
        let rich = talk(&room, &crops, &EncoderSettings { residual_bytes: 60.0, ..usual });
        assert!(rich.1 < 0.3 * plain.1, "{rich:?} {plain:?}");
        assert!(rich.0 > plain.0 + 100 && rich.0 < plain.0 + 60 * crops.len(), "{rich:?} {plain:?}");
        // Version 1.2 ended before these members.
        let older =
            EncoderSettings { size: std::mem::offset_of!(EncoderSettings, residual_bytes), residual_bytes: 60.0, ..usual };
        assert_eq!(talk(&room, &crops, &older), plain);
    }

    #[test]
    fn time_that_a_frame_may_take_brings_the_face_nearer_unless_the_program_is_older() {
        let room = Room::new("budget");
        // The first frame is searched for long in any case; in those behind it the face jumps.
        let options = DecodeOptions { threads: Some(1), ..DecodeOptions::default() };
        let mut decoder = Decoder::new(&own_pack(), &own_identity(1), &options).unwrap();
        let crops = [0, 1, 2].map(|t| {
            let phase = 1.9 * t as f32;
            let mut state = FrameParams { pitch: 9.0 * phase.sin(), yaw: 14.0 * phase.cos(), ..FrameParams::default() };
            state.alpha[..12].iter_mut().enumerate().for_each(|(i, a)| *a = 0.5 * (phase + i as f32).cos());
            decoder.render(&state).unwrap()
        });
        let usual = EncoderSettings { residual_bytes: 0.0, smoothing: 0.0, quality: 100.0, ..usual_encoder() };
        let slow = EncoderSettings { frame_budget_us: 1_000_000, ..usual };
        let (plain, near) = (talk(&room, &crops, &usual), talk(&room, &crops, &slow));
        assert!(near.1 < 0.5 * plain.1, "{near:?} {plain:?}");
        // Version 1.3 ended before this member.
        let older = EncoderSettings { size: std::mem::offset_of!(EncoderSettings, frame_budget_us), ..slow };
        assert_eq!(talk(&room, &crops, &older), plain);
        assert_eq!(talk(&room, &crops, &EncoderSettings { frame_budget_us: 1, ..usual }), plain);
    }

    #[test]
    fn packets_fill_are_flushed_and_need_no_other_when_asked() {
        let room = Room::new("groups");
        let crops = crops(&room, 8);
        let encoder = encoder(&room, &EncoderSettings { frames_per_packet: 3, ..usual_encoder() });
        let mut sent = Vec::new();
        for (number, crop) in crops.iter().enumerate() {
            if number == 3 {
                ok(unsafe { effigy_encoder_request_intra(encoder) });
            }
            ok(push(encoder, crop, number));
            sent.extend(fetch(encoder));
        }
        assert_eq!(sent.iter().map(|(pts, _)| *pts).collect::<Vec<_>>(), [0, 3]);
        ok(unsafe { effigy_encoder_flush(encoder) });
        sent.extend(fetch(encoder));
        assert_eq!(sent[2].0, 6);
        ok(unsafe { effigy_encoder_flush(encoder) });
        assert_eq!(fetch(encoder), None);
        // Beginning with the packet that needs no other.
        let decoder = room.open(&header(encoder));
        ok(send(decoder, &sent[1].1));
        ok(send(decoder, &sent[2].1));
        assert_eq!(due(decoder), [(3, 0), (4, 0), (5, 0), (6, 0), (7, 0)]);
        unsafe {
            effigy_decoder_free(decoder);
            effigy_encoder_free(encoder);
        }
    }

    #[test]
    fn a_file_of_header_and_packets_is_a_stream() {
        let room = Room::new("file");
        let crops = crops(&room, 2);
        let encoder = encoder(&room, &EncoderSettings { inline_identity: 1, ..usual_encoder() });
        let mut file = header(encoder);
        for (number, crop) in crops.iter().enumerate() {
            ok(push(encoder, crop, number));
            file.extend(fetch(encoder).unwrap().1);
        }
        let mut stream = null_mut();
        ok(unsafe { effigy_stream_open_memory(room.pack, file.as_ptr(), file.len(), &mut stream) });
        let mut canvas = Canvas::new(3);
        for number in 0..2 {
            ok(unsafe { effigy_stream_next_picture(stream, &mut canvas.picture) });
            assert_eq!(canvas.picture.pts, TICKS * number);
        }
        assert_eq!(unsafe { effigy_stream_next_picture(stream, &mut canvas.picture) }, Status::End);
        unsafe {
            effigy_stream_free(stream);
            effigy_encoder_free(encoder);
        }
    }

    #[test]
    fn pictures_that_do_not_fit_are_refused_and_not_taken() {
        let room = Room::new("unfit");
        let crops = crops(&room, 2);
        let encoder = encoder(&room, &usual_encoder());
        ok(push(encoder, &crops[0], 5));
        assert_eq!(push(encoder, &crops[1], 5), Status::Misuse);
        let mut small = Canvas::new(0);
        small.picture.width = 16;
        assert_eq!(unsafe { effigy_encoder_send(encoder, &small.picture, null_mut()) }, Status::Misuse);
        // Larger than memory: its size is refused before a byte of it is looked at.
        let mut huge = Canvas::new(0);
        (huge.picture.width, huge.picture.height) = (16384, 16384);
        (huge.picture.strides[0], huge.picture.sizes[0]) = (1 << 40, 1 << 55);
        assert_eq!(unsafe { effigy_encoder_send(encoder, &huge.picture, null_mut()) }, Status::Misuse);
        assert!(last_error().contains("16384 x 16384"), "{}", last_error());
        ok(push(encoder, &crops[1], 6));
        assert_eq!([fetch(encoder), fetch(encoder)].map(|packet| packet.map(|p| p.0)), [Some(5), Some(6)]);
        // A packet that does not fit stays.
        ok(push(encoder, &crops[0], 7));
        let (mut data, mut size) = ([0; 4], 0);
        let status = unsafe { effigy_encoder_receive(encoder, data.as_mut_ptr(), 4, &mut size, null_mut()) };
        assert_eq!(status, Status::Misuse);
        assert_eq!(fetch(encoder).map(|p| p.1.len()), Some(size));
        unsafe { effigy_encoder_free(encoder) };
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        let room = Room::new("settings");
        let good = usual_encoder();
        let bad = [
            EncoderSettings { quality: 101.0, ..good },
            EncoderSettings { quality: f32::NAN, ..good },
            EncoderSettings { redundancy: 99, ..good },
            EncoderSettings { frames_per_packet: 0, ..good },
            EncoderSettings { intra_interval: 0, ..good },
            EncoderSettings { time_base_den: 0, ..good },
            EncoderSettings { camera_width: 7, camera_height: 7, ..good },
            EncoderSettings { smoothing: 1.0, ..good },
            EncoderSettings { search_steps: 17, ..good },
            EncoderSettings { frame_budget_us: 1_000_001, ..good },
            EncoderSettings { residual_bytes: -1.0, ..good },
            EncoderSettings { residual_bytes: 201.0, ..good },
            EncoderSettings { residual_bytes: f32::NAN, ..good },
            EncoderSettings { device: -1, ..good },
            EncoderSettings { precision: 9, ..good },
            EncoderSettings { threads: 5000, ..good },
            EncoderSettings { size: 8, ..good },
            EncoderSettings { aligned: 0, camera_width: 0, camera_height: 0, ..good },
        ];
        for settings in bad {
            let mut encoder = null_mut();
            let status = unsafe { effigy_encoder_new(room.pack, room.person, &settings, None, null_mut(), &mut encoder) };
            assert!((status as i32) < 0 && encoder.is_null(), "{settings:?}");
            assert!(!matches!(status, Status::Panic | Status::Device), "{}", last_error());
        }
    }

    #[test]
    fn making_an_encoder_reports_progress_and_can_be_stopped() {
        let room = Room::new("stop");
        let (settings, mut encoder) = (usual_encoder(), null_mut());
        let mut calls = [0u64, 0];
        let user = (&raw mut calls).cast();
        ok(unsafe { effigy_encoder_new(room.pack, room.person, &settings, Some(count), user, &mut encoder) });
        unsafe { effigy_encoder_free(encoder) };
        let all = calls[0];
        assert!(all > 2, "{all}");
        calls = [0, 2];
        let status = unsafe { effigy_encoder_new(room.pack, room.person, &settings, Some(count), user, &mut encoder) };
        assert_eq!((status, encoder), (Status::Cancelled, null_mut()));
        assert!(calls[0] < all);
    }

    #[test]
    fn a_person_is_enrolled_from_pictures_and_can_stop_it() {
        let room = Room::new("enrol");
        let settings = EnrollerSettings { name: c"Ada".as_ptr(), ..usual_enroller() };
        let (mut enroller, mut identity) = (null_mut(), null_mut());
        ok(unsafe { effigy_enroller_new(room.pack, &settings, &mut enroller) });
        let run = |identity: &mut *mut IdentityHandle, calls: &mut [u64; 2]| unsafe {
            effigy_enroller_run(enroller, room.pack, Some(count), (&raw mut *calls).cast(), identity)
        };
        assert_eq!(run(&mut identity, &mut [0, 0]), Status::NoContent);
        for crop in crops(&room, 3) {
            let mut canvas = Canvas::new(0);
            canvas.planes[0].copy_from_slice(&crop.data);
            ok(unsafe { effigy_enroller_add(enroller, &canvas.picture) });
        }
        let mut calls = [0, 3];
        assert_eq!((run(&mut identity, &mut calls), identity), (Status::Cancelled, null_mut()));
        ok(run(&mut identity, &mut [0, 0]));
        let mut length = 0;
        ok(unsafe { effigy_identity_bytes(identity, null_mut(), 0, &mut length) });
        let mut bytes = vec![0; length];
        ok(unsafe { effigy_identity_bytes(identity, bytes.as_mut_ptr(), length, &mut length) });
        assert_eq!(effigy::bitstream::Identity::from_bytes(&bytes).unwrap().name, "Ada");
        let mut decoder = null_mut();
        ok(unsafe { effigy_decoder_new(room.pack, identity, null(), &mut decoder) });
        unsafe {
            effigy_decoder_free(decoder);
            effigy_identity_free(identity);
            effigy_enroller_free(enroller);
        }
    }
}
