//! The transform of residual pictures: colours, and biorthogonal wavelets of 9 and 7 taps.
//!
//! In: a square plane of any side, row-major. Out: its pyramid in place, coarse corner first, nearly orthonormal; and back. Edges are
//! mirrored. Source: I. Daubechies and W. Sweldens, "Factoring wavelet transforms into lifting steps", 1998, section 7.7.

use crate::bitstream::bands::{depth, PLANES};

const LIFT: [f32; 4] = [-1.586_134_3, -0.052_980_12, 0.882_911_1, 0.443_506_85];
const SCALE: f32 = 1.149_604_4;

/// Orthonormal axes of colour: grey, red against blue, green against both.
const AXES: [[f32; 3]; PLANES] = [
    [0.577_350_26, 0.577_350_26, 0.577_350_26],
    [std::f32::consts::FRAC_1_SQRT_2, 0.0, -std::f32::consts::FRAC_1_SQRT_2],
    [-0.408_248_3, 0.816_496_6, -0.408_248_3],
];

/// One lifting step: every second sample from `first` on takes so much of both neighbours, which are mirrored at the ends.
fn lift(line: &mut [f32], first: usize, weight: f32) {
    let last = line.len() - 1;
    for i in (first..line.len()).step_by(2) {
        let left = if i > 0 { i - 1 } else { 1 };
        let right = if i < last { i + 1 } else { last - 1 };
        line[i] += weight * (line[left] + line[right]);
    }
}

fn split(line: &mut [f32], spare: &mut [f32]) {
    if line.len() < 2 {
        return;
    }
    for (k, weight) in LIFT.into_iter().enumerate() {
        lift(line, 1 - k % 2, weight);
    }
    let low = line.len().div_ceil(2);
    for (i, v) in line.iter().enumerate() {
        spare[i / 2 + low * (i % 2)] = if i % 2 == 0 { v * SCALE } else { v / SCALE };
    }
    line.copy_from_slice(&spare[..line.len()]);
}

fn join(line: &mut [f32], spare: &mut [f32]) {
    if line.len() < 2 {
        return;
    }
    let low = line.len().div_ceil(2);
    for (i, v) in spare[..line.len()].iter_mut().enumerate() {
        let coded = line[i / 2 + low * (i % 2)];
        *v = if i % 2 == 0 { coded / SCALE } else { coded * SCALE };
    }
    line.copy_from_slice(&spare[..line.len()]);
    for (k, weight) in LIFT.into_iter().enumerate().rev() {
        lift(line, 1 - k % 2, -weight);
    }
}

fn rows(plane: &mut [f32], side: usize, size: usize, change: fn(&mut [f32], &mut [f32])) {
    let mut spare = vec![0.0; size];
    plane.chunks_exact_mut(side).take(size).for_each(|row| change(&mut row[..size], &mut spare));
}

fn columns(plane: &mut [f32], side: usize, size: usize, change: fn(&mut [f32], &mut [f32])) {
    let (mut column, mut spare) = (vec![0.0; size], vec![0.0; size]);
    for x in 0..size {
        column.iter_mut().enumerate().for_each(|(y, v)| *v = plane[y * side + x]);
        change(&mut column, &mut spare);
        column.iter().enumerate().for_each(|(y, v)| plane[y * side + x] = *v);
    }
}

/// Sides of the smooth corner, from the whole plane on.
fn sizes(side: usize) -> Vec<usize> {
    std::iter::successors(Some(side), |n| Some(n.div_ceil(2))).take(depth(side)).collect()
}

/// A plane as its pyramid.
fn pyramid(mut plane: Vec<f32>, side: usize) -> Vec<f32> {
    for size in sizes(side) {
        rows(&mut plane, side, size, split);
        columns(&mut plane, side, size, split);
    }
    plane
}

/// The way back.
fn plane(pyramid: &[f32], side: usize) -> Vec<f32> {
    let mut plane = pyramid.to_vec();
    for size in sizes(side).into_iter().rev() {
        columns(&mut plane, side, size, join);
        rows(&mut plane, side, size, join);
    }
    plane
}

/// A picture of interleaved colours, `3 * side * side` numbers, as the coefficients of its three planes.
pub(super) fn forward(picture: &[f32], side: usize) -> Vec<f32> {
    let along = |axis: &[f32; 3], rgb: &[f32]| axis.iter().zip(rgb).map(|(a, v)| a * v).sum::<f32>();
    let coloured = |axis: &[f32; 3]| picture.chunks_exact(3).map(|rgb| along(axis, rgb)).collect();
    AXES.iter().flat_map(|axis| pyramid(coloured(axis), side)).collect()
}

/// The way back.
pub(super) fn inverse(coefficients: &[f32], side: usize) -> Vec<f32> {
    let mut out = vec![0.0; coefficients.len()];
    for (axis, pyramid) in AXES.iter().zip(coefficients.chunks_exact(side * side)) {
        for (rgb, v) in out.chunks_exact_mut(3).zip(plane(pyramid, side)) {
            rgb.iter_mut().zip(axis).for_each(|(c, a)| *c += a * v);
        }
    }
    out
}

/// Three planes, one behind the other, as their coefficients.
pub(super) fn forward_planes(planes: &[f32], side: usize) -> Vec<f32> {
    planes.chunks_exact(side * side).flat_map(|plane| pyramid(plane.to_vec(), side)).collect()
}

/// The way back.
pub(super) fn inverse_planes(coefficients: &[f32], side: usize) -> Vec<f32> {
    coefficients.chunks_exact(side * side).flat_map(|pyramid| plane(pyramid, side)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(side: usize) -> Vec<f32> {
        (0..3 * side * side).map(|i| ((i * i % 251) as f32 - 125.0) * (1.0 + (i % 7) as f32) / 4.0).collect()
    }

    #[test]
    fn pictures_of_any_side_come_back() {
        for side in [1, 2, 3, 9, 17, 31, 64] {
            let picture = picture(side);
            let planes = inverse_planes(&forward_planes(&picture, side), side);
            for back in [inverse(&forward(&picture, side), side), planes] {
                let worst = picture.iter().zip(&back).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(worst < 0.01, "side {side}: {worst}");
            }
        }
    }

    #[test]
    fn a_step_means_the_same_everywhere() {
        // Off the edges. What one coefficient of 1 does to the picture has a sum of squares near 1.
        for at in [64 * 4 + 4, 64 * 3 + 12, 64 * 5 + 50, 64 * 64 + 64 * 4 + 5, 64 * 40 + 20, 2 * 64 * 64 + 64 * 9 + 30] {
            let mut coefficients = vec![0.0; 3 * 64 * 64];
            coefficients[at] = 1.0;
            let energy: f32 = inverse(&coefficients, 64).iter().map(|v| v * v).sum();
            assert!((0.6..1.5).contains(&energy), "{at}: {energy}");
        }
    }

    #[test]
    fn a_flat_picture_is_a_few_coarse_numbers() {
        let flat = [10.0, 20.0, 30.0].repeat(64 * 64);
        let coefficients = forward(&flat, 64);
        for (i, v) in coefficients.iter().enumerate() {
            let (x, y) = (i % 64, i / 64 % 64);
            assert!(x < 8 && y < 8 || v.abs() < 0.01, "{x}, {y}: {v}");
        }
    }
}
