//! The plate as bytes: a JPEG file of at most so many bytes, and back.
//!
//! JPEG, because every receiver can read it; it is sent once.

use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::limits::{MAX_FRAME_SIDE, MAX_PLATE_BYTES};
use crate::net::ops::{resized, to_frames, to_tensor};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use tch::{no_grad, Device};
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

/// Qualities that are tried at each size; below the lowest a smaller picture looks better.
const QUALITIES: std::ops::RangeInclusive<u8> = 35..=92;
/// How often the picture is halved at most to fit.
const HALVINGS: u32 = 3;
/// Smallest side worth sending.
const MIN_SIDE: u32 = 16;

/// `plate` as a JPEG file of at most `bytes`, where need be at a half, a quarter or an eighth of its size.
///
/// # Errors
/// Limit if it does not fit even then, or `bytes` are more than [`MAX_PLATE_BYTES`].
pub fn compress(plate: &Frame, bytes: usize) -> Result<Vec<u8>> {
    if bytes as u64 > MAX_PLATE_BYTES {
        return Err(Error::Limit(format!("a plate of {bytes} bytes, at most {MAX_PLATE_BYTES} allowed")));
    }
    for halving in 0..=HALVINGS {
        let (width, height) = (plate.width >> halving, plate.height >> halving);
        if halving > 0 && width.min(height) < MIN_SIDE {
            break;
        }
        let small = fit(plate, width, height)?;
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
    }
    Err(Error::Limit(format!("the plate does not fit into {bytes} bytes, not even at an eighth of its size")))
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
/// Malformed; limit if it is larger than the camera's frames.
pub fn decompress(file: &[u8], width: u32, height: u32) -> Result<Frame> {
    let wrong = |what: &str| Error::Malformed(format!("plate: {what}"));
    let most = width.max(height).clamp(MIN_SIDE, MAX_FRAME_SIDE) as usize;
    let options = DecoderOptions::default().set_max_width(most).set_max_height(most).jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(file), options);
    decoder.decode_headers().map_err(|e| wrong(&e.to_string()))?;
    let (w, h) = decoder.dimensions().ok_or_else(|| wrong("a JPEG file without a picture"))?;
    let data = decoder.decode().map_err(|e| wrong(&e.to_string()))?;
    if data.len() != 3 * w * h {
        return Err(wrong("a JPEG file of another kind than RGB"));
    }
    fit(&Frame::new(w as u32, h as u32, data)?, width, height)
}

/// The middle of `frame` that has the shape of `width` x `height`, brought to that size.
///
/// # Errors
/// As [`fit`].
pub fn cover(frame: &Frame, width: u32, height: u32) -> Result<Frame> {
    let (w, h) = (u64::from(frame.width), u64::from(frame.height));
    // The largest part of that shape.
    let part_w = (h * u64::from(width) / u64::from(height.max(1))).clamp(1, w) as usize;
    let part_h = (w * u64::from(height) / u64::from(width.max(1))).clamp(1, h) as usize;
    let (left, top) = ((w as usize - part_w) / 2, (h as usize - part_h) / 2);
    let row = |y: usize| 3 * (y * w as usize + left);
    let data = (top..top + part_h).flat_map(|y| frame.data[row(y)..row(y) + 3 * part_w].iter().copied()).collect();
    fit(&Frame::new(part_w as u32, part_h as u32, data)?, width, height)
}

/// `frame` stretched to `width` x `height`.
///
/// # Errors
/// Misuse for a side of 0; device.
pub fn fit(frame: &Frame, width: u32, height: u32) -> Result<Frame> {
    if (frame.width, frame.height) == (width, height) {
        return Ok(frame.clone());
    }
    if width == 0 || height == 0 {
        return Err(Error::Misuse(format!("a picture of {width} x {height}")));
    }
    let size = [i64::from(height), i64::from(width)];
    let frames = no_grad(|| -> Result<Vec<Frame>> { to_frames(&resized(&to_tensor(&[frame], Device::Cpu)?, size)?) })?;
    frames.into_iter().next().ok_or_else(|| Error::Device("libtorch: an empty picture".into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::metrics::psnr;

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

    #[test]
    fn a_plate_fits_its_bytes_and_looks_like_the_scene() {
        let scene = scene(320, 240);
        let (large, small) = (compress(&scene, 20_000).unwrap(), compress(&scene, 3_000).unwrap());
        assert!(large.len() <= 20_000 && small.len() <= 3_000 && large.len() > small.len(), "{} {}", large.len(), small.len());
        let seen = |file: &[u8]| psnr(&scene, &decompress(file, 320, 240).unwrap()).unwrap();
        assert!(seen(&large) > 32.0 && seen(&small) > 22.0, "{} {}", seen(&large), seen(&small));
        assert!(matches!(compress(&scene, 100), Err(Error::Limit(_))));
        assert!(matches!(compress(&scene, 1 << 30), Err(Error::Limit(_))));
    }

    #[test]
    fn a_wrong_file_is_refused() {
        let file = compress(&scene(64, 48), 5_000).unwrap();
        assert!(decompress(&file, 64, 48).is_ok());
        assert!(matches!(decompress(&file[..40], 64, 48), Err(Error::Malformed(_))));
        assert!(matches!(decompress(b"no picture", 64, 48), Err(Error::Malformed(_))));
        // Larger than the camera's frames: somebody wants our memory.
        assert!(matches!(decompress(&file, 32, 24), Err(Error::Malformed(_))));
    }

    #[test]
    fn sizes_are_changed_without_moving_the_picture() {
        let small = fit(&scene(320, 240), 160, 120).unwrap();
        assert_eq!((small.width, small.height), (160, 120));
        assert!(psnr(&scene(320, 240), &fit(&small, 320, 240).unwrap()).unwrap() > 25.0);
        // A wide picture behind a square one shows its middle.
        let middle = cover(&scene(320, 240), 120, 120).unwrap();
        let part: Vec<u8> =
            (0..240).flat_map(|y| scene(320, 240).data[3 * (320 * y + 40)..3 * (320 * y + 280)].to_vec()).collect();
        assert_eq!(middle, fit(&Frame::new(240, 240, part).unwrap(), 120, 120).unwrap());
    }
}
