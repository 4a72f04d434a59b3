//! Decoding packets.

use std::ffi::c_char;
use std::mem::{offset_of, size_of};

use super::super::guard::{guard, guard_on, null, Failure, Handle};
use super::super::player::{computing, FrameOrigin, Next, Player};
use super::super::status::Status;
use super::identity::IdentityHandle;
use super::pointers::*;
use super::stream::PackHandle;
use crate::bitstream::ShownFrame;

/// A decoder of packets. Made by `effigy_decoder_new`, ended by `effigy_decoder_free`. One thread at a time. Since version 1.1.
pub struct DecoderHandle(Handle<Player>);

/// How to decode. Fill it with `effigy_decoder_settings_init`, then change what should differ.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct DecoderSettings {
    /// Bytes of this structure, set by `effigy_decoder_settings_init`.
    pub size: usize,
    /// 0 a CUDA device if there is one, else the processor; 1 the processor; 2 and up the CUDA device of this number less 2.
    pub device: i32,
    /// Number format of the convolutions: 0 the fastest that suits the device, 1 single, 2 bfloat16, 3 half.
    pub precision: i32,
    /// Threads on the processor, a setting of the whole process; 0: what libtorch has, which is `OMP_NUM_THREADS` or one per core until a
    /// handle sets another.
    pub threads: u32,
    /// For later versions; 0.
    pub reserved: u32,
    /// Not 0: pictures have twice the pack's side, with the detail of the identity that is shown if it has one; packs that draw more than 256
    /// pixels stay as they are. `effigy_decoder_info` tells the side. Since version 1.5.
    pub detail: u32,
    /// For later versions; 0. Since version 1.5.
    pub more_reserved: u32,
}

// SAFETY: see the structure.
unsafe impl Plain for DecoderSettings {
    const NAME: &'static str = "settings";
    // Version 1.1 ended there.
    const LEAST: usize = offset_of!(DecoderSettings, detail);
}

const USUAL: DecoderSettings = DecoderSettings {
    size: size_of::<DecoderSettings>(),
    device: 0,
    precision: 0,
    threads: 0,
    reserved: 0,
    detail: 0,
    more_reserved: 0,
};

/// What a stream of packets says about itself. Set `size` before the call.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct StreamHeaderInfo {
    /// In: `sizeof(effigy_stream_header_info)`. Out: the bytes the library filled.
    pub size: usize,
    /// Side of the decoded pictures, pixels: the model pack's (128 for the built-in one), whatever the camera's size, or twice that
    /// (`effigy_decoder_settings.detail`).
    pub resolution: u32,
    /// Width of the camera picture, pixels.
    pub camera_width: u32,
    /// Height of the camera picture, pixels.
    pub camera_height: u32,
    /// Usual distance of two frames, ticks.
    pub frame_ticks: u32,
    /// One tick of a time stamp lasts `time_base_num / time_base_den` seconds.
    pub time_base_num: u32,
    /// See `time_base_num`.
    pub time_base_den: u32,
}

// SAFETY: see the structure.
unsafe impl Plain for StreamHeaderInfo {
    const NAME: &'static str = "info";
    const LEAST: usize = size_of::<StreamHeaderInfo>();
}

/// What is known of a frame beside its picture. Set `size` before the call.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct FrameInfo {
    /// In: `sizeof(effigy_frame_info)`. Out: the bytes the library filled.
    pub size: usize,
    /// Time stamp, ticks of the stream's time base.
    pub pts: i64,
    /// An `effigy_frame_origin`.
    pub origin: i32,
    /// Not 0: `x`, `y` and `side` are known.
    pub has_placement: i32,
    /// Centre of the crop in the camera picture, pixels from the left edge.
    pub x: f32,
    /// Centre of the crop in the camera picture, pixels from the top edge.
    pub y: f32,
    /// Side of the crop in the camera picture, pixels. The crop may reach beyond the picture.
    pub side: f32,
    /// Rotation of the crop in the camera picture, degrees clockwise. The decoded picture is upright.
    pub roll: f32,
    /// Head turned left or right, degrees; positive turns the face towards the right edge of the picture. Level and straight ahead lie a few
    /// degrees off 0, differently for each identity.
    pub yaw: f32,
    /// Head nodding, degrees; positive looks up. As `yaw`, it compares frames of one identity; it is no absolute measure.
    pub pitch: f32,
}

