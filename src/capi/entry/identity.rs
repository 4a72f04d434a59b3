//! Identities, and enrolment.

use std::ffi::{c_char, c_void};
use std::fs;
use std::mem::size_of;
use std::ptr;

use super::super::enroller::{EnrollOptions, Enroller};
use super::super::guard::{guard, guard_on, Handle};
use super::super::player::{computing, Person};
use super::super::report::{ProgressFn, Teller};
use super::super::status::Status;
use super::pointers::*;
use super::stream::PackHandle;
use crate::limits::MAX_IDENTITY_BYTES;
use crate::Error;

/// A person: what a stream's numbers are relative to. Made by `effigy_identity_load`, `effigy_identity_load_memory` or
/// `effigy_enroller_run`, ended by `effigy_identity_free`. One thread at a time. Since version 1.1.
pub struct IdentityHandle(pub(super) Handle<Person>);

/// Pictures of a person who is to be enrolled. Made by `effigy_enroller_new`, ended by `effigy_enroller_free`. One thread at a time.
/// Since version 1.1.
pub struct EnrollerHandle(Handle<Enroller>);

/// How to enrol. Fill it with `effigy_enroller_settings_init`, then change what should differ.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct EnrollerSettings {
    /// Bytes of this structure, set by `effigy_enroller_settings_init`.
    pub size: usize,
    /// Amount of work: 0 a preview, 1 the usual, 2 three times as much. Usual: 1.
    pub preset: i32,
    /// Not 0: pictures are aligned crops already, of exactly the pack's resolution. Usual: 0.
    pub aligned: i32,
    /// Steps of the tuning; the first fit of the latent takes no more. 0: the preset's.
    pub tune_steps: u64,
    /// Start of all randomness: same seed, same machine, same result.
    pub seed: u64,
    /// Most bytes of the identity, 16000 or more; 0: 150000.
    pub identity_bytes: u32,
    /// 0 a CUDA device if there is one, else the processor; 1 the processor; 2 and up the CUDA device of this number less 2.
    pub device: i32,
    /// Number format of the convolutions: 0 the fastest that suits the device, 1 single, 2 bfloat16, 3 half.
    pub precision: i32,
    /// Threads on the processor, a setting of the whole process; 0: what libtorch has, which is `OMP_NUM_THREADS` or one per core until a
    /// handle sets another.
    pub threads: u32,
    /// Name stored in the identity, NUL-terminated UTF-8, read during `effigy_enroller_new` alone; NULL: none.
    pub name: *const c_char,
}

// SAFETY: see the structure.
unsafe impl Plain for EnrollerSettings {
    const NAME: &'static str = "settings";
    const LEAST: usize = size_of::<EnrollerSettings>();
}

const USUAL: EnrollerSettings = EnrollerSettings {
    size: size_of::<EnrollerSettings>(),
    preset: 1,
    aligned: 0,
    tune_steps: 0,
    seed: 0,
    identity_bytes: 0,
    device: 0,
    precision: 0,
    threads: 0,
    name: ptr::null(),
};

/// Loads the identity in the file `path` (NUL-terminated, UTF-8).
///
/// On success `*identity` is an identity that the caller owns and ends with `effigy_identity_free`. On failure it is NULL and
/// nothing has to be freed.
///
/// Required: `path` is NULL or a NUL-terminated string; `identity` is NULL or points to a writable pointer.
#[no_mangle]
pub unsafe extern "C" fn effigy_identity_load(path: *const c_char, identity: *mut *mut IdentityHandle) -> Status {
    guard(|| {
        // SAFETY: the caller's promises above.
        let path = unsafe {
            clear(identity, "identity")?;
            path_argument(path)?
        };
        let length = fs::metadata(&path).map_err(|source| Error::io("open", &path, source))?.len();
        if length > MAX_IDENTITY_BYTES as u64 {
            return Err(Error::Limit(format!("identity of {length} bytes, at most {MAX_IDENTITY_BYTES} are read")).into());
        }
        let bytes = fs::read(&path).map_err(|source| Error::io("read", &path, source))?;
        let person = IdentityHandle(Handle::new(Person::from_bytes(&bytes)?));
        // SAFETY: `clear` has shown that `identity` is not NULL.
        Ok(unsafe { hand_over(identity, person) })
    })
}

