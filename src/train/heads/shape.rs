//! How the unit head changes: displacements for the identity's shape numbers and for the 32 expressions.
//!
//! Output: for every number a sparse list (vertex, displacement per unit) over the grid of [`super::template`], so that
//! posing a head is a few sparse sums. Lengths are in eye distances. Lids and gaze are not here: see [`super::pose`].

use super::math::{add, bell, exp, mix, smooth, twin, V3};
use super::template::{mouth_line, Grid, Site, MOUTH_HALF, MOUTH_Y};

/// How many of the identity numbers shape the head and come first; [`FURTHER`] more stand at the end of the identity.
pub(super) const SHAPES: usize = 32;
/// See [`SHAPES`].
const FURTHER: usize = 16;
/// Table of what years do to a face, per unit of age, and of manly against womanly build, per -1 to 1.
pub(super) const AGE: usize = SHAPES + FURTHER;
pub(super) const BUILD: usize = AGE + 1;

/// Displacements of some vertices per unit of one number.
pub(super) type Sparse = Vec<(u32, V3)>;

/// The axis of the jaw: in front of the ears.
const HINGE: (f32, f32) = (-0.30, -1.05);
/// Jaw angle at `jaw_open` 1: sine and 1 - cosine of 19 degrees.
const JAW_TURN: (f32, f32) = (0.326, 0.054);

/// 1 at the middle of the mouth, 0 at and beyond its corners.
fn mouth_arch(x: f32) -> f32 {
    let t = (x / MOUTH_HALF).clamp(-1.0, 1.0);
    (1.0 - t * t).max(0.0).sqrt()
}

/// How far a site follows the jaw: 1 on the lower lip and chin, 0 on the upper lip, blended on the cheeks.
pub(super) fn jaw_weight(s: &Site) -> f32 {
    let ax = s.x.abs();
    let d = s.y - mouth_line(ax);
    let corner = 0.36;
    let arch = mouth_arch(s.x);
    let reach = smooth(13.6, 12.3, s.key) * smooth(1.6, 1.2, s.theta.abs());
    if s.above_mouth() {
        let pull = corner * (1.0 - arch) * exp(-(d / 0.22) * (d / 0.22)) * exp(-((ax - 0.4).max(0.0) / 0.3));
        return pull * reach;
    }
    let edge = mix(corner, 1.0, arch) * exp(-((ax - 0.4).max(0.0) / 0.3));
    let full = smooth(1.25, 0.75, ax - 0.1);
    // Below the line the weight rises from its value at the slit to the jaw's own.
    mix(edge, full, smooth(0.0, -0.30, d)) * reach
}

/// Displacement of a point by turning the jaw fully open.
pub(super) fn jaw_turn(p: V3) -> V3 {
    let (y, z) = (p[1] - HINGE.0, p[2] - HINGE.1);
    let (s, c) = JAW_TURN;
    // Opening also slides the jaw forward a little, so that the chin does not sink into the neck.
    [0.0, -z * s - y * c, y * s - z * c + 0.22 * s]
}

