//! Puts the rendered crop back into the camera frame.
//!
//! Input: a camera frame, the upright crop, its placement and roll, and where only the head shall be pasted its matte. Output: the camera
//! frame with the crop in its place, the crop's edge faded out. The inverse of the encoder's alignment; plain Rust, so that decoding needs no OpenCV.

use std::borrow::Cow;

use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::limits::MAX_FRAME_SIDE;
use crate::params::Placement;

/// Width of the soft edge of a crop that is pasted, share of its side: what plates are made for.
pub const FEATHER: f32 = 0.08;

/// How surely each place of a crop belongs to the person and not to the background.
#[derive(Clone, PartialEq, Eq)]
pub struct Matte {
    side: u32,
    data: Vec<u8>,
}

impl Matte {
    /// A matte of `side` x `side` values, rows from the top: 255 surely the person, 0 surely the background.
    ///
    /// # Errors
    /// Misuse for another number of values.
    pub fn new(side: u32, data: Vec<u8>) -> Result<Self> {
        if side == 0 || side > MAX_FRAME_SIDE || data.len() != side as usize * side as usize {
            return Err(Error::Misuse(format!("matte of {side} x {side} with {} values", data.len())));
        }
        Ok(Matte { side, data })
    }

    /// The value at shares `u`, `v` of the crop's side, 0 to 1, by linear interpolation; the border repeats.
    pub fn at(&self, u: f32, v: f32) -> f32 {
        let most = self.side as f32 - 1.0;
        let place = |share: f32| (share * self.side as f32 - 0.5).clamp(0.0, most);
        let (x, y) = (place(u), place(v));
        let value = |x: f32, y: f32| f32::from(self.data[y as usize * self.side as usize + x as usize]);
        let row = |y: f32| {
            let (left, right) = (value(x.floor(), y), value((x.floor() + 1.0).min(most), y));
            left + (x - x.floor()) * (right - left)
        };
        let (top, bottom) = (row(y.floor()), row((y.floor() + 1.0).min(most)));
        (top + (y - y.floor()) * (bottom - top)) / 255.0
    }
}

impl std::fmt::Debug for Matte {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Matte({0} x {0})", self.side)
    }
}

/// Pastes `crop` into `camera` at `placement`, turned by `roll` degrees clockwise; with a matte only the person in it. Within `feather` of
/// its edge (share of the crop's side, 0 to 0.5) the crop fades into the frame. What reaches over the frame's border is left out.
///
/// # Errors
/// `Misuse` if a number is not finite, the side not above zero, `feather` out of range or the crop not square.
pub fn paste(
    camera: &mut Frame,
    crop: &Frame,
    matte: Option<&Matte>,
    roll: f32,
    placement: &Placement,
    feather: f32,
) -> Result<()> {
    let numbers = [placement.x, placement.y, placement.side, roll, feather];
    if numbers.iter().any(|v| !v.is_finite()) || placement.side <= 0.0 || !(0.0..=0.5).contains(&feather) {
        return Err(Error::Misuse(format!(
            "cannot paste at {placement:?}, roll {roll}, feather {feather}: numbers out of range"
        )));
    }
    if crop.width != crop.height {
        return Err(Error::Misuse(format!("crop of {} x {}: it must be square", crop.width, crop.height)));
    }
    let crop = shrunk(crop, placement.side)?;
    let square = Square::new(*placement, roll, crop.width);
    let (columns, rows) = square.extent(camera.width, camera.height);
    for y in rows {
        for x in columns.clone() {
            let (u, v) = square.to_crop(x, y);
            let person = matte.map_or(1.0, |matte| cut(matte.at(u, v)));
            let weight = fade(u, feather) * fade(v, feather) * person;
            if weight > 0.0 {
                let at = 3 * (y as usize * camera.width as usize + x as usize);
                blend(&mut camera.data[at..at + 3], sample(&crop, u, v), weight);
            }
        }
    }
    Ok(())
}

/// The crop's square in the camera frame.
pub(crate) struct Square {
    placement: Placement,
    sin: f32,
    cos: f32,
    /// How far the square reaches from its centre along the frame's axes, camera pixels.
    reach: f32,
}

impl Square {
    pub(crate) fn new(placement: Placement, roll: f32, crop_side: u32) -> Self {
        let (sin, cos) = roll.to_radians().sin_cos();
        // Half a crop pixel more: the outermost pixels fade over their own width.
        let half = placement.side * (0.5 + 0.5 / crop_side as f32);
        Square { placement, sin, cos, reach: half * (sin.abs() + cos.abs()) }
    }

