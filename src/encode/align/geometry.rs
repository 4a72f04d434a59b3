//! Similarity transforms: where the crop sits in the camera frame, and how a face moves within the crop.
//!
//! Units: camera pixels (0.5 is the middle of the first pixel) and crop units: the crop's side is 1, its centre 0. y points down, so
//! that positive angles are clockwise on screen, as in [`crate::params::FrameParams::roll`].

use crate::params::Placement;

/// Where the eyes' midpoint lies in the crop, crop units: FFHQ framing, (0.5, 0.47) from the corner.
pub(super) const EYE_LINE: (f64, f64) = (0.0, -0.03);
/// Distance between the eyes in the crop, share of its side: FFHQ framing.
pub(super) const EYE_DISTANCE: f64 = 0.25;

/// A point or a shift.
pub(super) type Point = (f64, f64);

/// The crop's square in the camera frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct CropPose {
    /// Centre, camera pixels.
    pub x: f64,
    /// Centre, camera pixels.
    pub y: f64,
    /// Side, camera pixels.
    pub side: f64,
    /// Rotation, radians clockwise.
    pub roll: f64,
}

/// `p -> scale * rotate(angle) * p + shift`, crop units.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Similarity {
    /// Magnification.
    pub scale: f64,
    /// Radians clockwise.
    pub angle: f64,
    /// Shift, crop units.
    pub shift: Point,
}

pub(super) fn rotate((x, y): Point, angle: f64) -> Point {
    let (s, c) = angle.sin_cos();
    (c * x - s * y, s * x + c * y)
}

impl Similarity {
    /// Leaves every point where it is.
    pub(super) const IDENTITY: Similarity = Similarity { scale: 1.0, angle: 0.0, shift: (0.0, 0.0) };

    /// The image of `p`.
    pub(super) fn apply(&self, p: Point) -> Point {
        self.mover()(p)
    }

    /// [`Similarity::apply`] for many points: the angle's sine and cosine are computed once.
    pub(super) fn mover(&self) -> impl Fn(Point) -> Point {
        let (s, c) = self.angle.sin_cos();
        let (along, across, shift) = (self.scale * c, self.scale * s, self.shift);
        move |(x, y)| (along * x - across * y + shift.0, across * x + along * y + shift.1)
    }

    /// First `inner`, then `self`.
    pub(super) fn after(&self, inner: &Similarity) -> Similarity {
        Similarity { scale: self.scale * inner.scale, angle: self.angle + inner.angle, shift: self.apply(inner.shift) }
    }

    /// Undoes `self`.
    pub(super) fn inverse(&self) -> Similarity {
        let (x, y) = rotate(self.shift, -self.angle);
        Similarity { scale: 1.0 / self.scale, angle: -self.angle, shift: (-x / self.scale, -y / self.scale) }
    }

    /// The same kind of change, `share` as large.
    pub(super) fn part(&self, share: f64) -> Similarity {
        Similarity {
            scale: (self.scale.ln() * share).exp(),
            angle: self.angle * share,
            shift: (self.shift.0 * share, self.shift.1 * share),
        }
    }

    /// Largest movement of a point of the face (half a unit around the centre), crop units.
    pub(super) fn size(&self) -> f64 {
        self.shift.0.hypot(self.shift.1) + 0.35 * (self.scale.ln().abs() + self.angle.abs())
    }
}

impl CropPose {
    /// The FFHQ-style crop for these eyes (camera pixels, left and right as seen on screen).
    pub(super) fn from_eyes(left: Point, right: Point) -> Self {
        let (dx, dy) = (right.0 - left.0, right.1 - left.1);
        let (side, roll) = (dx.hypot(dy) / EYE_DISTANCE, dy.atan2(dx));
        let down = rotate((EYE_LINE.0 * side, EYE_LINE.1 * side), roll);
        CropPose { x: (left.0 + right.0) / 2.0 - down.0, y: (left.1 + right.1) / 2.0 - down.1, side, roll }
    }

    /// Crop units to camera pixels.
    pub(super) fn to_camera(self, p: Point) -> Point {
        let (x, y) = rotate(p, self.roll);
        (self.x + self.side * x, self.y + self.side * y)
    }

    /// Camera pixels to crop units.
    pub(super) fn to_crop(self, (x, y): Point) -> Point {
        let (x, y) = rotate((x - self.x, y - self.y), -self.roll);
        (x / self.side, y / self.side)
    }

    /// The pose of a face that has moved by `motion` within this crop.
    pub(super) fn moved(&self, motion: &Similarity) -> CropPose {
        let (x, y) = self.to_camera(motion.shift);
        CropPose { x, y, side: self.side * motion.scale, roll: self.roll + motion.angle }
    }

    /// The motion within this crop that leads to `other`.
    pub(super) fn motion_to(&self, other: &CropPose) -> Similarity {
        Similarity { scale: other.side / self.side, angle: other.roll - self.roll, shift: self.to_crop((other.x, other.y)) }
    }

    /// OpenCV's matrix from pixel indices of an `n` x `n` crop to pixel indices of the frame.
    pub(super) fn pixel_matrix(&self, n: f64) -> [[f64; 3]; 2] {
        let (s, c) = self.roll.sin_cos();
        let step = self.side / n;
        // OpenCV counts from the middle of the first pixel, this program from its corner.
        let (x, y) = self.to_camera((0.5 / n - 0.5, 0.5 / n - 0.5));
        [[c * step, -s * step, x - 0.5], [s * step, c * step, y - 0.5]]
    }

    /// From what the stream has.
    pub(super) fn placed(place: &Placement, roll: f32) -> CropPose {
        let Placement { x, y, side } = *place;
        CropPose { x: x.into(), y: y.into(), side: side.into(), roll: f64::from(roll).to_radians() }
    }

    /// As the stream has it: placement, and roll in degrees.
    pub(super) fn placement(&self) -> (Placement, f32) {
        (Placement { x: self.x as f32, y: self.y as f32, side: self.side as f32 }, self.roll.to_degrees() as f32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: Point, b: Point) -> bool {
        (a.0 - b.0).abs() < 1e-9 && (a.1 - b.1).abs() < 1e-9
    }

    #[test]
    fn eyes_land_where_ffhq_has_them() {
        let (left, right) = ((100.0, 80.0), (160.0, 100.0));
        let pose = CropPose::from_eyes(left, right);
        assert!(close(pose.to_crop(left), (-0.125, -0.03)), "{:?}", pose.to_crop(left));
        assert!(close(pose.to_crop(right), (0.125, -0.03)));
    }

    #[test]
    fn motions_compose_and_invert() {
        let a = Similarity { scale: 1.1, angle: 0.2, shift: (0.05, -0.02) };
        let b = Similarity { scale: 0.9, angle: -0.4, shift: (-0.01, 0.03) };
        let p = (0.3, -0.1);
        assert!(close(a.after(&b).apply(p), a.apply(b.apply(p))));
        assert!(close(a.inverse().apply(a.apply(p)), p));
        let pose = CropPose { x: 50.0, y: 40.0, side: 80.0, roll: 0.3 };
        assert!(close(pose.moved(&a).to_camera(p), pose.to_camera(a.apply(p))));
        let motion = pose.motion_to(&pose.moved(&a));
        assert!(close(motion.apply(p), a.apply(p)));
    }
}
