//! Packs and streams in files.

use std::ffi::c_char;
use std::mem::size_of;
use std::ptr;

use super::super::guard::{guard, guard_on, null, Handle};
use super::super::picture::copy;
use super::super::status::Status;
use super::super::stream::Stream;
use super::pointers::*;
use crate::pack::Pack;

/// A loaded model pack. Made by `effigy_pack_load`, ended by `effigy_pack_free`. One thread at a time.
pub struct PackHandle(pub(super) Handle<Pack>);

/// A stream that is being decoded. Made by `effigy_stream_open` or `effigy_stream_open_memory`, ended by
/// `effigy_stream_free`. One thread at a time; different streams may be used by different threads.
pub struct StreamHandle(Handle<Stream>);

/// What a stream says about itself. Set `size` before the call.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct StreamProperties {
    /// In: the bytes the caller has, `sizeof(effigy_stream_properties)`. Out: the bytes the library filled. Later versions add
    /// members at the end, and callers built before them go on working.
    pub size: usize,
    /// Pixels per row of a decoded picture.
    pub width: u32,
    /// Rows of a decoded picture.
    pub height: u32,
    /// One tick of a time stamp lasts `time_base_num / time_base_den` seconds.
    pub time_base_num: u32,
    /// See `time_base_num`.
    pub time_base_den: u32,
    /// Frames in the stream that can be decoded; 0 while that is not known, which may be until its end.
    pub frames: u64,
    /// Frames handed out so far.
    pub decoded: u64,
    /// Damaged stretches passed over so far, also behind the last frame that is out: several are read at once. Decoding goes on behind them.
    pub damaged: u64,
    /// Frames known to be missing so far, by gaps in their numbers; as `damaged`.
    pub lost: u64,
    /// Of the frames handed out, those that were made up or came from a coarse repetition. Since version 1.1.
    pub concealed: u64,
}

// SAFETY: see the structure.
unsafe impl Plain for StreamProperties {
    const NAME: &'static str = "info";
    const LEAST: usize = size_of::<usize>() + 4 * size_of::<u32>() + 4 * size_of::<u64>();
}

/// Loads the model pack in the file `path` (NUL-terminated, UTF-8) and verifies it.
///
/// On success `*pack` is a pack that the caller owns and ends with `effigy_pack_free`. On failure `*pack` is NULL and
/// nothing has to be freed.
///
/// Required: `path` is NULL or a NUL-terminated string; `pack` is NULL or points to a writable pointer.
#[no_mangle]
pub unsafe extern "C" fn effigy_pack_load(path: *const c_char, pack: *mut *mut PackHandle) -> Status {
    guard(|| {
        // SAFETY: the caller's promises above.
        let path = unsafe {
            clear(pack, "pack")?;
            path_argument(path)?
        };
        let loaded = PackHandle(Handle::new(Pack::load(&path)?));
        // SAFETY: `clear` has shown that `pack` is not NULL.
        Ok(unsafe { hand_over(pack, loaded) })
    })
}

/// Ends a pack. Streams opened with it are not affected. NULL is allowed and does nothing.
///
/// Required: `pack` is NULL or came from `effigy_pack_load` and has not been freed.
#[no_mangle]
pub unsafe extern "C" fn effigy_pack_free(pack: *mut PackHandle) {
    // SAFETY: the caller's promise above.
    unsafe { end(pack) }
}

/// Opens the stream in the file `path` (NUL-terminated, UTF-8). The stream must carry its identity, and must have been made
/// with this `pack`, which is only used during the call and stays the caller's.
///
/// On success `*stream` is a stream that the caller owns and ends with `effigy_stream_free`. On failure `*stream` is NULL
/// and nothing has to be freed.
///
/// Required: `pack` is NULL or a live pack; `path` is NULL or a NUL-terminated string; `stream` is NULL or points to a
/// writable pointer.
#[no_mangle]
pub unsafe extern "C" fn effigy_stream_open(
    pack: *mut PackHandle,
    path: *const c_char,
    stream: *mut *mut StreamHandle,
) -> Status {
    guard(|| {
        // SAFETY: the caller's promises above.
        let (pack, path) = unsafe {
            clear(stream, "stream")?;
            (borrow(pack, "pack")?, path_argument(path)?)
        };
        let opened = StreamHandle(Handle::new(pack.0.run(|pack| Stream::open_file(pack, &path))?));
        // SAFETY: `clear` has shown that `stream` is not NULL.
        Ok(unsafe { hand_over(stream, opened) })
    })
}

/// Opens the stream whose bytes are in memory: `size` bytes at `data`, copied during the call. Otherwise like
/// `effigy_stream_open`.
///
/// Required: `pack` is NULL or a live pack; `data` is NULL or points to `size` readable bytes; `stream` is NULL or points
/// to a writable pointer.
#[no_mangle]
pub unsafe extern "C" fn effigy_stream_open_memory(
    pack: *mut PackHandle,
    data: *const u8,
    size: usize,
    stream: *mut *mut StreamHandle,
) -> Status {
    guard(|| {
        // SAFETY: the caller's promises above.
        let (pack, data) = unsafe {
            clear(stream, "stream")?;
            (borrow(pack, "pack")?, bytes_argument(data, size)?)
        };
        let opened = StreamHandle(Handle::new(pack.0.run(|pack| Stream::open_memory(pack, copy(data)?))?));
        // SAFETY: `clear` has shown that `stream` is not NULL.
        Ok(unsafe { hand_over(stream, opened) })
    })
}

