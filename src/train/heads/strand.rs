//! Hair of the head: locks that grow from the scalp, combed, lifted, curled and drawn down by their weight.
//!
//! Input: the neutral head, its look and the follicles of the scalp. Output: strands of the mesh. A strand walks in small steps
//! along the direction in which it is combed, never nearer to the skull than its layer of hair.

use std::f32::consts::TAU;

use super::cut::{Comb, Cut};
use super::follicle::{Follicle, Root};
use super::label;
use super::look::Look;
use super::math::{add, cos, cross, dice, dot, mix, mix3, mul, noise, normalize, sin, smooth, sub, V3};
use super::mesh::{Mesh, Strand};
use super::skin;
use super::template::Grid;

/// Middle and half axes of the ellipsoid that stands for the skull.
pub(super) const SKULL: V3 = [0.0, 0.25, -1.27];
const RADII: V3 = [1.15, 1.45, 1.42];
/// Distance from the skull's middle in units of the ellipsoid, and the direction away from it.
fn level(p: V3) -> (f32, V3) {
    let q: V3 = std::array::from_fn(|k| (p[k] - SKULL[k]) / RADII[k]);
    let r = dot(q, q).sqrt();
    (r, normalize(std::array::from_fn(|k| q[k] / RADII[k])))
}

/// How one strand differs from the others.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Own,
    /// Over the forehead.
    Fringe,
    /// Out of the face.
    Back,
}

/// A lock: what strands beside each other have in common.
struct Lock {
    dice: [f32; 4],
    middle: [f32; 2],
}

fn lock(f: &Follicle, look: &Look) -> Lock {
    const SIZE: f32 = 0.115;
    let (u, y) = (f.u + 0.05 * noise(f.u * 9.0 + look.grain, f.y * 9.0), f.y + 0.05 * noise(f.u * 9.0, f.y * 9.0 - look.grain));
    let (i, j) = ((u / SIZE).floor(), (y / SIZE).floor());
    let g = (look.grain * 100.0) as i32;
    let dice = std::array::from_fn(|k| dice(i as i32 * 5 + k as i32 + g, j as i32 * 11 - 3 * k as i32));
    Lock { dice, middle: [(i + 0.5) * SIZE - u, (j + 0.5) * SIZE - y] }
}

/// One strand while it grows.
struct Growth<'a> {
    cut: &'a Cut,
    follicle: &'a Follicle,
    root: &'a Root,
    lock: &'a Lock,
    length: f32,
    way: Way,
}

