//! C pointers to Rust values and back. Every function states what the caller of the C function promises.

use std::ffi::{c_char, CStr};
use std::mem::size_of;
use std::path::PathBuf;
use std::{ptr, slice};

use super::super::guard::{guard, null, Failure, Handle};
use super::super::picture::Shape;
use super::super::status::Status;
use crate::frame::Frame;
use crate::Error;

/// A picture in the caller's memory. The bytes stay the caller's. Set `size` before the call.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Picture {
    /// The bytes the caller has, `sizeof(effigy_picture)`.
    pub size: usize,
    /// An `effigy_format`.
    pub format: i32,
    /// An `effigy_colour`; 0 for the RGB formats.
    pub colour: i32,
    /// Pixels per row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// First byte of each plane that the format has; the others are ignored. An encoder only reads them.
    pub planes: [*mut u8; 3],
    /// Bytes from one row to the next, at least those of a row.
    pub strides: [usize; 3],
    /// Bytes that may be touched at each plane, at least `stride * (rows - 1)` and a row.
    pub sizes: [usize; 3],
    /// Time stamp in ticks of the stream's time base: encoders read it, decoders write it.
    pub pts: i64,
}

/// Structures that C and Rust share: numbers and pointers, of which any bytes are a valid value, first among them their size.
///
/// # Safety
/// The first member is `size: usize`, and all others are integers, floats or raw pointers.
pub(super) unsafe trait Plain: Copy {
    /// The name of the argument, for messages.
    const NAME: &'static str;
    /// Bytes in the first version of the interface that had it: the least a caller can have.
    const LEAST: usize;
}

// SAFETY: see the structure.
unsafe impl Plain for Picture {
    const NAME: &'static str = "picture";
    const LEAST: usize = size_of::<Picture>();
}

/// # Safety
/// `place` is NULL or its first member can be read.
unsafe fn room<T: Plain>(place: *const T) -> Result<usize, Failure> {
    if place.is_null() {
        return Err(null(T::NAME));
    }
    // SAFETY: not NULL, and its first member is `size`, readable by the caller's promise.
    let room = unsafe { place.cast::<usize>().read() };
    if room < T::LEAST {
        return Err(misuse(format!("{}->size is {room}, expected at least {}", T::NAME, T::LEAST)));
    }
    Ok(room.min(size_of::<T>()))
}

/// Whether `place` could be filled by [`fill`], for calls that should fail before they change anything.
///
/// # Safety
/// As [`room`].
pub(super) unsafe fn can_fill<T: Plain>(place: *const T) -> Result<(), Failure> {
    // SAFETY: the caller's promise.
    unsafe { room(place) }.map(|_| ())
}

/// Writes what fits of `make(size)`, whose first member is to be that size.
///
/// # Safety
/// `place` is NULL or points to as many writable bytes as its first member says.
pub(super) unsafe fn fill<T: Plain>(place: *mut T, make: impl FnOnce(usize) -> Result<T, Failure>) -> Result<(), Failure> {
    // SAFETY: the caller's promise.
    let size = unsafe { room(place)? };
    let filled = make(size)?;
    // SAFETY: `size` is no more than `T` has, nor than the caller has.
    unsafe { ptr::copy_nonoverlapping(ptr::from_ref(&filled).cast::<u8>(), place.cast::<u8>(), size) };
    Ok(())
}

/// The structure at `place`; members that the caller's version of it does not have are those of `usual`.
///
/// # Safety
/// `place` is NULL or points to as many readable bytes as its first member says.
pub(super) unsafe fn take<T: Plain>(place: *const T, usual: T) -> Result<T, Failure> {
    // SAFETY: the caller's promise.
    let size = unsafe { room(place)? };
    let mut taken = usual;
    // SAFETY: `size` is no more than `T` has, nor than the caller has; any bytes are a valid `T`.
    unsafe { ptr::copy_nonoverlapping(place.cast::<u8>(), ptr::from_mut(&mut taken).cast::<u8>(), size) };
    Ok(taken)
}

