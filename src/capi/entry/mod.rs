//! Every function of the C interface, and all `unsafe` code of the crate. Input: C pointers. Output: status numbers.
//! A function here converts its arguments, calls safe code and maps the result; the work is in the modules beside this one.
//!
//! - `pointers` holds what all of them need: pointers to Rust values and back.
//! - `stream` has packs, and streams in files, `identity` identities and enrolment, `decoder` and `encoder` packets.

// Reason: C sees unmangled names and raw pointers, and both are unsafe by nature. No other module has this exemption.
#![allow(unsafe_code)]
// Reason: these comments become the C header, where a "Safety" heading of Rust's kind says nothing. What a caller must keep
// to stands in each comment, in words for C programmers.
#![allow(clippy::missing_safety_doc)]

mod decoder;
mod encoder;
mod identity;
mod pointers;
mod stream;

use std::ffi::{c_char, c_void, CStr};

pub use super::report::{LogFn, ProgressFn};
pub use decoder::*;
pub use encoder::*;
pub use identity::*;
pub use pointers::Picture;
pub use stream::*;

use super::guard::{guard, with_last_message};
use super::report;
use super::status::Status;
use super::ABI_VERSION;

/// What a build of the library can do, as bits of `effigy_features`.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// Encoders and enrolment for aligned crops.
    Encode = 1,
    /// Encoders and enrolment for camera pictures: the face is found and followed.
    Align = 2,
    /// A CUDA device can be used now.
    Cuda = 4,
}

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
    // SAFETY: the caller's promise above.
    with_last_message(|message| unsafe { pointers::give_text(message, text, size) })
}

/// What this build can do: the sum of the `effigy_feature` numbers that it has.
#[no_mangle]
pub extern "C" fn effigy_features() -> u32 {
    let cuda = std::panic::catch_unwind(tch::Cuda::is_available).unwrap_or(false);
    let has = [(cfg!(feature = "analysis"), Feature::Encode), (cfg!(feature = "encode"), Feature::Align), (cuda, Feature::Cuda)];
    has.iter().filter(|(has, _)| *has).map(|(_, feature)| *feature as u32).sum()
}

/// Sends the library's log to `call`, which gets `user` with each message; NULL ends that. `level` is the least important
/// kind that is sent: 0 none, 1 errors, 2 warnings, 3 information, 4 details. The log is one for the process.
///
/// `call` comes from any thread that works in the library. `user` stays the caller's and must live until another call of this
/// function has returned and no other thread is inside the library.
///
/// Required: `call` is NULL or a function that neither throws nor jumps out.
#[no_mangle]
pub extern "C" fn effigy_set_log(call: LogFn, user: *mut c_void, level: i32) -> Status {
    guard(|| {
        report::listen(call, user, level)?;
        Ok(Status::Ok)
    })
}
