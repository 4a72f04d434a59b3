//! The unit head: a closed grid of rings around the skull, face and neck, with slits for the eyes and the mouth.
//!
//! Output: positions, texture coordinates and triangles of the neutral average head. Units: the distance of the eyes;
//! x to the viewer's right, y up, z towards the viewer; the eyes at y = 0, the mouth at y = -1.12.
//! Each ring is given by its foremost, outermost and rearmost point, after average adult head measurements.

use super::math::{bell, cos, exp, mix, pow, sin, smooth, twin, V3};

/// Height of the closed mouth line on the unit head.
pub(super) const MOUTH_Y: f32 = -1.12;
/// Height of the mouth line at distance `ax` from the middle: the ring of the mouth rises towards the sides.
pub(super) fn mouth_line(ax: f32) -> f32 {
    let s = (ax / 0.96).min(1.0);
    -0.82 - 0.30 * (1.0 - s * s).sqrt()
}

/// Half the width of the mouth slit.
pub(super) const MOUTH_HALF: f32 = 0.42;
/// Half the width of the eye slit.
pub(super) const EYE_HALF: f32 = 0.245;
/// Ring key of the eye line and of the mouth line.
const EYE_KEY: f32 = 6.0;
const MOUTH_KEY: f32 = 9.0;
/// Vertices around one ring.
pub(super) const COLUMNS: usize = 113;

/// One ring: foremost (y, z), half width, outermost (y, z), rearmost (y, z).
type Ring = [f32; 7];

const RINGS: [Ring; 17] = [
    [1.75, -1.10, 0.02, 1.75, -1.15, 1.75, -1.20],
    [1.65, -0.62, 0.54, 1.62, -1.18, 1.55, -1.90],
    [1.37, -0.20, 0.86, 1.31, -1.18, 1.20, -2.40],
    [1.00, 0.02, 1.05, 0.95, -1.14, 0.85, -2.62],
    [0.62, 0.14, 1.13, 0.60, -1.10, 0.50, -2.70],
    [0.30, 0.18, 1.145, 0.29, -1.06, 0.10, -2.65],
    [0.00, 0.08, 1.13, 0.00, -1.02, -0.20, -2.55],
    [-0.40, 0.12, 1.12, -0.35, -1.00, -0.50, -2.35],
    [-0.80, 0.17, 1.08, -0.66, -1.00, -0.80, -2.15],
    [MOUTH_Y, 0.18, 1.00, -0.82, -1.00, -1.05, -2.00],
    [-1.38, 0.11, 0.93, -1.04, -0.98, -1.30, -1.95],
    [-1.58, 0.08, 0.835, -1.20, -0.95, -1.50, -1.95],
    [-1.72, -0.03, 0.745, -1.34, -0.96, -1.65, -1.96],
    [-1.78, -0.32, 0.715, -1.50, -1.04, -1.80, -1.98],
    [-1.86, -0.58, 0.735, -1.66, -1.15, -2.00, -2.02],
    [-2.25, -0.62, 0.76, -2.10, -1.26, -2.30, -2.06],
    [-3.00, -0.60, 0.84, -2.80, -1.30, -2.80, -2.10],
];

/// Ring keys of the grid: (from, to, rings); dense where the face moves.
const ROWS: [(f32, f32, usize); 12] = [
    (0.0, 3.0, 10),
    (3.0, 5.0, 18),
    (5.0, EYE_KEY, 18),
    (EYE_KEY, 7.0, 17),
    (7.0, 8.0, 18),
    (8.0, MOUTH_KEY, 17),
    (MOUTH_KEY, 10.0, 15),
    (10.0, 11.0, 9),
    (11.0, 12.0, 5),
    (12.0, 13.0, 4),
    (13.0, 14.0, 3),
    (14.0, 16.0, 5),
];

