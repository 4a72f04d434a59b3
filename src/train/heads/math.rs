//! Arithmetic of the head renderer: vectors, elementary functions and fixed noise.
//!
//! Everything here is built from operations that IEEE 754 rounds exactly (`+ - * / sqrt floor`), so that the same head
//! gives the same pixels on every machine; the system's `exp` and `sin` differ between platforms.

/// A point, direction or linear RGB colour.
pub(super) type V3 = [f32; 3];

pub(super) fn add(a: V3, b: V3) -> V3 {
    [a[0] + b[0], a[1] + b[1], a[2] + b[2]]
}

pub(super) fn sub(a: V3, b: V3) -> V3 {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

pub(super) fn mul(a: V3, k: f32) -> V3 {
    [a[0] * k, a[1] * k, a[2] * k]
}

/// Element by element product, for colours.
pub(super) fn tint(a: V3, b: V3) -> V3 {
    [a[0] * b[0], a[1] * b[1], a[2] * b[2]]
}

pub(super) fn dot(a: V3, b: V3) -> f32 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

pub(super) fn cross(a: V3, b: V3) -> V3 {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

pub(super) fn normalize(a: V3) -> V3 {
    mul(a, 1.0 / (dot(a, a) + 1e-20).sqrt())
}

pub(super) fn mix3(a: V3, b: V3, t: f32) -> V3 {
    [mix(a[0], b[0], t), mix(a[1], b[1], t), mix(a[2], b[2], t)]
}

pub(super) fn mix(a: f32, b: f32, t: f32) -> f32 {
    a + (b - a) * t
}

/// 0 below `a`, 1 above `b`, smooth between; `a > b` gives the falling edge.
pub(super) fn smooth(a: f32, b: f32, x: f32) -> f32 {
    let t = ((x - a) / (b - a)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// `e^x` to about 1e-6 relative; arguments are clamped to -80..80.
pub(super) fn exp(x: f32) -> f32 {
    let x = x.clamp(-80.0, 80.0);
    let n = (x * std::f32::consts::LOG2_E + 0.5).floor();
    let r = x - n * std::f32::consts::LN_2;
    let p = 1.0 + r * (1.0 + r * (0.5 + r * (1.0 / 6.0 + r * (1.0 / 24.0 + r * (1.0 / 120.0 + r / 720.0)))));
    p * f32::from_bits(((n as i32 + 127) << 23) as u32)
}

/// Natural logarithm of a positive number, to about 1e-5.
fn ln(x: f32) -> f32 {
    let bits = x.max(1e-30).to_bits();
    let m = f32::from_bits((bits & 0x007f_ffff) | 0x3f80_0000);
    let e = (bits >> 23) as i32 - 127;
    // ln(m) = 2 atanh((m - 1) / (m + 1)), a short series for m in 1..2.
    let s = (m - 1.0) / (m + 1.0);
    let q = s * s;
    let series = 2.0 * s * (1.0 + q * (1.0 / 3.0 + q * (0.2 + q * (1.0 / 7.0 + q / 9.0))));
    series + e as f32 * std::f32::consts::LN_2
}

/// `x^p` for `x >= 0`.
pub(super) fn pow(x: f32, p: f32) -> f32 {
    if x <= 0.0 {
        0.0
    } else {
        exp(p * ln(x))
    }
}

/// Sine of an angle in radians, to about 1e-5.
pub(super) fn sin(x: f32) -> f32 {
    let turns = x * std::f32::consts::FRAC_1_PI;
    let n = (turns + 0.5).floor();
    let r = (turns - n) * std::f32::consts::PI;
    let q = r * r;
    let s = r * (1.0 - q * (1.0 / 6.0 - q * (1.0 / 120.0 - q * (1.0 / 5040.0 - q / 362_880.0))));
    if (n as i64) & 1 == 0 {
        s
    } else {
        -s
    }
}

/// Cosine of an angle in radians.
pub(super) fn cos(x: f32) -> f32 {
    sin(x + std::f32::consts::FRAC_PI_2)
}

/// A bell of height 1 at `(cx, cy)` that falls to 1/e at `sx`, `sy`.
pub(super) fn bell(x: f32, y: f32, cx: f32, cy: f32, sx: f32, sy: f32) -> f32 {
    let (a, b) = ((x - cx) / sx, (y - cy) / sy);
    let q = a * a + b * b;
    if q > 12.0 {
        0.0
    } else {
        exp(-q)
    }
}

/// Two bells at `cx` and `-cx`, one if `cx` is 0: smooth across the middle of the face.
pub(super) fn twin(x: f32, y: f32, cx: f32, cy: f32, sx: f32, sy: f32) -> f32 {
    if cx == 0.0 {
        bell(x, y, 0.0, cy, sx, sy)
    } else {
        bell(x, y, cx, cy, sx, sy) + bell(x, y, -cx, cy, sx, sy)
    }
}

fn lattice(x: i32, y: i32) -> f32 {
    let mut h = (x as u32).wrapping_mul(0x9E37_79B1) ^ (y as u32).wrapping_mul(0x85EB_CA77);
    h = (h ^ (h >> 15)).wrapping_mul(0x2C1B_3C6D);
    h = (h ^ (h >> 12)).wrapping_mul(0x297A_2D39);
    h ^= h >> 15;
    (h >> 8) as f32 / 8_388_608.0 - 1.0
}

/// Smooth fixed noise in -1..1, one lattice cell per unit.
pub(super) fn noise(x: f32, y: f32) -> f32 {
    let (fx, fy) = (x.floor(), y.floor());
    let (ix, iy) = (fx as i32, fy as i32);
    let (tx, ty) = (x - fx, y - fy);
    let (sx, sy) = (tx * tx * (3.0 - 2.0 * tx), ty * ty * (3.0 - 2.0 * ty));
    let top = mix(lattice(ix, iy), lattice(ix + 1, iy), sx);
    let low = mix(lattice(ix, iy + 1), lattice(ix + 1, iy + 1), sx);
    mix(top, low, sy)
}

/// Several octaves of [`noise`], each of double frequency and half strength; about -1..1. Octaves finer than `finest`
/// cells per unit are left out: they would alias.
pub(super) fn fractal(x: f32, y: f32, octaves: u32, finest: f32) -> f32 {
    let (mut sum, mut gain, mut k) = (0.0, 0.55, 1.0);
    for i in 0..octaves {
        if k > finest {
            break;
        }
        sum += gain * noise(x * k + 17.3 * i as f32, y * k - 9.1 * i as f32);
        gain *= 0.5;
        k *= 2.03;
    }
    sum
}

/// A fixed random number in 0..1 for lattice point `(x, y)`.
pub(super) fn dice(x: i32, y: i32) -> f32 {
    lattice(x, y) * 0.5 + 0.5
}

/// The nearest of one random point per lattice cell: (distance, a random number of that point in 0..1).
pub(super) fn nearest_spot(x: f32, y: f32) -> (f32, f32) {
    let (ix, iy) = (x.floor() as i32, y.floor() as i32);
    let mut best = (9.0f32, 0.0);
    for j in iy - 1..=iy + 1 {
        for i in ix - 1..=ix + 1 {
            let (dx, dy) = (i as f32 + dice(i, j) - x, j as f32 + dice(i + 911, j - 377) - y);
            let d = dx * dx + dy * dy;
            if d < best.0 {
                best = (d, dice(i - 71, j + 1203));
            }
        }
    }
    (best.0.sqrt(), best.1)
}
