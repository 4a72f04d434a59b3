//! Relief of the skin finer than the mesh: pores, furrows of age and expression, lid crease, lines of the lips.
//!
//! Input: texture coordinates of [`super::template`] (unrolled x, height), the look and the expression. Output: height over
//! the mesh in eye distances and how much a place lies in a furrow (0..1), which darkens it.

use super::channel;
use super::look::Look;
use super::math::{bell, fractal, noise, smooth, V3};
use super::pose::Posed;
use super::skin;
use super::template::{mouth_line, spread, EYE_HALF};

/// Sums furrows: height and darkness.
#[derive(Default)]
struct Relief {
    height: f32,
    dark: f32,
}

impl Relief {
    /// A furrow at distance `d` from its middle, of half width `w` and relative depth `k`; lips of it are raised.
    fn furrow(&mut self, d: f32, w: f32, k: f32) {
        let q = (d / w) * (d / w);
        if q < 9.0 && k > 0.004 {
            let g = super::math::exp(-q);
            self.height -= k * w * 0.55 * (g - 0.45 * super::math::exp(-0.4 * q));
            self.dark += k * g * 0.55;
        }
    }
}

/// Lines across the forehead and between the brows.
fn forehead(r: &mut Relief, x: f32, y: f32, look: &Look, posed: &Posed) {
    let (ax, e) = (x.abs(), &posed.expression);
    let raised = e[channel::BROW_INNER_UP].max(posed.pair(channel::BROW_OUTER_UP, x));
    let up = 0.75 * raised * (0.6 + 0.6 * look.age) + 0.6 * look.age * look.lines;
    if up > 0.02 && y > 0.48 && ax < 0.85 {
        let bend = 0.05 * noise(x * 1.8 + look.grain, 1.5) + 0.025 * noise(x * 5.0, 7.5 + look.grain);
        let t = (y + bend - 0.52) / 0.135;
        let d = (t - t.floor() - 0.5) * 0.135;
        let each = 0.55 + 0.45 * noise(t.floor() * 3.1 + look.grain, x * 1.5);
        let area = smooth(0.46, 0.58, y) * smooth(1.0, 0.8, y) * smooth(0.85, 0.5, ax);
        r.furrow(d, 0.021, up * each * area);
    }
    if ax < 0.30 && y > 0.05 && y < 0.55 {
        let k = 0.9 * posed.pair(channel::BROW_DOWN, x) + 0.5 * look.age * look.lines;
        let lean = 0.105 + 0.10 * (y - 0.3) + 0.015 * noise(y * 9.0, x.signum() * 3.0);
        r.furrow(ax - lean, 0.020, k * smooth(0.12, 0.22, y) * smooth(0.50, 0.36, y));
        let nose = e[channel::NOSE_WRINKLE] + 0.4 * posed.pair(channel::BROW_DOWN, x);
        for i in 0..3 {
            let at = 0.07 + 0.055 * i as f32 - 0.35 * ax * ax;
            r.furrow(y - at, 0.014, 0.7 * nose * smooth(0.22, 0.08, ax));
        }
    }
}

/// Lid crease, lines under the eye, crow's feet.
fn around_eyes(r: &mut Relief, x: f32, y: f32, look: &Look, posed: &Posed) {
    let ax = x.abs();
    let t = (ax - 0.5) / EYE_HALF;
    if !(0.15..1.15).contains(&ax) || y.abs() > 0.42 {
        return;
    }
    let arch = (1.0 - t * t).max(0.0);
    let span = smooth(1.22, 0.85, t.abs());
    let (blink, squint) = (posed.pair(channel::BLINK, x), posed.pair(channel::SQUINT, x));
    let smile = posed.pair(channel::SMILE, x);
    // A closed lid is stretched: the crease fades.
    r.furrow(y - (0.030 + look.crease * arch), 0.020, 1.5 * span * look.crease_depth * (1.0 - 0.75 * blink));
    if look.age > 0.3 {
        r.furrow(y - (0.075 + 1.4 * look.crease * arch), 0.014, span * 0.5 * look.age);
    }
    let bag = 0.10 + 0.55 * look.bags;
    let low = -0.100 - 0.075 * arch + 0.015 * t;
    r.furrow(y - low, 0.028, span * bag + 0.45 * squint * span + 0.25 * smile * span);
    r.height += 0.012 * look.bags * bell(t, y, 0.0, -0.105, 0.8, 0.05);
    r.furrow(y - (-0.040 - 0.045 * arch), 0.012, span * (0.22 + 0.5 * squint));
    // The furrow that runs down from the inner corner over the cheek.
    let tear = ax - 0.25 - 0.75 * (-0.08 - y).max(0.0);
    r.furrow(tear, 0.030, (0.12 + 0.5 * look.age + 0.2 * look.bags) * smooth(-0.06, -0.12, y) * smooth(-0.40, -0.2, y));
    let feet = (0.9 * squint).max(0.75 * smile) * (0.35 + 0.65 * look.age) + 0.55 * look.age * look.lines;
    if feet > 0.02 && ax > 0.74 {
        for i in 0..4 {
            let slope = -0.55 + 0.36 * i as f32;
            let d = y - 0.01 - slope * (ax - 0.70) - 0.06 * (ax - 0.7);
            r.furrow(d, 0.013, feet * 0.8 * smooth(0.76, 0.81, ax) * smooth(1.06, 0.9, ax));
        }
    }
}

