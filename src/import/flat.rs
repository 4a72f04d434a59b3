//! A safetensors file as a checkpoint: what users have who converted theirs.
//!
//! Input: eight bytes with the length of a JSON header, the header, the numbers. Output: one dictionary of tensors.
//! Source: the safetensors README. The crate's own reader wants the whole file in memory, so it parses the header here and the
//! places are checked against the file.

use super::tensor::{ElementType, Span, TensorRef};
use super::tree::Value;
use super::{MAX_HEADER_BYTES, MAX_TENSORS};
use crate::error::{Error, Result};
use safetensors::tensor::{Metadata, TensorInfo};
use safetensors::Dtype;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

/// Reads the tensors' names and places; `len` is the size of the file.
///
/// # Errors
/// Input/output, malformed, unsupported (other types of numbers), limit.
pub(super) fn read(mut file: &File, len: u64) -> Result<Value> {
    let failed = |source| Error::Io { what: "cannot read the safetensors header".into(), source };
    let mut size = [0; 8];
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    file.read_exact(&mut size).map_err(failed)?;
    let size = u64::from_le_bytes(size);
    if size > MAX_HEADER_BYTES {
        return Err(Error::Limit(format!("safetensors header of {size} bytes, at most {MAX_HEADER_BYTES}")));
    }
    let start = size + 8;
    if start > len {
        return Err(Error::Malformed(format!("safetensors header of {size} bytes in a file of {len}")));
    }
    let mut header = vec![0; size as usize];
    file.read_exact(&mut header).map_err(failed)?;
    let header: Metadata = serde_json::from_slice(&header).map_err(|e| Error::Malformed(format!("safetensors header: {e}")))?;
    let tensors = header.tensors();
    if tensors.len() > MAX_TENSORS {
        return Err(Error::Limit(format!("{} tensors, at most {MAX_TENSORS}", tensors.len())));
    }
    let mut entries = Vec::new();
    for (name, info) in tensors {
        let tensor = place(info, start, len).map_err(|e| match e {
            Error::Malformed(what) => Error::Malformed(format!("{name:?}: {what}")),
            Error::Unsupported(what) => Error::Unsupported(format!("{name:?}: {what}")),
            other => other,
        })?;
        entries.push((name, Value::Tensor(tensor)));
    }
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(Value::Dict(entries))
}

fn place(info: &TensorInfo, start: u64, len: u64) -> Result<TensorRef> {
    let dtype = match info.dtype {
        Dtype::F32 => ElementType::F32,
        Dtype::F64 => ElementType::F64,
        Dtype::F16 => ElementType::F16,
        Dtype::BF16 => ElementType::BF16,
        Dtype::I64 => ElementType::I64,
        Dtype::I32 => ElementType::I32,
        Dtype::I16 => ElementType::I16,
        Dtype::I8 => ElementType::I8,
        Dtype::U8 => ElementType::U8,
        Dtype::BOOL => ElementType::Bool,
        other => return Err(Error::Unsupported(format!("numbers of type {other:?}"))),
    };
    let (from, to) = (info.data_offsets.0 as u64, info.data_offsets.1 as u64);
    let outside = || Error::Malformed(format!("bytes {from} to {to} of the data, in a file of {len} with data from {start}"));
    let bytes = to.checked_sub(from).ok_or_else(outside)?;
    if start.checked_add(to).is_none_or(|end| end > len) {
        return Err(outside());
    }
    let shape: Vec<u64> = info.shape.iter().map(|d| *d as u64).collect();
    let mut strides = vec![0; shape.len()];
    let mut step = 1u64;
    for (stride, side) in strides.iter_mut().zip(&shape).rev() {
        *stride = step;
        // Overlong sides show in the comparison below, and in the reference's own.
        step = step.saturating_mul(*side);
    }
    if step.saturating_mul(dtype.size()) != bytes {
        return Err(Error::Malformed(format!("shape {shape:?} of {dtype:?} in {bytes} bytes")));
    }
    TensorRef::new(dtype, &shape, &strides, 0, Span { at: start + from, len: bytes, crc: None })
}
