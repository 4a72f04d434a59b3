//! How the face has moved since its key frame: a parametric optical-flow model (paper 3.2).
//!
//! Input: the key frame's grey crop and the current camera frame with a first guess of its pose. Output: the pose at which the current
//! frame's crop lies on the key frame's, with the share of the face that agrees. Dense flow finds large motion and outliers; a
//! least-squares match of brightness over the same face region then settles the last tenths of a pixel.
//! Eyes, brows, mouth and chin carry no weight: they move without the head.

use opencv::core::{self, Mat, Ptr, Size, Vec2f};
use opencv::imgproc;
use opencv::prelude::*;
use opencv::video::{DISOpticalFlow, DISOpticalFlow_PRESET_FAST as FAST, DISOpticalFlow_PRESET_MEDIUM as MEDIUM};

use super::detect::median;
use super::geometry::{CropPose, Point, Similarity, EYE_DISTANCE, EYE_LINE};
use super::warp::{cut_grey, cv};
use crate::error::Result;

/// Side of the crops that are compared, pixels.
pub(super) const WORK: usize = 256;
/// Every n-th row of the flow enters the fit: neighbours say the same.
const STRIDE: usize = 2;
/// Flow within this distance of the fitted motion agrees with it, pixels of the working crop.
const AGREES: f64 = 1.0;
/// Squared gradient (grey levels per pixel) at which a place counts half: flat skin has no flow of its own.
const HALF_TEXTURE: f64 = 12.0;
/// Rounds of the brightness match.
const ROUNDS: usize = 3;
/// Motion under which flow is exact enough at once, crop units; larger motion is measured again after it has been taken out.
const SMALL_MOTION: f64 = 2.0 / WORK as f64;
/// Largest believable change by the brightness match, crop units: it only settles what the flow has left.
const MOST_REFINED: f64 = 2.0 / WORK as f64;

/// A face region of a key frame, ready to be compared with.
pub(super) struct Key {
    grey: Mat,
    samples: Vec<Sample>,
}

/// One pixel of the face region.
struct Sample {
    /// Crop units.
    at: Point,
    index: usize,
    value: f64,
    /// Change of brightness per crop unit.
    gradient: Point,
    weight: f64,
}

/// How a face was found again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fit {
    /// Where its crop lies in the current frame.
    pub pose: CropPose,
    /// Share of the face's weight that moves with the fitted motion.
    pub inliers: f64,
    /// Median distance between flow and fitted motion, pixels of the working crop.
    pub residual: f64,
}

/// How exactly a face is found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Care {
    /// To a few pixels of the working crop, in a fraction of the time.
    Rough,
    Full,
}

/// The flow algorithms and the weights of the face's regions.
pub(super) struct Register {
    rough: Ptr<DISOpticalFlow>,
    full: Ptr<DISOpticalFlow>,
    region: Vec<f32>,
}

impl Register {
    /// `quick`: flow in coarser steps; the match of brightness makes up for most of it.
    pub(super) fn new(quick: bool) -> Result<Self> {
        let at = |i: usize| (i as f64 + 0.5) / WORK as f64 - 0.5;
        let region = (0..WORK * WORK).map(|i| face_weight((at(i % WORK), at(i / WORK))) as f32).collect();
        let flow = |preset| cv(DISOpticalFlow::create(preset));
        Ok(Register { rough: flow(FAST)?, full: flow(if quick { FAST } else { MEDIUM })?, region })
    }

    /// Makes the face at `pose` a key.
    pub(super) fn key(&self, grey: &Mat, pose: &CropPose) -> Result<Key> {
        let crop = cut_grey(grey, pose, WORK as u32)?;
        let smooth = smoothed(&crop)?;
        let mut samples = Vec::new();
        for y in 2..WORK - 2 {
            for x in 2..WORK - 2 {
                let index = y * WORK + x;
                // Every other pixel, like the black fields of a chess board: the picture is smooth at that distance.
                if self.region[index] <= 0.0 || (x + y) % 2 == 1 {
                    continue;
                }
                let v = |i: usize| f64::from(smooth[i]);
                let gradient = ((v(index + 1) - v(index - 1)) / 2.0, (v(index + WORK) - v(index - WORK)) / 2.0);
                let energy = local_energy(&smooth, index);
                let scale = WORK as f64;
                samples.push(Sample {
                    at: ((x as f64 + 0.5) / scale - 0.5, (y as f64 + 0.5) / scale - 0.5),
                    index,
                    value: v(index),
                    gradient: (gradient.0 * scale, gradient.1 * scale),
                    weight: f64::from(self.region[index]) * energy / (energy + HALF_TEXTURE),
                });
            }
        }
        Ok(Key { grey: crop, samples })
    }

