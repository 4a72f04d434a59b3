//! Glasses: frames of several kinds, their glass and what it mirrors.
//!
//! Input: the look, the eyes, the root of the nose. Output: triangles; colour of the mirrored light at a place of the glass.

use super::look::Look;
use super::math::{add, bell, cos, mix, mul, normalize, pow, sin, smooth, V3};
use super::mesh::{Material, Mesh};
use super::pose::Eye;
use super::surface::Place;

/// Outline points of one glass.
const POINTS: usize = 32;

/// Measures of a pair of glasses, eye distances.
struct Frame {
    half: f32,
    tall: f32,
    /// Exponent of the outline: 1 an ellipse, smaller a rounded rectangle.
    power: f32,
    thick: f32,
    y: f32,
    /// How much wider the top is than the bottom.
    brow: f32,
    bridge: V3,
}

impl Frame {
    fn new(look: &Look, eyes: &[Eye; 2], bridge: V3) -> Self {
        let mid = (eyes[1].centre[0] - eyes[0].centre[0]) * 0.5;
        let half = (0.355 * look.glasses_size).min(mid - 0.09);
        Frame {
            half,
            tall: half * mix(0.62, 1.0, look.glasses_shape),
            power: mix(0.42, 1.0, look.glasses_shape),
            thick: mix(0.030, 0.009, smooth(0.1, 0.75, look.glasses_rim)),
            y: eyes[0].centre[1] - 0.06,
            brow: 0.10 * (1.0 - look.glasses_shape),
            bridge,
        }
    }

    fn depth(&self, x: f32) -> f32 {
        self.bridge[2] + 0.13 - 0.19 * x * x
    }

    /// Outline at angle number `i`, drawn in to `share` of the way from the middle.
    fn outline(&self, eye: &Eye, i: usize, share: f32) -> V3 {
        let a = i as f32 / POINTS as f32 * std::f32::consts::TAU;
        let shape = |v: f32| v.signum() * pow(v.abs(), self.power);
        let (c, s) = (shape(cos(a)), shape(sin(a)));
        let x = eye.centre[0] * 1.02 + share * self.half * c * (1.0 + self.brow * s);
        [x, self.y + share * self.tall * s, self.depth(x)]
    }
}

/// Adds frame and glass; `bridge` is the root of the nose.
pub(super) fn build(mesh: &mut Mesh, look: &Look, eyes: &[Eye; 2], bridge: V3) {
    let f = Frame::new(look, eyes, bridge);
    for eye in eyes {
        let path: Vec<V3> = (0..POINTS).map(|i| f.outline(eye, i, 1.0)).collect();
        if look.glasses_rim < 0.9 {
            mesh.tube(&path, f.thick, true, Material::Glasses);
        }
        mesh.grid(4, POINTS + 1, Material::Lens, |r, c| {
            let share = 1.0 - r as f32 / 3.0 * 0.99;
            let p = f.outline(eye, c % POINTS, share);
            let place = [(p[0] - eye.centre[0]) / f.half, (p[1] - f.y) / f.tall];
            (add(p, [0.0, 0.0, 0.02 * (1.0 - share * share)]), place, 1.0, 1.0)
        });
        let sign = eye.centre[0].signum();
        let x = eye.centre[0] * 1.02 + sign * f.half;
        let arm = [[x, f.y + 0.10, f.depth(x)], [sign * 1.08, f.y + 0.11, f.depth(x) - 0.2], [sign * 1.22, f.y + 0.08, -1.15]];
        mesh.tube(&arm, f.thick.max(0.016) * 0.9, false, Material::Glasses);
    }
    let mid = (eyes[1].centre[0] - eyes[0].centre[0]) * 0.5;
    let inner = mid * 1.02 - f.half;
    let path: Vec<V3> = (0..7)
        .map(|i| {
            let t = i as f32 / 3.0 - 1.0;
            [inner * t, f.y + 0.05 + 0.05 * (1.0 - t * t), f.depth(0.0)]
        })
        .collect();
    mesh.tube(&path, f.thick.max(0.014) * 0.9, false, Material::Glasses);
}

/// Light that the glass mirrors towards the viewer at a place of it.
pub(super) fn mirrored(p: &Place, look: &Look) -> V3 {
    let [u, v] = p.uv;
    let n = normalize(p.normal);
    // What stands before the person: a bright window towards the main light, a screen below, a dim room.
    let towards = look.lights.key;
    let (x, y) = (2.0 * n[0] * n[2] + 0.20 * u, 2.0 * n[1] * n[2] + 0.20 * v);
    let (dx, dy) = (x - 0.55 * towards[0], y - 0.55 * towards[1]);
    let size = mix(0.05, 0.16, look.lights.soft);
    let window = smooth(size, size * 0.6, dx.abs()) * smooth(size * 1.3, size * 0.8, dy.abs());
    let screen = 0.22 * bell(x, y, 0.05, -0.12, 0.16, 0.09);
    let edge = 0.05 * smooth(0.75, 1.0, (u * u + v * v).sqrt());
    add(mul(look.lights.key_colour(), 0.42 * window + edge), mul([0.55, 0.70, 0.95], 0.35 * screen + 0.012))
}