/// Loads an identity from memory: `size` bytes at `data`, copied during the call. Otherwise like `effigy_identity_load`.
///
/// Required: `data` is NULL or points to `size` readable bytes; `identity` is NULL or points to a writable pointer.
#[no_mangle]
pub unsafe extern "C" fn effigy_identity_load_memory(data: *const u8, size: usize, identity: *mut *mut IdentityHandle) -> Status {
    guard(|| {
        // SAFETY: the caller's promises above.
        let data = unsafe {
            clear(identity, "identity")?;
            bytes_argument(data, size)?
        };
        let person = IdentityHandle(Handle::new(Person::from_bytes(data)?));
        // SAFETY: `clear` has shown that `identity` is not NULL.
        Ok(unsafe { hand_over(identity, person) })
    })
}

/// Copies the identity's file to `data`, which has `size` bytes, and sets `*length` to its length. With `data` NULL and `size` 0
/// only the length is told. A buffer that is too small is misuse; `*length` is set all the same.
///
/// Required: `identity` is NULL or live; `data` is NULL or points to `size` writable bytes; `length` is NULL or writable.
#[no_mangle]
pub unsafe extern "C" fn effigy_identity_bytes(
    identity: *mut IdentityHandle,
    data: *mut u8,
    size: usize,
    length: *mut usize,
) -> Status {
    // SAFETY: the caller's promise above.
    let identity = unsafe { identity.as_mut() }.map(|identity| &mut identity.0);
    // SAFETY: the caller's promises above.
    guard_on(identity, "identity", |person| unsafe { give_bytes(&person.bytes, data, size, length) })
}

/// Ends an identity. Decoders and encoders made with it are not affected. NULL is allowed and does nothing.
///
/// Required: `identity` is NULL or came from this library and has not been freed.
#[no_mangle]
pub unsafe extern "C" fn effigy_identity_free(identity: *mut IdentityHandle) {
    // SAFETY: the caller's promise above.
    unsafe { end(identity) }
}

/// Puts the usual settings into `settings`. `size` is `sizeof(effigy_enroller_settings)`.
///
/// Required: `settings` is NULL or points to `size` writable bytes.
#[no_mangle]
pub unsafe extern "C" fn effigy_enroller_settings_init(settings: *mut EnrollerSettings, size: usize) -> Status {
    // SAFETY: the caller's promise above.
    guard(|| unsafe { begin(settings, size, USUAL) })
}

/// Begins an enrolment. `settings` may be NULL for the usual ones; `pack` and `settings` are only used during the call.
///
/// On success `*enroller` is owned by the caller, who ends it with `effigy_enroller_free`. On failure it is NULL and nothing has
/// to be freed. `EFFIGY_STATUS_UNSUPPORTED` in builds that cannot enrol.
///
/// Required: `pack` is NULL or live; `settings` is NULL or points to `settings->size` readable bytes; `enroller` is NULL or points to a
/// writable pointer.
#[no_mangle]
pub unsafe extern "C" fn effigy_enroller_new(
    pack: *mut PackHandle,
    settings: *const EnrollerSettings,
    enroller: *mut *mut EnrollerHandle,
) -> Status {
    guard(|| {
        // SAFETY: the caller's promises above.
        let (pack, chosen) = unsafe {
            clear(enroller, "enroller")?;
            (borrow(pack, "pack")?, if settings.is_null() { USUAL } else { take(settings, USUAL)? })
        };
        let name = match chosen.name.is_null() {
            true => "",
            // SAFETY: the caller's promise in the structure.
            false => unsafe { text_argument(chosen.name, "settings->name")? },
        };
        let options = EnrollOptions {
            preset: chosen.preset,
            tune_steps: chosen.tune_steps,
            identity_bytes: chosen.identity_bytes as usize,
            seed: chosen.seed,
            aligned: chosen.aligned != 0,
            name: name.to_owned(),
            computing: computing(chosen.device, chosen.precision, chosen.threads)?,
        };
        let made = EnrollerHandle(Handle::new(pack.0.run(|pack| Enroller::new(pack, options))?));
        // SAFETY: `clear` has shown that `enroller` is not NULL.
        Ok(unsafe { hand_over(enroller, made) })
    })
}