impl Growth<'_> {
    /// Where the strand is combed to at `p`, along the hair beneath it, whose normal is `n`.
    fn comb(&self, p: V3, n: V3) -> V3 {
        let flat = |v: V3| normalize(sub(v, mul(n, dot(v, n))));
        match self.way {
            Way::Fringe => flat([0.45 * p[0] + 0.35 * self.cut.sweep, -1.0, 0.4]),
            Way::Back => flat([0.5 * self.root.at[0], 0.1, -1.0]),
            Way::Own if self.cut.comb == Comb::Out => normalize(self.cut.direction(p, self.root.at)),
            Way::Own => flat(self.cut.direction(p, self.root.at)),
        }
    }

    /// Curl and the pull of the lock, `gone` eye distances from the root at direction `d`.
    fn offset(&self, d: V3, gone: f32) -> V3 {
        let (cut, lock) = (self.cut, self.lock);
        let (phase, spin) = (lock.dice[3] * TAU + 0.9 * self.follicle.dice[2], if lock.dice[2] > 0.5 { TAU } else { -TAU });
        let side = normalize(cross(d, self.root.out));
        let angle = phase + spin * gone / cut.curl[1];
        let r = cut.curl[0] * smooth(0.0, 0.35, gone) * (0.7 + 0.6 * lock.dice[0]);
        let curl = add(mul(side, r * cos(angle)), mul(cross(d, side), r * sin(angle)));
        // Strands of a lock meet towards its tip.
        let meet = 0.65 * smooth(0.1, 1.0, gone / self.length) * smooth(0.0, 0.3, self.length);
        add(curl, add(mul(self.root.du, lock.middle[0] * meet), mul(self.root.dv, lock.middle[1] * meet)))
    }

    /// The next direction at `p` after `d`: inertia, comb, weight, and how the hair beneath holds it.
    fn turn(&self, d: V3, p: V3, gone: f32, wild: V3) -> V3 {
        let (cut, s) = (self.cut, gone / self.length);
        let (_, n) = level(p);
        // Below the ears nothing but weight draws at the hair.
        let hold = 0.42 * (1.0 - 0.55 * s) * if cut.comb == Comb::Part { smooth(-0.9, 0.3, p[1]) } else { 1.0 };
        let mut next = add(mul(d, 0.62), mul(self.comb(p, n), hold));
        next[1] -= cut.weight * (0.25 + s);
        // Hair lies down on the hair beneath it, except where it stands.
        let stands = cut.comb == Comb::Out;
        let lies = if stands { 0.0 } else { 0.80 * smooth(0.12, 0.45, gone) * smooth(-0.8, 0.0, p[1]) };
        let away = dot(next, n).max(0.0);
        normalize(add(sub(next, mul(n, away * lies)), mul(wild, 0.22 * cut.loose)))
    }

    /// Appends the points of the strand.
    fn walk(&self, out: &mut Vec<V3>) {
        let (cut, root, dice) = (self.cut, self.root, &self.follicle.dice);
        let (start, _) = level(root.at);
        // A curl needs about six steps to look round.
        let finest = if cut.curl[0] > 0.012 { (cut.curl[1] / 6.0).min(0.2) } else { 0.2 };
        let steps = ((self.length / finest) as u32).clamp(4, 48);
        let step = self.length / steps as f32;
        let flat_sides = if cut.sides < 0.6 { 0.35 } else { 0.8 };
        let bottom = cut.layer * mix(flat_sides, 1.0, smooth(0.5, 1.25, root.at[1])) * (0.12 + 0.88 * dice[1]) / 1.3;
        let wild: V3 = std::array::from_fn(|k| (self.lock.dice[k] - 0.5) * 1.1 + (dice[k] - 0.5) * 0.6);
        let lift = if self.way == Way::Own { cut.lift } else { 0.25 };
        let mut d = normalize(add(mix3(self.comb(root.at, root.out), root.out, lift), mul(wild, cut.loose)));
        let mut p = add(root.at, mul(root.out, 0.004));
        for i in 0..=steps {
            let gone = i as f32 * step;
            out.push(add(p, self.offset(d, gone)));
            d = self.turn(d, p, gone, wild);
            p = add(p, mul(d, step));
            let (now, n) = level(p);
            // Tips lie nearer to the head than the middle of the strand.
            let s = gone / self.length;
            let thick = smooth(0.0, 0.30, gone + step) * if cut.comb == Comb::Out { 1.0 } else { 1.0 - 0.65 * s * s };
            let over = start + bottom * thick;
            if now < over && p[1] > -1.1 {
                p = add(p, mul(n, (over - now) * 1.3));
            }
            // Long hair falls before the shoulders or behind them.
            if p[1] < -1.3 {
                p[2] += step * if root.at[2] > -1.25 { 0.30 } else { -0.25 };
            }
        }
    }
}

fn tone(look: &Look, lock: &Lock, f: &Follicle) -> V3 {
    let shade = (0.72 + 0.30 * lock.dice[1]) * (0.74 + 0.52 * f.dice[3]);
    let warm = 1.0 + 0.10 * (lock.dice[2] - 0.5);
    let c = mul([look.hair[0] * warm, look.hair[1], look.hair[2] / warm], shade);
    // Single hairs turn grey, first at the temples.
    let grey = look.grey * (1.0 + 0.5 * smooth(0.6, 1.0, f.u.abs()));
    let white = smooth(grey * 1.25 - 0.25, grey * 1.25 - 0.35, dice((f.dice[0] * 9999.0) as i32, 5));
    let silver = mul([0.36, 0.355, 0.35], shade.max(0.55));
    mix3(c, silver, (0.55 * grey.min(1.0) + 0.30 * white).min(0.95))
}

