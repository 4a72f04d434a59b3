//! Hair of the head: locks that grow from the scalp, combed, lifted, curled and drawn down by their weight.
//!
//! Input: the neutral head, its look and the follicles of the scalp. Output: strands of the mesh. A strand walks in small steps
//! along the direction in which it is combed, never nearer to the skull than its layer of hair.

use super::follicle::Follicle;
use super::label;
use super::look::{Look, Style};
use super::math::{add, cos, cross, dice, dot, mix, mix3, mul, noise, normalize, sin, smooth, sub, V3};
use super::mesh::{Mesh, Strand};
use super::skin;
use super::template::Grid;

/// Middle and half axes of the ellipsoid that stands for the skull.
pub(super) const SKULL: V3 = [0.0, 0.25, -1.27];
const RADII: V3 = [1.15, 1.45, 1.42];
/// From where short hair spreads.
const CROWN: V3 = [0.06, 1.70, -1.75];

/// Which way hair is combed.
#[derive(Clone, Copy, PartialEq)]
enum Comb {
    /// Away from the crown.
    Crown,
    /// To both sides of a parting.
    Part,
    /// Backwards.
    Back,
    /// Straight away from the scalp.
    Out,
    /// To a knot.
    Knot(V3),
}

/// How the hair of one head is cut and combed; lengths in eye distances.
struct Cut {
    comb: Comb,
    top: f32,
    sides: f32,
    /// Hair over the forehead, 0 for none.
    fringe: f32,
    /// Share of the first direction that points away from the scalp.
    lift: f32,
    /// Thickness of the hair.
    layer: f32,
    weight: f32,
    /// Radius and length of a curl.
    curl: [f32; 2],
    /// Disorder of single strands and of whole locks.
    loose: f32,
    part: f32,
    sweep: f32,
    width: f32,
    steps: u32,
    /// Share of the follicles used.
    dense: f32,
}

impl Cut {
    fn new(look: &Look) -> Option<Self> {
        let (l, v, w) = (look.length, look.volume, look.wave);
        let curl = [0.075 * smooth(0.35, 1.0, w), mix(0.85, 0.38, w)];
        let base = Cut {
            comb: Comb::Crown,
            top: 0.4,
            sides: 0.2,
            fringe: 0.0,
            lift: 0.35,
            layer: 0.08,
            weight: 0.12,
            curl,
            loose: 0.30,
            part: look.part,
            sweep: look.sweep,
            width: 0.016,
            steps: 8,
            dense: 1.0,
        };
        let hanging = |length: f32| Cut {
            comb: Comb::Part,
            top: length,
            sides: length * 0.92,
            lift: mix(0.15, 0.5, v),
            layer: mix(0.06, 0.20, v) + 0.08 * w,
            weight: 0.55,
            loose: mix(0.10, 0.22, w),
            width: 0.017,
            steps: 20,
            dense: 0.80,
            ..base
        };
        Some(match look.style {
            Style::Bald if look.bare_top < 0.25 => return None,
            Style::Bald => Cut { top: 0.16, sides: mix(0.07, 0.22, l), layer: 0.03, steps: 4, width: 0.013, ..base },
            Style::Short => Cut {
                comb: if look.sweep > 0.9 { Comb::Back } else { Comb::Crown },
                top: mix(0.14, 0.62, l * l),
                sides: mix(0.07, 0.26, l * v),
                lift: mix(0.30, 0.75, v),
                layer: mix(0.03, 0.17, v * l),
                curl: [curl[0] * 0.6, 0.30],
                loose: mix(0.25, 0.55, w),
                steps: 6,
                ..base
            },
            Style::Parted => Cut {
                comb: if look.sweep > 0.3 { Comb::Back } else { Comb::Part },
                top: mix(0.55, 1.15, l),
                sides: mix(0.12, 0.38, l * v),
                lift: mix(0.35, 0.80, v),
                layer: mix(0.07, 0.22, v),
                weight: 0.22,
                loose: 0.22,
                steps: 10,
                ..base
            },
            Style::Long => hanging(mix(2.1, 4.0, l)),
            Style::Bob => Cut { loose: 0.14, ..hanging(mix(1.5, 2.25, l)) },
            Style::Fringe => Cut { fringe: mix(0.62, 0.98, v), comb: Comb::Crown, ..hanging(mix(0.9, 3.4, l)) },
            Style::Curly => Cut {
                comb: if w > 0.6 { Comb::Out } else { Comb::Part },
                top: mix(0.35, 1.5, l),
                sides: mix(0.22, 1.4, l * v),
                lift: 0.8,
                layer: mix(0.10, 0.45, v * l.max(0.4)),
                weight: mix(0.30, 0.06, w),
                curl: [mix(0.055, 0.085, v), mix(0.36, 0.20, w)],
                loose: 0.55,
                width: 0.019,
                steps: 22,
                dense: 0.75,
                ..base
            },
            Style::Tied => {
                let knot = if w > 0.62 { [0.0, 1.86, -1.75] } else { [0.0, mix(0.1, 1.1, l), -2.85] };
                Cut {
                    comb: Comb::Knot(knot),
                    top: 2.4,
                    sides: 2.2,
                    lift: 0.05,
                    layer: mix(0.02, 0.09, v),
                    weight: 0.0,
                    curl: [0.006, 0.5],
                    loose: 0.05,
                    width: 0.015,
                    steps: 14,
                    dense: 0.9,
                    ..base
                }
            }
        })
    }

