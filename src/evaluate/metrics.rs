//! Distances between two pictures of one size.
//!
//! Input: two [`Frame`]s, 8-bit RGB. Output: decibels, structural similarity (1 is identical), SSIMULACRA2 (100 is identical) or grey
//! levels (0 to 255).
//! SSIM follows Wang et al. 2004 with an 11 x 11 Gaussian window of sigma 1.5 on luma, and the whole picture counts: the border is
//! mirrored rather than cut off.

use ssimulacra2::{compute_frame_ssimulacra2, ColorPrimaries, Rgb, Ssimulacra2Error, TransferCharacteristic};

use crate::decode::Matte;
use crate::error::{Error, Result};
use crate::frame::Frame;

/// PSNR of equal pictures, dB: a finite stand-in for infinity, so that means stay meaningful.
pub const PSNR_EQUAL: f64 = 99.0;
/// Radius of the SSIM window, pixels.
const RADIUS: usize = 5;
/// Standard deviation of the SSIM window, pixels.
const SIGMA: f32 = 1.5;
/// Stabilisers of the SSIM quotients: (0.01 * 255)^2 and (0.03 * 255)^2.
const C1: f32 = 6.5025;
const C2: f32 = 58.5225;
/// Rec. 601 luma weights of R, G and B times 2^15, so that luma is exact integer arithmetic.
const LUMA: [u32; 3] = [9798, 19235, 3735];

/// `Err(Misuse)` unless the frames have the same size.
pub fn same_size(a: &Frame, b: &Frame) -> Result<()> {
    if (a.width, a.height) == (b.width, b.height) {
        return Ok(());
    }
    let (aw, ah, bw, bh) = (a.width, a.height, b.width, b.height);
    Err(Error::Misuse(format!("pictures to compare must have one size: the reference is {aw} x {ah}, the other {bw} x {bh}")))
}

/// Mean squared error over all pixels and the three colours, squared grey levels.
///
/// # Errors
/// [`Error::Misuse`] when the sizes differ; the same holds for the other functions here.
pub fn mse(a: &Frame, b: &Frame) -> Result<f64> {
    same_size(a, b)?;
    // A row of the largest frame sums to less than 2^32: 3 * 16384 * 255^2 does fit.
    let row = 3 * a.width as usize;
    let sum: u64 = a.data.chunks(row).zip(b.data.chunks(row)).map(|(x, y)| u64::from(squares(x, y))).sum();
    Ok(sum as f64 / a.data.len() as f64)
}

fn squares(a: &[u8], b: &[u8]) -> u32 {
    a.iter().zip(b).map(|(&x, &y)| u32::from(x.abs_diff(y)).pow(2)).sum()
}

/// Peak signal-to-noise ratio of a mean squared error, dB, at most [`PSNR_EQUAL`].
pub fn decibels(mse: f64) -> f64 {
    (10.0 * (255.0f64.powi(2) / mse.max(1e-6)).log10()).min(PSNR_EQUAL)
}

/// Peak signal-to-noise ratio over R, G and B together, dB, at most [`PSNR_EQUAL`].
pub fn psnr(a: &Frame, b: &Frame) -> Result<f64> {
    Ok(decibels(mse(a, b)?))
}

/// As [`psnr`], each pixel counted by the matte of `a`; none where the matte is empty.
pub fn psnr_inside(a: &Frame, b: &Frame, matte: &Matte) -> Result<Option<f64>> {
    same_size(a, b)?;
    let (width, height) = (a.width as usize, a.height as usize);
    let (mut sum, mut area) = (0.0, 0.0);
    for (i, (x, y)) in a.data.chunks_exact(3).zip(b.data.chunks_exact(3)).enumerate() {
        let place = |at: usize, side: usize| (at as f32 + 0.5) / side as f32;
        let weight = f64::from(matte.at(place(i % width, width), place(i / width, height)));
        sum += weight * f64::from(squares(x, y));
        area += 3.0 * weight;
    }
    Ok((area > 0.0).then(|| decibels(sum / area)))
}

/// Mean absolute difference, grey levels.
pub fn l1(a: &Frame, b: &Frame) -> Result<f64> {
    same_size(a, b)?;
    let sum: u64 = a.data.iter().zip(&b.data).map(|(&x, &y)| u64::from(x.abs_diff(y))).sum();
    Ok(sum as f64 / a.data.len() as f64)
}