/// Which side of a slit a vertex belongs to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Side {
    /// Not on a slit.
    Free,
    /// Upper lid or upper lip edge.
    Upper,
    /// Lower lid or lower lip edge.
    Lower,
}

/// Texture coordinates for fixed noise: the unrolled x crowds together towards the sides of the face, where the surface turns
/// away; this spreads it again.
pub(super) fn spread(u: f32, y: f32) -> f32 {
    let wide = mix(0.80, 1.12, smooth(-1.5, -0.7, y));
    let q = (u.abs() / wide).min(1.0);
    u * (1.0 + 0.55 * q * q * q * q)
}

/// One vertex of the unit head with what the shape functions need.
#[derive(Clone, Copy, Debug)]
pub(super) struct Site {
    /// Position with the neutral features on it.
    pub pos: V3,
    /// Position before features: the coordinates in which features and textures are placed.
    pub x: f32,
    pub y: f32,
    /// Unrolled x: continues around the back of the head, for textures.
    pub u: f32,
    /// Ring key 0 (crown) to 16 (neck base), and angle around the head (0 front, radians).
    pub key: f32,
    pub theta: f32,
    /// Slit edges.
    pub side: Side,
    /// Fades face features out towards the sides and the back: 1 in front.
    pub front: f32,
}

impl Site {
    /// True above the mouth line.
    pub fn above_mouth(&self) -> bool {
        match self.side {
            Side::Upper => true,
            Side::Lower => self.key < MOUTH_KEY - 0.5,
            Side::Free => self.key < MOUTH_KEY,
        }
    }

    /// True above the eye line.
    pub fn above_eyes(&self) -> bool {
        match self.side {
            Side::Upper => self.key < EYE_KEY + 0.5,
            Side::Lower => false,
            Side::Free => self.key < EYE_KEY,
        }
    }

    /// How far the vertex turns with the head: 1 on the head, 0 at the base of the neck.
    pub fn sway(&self) -> f32 {
        1.0 - smooth(12.8, 15.6, self.key)
    }
}

/// The grid: `rows * COLUMNS` sites.
pub(super) struct Grid {
    /// Row-major sites.
    pub sites: Vec<Site>,
    /// Ring key of every row.
    pub keys: Vec<f32>,
    /// Two triangles per cell, except across slits.
    pub tris: Vec<[u32; 3]>,
    /// Vertices of the slit edges, in pairs to be backed by a rim: (first vertex of the row, side, eye or mouth).
    pub slit_rows: Vec<(usize, Side, bool)>,
}

/// Catmull-Rom interpolation of the ring table.
pub(super) fn ring(keys: &[Ring], k: f32) -> Ring {
    let i = (k.floor() as usize).min(keys.len() - 2);
    let t = k - i as f32;
    let at = |j: isize| keys[j.clamp(0, keys.len() as isize - 1) as usize];
    let (a, b, c, d) = (at(i as isize - 1), at(i as isize), at(i as isize + 1), at(i as isize + 2));
    std::array::from_fn(|n| {
        let (m0, m1) = ((c[n] - a[n]) * 0.5, (d[n] - b[n]) * 0.5);
        let (t2, t3) = (t * t, t * t * t);
        (2.0 * t3 - 3.0 * t2 + 1.0) * b[n] + (t3 - 2.0 * t2 + t) * m0 + (3.0 * t2 - 2.0 * t3) * c[n] + (t3 - t2) * m1
    })
}

/// A point of a ring at angle `theta`; the front is a little flatter than an ellipse.
pub(super) fn ring_point(r: &Ring, theta: f32) -> V3 {
    let (s, c) = (sin(theta), cos(theta));
    let flat = pow(c.abs(), 0.86);
    let x = r[2] * s;
    if c >= 0.0 {
        [x, mix(r[3], r[0], c), mix(r[4], r[1], flat)]
    } else {
        [x, mix(r[3], r[5], -c), mix(r[4], r[6], flat)]
    }
}