    /// Direction of combing at `p` for a strand with its root at `root`.
    fn direction(&self, p: V3, root: V3) -> V3 {
        match self.comb {
            Comb::Crown => sub(p, CROWN),
            Comb::Out => add(mul(sub(p, SKULL), 0.7), [0.0, 0.15, 0.0]),
            Comb::Knot(at) => sub(at, p),
            Comb::Back => [0.25 * root[0], -0.35 * smooth(1.1, 0.3, root[1]) - 0.1, -1.0],
            Comb::Part => {
                let side = smooth(-0.05, 0.05, root[0] - self.part) * 2.0 - 1.0;
                [side, -0.45, -0.45 + 0.25 * smooth(-0.5, -1.8, root[2])]
            }
        }
    }

    fn length(&self, root: V3, random: f32) -> f32 {
        let up = smooth(0.55, 1.25, root[1]);
        mix(self.sides, self.top, up) * (1.0 - 0.30 * random * random)
    }
}

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

/// One strand's way from `at` with normal `out`.
fn grow(cut: &Cut, f: &Follicle, root: &super::follicle::Root, lock: &Lock, length: f32, way: Way, out: &mut Vec<V3>) {
    let (start, _) = level(root.at);
    // A curl needs about six steps to look round.
    let finest = if cut.curl[0] > 0.012 { (cut.curl[1] / 6.0).min(0.2) } else { 0.2 };
    let steps = ((length / finest) as u32).clamp(cut.steps.min(4), 48);
    let (own, step) = (f.dice[1], length / steps as f32);
    let flat_sides = if cut.sides < 0.6 { 0.35 } else { 0.8 };
    let bottom = start + cut.layer * mix(flat_sides, 1.0, smooth(0.5, 1.25, root.at[1])) * (0.12 + 0.88 * own) / 1.3;
    let flat = |v: V3, n: V3| normalize(sub(v, mul(n, dot(v, n))));
    let comb = |p: V3, n: V3| {
        if way == Way::Fringe {
            flat([0.45 * p[0] + 0.35 * cut.sweep, -1.0, 0.4], n)
        } else if way == Way::Back {
            flat([0.5 * root.at[0], 0.1, -1.0], n)
        } else if cut.comb == Comb::Out {
            normalize(cut.direction(p, root.at))
        } else {
            flat(cut.direction(p, root.at), n)
        }
    };
    let wild: V3 = std::array::from_fn(|k| (lock.dice[k] - 0.5) * 1.1 + (f.dice[k] - 0.5) * 0.6);
    let lift = if way == Way::Own { cut.lift } else { 0.25 };
    let mut d = normalize(add(mix3(comb(root.at, root.out), root.out, lift), mul(wild, cut.loose)));
    let mut p = add(root.at, mul(root.out, 0.004));
    let (phase, spin) = (lock.dice[3] * std::f32::consts::TAU + 0.9 * f.dice[2], if lock.dice[2] > 0.5 { 1.0 } else { -1.0 });
    let mut gone = 0.0;
    for i in 0..=steps {
        let s = i as f32 / steps as f32;
        let side = normalize(cross(d, root.out));
        let across = cross(d, side);
        let angle = phase + spin * gone / cut.curl[1] * std::f32::consts::TAU;
        let r = cut.curl[0] * smooth(0.0, 0.35, gone) * (0.7 + 0.6 * lock.dice[0]);
        let curl = add(mul(side, r * cos(angle)), mul(across, r * sin(angle)));
        // Strands of a lock meet towards its tip.
        let meet = 0.65 * smooth(0.1, 1.0, s) * smooth(0.0, 0.3, length);
        let pull = add(mul(root.du, lock.middle[0] * meet), mul(root.dv, lock.middle[1] * meet));
        out.push(add(add(p, curl), pull));
        let (_, n) = level(p);
        // Below the ears nothing but weight draws at the hair.
        let hold = 0.42 * (1.0 - 0.55 * s) * if cut.comb == Comb::Part { smooth(-0.9, 0.3, p[1]) } else { 1.0 };
        let mut next = add(mul(d, 0.62), mul(comb(p, n), hold));
        next[1] -= cut.weight * (0.25 + s);
        let over_skull = smooth(-0.8, 0.0, p[1]);
        let away = dot(next, n).max(0.0);
        // Hair lies down on the hair beneath it, except where it stands.
        let lies = if cut.comb == Comb::Out { 0.0 } else { 0.80 * smooth(0.12, 0.45, gone) * over_skull };
        d = normalize(add(sub(next, mul(n, away * lies)), mul(wild, 0.22 * cut.loose)));
        p = add(p, mul(d, step));
        gone += step;
        let (now, n) = level(p);
        let over = mix(start, bottom, smooth(0.0, 0.30, gone));
        if now < over && p[1] > -1.1 {
            p = add(p, mul(n, (over - now) * 1.3));
        }
        // Long hair falls before the shoulders or behind them.
        if p[1] < -1.3 {
            p[2] += step * if root.at[2] > -1.25 { 0.30 } else { -0.25 };
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
    mix3(c, mul([0.36, 0.355, 0.35], shade.max(0.6)), white * 0.62)
}

/// Strands wound around a knot of hair.
fn knot(mesh: &mut Mesh, look: &Look, centre: V3, radius: f32) {
    for i in 0..420 {
        let d = |k: i32| dice(i, k);
        let axis = normalize([d(1) - 0.5, 0.35 + d(2), d(3) - 0.5]);
        let side = normalize(cross(axis, [0.3, 0.2, 1.0]));
        let front = cross(axis, side);
        let (high, r) = (0.9 * (2.0 * d(4) - 1.0), radius * (0.86 + 0.18 * d(5)));
        let (ring, start) = ((1.0 - high * high).sqrt() * r, d(6) * std::f32::consts::TAU);
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

/// Adds the hair of a look; `pos` is the neutral head.
pub(super) fn build(mesh: &mut Mesh, look: &Look, pos: &[V3], grid: &Grid, follicles: &[Follicle]) {
    let Some(cut) = Cut::new(look) else { return };
    let mut path = Vec::new();
    for f in &follicles[..(follicles.len() as f32 * cut.dense) as usize] {
        let depth = skin::scalp(f.u, f.y, look);
        if depth < -0.04 || depth < 0.26 * f.dice[0] * f.dice[0] - 0.04 {
            continue;
        }
        let root = f.root(pos, grid);
        let lock = lock(f, look);
        let rim = smooth(-0.02, 0.16, depth);
        let fringe = cut.fringe > 0.0 && root.at[1] > 0.95 && root.at[2] > -0.75 && f.u.abs() < 0.85;
        let mut length = if fringe {
            cut.fringe + 0.45 * (root.at[1] - 1.1).max(0.0) - 0.25 * (root.at[2] + 0.1) + 0.08 * lock.dice[0]
        } else {
            cut.length(root.at, lock.dice[0])
        };
        if let Comb::Knot(at) = cut.comb {
            let to = sub(at, root.at);
            length = dot(to, to).sqrt() * 1.12;
            if rim < 0.6 && f.dice[1] > 0.93 {
                length = 0.25 + 0.5 * f.dice[2];
            }
        } else if !fringe && cut.sides > 0.6 {
            // Short hairs frame the face at the edge of long hair.
            length *= mix(if f.dice[2] > 0.55 { 0.18 } else { 0.85 }, 1.0, rim);
        } else {
            length *= mix(0.45, 1.0, rim);
        }
        length *= 0.86 + 0.28 * f.dice[2];
        let limit = if fringe { 0.30 } else { 0.80 };
        let before_face = |p: &V3| p[1] < limit && p[0].abs() < 0.84 && p[2] > -0.45;
        path.clear();
        grow(&cut, f, &root, &lock, length, if fringe { Way::Fringe } else { Way::Own }, &mut path);
        if path.iter().any(before_face) {
            // Nobody lets hair hang before the eyes: it is brushed back.
            path.clear();
            grow(&cut, f, &root, &lock, length, Way::Back, &mut path);
            if path.iter().any(before_face) {
                continue;
            }
        }
        let outer = 0.35 + 0.65 * f.dice[1];
        let strand = Strand {
            width: cut.width * (0.65 + 0.7 * f.dice[0]) * mix(0.6, 1.0, rim),
            colour: tone(look, &lock, f),
            label: label::HAIR,
            open: [mix(0.62, 0.25, smooth(0.1, 0.8, length)) * outer.max(0.6), outer],
            casts: true,
            ..Strand::default()
        };
        mesh.strand(&path, |p| 1.0 - 0.7 * smooth(-1.2, -2.6, p[1]), strand);
    }
    if let Comb::Knot(at) = cut.comb {
        knot(mesh, look, add(at, [0.0, 0.10, 0.0]), mix(0.26, 0.46, look.volume));
    }
}