    /// Finds the key's face in `grey`, beginning at `guess`.
    pub(super) fn follow(&mut self, key: &Key, grey: &Mat, guess: CropPose) -> Result<Fit> {
        self.find(key, grey, guess, Care::Full)
    }

    /// The same with so much care.
    pub(super) fn find(&mut self, key: &Key, grey: &Mat, guess: CropPose, care: Care) -> Result<Fit> {
        let by = if care == Care::Rough { &mut self.rough } else { &mut self.full };
        let mut fit = Fit { pose: guess, inliers: 0.0, residual: f64::INFINITY };
        for _ in 0..2 {
            let crop = cut_grey(grey, &fit.pose, WORK as u32)?;
            let mut flow = Mat::default();
            cv(by.calc(&key.grey, &crop, &mut flow))?;
            let (motion, inliers, residual) = fit_flow(key, cv(flow.data_typed::<Vec2f>())?);
            fit = Fit { pose: fit.pose.moved(&motion), inliers, residual };
            if motion.size() < SMALL_MOTION {
                break;
            }
        }
        if care == Care::Rough {
            return Ok(fit);
        }
        let crop = cut_grey(grey, &fit.pose, WORK as u32)?;
        if let Some(motion) = match_brightness(key, &smoothed(&crop)?) {
            fit.pose = fit.pose.moved(&motion);
        }
        Ok(fit)
    }
}

/// Weight of a place in the crop (crop units): 1 on forehead, nose and cheeks, 0 on what moves by itself and off the face.
fn face_weight((x, y): Point) -> f64 {
    let ellipse = (x / 0.27).powi(2) + ((y - 0.03) / 0.30).powi(2);
    let inside = ((1.0 - ellipse) / 0.25).clamp(0.0, 1.0);
    // Distance to a box, in units of the soft edge between weight 0 and 1.
    let off = |cx: f64, cy: f64, w: f64, h: f64| (((x - cx).abs() - w).max((y - cy).abs() - h) / 0.02).clamp(0.0, 1.0);
    let eye = |side: f64| off(side * EYE_DISTANCE / 2.0, EYE_LINE.1 - 0.035, 0.09, 0.085);
    let mouth_and_chin = off(0.0, 0.31, 0.15, 0.15);
    let jaw = ((0.30 - y) / 0.06).clamp(0.0, 1.0);
    inside * eye(-1.0) * eye(1.0) * mouth_and_chin * jaw
}

/// Mean squared gradient of the 5 x 5 neighbourhood.
fn local_energy(picture: &[f32], index: usize) -> f64 {
    let mut sum = 0.0;
    for dy in 0..5 {
        for dx in 0..5 {
            let i = index + dy * WORK + dx - 2 * WORK - 2;
            let (right, below) = ((i + 1).min(picture.len() - 1), (i + WORK).min(picture.len() - 1));
            let (gx, gy) = (f64::from(picture[right] - picture[i]), f64::from(picture[below] - picture[i]));
            sum += gx * gx + gy * gy;
        }
    }
    sum / 25.0
}

/// The crop with fine noise taken out: interpolation and gradients need a band-limited picture.
fn smoothed(crop: &Mat) -> Result<Vec<f32>> {
    let (mut float, mut out) = (Mat::default(), Mat::default());
    cv(crop.convert_to(&mut float, core::CV_32F, 1.0, 0.0))?;
    cv(imgproc::gaussian_blur_def(&float, &mut out, Size::new(5, 5), 1.0))?;
    Ok(cv(out.data_typed::<f32>())?.to_vec())
}