// SAFETY: see the structure.
unsafe impl Plain for FrameInfo {
    const NAME: &'static str = "info";
    const LEAST: usize = size_of::<FrameInfo>();
}

/// Counts since the stream was opened or reset. Set `size` before the call.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct DecoderStatistics {
    /// In: `sizeof(effigy_decoder_statistics)`. Out: the bytes the library filled.
    pub size: usize,
    /// Packets that were decoded.
    pub packets: u64,
    /// Packets that came after their frames were due.
    pub late: u64,
    /// Packets that came more than once.
    pub duplicates: u64,
    /// Packets that could not be decoded, because one before them was missing.
    pub orphans: u64,
    /// Datagrams that are no valid packet, or too far ahead.
    pub refused: u64,
    /// Frames handed out as received.
    pub received: u64,
    /// Frames handed out from a coarse repetition.
    pub repeated: u64,
    /// Frames handed out that were made up.
    pub concealed: u64,
    /// Gaps that ended with a frame from a packet.
    pub recoveries: u64,
    /// Frames that wait for `effigy_decoder_receive` now.
    pub waiting: u64,
}

// SAFETY: see the structure.
unsafe impl Plain for DecoderStatistics {
    const NAME: &'static str = "statistics";
    const LEAST: usize = size_of::<DecoderStatistics>();
}

/// Puts the usual settings into `settings`. `size` is `sizeof(effigy_decoder_settings)`.
///
/// Required: `settings` is NULL or points to `size` writable bytes.
#[no_mangle]
pub unsafe extern "C" fn effigy_decoder_settings_init(settings: *mut DecoderSettings, size: usize) -> Status {
    // SAFETY: the caller's promise above.
    guard(|| unsafe { begin(settings, size, USUAL) })
}

/// Makes a decoder for streams of this identity. `settings` may be NULL for the usual ones. `pack`, `identity` and `settings`
/// are only used during the call and stay the caller's.
///
/// On success `*decoder` is a decoder that the caller owns and ends with `effigy_decoder_free`. On failure it is NULL and nothing
/// has to be freed.
///
/// Required: `pack` and `identity` are NULL or live; `settings` is NULL or points to `settings->size` readable bytes; `decoder` is NULL
/// or points to a writable pointer.
#[no_mangle]
pub unsafe extern "C" fn effigy_decoder_new(
    pack: *mut PackHandle,
    identity: *mut IdentityHandle,
    settings: *const DecoderSettings,
    decoder: *mut *mut DecoderHandle,
) -> Status {
    guard(|| {
        // SAFETY: the caller's promises above.
        let (pack, identity, chosen) = unsafe {
            clear(decoder, "decoder")?;
            let chosen = if settings.is_null() { USUAL } else { take(settings, USUAL)? };
            (borrow(pack, "pack")?, borrow(identity, "identity")?, chosen)
        };
        let options = computing(chosen.device, chosen.precision, chosen.threads)?;
        let made = identity.0.run(|person| pack.0.run(|pack| Player::new(pack, person, &options, chosen.detail != 0)))?;
        // SAFETY: `clear` has shown that `decoder` is not NULL.
        Ok(unsafe { hand_over(decoder, DecoderHandle(Handle::new(made))) })
    })
}

