//! Short hairs of the face: brows, lashes, beard and moustache.
//!
//! Input: the posed head, its look and the follicles of the face. Output: strands of the mesh; they move with the skin. A beard
//! hair has the class of the skin from which it grows, a lash that of the lids.

use super::follicle::Follicle;
use super::label;
use super::look::Look;
use super::math::{add, mix, mix3, mul, noise, normalize, smooth, V3};
use super::mesh::{Mesh, Strand};
use super::skin;
use super::template::{Grid, Side, EYE_HALF, MOUTH_Y};

/// A curve from a root in a direction of the skin (`across`, `up`) that rises over it.
fn curve(f: &super::follicle::Root, across: f32, up: f32, lift: f32, length: f32, droop: f32, steps: u32) -> Vec<V3> {
    let along = normalize(add(mul(f.du, across), mul(f.dv, up)));
    (0..=steps)
        .map(|i| {
            let s = i as f32 / steps as f32;
            let high = 0.003 + length * lift * s * (1.0 - 0.55 * s);
            let p = add(f.at, add(mul(along, length * s * (1.0 - 0.3 * lift)), mul(f.out, high)));
            [p[0], p[1] - droop * length * s * s, p[2]]
        })
        .collect()
}

fn brows(mesh: &mut Mesh, look: &Look, pos: &[V3], grid: &Grid, follicles: &[Follicle]) {
    for f in follicles {
        let cover = skin::brow(f.u, f.y, look);
        if cover < 0.08 || f.dice[0] > 0.55 * cover * look.brow_dense {
            continue;
        }
        let t = ((f.u.abs() - 0.155) / 0.74).clamp(0.0, 1.0);
        let above = (f.y - skin::brow_line(f.u.abs(), look.brow_arch)) / 0.06;
        // Upright beside the nose, then outwards; the upper row bends down to meet the lower one.
        let up = mix(0.70, 0.10, smooth(0.0, 0.30, t)) - 0.55 * smooth(0.45, 1.0, t) - 0.25 * above * smooth(0.1, 0.4, t);
        let across = f.u.signum() * mix(0.55, 1.0, smooth(0.0, 0.25, t));
        let root = f.root(pos, grid);
        let length =
            mix(0.070, 0.105, f.dice[1]) * mix(0.85, 1.0, smooth(0.0, 0.3, t)) * mix(1.0, 0.7, t) * (0.8 + 0.2 * look.brow_thick);
        let path = curve(&root, across + 0.30 * (f.dice[2] - 0.5), up + 0.35 * (f.dice[3] - 0.5), 0.16, length, 0.0, 3);
        let grey = smooth(0.8, 1.0, look.grey + 0.35 * f.dice[2]) * 0.6;
        let colour = mix3(mul(look.brow, 0.65 + 0.6 * f.dice[3]), [0.27, 0.265, 0.26], grey);
        let like = Strand { width: 0.0075, colour, label: label::BROWS, open: [0.8, 0.9], casts: false, ..Strand::default() };
        mesh.strand(&path, |_| 1.0, like);
    }
}

fn beard(mesh: &mut Mesh, look: &Look, pos: &[V3], grid: &Grid, follicles: &[Follicle]) {
    let (jaw_full, lip_full) = (look.beard, look.moustache);
    let short = smooth(0.55, 1.0, look.stubble);
    if jaw_full + lip_full + short <= 0.02 {
        return;
    }
    let long = mix(0.035, 0.20, look.beard_length * look.beard_length);
    for f in follicles {
        let (jaw, lip) = skin::beard_area(f.u, f.y, look);
        let cover = (jaw * jaw_full.max(0.55 * short)).max(lip * lip_full.max(0.55 * short));
        if cover < 0.06 || f.dice[0] > cover * 1.4 {
            continue;
        }
        let grown = (jaw * jaw_full).max(lip * lip_full);
        let root = f.root(pos, grid);
        let ax = f.u.abs();
        let chin = smooth(0.5, 0.1, ax) * smooth(-1.3, -1.55, f.y);
        let length = mix(0.022, long * (0.7 + 0.9 * chin), smooth(0.15, 0.7, grown)) * (0.6 + 0.7 * f.dice[1]);
        let wild = 0.55 * noise(f.u * 6.0 + look.grain, f.y * 6.0);
        let over_lip = f.y > MOUTH_Y && ax < 0.5;
        let across =
            if over_lip { f.u.signum() * smooth(0.0, 0.12, ax) * 0.9 } else { 0.35 * f.u.signum() * smooth(0.9, 0.2, ax) };
        let path = curve(&root, across + wild + 0.6 * (f.dice[2] - 0.5), -1.0 + 0.5 * (f.dice[3] - 0.5), 0.55, length, 0.15, 4);
        let grey = smooth(0.25, 0.75, look.grey + 0.35 * (f.dice[3] - 0.5) + 0.2 * chin);
        let colour = mix3(mul(look.beard_colour, 0.55 + 0.75 * f.dice[2]), [0.42, 0.41, 0.40], grey * look.grey);
        let colour = mix3(mul(look.skin, 0.55), colour, mix(0.30, 1.0, smooth(0.1, 0.6, grown)));
        let class = skin::class(f.u, f.y, look);
        let like = Strand { width: 0.0095, colour, label: class, open: [0.4, 0.85], casts: false, ..Strand::default() };
        mesh.strand(&path, |_| 1.0, like);
    }
}