/// Describes a stream. Set `info->size` to `sizeof(effigy_stream_properties)` before the call. May be called at any time.
///
/// Required: `stream` is NULL or a live stream; `info` is NULL or points to `info->size` writable bytes.
#[no_mangle]
pub unsafe extern "C" fn effigy_stream_info(stream: *mut StreamHandle, info: *mut StreamProperties) -> Status {
    // SAFETY: the caller's promise above.
    let stream = unsafe { stream.as_mut() }.map(|stream| &mut stream.0);
    guard_on(stream, "stream", |stream| {
        // SAFETY: the caller's promise above.
        unsafe { fill(info, |size| Ok(StreamProperties { size, ..stream.properties() }))? };
        Ok(Status::Ok)
    })
}

/// From the next frame on pictures have twice the pack's side, with the detail of the stream's identity if it has one; packs that draw more
/// than 256 pixels stay as they are. `effigy_stream_info` tells the side. Pictures that are
/// drawn already and not out yet are enlarged at once; if the device fails then, all stays as it was. Since version 1.5.
///
/// Required: `stream` is NULL or a live stream.
#[no_mangle]
pub unsafe extern "C" fn effigy_stream_show_detail(stream: *mut StreamHandle) -> Status {
    // SAFETY: the caller's promise above.
    let stream = unsafe { stream.as_mut() }.map(|stream| &mut stream.0);
    guard_on(stream, "stream", |stream| {
        stream.show_detail()?;
        Ok(Status::Ok)
    })
}

/// Decodes the next frame into `rgb`: rows from the top, each `3 * width` bytes R G B, `stride` bytes from one row to the next.
/// The bytes between rows stay as they are.
///
/// `size` is the number of bytes at `rgb`, at least `stride * (height - 1) + 3 * width`; they stay the caller's. `pts`
/// receives the time stamp in ticks and may be NULL. Returns `EFFIGY_STATUS_END`, and writes nothing, after the last frame.
/// Damaged packets are passed over and counted in `effigy_stream_info`; frames missing in the middle are made up, at most 250 in a
/// row. A call with unfit arguments takes no frame. Several frames are read and drawn at once, so that some calls take long and
/// those that follow them next to no time; after `EFFIGY_STATUS_DEVICE` all of them are gone; `EFFIGY_STATUS_IO` comes behind the frames
/// before it. A pipe that is still being written is better read packet by packet (`effigy_decoder_new`).
///
/// Required: `stream` is NULL or a live stream; `rgb` is NULL or points to `size` writable bytes; `pts` is NULL or
/// writable.
#[no_mangle]
pub unsafe extern "C" fn effigy_stream_next(
    stream: *mut StreamHandle,
    rgb: *mut u8,
    stride: usize,
    size: usize,
    pts: *mut i64,
) -> Status {
    // SAFETY: the caller's promise above.
    let stream = unsafe { stream.as_mut() }.map(|stream| &mut stream.0);
    guard_on(stream, "stream", |stream| {
        if rgb.is_null() {
            return Err(null("rgb"));
        }
        let properties = stream.properties();
        let picture = Picture {
            size: size_of::<Picture>(),
            format: 0,
            colour: 0,
            width: properties.width,
            height: properties.height,
            planes: [rgb, ptr::null_mut(), ptr::null_mut()],
            strides: [stride, 0, 0],
            sizes: [size, 0, 0],
            pts: 0,
        };
        // SAFETY: `rgb` and its size are as the caller promises.
        let (picture, shape) = unsafe { picture_argument(&picture)? };
        let Some(timed) = stream.next_frame()? else { return Ok(Status::End) };
        // SAFETY: as above, and `pts` by the caller's promise.
        unsafe {
            write_picture(&picture, shape, &timed.frame)?;
            put(pts, timed.pts);
        }
        Ok(Status::Ok)
    })
}

/// Decodes the next frame into `picture`, in any format; its `pts` is set. Its width and height must be those of
/// `effigy_stream_info`. Otherwise like `effigy_stream_next`. Since version 1.1.
///
/// Required: `stream` is NULL or a live stream; `picture` is NULL or describes writable memory.
#[no_mangle]
pub unsafe extern "C" fn effigy_stream_next_picture(stream: *mut StreamHandle, picture: *mut Picture) -> Status {
    // SAFETY: the caller's promise above.
    let stream = unsafe { stream.as_mut() }.map(|stream| &mut stream.0);
    guard_on(stream, "stream", |stream| {
        // SAFETY: the caller's promise above.
        let (given, shape) = unsafe { picture_argument(picture)? };
        shape.check_side(stream.properties().width)?;
        let Some(timed) = stream.next_frame()? else { return Ok(Status::End) };
        // SAFETY: the caller's promise above.
        unsafe {
            write_picture(&given, shape, &timed.frame)?;
            (*picture).pts = timed.pts;
        }
        Ok(Status::Ok)
    })
}

/// Like `effigy_last_error`, for the most recent failure of a call with this stream, by whatever thread. Since version 1.1.
///
/// Required: `stream` is NULL or a live stream; `text` is NULL or points to `size` writable bytes.
#[no_mangle]
pub unsafe extern "C" fn effigy_stream_last_error(stream: *mut StreamHandle, text: *mut c_char, size: usize) -> usize {
    // SAFETY: the caller's promises above.
    unsafe { handle_error(stream.as_mut().map(|stream| &mut stream.0), text, size) }
}

/// Ends a stream. NULL is allowed and does nothing.
///
/// Required: `stream` is NULL or came from `effigy_stream_open` or `effigy_stream_open_memory` and has not been freed.
#[no_mangle]
pub unsafe extern "C" fn effigy_stream_free(stream: *mut StreamHandle) {
    // SAFETY: the caller's promise above.
    unsafe { end(stream) }
}