/// Angle of column `c`: denser in front.
pub(super) fn column_angle(c: usize) -> f32 {
    let u = 2.0 * c as f32 / (COLUMNS - 1) as f32 - 1.0;
    std::f32::consts::PI * u * (0.40 + 0.60 * u * u)
}

/// Height of the nose's ridge over the face at given heights: root, bridge, tip, base.
const RIDGE: [[f32; 2]; 10] = [
    [-0.83, 0.0],
    [-0.77, 0.03],
    [-0.715, 0.13],
    [-0.66, 0.285],
    [-0.57, 0.365],
    [-0.48, 0.335],
    [-0.22, 0.200],
    [0.02, 0.090],
    [0.15, 0.070],
    [0.40, 0.0],
];

fn nose_ridge(y: f32) -> f32 {
    let i = RIDGE.iter().rposition(|p| p[0] <= y);
    match i {
        Some(i) if i + 1 < RIDGE.len() => {
            let (p, q) = (RIDGE[i], RIDGE[i + 1]);
            let t = (y - p[0]) / (q[0] - p[0]);
            // Straight pieces with rounded joints.
            mix(p[1], q[1], mix(t, t * t * (3.0 - 2.0 * t), 0.35))
        }
        _ => 0.0,
    }
}

/// Nose: ridge with sides, ball of the tip, wings.
fn nose(x: f32, y: f32) -> f32 {
    let narrow = mix(0.085, 0.105, smooth(-0.2, -0.55, y)) + 0.02 * smooth(-0.05, 0.25, y);
    let wide = mix(0.150, 0.195, smooth(-0.2, -0.58, y)) + 0.07 * smooth(-0.05, 0.25, y);
    let profile = 0.32 * exp(-(x / narrow) * (x / narrow)) + 0.68 * exp(-(x / wide) * (x / wide));
    let mut z = nose_ridge(y) * profile;
    z += 0.060 * bell(x, y, 0.0, -0.565, 0.105, 0.080);
    z += 0.120 * twin(x, y, 0.185, -0.635, 0.078, 0.072);
    // The wing is set off from the tip and from the cheek.
    z -= 0.030 * twin(x, y, 0.115, -0.600, 0.030, 0.065);
    z - 0.045 * twin(x, y, 0.300, -0.615, 0.045, 0.10)
}

/// Depth features of the neutral face at `(x, y)`: sockets, brow ridge, nose, lips, chin, cheekbones.
fn relief(x: f32, y: f32) -> f32 {
    let ax = x.abs();
    let b = |cx: f32, cy: f32, sx: f32, sy: f32| twin(x, y, cx, cy, sx, sy);
    let mut z = nose(x, y);
    z -= 0.165 * b(0.47, -0.02, 0.25, 0.17) + 0.042 * b(0.205, 0.02, 0.095, 0.11) + 0.045 * b(0.50, 0.150, 0.24, 0.050);
    z += 0.070 * b(0.42, 0.29, 0.34, 0.14) + 0.030 * b(0.78, 0.20, 0.12, 0.14) + 0.02 * b(0.0, 0.36, 0.2, 0.12);
    z += 0.085 * b(0.66, -0.36, 0.24, 0.19) + 0.055 * b(0.42, -0.74, 0.22, 0.28);
    z -= 0.045 * b(0.80, -0.86, 0.18, 0.24);
    z += 0.035 * b(0.40, 0.72, 0.26, 0.22) - 0.03 * b(0.98, 0.30, 0.16, 0.25);
    let lip = |c: f32, s: f32| exp(-((y - c) / s) * ((y - c) / s));
    let across = smooth(0.44, 0.14, ax);
    z += across * (0.095 * lip(-1.060, 0.052) + 0.120 * lip(-1.195, 0.062)) + 0.075 * smooth(0.55, 0.1, ax) * lip(-1.1, 0.27);
    z += 0.018 * b(0.09, -1.035, 0.06, 0.045) + 0.015 * b(0.13, -1.20, 0.10, 0.05);
    z -= 0.035 * across * lip(MOUTH_Y, 0.018) + 0.070 * b(0.445, -1.125, 0.065, 0.065);
    z -= 0.026 * bell(x, y, 0.0, -0.90, 0.036, 0.09);
    z += 0.012 * b(0.080, -0.90, 0.030, 0.09);
    z -= 0.090 * b(0.0, -1.355, 0.26, 0.062);
    z + 0.115 * b(0.0, -1.57, 0.23, 0.13) + 0.02 * b(0.10, -1.60, 0.08, 0.08)
}

