//! A tiny writer of checkpoints, in the dialects that readers meet.

use std::io::{Cursor, Write};
use std::path::PathBuf;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// A file for one test, removed at its end.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Self {
        Scratch(std::env::temp_dir().join(format!("effigy-import-{name}-{}", std::process::id())))
    }

    pub fn open(&self, bytes: &[u8]) -> effigy::Result<effigy::import::Checkpoint> {
        std::fs::write(&self.0, bytes).unwrap();
        effigy::import::read(&self.0)
    }

    pub fn path(&self) -> &std::path::Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Who wrote the pickle: sets the opcodes of strings and integers, and the length of a storage's name.
#[derive(Clone, Copy, PartialEq)]
pub enum Dialect {
    /// Zip container: five entries in a storage's name.
    Zip,
    /// Before 1.6: six entries.
    Legacy,
    /// The same under Python 2: byte strings, wide integers.
    Python2,
}

/// The opcodes of one pickle.
#[derive(Clone)]
pub struct Pickle(pub Vec<u8>, pub Dialect);

impl Pickle {
    pub fn new(dialect: Dialect) -> Self {
        Pickle(vec![0x80, 2], dialect)
    }

    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub fn text(self, text: &str) -> Self {
        match self.1 {
            Dialect::Python2 => self.raw(&[b'U', text.len() as u8]).raw(text.as_bytes()),
            _ => self.raw(b"X").raw(&(text.len() as u32).to_le_bytes()).raw(text.as_bytes()),
        }
    }

    pub fn int(self, n: i64) -> Self {
        match self.1 {
            Dialect::Python2 => self.raw(&[0x8a, 8]).raw(&n.to_le_bytes()),
            _ => self.raw(b"J").raw(&i32::try_from(n).unwrap().to_le_bytes()),
        }
    }

    pub fn global(self, module: &str, name: &str) -> Self {
        self.raw(format!("c{module}\n{name}\n").as_bytes())
    }

    pub fn sizes(self, sizes: &[i64]) -> Self {
        sizes.iter().fold(self.raw(b"("), |p, n| p.int(*n)).raw(b"t")
    }

    /// A storage by its key; `count` elements of a class such as `FloatStorage`.
    pub fn storage(self, class: &str, key: &str, count: i64) -> Self {
        let named = self.raw(b"(").text("storage").global("torch", class).text(key).text("cuda:0").int(count);
        match named.1 {
            Dialect::Zip => named.raw(b"tQ"),
            _ => named.raw(b"NtQ"),
        }
    }

    /// A tensor over it.
    pub fn tensor(self, of: (&str, &str, i64), offset: i64, shape: &[i64], strides: &[i64]) -> Self {
        let p = self.global("torch._utils", "_rebuild_tensor_v2").raw(b"(").storage(of.0, of.1, of.2);
        p.int(offset).sizes(shape).sizes(strides).raw(b"\x89").global("collections", "OrderedDict").raw(b")RtR")
    }

    pub fn stop(self) -> Vec<u8> {
        self.raw(b".").0
    }
}

/// The zip container over a pickle and its storages.
pub fn zipped(pickle: &[u8], storages: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut records = vec![("a/data.pkl".to_string(), pickle.to_vec()), ("a/byteorder".into(), b"little".to_vec())];
    records.extend(storages.iter().map(|(key, bytes)| (format!("a/data/{key}"), bytes.clone())));
    archive(&records)
}

pub fn archive(records: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, bytes) in records {
        zip.start_file(name.as_str(), options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// The legacy container: storages with their numbers of elements.
pub fn legacy(pickle: &[u8], storages: &[(&str, i64, Vec<u8>)], dialect: Dialect) -> Vec<u8> {
    let magic: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
    let mut out = Pickle::new(dialect).raw(&[0x8a, 10]).raw(&magic).stop();
    out.extend(Pickle::new(dialect).raw(b"M").raw(&1001u16.to_le_bytes()).stop());
    out.extend(Pickle::new(dialect).raw(b"}").text("little_endian").raw(b"\x88s").stop());
    out.extend_from_slice(pickle);
    let keys = storages.iter().fold(Pickle::new(dialect).raw(b"]("), |p, (key, _, _)| p.text(key));
    out.extend(keys.raw(b"e").stop());
    for (_, count, bytes) in storages {
        out.extend_from_slice(&count.to_le_bytes());
        out.extend_from_slice(bytes);
    }
    out
}

pub fn floats(values: impl IntoIterator<Item = f32>) -> Vec<u8> {
    values.into_iter().flat_map(f32::to_le_bytes).collect()
}

/// `{"w": [2, 3] of 0..6, "t": its transpose, "b": half-precision 1.5}`, zipped; the small sample of the hostile tests.
pub fn small_zip() -> Vec<u8> {
    zipped(&small_pickle(Dialect::Zip), &[("0", floats((0..6).map(|i| i as f32))), ("1", vec![0x00, 0x3e])])
}

/// The same in the legacy container.
pub fn small_legacy(dialect: Dialect) -> Vec<u8> {
    let storages = [("0", 6, floats((0..6).map(|i| i as f32))), ("1", 1, vec![0x00, 0x3e])];
    legacy(&small_pickle(dialect), &storages, dialect)
}

fn small_pickle(dialect: Dialect) -> Vec<u8> {
    let all = ("FloatStorage", "0", 6);
    let p = Pickle::new(dialect).raw(b"}(").text("w").tensor(all, 0, &[2, 3], &[3, 1]);
    p.text("t").tensor(all, 0, &[3, 2], &[1, 3]).text("b").tensor(("HalfStorage", "1", 1), 0, &[], &[]).raw(b"u").stop()
}