/// Strands wound around a knot of hair.
fn knot(mesh: &mut Mesh, look: &Look, centre: V3, radius: f32) {
    for i in 0..420 {
        let d = |k: i32| dice(i, k);
        let axis = normalize([d(1) - 0.5, 0.35 + d(2), d(3) - 0.5]);
        let side = normalize(cross(axis, [0.3, 0.2, 1.0]));
        let front = cross(axis, side);
        let (high, r) = (0.9 * (2.0 * d(4) - 1.0), radius * (0.86 + 0.18 * d(5)));
        let (ring, start) = ((1.0 - high * high).sqrt() * r, d(6) * TAU);
        let path: Vec<V3> = (0..9)
            .map(|k| {
                let a = start + k as f32 * 0.28;
                let flat = add(mul(side, ring * cos(a)), mul(front, ring * sin(a)));
                add(centre, add(flat, mul(axis, high * r * 0.8)))
            })
            .collect();
        let colour = mix3(mul(look.hair, 0.6 + 0.6 * d(7)), [0.45, 0.44, 0.43], look.grey);
        mesh.strand(
            &path,
            |_| 1.0,
            Strand { width: 0.017, colour, label: label::HAIR, open: [0.55, 0.75], casts: true, ..Strand::default() },
        );
    }
}

/// The points of a strand that leaves the face free; nothing if it cannot.
fn path(mut growth: Growth, fringe: bool) -> Vec<V3> {
    let limit = if fringe { 0.30 } else { 0.80 };
    let before_face = |p: &V3| p[1] < limit && p[0].abs() < 0.84 && p[2] > -0.45;
    let mut points = Vec::new();
    growth.walk(&mut points);
    if points.iter().any(before_face) {
        // Nobody lets hair hang before the eyes: it is brushed back.
        points.clear();
        growth.way = Way::Back;
        growth.walk(&mut points);
        if points.iter().any(before_face) {
            points.clear();
        }
    }
    points
}

/// Adds the hair of a look; `pos` is the neutral head, `detail` the share of the strands to draw: small pictures need fewer.
pub(super) fn build(mesh: &mut Mesh, look: &Look, pos: &[V3], grid: &Grid, follicles: &[Follicle], detail: f32) {
    let Some(cut) = Cut::new(look) else { return };
    for f in &follicles[..(follicles.len() as f32 * cut.dense * detail) as usize] {
        let depth = skin::scalp(f.u, f.y, look);
        if depth < -0.04 || depth < 0.26 * f.dice[0] * f.dice[0] - 0.04 {
            continue;
        }
        let (root, lock) = (f.root(pos, grid), lock(f, look));
        // Short hair at the back of the head is never seen: heads turn by 35 degrees.
        if root.out[2] < -0.68 && cut.top.max(cut.sides) < 0.7 {
            continue;
        }
        let rim = smooth(-0.02, 0.16, depth);
        let fringe = cut.is_fringe(root.at, f.u);
        let length = cut.length(root.at, fringe, rim, &f.dice, lock.dice[0]) * (0.86 + 0.28 * f.dice[2]);
        let way = if fringe { Way::Fringe } else { Way::Own };
        let points = path(Growth { cut: &cut, follicle: f, root: &root, lock: &lock, length, way }, fringe);
        let outer = 0.35 + 0.65 * f.dice[1];
        let strand = Strand {
            width: cut.width / detail * (0.65 + 0.7 * f.dice[0]) * mix(0.6, 1.0, rim),
            colour: tone(look, &lock, f),
            label: label::HAIR,
            open: [mix(0.62, 0.25, smooth(0.1, 0.8, length)) * outer.max(0.6), outer],
            casts: true,
            ..Strand::default()
        };
        mesh.strand(&points, |p| 1.0 - 0.7 * smooth(-1.2, -2.6, p[1]), strand);
    }
    if let Comb::Knot(at) = cut.comb {
        knot(mesh, look, add(at, [0.0, 0.10, 0.0]), mix(0.26, 0.46, look.volume));
    }
}
