//! The plate as bytes: a JPEG file of at most so many bytes, and back.
//!
//! JPEG, because every receiver can read it; it is sent once.

use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::limits::{MAX_CAMERA_PIXELS, MAX_FRAME_SIDE, MAX_PLATE_BYTES};
use crate::net::ops::{from_vec, resized, to_vec};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use tch::{no_grad, Device, Tensor};
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

/// Qualities that are tried at each size; below the lowest a smaller picture looks better.
const QUALITIES: std::ops::RangeInclusive<u8> = 35..=92;
/// Smallest side worth sending.
const MIN_SIDE: u32 = 16;
/// What a JPEG file ends with.
const END: [u8; 2] = [0xff, 0xd9];

/// Refuses camera pictures that would take too much memory.
pub(super) fn check_pixels(width: u32, height: u32) -> Result<()> {
    if u64::from(width) * u64::from(height) > MAX_CAMERA_PIXELS {
        return Err(Error::Limit(format!(
            "camera pictures of {width} x {height}: at most {MAX_CAMERA_PIXELS} pixels are laid over"
        )));
    }
    Ok(())
}

/// `plate` as a JPEG file of at most `bytes`, halved as often as it must be to fit.
///
/// # Errors
/// Limit if it does not fit even then, or `bytes` are more than [`MAX_PLATE_BYTES`].
pub fn compress(plate: &Frame, bytes: usize) -> Result<Vec<u8>> {
    if bytes as u64 > MAX_PLATE_BYTES {
        return Err(Error::Limit(format!("a plate of {bytes} bytes, at most {MAX_PLATE_BYTES} allowed")));
    }
    let (mut width, mut height) = (plate.width, plate.height);
    loop {
        let small = fit(plate.clone(), width, height)?;
        // The best quality that fits: more of it never takes fewer bytes, or hardly so.
        let (mut low, mut high, mut best) = (*QUALITIES.start(), *QUALITIES.end(), None);
        while low <= high {
            let quality = low + (high - low) / 2;
            let file = jpeg(&small, quality)?;
            if file.len() <= bytes {
                best = Some(file);
                low = quality + 1;
            } else {
                high = quality - 1;
            }
        }
        if let Some(best) = best {
            return Ok(best);
        }
        if width.min(height) / 2 < MIN_SIDE {
            return Err(Error::Limit(format!("the plate does not fit into {bytes} bytes, not even at {width} x {height}")));
        }
        (width, height) = (width / 2, height / 2);
    }
}

fn jpeg(frame: &Frame, quality: u8) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut encoder = Encoder::new(&mut out, quality);
    encoder.set_progressive(true);
    encoder.set_optimized_huffman_tables(true);
    encoder.set_sampling_factor(SamplingFactor::F_2_2);
    encoder
        .encode(&frame.data, frame.width as u16, frame.height as u16, ColorType::Rgb)
        .map_err(|e| Error::Limit(format!("plate of {} x {}: {e}", frame.width, frame.height)))?;
    Ok(out)
}

/// The picture in a JPEG file of a plate, stretched to `width` x `height`, the size of the camera's frames.
///
/// # Errors
/// Malformed, also for files that are not whole; unsupported for other colours than YCbCr or grey; limit if it is larger than the camera's
/// frames, or those have more than [`MAX_CAMERA_PIXELS`].
pub fn decompress(file: &[u8], width: u32, height: u32) -> Result<Frame> {
    check_pixels(width, height)?;
    if !file.ends_with(&END) {
        return Err(Error::Malformed("plate: its end is missing".into()));
    }
    let wrong = |what: &dyn std::fmt::Display| Error::Malformed(format!("plate: {what}"));
    let most = MAX_FRAME_SIDE as usize;
    let options = DecoderOptions::default().set_strict_mode(true).set_max_width(most).set_max_height(most);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(file), options.jpeg_set_out_colorspace(ColorSpace::RGB));
    decoder.decode_headers().map_err(|e| wrong(&e))?;
    let (w, h) = decoder.dimensions().ok_or_else(|| wrong(&"a JPEG file without a picture"))?;
    if w > width.max(1) as usize || h > height.max(1) as usize {
        return Err(Error::Limit(format!("plate of {w} x {h}, larger than the camera's {width} x {height}")));
    }
    match decoder.input_colorspace() {
        Some(ColorSpace::YCbCr | ColorSpace::Luma) => {}
        other => return Err(Error::Unsupported(format!("plate: colours {other:?}, expected YCbCr or grey"))),
    }
    let data = decoder.decode().map_err(|e| wrong(&e))?;
    fit(Frame::new(w as u32, h as u32, data)?, width, height)
}

