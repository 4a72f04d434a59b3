//! Tensors of a checkpoint: where their numbers lie in the file, and the numbers themselves.
//!
//! Input: element type, shape, strides and offset (all in elements) over a storage, which is a stretch of the file.
//! Output: little-endian bytes in row-major order without gaps, or `f32` values.

use super::{MAX_DIMENSIONS, MAX_EXPANDED_VALUES, MAX_TENSOR_BYTES};
use crate::error::{Error, Result};
use std::io::{Read, Seek, SeekFrom};

/// How one number is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElementType {
    /// Single precision.
    F32,
    /// Double precision.
    F64,
    /// Half precision, IEEE 754.
    F16,
    /// The upper half of single precision.
    BF16,
    /// 64 bits with sign.
    I64,
    /// 32 bits with sign.
    I32,
    /// 16 bits with sign.
    I16,
    /// 8 bits with sign.
    I8,
    /// 8 bits without sign.
    U8,
    /// A flag in a byte, 0 or 1.
    Bool,
}

impl ElementType {
    /// Bytes of one number.
    pub fn size(self) -> u64 {
        match self {
            ElementType::F64 | ElementType::I64 => 8,
            ElementType::F32 | ElementType::I32 => 4,
            ElementType::F16 | ElementType::BF16 | ElementType::I16 => 2,
            ElementType::I8 | ElementType::U8 | ElementType::Bool => 1,
        }
    }

    /// The type behind PyTorch's name of a storage class, `FloatStorage` for `F32`; none for complex and quantised numbers.
    pub(super) fn of_storage(class: &str) -> Option<ElementType> {
        Some(match class.strip_suffix("Storage")? {
            "Float" => ElementType::F32,
            "Double" => ElementType::F64,
            "Half" => ElementType::F16,
            "BFloat16" => ElementType::BF16,
            "Long" => ElementType::I64,
            "Int" => ElementType::I32,
            "Short" => ElementType::I16,
            "Char" => ElementType::I8,
            "Byte" => ElementType::U8,
            "Bool" => ElementType::Bool,
            _ => return None,
        })
    }
}

/// A stretch of the file, and the CRC-32 of its bytes where the container has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub at: u64,
    pub len: u64,
    pub crc: Option<u32>,
}

/// A tensor of a [`super::Checkpoint`]: what it is and where, not yet its numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorRef {
    dtype: ElementType,
    shape: Vec<usize>,
    strides: Vec<u64>,
    /// Elements from the start of the storage to the first one of the tensor.
    offset: u64,
    storage: Span,
    /// Number of elements, and of elements from the first to the last one in the storage.
    count: u64,
    reach: u64,
}

impl TensorRef {
    /// Checks that a view lies inside its storage and within the limits.
    pub(super) fn new(dtype: ElementType, shape: &[u64], strides: &[u64], offset: u64, storage: Span) -> Result<Self> {
        let bad = |why: String| Error::Malformed(format!("tensor of shape {shape:?}, strides {strides:?}: {why}"));
        if shape.len() != strides.len() {
            return Err(bad("different numbers of dimensions".into()));
        }
        if shape.len() > MAX_DIMENSIONS {
            return Err(Error::Limit(format!("tensor of {} dimensions, at most {MAX_DIMENSIONS}", shape.len())));
        }
        let held = storage.len / dtype.size();
        let count = shape.iter().try_fold(1u64, |n, d| n.checked_mul(*d)).ok_or_else(|| bad("too many elements".into()))?;
        let last = shape.iter().zip(strides).try_fold(0u64, |at, (d, s)| (d.saturating_sub(1)).checked_mul(*s)?.checked_add(at));
        let reach = if count == 0 { Some(0) } else { last.and_then(|l| l.checked_add(1)) };
        let end = reach.and_then(|r| r.checked_add(offset));
        let Some((reach, _)) = reach.zip(end).filter(|(_, end)| *end <= held) else {
            return Err(bad(format!("offset {offset} reaches beyond the {held} elements of its storage")));
        };
        if count > held.max(MAX_EXPANDED_VALUES) {
            return Err(Error::Limit(format!("tensor of shape {shape:?} repeats the {held} elements of its storage")));
        }
        if count.max(reach).saturating_mul(dtype.size()) > MAX_TENSOR_BYTES {
            return Err(Error::Limit(format!("tensor of shape {shape:?}, at most {MAX_TENSOR_BYTES} bytes")));
        }
        // Where there are no elements the other sides may be any number; they still have to fit the type.
        let sides: Result<Vec<usize>, _> = shape.iter().map(|d| usize::try_from(*d)).collect();
        let shape = sides.map_err(|_| bad("a side too long".into()))?;
        Ok(TensorRef { dtype, shape, strides: strides.to_vec(), offset, storage, count, reach })
    }