/// Folds from the nose to the mouth, beside the mouth, of chin and neck.
fn around_mouth(r: &mut Relief, x: f32, y: f32, look: &Look, posed: &Posed) {
    let (ax, e) = (x.abs(), &posed.expression);
    if y < -0.45 && y > -1.5 && ax > 0.15 && ax < 0.85 {
        let smile = posed.pair(channel::SMILE, x);
        let fold = look.fold + 0.62 * smile + 0.45 * e[channel::NOSE_WRINKLE] + 0.15 * posed.pair(channel::STRETCH, x);
        let t = (-0.55 - y) / 0.62;
        let curve = 0.305 + 0.26 * t - 0.03 * t * t + 0.03 * smile * t;
        let ends = smooth(-0.08, 0.12, t) * smooth(1.15, 0.6, t);
        r.furrow(ax - curve, 0.042, fold * 0.85 * ends);
        if ax > curve {
            r.height += 0.010 * fold * ends * smooth(0.30, 0.05, ax - curve);
        }
        let corner = 0.75 * posed.pair(6, x) + 0.65 * look.age * look.lines + 0.15 * look.age;
        let d = ax - 0.47 - 0.22 * (-1.14 - y);
        r.furrow(d, 0.026, corner * smooth(-1.12, -1.18, y) * smooth(-1.46, -1.28, y));
        let dimple = posed.pair(channel::SMILE, x) * look.dimple;
        r.height -= 0.02 * dimple * bell(ax, y, 0.66, -1.06, 0.05, 0.11);
    }
    if y < -1.25 && ax < 0.5 {
        let knot = e[channel::CHIN_RAISE] * bell(x, y, 0.0, -1.54, 0.30, 0.17);
        r.height += 0.016 * knot * noise(x * 15.0, y * 15.0);
        r.dark += 0.25 * knot * (0.5 - 0.5 * noise(x * 15.0, y * 15.0));
        r.height -= 0.02 * look.cleft * bell(x, y, 0.0, -1.58, 0.025, 0.10);
    }
    if y < -1.8 {
        for i in 0..2 {
            let d = y + 2.12 + 0.22 * i as f32 - 0.06 * x * x;
            r.furrow(d, 0.022, (0.10 + 0.5 * look.age) * smooth(0.75, 0.4, ax));
        }
    }
}

/// Fine relief that is always there: pores, vellus, lines of the lips. `finest` noise cells per eye distance stay visible.
fn grain(x: f32, y: f32, look: &Look, finest: f32) -> f32 {
    let mut h = 0.0;
    let w = spread(x, y);
    let rough = look.pores * (1.0 + 0.6 * look.age);
    for (cells, height) in [(14.0, 0.0008), (33.0, 0.0010), (61.0, 0.0008), (107.0, 0.0006)] {
        if cells < finest {
            h += height * rough * noise(w * cells + look.grain, y * cells);
        }
    }
    let lip = skin::lips(x, y);
    if lip > 0.0 {
        let cover = smooth(0.0, 0.03, lip);
        let fine = if finest > 40.0 { noise(x * 46.0, y * 5.0) } else { 0.0 };
        h = h * (1.0 - cover) + cover * (0.0035 * noise(x * 21.0 + look.grain, y * 3.5) + 0.0016 * fine);
    }
    // The border of the lips stands up a little.
    h + 0.004 * bell(lip, 0.0, -0.004, 0.0, 0.018, 1.0) * smooth(0.42, 0.25, x.abs())
}

/// Height over the mesh and darkness of furrows.
pub(super) fn relief(x: f32, y: f32, look: &Look, posed: &Posed, finest: f32) -> (f32, f32) {
    let mut r = Relief::default();
    if y < 1.1 && x.abs() < 1.2 {
        forehead(&mut r, x, y, look, posed);
        around_eyes(&mut r, x, y, look, posed);
        around_mouth(&mut r, x, y, look, posed);
        let seam = y - mouth_line(x.abs());
        r.height -= 0.006 * bell(x, seam, 0.0, 0.13, 0.03, 0.06);
    }
    r.height += grain(x, y, look, finest);
    if look.age > 0.4 {
        r.height += 0.004 * (look.age - 0.4) * fractal(spread(x, y) * 9.0, y * 9.0 + look.grain, 2, finest);
    }
    (r.height, r.dark.min(1.0))
}

/// Steps for differences of height: about a third of a pixel at 256 pixels.
const STEP: f32 = 0.006;

/// Slope of the relief along x and y, and darkness.
pub(super) fn slope(x: f32, y: f32, look: &Look, posed: &Posed, finest: f32) -> ([f32; 2], f32) {
    let (h, dark) = relief(x, y, look, posed, finest);
    let (hx, _) = relief(x + STEP, y, look, posed, finest);
    let (hy, _) = relief(x, y + STEP, look, posed, finest);
    ([(hx - h) / STEP, (hy - h) / STEP], dark)
}

/// A normal tilted by a slope; `du` and `dv` are the gradients of the texture coordinates on the surface.
pub(super) fn tilt(n: V3, slope: [f32; 2], du: V3, dv: V3) -> V3 {
    super::math::normalize(std::array::from_fn(|i| n[i] - slope[0] * du[i] - slope[1] * dv[i]))
}