fn site(key: f32, theta: f32, side: Side) -> Site {
    let p = ring_point(&ring(&RINGS, key), theta);
    let front = smooth(1.75, 1.15, theta.abs());
    let mut pos = p;
    pos[2] += relief(p[0], p[1]) * front;
    // The tip of the nose hangs over the nostrils, the temples are hollow.
    pos[1] -= (0.022 * bell(p[0], p[1], 0.0, -0.62, 0.24, 0.09) + 0.050 * bell(p[0], p[1], 0.0, -0.62, 0.10, 0.10)) * front;
    // Corners of mouth and eyes are drawn up a little: a calm face, not a sad one.
    pos[1] += (0.018 * bell(p[0].abs(), p[1], 0.43, MOUTH_Y, 0.14, 0.16) + 0.03 * bell(p[0].abs(), p[1], 0.75, 0.0, 0.18, 0.18))
        * front;
    pos[0] -= p[0] * 0.04 * bell(p[0].abs(), p[1], 1.0, 0.25, 0.3, 0.25);
    let beyond = (theta.abs() - std::f32::consts::FRAC_PI_2).max(0.0);
    let u = if beyond > 0.0 { theta.signum() * (1.12 + beyond) } else { p[0] };
    Site { pos, x: p[0], y: p[1], u, key, theta, side, front }
}

/// Rows with their slit side: the eye line and the mouth line appear twice.
fn rows() -> Vec<(f32, Side)> {
    let mut out = vec![(0.0, Side::Free)];
    for (from, to, n) in ROWS {
        for i in 1..=n {
            let key = mix(from, to, i as f32 / n as f32);
            if i == n && (to == EYE_KEY || to == MOUTH_KEY) {
                out.push((to, Side::Upper));
                out.push((to, Side::Lower));
            } else {
                out.push((key, Side::Free));
            }
        }
    }
    out
}

impl Grid {
    /// Builds the unit head.
    pub fn new() -> Self {
        let rows = rows();
        let mut grid = Grid { sites: Vec::new(), keys: Vec::new(), tris: Vec::new(), slit_rows: Vec::new() };
        for (r, &(key, side)) in rows.iter().enumerate() {
            grid.keys.push(key);
            if side != Side::Free {
                grid.slit_rows.push((r * COLUMNS, side, key == EYE_KEY));
            }
            grid.sites.extend((0..COLUMNS).map(|c| site(key, column_angle(c), side)));
            if r == 0 || side == Side::Lower {
                continue;
            }
            for c in 0..COLUMNS - 1 {
                let low = (r * COLUMNS + c) as u32;
                let up = low - COLUMNS as u32;
                grid.tris.push([up, low, low + 1]);
                grid.tris.push([up, low + 1, up + 1]);
            }
        }
        grid
    }

    /// Index of the free or upper site nearest to `(x, y)` on the front of the face.
    pub fn nearest(&self, x: f32, y: f32, side: Side) -> usize {
        let mut best = (f32::MAX, 0);
        for (i, s) in self.sites.iter().enumerate() {
            let d = (s.x - x) * (s.x - x) + (s.y - y) * (s.y - y);
            if s.theta.abs() < 1.6 && s.side == side && d < best.0 {
                best = (d, i);
            }
        }
        best.1
    }
}