/// Puts the usual settings into `place`, which has `size` bytes.
///
/// # Safety
/// `place` is NULL or points to `size` writable bytes.
pub(super) unsafe fn begin<T: Plain>(place: *mut T, size: usize, usual: T) -> Result<Status, Failure> {
    if place.is_null() {
        return Err(null(T::NAME));
    }
    if size < T::LEAST {
        return Err(misuse(format!("{} of {size} bytes, expected at least {}", T::NAME, T::LEAST)));
    }
    let size = size.min(size_of::<T>());
    // SAFETY: not NULL, and `size` bytes are writable by the caller's promise; the first member is the size.
    unsafe {
        ptr::copy_nonoverlapping(ptr::from_ref(&usual).cast::<u8>(), place.cast::<u8>(), size);
        place.cast::<usize>().write(size);
    }
    Ok(Status::Ok)
}

/// A picture's description, checked against its own sizes.
///
/// # Safety
/// `picture` is NULL or points to as many readable bytes as its first member says.
pub(super) unsafe fn picture_argument(picture: *const Picture) -> Result<(Picture, Shape), Failure> {
    let usual = Picture {
        size: 0,
        format: 0,
        colour: 0,
        width: 0,
        height: 0,
        planes: [ptr::null_mut(); 3],
        strides: [0; 3],
        sizes: [0; 3],
        pts: 0,
    };
    // SAFETY: the caller's promise.
    let picture = unsafe { take(picture, usual)? };
    let shape = Shape::new(picture.format, picture.colour, picture.width, picture.height)?;
    if picture.planes.iter().take(shape.planes().len()).any(|plane| plane.is_null()) {
        return Err(null("picture->planes"));
    }
    shape.check(&picture.strides, &picture.sizes)?;
    Ok((picture, shape))
}

/// The pixels of a picture.
///
/// # Safety
/// `picture` and `shape` came from [`picture_argument`], and its planes are readable as far as it says and not changed meanwhile.
pub(super) unsafe fn read_picture(picture: &Picture, shape: Shape) -> Result<Frame, Failure> {
    let planes: Vec<&[u8]> = (0..shape.planes().len())
        // SAFETY: not NULL, no longer than the largest object (both checked), and readable by the caller's promise.
        .map(|plane| unsafe { slice::from_raw_parts(picture.planes[plane].cast_const(), picture.sizes[plane]) })
        .collect();
    Ok(shape.unpack(&planes, &picture.strides)?)
}

/// Writes pixels into a picture; what lies between its rows stays.
///
/// # Safety
/// `picture` and `shape` came from [`picture_argument`], and its planes are writable as far as it says.
pub(super) unsafe fn write_picture(picture: &Picture, shape: Shape, frame: &Frame) -> Result<(), Failure> {
    for (plane, (bytes, (row, _))) in shape.pack(frame)?.iter().zip(shape.planes()).enumerate() {
        for (number, bytes) in bytes.chunks_exact(row).enumerate() {
            // SAFETY: the shape's check has shown that all rows lie within the bytes that the caller promises; memory that C
            // may write is not a Rust value, so it cannot overlap `bytes`.
            unsafe {
                let to = picture.planes[plane].add(number * picture.strides[plane]);
                ptr::copy_nonoverlapping(bytes.as_ptr(), to, row);
            }
        }
    }
    Ok(())
}

/// Writes `value` where the caller wants it, if they do.
///
/// # Safety
/// `place` is NULL or writable.
pub(super) unsafe fn put<T>(place: *mut T, value: T) {
    if !place.is_null() {
        // SAFETY: not NULL, and writable by the caller's promise.
        unsafe { place.write(value) };
    }
}

