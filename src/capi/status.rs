//! Status numbers of the C interface. A number is never given a second meaning: a retired one stays retired.

use crate::Error;

/// What a function of this library reports: 0 is success, above 0 success with news, below 0 failure.
/// `effigy_last_error` has the words to a failure.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Done.
    Ok = 0,
    /// The stream is over; nothing was written.
    End = 1,
    /// Nothing to hand out yet: give more first. Nothing was written.
    Again = 2,
    /// A file or a pipe could not be read or written.
    Io = -1,
    /// The bytes do not follow their format: damaged, or something else.
    Malformed = -2,
    /// Valid input that this build or version cannot handle.
    Unsupported = -3,
    /// The input asks for more than a limit of this library.
    Limit = -4,
    /// The call does not fit its arguments or the state of its handle.
    Misuse = -5,
    /// The input holds nothing to work on.
    NoContent = -6,
    /// The tensor library or a child process failed: out of memory, no such device, not installed.
    Device = -7,
    /// The caller asked to stop.
    Cancelled = -8,
    /// A mistake inside this library. The handle in use is broken: free it.
    Panic = -9,
    /// A pointer that must not be NULL is NULL.
    Null = -10,
}

impl Status {
    const ALL: [Status; 13] = [
        Status::Ok,
        Status::End,
        Status::Again,
        Status::Io,
        Status::Malformed,
        Status::Unsupported,
        Status::Limit,
        Status::Misuse,
        Status::NoContent,
        Status::Device,
        Status::Cancelled,
        Status::Panic,
        Status::Null,
    ];

    /// The status with this number, if there is one.
    pub fn from_number(number: i32) -> Option<Status> {
        Status::ALL.into_iter().find(|&status| status as i32 == number)
    }

    /// A few words of English, NUL-terminated.
    pub fn text(self) -> &'static std::ffi::CStr {
        match self {
            Status::Ok => c"ok",
            Status::End => c"end of stream",
            Status::Again => c"nothing yet",
            Status::Io => c"input or output failed",
            Status::Malformed => c"malformed input",
            Status::Unsupported => c"unsupported input",
            Status::Limit => c"limit exceeded",
            Status::Misuse => c"misuse of the interface",
            Status::NoContent => c"nothing to work on",
            Status::Device => c"device or helper program failed",
            Status::Cancelled => c"cancelled",
            Status::Panic => c"internal error",
            Status::Null => c"unexpected NULL",
        }
    }
}

impl From<&Error> for Status {
    fn from(error: &Error) -> Status {
        match error {
            Error::Io { .. } => Status::Io,
            Error::Malformed(_) => Status::Malformed,
            Error::Unsupported(_) => Status::Unsupported,
            Error::Limit(_) => Status::Limit,
            Error::Misuse(_) => Status::Misuse,
            Error::NoContent(_) => Status::NoContent,
            Error::Device(_) => Status::Device,
            Error::Cancelled => Status::Cancelled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_distinct_and_name_their_own_status() {
        for status in Status::ALL {
            assert_eq!(Status::from_number(status as i32), Some(status));
        }
        assert_eq!(Status::from_number(3), None);
        assert_eq!(Status::from_number(i32::MIN), None);
    }

    #[test]
    fn success_is_not_negative_and_failure_is() {
        for status in Status::ALL {
            assert_eq!((status as i32) < 0, !matches!(status, Status::Ok | Status::End | Status::Again), "{status:?}");
        }
    }
}