/// One row of lashes along the edge of a lid.
fn lash_row(mesh: &mut Mesh, look: &Look, edge: &[(f32, V3)], sign: f32, upper: bool) {
    let n = if upper { 34 } else { 16 };
    for i in 0..n {
        let d = |k: i32| super::math::dice(i + if upper { 0 } else { 400 } + if sign > 0.0 { 1000 } else { 0 }, k);
        let t = -0.86 + 1.82 * (i as f32 + 0.8 * d(1)) / n as f32;
        let Some(k) = edge.iter().position(|e| e.0 >= t).filter(|k| *k > 0) else { continue };
        let (a, b) = (&edge[k - 1], &edge[k]);
        let p = super::math::mix3(a.1, b.1, ((t - a.0) / (b.0 - a.0).max(1e-5)).clamp(0.0, 1.0));
        let long = if upper { 0.045 + 0.050 * look.lash } else { 0.022 + 0.014 * look.lash };
        let length = long * (0.7 + 0.5 * d(2)) * (0.75 + 0.45 * smooth(-0.6, 0.6, t));
        let fan = sign * (0.15 + 0.75 * t) + 0.35 * (d(3) - 0.5);
        let up = if upper { 1.0 } else { -1.0 };
        let path: Vec<V3> = (0..5)
            .map(|j| {
                let s = j as f32 / 4.0;
                // Lashes go forwards first and then curl away from the eye.
                [
                    p[0] + length * fan * s * 0.8,
                    p[1] + up * length * (0.12 * s + 0.95 * s * s) * 0.8,
                    p[2] + 0.012 + length * 0.75 * s * (1.0 - 0.35 * s),
                ]
            })
            .collect();
        let colour = mix3([0.012, 0.009, 0.008], mul(look.brow, 0.5), 0.5 * (1.0 - look.makeup));
        let width = (if upper { 0.0075 } else { 0.005 }) * (0.7 + 0.4 * look.lash);
        let like = Strand { width, colour, label: label::LIDS, open: [0.6, 0.8], casts: false, ..Strand::default() };
        mesh.strand(&path, |_| 1.0, like);
    }
}

fn lashes(mesh: &mut Mesh, look: &Look, pos: &[V3], grid: &Grid) {
    for &(first, side, eye) in grid.slit_rows.iter().filter(|r| r.2) {
        debug_assert!(eye);
        for sign in [-1.0f32, 1.0] {
            let mut edge: Vec<(f32, V3)> = (first..first + super::template::COLUMNS)
                .filter(|i| grid.sites[*i].theta.abs() < 1.4 && grid.sites[*i].x * sign > 0.0)
                .map(|i| ((grid.sites[i].x.abs() - 0.5) / EYE_HALF, pos[i]))
                .filter(|e| e.0.abs() < 1.1)
                .collect();
            edge.sort_by(|a, b| a.0.total_cmp(&b.0));
            lash_row(mesh, look, &edge, sign, side == Side::Upper);
        }
    }
}

/// Adds brows, lashes and beard; `pos` is the posed head, the follicles are those of forehead and of jaw.
pub(super) fn build(mesh: &mut Mesh, look: &Look, pos: &[V3], grid: &Grid, brow: &[Follicle], jaw: &[Follicle]) {
    brows(mesh, look, pos, grid, brow);
    beard(mesh, look, pos, grid, jaw);
    lashes(mesh, look, pos, grid);
}