/// Robust similarity through the flow: motion in crop units, share of agreeing weight, median distance in pixels.
fn fit_flow(key: &Key, flow: &[Vec2f]) -> (Similarity, f64, f64) {
    let unit = 1.0 / WORK as f64;
    let thin = |s: &&Sample| (s.index / WORK).is_multiple_of(STRIDE) && s.weight > 0.01;
    let pairs: Vec<(Point, Point, f64)> = key
        .samples
        .iter()
        .filter(thin)
        .map(|s| {
            let f = flow[s.index];
            (s.at, (s.at.0 + f64::from(f[0]) * unit, s.at.1 + f64::from(f[1]) * unit), s.weight)
        })
        .collect();
    let distances = |m: &Similarity| -> Vec<f64> {
        let moved = m.mover();
        let off = |(a, b, _): &(Point, Point, f64)| {
            let p = moved(*a);
            ((p.0 - b.0).powi(2) + (p.1 - b.1).powi(2)).sqrt()
        };
        pairs.iter().map(off).collect()
    };
    // The first guess is the median shift: it stands when almost half of the face is covered or moves by itself.
    let shift = |pick: fn(&Point) -> f64| median(pairs.iter().map(|(a, b, _)| pick(b) - pick(a)).collect()).unwrap_or(0.0);
    let mut motion = Similarity { shift: (shift(|p| p.0), shift(|p| p.1)), ..Similarity::IDENTITY };
    let mut middle = 0.0;
    for _ in 0..8 {
        let off = distances(&motion);
        middle = median(off.clone()).unwrap_or(0.0);
        let width = (1.5 * middle).max(0.1 * unit);
        let weighted = pairs.iter().zip(&off).map(|(p, off)| (p.0, p.1, p.2 / (1.0 + (off / width).powi(2))));
        match fit_similarity(weighted) {
            Some(next) => motion = next,
            None => break,
        }
    }
    let all: f64 = pairs.iter().map(|p| p.2).sum();
    let agree: f64 = pairs.iter().zip(distances(&motion)).filter(|(_, off)| *off < AGREES * unit).map(|(p, _)| p.2).sum();
    (motion, if all > 0.0 { agree / all } else { 0.0 }, middle / unit)
}

/// Weighted least-squares similarity between point pairs, None when they do not fix one.
fn fit_similarity(pairs: impl Iterator<Item = (Point, Point, f64)> + Clone) -> Option<Similarity> {
    let mut sums = [0.0; 5];
    for (a, b, w) in pairs.clone() {
        for (sum, value) in sums.iter_mut().zip([1.0, a.0, a.1, b.0, b.1]) {
            *sum += w * value;
        }
    }
    if sums[0] <= 0.0 {
        return None;
    }
    let [_, ax, ay, bx, by] = sums.map(|s| s / sums[0]);
    let (mut along, mut across, mut spread) = (0.0, 0.0, 0.0);
    for (a, b, w) in pairs {
        let (p, q) = ((a.0 - ax, a.1 - ay), (b.0 - bx, b.1 - by));
        along += w * (p.0 * q.0 + p.1 * q.1);
        across += w * (p.0 * q.1 - p.1 * q.0);
        spread += w * (p.0 * p.0 + p.1 * p.1);
    }
    let scale = along.hypot(across) / spread;
    if !scale.is_finite() || scale <= 0.0 {
        return None;
    }
    let turn = Similarity { scale, angle: across.atan2(along), shift: (0.0, 0.0) };
    let centre = turn.apply((ax, ay));
    Some(Similarity { shift: (bx - centre.0, by - centre.1), ..turn })
}

/// Inverse compositional least squares over motion, gain and offset of brightness; None when it does not settle.
fn match_brightness(key: &Key, current: &[f32]) -> Option<Similarity> {
    let (mut motion, mut gain, mut offset) = (Similarity::IDENTITY, 1.0, 0.0);
    for _ in 0..ROUNDS {
        let moved = motion.mover();
        let residuals: Vec<f64> =
            key.samples.iter().map(|s| sample(current, moved(s.at)).map_or(f64::NAN, |v| v - gain * s.value - offset)).collect();
        let sizes = residuals.iter().step_by(7).filter(|r| r.is_finite()).map(|r| r.abs()).collect();
        let width = (3.0 * median(sizes)?).max(2.0);
        let mut system = [[0.0; 7]; 6];
        for (s, &r) in key.samples.iter().zip(&residuals).filter(|(_, r)| r.is_finite()) {
            let ((x, y), (gx, gy)) = (s.at, s.gradient);
            // Derivatives by shift x, shift y, log scale, angle, gain (of brightness in units of 100), offset; then the residual.
            let row = [gain * gx, gain * gy, gain * (gx * x + gy * y), gain * (gy * x - gx * y), s.value / 100.0, 1.0, r];
            let weight = s.weight / (1.0 + (r / width).powi(2));
            for (sums, left) in system.iter_mut().zip(row) {
                sums.iter_mut().zip(row).for_each(|(sum, right)| *sum += weight * left * right);
            }
        }
        let step = solve(system)?;
        let change = Similarity { shift: (step[0], step[1]), scale: step[2].exp(), angle: step[3] };
        motion = motion.after(&change.inverse());
        gain += step[4] / 100.0;
        offset += step[5];
        if motion.size() > MOST_REFINED {
            return None;
        }
    }
    Some(motion)
}