/// Begins a stream: `size` bytes at `header` are what `effigy_encoder_header` gave, or the front of a stream's file up to its first
/// packet. It must come whole and unchanged, so send it by a safe way. Counts and frames of an earlier stream are forgotten.
///
/// Misuse for a stream of another pack or identity. On failure the decoder is as before.
///
/// Required: `decoder` is NULL or live; `header` is NULL or points to `size` readable bytes.
#[no_mangle]
pub unsafe extern "C" fn effigy_decoder_open(decoder: *mut DecoderHandle, header: *const u8, size: usize) -> Status {
    // SAFETY: the caller's promise above.
    let decoder = unsafe { decoder.as_mut() }.map(|decoder| &mut decoder.0);
    guard_on(decoder, "decoder", |player| {
        // SAFETY: the caller's promise above.
        player.open(unsafe { bytes_argument(header, size)? })?;
        Ok(Status::Ok)
    })
}

/// Describes the stream that was opened. Set `info->size` before the call.
///
/// Required: `decoder` is NULL or live; `info` is NULL or points to `info->size` writable bytes.
#[no_mangle]
pub unsafe extern "C" fn effigy_decoder_info(decoder: *mut DecoderHandle, info: *mut StreamHeaderInfo) -> Status {
    // SAFETY: the caller's promise above.
    let decoder = unsafe { decoder.as_mut() }.map(|decoder| &mut decoder.0);
    guard_on(decoder, "decoder", |player| {
        let (header, side) = (player.header()?, player.side());
        let make = |size| {
            Ok(StreamHeaderInfo {
                size,
                resolution: side,
                camera_width: header.camera_width,
                camera_height: header.camera_height,
                frame_ticks: header.frame_ticks,
                time_base_num: header.time_base.num,
                time_base_den: header.time_base.den,
            })
        };
        // SAFETY: the caller's promise above.
        unsafe { fill(info, make)? };
        Ok(Status::Ok)
    })
}

/// Takes a packet: `size` bytes at `packet`, copied during the call. It makes its frames due, and those before them that are
/// missing; fetch them with `effigy_decoder_receive`. With `packet` NULL and `size` 0 a packet is known to be lost: as many frames as
/// the last packet had become due and will be made up. Where the stream has redundancy, rather send the next packet at once: it
/// repeats what is missing.
///
/// Failure leaves the decoder as it was, with the packet counted as refused: go on with the next one. `EFFIGY_STATUS_LIMIT` with more
/// than 1000 frames due (fetch them), or for a packet more than 1000 frames ahead (reset the decoder to jump).
///
/// Required: `decoder` is NULL or live; `packet` is NULL or points to `size` readable bytes.
#[no_mangle]
pub unsafe extern "C" fn effigy_decoder_send(decoder: *mut DecoderHandle, packet: *const u8, size: usize) -> Status {
    // SAFETY: the caller's promise above.
    let decoder = unsafe { decoder.as_mut() }.map(|decoder| &mut decoder.0);
    guard_on(decoder, "decoder", |player| {
        match packet.is_null() && size == 0 {
            true => player.conceal()?,
            // SAFETY: the caller's promise above.
            false => player.send(unsafe { bytes_argument(packet, size)? })?,
        }
        Ok(Status::Ok)
    })
}

/// Fetches the next frame that packets have made due, in order: `EFFIGY_STATUS_AGAIN` when there is none yet, and after
/// `effigy_decoder_flush` `EFFIGY_STATUS_END`. For programs with a jitter buffer of their own.
///
/// `picture` describes where it goes, with the width and height of `effigy_decoder_info`; its `pts` is set. With `picture` NULL the
/// frame is passed over without being drawn, which saves nearly all the work. `info` may be NULL; else set `info->size`. A call with
/// unfit arguments takes no frame.
///
/// Required: `decoder` is NULL or live; `picture` is NULL or describes writable memory; `info` is NULL or points to `info->size`
/// writable bytes.
#[no_mangle]
pub unsafe extern "C" fn effigy_decoder_receive(
    decoder: *mut DecoderHandle,
    picture: *mut Picture,
    info: *mut FrameInfo,
) -> Status {
    // SAFETY: the caller's promises above.
    unsafe { frame(decoder, picture, info, Player::next) }
}