/// Adds the next picture of the person, in any format; it is copied. `EFFIGY_STATUS_NO_CONTENT` while no face has been seen: such a
/// picture is not taken, go on with the next.
///
/// Required: `enroller` is NULL or live; `picture` is NULL or describes readable memory.
#[no_mangle]
pub unsafe extern "C" fn effigy_enroller_add(enroller: *mut EnrollerHandle, picture: *const Picture) -> Status {
    // SAFETY: the caller's promise above.
    let enroller = unsafe { enroller.as_mut() }.map(|enroller| &mut enroller.0);
    guard_on(enroller, "enroller", |enroller| {
        // SAFETY: the caller's promise above.
        let frame = unsafe {
            let (picture, shape) = picture_argument(picture)?;
            read_picture(&picture, shape)?
        };
        enroller.add(frame)?;
        Ok(Status::Ok)
    })
}

/// Fits the identity to the pictures that were added: minutes. `progress` may be NULL; it is called from this thread, with `user`,
/// and may stop the work, which then ends with `EFFIGY_STATUS_CANCELLED`. The pictures stay: the call may be repeated.
///
/// On success `*identity` is an identity that the caller owns and ends with `effigy_identity_free`. On failure it is NULL and
/// nothing has to be freed. `pack` is only used during the call and must be the one that the enroller was made with.
///
/// Required: `enroller` and `pack` are NULL or live; `progress` is NULL or a function that neither throws nor jumps out; `identity` is
/// NULL or points to a writable pointer.
#[no_mangle]
pub unsafe extern "C" fn effigy_enroller_run(
    enroller: *mut EnrollerHandle,
    pack: *mut PackHandle,
    progress: ProgressFn,
    user: *mut c_void,
    identity: *mut *mut IdentityHandle,
) -> Status {
    // SAFETY: the caller's promise above.
    let enroller = unsafe { enroller.as_mut() }.map(|enroller| &mut enroller.0);
    guard_on(enroller, "enroller", |enroller| {
        // SAFETY: the caller's promises above.
        let pack = unsafe {
            clear(identity, "identity")?;
            borrow(pack, "pack")?
        };
        let teller = Teller::new(progress, user);
        let person = IdentityHandle(Handle::new(pack.0.run(|pack| enroller.run(pack, &teller))?));
        // SAFETY: `clear` has shown that `identity` is not NULL.
        Ok(unsafe { hand_over(identity, person) })
    })
}

/// Like `effigy_last_error`, for the most recent failure of a call with this enroller, by whatever thread.
///
/// Required: `enroller` is NULL or live; `text` is NULL or points to `size` writable bytes.
#[no_mangle]
pub unsafe extern "C" fn effigy_enroller_last_error(enroller: *mut EnrollerHandle, text: *mut c_char, size: usize) -> usize {
    // SAFETY: the caller's promises above.
    unsafe { handle_error(enroller.as_mut().map(|enroller| &mut enroller.0), text, size) }
}

/// Ends an enroller. NULL is allowed and does nothing.
///
/// Required: `enroller` is NULL or came from `effigy_enroller_new` and has not been freed.
#[no_mangle]
pub unsafe extern "C" fn effigy_enroller_free(enroller: *mut EnrollerHandle) {
    // SAFETY: the caller's promise above.
    unsafe { end(enroller) }
}
