//! Faces and eyes by OpenCV's cascades: where the crop goes on the first frame, and whether it still sits there.
//!
//! Input: grey camera frames. Output: face boxes and eye centres, camera pixels. Detections wobble by pixels from frame to frame, so
//! they are used as medians over several frames, and one by one only where a face has been lost; frame to frame motion is the business of `register`.

use std::path::{Path, PathBuf};

use opencv::core::{Mat, Rect, Size, Vector};
use opencv::imgproc;
use opencv::objdetect::CascadeClassifier;
use opencv::prelude::*;

use super::geometry::Point;
use super::warp::cv;
use crate::error::{Error, Result};

/// Where systems keep OpenCV's cascades, after the folder that the caller names.
const FOLDERS: [&str; 5] = [
    "/usr/share/opencv4/haarcascades",
    "/usr/local/share/opencv4/haarcascades",
    "/usr/share/opencv/haarcascades",
    "/usr/share/OpenCV/haarcascades",
    "/opt/homebrew/share/opencv4/haarcascades",
];
/// Face cascades, the more exact one first.
const FACE_FILES: [&str; 2] = ["haarcascade_frontalface_alt2.xml", "haarcascade_frontalface_default.xml"];
/// Eye cascades: the second one is trained on eyes behind glasses.
const EYE_FILES: [&str; 2] = ["haarcascade_eye.xml", "haarcascade_eye_tree_eyeglasses.xml"];

/// Longest side of the picture that faces are searched in; larger frames are shrunk.
const SEARCH_SIDE: f64 = 480.0;
/// Width of the picture of one face that eyes are searched in.
const EYE_SEARCH_SIDE: f64 = 200.0;
/// Smallest face, share of the frame's shorter side.
const SMALLEST_FACE: f64 = 0.12;
/// Typical eye centres in a cascade's face box, shares of its side: measured over the boxes where both eyes were found.
pub(super) const EYES_IN_BOX: (Point, Point) = ((0.31, 0.39), (0.69, 0.39));
/// Farthest that a believable eye lies from its typical place, share of the box.
const EYE_REACH: f64 = 0.13;

/// A square face box, camera pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct FaceBox {
    /// Left edge.
    pub x: f64,
    /// Top edge.
    pub y: f64,
    /// Width and height.
    pub side: f64,
}

impl FaceBox {
    /// The point at these shares of the box.
    pub(super) fn at(&self, (x, y): Point) -> Point {
        (self.x + x * self.side, self.y + y * self.side)
    }

    /// Overlap: area in common over area of both.
    pub(super) fn overlap(&self, other: &FaceBox) -> f64 {
        let common = |a: f64, b: f64| (a + self.side).min(b + other.side) - a.max(b);
        let (w, h) = (common(self.x, other.x).max(0.0), common(self.y, other.y).max(0.0));
        w * h / (self.side * self.side + other.side * other.side - w * h)
    }
}

/// Eye centres of one face; an eye that was not found is None.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Eyes {
    /// The one on the left of the picture.
    pub left: Option<Point>,
    /// The one on the right of the picture.
    pub right: Option<Point>,
}

/// The loaded cascades.
pub(super) struct Detector {
    faces: Vec<CascadeClassifier>,
    eyes: Vec<CascadeClassifier>,
}

impl Detector {
    /// Loads the cascades from `folder`, or from where the system keeps them.
    pub(super) fn load(folder: Option<&Path>) -> Result<Self> {
        let places: Vec<PathBuf> = match folder {
            Some(folder) => vec![folder.to_path_buf()],
            None => FOLDERS.iter().map(PathBuf::from).collect(),
        };
        let load = |name: &str| {
            let path = places.iter().map(|p| p.join(name)).find(|p| p.is_file()).ok_or_else(|| {
                let list: Vec<_> = places.iter().map(|p| p.display().to_string()).collect();
                Error::Device(format!("{name} was not found in {}: install OpenCV's data files", list.join(", ")))
            })?;
            CascadeClassifier::new(path.to_string_lossy().as_ref())
                .map_err(|_| Error::Malformed(format!("cascade {}: OpenCV cannot read it", path.display())))
        };
        Ok(Detector {
            faces: FACE_FILES.iter().map(|n| load(n)).collect::<Result<_>>()?,
            eyes: EYE_FILES.iter().map(|n| load(n)).collect::<Result<_>>()?,
        })
    }

    /// Every face of a grey frame; the second cascade is asked when the first finds none.
    pub(super) fn faces(&mut self, grey: &Mat) -> Result<Vec<FaceBox>> {
        let (w, h) = (f64::from(grey.cols()), f64::from(grey.rows()));
        let shrink = (SEARCH_SIDE / w.max(h)).min(1.0);
        let small = resized(grey, Size::new((w * shrink).round().max(1.0) as i32, (h * shrink).round().max(1.0) as i32))?;
        let least = (w.min(h) * shrink * SMALLEST_FACE).max(20.0) as i32;
        for cascade in &mut self.faces {
            let found = search(cascade, &small, 1.1, 4, Size::new(least, least), Size::default())?;
            if !found.is_empty() {
                let scaled = |r: &Rect| FaceBox {
                    x: f64::from(r.x) / shrink,
                    y: f64::from(r.y) / shrink,
                    side: f64::from(r.width) / shrink,
                };
                return Ok(found.iter().map(scaled).collect());
            }
        }
        Ok(Vec::new())
    }

