//! Encoding live.

use std::ffi::{c_char, c_void};
use std::mem::{offset_of, size_of};
use std::time::Duration;

use super::super::guard::{guard, guard_on, null, Handle};
use super::super::player::computing;
use super::super::report::{ProgressFn, Teller};
use super::super::sender::{SendOptions, Sender};
use super::super::status::Status;
use super::identity::IdentityHandle;
use super::pointers::*;
use super::stream::PackHandle;
use crate::frame::TimedFrame;
use crate::{Error, Result};

/// Most bytes of a packet.
pub const MAX_PACKET: usize = 16384;

/// A live encoder. Made by `effigy_encoder_new`, ended by `effigy_encoder_free`. One thread at a time. Since version 1.1.
pub struct EncoderHandle(Handle<Sender>);

/// How to encode. Fill it with `effigy_encoder_settings_init`, then set the camera's size, the time base and what should differ.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct EncoderSettings {
    /// Bytes of this structure, set by `effigy_encoder_settings_init`.
    pub size: usize,
    /// Time stamp of the first frame, ticks, if it is known: time stamps near it cost least. Any other first one, negative too, is as good.
    /// Usual: 0.
    pub start_pts: i64,
    /// Width of the camera picture, pixels, 1 to 16384; to be set. With `aligned`, 0 stands for the identity's resolution.
    pub camera_width: u32,
    /// Height of the camera picture, pixels.
    pub camera_height: u32,
    /// One tick of a time stamp lasts `time_base_num / time_base_den` seconds. Usual: 1/90000.
    pub time_base_num: u32,
    /// See `time_base_num`.
    pub time_base_den: u32,
    /// Usual distance of two frames, ticks. Usual: 3600, 25 frames per second.
    pub frame_ticks: u32,
    /// Fineness of the numbers, 0 to 100; 12.5 points more halve the steps. Usual: 75.
    pub quality: f32,
    /// Frames that each packet repeats coarsely, against loss, 0 to 16. Usual: 0.
    pub redundancy: u32,
    /// Frames in a packet, 1 to 64: fewer come sooner, more cost less. Usual: 1.
    pub frames_per_packet: u32,
    /// Most frames from one intra packet to the next. Usual: 100.
    pub intra_interval: u32,
    /// Not 0: pictures are aligned crops already, of exactly the identity's resolution. Usual: 0.
    pub aligned: i32,
    /// Not 0: the header carries the identity. Usual: 0, it names it by its hash.
    pub inline_identity: i32,
    /// Share of the last frame's numbers that is kept, 0 to less than 1: calms noise, delays motion. Usual: 0.15.
    pub smoothing: f32,
    /// 0 a CUDA device if there is one, else the processor; 1 the processor; 2 and up the CUDA device of this number less 2.
    pub device: i32,
    /// Number format of the convolutions: 0 the fastest that suits the device, 1 single, 2 bfloat16, 3 half.
    pub precision: i32,
    /// Threads on the processor, a setting of the whole process; 0: what libtorch has, which is `OMP_NUM_THREADS` or one per core until a
    /// handle sets another.
    pub threads: u32,
    /// For later versions; 0.
    pub reserved: u32,
    /// Most steps of the search per frame, 0 to 16, unless there is time for more (`frame_budget_us`). A step draws the face four times; a second one, which only frames that are far off make, helps lively faces. The first frame that shows the
    /// person takes up to eight more, whatever the budget, and draws the face up to 66 times more, once. 0: the numbers are read by a network alone, which costs a fifth of a step and is far less like the person. Usual: 1. Since version 1.2.
    pub search_steps: u32,
    /// For later versions; 0. Since version 1.2.
    pub more_reserved: u32,
    /// What the numbers miss (other hair, another light, what moves in the background) is sent as a picture that changes slowly, in at most so many bytes a frame on average, 0 to 200 (to 85 with 64 frames in a packet). It
    /// travels with the packets, and the encoder draws every fourth frame for it. 0: none, as with `search_steps` 0. Usual: 6. Since version 1.3; programs made for earlier ones send none.
    pub residual_bytes: f32,
    /// For later versions; 0. Since version 1.3.
    pub reserved_too: u32,
    /// Microseconds that `effigy_encoder_send` should take. What is left of them after `search_steps` steps is spent on more of them, up to 16: on a fast machine faces come nearer.
    /// What is found depends on how fast the machine is, then, and it is always busy. About two thirds of the distance of two frames leave room for what else there is to do.
    /// 0: no more steps, as with `search_steps` 0. At most 1000000. Usual: 0. Since version 1.4.
    pub frame_budget_us: u32,
    /// For later versions; 0. Since version 1.4.
    pub reserved_last: u32,
}

// SAFETY: see the structure.
unsafe impl Plain for EncoderSettings {
    const NAME: &'static str = "settings";
    // Version 1.1 ended there.
    const LEAST: usize = offset_of!(EncoderSettings, search_steps);
}