fn shape_delta(n: usize, s: &Site) -> V3 {
    let (y, ax, sg) = (s.y, s.x.abs(), s.x.signum());
    let [px, py, pz] = s.pos;
    let f = s.front;
    let b = |cx: f32, cy: f32, sx: f32, sy: f32| f * twin(s.x, y, cx, cy, sx, sy);
    let dy = y - mouth_line(ax);
    match n {
        0 => [0.045 * px * s.sway(), 0.0, 0.0],
        1 => [0.0, -0.10 * smooth(-0.1, -1.6, y) * s.sway(), 0.0],
        2 => [0.055 * px * smooth(-0.5, -1.2, y) * smooth(14.0, 12.5, s.key), 0.0, 0.0],
        3 => [0.0, -0.07 * smooth(-1.25, -1.75, y) * f * s.sway(), 0.0],
        4 => [0.0, 0.0, 0.06 * b(0.0, -1.6, 0.45, 0.28)],
        5 => [0.075 * px * b(0.25, -1.65, 0.3, 0.25), 0.0, 0.0],
        6 => [0.04 * sg * b(0.75, -0.35, 0.3, 0.25), 0.0, 0.05 * b(0.68, -0.34, 0.24, 0.18)],
        7 => [0.035 * sg * b(0.75, -0.95, 0.35, 0.35), 0.0, 0.04 * b(0.6, -0.9, 0.3, 0.3)],
        8 => [0.0, -0.045 * b(0.0, -0.64, 0.35, 0.24), 0.0],
        9 => [0.12 * px * b(0.12, -0.59, 0.25, 0.2), 0.0, 0.0],
        10 => [0.0, 0.0, 0.045 * b(0.0, -0.13, 0.13, 0.26)],
        11 => [0.0, 0.035 * b(0.0, -0.60, 0.16, 0.1), 0.012 * b(0.0, -0.58, 0.15, 0.1)],
        12 => [0.0, 0.0, 0.042 * b(0.0, -0.54, 0.2, 0.2)],
        14 => [0.022 * sg * smooth(0.05, 0.4, ax) * b(0.5, 0.05, 0.4, 0.35), 0.0, 0.0],
        15 => [0.0, 0.028 * (ax - 0.5) / 0.25 * b(0.5, 0.0, 0.35, 0.2), 0.0],
        16 => [0.0, 0.0, -0.025 * b(0.48, 0.02, 0.3, 0.2)],
        17 if s.above_mouth() => [
            0.0,
            0.22 * dy * smooth(0.32, 0.06, dy) * b(0.0, MOUTH_Y, 0.5, 0.3),
            0.014 * b(0.0, -1.05, 0.3, 0.07) * smooth(0.42, 0.3, ax),
        ],
        18 if !s.above_mouth() => [
            0.0,
            0.22 * dy * smooth(-0.36, -0.08, dy) * b(0.0, MOUTH_Y, 0.5, 0.3),
            0.016 * b(0.0, -1.2, 0.3, 0.08) * smooth(0.42, 0.3, ax),
        ],
        19 => [0.11 * px * b(0.2, MOUTH_Y, 0.4, 0.22), 0.0, 0.0],
        20 => [0.0, 0.03 * b(0.42, 0.30, 0.5, 0.2), 0.0],
        22 => [0.0, 0.028 * (b(0.62, 0.36, 0.18, 0.14) - 0.5 * b(0.25, 0.33, 0.15, 0.12)), 0.0],
        23 => [0.0, 0.026 * b(0.7, 0.34, 0.3, 0.14) - 0.02 * b(0.2, 0.32, 0.2, 0.12), 0.0],
        24 => [0.0, 0.07 * smooth(0.45, 1.2, py), 0.0],
        25 => [0.0, 0.0, -0.06 * smooth(0.35, 1.2, py) * f],
        28 => [0.08 * px * smooth(12.8, 14.5, s.key), 0.0, 0.03 * pz * smooth(13.0, 14.5, s.key)],
        30 => [0.0, 0.03 * b(0.0, MOUTH_Y, 0.5, 0.22), 0.0],
        31 => [0.0, 0.05 * smooth(0.6, 1.6, py), -0.03 * smooth(-1.2, -2.6, pz)],
        _ => further_delta(n, s),
    }
}

