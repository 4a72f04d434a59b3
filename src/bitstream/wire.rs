//! Byte syntax, written once for both directions: a field list calls a [`Wire`], which writes or reads.
//!
//! In: a value by mutable reference. Out: [`Put`] appends its bytes, [`Take`] overwrites it with what the bytes say.
//! All fixed-width numbers are little-endian; `varint` is base 128, low group first, shortest form only
//! (docs/bitstream.md, "Primitives").

use byteorder::{ByteOrder, LittleEndian};

use crate::error::{Error, Result};

/// One direction of the syntax. `what` names the field in errors.
pub(super) trait Wire {
    /// Exactly `value.len()` bytes.
    fn fixed(&mut self, value: &mut [u8], what: &str) -> Result<()>;

    /// `len` bytes, a number that both directions already know and that the caller has checked against its cap.
    fn sized(&mut self, value: &mut Vec<u8>, len: usize, what: &str) -> Result<()>;

    /// All bytes that are left.
    fn rest(&mut self, value: &mut Vec<u8>) -> Result<()>;

    fn u8(&mut self, value: &mut u8, what: &str) -> Result<()> {
        self.fixed(std::slice::from_mut(value), what)
    }

    fn u16(&mut self, value: &mut u16, what: &str) -> Result<()> {
        let mut b = [0; 2];
        LittleEndian::write_u16(&mut b, *value);
        self.fixed(&mut b, what)?;
        *value = LittleEndian::read_u16(&b);
        Ok(())
    }

    fn u32(&mut self, value: &mut u32, what: &str) -> Result<()> {
        let mut b = [0; 4];
        LittleEndian::write_u32(&mut b, *value);
        self.fixed(&mut b, what)?;
        *value = LittleEndian::read_u32(&b);
        Ok(())
    }

    fn u64(&mut self, value: &mut u64, what: &str) -> Result<()> {
        let mut b = [0; 8];
        LittleEndian::write_u64(&mut b, *value);
        self.fixed(&mut b, what)?;
        *value = LittleEndian::read_u64(&b);
        Ok(())
    }

    fn i64(&mut self, value: &mut i64, what: &str) -> Result<()> {
        let mut bits = *value as u64;
        self.u64(&mut bits, what)?;
        *value = bits as i64;
        Ok(())
    }

    /// A finite 32-bit float; anything else is refused in both directions.
    fn f32(&mut self, value: &mut f32, what: &str) -> Result<()> {
        let mut bits = value.to_bits();
        self.u32(&mut bits, what)?;
        *value = f32::from_bits(bits);
        if value.is_finite() {
            Ok(())
        } else {
            Err(Error::Malformed(format!("{what}: {value} is not a finite number")))
        }
    }

    fn varint(&mut self, value: &mut u64, what: &str) -> Result<()> {
        let mut rest = *value;
        *value = 0;
        for shift in (0..64).step_by(7) {
            let mut byte = (rest & 0x7f) as u8 | if rest > 0x7f { 0x80 } else { 0 };
            rest >>= 7;
            self.u8(&mut byte, what)?;
            if shift == 63 && byte > 1 {
                break;
            }
            *value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return match byte {
                    0 if shift > 0 => Err(Error::Malformed(format!("{what}: number not in its shortest form"))),
                    _ => Ok(()),
                };
            }
        }
        Err(Error::Malformed(format!("{what}: number longer than 64 bits")))
    }

    /// A varint that must not exceed `max`.
    fn bounded(&mut self, value: &mut u64, max: u64, what: &str) -> Result<()> {
        self.varint(value, what)?;
        if *value > max {
            return Err(Error::Limit(format!("{what}: {value}, at most {max} allowed")));
        }
        Ok(())
    }

    /// Signed numbers in varint order 0, -1, 1, -2, ...
    fn zigzag(&mut self, value: &mut i64, what: &str) -> Result<()> {
        let mut folded = ((*value << 1) ^ (*value >> 63)) as u64;
        self.varint(&mut folded, what)?;
        *value = (folded >> 1) as i64 ^ -((folded & 1) as i64);
        Ok(())
    }

    /// A varint length of at most `cap`, then so many bytes.
    fn blob(&mut self, value: &mut Vec<u8>, cap: usize, what: &str) -> Result<()> {
        let mut len = value.len() as u64;
        self.bounded(&mut len, cap as u64, what)?;
        self.sized(value, len as usize, what)
    }

    /// A blob that is UTF-8.
    fn string(&mut self, value: &mut String, cap: usize, what: &str) -> Result<()> {
        let mut bytes = std::mem::take(value).into_bytes();
        self.blob(&mut bytes, cap, what)?;
        *value = String::from_utf8(bytes).map_err(|_| Error::Malformed(format!("{what}: text is not UTF-8")))?;
        Ok(())
    }
}