/// Mean absolute error of the change from one frame to the next, grey levels: `|(b1 - b0) - (a1 - a0)|`. A decoded clip may be near
/// its source in every frame and still flicker; this sees it.
pub fn flicker(a0: &Frame, a1: &Frame, b0: &Frame, b1: &Frame) -> Result<f64> {
    same_size(a0, a1)?;
    same_size(a0, b0)?;
    same_size(a0, b1)?;
    let change = |new: u8, old: u8| i64::from(new) - i64::from(old);
    let source = a1.data.iter().zip(&a0.data);
    let coded = b1.data.iter().zip(&b0.data);
    let sum: i64 = source.zip(coded).map(|((&an, &ao), (&bn, &bo))| (change(bn, bo) - change(an, ao)).abs()).sum();
    Ok(sum as f64 / a0.data.len() as f64)
}

/// Mean absolute change from one frame to the next, grey levels: `|a1 - a0|`. Decoded less source, it tells trembling (above zero) from
/// freezing and smearing (below), which [`flicker`] counts alike.
pub fn motion(a0: &Frame, a1: &Frame) -> Result<f64> {
    l1(a0, a1)
}

/// Smallest side that SSIMULACRA2 is defined for, pixels.
pub const SSIMULACRA2_SIDE: u32 = 8;

/// SSIMULACRA2 of two sRGB pictures: 100 for equal ones, 90 cannot be told apart, 70 is high, 50 medium, 30 low quality, and there is no
/// lower end. Version 2.1, computed by the crate of that name.
///
/// # Errors
/// [`Error::Misuse`] when the sizes differ or a side is under [`SSIMULACRA2_SIDE`].
pub fn ssimulacra2(a: &Frame, b: &Frame) -> Result<f64> {
    same_size(a, b)?;
    if a.width.min(a.height) < SSIMULACRA2_SIDE {
        let least = SSIMULACRA2_SIDE;
        return Err(Error::Misuse(format!("SSIMULACRA2 of {} x {}: sides must be at least {least}", a.width, a.height)));
    }
    compute_frame_ssimulacra2(srgb(a)?, srgb(b)?).map_err(refused)
}

fn srgb(frame: &Frame) -> Result<Rgb> {
    let pixels = frame.data.chunks_exact(3).map(|p| [p[0], p[1], p[2]].map(|v| f32::from(v) / 255.0)).collect();
    let (width, height) = (frame.width as usize, frame.height as usize);
    Rgb::new(pixels, width, height, TransferCharacteristic::SRGB, ColorPrimaries::BT709)
        .map_err(|e| Error::Misuse(format!("SSIMULACRA2 of {width} x {height}: {e}")))
}

fn refused(error: Ssimulacra2Error) -> Error {
    Error::Misuse(format!("SSIMULACRA2: {error}"))
}

/// Luma, 0 to 255, rounded to whole levels.
fn luma(frame: &Frame) -> Vec<f32> {
    let level = |p: &[u8]| (0..3).map(|c| LUMA[c] * u32::from(p[c])).sum::<u32>();
    frame.data.chunks_exact(3).map(|p| ((level(p) + (1 << 14)) >> 15) as f32).collect()
}

/// The window along one axis; its sum is 1.
fn window() -> [f32; 2 * RADIUS + 1] {
    let mut taps = [0.0; 2 * RADIUS + 1];
    for (i, tap) in taps.iter_mut().enumerate() {
        let distance = i as f32 - RADIUS as f32;
        *tap = (-distance * distance / (2.0 * SIGMA * SIGMA)).exp();
    }
    let sum: f32 = taps.iter().sum();
    taps.map(|tap| tap / sum)
}

/// Position `i` (may lie outside) mirrored into `0..n` without repeating the edge; for sides smaller than the window it bounces.
fn mirror(i: isize, n: usize) -> usize {
    if n == 1 {
        return 0;
    }
    let period = 2 * (n as isize - 1);
    let folded = i.rem_euclid(period);
    folded.min(period - folded) as usize
}

