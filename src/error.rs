//! Errors, sorted by what the caller can do about them.

use std::io;
use std::path::Path;

/// Result of everything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong. Each message names the thing, what was expected and what was found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or a pipe could not be read or written.
    #[error("{what}: {source}")]
    Io {
        /// The path or the pipe, and the attempted action.
        what: String,
        /// The system's reason.
        source: io::Error,
    },
    /// Input bytes do not follow their format: the file is damaged or is something else.
    #[error("malformed {0}")]
    Malformed(String),
    /// Valid input that this build or this version cannot handle.
    #[error("unsupported: {0}")]
    Unsupported(String),
    /// Input asks for more than a named limit of [`crate::limits`] allows.
    #[error("limit exceeded: {0}")]
    Limit(String),
    /// The call does not fit the state or the arguments: a mistake of the caller.
    #[error("{0}")]
    Misuse(String),
    /// The input holds nothing the codec can work on: no face, no frames.
    #[error("{0}")]
    NoContent(String),
    /// libtorch or a child process (ffmpeg) failed: out of memory, no such device, not installed.
    #[error("{0}")]
    Device(String),
    /// A progress callback asked to stop.
    #[error("cancelled")]
    Cancelled,
}

impl Error {
    /// An input/output error about `path` while trying to `action` it ("open", "write").
    pub fn io(action: &str, path: impl AsRef<Path>, source: io::Error) -> Self {
        Error::Io { what: format!("cannot {action} {}", path.as_ref().display()), source }
    }
}

#[cfg(feature = "decode")]
impl From<tch::TchError> for Error {
    fn from(e: tch::TchError) -> Self {
        // libtorch appends a C++ back trace; the first line says what happened.
        let text = e.to_string();
        Error::Device(format!("libtorch: {}", text.lines().next().unwrap_or("unknown error")))
    }
}