const USUAL: EncoderSettings = EncoderSettings {
    size: size_of::<EncoderSettings>(),
    start_pts: 0,
    camera_width: 0,
    camera_height: 0,
    time_base_num: 1,
    time_base_den: 90_000,
    frame_ticks: 3600,
    quality: crate::bitstream::DEFAULT_QUALITY,
    redundancy: 0,
    frames_per_packet: 1,
    intra_interval: 100,
    aligned: 0,
    inline_identity: 0,
    smoothing: 0.15,
    device: 0,
    precision: 0,
    threads: 0,
    reserved: 0,
    search_steps: 1,
    more_reserved: 0,
    residual_bytes: 6.0,
    reserved_too: 0,
    frame_budget_us: 0,
    reserved_last: 0,
};

/// What programs mean that were made before the later members came.
const BEFORE: EncoderSettings = EncoderSettings { residual_bytes: 0.0, ..USUAL };

/// Longest time that a frame may take, microseconds.
const MOST_BUDGET: u32 = 1_000_000;

fn budget(microseconds: u32) -> Result<Duration> {
    match microseconds {
        0..=MOST_BUDGET => Ok(Duration::from_micros(microseconds.into())),
        _ => Err(Error::Misuse(format!("{microseconds} microseconds for a frame: at most {MOST_BUDGET} allowed"))),
    }
}

/// Puts the usual settings into `settings`. `size` is `sizeof(effigy_encoder_settings)`.
///
/// Required: `settings` is NULL or points to `size` writable bytes.
#[no_mangle]
pub unsafe extern "C" fn effigy_encoder_settings_init(settings: *mut EncoderSettings, size: usize) -> Status {
    // SAFETY: the caller's promise above.
    guard(|| unsafe { begin(settings, size, USUAL) })
}

/// Makes an encoder of this person. It learns how they look, which takes seconds; `progress` may be NULL, is called from this thread
/// with `user`, and may stop the work. `pack`, `identity` and `settings` are only used during the call and stay the caller's.
///
/// On success `*encoder` is an encoder that the caller owns and ends with `effigy_encoder_free`. On failure it is NULL and nothing
/// has to be freed. `EFFIGY_STATUS_UNSUPPORTED` in builds without an encoder (`effigy_features`), and for packs that can only
/// decode.
///
/// Required: `pack` and `identity` are NULL or live; `settings` is NULL or points to `settings->size` readable bytes; `progress` is NULL
/// or a function that neither throws nor jumps out; `encoder` is NULL or points to a writable pointer.
#[no_mangle]
pub unsafe extern "C" fn effigy_encoder_new(
    pack: *mut PackHandle,
    identity: *mut IdentityHandle,
    settings: *const EncoderSettings,
    progress: ProgressFn,
    user: *mut c_void,
    encoder: *mut *mut EncoderHandle,
) -> Status {
    guard(|| {
        // SAFETY: the caller's promises above.
        let (pack, identity, chosen) = unsafe {
            clear(encoder, "encoder")?;
            (borrow(pack, "pack")?, borrow(identity, "identity")?, take(settings, BEFORE)?)
        };
        let options = SendOptions {
            camera: (chosen.camera_width, chosen.camera_height),
            start_pts: chosen.start_pts,
            time_base: (chosen.time_base_num, chosen.time_base_den),
            frame_ticks: chosen.frame_ticks,
            quality: chosen.quality,
            redundancy: chosen.redundancy,
            frames_per_packet: chosen.frames_per_packet,
            intra: chosen.intra_interval,
            aligned: chosen.aligned != 0,
            inline_identity: chosen.inline_identity != 0,
            smoothing: chosen.smoothing,
            steps: chosen.search_steps,
            budget: budget(chosen.frame_budget_us)?,
            residual: chosen.residual_bytes,
            computing: computing(chosen.device, chosen.precision, chosen.threads)?,
        };
        let teller = Teller::new(progress, user);
        let made = identity.0.run(|person| pack.0.run(|pack| Sender::new(pack, person, &options, &teller)))?;
        // SAFETY: `clear` has shown that `encoder` is not NULL.
        Ok(unsafe { hand_over(encoder, EncoderHandle(Handle::new(made))) })
    })
}

/// Copies the front of the stream, which a receiver needs once, whole and by a safe way (`effigy_decoder_open`), to `data`, which has
/// `size` bytes, and sets `*length` to its length. With `data` NULL and `size` 0 only the length is told. It never changes. A file of
/// this and all packets behind it is a stream that `effigy_stream_open` reads, if the identity is inside.
///
/// Required: `encoder` is NULL or live; `data` is NULL or points to `size` writable bytes; `length` is NULL or writable.
#[no_mangle]
pub unsafe extern "C" fn effigy_encoder_header(
    encoder: *mut EncoderHandle,
    data: *mut u8,
    size: usize,
    length: *mut usize,
) -> Status {
    // SAFETY: the caller's promise above.
    let encoder = unsafe { encoder.as_mut() }.map(|encoder| &mut encoder.0);
    // SAFETY: the caller's promises above.
    guard_on(encoder, "encoder", |sender| unsafe { give_bytes(sender.header(), data, size, length) })
}

