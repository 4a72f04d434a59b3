//! The bytes of a pickle, counted and capped.
//!
//! Input: any buffered reader. Output: bytes, numbers, strings and lines, each checked against its limit before memory is taken;
//! the position, for error messages and because a legacy file goes on right behind its last pickle.

use super::{MAX_LINE_BYTES, MAX_PICKLE_BYTES, MAX_TEXT_BYTES};
use crate::error::{Error, Result};
use std::io::{self, BufRead, Read};

pub(super) struct Source<R> {
    reader: R,
    at: u64,
}

impl<R: BufRead> Source<R> {
    pub fn new(reader: R) -> Self {
        Source { reader, at: 0 }
    }

    /// Bytes read so far.
    pub fn position(&self) -> u64 {
        self.at
    }

    pub fn malformed(&self, what: impl AsRef<str>) -> Error {
        Error::Malformed(format!("pickle, byte {}: {}", self.at, what.as_ref()))
    }

    pub fn byte(&mut self) -> Result<u8> {
        Ok(self.array::<1>()?[0])
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut out = [0; N];
        self.count(N as u64)?;
        self.reader.read_exact(&mut out).map_err(|e| self.failed(e))?;
        Ok(out)
    }

    /// `len` bytes, where `len` came from the file.
    pub fn bytes(&mut self, len: u64) -> Result<Vec<u8>> {
        if len > MAX_TEXT_BYTES {
            return Err(Error::Limit(format!("pickle, byte {}: a string of {len} bytes, at most {MAX_TEXT_BYTES}", self.at)));
        }
        self.count(len)?;
        // Grows with what is there rather than with what is claimed.
        let mut out = Vec::new();
        (&mut self.reader).take(len).read_to_end(&mut out).map_err(|e| self.failed(e))?;
        if out.len() as u64 != len {
            return Err(self.failed(io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(out)
    }

    /// Text up to the next line feed, which is taken and left out.
    pub fn line(&mut self) -> Result<String> {
        let mut out = Vec::new();
        (&mut self.reader).take(MAX_LINE_BYTES).read_until(b'\n', &mut out).map_err(|e| self.failed(e))?;
        self.count(out.len() as u64)?;
        if out.pop() != Some(b'\n') {
            return Err(self.malformed(format!("a line without end within {MAX_LINE_BYTES} bytes")));
        }
        String::from_utf8(out).map_err(|_| self.malformed("a line that is not UTF-8"))
    }

    fn count(&mut self, len: u64) -> Result<()> {
        self.at += len;
        if self.at > MAX_PICKLE_BYTES {
            return Err(Error::Limit(format!("more than {MAX_PICKLE_BYTES} bytes of pickle")));
        }
        Ok(())
    }

    fn failed(&self, e: io::Error) -> Error {
        match e.kind() {
            io::ErrorKind::UnexpectedEof => self.malformed("the data end inside the pickle"),
            _ => Error::Io { what: "cannot read the pickle".into(), source: e },
        }
    }
}
