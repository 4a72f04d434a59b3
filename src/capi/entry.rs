//! Every function of the C interface, and all `unsafe` code of the crate. Input: C pointers. Output: status numbers.
//! A function here converts its arguments, calls safe code and maps the result; the work is in [`super::stream`].

// Reason: C sees unmangled names and raw pointers, and both are unsafe by nature. No other file has this exemption.
#![allow(unsafe_code)]
// Reason: these comments become the C header, where a "Safety" heading of Rust's kind says nothing. What a caller must keep
// to stands in each comment, in words for C programmers.
#![allow(clippy::missing_safety_doc)]

use std::ffi::{c_char, CStr};
use std::mem::size_of;
use std::path::PathBuf;
use std::{ptr, slice};

use super::guard::{guard, null, with_last_message, Failure, Handle};
use super::status::Status;
use super::stream::Stream;
use super::ABI_VERSION;
use crate::frame::Frame;
use crate::pack::Pack;
use crate::Error;

/// A loaded model pack. Made by `effigy_pack_load`, ended by `effigy_pack_free`. One thread at a time.
pub struct PackHandle(Handle<Pack>);

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
    /// Damaged stretches passed over so far; decoding goes on behind them.
    pub damaged: u64,
    /// Frames known to be missing so far, by gaps in their numbers.
    pub lost: u64,
}

/// Bytes of `StreamProperties` in version 1.0 of the interface, the least a caller can have.
const PROPERTIES_1_0: usize = size_of::<usize>() + 4 * size_of::<u32>() + 4 * size_of::<u64>();

/// The version of the library as text, such as "0.1.0". The text is part of the library: never free it.
#[no_mangle]
pub extern "C" fn effigy_version() -> *const c_char {
    const TEXT: &CStr = match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
        Ok(text) => text,
        Err(_) => panic!("a crate version holds no NUL"),
    };
    TEXT.as_ptr()
}

/// The version of this interface: 1000 times the major part plus the minor part. Compare `effigy_abi_version() / 1000`
/// with `EFFIGY_ABI_VERSION / 1000`: when they differ, header and library do not fit.
#[no_mangle]
pub extern "C" fn effigy_abi_version() -> u32 {
    ABI_VERSION
}

/// A few words of English for a status number; for an unknown number, "unknown status". The text is part of the library:
/// never free it.
#[no_mangle]
pub extern "C" fn effigy_status_text(status: i32) -> *const c_char {
    Status::from_number(status).map_or(c"unknown status", Status::text).as_ptr()
}

/// Copies the message of the calling thread's most recent failure, as UTF-8 with a final NUL, cut to fit.
///
/// `text` may be NULL when `size` is 0; otherwise it points to `size` writable bytes, which stay the caller's. Returns the
/// length of the whole message in bytes, without the NUL; a `size` that is not greater cut the message. Success does not
/// clear the message.
///
/// Required: `text` is NULL or points to `size` writable bytes.
#[no_mangle]
pub unsafe extern "C" fn effigy_last_error(text: *mut c_char, size: usize) -> usize {
    with_last_message(|message| {
        if !text.is_null() && size > 0 {
            let cut = (0..=message.len().min(size - 1)).rev().find(|&at| message.is_char_boundary(at)).unwrap_or(0);
            // SAFETY: `cut < size`, and the caller promises `size` writable bytes; a Rust string never overlaps them.
            unsafe {
                ptr::copy_nonoverlapping(message.as_ptr().cast(), text, cut);
                text.add(cut).write(0);
            }
        }
        message.len()
    })
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
        unsafe { pack.write(Box::into_raw(Box::new(loaded))) };
        Ok(Status::Ok)
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
        unsafe { stream.write(Box::into_raw(Box::new(opened))) };
        Ok(Status::Ok)
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
        let opened = StreamHandle(Handle::new(pack.0.run(|pack| Stream::open_memory(pack, data.to_vec()))?));
        // SAFETY: `clear` has shown that `stream` is not NULL.
        unsafe { stream.write(Box::into_raw(Box::new(opened))) };
        Ok(Status::Ok)
    })
}

/// Describes a stream. Set `info->size` to `sizeof(effigy_stream_properties)` before the call. May be called at any time.
///
/// Required: `stream` is NULL or a live stream; `info` is NULL or points to `info->size` writable bytes.
#[no_mangle]
pub unsafe extern "C" fn effigy_stream_info(stream: *mut StreamHandle, info: *mut StreamProperties) -> Status {
    guard(|| {
        // SAFETY: the caller's promise above.
        let stream = unsafe { borrow(stream, "stream")? };
        if info.is_null() {
            return Err(null("info"));
        }
        // SAFETY: not NULL, and its first member is set by the caller; the others may be uninitialised and are not read.
        let room = unsafe { ptr::addr_of!((*info).size).read() };
        if room < PROPERTIES_1_0 {
            return Err(misuse(format!("info->size is {room}, expected at least {PROPERTIES_1_0}")));
        }
        let size = room.min(size_of::<StreamProperties>());
        let filled = stream.0.run(|stream| Ok(StreamProperties { size, ..stream.properties() }))?;
        // SAFETY: `size` is no more than the structure has here, nor than the caller has by the promise about `info->size`.
        unsafe { ptr::copy_nonoverlapping(ptr::from_ref(&filled).cast::<u8>(), info.cast::<u8>(), size) };
        Ok(Status::Ok)
    })
}