/// Gives the frame that is due now by the caller's clock: received if its packet has come, else repeated or made up. Call it once
/// per frame, `frame_ticks` apart, beginning as long after the first packet as late ones should be waited for; packets may come in
/// any order meanwhile. `EFFIGY_STATUS_AGAIN` before the first packet. Arguments as in `effigy_decoder_receive`; use one of the two.
///
/// Required: as in `effigy_decoder_receive`.
#[no_mangle]
pub unsafe extern "C" fn effigy_decoder_play(decoder: *mut DecoderHandle, picture: *mut Picture, info: *mut FrameInfo) -> Status {
    // SAFETY: the caller's promises above.
    unsafe { frame(decoder, picture, info, Player::play) }
}

/// # Safety
/// As [`effigy_decoder_receive`] requires.
unsafe fn frame(
    decoder: *mut DecoderHandle,
    picture: *mut Picture,
    info: *mut FrameInfo,
    get: impl FnOnce(&mut Player, bool) -> crate::Result<Next>,
) -> Status {
    // SAFETY: the caller's promise.
    let decoder = unsafe { decoder.as_mut() }.map(|decoder| &mut decoder.0);
    guard_on(decoder, "decoder", |player| {
        // SAFETY: the caller's promises.
        let given = unsafe {
            if !info.is_null() {
                can_fill(info)?;
            }
            if picture.is_null() {
                None
            } else {
                Some(picture_argument(picture)?)
            }
        };
        if let Some((_, shape)) = &given {
            shape.check_side(player.side())?;
        }
        let (shown, pixels) = match get(player, given.is_some())? {
            Next::Frame(shown, pixels) => (shown, pixels),
            Next::Again => return Ok(Status::Again),
            Next::End => return Ok(Status::End),
        };
        // SAFETY: the caller's promises.
        unsafe {
            if let (Some((given, shape)), Some(pixels)) = (given, pixels) {
                write_picture(&given, shape, &pixels)?;
                (*picture).pts = shown.frame.pts;
            }
            if !info.is_null() {
                fill(info, |size| Ok::<_, Failure>(describe(size, &shown)))?;
            }
        }
        Ok(Status::Ok)
    })
}

fn describe(size: usize, shown: &ShownFrame) -> FrameInfo {
    let (params, place) = (&shown.frame.params, shown.frame.placement);
    FrameInfo {
        size,
        pts: shown.frame.pts,
        origin: FrameOrigin::from(shown.origin) as i32,
        has_placement: i32::from(place.is_some()),
        x: place.map_or(0.0, |place| place.x),
        y: place.map_or(0.0, |place| place.y),
        side: place.map_or(0.0, |place| place.side),
        roll: params.roll,
        yaw: params.yaw,
        pitch: params.pitch,
    }
}

/// Says that no packet follows for now: once all frames that are due are fetched, `effigy_decoder_receive` gives `EFFIGY_STATUS_END`.
/// A later packet goes on with the stream.
///
/// Required: `decoder` is NULL or live.
#[no_mangle]
pub unsafe extern "C" fn effigy_decoder_flush(decoder: *mut DecoderHandle) -> Status {
    // SAFETY: the caller's promise above.
    let decoder = unsafe { decoder.as_mut() }.map(|decoder| &mut decoder.0);
    guard_on(decoder, "decoder", |player| {
        player.flush()?;
        Ok(Status::Ok)
    })
}

/// Forgets all packets, frames and counts, and starts the same stream anew at whatever packet comes next: after a seek, or an
/// interruption of many seconds.
///
/// Required: `decoder` is NULL or live.
#[no_mangle]
pub unsafe extern "C" fn effigy_decoder_reset(decoder: *mut DecoderHandle) -> Status {
    // SAFETY: the caller's promise above.
    let decoder = unsafe { decoder.as_mut() }.map(|decoder| &mut decoder.0);
    guard_on(decoder, "decoder", |player| {
        player.reset()?;
        Ok(Status::Ok)
    })
}

