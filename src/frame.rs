//! Pictures and time: plain data that the stages exchange.

use crate::error::{Error, Result};
use crate::limits::MAX_FRAME_SIDE;

/// An 8-bit RGB picture: rows from the top, `3 * width` bytes each, no padding.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    /// Pixels per row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// `3 * width * height` bytes, R G B.
    pub data: Vec<u8>,
}

impl Frame {
    /// A frame over existing bytes; their number must be `3 * width * height`.
    pub fn new(width: u32, height: u32, data: Vec<u8>) -> Result<Self> {
        if width == 0 || height == 0 || width > MAX_FRAME_SIDE || height > MAX_FRAME_SIDE {
            return Err(Error::Limit(format!("frame of {width} x {height}: sides must be 1 to {MAX_FRAME_SIDE}")));
        }
        let want = 3 * width as usize * height as usize;
        if data.len() != want {
            return Err(Error::Misuse(format!("frame of {width} x {height} needs {want} bytes, not {}", data.len())));
        }
        Ok(Frame { width, height, data })
    }

    /// A frame of one colour.
    pub fn filled(width: u32, height: u32, rgb: [u8; 3]) -> Result<Self> {
        let pixels = width.min(MAX_FRAME_SIDE + 1) as usize * height.min(MAX_FRAME_SIDE + 1) as usize;
        if width > MAX_FRAME_SIDE || height > MAX_FRAME_SIDE {
            return Frame::new(width, height, Vec::new());
        }
        Frame::new(width, height, rgb.iter().copied().cycle().take(3 * pixels).collect())
    }

    /// The colour at column `x`, row `y`.
    pub fn pixel(&self, x: u32, y: u32) -> [u8; 3] {
        let at = 3 * (y as usize * self.width as usize + x as usize);
        [self.data[at], self.data[at + 1], self.data[at + 2]]
    }
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Frame({} x {})", self.width, self.height)
    }
}

/// Duration of one tick, as the exact fraction `num / den` seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeBase {
    /// Numerator, seconds.
    pub num: u32,
    /// Denominator.
    pub den: u32,
}

/// A frame with its presentation time.
#[derive(Clone, Debug)]
pub struct TimedFrame {
    /// Presentation time stamp in ticks of the clip's [`TimeBase`].
    pub pts: i64,
    /// The picture.
    pub frame: Frame,
}
