//! Pictures as C callers have them. Input and output: planes with strides in one of five formats; here they meet [`Frame`], 8-bit RGB.
//!
//! I420 and NV12 hold luma 16 to 235 and chroma 16 to 240 of half the width and height (rounded up), after ITU-R BT.601 or BT.709;
//! a chroma sample stands for the mean of its two by two pixels.

use crate::frame::Frame;
use crate::limits::MAX_FRAME_SIDE;
use crate::{Error, Result};

/// How the bytes of a picture are ordered.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PixelFormat {
    /// One plane, three bytes a pixel: R G B.
    Rgb24 = 0,
    /// One plane, four bytes a pixel: R G B A. Written with A 255; A is not read.
    Rgba = 1,
    /// One plane, four bytes a pixel: B G R A. Written with A 255; A is not read.
    Bgra = 2,
    /// Three planes: Y, and at half the width and height, rounded up, U and V, each the mean of its two by two pixels (centred).
    I420 = 3,
    /// Two planes: Y, and at half the width and height, rounded up, pairs of U and V, centred likewise.
    Nv12 = 4,
}

/// Which Y, U and V a colour has in the formats that have them. RGB formats ignore it.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// ITU-R BT.601, limited range: most cameras and WebRTC. Full-range YUV is to be converted first.
    Bt601 = 0,
    /// ITU-R BT.709, limited range: high-definition video.
    Bt709 = 1,
}

/// Format and size of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    format: PixelFormat,
    colour: Colour,
    width: usize,
    height: usize,
}

impl Shape {
    /// From the numbers of a C caller.
    ///
    /// # Errors
    /// Misuse for a format or colour that there is not; limit for sides beyond [`MAX_FRAME_SIDE`].
    pub fn new(format: i32, colour: i32, width: u32, height: u32) -> Result<Shape> {
        let formats = [PixelFormat::Rgb24, PixelFormat::Rgba, PixelFormat::Bgra, PixelFormat::I420, PixelFormat::Nv12];
        let format = formats.into_iter().find(|f| *f as i32 == format).ok_or_else(|| unknown("format", format, 4))?;
        let colours = [Colour::Bt601, Colour::Bt709];
        let colour = colours.into_iter().find(|c| *c as i32 == colour).ok_or_else(|| unknown("colour", colour, 1))?;
        if ![width, height].iter().all(|side| (1..=MAX_FRAME_SIDE).contains(side)) {
            return Err(Error::Limit(format!("picture of {width} x {height}: sides must be 1 to {MAX_FRAME_SIDE}")));
        }
        Ok(Shape { format, colour, width: width as usize, height: height as usize })
    }

    /// Bytes of a row and number of rows of each plane.
    pub fn planes(&self) -> Vec<(usize, usize)> {
        let (w, h) = (self.width, self.height);
        let (half_w, half_h) = (w.div_ceil(2), h.div_ceil(2));
        match self.format {
            PixelFormat::Rgb24 => vec![(3 * w, h)],
            PixelFormat::Rgba | PixelFormat::Bgra => vec![(4 * w, h)],
            PixelFormat::I420 => vec![(w, h), (half_w, half_h), (half_w, half_h)],
            PixelFormat::Nv12 => vec![(w, h), (2 * half_w, half_h)],
        }
    }

    /// Width and height, pixels.
    pub fn size(&self) -> (u32, u32) {
        // `new` has them from such numbers.
        (self.width as u32, self.height as u32)
    }

    /// Whether it is a square of `side`, as decoded pictures are.
    ///
    /// # Errors
    /// Misuse.
    pub fn check_side(&self, side: u32) -> Result<()> {
        match (self.width, self.height) == (side as usize, side as usize) {
            true => Ok(()),
            false => Err(Error::Misuse(format!("picture of {} x {}: frames have {side} x {side}", self.width, self.height))),
        }
    }