    /// How the numbers are stored.
    pub fn dtype(&self) -> ElementType {
        self.dtype
    }

    /// Lengths of the sides; none for a scalar.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of elements.
    pub fn count(&self) -> usize {
        // At most MAX_TENSOR_BYTES, unless a pointer has 16 bits.
        self.count as usize
    }

    /// Reads the numbers from `file`, the one that the reference was made for.
    pub(super) fn read(&self, file: &mut (impl Read + Seek)) -> Result<TensorData> {
        let size = self.dtype.size();
        let failed = |source| Error::Io { what: format!("cannot read a tensor of shape {:?}", self.shape), source };
        // Neither can overflow: `new` has checked them against the storage, whose length is one of bytes in the file.
        let (at, len) = (self.storage.at + self.offset * size, self.reach * size);
        let mut bytes = vec![0; len as usize];
        file.seek(SeekFrom::Start(at)).map_err(failed)?;
        file.read_exact(&mut bytes).map_err(failed)?;
        // Only a whole storage can be checked; the usual tensor is one.
        if let (Some(crc), true) = (self.storage.crc, len == self.storage.len) {
            let found = crc32fast::hash(&bytes);
            if found != crc {
                let what = format!("tensor of shape {:?} at byte {at}: CRC {found:08x}, expected {crc:08x}", self.shape);
                return Err(Error::Malformed(what));
            }
        }
        if !self.is_dense() {
            bytes = self.gather(&bytes);
        }
        Ok(TensorData { dtype: self.dtype, shape: self.shape.clone(), bytes })
    }

    /// Whether the elements lie in row-major order without gaps. The stride of a side of length 1 has no meaning.
    fn is_dense(&self) -> bool {
        let mut step = 1;
        self.count == 0
            || self.shape.iter().zip(&self.strides).rev().all(|(d, s)| {
                let fits = *d == 1 || *s == step;
                step *= *d as u64;
                fits
            })
    }

    /// The elements in row-major order, from the stretch between the first and the last one.
    fn gather(&self, from: &[u8]) -> Vec<u8> {
        let size = self.dtype.size() as usize;
        let mut out = Vec::with_capacity(self.count as usize * size);
        let mut index = vec![0usize; self.shape.len()];
        for _ in 0..self.count {
            let at: u64 = index.iter().zip(&self.strides).map(|(i, s)| *i as u64 * s).sum();
            let at = at as usize * size;
            out.extend_from_slice(&from[at..at + size]);
            for (i, d) in index.iter_mut().zip(&self.shape).rev() {
                *i += 1;
                if *i < *d {
                    break;
                }
                *i = 0;
            }
        }
        out
    }
}

/// The numbers of a tensor: row-major, without gaps, little-endian.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorData {
    /// How one number is stored.
    pub dtype: ElementType,
    /// Lengths of the sides; none for a scalar.
    pub shape: Vec<usize>,
    /// `dtype.size()` bytes for each element.
    pub bytes: Vec<u8>,
}

impl TensorData {
    /// The numbers in single precision. Doubles are rounded, and become infinite beyond its range.
    ///
    /// # Errors
    /// Malformed for whole numbers and flags: where weights are expected, they mean that the file is another one.
    pub fn to_f32(&self) -> Result<Vec<f32>> {
        let b = &self.bytes;
        Ok(match self.dtype {
            ElementType::F32 => b.chunks_exact(4).map(|v| f32::from_le_bytes([v[0], v[1], v[2], v[3]])).collect(),
            ElementType::F16 => b.chunks_exact(2).map(|v| half::f16::from_le_bytes([v[0], v[1]]).to_f32()).collect(),
            ElementType::BF16 => b.chunks_exact(2).map(|v| half::bf16::from_le_bytes([v[0], v[1]]).to_f32()).collect(),
            ElementType::F64 => {
                let double = |v: &[u8]| f64::from_le_bytes([v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7]]) as f32;
                b.chunks_exact(8).map(double).collect()
            }
            other => {
                let what = format!("tensor of shape {:?} holds {other:?}, expected floating-point numbers", self.shape);
                return Err(Error::Malformed(what));
            }
        })
    }
}