/// Decodes the next frame into `rgb`: rows from the top, each `3 * width` bytes R G B, `stride` bytes from one row to the next.
/// The bytes between rows stay as they are.
///
/// `size` is the number of bytes at `rgb`, at least `stride * (height - 1) + 3 * width`; they stay the caller's. `pts`
/// receives the time stamp in ticks and may be NULL. Returns `EFFIGY_STATUS_END`, and writes nothing, after the last frame.
/// Damaged packets are passed over and counted in `effigy_stream_info`. A call with unfit arguments takes no frame.
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
    guard(|| {
        // SAFETY: the caller's promise above.
        let stream = unsafe { borrow(stream, "stream")? };
        if rgb.is_null() {
            return Err(null("rgb"));
        }
        let Some(timed) = stream.0.run(|stream| {
            let picture = stream.properties();
            check_size(picture.width, picture.height, stride, size)?;
            stream.next_frame()
        })?
        else {
            return Ok(Status::End);
        };
        // The buffer was checked against the header; a picture of any other size must not reach it.
        check_size(timed.frame.width, timed.frame.height, stride, size)?;
        // SAFETY: the two checks show that every row lies within the `size` bytes that the caller promises.
        unsafe { copy_rows(&timed.frame, rgb, stride) };
        if !pts.is_null() {
            // SAFETY: not NULL, and writable by the caller's promise.
            unsafe { pts.write(timed.pts) };
        }
        Ok(Status::Ok)
    })
}

/// Ends a stream. NULL is allowed and does nothing.
///
/// Required: `stream` is NULL or came from `effigy_stream_open` or `effigy_stream_open_memory` and has not been freed.
#[no_mangle]
pub unsafe extern "C" fn effigy_stream_free(stream: *mut StreamHandle) {
    // SAFETY: the caller's promise above.
    unsafe { end(stream) }
}

fn misuse(message: String) -> Failure {
    Error::Misuse(message).into()
}

/// A caller's buffer must hold a picture of `width` x `height`.
fn check_size(width: u32, height: u32, stride: usize, size: usize) -> Result<(), Error> {
    let row = 3 * width as usize;
    if stride < row {
        return Err(Error::Misuse(format!("stride is {stride}, expected at least {row} for {width} pixels")));
    }
    let needed = stride.checked_mul((height as usize).saturating_sub(1)).and_then(|bytes| bytes.checked_add(row));
    match needed {
        Some(needed) if needed <= size => Ok(()),
        _ => Err(Error::Misuse(format!("buffer of {size} bytes is too small for {height} rows of stride {stride}"))),
    }
}

/// # Safety
/// `rgb` is writable for `stride * (height - 1) + 3 * width` bytes, and `stride >= 3 * width`.
unsafe fn copy_rows(frame: &Frame, rgb: *mut u8, stride: usize) {
    for (number, row) in frame.data.chunks_exact(3 * frame.width as usize).enumerate() {
        // SAFETY: the caller's promise; C memory that the caller may write is not a Rust value, so it cannot overlap `row`.
        unsafe { ptr::copy_nonoverlapping(row.as_ptr(), rgb.add(number * stride), row.len()) };
    }
}

/// Sets the pointer that a function is to fill to NULL, so that it is never left undefined.
///
/// # Safety
/// `place` is NULL or writable.
unsafe fn clear<T>(place: *mut *mut T, argument: &str) -> Result<(), Failure> {
    if place.is_null() {
        return Err(null(argument));
    }
    // SAFETY: not NULL, and writable by the caller's promise.
    unsafe { place.write(ptr::null_mut()) };
    Ok(())
}

/// # Safety
/// `handle` is NULL or came from `Box::into_raw`, is not freed, and no other thread uses it during the call.
unsafe fn borrow<'a, T>(handle: *mut T, argument: &str) -> Result<&'a mut T, Failure> {
    // SAFETY: the caller's promise.
    unsafe { handle.as_mut() }.ok_or_else(|| null(argument))
}

/// # Safety
/// `handle` is NULL or came from `Box::into_raw` and is not freed.
unsafe fn end<T>(handle: *mut T) {
    if handle.is_null() {
        return;
    }
    // SAFETY: not NULL, so by the caller's promise a live box that nobody else owns.
    let owned = unsafe { Box::from_raw(handle) };
    // A panic in a destructor must not reach C either; there is no status to report it with.
    let _ = guard(|| {
        drop(owned);
        Ok(Status::Ok)
    });
}

/// # Safety
/// `path` is NULL or NUL-terminated.
unsafe fn path_argument(path: *const c_char) -> Result<PathBuf, Failure> {
    if path.is_null() {
        return Err(null("path"));
    }
    // SAFETY: not NULL, and NUL-terminated by the caller's promise.
    let text = unsafe { CStr::from_ptr(path) };
    let text = text.to_str().map_err(|_| misuse(format!("path {} is not UTF-8", text.to_string_lossy())))?;
    Ok(PathBuf::from(text))
}

/// # Safety
/// `data` is NULL or readable for `size` bytes, unchanged while the result lives.
unsafe fn bytes_argument<'a>(data: *const u8, size: usize) -> Result<&'a [u8], Failure> {
    if data.is_null() {
        return Err(null("data"));
    }
    if isize::try_from(size).is_err() {
        return Err(misuse(format!("data of {size} bytes is more than an address space holds")));
    }
    // SAFETY: not NULL, no longer than the largest object, and readable by the caller's promise.
    Ok(unsafe { slice::from_raw_parts(data, size) })
}