    /// Whether planes of these strides and sizes hold such a picture.
    ///
    /// # Errors
    /// Misuse, naming the plane.
    pub fn check(&self, strides: &[usize], sizes: &[usize]) -> Result<()> {
        for (number, (row, rows)) in self.planes().into_iter().enumerate() {
            let (stride, size) = (strides[number], sizes[number]);
            if stride < row {
                return Err(Error::Misuse(format!("plane {number}: stride is {stride}, expected at least {row}")));
            }
            let needed = stride.checked_mul(rows - 1).and_then(|bytes| bytes.checked_add(row));
            if needed.is_none_or(|needed| needed > size || isize::try_from(size).is_err()) {
                return Err(Error::Misuse(format!("plane {number}: {size} bytes are not {rows} rows of stride {stride}")));
            }
        }
        Ok(())
    }

    /// The planes of `frame`, row behind row.
    ///
    /// # Errors
    /// Misuse for a frame of another size.
    pub fn pack(&self, frame: &Frame) -> Result<Vec<Vec<u8>>> {
        if (frame.width as usize, frame.height as usize) != (self.width, self.height) {
            let (have, want) = ((frame.width, frame.height), (self.width, self.height));
            return Err(Error::Misuse(format!("the frame is {} x {}, the picture {} x {}", have.0, have.1, want.0, want.1)));
        }
        Ok(match self.format {
            PixelFormat::Rgb24 => vec![frame.data.clone()],
            PixelFormat::Rgba => vec![frame.data.chunks_exact(3).flat_map(|p| [p[0], p[1], p[2], 255]).collect()],
            PixelFormat::Bgra => vec![frame.data.chunks_exact(3).flat_map(|p| [p[2], p[1], p[0], 255]).collect()],
            PixelFormat::I420 => {
                let (y, u, v) = self.to_yuv(&frame.data);
                vec![y, u, v]
            }
            PixelFormat::Nv12 => {
                let (y, u, v) = self.to_yuv(&frame.data);
                vec![y, u.into_iter().zip(v).flat_map(|(u, v)| [u, v]).collect()]
            }
        })
    }

    /// The frame that planes hold which [`Shape::check`] has passed.
    ///
    /// # Errors
    /// Misuse for planes shorter than that; device without memory for it.
    pub fn unpack(&self, planes: &[&[u8]], strides: &[usize]) -> Result<Frame> {
        let short = || Error::Misuse("a plane is shorter than its rows".into());
        let row = |plane: usize, number: usize, bytes: usize| -> Result<&[u8]> {
            let start = number * strides[plane];
            planes.get(plane).and_then(|bytes_of| bytes_of.get(start..start + bytes)).ok_or_else(short)
        };
        let mut data = memory(3 * self.width * self.height)?;
        let maths = Maths::new(self.colour);
        for y in 0..self.height {
            let half = self.width.div_ceil(2);
            match self.format {
                PixelFormat::Rgb24 => data.extend_from_slice(row(0, y, 3 * self.width)?),
                PixelFormat::Rgba => data.extend(row(0, y, 4 * self.width)?.chunks_exact(4).flat_map(|p| [p[0], p[1], p[2]])),
                PixelFormat::Bgra => data.extend(row(0, y, 4 * self.width)?.chunks_exact(4).flat_map(|p| [p[2], p[1], p[0]])),
                PixelFormat::I420 => {
                    let (luma, u, v) = (row(0, y, self.width)?, row(1, y / 2, half)?, row(2, y / 2, half)?);
                    data.extend((0..self.width).flat_map(|x| maths.rgb(luma[x], u[x / 2], v[x / 2])));
                }
                PixelFormat::Nv12 => {
                    let (luma, uv) = (row(0, y, self.width)?, row(1, y / 2, 2 * half)?);
                    data.extend((0..self.width).flat_map(|x| maths.rgb(luma[x], uv[x / 2 * 2], uv[x / 2 * 2 + 1])));
                }
            }
        }
        Frame::new(self.width as u32, self.height as u32, data)
    }

