//! Exit codes: what went wrong, for scripts. Input: an error of the library. Output: a number, documented in docs/command.md.

use effigy::Error;

/// The table at the end of `effigy --help`.
pub const HELP: &str = "\
Exit codes:
    0  done
    1  unexpected: a mistake in effigy itself
    2  usage: arguments that make no sense, alone or with this input
    3  input/output: a file could not be read or written
    4  malformed: a file is damaged, or is not what it was taken for
    5  unsupported by this version or this build
    6  limit: the input asks for more than effigy allows
    7  nothing to work on: no face, no frames
    8  device: libtorch or ffmpeg failed, or is not there
  130  cancelled by Ctrl-C; nothing half-written stays";

/// Unexpected: a panic.
pub const UNEXPECTED: u8 = 1;
/// Cancelled by the user: 128 + SIGINT.
pub const CANCELLED: u8 = 130;

/// The exit code of an error.
pub fn code(error: &Error) -> u8 {
    match error {
        Error::Misuse(_) => 2,
        Error::Io { .. } => 3,
        Error::Malformed(_) => 4,
        Error::Unsupported(_) => 5,
        Error::Limit(_) => 6,
        Error::NoContent(_) => 7,
        Error::Device(_) => 8,
        Error::Cancelled => CANCELLED,
        // The library may sort errors more finely one day; until then there is no other.
        _ => UNEXPECTED,
    }
}