/// The further numbers, age and build.
fn further_delta(n: usize, s: &Site) -> V3 {
    let (y, ax, sg) = (s.y, s.x.abs(), s.x.signum());
    let [px, _, _] = s.pos;
    let f = s.front;
    let b = |cx: f32, cy: f32, sx: f32, sy: f32| f * twin(s.x, y, cx, cy, sx, sy);
    match n {
        32 => [0.035 * px * smooth(0.1, -0.3, y) * smooth(-1.1, -0.5, y) * s.sway(), 0.0, 0.0],
        33 => {
            [0.040 * sg * bell(ax, y, 0.85, -1.12, 0.35, 0.36) * smooth(14.0, 12.5, s.key), -0.03 * b(0.8, -1.3, 0.2, 0.2), 0.0]
        }
        34 => [0.14 * px * b(0.15, -1.62, 0.22, 0.16), 0.0, 0.02 * b(0.17, -1.6, 0.12, 0.12)],
        35 => [0.0, -0.03 * b(0.0, -1.75, 0.3, 0.15), 0.045 * b(0.0, -1.62, 0.2, 0.12)],
        36 => [0.13 * px * b(0.1, -0.2, 0.22, 0.32), 0.0, 0.0],
        37 => [0.0, 0.0, 0.045 * b(0.0, -0.28, 0.11, 0.16) - 0.015 * b(0.0, -0.54, 0.15, 0.1)],
        38 => [0.0, -0.035 * b(0.0, -0.58, 0.13, 0.09), 0.012 * b(0.0, -0.54, 0.12, 0.1)],
        39 => [0.035 * sg * b(0.20, -0.635, 0.09, 0.09), 0.012 * b(0.2, -0.64, 0.1, 0.08), 0.025 * b(0.20, -0.62, 0.08, 0.08)],
        40 => [0.0, -0.012 * b(0.45, 0.26, 0.35, 0.12), 0.045 * b(0.40, 0.265, 0.34, 0.10)],
        41 => [0.0, 0.0, -0.035 * b(0.5, 0.10, 0.28, 0.14)],
        // Faces are not quite symmetrical.
        42 => [0.022 * b(0.0, -1.1, 0.5, 0.4), 0.014 * sg * b(0.35, -1.1, 0.3, 0.2), 0.0],
        43 => [0.016 * b(0.0, -0.56, 0.25, 0.25), 0.018 * sg * b(0.5, 0.29, 0.4, 0.16), 0.0],
        44 => [0.0, -0.030 * b(0.0, -1.10, 0.5, 0.22) - 0.02 * b(0.0, -1.6, 0.5, 0.3), 0.0],
        45 => {
            let cheek = b(0.72, -0.92, 0.32, 0.38);
            let jowl = bell(ax, y, 0.45, -1.75, 0.5, 0.25) * smooth(13.9, 12.5, s.key);
            [0.030 * sg * cheek + 0.030 * px * jowl, -0.03 * jowl, 0.025 * cheek + 0.03 * jowl]
        }
        46 => [0.0, 0.0, 0.05 * b(0.3, 0.85, 0.5, 0.3) - 0.03 * b(0.4, 0.35, 0.4, 0.12)],
        AGE => {
            let jowl = b(0.55, -1.40, 0.22, 0.20);
            let hollow = b(0.76, -0.80, 0.20, 0.24);
            let lip = b(0.0, MOUTH_Y, 0.36, 0.12);
            [
                0.035 * sg * jowl - 0.030 * sg * hollow,
                -0.07 * jowl
                    - 0.030 * b(0.0, -0.58, 0.16, 0.12)
                    - 0.03 * b(0.5, 0.15, 0.3, 0.1)
                    - 0.012 * b(0.44, -1.12, 0.12, 0.1),
                0.03 * jowl - 0.04 * hollow - 0.035 * lip - 0.04 * b(0.95, 0.25, 0.2, 0.25),
            ]
        }
        BUILD => {
            let jaw = bell(ax, y, 0.80, -1.25, 0.30, 0.30) * smooth(14.0, 12.5, s.key);
            let neck = smooth(12.6, 13.6, s.key);
            [
                0.040 * sg * jaw + 0.10 * px * b(0.2, -1.62, 0.25, 0.2) + 0.09 * px * neck,
                -0.030 * b(0.0, -1.68, 0.5, 0.25) - 0.022 * b(0.45, 0.28, 0.4, 0.14),
                0.045 * b(0.40, 0.265, 0.35, 0.10) + 0.025 * b(0.0, -1.58, 0.25, 0.14) + 0.015 * b(0.0, -0.4, 0.15, 0.3)
                    - 0.03 * b(0.35, 0.80, 0.45, 0.25)
                    - 0.018 * b(0.0, MOUTH_Y, 0.3, 0.12),
            ]
        }
        _ => [0.0; 3],
    }
}

/// 1 on the viewer's left (`sign` -1) or right (`sign` 1) half of the face, blended across the middle.
fn half(x: f32, sign: f32) -> f32 {
    smooth(-0.14, 0.14, x * sign)
}