/// The middle of `frame` that has the shape of `width` x `height`, brought to that size.
///
/// # Errors
/// Misuse for a side of 0; limit for more than [`MAX_CAMERA_PIXELS`]; device.
pub fn cover(frame: &Frame, width: u32, height: u32) -> Result<Frame> {
    check_pixels(width, height)?;
    let (w, h) = (u64::from(frame.width), u64::from(frame.height));
    // The largest part of that shape.
    let part_w = (h * u64::from(width) / u64::from(height.max(1))).clamp(1, w) as usize;
    let part_h = (w * u64::from(height) / u64::from(width.max(1))).clamp(1, h) as usize;
    let (left, top) = ((w as usize - part_w) / 2, (h as usize - part_h) / 2);
    let row = |y: usize| 3 * (y * w as usize + left);
    let data = (top..top + part_h).flat_map(|y| frame.data[row(y)..row(y) + 3 * part_w].iter().copied()).collect();
    fit(Frame::new(part_w as u32, part_h as u32, data)?, width, height)
}

/// `frame` stretched to `width` x `height`.
fn fit(frame: Frame, width: u32, height: u32) -> Result<Frame> {
    if (frame.width, frame.height) == (width, height) {
        return Ok(frame);
    }
    if width == 0 || height == 0 {
        return Err(Error::Misuse(format!("a picture of {width} x {height}")));
    }
    let (h, w) = (i64::from(height), i64::from(width));
    by_colour(&frame, width, height, |colour| match height > frame.height && width > frame.width {
        // Bicubic: what is enlarged stays sharp.
        true => Ok(colour.f_upsample_bicubic2d([h, w], false, None, None)?),
        false => resized(colour, [h, w]),
    })
}