/// Shows another person from the next frame on, moved by the stream: the distance from the sender's calm face is added to this
/// person's. With the stream's own identity all is as before. `pack` must be the one that the decoder was made with; both arguments are
/// only used during the call. On failure nothing changes.
///
/// Required: `decoder`, `pack` and `identity` are NULL or live.
#[no_mangle]
pub unsafe extern "C" fn effigy_decoder_swap_identity(
    decoder: *mut DecoderHandle,
    pack: *mut PackHandle,
    identity: *mut IdentityHandle,
) -> Status {
    // SAFETY: the caller's promise above.
    let decoder = unsafe { decoder.as_mut() }.map(|decoder| &mut decoder.0);
    guard_on(decoder, "decoder", |player| {
        // SAFETY: the caller's promises above.
        let (pack, identity) = unsafe { (borrow(pack, "pack")?, borrow(identity, "identity")?) };
        identity.0.run(|person| pack.0.run(|pack| player.swap(pack, person)))?;
        Ok(Status::Ok)
    })
}

/// Tells what became of packets and frames. Set `statistics->size` before the call.
///
/// Required: `decoder` is NULL or live; `statistics` is NULL or points to `statistics->size` writable bytes.
#[no_mangle]
pub unsafe extern "C" fn effigy_decoder_get_statistics(
    decoder: *mut DecoderHandle,
    statistics: *mut DecoderStatistics,
) -> Status {
    // SAFETY: the caller's promise above.
    let decoder = unsafe { decoder.as_mut() }.map(|decoder| &mut decoder.0);
    guard_on(decoder, "decoder", |player| {
        let (info, waiting) = player.counts();
        let make = |size| {
            Ok(DecoderStatistics {
                size,
                packets: info.packets,
                late: info.late,
                duplicates: info.duplicates,
                orphans: info.orphans,
                refused: info.refused,
                received: info.received,
                repeated: info.repeated,
                concealed: info.concealed,
                recoveries: info.recoveries,
                waiting,
            })
        };
        // SAFETY: the caller's promise above.
        unsafe { fill(statistics, make)? };
        Ok(Status::Ok)
    })
}

/// Sets `*wanted` to 1 while frames are made up that only a packet without predecessors can end, or a residual is missing: then ask the sender for one
/// (`effigy_encoder_request_intra`), again after a round trip if none has come. Else sets it to 0.
///
/// Required: `decoder` is NULL or live; `wanted` is NULL or writable.
#[no_mangle]
pub unsafe extern "C" fn effigy_decoder_needs_intra(decoder: *mut DecoderHandle, wanted: *mut i32) -> Status {
    // SAFETY: the caller's promise above.
    let decoder = unsafe { decoder.as_mut() }.map(|decoder| &mut decoder.0);
    guard_on(decoder, "decoder", |player| {
        if wanted.is_null() {
            return Err(null("wanted"));
        }
        // SAFETY: not NULL, and writable by the caller's promise.
        unsafe { wanted.write(i32::from(player.needs_intra())) };
        Ok(Status::Ok)
    })
}

/// Like `effigy_last_error`, for the most recent failure of a call with this decoder, by whatever thread.
///
/// Required: `decoder` is NULL or live; `text` is NULL or points to `size` writable bytes.
#[no_mangle]
pub unsafe extern "C" fn effigy_decoder_last_error(decoder: *mut DecoderHandle, text: *mut c_char, size: usize) -> usize {
    // SAFETY: the caller's promises above.
    unsafe { handle_error(decoder.as_mut().map(|decoder| &mut decoder.0), text, size) }
}

/// Ends a decoder. NULL is allowed and does nothing.
///
/// Required: `decoder` is NULL or came from `effigy_decoder_new` and has not been freed.
#[no_mangle]
pub unsafe extern "C" fn effigy_decoder_free(decoder: *mut DecoderHandle) {
    // SAFETY: the caller's promise above.
    unsafe { end(decoder) }
}