/// The writing direction: a growing buffer.
#[derive(Default)]
pub(super) struct Put {
    pub bytes: Vec<u8>,
}

impl Wire for Put {
    fn fixed(&mut self, value: &mut [u8], _what: &str) -> Result<()> {
        self.bytes.extend_from_slice(value);
        Ok(())
    }

    fn sized(&mut self, value: &mut Vec<u8>, len: usize, what: &str) -> Result<()> {
        if value.len() != len {
            return Err(Error::Misuse(format!("{what}: {len} bytes expected, not {}", value.len())));
        }
        self.fixed(value, what)
    }

    fn rest(&mut self, value: &mut Vec<u8>) -> Result<()> {
        self.fixed(value, "rest")
    }
}

/// The reading direction: what is left of a slice. Never allocates more than the slice holds.
pub(super) struct Take<'a> {
    pub rest: &'a [u8],
}

impl<'a> Take<'a> {
    /// The next `len` bytes.
    pub fn slice(&mut self, len: usize, what: &str) -> Result<&'a [u8]> {
        if len > self.rest.len() {
            return Err(Error::Malformed(format!("{what}: {len} bytes expected, {} left", self.rest.len())));
        }
        let (head, tail) = self.rest.split_at(len);
        self.rest = tail;
        Ok(head)
    }

    /// Refuses bytes after the last field.
    pub fn end(&self, what: &str) -> Result<()> {
        match self.rest.len() {
            0 => Ok(()),
            n => Err(Error::Malformed(format!("{what}: {n} bytes after the last field"))),
        }
    }
}

impl Wire for Take<'_> {
    fn fixed(&mut self, value: &mut [u8], what: &str) -> Result<()> {
        value.copy_from_slice(self.slice(value.len(), what)?);
        Ok(())
    }

    fn sized(&mut self, value: &mut Vec<u8>, len: usize, what: &str) -> Result<()> {
        *value = self.slice(len, what)?.to_vec();
        Ok(())
    }

    fn rest(&mut self, value: &mut Vec<u8>) -> Result<()> {
        *value = std::mem::take(&mut self.rest).to_vec();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_size_come_back() {
        let mut values = vec![0u64, 1, 127, 128, 16_383, 16_384, u64::from(u32::MAX), u64::MAX - 1, u64::MAX];
        values.extend((0..64).map(|s| 1u64 << s));
        for v in values {
            let mut put = Put::default();
            put.varint(&mut v.clone(), "v").unwrap();
            put.zigzag(&mut (v as i64).clone(), "z").unwrap();
            put.i64(&mut (v as i64).clone(), "i").unwrap();
            let mut take = Take { rest: &put.bytes };
            let (mut a, mut b, mut c) = (1, 1, 1);
            take.varint(&mut a, "v").unwrap();
            take.zigzag(&mut b, "z").unwrap();
            take.i64(&mut c, "i").unwrap();
            take.end("numbers").unwrap();
            assert_eq!((a, b, c), (v, v as i64, v as i64));
        }
    }

    #[test]
    fn long_forms_and_overlong_numbers_are_refused() {
        for bytes in [&[0x80, 0x00][..], &[0xff; 10], &[0xff; 11], &[0x81]] {
            assert!(Take { rest: bytes }.varint(&mut 0, "v").is_err(), "{bytes:?}");
        }
    }
}