/// Copies bytes to the caller, or only tells how many there are: with `data` NULL and `size` 0.
///
/// # Safety
/// `data` is NULL or points to `size` writable bytes; `length` is NULL or writable.
pub(super) unsafe fn give_bytes(bytes: &[u8], data: *mut u8, size: usize, length: *mut usize) -> Result<Status, Failure> {
    if length.is_null() {
        return Err(null("length"));
    }
    // SAFETY: not NULL, and writable by the caller's promise.
    unsafe { length.write(bytes.len()) };
    match data.is_null() {
        true if size == 0 => Ok(Status::Ok),
        true => Err(null("data")),
        false if size < bytes.len() => Err(misuse(format!("{} bytes do not fit into {size}", bytes.len()))),
        false => {
            // SAFETY: not NULL, and `size` bytes, no fewer than these, are writable by the caller's promise.
            unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), data, bytes.len()) };
            Ok(Status::Ok)
        }
    }
}

/// Copies a text with a final NUL, cut to fit, and gives its whole length.
///
/// # Safety
/// `text` is NULL or points to `size` writable bytes.
pub(super) unsafe fn give_text(message: &str, text: *mut c_char, size: usize) -> usize {
    if !text.is_null() && size > 0 {
        let cut = (0..=message.len().min(size - 1)).rev().find(|&at| message.is_char_boundary(at)).unwrap_or(0);
        // SAFETY: `cut < size`, and the caller promises `size` writable bytes; a Rust string never overlaps them.
        unsafe {
            ptr::copy_nonoverlapping(message.as_ptr().cast(), text, cut);
            text.add(cut).write(0);
        }
    }
    message.len()
}

pub(super) fn misuse(message: String) -> Failure {
    Error::Misuse(message).into()
}

/// Sets the pointer that a function is to fill to NULL, so that it is never left undefined.
///
/// # Safety
/// `place` is NULL or writable.
pub(super) unsafe fn clear<T>(place: *mut *mut T, argument: &str) -> Result<(), Failure> {
    if place.is_null() {
        return Err(null(argument));
    }
    // SAFETY: not NULL, and writable by the caller's promise.
    unsafe { place.write(ptr::null_mut()) };
    Ok(())
}

/// # Safety
/// `handle` is NULL or came from `Box::into_raw`, is not freed, and no other thread uses it during the call.
pub(super) unsafe fn borrow<'a, T>(handle: *mut T, argument: &str) -> Result<&'a mut T, Failure> {
    // SAFETY: the caller's promise.
    unsafe { handle.as_mut() }.ok_or_else(|| null(argument))
}