/// Solves a symmetric system with its right side in the last column; None if it does not fix all unknowns.
fn solve(mut m: [[f64; 7]; 6]) -> Option<[f64; 6]> {
    for i in 0..6 {
        let top = m[i];
        // The matrix is positive definite unless the face has no texture.
        if top[i].is_nan() || top[i] < 1e-9 {
            return None;
        }
        for row in &mut m[i + 1..] {
            let share = row[i] / top[i];
            row.iter_mut().zip(top).for_each(|(value, above)| *value -= share * above);
        }
    }
    let mut out = [0.0; 6];
    for i in (0..6).rev() {
        let known: f64 = (i + 1..6).map(|j| m[i][j] * out[j]).sum();
        out[i] = (m[i][6] - known) / m[i][i];
    }
    Some(out)
}

/// Brightness at a point in crop units by cubic interpolation, None near and beyond the border.
fn sample(picture: &[f32], (x, y): Point) -> Option<f64> {
    let pixel = |v: f64| (v + 0.5) * WORK as f64 - 0.5;
    let (x, y) = (pixel(x), pixel(y));
    let (left, top) = (x.floor(), y.floor());
    if left < 1.0 || top < 1.0 || left > (WORK - 3) as f64 || top > (WORK - 3) as f64 {
        return None;
    }
    let (wx, wy) = (cubic_weights(x - left), cubic_weights(y - top));
    let first = (top as usize - 1) * WORK + left as usize - 1;
    let row = |j: usize| -> f64 { (0..4).map(|i| wx[i] * f64::from(picture[first + j * WORK + i])).sum() };
    Some((0..4).map(|j| wy[j] * row(j)).sum())
}

/// Catmull-Rom weights of the four samples around a point `t` after the second.
fn cubic_weights(t: f64) -> [f64; 4] {
    let (t2, t3) = (t * t, t * t * t);
    [0.5 * (2.0 * t2 - t - t3), 0.5 * (2.0 - 5.0 * t2 + 3.0 * t3), 0.5 * (t + 4.0 * t2 - 3.0 * t3), 0.5 * (t3 - t2)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_similarity_is_recovered_from_exact_pairs() {
        let want = Similarity { scale: 1.07, angle: -0.2, shift: (0.03, -0.05) };
        let points = [(0.1, 0.2), (-0.3, 0.1), (0.2, -0.25), (0.0, 0.4)];
        let got = fit_similarity(points.iter().map(|&p| (p, want.apply(p), 1.0))).unwrap();
        assert!((got.scale - want.scale).abs() < 1e-12 && (got.angle - want.angle).abs() < 1e-12);
        assert!((got.shift.0 - want.shift.0).abs() < 1e-12 && (got.shift.1 - want.shift.1).abs() < 1e-12);
        assert!(fit_similarity([((0.1, 0.1), (0.2, 0.2), 1.0)].into_iter()).is_none(), "one pair fixes no rotation");
    }

    #[test]
    fn the_solver_solves_and_refuses_singular_systems() {
        let mut m = [[0.0; 7]; 6];
        for (i, row) in m.iter_mut().enumerate() {
            row[i] = 2.0 + i as f64;
            row[6] = (2.0 + i as f64) * (1.0 + i as f64);
        }
        assert_eq!(solve(m), Some([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
        m[3][3] = 0.0;
        assert_eq!(solve(m), None);
    }

    #[test]
    fn eyes_mouth_and_background_have_no_weight() {
        for place in [(0.125, -0.03), (-0.125, -0.08), (0.0, 0.23), (0.0, 0.4), (0.45, 0.0), (0.0, -0.45)] {
            assert_eq!(face_weight(place), 0.0, "{place:?}");
        }
        for place in [(0.0, 0.08), (0.0, -0.18), (0.12, 0.08), (-0.12, 0.08)] {
            assert!(face_weight(place) > 0.5, "{place:?}");
        }
    }

    #[test]
    fn cubic_weights_sum_to_one_and_hit_the_samples() {
        assert_eq!(cubic_weights(0.0), [0.0, 1.0, 0.0, 0.0]);
        let sum: f64 = cubic_weights(0.37).iter().sum();
        assert!((sum - 1.0).abs() < 1e-12);
    }
}