fn smile(s: &Site, sign: f32) -> V3 {
    let h = half(s.x, sign) * s.front;
    let corner = h * bell(s.x.abs(), s.y, 0.42, -1.10, 0.25, 0.22);
    let cheek = h * bell(s.x.abs(), s.y, 0.56, -0.52, 0.27, 0.24);
    let lip = if s.above_mouth() { h * bell(s.x.abs(), s.y, 0.0, -1.06, 0.32, 0.12) } else { 0.0 };
    [
        sign * (0.145 * corner + 0.02 * cheek),
        0.115 * corner + 0.055 * cheek + 0.030 * lip,
        -0.10 * corner + 0.07 * cheek - 0.02 * lip,
    ]
}

fn frown(s: &Site, sign: f32) -> V3 {
    let corner = half(s.x, sign) * s.front * bell(s.x.abs(), s.y, 0.42, -1.16, 0.22, 0.22);
    [0.01 * sign * corner, -0.125 * corner, -0.02 * corner]
}

fn mouth_delta(name: &str, s: &Site) -> V3 {
    let (x, y, f) = (s.x, s.y, s.front);
    let d = y - mouth_line(x.abs());
    let b = |cx: f32, cy: f32, sx: f32, sy: f32| f * twin(x, y, cx, cy, sx, sy);
    let zone = b(0.0, MOUTH_Y, 0.55, 0.28);
    let up = if s.above_mouth() { f * mouth_arch(x) * exp(-(d / 0.16) * (d / 0.16)) } else { 0.0 };
    let down = if s.above_mouth() { 0.0 } else { f * mouth_arch(x) * exp(-(d / 0.20) * (d / 0.20)) };
    match name {
        "jaw_open" => {
            let w = jaw_weight(s);
            if w < 1e-3 {
                return [0.0; 3];
            }
            let t = jaw_turn(s.pos);
            [-0.10 * x * w * b(0.3, MOUTH_Y, 0.4, 0.3), t[1] * w, t[2] * w]
        }
        "jaw_side" => [0.14 * jaw_weight(s) * jaw_weight(s) * smooth(1.0, 0.35, x.abs()), 0.0, 0.0],
        "pucker" => [-0.62 * x * zone, 0.008 * up - 0.008 * down, 0.17 * b(0.0, MOUTH_Y, 0.34, 0.2)],
        "funnel" => [-0.34 * x * zone, 0.09 * up - 0.12 * down, 0.11 * b(0.0, MOUTH_Y, 0.36, 0.22)],
        "lip_press" => [0.12 * x * zone, -0.62 * d * b(0.0, MOUTH_Y, 0.5, 0.15), -0.05 * b(0.0, MOUTH_Y, 0.4, 0.13)],
        "lip_roll_upper" if s.above_mouth() => {
            [0.0, -0.75 * d * smooth(0.30, 0.02, d) * smooth(0.5, 0.25, x.abs()) * f, -0.07 * b(0.0, -1.08, 0.36, 0.07)]
        }
        "lip_roll_lower" if !s.above_mouth() => {
            [0.0, -0.75 * d * smooth(-0.34, -0.02, d) * smooth(0.5, 0.25, x.abs()) * f, -0.08 * b(0.0, -1.18, 0.36, 0.08)]
        }
        "mouth_side" => [0.17 * b(0.0, -1.14, 0.6, 0.32), 0.0, 0.0],
        "upper_lip_raise" => [0.0, 0.12 * up + 0.03 * b(0.22, -0.62, 0.2, 0.15), 0.03 * up],
        "lower_lip_drop" => [0.0, -0.14 * down, 0.02 * down],
        "chin_raise" => {
            let lips = 0.055 * b(0.0, MOUTH_Y, 0.32, 0.12);
            [0.0, 0.10 * b(0.0, -1.48, 0.34, 0.2) + lips, 0.05 * b(0.0, -1.2, 0.3, 0.1) + 0.03 * b(0.0, -1.5, 0.25, 0.12)]
        }
        _ => [0.0; 3],
    }
}

