//! Where the crop sits, and cutting it out of the camera frame.
//!
//! Input: camera frame, [`CropPose`]. Output: upright square crops, resampled once. The crop may reach over the frame's border:
//! the border's pixels are repeated there and blurred, so that no hard streaks teach the networks a false background.

use opencv::core::{self, Mat, Scalar, Size, Vec3b};
use opencv::imgproc;
use opencv::prelude::*;

use super::geometry::CropPose;
use crate::error::{Error, Result};
use crate::frame::Frame;

/// Width of the band over which the fill outside of the frame goes from sharp to blurred, share of the crop's side.
const FILL_BAND: f64 = 0.06;

/// OpenCV's failures: out of memory or a broken installation.
pub(super) fn cv<T>(result: opencv::Result<T>) -> Result<T> {
    result.map_err(|e| Error::Device(format!("OpenCV: {}", e.message.lines().next().unwrap_or("unknown error"))))
}

/// The grey picture of a frame.
pub(super) fn grey(frame: &Frame) -> Result<Mat> {
    let color = cv(Mat::new_rows_cols_with_bytes::<Vec3b>(frame.height as i32, frame.width as i32, &frame.data))?;
    let mut out = Mat::default();
    // The forms with default arguments exist alike in all OpenCV 4 versions.
    cv(imgproc::cvt_color_def(&color, &mut out, imgproc::COLOR_RGB2GRAY))?;
    Ok(out)
}

/// The crop of `side` x `side` pixels at `pose`, by bicubic interpolation; `blur_outside` softens what lies beyond the frame.
pub(super) fn cut(frame: &Frame, pose: &CropPose, side: u32, blur_outside: bool) -> Result<Frame> {
    let color = cv(Mat::new_rows_cols_with_bytes::<Vec3b>(frame.height as i32, frame.width as i32, &frame.data))?;
    let crop = resample(&color, pose, side, imgproc::INTER_CUBIC)?;
    let mut data = cv(crop.data_bytes())?.to_vec();
    if blur_outside && reaches_over(pose, frame) {
        soften(&mut data, &crop, pose, frame, side)?;
    }
    Frame::new(side, side, data)
}

/// A grey crop for measuring motion: linear interpolation is several times faster, and exact enough at twice the resolution.
pub(super) fn cut_grey(grey: &Mat, pose: &CropPose, side: u32) -> Result<Mat> {
    resample(grey, pose, side, imgproc::INTER_LINEAR)
}

/// Cuts the crop out. When it is smaller than its place in the frame, it is cut at a whole multiple of its size and averaged down, so
/// that fine detail does not alias.
fn resample(image: &impl core::ToInputArray, pose: &CropPose, side: u32, interpolation: i32) -> Result<Mat> {
    let times = (pose.side / f64::from(side)).ceil().clamp(1.0, 16.0);
    let large = (f64::from(side) * times) as i32;
    let matrix = cv(Mat::from_slice_2d(&pose.pixel_matrix(f64::from(large))))?;
    let flags = interpolation | imgproc::WARP_INVERSE_MAP;
    let mut out = Mat::default();
    let size = Size::new(large, large);
    cv(imgproc::warp_affine(image, &mut out, &matrix, size, flags, core::BORDER_REPLICATE, Scalar::default()))?;
    if large == side as i32 {
        return Ok(out);
    }
    let mut small = Mat::default();
    cv(imgproc::resize(&out, &mut small, Size::new(side as i32, side as i32), 0.0, 0.0, imgproc::INTER_AREA))?;
    Ok(small)
}

fn reaches_over(pose: &CropPose, frame: &Frame) -> bool {
    [(-0.5, -0.5), (0.5, -0.5), (-0.5, 0.5), (0.5, 0.5)].iter().any(|&corner| {
        let (x, y) = pose.to_camera(corner);
        x < 0.0 || y < 0.0 || x > f64::from(frame.width) || y > f64::from(frame.height)
    })
}

/// Mixes the blurred crop in outside of the camera frame, the more the farther out.
fn soften(data: &mut [u8], crop: &Mat, pose: &CropPose, frame: &Frame, side: u32) -> Result<()> {
    let radius = (f64::from(side) * 0.04).ceil() as i32 * 2 + 1;
    let anchor = core::Point::new(-1, -1);
    let (mut once, mut twice) = (Mat::default(), Mat::default());
    cv(imgproc::blur(crop, &mut once, Size::new(radius, radius), anchor, core::BORDER_REPLICATE))?;
    cv(imgproc::blur(&once, &mut twice, Size::new(radius, radius), anchor, core::BORDER_REPLICATE))?;
    let blurred = cv(twice.data_bytes())?;
    let (n, band) = (f64::from(side), FILL_BAND * pose.side);
    for (at, pixel) in data.chunks_exact_mut(3).enumerate() {
        let (column, row) = (at as u32 % side, at as u32 / side);
        let (x, y) = pose.to_camera(((f64::from(column) + 0.5) / n - 0.5, (f64::from(row) + 0.5) / n - 0.5));
        let beyond = |v: f64, end: u32| (-v).max(v - f64::from(end)).max(0.0);
        let outside = beyond(x, frame.width).hypot(beyond(y, frame.height));
        if outside > 0.0 {
            let share = (outside / band).min(1.0);
            for (c, value) in pixel.iter_mut().enumerate() {
                let (sharp, soft) = (f64::from(*value), f64::from(blurred[3 * at + c]));
                *value = (sharp + share * (soft - sharp)).round() as u8;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upright_crop_at_full_size_copies_pixels() {
        let data: Vec<u8> = (0..3 * 32 * 24).map(|i| (i * 7 % 251) as u8).collect();
        let frame = Frame::new(32, 24, data).unwrap();
        let pose = CropPose { x: 12.0, y: 10.0, side: 16.0, roll: 0.0 };
        let crop = cut(&frame, &pose, 16, true).unwrap();
        for (x, y) in [(0, 0), (15, 15), (3, 9)] {
            assert_eq!(crop.pixel(x, y), frame.pixel(x + 4, y + 2));
        }
    }

    #[test]
    fn positive_roll_is_a_face_turned_clockwise() {
        let mut frame = Frame::filled(64, 64, [0; 3]).unwrap();
        // Up in a face rolled by 90 degrees clockwise is right on screen.
        for y in 30..34 {
            for x in 50..60 {
                let at = 3 * (y * 64 + x);
                frame.data[at..at + 3].fill(255);
            }
        }
        let pose = CropPose { x: 32.0, y: 32.0, side: 64.0, roll: std::f64::consts::FRAC_PI_2 };
        let crop = cut(&frame, &pose, 64, true).unwrap();
        assert!(crop.pixel(32, 9)[0] > 200 && crop.pixel(32, 55)[0] < 50);
    }

    #[test]
    fn a_crop_far_outside_of_the_frame_is_filled() {
        let frame = Frame::filled(32, 32, [90; 3]).unwrap();
        let pose = CropPose { x: -300.0, y: 16.0, side: 100.0, roll: 0.3 };
        assert!(cut(&frame, &pose, 64, true).unwrap().data.iter().all(|&v| v == 90));
    }
}