/// The plane blurred by the window along both axes.
fn blur(plane: &[f32], width: usize, height: usize) -> Vec<f32> {
    let taps = window();
    let mut across = vec![0.0f32; plane.len()];
    let mut padded = vec![0.0f32; width + 2 * RADIUS];
    for (source, target) in plane.chunks_exact(width).zip(across.chunks_exact_mut(width)) {
        for (i, value) in padded.iter_mut().enumerate() {
            *value = source[mirror(i as isize - RADIUS as isize, width)];
        }
        for (k, tap) in taps.iter().enumerate() {
            target.iter_mut().zip(&padded[k..]).for_each(|(t, s)| *t += tap * s);
        }
    }
    let mut down = vec![0.0f32; plane.len()];
    for (y, target) in down.chunks_exact_mut(width).enumerate() {
        for (k, tap) in taps.iter().enumerate() {
            let row = mirror((y + k) as isize - RADIUS as isize, height) * width;
            target.iter_mut().zip(&across[row..row + width]).for_each(|(t, s)| *t += tap * s);
        }
    }
    down
}

/// Mean structural similarity of the luma planes, at most 1.
pub fn ssim(a: &Frame, b: &Frame) -> Result<f64> {
    same_size(a, b)?;
    let (width, height) = (a.width as usize, a.height as usize);
    let (x, y) = (luma(a), luma(b));
    let product = |p: &[f32], q: &[f32]| -> Vec<f32> { p.iter().zip(q).map(|(p, q)| p * q).collect() };
    let smooth = |plane: &[f32]| blur(plane, width, height);
    let (mx, my) = (smooth(&x), smooth(&y));
    let (xx, yy, xy) = (smooth(&product(&x, &x)), smooth(&product(&y, &y)), smooth(&product(&x, &y)));
    let mut sum = 0.0f64;
    for i in 0..x.len() {
        let (m2, cross) = (mx[i] * mx[i] + my[i] * my[i], mx[i] * my[i]);
        let (spread, shared) = (xx[i] + yy[i] - m2, xy[i] - cross);
        sum += f64::from((2.0 * cross + C1) * (2.0 * shared + C2) / ((m2 + C1) * (spread + C2)));
    }
    Ok(sum / x.len() as f64)
}

/// Standard deviation; 0 of nothing.
pub fn spread(a: &[f64]) -> f64 {
    covariance(a, a).sqrt()
}

/// Pearson's correlation of two rows of equal length; 0 where one of them does not vary.
pub fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let product = spread(a) * spread(b);
    if product > 0.0 {
        covariance(a, b) / product
    } else {
        0.0
    }
}