fn face_delta(name: &str, s: &Site) -> V3 {
    let (x, y, f, sg) = (s.x, s.y, s.front, s.x.signum());
    let b = |cx: f32, cy: f32, sx: f32, sy: f32| f * twin(x, y, cx, cy, sx, sy);
    let stretch = |sign: f32| {
        let c = half(x, sign) * b(0.42, -1.13, 0.26, 0.24);
        [0.17 * sign * c, -0.035 * c, -0.12 * c]
    };
    let brow_up = |sign: f32| [0.0, 0.14 * half(x, sign) * b(0.68, 0.38, 0.28, 0.24), 0.0];
    let brow_down = |sign: f32| {
        let c = half(x, sign) * b(0.34, 0.33, 0.32, 0.2);
        [-0.05 * sign * c, -0.13 * c, 0.025 * c]
    };
    let squint = |sign: f32| {
        let c = half(x, sign) * b(0.55, -0.34, 0.3, 0.18);
        [0.0, 0.06 * c, 0.035 * c]
    };
    match name {
        "smile_left" => smile(s, -1.0),
        "smile_right" => smile(s, 1.0),
        "frown_left" => frown(s, -1.0),
        "frown_right" => frown(s, 1.0),
        "stretch_left" => stretch(-1.0),
        "stretch_right" => stretch(1.0),
        "cheek_puff" => {
            let c = b(0.62, -1.0, 0.26, 0.3);
            [0.15 * sg * c, 0.0, 0.17 * c]
        }
        "brow_inner_up" => [0.0, 0.14 * b(0.16, 0.36, 0.24, 0.24), 0.01 * b(0.16, 0.36, 0.2, 0.2)],
        "brow_outer_up_left" => brow_up(-1.0),
        "brow_outer_up_right" => brow_up(1.0),
        "brow_down_left" => brow_down(-1.0),
        "brow_down_right" => brow_down(1.0),
        "squint_left" => squint(-1.0),
        "squint_right" => squint(1.0),
        "eye_wide" => [0.0, 0.04 * b(0.48, 0.34, 0.45, 0.16), 0.0],
        "nose_wrinkle" => {
            let c = b(0.20, -0.58, 0.16, 0.15);
            [0.02 * sg * c, 0.075 * c + 0.04 * b(0.0, -1.04, 0.3, 0.1) - 0.05 * b(0.15, 0.3, 0.2, 0.15), 0.02 * c]
        }
        other => mouth_delta(other, s),
    }
}

fn table(grid: &Grid, f: impl Fn(&Site) -> V3) -> Sparse {
    let mut out = Sparse::new();
    for (i, s) in grid.sites.iter().enumerate() {
        let d = f(s);
        if d.iter().any(|v| v.abs() > 2e-4) {
            out.push((i as u32, d));
        }
    }
    out
}

/// Displacements of the identity's shape numbers in their order, then [`AGE`] and [`BUILD`].
pub(super) fn identity_tables(grid: &Grid) -> Vec<Sparse> {
    (0..=BUILD).map(|n| table(grid, |s| shape_delta(n, s))).collect()
}

/// Displacements of the expressions, in the order of [`super::EXPRESSION_NAMES`].
pub(super) fn expression_tables(grid: &Grid) -> Vec<Sparse> {
    super::EXPRESSION_NAMES.iter().map(|name| table(grid, |s| face_delta(name, s))).collect()
}

/// Numbers that widen or narrow the lower face together.
const JAWS: [usize; 4] = [2, 7, super::look::slot::SHAPE + 1, super::look::slot::SHAPE + 13];

/// Numbers that lengthen or shorten the lower face together.
const CHINS: [usize; 4] = [1, 3, super::look::slot::SHAPE + 3, super::look::slot::SHAPE + 12];

/// Holds back numbers that would add up to a face that nobody has.
pub(super) fn temper(id: &mut [f32; super::IDENTITY]) {
    for group in [JAWS, CHINS] {
        let sum: f32 = group.iter().map(|i| id[*i]).sum();
        let k = 1.0 / (1.0 + 0.35 * (sum.abs() - 1.2).max(0.0));
        for i in group {
            id[i] *= k;
        }
    }
}

/// Adds `amount` of a table to the positions.
pub(super) fn apply(pos: &mut [V3], table: &Sparse, amount: f32) {
    if amount == 0.0 {
        return;
    }
    for &(i, d) in table {
        let p = &mut pos[i as usize];
        *p = add(*p, [d[0] * amount, d[1] * amount, d[2] * amount]);
    }
}