    /// Columns and rows of the frame that the square can touch.
    pub(crate) fn extent(&self, width: u32, height: u32) -> (std::ops::Range<u32>, std::ops::Range<u32>) {
        // Casts of floats saturate, so that a square far outside gives an empty range.
        let range = |centre: f32, end: u32| {
            ((centre - self.reach).floor() as u32).min(end)..((centre + self.reach).ceil() as u32).min(end)
        };
        (range(self.placement.x, width), range(self.placement.y, height))
    }

    /// Middle of a camera pixel in shares of the crop's side from its upper left corner.
    pub(crate) fn to_crop(&self, x: u32, y: u32) -> (f32, f32) {
        let (dx, dy) = (x as f32 + 0.5 - self.placement.x, y as f32 + 0.5 - self.placement.y);
        let side = self.placement.side;
        ((self.cos * dx + self.sin * dy) / side + 0.5, (self.cos * dy - self.sin * dx) / side + 0.5)
    }
}

/// The weight of a place that is the person's with this probability: doubts become a soft edge that keeps to the middle of the doubt.
fn cut(probability: f32) -> f32 {
    let t = ((probability - 0.25) / 0.5).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// Weight at the share `u` of the side: 0 at the edge, 1 from `feather` on, without a kink.
fn fade(u: f32, feather: f32) -> f32 {
    let inside = u.min(1.0 - u);
    if inside <= 0.0 {
        return 0.0;
    }
    let t = if feather > 0.0 { (inside / feather).min(1.0) } else { 1.0 };
    t * t * (3.0 - 2.0 * t)
}

fn blend(pixel: &mut [u8], color: [f32; 3], weight: f32) {
    for (value, new) in pixel.iter_mut().zip(color) {
        let old = f32::from(*value);
        *value = (old + weight * (new - old)).round().clamp(0.0, 255.0) as u8;
    }
}

/// The crop averaged down by a whole number when it is pasted at less than its size, against aliasing.
fn shrunk(crop: &Frame, side: f32) -> Result<Cow<'_, Frame>> {
    let most = crop.width as usize;
    let times = ((crop.width as f32 / side).floor() as usize).clamp(1, most);
    // Only whole blocks keep the crop's edge where it is.
    let Some(times) = (1..=times).rev().find(|t| most.is_multiple_of(*t)).filter(|t| *t > 1) else {
        return Ok(Cow::Borrowed(crop));
    };
    let small = most / times;
    let mut data = Vec::with_capacity(3 * small * small);
    for y in 0..small {
        for x in 0..small {
            for c in 0..3 {
                let row = |dy: usize| 3 * ((y * times + dy) * most + x * times) + c;
                let sum: u32 =
                    (0..times).flat_map(|dy| (0..times).map(move |dx| row(dy) + 3 * dx)).map(|i| u32::from(crop.data[i])).sum();
                let count = (times * times) as u32;
                data.push(((sum + count / 2) / count) as u8);
            }
        }
    }
    Ok(Cow::Owned(Frame::new(small as u32, small as u32, data)?))
}

/// The colour at shares `u`, `v` of the crop's side by cubic interpolation; the border repeats.
fn sample(crop: &Frame, u: f32, v: f32) -> [f32; 3] {
    let side = crop.width as i32;
    let (x, y) = (u * side as f32 - 0.5, v * side as f32 - 0.5);
    let (left, top) = (x.floor(), y.floor());
    let (wx, wy) = (cubic(x - left), cubic(y - top));
    let index = |v: f32, n: usize| (v as i32 - 1 + n as i32).clamp(0, side - 1) as usize;
    let mut out = [0.0; 3];
    for (j, wy) in wy.iter().enumerate() {
        let row = 3 * index(top, j) * side as usize;
        for (i, wx) in wx.iter().enumerate() {
            let at = row + 3 * index(left, i);
            for (sum, value) in out.iter_mut().zip(&crop.data[at..at + 3]) {
                *sum += wx * wy * f32::from(*value);
            }
        }
    }
    out
}