fn covariance(a: &[f64], b: &[f64]) -> f64 {
    let count = a.len().max(1) as f64;
    let (ma, mb) = (a.iter().sum::<f64>() / count, b.iter().sum::<f64>() / count);
    a.iter().zip(b).map(|(x, y)| (x - ma) * (y - mb)).sum::<f64>() / count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inside_the_matte_only_what_it_covers_counts() {
        let a = Frame::filled(8, 8, [100; 3]).unwrap();
        let mut b = a.clone();
        // The left half is off by 10, the right by 40.
        for (i, v) in b.data.iter_mut().enumerate() {
            *v += if i / 3 % 8 < 4 { 10 } else { 40 };
        }
        let matte = |value: fn(usize) -> u8| Matte::new(8, (0..64).map(|i| value(i % 8)).collect()).unwrap();
        let inside = |matte: &Matte| psnr_inside(&a, &b, matte).unwrap();
        let left = inside(&matte(|x| if x < 4 { 255 } else { 0 })).unwrap();
        assert!((left - decibels(100.0)).abs() < 1e-6, "{left}");
        assert!((inside(&matte(|_| 255)).unwrap() - psnr(&a, &b).unwrap()).abs() < 1e-6);
        assert_eq!(inside(&matte(|_| 0)), None);
    }

    /// Reproducible noise: splitmix64 from `seed`, one byte per sample.
    fn noise(seed: u64, width: u32, height: u32) -> Frame {
        let mut state = seed;
        let mut byte = || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (z >> 56) as u8
        };
        let data = (0..3 * width * height).map(|_| byte()).collect();
        Frame::new(width, height, data).unwrap()
    }

    fn shifted(frame: &Frame, by: i16) -> Frame {
        let data = frame.data.iter().map(|&v| (i16::from(v) + by).clamp(0, 255) as u8).collect();
        Frame::new(frame.width, frame.height, data).unwrap()
    }

    #[test]
    fn equal_pictures_score_best() {
        let a = noise(1, 33, 17);
        assert_eq!(psnr(&a, &a).unwrap(), PSNR_EQUAL);
        assert_eq!(l1(&a, &a).unwrap(), 0.0);
        assert!((ssim(&a, &a).unwrap() - 1.0).abs() < 1e-5);
    }

    #[test]
    fn a_constant_offset_has_the_psnr_of_its_square() {
        let a = Frame::filled(20, 10, [100, 100, 100]).unwrap();
        let b = Frame::filled(20, 10, [110, 110, 110]).unwrap();
        // 20 log10(255 / 10)
        assert!((psnr(&a, &b).unwrap() - 28.1308).abs() < 1e-3);
        assert_eq!(l1(&a, &b).unwrap(), 10.0);
    }

    #[test]
    fn ssim_of_two_flat_pictures_is_the_luminance_term() {
        let a = Frame::filled(16, 16, [50, 50, 50]).unwrap();
        let b = Frame::filled(16, 16, [200, 200, 200]).unwrap();
        let expected = (2.0 * 50.0 * 200.0 + 6.5025) / (50.0 * 50.0 + 200.0 * 200.0 + 6.5025);
        assert!((ssim(&a, &b).unwrap() - expected).abs() < 1e-4);
    }

    #[test]
    fn ssim_of_unrelated_noise_is_near_zero() {
        assert!(ssim(&noise(1, 64, 64), &noise(2, 64, 64)).unwrap().abs() < 0.05);
    }

    #[test]
    fn flicker_ignores_a_constant_error_and_sees_a_pulsing_one() {
        let a = Frame::filled(8, 8, [100, 100, 100]).unwrap();
        let off = shifted(&a, 7);
        assert_eq!(flicker(&a, &a, &off, &off).unwrap(), 0.0);
        assert_eq!(flicker(&a, &a, &a, &off).unwrap(), 7.0);
    }

    #[test]
    fn motion_is_the_mean_change_of_all_samples() {
        let a = Frame::filled(8, 8, [100, 100, 100]).unwrap();
        let b = Frame::filled(8, 8, [103, 100, 94]).unwrap();
        // (3 + 0 + 6) / 3
        assert_eq!(motion(&a, &b).unwrap(), 3.0);
    }

    #[test]
    fn ssimulacra2_is_100_for_equal_pictures_and_falls_with_noise() {
        let a = noise(1, 64, 48);
        assert!((ssimulacra2(&a, &a).unwrap() - 100.0).abs() < 1e-3);
        let (near, far) = (ssimulacra2(&a, &shifted(&a, 3)).unwrap(), ssimulacra2(&a, &noise(2, 64, 48)).unwrap());
        assert!(near < 100.0 && far < near && far < 0.0, "{near} {far}");
    }

    #[test]
    fn ssimulacra2_refuses_pictures_smaller_than_its_blocks() {
        let a = noise(1, 7, 64);
        assert!(ssimulacra2(&a, &a).unwrap_err().to_string().contains("7 x 64"));
    }

    #[test]
    fn the_border_is_mirrored_without_repeating_the_edge() {
        let at: Vec<usize> = (-3..7).map(|i| mirror(i, 4)).collect();
        assert_eq!(at, [3, 2, 1, 0, 1, 2, 3, 2, 1, 0]);
        assert_eq!(mirror(-9, 2), 1);
        assert_eq!(mirror(4, 1), 0);
    }

    #[test]
    fn different_sizes_are_refused_with_both_sizes_named() {
        let (a, b) = (Frame::filled(8, 6, [0; 3]).unwrap(), Frame::filled(6, 8, [0; 3]).unwrap());
        let text = psnr(&a, &b).unwrap_err().to_string();
        assert!(text.contains("8 x 6") && text.contains("6 x 8"), "{text}");
    }

    #[test]
    fn correlation_sees_direction_and_not_size() {
        let a = [1.0, 2.0, 4.0];
        assert!((correlation(&a, &[2.0, 4.0, 8.0]) - 1.0).abs() < 1e-12);
        assert!((correlation(&a, &[-1.0, -2.0, -4.0]) + 1.0).abs() < 1e-12);
        assert_eq!(correlation(&a, &[3.0; 3]), 0.0);
        assert_eq!(spread(&[1.0, 3.0]), 1.0);
    }
}