/// # Safety
/// `handle` is NULL or came from `Box::into_raw` and is not freed.
pub(super) unsafe fn end<T>(handle: *mut T) {
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

/// Gives a handle to the caller.
///
/// # Safety
/// `place` is writable.
pub(super) unsafe fn hand_over<T>(place: *mut *mut T, value: T) -> Status {
    // SAFETY: the caller's promise.
    unsafe { place.write(Box::into_raw(Box::new(value))) };
    Status::Ok
}

/// The last message of a handle; nothing for NULL.
///
/// # Safety
/// `handle` is NULL or live; `text` is NULL or points to `size` writable bytes.
pub(super) unsafe fn handle_error<T>(handle: Option<&mut Handle<T>>, text: *mut c_char, size: usize) -> usize {
    // SAFETY: the caller's promise.
    unsafe { give_text(handle.map_or("", |handle| handle.message()), text, size) }
}

/// # Safety
/// `path` is NULL or NUL-terminated.
pub(super) unsafe fn path_argument(path: *const c_char) -> Result<PathBuf, Failure> {
    // SAFETY: the caller's promise.
    unsafe { text_argument(path, "path") }.map(PathBuf::from)
}

/// # Safety
/// `text` is NULL or NUL-terminated, unchanged while the result lives.
pub(super) unsafe fn text_argument<'a>(text: *const c_char, argument: &str) -> Result<&'a str, Failure> {
    if text.is_null() {
        return Err(null(argument));
    }
    // SAFETY: not NULL, and NUL-terminated by the caller's promise.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str().map_err(|_| misuse(format!("{argument} {} is not UTF-8", text.to_string_lossy())))
}

/// # Safety
/// `data` is NULL or readable for `size` bytes, unchanged while the result lives.
pub(super) unsafe fn bytes_argument<'a>(data: *const u8, size: usize) -> Result<&'a [u8], Failure> {
    if data.is_null() {
        return Err(null("data"));
    }
    if isize::try_from(size).is_err() {
        return Err(misuse(format!("data of {size} bytes is more than an address space holds")));
    }
    // SAFETY: not NULL, no longer than the largest object, and readable by the caller's promise.
    Ok(unsafe { slice::from_raw_parts(data, size) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A structure that has grown by `second` since its first version.
    #[repr(C)]
    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Grown {
        size: usize,
        first: u32,
        second: u32,
    }

    // SAFETY: its size comes first, and the others are integers.
    unsafe impl Plain for Grown {
        const NAME: &'static str = "grown";
        const LEAST: usize = size_of::<usize>() + size_of::<u32>();
    }

    const USUAL: Grown = Grown { size: size_of::<Grown>(), first: 1, second: 2 };

    /// As a program has it that was built when there was more behind it.
    #[repr(C)]
    struct Later {
        known: Grown,
        tail: [u8; 24],
    }

    fn later(first: u32, second: u32, tail: u8) -> Later {
        Later { known: Grown { size: size_of::<Later>(), first, second }, tail: [tail; 24] }
    }

    #[test]
    fn members_that_an_older_program_does_not_have_are_the_usual_ones() {
        let place = Grown { size: Grown::LEAST, first: 7, second: 99 };
        // SAFETY: the structure is longer than its size says.
        let taken = unsafe { take(&place, USUAL) };
        assert_eq!(taken.ok(), Some(Grown { size: Grown::LEAST, first: 7, second: 2 }));
    }

    #[test]
    fn members_that_this_library_does_not_know_are_not_read() {
        for tail in [0, 0xff] {
            let place = later(7, 8, tail);
            // SAFETY: as many bytes as the size says.
            let taken = unsafe { take(&place.known, USUAL) };
            assert_eq!(taken.ok().map(|taken| (taken.first, taken.second)), Some((7, 8)));
        }
    }

    #[test]
    fn what_an_older_program_does_not_have_is_not_written() {
        let mut place = Grown { size: Grown::LEAST, first: 0, second: 99 };
        // SAFETY: the structure is longer than its size says.
        let filled = unsafe { fill(&mut place, |size| Ok(Grown { size, ..USUAL })) };
        assert!(filled.is_ok());
        assert_eq!(place, Grown { size: Grown::LEAST, first: 1, second: 99 });
        // SAFETY: as above.
        let begun = unsafe { begin(&mut place, Grown::LEAST, USUAL) };
        assert!(begun.is_ok());
        assert_eq!(place, Grown { size: Grown::LEAST, first: 1, second: 99 });
    }

    #[test]
    fn what_a_newer_program_has_beyond_is_left_alone_and_the_size_tells_it_so() {
        let mut place = later(0, 0, 0x5a);
        // SAFETY: as many bytes as the size says.
        let filled = unsafe { fill(&mut place.known, |size| Ok(Grown { size, ..USUAL })) };
        assert!(filled.is_ok());
        assert_eq!((place.known, place.tail), (USUAL, [0x5a; 24]));
        let mut place = later(0, 0, 0x5a);
        // SAFETY: as above.
        let begun = unsafe { begin(&mut place.known, size_of::<Later>(), USUAL) };
        assert!(begun.is_ok());
        assert_eq!((place.known, place.tail), (USUAL, [0x5a; 24]));
    }

    #[test]
    fn less_than_the_first_version_had_is_misuse() {
        let mut place = Grown { size: Grown::LEAST - 1, ..USUAL };
        // SAFETY: the structure is longer than its size says.
        unsafe {
            assert!(take(&place, USUAL).is_err());
            assert!(can_fill(&place).is_err());
            assert!(fill(&mut place, |_| Ok(USUAL)).is_err());
            assert!(begin(&mut place, Grown::LEAST - 1, USUAL).is_err());
        }
        assert_eq!(place, Grown { size: Grown::LEAST - 1, ..USUAL });
    }
}