    /// The eyes of one face. Both cascades vote; what lies far from where eyes are in such a box is no eye.
    pub(super) fn eyes(&mut self, grey: &Mat, face: &FaceBox) -> Result<Eyes> {
        let top = Rect::new(face.x as i32, (face.y + 0.12 * face.side) as i32, face.side as i32, (0.5 * face.side) as i32);
        let area = top & Rect::new(0, 0, grey.cols(), grey.rows());
        if area.width < 16 || area.height < 8 {
            return Ok(Eyes::default());
        }
        let part = cv(Mat::roi(grey, area))?;
        let zoom = EYE_SEARCH_SIDE / face.side;
        let size = Size::new((f64::from(area.width) * zoom) as i32, (f64::from(area.height) * zoom) as i32);
        let picture = resized(&part, size)?;
        let (least, most) = ((0.14 * EYE_SEARCH_SIDE) as i32, (0.36 * EYE_SEARCH_SIDE) as i32);
        let mut votes = [Vec::new(), Vec::new()];
        for cascade in &mut self.eyes {
            for r in search(cascade, &picture, 1.06, 3, Size::new(least, least), Size::new(most, most))? {
                let centre = (
                    f64::from(area.x) + (f64::from(r.x) + 0.5 * f64::from(r.width)) / zoom,
                    f64::from(area.y) + (f64::from(r.y) + 0.5 * f64::from(r.height)) / zoom,
                );
                for (side, typical) in [EYES_IN_BOX.0, EYES_IN_BOX.1].into_iter().enumerate() {
                    let place = face.at(typical);
                    if (centre.0 - place.0).hypot(centre.1 - place.1) < EYE_REACH * face.side {
                        votes[side].push(centre);
                    }
                }
            }
        }
        let [left, right] = votes.map(|v| median_point(&v));
        Ok(plausible(Eyes { left, right }, face))
    }
}

/// Drops a pair that no upright face has: roll of 30 degrees and more, or a distance unlike the box.
fn plausible(eyes: Eyes, face: &FaceBox) -> Eyes {
    let (Some(left), Some(right)) = (eyes.left, eyes.right) else { return eyes };
    let (dx, dy) = (right.0 - left.0, right.1 - left.1);
    let distance = dx.hypot(dy) / face.side;
    let fits = dy.atan2(dx).abs() < 30f64.to_radians() && (0.24..0.56).contains(&distance);
    if fits {
        eyes
    } else {
        Eyes::default()
    }
}

fn resized(image: &impl opencv::core::ToInputArray, size: Size) -> Result<Mat> {
    let mut out = Mat::default();
    cv(imgproc::resize(image, &mut out, size, 0.0, 0.0, imgproc::INTER_AREA))?;
    Ok(out)
}

fn search(cascade: &mut CascadeClassifier, image: &Mat, step: f64, votes: i32, least: Size, most: Size) -> Result<Vec<Rect>> {
    let mut found = Vector::<Rect>::new();
    cv(cascade.detect_multi_scale(image, &mut found, step, votes, 0, least, most))?;
    Ok(found.to_vec())
}

/// The middle one of some numbers; None if there are none.
pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    let n = values.len();
    if n == 0 {
        return None;
    }
    let (below, upper, _) = values.select_nth_unstable_by(n / 2, f64::total_cmp);
    let upper = *upper;
    // Of an even number, the other middle one is the largest of those below.
    let lower = if n % 2 == 1 { upper } else { below.iter().copied().max_by(f64::total_cmp).unwrap_or(upper) };
    Some((lower + upper) / 2.0)
}

/// Median of each coordinate.
pub(super) fn median_point(points: &[Point]) -> Option<Point> {
    Some((median(points.iter().map(|p| p.0).collect())?, median(points.iter().map(|p| p.1).collect())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_cascades_are_named_with_the_folder() {
        let e = Detector::load(Some(Path::new("no-such-folder"))).err().unwrap().to_string();
        assert!(e.contains("haarcascade_frontalface_alt2.xml") && e.contains("no-such-folder"), "{e}");
    }

    #[test]
    fn boxes_overlap_by_their_common_area() {
        let a = FaceBox { x: 0.0, y: 0.0, side: 2.0 };
        assert_eq!(a.overlap(&a), 1.0);
        assert_eq!(a.overlap(&FaceBox { x: 1.0, y: 0.0, side: 2.0 }), 2.0 / 6.0);
        assert_eq!(a.overlap(&FaceBox { x: 5.0, y: 0.0, side: 2.0 }), 0.0);
    }

    #[test]
    fn the_median_ignores_one_wild_vote() {
        assert_eq!(median_point(&[(1.0, 1.0), (1.2, 1.1), (90.0, -4.0)]), Some((1.2, 1.0)));
        assert_eq!(median(vec![]), None);
    }
}
