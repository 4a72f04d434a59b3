//! Parts beside the skin: eyeballs, inside of the mouth, ears; and how much light reaches the skin.

use super::math::{add, bell, cos, mix, mul, sin, smooth, V3};
use super::mesh::{Material, Mesh};
use super::pose::{Eye, EYE_RADIUS};
use super::shape::jaw_turn;
use super::template::{column_angle, Grid, Site, COLUMNS};
use super::{channel, IDENTITY};

/// Share of ambient light at a site of the unit head: less in sockets, beside the nose, under lip and chin.
pub(super) fn openness(s: &Site) -> f32 {
    let (ax, y) = (s.x.abs(), s.y);
    let b = |cx: f32, cy: f32, sx: f32, sy: f32| s.front * bell(ax, y, cx, cy, sx, sy);
    let mut o = 1.0;
    o -= 0.24 * b(0.24, 0.07, 0.12, 0.13) + 0.22 * b(0.5, 0.11, 0.3, 0.07);
    o -= 0.20 * b(0.30, -0.64, 0.05, 0.09) + 0.40 * b(0.10, -0.715, 0.12, 0.04);
    o -= 0.22 * b(0.0, -1.34, 0.26, 0.06) + 0.20 * b(0.44, -1.12, 0.06, 0.06);
    o -= 0.55 * smooth(12.2, 13.2, s.key) * mix(1.0, 0.45, smooth(13.6, 15.0, s.key));
    o -= 0.25 * bell(s.theta.abs(), y, 1.75, -0.4, 0.25, 0.5);
    o.clamp(0.15, 1.0)
}

/// Adds the eyeballs; gives the vertices at the middles of the pupils.
pub(super) fn eyes(mesh: &mut Mesh, eyes: &[Eye; 2]) -> Vec<usize> {
    const N: usize = 11;
    let mut pupils = Vec::new();
    for (k, eye) in eyes.iter().enumerate() {
        mesh.grid(N, N, Material::Eye, |r, c| {
            let u = 2.0 * c as f32 / (N - 1) as f32 - 1.0;
            let v = 1.0 - 2.0 * r as f32 / (N - 1) as f32;
            let (a, b) = (u * 1.25, v * 1.05);
            let dir = [sin(a) * cos(b), sin(b), cos(a) * cos(b)];
            (add(eye.centre, mul(dir, EYE_RADIUS)), [dir[0] + 4.0 * k as f32, dir[1]], 1.0, 1.0)
        });
        // Flesh behind the corners, where the eyeball does not reach.
        mesh.grid(3, 5, Material::LidRim, |r, c| {
            let (u, v) = (c as f32 / 2.0 - 1.0, 1.0 - r as f32);
            (add(eye.centre, [0.262 * u, 0.07 * v, EYE_RADIUS * (0.36 - 0.30 * u * u)]), [0.0; 2], 0.55, 1.0)
        });
        pupils.push(mesh.vertex(add(eye.centre, mul(eye.gaze, EYE_RADIUS)), [0.0; 2], 1.0, 1.0) as usize);
    }
    pupils
}

/// Adds teeth, tongue and the dark behind them; `lip` is the neutral middle of the mouth,
/// `corners` are those of the posed mouth.
pub(super) fn mouth(mesh: &mut Mesh, lip: &V3, corners: [V3; 2], e: &[f32; 32]) {
    let jaw = e[channel::JAW_OPEN];
    let side = 0.16 * e[channel::JAW_SIDE];
    let follow = |p: V3| {
        let t = jaw_turn(p);
        add(p, [side, t[1] * jaw, t[2] * jaw])
    };
    let (oy, oz) = (lip[1], lip[2]);
    mesh.grid(9, 9, Material::Cavity, |r, c| {
        let (u, v) = (c as f32 / 4.0 - 1.0, r as f32 / 8.0);
        // The cheeks' inside meets the corners of the lips: nothing of it shows beside them.
        let corner = corners[usize::from(u > 0.0)];
        let (k, tall) = (u * u, 1.0 - 0.62 * u * u);
        let p = [oy + 0.05 + (0.35 - 0.70 * v) * tall, oz - 0.42 - 0.10 * v * (1.0 - v)];
        let t = follow([0.0, p[0], p[1]]);
        let middle = mix_point([0.0, p[0], p[1]], t, v);
        let end = [corner[0] + 0.05 * u, corner[1] + (0.5 - v) * 0.26, corner[2] - 0.20];
        let q = [end[0] * u.abs() + middle[0] * (1.0 - k), mix(middle[1], end[1], k), mix(middle[2], end[2], k)];
        (q, [u, v], 0.3, 1.0)
    });
    for lower in [false, true] {
        mesh.grid(4, 21, Material::Teeth, |r, c| {
            let (u, v) = (c as f32 / 10.0 - 1.0, r as f32 / 3.0);
            let z = oz - 0.145 - 0.28 * u * u - if lower { 0.06 + 0.04 * v } else { 0.0 };
            let (x, y) = if lower {
                (0.30 * u, mix(-0.055 + 0.03 * u * u, -0.16, v))
            } else {
                (0.34 * u, mix(0.15, -0.085 + 0.050 * u * u, v))
            };
            let p = [x, oy + y, z - 0.03 * v * if lower { 0.0 } else { -0.5 }];
            let shown = if lower { 1.0 - v } else { v };
            (if lower { follow(p) } else { p }, [u + if lower { 4.0 } else { 0.0 }, shown], 0.9, 1.0)
        });
    }
    let out = e[channel::TONGUE_OUT];
    mesh.grid(14, 11, Material::Tongue, |r, c| {
        let (u, v) = (c as f32 / 5.0 - 1.0, r as f32 / 13.0);
        // From the throat (v 0) over the back of the tongue to the tip, which bends down outside.
        let arch = (1.0 - u * u) * smooth(1.05, 0.55, v * out);
        let z = oz - 0.70 + (0.38 + 0.60 * out) * smooth(-0.1, 1.05, v);
        // Outside the lips the tongue hangs down; behind them it must not touch the chin from inside.
        let curl = mix(0.10, 0.0, smooth(0.0, 0.4, out)) * smooth(0.65, 1.0, v) + 0.9 * (z - oz).max(0.0);
        let y = oy + mix(-0.11, -0.07, out) + (0.07 + 0.03 * out) * arch.max(0.0).sqrt() - curl;
        let width = 0.25 * (1.01 - v * v * v).max(0.0).sqrt();
        (follow([width * u, y, z]), [u, v], 0.85 + 0.10 * out, 1.0)
    });
}

