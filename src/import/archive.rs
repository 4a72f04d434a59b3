//! The zip container of PyTorch 1.6 and later.
//!
//! Input: a zip archive with `<name>/data.pkl`, `<name>/data/<key>` and perhaps `<name>/byteorder`, all stored without
//! compression. Output: the tree of `data.pkl`, whose tensors point at the records.
//!
//! The `zip` crate reads the directory, nothing else: the numbers are then read from the file itself, so a record cannot unpack
//! to more than the file has. Compressed records, which PyTorch never writes, are unsupported.

use super::pickle;
use super::source::Source;
use super::tensor::Span;
use super::tree::{self, Value};
use super::{MAX_DIRECTORY_BYTES, MAX_PICKLE_BYTES, MAX_RECORDS};
use crate::error::{Error, Result};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use zip::result::ZipError;
use zip::{CompressionMethod, ZipArchive};

/// Reads the tree; `len` is the size of the file.
///
/// # Errors
/// Input/output, malformed, unsupported (compressed or encrypted records, big-endian numbers, refused calls), limit.
pub(super) fn read(file: &File, len: u64) -> Result<Value> {
    let records = directory(file, len)?;
    let mut roots = records.keys().filter_map(|name| name.strip_suffix("data.pkl")).filter(|r| r.is_empty() || r.ends_with('/'));
    let root = match (roots.next(), roots.next()) {
        (Some(root), None) => root,
        (None, _) => return Err(Error::Unsupported("a zip archive without data.pkl is no PyTorch checkpoint".into())),
        (Some(_), Some(_)) => return Err(Error::Malformed("zip archive with more than one data.pkl".into())),
    };
    if let Some(order) = records.get(&format!("{root}byteorder")) {
        let order = whole(file, order, 16)?;
        if order != b"little" {
            return Err(Error::Unsupported(format!("byte order {:?}, expected little", String::from_utf8_lossy(&order))));
        }
    }
    let bytes = whole(file, &records[&format!("{root}data.pkl")], MAX_PICKLE_BYTES)?;
    let graph = pickle::run(&mut Source::new(&bytes[..])).map_err(|e| hint(e, &records, root))?;
    tree::grow(&graph, &mut |storage, key| {
        let name = format!("{root}data/{key}");
        let span = records.get(&name).ok_or_else(|| Error::Malformed(format!("no record {name:?} in the zip archive")))?;
        match storage.count.checked_mul(storage.dtype.size()) {
            Some(bytes) if bytes == span.len => Ok(*span),
            _ => Err(Error::Malformed(format!(
                "record {name:?} has {} bytes, expected {} numbers of type {:?}",
                span.len, storage.count, storage.dtype
            ))),
        }
    })
}

/// Where every record lies, all of them within the file.
fn directory(file: &File, len: u64) -> Result<HashMap<String, Span>> {
    let reader = Capped { inner: BufReader::new(file), left: MAX_DIRECTORY_BYTES };
    let mut archive = ZipArchive::new(reader).map_err(failed)?;
    if archive.len() > MAX_RECORDS {
        return Err(Error::Limit(format!("zip archive of {} records, at most {MAX_RECORDS}", archive.len())));
    }
    let mut out = HashMap::new();
    for i in 0..archive.len() {
        let record = archive.by_index_raw(i).map_err(failed)?;
        let name = record.name().map_err(failed)?.into_owned();
        if record.encrypted() || record.compression() != CompressionMethod::Stored {
            let method = record.compression();
            return Err(Error::Unsupported(format!("record {name:?} is encrypted or compressed ({method:?}), expected stored")));
        }
        let (size, packed) = (record.size(), record.compressed_size());
        let at = record.data_start().ok_or_else(|| Error::Malformed(format!("record {name:?} has no place in the file")))?;
        if size != packed || at.checked_add(size).is_none_or(|end| end > len) {
            return Err(Error::Malformed(format!("record {name:?} of {size} bytes at byte {at} of a file of {len}")));
        }
        out.insert(name, Span { at, len: size, crc: Some(record.crc32()) });
    }
    Ok(out)
}

/// The bytes of a small record, checked.
fn whole(mut file: &File, span: &Span, most: u64) -> Result<Vec<u8>> {
    if span.len > most {
        return Err(Error::Limit(format!("record of {} bytes at byte {}, at most {most}", span.len, span.at)));
    }
    let failed = |source| Error::Io { what: "cannot read the zip archive".into(), source };
    let mut bytes = vec![0; span.len as usize];
    file.seek(SeekFrom::Start(span.at)).map_err(failed)?;
    file.read_exact(&mut bytes).map_err(failed)?;
    match span.crc {
        Some(crc) if crc != crc32fast::hash(&bytes) => Err(Error::Malformed(format!("record at byte {}: wrong CRC", span.at))),
        _ => Ok(bytes),
    }
}

/// A scripted model is a zip archive of the same shape, and what its pickle asks for is a class of its own code.
fn hint(error: Error, records: &HashMap<String, Span>, root: &str) -> Error {
    let scripted = records.keys().any(|name| name.strip_prefix(root).is_some_and(|n| n.starts_with("code/")));
    match error {
        Error::Unsupported(_) if scripted => {
            Error::Unsupported("a TorchScript model; the checkpoint of the same network is wanted, its state_dict".into())
        }
        other => other,
    }
}

/// A reader with an end to its patience: the directory is kept in memory, and a file without one would be searched throughout.
struct Capped<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Capped<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        match self.left.checked_sub(read as u64) {
            Some(left) => self.left = left,
            None => return Err(io::ErrorKind::QuotaExceeded.into()),
        }
        Ok(read)
    }
}

impl<R: Seek> Seek for Capped<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

fn failed(e: ZipError) -> Error {
    match e {
        ZipError::Io(source) if source.kind() == io::ErrorKind::QuotaExceeded => {
            Error::Limit(format!("no zip directory within {MAX_DIRECTORY_BYTES} bytes (a file that was cut?)"))
        }
        ZipError::Io(source) if source.kind() != io::ErrorKind::UnexpectedEof => {
            Error::Io { what: "cannot read the zip archive".into(), source }
        }
        ZipError::UnsupportedArchive(what) => Error::Unsupported(format!("zip archive: {what}")),
        other => Error::Malformed(format!("zip archive (cut or damaged?): {other}")),
    }
}