    fn to_yuv(self, rgb: &[u8]) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
        let maths = Maths::new(self.colour);
        let luma = rgb.chunks_exact(3).map(|p| maths.luma([p[0].into(), p[1].into(), p[2].into()])).collect();
        let (mut us, mut vs) = (Vec::new(), Vec::new());
        for y in (0..self.height).step_by(2) {
            for x in (0..self.width).step_by(2) {
                let (mut sum, mut count) = ([0f32; 3], 0f32);
                for (x, y) in [(x, y), (x + 1, y), (x, y + 1), (x + 1, y + 1)] {
                    if x < self.width && y < self.height {
                        let at = 3 * (y * self.width + x);
                        sum.iter_mut().zip(&rgb[at..at + 3]).for_each(|(sum, byte)| *sum += f32::from(*byte));
                        count += 1.0;
                    }
                }
                let [u, v] = maths.chroma(sum.map(|sum| sum / count));
                us.push(u);
                vs.push(v);
            }
        }
        (luma, us, vs)
    }
}

/// Room for as many bytes as a caller's numbers say. Without it the call fails, where the usual ways would end the process.
///
/// # Errors
/// Device.
pub fn memory(bytes: usize) -> Result<Vec<u8>> {
    let mut room = Vec::new();
    room.try_reserve_exact(bytes).map_err(|_| Error::Device(format!("no memory for {bytes} bytes")))?;
    Ok(room)
}

/// A copy of a caller's bytes.
///
/// # Errors
/// As [`memory`].
pub fn copy(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut room = memory(bytes.len())?;
    room.extend_from_slice(bytes);
    Ok(room)
}

fn unknown(what: &str, found: i32, last: i32) -> Error {
    Error::Misuse(format!("{what} {found}: 0 to {last} are known"))
}

/// Weights of red and blue in luma; green has the rest.
struct Maths {
    red: f32,
    blue: f32,
}

impl Maths {
    fn new(colour: Colour) -> Self {
        match colour {
            Colour::Bt601 => Maths { red: 0.299, blue: 0.114 },
            Colour::Bt709 => Maths { red: 0.2126, blue: 0.0722 },
        }
    }

    /// 0 to 255.
    fn grey(&self, [r, g, b]: [f32; 3]) -> f32 {
        self.red * r + (1.0 - self.red - self.blue) * g + self.blue * b
    }

    fn luma(&self, rgb: [f32; 3]) -> u8 {
        (16.5 + self.grey(rgb) * (219.0 / 255.0)) as u8
    }

    fn chroma(&self, rgb: [f32; 3]) -> [u8; 2] {
        let grey = self.grey(rgb);
        let part = |value: f32, weight: f32| (128.5 + (value - grey) * (112.0 / 255.0) / (1.0 - weight)) as u8;
        [part(rgb[2], self.blue), part(rgb[0], self.red)]
    }