/// Codes a camera picture, in any format; it is only read, during the call. It has the size in the settings (with `aligned`: the identity's
/// resolution). Its time stamp must be above the one before; a gap in the time stamps makes no frames, here or at the receiver: only
/// packets that are missing do.
/// `confidence` may be NULL; it receives 0 to 1, how surely the face was followed: at 0 the last placement is held.
///
/// `EFFIGY_STATUS_NO_CONTENT` while no face has been seen: go on with the next picture. `EFFIGY_STATUS_LIMIT` while 1024 packets wait to
/// be received. After a failure the picture is not taken.
///
/// Required: `encoder` is NULL or live; `picture` is NULL or describes readable memory; `confidence` is NULL or writable.
#[no_mangle]
pub unsafe extern "C" fn effigy_encoder_send(
    encoder: *mut EncoderHandle,
    picture: *const Picture,
    confidence: *mut f32,
) -> Status {
    // SAFETY: the caller's promise above.
    let encoder = unsafe { encoder.as_mut() }.map(|encoder| &mut encoder.0);
    guard_on(encoder, "encoder", |sender| {
        // SAFETY: the caller's promise above.
        let (pts, frame) = unsafe {
            let (picture, shape) = picture_argument(picture)?;
            // Before hundreds of megabytes may be read for nothing.
            sender.check_size(shape.size())?;
            (picture.pts, read_picture(&picture, shape)?)
        };
        let sure = sender.send(TimedFrame { pts, frame })?;
        // SAFETY: the caller's promise above.
        unsafe { put(confidence, sure) };
        Ok(Status::Ok)
    })
}

/// Fetches the next packet: up to `capacity` bytes to `data`, its length to `*size`, the time stamp of its first frame to `*pts`, which
/// may be NULL. `EFFIGY_STATUS_AGAIN` when there is none: send more pictures, or flush. A packet has at most
/// `EFFIGY_MAX_PACKET` bytes, and usually under 100; one that does not fit is misuse and stays, with `*size` set.
///
/// Required: `encoder` is NULL or live; `data` is NULL or points to `capacity` writable bytes; `size` and `pts` are NULL or writable.
#[no_mangle]
pub unsafe extern "C" fn effigy_encoder_receive(
    encoder: *mut EncoderHandle,
    data: *mut u8,
    capacity: usize,
    size: *mut usize,
    pts: *mut i64,
) -> Status {
    // SAFETY: the caller's promise above.
    let encoder = unsafe { encoder.as_mut() }.map(|encoder| &mut encoder.0);
    guard_on(encoder, "encoder", |sender| {
        if data.is_null() {
            return Err(null("data"));
        }
        let Some((first, packet)) = sender.packet() else { return Ok(Status::Again) };
        // SAFETY: the caller's promises above.
        unsafe {
            give_bytes(packet, data, capacity, size)?;
            put(pts, *first);
        }
        sender.taken();
        Ok(Status::Ok)
    })
}

/// Makes the next packet one that needs no other, and soon the residual, too: a receiver asks for it, or joins.
///
/// Required: `encoder` is NULL or live.
#[no_mangle]
pub unsafe extern "C" fn effigy_encoder_request_intra(encoder: *mut EncoderHandle) -> Status {
    // SAFETY: the caller's promise above.
    let encoder = unsafe { encoder.as_mut() }.map(|encoder| &mut encoder.0);
    guard_on(encoder, "encoder", |sender| {
        sender.request_intra();
        Ok(Status::Ok)
    })
}

/// Ends the packet that is being filled, so that `effigy_encoder_receive` gives it; nothing happens if none is. Encoding may go on.
///
/// Required: `encoder` is NULL or live.
#[no_mangle]
pub unsafe extern "C" fn effigy_encoder_flush(encoder: *mut EncoderHandle) -> Status {
    // SAFETY: the caller's promise above.
    let encoder = unsafe { encoder.as_mut() }.map(|encoder| &mut encoder.0);
    guard_on(encoder, "encoder", |sender| {
        sender.flush()?;
        Ok(Status::Ok)
    })
}

/// Like `effigy_last_error`, for the most recent failure of a call with this encoder, by whatever thread.
///
/// Required: `encoder` is NULL or live; `text` is NULL or points to `size` writable bytes.
#[no_mangle]
pub unsafe extern "C" fn effigy_encoder_last_error(encoder: *mut EncoderHandle, text: *mut c_char, size: usize) -> usize {
    // SAFETY: the caller's promises above.
    unsafe { handle_error(encoder.as_mut().map(|encoder| &mut encoder.0), text, size) }
}

/// Ends an encoder. NULL is allowed and does nothing.
///
/// Required: `encoder` is NULL or came from `effigy_encoder_new` and has not been freed.
#[no_mangle]
pub unsafe extern "C" fn effigy_encoder_free(encoder: *mut EncoderHandle) {
    // SAFETY: the caller's promise above.
    unsafe { end(encoder) }
}
