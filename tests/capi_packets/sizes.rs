//! Structures of programs that were built with an older or a newer header: every structure, through a function that takes it.

use std::mem::{offset_of, size_of};
use std::ptr::null_mut;

use effigy::capi::entry::*;
use effigy::capi::status::Status;

use crate::room::*;

/// Bytes that only a newer program has.
const TAIL: usize = 40;

/// A structure as a newer program has it.
#[repr(C)]
struct Newer<T> {
    known: T,
    tail: [u8; TAIL],
}

impl<T> Newer<T> {
    /// With every byte `fill`, but the size, which comes first in every structure.
    fn new(fill: u8) -> Newer<T> {
        let mut place = std::mem::MaybeUninit::<Newer<T>>::uninit();
        // SAFETY: numbers and pointers, of which any bytes are a value.
        unsafe {
            std::ptr::write_bytes(place.as_mut_ptr(), fill, 1);
            place.as_mut_ptr().cast::<usize>().write(size_of::<Newer<T>>());
            place.assume_init()
        }
    }

    fn size(&self) -> usize {
        // SAFETY: the first member.
        unsafe { std::ptr::from_ref(self).cast::<usize>().read() }
    }

    /// That a call has filled what there is of it today, and nothing behind.
    #[track_caller]
    fn assert_filled(&self, status: Status, fill: u8) {
        ok(status);
        assert_eq!(self.size(), size_of::<T>());
        assert_eq!(self.tail, [fill; TAIL]);
    }
}

/// Calls with a structure of every shorter length down to none, which no version had: a misuse that writes nothing. `least` is what the
/// first version had.
#[track_caller]
fn assert_refuses_less<T>(least: usize, call: impl Fn(*mut T) -> Status) {
    for size in 0..least {
        let mut place = Newer::<T>::new(0x5a);
        // SAFETY: the first member.
        unsafe { std::ptr::from_mut(&mut place).cast::<usize>().write(size) };
        assert_eq!(call(&mut place.known), Status::Misuse, "{size} bytes");
        assert_eq!((place.size(), place.tail), (size, [0x5a; TAIL]));
    }
}

#[test]
fn what_is_filled_stops_at_what_the_library_knows() {
    let room = Room::new("sizes-filled");
    let (header, packets) = packets(1, 0);
    let decoder = room.open(&header);
    ok(send(decoder, &packets[0]));
    for fill in [0, 0xff] {
        let (mut header, mut counts) = (Newer::new(fill), Newer::new(fill));
        let status = unsafe { effigy_decoder_info(decoder, &mut header.known) };
        header.assert_filled(status, fill);
        let status = unsafe { effigy_decoder_get_statistics(decoder, &mut counts.known) };
        counts.assert_filled(status, fill);
        let (mut decoding, mut encoding, mut enrolling) = (Newer::new(fill), Newer::new(fill), Newer::new(fill));
        let status = unsafe { effigy_decoder_settings_init(&mut decoding.known, size_of_val(&decoding)) };
        decoding.assert_filled(status, fill);
        let status = unsafe { effigy_encoder_settings_init(&mut encoding.known, size_of_val(&encoding)) };
        encoding.assert_filled(status, fill);
        let status = unsafe { effigy_enroller_settings_init(&mut enrolling.known, size_of_val(&enrolling)) };
        enrolling.assert_filled(status, fill);
    }
    assert_refuses_less(size_of::<StreamHeaderInfo>(), |info| unsafe { effigy_decoder_info(decoder, info) });
    assert_refuses_less(size_of::<DecoderStatistics>(), |counts| unsafe { effigy_decoder_get_statistics(decoder, counts) });
    assert_refuses_less(size_of::<FrameInfo>(), |info| unsafe { effigy_decoder_receive(decoder, null_mut(), info) });
    let mut info = Newer::new(0x33);
    let status = unsafe { effigy_decoder_receive(decoder, null_mut(), &mut info.known) };
    info.assert_filled(status, 0x33);
    unsafe { effigy_decoder_free(decoder) };
}

#[test]
fn what_is_read_stops_at_what_the_library_knows() {
    let room = Room::new("sizes-read");
    let (header, packets) = packets(2, 0);
    for fill in [0, 0xff] {
        let mut settings = Newer::<DecoderSettings>::new(fill);
        settings.known = DecoderSettings { size: size_of_val(&settings), device: 1, precision: 1, threads: 1, ..usual() };
        let mut decoder = null_mut();
        ok(unsafe { effigy_decoder_new(room.pack, room.person, &settings.known, &mut decoder) });
        ok(unsafe { effigy_decoder_open(decoder, header.as_ptr(), header.len()) });
        ok(send(decoder, &packets[0]));
        let (canvas, mut picture) = (Canvas::new(0), Newer::<Picture>::new(fill));
        picture.known = Picture { size: size_of_val(&picture), ..canvas.picture };
        ok(unsafe { effigy_decoder_receive(decoder, &mut picture.known, null_mut()) });
        // A picture is the caller's: of it only the time stamp is written.
        assert_eq!((picture.size(), picture.known.pts, picture.tail), (size_of_val(&picture), 0, [fill; TAIL]));
        ok(send(decoder, &packets[1]));
        assert_refuses_less(size_of::<Picture>(), |picture| unsafe { effigy_decoder_receive(decoder, picture, null_mut()) });
        assert_eq!(due(decoder).len(), 1, "no call with unfit arguments has taken the frame");
        unsafe { effigy_decoder_free(decoder) };
    }
    let made = |settings: *const DecoderSettings| unsafe {
        let mut decoder = null_mut();
        let status = effigy_decoder_new(room.pack, room.person, settings, &mut decoder);
        assert!(decoder.is_null());
        status
    };
    // Those of version 1.1 ended there.
    let least = offset_of!(DecoderSettings, detail);
    assert_refuses_less::<DecoderSettings>(least, |settings| made(settings));
    let mut decoder = null_mut();
    let old = DecoderSettings { size: least, detail: 1, ..usual() };
    ok(unsafe { effigy_decoder_new(room.pack, room.person, &old, &mut decoder) });
    ok(unsafe { effigy_decoder_open(decoder, header.as_ptr(), header.len()) });
    let mut info = StreamHeaderInfo { size: size_of::<StreamHeaderInfo>(), ..unsafe { std::mem::zeroed() } };
    ok(unsafe { effigy_decoder_info(decoder, &mut info) });
    assert_eq!(info.resolution as usize, SIDE, "what lies beyond the settings is not read");
    unsafe { effigy_decoder_free(decoder) };
    let begun = |settings: *mut EnrollerSettings| unsafe { effigy_enroller_new(room.pack, settings, &mut null_mut()) };
    assert_refuses_less(size_of::<EnrollerSettings>(), begun);
    let begun = |settings: *mut EncoderSettings| unsafe {
        effigy_encoder_new(room.pack, room.person, settings, None, null_mut(), &mut null_mut())
    };
    assert_refuses_less(size_of::<EncoderSettings>(), begun);
}