/// The frame of `width` x `height` that `change` makes of another one's colours, each `[1, 1, h, w]` from 0 to 255: one after the other, which takes a
/// third of the memory.
pub(super) fn by_colour(frame: &Frame, width: u32, height: u32, change: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Frame> {
    let shape = [1, 1, i64::from(frame.height), i64::from(frame.width)];
    let mut data = vec![0; 3 * width as usize * height as usize];
    for c in 0..3 {
        let colour: Vec<f32> = frame.data.iter().skip(c).step_by(3).map(|v| f32::from(*v)).collect();
        let changed = no_grad(|| to_vec(&change(&from_vec(&colour, &shape, Device::Cpu)?)?))?;
        for (byte, value) in data.iter_mut().skip(c).step_by(3).zip(changed) {
            *byte = value.round().clamp(0.0, 255.0) as u8;
        }
    }
    Frame::new(width, height, data)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A soft scene with some edges.
    fn scene(width: u32, height: u32) -> Frame {
        let value = |x: u32, y: u32, c: u32| {
            let soft = 120.0 + 80.0 * ((x as f32 / 37.0).sin() * (y as f32 / 23.0 + c as f32).cos());
            let edge = if (x / 40 + y / 30).is_multiple_of(3) { 25.0 } else { 0.0 };
            (soft + edge) as u8
        };
        let data = (0..width * height).flat_map(|i| (0..3).map(move |c| (i, c))).map(|(i, c)| value(i % width, i / width, c));
        Frame::new(width, height, data.collect()).unwrap()
    }

    /// Root mean square of the difference, grey levels.
    fn off(a: &Frame, b: &Frame) -> f64 {
        assert_eq!((a.width, a.height), (b.width, b.height));
        let sum: f64 = a.data.iter().zip(&b.data).map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2)).sum();
        (sum / a.data.len() as f64).sqrt()
    }

    #[test]
    fn a_plate_fits_its_bytes_and_looks_like_the_scene() {
        let scene = scene(320, 240);
        let (large, small) = (compress(&scene, 20_000).unwrap(), compress(&scene, 3_000).unwrap());
        assert!(large.len() <= 20_000 && small.len() <= 3_000 && large.len() > small.len(), "{} {}", large.len(), small.len());
        let seen = |file: &[u8]| off(&scene, &decompress(file, 320, 240).unwrap());
        assert!(seen(&large) < 6.0 && seen(&small) < 20.0, "{} {}", seen(&large), seen(&small));
        assert!(compress(&scene, 1_000).is_ok(), "the fewest bytes that the command takes");
        assert!(matches!(compress(&scene, 100), Err(Error::Limit(_))));
        assert!(matches!(compress(&scene, 1 << 30), Err(Error::Limit(_))));
    }

    #[test]
    fn files_that_are_not_whole_or_too_large_are_refused() {
        let file = compress(&scene(64, 48), 5_000).unwrap();
        assert!(decompress(&file, 64, 48).is_ok());
        for cut in [40, file.len() / 2, file.len() - 1] {
            assert!(matches!(decompress(&file[..cut], 64, 48), Err(Error::Malformed(_))), "{cut} of {}", file.len());
        }
        assert!(matches!(decompress(b"no picture", 64, 48), Err(Error::Malformed(_))));
        // Whatever a stranger sends: a picture of the right size or an error.
        for at in 2..file.len() - 2 {
            let mut changed = file.clone();
            changed[at] ^= 1 << (at % 8);
            if let Ok(frame) = decompress(&changed, 64, 48) {
                assert_eq!((frame.width, frame.height), (64, 48), "byte {at}");
            }
        }
        for (width, height) in [(32, 48), (64, 32), (0, 0), (16_384, 16_384)] {
            assert!(matches!(decompress(&file, width, height), Err(Error::Limit(_))), "{width} x {height}");
        }
    }

    #[test]
    fn grey_is_read_and_other_colours_are_not() {
        let coded = |data: &[u8], kind: ColorType| {
            let mut out = Vec::new();
            Encoder::new(&mut out, 90).encode(data, 16, 16, kind).unwrap();
            out
        };
        let grey = decompress(&coded(&[90; 256], ColorType::Luma), 16, 16).unwrap();
        assert!(grey.data.iter().all(|v| v.abs_diff(90) < 3));
        for four in [ColorType::Cmyk, ColorType::Ycck] {
            assert!(matches!(decompress(&coded(&[90; 1024], four), 16, 16), Err(Error::Unsupported(_))), "{four:?}");
        }
    }

    #[test]
    fn sizes_are_changed_without_moving_the_picture() {
        let small = fit(scene(320, 240), 160, 120).unwrap();
        assert_eq!((small.width, small.height), (160, 120));
        assert!(off(&scene(320, 240), &fit(small, 320, 240).unwrap()) < 10.0);
        // A wide picture behind a square one shows its middle.
        let middle = cover(&scene(320, 240), 120, 120).unwrap();
        let part: Vec<u8> =
            (0..240).flat_map(|y| scene(320, 240).data[3 * (320 * y + 40)..3 * (320 * y + 280)].to_vec()).collect();
        assert_eq!(middle, fit(Frame::new(240, 240, part).unwrap(), 120, 120).unwrap());
    }
}