fn mix_point(a: V3, b: V3, t: f32) -> V3 {
    super::math::mix3(a, b, t)
}

/// Relief of the ear over its plane at radius `r` and angle (cosine towards the back, sine up): (height, openness).
fn ear_relief(r: f32, co: f32, s: f32) -> (f32, f32) {
    let behind = smooth(-0.75, -0.2, co);
    let lobe = smooth(-0.45, -0.85, s);
    let rim = bell(r, 0.0, 0.90, 0.0, 0.09, 1.0) * (1.0 - lobe) * smooth(-1.05, -0.6, co);
    let groove = bell(r, 0.0, 0.73, 0.0, 0.07, 1.0) * behind * (1.0 - lobe);
    let inner = bell(r, 0.0, 0.57, 0.0, 0.10, 1.0) * behind * (1.0 - 0.8 * lobe);
    let bowl = smooth(0.52, 0.22, r) * smooth(0.55, 0.1, s);
    // The small flap before the hole.
    let flap = bell(co, s, -0.85, -0.15, 0.25, 0.35) * bell(r, 0.0, 0.55, 0.0, 0.2, 1.0);
    let height = 0.060 * rim - 0.020 * groove + 0.045 * inner - 0.085 * bowl + 0.05 * flap + 0.03 * lobe * r;
    (height, (1.0 - 0.72 * bowl - 0.40 * groove).max(0.15))
}

/// Adds the ears beside the head: about 60 mm high and half as wide.
pub(super) fn ears(mesh: &mut Mesh, id: &[f32; IDENTITY], pos: &[V3], grid: &Grid) {
    let row = grid.keys.iter().position(|k| *k >= 6.6).unwrap_or(0);
    let size = 1.0 + 0.08 * id[26];
    let stick = (0.50 + 0.13 * id[27]).max(0.2);
    for sign in [-1.0f32, 1.0] {
        let c = (0..COLUMNS).find(|c| sign * column_angle(*c) >= 1.58).unwrap_or(0);
        let c = if sign < 0.0 { (0..COLUMNS).rev().find(|c| column_angle(*c) <= -1.58).unwrap_or(0) } else { c };
        let base = pos[row * COLUMNS + c];
        mesh.grid(12, 33, Material::Ear, |r, a| {
            let rad = r as f32 / 11.0;
            let angle = a as f32 / 32.0 * std::f32::consts::TAU;
            let (s, co) = (sin(angle), cos(angle));
            let (height, open) = ear_relief(rad, co, s);
            let up = size * s * rad * if s > 0.0 { 0.43 } else { 0.45 };
            let back =
                size * (0.17 + 0.05 * up + co * rad * mix(0.20, 0.27, smooth(-0.9, 0.5, s)) - 0.05 * smooth(-0.3, -1.0, s) * rad);
            let rolled = height - 0.05 * smooth(0.93, 1.0, rad);
            let out = back * sin(stick) + rolled * cos(stick) - 0.045;
            let p = [base[0] + sign * out, base[1] - 0.02 + up, base[2] - back * cos(stick) + rolled * sin(stick)];
            (p, [rad, angle], open, 1.0)
        });
    }
}