/// Catmull-Rom weights of the four samples around a point `t` after the second.
fn cubic(t: f32) -> [f32; 4] {
    let (t2, t3) = (t * t, t * t * t);
    [0.5 * (2.0 * t2 - t - t3), 0.5 * (2.0 - 5.0 * t2 + 3.0 * t3), 0.5 * (t + 4.0 * t2 - 3.0 * t3), 0.5 * (t3 - t2)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(x: f32, y: f32, side: f32) -> Placement {
        Placement { x, y, side }
    }

    fn ramp(side: u32) -> Frame {
        Frame::new(side, side, (0..side * side).flat_map(|i| [(i % side) as u8, (i / side) as u8, 128]).collect()).unwrap()
    }

    #[test]
    fn an_upright_crop_at_full_size_lands_pixel_on_pixel() {
        let mut camera = Frame::filled(40, 30, [0; 3]).unwrap();
        paste(&mut camera, &ramp(16), None, 0.0, &place(20.0, 14.0, 16.0), 0.0).unwrap();
        for (x, y) in [(0, 0), (15, 15), (3, 9)] {
            assert_eq!(camera.pixel(x + 12, y + 6), ramp(16).pixel(x, y));
        }
        assert_eq!(camera.pixel(11, 6), [0; 3]);
        assert_eq!(camera.pixel(28, 22), [0; 3]);
    }

    #[test]
    fn positive_roll_turns_the_crop_clockwise() {
        let mut camera = Frame::filled(16, 16, [0; 3]).unwrap();
        paste(&mut camera, &ramp(16), None, 90.0, &place(8.0, 8.0, 16.0), 0.0).unwrap();
        // The crop's upper left corner is on screen at the upper right.
        assert_eq!(camera.pixel(15, 0), ramp(16).pixel(0, 0));
        assert_eq!(camera.pixel(15, 10), ramp(16).pixel(10, 0));
    }

    #[test]
    fn the_edge_fades_into_the_frame() {
        let mut camera = Frame::filled(100, 100, [0; 3]).unwrap();
        paste(&mut camera, &Frame::filled(64, 64, [200; 3]).unwrap(), None, 0.0, &place(50.0, 50.0, 80.0), 0.2).unwrap();
        let row: Vec<u8> = (10..50).map(|x| camera.pixel(x, 50)[0]).collect();
        assert!(row.windows(2).all(|w| w[0] <= w[1]), "{row:?}");
        assert!(row[0] < 10 && row[39] == 200, "{row:?}");
    }

    #[test]
    fn a_matte_leaves_the_background_as_it_was() {
        let mut camera = Frame::filled(64, 64, [10; 3]).unwrap();
        // The person is in the left half of the crop.
        let matte = Matte::new(8, (0..64).map(|i| if i % 8 < 4 { 255 } else { 0 }).collect()).unwrap();
        paste(&mut camera, &Frame::filled(32, 32, [200; 3]).unwrap(), Some(&matte), 0.0, &place(32.0, 32.0, 32.0), 0.0).unwrap();
        let row: Vec<u8> = (16..48).map(|x| camera.pixel(x, 32)[0]).collect();
        assert!(row[..13].iter().all(|v| *v == 200) && row[19..].iter().all(|v| *v == 10), "{row:?}");
        assert!(row.windows(2).all(|w| w[0] >= w[1]), "{row:?}");
        assert!(Matte::new(8, vec![0; 63]).is_err() && Matte::new(0, Vec::new()).is_err());
    }

    #[test]
    fn a_small_paste_averages_instead_of_aliasing() {
        let checks =
            Frame::new(64, 64, (0..64 * 64).flat_map(|i| [if (i % 64 + i / 64) % 2 == 0 { 0 } else { 255 }; 3]).collect())
                .unwrap();
        let mut camera = Frame::filled(32, 32, [0; 3]).unwrap();
        paste(&mut camera, &checks, None, 0.0, &place(16.0, 16.0, 16.0), 0.0).unwrap();
        assert_eq!(camera.pixel(16, 16), [128; 3]);
    }

    #[test]
    fn squares_outside_of_the_frame_and_bad_numbers_do_no_harm() {
        let mut camera = Frame::filled(32, 32, [7; 3]).unwrap();
        for (x, y) in [(-500.0, 16.0), (1e30, 16.0), (16.0, -1e30)] {
            paste(&mut camera, &ramp(16), None, 30.0, &place(x, y, 20.0), 0.1).unwrap();
        }
        assert!(camera.data.iter().all(|&v| v == 7));
        for bad in [f32::NAN, f32::INFINITY] {
            assert!(paste(&mut camera, &ramp(16), None, 0.0, &place(bad, 0.0, 20.0), 0.1).is_err());
        }
        assert!(paste(&mut camera, &ramp(16), None, 0.0, &place(0.0, 0.0, 0.0), 0.1).is_err());
        assert!(paste(&mut camera, &Frame::filled(4, 3, [0; 3]).unwrap(), None, 0.0, &place(0.0, 0.0, 9.0), 0.1).is_err());
    }
}