    fn rgb(&self, y: u8, u: u8, v: u8) -> [u8; 3] {
        let grey = (f32::from(y) - 16.0) * (255.0 / 219.0);
        let blue = grey + (f32::from(u) - 128.0) * (255.0 / 112.0) * (1.0 - self.blue);
        let red = grey + (f32::from(v) - 128.0) * (255.0 / 112.0) * (1.0 - self.red);
        let green = (grey - self.red * red - self.blue * blue) / (1.0 - self.red - self.blue);
        [red, green, blue].map(|value| (value + 0.5).clamp(0.0, 255.0) as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMATS: [i32; 5] = [0, 1, 2, 3, 4];

    /// Two by two blocks of one colour each, so that half the chroma loses nothing.
    fn blocks(width: u32, height: u32) -> Frame {
        let at = |x: u32, y: u32| [(x / 2 * 40 % 256) as u8, (y / 2 * 50 % 256) as u8, ((x / 2 + y / 2) * 30 % 256) as u8];
        let data = (0..height).flat_map(|y| (0..width).flat_map(move |x| at(x, y))).collect();
        Frame::new(width, height, data).unwrap()
    }

    #[test]
    fn every_format_gives_the_frame_back_also_at_odd_sizes_and_with_wide_strides() {
        for (width, height) in [(8, 6), (7, 5), (1, 1)] {
            let frame = blocks(width, height);
            for (format, colour) in FORMATS.iter().flat_map(|f| [(*f, 0), (*f, 1)]) {
                let shape = Shape::new(format, colour, width, height).unwrap();
                let packed = shape.pack(&frame).unwrap();
                let strides: Vec<usize> = shape.planes().iter().map(|(row, _)| row + 3).collect();
                let spread: Vec<Vec<u8>> = packed
                    .iter()
                    .zip(shape.planes())
                    .map(|(bytes, (row, _))| bytes.chunks(row).flat_map(|r| [r, &[9; 3]].concat()).collect())
                    .collect();
                let views: Vec<&[u8]> = spread.iter().map(Vec::as_slice).collect();
                let back = shape.unpack(&views, &strides).unwrap();
                let furthest = back.data.iter().zip(&frame.data).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
                // A step of luma is 255/219, one of chroma up to 255/112 * 0.93; half of each, and rounding.
                let most = if format < 3 { 0 } else { 3 };
                assert!(furthest <= most, "{width} x {height}, format {format}, colour {colour}: {furthest}");
            }
        }
    }

    #[test]
    fn white_black_and_red_have_the_levels_of_the_standards() {
        let yuv = |rgb, colour| {
            let shape = Shape::new(3, colour, 1, 1).unwrap();
            shape.pack(&Frame::filled(1, 1, rgb).unwrap()).unwrap().concat()
        };
        for colour in [0, 1] {
            assert_eq!(yuv([255; 3], colour), [235, 128, 128]);
            assert_eq!(yuv([0; 3], colour), [16, 128, 128]);
        }
        // Y = 16 + 219 Kr; U = 128 - 112 Kr / (1 - Kb); V = 240.
        assert_eq!(yuv([255, 0, 0], 0), [81, 90, 240]);
        assert_eq!(yuv([255, 0, 0], 1), [63, 102, 240]);
    }

    #[test]
    fn unfit_shapes_and_buffers_are_refused() {
        assert!(matches!(Shape::new(5, 0, 8, 8), Err(Error::Misuse(_))));
        assert!(matches!(Shape::new(-1, 0, 8, 8), Err(Error::Misuse(_))));
        assert!(matches!(Shape::new(0, 7, 8, 8), Err(Error::Misuse(_))));
        assert!(matches!(Shape::new(0, 0, 0, 8), Err(Error::Limit(_))));
        assert!(matches!(Shape::new(0, 0, 8, u32::MAX), Err(Error::Limit(_))));
        let shape = Shape::new(4, 0, 7, 5).unwrap();
        assert_eq!(shape.planes(), [(7, 5), (8, 3)]);
        assert!(shape.check(&[7, 8, 0], &[35, 24, 0]).is_ok());
        assert!(shape.check(&[6, 8, 0], &[35, 24, 0]).is_err());
        assert!(shape.check(&[7, 8, 0], &[35, 23, 0]).is_err());
        assert!(shape.check(&[usize::MAX, 8, 0], &[usize::MAX, 24, 0]).is_err());
        assert!(shape.unpack(&[&[0; 35], &[0; 23]], &[7, 8]).is_err());
    }

    #[test]
    fn memory_that_cannot_be_had_is_a_failure_and_no_end() {
        // More than an address space, and more than any part of one.
        for bytes in [usize::MAX, isize::MAX as usize] {
            assert!(matches!(memory(bytes), Err(Error::Device(_))), "{bytes}");
        }
        assert_eq!(copy(&[1, 2, 3]).unwrap(), [1, 2, 3]);
    }
}
