//! The container that PyTorch wrote before version 1.6.
//!
//! Input: five pickles in a row (magic number, protocol 1001, facts about the machine, the object, the list of storage keys), then
//! for every key the number of elements (64 bits, little-endian) and their bytes. Python 2 wrote it too: its strings are byte
//! strings. Output: the tree of the object.

use super::pickle::{self, Graph, Node, StorageNode};
use super::source::Source;
use super::tensor::{ElementType, Span};
use super::tree::{self, Value};
use crate::error::{Error, Result};
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};

/// `MAGIC_NUMBER` of PyTorch's `torch/serialization.py`.
const MAGIC: i128 = 0x1950_a86a_20f9_469c_fc6c;
/// `PROTOCOL_VERSION` of the same.
const PROTOCOL: i128 = 1001;

/// How such a file begins: protocol 2, an integer of ten bytes, the magic number.
pub(super) const START: [u8; 14] = [0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

/// Reads the tree; `len` is the size of the file.
///
/// # Errors
/// Input/output, malformed, unsupported (another protocol, big-endian numbers, refused calls), limit.
pub(super) fn read(file: &File, len: u64) -> Result<Value> {
    let mut source = Source::new(BufReader::new(file));
    front(&mut source)?;
    let object = pickle::run(&mut source)?;
    let keys = pickle::run(&mut source)?;
    let storages = table(file, source.position(), len, &object, &keys)?;
    tree::grow(&object, &mut |_, key| {
        storages.get(key).copied().ok_or_else(|| Error::Malformed(format!("no storage {key:?} in the list of storages")))
    })
}

/// The three pickles that say what the file is.
fn front<R: BufRead>(source: &mut Source<R>) -> Result<()> {
    let integer = |graph: &Graph| match &graph.nodes[graph.root as usize] {
        Node::Int(n) => Some(*n),
        _ => None,
    };
    if integer(&pickle::run(source)?) != Some(MAGIC) {
        return Err(source.malformed("not the magic number of a checkpoint"));
    }
    match integer(&pickle::run(source)?) {
        Some(PROTOCOL) => (),
        Some(other) => return Err(Error::Unsupported(format!("checkpoint protocol {other}, expected {PROTOCOL}"))),
        None => return Err(source.malformed("no protocol number")),
    }
    let machine = pickle::run(source)?;
    let facts = tree::grow(&machine, &mut |_, _| Err(Error::Malformed("a tensor among the facts about the machine".into())))?;
    match facts.get("little_endian") {
        Some(Value::Bool(true)) => Ok(()),
        Some(Value::Bool(false)) => Err(Error::Unsupported("numbers in big-endian byte order".into())),
        _ => Err(source.malformed("the byte order is missing")),
    }
}

/// Where the numbers of every storage lie. The object tells what they are, the file how many.
fn table(mut file: &File, start: u64, len: u64, object: &Graph, keys: &Graph) -> Result<HashMap<String, Span>> {
    let wanted = wanted(object)?;
    let Node::List(keys_in_order) = &keys.nodes[keys.root as usize] else {
        return Err(Error::Malformed("the list of storages is not a list".into()));
    };
    let mut at = start;
    let mut out = HashMap::new();
    for id in keys_in_order {
        let key = tree::text(keys, *id);
        let (dtype, count) = *wanted.get(key).ok_or_else(|| Error::Malformed(format!("storage {key:?} belongs to no tensor")))?;
        let short = || Error::Malformed(format!("storage {key:?} of {count} numbers at byte {at} of a file of {len}: it is cut"));
        let data = at.checked_add(8).filter(|data| *data <= len).ok_or_else(short)?;
        let bytes = count.checked_mul(dtype.size()).ok_or_else(short)?;
        let end = data.checked_add(bytes).filter(|end| *end <= len).ok_or_else(short)?;
        let failed = |source| Error::Io { what: "cannot read the list of storages".into(), source };
        let mut found = [0; 8];
        file.seek(SeekFrom::Start(at)).map_err(failed)?;
        file.read_exact(&mut found).map_err(failed)?;
        let found = i64::from_le_bytes(found);
        if u64::try_from(found) != Ok(count) {
            return Err(Error::Malformed(format!("storage {key:?} at byte {at} has {found} numbers, expected {count}")));
        }
        if out.insert(key.to_string(), Span { at: data, len: bytes, crc: None }).is_some() {
            return Err(Error::Malformed(format!("storage {key:?} is listed twice")));
        }
        at = end;
    }
    Ok(out)
}

/// Type and number of elements of every storage that the object names.
fn wanted(object: &Graph) -> Result<HashMap<&str, (ElementType, u64)>> {
    let mut out = HashMap::new();
    for node in &object.nodes {
        let Node::Storage(storage) = node else { continue };
        let StorageNode { dtype, key, count, .. } = **storage;
        let key = tree::text(object, key);
        if out.insert(key, (dtype, count)).is_some_and(|before| before != (dtype, count)) {
            return Err(Error::Malformed(format!("storage {key:?} is named with two types or sizes")));
        }
    }
    Ok(out)
}
